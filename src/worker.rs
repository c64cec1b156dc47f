//! A worker: one thread with a runtime of its own, which serves its clients from accept to end.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::client::context::{Command, Shared, WorkerContext};
use crate::client::handshake::serve;
use crate::client::record::Kick;
use crate::client::timing::overdue;
use crate::net::address::ClientAddress;
use crate::net::stream::Detached;
use crate::pool::shared::Pool;

/// How often timeouts and idle servers are looked at: what timeouts are exact to.
const TICK: Duration = Duration::from_millis(50);

/// Starts a worker.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(
    index: usize,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let context = Rc::new(WorkerContext::new(index, shared));
        LocalSet::new().block_on(&runtime, run(context, commands));
    })
}

/// Runs until the channel of commands is closed.
async fn run(context: Rc<WorkerContext>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut drained: Option<oneshot::Sender<()>> = None;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Drain(done)) => {
                    context.draining.set(true);
                    kick_all(&context, Kick::Shutdown);
                    drained = Some(done);
                }
                Some(command) => obey(&context, command),
            },
            _ = ticks.tick() => tick(&context),
        }
        if is_empty(&context)
            && let Some(done) = drained.take()
        {
            // Who asked may have gone on without waiting.
            let _ = done.send(());
        }
    }
}

fn is_empty(context: &WorkerContext) -> bool {
    context.clients.borrow().is_empty() && context.logging_in.get() == 0
}

fn obey(context: &Rc<WorkerContext>, command: Command) {
    match command {
        Command::Accept(stream, address) => accept(context, stream, address),
        Command::Cancel { place, secret } => cancel(context, place, &secret),
        Command::DrainNow => kick_all(context, Kick::ShutdownNow),
        Command::Reloaded(gone) => reloaded(context, &gone),
        // Who asked may have given up.
        Command::Tally(answer) => drop(answer.send(context.tally())),
        Command::Meters(pools, answer) => drop(answer.send(context.meters(&pools))),
        Command::Clients(wanted, answer) => drop(answer.send(context.seen_clients(wanted))),
        // Answered where the end of it is noticed.
        Command::Drain(_) => {}
    }
}

fn accept(context: &Rc<WorkerContext>, stream: Detached, address: ClientAddress) {
    let shared = Arc::clone(&context.shared);
    let index = context.index;
    match stream.attach() {
        Ok(stream) => {
            let context = Rc::clone(context);
            spawn_local(async move {
                serve(stream, address, context).await;
                shared.loads[index].fetch_sub(1, Ordering::Relaxed);
            });
        }
        Err(error) => {
            shared.loads[index].fetch_sub(1, Ordering::Relaxed);
            warn!(%error, %address, "a client could not be registered");
        }
    }
}

fn cancel(context: &WorkerContext, place: usize, secret: &[u8]) {
    let client = context.clients.borrow().get(place).cloned();
    match client {
        Some(client) if context.shared.cancel_keys.is_secret(client.id, secret) => {
            client.kick(Kick::Cancel);
        }
        // Silence: whoever guesses learns nothing.
        Some(_) | None => debug!("a cancel request with a wrong key"),
    }
}

fn reloaded(context: &WorkerContext, gone: &[Arc<Pool>]) {
    let config = context.shared.pools.config();
    for (_, client) in context.clients.borrow().iter() {
        let (database, user) = &*client.names;
        *client.timeouts.borrow_mut() = Rc::new(config.client_timeouts(database, user));
        if gone.iter().any(|pool| *pool.key.database == **database) {
            client.kick(Kick::DatabaseGone);
        }
    }
}

fn kick_all(context: &WorkerContext, kick: Kick) {
    for (_, client) in context.clients.borrow().iter() {
        client.kick(kick);
    }
}

fn tick(context: &WorkerContext) {
    let now = Instant::now();
    let nanos = context.nanos(now);
    for (_, client) in context.clients.borrow().iter() {
        if let Some(kick) = overdue(client, nanos) {
            client.kick(kick);
        }
    }
    context.flush_queries();
    for pool in context.shared.pools.all() {
        pool.maintain(context.index, now);
    }
}
