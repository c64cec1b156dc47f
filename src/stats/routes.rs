//! What the statements of each route did, by database and user, and which took the most of its time. Bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use hdrhistogram::Histogram;
use rustc_hash::FxBuildHasher;

use super::queries::{Event, Outcome};
use super::record::Owner;
use super::said::{MOST_ROUTES, RouteId};
use super::spread::Spread;
use super::window::{Minute, Recent, Totals, Window};
use crate::sql::fingerprint::Fingerprint;
use crate::sql::query::About;

/// Routes of all databases and users that are told apart, up to 8 KB each; those beyond are not counted here.
const MOST_RECORDS: usize = 2 * MOST_ROUTES;

/// Longest time that is told from longer ones: an hour, in microseconds.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Statements of a route that are named.
pub const MOST_STATEMENTS: usize = 20;

/// Routes of a statement that are named.
pub const MOST_OF_STATEMENT: usize = 8;

/// How far a percentile may be off, as a share of it.
pub const ROUTE_ERROR: f64 = 0.01;

/// What the statements of one route did.
#[derive(Clone, Debug)]
pub struct RouteRecord {
    /// Which.
    pub route: RouteId,
    /// Whose.
    pub owner: Arc<Owner>,
    /// Statements that ran to an end.
    pub calls: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// Rows that they returned or changed.
    pub rows: u64,
    /// Time that they ran, microseconds.
    pub total_micros: u64,
    /// The longest, microseconds.
    pub max_micros: u64,
    /// Time that clients waited for a server, microseconds.
    pub wait_micros: u64,
    /// When one was seen last, to a fraction of a second.
    pub last_seen: SystemTime,
    /// Those that took the most time.
    pub statements: Vec<RouteStatement>,
    times: Histogram<u32>,
    recent: Recent,
}

/// What a statement did on a route. Where a route has more than [`MOST_STATEMENTS`], those that come late count what
/// went for them too.
#[derive(Clone, Debug)]
pub struct RouteStatement {
    /// Which.
    pub about: Arc<About>,
    /// How often it ran.
    pub calls: u64,
    /// Time that it ran, microseconds.
    pub total_micros: u64,
}

/// How often a statement ran on each of its routes: the eight where it did most (space-saving counters: one that came
/// late may count what went for it too).
#[derive(Clone, Debug, Default)]
pub struct TopRoutes {
    counts: Vec<(RouteId, u64)>,
}

/// All routes.
#[derive(Debug, Default)]
pub(super) struct Routes {
    records: HashMap<(u32, RouteId), RouteRecord, FxBuildHasher>,
}

impl RouteRecord {
    fn new(route: RouteId, owner: &Arc<Owner>, wall: SystemTime) -> Self {
        let mut times = Histogram::new(2).expect("two digits are within hdrhistogram's limits");
        // It grows as far as the times that there are need.
        times.auto(true);
        Self {
            route,
            owner: Arc::clone(owner),
            calls: 0,
            errors: 0,
            rows: 0,
            total_micros: 0,
            max_micros: 0,
            wait_micros: 0,
            last_seen: wall,
            statements: Vec::new(),
            times,
            recent: Recent::default(),
        }
    }

    /// What it sums up to in a window that ends now.
    #[must_use]
    pub fn totals(&self, window: Window, now: SystemTime) -> Totals {
        match window {
            Window::All => Totals {
                calls: self.calls,
                failed: self.errors,
                rows: self.rows,
                total_micros: self.total_micros,
                max_micros: self.max_micros,
                wait_micros: self.wait_micros,
            },
            Window::Minutes(minutes) => self.recent.totals(minutes, Minute::of(now)),
        }
    }

    /// How its times are spread; in a window, over its last five to ten minutes, and less exactly.
    #[must_use]
    pub fn spread(&self, window: Window, now: SystemTime) -> Spread {
        match window {
            Window::All => self.all_times(),
            Window::Minutes(_) => self.recent.spread(Minute::of(now)),
        }
    }

    fn all_times(&self) -> Spread {
        let recorded = self.times.iter_recorded();
        Spread::new(recorded.map(|v| (v.value_iterated_to(), u64::from(v.count_at_value()))))
    }

    fn note(&mut self, event: &Event, about: &Arc<About>, wall: SystemTime) {
        let micros = event.nanos / 1_000;
        self.last_seen = wall;
        self.recent.note(event, wall);
        self.total_micros += micros;
        self.wait_micros += event.waited / 1_000;
        let calls = match event.outcome {
            Outcome::Complete { rows } => {
                self.rows += rows;
                1
            }
            Outcome::Failed(_) => {
                self.errors += 1;
                1
            }
            Outcome::Suspended { rows } => {
                self.rows += rows;
                0
            }
        };
        self.calls += calls;
        if calls > 0 {
            self.max_micros = self.max_micros.max(micros);
            // It grows with them, up to the longest; an error says that it cannot.
            self.times.record(micros.clamp(1, LONGEST_MICROS)).unwrap_or(());
        }
        self.statement(about).add(calls, micros);
    }

    fn statement(&mut self, about: &Arc<About>) -> &mut RouteStatement {
        let hash = about.fingerprint;
        let at = match self.statements.iter().position(|s| s.about.fingerprint == hash) {
            Some(at) => at,
            None if self.statements.len() < MOST_STATEMENTS => {
                let about = Arc::clone(about);
                self.statements.push(RouteStatement { about, calls: 0, total_micros: 0 });
                self.statements.len() - 1
            }
            None => {
                let all = self.statements.iter().enumerate();
                let least = all.min_by_key(|(_, s)| s.total_micros).map_or(0, |(at, _)| at);
                self.statements[least].about = Arc::clone(about);
                least
            }
        };
        &mut self.statements[at]
    }
}

impl RouteStatement {
    fn add(&mut self, calls: u64, micros: u64) {
        self.calls += calls;
        self.total_micros += micros;
    }
}

impl TopRoutes {
    /// It ran once more.
    pub fn note(&mut self, route: RouteId) {
        if let Some((_, count)) = self.counts.iter_mut().find(|(known, _)| *known == route) {
            *count += 1;
        } else if self.counts.len() < MOST_OF_STATEMENT {
            self.counts.push((route, 1));
        } else if let Some(least) = self.counts.iter_mut().min_by_key(|(_, count)| *count) {
            *least = (route, least.1 + 1);
        }
    }

    /// What another has counted is added.
    pub fn absorb(&mut self, other: &Self) {
        for (route, calls) in &other.counts {
            match self.counts.iter_mut().find(|(known, _)| known == route) {
                Some((_, count)) => *count += calls,
                None => self.counts.push((*route, *calls)),
            }
        }
        self.counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        self.counts.truncate(MOST_OF_STATEMENT);
    }

    /// Those with the most calls first.
    #[must_use]
    pub fn sorted(&self) -> Vec<(RouteId, u64)> {
        let mut counts = self.counts.clone();
        counts.sort_by_key(|(route, count)| (std::cmp::Reverse(*count), *route));
        counts
    }

    /// Is it among them?
    #[must_use]
    pub fn holds(&self, route: RouteId) -> bool {
        self.counts.iter().any(|(known, _)| *known == route)
    }
}

impl Routes {
    /// One more statement, of the pool with this number.
    pub(super) fn note(
        &mut self,
        (owner, pool): (&Arc<Owner>, u32),
        event: &Event,
        wall: SystemTime,
    ) {
        let Some(about) = event.about() else { return };
        let key = (pool, event.place.route);
        let room = self.records.len() < MOST_RECORDS;
        if let Some(record) = self.records.get_mut(&key) {
            record.note(event, about, wall);
        } else if room {
            let mut record = RouteRecord::new(event.place.route, owner, wall);
            record.note(event, about, wall);
            self.records.insert(key, record);
        }
    }

    /// Forgets those of the owners that `owns` says, and gives how many those were; or only that a statement was among
    /// theirs.
    pub(super) fn forget(
        &mut self,
        fingerprint: Option<Fingerprint>,
        owns: impl Fn(&Owner) -> bool,
    ) -> usize {
        let before = self.records.len();
        match fingerprint {
            None => self.records.retain(|_, record| !owns(&record.owner)),
            Some(wanted) => {
                for record in self.records.values_mut().filter(|record| owns(&record.owner)) {
                    record.statements.retain(|known| known.about.fingerprint != wanted);
                }
            }
        }
        before - self.records.len()
    }

    /// All of them.
    pub(super) fn each(&self) -> impl Iterator<Item = &RouteRecord> {
        self.records.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_routes_of_a_statement_stay() {
        let sayings = super::super::said::Sayings::default();
        let routes: Vec<_> = (0..20).map(|n| sayings.route(&format!("/{n}"))).collect();
        let mut top = TopRoutes::default();
        for round in 0..100 {
            top.note(routes[0]);
            top.note(routes[1]);
            top.note(routes[2 + round % 18]);
        }
        let sorted = top.sorted();
        assert_eq!(sorted.len(), MOST_OF_STATEMENT);
        assert!(top.holds(routes[0]) && top.holds(routes[1]));
        assert_eq!(sorted[0].1, 100);
        assert_eq!(sorted.iter().map(|(_, count)| count).sum::<u64>(), 300);
        let mut sum = top.clone();
        sum.absorb(&top);
        assert_eq!((sum.sorted().len(), sum.sorted()[0].1), (MOST_OF_STATEMENT, 200));
    }

    #[test]
    fn times_of_a_route_are_exact_to_a_hundredth() {
        use super::super::ledger::Ledger;
        use super::super::queries::{Manner, Place, QueryLog, Run};
        use super::super::sums::Room;
        let owner = Owner { database: "shop".into(), user: "app".into() };
        let log = QueryLog::new(
            owner.clone(),
            Arc::new(Ledger::new(
                Room { most: 10, bytes: usize::MAX },
                crate::stats::slow::Thresholds::default(),
            )),
            1,
        );
        let Run { query, .. } = log.run(b"SELECT 1 FROM t");
        let mut record = RouteRecord::new(RouteId::NONE, &Arc::new(owner), SystemTime::UNIX_EPOCH);
        for micros in [100, 20_000, 3_000_000, 7_200_000_000] {
            let run = Run {
                query: Arc::clone(&query),
                said: None,
                values: 0,
                kept: None,
                manner: Manner::Simple,
            };
            let (outcome, place) = (Outcome::Complete { rows: 2 }, Place::default());
            let event = Event {
                run,
                part: 0,
                nanos: micros * 1_000,
                first_row: None,
                bytes: 0,
                waited: 0,
                outcome,
                place,
            };
            let about = Arc::clone(event.about().unwrap());
            record.note(&event, &about, SystemTime::UNIX_EPOCH);
        }
        let spread = record.spread(Window::All, SystemTime::UNIX_EPOCH);
        for (share, micros) in
            [(0.25, 100), (0.5, 20_000), (0.75, 3_000_000), (1.0, LONGEST_MICROS)]
        {
            let near = spread.quantile_micros(share).abs_diff(micros) as f64;
            assert!(near <= micros as f64 * ROUTE_ERROR, "{share}: {near}");
        }
        assert_eq!((record.calls, record.rows, record.max_micros), (4, 8, 7_200_000_000));
        assert_eq!(record.statements.len(), 1);
        let hour = Window::Minutes(60);
        let totals = |minutes: u64| {
            record
                .totals(hour, SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(60 * minutes))
        };
        assert_eq!((totals(59).calls, totals(60).calls), (4, 0));
    }
}
