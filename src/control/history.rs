//! The last minute of every pool: what rates and recent percentiles are computed from. Memory is
//! bounded by the number of pools.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::census::{Census, Count, Measures, PoolCount, Silent, Spreads};
use crate::pool::shared::PoolKey;
use crate::stats::totals::Totals;

/// How far back rates and percentiles look.
pub const WINDOW: Duration = Duration::from_secs(60);

/// How often the numbers are noted: what rates are exact to.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// How often the histograms are noted; percentiles look back by up to so much more than the window.
const MARK_EVERY: Duration = Duration::from_secs(20);

/// Noted numbers and histograms of all pools.
#[derive(Debug, Default)]
pub struct History {
    tracks: Mutex<HashMap<PoolKey, Track>>,
    silent: Mutex<Silent>,
}

/// What happened within the window, or since the pool has been there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// How long ago it began.
    pub over: Duration,
    /// What was counted.
    pub totals: Totals,
}

#[derive(Debug, Default)]
struct Track {
    samples: VecDeque<(Instant, Totals)>,
    /// Equal ones are one object: an idle pool needs no more memory for each.
    marks: VecDeque<(Instant, Arc<Spreads>)>,
}

/// Keeps the history, until dropped.
pub async fn keep(census: Census, history: Arc<History>) {
    let mut samples = interval(SAMPLE_EVERY);
    samples.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut marked = Instant::now();
    loop {
        samples.tick().await;
        let count = census.count().await;
        history.sample(&count, Instant::now());
        if marked.elapsed() >= MARK_EVERY {
            marked = Instant::now();
            let measures = census.measure(&census.pools()).await;
            history.mark(&measures, Instant::now());
        }
    }
}

impl History {
    /// Notes numbers. Those of a worker that did not answer would be missing in them: then nothing
    /// is noted.
    pub fn sample(&self, count: &Count, now: Instant) {
        self.hear_of_silence(&count.silent);
        if !count.silent.is_empty() {
            return;
        }
        let mut tracks = self.tracks.lock();
        for PoolCount { pool, totals, .. } in &count.pools {
            match tracks.get_mut(&pool.key) {
                Some(track) => track.sample(*totals, now),
                // A pool that nobody uses has no history.
                None if *totals == Totals::default() => {}
                None => tracks.entry(pool.key.clone()).or_default().sample(*totals, now),
            }
        }
        if tracks.len() > count.pools.len() {
            tracks.retain(|key, _| count.pools.iter().any(|pool| pool.pool.key == *key));
        }
    }

    /// Notes histograms.
    pub fn mark(&self, measures: &Measures, now: Instant) {
        if !measures.silent.is_empty() {
            return;
        }
        let mut tracks = self.tracks.lock();
        for (key, measured) in &measures.pools {
            if let Some(track) = tracks.get_mut(key) {
                track.mark(&measured.spreads, now);
            }
        }
    }

    /// What was counted within the window.
    #[must_use]
    pub fn recent(&self, key: &PoolKey) -> Recent {
        self.tracks.lock().get(key).map_or_else(Recent::default, Track::recent)
    }

    /// How times are spread within the window, of those measured now.
    #[must_use]
    pub fn recent_spreads(&self, key: &PoolKey, now: &Spreads) -> Spreads {
        let tracks = self.tracks.lock();
        let oldest = tracks.get(key).and_then(|track| track.marks.front());
        oldest.map_or_else(|| now.clone(), |(_, earlier)| now.since(earlier))
    }

    /// The workers that did not answer when they were asked last.
    #[must_use]
    pub fn silent(&self) -> Silent {
        self.silent.lock().clone()
    }

    /// Tells the log once when it changes.
    fn hear_of_silence(&self, silent: &Silent) {
        let mut known = self.silent.lock();
        if *known != *silent {
            if !silent.is_empty() {
                warn!(workers = ?silent, "workers do not answer");
            }
            known.clone_from(silent);
        }
    }
}

impl Track {
    fn sample(&mut self, totals: Totals, now: Instant) {
        if self.samples.is_empty() {
            // A new pool: what it has counted, it has counted since the sample before.
            let before = now.checked_sub(SAMPLE_EVERY).unwrap_or(now);
            self.samples.push_back((before, Totals::default()));
        }
        self.samples.push_back((now, totals));
        drop_beyond_window(&mut self.samples, now);
    }

    fn mark(&mut self, spreads: &Spreads, now: Instant) {
        let last = self.marks.back().filter(|(_, last)| **last == *spreads);
        let mark = last.map_or_else(|| Arc::new(spreads.clone()), |(_, last)| Arc::clone(last));
        self.marks.push_back((now, mark));
        drop_beyond_window(&mut self.marks, now);
    }

    fn recent(&self) -> Recent {
        match (self.samples.front(), self.samples.back()) {
            (Some((from, first)), Some((to, last))) => {
                Recent { over: to.duration_since(*from), totals: last.since(first) }
            }
            _ => Recent::default(),
        }
    }
}

/// Keeps one note that is as old as the window, if there is one, and all younger ones.
fn drop_beyond_window<T>(notes: &mut VecDeque<(Instant, T)>, now: Instant) {
    while notes.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
        notes.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::spread::Spread;

    fn queries(queries: u64) -> Totals {
        Totals { queries, ..Totals::default() }
    }

    #[test]
    fn a_new_pool_counts_from_its_beginning() {
        let mut track = Track::default();
        let now = Instant::now() + WINDOW;
        track.sample(queries(7), now);
        assert_eq!(track.recent(), Recent { over: SAMPLE_EVERY, totals: queries(7) });
        assert_eq!(Track::default().recent(), Recent::default());
    }

    #[test]
    fn rates_look_back_by_the_window_in_bounded_memory() {
        let mut track = Track::default();
        let start = Instant::now() + WINDOW;
        for second in 0..200 {
            track.sample(queries(second * 10), start + SAMPLE_EVERY * second as u32);
        }
        assert_eq!(track.recent(), Recent { over: WINDOW, totals: queries(600) });
        assert_eq!(track.samples.len(), 61);
    }

    #[test]
    fn percentiles_look_back_by_the_window_and_no_more_than_one_mark_further() {
        let mut track = Track::default();
        let start = Instant::now();
        let at = |n: u64| Spreads { query: Spread::new([(5, n)]), ..Spreads::default() };
        for n in 0..10u64 {
            track.mark(&at(n), start + MARK_EVERY * n as u32);
        }
        // Marks at 0, 20, .. 180 s: at 180 s the one of 120 s is a window old.
        let (oldest, spreads) = &track.marks[0];
        assert_eq!(oldest.duration_since(start), Duration::from_secs(120));
        assert_eq!(spreads.query.count(), 6);
        track.mark(&at(9), start + MARK_EVERY * 10);
        let mut newest = track.marks.iter().rev().map(|(_, spreads)| spreads);
        assert!(Arc::ptr_eq(newest.next().unwrap(), newest.next().unwrap()), "nothing happened");
    }
}
