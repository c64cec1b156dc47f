//! The sums of what statements did, by fingerprint, database and user. Bounded: what is used least goes into
//! one sum for each pool. Workers hand over lists of events; adding them up is for whoever looks after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};

use super::insight::{Detection, Insight};
use super::queries::Event;
use super::record::{Owner, Record};
use super::said::Sayings;
use super::series::Seen;
use super::slow::{Slow, SlowTail, Thresholds};
use super::spans::{Span, Spans};
use super::sums::{Room, Sums};
use super::values::{Keep, Keeping};
use super::veil::Veil;
use crate::sql::fingerprint::Fingerprint;

/// Events that may wait for being added up, a second of a very busy pooler in 25 MB; more of them are dropped,
/// and counted.
const MOST_WAITING: usize = 262_144;

/// Bytes of values that may wait with their statements; of more, they are given up.
const MOST_VALUES: usize = 32 * 1024 * 1024;

/// What one worker noted of one pool.
#[derive(Debug)]
pub struct Batch {
    pub(super) owner: Arc<Owner>,
    pub(super) events: Vec<Event>,
    /// Clients that have left since.
    pub(super) gone: Vec<u64>,
    /// Places of events that belong to a trace which is recorded, with when they ended.
    ends: Vec<(usize, SystemTime)>,
}

impl Batch {
    pub(super) fn new(owner: &Arc<Owner>, events: Vec<Event>, gone: Vec<u64>) -> Self {
        Self { owner: Arc::clone(owner), events, gone, ends: Vec::new() }
    }

    /// The same; those of its events that belong to a trace which is recorded ended then.
    pub(super) fn ending(self, ends: Vec<(usize, SystemTime)>) -> Self {
        Self { ends, ..self }
    }

    /// Bytes of values that are kept.
    fn values(&self) -> usize {
        let kept = self.events.iter().filter_map(|event| event.run.kept.as_ref());
        kept.map(|kept| kept.bytes()).sum()
    }

    /// Gives up values that are kept.
    fn strip(&mut self) {
        self.events.iter_mut().for_each(|event| event.run.kept = None);
    }

    fn spans(&self) -> impl Iterator<Item = Span> {
        let span = |(at, ended): &(usize, SystemTime)| {
            Span::of(self.events.get(*at)?, &self.owner, *ended)
        };
        self.ends.iter().filter_map(span)
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
    /// Memory that the records take.
    pub bytes: usize,
}

/// How much was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Records of statements.
    pub statements: usize,
    /// Routes.
    pub routes: usize,
    /// What repeated.
    pub findings: usize,
    /// Places where clients pause in transactions.
    pub pauses: usize,
}

/// Everything that was counted.
#[derive(Debug)]
pub struct Ledger {
    /// What statements say of themselves.
    pub sayings: Sayings,
    inbox: Mutex<Inbox>,
    dropped: AtomicU64,
    sums: Mutex<Sums>,
    /// What is seen in statements that belong together.
    pub insight: Mutex<Insight>,
    /// Where statements go that belong to a trace which is recorded; none: nowhere.
    pub spans: Option<Arc<Spans>>,
    /// What is kept of the values of single calls.
    pub keeping: Keeping,
    /// What is shown of hashes of values.
    pub veil: Veil,
    /// Whether values of single calls were ever kept.
    kept_once: AtomicBool,
    /// Hashes of texts and values have this seed, since clients choose those.
    pub seed: u64,
}

/// The records as they are now.
#[derive(Debug)]
pub struct Records<'a>(MutexGuard<'a, Sums>);

impl Records<'_> {
    /// Every record, those of [`Record::about`] none last.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.each()
    }

    /// Since when they count.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.0.since()
    }
}

#[derive(Debug, Default)]
struct Inbox {
    batches: Vec<Batch>,
    /// In all of them.
    events: usize,
    /// Bytes of the values that are kept in them.
    values: usize,
}

impl Ledger {
    /// An empty one. What takes at least as long as `slow` says is kept one by one.
    #[must_use]
    pub fn new(room: Room, slow: Thresholds) -> Self {
        Self {
            sayings: Sayings::default(),
            inbox: Mutex::default(),
            dropped: AtomicU64::new(0),
            sums: Mutex::new(Sums::new(room, slow)),
            insight: Mutex::new(Insight::new(Detection::Off, Instant::now())),
            spans: None,
            keeping: Keeping::default(),
            veil: Veil::random(),
            kept_once: AtomicBool::default(),
            seed: rand::random(),
        }
    }

    /// With so many fingerprints for Prometheus to see one by one.
    #[must_use]
    pub fn exporting(self, fingerprints: usize) -> Self {
        self.sums.lock().export(fingerprints);
        self
    }

    /// With a place for what is to be sent of traces.
    #[must_use]
    pub fn tracing(self, spans: Option<Arc<Spans>>) -> Self {
        Self { spans, ..self }
    }

    /// What Prometheus is shown: numbers that only grow, whatever is evicted or forgotten.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.sums.lock().seen()
    }

    /// The same, which keeps other tags of comments than none, and looks for what repeats.
    #[must_use]
    pub fn watching(self, sayings: Sayings, detection: Detection) -> Self {
        let insight = Mutex::new(Insight::new(detection, Instant::now()));
        Self { sayings, insight, ..self }
    }

    /// Takes a list of events; it waits for [`Self::add_up`].
    pub fn hand_over(&self, mut batch: Batch) {
        let values = if self.keeping.get() == Keep::All { batch.values() } else { 0 };
        let mut inbox = self.inbox.lock();
        if inbox.events + batch.events.len() <= MOST_WAITING {
            if inbox.values + values > MOST_VALUES {
                batch.strip();
            } else {
                inbox.values += values;
            }
            inbox.events += batch.events.len();
            inbox.batches.push(batch);
        } else {
            self.dropped.fetch_add(batch.events.len() as u64, Ordering::Relaxed);
        }
    }

    /// Adds up what was handed over.
    pub fn add_up(&self) {
        self.add_up_at(Instant::now(), SystemTime::now());
    }

    /// Adds up what was handed over, as if it were then.
    pub fn add_up_at(&self, now: Instant, wall: SystemTime) {
        let batches = std::mem::take(&mut *self.inbox.lock()).batches;
        {
            let mut insight = self.insight.lock();
            batches.iter().for_each(|batch| insight.add(batch, now, wall));
            insight.settle(&self.sayings, now, wall);
        }
        if let Some(spans) = &self.spans {
            batches.iter().flat_map(Batch::spans).for_each(|span| spans.push(span));
        }
        let mut sums = self.sums.lock();
        sums.turn(wall);
        for mut batch in batches {
            // Under the lock: what was on its way when values were forgotten does not bring them back.
            if self.kept_once.load(Ordering::Relaxed) && self.keeping.get() != Keep::All {
                batch.strip();
            }
            sums.add(&batch, now, wall);
        }
    }

    /// All records, which nobody changes while they are looked at: what takes long is done with copies.
    pub fn records(&self) -> Records<'_> {
        Records(self.sums.lock())
    }

    /// Since when they count.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.sums.lock().since()
    }

    /// Calls `look` with every record, those of [`Record::about`] none last; and gives since when they count.
    pub fn each(&self, look: impl FnMut(&Record)) -> SystemTime {
        let sums = self.sums.lock();
        sums.each().for_each(look);
        sums.since()
    }

    /// Calls `look` with the last statements that took long, the latest first.
    pub fn each_slow(&self, look: impl FnMut(&Slow)) {
        self.sums.lock().slow.latest().for_each(look);
    }

    /// Of the statements that took long, those from this number on, at most so many.
    #[must_use]
    pub fn slow_tail(&self, from: u64, most: usize) -> SlowTail {
        self.sums.lock().slow.tail(from, most)
    }

    /// From now on, this is kept of the values of single calls; what is not to be kept any more is forgotten.
    pub fn keep(&self, keep: Keep) {
        self.keeping.set(keep);
        if keep == Keep::All {
            self.kept_once.store(true, Ordering::Relaxed);
        } else {
            self.sums.lock().forget_values();
        }
    }

    /// From now on, what takes as long as these say is kept one by one.
    pub fn look_for_slow(&self, thresholds: Thresholds) {
        self.sums.lock().slow.set(thresholds);
    }

    /// Those that were added up since this was called last, to be logged.
    pub fn take_unlogged(&self) -> Vec<Slow> {
        self.sums.lock().slow.take_unlogged()
    }

    /// Forgets what is counted of the pools that `owns` says: all of it, or what belongs to one fingerprint. Routes
    /// are sums over fingerprints and stay then, without it among their statements.
    pub fn forget(
        &self,
        fingerprint: Option<Fingerprint>,
        owns: impl Fn(&Owner) -> bool,
    ) -> Forgotten {
        let statements = self.sums.lock().forget(|record| {
            let about = record.about.as_ref();
            owns(&record.owner)
                && fingerprint.is_none_or(|wanted| about.is_some_and(|a| a.fingerprint == wanted))
        });
        Forgotten { statements, ..self.insight.lock().forget(fingerprint, owns) }
    }

    /// How full it is.
    #[must_use]
    pub fn state(&self) -> LedgerState {
        let sums = self.sums.lock();
        LedgerState { dropped: self.dropped.load(Ordering::Relaxed), ..sums.state() }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
