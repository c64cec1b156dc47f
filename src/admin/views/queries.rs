//! `/queries`: what statements did, by fingerprint, database and user; those that took the most time first
//! unless asked otherwise. The page for browsers is in `queries_html`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::numbers::millis;
use super::wrapped;
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::html::pieces::Bars;
use crate::admin::human;
use crate::admin::parameters::{Parameters, number, word};
use crate::admin::problem::Problem;
use crate::admin::table::{Table, name, number as column};
use crate::sql::fingerprint::{Extent, Fingerprint};
use crate::sql::kind::Kind;
use crate::stats::ledger::{Ledger, LedgerState};
use crate::stats::record::{Owner, RELATIVE_ERROR, Record};
use crate::stats::sums::MOST_TRACKED;

#[path = "queries_html.rs"]
pub(super) mod html;

/// The most that are shown at once.
const MOST_SHOWN: usize = 500;

/// As many are shown unless asked otherwise.
const SHOWN: usize = 20;

/// What the sum of those that are not told apart is called.
const OTHER: &str = "other";

/// What they can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Total,
    Mean,
    P95,
    P99,
    Calls,
    Rows,
    Errors,
    Wait,
    Max,
}

const SORTS: [(&str, Sort); 9] = [
    ("total", Sort::Total),
    ("mean", Sort::Mean),
    ("p95", Sort::P95),
    ("p99", Sort::P99),
    ("calls", Sort::Calls),
    ("rows", Sort::Rows),
    ("errors", Sort::Errors),
    ("wait", Sort::Wait),
    ("max", Sort::Max),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Descending,
    Ascending,
}

/// Which kinds are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// All but transaction control, which is in every transaction.
    Telling,
    All,
    One(Kind),
}

const KINDS: [(&str, Kinds); 8] = [
    ("select", Kinds::One(Kind::Select)),
    ("insert", Kinds::One(Kind::Insert)),
    ("update", Kinds::One(Kind::Update)),
    ("delete", Kinds::One(Kind::Delete)),
    ("txn", Kinds::One(Kind::Transaction)),
    ("utility", Kinds::One(Kind::Utility)),
    ("other", Kinds::One(Kind::Other)),
    ("all", Kinds::All),
];

/// Which statements are asked for, and how.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) sort: Sort,
    pub(crate) order: Order,
    pub(crate) limit: usize,
    pub(crate) kinds: Kinds,
    pub(crate) min_calls: u64,
    /// What the text must hold, in any case.
    pub(crate) part: Option<String>,
    pub(crate) owner: OwnerSelection,
}

/// Whose statements are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnerSelection {
    pub(crate) database: Option<String>,
    pub(crate) user: Option<String>,
}

/// Some statements.
#[derive(Debug, Serialize)]
pub(crate) struct QueriesView {
    /// Since when they are counted.
    stats_since: String,
    tracked: usize,
    max: usize,
    evicted: u64,
    dropped_events: u64,
    /// How far percentiles may be off, as a share.
    rel_error: f64,
    /// How many there are that were asked for, shown or not.
    matching: usize,
    queries: Vec<QueryRow>,
    #[serde(skip)]
    selection: Selection,
}

/// The statements of one fingerprint, database and user.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QueryRow {
    fingerprint: String,
    database: String,
    user: String,
    kind: &'static str,
    summary: String,
    text: String,
    /// Is the text, or what it was made of, cut off?
    incomplete: bool,
    calls: u64,
    rows: u64,
    /// By SQLSTATE.
    errors: BTreeMap<String, u64>,
    exec_ms: Times,
    /// How its times are spread, for the page.
    #[serde(skip)]
    bars: Bars,
    pool_wait_ms: Waits,
    max_list: u32,
    /// Of the time of all statements there are.
    time_share: f64,
    first_seen: String,
    last_seen: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Times {
    total: f64,
    mean: f64,
    min: f64,
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Waits {
    total: f64,
    max: f64,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            sort: Sort::Total,
            order: Order::Descending,
            limit: SHOWN,
            kinds: Kinds::Telling,
            min_calls: 0,
            part: None,
            owner: OwnerSelection::default(),
        }
    }
}

impl Parameters for Selection {
    const NAMES: &'static [&'static str] =
        &["sort", "order", "limit", "db", "user", "kind", "min_calls", "q"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "sort" => self.sort = word("sort", value, &SORTS)?,
            "order" => {
                let orders = [("desc", Order::Descending), ("asc", Order::Ascending)];
                self.order = word("order", value, &orders)?;
            }
            "limit" => self.limit = number("limit", value, 1..=MOST_SHOWN)?,
            "kind" => self.kinds = word("kind", value, &KINDS)?,
            "min_calls" => self.min_calls = number("min_calls", value, 0..=usize::MAX)? as u64,
            "q" => self.part = Some(value.to_lowercase()),
            _ => self.owner.set(name, value)?,
        }
        Ok(())
    }
}

impl Parameters for OwnerSelection {
    const NAMES: &'static [&'static str] = &["db", "user"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let field = if name == "db" { &mut self.database } else { &mut self.user };
        *field = Some(value.to_owned());
        Ok(())
    }
}

impl OwnerSelection {
    /// Is it one of theirs?
    pub(crate) fn holds(&self, record: &Record) -> bool {
        self.owns(&record.owner)
    }

    /// Is it this pool?
    pub(crate) fn owns(&self, owner: &Owner) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        is(&self.database, &owner.database) && is(&self.user, &owner.user)
    }
}

impl Selection {
    /// The most expensive so many.
    pub(crate) fn top(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    fn holds(&self, record: &Record) -> bool {
        let kind = record.about.as_ref().map_or(Kind::Other, |about| about.kind);
        let wanted = match self.kinds {
            Kinds::Telling => kind != Kind::Transaction,
            Kinds::All => true,
            Kinds::One(one) => kind == one,
        };
        let text = record.about.as_ref().map_or(OTHER, |about| &*about.text);
        wanted
            && record.calls >= self.min_calls
            && self.owner.holds(record)
            && self.part.as_ref().is_none_or(|part| text.to_lowercase().contains(part))
    }
}

impl QueriesView {
    /// Those asked for.
    pub(crate) fn new(ledger: &Ledger, selection: &Selection) -> Self {
        Self::gather(ledger, selection, |record| selection.holds(record))
    }

    /// All of one fingerprint.
    pub(crate) fn of(ledger: &Ledger, wanted: Fingerprint, owner: &OwnerSelection) -> Self {
        Self::gather(ledger, &Selection::top(MOST_SHOWN), |record| {
            owner.holds(record)
                && record.about.as_ref().is_some_and(|about| about.fingerprint == wanted)
        })
    }

    fn gather(ledger: &Ledger, selection: &Selection, holds: impl Fn(&Record) -> bool) -> Self {
        ledger.add_up();
        let mut all_micros = 0;
        let mut queries = Vec::new();
        let since = ledger.each(|record| {
            all_micros += record.total_micros;
            if holds(record) {
                queries.push(QueryRow::from(record));
            }
        });
        let matching = queries.len();
        queries.sort_by(|a, b| match selection.order {
            Order::Descending => compare(b, a, selection.sort),
            Order::Ascending => compare(a, b, selection.sort),
        });
        queries.truncate(selection.limit);
        let all = millis(all_micros);
        for query in &mut queries {
            query.time_share = if all > 0.0 { query.exec_ms.total / all } else { 0.0 };
        }
        let LedgerState { tracked, evictions, dropped, .. } = ledger.state();
        Self {
            stats_since: human::moment(since),
            tracked,
            max: MOST_TRACKED,
            evicted: evictions,
            dropped_events: dropped,
            rel_error: RELATIVE_ERROR,
            matching,
            queries,
            selection: selection.clone(),
        }
    }

    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// The statements alone.
    pub(crate) fn into_rows(self) -> Vec<QueryRow> {
        self.queries
    }
}

fn compare(a: &QueryRow, b: &QueryRow, sort: Sort) -> Ordering {
    let key = |row: &QueryRow| match sort {
        Sort::Total => row.exec_ms.total,
        Sort::Mean => row.exec_ms.mean,
        Sort::P95 => row.exec_ms.p95,
        Sort::P99 => row.exec_ms.p99,
        Sort::Calls => row.calls as f64,
        Sort::Rows => row.rows as f64,
        Sort::Errors => row.errors.values().sum::<u64>() as f64,
        Sort::Wait => row.pool_wait_ms.total,
        Sort::Max => row.exec_ms.max,
    };
    let names = |row: &QueryRow| (row.fingerprint.clone(), row.database.clone(), row.user.clone());
    key(a).total_cmp(&key(b)).then_with(|| names(b).cmp(&names(a)))
}

impl From<&Record> for QueryRow {
    fn from(record: &Record) -> Self {
        let about = record.about.as_deref();
        let moment = |time: SystemTime| human::moment(time);
        Self {
            fingerprint: about.map_or_else(|| OTHER.to_owned(), |a| a.fingerprint.to_string()),
            database: record.owner.database.to_string(),
            user: record.owner.user.to_string(),
            kind: about.map_or(Kind::Other, |about| about.kind).name(),
            summary: about.map_or(OTHER, |about| &about.summary).to_owned(),
            text: about.map_or(OTHER, |about| &about.text).to_owned(),
            incomplete: about.is_some_and(|about| about.extent == Extent::Incomplete),
            calls: record.calls,
            rows: record.rows,
            errors: record.errors.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
            exec_ms: Times::from(record),
            bars: Bars::from(&record.spread()),
            pool_wait_ms: Waits {
                total: millis(record.wait_micros),
                max: millis(record.max_wait_micros),
            },
            max_list: record.max_list,
            time_share: 0.0,
            first_seen: moment(record.first_seen),
            last_seen: moment(record.last_seen),
        }
    }
}

impl From<&Record> for Times {
    fn from(record: &Record) -> Self {
        let spread = record.spread();
        // A histogram's step may end beyond the longest time there was.
        let at = |share| millis(spread.quantile_micros(share).min(record.max_micros));
        let total = millis(record.total_micros);
        Self {
            total,
            mean: if record.calls > 0 { total / record.calls as f64 } else { 0.0 },
            min: if record.calls > 0 { millis(record.min_micros) } else { 0.0 },
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: millis(record.max_micros),
        }
    }
}

/// The table of these statements; whose they are is said if they are not all of one pool.
pub(crate) fn table(queries: &[QueryRow]) -> String {
    let owner = |row: &QueryRow| format!("{}@{}", row.user, row.database);
    let mut owners: Vec<_> = queries.iter().map(owner).collect();
    owners.dedup();
    let mut columns = vec![
        name("FINGERPRINT", 16),
        column("calls"),
        column("total"),
        column("%"),
        column("p50"),
        column("p95"),
        column("p99"),
        column("rows/c"),
    ];
    if owners.len() > 1 {
        columns.push(name("USER@DB", 8));
    }
    columns.push(name("TEXT", 20));
    let mut table = Table::new(columns);
    for row in queries {
        let rows = if row.calls > 0 { row.rows as f64 / row.calls as f64 } else { 0.0 };
        let owner = (owners.len() > 1).then(|| owner(row));
        let cells = [
            row.fingerprint.clone(),
            human::count(row.calls),
            human::millis(row.exec_ms.total),
            format!("{:.0}", row.time_share * 100.0),
            human::millis(row.exec_ms.p50),
            human::millis(row.exec_ms.p95),
            human::millis(row.exec_ms.p99),
            human::rate(rows),
        ];
        table.row(cells.into_iter().chain(owner).chain([row.text.clone()]));
    }
    table.text()
}

impl View for QueriesView {
    fn text(&self) -> String {
        let mut text = table(&self.queries);
        let hidden = self.matching.saturating_sub(self.queries.len());
        if hidden > 0 {
            text.push_str(&format!("and {hidden} more: ?limit={MOST_SHOWN}\n"));
        }
        let words = [
            format!("since {}", self.stats_since),
            format!("{} of {} tracked", self.tracked, self.max),
            format!("{} evicted", self.evicted),
            format!("{} events dropped", self.dropped_events),
        ];
        text + "\n" + &wrapped(&words, ", ")
    }

    fn html(&self) -> Page {
        html::list(self)
    }
}

/// One fingerprint in full.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct QueryView(pub(crate) QueriesView);

impl View for QueryView {
    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(row) = self.0.queries.first() {
            let clean = row.text.replace(|c: char| c.is_control(), "?");
            let words: Vec<_> = clean.split(' ').map(str::to_owned).collect();
            text = format!("{}  {}  {}\n\n", row.fingerprint, row.kind, row.summary)
                + &wrapped(&words, " ")
                + "\n";
        }
        for row in &self.0.queries {
            let (times, waits) = (row.exec_ms, row.pool_wait_ms);
            let times = [times.min, times.p50, times.p95, times.p99, times.max, times.mean];
            let [min, p50, p95, p99, max, mean] = times.map(human::millis);
            let errors = row.errors.iter().map(|(code, count)| format!("{count} errors {code}"));
            let mut words = vec![
                format!("{}@{}: {} calls", row.user, row.database, row.calls),
                format!("{} rows", row.rows),
                format!("total {}", human::millis(row.exec_ms.total)),
                format!("min {min} p50 {p50} p95 {p95} p99 {p99} max {max} mean {mean}"),
                format!("waited {} max {}", human::millis(waits.total), human::millis(waits.max)),
                format!("longest list {}", row.max_list),
                format!("seen {} to {}", row.first_seen, row.last_seen),
            ];
            words.extend(errors);
            text.push_str(&wrapped(&words, ", "));
        }
        text
    }

    fn html(&self) -> Page {
        html::one(&self.0)
    }
}
