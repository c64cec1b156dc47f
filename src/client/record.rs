//! What a worker knows of each of its clients: for timeouts, for cancelling, for looking at.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use super::key::SecretLength;
use crate::config::ClientTimeouts;
use crate::net::address::ClientAddress;
use crate::sql::feature::Features;

/// What a client does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing, outside of any transaction.
    Idle,
    /// It waits for a server.
    Waiting,
    /// Its server works for it.
    Running,
    /// It holds a server in a transaction, and sends nothing.
    IdleInTransaction,
    /// It closed its side while its server works.
    Orphaned,
    /// It has a server of its own, for replication.
    Replicating,
}

/// A push from outside that a session must act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kick {
    /// Look whether the client is still there.
    Probe,
    /// A cancel request.
    Cancel,
    /// `query_timeout`, perhaps.
    QueryTimeout,
    /// `query_wait_timeout`.
    QueryWait,
    /// `client_idle_timeout`.
    ClientIdle,
    /// `idle_transaction_timeout`.
    IdleTransaction,
    /// `transaction_timeout`.
    Transaction,
    /// End at the next boundary of a transaction.
    Shutdown,
    /// The database is gone from the configuration: end at the next boundary.
    DatabaseGone,
    /// End now, because somebody asked for it.
    Ended,
    /// End now, because the program does.
    ShutdownNow,
}

/// A query that was cancelled because of `query_timeout` (worker's clock, nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelledQuery {
    /// When it began.
    pub started: u64,
    /// When it was cancelled.
    pub cancelled: u64,
}

/// Who a client is.
#[derive(Debug)]
pub struct Identity {
    /// Unique in this process.
    pub id: u64,
    /// Where it comes from.
    pub address: ClientAddress,
    /// Database and user, as the client says them.
    pub names: Arc<(Box<str>, Box<str>)>,
    /// Its pool's place among those that the worker knows.
    pub pool_place: usize,
    /// How much of its cancel key it is told.
    pub secret_length: SecretLength,
}

impl std::fmt::Display for Kick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Probe => "client is gone",
            Self::Cancel => "cancelled",
            Self::QueryTimeout => "query_timeout",
            Self::QueryWait => "query_wait_timeout",
            Self::ClientIdle => "client_idle_timeout",
            Self::IdleTransaction => "idle_transaction_timeout",
            Self::Transaction => "transaction_timeout",
            Self::Shutdown => "the pooler is shutting down",
            Self::DatabaseGone => "the configuration of the database has changed",
            Self::Ended => "ended by POST /clients/ID/end",
            Self::ShutdownNow => "the pooler is shutting down at once",
        })
    }
}

/// One client.
#[derive(Debug)]
pub struct ClientRecord {
    /// Unique in this process.
    pub id: u64,
    /// Where it comes from.
    pub address: ClientAddress,
    /// Database and user, as the client says them.
    pub names: Arc<(Box<str>, Box<str>)>,
    /// Its pool's place among those that the worker knows.
    pub pool_place: usize,
    /// How much of its cancel key it was told: it must show as much.
    pub secret_length: SecretLength,
    /// Its `application_name`.
    pub application: RefCell<Box<str>>,
    /// Its `search_path`, if that is not its server's own.
    pub search_path: RefCell<Option<Box<str>>>,
    /// How long it may take.
    pub timeouts: RefCell<Rc<ClientTimeouts>>,
    /// When it logged in (worker's clock, nanoseconds).
    pub connected_at: u64,
    /// What it does.
    pub phase: Cell<Phase>,
    /// Since when (worker's clock, nanoseconds).
    pub since: Cell<u64>,
    /// Since when it has been in a transaction.
    pub transaction_since: Cell<u64>,
    /// The process id of the server it holds; 0 without one.
    pub server_pid: Cell<u32>,
    /// What it keeps its server for between transactions.
    pub pins: Cell<Features>,
    /// Transactions so far.
    pub transactions: Cell<u64>,
    /// The query that `query_timeout` hit last.
    pub cancelled: Cell<Option<CancelledQuery>>,
    /// Is its session to end at its next boundary, whoever else the pool serves?
    pub leaves: Cell<bool>,
    kick: Cell<Option<Kick>>,
    waker: RefCell<Option<Waker>>,
}

impl ClientRecord {
    /// A client that has just logged in.
    #[must_use]
    pub fn new(who: Identity, timeouts: Rc<ClientTimeouts>, now: u64) -> Self {
        let Identity { id, address, names, pool_place, secret_length } = who;
        Self {
            id,
            address,
            names,
            pool_place,
            secret_length,
            application: RefCell::default(),
            search_path: RefCell::default(),
            timeouts: RefCell::new(timeouts),
            connected_at: now,
            phase: Cell::new(Phase::Idle),
            since: Cell::new(now),
            transaction_since: Cell::new(now),
            server_pid: Cell::new(0),
            pins: Cell::new(Features::NONE),
            transactions: Cell::new(0),
            cancelled: Cell::new(None),
            leaves: Cell::new(false),
            kick: Cell::new(None),
            waker: RefCell::default(),
        }
    }

    /// Notes what the client does from now on.
    #[inline]
    pub fn enter(&self, phase: Phase, now: u64) {
        self.phase.set(phase);
        self.since.set(now);
    }

    /// A client that has no server asked for something of so many bytes: it is not idle. The clock is read only where
    /// that counts.
    pub fn heard(&self, bytes: usize, now: impl FnOnce() -> u64) {
        if bytes > 0 && self.timeouts.borrow().client_idle.is_some() {
            self.since.set(now());
        }
    }

    /// Keeps the session's waker. It is the same for the life of the task.
    #[inline]
    pub fn keep_waker(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|k| k.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    /// Pushes the session. The strongest push counts.
    pub fn kick(&self, kick: Kick) {
        self.kick.set(self.kick.get().max(Some(kick)));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Was the query that began then cancelled because of `query_timeout`?
    #[inline]
    #[must_use]
    pub fn has_cancelled(&self, began: Option<u64>) -> bool {
        self.cancelled.get().is_some_and(|query| began == Some(query.started))
    }

    /// The push that has not been acted on.
    #[inline]
    pub fn take_kick(&self) -> Option<Kick> {
        self.kick.take()
    }

    /// A span that says who the client is, for what is logged about it. Made when something is
    /// logged, because a kept one would double an idle client's memory.
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        tracing::info_span!(
            "client",
            id = self.id,
            database = %self.names.0,
            user = %self.names.1,
            address = %self.address
        )
    }
}
