//! `/`: the state of everything on one screen.

use serde::Serialize;

use super::databases::{self, DatabaseRow};
use super::pools::{self, PoolRow, PoolsView};
use super::{silence, wrapped};
use crate::admin::answer::View;
use crate::admin::human;
use crate::control::history::WINDOW;

/// Pools that fit on the screen.
const MOST_POOLS: usize = 20;

/// Databases that fit on the screen; those that are down come first.
const MOST_DATABASES: usize = 10;

/// Everything in short.
#[derive(Debug, Serialize)]
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
        let mut busiest: Vec<_> = self.pools.pools.iter().collect();
        busiest.sort_by(|a, b| {
            let load = |pool: &PoolRow| (pool.maxwait_ms, pool.rates.queries_per_s);
            load(b).partial_cmp(&load(a)).unwrap_or(std::cmp::Ordering::Equal)
        });
        if busiest.is_empty() {
            text.push_str("no pools yet: nobody has logged in\n");
        } else {
            text.push_str(&pools::table(busiest.iter().copied().take(MOST_POOLS)));
            text.push_str(&more(busiest.len(), MOST_POOLS, "/pools"));
        }
        text.push('\n');
        let urgent = databases::by_urgency(&self.databases);
        text.push_str(&databases::table(urgent.iter().copied().take(MOST_DATABASES)));
        text.push_str(&more(urgent.len(), MOST_DATABASES, "/databases"));
        text + &silence(&self.pools.silent_workers)
    }
}

fn more(all: usize, shown: usize, path: &str) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("and {more} more: {path}\n"),
    }
}
