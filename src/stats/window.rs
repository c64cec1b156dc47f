//! What a fingerprint did lately: sums of the last sixty minutes, and how the times of the last five to ten
//! were spread. What is older falls away as time goes on.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::queries::{Event, Outcome};
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
    current: Compact,
    /// What came in the one before.
    previous: Compact,
}

/// Times of few calls in little room: the end of each step that holds any, microseconds, ascending, and how many
/// it holds. The steps are those of the histograms of all times.
#[derive(Clone, Debug, Default)]
struct Compact(Vec<(u32, u32)>);

/// Totals in less room.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    minute: Minute,
    calls: u32,
    failed: u32,
    /// 71 minutes are counted as such, and so is more.
    max_micros: u32,
    rows: u32,
    wait_millis: u32,
    total_micros: u64,
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
        sum.wait_millis = sum.wait_millis.saturating_add(small(event.waited.div_ceil(1_000_000)));
        match event.outcome {
            Outcome::Complete { rows } => sum.rows = sum.rows.saturating_add(small(rows)),
            Outcome::Failed(_) => sum.failed = sum.failed.saturating_add(1),
            Outcome::Suspended { rows } => {
                sum.rows = sum.rows.saturating_add(small(rows));
                return;
            }
        }
        sum.calls = sum.calls.saturating_add(1);
        sum.max_micros = sum.max_micros.max(small(micros));
        self.current.record(micros);
    }

    /// Forgets what is out of reach now.
    pub(super) fn turn(&mut self, now: Minute) {
        match now.span().saturating_sub(self.span) {
            0 => {}
            1 => self.previous = std::mem::take(&mut self.current),
            _ => (self.previous, self.current) = (Compact::default(), Compact::default()),
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
            rows: all.rows + u64::from(sum.rows),
            total_micros: all.total_micros + sum.total_micros,
            max_micros: all.max_micros.max(sum.max_micros.into()),
            wait_micros: all.wait_micros + 1_000 * u64::from(sum.wait_millis),
        })
    }

    /// How the times were spread, in the span that runs and the one before.
    pub(super) fn spread(&self, now: Minute) -> Spread {
        let mut sum = Spread::default();
        // Nobody may have turned it since.
        let age = now.span().saturating_sub(self.span);
        if age <= 1 {
            sum.add(&self.current.spread());
        }
        if age == 0 {
            sum.add(&self.previous.spread());
        }
        sum
    }

    /// Bytes beside those of itself.
    pub(super) fn bytes(&self) -> usize {
        let steps = self.current.0.capacity() + self.previous.0.capacity();
        self.minutes.capacity() * size_of::<Sum>() + steps * size_of::<(u32, u32)>()
    }
}

impl Compact {
    fn record(&mut self, micros: u64) {
        let end = end_of_step(small(micros.max(1)));
        match self.0.binary_search_by_key(&end, |(known, _)| *known) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(1),
            Err(at) => self.0.insert(at, (end, 1)),
        }
    }

    fn spread(&self) -> Spread {
        Spread::new(self.0.iter().map(|(end, count)| (u64::from(*end), u64::from(*count))))
    }
}

/// The end of the step that a time is in: sixteen steps for each doubling, as `hdrhistogram` makes them for one
/// significant digit.
fn end_of_step(micros: u32) -> u32 {
    let shift = 27_u32.saturating_sub(micros.leading_zeros());
    micros | ((1 << shift) - 1)
}

/// As much of it as fits.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::record::{histogram, record, spread_of};

    #[test]
    fn steps_are_those_of_the_histograms_of_all_times() {
        let mut times = histogram();
        let mut compact = Compact::default();
        let mut micros = 1_u64;
        while micros < 3_600_000_000 {
            record(&mut times, micros);
            compact.record(micros);
            micros += micros / 7 + 1;
        }
        assert_eq!(compact.spread(), spread_of(&times));
    }
}
