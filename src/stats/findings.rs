//! What was found to repeat, added up by statement, route and class: how often, how surely, and what it costs. A
//! finding is listed once several units have had it, and forgotten when it is silent. Bounded.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::xxh3_64;

use super::advice::{Framework, advice};
use super::record::Owner;
use super::said::{Said, Sayings};
use super::units::{Class, Confidence, Repeated, UnitKind};
use super::work::Ended;
use crate::sql::query::About;
use crate::sql::trace::TraceParent;

/// Findings that are told apart; of more, the one that was silent longest goes.
pub const MOST_FINDINGS: usize = 500;

/// A finding is listed once so many units have had it within [`LISTED_WITHIN`].
const LISTED_AFTER: usize = 3;
const LISTED_WITHIN: Duration = Duration::from_secs(600);

/// A finding that is silent for so long is forgotten: it may have been mended.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Units of which it is known how often the statement came in them: the latest.
const MOST_TIMES: usize = 64;

/// Statements that come as often as a finding's and are named with it.
const MOST_COMPANIONS: usize = 8;

/// Findings that were switched off by hand.
const MOST_IGNORED: usize = 1_000;

/// A finding's confidence is that of a quarter of its units, at least.
const SHARE: u64 = 4;

/// Applications whose statements repeat as they should.
const TOOLS: [&str; 3] = ["psql", "pg_dump", "pg_restore"];

/// What is never a finding, by the configuration.
#[derive(Clone, Debug, Default)]
pub struct Ignored {
    /// Fingerprints.
    pub fingerprints: Vec<u64>,
    /// Routes.
    pub routes: Vec<String>,
    /// Applications, by `application_name`.
    pub applications: Vec<String>,
    /// Users, by the name that servers log in as.
    pub users: Vec<String>,
}

/// Something that repeats.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The same after a restart.
    pub id: u64,
    /// Whose it is.
    pub owner: Arc<Owner>,
    /// The statement.
    pub about: Arc<About>,
    /// Where it comes from; empty if that is not known.
    pub route: Arc<str>,
    /// What is wrong with it.
    pub class: Class,
    /// The surest that a unit of it was known by.
    pub kind: UnitKind,
    /// Units that had it.
    pub units: u64,
    /// How often the statement came in the latest units, the oldest first.
    pub times: VecDeque<u16>,
    /// The most in one unit.
    pub max_times: u32,
    /// How often the statement came altogether.
    pub calls: u64,
    /// Time that it ran, microseconds.
    pub micros: u64,
    /// Time that clients took in between, microseconds.
    pub gap_micros: u64,
    /// The statement that returned a row for each, and how many rows that was the last time.
    pub source: Option<(Arc<About>, u32)>,
    /// Others that come as often, in the same units.
    pub companions: Vec<Arc<About>>,
    /// A trace that has it.
    pub trace: Option<TraceParent>,
    /// What may help.
    pub advice: &'static str,
    /// When it was found first.
    pub first_seen: SystemTime,
    /// When it was found last.
    pub last_seen: SystemTime,
    by_confidence: [u64; 3],
    recent: VecDeque<Instant>,
    touched: Instant,
    listed: Listed,
}

/// Was a finding there often enough to be told?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Yes,
    NotYet,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: HashMap<u64, Finding, FxBuildHasher>,
    ignored: Ignored,
    by_hand: HashSet<u64, FxBuildHasher>,
}

impl Finding {
    /// How sure it is.
    #[must_use]
    pub fn confidence(&self) -> Confidence {
        let enough = (self.units / SHARE).max(LISTED_AFTER as u64).min(self.units);
        let mut sum = 0;
        for confidence in Confidence::ALL.into_iter().rev() {
            sum += self.by_confidence[confidence as usize];
            if sum >= enough {
                return confidence;
            }
        }
        Confidence::Low
    }

    /// How often the statement comes in a unit: the median of the latest.
    #[must_use]
    pub fn median_times(&self) -> u32 {
        let mut times: Vec<_> = self.times.iter().copied().collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(0).into()
    }

    /// What a unit would save if the statement came once, microseconds.
    #[must_use]
    pub fn saved_micros(&self) -> u64 {
        let all = self.micros + self.gap_micros;
        let avoidable = self.calls.saturating_sub(self.units) as f64 / self.calls.max(1) as f64;
        (all as f64 * avoidable / self.units.max(1) as f64) as u64
    }

    fn note(&mut self, repeated: &Repeated, said: Option<&Said>, now: Instant, wall: SystemTime) {
        self.units += 1;
        self.kind = self.kind.min(repeated.kind);
        self.calls += u64::from(repeated.times);
        self.max_times = self.max_times.max(repeated.times);
        if self.times.len() == MOST_TIMES {
            self.times.pop_front();
        }
        self.times.push_back(u16::try_from(repeated.times).unwrap_or(u16::MAX));
        self.micros += u64::from(repeated.micros);
        self.gap_micros += u64::from(repeated.gap);
        self.source = repeated.source.clone().or(self.source.take());
        let sampled = said.and_then(|said| said.trace);
        self.trace = sampled.or(self.trace);
        self.by_confidence[repeated.confidence as usize] += 1;
        (self.last_seen, self.touched) = (wall, now);
        self.recent.push_back(now);
        if self.recent.len() > LISTED_AFTER {
            self.recent.pop_front();
        }
        let first = self.recent.front().map_or(Duration::MAX, |first| now.duration_since(*first));
        if self.recent.len() == LISTED_AFTER && first <= LISTED_WITHIN {
            self.listed = Listed::Yes;
        }
    }

    fn join(&mut self, companion: &Arc<About>) {
        let hash = companion.fingerprint;
        let known = self.companions.iter().any(|known| known.fingerprint == hash);
        if !known && self.companions.len() < MOST_COMPANIONS {
            self.companions.push(Arc::clone(companion));
        }
    }
}

impl Findings {
    /// None yet; these are never any.
    pub(super) fn new(ignored: Ignored) -> Self {
        Self { ignored, ..Self::default() }
    }

    /// A unit ended.
    pub(super) fn note(&mut self, ended: &Ended, names: &Sayings, now: Instant, wall: SystemTime) {
        let route = names.name(ended.route);
        let application = names.name(ended.application);
        if self.is_ignored(ended, &route, &application) {
            return;
        }
        // Statements of one loop come equally often: they are one finding, that of the first.
        let mut leaders: Vec<(&Repeated, u64)> = Vec::new();
        for repeated in &ended.repeated {
            if self.ignored.fingerprints.contains(&repeated.about.fingerprint.0) {
                continue;
            }
            let alike = |leader: &&(&Repeated, u64)| {
                leader.0.class == repeated.class && leader.0.times.abs_diff(repeated.times) <= 1
            };
            if let Some((_, id)) = leaders.iter().find(alike) {
                if let Some(finding) = self.found.get_mut(id) {
                    finding.join(&repeated.about);
                }
                continue;
            }
            let id = id(&ended.owner, repeated, &route);
            self.make_room(id, now);
            let said = ended.said.as_deref();
            let finding = self
                .found
                .entry(id)
                .or_insert_with(|| first(id, (ended, &route), repeated, (now, wall)));
            finding.note(repeated, said, now, wall);
            leaders.push((repeated, id));
        }
    }

    fn is_ignored(&self, ended: &Ended, route: &str, application: &str) -> bool {
        let by = |list: &[String], name: &str| list.iter().any(|ignored| ignored == name);
        TOOLS.contains(&application)
            || application.contains("migrat")
            || by(&self.ignored.routes, route)
            || by(&self.ignored.applications, application)
            || by(&self.ignored.users, &ended.owner.user)
    }

    fn make_room(&mut self, id: u64, now: Instant) {
        if self.found.len() < MOST_FINDINGS || self.found.contains_key(&id) {
            return;
        }
        self.forget_silent(now);
        if self.found.len() >= MOST_FINDINGS {
            let oldest = self.found.values().min_by_key(|finding| finding.touched);
            if let Some(oldest) = oldest.map(|finding| finding.id) {
                self.found.remove(&oldest);
            }
        }
    }

    fn forget_silent(&mut self, now: Instant) {
        self.found.retain(|_, f| now.saturating_duration_since(f.touched) < FORGOTTEN_AFTER);
    }

    /// Those that are to be told.
    pub(super) fn listed(&mut self, now: Instant) -> impl Iterator<Item = &Finding> {
        self.forget_silent(now);
        let by_hand = &self.by_hand;
        self.found.values().filter(|f| f.listed == Listed::Yes && !by_hand.contains(&f.id))
    }

    /// Forgets those that `which` says, and gives how many those were.
    pub(super) fn forget(&mut self, which: impl Fn(&Finding) -> bool) -> usize {
        let before = self.found.len();
        self.found.retain(|_, finding| !which(finding));
        before - self.found.len()
    }

    /// A finding is not told any more; gives it, if there is one.
    pub(super) fn ignore(&mut self, id: u64) -> Option<&Finding> {
        let finding = self.found.get(&id)?;
        if self.by_hand.len() < MOST_IGNORED {
            self.by_hand.insert(id);
        }
        Some(finding)
    }
}

fn first(
    id: u64,
    (ended, route): (&Ended, &Arc<str>),
    repeated: &Repeated,
    (now, wall): (Instant, SystemTime),
) -> Finding {
    let named = ended.said.as_deref().and_then(|said| {
        said.pairs.iter().find(|(key, _)| &**key == "framework").map(|(_, value)| &**value)
    });
    Finding {
        id,
        owner: Arc::clone(&ended.owner),
        about: Arc::clone(&repeated.about),
        route: Arc::clone(route),
        class: repeated.class,
        kind: repeated.kind,
        units: 0,
        times: VecDeque::new(),
        max_times: 0,
        calls: 0,
        micros: 0,
        gap_micros: 0,
        source: None,
        companions: Vec::new(),
        trace: None,
        advice: advice(repeated.class, Framework::named(named)),
        first_seen: wall,
        last_seen: wall,
        by_confidence: [0; 3],
        recent: VecDeque::new(),
        touched: now,
        listed: Listed::NotYet,
    }
}

/// The same wherever and whenever it is found.
fn id(owner: &Owner, repeated: &Repeated, route: &str) -> u64 {
    let fingerprint = repeated.about.fingerprint.to_string();
    let class = repeated.class.name();
    let words = [&*fingerprint, &*owner.database, &*owner.user, route, class];
    xxh3_64(words.join("\0").as_bytes())
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
