//! `/`: the state of everything on one screen.

use schemars::JsonSchema;
use serde::Serialize;

use super::databases::{self, DatabaseRow};
use super::idle::IdleRow;
use super::nplusone::{self, FindingRow};
use super::pools::{self, PoolRow, PoolsView};
use super::queries::{self, QueryRow};
use super::ranking::{SORTS, Sort};
use super::routes::RouteRow;
use super::{silence, wrapped};
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::human;
use crate::admin::parameters::{Parameters, number, word};
use crate::admin::problem::Problem;
use crate::control::history::WINDOW;

#[path = "dashboard_html.rs"]
mod html;

/// Pools that fit on the screen.
const MOST_POOLS: usize = 20;

/// Databases that fit on the screen; those that are down come first.
const MOST_DATABASES: usize = 10;

/// Statements that fit on the screen.
const TOP_QUERIES: usize = 5;

/// The most that can be asked for, for high terminals.
const MOST_QUERIES: usize = 100;

/// Which statements are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) sort: Sort,
    pub(crate) limit: usize,
}

impl Default for Shown {
    fn default() -> Self {
        Self { sort: Sort::Total, limit: TOP_QUERIES }
    }
}

impl Parameters for Shown {
    const NAMES: &'static [&'static str] = &["sort", "limit"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        if name == "sort" {
            self.sort = word("sort", value, &SORTS)?;
        } else {
            self.limit = number("limit", value, 1..=MOST_QUERIES)?;
        }
        Ok(())
    }
}

/// Candidates that fit on the screen.
pub(crate) const TOP_FINDINGS: usize = 5;

/// Routes that are shown.
pub(crate) const TOP_ROUTES: usize = 5;

/// Everything in short.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Dashboard {
    pub(crate) version: &'static str,
    pub(crate) stage: &'static str,
    pub(crate) uptime_s: f64,
    pub(crate) workers: usize,
    pub(crate) memory_bytes: Option<u64>,
    /// Clients that are logged in or about to be.
    pub(crate) clients: u32,
    pub(crate) clients_logging_in: usize,
    pub(crate) max_client_conn: u32,
    #[serde(flatten)]
    pub(crate) pools: PoolsView,
    pub(crate) databases: Vec<DatabaseRow>,
    /// Those that took the most time since the start, unless asked otherwise.
    pub(crate) queries: Vec<QueryRow>,
    /// What repeats within a request and would save the most.
    pub(crate) nplusone: Vec<FindingRow>,
    /// Routes that took the most time.
    pub(crate) routes: Vec<RouteRow>,
    /// Where a transaction was open longest while its client asked nothing.
    pub(crate) idle: Option<IdleRow>,
    #[serde(skip)]
    pub(crate) shown: Shown,
}

impl Dashboard {
    fn summary(&self) -> Vec<String> {
        let sum = |of: fn(&PoolRow) -> u32| self.pools.pools.iter().map(of).sum::<u32>();
        let rate = |of: fn(&PoolRow) -> f64| self.pools.pools.iter().map(of).sum::<f64>();
        let servers = sum(|pool| pool.servers_active + pool.servers_idle + pool.servers_opening);
        vec![
            format!("clients {} of {}", self.clients, self.max_client_conn),
            format!("{} logging in", self.clients_logging_in),
            format!("{} waiting", sum(|pool| pool.clients_waiting)),
            format!("servers {servers}"),
            format!("{} qps", human::rate(rate(|pool| pool.rates.queries_per_s))),
            format!("{} xps", human::rate(rate(|pool| pool.rates.transactions_per_s))),
            self.memory_bytes
                .map_or_else(String::new, |bytes| format!("memory {}", human::bytes(bytes))),
        ]
    }
}

impl Dashboard {
    /// The pools with the longest wait first, then those with the most queries.
    fn busiest(&self) -> Vec<&PoolRow> {
        let mut busiest: Vec<_> = self.pools.pools.iter().collect();
        busiest.sort_by(|a, b| {
            let load = |pool: &PoolRow| (pool.maxwait_ms, pool.rates.queries_per_s);
            load(b).partial_cmp(&load(a)).unwrap_or(std::cmp::Ordering::Equal)
        });
        busiest
    }
}

impl View for Dashboard {
    fn text(&self) -> String {
        let uptime = std::time::Duration::from_secs_f64(self.uptime_s);
        let mut text = format!(
            "pooler {}  {}  up {}  {} workers  window {} s\n",
            self.version,
            self.stage,
            human::span(uptime),
            self.workers,
            WINDOW.as_secs(),
        );
        let summary: Vec<_> = self.summary().into_iter().filter(|word| !word.is_empty()).collect();
        text.push_str(&wrapped(&summary, ", "));
        text.push('\n');
        let busiest = self.busiest();
        if busiest.is_empty() {
            text.push_str("no pools yet: nobody has logged in\n");
        } else {
            text.push_str(&pools::table(busiest.iter().copied().take(MOST_POOLS)));
            text.push_str(&more(busiest.len(), MOST_POOLS, "/pools"));
        }
        if !self.queries.is_empty() {
            let (word, _) =
                SORTS.iter().find(|(_, sort)| *sort == self.shown.sort).unwrap_or(&SORTS[0]);
            let of = if *word == "total" { "TOTAL TIME".to_owned() } else { word.to_uppercase() };
            text.push_str(&format!("\nTOP BY {of}\n"));
            text.push_str(&queries::table(&self.queries));
        }
        if !self.nplusone.is_empty() {
            text.push_str("\nN+1 CANDIDATES (/nplusone)\n");
            text.push_str(&nplusone::table(&self.nplusone));
        }
        if let Some(line) = self.idle.as_ref().and_then(IdleRow::line) {
            text.push('\n');
            text.push_str(&line);
        }
        text.push('\n');
        let urgent = databases::by_urgency(&self.databases);
        text.push_str(&databases::table(urgent.iter().copied().take(MOST_DATABASES)));
        text.push_str(&more(urgent.len(), MOST_DATABASES, "/databases"));
        text + &silence(&self.pools.silent_workers)
    }

    fn html(&self) -> Page {
        html::page(self)
    }
}

fn more(all: usize, shown: usize, path: &str) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("and {more} more: {path}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::views::databases::HealthRow;
    use crate::admin::views::numbers::{Percentiles, Rates};

    fn pool(user: &str, database: &str, qps: f64) -> PoolRow {
        let percentiles = Percentiles { count: 9, p50: 0.081, p95: 6.14, p99: 42.4, max: 99.0 };
        PoolRow {
            database: database.to_owned(),
            user: user.to_owned(),
            clients_active: 9,
            clients_waiting: 180,
            clients_idle: 1200,
            clients_pinned: 0,
            clients_idle_in_transaction: 1,
            servers_active: 20,
            servers_idle: 0,
            servers_opening: 0,
            pool_size: Some(20),
            min_pool_size: 0,
            reserve_pool_size: 0,
            maxwait_ms: 42.4,
            rates: Rates { queries_per_s: qps, transactions_per_s: qps / 2.0, ..Rates::default() },
            wait_ms: percentiles,
            query_ms: percentiles,
            transaction_ms: percentiles,
            connect_ms: Percentiles::default(),
            totals: Default::default(),
            connect_error: None,
        }
    }

    fn database(name: &str, error: Option<&str>) -> DatabaseRow {
        DatabaseRow {
            database: name.to_owned(),
            address: "10.0.0.1:5432".to_owned(),
            dbname: None,
            user: None,
            pools: 1,
            clients: 189,
            max_clients: None,
            servers: 20,
            max_servers: Some(50),
            health: HealthRow {
                state: if error.is_some() { "down" } else { "up" },
                state_ms: 12_000.0,
                probe: "hello",
                probe_ms: Some(0.4),
                error: error.map(str::to_owned),
            },
        }
    }

    fn dashboard(pools: Vec<PoolRow>) -> Dashboard {
        Dashboard {
            version: "1.2.3",
            stage: "serving",
            uptime_s: 273_600.0,
            workers: 8,
            memory_bytes: Some(52_000_000),
            clients: 1389,
            clients_logging_in: 2,
            max_client_conn: 10_000,
            pools: PoolsView { rel_error: 0.01, silent_workers: Vec::new(), pools },
            databases: vec![database("crm", None), database("shop", Some("connection refused"))],
            queries: Vec::new(),
            nplusone: Vec::new(),
            routes: Vec::new(),
            idle: None,
            shown: Shown::default(),
        }
    }

    #[test]
    fn the_screen_shows_the_busiest_pools_and_what_is_down_first() {
        let pools = vec![pool("app", "crm", 12.0), pool("app_with_a_long_name", "shop", 18_400.0)];
        let expected = "\
pooler 1.2.3  serving  up 3d04h  8 workers  window 60 s
clients 1389 of 10000, 2 logging in, 360 waiting, servers 40, 18.4k qps, 9206 xps, memory 52 MB

                             clients             servers       wait      per second       query time
POOL                   act wait idle  act idle open size   max  p99    qps  xps err   p50   p95  p99
app_with_a_long_name…    9  180 1200   20    0    0   20  42ms 42ms  18.4k 9200   0  81µs 6.1ms 42ms
app@crm                  9  180 1200   20    0    0   20  42ms 42ms     12  6.0   0  81µs 6.1ms 42ms

DATABASE  ADDRESS        pools  clients   servers  POSTGRES
shop      10.0.0.1:5432      1      189  20 of 50  DOWN for 12.0s: connection refused
crm       10.0.0.1:5432      1      189  20 of 50  up 400µs
";
        let text = dashboard(pools).text();
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn many_pools_leave_room_for_the_rest_of_the_screen() {
        let pools = (0..100).map(|n| pool("app", &format!("tenant_{n}"), f64::from(n))).collect();
        let text = dashboard(pools).text();
        assert!(text.contains("app@tenant_99") && !text.contains("app@tenant_79"), "{text}");
        assert!(text.contains("and 80 more: /pools\n"), "{text}");
        assert!(text.lines().count() <= 40, "{text}");
    }
}
