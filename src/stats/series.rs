//! Numbers that only grow, for Prometheus: how long statements took by kind and pool, and what those did that take
//! the most time. They are kept apart from the records, which may be evicted or reset.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxBuildHasher;

use super::queries::{Event, Outcome};
use super::record::{Owner, Record};
use crate::sql::fingerprint::Fingerprint;
use crate::sql::kind::Kind;

/// The upper bounds of histograms' buckets, in microseconds: a superset of OpenTelemetry's advice for database
/// clients that resolves what a pooler takes.
pub const BUCKETS: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// How often it is decided which fingerprints are shown one by one.
const REVISION: Duration = Duration::from_secs(15);

/// How long one is shown after it was last among those that take the most time: series that come and go cost
/// Prometheus more than those that stay.
const STAY: Duration = Duration::from_secs(3_600);

/// Databases that are told apart; others come and go with clients that name them.
const MOST_DATABASES: usize = 1_000;

/// Times in the buckets of [`BUCKETS`], and those above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    counts: [u64; BUCKETS.len() + 1],
    nanos: u64,
}

impl Buckets {
    fn note(&mut self, nanos: u64) {
        self.counts[BUCKETS.partition_point(|bound| bound * 1_000 < nanos)] += 1;
        self.nanos += nanos;
    }

    /// How many did not exceed each of [`BUCKETS`].
    pub fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.counts[..BUCKETS.len()].iter().scan(0, |seen, count| {
            *seen += count;
            Some(*seen)
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, microseconds.
    #[must_use]
    pub fn total_micros(&self) -> u64 {
        self.nanos / 1_000
    }
}

/// What the statements of a fingerprint did, or those of all that are not shown one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How often they ran to an end, good or bad.
    pub calls: u64,
    /// How often to a bad one.
    pub errors: u64,
    /// Rows that they returned or changed.
    pub rows: u64,
    /// Time that they ran, nanoseconds.
    pub nanos: u64,
}

impl Sum {
    fn note(&mut self, event: &Event) {
        self.nanos += event.nanos;
        match event.outcome {
            Outcome::Complete { rows } => {
                self.rows += rows;
                self.calls += 1;
            }
            Outcome::Failed(_) => {
                self.errors += 1;
                self.calls += 1;
            }
            Outcome::Suspended { rows } => self.rows += rows,
        }
    }
}

/// A fingerprint that is shown, or the rest of its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// 16 hexadecimal digits, or `other`.
    pub fingerprint: String,
    /// As clients call it.
    pub database: Arc<str>,
    /// What it does to which tables; empty for the rest.
    pub summary: Box<str>,
    /// What was counted since it is shown.
    pub sum: Sum,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By pool: times of each kind of statement.
    pub kinds: HashMap<Arc<Owner>, Vec<(Kind, Buckets)>>,
    /// Fingerprints that are shown, and what is left of each database.
    pub shown: Vec<Shown>,
}

/// A fingerprint in a database.
type Key = (u64, u32);

#[derive(Debug)]
struct Prominent {
    summary: Box<str>,
    sum: Sum,
    /// When it was last among those that take the most time.
    since: Instant,
}

/// What is counted.
#[derive(Debug)]
pub(super) struct Series {
    kinds: HashMap<(u32, Kind), Buckets, FxBuildHasher>,
    /// So many fingerprints are shown; 0: none.
    most: usize,
    databases: HashMap<Arc<str>, u32>,
    prominent: HashMap<Key, Prominent, FxBuildHasher>,
    rest: HashMap<u32, Sum, FxBuildHasher>,
    revised: Option<Instant>,
}

impl Series {
    /// Nothing yet; up to twice `most` fingerprints are shown.
    pub(super) fn new(most: usize) -> Self {
        Self {
            kinds: HashMap::default(),
            most,
            databases: HashMap::new(),
            prominent: HashMap::default(),
            rest: HashMap::default(),
            revised: None,
        }
    }

    /// Counts the events of a pool.
    pub(super) fn note(&mut self, owner: u32, name: &Owner, events: &[Event]) {
        let database = if self.most == 0 { None } else { self.database(&name.database) };
        for event in events {
            let Some(part) = event.run.query.parts.get(event.part) else { continue };
            if !matches!(event.outcome, Outcome::Suspended { .. }) {
                self.kinds.entry((owner, part.about.kind)).or_default().note(event.nanos);
            }
            let Some(database) = database else { continue };
            match self.prominent.get_mut(&(part.about.fingerprint.0, database)) {
                Some(prominent) => prominent.sum.note(event),
                None => self.rest.entry(database).or_default().note(event),
            }
        }
    }

    fn database(&mut self, name: &str) -> Option<u32> {
        if let Some(known) = self.databases.get(name) {
            return Some(*known);
        }
        let next = u32::try_from(self.databases.len()).ok()?;
        if self.databases.len() >= MOST_DATABASES {
            return None;
        }
        self.databases.insert(name.into(), next);
        Some(next)
    }

    /// Is it time for [`Self::revise`]?
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let fresh = |revised| now.saturating_duration_since(revised) < REVISION;
        self.most > 0 && !self.revised.is_some_and(fresh)
    }

    /// Decides anew which fingerprints are shown: those of the records that took the most time, and those that
    /// were among them not long ago.
    pub(super) fn revise<'a>(&mut self, records: impl Iterator<Item = &'a Record>, now: Instant) {
        self.revised = Some(now);
        let mut totals: HashMap<Key, (u64, &Record), FxBuildHasher> = HashMap::default();
        for record in records {
            let database = self.databases.get(&*record.owner.database);
            let (Some(about), Some(database)) = (&record.about, database) else { continue };
            let key = (about.fingerprint.0, *database);
            totals.entry(key).or_insert((0, record)).0 += record.total_micros;
        }
        let mut totals: Vec<_> = totals.into_iter().collect();
        totals.sort_unstable_by_key(|(key, (micros, _))| (std::cmp::Reverse(*micros), *key));
        for (key, (_, record)) in totals.into_iter().take(self.most) {
            let summary = || record.about.as_ref().map(|about| about.summary.clone());
            let fresh = || Prominent {
                summary: summary().unwrap_or_default(),
                sum: Sum::default(),
                since: now,
            };
            self.prominent.entry(key).or_insert_with(fresh).since = now;
        }
        self.prominent.retain(|_, one| now.saturating_duration_since(one.since) < STAY);
        while self.prominent.len() > 2 * self.most {
            let oldest = self.prominent.iter().min_by_key(|(key, one)| (one.since, **key));
            let Some(key) = oldest.map(|(key, _)| *key) else { break };
            self.prominent.remove(&key);
        }
    }

    /// Forgets the pools that are not in use.
    pub(super) fn retain(&mut self, used: impl Fn(u32) -> bool) {
        self.kinds.retain(|(owner, _), _| used(*owner));
    }

    /// What it needs, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.kinds.len() * size_of::<((u32, Kind), Buckets)>()
            + self.prominent.len() * size_of::<(Key, Prominent)>()
    }

    /// Everything.
    pub(super) fn seen(&self, owners: &HashMap<Arc<Owner>, u32>) -> Seen {
        let mut kinds: HashMap<_, Vec<_>> = HashMap::new();
        for (owner, number) in owners {
            for kind in Kind::ALL {
                if let Some(buckets) = self.kinds.get(&(*number, kind)) {
                    let of_pool = kinds.entry(Arc::clone(owner)).or_default();
                    of_pool.push((kind, buckets.clone()));
                }
            }
        }
        let names: HashMap<_, _> = self.databases.iter().map(|(name, n)| (*n, name)).collect();
        let prominent = self.prominent.iter().map(|((fingerprint, database), one)| Shown {
            fingerprint: Fingerprint(*fingerprint).to_string(),
            database: Arc::clone(names[database]),
            summary: one.summary.clone(),
            sum: one.sum,
        });
        let rest = self.rest.iter().map(|(database, sum)| Shown {
            fingerprint: "other".to_owned(),
            database: Arc::clone(names[database]),
            summary: Box::default(),
            sum: *sum,
        });
        let mut shown: Vec<_> = prominent.chain(rest).collect();
        shown.sort_unstable_by(|a, b| {
            (&a.database, &a.fingerprint).cmp(&(&b.database, &b.fingerprint))
        });
        Seen { kinds, shown }
    }
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
