//! What a worker notes of the statements that it sees end: a list of events for each pool, handed over to
//! the [`super::ledger`] a few times a second. Nothing is added up here.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ledger::{Batch, Ledger};
use super::record::Owner;
use crate::protocol::sqlstate::SqlState;
use crate::sql::fingerprint::{Fingerprinter, SCAN_LIMIT};
use crate::sql::query::{About, Query};

/// Texts of simple queries that a worker recognises without reading them, for each pool.
const KNOWN_TEXTS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// Statements whose description a worker has at hand, for each pool: more than one application has.
const KNOWN_STATEMENTS: NonZeroUsize = NonZeroUsize::new(2_048).expect("not zero");

/// A list of events this long is handed over at once.
const MOST_EVENTS: usize = 8_192;

/// The statements of one request on their way, and how far Postgres is with them.
#[derive(Debug)]
pub struct Watched {
    query: Arc<Query>,
    /// The one that runs.
    part: usize,
    /// When the one before it ended, in the relay's clock (nanoseconds).
    since: Option<u64>,
    /// How long the client waited for a server before it, nanoseconds.
    waited: u64,
    /// Which protocol runs them.
    manner: Manner,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// No, by itself.
    None,
    /// Yes.
    Open,
}

/// The end of a statement, as the relay saw it. Times are in its clock, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// When the first statement of the request can have begun.
    pub began: u64,
    /// Now.
    pub now: u64,
    /// How long the client kept the replies waiting, nanoseconds.
    pub blocked: u64,
    /// Where it ran.
    pub block: Block,
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
    /// The text it is part of.
    pub query: Arc<Query>,
    /// Which part.
    pub part: usize,
    /// How long it ran, nanoseconds; without the time that its client did not read.
    pub nanos: u64,
    /// How long its client did not read what was there, nanoseconds.
    pub blocked: u64,
    /// How long it took until the first row came, nanoseconds.
    pub first_row: Option<u64>,
    /// Bytes of its rows.
    pub bytes: u64,
    /// How long its client waited for a server before it, nanoseconds.
    pub waited: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Which protocol ran it.
    pub manner: Manner,
    /// Whether in a transaction.
    pub block: Block,
}

impl Watched {
    /// A request that runs these statements.
    #[must_use]
    pub fn new(query: Arc<Query>, manner: Manner, waited: u64) -> Self {
        Self { query, part: 0, since: None, waited, manner, rows: 0, bytes: 0, first_row: None }
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

    /// The statement that runs ended; the next one of the request begins.
    pub fn end(&mut self, outcome: Outcome, ending: Ending) -> Option<Event> {
        let part = self.part;
        self.query.parts.get(part)?;
        let began = self.since.unwrap_or(ending.began);
        let nanos = ending.now.saturating_sub(began);
        let blocked = ending.blocked.min(nanos);
        self.since = Some(ending.now);
        self.part = match outcome {
            // What is behind it does not run.
            Outcome::Failed(_) => usize::MAX,
            Outcome::Complete { .. } | Outcome::Suspended { .. } => part + 1,
        };
        self.rows = 0;
        Some(Event {
            query: Arc::clone(&self.query),
            part,
            nanos: nanos - blocked,
            blocked,
            first_row: self.first_row.take().map(|came| came.saturating_sub(began)),
            bytes: std::mem::take(&mut self.bytes),
            waited: std::mem::take(&mut self.waited),
            outcome,
            manner: self.manner,
            block: ending.block,
        })
    }
}

/// One worker's notes of one pool.
#[derive(Debug)]
pub struct QueryLog {
    owner: Arc<Owner>,
    ledger: Arc<Ledger>,
    events: RefCell<Vec<Event>>,
    known: RefCell<Known>,
}

#[derive(Debug)]
struct Known {
    fingerprinter: Fingerprinter,
    texts: LruCache<u64, Arc<Query>, FxBuildHasher>,
    statements: LruCache<u64, Arc<About>, FxBuildHasher>,
    /// Clients choose the texts, and equal hashes would be counted as one.
    seed: u64,
}

impl QueryLog {
    /// Without notes. `seed` must be random.
    #[must_use]
    pub fn new(owner: Owner, ledger: Arc<Ledger>, seed: u64) -> Self {
        let known = Known {
            fingerprinter: Fingerprinter::default(),
            texts: empty(KNOWN_TEXTS),
            statements: empty(KNOWN_STATEMENTS),
            seed,
        };
        Self {
            owner: Arc::new(owner),
            ledger,
            events: RefCell::default(),
            known: RefCell::new(known),
        }
    }

    /// The statements of a simple Query; of a prepared one [`Self::read`] is enough, once.
    #[inline]
    pub fn query(&self, text: &[u8]) -> Arc<Query> {
        let known = &mut *self.known.borrow_mut();
        let text = text.get(..=SCAN_LIMIT).unwrap_or(text);
        let key = xxh3_64_with_seed(text, known.seed);
        if let Some(query) = known.texts.get(&key) {
            return Arc::clone(query);
        }
        let query = Arc::new(known.read(text));
        known.texts.put(key, Arc::clone(&query));
        query
    }

    /// Reads a text.
    pub fn read(&self, text: &[u8]) -> Arc<Query> {
        Arc::new(self.known.borrow_mut().read(text))
    }

    /// Notes an event.
    #[inline]
    pub fn note(&self, event: Event) {
        let mut events = self.events.borrow_mut();
        events.push(event);
        if events.len() >= MOST_EVENTS {
            self.ledger.hand_over(Batch::new(&self.owner, std::mem::take(&mut *events)));
        }
    }

    /// Hands over what was noted.
    pub fn flush(&self) {
        let mut events = self.events.borrow_mut();
        if !events.is_empty() {
            self.ledger.hand_over(Batch::new(&self.owner, std::mem::take(&mut *events)));
        }
    }
}

impl Drop for QueryLog {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A cache that takes room as it fills; `with_hasher` would take all of it for every pool at once.
fn empty<T>(most: NonZeroUsize) -> LruCache<u64, T, FxBuildHasher> {
    let mut cache = LruCache::unbounded_with_hasher(FxBuildHasher);
    cache.resize(most);
    cache
}

impl Known {
    fn read(&mut self, text: &[u8]) -> Query {
        let statements = &mut self.statements;
        Query::read(text, &mut self.fingerprinter, |statement| {
            let hash = statement.fingerprint.0;
            Arc::clone(statements.get_or_insert(hash, || Arc::new(About::new(statement))))
        })
    }
}
