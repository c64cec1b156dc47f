//! `/idle`: where transactions are open while their client asks nothing, by route and by the statement before; the
//! longest first unless asked otherwise.

use schemars::JsonSchema;
use serde::Serialize;

use super::flags::LONG_PAUSE_MICROS;
use super::numbers::millis;
use super::selection::OwnerSelection;
use crate::admin::answer::View;
use crate::admin::human;
use crate::admin::parameters::{Parameters, number, word};
use crate::admin::problem::Problem;
use crate::admin::table::{Table, name, number as column};
use crate::stats::ledger::Ledger;
use crate::stats::record::RELATIVE_ERROR;

/// The most that are shown at once.
const MOST_SHOWN: usize = 500;

/// As many are shown unless asked otherwise.
const SHOWN: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Max,
    Total,
    Mean,
    Count,
}

const SORTS: [(&str, Sort); 4] =
    [("max", Sort::Max), ("total", Sort::Total), ("mean", Sort::Mean), ("count", Sort::Count)];

/// Which are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    sort: Sort,
    limit: usize,
    route: Option<String>,
    owner: OwnerSelection,
}

/// Some pauses.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct IdleView {
    /// How far percentiles may be off, as a share.
    rel_error: f64,
    pools: Vec<PoolRow>,
    matching: usize,
    idle: Vec<IdleRow>,
}

/// How the pauses of a pool are spread.
#[derive(Debug, JsonSchema, Serialize)]
struct PoolRow {
    database: String,
    user: String,
    count: u64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
}

/// Where clients pause.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(crate) struct IdleRow {
    route: String,
    database: String,
    user: String,
    count: u64,
    max_ms: f64,
    mean_ms: f64,
    total_ms: f64,
    last_seen: String,
    /// The statement before.
    fingerprint: String,
    text: String,
}

impl Default for Selection {
    fn default() -> Self {
        let owner = OwnerSelection::default();
        Self { sort: Sort::Max, limit: SHOWN, route: None, owner }
    }
}

impl Parameters for Selection {
    const NAMES: &'static [&'static str] = &["sort", "limit", "route", "db", "user"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "sort" => self.sort = word("sort", value, &SORTS)?,
            "limit" => self.limit = number("limit", value, 1..=MOST_SHOWN)?,
            "route" => self.route = Some(value.to_owned()),
            _ => self.owner.set(name, value)?,
        }
        Ok(())
    }
}

impl IdleView {
    /// Those asked for.
    pub(crate) fn new(ledger: &Ledger, selection: &Selection) -> Self {
        ledger.add_up();
        let insight = ledger.insight.lock();
        let mut idle = Vec::new();
        for pauses in insight.pauses().filter(|pauses| selection.owner.owns(&pauses.owner)) {
            let route = ledger.sayings.name(pauses.route);
            if selection.route.as_ref().is_some_and(|wanted| **wanted != *route) {
                continue;
            }
            idle.push(IdleRow {
                route: route.to_string(),
                database: pauses.owner.database.to_string(),
                user: pauses.owner.user.to_string(),
                count: pauses.count,
                max_ms: millis(pauses.max_micros),
                mean_ms: millis(pauses.total_micros) / pauses.count.max(1) as f64,
                total_ms: millis(pauses.total_micros),
                last_seen: human::moment(pauses.last_seen),
                fingerprint: pauses.about.fingerprint.to_string(),
                text: pauses.about.text.to_string(),
            });
        }
        let spreads = insight.pause_spreads().filter(|(owner, ..)| selection.owner.owns(owner));
        let mut pools: Vec<_> = spreads
            .map(|(owner, spread, _)| PoolRow {
                database: owner.database.to_string(),
                user: owner.user.to_string(),
                count: spread.count(),
                p50_ms: millis(spread.quantile_micros(0.5)),
                p95_ms: millis(spread.quantile_micros(0.95)),
                p99_ms: millis(spread.quantile_micros(0.99)),
            })
            .collect();
        drop(insight);
        pools.sort_by(|a, b| (&a.database, &a.user).cmp(&(&b.database, &b.user)));
        let key = |row: &IdleRow| match selection.sort {
            Sort::Max => row.max_ms,
            Sort::Total => row.total_ms,
            Sort::Mean => row.mean_ms,
            Sort::Count => row.count as f64,
        };
        idle.sort_by(|a, b| {
            let names = |row: &IdleRow| (row.route.clone(), row.fingerprint.clone());
            key(b).total_cmp(&key(a)).then_with(|| names(a).cmp(&names(b)))
        });
        let matching = idle.len();
        idle.truncate(selection.limit);
        Self { rel_error: RELATIVE_ERROR, pools, matching, idle }
    }

    /// The longest.
    pub(crate) fn longest(ledger: &Ledger) -> Option<IdleRow> {
        let selection = Selection { limit: 1, ..Selection::default() };
        Self::new(ledger, &selection).idle.into_iter().next()
    }
}

impl IdleRow {
    /// In one line, if it is worth one: longer than a network needs.
    pub(crate) fn line(&self) -> Option<String> {
        let clean = |text: &str| text.replace(|c: char| c.is_control(), "?");
        let place = if self.route.is_empty() { &self.user } else { &self.route };
        let short: String = clean(&self.text).chars().take(40).collect();
        (self.max_ms >= millis(LONG_PAUSE_MICROS)).then(|| {
            let max = human::millis(self.max_ms);
            format!("longest idle in a transaction: {max} {} after {short}\n", clean(place))
        })
    }
}

impl View for IdleView {
    fn text(&self) -> String {
        if self.idle.is_empty() {
            return "no client was idle in a transaction\n".to_owned();
        }
        let mut pools = Table::new([
            name("POOL", 8),
            column("pauses"),
            column("p50"),
            column("p95"),
            column("p99"),
        ]);
        for row in &self.pools {
            pools.row([
                format!("{}@{}", row.user, row.database),
                human::count(row.count),
                human::millis(row.p50_ms),
                human::millis(row.p95_ms),
                human::millis(row.p99_ms),
            ]);
        }
        let mut table = Table::new([
            name("ROUTE", 8),
            name("USER@DB", 8),
            column("max"),
            column("mean"),
            column("total"),
            column("pauses"),
            name("AFTER", 16),
            name("TEXT", 16),
        ]);
        for row in &self.idle {
            table.row([
                if row.route.is_empty() { "-".to_owned() } else { row.route.clone() },
                format!("{}@{}", row.user, row.database),
                human::millis(row.max_ms),
                human::millis(row.mean_ms),
                human::millis(row.total_ms),
                human::count(row.count),
                row.fingerprint.clone(),
                row.text.clone(),
            ]);
        }
        let hidden = self.matching.saturating_sub(self.idle.len());
        let more = if hidden > 0 {
            format!("and {hidden} more: ?limit={MOST_SHOWN}\n")
        } else {
            String::new()
        };
        format!("{}\n{}{more}", pools.text(), table.text())
    }
}
