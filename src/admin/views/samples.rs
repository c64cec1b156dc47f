//! `/queries/{fingerprint}/samples`: single calls of a statement, the slowest and the newest.

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::millis;
use super::selection::OwnerSelection;
use super::values::{Telling, ValuesRow};
use crate::admin::access::Sight;
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::human;
use crate::admin::parameters::{Parameters, number};
use crate::admin::problem::Problem;
use crate::admin::sheet::{Sheet, about};
use crate::admin::table::{Table, name, number as column};
use crate::sql::fingerprint::Fingerprint;
use crate::stats::ledger::Ledger;
use crate::stats::queries::{Block, Manner, Outcome};
use crate::stats::record::Record;
use crate::stats::samples::{NEWEST, SLOWEST, Sample};

/// The most that are shown of each sort and pool: all there are.
const MOST_SHOWN: usize = if SLOWEST > NEWEST { SLOWEST } else { NEWEST };

/// Which are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    limit: usize,
    owner: OwnerSelection,
}

/// Some calls of one fingerprint, those of each pool together.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct SamplesView {
    fingerprint: String,
    /// The slowest first.
    slowest: Vec<SampleRow>,
    /// The newest first.
    newest: Vec<SampleRow>,
}

#[derive(Debug, JsonSchema, Serialize)]
struct SampleRow {
    seen: String,
    database: String,
    user: String,
    exec_ms: f64,
    pool_wait_ms: f64,
    client_blocked_ms: f64,
    bytes_out: u64,
    /// `null` if it failed.
    rows: Option<u64>,
    /// `null` if it did not fail.
    error: Option<String>,
    protocol: &'static str,
    in_transaction: bool,
    /// What `samples.params` keeps of its values; `null`: nothing.
    values: Option<ValuesRow>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { limit: MOST_SHOWN, owner: OwnerSelection::default() }
    }
}

impl Parameters for Wanted {
    const NAMES: &'static [&'static str] = &["limit", "db", "user"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "limit" => self.limit = number("limit", value, 1..=MOST_SHOWN)?,
            _ => self.owner.set(name, value)?,
        }
        Ok(())
    }
}

impl SamplesView {
    /// Of one fingerprint; `None` when there is no such.
    pub(crate) fn of(
        ledger: &Ledger,
        fingerprint: Fingerprint,
        wanted: &Wanted,
        sight: Sight,
    ) -> Option<Self> {
        ledger.add_up();
        let telling = Telling { keep: ledger.keeping.get(), sight, veil: ledger.veil };
        let (mut slowest, mut newest) = (Vec::new(), Vec::new());
        ledger.each(|record| {
            let is_it = record.about.as_ref().is_some_and(|about| about.fingerprint == fingerprint);
            if is_it && wanted.owner.holds(record) {
                let row = |sample: &Sample| SampleRow::new(record, sample, telling);
                slowest.extend(record.slowest().take(wanted.limit).map(row));
                newest.extend(record.newest().take(wanted.limit).map(row));
            }
        });
        let fingerprint = fingerprint.to_string();
        (!newest.is_empty()).then_some(Self { fingerprint, slowest, newest })
    }
}

impl SampleRow {
    fn new(record: &Record, sample: &Sample, telling: Telling) -> Self {
        let (rows, error) = match sample.outcome {
            Outcome::Complete { rows } | Outcome::Suspended { rows } => (Some(rows), None),
            Outcome::Failed(code) => (None, Some(code.to_string())),
        };
        Self {
            seen: human::moment(sample.seen),
            database: record.owner.database.to_string(),
            user: record.owner.user.to_string(),
            exec_ms: millis(sample.micros),
            pool_wait_ms: millis(sample.wait_micros),
            client_blocked_ms: millis(sample.blocked_micros),
            bytes_out: sample.bytes,
            rows,
            error,
            protocol: match sample.manner {
                Manner::Simple => "simple",
                Manner::Extended => "extended",
            },
            in_transaction: sample.block == Block::Open,
            values: ValuesRow::of(sample.values, sample.kept.as_ref(), telling),
        }
    }
}

impl View for SamplesView {
    fn text(&self) -> String {
        self.sheet().text()
    }

    fn html(&self) -> Page {
        self.sheet().page(&self.fingerprint, about(&self.fingerprint, "single calls"))
    }
}

impl SamplesView {
    fn sheet(&self) -> Sheet {
        let mut table = Table::new([
            name("", 7),
            name("ENDED", 20),
            column("took"),
            column("waited"),
            column("blocked"),
            column("sent"),
            name("ROWS", 4),
            name("USER@DB", 8),
            name("HOW", 8),
        ]);
        for (why, rows) in [("slowest", &self.slowest), ("newest", &self.newest)] {
            for row in rows {
                let count = row.rows.map(human::count);
                let block = if row.in_transaction { ", in a transaction" } else { "" };
                table.row([
                    why.to_owned(),
                    row.seen.clone(),
                    human::millis(row.exec_ms),
                    human::millis(row.pool_wait_ms),
                    human::millis(row.client_blocked_ms),
                    human::bytes(row.bytes_out),
                    count.or_else(|| row.error.clone()).unwrap_or_default(),
                    format!("{}@{}", row.user, row.database),
                    format!("{}{block}", row.protocol),
                ]);
            }
        }
        let rows = || self.slowest.iter().chain(&self.newest);
        let mut words = Vec::new();
        for (row, values) in rows().filter_map(|row| Some((row, row.values.as_ref()?))) {
            let line = format!("{}  {}  {}\n", row.seen, human::millis(row.exec_ms), values.line());
            if !words.contains(&line) {
                words.push(line);
            }
        }
        Sheet::default().table(table).lines(words.concat())
    }
}
