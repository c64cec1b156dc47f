//! `/queries`: what statements did, by fingerprint, database and user; those that took the most time first
//! unless asked otherwise. The page for browsers is in `queries_html`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Serialize;

use super::flags::{self, Flags};
use super::nplusone::{FindingRow, FindingsView};
use super::numbers::{known, millis};
use super::ranking::{MOST_SHOWN, Named, Picked, Sort, more};
use super::selection::{OTHER, One, Selection, has_percentiles};
use super::wrapped;
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::html::pieces::Bars;
use crate::admin::human;
use crate::admin::problem::Problem;
use crate::admin::table::{Column, Table, name, number as column};
use crate::sql::fingerprint::{Extent, Fingerprint};
use crate::sql::kind::Kind;
use crate::stats::ledger::{Ledger, LedgerState};
use crate::stats::record::{RELATIVE_ERROR, Record};
use crate::stats::said::{RouteId, Sayings};
use crate::stats::spread::Spread;
use crate::stats::sums::MOST_TRACKED;
use crate::stats::window::{Totals, Window};

#[path = "queries_html.rs"]
pub(super) mod html;

/// Some statements.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct QueriesView {
    /// Which part of the past it is about.
    window: String,
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
    /// What `cursor` gets for the next page; `null` on the last.
    next_cursor: Option<String>,
    #[serde(skip)]
    selection: Selection,
}

/// The statements of one fingerprint, database and user.
#[derive(Clone, Debug, JsonSchema, Serialize)]
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
    failed: u64,
    exec_ms: Times,
    /// How its times are spread, for the page.
    #[serde(skip)]
    bars: Bars,
    pool_wait_ms: Waits,
    /// Of the time of all statements there are.
    time_share: f64,
    first_seen: String,
    last_seen: String,
    /// Where it ran most, since the start.
    routes: Vec<RouteCalls>,
    /// What was noticed: `n_plus_one`, `duplicate` and `loop_write` as in /nplusone, `idle_after` as in /idle.
    flags: Vec<&'static str>,
    /// What is known of all that is counted only, not of a window.
    #[serde(flatten)]
    whole: Option<Whole>,
}

#[derive(Clone, Debug, JsonSchema, Serialize)]
struct RouteCalls {
    route: String,
    calls: u64,
}

#[derive(Clone, Debug, JsonSchema, Serialize)]
struct Whole {
    /// By SQLSTATE.
    errors: BTreeMap<String, u64>,
    /// Until the first row came; `null` if there never was one.
    first_row_ms: Option<FirstRow>,
    /// How long clients did not read what was there; it is no part of `exec_ms`.
    client_blocked_ms: Waits,
    bytes_out: u64,
    simple_calls: u64,
    extended_calls: u64,
    in_transaction_calls: u64,
    max_list: u32,
}

#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
struct Times {
    total: f64,
    mean: f64,
    /// `null` in a window.
    min: Option<f64>,
    /// `null` in a window of more than five minutes.
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    max: f64,
}

#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
struct FirstRow {
    mean: f64,
}

#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
struct Waits {
    total: f64,
    /// `null` in a window.
    max: Option<f64>,
}

impl QueriesView {
    /// Those asked for.
    ///
    /// # Errors
    /// When the window is not remembered, or cannot be sorted so.
    pub(crate) fn new(ledger: &Ledger, selection: &Selection) -> Result<Self, Problem> {
        let route = selection.route.as_ref().map(|name| ledger.sayings.find(name));
        Self::gather(ledger, selection, |record, totals| {
            let there = |route: Option<RouteId>| route.is_some_and(|id| record.routes.holds(id));
            route.is_none_or(there) && selection.holds(record, totals)
        })
    }

    /// The first so many of all that is counted.
    pub(crate) fn top(ledger: &Ledger, sort: Sort, limit: usize) -> Vec<QueryRow> {
        Self::new(ledger, &Selection::top(sort, limit))
            .map_or_else(|_| Vec::new(), |view| view.queries)
    }

    /// All of one fingerprint.
    ///
    /// # Errors
    /// When the window is not remembered.
    fn of(ledger: &Ledger, wanted: Fingerprint, one: &One) -> Result<Self, Problem> {
        let selection =
            Selection { past: one.past.clone(), ..Selection::top(Sort::Total, MOST_SHOWN) };
        Self::gather(ledger, &selection, |record, _| {
            one.owner.holds(record)
                && record.about.as_ref().is_some_and(|about| about.fingerprint == wanted)
        })
    }

    fn gather(
        ledger: &Ledger,
        selection: &Selection,
        holds: impl Fn(&Record, &Totals) -> bool,
    ) -> Result<Self, Problem> {
        ledger.add_up();
        let now = SystemTime::now();
        let (picked, all_micros, window, since) = {
            let records = ledger.records();
            let window = selection.past.window(records.since(), now)?;
            selection.ranking.check(window)?;
            let mut all_micros = 0;
            let mut found = Vec::new();
            for record in records.iter() {
                let totals = record.totals(window, now);
                all_micros += totals.total_micros;
                // In a window, what did not run is not there.
                if (window == Window::All || totals.calls > 0) && holds(record, &totals) {
                    let key = selection.ranking.sort.key(&totals, || record.spread(window, now));
                    found.push((key, record));
                }
            }
            // Rows are made without the lock, and only of what is shown.
            let picked = selection.ranking.pick(found).map(Clone::clone);
            (picked, all_micros, window, records.since())
        };
        let flags = Flags::of(ledger);
        let row = |record| {
            let row = QueryRow::new(&record, window, now).with_share_of(all_micros);
            row.with_signs(&record, &ledger.sayings, &flags)
        };
        let Picked { rows: queries, matching, next_cursor } = picked.map(row);
        let LedgerState { tracked, evictions, dropped, .. } = ledger.state();
        Ok(Self {
            window: selection.past.word(),
            stats_since: human::moment(since),
            tracked,
            max: MOST_TRACKED,
            evicted: evictions,
            dropped_events: dropped,
            rel_error: RELATIVE_ERROR,
            matching,
            queries,
            next_cursor,
            selection: selection.clone(),
        })
    }
}

impl QueryRow {
    fn new(record: &Record, window: Window, now: SystemTime) -> Self {
        let totals = &record.totals(window, now);
        let spread = record.spread(window, now);
        let about = record.about.as_deref();
        let whole = window == Window::All;
        Self {
            fingerprint: about.map_or_else(|| OTHER.to_owned(), |a| a.fingerprint.to_string()),
            database: record.owner.database.to_string(),
            user: record.owner.user.to_string(),
            kind: about.map_or(Kind::Other, |about| about.kind).name(),
            summary: about.map_or(OTHER, |about| &about.summary).to_owned(),
            text: about.map_or(OTHER, |about| &about.text).to_owned(),
            incomplete: about.is_some_and(|about| about.extent == Extent::Incomplete),
            calls: totals.calls,
            rows: totals.rows,
            failed: totals.failed,
            exec_ms: Times::new(record, totals, window, &spread),
            bars: Bars::from(&spread),
            pool_wait_ms: Waits {
                total: millis(totals.wait_micros),
                max: whole.then(|| millis(record.max_wait_micros)),
            },
            time_share: 0.0,
            first_seen: human::moment(record.first_seen),
            last_seen: human::moment(record.last_seen),
            routes: Vec::new(),
            flags: Vec::new(),
            whole: whole.then(|| Whole::from(record)),
        }
    }

    fn with_signs(mut self, record: &Record, sayings: &Sayings, flags: &Flags) -> Self {
        let named = |(route, calls)| RouteCalls { route: sayings.name(route).to_string(), calls };
        self.routes = record.routes.sorted().into_iter().map(named).collect();
        self.flags = flags.get(record);
        self
    }

    fn with_share_of(mut self, all_micros: u64) -> Self {
        let all = millis(all_micros);
        self.time_share = if all > 0.0 { self.exec_ms.total / all } else { 0.0 };
        self
    }
}

impl Named for &Record {
    fn names(&self) -> [Cow<'_, str>; 3] {
        let about = self.about.as_ref();
        let fingerprint = about.map_or(OTHER.into(), |about| about.fingerprint.to_string().into());
        [fingerprint, (&*self.owner.database).into(), (&*self.owner.user).into()]
    }
}

impl From<&Record> for Whole {
    fn from(record: &Record) -> Self {
        let (count, micros) = record.first_rows;
        Self {
            errors: record.errors.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
            first_row_ms: (count > 0).then(|| FirstRow { mean: millis(micros) / count as f64 }),
            client_blocked_ms: Waits {
                total: millis(record.blocked_micros),
                max: Some(millis(record.max_blocked_micros)),
            },
            bytes_out: record.bytes_out,
            simple_calls: record.calls - record.extended_calls,
            extended_calls: record.extended_calls,
            in_transaction_calls: record.in_transaction_calls,
            max_list: record.max_list,
        }
    }
}

impl Times {
    fn new(record: &Record, totals: &Totals, window: Window, spread: &Spread) -> Self {
        let spread = has_percentiles(window).then_some(spread);
        // A histogram's step may end beyond the longest time there was.
        let at = |share| {
            let micros = spread.map(|spread| spread.quantile_micros(share));
            micros.map(|micros| millis(micros.min(record.max_micros)))
        };
        let total = millis(totals.total_micros);
        let least = if record.calls > 0 { millis(record.min_micros) } else { 0.0 };
        Self {
            total,
            mean: if totals.calls > 0 { total / totals.calls as f64 } else { 0.0 },
            min: (window == Window::All).then_some(least),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: millis(totals.max_micros),
        }
    }
}

/// What a column says of a statement.
type Cell = fn(&QueryRow) -> String;

/// The table of these statements. Whose they are, where they ran and what was noticed is said if it tells anything.
pub(crate) fn table(queries: &[QueryRow]) -> String {
    let differ =
        |of: fn(&QueryRow) -> String| queries.iter().map(of).collect::<BTreeSet<_>>().len() > 1;
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
    let flagged = queries.iter().any(|row| !row.flags.is_empty());
    let optional: [(bool, Column, Cell); 3] = [
        (flagged, name("FLAGS", 5), |row| flags::short(&row.flags)),
        (differ(QueryRow::owner), name("USER@DB", 8), QueryRow::owner),
        (differ(QueryRow::route), name("ROUTE", 7), QueryRow::route),
    ];
    let told = optional.into_iter().filter(|(tells, ..)| *tells).collect::<Vec<_>>();
    columns.extend(told.iter().map(|(_, column, _)| *column));
    columns.push(name("TEXT", 20));
    let mut table = Table::new(columns);
    for row in queries {
        let rows = if row.calls > 0 { row.rows as f64 / row.calls as f64 } else { 0.0 };
        let cells = [
            row.fingerprint.clone(),
            human::count(row.calls),
            human::millis(row.exec_ms.total),
            format!("{:.0}", row.time_share * 100.0),
            known(row.exec_ms.p50),
            known(row.exec_ms.p95),
            known(row.exec_ms.p99),
            human::rate(rows),
        ];
        let more = told.iter().map(|(.., cell)| cell(row));
        table.row(cells.into_iter().chain(more).chain([row.text.clone()]));
    }
    table.text()
}

impl View for QueriesView {
    fn text(&self) -> String {
        let mut text = table(&self.queries);
        text.push_str(&more(self.matching - self.queries.len(), self.next_cursor.as_deref()));
        let words = [
            if self.window == "all" {
                format!("since {}", self.stats_since)
            } else {
                format!("window {}", self.window)
            },
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
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct QueryView {
    #[serde(flatten)]
    list: QueriesView,
    /// What repeats within a request and need not, as in /nplusone, of every confidence.
    findings: Vec<FindingRow>,
}

impl QueryView {
    /// Of what is known of it.
    ///
    /// # Errors
    /// When the window is not remembered.
    pub(crate) fn new(ledger: &Ledger, wanted: Fingerprint, one: &One) -> Result<Self, Problem> {
        let list = QueriesView::of(ledger, wanted, one)?;
        Ok(Self { list, findings: FindingsView::about(ledger, wanted, &one.owner) })
    }

    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.list.queries.is_empty()
    }
}

impl View for QueryView {
    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(row) = self.list.queries.first() {
            let clean = row.text.replace(|c: char| c.is_control(), "?");
            let words: Vec<_> = clean.split(' ').map(str::to_owned).collect();
            text = format!("{}  {}  {}\n\n", row.fingerprint, row.kind, row.summary)
                + &wrapped(&words, " ")
                + "\n";
        }
        for row in &self.list.queries {
            text.push_str(&wrapped(&row.words(), ", "));
        }
        for finding in &self.findings {
            text.push('\n');
            text.push_str(&finding.text());
        }
        text
    }

    fn html(&self) -> Page {
        html::one(&self.list, &self.findings)
    }
}

impl QueryRow {
    fn owner(&self) -> String {
        format!("{}@{}", self.user, self.database)
    }

    /// Where it ran most.
    fn route(&self) -> String {
        let most = self.routes.first().map_or("", |most| &most.route);
        if most.is_empty() { "-".to_owned() } else { most.to_owned() }
    }

    /// All of it.
    fn words(&self) -> Vec<String> {
        let Times { total, mean, min, p50, p95, p99, max } = self.exec_ms;
        let [min, p50, p95, p99] = [min, p50, p95, p99].map(known);
        let [total, mean, max] = [total, mean, max].map(human::millis);
        let waits = self.pool_wait_ms;
        let mut words = vec![
            format!("{}@{}: {} calls", self.user, self.database, self.calls),
            format!("{} rows", self.rows),
            format!("total {total}"),
            format!("min {min} p50 {p50} p95 {p95} p99 {p99} max {max} mean {mean}"),
            format!("waited {} max {}", human::millis(waits.total), known(waits.max)),
        ];
        if let Some(whole) = &self.whole {
            let blocked = whole.client_blocked_ms;
            words.extend([
                format!("first row {}", known(whole.first_row_ms.map(|first| first.mean))),
                format!(
                    "client blocked {} max {}",
                    human::millis(blocked.total),
                    known(blocked.max)
                ),
                format!("{} sent", human::bytes(whole.bytes_out)),
                format!("{} extended", whole.extended_calls),
                format!("{} in a transaction", whole.in_transaction_calls),
                format!("longest list {}", whole.max_list),
            ]);
            words.extend(whole.errors.iter().map(|(code, count)| format!("{count} errors {code}")));
        }
        words.push(format!("seen {} to {}", self.first_seen, self.last_seen));
        let clean = |text: &str| text.replace(|c: char| c.is_control(), "?");
        let named = self.routes.iter().filter(|row| !row.route.is_empty());
        words.extend(named.map(|row| format!("{} on {}", row.calls, clean(&row.route))));
        words.extend(self.flags.iter().map(|flag| (*flag).to_owned()));
        words
    }
}
