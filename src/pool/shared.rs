//! One pool: the servers of a database and user, shared by all workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::compat::Compat;
use super::limits::{Place, Quota};
use super::roster::{Listed, Roster};
use super::rules::Rules;
use super::slots::{Asked, Counts, Idle, Limits, Released, Slots, Ticket};
use super::wear::{Parting, Wear};
use crate::config::SessionRules;
use crate::server::connection::ServerConnection;
use crate::server::login::{ConnectError, Credential, LoginContext, Target};
use crate::server::parameters::{Interner, Settings};
use crate::server::statement::StatementRegistry;
use crate::stats::meter::Times;

/// Sets of startup settings whose effect is remembered; more is one more round trip at login.
const MOST_WELCOMES: usize = 512;

/// Settings a server reports, in its order.
pub type Reported = Vec<(Box<str>, Box<str>)>;

/// Why no server can be had: shared by all who waited for it.
pub type OpenFailure = Arc<ConnectError>;

/// What clients call a pool by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// Database, as clients name it.
    pub database: Box<str>,
    /// User that the servers log in as.
    pub user: Box<str>,
}

/// How a pool is to be run: replaced whole when the configuration changes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to log in, and as whom.
    pub target: Target,
    /// How many servers.
    pub limits: Limits,
    /// `server_connect_timeout`.
    pub connect_timeout: Option<Duration>,
    /// `server_lifetime`.
    pub lifetime: Option<Duration>,
    /// `server_idle_timeout`.
    pub idle_timeout: Option<Duration>,
    /// `server_check_delay`.
    pub check_delay: Option<Duration>,
    /// `function_check`.
    pub function_check: Option<Duration>,
    /// `server_check_query`.
    pub check_query: Box<str>,
    /// What clients may do to a session.
    pub rules: SessionRules,
}

/// What the pools of one database share.
#[derive(Debug)]
pub struct Database {
    /// Its name, as clients say it.
    pub name: Box<str>,
    /// Prepared statements.
    pub registry: StatementRegistry,
    /// What its applications do to their sessions.
    pub compat: Compat,
    /// `max_db_connections`.
    pub servers: Arc<Quota>,
    /// `max_db_client_connections`.
    pub clients: Arc<Quota>,
    /// Its pools.
    pub pools: Mutex<Vec<Weak<Pool>>>,
}

/// What the pools of one user share.
#[derive(Debug)]
pub struct User {
    /// `max_user_connections`.
    pub servers: Arc<Quota>,
    /// `max_user_client_connections`.
    pub clients: Arc<Quota>,
    /// The user's pools.
    pub pools: Mutex<Vec<Weak<Pool>>>,
}

/// A server in a pool's books.
#[derive(Debug)]
pub struct Entry {
    /// The connection.
    pub connection: Box<ServerConnection>,
    /// Which plan it was opened by.
    pub generation: u32,
    /// When it has lived long enough.
    pub expires: Option<Instant>,
    /// Its places within the shared limits.
    pub places: [Place; 2],
    /// Its line in the pool's list.
    pub listed: Listed,
}

/// What opening connections to Postgres came to.
#[derive(Clone, Debug, Default)]
pub struct Connects {
    /// How long the successful ones took.
    pub times: Times,
    /// How many failed.
    pub failures: u64,
}

/// The settings that a set of startup settings results in.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// What remains to be applied to a server: what differs from its own.
    pub settings: Arc<Settings>,
    /// What the server reports under them, where it differs from a fresh session.
    pub reported: Reported,
}

/// Does the configuration have a pool's database, and does anybody use the pool? Kept as a number in an atomic, since every client
/// looks after each transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Standing {
    Configured,
    Gone,
    Removed,
}

/// A pool.
pub struct Pool {
    /// Its name.
    pub key: PoolKey,
    /// What it shares with the database's other pools.
    pub database: Arc<Database>,
    /// What it shares with the user's other pools.
    pub user: Arc<User>,
    /// Makes equal settings one object.
    pub interner: Interner,
    /// What opening connections came to.
    pub connects: Mutex<Connects>,
    /// What became of servers.
    pub wear: Wear,
    /// The servers there are.
    pub roster: Arc<Roster>,
    /// What clients may do to a session, and how many do.
    pub rules: Rules,
    /// The worker that looks after it when nobody else does.
    pub keeper: usize,
    slots: Mutex<Slots<Entry, OpenFailure>>,
    plan: RwLock<Arc<Plan>>,
    generation: AtomicU32,
    standing: AtomicU8,
    /// Since the last sweep.
    pub(super) used: AtomicBool,
    pub(super) rests: AtomicBool,
    base: RwLock<Option<Arc<Reported>>>,
    welcomes: Mutex<HashMap<Arc<Settings>, Arc<Welcome>>>,
    logins: Arc<LoginContext>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(
        key: PoolKey,
        database: Arc<Database>,
        user: Arc<User>,
        plan: Plan,
        workers: (usize, usize, Arc<LoginContext>),
    ) -> Arc<Self> {
        let (count, keeper, logins) = workers;
        let pool = Arc::new(Self {
            key,
            database,
            user,
            interner: Interner::default(),
            connects: Mutex::default(),
            wear: Wear::default(),
            roster: Arc::default(),
            rules: Rules::new(plan.rules),
            keeper,
            slots: Mutex::new(Slots::new(count, plan.limits)),
            plan: RwLock::new(Arc::new(plan)),
            generation: AtomicU32::new(0),
            standing: AtomicU8::new(Standing::Configured as u8),
            used: AtomicBool::new(true),
            rests: AtomicBool::new(false),
            base: RwLock::new(None),
            welcomes: Mutex::default(),
            logins,
        });
        for siblings in [&pool.database.pools, &pool.user.pools] {
            let mut siblings = siblings.lock();
            siblings.retain(|sibling| sibling.strong_count() > 0);
            siblings.push(Arc::downgrade(&pool));
        }
        pool
    }

    /// How it is run now.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read())
    }

    /// What all logins to Postgres share.
    #[must_use]
    pub fn logins(&self) -> &Arc<LoginContext> {
        &self.logins
    }

    /// Runs it by another plan. Where servers of the old one are of no use any more (another
    /// address, user or database), they are closed as they are given back.
    pub fn set_plan(&self, plan: Plan) {
        let mut current = self.plan.write();
        let moved = !plan.target.is_same_place(&current.target);
        let mut slots = self.slots.lock();
        slots.set_limits(plan.limits);
        slots.forget_failure();
        drop(slots);
        self.rules.set(plan.rules);
        *current = Arc::new(plan);
        self.standing.store(Standing::Configured as u8, Ordering::Relaxed);
        if moved {
            self.outdate();
        }
    }

    /// The configuration does not have its database any more: servers are opened for the clients
    /// that are there, and no others; those there are now go.
    pub fn set_gone(&self) {
        let current = self.plan.write();
        self.slots.lock().set_limits(Limits { min: 0, ..current.limits });
        self.standing.store(Standing::Gone as u8, Ordering::Relaxed);
        self.outdate();
    }

    /// Are its clients to end at their next boundary, as the database is not configured any more?
    #[inline]
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == Standing::Gone as u8
    }

    /// It is not in the table of pools any more, and nobody uses it.
    pub(super) fn set_removed(&self) {
        self.standing.store(Standing::Removed as u8, Ordering::Relaxed);
    }

    /// Was it taken out of the table of pools?
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == Standing::Removed as u8
    }

    /// All servers of now are stale. To be called with the plan locked for writing: whoever reads
    /// plan and generation under that lock gets a pair.
    fn outdate(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        *self.base.write() = None;
        self.welcomes.lock().clear();
    }

    /// The next servers log in with this.
    pub fn set_credential(&self, credential: Credential) {
        let mut current = self.plan.write();
        let target = Target { credential, ..current.target.clone() };
        *current = Arc::new(Plan { target, ..(**current).clone() });
    }

    /// The plan's number; an [`Entry`] with another one is stale.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// How it is run now, and that plan's number.
    #[must_use]
    pub fn numbered_plan(&self) -> (Arc<Plan>, u32) {
        let plan = self.plan.read();
        (Arc::clone(&plan), self.generation())
    }

    /// What a fresh session reports, once a server has logged in.
    #[must_use]
    pub fn base(&self) -> Option<Arc<Reported>> {
        self.base.read().clone()
    }

    /// A server that was opened by the plan of this number has logged in and reported this.
    pub fn set_base(&self, reported: Reported, generation: u32) {
        // Held, so that the plan is not replaced meanwhile.
        let _plan = self.plan.read();
        if generation != self.generation()
            || self.base.read().as_ref().is_some_and(|known| **known == reported)
        {
            return;
        }
        *self.base.write() = Some(Arc::new(reported));
        // A server of another version or configuration: what was learnt may not hold.
        self.welcomes.lock().clear();
    }

    /// What a set of startup settings results in, if it has been tried.
    #[must_use]
    pub fn welcome(&self, asked: &Arc<Settings>) -> Option<Arc<Welcome>> {
        self.welcomes.lock().get(asked).cloned()
    }

    /// A set of startup settings was tried on a server of this generation.
    pub fn set_welcome(
        &self,
        asked: &Arc<Settings>,
        welcome: Welcome,
        generation: u32,
    ) -> Arc<Welcome> {
        let welcome = Arc::new(welcome);
        let _plan = self.plan.read();
        if generation != self.generation() {
            return welcome;
        }
        let mut known = self.welcomes.lock();
        if known.len() >= MOST_WELCOMES {
            known.clear();
        }
        known.insert(Arc::clone(asked), Arc::clone(&welcome));
        welcome
    }

    /// Takes an idle server, or joins the queue.
    ///
    /// # Errors
    /// When opens fail and there is nothing to wait for.
    #[inline]
    pub fn ask(&self, worker: usize, now: Instant) -> Result<Asked<Entry>, OpenFailure> {
        self.slots.lock().ask(worker, now)
    }

    /// Is the wait over?
    pub fn poll(&self, ticket: Ticket, waker: &Waker) -> Option<Result<Entry, OpenFailure>> {
        self.slots.lock().poll(ticket, waker)
    }

    /// Leaves the queue.
    pub fn abandon(self: &Arc<Self>, ticket: Ticket, worker: usize) {
        let granted = self.slots.lock().abandon(ticket);
        if let Some(entry) = granted {
            self.put(entry, worker, Instant::now());
        }
    }

    /// A clean server comes back: to a waiter, to the idle ones, or it is closed.
    pub(super) fn put_back(self: &Arc<Self>, mut entry: Entry, worker: usize, now: Instant) {
        if let Some(why) = self.unwanted(&mut entry, now) {
            self.close(entry, why, worker, now);
            return;
        }
        let mut slots = self.slots.lock();
        let unwanted = self.is_gone() && slots.oldest_wait().is_none();
        if slots.surplus() > 0 || unwanted {
            // Gone from the numbers at once, or another worker would close as many again.
            slots.lost();
            drop(slots);
            self.part(entry, Parting::Surplus, worker, now);
            return;
        }
        if slots.wants_check() {
            drop(slots);
            self.check_for_use(Idle { server: entry, since: now, checked: now }, worker, now);
            return;
        }
        let released = slots.release(entry, worker, now);
        drop(slots);
        wake(released);
    }

    /// A server that was taken for a check comes back.
    pub fn restore(&self, idle: Idle<Entry>, worker: usize, now: Instant) {
        let released = self.slots.lock().restore(idle, worker, now);
        wake(released);
    }

    /// A server that was taken is closed, and what may be opened in its stead is.
    pub fn close(self: &Arc<Self>, entry: Entry, why: Parting, worker: usize, now: Instant) {
        self.slots.lock().lost();
        self.part(entry, why, worker, now);
    }

    /// Closes a server that the numbers know to be gone.
    pub(super) fn part(
        self: &Arc<Self>,
        mut entry: Entry,
        why: Parting,
        worker: usize,
        now: Instant,
    ) {
        self.wear.count_closed(why);
        entry.connection.say_goodbye();
        drop(entry);
        self.room_was_made(worker, now);
    }

    /// A server that was taken is gone.
    pub fn lost(self: &Arc<Self>, worker: usize, now: Instant) {
        self.wear.count_closed(Parting::Lost);
        self.slots.lock().lost();
        self.room_was_made(worker, now);
    }

    /// Runs `look` on the slots: for what happens rarely.
    pub fn with_slots<T>(&self, look: impl FnOnce(&mut Slots<Entry, OpenFailure>) -> T) -> T {
        look(&mut self.slots.lock())
    }

    /// The numbers now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.slots.lock().counts()
    }

    /// How long the client at the head of the queue has been waiting.
    #[must_use]
    pub fn longest_wait(&self, now: Instant) -> Duration {
        let since = self.slots.lock().oldest_wait();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Why a server that comes back is not to be kept, if so.
    #[inline]
    fn unwanted(&self, entry: &mut Entry, now: Instant) -> Option<Parting> {
        if entry.generation != self.generation() {
            Some(Parting::Outdated)
        } else if entry.expires.is_some_and(|at| now >= at) {
            Some(Parting::Lifetime)
        } else if entry.places.iter_mut().any(Place::give_surplus) {
            Some(Parting::Surplus)
        } else {
            self.yields_to_sibling(now).then_some(Parting::Eviction)
        }
    }

    /// Under a shared limit the pool whose client has waited longest goes first.
    #[inline]
    fn yields_to_sibling(&self, now: Instant) -> bool {
        if !self.database.servers.is_starved() && !self.user.servers.is_starved() {
            return false;
        }
        let ours = self.slots.lock().oldest_wait();
        // Who may not open another one for reasons of his own has no use for the room.
        let wait = |pool: Arc<Self>| {
            let slots = pool.slots.lock();
            slots.oldest_wait().filter(|_| slots.wants_open(now).is_some())
        };
        let theirs = self.siblings().into_iter().filter_map(wait).min();
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => theirs < ours,
            (None, Some(_)) => true,
            (_, None) => {
                self.database.servers.set_fed();
                self.user.servers.set_fed();
                false
            }
        }
    }

    /// The other pools of the same database or user.
    pub(super) fn siblings(&self) -> Vec<Arc<Self>> {
        let mut siblings: Vec<Arc<Self>> = Vec::new();
        for pools in [&self.database.pools, &self.user.pools] {
            for pool in pools.lock().iter().filter_map(Weak::upgrade) {
                let ourselves = std::ptr::eq(&raw const *pool, self);
                if !ourselves && !siblings.iter().any(|known| Arc::ptr_eq(known, &pool)) {
                    siblings.push(pool);
                }
            }
        }
        siblings
    }
}

fn wake(released: Released) {
    match released {
        Released::Granted(Some(waker)) => waker.wake(),
        Released::Granted(None) | Released::Idle => {}
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("key", &self.key).finish_non_exhaustive()
    }
}
