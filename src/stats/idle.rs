//! Time that transactions were open while their client asked nothing: by route and by the statement before the
//! pause, and how the pauses of each pool are spread. Bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use hdrhistogram::Histogram;
use rustc_hash::FxBuildHasher;

use super::record::Owner;
use super::said::RouteId;
use super::spread::Spread;
use super::work::Pause;
use crate::sql::query::About;

/// Places that are told apart; of more, those that took the least time go.
const MOST_PLACES: usize = 1_000;

/// How many of them go at once, so that looking for them is rare.
const GOING: usize = 50;

/// Pools whose pauses are spread; as many as there are histograms of 2 KB.
const MOST_POOLS: usize = 1_000;

/// The longest pause that is told from longer ones: a day, in microseconds.
const LONGEST_MICROS: u64 = 24 * 3_600_000_000;

/// Where clients pause.
#[derive(Clone, Debug)]
pub struct Pauses {
    /// Whose transactions they are.
    pub owner: Arc<Owner>,
    /// The route, or the application.
    pub route: RouteId,
    /// The statement before.
    pub about: Arc<About>,
    /// How many there were.
    pub count: u64,
    /// Altogether, microseconds.
    pub total_micros: u64,
    /// The longest, microseconds.
    pub max_micros: u64,
    /// The last, to a fraction of a second.
    pub last_seen: SystemTime,
}

/// All pauses.
#[derive(Debug, Default)]
pub(super) struct Idle {
    places: HashMap<(u32, RouteId, u64), Pauses, FxBuildHasher>,
    pools: HashMap<u32, Pool, FxBuildHasher>,
}

#[derive(Debug)]
struct Pool {
    owner: Arc<Owner>,
    times: Histogram<u32>,
    total_micros: u64,
}

impl Idle {
    /// One more, of the pool with this number.
    pub(super) fn note(&mut self, pool: u32, pause: Pause, wall: SystemTime) {
        let micros = pause.micros;
        if !self.pools.contains_key(&pool) && self.pools.len() < MOST_POOLS {
            let times = Histogram::new_with_bounds(1, LONGEST_MICROS, 1)
                .expect("bounds and digits are constants within hdrhistogram's limits");
            let owner = Arc::clone(&pause.owner);
            self.pools.insert(pool, Pool { owner, times, total_micros: 0 });
        }
        if let Some(pool) = self.pools.get_mut(&pool) {
            pool.times.saturating_record(micros.max(1));
            pool.total_micros += micros;
        }
        let key = (pool, pause.route, pause.about.fingerprint.0);
        if !self.places.contains_key(&key) {
            self.make_room();
        }
        let pauses = self.places.entry(key).or_insert_with(|| Pauses {
            owner: pause.owner,
            route: pause.route,
            about: pause.about,
            count: 0,
            total_micros: 0,
            max_micros: 0,
            last_seen: wall,
        });
        pauses.count += 1;
        pauses.total_micros += micros;
        pauses.max_micros = pauses.max_micros.max(micros);
        pauses.last_seen = wall;
    }

    fn make_room(&mut self) {
        if self.places.len() < MOST_PLACES {
            return;
        }
        let mut all: Vec<_> = self.places.iter().map(|(key, p)| (p.total_micros, *key)).collect();
        all.select_nth_unstable(GOING);
        for (_, key) in all.into_iter().take(GOING) {
            self.places.remove(&key);
        }
    }

    /// Forgets the places that `which` says, and gives how many those were.
    pub(super) fn forget(&mut self, which: impl Fn(&Pauses) -> bool) -> usize {
        let before = self.places.len();
        self.places.retain(|_, pauses| !which(pauses));
        before - self.places.len()
    }

    /// Where there were any.
    pub(super) fn places(&self) -> impl Iterator<Item = &Pauses> {
        self.places.values()
    }

    /// How they are spread, by pool, and their sum in microseconds.
    pub(super) fn spreads(&self) -> impl Iterator<Item = (&Arc<Owner>, Spread, u64)> {
        self.pools.values().map(|pool| {
            let recorded = pool.times.iter_recorded();
            let values = recorded.map(|v| (v.value_iterated_to(), u64::from(v.count_at_value())));
            (&pool.owner, Spread::new(values), pool.total_micros)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::fingerprint::Fingerprinter;
    use crate::sql::query::read_parts;

    fn about(sql: &str) -> Arc<About> {
        let mut fingerprinter = Fingerprinter::default();
        let mut parts = Vec::new();
        read_parts(sql.as_bytes(), &mut fingerprinter, &mut parts, |s| Arc::new(About::new(s)));
        parts.remove(0).about
    }

    fn pause(about: &Arc<About>, micros: u64) -> Pause {
        let owner = Arc::new(Owner { database: "shop".into(), user: "app".into() });
        Pause { owner, route: RouteId::NONE, about: Arc::clone(about), micros }
    }

    #[test]
    fn pauses_add_up_by_the_statement_before() {
        let mut idle = Idle::default();
        let select = about("SELECT * FROM t");
        for micros in [10, 30, 20] {
            idle.note(1, pause(&select, micros), SystemTime::UNIX_EPOCH);
        }
        let places: Vec<_> = idle.places().collect();
        assert_eq!(places.len(), 1);
        let sums = (places[0].count, places[0].total_micros, places[0].max_micros);
        assert_eq!(sums, (3, 60, 30));
        let spread = idle.spreads().next().unwrap().1;
        assert_eq!(spread.quantile_micros(1.0), 30);
    }

    #[test]
    fn of_too_many_places_the_least_go() {
        let mut idle = Idle::default();
        let statements = 1..=MOST_PLACES as u64 + 1;
        for n in statements {
            idle.note(1, pause(&about(&format!("SELECT c{n}")), n), SystemTime::UNIX_EPOCH);
        }
        assert_eq!(idle.places().count(), MOST_PLACES + 1 - GOING);
        assert_eq!(idle.places().map(|p| p.total_micros).min(), Some(GOING as u64 + 1));
    }
}
