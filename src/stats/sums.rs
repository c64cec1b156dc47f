//! Which fingerprints are told apart, and which go when there is no room: into one sum for each pool.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxBuildHasher;

use super::ledger::{Batch, LedgerState};
use super::queries::Event;
use super::record::{Owner, Record};
use super::series::{Seen, Series};
use super::slow::{SlowLog, Thresholds};
use super::window::Minute;

/// The most fingerprints that are told apart, over all databases and users, if memory suffices.
pub const MOST_TRACKED: usize = 5_000;

/// Pools that are remembered; above it those go, with what was summed up of them, of which no fingerprint
/// is told apart any more. Pools come and go with databases and users.
const MOST_OWNERS: usize = 2 * MOST_TRACKED;

/// How many in a thousand go when there is no room.
const EVICT_PER_MILLE: usize = 50;

/// What was long ago counts less at each eviction.
const DECAY: f64 = 0.99;

/// More new fingerprints than this within [`FLOOD_WINDOW`] are not told apart: somebody sends texts that
/// differ in more than their values.
pub(super) const FLOOD: u32 = 1_000;
const FLOOD_WINDOW: Duration = Duration::from_secs(10);

/// How much may be told apart.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Fingerprints: [`MOST_TRACKED`] outside of tests.
    pub most: usize,
    /// Bytes of memory.
    pub bytes: usize,
}

/// The records, and what decides which there are.
#[derive(Debug)]
pub(super) struct Sums {
    /// Boxed, because a table leaves up to half of its room free.
    records: HashMap<(u64, u32), Box<Record>, FxBuildHasher>,
    owners: HashMap<Arc<Owner>, u32>,
    others: HashMap<u32, Record, FxBuildHasher>,
    next_owner: u32,
    evictions: u64,
    since: SystemTime,
    flood: (Instant, u32),
    room: Room,
    /// Of all records.
    bytes: usize,
    turned: Minute,
    pub(super) slow: SlowLog,
    series: Series,
}

impl Sums {
    /// None yet; as [`super::ledger::Ledger::new`].
    pub(super) fn new(room: Room, slow: Thresholds) -> Self {
        Self {
            records: HashMap::default(),
            owners: HashMap::default(),
            others: HashMap::default(),
            next_owner: 0,
            evictions: 0,
            since: SystemTime::now(),
            flood: (Instant::now(), 0),
            room,
            bytes: 0,
            turned: Minute::default(),
            slow: SlowLog::new(slow),
            series: Series::new(0),
        }
    }

    /// As [`super::ledger::Ledger::exporting`].
    pub(super) fn export(&mut self, most: usize) {
        self.series = Series::new(most);
    }

    /// What Prometheus is shown.
    pub(super) fn seen(&self) -> Seen {
        self.series.seen(&self.owners)
    }

    /// Every record, those that are not told apart last.
    pub(super) fn each(&self) -> impl Iterator<Item = &Record> {
        self.records.values().map(|record| &**record).chain(self.others.values())
    }

    /// Since when they count.
    pub(super) fn since(&self) -> SystemTime {
        self.since
    }

    /// Forgets the records that `which` says, and gives how many those were.
    pub(super) fn forget(&mut self, mut which: impl FnMut(&Record) -> bool) -> usize {
        let before = self.records.len() + self.others.len();
        self.records.retain(|_, record| !which(record));
        self.others.retain(|_, record| !which(record));
        self.weigh();
        let left = self.records.len() + self.others.len();
        if left == 0 {
            self.since = SystemTime::now();
        }
        before - left
    }

    /// Forgets the values of single calls.
    pub(super) fn forget_values(&mut self) {
        self.records.values_mut().for_each(|record| record.forget_values());
        self.others.values_mut().for_each(Record::forget_values);
        self.slow.forget_values();
        self.weigh();
    }

    /// How full it is; what was dropped before it came here is not known here.
    pub(super) fn state(&self) -> LedgerState {
        LedgerState {
            bytes: self.bytes + self.series.bytes(),
            tracked: self.records.len(),
            evictions: self.evictions,
            dropped: 0,
        }
    }

    /// Forgets what no window reaches any more, once a minute.
    pub(super) fn turn(&mut self, wall: SystemTime) {
        let now = Minute::of(wall);
        if now != self.turned {
            self.turned = now;
            self.records.values_mut().for_each(|record| record.turn(wall));
            self.others.values_mut().for_each(|record| record.turn(wall));
            self.weigh();
        }
    }

    fn weigh(&mut self) {
        self.bytes = self.each().map(Record::bytes).sum();
    }

    /// Adds up a list of events that was handed over now.
    pub(super) fn add(&mut self, batch: &Batch, now: Instant, wall: SystemTime) {
        let owner = self.owner(&batch.owner);
        self.series.note(owner, &batch.owner, &batch.events);
        let slow = self.slow.limit(&batch.owner.database);
        for event in &batch.events {
            let Some(part) = event.run.query.parts.get(event.part) else { continue };
            if SlowLog::is_slow(event, slow) {
                self.slow.keep(event, &batch.owner, wall);
            }
            let key = (part.about.fingerprint.0, owner);
            if !self.records.contains_key(&key) {
                if self.is_flooded(now) {
                    self.note_other(event, owner, batch, wall);
                    continue;
                }
                if self.records.len() >= self.room.most {
                    self.evict(wall);
                }
                let about = Some(Arc::clone(&part.about));
                let record = Record::new(about, Arc::clone(&batch.owner), wall);
                self.bytes += record.bytes();
                self.records.insert(key, Box::new(record));
            }
            if let Some(record) = self.records.get_mut(&key) {
                let before = record.bytes();
                record.note(event, wall);
                self.bytes = self.bytes + record.bytes() - before;
            }
            while self.bytes + self.series.bytes() > self.room.bytes && self.records.len() > 1 {
                self.evict(wall);
            }
        }
        if self.series.is_due(now) {
            self.series.revise(self.records.values().map(|record| &**record), now);
        }
    }

    fn note_other(&mut self, event: &Event, owner: u32, batch: &Batch, wall: SystemTime) {
        let record = self.other(owner, &batch.owner, wall);
        let before = record.bytes();
        record.note(event, wall);
        // It can shrink: the values of one call go for those of another.
        let after = record.bytes();
        self.bytes = self.bytes + after - before;
    }

    fn owner(&mut self, owner: &Arc<Owner>) -> u32 {
        if let Some(known) = self.owners.get(owner) {
            return *known;
        }
        if self.owners.len() >= MOST_OWNERS {
            let used: HashSet<u32> = self.records.keys().map(|(_, owner)| *owner).collect();
            self.owners.retain(|_, owner| used.contains(owner));
            self.others.retain(|owner, _| used.contains(owner));
            self.series.retain(|owner| used.contains(&owner));
            self.weigh();
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
        let bytes = &mut self.bytes;
        self.others.entry(key).or_insert_with(|| {
            let record = Record::new(None, Arc::clone(owner), wall);
            *bytes += record.bytes();
            record
        })
    }

    /// Makes room: those that took the least time, lately more than long ago, go.
    fn evict(&mut self, wall: SystemTime) {
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
        self.weigh();
    }
}
