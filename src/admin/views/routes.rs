//! `/routes`: what the statements of each part of the applications did; those that took the most time first unless
//! asked otherwise.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::millis;
use super::selection::OwnerSelection;
use crate::admin::answer::View;
use crate::admin::human;
use crate::admin::parameters::{Parameters, number, word};
use crate::admin::problem::Problem;
use crate::admin::table::{Table, name, number as column};
use crate::stats::ledger::Ledger;
use crate::stats::routes::{ROUTE_ERROR, RouteRecord, RouteStatement};

/// The most that are shown at once.
const MOST_SHOWN: usize = 500;

/// As many are shown unless asked otherwise.
const SHOWN: usize = 20;

/// What they can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Total,
    Mean,
    P95,
    P99,
    Max,
    Calls,
    Rows,
    Errors,
    Wait,
}

const SORTS: [(&str, Sort); 9] = [
    ("total", Sort::Total),
    ("mean", Sort::Mean),
    ("p95", Sort::P95),
    ("p99", Sort::P99),
    ("max", Sort::Max),
    ("calls", Sort::Calls),
    ("rows", Sort::Rows),
    ("errors", Sort::Errors),
    ("wait", Sort::Wait),
];

/// Which routes are asked for, and how.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    sort: Sort,
    limit: usize,
    /// What the name must hold, in any case.
    part: Option<String>,
    owner: OwnerSelection,
}

/// Some routes.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct RoutesView {
    /// How far percentiles may be off, as a share.
    rel_error: f64,
    /// How many there are that were asked for, shown or not.
    matching: usize,
    routes: Vec<RouteRow>,
}

/// One route of a database and user.
#[derive(Debug, JsonSchema, Serialize)]
struct RouteRow {
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
    /// Those that took the most time.
    statements: Vec<StatementRow>,
}

#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
struct Times {
    total: f64,
    mean: f64,
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

#[derive(Debug, JsonSchema, Serialize)]
struct StatementRow {
    fingerprint: String,
    calls: u64,
    total_ms: f64,
    text: String,
}

impl Default for Selection {
    fn default() -> Self {
        let owner = OwnerSelection::default();
        Self { sort: Sort::Total, limit: SHOWN, part: None, owner }
    }
}

impl Parameters for Selection {
    const NAMES: &'static [&'static str] = &["sort", "limit", "q", "db", "user"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "sort" => self.sort = word("sort", value, &SORTS)?,
            "limit" => self.limit = number("limit", value, 1..=MOST_SHOWN)?,
            "q" => self.part = Some(value.to_lowercase()),
            _ => self.owner.set(name, value)?,
        }
        Ok(())
    }
}

impl RoutesView {
    /// Those asked for.
    pub(crate) fn new(ledger: &Ledger, selection: &Selection) -> Self {
        Self::gather(ledger, selection, |name| {
            selection.part.as_ref().is_none_or(|part| name.to_lowercase().contains(part))
        })
    }

    /// One route, of each database and user that has it.
    pub(crate) fn of(ledger: &Ledger, wanted: &str, selection: &Selection) -> Self {
        Self::gather(ledger, selection, |name| name == wanted)
    }

    fn gather(ledger: &Ledger, selection: &Selection, holds: impl Fn(&str) -> bool) -> Self {
        ledger.add_up();
        let insight = ledger.insight.lock();
        let (mut all, mut routes) = (0, Vec::new());
        for record in insight.routes() {
            all += record.total_micros;
            let route = ledger.sayings.name(record.route);
            if holds(&route) && selection.owner.owns(&record.owner) {
                routes.push(RouteRow::new(&route, record));
            }
        }
        drop(insight);
        let key = |row: &RouteRow| match selection.sort {
            Sort::Total => row.exec_ms.total,
            Sort::Mean => row.exec_ms.mean,
            Sort::P95 => row.exec_ms.p95,
            Sort::P99 => row.exec_ms.p99,
            Sort::Max => row.exec_ms.max,
            Sort::Calls => row.calls as f64,
            Sort::Rows => row.rows as f64,
            Sort::Errors => row.errors as f64,
            Sort::Wait => row.pool_wait_ms,
        };
        routes.sort_by(|a, b| key(b).total_cmp(&key(a)).then_with(|| a.route.cmp(&b.route)));
        let matching = routes.len();
        routes.truncate(selection.limit);
        for row in &mut routes {
            row.time_share = if all > 0 { row.exec_ms.total / millis(all) } else { 0.0 };
        }
        Self { rel_error: ROUTE_ERROR, matching, routes }
    }

    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

impl RouteRow {
    fn new(route: &Arc<str>, record: &RouteRecord) -> Self {
        let spread = record.spread();
        let at = |share| millis(spread.quantile_micros(share).min(record.max_micros));
        let total = millis(record.total_micros);
        let mut statements: Vec<_> = record.statements.iter().collect();
        statements.sort_by_key(|statement| std::cmp::Reverse(statement.total_micros));
        Self {
            route: route.to_string(),
            database: record.owner.database.to_string(),
            user: record.owner.user.to_string(),
            calls: record.calls,
            errors: record.errors,
            rows: record.rows,
            exec_ms: Times {
                total,
                mean: if record.calls > 0 { total / record.calls as f64 } else { 0.0 },
                p50: at(0.5),
                p95: at(0.95),
                p99: at(0.99),
                max: millis(record.max_micros),
            },
            pool_wait_ms: millis(record.wait_micros),
            time_share: 0.0,
            last_seen: human::moment(record.last_seen),
            statements: statements.into_iter().map(StatementRow::from).collect(),
        }
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
                human::millis(row.exec_ms.p50),
                human::millis(row.exec_ms.p95),
                human::millis(row.exec_ms.p99),
                most.map_or_else(String::new, |most| most.text.clone()),
            ]);
        }
        let hidden = self.matching.saturating_sub(self.routes.len());
        let more = if hidden > 0 {
            format!("and {hidden} more: ?limit={MOST_SHOWN}\n")
        } else {
            String::new()
        };
        table.text() + &more
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
}
