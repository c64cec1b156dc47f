//! What is done to a pool's idle servers by the clock: dead ones noticed, old ones closed, quiet
//! ones checked, missing ones opened. Each worker does this for the sockets it has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::{debug, info};

use super::handle::still_alive;
use super::shared::{Entry, Plan, Pool};
use super::slots::Idle;
use super::wear::Parting;
use crate::server::exec;

/// A check that takes longer has failed.
const CHECK_LIMIT: Duration = Duration::from_secs(5);

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
}

/// What is to be done with an idle server.
enum Duty {
    Look,
    Close(Parting),
    Check,
    /// Ask it for the functions of its database.
    Ask,
}

impl Pool {
    /// One round for the idle servers of `worker`, which must be the current one.
    pub fn maintain(self: &Arc<Self>, worker: usize, now: Instant) {
        let (plan, generation) = self.numbered_plan();
        let kept = (!self.is_gone()).then_some(generation);
        let hidden = &self.database.registry.hidden;
        hidden.tick(plan.function_check, now);
        let taken = self.with_slots(|slots| {
            let mut budget = Budget { spare: slots.spare(), surplus: slots.surplus() };
            let taken = slots.take_where(worker, |idle| {
                let duty = duty(&plan, idle, kept, now, &mut budget);
                duty.or_else(|| hidden.take_due().then_some(Duty::Ask))
            });
            for (_, duty) in &taken {
                // Gone from the numbers at once, or the next worker would close as many again.
                if matches!(duty, Duty::Close(_)) {
                    slots.lost();
                }
            }
            taken
        });
        for (idle, duty) in taken {
            match duty {
                Duty::Close(why) => self.retire(idle, worker, why),
                Duty::Look => self.look(idle, worker, now),
                Duty::Check => {
                    spawn_local(Arc::clone(self).check(idle, Arc::clone(&plan), worker));
                }
                Duty::Ask => {
                    spawn_local(Arc::clone(self).ask_idle(idle, worker));
                }
            }
        }
        if worker == self.keeper {
            self.grow(worker, now);
        }
    }

    /// Closes an idle server that the numbers know to be gone.
    fn retire(self: &Arc<Self>, idle: Idle<Entry>, worker: usize, why: Parting) {
        debug!(
            database = %self.key.database, user = %self.key.user,
            server = idle.server.connection.id, reason = why.word(), "closed an idle server"
        );
        self.part(idle.server, why, worker, Instant::now());
    }

    /// Something came while the server was idle.
    fn look(self: &Arc<Self>, mut idle: Idle<Entry>, worker: usize, now: Instant) {
        if still_alive(&mut idle.server.connection) {
            let checked = idle.checked;
            self.restore(Idle { checked, ..idle }, worker, now);
        } else {
            info!(
                database = %self.key.database, user = %self.key.user,
                server = idle.server.connection.id, "Postgres closed an idle server"
            );
            drop(idle);
            self.lost(worker, now);
        }
    }

    /// Checks a server that a client waits for: it gets that one, or another.
    pub fn check_for_use(self: &Arc<Self>, idle: Idle<Entry>, worker: usize, now: Instant) {
        let (plan, generation) = self.numbered_plan();
        let Idle { server: mut entry, since, checked } = idle;
        if entry.generation != generation {
            self.with_slots(|slots| slots.checked());
            self.close(entry, Parting::Outdated, worker, now);
            return;
        }
        if entry.connection.worker != worker {
            match entry.connection.move_to(worker) {
                Ok(connection) => entry.connection = connection,
                Err(error) => {
                    debug!(%error, "a server could not be moved to another worker");
                    self.with_slots(|slots| slots.checked());
                    return self.lost(worker, now);
                }
            }
        }
        let mut idle = Idle { server: entry, since, checked };
        let pool = Arc::clone(self);
        spawn_local(async move {
            let verdict = pool.ask_server(&mut idle, &plan).await;
            pool.with_slots(|slots| slots.checked());
            pool.end_check(idle, verdict, worker);
        });
    }

    /// A task of its own: asks an idle server whether it is there.
    async fn check(self: Arc<Self>, mut idle: Idle<Entry>, plan: Arc<Plan>, worker: usize) {
        let verdict = self.ask_server(&mut idle, &plan).await;
        self.end_check(idle, verdict, worker);
    }

    /// A task of its own: asks an idle server for the functions of its database.
    async fn ask_idle(self: Arc<Self>, mut idle: Idle<Entry>, worker: usize) {
        let good = self.ask_for_functions(&mut idle.server.connection).await;
        self.end_check(idle, if good { Verdict::Passed } else { Verdict::Failed }, worker);
    }

    async fn ask_server(&self, idle: &mut Idle<Entry>, plan: &Plan) -> Verdict {
        let query = if plan.check_query.is_empty() { ";" } else { &plan.check_query };
        let connection = &mut idle.server.connection;
        match timeout(CHECK_LIMIT, exec::run(connection, query)).await {
            Ok(Ok(heard)) if heard.error.is_none() && connection.is_reusable() => Verdict::Passed,
            Ok(Ok(_) | Err(_)) | Err(_) => Verdict::Failed,
        }
    }

    fn end_check(self: &Arc<Self>, idle: Idle<Entry>, verdict: Verdict, worker: usize) {
        match verdict {
            Verdict::Passed => self.restore(idle, worker, Instant::now()),
            Verdict::Failed => {
                info!(
                    database = %self.key.database, user = %self.key.user,
                    server = idle.server.connection.id, "an idle server failed its check"
                );
                drop(idle);
                self.lost(worker, Instant::now());
            }
        }
    }
}

/// How many idle servers may go, and how many must.
struct Budget {
    spare: u32,
    surplus: u32,
}

/// `kept` is the generation of servers that are still good, if any are.
fn duty(
    plan: &Plan,
    idle: &Idle<Entry>,
    kept: Option<u32>,
    now: Instant,
    budget: &mut Budget,
) -> Option<Duty> {
    let passed = |limit: Option<Duration>, since: Instant| {
        limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
    };
    if idle.server.connection.stream.seems_readable() {
        return Some(Duty::Look);
    }
    let why = if Some(idle.server.generation) != kept {
        Some(Parting::Outdated)
    } else if idle.server.expires.is_some_and(|at| now >= at) {
        Some(Parting::Lifetime)
    } else if budget.surplus > 0 {
        Some(Parting::Surplus)
    } else if passed(plan.idle_timeout, idle.since) && budget.spare > 0 {
        Some(Parting::Idle)
    } else {
        None
    };
    if let Some(why) = why {
        budget.surplus = budget.surplus.saturating_sub(1);
        budget.spare = budget.spare.saturating_sub(1);
        return Some(Duty::Close(why));
    }
    passed(plan.check_delay.filter(|d| !d.is_zero()), idle.checked).then_some(Duty::Check)
}
