//! `/databases`: where each database is, how much of its limits is used, and whether its Postgres
//! answers.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::duration_millis;
use super::silence;
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::human;
use crate::admin::sheet::Sheet;
use crate::admin::table::{Table, name, number};
use crate::config::{Config, FALLBACK};
use crate::control::census::{PoolCount, Silent};
use crate::control::health::{DatabaseHealth, Method, State};
use crate::pool::pools::address;

/// All databases that are configured or in use.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct DatabasesView {
    /// The workers whose clients are missing.
    pub(crate) silent_workers: Silent,
    /// By name.
    pub(crate) databases: Vec<DatabaseRow>,
}

/// One database.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(crate) struct DatabaseRow {
    /// As clients call it; `*` serves every other name.
    pub(crate) database: String,
    /// Where its Postgres is.
    pub(crate) address: String,
    /// What Postgres calls it; `null` is as clients do.
    pub(crate) dbname: Option<String>,
    /// The user that servers log in as; `null` is each client's own.
    pub(crate) user: Option<String>,
    pub(crate) pools: usize,
    pub(crate) clients: u32,
    /// `null` is no limit.
    pub(crate) max_clients: Option<u32>,
    pub(crate) servers: u32,
    /// `null` is no limit.
    pub(crate) max_servers: Option<u32>,
    pub(crate) health: HealthRow,
}

/// Whether a database's Postgres answers.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(crate) struct HealthRow {
    pub(crate) state: &'static str,
    /// How long it has been so.
    pub(crate) state_ms: f64,
    /// `hello`: does it take logins; `query`: does it run `server_check_query`.
    pub(crate) probe: &'static str,
    /// How long the last probe took.
    pub(crate) probe_ms: Option<f64>,
    /// Why it is down.
    pub(crate) error: Option<String>,
}

impl DatabasesView {
    /// Of what was gathered.
    pub(crate) fn new(
        config: &Config,
        counts: &[PoolCount],
        health: &BTreeMap<String, DatabaseHealth>,
        silent_workers: Silent,
    ) -> Self {
        let in_use = counts.iter().map(|count| &*count.pool.key.database);
        let names: BTreeSet<&str> =
            config.databases.keys().map(String::as_str).chain(in_use).collect();
        let row = |name: &str| {
            let health = HealthRow::new(config, health.get(name));
            DatabaseRow::new(name, config, counts, health)
        };
        Self { silent_workers, databases: names.into_iter().filter_map(row).collect() }
    }
}

impl DatabaseRow {
    /// `None`: it is not configured any more, and its last clients are about to leave.
    fn new(name: &str, config: &Config, counts: &[PoolCount], health: HealthRow) -> Option<Self> {
        let database = config.database(name)?;
        let ours: Vec<_> = counts.iter().filter(|c| &*c.pool.key.database == name).collect();
        let limit = |limit: u32| (limit != u32::MAX).then_some(limit);
        let clients = ours.iter().map(|c| c.clients);
        let max_servers = database.max_db_connections.unwrap_or(config.pool.max_db_connections);
        Some(Self {
            database: name.to_owned(),
            address: address(&database.host, database.port).to_string(),
            dbname: database.dbname.clone(),
            user: database.user.clone(),
            pools: ours.len(),
            clients: clients.map(|c| c.idle + c.waiting + c.running + c.idle_in_transaction).sum(),
            max_clients: limit(config.client_limits(name, "").max_db_client_connections),
            servers: ours.iter().map(|count| count.servers.total()).sum(),
            max_servers: limit(max_servers),
            health,
        })
    }

    /// In a few words.
    pub(crate) fn health_text(&self) -> String {
        let HealthRow { state, state_ms, probe_ms, error, .. } = &self.health;
        match error {
            Some(error) => format!("DOWN for {}: {error}", human::millis(*state_ms)),
            None => probe_ms.map_or_else(
                || (*state).to_owned(),
                |took| format!("{state} {}", human::millis(took)),
            ),
        }
    }
}

impl HealthRow {
    fn new(config: &Config, health: Option<&DatabaseHealth>) -> Self {
        let Some(health) = health else {
            let probing = config.server.health_check_interval.is_some();
            let state = if probing { "unknown" } else { "not probed" };
            return Self { state, state_ms: 0.0, probe: "none", probe_ms: None, error: None };
        };
        let (state, error) = match &health.state {
            State::Unknown => ("unknown", None),
            State::Up => ("up", None),
            State::Down(reason) => ("down", Some(reason.to_string())),
        };
        Self {
            state,
            state_ms: duration_millis(health.since.elapsed()),
            probe: match health.method {
                Method::Hello => "hello",
                Method::Query => "query",
            },
            probe_ms: health.took.map(duration_millis),
            error,
        }
    }
}

/// Those whose Postgres is down first.
pub(crate) fn by_urgency(databases: &[DatabaseRow]) -> Vec<&DatabaseRow> {
    let mut rows: Vec<_> = databases.iter().collect();
    rows.sort_by_key(|row| row.health.error.is_none());
    rows
}

/// The table of these databases.
pub(crate) fn table<'a>(databases: impl IntoIterator<Item = &'a DatabaseRow>) -> Table {
    let mut table = Table::new([
        name("DATABASE", 12),
        name("ADDRESS", 12),
        number("pools"),
        number("clients"),
        number("servers"),
        name("POSTGRES", 20),
    ]);
    for row in databases {
        let of = |used: u32, limit: Option<u32>| {
            limit.map_or_else(|| used.to_string(), |limit| format!("{used} of {limit}"))
        };
        table.row([
            if row.database == FALLBACK { "* (others)".to_owned() } else { row.database.clone() },
            row.address.clone(),
            row.pools.to_string(),
            of(row.clients, row.max_clients),
            of(row.servers, row.max_servers),
            row.health_text(),
        ]);
    }
    table
}

impl View for DatabasesView {
    fn text(&self) -> String {
        self.sheet().text()
    }

    fn html(&self) -> Page {
        self.sheet().page("/databases", maud::html! {})
    }
}

impl DatabasesView {
    fn sheet(&self) -> Sheet {
        let mut text = String::new();
        for row in &self.databases {
            if let Some(error) = &row.health.error {
                text.push_str(&format!("{}: {error}\n", row.database));
            }
        }
        let words = text + &silence(&self.silent_workers);
        Sheet::default().table(table(&self.databases)).words(words)
    }
}
