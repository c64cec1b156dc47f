//! When a database is asked for functions that leave something in sessions: on a server that comes back or is idle,
//! before anybody else has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::{info, warn};

use super::shared::{Entry, Pool};
use super::wear::Parting;
use crate::server::connection::{Routines, ServerConnection};
use crate::server::hidden::{Answer, Learnt, ask};

/// Asking must not take longer: the server is closed then.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Names that one line of the log has at most.
const MOST_LOGGED: usize = 10;

impl Pool {
    /// A clean server comes back: to a waiter, to the idle ones, or it is closed. If it is time for that, the
    /// database is asked for its functions before.
    #[inline]
    pub fn put(self: &Arc<Self>, mut entry: Entry, worker: usize, now: Instant) {
        let hidden = &self.database.registry.hidden;
        if entry.connection.routines == Routines::Changed {
            entry.connection.routines = Routines::Same;
            hidden.note_change(now);
        }
        if hidden.take_due() {
            spawn_local(Arc::clone(self).ask_of(entry, worker));
        } else {
            self.put_back(entry, worker, now);
        }
    }

    /// A task of its own.
    async fn ask_of(self: Arc<Self>, mut entry: Entry, worker: usize) {
        if entry.connection.worker != worker {
            match entry.connection.move_to(worker) {
                Ok(connection) => entry.connection = connection,
                Err(_) => {
                    let now = Instant::now();
                    let _ = self.database.registry.hidden.learn(Learnt::Nothing, now, now);
                    return self.lost(worker, now);
                }
            }
        }
        let good = self.ask_for_functions(&mut entry.connection).await;
        let now = Instant::now();
        if good {
            self.put_back(entry, worker, now);
        } else {
            self.close(entry, Parting::Unclean, worker, now);
        }
    }

    /// Asks; is the server still good?
    pub(super) async fn ask_for_functions(&self, server: &mut ServerConnection) -> bool {
        let state = &self.database.registry.hidden;
        let (began, digest) = (Instant::now(), state.digest());
        let asked = timeout(ASK_LIMIT, ask(server, &digest)).await;
        let database = &*self.database.name;
        let (found, good) = match asked {
            Ok(Ok(Answer::Same)) => (Learnt::Same, true),
            Ok(Ok(Answer::Found(found))) => (Learnt::Found(*found), true),
            Ok(Ok(Answer::Refused { code, message })) => {
                warn!(database, %code, message, "cannot read the functions of a database: what they leave in sessions is not known");
                (Learnt::Nothing, true)
            }
            Ok(Err(error)) => {
                warn!(database, %error, "a server was lost while the functions of its database were read");
                (Learnt::Nothing, false)
            }
            Err(_) => {
                warn!(database, "reading the functions of a database takes too long");
                (Learnt::Nothing, false)
            }
        };
        if matches!(&found, Learnt::Found(found) if found.is_cut) {
            warn!(
                database,
                "there are more functions than are read: what some leave in sessions is not known"
            );
        }
        if let Some(hidden) = state.learn(found, began, Instant::now()) {
            let functions = hidden.functions();
            let names: Vec<_> = functions.keys().copied().take(MOST_LOGGED).collect();
            let count = functions.len();
            info!(
                database,
                count,
                functions = names.join(", "),
                "functions that leave something in sessions; /compat has all"
            );
        }
        good && server.is_reusable()
    }
}
