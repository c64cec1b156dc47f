//! What a worker notes of the statements that it sees end: a list of events for each pool, handed over to
//! the [`super::ledger`] a few times a second. Nothing is added up here.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::known::{Known, Text};
use super::ledger::{Batch, Ledger};
use super::record::Owner;
use super::said::{RouteId, Said};
use super::spans::sampled;
use super::values::{Allowance, CallValues, Keep, Kept};
use crate::protocol::sqlstate::SqlState;
use crate::sql::plannable::has_plan;
use crate::sql::query::{About, Query};

/// Values are told apart by as much of them.
const VALUES_LIMIT: usize = 4 * 1024;

/// A list of events this long is handed over at once.
const MOST_EVENTS: usize = 8_192;

/// A text that a client runs, and what its comments say.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its statements.
    pub query: Arc<Query>,
    /// What it says of itself.
    pub said: Option<Arc<Said>>,
    /// A hash of the values it has, where they are known.
    pub values: u64,
    /// Its values themselves, where they are kept.
    pub kept: Option<Arc<Kept>>,
    /// Which protocol runs it.
    pub manner: Manner,
}

/// The statements of one request on their way, and how far Postgres is with them.
#[derive(Debug)]
pub struct Watched {
    run: Run,
    /// The one that runs.
    part: usize,
    /// When the one before it ended, in the relay's clock (nanoseconds).
    since: Option<u64>,
    /// How long the client waited for a server before it, nanoseconds.
    waited: u64,
    /// Rows of the one that runs.
    rows: u64,
    /// Their bytes, as they are sent.
    bytes: u64,
    /// When the first of them came.
    first_row: Option<u64>,
}

/// Which protocol runs a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A Query with its text.
    Simple,
    /// Parse, Bind, Execute.
    Extended,
}

/// Did a statement run in a transaction that an earlier request began?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Block {
    /// No, by itself.
    #[default]
    None,
    /// Yes.
    Open,
}

/// When Postgres was at a request, in the relay's clock (nanoseconds).
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When it was sent.
    pub sent: u64,
    /// When Postgres can have begun with it.
    pub began: u64,
    /// When it ended.
    pub ended: u64,
}

/// How a statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Complete {
        /// Rows that it returned or changed.
        rows: u64,
    },
    /// With an error.
    Failed(SqlState),
    /// It goes on with the next Execute of its portal.
    Suspended {
        /// Rows so far.
        rows: u64,
    },
}

/// A statement that ended, or was suspended.
#[derive(Debug)]
pub struct Event {
    /// The text it is part of, and what that says of itself.
    pub run: Run,
    /// Which part.
    pub part: usize,
    /// How long it ran, nanoseconds; without the time that its client did not read.
    pub nanos: u64,
    /// How long it took until the first row came, nanoseconds.
    pub first_row: Option<u64>,
    /// Bytes of its rows.
    pub bytes: u64,
    /// How long its client waited for a server before it, nanoseconds.
    pub waited: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Where it stands among those of its client.
    pub place: Place,
}

/// Where a statement stands among those of its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The client's number, unique in this process.
    pub client: u64,
    /// How many transactions of the client ended before; wraps around.
    pub transaction: u32,
    /// How many batches of the client ended before, each a simple query or what ends with a Sync; wraps around.
    pub batch: u32,
    /// How long the client took, after the statement before it had ended, to send this one, nanoseconds; none if
    /// it was sent without waiting for that end.
    pub gap: Option<u64>,
    /// Its route, or else its application.
    pub route: RouteId,
    /// The application that the client said it is when it logged in.
    pub application: RouteId,
    /// Whether it ran in a transaction.
    pub block: Block,
    /// How long the client did not read what was there, nanoseconds.
    pub blocked: u64,
}

impl Event {
    /// What it ran.
    #[must_use]
    pub fn about(&self) -> Option<&Arc<About>> {
        self.run.query.parts.get(self.part).map(|part| &part.about)
    }

    /// Its values, where they are kept: those of what has a plan. `ALTER ROLE` has passwords.
    pub(super) fn kept(&self) -> Option<CallValues> {
        let kept = self.run.kept.as_ref();
        kept.filter(|_| self.about().is_some_and(|about| has_plan(about.text.as_bytes())))
            .map(|kept| CallValues { kept: Arc::clone(kept), part: self.part })
    }
}

impl Watched {
    /// A request that runs these statements. `waited`: how long its client waited for a server, nanoseconds.
    #[must_use]
    pub fn new(run: Run, waited: u64) -> Self {
        Self { run, part: 0, since: None, waited, rows: 0, bytes: 0, first_row: None }
    }

    /// So many rows of so many bytes came now.
    #[inline]
    pub fn count_rows(&mut self, rows: u64, bytes: u64, now: u64) {
        self.rows += rows;
        self.bytes += bytes;
        self.first_row.get_or_insert(now);
    }

    /// Rows of the statement that runs.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The statement that runs ended; the next one of the request begins. `place` is the client's; the gap
    /// before it is counted from `last_end`.
    pub fn end(
        &mut self,
        outcome: Outcome,
        times: Times,
        place: Place,
        last_end: u64,
    ) -> Option<Event> {
        let part = self.part;
        self.run.query.parts.get(part)?;
        let (now, since) = (times.ended, self.since.unwrap_or(times.began));
        let gap = match self.since {
            None => times.sent.checked_sub(last_end),
            Some(_) => None,
        };
        self.since = Some(now);
        self.part = match outcome {
            // What is behind it does not run.
            Outcome::Failed(_) => usize::MAX,
            Outcome::Complete { .. } | Outcome::Suspended { .. } => part + 1,
        };
        self.rows = 0;
        let waited = std::mem::take(&mut self.waited);
        let first_row = self.first_row.take().map(|came| came.saturating_sub(since));
        let bytes = std::mem::take(&mut self.bytes);
        let said = self.run.said.as_ref();
        let route = said.and_then(|said| said.route).unwrap_or(place.route);
        let gap = gap.map(|gap| gap.saturating_sub(waited));
        let took = now.saturating_sub(since);
        let place = Place { gap, route, blocked: place.blocked.min(took), ..place };
        let (run, nanos) = (self.run.clone(), took - place.blocked);
        Some(Event { run, part, nanos, first_row, bytes, waited, outcome, place })
    }
}

/// One worker's notes of one pool.
#[derive(Debug)]
pub struct QueryLog {
    owner: Arc<Owner>,
    ledger: Arc<Ledger>,
    events: RefCell<Vec<Event>>,
    /// When those of them ended that belong to a trace which is recorded, by their places in the list.
    ends: RefCell<Vec<(usize, SystemTime)>>,
    gone: RefCell<Vec<u64>>,
    known: RefCell<Known>,
    allowance: Allowance,
    seed: u64,
}

impl QueryLog {
    /// Without notes. `seed` must be random.
    #[must_use]
    pub fn new(owner: Owner, ledger: Arc<Ledger>, seed: u64) -> Self {
        Self {
            owner: Arc::new(owner),
            ledger,
            events: RefCell::default(),
            ends: RefCell::default(),
            gone: RefCell::default(),
            known: RefCell::new(Known::new(seed)),
            allowance: Allowance::default(),
            seed,
        }
    }

    /// What a text runs.
    #[inline]
    pub fn run(&self, text: &[u8]) -> Run {
        let (Text { query, said }, values) =
            self.known.borrow_mut().text(text, &self.ledger.sayings);
        let kept = if self.keeps() { self.allowance.text(text) } else { None };
        Run { query, said, values, kept, manner: Manner::Simple }
    }

    /// Are values kept?
    #[inline]
    fn keeps(&self) -> bool {
        self.ledger.keeping.get() == Keep::All
    }

    /// The values of a Bind, where they are kept; `statement` is its text, a NUL and types.
    #[inline]
    pub fn bound(&self, statement: &Arc<[u8]>, values: &[u8]) -> Option<Arc<Kept>> {
        if self.keeps() { self.allowance.bound(statement, values) } else { None }
    }

    /// What comments say that were taken off a text.
    #[must_use]
    pub fn said(&self, comments: &[&[u8]]) -> Option<Arc<Said>> {
        self.known.borrow_mut().comments(comments, &self.ledger.sayings)
    }

    /// A hash of values.
    #[inline]
    pub fn hash(&self, values: &[u8]) -> u64 {
        xxh3_64_with_seed(values.get(..VALUES_LIMIT).unwrap_or(values), self.seed)
    }

    /// The number of an application's name, where no tag says more.
    #[must_use]
    pub fn route(&self, application: &str) -> RouteId {
        self.ledger.sayings.route(application)
    }

    /// Notes an event.
    #[inline]
    pub fn note(&self, event: Event) {
        let mut events = self.events.borrow_mut();
        if self.ledger.spans.is_some() && sampled(&event).is_some() {
            self.ends.borrow_mut().push((events.len(), SystemTime::now()));
        }
        events.push(event);
        if events.len() >= MOST_EVENTS {
            self.hand_over(&mut events);
        }
    }

    /// A client has left.
    pub fn gone(&self, client: u64) {
        self.gone.borrow_mut().push(client);
    }

    /// Hands over what was noted.
    pub fn flush(&self) {
        let mut events = self.events.borrow_mut();
        if !events.is_empty() || !self.gone.borrow().is_empty() {
            self.hand_over(&mut events);
        }
    }

    fn hand_over(&self, events: &mut Vec<Event>) {
        let gone = std::mem::take(&mut *self.gone.borrow_mut());
        let ends = std::mem::take(&mut *self.ends.borrow_mut());
        self.allowance.renew();
        let batch = Batch::new(&self.owner, std::mem::take(events), gone);
        self.ledger.hand_over(batch.ending(ends));
    }
}

impl Drop for QueryLog {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
#[path = "queries_tests.rs"]
mod tests;
