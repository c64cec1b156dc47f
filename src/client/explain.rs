//! A worker's part of an EXPLAIN: a server that no client needs, the question put to it, and the server given back.
//! Which statements are explained, how often and for whom is left to `control`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::context::WorkerContext;
use super::welcome::take_server;
use crate::pool::handle::{PoolHandle, PooledServer};
use crate::pool::shared::{OpenFailure, Pool};
use crate::server::exec::ExecError;
use crate::server::explain::{Question, Reply, explain};

/// How long a server that is being opened is waited for.
const SERVER_LIMIT: Duration = Duration::from_secs(2);

/// How long a server is held at most: each of its steps has a limit of 2 s in Postgres.
const HOLD_LIMIT: Duration = Duration::from_secs(5);

/// A question and the pool whose servers are to answer it.
#[derive(Debug)]
pub struct Errand {
    /// The pool.
    pub pool: Arc<Pool>,
    /// The question.
    pub question: Question,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    /// Clients wait, or would have to.
    #[error("clients of this pool wait for a server, or all of its servers are in use")]
    Busy,
    /// No server can be had.
    #[error("no server: {0}")]
    NoServer(#[from] OpenFailure),
    /// The server is of no use any more.
    #[error("the server was lost: {0}")]
    Lost(#[from] ExecError),
    /// Postgres did not answer.
    #[error("no answer within {} s", HOLD_LIMIT.as_secs())]
    Late,
}

/// Runs the errand and tells what came of it. To be spawned on the worker; nothing happens if nobody listens any
/// more before there is a server.
pub async fn run(
    context: Rc<WorkerContext>,
    errand: Errand,
    answer: oneshot::Sender<Result<Reply, ErrandError>>,
) {
    let handle = context.handle(&errand.pool);
    let server = spare_server(&handle).await;
    if answer.is_closed() {
        if let Ok(server) = server {
            server.give_back(Instant::now());
        }
        return;
    }
    let reply = match server {
        Ok(server) => ask(server, &handle, errand.question).await,
        Err(error) => Err(error),
    };
    // Who asked may have gone meanwhile.
    let _ = answer.send(reply);
}

/// A server that no client waits for: an idle one, or a new one where there is room.
async fn spare_server(handle: &Rc<PoolHandle>) -> Result<PooledServer, ErrandError> {
    let (counts, limits) = (handle.pool.counts(), handle.pool.plan().limits);
    let is_full = counts.idle == 0 && counts.total() >= limits.size;
    if counts.waiting > 0 || is_full || handle.pool.is_gone() {
        return Err(ErrandError::Busy);
    }
    match timeout(SERVER_LIMIT, take_server(handle)).await {
        Ok(taken) => Ok(taken?),
        // Limits that pools share, or Postgres is slow: either way not now.
        Err(_) => Err(ErrandError::Busy),
    }
}

async fn ask(
    mut server: PooledServer,
    handle: &Rc<PoolHandle>,
    question: Question,
) -> Result<Reply, ErrandError> {
    let fresh = handle.pool.interner.none();
    let asked = timeout(HOLD_LIMIT, explain(server.connection(), &fresh, question)).await;
    match asked {
        Ok(Ok(reply)) => {
            let connection = server.connection();
            // Indexes that are not there stay with the session.
            let tried = matches!(&reply, Reply::Planned(planned) if !planned.what_if.is_empty());
            if connection.is_reusable() && connection.is_clean() && !tried {
                server.give_back(Instant::now());
            } else {
                server.discard();
            }
            Ok(reply)
        }
        Ok(Err(error)) => {
            server.discard();
            Err(error.into())
        }
        Err(_) => {
            // Cancels what runs.
            server.discard();
            Err(ErrandError::Late)
        }
    }
}
