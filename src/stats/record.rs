//! What the statements of one fingerprint did, added up. Which there are, and which go, is left to
//! [`super::sums`].

use std::sync::Arc;
use std::time::SystemTime;

use hdrhistogram::Histogram;

use super::queries::{Block, Event, Manner, Outcome};
use super::routes::TopRoutes;
use super::samples::{Sample, Samples};
use super::spread::Spread;
use super::window::{Minute, Recent, Totals, Window};
use crate::protocol::sqlstate::SqlState;
use crate::sql::query::About;

/// One part in so many is lost to the allocator: sizes are rounded up, and what grows leaves gaps behind
/// (measured by `tests/query_stats_memory.rs`).
const LOST_SHARE: usize = 3;

/// SQLSTATEs that are told apart for each fingerprint; the rest counts as `XX000`.
const MOST_CODES: usize = 20;

/// Longest time a histogram tells from longer ones: an hour, in microseconds.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Of a record in the table of all: key, pointer and mark, in a table that is half full.
const ENTRY_BYTES: usize = 2 * (size_of::<(u64, u32)>() + size_of::<usize>() + 1);

/// One significant digit: 464 counters at most, 1.9 KB; up to 10 ms it is 0.7 KB.
const SIGNIFICANT_DIGITS: u8 = 1;

/// How far a percentile may be off, as a share of it.
pub const RELATIVE_ERROR: f64 = 1.0 / 16.0;

/// Whose statements they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// As clients call it.
    pub database: Box<str>,
    /// The user that servers log in as.
    pub user: Box<str>,
}

/// What the statements of one fingerprint, database and user did.
#[derive(Clone, Debug)]
pub struct Record {
    /// What they are; none for the sum of those that are not told apart.
    pub about: Option<Arc<About>>,
    /// Whose they are.
    pub owner: Arc<Owner>,
    /// How often they ran to an end, good or bad.
    pub calls: u64,
    /// Rows that they returned or changed.
    pub rows: u64,
    /// Errors by SQLSTATE.
    pub errors: Vec<(SqlState, u64)>,
    /// Time that they ran, microseconds.
    pub total_micros: u64,
    /// The shortest time, microseconds.
    pub min_micros: u64,
    /// The longest time, microseconds.
    pub max_micros: u64,
    /// Time that clients waited for a server before them, microseconds.
    pub wait_micros: u64,
    /// The longest such time, microseconds.
    pub max_wait_micros: u64,
    /// Time that their clients did not read what was there, microseconds.
    pub blocked_micros: u64,
    /// The longest such time, microseconds.
    pub max_blocked_micros: u64,
    /// How many gave rows, and the time until the first of them, microseconds.
    pub first_rows: (u64, u64),
    /// Bytes of their rows.
    pub bytes_out: u64,
    /// How many of the calls came by the extended protocol.
    pub extended_calls: u64,
    /// How many of the calls ran in a transaction that an earlier request began.
    pub in_transaction_calls: u64,
    /// The longest list in them.
    pub max_list: u32,
    /// The routes that ran them most.
    pub routes: TopRoutes,
    /// The client that ran it last; 0 is none.
    pub last_client: u64,
    /// When one was seen first.
    pub first_seen: SystemTime,
    /// When one was seen last, to a fraction of a second.
    pub last_seen: SystemTime,
    times: Histogram<u32>,
    recent: Recent,
    samples: Samples,
    /// Total time, with what was long ago counting less.
    pub(super) weight: f64,
}

impl Record {
    pub(super) fn new(about: Option<Arc<About>>, owner: Arc<Owner>, now: SystemTime) -> Self {
        Self {
            about,
            owner,
            calls: 0,
            rows: 0,
            errors: Vec::new(),
            total_micros: 0,
            min_micros: u64::MAX,
            max_micros: 0,
            wait_micros: 0,
            max_wait_micros: 0,
            blocked_micros: 0,
            max_blocked_micros: 0,
            first_rows: (0, 0),
            bytes_out: 0,
            extended_calls: 0,
            in_transaction_calls: 0,
            max_list: 0,
            routes: TopRoutes::default(),
            last_client: 0,
            first_seen: now,
            last_seen: now,
            times: histogram(),
            recent: Recent::default(),
            samples: Samples::default(),
            weight: 0.0,
        }
    }

    /// How many calls failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.iter().map(|(_, count)| count).sum()
    }

    /// How its times are spread; in a window, over its last five to ten minutes.
    #[must_use]
    pub fn spread(&self, window: Window, now: SystemTime) -> Spread {
        match window {
            Window::All => spread_of(&self.times),
            Window::Minutes(_) => self.recent.spread(Minute::of(now)),
        }
    }

    /// What it sums up to in a window that ends now.
    #[must_use]
    pub fn totals(&self, window: Window, now: SystemTime) -> Totals {
        match window {
            Window::All => Totals {
                calls: self.calls,
                failed: self.failed(),
                rows: self.rows,
                total_micros: self.total_micros,
                max_micros: self.max_micros,
                wait_micros: self.wait_micros,
            },
            Window::Minutes(minutes) => self.recent.totals(minutes, Minute::of(now)),
        }
    }

    /// Some of its calls, the slowest first.
    pub fn slowest(&self) -> impl Iterator<Item = &Sample> {
        self.samples.slowest()
    }

    /// Some of its calls, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Sample> {
        self.samples.newest()
    }

    /// Memory that it takes, with its text.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let about = self.about.as_ref().map_or(0, |about| about.bytes());
        let used = size_of::<Self>()
            + ENTRY_BYTES
            + about
            + self.times.distinct_values() * size_of::<u32>()
            + self.recent.bytes()
            + self.samples.bytes()
            + self.errors.capacity() * size_of::<(SqlState, u64)>();
        used + used / LOST_SHARE
    }

    /// Forgets what no window reaches any more.
    pub(super) fn turn(&mut self, now: SystemTime) {
        self.recent.turn(Minute::of(now));
    }

    /// Forgets the values of single calls.
    pub(super) fn forget_values(&mut self) {
        self.samples.forget_values();
    }

    pub(super) fn note(&mut self, event: &Event, now: SystemTime) {
        let (micros, waited) = (event.nanos / 1_000, event.waited / 1_000);
        self.last_seen = now;
        self.last_client = event.place.client;
        self.total_micros += micros;
        self.weight += micros as f64;
        self.wait_micros += waited;
        self.max_wait_micros = self.max_wait_micros.max(waited);
        self.blocked_micros += event.place.blocked / 1_000;
        self.max_blocked_micros = self.max_blocked_micros.max(event.place.blocked / 1_000);
        self.bytes_out += event.bytes;
        if let Some(nanos) = event.first_row {
            self.first_rows.0 += 1;
            self.first_rows.1 += nanos / 1_000;
        }
        self.recent.note(event, now);
        self.samples.note(event, now);
        if let Some(part) = event.run.query.parts.get(event.part) {
            self.max_list = self.max_list.max(part.max_list);
        }
        match event.outcome {
            Outcome::Complete { rows } => self.rows += rows,
            Outcome::Failed(code) => self.count_errors(code, 1),
            Outcome::Suspended { rows } => {
                self.rows += rows;
                return;
            }
        }
        self.calls += 1;
        self.routes.note(event.place.route);
        self.extended_calls += u64::from(event.run.manner == Manner::Extended);
        self.in_transaction_calls += u64::from(event.place.block == Block::Open);
        self.min_micros = self.min_micros.min(micros);
        self.max_micros = self.max_micros.max(micros);
        record(&mut self.times, micros);
    }

    fn count_errors(&mut self, code: SqlState, count: u64) {
        let known = self.errors.iter().any(|(known, _)| *known == code);
        let code =
            if known || self.errors.len() < MOST_CODES { code } else { SqlState::INTERNAL_ERROR };
        match self.errors.iter_mut().find(|(known, _)| *known == code) {
            Some((_, sum)) => *sum += count,
            None => self.errors.push((code, count)),
        }
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.calls += other.calls;
        self.rows += other.rows;
        for (code, count) in &other.errors {
            self.count_errors(*code, *count);
        }
        self.total_micros += other.total_micros;
        self.min_micros = self.min_micros.min(other.min_micros);
        self.max_micros = self.max_micros.max(other.max_micros);
        self.wait_micros += other.wait_micros;
        self.max_wait_micros = self.max_wait_micros.max(other.max_wait_micros);
        self.blocked_micros += other.blocked_micros;
        self.max_blocked_micros = self.max_blocked_micros.max(other.max_blocked_micros);
        self.first_rows.0 += other.first_rows.0;
        self.first_rows.1 += other.first_rows.1;
        self.bytes_out += other.bytes_out;
        self.extended_calls += other.extended_calls;
        self.in_transaction_calls += other.in_transaction_calls;
        self.max_list = self.max_list.max(other.max_list);
        self.routes.absorb(&other.routes);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        // It grows as it must.
        self.times.add(&other.times).unwrap_or(());
    }
}

/// A histogram of microseconds without anything in it: it takes room as it needs it.
pub(super) fn histogram() -> Histogram<u32> {
    let empty = Histogram::new(SIGNIFICANT_DIGITS);
    empty.expect("the digits are a constant within hdrhistogram's limits")
}

/// Adds a time, microseconds.
pub(super) fn record(times: &mut Histogram<u32>, micros: u64) {
    // It grows as it must: `saturating_record` would not let it.
    times.record(micros.clamp(1, LONGEST_MICROS)).unwrap_or(());
}

/// What a histogram holds.
pub(super) fn spread_of(times: &Histogram<u32>) -> Spread {
    let recorded = times.iter_recorded();
    Spread::new(recorded.map(|v| (v.value_iterated_to(), u64::from(v.count_at_value()))))
}
