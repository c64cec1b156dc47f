//! The sums of what statements did, by fingerprint, database and user. Bounded: what is used least goes into
//! one sum for each pool. Workers hand over lists of events; adding them up is for whoever looks after it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;

use super::queries::{Event, Outcome};
use super::slow::{Slow, SlowLog};
use super::spread::Spread;
use crate::protocol::sqlstate::SqlState;
use crate::sql::query::About;

/// The most fingerprints that are told apart, over all databases and users: about 14 MB with a text of
/// 700 bytes each.
pub const MOST_TRACKED: usize = 5_000;

/// Pools that are remembered; above it those go, with what was summed up of them, of which no fingerprint
/// is told apart any more. Pools come and go with databases and users.
const MOST_OWNERS: usize = 2 * MOST_TRACKED;

/// Events that may wait for being added up, a second of a very busy pooler in 15 MB; more of them are dropped,
/// and counted.
const MOST_WAITING: usize = 262_144;

/// How many in a thousand go when there is no room.
const EVICT_PER_MILLE: usize = 50;

/// What was long ago counts less at each eviction.
const DECAY: f64 = 0.99;

/// More new fingerprints than this within [`FLOOD_WINDOW`] are not told apart: somebody sends texts that
/// differ in more than their values.
const FLOOD: u32 = 1_000;
const FLOOD_WINDOW: Duration = Duration::from_secs(10);

/// SQLSTATEs that are told apart for each fingerprint; the rest counts as `XX000`.
const MOST_CODES: usize = 20;

/// Longest time a histogram tells from longer ones: an hour, in microseconds.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// One significant digit: 1.9 KB a histogram.
const SIGNIFICANT_DIGITS: u8 = 1;

/// How far a percentile may be off, as a share of it.
pub const RELATIVE_ERROR: f64 = 1.0 / 16.0;

/// What a record needs beside its text: itself, its histogram of 464 counters, its description.
const RECORD_BYTES: usize = size_of::<Record>() + 464 * 4 + size_of::<About>();

/// Whose statements they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// As clients call it.
    pub database: Box<str>,
    /// The user that servers log in as.
    pub user: Box<str>,
}

/// What one worker noted of one pool.
#[derive(Debug)]
pub struct Batch {
    owner: Arc<Owner>,
    events: Vec<Event>,
}

impl Batch {
    pub(super) fn new(owner: &Arc<Owner>, events: Vec<Event>) -> Self {
        Self { owner: Arc::clone(owner), events }
    }
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
    weight: f64,
}

impl Record {
    fn new(about: Option<Arc<About>>, owner: Arc<Owner>, now: SystemTime) -> Self {
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

    fn note(&mut self, event: &Event, now: SystemTime) {
        let (micros, waited) = (event.nanos / 1_000, event.waited / 1_000);
        self.last_seen = now;
        self.total_micros += micros;
        self.weight += micros as f64;
        self.wait_micros += waited;
        self.max_wait_micros = self.max_wait_micros.max(waited);
        if let Some(part) = event.query.parts.get(event.part) {
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

    fn absorb(&mut self, other: &Self) {
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

/// What the ledger says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// Fingerprints that are told apart.
    pub tracked: usize,
    /// Fingerprints that went for lack of room.
    pub evictions: u64,
    /// Events that nobody came to add up.
    pub dropped: u64,
    /// Memory of all that, about.
    pub bytes: usize,
}

/// Everything that was counted.
#[derive(Debug)]
pub struct Ledger {
    inbox: Mutex<Inbox>,
    dropped: AtomicU64,
    sums: Mutex<Sums>,
}

#[derive(Debug, Default)]
struct Inbox {
    batches: Vec<Batch>,
    /// In all of them.
    events: usize,
}

#[derive(Debug)]
struct Sums {
    records: HashMap<(u64, u32), Record, FxBuildHasher>,
    owners: HashMap<Arc<Owner>, u32>,
    others: HashMap<u32, Record, FxBuildHasher>,
    next_owner: u32,
    evictions: u64,
    since: SystemTime,
    flood: (Instant, u32),
    most: usize,
    slow: SlowLog,
}

impl Ledger {
    /// An empty one, for at most so many fingerprints ([`MOST_TRACKED`] outside of tests). What takes at least
    /// as long as `slow` is kept one by one.
    #[must_use]
    pub fn new(most: usize, slow: Option<Duration>) -> Self {
        Self {
            inbox: Mutex::default(),
            dropped: AtomicU64::new(0),
            sums: Mutex::new(Sums {
                records: HashMap::default(),
                owners: HashMap::default(),
                others: HashMap::default(),
                next_owner: 0,
                evictions: 0,
                since: SystemTime::now(),
                flood: (Instant::now(), 0),
                most,
                slow: SlowLog::new(slow),
            }),
        }
    }

    /// Takes a list of events; it waits for [`Self::add_up`].
    pub fn hand_over(&self, batch: Batch) {
        let mut inbox = self.inbox.lock();
        if inbox.events + batch.events.len() <= MOST_WAITING {
            inbox.events += batch.events.len();
            inbox.batches.push(batch);
        } else {
            self.dropped.fetch_add(batch.events.len() as u64, Ordering::Relaxed);
        }
    }

    /// Adds up what was handed over.
    pub fn add_up(&self) {
        let batches = std::mem::take(&mut *self.inbox.lock()).batches;
        if batches.is_empty() {
            return;
        }
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut sums = self.sums.lock();
        for batch in batches {
            sums.add(&batch, now, wall);
        }
    }

    /// Calls `look` with every record, those of [`Record::about`] none last; and gives since when they count.
    pub fn each(&self, mut look: impl FnMut(&Record)) -> SystemTime {
        let sums = self.sums.lock();
        sums.records.values().chain(sums.others.values()).for_each(&mut look);
        sums.since
    }

    /// Calls `look` with the last statements that took long, the latest first.
    pub fn each_slow(&self, look: impl FnMut(&Slow)) {
        self.sums.lock().slow.latest().for_each(look);
    }

    /// Those that were added up since this was called last, to be logged.
    pub fn take_unlogged(&self) -> Vec<Slow> {
        self.sums.lock().slow.take_unlogged()
    }

    /// Forgets the records that `which` says, and gives how many those were.
    pub fn forget(&self, mut which: impl FnMut(&Record) -> bool) -> usize {
        let mut sums = self.sums.lock();
        let before = sums.records.len() + sums.others.len();
        sums.records.retain(|_, record| !which(record));
        sums.others.retain(|_, record| !which(record));
        let left = sums.records.len() + sums.others.len();
        if left == 0 {
            sums.since = SystemTime::now();
        }
        before - left
    }

    /// How full it is.
    #[must_use]
    pub fn state(&self) -> LedgerState {
        let sums = self.sums.lock();
        let text = |record: &Record| record.about.as_ref().map_or(0, |about| about.text.len());
        let texts: usize = sums.records.values().map(text).sum();
        let records = sums.records.len() + sums.others.len();
        LedgerState {
            bytes: records * RECORD_BYTES + texts,
            tracked: sums.records.len(),
            evictions: sums.evictions,
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

impl Sums {
    fn add(&mut self, batch: &Batch, now: Instant, wall: SystemTime) {
        let owner = self.owner(&batch.owner);
        for event in &batch.events {
            let Some(part) = event.query.parts.get(event.part) else { continue };
            self.slow.look(event, &batch.owner, wall);
            let key = (part.about.fingerprint.0, owner);
            if !self.records.contains_key(&key) {
                if self.is_flooded(now) {
                    self.other(owner, &batch.owner, wall).note(event, wall);
                    continue;
                }
                self.make_room(wall);
                let about = Some(Arc::clone(&part.about));
                self.records.insert(key, Record::new(about, Arc::clone(&batch.owner), wall));
            }
            if let Some(record) = self.records.get_mut(&key) {
                record.note(event, wall);
            }
        }
    }

    fn owner(&mut self, owner: &Arc<Owner>) -> u32 {
        if let Some(known) = self.owners.get(owner) {
            return *known;
        }
        if self.owners.len() >= MOST_OWNERS {
            let used: HashSet<u32> = self.records.keys().map(|(_, owner)| *owner).collect();
            self.owners.retain(|_, owner| used.contains(owner));
            self.others.retain(|owner, _| used.contains(owner));
        }
        self.next_owner += 1;
        self.owners.insert(Arc::clone(owner), self.next_owner);
        self.next_owner
    }

    /// Counts a new fingerprint: are there too many?
    fn is_flooded(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.flood;
        if now.saturating_duration_since(*since) >= FLOOD_WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count > FLOOD
    }

    fn other(&mut self, key: u32, owner: &Arc<Owner>, wall: SystemTime) -> &mut Record {
        self.others.entry(key).or_insert_with(|| Record::new(None, Arc::clone(owner), wall))
    }

    fn make_room(&mut self, wall: SystemTime) {
        if self.records.len() < self.most {
            return;
        }
        let mut weights: Vec<_> = Vec::with_capacity(self.records.len());
        for (key, record) in &mut self.records {
            record.weight *= DECAY;
            weights.push((record.weight, *key));
        }
        let going = (weights.len() * EVICT_PER_MILLE / 1_000).max(1);
        weights.select_nth_unstable_by(going - 1, |(a, _), (b, _)| a.total_cmp(b));
        for (_, key) in weights.into_iter().take(going) {
            if let Some(gone) = self.records.remove(&key) {
                self.evictions += 1;
                self.other(key.1, &gone.owner, wall).absorb(&gone);
            }
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
