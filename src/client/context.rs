//! What a client's task has around it: its worker, and what all workers share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use slab::Slab;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::key::CancelKeys;
use super::look::{SeenClients, Tally, Wanted};
use super::record::ClientRecord;
use crate::auth::SecretKind;
use crate::auth::mock::Decoy;
use crate::auth::verifier::VerifierCache;
use crate::lookup::Lookups;
use crate::net::address::ClientAddress;
use crate::net::stream::Detached;
use crate::pool::handle::PoolHandle;
use crate::pool::pools::Pools;
use crate::pool::shared::Pool;
use crate::relay::buffers::Buffers;
use crate::stats::meter::{ErrorClasses, Meter};

/// Passwords that Postgres accepted and that are believed for a while.
const REMEMBERED_PASSWORDS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Logins to Postgres under way at once only to prove passwords.
const PROOFS_AT_ONCE: usize = 16;

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
    pub proofs: Semaphore,
    /// Cancel keys.
    pub cancel_keys: CancelKeys,
    /// How to reach each worker.
    pub workers: Vec<mpsc::UnboundedSender<Command>>,
    /// How many connections each worker has.
    pub loads: Vec<AtomicUsize>,
    next_client: AtomicU64,
}

/// Something a worker is told from outside.
#[derive(Debug)]
pub enum Command {
    /// Serve this client.
    Accept(Detached, ClientAddress),
    /// A cancel request for the client at this place.
    Cancel {
        /// The place in the worker's table.
        place: usize,
        /// The secret shown.
        secret: Vec<u8>,
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
    /// Are sessions to end at their next boundary?
    pub draining: Cell<bool>,
    /// Logins under way.
    pub logging_in: Cell<usize>,
    /// Logins that were refused.
    pub refused: RefCell<ErrorClasses>,
    handles: RefCell<HashMap<*const Pool, Rc<PoolHandle>>>,
    started: Instant,
}

impl Shared {
    /// Everything shared, before any worker runs. Within the runtime that our own questions to Postgres are
    /// to be asked on.
    #[must_use]
    pub fn new(pools: Pools, workers: Vec<mpsc::UnboundedSender<Command>>) -> Self {
        Self {
            pools,
            decoy: Decoy::new(SecretKind::Scram),
            verifiers: Mutex::new(VerifierCache::new(REMEMBERED_PASSWORDS)),
            lookups: Lookups::new(Handle::current()),
            proofs: Semaphore::new(PROOFS_AT_ONCE),
            cancel_keys: CancelKeys::default(),
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
            draining: Cell::new(false),
            logging_in: Cell::new(0),
            refused: RefCell::default(),
            handles: RefCell::default(),
            started: Instant::now(),
        }
    }

    /// This worker's side of a pool.
    pub fn handle(&self, pool: &Arc<Pool>) -> Rc<PoolHandle> {
        let mut handles = self.handles.borrow_mut();
        let place = handles.len();
        let handle = handles.entry(Arc::as_ptr(pool)).or_insert_with(|| {
            Rc::new(PoolHandle {
                pool: Arc::clone(pool),
                place,
                worker: self.index,
                meter: RefCell::default(),
                cancels: Arc::clone(&self.shared.pools.cancels),
            })
        });
        Rc::clone(handle)
    }

    /// The worker's clock: nanoseconds since it started.
    #[inline]
    #[must_use]
    pub fn nanos(&self, now: Instant) -> u64 {
        // 584 years.
        now.saturating_duration_since(self.started).as_nanos() as u64
    }

    /// This worker's side of a pool, if it has ever had one.
    pub(super) fn known_handle(&self, pool: &Arc<Pool>) -> Option<Rc<PoolHandle>> {
        self.handles.borrow().get(&Arc::as_ptr(pool)).cloned()
    }

    /// This worker's sides of pools, each at its place.
    pub(super) fn handles_by_place(&self) -> Vec<Rc<PoolHandle>> {
        let mut handles: Vec<_> = self.handles.borrow().values().cloned().collect();
        handles.sort_unstable_by_key(|handle| handle.place);
        handles
    }
}
