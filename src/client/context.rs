//! What a client's task has around it: its worker, and what all workers share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use slab::Slab;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::alike::Alike;
use super::explain::{Errand, ErrandError};
use super::key::CancelKeys;
use super::logins::{LoginPlace, Logins};
use super::look::{SeenClient, SeenClients, Tally, Wanted};
use super::proofs::Proofs;
use super::record::ClientRecord;
use super::wrong_keys::WrongKeys;
use crate::auth::SecretKind;
use crate::auth::mock::Decoy;
use crate::auth::verifier::VerifierCache;
use crate::config::{Config, Database, FALLBACK, IgnoreRule, KeepParams};
use crate::lookup::Lookups;
use crate::net::address::ClientAddress;
use crate::net::listen::Listener;
use crate::net::stream::Detached;
use crate::pool::handle::PoolHandle;
use crate::pool::pools::{Pools, secret};
use crate::pool::shared::Pool;
use crate::relay::buffers::Buffers;
use crate::server::explain::Reply;
use crate::stats::findings::Ignored;
use crate::stats::insight::Detection;
use crate::stats::ledger::Ledger;
use crate::stats::meter::{ErrorClasses, Meter};
use crate::stats::queries::QueryLog;
use crate::stats::record::Owner;
use crate::stats::said::Sayings;
use crate::stats::slow::Thresholds;
use crate::stats::sums::{MOST_TRACKED, Room};
use crate::stats::values::Keep;

/// Passwords that Postgres accepted and that are believed for a while.
const REMEMBERED_PASSWORDS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Clients that may be on their way to their workers at once.
const MOST_ARRIVING: usize = 32;

/// What all workers share.
pub struct Shared {
    /// The pools.
    pub pools: Pools,
    /// Stand-ins for users that do not exist.
    pub decoy: Decoy,
    /// Passwords that Postgres accepted.
    pub verifiers: Mutex<VerifierCache>,
    /// Secrets that Postgres was asked for.
    pub lookups: Arc<Lookups>,
    /// Bounds the logins that only prove a password.
    pub proofs: Proofs,
    /// Cancel keys.
    pub cancel_keys: CancelKeys,
    /// Bounds the clients that were accepted and that no worker has begun with: a flood waits in the system's queue, and
    /// the clients that are there have their turn between.
    pub arrivals: Arc<Semaphore>,
    /// Connections that are not logged in yet.
    pub logins: Arc<Logins>,
    /// Who shows wrong ones.
    pub wrong_keys: WrongKeys,
    /// How to reach each worker.
    pub workers: Vec<mpsc::UnboundedSender<Command>>,
    /// What statements did, if that is counted.
    pub ledger: Option<Arc<Ledger>>,
    /// Requests that OpenTelemetry's collector did not take.
    pub otel_failures: Arc<AtomicU64>,
    /// How many connections each worker has.
    pub loads: Vec<AtomicUsize>,
    next_client: AtomicU64,
}

/// What a client that was accepted has taken.
#[derive(Debug)]
pub struct Arrival {
    /// Its place among those that are logging in, unless they are not counted.
    pub place: Option<LoginPlace>,
    /// Given back when the worker begins with it.
    pub turn: OwnedSemaphorePermit,
}

/// Something a worker is told from outside.
#[derive(Debug)]
pub enum Command {
    /// Accept clients here, for all workers, and say that it is so.
    Listen(Listener, oneshot::Sender<io::Result<()>>),
    /// Accept no more clients; tell when all sockets that listened are closed.
    StopListening(oneshot::Sender<()>),
    /// Serve this client.
    Accept(Detached, ClientAddress, Arrival),
    /// A cancel request for the client at this place.
    Cancel {
        /// The place in the worker's table.
        place: usize,
        /// The secret shown.
        secret: Vec<u8>,
        /// Where it comes from.
        from: ClientAddress,
    },
    /// End every client at its next boundary, and tell when all are gone.
    Drain(oneshot::Sender<()>),
    /// End every client now.
    DrainNow,
    /// The configuration has changed: these pools' databases are gone from it.
    Reloaded(Vec<Arc<Pool>>),
    /// Tell the numbers.
    Tally(oneshot::Sender<Tally>),
    /// Tell all that was measured of these pools.
    Meters(Arc<[Arc<Pool>]>, oneshot::Sender<Vec<(Arc<Pool>, Meter)>>),
    /// Tell of some clients.
    Clients(Wanted, oneshot::Sender<SeenClients>),
    /// End the client with this number, if it is here, and tell who it was.
    End(u64, oneshot::Sender<Option<SeenClient>>),
    /// Tell the `search_path` of the client with this number, if there is one and it has set any.
    SearchPath(u64, oneshot::Sender<Option<Box<str>>>),
    /// Ask Postgres for a plan.
    Explain(Box<Errand>, oneshot::Sender<Result<Reply, ErrandError>>),
}

/// One worker, as its clients see it.
pub struct WorkerContext {
    /// Which one.
    pub index: usize,
    /// What all share.
    pub shared: Arc<Shared>,
    /// Its buffers.
    pub buffers: RefCell<Buffers>,
    /// Its clients that are logged in.
    pub clients: RefCell<Slab<Rc<ClientRecord>>>,
    /// What those have in common.
    pub alike: Alike,
    /// Are sessions to end at their next boundary?
    pub draining: Cell<bool>,
    drain_begins: Notify,
    /// Logins under way.
    pub logging_in: Cell<usize>,
    /// Who of those may sign: one permit.
    pub signing: Arc<Semaphore>,
    /// Logins that were refused.
    pub refused: RefCell<ErrorClasses>,
    handles: RefCell<Handles>,
    started: Instant,
}

/// A worker's sides of pools: each has a place as long as it is there.
#[derive(Default)]
struct Handles {
    by_place: Slab<Rc<PoolHandle>>,
    places: HashMap<*const Pool, usize>,
}

impl AsRef<Pools> for Shared {
    fn as_ref(&self) -> &Pools {
        &self.pools
    }
}

impl Shared {
    /// Everything shared, before any worker runs. Within the runtime that our own questions to Postgres are
    /// to be asked on.
    #[must_use]
    pub fn new(pools: Pools, workers: Vec<mpsc::UnboundedSender<Command>>) -> Self {
        let ledger = ledger(&pools.config());
        let decoy = Decoy::new(usual_secret(&pools.config()));
        Self {
            pools,
            decoy,
            verifiers: Mutex::new(VerifierCache::new(REMEMBERED_PASSWORDS)),
            lookups: Lookups::new(Handle::current()),
            proofs: Proofs::default(),
            cancel_keys: CancelKeys::default(),
            arrivals: Arc::new(Semaphore::new(MOST_ARRIVING)),
            logins: Arc::default(),
            wrong_keys: WrongKeys::default(),
            ledger,
            otel_failures: Arc::default(),
            loads: workers.iter().map(|_| AtomicUsize::new(0)).collect(),
            workers,
            next_client: AtomicU64::new(1),
        }
    }

    /// A number no other client has.
    pub fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }
}

impl WorkerContext {
    /// A worker without clients.
    #[must_use]
    pub fn new(index: usize, shared: Arc<Shared>) -> Self {
        Self {
            index,
            shared,
            buffers: RefCell::default(),
            clients: RefCell::default(),
            alike: Alike::default(),
            draining: Cell::new(false),
            drain_begins: Notify::new(),
            logging_in: Cell::new(0),
            signing: Arc::new(Semaphore::new(1)),
            refused: RefCell::default(),
            handles: RefCell::default(),
            started: Instant::now(),
        }
    }

    /// From now on sessions end at their next boundary.
    pub fn drain(&self) {
        self.draining.set(true);
        self.drain_begins.notify_waiters();
    }

    /// Waits until sessions are to end. Cancel safe.
    pub async fn drain_begun(&self) {
        // One thread: nothing happens between the look and the wait.
        if !self.draining.get() {
            self.drain_begins.notified().await;
        }
    }

    /// This worker's side of a pool.
    pub fn handle(&self, pool: &Arc<Pool>) -> Rc<PoolHandle> {
        if let Some(known) = self.known_handle(pool) {
            return known;
        }
        let Handles { by_place, places } = &mut *self.handles.borrow_mut();
        let entry = by_place.vacant_entry();
        places.insert(Arc::as_ptr(pool), entry.key());
        let handle = Rc::new(PoolHandle {
            pool: Arc::clone(pool),
            place: entry.key(),
            worker: self.index,
            meter: RefCell::default(),
            queries: self.shared.ledger.as_ref().map(|ledger| query_log(pool, ledger)),
            cancels: Arc::clone(&self.shared.pools.cancels),
        });
        Rc::clone(entry.insert(handle))
    }

    /// Says of each pool whether this worker uses it, and forgets those that were removed.
    pub fn mark_used_pools(&self) {
        let Handles { by_place, places } = &mut *self.handles.borrow_mut();
        by_place.retain(|_, handle| {
            if Rc::strong_count(handle) > 1 {
                handle.pool.set_used();
                return true;
            }
            let stays = !handle.pool.is_removed();
            if !stays {
                places.remove(&Arc::as_ptr(&handle.pool));
            }
            stays
        });
    }

    /// Hands over what was noted of statements.
    pub fn flush_queries(&self) {
        for (_, handle) in &self.handles.borrow().by_place {
            if let Some(log) = &handle.queries {
                log.flush();
            }
        }
    }

    /// The worker's clock: nanoseconds since it started.
    #[inline]
    #[must_use]
    pub fn nanos(&self, now: Instant) -> u64 {
        // 584 years.
        now.saturating_duration_since(self.started).as_nanos() as u64
    }

    /// This worker's side of a pool, if it has one.
    pub(super) fn known_handle(&self, pool: &Arc<Pool>) -> Option<Rc<PoolHandle>> {
        let handles = self.handles.borrow();
        handles.places.get(&Arc::as_ptr(pool)).map(|&place| Rc::clone(&handles.by_place[place]))
    }

    /// This worker's sides of pools, with their places, which ascend and may have gaps.
    pub(super) fn handles_by_place(&self) -> Vec<(usize, Rc<PoolHandle>)> {
        let handles = self.handles.borrow();
        handles.by_place.iter().map(|(place, handle)| (place, Rc::clone(handle))).collect()
    }

    /// The pool of a client of this worker.
    pub fn pool_at(&self, place: usize) -> Arc<Pool> {
        Arc::clone(&self.handles.borrow().by_place[place].pool)
    }
}

/// What most users in the configuration have, and strangers pretend to have. Where nobody has a secret there, others ask
/// Postgres, which has SCRAM's.
///
/// What is asked for, and what it costs, tells a SCRAM secret from the others; so those count together.
#[must_use]
pub fn usual_secret(config: &Config) -> SecretKind {
    let secrets = config.users.values().filter_map(|user| secret(user.password.as_ref()?));
    let (mut plain, mut md5, mut scram) = (0, 0, 0);
    for secret in secrets {
        match secret.kind() {
            SecretKind::Plain => plain += 1,
            SecretKind::Md5 => md5 += 1,
            SecretKind::Scram => scram += 1,
        }
    }
    match (plain + md5 > scram, plain >= md5) {
        (true, true) => SecretKind::Plain,
        (true, false) => SecretKind::Md5,
        (false, _) => SecretKind::Scram,
    }
}

/// How long statements take to be logged and listed, by database.
#[must_use]
pub fn slow_thresholds(config: &Config) -> Thresholds {
    let others = config.log.log_slow_statements;
    let of = |database: &Database| database.log_slow_statements.unwrap_or(others);
    let named =
        config.databases.iter().map(|(name, database)| (name.as_str().into(), of(database)));
    let fallback = config.databases.get(FALLBACK);
    Thresholds { named: named.collect(), others: fallback.map_or(others, of) }
}

/// Where nobody can look, nothing is counted.
fn ledger(config: &Config) -> Option<Arc<Ledger>> {
    let sends = config.otel.endpoint.is_some();
    let traces = sends && config.otel.traces;
    let counts = config.admin.query_stats && (sends || !config.admin.admin_listen.is_empty());
    counts.then(|| {
        let room = Room { most: MOST_TRACKED, bytes: config.admin.query_stats_memory };
        let sayings = Sayings::new(&config.admin.query_tags, rand::random());
        let detection = if config.admin.nplusone {
            Detection::On(ignored(&config.admin.nplusone_ignore))
        } else {
            Detection::Off
        };
        let ledger = Ledger::new(room, slow_thresholds(config));
        let ledger = ledger.watching(sayings, detection);
        let ledger = ledger.tracing(traces.then(Arc::default));
        ledger.keep(kept_values(config));
        Arc::new(ledger.exporting(config.metrics.fingerprints as usize))
    })
}

/// What is kept of the values of single calls.
#[must_use]
pub fn kept_values(config: &Config) -> Keep {
    match config.samples.params {
        KeepParams::Off => Keep::Nothing,
        KeepParams::Hash => Keep::Hash,
        KeepParams::Full => Keep::All,
    }
}

fn ignored(rules: &[IgnoreRule]) -> Ignored {
    let mut ignored = Ignored::default();
    for rule in rules {
        match rule.clone() {
            IgnoreRule::Fingerprint(hash) => ignored.fingerprints.push(hash),
            IgnoreRule::Route(name) => ignored.routes.push(name),
            IgnoreRule::Application(name) => ignored.applications.push(name),
            IgnoreRule::User(name) => ignored.users.push(name),
        }
    }
    ignored
}

fn query_log(pool: &Pool, ledger: &Arc<Ledger>) -> Rc<QueryLog> {
    let (database, user) = (&*pool.key.database, &*pool.key.user);
    let owner = Owner { database: database.into(), user: user.into() };
    Rc::new(QueryLog::new(owner, Arc::clone(ledger), ledger.seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_what_most_users_have() {
        let usual = |secrets: &[&str]| {
            let settings = secrets.iter().enumerate();
            let settings = settings.map(|(number, text)| {
                (format!("POOLER__USERS__U{number}__PASSWORD"), (*text).to_owned())
            });
            usual_secret(&Config::load(None, &settings.collect()).unwrap())
        };
        let md5 = "md50d1e53368e9217b1a97044443b0ceeaf";
        let scram = format!("SCRAM-SHA-256$4096:{}$", "A".repeat(22) + "==");
        let key = "A".repeat(43) + "=";
        let scram = format!("{scram}{key}:{key}");
        assert_eq!(usual(&[]), SecretKind::Scram);
        assert_eq!(usual(&["a", md5, "b", &scram]), SecretKind::Plain);
        assert_eq!(usual(&["a", md5, md5, &scram, &scram]), SecretKind::Md5);
        assert_eq!(usual(&["a", &scram, &scram]), SecretKind::Scram);
    }

    #[test]
    fn a_worker_forgets_a_removed_pool_when_no_client_has_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let shared =
            Arc::new(Shared::new(Pools::new(Arc::default(), Arc::default(), 1), Vec::new()));
        let context = WorkerContext::new(0, Arc::clone(&shared));
        let pool = |name| shared.pools.pool(name, "app").unwrap();
        let (first, second) = (context.handle(&pool("first")), context.handle(&pool("second")));
        let (old, seconds_place) = (Arc::downgrade(&first.pool), second.place);
        for _ in 0..3 {
            context.mark_used_pools();
            shared.pools.sweep();
        }
        assert_eq!(shared.pools.all().len(), 2, "clients have them");
        drop(first);
        for _ in 0..3 {
            context.mark_used_pools();
            shared.pools.sweep();
        }
        assert!(old.upgrade().is_none(), "nobody has it");
        assert_eq!(context.handle(&pool("second")).place, seconds_place);
        let third = context.handle(&pool("third"));
        assert_ne!(third.place, seconds_place);
        assert_eq!(context.tally().pools.len(), 2);
    }
}
