//! What a fingerprint did lately: sums of the last sixty minutes, and how the times of the last five to ten
//! were spread. What is older falls away as time goes on.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::queries::{Event, Outcome};
use super::record::{LONGEST_MICROS, histogram, spread_of};
use super::spread::Spread;

/// Minutes that are remembered one by one, the one that runs among them.
pub const MINUTES: u32 = 60;

/// Minutes of a histogram; there is that of the span that runs, and that of the one before.
pub const SPAN: u32 = 5;

/// Which part of the past is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// All that is counted.
    #[default]
    All,
    /// So many minutes (1 to [`MINUTES`]), the one that runs among them.
    Minutes(u32),
}

/// A minute of the clock, counted from 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(u32);

/// What was summed up over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How often they ran to an end, good or bad.
    pub calls: u64,
    /// How many of those failed.
    pub failed: u64,
    /// Rows that they returned or changed.
    pub rows: u64,
    /// Time that they ran, microseconds.
    pub total_micros: u64,
    /// The longest time, microseconds.
    pub max_micros: u64,
    /// Time that clients waited for a server before them, microseconds.
    pub wait_micros: u64,
}

/// The last hour of one fingerprint.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// Those in which anything happened, oldest first.
    minutes: VecDeque<Sum>,
    /// Which span runs.
    span: u32,
    /// What came in it.
    current: Option<Histogram<u32>>,
    /// What came in the one before.
    previous: Option<Histogram<u32>>,
}

/// Totals in less room.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    minute: Minute,
    calls: u32,
    failed: u32,
    /// 71 minutes are counted as such, and so is more.
    max_micros: u32,
    rows: u64,
    total_micros: u64,
    wait_micros: u64,
}

impl Minute {
    /// The one of a moment.
    #[must_use]
    pub fn of(moment: SystemTime) -> Self {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(u32::try_from(since.as_secs() / 60).unwrap_or(u32::MAX))
    }

    /// How many minutes there are from this one to `now`, both of them counted.
    #[must_use]
    pub fn up_to(self, now: Self) -> u32 {
        now.0.saturating_sub(self.0).saturating_add(1)
    }

    fn span(self) -> u32 {
        self.0 / SPAN
    }
}

impl Recent {
    pub(super) fn note(&mut self, event: &Event, now: SystemTime) {
        // A clock that was set back: what ran then counts as of the newest minute.
        let newest = self.minutes.back().map(|sum| sum.minute);
        let now = Minute::of(now).max(newest.unwrap_or_default());
        if newest != Some(now) {
            self.turn(now);
            self.minutes.push_back(Sum { minute: now, ..Sum::default() });
        }
        let Some(sum) = self.minutes.back_mut() else { return };
        let micros = event.nanos / 1_000;
        sum.total_micros += micros;
        sum.wait_micros += event.waited / 1_000;
        match event.outcome {
            Outcome::Complete { rows } => sum.rows += rows,
            Outcome::Failed(_) => sum.failed = sum.failed.saturating_add(1),
            Outcome::Suspended { rows } => {
                sum.rows += rows;
                return;
            }
        }
        sum.calls = sum.calls.saturating_add(1);
        sum.max_micros = sum.max_micros.max(u32::try_from(micros).unwrap_or(u32::MAX));
        self.current
            .get_or_insert_with(histogram)
            .saturating_record(micros.clamp(1, LONGEST_MICROS));
    }

    /// Forgets what is out of reach now.
    pub(super) fn turn(&mut self, now: Minute) {
        match now.span().saturating_sub(self.span) {
            0 => {}
            1 => self.previous = self.current.take(),
            _ => (self.previous, self.current) = (None, None),
        }
        self.span = self.span.max(now.span());
        while self.minutes.front().is_some_and(|sum| sum.minute.up_to(now) > MINUTES) {
            self.minutes.pop_front();
        }
        if self.minutes.is_empty() {
            self.minutes.shrink_to_fit();
        }
    }

    /// What was summed up in the last `minutes`.
    pub(super) fn totals(&self, minutes: u32, now: Minute) -> Totals {
        let within = self.minutes.iter().filter(|sum| sum.minute.up_to(now) <= minutes);
        within.fold(Totals::default(), |all, sum| Totals {
            calls: all.calls + u64::from(sum.calls),
            failed: all.failed + u64::from(sum.failed),
            rows: all.rows + sum.rows,
            total_micros: all.total_micros + sum.total_micros,
            max_micros: all.max_micros.max(sum.max_micros.into()),
            wait_micros: all.wait_micros + sum.wait_micros,
        })
    }

    /// How the times were spread, in the span that runs and the one before.
    pub(super) fn spread(&self, now: Minute) -> Spread {
        let mut sum = Spread::default();
        // Nobody may have turned it since.
        let age = now.span().saturating_sub(self.span);
        if let Some(current) = self.current.as_ref().filter(|_| age <= 1) {
            sum.add(&spread_of(current));
        }
        if let Some(previous) = self.previous.as_ref().filter(|_| age == 0) {
            sum.add(&spread_of(previous));
        }
        sum
    }

    /// Bytes beside those of itself.
    pub(super) fn bytes(&self) -> usize {
        let histograms = self.current.iter().chain(&self.previous);
        self.minutes.capacity() * size_of::<Sum>()
            + histograms
                .map(|histogram| histogram.distinct_values() * size_of::<u32>())
                .sum::<usize>()
    }
}
