//! A worker's side of a pool: taking a server, giving it back, and what must happen in between.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::task::spawn_local;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::shared::{Entry, OpenFailure, Pool};
use super::slots::{Asked, Ticket};
use super::wear::Parting;
use crate::config::ServerReset;
use crate::protocol::backend::TransactionStatus;
use crate::protocol::frame::client_tag;
use crate::protocol::frontend;
use crate::server::cancel::{Cancels, Start};
use crate::server::connection::{AT_ONCE, Body, Dirt, ServerConnection};
use crate::server::exec::{self, ExecError, Heard};
use crate::server::owed::{Answer, Request};
use crate::server::parameters::Applied;
use crate::sql::feature::{Feature, Features};
use crate::stats::meter::Meter;
use crate::stats::queries::QueryLog;

/// Cleaning a server must not take longer: it is closed instead.
const CLEAN_LIMIT: Duration = Duration::from_secs(10);

/// Between one cancel request and the next, for a client that left a pipeline behind.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// How long what a client asked for runs on after it said goodbye.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// The most bytes made up to complete a message that was half sent.
const MOST_PADDING: usize = 1024 * 1024;

/// A pool, as one worker sees it.
#[derive(Debug)]
pub struct PoolHandle {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Its place among the pools that the worker knows.
    pub place: usize,
    /// The worker.
    pub worker: usize,
    /// What this worker has seen of the pool.
    pub meter: RefCell<Meter>,
    /// What this worker notes of the pool's statements, if they are counted.
    pub queries: Option<Rc<QueryLog>>,
    /// Bounds the cancel requests on their way, of all workers.
    pub cancels: Arc<Cancels>,
}

/// A server that a client holds. Dropping it closes the connection; [`Self::give_back`] is how it
/// ends well.
#[derive(Debug)]
pub struct PooledServer {
    entry: Option<Entry>,
    handle: Rc<PoolHandle>,
    pin: Option<Pin>,
}

/// A client that keeps its server, in the pool's books as long as this is not dropped.
#[derive(Debug)]
struct Pin {
    since: Instant,
    pins: Features,
    handle: Rc<PoolHandle>,
}

/// What came of asking for a server.
#[derive(Debug)]
pub enum Checkout {
    /// Here it is.
    Ready(PooledServer),
    /// It will come.
    Wait(Ticket),
    /// It will not.
    Refused(OpenFailure),
}

/// How a server is to be cleaned that was left in the middle of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The client is gone: what it began is cancelled and rolled back.
    Abort,
    /// The client said goodbye after its last request: that one still runs for a while.
    Finish,
}

impl PoolHandle {
    /// Asks for a server.
    pub fn checkout(self: &Rc<Self>, now: Instant) -> Checkout {
        loop {
            match self.pool.ask(self.worker, now) {
                Ok(Asked::Taken(idle)) => {
                    if let Some(server) = self.ready(idle.server) {
                        return Checkout::Ready(server);
                    }
                }
                Ok(Asked::Check(idle, ticket)) => {
                    self.pool.check_for_use(idle, self.worker, now);
                    return Checkout::Wait(ticket);
                }
                Ok(Asked::Queued(ticket)) => {
                    self.pool.grow(self.worker, now);
                    return Checkout::Wait(ticket);
                }
                Err(failure) => return Checkout::Refused(failure),
            }
        }
    }

    /// Is the wait over? A server that turned out dead puts the client back into the queue: the
    /// ticket changes.
    pub fn poll(
        self: &Rc<Self>,
        ticket: &mut Ticket,
        waker: &Waker,
    ) -> Option<Result<PooledServer, OpenFailure>> {
        loop {
            match self.pool.poll(*ticket, waker)? {
                Err(failure) => return Some(Err(failure)),
                Ok(entry) => {
                    if let Some(server) = self.ready(entry) {
                        return Some(Ok(server));
                    }
                }
            }
            match self.checkout(Instant::now()) {
                Checkout::Ready(server) => return Some(Ok(server)),
                Checkout::Wait(next) => *ticket = next,
                Checkout::Refused(failure) => return Some(Err(failure)),
            }
        }
    }

    /// A server taken from the pool, made ready for this worker, unless it is dead or stale.
    fn ready(self: &Rc<Self>, mut entry: Entry) -> Option<PooledServer> {
        if entry.generation != self.pool.generation() {
            self.pool.close(entry, Parting::Outdated, self.worker, Instant::now());
            return None;
        }
        if entry.connection.stream.seems_readable() && !still_alive(&mut entry.connection) {
            drop(entry);
            self.pool.lost(self.worker, Instant::now());
            return None;
        }
        if entry.connection.worker != self.worker {
            match entry.connection.move_to(self.worker) {
                Ok(connection) => entry.connection = connection,
                Err(error) => {
                    debug!(%error, "a server could not be moved to another worker");
                    self.pool.lost(self.worker, Instant::now());
                    return None;
                }
            }
        }
        Some(PooledServer { entry: Some(entry), handle: Rc::clone(self), pin: None })
    }
}

/// Reads what came while the server was idle: notices may come, and the end.
pub(super) fn still_alive(server: &mut ServerConnection) -> bool {
    let mut buffer = [0; 4096];
    let mut cx = std::task::Context::from_waker(Waker::noop());
    let mut heard = Heard::default();
    loop {
        match server.stream.poll_read(&mut cx, &mut buffer) {
            std::task::Poll::Pending => break,
            std::task::Poll::Ready(Ok(length)) if length > 0 => {
                if exec::hear(server, &buffer[..length], &mut heard).is_err() {
                    return false;
                }
            }
            std::task::Poll::Ready(_) => return false,
        }
    }
    if !heard.reported.is_empty() {
        // The configuration file was reloaded, or a standby promoted.
        server.applied = Applied::Unknown;
    }
    server.is_reusable()
}

impl PooledServer {
    /// The connection.
    #[inline]
    #[must_use]
    pub fn connection(&mut self) -> &mut ServerConnection {
        &mut self.entry.as_mut().expect("a server is taken out only when it is given up").connection
    }

    /// The number of the plan it was opened by.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.entry.as_ref().expect("a server is taken out only when it is given up").generation
    }

    /// Gives the server back: at once if it is clean, else after it was cleaned in the background.
    #[inline]
    pub fn give_back(mut self, now: Instant) {
        let always = self.handle.pool.rules.reset() == ServerReset::Always;
        let server = self.connection();
        if server.is_reusable() && server.is_clean() && !server.cancels.is_busy() && !always {
            if let Some(entry) = self.entry.take() {
                self.handle.pool.put(entry, self.handle.worker, now);
            }
        } else {
            spawn_local(self.clean(Leave::Finish));
        }
    }

    /// Gives a server back that a client left in the middle of something. `last` is the client's
    /// message that was being passed on: the rest of it will never come.
    pub fn leave(mut self, how: Leave, last: Body) {
        let server = self.connection();
        if !complete(server, last) || server.owed.is_ambiguous() {
            self.discard();
        } else if server.owed.is_free() {
            self.give_back(Instant::now());
        } else {
            spawn_local(self.clean(how));
        }
    }

    /// Closes the connection, and cancels what runs: Postgres would notice the closed socket only
    /// when it is done.
    pub fn discard(mut self) {
        if self.connection().owed.is_running() {
            self.cancel(Start::Now);
        }
        let why = if self.connection().cancels.is_lost() {
            let (key, server) = (&self.handle.pool.key, self.entry.as_ref());
            let server = server.map(|entry| entry.connection.id);
            info!(
                database = %key.database, user = %key.user, server,
                "closed a server: a cancel request was given up and might reach its next client"
            );
            Parting::CancelLost
        } else {
            Parting::Unclean
        };
        self.part(why);
    }

    /// Closes the connection, which Postgres has given up.
    pub fn close(self) {
        self.part(Parting::Lost);
    }

    fn part(mut self, why: Parting) {
        if let Some(entry) = self.entry.take() {
            self.handle.pool.close(entry, why, self.handle.worker, Instant::now());
        }
    }

    /// Sends a cancel request for what the server runs; it is not given to anybody else before
    /// that has ended.
    pub fn cancel(&mut self, start: Start) {
        let server = self.connection();
        let (key, in_flight) = (server.key.clone(), server.cancels.enter());
        let cancels = Arc::clone(&self.handle.cancels);
        self.handle.pool.wear.count_cancel();
        spawn_local(async move { cancels.send_at(start, key, in_flight).await });
    }

    /// Keeps the server for its client between transactions, as long as it holds state that no other one has. Gives
    /// what it is kept for beside what it was kept for before; `None`: it is not kept.
    pub fn keep(&mut self, now: Instant) -> Option<Features> {
        let pins = self.connection().pins;
        if pins.is_empty() {
            self.pin = None;
            return None;
        }
        self.may_be_kept();
        let pin = self.pin.as_mut()?;
        let more = pins.without(pin.pins);
        if pins != pin.pins {
            self.handle.pool.rules.repin(pin.pins, more, now.saturating_duration_since(pin.since));
            (pin.since, pin.pins) = (now, pins);
        }
        Some(more)
    }

    /// Its client does something that may keep the server: it counts for `max_pinned` from now on.
    pub fn may_be_kept(&mut self) {
        if self.pin.is_none() {
            self.handle.pool.rules.reserve();
            let (since, pins) = (Instant::now(), Features::NONE);
            self.pin = Some(Pin { since, pins, handle: Rc::clone(&self.handle) });
        }
    }

    /// May its client have state that keeps the server? One that has some may have more.
    #[inline]
    #[must_use]
    pub fn may_keep(&self) -> bool {
        self.pin.is_some() || self.handle.pool.rules.may_pin()
    }

    /// Is it kept for its client between transactions?
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.pin.as_ref().is_some_and(|pin| !pin.pins.is_empty())
    }

    async fn abort(&mut self) -> Result<Result<bool, ExecError>, Elapsed> {
        let cancels = Arc::clone(&self.handle.cancels);
        if self.connection().owed.is_running() {
            self.handle.pool.wear.count_cancel();
        }
        let reset = self.handle.pool.rules.reset();
        timeout(CLEAN_LIMIT, abort(self.connection(), cancels, reset)).await
    }

    /// A task of its own: ends with the server clean in its pool, or closed.
    async fn clean(mut self, how: Leave) {
        self.pin = None;
        let cleaned = match how {
            Leave::Finish => {
                // Should they not end in time, aborting goes on with what is still owed.
                let finished = timeout(LAST_WORDS, exec::settle(self.connection())).await;
                match finished {
                    Ok(Err(error)) => Ok(Err(error)),
                    Ok(Ok(_)) | Err(_) => self.abort().await,
                }
            }
            Leave::Abort => self.abort().await,
        };
        match cleaned {
            Ok(Ok(true)) => {
                self.handle.pool.wear.count_cleaned();
                let now = Instant::now();
                if let Some(entry) = self.entry.take() {
                    self.handle.pool.put(entry, self.handle.worker, now);
                }
                return;
            }
            Ok(Ok(false)) => debug!("a server that may be out of step is closed"),
            Ok(Err(ExecError::Io(_) | ExecError::Closed)) => {
                debug!("a server was lost while it was cleaned");
                return self.close();
            }
            Ok(Err(error)) => debug!(%error, "a server that cannot be cleaned is closed"),
            Err(_) => debug!("cleaning a server took too long"),
        }
        self.discard();
    }
}

/// Completes the message that a vanished client left half sent, where that can do no harm: false if
/// it cannot be.
fn complete(server: &mut ServerConnection, last: Body) -> bool {
    let Body::Forward(missing) = last else { return true };
    let harmless = match server.half_sent {
        // Followed by CopyFail: none of it counts.
        client_tag::COPY_DATA => true,
        // Bytes behind the text's NUL make it malformed (pq_getmsgend): it is not executed.
        client_tag::QUERY => missing >= 2,
        _ => false,
    };
    if harmless && missing <= MOST_PADDING {
        server.unsent.resize(server.unsent.len() + missing, 0);
    }
    harmless && missing <= MOST_PADDING
}

/// Cleans a server whose client is gone: what runs is cancelled, and as often as something else of
/// the same client runs after it.
async fn abort(
    server: &mut ServerConnection,
    cancels: Arc<Cancels>,
    reset: ServerReset,
) -> Result<bool, ExecError> {
    if server.touched.is_some() || server.asked.is_some() {
        // What became of it, nobody asks any more.
        server.dirt = Dirt::Unknown;
    }
    // COPY whose data will not end ends with CopyFail, and needs no cancelling.
    if !server.owed.is_running() || server.owed.awaits_copy_data() {
        return tidy(server, reset).await;
    }
    let (key, gate) = (server.key.clone(), Arc::clone(&server.cancels));
    let cancelling = async {
        loop {
            // A task of its own: a request that has set out is never given up half way, or it
            // could hit the server's next client.
            let (key, in_flight, cancels) = (key.clone(), gate.enter(), Arc::clone(&cancels));
            let _ = spawn_local(async move { cancels.send(key, in_flight).await }).await;
            sleep(CANCEL_AGAIN).await;
        }
    };
    tokio::select! {
        settled = settle_all(server) => settled?,
        () = cancelling => {}
    }
    tidy(server, reset).await
}

/// Ends COPY and batch, and reads what is owed.
async fn settle_all(server: &mut ServerConnection) -> Result<(), ExecError> {
    if server.owed.is_copying_in() {
        exec::push_copy_fail(server);
    }
    if !server.owed.is_free() {
        // ROLLBACK first, so that Sync does not commit a batch whose end never came; should
        // Postgres skip it after an error, that Sync ends the batch just as well.
        if !server.owed.is_skipping() {
            frontend::write_query(&mut server.unsent, "ROLLBACK");
            server.owed.push(Request::Query, Answer::Swallow, None, 0);
        }
        exec::push_sync(server);
        exec::settle(server).await?;
    }
    Ok(())
}

/// Ends COPY, batch, transaction, and what else was left; true if the server is clean now.
async fn tidy(server: &mut ServerConnection, reset: ServerReset) -> Result<bool, ExecError> {
    settle_all(server).await?;
    server.cancels.wait().await;
    if server.owed.status() != TransactionStatus::Idle {
        exec::run(server, "ROLLBACK").await?;
    }
    if server.pins.contains(Feature::Load) {
        // Postgres has no way to unload a library.
        return Ok(false);
    }
    let sql = reset_sql(server, reset);
    if !sql.is_empty() && exec::run(server, &sql).await?.error.is_some() {
        return Ok(false);
    }
    if sql.contains(FORGETS_ALL[0]) || sql.contains(FORGETS_ALL[1]) {
        server.forget_all_statements();
    }
    // A cancelled or rolled back SET is not worth telling apart from one that was not.
    server.applied = Applied::Unknown;
    server.reported.clear();
    (server.touched, server.asked) = (None, None);
    server.pins = Features::NONE;
    server.dirt = Dirt::Known;
    Ok(server.is_reusable())
}

/// What makes Postgres forget prepared statements, those that clients share too.
const FORGETS_ALL: [&str; 2] = ["DISCARD ALL", "DEALLOCATE ALL"];

/// What takes back exactly what a client left, as far as that is known.
fn reset_sql(server: &ServerConnection, reset: ServerReset) -> Cow<'static, str> {
    let unknown = server.dirt == Dirt::Unknown
        || server.pins.contains(Feature::Session)
        || server.pins.contains(Feature::Unreadable);
    let all = match reset {
        ServerReset::Always => true,
        ServerReset::Auto => unknown,
        ServerReset::Never => false,
    };
    if all {
        return FORGETS_ALL[0].into();
    }
    let each = server.pins.iter().filter_map(|feature| match feature {
        Feature::Listen => Some("UNLISTEN *"),
        Feature::AdvisoryLock => Some("SELECT pg_catalog.pg_advisory_unlock_all()"),
        Feature::TemporaryTable => Some("DISCARD TEMP"),
        Feature::HoldCursor => Some("CLOSE ALL"),
        Feature::Prepare => Some(FORGETS_ALL[1]),
        Feature::Load | Feature::Session | Feature::Unreadable => None,
    });
    // A SELECT may wait for a snapshot that is safe; the others need none.
    let at_once = server.pins.contains(Feature::AdvisoryLock).then_some(AT_ONCE);
    [at_once.unwrap_or_default(), &each.collect::<Vec<_>>().join(";")].concat().into()
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.handle.pool.rules.unpin(self.pins, self.since.elapsed());
    }
}

impl Drop for PooledServer {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            let (why, worker) = (Parting::Unclean, self.handle.worker);
            self.handle.pool.close(entry, why, worker, Instant::now());
        }
    }
}
