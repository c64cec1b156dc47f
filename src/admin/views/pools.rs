//! `/pools` and `/pools/{database}/{user}`: what the clients and servers of each pool do, how fast,
//! and with which errors.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::{Percentiles, Rates, Sums, duration_millis};
use super::silence;
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::human;
use crate::admin::table::{Column, Table, name, number, numbers};
use crate::control::census::{Measured, Measures, PoolCount, Silent};
use crate::control::history::History;
use crate::stats::meter::RELATIVE_ERROR;

#[path = "pools_html.rs"]
pub(super) mod html;

/// The columns of a pool.
const COLUMNS: [Column; 16] = [
    name("POOL", 12),
    numbers("clients", "act"),
    numbers("clients", "wait"),
    numbers("clients", "idle"),
    numbers("servers", "act"),
    numbers("servers", "idle"),
    numbers("servers", "open"),
    numbers("servers", "size"),
    numbers("wait", "max"),
    numbers("wait", "p99"),
    numbers("per second", "qps"),
    numbers("per second", "xps"),
    numbers("per second", "err"),
    numbers("query time", "p50"),
    numbers("query time", "p95"),
    numbers("query time", "p99"),
];

/// All pools.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct PoolsView {
    /// How far percentiles may be off.
    pub(crate) rel_error: f64,
    /// The workers that are missing in the numbers.
    pub(crate) silent_workers: Silent,
    /// By name.
    pub(crate) pools: Vec<PoolRow>,
}

/// One pool.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(crate) struct PoolRow {
    pub(crate) database: String,
    pub(crate) user: String,
    /// Those that hold a server.
    pub(crate) clients_active: u32,
    /// Those in the queue for a server.
    pub(crate) clients_waiting: u32,
    pub(crate) clients_idle: u32,
    /// Of the active ones, those that send nothing.
    pub(crate) clients_idle_in_transaction: u32,
    /// Those that keep a server between transactions, for state that no other one has.
    pub(crate) clients_pinned: u32,
    pub(crate) servers_active: u32,
    pub(crate) servers_idle: u32,
    pub(crate) servers_opening: u32,
    /// `null` is no limit.
    pub(crate) pool_size: Option<u32>,
    pub(crate) min_pool_size: u32,
    pub(crate) reserve_pool_size: u32,
    /// How long the client at the head of the queue has been waiting.
    pub(crate) maxwait_ms: f64,
    pub(crate) rates: Rates,
    /// Of every time a client was given a server, at once or not.
    pub(crate) wait_ms: Percentiles,
    pub(crate) query_ms: Percentiles,
    pub(crate) transaction_ms: Percentiles,
    /// Since the start: connects are few.
    pub(crate) connect_ms: Percentiles,
    pub(crate) totals: Sums,
    /// Why the last connect failed, until one succeeds.
    pub(crate) connect_error: Option<String>,
}

impl PoolsView {
    /// Of what was gathered.
    pub(crate) fn new(
        counts: &[PoolCount],
        measures: &Measures,
        silent_workers: Silent,
        history: &History,
    ) -> Self {
        let row = |count: &PoolCount| {
            let measured = measures.pools.get(&count.pool.key);
            PoolRow::new(count, &measured.cloned().unwrap_or_default(), history)
        };
        let pools = counts.iter().map(row).collect();
        Self { rel_error: RELATIVE_ERROR, silent_workers, pools }
    }
}

impl PoolRow {
    fn new(count: &PoolCount, measured: &Measured, history: &History) -> Self {
        let PoolCount { pool, totals, clients, servers, longest_wait } = count;
        let (limits, failure) = pool.with_slots(|slots| (slots.limits(), slots.failure().cloned()));
        let connects = pool.connects.lock().clone();
        let recent = history.recent_spreads(&pool.key, &measured.spreads);
        let mut sums = Sums::new(totals, &measured.errors);
        sums.server_connects = connects.times.count();
        sums.server_connect_failures = connects.failures;
        Self {
            database: pool.key.database.to_string(),
            user: pool.key.user.to_string(),
            clients_active: clients.running + clients.idle_in_transaction,
            clients_waiting: clients.waiting,
            clients_idle: clients.idle,
            clients_idle_in_transaction: clients.idle_in_transaction,
            clients_pinned: pool.rules.pinned(),
            servers_active: servers.active,
            servers_idle: servers.idle,
            servers_opening: servers.opening,
            pool_size: (limits.size != u32::MAX).then_some(limits.size),
            min_pool_size: limits.min,
            reserve_pool_size: limits.reserve,
            maxwait_ms: duration_millis(*longest_wait),
            rates: Rates::from(history.recent(&pool.key)),
            wait_ms: Percentiles::from(&recent.wait),
            query_ms: Percentiles::from(&recent.query),
            transaction_ms: Percentiles::from(&recent.transaction),
            connect_ms: Percentiles::from(&connects.times.spread()),
            totals: sums,
            connect_error: failure.map(|failure| failure.to_string()),
        }
    }

    /// As people name it.
    pub(crate) fn name(&self) -> String {
        format!("{}@{}", self.user, self.database)
    }

    fn cells(&self) -> [String; 16] {
        [
            self.name(),
            self.clients_active.to_string(),
            self.clients_waiting.to_string(),
            self.clients_idle.to_string(),
            self.servers_active.to_string(),
            self.servers_idle.to_string(),
            self.servers_opening.to_string(),
            self.pool_size.map_or_else(|| "-".to_owned(), |size| size.to_string()),
            human::millis(self.maxwait_ms),
            human::millis(self.wait_ms.p99),
            human::rate(self.rates.queries_per_s),
            human::rate(self.rates.transactions_per_s),
            human::rate(self.rates.errors_per_s),
            human::millis(self.query_ms.p50),
            human::millis(self.query_ms.p95),
            human::millis(self.query_ms.p99),
        ]
    }
}

/// The table of these pools.
pub(crate) fn table<'a>(pools: impl IntoIterator<Item = &'a PoolRow>) -> String {
    let mut table = Table::new(COLUMNS);
    pools.into_iter().for_each(|pool| table.row(pool.cells()));
    table.text()
}

impl View for PoolsView {
    fn text(&self) -> String {
        table(&self.pools) + &silence(&self.silent_workers)
    }

    fn html(&self) -> Page {
        html::all(self)
    }
}

impl View for PoolRow {
    fn text(&self) -> String {
        let size = self.pool_size.map_or_else(|| "no limit".to_owned(), |size| size.to_string());
        let mut text = table([self]);
        let _ = writeln!(
            text,
            "\nsize {size}, at least {}, reserve {}; {} clients idle in transactions",
            self.min_pool_size, self.reserve_pool_size, self.clients_idle_in_transaction,
        );
        let mut times = Table::new([
            name("TIME", 11),
            number("count"),
            number("p50"),
            number("p95"),
            number("p99"),
            number("max"),
        ]);
        for (title, times_of) in [
            ("wait", &self.wait_ms),
            ("query", &self.query_ms),
            ("transaction", &self.transaction_ms),
            ("connect", &self.connect_ms),
        ] {
            let Percentiles { count, p50, p95, p99, max } = *times_of;
            let shown = [p50, p95, p99, max].map(human::millis);
            times.row([title.to_owned(), count.to_string()].into_iter().chain(shown));
        }
        text.push('\n');
        text.push_str(&times.text());
        text.push('\n');
        text.push_str(&self.totals.text());
        if let Some(error) = &self.connect_error {
            let _ = writeln!(text, "no connection to Postgres: {error}");
        }
        text
    }

    fn html(&self) -> Page {
        html::one(self)
    }
}
