//! Statements that took long: the last of them, one by one, without their values.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::queries::{Event, Outcome};
use super::record::Owner;
use super::values::CallValues;
use crate::sql::query::About;

/// As many are kept.
const MOST_KEPT: usize = 500;

/// As many may wait for being logged; of more, which only a system in trouble has, the first are.
const MOST_UNLOGGED: usize = 500;

/// A statement that took long.
#[derive(Clone, Debug)]
pub struct Slow {
    /// What it is.
    pub about: Arc<About>,
    /// Whose it is.
    pub owner: Arc<Owner>,
    /// When it ended, to a fraction of a second.
    pub seen: SystemTime,
    /// How long it ran, microseconds.
    pub micros: u64,
    /// How long its client waited for a server before it, microseconds.
    pub wait_micros: u64,
    /// A hash of its values.
    pub values: u64,
    /// Its values themselves, where they are kept.
    pub kept: Option<CallValues>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How long statements take to be kept, by database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Of databases by the names that clients use; none keeps nothing.
    pub named: HashMap<Box<str>, Option<Duration>>,
    /// Of all others.
    pub others: Option<Duration>,
}

/// Some of those that are kept, the oldest first, by their numbers, which go up by one.
#[derive(Clone, Debug)]
pub struct SlowTail {
    /// The number of the first that could be given: what is before it is gone.
    pub first: u64,
    /// Them.
    pub slow: Vec<Slow>,
    /// The number of the one behind them.
    pub next: u64,
    /// The number of the one behind all that there are.
    pub end: u64,
}

/// The last of them.
#[derive(Debug)]
pub(super) struct SlowLog {
    thresholds: Thresholds,
    kept: VecDeque<Slow>,
    /// How many there have been.
    count: u64,
    unlogged: Vec<Slow>,
}

impl SlowLog {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, kept: VecDeque::new(), count: 0, unlogged: Vec::new() }
    }

    /// From now on these count; what is kept stays.
    pub(super) fn set(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    /// How long a statement of this database must take, nanoseconds; none is kept otherwise.
    pub(super) fn limit(&self, database: &str) -> Option<u64> {
        let Thresholds { named, others } = &self.thresholds;
        let limit = named.get(database).unwrap_or(others);
        // 584 years.
        limit.map(|limit| limit.as_nanos() as u64)
    }

    #[inline]
    pub(super) fn is_slow(event: &Event, limit: Option<u64>) -> bool {
        limit.is_some_and(|limit| event.nanos >= limit)
    }

    #[cold]
    pub(super) fn keep(&mut self, event: &Event, owner: &Arc<Owner>, now: SystemTime) {
        let Some(part) = event.run.query.parts.get(event.part) else { return };
        let slow = Slow {
            about: Arc::clone(&part.about),
            owner: Arc::clone(owner),
            seen: now,
            micros: event.nanos / 1_000,
            wait_micros: event.waited / 1_000,
            values: event.run.values,
            kept: event.kept(),
            outcome: event.outcome,
        };
        if self.unlogged.len() < MOST_UNLOGGED {
            // The log never has values.
            self.unlogged.push(Slow { kept: None, ..slow.clone() });
        }
        if self.kept.len() == MOST_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(slow);
        self.count += 1;
    }

    /// Forgets the values of all of them.
    pub(super) fn forget_values(&mut self) {
        self.kept.iter_mut().for_each(|slow| slow.kept = None);
    }

    /// Those from this number on, at most so many.
    pub(super) fn tail(&self, from: u64, most: usize) -> SlowTail {
        let oldest = self.count - self.kept.len() as u64;
        let first = from.clamp(oldest, self.count);
        // Within what is kept.
        let slow: Vec<_> =
            self.kept.iter().skip((first - oldest) as usize).take(most).cloned().collect();
        SlowTail { first, next: first + slow.len() as u64, slow, end: self.count }
    }

    /// The latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Slow> {
        self.kept.iter().rev()
    }

    pub(super) fn take_unlogged(&mut self) -> Vec<Slow> {
        std::mem::take(&mut self.unlogged)
    }
}
