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

/// What is to be done with an idle server.
enum Duty {
    Look,
    Close(Parting),
    Check,
}

impl Pool {
    /// One round for the idle servers of `worker`, which must be the current one.
    pub fn maintain(self: &Arc<Self>, worker: usize, now: Instant) {
        let (plan, generation) = self.numbered_plan();
        let taken = self.with_slots(|slots| {
            let mut budget = Budget { spare: slots.spare(), surplus: slots.surplus() };
            let taken =
                slots.take_where(worker, |idle| duty(&plan, idle, generation, now, &mut budget));
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

    /// A task of its own: asks an idle server whether it is there.
    async fn check(self: Arc<Self>, mut idle: Idle<Entry>, plan: Arc<Plan>, worker: usize) {
        let query = if plan.check_query.is_empty() { ";" } else { &plan.check_query };
        let answer = timeout(CHECK_LIMIT, exec::run(&mut idle.server.connection, query)).await;
        match answer {
            Ok(Ok(heard)) if heard.error.is_none() && idle.server.connection.is_reusable() => {
                self.restore(idle, worker, Instant::now());
            }
            Ok(Ok(_) | Err(_)) | Err(_) => {
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

fn duty(
    plan: &Plan,
    idle: &Idle<Entry>,
    generation: u32,
    now: Instant,
    budget: &mut Budget,
) -> Option<Duty> {
    let passed = |limit: Option<Duration>, since: Instant| {
        limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
    };
    if idle.server.connection.stream.seems_readable() {
        return Some(Duty::Look);
    }
    let why = if idle.server.generation != generation {
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
