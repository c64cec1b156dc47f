//! A plan: as text for people, in JSON as Postgres gave it, with the plans before it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::numbers::millis;
use crate::admin::answer::View;
use crate::admin::human;
use crate::control::explain::{Explained, Source};
use crate::control::plans::Era;
use crate::plan::hints::Hint;
use crate::plan::text::{Columns, tree};

/// What holds for every plan that is made without values.
pub(crate) const LABEL: &str = "generic plan: parameter values unknown; estimates are averages";

/// A plan.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct PlanView {
    fingerprint: String,
    database: String,
    user: String,
    text: String,
    /// What was planned: `prepared`, a text that a client prepared, or `normalised`, the text shown here.
    source: &'static str,
    /// Where its names were looked up; `null`: as in a fresh session.
    search_path: Option<String>,
    label: &'static str,
    taken: String,
    took_ms: f64,
    plan_hash: String,
    /// The plan as Postgres gave it.
    plan: Value,
    /// The same as Postgres shows it in text.
    tree: String,
    /// What may be wrong with it: to consider, never done by the pooler.
    hints: Vec<Hint>,
    /// The plans that it had since the program started, the newest first.
    history: Vec<EraRow>,
}

/// A plan of a statement, as long as it was the same.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(crate) struct EraRow {
    pub(crate) plan_hash: String,
    /// What it reads.
    pub(crate) summary: String,
    /// In Postgres' unit.
    pub(crate) total_cost: f64,
    pub(crate) first_seen: String,
    pub(crate) last_seen: String,
}

impl From<Era> for EraRow {
    fn from(era: Era) -> Self {
        Self {
            plan_hash: hash(era.hash),
            summary: era.summary,
            total_cost: era.cost,
            first_seen: human::moment(era.first_seen),
            last_seen: human::moment(era.last_seen),
        }
    }
}

/// A plan's hash as it is shown.
fn hash(hash: u64) -> String {
    format!("{hash:016x}")
}

impl PlanView {
    /// A plan, with those its statement had.
    pub(crate) fn new(explained: &Explained, eras: Vec<Era>, columns: Columns) -> Self {
        let target = &explained.target;
        Self {
            fingerprint: target.about.fingerprint.to_string(),
            database: target.owner.database.to_string(),
            user: target.owner.user.to_string(),
            text: target.about.text.to_string(),
            source: match explained.source {
                Source::Prepared => "prepared",
                Source::Normalised => "normalised",
            },
            search_path: explained.search_path.as_deref().map(str::to_owned),
            label: LABEL,
            taken: human::moment(explained.taken),
            took_ms: millis(explained.took.as_micros() as u64),
            plan_hash: hash(explained.hash),
            plan: serde_json::from_str(&explained.json).unwrap_or_default(),
            tree: tree(&explained.plan, columns),
            hints: explained.hints.clone(),
            history: eras.into_iter().map(EraRow::from).collect(),
        }
    }
}

impl View for PlanView {
    fn text(&self) -> String {
        let mut text =
            format!("{}  {}@{}\n{LABEL}\n\n", self.fingerprint, self.user, self.database);
        text.push_str(&self.tree.replace(|c: char| c.is_control() && c != '\n', "?"));
        text.push('\n');
        for hint in &self.hints {
            text.push_str(&hint_text(hint));
        }
        for era in &self.history {
            text.push_str(&era.line());
        }
        text
    }
}

/// A hint in a few lines, and an empty one.
pub(crate) fn hint_text(hint: &Hint) -> String {
    let Hint { advice, evidence, sql, .. } = hint;
    let clean = |text: &str| text.replace(|c: char| c.is_control(), "?");
    let sql = sql.as_ref().map(|sql| format!("  {};\n", clean(sql)));
    format!("{}\n  {}\n{}\n", clean(advice), clean(evidence), sql.unwrap_or_default())
}

impl EraRow {
    /// A line about it.
    pub(crate) fn line(&self) -> String {
        let Self { plan_hash, summary, total_cost, first_seen, last_seen } = self;
        format!("plan {plan_hash}  cost {total_cost:.2}  {first_seen} to {last_seen}  {summary}\n")
    }
}
