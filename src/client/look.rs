//! What a worker shows of itself to whoever looks from outside. Each answer is made between two
//! clients' turns, so each is small: numbers by pool, histograms of a few pools, a few clients.

use std::sync::Arc;
use std::time::Instant;

use super::context::WorkerContext;
use super::record::{ClientRecord, Kick, Phase};
use crate::net::address::ClientAddress;
use crate::pool::shared::Pool;
use crate::sql::feature::Features;
use crate::stats::meter::{ErrorClasses, Meter};
use crate::stats::totals::Totals;

/// The numbers of one worker.
#[derive(Debug, Default)]
pub struct Tally {
    /// By pool.
    pub pools: Vec<PoolTally>,
    /// Logins under way.
    pub logging_in: usize,
    /// Logins that were refused, by the class of the SQLSTATE that said so.
    pub refused: ErrorClasses,
}

/// The numbers of one worker and pool.
#[derive(Debug)]
pub struct PoolTally {
    /// The pool.
    pub pool: Arc<Pool>,
    /// What was counted.
    pub totals: Totals,
    /// What the clients do.
    pub clients: ClientCounts,
}

/// How many clients do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Nothing, outside of any transaction.
    pub idle: u32,
    /// Wait for a server.
    pub waiting: u32,
    /// Have a server that works for them.
    pub running: u32,
    /// Have a server, and send nothing.
    pub idle_in_transaction: u32,
}

/// Which clients are to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Those in one of these phases.
    pub phases: &'static [Phase],
    /// No more than so many: those that do something before idle ones, then the longest at it.
    pub limit: usize,
}

/// Some clients of a worker.
#[derive(Debug, Default)]
pub struct SeenClients {
    /// As many as were wanted.
    pub clients: Vec<SeenClient>,
    /// How many there are in the wanted phases.
    pub matching: usize,
}

/// One client, as others see it.
#[derive(Clone, Debug)]
pub struct SeenClient {
    /// Unique in this process.
    pub id: u64,
    /// Database and user, as the client says them.
    pub names: Arc<(Box<str>, Box<str>)>,
    /// Its pool.
    pub pool: Arc<Pool>,
    /// Its application's name.
    pub application: Box<str>,
    /// Where it comes from.
    pub address: ClientAddress,
    /// What it does.
    pub phase: Phase,
    /// For how long, in microseconds.
    pub phase_micros: u64,
    /// How long its transaction has lasted, in microseconds; `None` outside of one.
    pub transaction_micros: Option<u64>,
    /// How long it has been connected, in microseconds.
    pub connected_micros: u64,
    /// The process id of the server it holds; 0 without one.
    pub server_pid: u32,
    /// What it keeps its server for between transactions.
    pub pins: Features,
    /// Transactions so far.
    pub transactions: u64,
    /// The worker that serves it.
    pub worker: usize,
}

impl ClientCounts {
    /// Counts one more.
    pub fn count(&mut self, phase: Phase) {
        match phase {
            Phase::Idle => self.idle += 1,
            Phase::Waiting => self.waiting += 1,
            Phase::Running | Phase::Orphaned | Phase::Replicating => self.running += 1,
            Phase::IdleInTransaction => self.idle_in_transaction += 1,
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.idle += other.idle;
        self.waiting += other.waiting;
        self.running += other.running;
        self.idle_in_transaction += other.idle_in_transaction;
    }
}

impl WorkerContext {
    /// The numbers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let handles = self.handles_by_place();
        let places = handles.last().map_or(0, |(place, _)| place + 1);
        let mut counts = vec![ClientCounts::default(); places];
        for (_, client) in self.clients.borrow().iter() {
            counts[client.pool_place].count(client.phase.get());
        }
        let pools = handles.iter().map(|(place, handle)| PoolTally {
            pool: Arc::clone(&handle.pool),
            totals: handle.meter.borrow().totals(),
            clients: counts[*place],
        });
        Tally {
            pools: pools.collect(),
            logging_in: self.logging_in.get(),
            refused: self.refused.borrow().clone(),
        }
    }

    /// All that was measured of these pools.
    #[must_use]
    pub fn meters(&self, pools: &[Arc<Pool>]) -> Vec<(Arc<Pool>, Meter)> {
        let known = pools.iter().filter_map(|pool| self.known_handle(pool));
        known.map(|handle| (Arc::clone(&handle.pool), handle.meter.borrow().clone())).collect()
    }

    /// Some clients.
    #[must_use]
    pub fn seen_clients(&self, wanted: Wanted) -> SeenClients {
        let now = self.nanos(Instant::now());
        let clients = self.clients.borrow();
        let rank = |client: &ClientRecord| (client.phase.get() == Phase::Idle, client.since.get());
        let mut chosen: Vec<_> = clients
            .iter()
            .map(|(_, client)| client)
            .filter(|client| wanted.phases.contains(&client.phase.get()))
            .collect();
        let matching = chosen.len();
        if matching > wanted.limit {
            chosen.select_nth_unstable_by_key(wanted.limit, |client| rank(client));
            chosen.truncate(wanted.limit);
        }
        let seen = chosen.into_iter().map(|client| self.look_at(client, now));
        SeenClients { clients: seen.collect(), matching }
    }

    /// Ends the client with this number; gives what it did, if it is here.
    #[must_use]
    pub fn end(&self, client: u64) -> Option<SeenClient> {
        let clients = self.clients.borrow();
        let (_, record) = clients.iter().find(|(_, record)| record.id == client)?;
        let seen = self.look_at(record, self.nanos(Instant::now()));
        record.kick(Kick::Ended);
        Some(seen)
    }

    /// The `search_path` of the client with this number, if it is here and has one of its own.
    #[must_use]
    pub fn search_path_of(&self, client: u64) -> Option<Box<str>> {
        let clients = self.clients.borrow();
        let found = clients.iter().find(|(_, record)| record.id == client);
        found.and_then(|(_, record)| record.search_path.borrow().clone())
    }

    fn look_at(&self, client: &ClientRecord, now: u64) -> SeenClient {
        let since = |moment: u64| now.saturating_sub(moment) / 1_000;
        let server_pid = client.server_pid.get();
        SeenClient {
            id: client.id,
            names: Arc::clone(&client.names),
            pool: self.pool_at(client.pool_place),
            application: client.application.borrow().clone(),
            address: client.address,
            phase: client.phase.get(),
            phase_micros: since(client.since.get()),
            transaction_micros: (server_pid != 0
                && !matches!(client.phase.get(), Phase::Idle | Phase::Replicating))
            .then(|| since(client.transaction_since.get())),
            connected_micros: since(client.connected_at),
            server_pid,
            pins: client.pins.get(),
            transactions: client.transactions.get(),
            worker: self.index,
        }
    }
}
