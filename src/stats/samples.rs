//! Single calls of a fingerprint: the slowest and the newest, for whoever wants to see one.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::queries::{Block, Event, Manner, Outcome};
use super::values::CallValues;

/// As many of the slowest are kept.
pub const SLOWEST: usize = 3;

/// As many of the newest are kept.
pub const NEWEST: usize = 3;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it ended, to a fraction of a second.
    pub seen: SystemTime,
    /// How long it ran, microseconds.
    pub micros: u64,
    /// How long its client waited for a server before it, microseconds.
    pub wait_micros: u64,
    /// How long its client did not read what was there, microseconds.
    pub blocked_micros: u64,
    /// Bytes of its rows.
    pub bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// A hash of its values.
    pub values: u64,
    /// Its values themselves, where they are kept.
    pub kept: Option<CallValues>,
    /// The client that ran it.
    pub client: u64,
    /// Which protocol ran it.
    pub manner: Manner,
    /// Whether in a transaction.
    pub block: Block,
}

/// Those that are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    /// The slowest first.
    slowest: Vec<Sample>,
    /// The newest last.
    newest: VecDeque<Sample>,
    /// Bytes of the values that are kept.
    kept_bytes: usize,
}

impl Sample {
    fn new(event: &Event, seen: SystemTime) -> Self {
        Self {
            seen,
            micros: event.nanos / 1_000,
            wait_micros: event.waited / 1_000,
            blocked_micros: event.place.blocked / 1_000,
            bytes: event.bytes,
            outcome: event.outcome,
            values: event.run.values,
            kept: event.kept(),
            client: event.place.client,
            manner: event.run.manner,
            block: event.place.block,
        }
    }

    fn kept_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |values| values.kept.bytes())
    }
}

impl Samples {
    pub(super) fn note(&mut self, event: &Event, now: SystemTime) {
        let sample = Sample::new(event, now);
        let has_values = self.kept_bytes > 0 || sample.kept.is_some();
        self.add(sample);
        if has_values {
            self.kept_bytes = self.slowest.iter().chain(&self.newest).map(Sample::kept_bytes).sum();
        }
    }

    fn add(&mut self, sample: Sample) {
        let at = self.slowest.partition_point(|known| known.micros >= sample.micros);
        if at < SLOWEST {
            self.slowest.truncate(SLOWEST - 1);
            self.slowest.reserve_exact(1);
            self.slowest.insert(at, sample.clone());
        }
        if self.newest.len() == NEWEST {
            self.newest.pop_front();
        }
        self.newest.reserve_exact(1);
        self.newest.push_back(sample);
    }

    /// Forgets the values of all of them.
    pub(super) fn forget_values(&mut self) {
        let all = self.slowest.iter_mut().chain(&mut self.newest);
        all.for_each(|sample| sample.kept = None);
        self.kept_bytes = 0;
    }

    /// The slowest first.
    pub(super) fn slowest(&self) -> impl Iterator<Item = &Sample> {
        self.slowest.iter()
    }

    /// The newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Sample> {
        self.newest.iter().rev()
    }

    /// Bytes beside those of itself.
    pub(super) fn bytes(&self) -> usize {
        (self.slowest.capacity() + self.newest.capacity()) * size_of::<Sample>() + self.kept_bytes
    }
}
