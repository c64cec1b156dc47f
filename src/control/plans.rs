//! What is remembered of plans: the last one of a statement, those before it, and how many were asked for lately.
//! Bounded in each direction; time is an argument.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lru::LruCache;

use super::explain::Explained;
use crate::sql::fingerprint::Fingerprint;
use crate::stats::record::Owner;

/// A plan that is no older is not asked for again.
pub const FRESH: Duration = Duration::from_secs(60);

/// Plans of one database that may be asked for within a minute.
pub const MOST_ASKED: usize = 10;

/// The time in which they are counted.
const SPAN: Duration = Duration::from_secs(60);

/// Statements whose plans are remembered.
const MOST_STATEMENTS: NonZeroUsize = NonZeroUsize::new(1_000).expect("not zero");

/// Memory of the last plans in full, by the length of their JSON; of those asked for longest ago only the history stays.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Plans before the last that are remembered of a statement.
const MOST_CHANGES: usize = 10;

/// What plans are remembered by.
pub type Key = (Fingerprint, Arc<Owner>);

/// One plan of a statement, as long as it was the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Era {
    /// The plan's hash.
    pub hash: u64,
    /// What it reads, in a few words.
    pub summary: String,
    /// What it was expected to cost when it was seen last, in Postgres' unit.
    pub cost: f64,
    /// When it was seen first.
    pub first_seen: SystemTime,
    /// When it was seen last.
    pub last_seen: SystemTime,
}

/// May a plan be asked for?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Yes; [`Plans::done`] is to be said.
    Yes,
    /// Not while another one of the database is under way.
    Running,
    /// Not for so long: there were too many.
    Later(Duration),
}

/// All that.
#[derive(Debug)]
pub struct Plans {
    statements: LruCache<Key, Memory>,
    /// Of the plans in full.
    bytes: usize,
    databases: HashMap<Box<str>, Asked>,
}

#[derive(Debug, Default)]
struct Memory {
    last: Option<(Instant, Arc<Explained>)>,
    eras: VecDeque<Era>,
}

#[derive(Debug, Default)]
struct Asked {
    running: usize,
    times: VecDeque<Instant>,
}

impl Default for Plans {
    fn default() -> Self {
        Self { statements: LruCache::new(MOST_STATEMENTS), bytes: 0, databases: HashMap::new() }
    }
}

impl Plans {
    /// The last plan, if it is fresh and was made with these schemas.
    #[must_use]
    pub fn fresh(&self, key: &Key, path: Option<&str>, now: Instant) -> Option<Arc<Explained>> {
        let (taken, plan) = self.statements.peek(key)?.last.as_ref()?;
        let is_fresh = now.saturating_duration_since(*taken) < FRESH;
        let is_it = path.is_none() || plan.search_path.as_deref() == path;
        (is_fresh && is_it).then(|| Arc::clone(plan))
    }

    /// The last plan, however old.
    #[must_use]
    pub fn last(&self, key: &Key) -> Option<Arc<Explained>> {
        self.statements.peek(key)?.last.as_ref().map(|(_, plan)| Arc::clone(plan))
    }

    /// The plans that a statement had, the newest first.
    #[must_use]
    pub fn eras(&self, key: &Key) -> Vec<Era> {
        self.statements
            .peek(key)
            .map_or_else(Vec::new, |memory| memory.eras.iter().cloned().collect())
    }

    /// May a plan of this database be asked for now?
    pub fn begin(&mut self, database: &str, now: Instant) -> Turn {
        self.forget_old(now);
        let asked = self.databases.entry(database.into()).or_default();
        if asked.running > 0 {
            return Turn::Running;
        }
        if asked.times.len() >= MOST_ASKED
            && let Some(first) = asked.times.front()
        {
            return Turn::Later(SPAN.saturating_sub(now.saturating_duration_since(*first)));
        }
        asked.running = 1;
        asked.times.push_back(now);
        Turn::Yes
    }

    /// The one that was asked for is answered, or will never be.
    pub fn done(&mut self, database: &str) {
        if let Some(asked) = self.databases.get_mut(database) {
            asked.running = 0;
        }
    }

    /// Remembers a plan.
    pub fn note(&mut self, key: Key, plan: &Arc<Explained>, now: Instant, wall: SystemTime) {
        let cost = plan.plan.root.cost.1;
        let pushed = Memory { last: Some((now, Arc::clone(plan))), eras: VecDeque::new() };
        let mut memory = self.statements.pop(&key).unwrap_or_default();
        self.bytes -= memory.bytes();
        memory.last = pushed.last;
        match memory.eras.front_mut() {
            Some(era) if era.hash == plan.hash => (era.last_seen, era.cost) = (wall, cost),
            Some(_) | None => {
                let (hash, summary) = (plan.hash, plan.plan.summary());
                let era = Era { hash, summary, cost, first_seen: wall, last_seen: wall };
                memory.eras.push_front(era);
                memory.eras.truncate(MOST_CHANGES);
            }
        }
        self.bytes += memory.bytes();
        if let Some((_, gone)) = self.statements.push(key, memory) {
            self.bytes -= gone.bytes();
        }
        self.make_room();
    }

    fn make_room(&mut self) {
        if self.bytes <= MOST_BYTES {
            return;
        }
        let keys: Vec<_> = self.statements.iter().rev().map(|(key, _)| key.clone()).collect();
        for key in keys {
            if self.bytes <= MOST_BYTES {
                break;
            }
            if let Some(memory) = self.statements.peek_mut(&key) {
                self.bytes -= memory.bytes();
                memory.last = None;
            }
        }
    }

    fn forget_old(&mut self, now: Instant) {
        for asked in self.databases.values_mut() {
            asked.times.retain(|time| now.saturating_duration_since(*time) < SPAN);
        }
        self.databases.retain(|_, asked| asked.running > 0 || !asked.times.is_empty());
    }
}

impl Memory {
    fn bytes(&self) -> usize {
        self.last.as_ref().map_or(0, |(_, plan)| plan.json.len())
    }
}

#[cfg(test)]
#[path = "plans_tests.rs"]
mod tests;
