//! `/routes`: what the statements of each part of the applications did; those that took the most time first unless
//! asked otherwise.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::{known, millis};
use super::ranking::{Named, Picked, Ranking, more};
use super::selection::{OwnerSelection, Past, has_percentiles};
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::human;
use crate::admin::parameters::Parameters;
use crate::admin::problem::Problem;
use crate::admin::table::{Table, name, number as column};
use crate::stats::ledger::Ledger;
use crate::stats::record::{Owner, RELATIVE_ERROR};
use crate::stats::routes::{ROUTE_ERROR, RouteRecord, RouteStatement};
use crate::stats::window::Window;

#[path = "routes_html.rs"]
pub(super) mod html;

/// Which routes are asked for, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    ranking: Ranking,
    /// What the name must hold, in any case.
    part: Option<String>,
    owner: OwnerSelection,
    past: Past,
}

/// Some routes.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct RoutesView {
    /// Which part of the past it is about.
    window: String,
    /// Since when routes are counted.
    stats_since: String,
    /// How far percentiles may be off, as a share.
    rel_error: f64,
    /// How many there are that were asked for, shown or not.
    matching: usize,
    routes: Vec<RouteRow>,
    /// What `cursor` gets for the next page; `null` on the last.
    next_cursor: Option<String>,
    #[serde(skip)]
    selection: Selection,
}

/// One route of a database and user.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct RouteRow {
    route: String,
    database: String,
    user: String,
    calls: u64,
    errors: u64,
    rows: u64,
    exec_ms: Times,
    pool_wait_ms: f64,
    /// Of the time of all routes there are.
    time_share: f64,
    last_seen: String,
    /// Those that took the most time since `stats_since`, whatever the window.
    statements: Vec<StatementRow>,
}

#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
struct Times {
    total: f64,
    mean: f64,
    /// `null` in a window of more than five minutes.
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    max: f64,
}

#[derive(Debug, JsonSchema, Serialize)]
struct StatementRow {
    fingerprint: String,
    calls: u64,
    total_ms: f64,
    text: String,
}

impl Parameters for Selection {
    const NAMES: &'static [&'static str] =
        &["sort", "order", "limit", "cursor", "q", "db", "user", "window", "since"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "sort" | "order" | "limit" | "cursor" => self.ranking.set(name, value),
            "q" => {
                self.part = Some(value.to_lowercase());
                Ok(())
            }
            "window" | "since" => self.past.set(name, value),
            _ => self.owner.set(name, value),
        }
    }
}

/// A route with its name.
struct Found<R> {
    name: Arc<str>,
    record: R,
}

impl Named for Found<&RouteRecord> {
    fn names(&self) -> [Cow<'_, str>; 3] {
        let Owner { database, user } = &*self.record.owner;
        [(&*self.name).into(), (&**database).into(), (&**user).into()]
    }
}

impl RoutesView {
    /// Those asked for.
    ///
    /// # Errors
    /// When the window is not remembered, or cannot be sorted so.
    pub(crate) fn new(ledger: &Ledger, selection: &Selection) -> Result<Self, Problem> {
        Self::gather(ledger, selection, |name| {
            selection.part.as_ref().is_none_or(|part| name.to_lowercase().contains(part))
        })
    }

    /// Those that took the most time.
    pub(crate) fn top(ledger: &Ledger, limit: usize) -> Vec<RouteRow> {
        let ranking = Ranking { limit, ..Ranking::default() };
        let top = Self::new(ledger, &Selection { ranking, ..Selection::default() });
        top.map_or_else(|_| Vec::new(), |view| view.routes)
    }

    /// One route, of each database and user that has it.
    ///
    /// # Errors
    /// When the window is not remembered, or cannot be sorted so.
    pub(crate) fn of(ledger: &Ledger, name: &str, selection: &Selection) -> Result<Self, Problem> {
        Self::gather(ledger, selection, |other| other == name)
    }

    fn gather(
        ledger: &Ledger,
        selection: &Selection,
        holds: impl Fn(&str) -> bool,
    ) -> Result<Self, Problem> {
        ledger.add_up();
        let now = SystemTime::now();
        let (ranking, past) = (&selection.ranking, &selection.past);
        let (picked, all_micros, window, since) = {
            let insight = ledger.insight.lock();
            let window = past.window(insight.since(), now)?;
            ranking.check(window)?;
            let (mut all_micros, mut found) = (0, Vec::new());
            for record in insight.routes() {
                let totals = record.totals(window, now);
                all_micros += totals.total_micros;
                let ran = window == Window::All || totals.calls > 0;
                let name = ledger.sayings.name(record.route);
                if ran && selection.owner.owns(&record.owner) && holds(&name) {
                    let key = ranking.sort.key(&totals, || record.spread(window, now));
                    found.push((key, Found { name, record }));
                }
            }
            let own = |found: Found<&RouteRecord>| {
                let Found { name, record } = found;
                Found { name, record: record.clone() }
            };
            (ranking.pick(found).map(own), all_micros, window, insight.since())
        };
        let Picked { rows, matching, next_cursor } = picked;
        let exact = window == Window::All;
        Ok(Self {
            window: past.word(),
            stats_since: human::moment(since),
            rel_error: if exact { ROUTE_ERROR } else { RELATIVE_ERROR },
            matching,
            routes: rows
                .iter()
                .map(|found| RouteRow::new(found, window, all_micros, now))
                .collect(),
            next_cursor,
            selection: selection.clone(),
        })
    }

    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// What is said below the table.
    fn rest(&self) -> String {
        let past = match &*self.window {
            "all" => format!("since {}", self.stats_since),
            window => format!("window {window}"),
        };
        more(self.matching - self.routes.len(), self.next_cursor.as_deref()) + &past + "\n"
    }
}

impl RouteRow {
    fn new(found: &Found<RouteRecord>, window: Window, all_micros: u64, now: SystemTime) -> Self {
        let Found { name, record } = found;
        let totals = record.totals(window, now);
        let spread = has_percentiles(window).then(|| record.spread(window, now));
        let at = |share| {
            let micros = spread.as_ref().map(|spread| spread.quantile_micros(share));
            micros.map(|micros| millis(micros.min(record.max_micros)))
        };
        let (total, all) = (millis(totals.total_micros), millis(all_micros));
        let mut statements: Vec<_> = record.statements.iter().collect();
        statements.sort_by_key(|statement| std::cmp::Reverse(statement.total_micros));
        Self {
            route: name.to_string(),
            database: record.owner.database.to_string(),
            user: record.owner.user.to_string(),
            calls: totals.calls,
            errors: totals.failed,
            rows: totals.rows,
            exec_ms: Times {
                total,
                mean: total / totals.calls.max(1) as f64,
                p50: at(0.5),
                p95: at(0.95),
                p99: at(0.99),
                max: millis(totals.max_micros),
            },
            pool_wait_ms: millis(totals.wait_micros),
            time_share: if all > 0.0 { total / all } else { 0.0 },
            last_seen: human::moment(record.last_seen),
            statements: statements.into_iter().map(StatementRow::from).collect(),
        }
    }
}

impl RouteRow {
    /// Is it known where its statements come from?
    pub(crate) fn is_named(&self) -> bool {
        !self.route.is_empty()
    }
}

impl From<&RouteStatement> for StatementRow {
    fn from(statement: &RouteStatement) -> Self {
        Self {
            fingerprint: statement.about.fingerprint.to_string(),
            calls: statement.calls,
            total_ms: millis(statement.total_micros),
            text: statement.about.text.to_string(),
        }
    }
}

impl View for RoutesView {
    fn text(&self) -> String {
        let mut table = Table::new([
            name("ROUTE", 16),
            name("USER@DB", 8),
            column("calls"),
            column("err"),
            column("total"),
            column("%"),
            column("p50"),
            column("p95"),
            column("p99"),
            name("MOST TIME", 16),
        ]);
        for row in &self.routes {
            let most = row.statements.first();
            table.row([
                if row.route.is_empty() { "-".to_owned() } else { row.route.clone() },
                format!("{}@{}", row.user, row.database),
                human::count(row.calls),
                human::count(row.errors),
                human::millis(row.exec_ms.total),
                format!("{:.0}", row.time_share * 100.0),
                known(row.exec_ms.p50),
                known(row.exec_ms.p95),
                known(row.exec_ms.p99),
                most.map_or_else(String::new, |most| most.text.clone()),
            ]);
        }
        table.text() + &self.rest()
    }

    fn html(&self) -> Page {
        html::list(self)
    }
}

/// One route in full.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(transparent)]
pub(crate) struct RouteView(pub(crate) RoutesView);

impl View for RouteView {
    fn text(&self) -> String {
        let mut text = self.0.text();
        for row in &self.0.routes {
            let mut table = Table::new([
                name("FINGERPRINT", 16),
                column("calls"),
                column("total"),
                name("TEXT", 20),
            ]);
            for statement in &row.statements {
                table.row([
                    statement.fingerprint.clone(),
                    human::count(statement.calls),
                    human::millis(statement.total_ms),
                    statement.text.clone(),
                ]);
            }
            text.push_str(&format!("\n{}@{}\n{}", row.user, row.database, table.text()));
        }
        text
    }
    fn html(&self) -> Page {
        html::one(&self.0)
    }
}
