//! Opening servers: how many, within which limits, and what comes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::limits::Place;
use super::roster::ServerFacts;
use super::shared::{Entry, Pool};
use super::slots::{Need, Outlook};
use super::wear::Parting;
use crate::net::framed::ReadError;
use crate::net::tls::session::HandshakeError;
use crate::protocol::sqlstate::SqlState;
use crate::server::dial::DialError;
use crate::server::login::{self, ConnectError, Opened, Target};

/// With `server_connect_timeout = 0` a login may still not take for ever.
pub(super) const LONGEST_CONNECT: Duration = Duration::from_secs(600);

/// The right to open one server: it counts as "opening" until this is gone.
#[derive(Debug)]
struct Permit {
    pool: Arc<Pool>,
    /// None while they are looked for.
    places: Option<[Place; 2]>,
    worker: usize,
    state: Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// Counted as "opening".
    UnderWay,
    /// It came to an end, good or bad, and is counted as that.
    Ended,
}

impl Pool {
    /// Opens as many servers as are wanted and allowed, on the current worker.
    pub fn grow(self: &Arc<Self>, worker: usize, now: Instant) {
        while let Some(permit) = self.permit(worker, now) {
            spawn_local(open(permit));
        }
    }

    /// Room was made within a limit: those who may use it do.
    pub(super) fn room_was_made(self: &Arc<Self>, worker: usize, now: Instant) {
        if self.database.servers.is_starved() || self.user.servers.is_starved() {
            let wait = |pool: &Arc<Self>| pool.with_slots(|s| s.oldest_wait());
            let mut pools = self.siblings();
            pools.push(Arc::clone(self));
            pools.retain(|pool| wait(pool).is_some());
            pools.sort_by_cached_key(wait);
            pools.iter().for_each(|pool| pool.grow(worker, now));
        } else {
            self.grow(worker, now);
        }
    }

    fn permit(self: &Arc<Self>, worker: usize, now: Instant) -> Option<Permit> {
        // Counted before a place is looked for, or two workers would look for the same open, and
        // close a sibling's server each.
        let need = self.with_slots(|slots| {
            let need = slots.wants_open(now)?;
            slots.begin_open();
            Some(need)
        })?;
        let state = Open::UnderWay;
        let mut permit = Permit { pool: Arc::clone(self), places: None, worker, state };
        permit.places = self.places(need);
        permit.places.is_some().then_some(permit)
    }

    /// Places within the shared limits; for a client that waits, if need be at the cost of a
    /// sibling's idle server.
    pub(super) fn places(self: &Arc<Self>, need: Need) -> Option<[Place; 2]> {
        loop {
            let database = self.database.servers.take();
            let user = self.user.servers.take();
            if let (Some(database), Some(user)) = (database, user) {
                return Some([database, user]);
            }
            match need {
                // Pools whose minima do not fit together would take turns in closing and opening.
                Need::Minimum => return None,
                Need::Client if self.evict() => {}
                Need::Client => {
                    self.database.servers.set_starved();
                    self.user.servers.set_starved();
                    return None;
                }
            }
        }
    }

    /// Closes the server that has been idle longest among the pools that share the exhausted
    /// limit, those with more than their `min_pool_size` first. Was there one?
    fn evict(self: &Arc<Self>) -> bool {
        let full_database = self.database.servers.used() >= self.database.servers.limit();
        let shares = |pool: &Arc<Self>| {
            // Where the database is full, only a server of that database makes room.
            if full_database {
                Arc::ptr_eq(&pool.database, &self.database)
            } else {
                Arc::ptr_eq(&pool.user, &self.user)
            }
        };
        let candidates = self.siblings().into_iter().filter(shares);
        let longest = candidates
            .filter_map(|pool| {
                let (since, spare) = pool.with_slots(|s| (s.longest_idle(), s.spare()));
                Some(((spare == 0, since?), pool))
            })
            .min_by_key(|(order, _)| *order);
        let Some((_, victim)) = longest else { return false };
        // If it is gone by now, somebody uses it, and another may do.
        let _ = victim.give_up_idle();
        true
    }

    /// Closes the server that has been idle longest, to make room for one elsewhere. Was there one?
    pub(super) fn give_up_idle(&self) -> bool {
        let Some(mut entry) = self.with_slots(|s| s.take_longest_idle()) else { return false };
        entry.connection.say_goodbye();
        debug!(database = %self.key.database, user = %self.key.user, "closed an idle server to make room for another");
        drop(entry);
        self.wear.count_closed(Parting::Eviction);
        self.with_slots(|s| s.lost());
        true
    }
}

/// Not cancel safe: it is a task of its own.
async fn open(permit: Permit) {
    let pool = Arc::clone(&permit.pool);
    let (plan, generation) = pool.numbered_plan();
    let started = Instant::now();
    let limit = plan.connect_timeout.unwrap_or(LONGEST_CONNECT);
    let none = pool.interner.none();
    let opening = login::open(&plan.target, pool.logins(), &none, permit.worker);
    let opened = match timeout(limit, Box::pin(opening)).await {
        Ok(opened) => opened,
        Err(_) => Err(ConnectError::Timeout),
    };
    match opened {
        Ok(mut opened) => {
            pool.connects.lock().times.record(nanos(started.elapsed()));
            debug!(
                database = %pool.key.database, user = %pool.key.user,
                server = opened.connection.id, pid = opened.connection.key.pid,
                "opened a server"
            );
            // While it counts as opening, or another one would be opened for the client that waits.
            pool.database.registry.hidden.tick(plan.function_check, Instant::now());
            if pool.database.registry.hidden.take_due()
                && !pool.ask_for_functions(&mut opened.connection).await
            {
                return;
            }
            permit.succeed(opened, generation);
        }
        Err(error) => permit.fail(error),
    }
}

impl Permit {
    fn succeed(mut self, opened: Opened, generation: u32) {
        let Some(places) = self.places.take() else { return };
        self.state = Open::Ended;
        let (pool, worker) = (Arc::clone(&self.pool), self.worker);
        let recovered = pool.with_slots(|slots| {
            let failed = slots.failure().is_some();
            slots.opened();
            failed
        });
        if recovered {
            info!(database = %pool.key.database, user = %pool.key.user, "Postgres is back");
        }
        pool.adopt(opened, generation, places, worker);
    }

    fn fail(mut self, error: ConnectError) {
        drop(self.places.take());
        self.state = Open::Ended;
        let (pool, now) = (&self.pool, Instant::now());
        pool.connects.lock().failures += 1;
        let outlook = outlook(&error);
        let reason = Arc::new(error);
        let (again, wakers) = pool.with_slots(|slots| {
            (slots.failure().is_some(), slots.open_failed(&reason, outlook, now))
        });
        // Once at each change, not at each try.
        if again {
            debug!(database = %pool.key.database, user = %pool.key.user, %reason, "still cannot open a server");
        } else {
            warn!(database = %pool.key.database, user = %pool.key.user, %reason, "cannot open a server");
        }
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

impl Pool {
    /// A server that logged in for another reason, by `target`, joins the pool if there is room and
    /// the pool is still run so, else it goes.
    pub fn offer(self: &Arc<Self>, opened: Opened, target: &Target, worker: usize) {
        let (plan, generation) = self.numbered_plan();
        if !plan.target.is_same_place(target) {
            return;
        }
        let places = self.database.servers.take().zip(self.user.servers.take());
        let room = self.with_slots(|slots| {
            let free = slots.counts().total() < slots.limits().size && places.is_some();
            if free {
                slots.begin_open();
                slots.opened();
            }
            free
        });
        match places {
            Some((database, user)) if room => {
                self.adopt(opened, generation, [database, user], worker);
            }
            _ => self.set_base(opened.reported, generation),
        }
    }

    /// A server that has just logged in, and counts as taken, joins the pool.
    pub fn adopt(
        self: &Arc<Self>,
        opened: Opened,
        generation: u32,
        places: [Place; 2],
        worker: usize,
    ) {
        let now = Instant::now();
        self.set_base(opened.reported, generation);
        // Up to a tenth earlier, each server otherwise, so that they do not all go at once.
        let expires = self.plan().lifetime.map(|lifetime| {
            let share = (opened.connection.id.wrapping_mul(0x9e37_79b9) % 1_000) as u32;
            // At least beyond this moment: a lifetime of zero is one use.
            now + (lifetime - lifetime / 10_000 * share).max(Duration::from_nanos(1))
        });
        let connection = opened.connection;
        let listed = self.roster.add(ServerFacts {
            id: connection.id,
            pid: connection.key.pid,
            address: connection.key.address.clone(),
            opened_at: connection.opened_at,
        });
        let entry = Entry { connection, generation, expires, places, listed };
        self.put(entry, worker, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.state == Open::UnderWay {
            self.pool.with_slots(|slots| slots.open_abandoned());
        }
    }
}

/// Will another try soon do without anybody changing anything?
fn outlook(error: &ConnectError) -> Outlook {
    match error {
        ConnectError::Refused { code, .. } => match *code {
            SqlState::CANNOT_CONNECT_NOW
            | SqlState::TOO_MANY_CONNECTIONS
            | SqlState::CRASH_SHUTDOWN
            | SqlState::ADMIN_SHUTDOWN => Outlook::Passing,
            _ => Outlook::Lasting,
        },
        // Cut short by a crash of another backend, or by a restart.
        ConnectError::Read(ReadError::Closed | ReadError::Io(_))
        | ConnectError::Io(_)
        | ConnectError::Dial(
            DialError::Ask(_) | DialError::Tls(HandshakeError::Io(_) | HandshakeError::Closed),
        ) => Outlook::Doubtful,
        ConnectError::Read(ReadError::Length(_) | ReadError::TooLong { .. }) => Outlook::Lasting,
        ConnectError::Dial(
            DialError::Connect { .. }
            | DialError::NoTls
            | DialError::Answer(_)
            | DialError::NoAlpn
            | DialError::Tls(HandshakeError::Tls(_) | HandshakeError::Thread),
        )
        | ConnectError::Timeout
        | ConnectError::Scram(_)
        | ConnectError::NoSecret(_)
        | ConnectError::Unsupported(_)
        | ConnectError::Unexpected(_)
        | ConnectError::TooMuchReported
        | ConnectError::Derivation => Outlook::Lasting,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
