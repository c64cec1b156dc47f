//! What the statements of one fingerprint did, added up. Which there are, and which go, is left to
//! [`super::sums`].

use std::sync::Arc;
use std::time::SystemTime;

use hdrhistogram::Histogram;

use super::queries::{Event, Outcome};
use super::spread::Spread;
use crate::protocol::sqlstate::SqlState;
use crate::sql::query::About;

/// SQLSTATEs that are told apart for each fingerprint; the rest counts as `XX000`.
const MOST_CODES: usize = 20;

/// Longest time a histogram tells from longer ones: an hour, in microseconds.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// One significant digit: 1.9 KB a histogram.
const SIGNIFICANT_DIGITS: u8 = 1;

/// How far a percentile may be off, as a share of it.
pub const RELATIVE_ERROR: f64 = 1.0 / 16.0;

/// What a record needs beside its text: itself, its histogram of 464 counters, its description.
pub(super) const RECORD_BYTES: usize = size_of::<Record>() + 464 * 4 + size_of::<About>();

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
    /// The longest list in them.
    pub max_list: u32,
    /// When one was seen first.
    pub first_seen: SystemTime,
    /// When one was seen last, to a fraction of a second.
    pub last_seen: SystemTime,
    times: Histogram<u32>,
    /// Total time, with what was long ago counting less.
    pub(super) weight: f64,
}

impl Record {
    pub(super) fn new(about: Option<Arc<About>>, owner: Arc<Owner>, now: SystemTime) -> Self {
        let times = Histogram::new_with_bounds(1, LONGEST_MICROS, SIGNIFICANT_DIGITS);
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
            max_list: 0,
            first_seen: now,
            last_seen: now,
            times: times.expect("bounds and digits are constants within hdrhistogram's limits"),
            weight: 0.0,
        }
    }

    /// How many calls failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.iter().map(|(_, count)| count).sum()
    }

    /// How its times are spread.
    #[must_use]
    pub fn spread(&self) -> Spread {
        let recorded = self.times.iter_recorded();
        Spread::new(recorded.map(|v| (v.value_iterated_to(), u64::from(v.count_at_value()))))
    }

    pub(super) fn note(&mut self, event: &Event, now: SystemTime) {
        let (micros, waited) = (event.nanos / 1_000, event.waited / 1_000);
        self.last_seen = now;
        self.total_micros += micros;
        self.weight += micros as f64;
        self.wait_micros += waited;
        self.max_wait_micros = self.max_wait_micros.max(waited);
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
        self.min_micros = self.min_micros.min(micros);
        self.max_micros = self.max_micros.max(micros);
        self.times.saturating_record(micros.max(1));
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
        self.max_list = self.max_list.max(other.max_list);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        // Both have the same bounds.
        self.times.add(&other.times).unwrap_or(());
    }
}
