//! `/slow?follow=1`: slow statements as they end, as server-sent events (WHATWG HTML, 9.2). Nobody waits for who reads
//! them: each follower looks at the list that there is anyway, and is told what it missed there.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::Sources;
use super::problem::Problem;
use super::views::slow::{Selection, SlowRow};
use crate::config::Config;
use crate::lifecycle::Stage;
use crate::stats::ledger::Ledger;
use crate::stats::slow::SlowTail;

/// Followers at once: each holds one of the API's connections.
pub(super) const MOST_FOLLOWERS: usize = 10;

/// Statements in one piece, some kilobytes each at most.
const MOST_AT_ONCE: usize = 20;

/// Pieces that may wait for a reader.
const MOST_PIECES: usize = 4;

/// How many more may follow.
#[derive(Clone, Debug)]
pub(super) struct Followers(Arc<Semaphore>);

/// How often what is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How often the list is looked at.
    look: Duration,
    /// A comment is sent after so long a silence, so that nobody on the way takes the connection for dead.
    keep_alive: Duration,
    /// Who takes nothing for so long is dropped.
    patience: Duration,
}

/// What is inside of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// A line for people.
    Line,
    /// What `/slow` has in its list.
    Json,
}

/// A follower's side of an answer.
struct Tail {
    sources: Arc<Sources>,
    /// The configuration that let it in.
    config: Arc<Config>,
    selection: Selection,
    data: Data,
    pace: Pace,
    pieces: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

/// The body of an answer: pieces as they come, and why no more do.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    farewell: Option<oneshot::Receiver<&'static str>>,
}

impl Default for Followers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_FOLLOWERS)))
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(200),
            keep_alive: Duration::from_secs(15),
            patience: Duration::from_secs(10),
        }
    }
}

impl Followers {
    /// Answers with what ends from now on, after the last of the list; until the reader goes or the program ends.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn follow(
        &self,
        sources: &Arc<Sources>,
        selection: Selection,
        data: Data,
        pace: Pace,
    ) -> Result<Response, Problem> {
        let place = Arc::clone(&self.0).try_acquire_owned();
        let _place = place.map_err(|_| Problem::TooManyFollowers)?;
        let (sender, receiver) = mpsc::channel(MOST_PIECES);
        let (why, farewell) = oneshot::channel();
        let sources = Arc::clone(sources);
        let config = sources.shared.pools.config();
        let tail = Tail { sources, config, selection, data, pace, pieces: sender, _place };
        tokio::spawn(async move {
            // Nobody hears it if the reader is gone.
            let _ = why.send(tail.tell().await);
        });
        let body = Body::new(Pieces { pieces: receiver, farewell: Some(farewell) });
        Ok(([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], body).into_response())
    }
}

impl Tail {
    /// Tells until there is a reason not to.
    async fn tell(self) -> &'static str {
        let Some(ledger) = self.sources.shared.ledger.as_deref() else {
            return "statements are not counted";
        };
        let mut next = ledger.slow_tail(0, 0).end.saturating_sub(self.selection.limit() as u64);
        // What is gone of the past was not missed.
        next = next.max(ledger.slow_tail(next, 0).first);
        let mut said = Instant::now();
        let mut piece = ": what takes as long as log_slow_statements\n\n".to_owned();
        loop {
            if !piece.is_empty() {
                match timeout(self.pace.patience, self.pieces.send(piece.into())).await {
                    Ok(Ok(())) => said = Instant::now(),
                    Ok(Err(_)) => return "",
                    Err(_) => return "too slow a reader",
                }
            }
            if self.sources.lifecycle.stage() == Stage::Draining {
                return "the pooler is shutting down";
            }
            if self.is_outdated() {
                return "the configuration has changed";
            }
            let tail = ledger.slow_tail(next, MOST_AT_ONCE);
            if tail.slow.is_empty() {
                tokio::select! {
                    () = sleep(self.pace.look) => {}
                    () = self.pieces.closed() => return "",
                }
            }
            piece = self.piece(&tail, next, ledger);
            next = tail.next;
            if piece.is_empty() && said.elapsed() >= self.pace.keep_alive {
                piece.push_str(":\n\n");
            }
        }
    }

    /// May it see values that its token perhaps does not allow any more?
    fn is_outdated(&self) -> bool {
        let config = self.sources.shared.pools.config();
        self.selection.sees_values() && !Arc::ptr_eq(&config, &self.config)
    }

    fn piece(&self, tail: &SlowTail, wanted: u64, ledger: &Ledger) -> String {
        let mut piece = String::new();
        let missed = tail.first.saturating_sub(wanted);
        if missed > 0 {
            piece.push_str(&event("missed", &missed.to_string()));
        }
        for slow in tail.slow.iter().filter(|slow| self.selection.holds(slow)) {
            let row = SlowRow::new(slow, self.selection.telling(ledger));
            let data = match self.data {
                Data::Line => row.line(),
                // It has nothing that could not be written.
                Data::Json => serde_json::to_string(&row).unwrap_or_default(),
            };
            piece.push_str(&event("slow", &data));
        }
        piece
    }
}

/// Its data is in one line.
fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = |bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        match self.pieces.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(piece)) => frame(piece),
            Poll::Ready(None) => {
                let Some(farewell) = &mut self.farewell else { return Poll::Ready(None) };
                let why = match Pin::new(farewell).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(why) => why.unwrap_or_default(),
                };
                self.farewell = None;
                frame(event("end", why).into())
            }
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
