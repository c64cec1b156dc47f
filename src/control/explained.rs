//! A plan that Postgres gave, with what it was asked for and what follows from it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::plans::Key;
use crate::plan::facts::Facts;
use crate::plan::hints::{Hint, Seen, hints};
use crate::plan::node::{Plan, Relation};
use crate::plan::text::{Columns, tree};
use crate::sql::plannable::MASK;
use crate::sql::query::About;
use crate::stats::record::{Owner, Record};
use crate::stats::samples::Sample;
use crate::stats::values::CallValues;
use crate::stats::window::Window;

/// A statement whose plan is wanted.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is.
    pub about: Arc<About>,
    /// Whose it is.
    pub owner: Arc<Owner>,
    /// What it did so far.
    pub seen: Seen,
    /// The client that ran it last.
    pub(super) client: u64,
    /// Single calls of it whose values are kept, those that were slow before those that are new.
    pub(super) calls: Vec<SampledCall>,
}

/// A single call with its values.
#[derive(Clone, Debug)]
pub struct SampledCall {
    /// When it ended.
    pub seen: SystemTime,
    /// How long it took, microseconds.
    pub micros: u64,
    /// The client that ran it.
    pub(super) client: u64,
    /// Its values.
    pub(super) values: CallValues,
}

impl SampledCall {
    fn of(sample: &Sample) -> Option<Self> {
        let values = sample.kept.clone()?;
        Some(Self { seen: sample.seen, micros: sample.micros, client: sample.client, values })
    }
}

/// A plan, and what is known of it.
#[derive(Debug)]
pub struct Explained {
    /// The statement.
    pub target: Target,
    /// What was planned.
    pub source: Source,
    /// The schemas that its names were looked up in, if not those of a fresh session.
    pub search_path: Option<Box<str>>,
    /// When.
    pub taken: SystemTime,
    /// How long that took, with the wait for a server.
    pub took: Duration,
    /// The plan as Postgres gave it.
    pub json: String,
    /// The same, read.
    pub plan: Plan,
    /// What tells it from other plans.
    pub hash: u64,
    /// What may be wrong with it.
    pub hints: Vec<Hint>,
    /// For who may see no values.
    pub masked: Masked,
}

/// What is shown of a plan to who may see no values: constants of prepared texts are such.
#[derive(Debug)]
pub struct Masked {
    /// The plan as text.
    pub tree: String,
    /// What may be wrong with it.
    pub hints: Vec<Hint>,
}

impl Masked {
    /// Of a plan, with what is known of its tables and of what the statement did.
    pub(super) fn new(plan: &Plan, facts: &[(Relation, Facts)], seen: &Seen) -> Self {
        let plan = plan.without_constants();
        let mut hints = hints(&plan, facts, seen);
        // An expression with a constant is no index without it.
        for hint in &mut hints {
            hint.sql = hint.sql.take().filter(|sql| !sql.contains(MASK));
        }
        Self { tree: tree(&plan, Columns::Hidden), hints }
    }
}

/// Which text was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The text that a client prepared, with the types it gave.
    Prepared,
    /// The normalised text, whose types Postgres finds.
    Normalised,
    /// A single call with its values.
    Sample {
        /// When that ended.
        seen: SystemTime,
        /// How long it took, microseconds.
        micros: u64,
    },
}

impl Target {
    /// The statement of a record, if it is one.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let good = record.calls - record.failed().min(record.calls);
        let spread = record.spread(Window::All, record.last_seen);
        let seen = Seen {
            calls: good,
            rows_per_call: if good > 0 { record.rows as f64 / good as f64 } else { 0.0 },
            p50_micros: spread.quantile_micros(0.5),
        };
        let about = Arc::clone(record.about.as_ref()?);
        let calls = record.slowest().chain(record.newest()).filter_map(SampledCall::of).collect();
        let owner = Arc::clone(&record.owner);
        Some(Self { about, owner, seen, client: record.last_client, calls })
    }

    /// A statement that no client has run yet.
    #[cfg(test)]
    pub(super) fn new(about: Arc<About>, owner: Arc<Owner>, seen: Seen) -> Self {
        Self { about, owner, seen, client: 0, calls: Vec::new() }
    }

    pub(super) fn key(&self) -> Key {
        (self.about.fingerprint, Arc::clone(&self.owner))
    }
}
