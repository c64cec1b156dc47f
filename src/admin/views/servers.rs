//! `/servers`: every connection to Postgres, and who has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::{duration_millis, millis};
use super::silence;
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::human;
use crate::admin::sheet::Sheet;
use crate::admin::table::{Table, name, number};
use crate::client::look::SeenClient;
use crate::control::census::Silent;
use crate::pool::roster::ServerFacts;
use crate::pool::shared::Pool;

/// All servers.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ServersView {
    /// The workers whose clients are missing: their servers seem to be without one.
    silent_workers: Silent,
    servers: Vec<ServerRow>,
}

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Ready to be taken.
    Idle,
    /// With a client.
    Active,
    /// With the pooler itself: being checked or cleaned, or asked on behalf of a login.
    Housekeeping,
}

/// One server.
#[derive(Debug, JsonSchema, Serialize)]
struct ServerRow {
    id: String,
    database: String,
    user: String,
    address: String,
    /// The backend's process id.
    pid: u32,
    state: State,
    /// How long it has been idle, or in its client's transaction; `null` where that is not known.
    state_ms: Option<f64>,
    age_ms: f64,
    /// The client that has it.
    client: Option<String>,
    application: Option<String>,
}

impl ServersView {
    /// Of these pools, with the clients that hold servers.
    pub(crate) fn new(pools: &[Arc<Pool>], clients: &[SeenClient], silent_workers: Silent) -> Self {
        let now = Instant::now();
        let rows = |pool: &Arc<Pool>| {
            // A process id names a server within a pool: all of them are at one Postgres.
            let ours = clients.iter().filter(|client| Arc::ptr_eq(&client.pool, pool));
            let holders: HashMap<u32, &SeenClient> = ours.map(|c| (c.server_pid, c)).collect();
            let idle: HashMap<u64, Duration> = pool.with_slots(|slots| {
                let idle = slots.idle().map(|idle| (idle.server.connection.id, idle.since));
                idle.map(|(id, since)| (id, now.saturating_duration_since(since))).collect()
            });
            let row = |facts: ServerFacts| {
                let (holder, idle) = (holders.get(&facts.pid), idle.get(&facts.id));
                ServerRow::new(pool, &facts, idle.copied(), holder.copied())
            };
            pool.roster.all().into_iter().map(row).collect::<Vec<_>>()
        };
        Self { silent_workers, servers: pools.iter().flat_map(rows).collect() }
    }
}

impl ServerRow {
    fn new(
        pool: &Pool,
        facts: &ServerFacts,
        idle: Option<Duration>,
        holder: Option<&SeenClient>,
    ) -> Self {
        // Seen a moment apart: a server that stands idle now has no client any more.
        let holder = holder.filter(|_| idle.is_none());
        let (state, state_ms) = match (idle, holder) {
            (Some(idle), _) => (State::Idle, Some(duration_millis(idle))),
            (None, Some(holder)) => (State::Active, holder.transaction_micros.map(millis)),
            (None, None) => (State::Housekeeping, None),
        };
        Self {
            id: facts.id.to_string(),
            database: pool.key.database.to_string(),
            user: pool.key.user.to_string(),
            address: facts.address.to_string(),
            pid: facts.pid,
            state,
            state_ms,
            age_ms: duration_millis(facts.opened_at.elapsed()),
            client: holder.map(|client| client.id.to_string()),
            application: holder.map(|client| client.application.to_string()),
        }
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Housekeeping => "housekeeping",
        }
    }
}

impl View for ServersView {
    fn text(&self) -> String {
        self.sheet().text()
    }

    fn html(&self) -> Page {
        self.sheet().page("/servers", maud::html! {})
    }
}

impl ServersView {
    fn sheet(&self) -> Sheet {
        let mut table = Table::new([
            number("ID"),
            name("POOL", 12),
            name("POSTGRES", 9),
            number("pid"),
            name("STATE", 5),
            number("for"),
            number("age"),
            number("client"),
            name("APPLICATION", 8),
        ]);
        for row in &self.servers {
            table.row([
                row.id.clone(),
                format!("{}@{}", row.user, row.database),
                row.address.clone(),
                row.pid.to_string(),
                row.state.word().to_owned(),
                row.state_ms.map_or_else(String::new, human::millis),
                human::millis(row.age_ms),
                row.client.clone().unwrap_or_default(),
                row.application.clone().unwrap_or_default(),
            ]);
        }
        Sheet::default().table(table).words(silence(&self.silent_workers))
    }
}
