//! `/slow`: the last statements that took long, one by one.

use maud::html;
use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::millis;
use super::selection::OwnerSelection;
use super::values::{Telling, ValuesRow};
use crate::admin::access::Sight;
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::human;
use crate::admin::parameters::{Parameters, number, word};
use crate::admin::problem::Problem;
use crate::admin::sheet::{Sheet, form};
use crate::admin::table::{Table, name, number as column};
use crate::stats::ledger::Ledger;
use crate::stats::queries::Outcome;
use crate::stats::slow::Slow;

/// The most that are shown at once: all there are.
const MOST_SHOWN: usize = 500;

/// As many are shown unless asked otherwise.
const SHOWN: usize = 20;

/// Which are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    limit: usize,
    min_millis: usize,
    pub(crate) follow: Follow,
    /// What may be seen of values, which is asked for by nobody.
    sight: Sight,
    owner: OwnerSelection,
}

/// Is one list wanted, or also what comes?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Follow {
    #[default]
    No,
    Yes,
}

/// Some of them, the latest first.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct SlowView {
    slow: Vec<SlowRow>,
    #[serde(skip)]
    selection: Selection,
}

#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct SlowRow {
    seen: String,
    fingerprint: String,
    database: String,
    user: String,
    exec_ms: f64,
    pool_wait_ms: f64,
    /// `null` if it failed.
    rows: Option<u64>,
    /// `null` if it did not fail.
    error: Option<String>,
    text: String,
    /// What `samples.params` keeps of its values; `null`: nothing.
    values: Option<ValuesRow>,
}

impl Default for Selection {
    fn default() -> Self {
        let follow = Follow::No;
        let (sight, owner) = (Sight::default(), OwnerSelection::default());
        Self { limit: SHOWN, min_millis: 0, follow, sight, owner }
    }
}

impl Parameters for Selection {
    const NAMES: &'static [&'static str] = &["limit", "min_ms", "db", "user", "follow"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "limit" => self.limit = number("limit", value, 1..=MOST_SHOWN)?,
            "min_ms" => self.min_millis = number("min_ms", value, 0..=usize::MAX)?,
            "follow" => {
                self.follow = word("follow", value, &[("0", Follow::No), ("1", Follow::Yes)])?;
            }
            _ => self.owner.set(name, value)?,
        }
        Ok(())
    }
}

impl Selection {
    /// The same, asked for by somebody who may see so much.
    pub(crate) fn seen_with(self, sight: Sight) -> Self {
        Self { sight, ..self }
    }

    /// What is to be told of values.
    pub(crate) fn telling(&self, ledger: &Ledger) -> Telling {
        Telling { keep: ledger.keeping.get(), sight: self.sight, veil: ledger.veil }
    }

    /// Is it asked for by somebody who may see values?
    pub(crate) fn sees_values(&self) -> bool {
        self.sight == Sight::Values
    }

    /// The most of the past.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Is it one of those?
    pub(crate) fn holds(&self, slow: &Slow) -> bool {
        let least = (self.min_millis as u64).saturating_mul(1_000);
        slow.micros >= least && self.owner.owns(&slow.owner)
    }
}

impl SlowView {
    /// Those asked for.
    pub(crate) fn new(ledger: &Ledger, selection: &Selection) -> Self {
        ledger.add_up();
        let mut slow = Vec::new();
        let telling = selection.telling(ledger);
        ledger.each_slow(|one| {
            if selection.holds(one) && slow.len() < selection.limit {
                slow.push(SlowRow::new(one, telling));
            }
        });
        Self { slow, selection: selection.clone() }
    }
}

impl SlowRow {
    /// One, with as much as is to be told of its values.
    pub(crate) fn new(slow: &Slow, telling: Telling) -> Self {
        let (rows, error) = match slow.outcome {
            Outcome::Complete { rows } | Outcome::Suspended { rows } => (Some(rows), None),
            Outcome::Failed(code) => (None, Some(code.to_string())),
        };
        Self {
            seen: human::moment(slow.seen),
            fingerprint: slow.about.fingerprint.to_string(),
            database: slow.owner.database.to_string(),
            user: slow.owner.user.to_string(),
            exec_ms: millis(slow.micros),
            pool_wait_ms: millis(slow.wait_micros),
            rows,
            error,
            text: slow.about.text.to_string(),
            values: ValuesRow::of(slow.values, slow.kept.as_ref(), telling),
        }
    }
}

impl SlowRow {
    /// It in one line.
    pub(crate) fn line(&self) -> String {
        let line = format!(
            "{}  took {}  waited {}  {}  {}  {}@{}  {}",
            self.seen,
            human::millis(self.exec_ms),
            human::millis(self.pool_wait_ms),
            match (&self.error, self.rows) {
                (Some(code), _) => format!("error {code}"),
                (None, rows) => format!("{} rows", human::count(rows.unwrap_or(0))),
            },
            self.fingerprint,
            self.user,
            self.database,
            self.text,
        );
        let line = match &self.values {
            Some(values) => format!("{line}  -- {}", values.line()),
            None => line,
        };
        line.replace(|c: char| c.is_control(), "?")
    }
}

impl View for SlowView {
    fn text(&self) -> String {
        self.sheet().text()
    }

    fn html(&self) -> Page {
        let least = Some(self.selection.min_millis).filter(|least| *least > 0);
        let head = html! {
            input type="number" name="min_ms" min="0" placeholder="at least ms" value=[least];
            input type="number" name="limit" min="1" max=(MOST_SHOWN) placeholder="how many" value=(self.selection.limit);
        };
        self.sheet().page("/slow", form("/slow", &head))
    }
}

impl SlowView {
    fn sheet(&self) -> Sheet {
        if self.slow.is_empty() {
            return Sheet::default().words("nothing took as long as log_slow_statements\n");
        }
        let mut table = Table::new([
            name("ENDED", 20),
            column("took"),
            column("waited"),
            name("ROWS", 4),
            name("FINGERPRINT", 16),
            name("USER@DB", 8),
            name("TEXT", 12),
        ]);
        for row in &self.slow {
            let rows = row.rows.map(human::count);
            table.row([
                row.seen.clone(),
                human::millis(row.exec_ms),
                human::millis(row.pool_wait_ms),
                rows.or_else(|| row.error.clone()).unwrap_or_default(),
                row.fingerprint.clone(),
                format!("{}@{}", row.user, row.database),
                row.text.clone(),
            ]);
        }
        let values = self.slow.iter().filter_map(|row| Some((row, row.values.as_ref()?)));
        let line = |(row, values): (&SlowRow, &ValuesRow)| {
            format!("{}  {}  {}\n", row.seen, human::millis(row.exec_ms), values.line())
        };
        Sheet::default().table(table).lines(values.map(line).collect())
    }
}
