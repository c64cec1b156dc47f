//! What is remembered of plans: the last one of a statement, those before it, and how many were asked for lately.
//! Bounded in each direction; time is an argument.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lru::LruCache;

use super::explained::Explained;
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

/// A slow statement is explained by itself again after so long.
const BY_ITSELF_AGAIN: Duration = Duration::from_secs(600);

/// How many slow statements of all databases are explained by themselves within a minute: most turns are for people.
const MOST_BY_THEMSELVES: usize = 4;

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
    /// Those that were explained by themselves, and when.
    by_themselves: LruCache<Key, Instant>,
}

#[derive(Debug, Default)]
struct Memory {
    last: Option<Last>,
    eras: VecDeque<Era>,
}

/// The last plan of a statement.
#[derive(Debug)]
struct Last {
    at: Instant,
    /// The schemas that were asked for.
    path: Option<Box<str>>,
    plan: Arc<Explained>,
}

#[derive(Debug, Default)]
struct Asked {
    running: usize,
    times: VecDeque<Instant>,
}

impl Default for Plans {
    fn default() -> Self {
        Self {
            statements: LruCache::new(MOST_STATEMENTS),
            bytes: 0,
            databases: HashMap::new(),
            by_themselves: LruCache::new(MOST_STATEMENTS),
        }
    }
}

impl Plans {
    /// The last plan, if it is fresh and the same schemas were asked for.
    #[must_use]
    pub fn fresh(&self, key: &Key, path: Option<&str>, now: Instant) -> Option<Arc<Explained>> {
        let last = self.statements.peek(key)?.last.as_ref()?;
        let is_fresh = now.saturating_duration_since(last.at) < FRESH;
        (is_fresh && last.path.as_deref() == path).then(|| Arc::clone(&last.plan))
    }

    /// The last plan, however old.
    #[must_use]
    pub fn last(&self, key: &Key) -> Option<Arc<Explained>> {
        self.statements.peek(key)?.last.as_ref().map(|last| Arc::clone(&last.plan))
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

    /// May a slow statement be explained by itself now? Then it counts as done.
    pub fn may_by_itself(&mut self, key: &Key, now: Instant) -> bool {
        let age = |then: &Instant| now.saturating_duration_since(*then);
        let is_done = self.by_themselves.peek(key).is_some_and(|then| age(then) < BY_ITSELF_AGAIN);
        let lately = self.by_themselves.iter().filter(|(_, then)| age(then) < SPAN).count();
        let may = !is_done && lately < MOST_BY_THEMSELVES;
        if may {
            self.by_themselves.push(key.clone(), now);
        }
        may
    }

    /// The one that was asked for is answered, or will never be.
    pub fn done(&mut self, database: &str) {
        if let Some(asked) = self.databases.get_mut(database) {
            asked.running = 0;
        }
    }

    /// Remembers a plan that was asked for with these schemas.
    pub fn note(&mut self, key: Key, path: Option<&str>, plan: &Arc<Explained>, now: Instant) {
        let (wall, cost) = (plan.taken, plan.plan.root.cost.1);
        let mut memory = self.statements.pop(&key).unwrap_or_default();
        self.bytes -= memory.bytes();
        memory.last = Some(Last { at: now, path: path.map(Into::into), plan: Arc::clone(plan) });
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
        self.last.as_ref().map_or(0, |last| last.plan.json.len())
    }
}

#[cfg(test)]
#[path = "plans_tests.rs"]
mod tests;
