//! A worker: one thread with a runtime of its own, which serves its clients from accept to end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::accept::accept_all;
use crate::client::context::{Arrival, Command, Shared, WorkerContext};
use crate::client::explain;
use crate::client::handshake::serve;
use crate::client::record::Kick;
use crate::client::timing::overdue;
use crate::net::address::ClientAddress;
use crate::net::stream::Detached;
use crate::pool::shared::Pool;

/// How often timeouts and idle servers are looked at: what timeouts are exact to.
const TICK: Duration = Duration::from_millis(50);

/// A worker that was started.
#[derive(Debug)]
pub struct Worker {
    index: usize,
    /// Its other end is dropped with the thread's work, however that ends.
    alive: oneshot::Receiver<Infallible>,
    thread: Option<JoinHandle<()>>,
}

/// A worker ended although nobody told it to: its clients are gone, and nobody serves new ones.
#[derive(Debug, thiserror::Error)]
#[error("worker {index} ended unexpectedly: {reason}")]
pub struct WorkerEnded {
    index: usize,
    reason: &'static str,
}

impl Worker {
    /// Waits for its end. Cancel safe.
    async fn ended(&mut self) -> WorkerEnded {
        // Nothing is ever sent.
        let _ = (&mut self.alive).await;
        // The thread has nothing left to do but to end.
        let outcome = self.thread.take().map(JoinHandle::join);
        let reason = match outcome {
            Some(Err(_)) => "it panicked",
            Some(Ok(())) | None => "it returned",
        };
        WorkerEnded { index: self.index, reason }
    }
}

/// Waits for the first worker to end, which none does before its commands do. Cancel safe.
pub async fn first_end(workers: &mut [Worker]) -> WorkerEnded {
    let mut waiting: Vec<_> = workers.iter_mut().map(|worker| Box::pin(worker.ended())).collect();
    poll_fn(|cx| {
        let ended = waiting.iter_mut().find_map(|worker| match worker.as_mut().poll(cx) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        });
        ended.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Starts a worker.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(
    index: usize,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<Worker> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (still_alive, alive) = oneshot::channel();
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        // Dropped last, by a panic too.
        let _still_alive: oneshot::Sender<Infallible> = still_alive;
        let context = Rc::new(WorkerContext::new(index, shared));
        LocalSet::new().block_on(&runtime, run(context, commands));
    })?;
    Ok(Worker { index, alive, thread: Some(thread) })
}

/// Runs until the channel of commands is closed.
async fn run(context: Rc<WorkerContext>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut drained: Option<oneshot::Sender<()>> = None;
    let mut acceptors = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Drain(done)) => {
                    context.drain();
                    kick_all(&context, Kick::Shutdown);
                    drained = Some(done);
                }
                Some(Command::Listen(listener, answer)) => {
                    let listening = listener.attach();
                    // Who asked waits for it.
                    let _ = answer.send(listening.map(|listening| {
                        acceptors.spawn_local(accept_all(listening, Arc::clone(&context.shared)));
                    }));
                }
                Some(Command::StopListening(done)) => {
                    acceptors.shutdown().await;
                    let _ = done.send(());
                }
                Some(command) => obey(&context, command),
            },
            _ = ticks.tick() => tick(&context),
        }
        if let Some(done) = drained.take_if(|_| is_empty(&context)) {
            // Who asked may have gone on without waiting.
            let _ = done.send(());
        }
    }
}

fn is_empty(context: &WorkerContext) -> bool {
    // Clients on their way here count, too.
    context.shared.loads[context.index].load(Ordering::Relaxed) == 0
}

fn obey(context: &Rc<WorkerContext>, command: Command) {
    match command {
        Command::Accept(stream, address, arrival) => accept(context, stream, (address, arrival)),
        Command::Cancel { place, secret, from } => {
            if !cancel(context, place, &secret) {
                // Silence: whoever guesses learns nothing.
                debug!(address = %from, "a cancel request with a wrong key");
                context.shared.wrong_keys.note(from, Instant::now());
            }
        }
        Command::DrainNow => kick_all(context, Kick::ShutdownNow),
        Command::Reloaded(gone) => reloaded(context, &gone),
        // Who asked may have given up.
        Command::Tally(answer) => drop(answer.send(context.tally())),
        Command::Meters(pools, answer) => drop(answer.send(context.meters(&pools))),
        Command::Clients(wanted, answer) => drop(answer.send(context.seen_clients(wanted))),
        Command::End(client, answer) => drop(answer.send(context.end(client))),
        Command::SearchPath(client, answer) => drop(answer.send(context.search_path_of(client))),
        Command::Explain(errand, answer) => {
            drop(spawn_local(explain::run(Rc::clone(context), *errand, answer)));
        }
        // Those are the loop's own.
        Command::Drain(_) | Command::Listen(..) | Command::StopListening(_) => {}
    }
}

fn accept(
    context: &Rc<WorkerContext>,
    stream: Detached,
    (address, arrival): (ClientAddress, Arrival),
) {
    let load = Load { shared: Arc::clone(&context.shared), index: context.index };
    match stream.attach() {
        Ok(stream) => {
            let context = Rc::clone(context);
            spawn_local(async move {
                let _load = load;
                drop(arrival.turn);
                serve(stream, (address, arrival.place), context).await;
            });
        }
        Err(error) => warn!(%error, %address, "a client could not be registered"),
    }
}

/// One of a worker's connections, until it is dropped, however that comes.
struct Load {
    shared: Arc<Shared>,
    index: usize,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.loads[self.index].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Was the secret right?
fn cancel(context: &WorkerContext, place: usize, secret: &[u8]) -> bool {
    let client = context.clients.borrow().get(place).cloned();
    let keys = &context.shared.cancel_keys;
    let shown = client.filter(|client| keys.is_secret(client.id, client.secret_length, secret));
    if let Some(client) = &shown {
        client.kick(Kick::Cancel);
    }
    shown.is_some()
}

fn reloaded(context: &WorkerContext, gone: &[Arc<Pool>]) {
    let config = context.shared.pools.config();
    for (_, client) in context.clients.borrow().iter() {
        let (database, user) = &*client.names;
        let timeouts = config.client_timeouts(database, user);
        *client.timeouts.borrow_mut() = context.alike.timeouts(timeouts);
        // Of a client whose servers are another user's by now, none more is asked.
        let user = config.database(database).map(|known| known.server_user(user));
        let other = user != Some(&*context.pool_at(client.pool_place).key.user);
        client.leaves.set(other);
        if other || gone.iter().any(|pool| *pool.key.database == **database) {
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
    context.mark_used_pools();
    for pool in context.shared.pools.all() {
        pool.maintain(context.index, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::pools::Pools;

    #[test]
    fn a_worker_that_panics_is_noticed_and_named() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (senders, receivers): (Vec<_>, Vec<_>) =
                (0..2).map(|_| mpsc::unbounded_channel()).unzip();
            let shared =
                Arc::new(Shared::new(Pools::new(Arc::default(), Arc::default(), 1), senders));
            // No pool has a place for the second.
            let mut workers: Vec<_> = [0, 7]
                .into_iter()
                .zip(receivers)
                .map(|(index, commands)| spawn(index, Arc::clone(&shared), commands).unwrap())
                .collect();
            let early = tokio::time::timeout(3 * TICK, first_end(&mut workers));
            assert!(early.await.is_err(), "both are alive");
            let _pool = shared.pools.pool("shop", "app");
            let ended = first_end(&mut workers).await;
            assert_eq!(ended.to_string(), "worker 7 ended unexpectedly: it panicked");
        });
    }
}
