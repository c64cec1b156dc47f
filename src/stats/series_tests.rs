//! Tests of the series: which fingerprints are shown, and that nothing that was counted goes back.

use super::*;
use crate::stats::ledger::Ledger;
use crate::stats::queries::{Place, QueryLog, Times, Watched};
use crate::stats::slow::Thresholds;
use crate::stats::sums::Room;

const HOUR: Duration = Duration::from_secs(3_600);

/// The ledger keeps the records by which it is decided; the series are looked at by themselves.
struct Counted {
    ledger: Arc<Ledger>,
    log: QueryLog,
    owner: Owner,
    series: Series,
}

fn counted(most: usize) -> Counted {
    let ledger =
        Arc::new(Ledger::new(Room { most: 100, bytes: usize::MAX }, Thresholds::default()));
    let owner = Owner { database: "shop".into(), user: "app".into() };
    let log = QueryLog::new(owner.clone(), Arc::clone(&ledger), 1);
    Counted { ledger, log, owner, series: Series::new(most) }
}

impl Counted {
    fn run(&mut self, sql: &str, millis: u64, outcome: Outcome) {
        let times = Times { sent: 0, began: 0, ended: millis * 1_000_000 };
        let event = || {
            let mut watched = Watched::new(self.log.run(sql.as_bytes()), 0);
            watched.end(outcome, times, Place::default(), 0)
        };
        self.log.note(event().unwrap());
        let events = [event().unwrap()];
        self.series.note(7, &self.owner, &events);
    }

    fn revise(&mut self, now: Instant) {
        self.log.flush();
        self.ledger.add_up();
        let mut records = Vec::new();
        self.ledger.each(|record| records.push(record.clone()));
        self.series.revise(records.iter(), now);
    }

    /// Summary and calls of what is shown, the rest without summary.
    fn shown(&self) -> Vec<(String, u64)> {
        let owners = HashMap::from([(Arc::new(self.owner.clone()), 7)]);
        let mut shown: Vec<_> = self.series.seen(&owners).shown;
        shown.sort_by(|a, b| a.summary.cmp(&b.summary));
        shown.into_iter().map(|one| (one.summary.to_string(), one.sum.calls)).collect()
    }
}

const ONE_ROW: Outcome = Outcome::Complete { rows: 1 };

fn row(summary: &str, calls: u64) -> (String, u64) {
    (summary.to_owned(), calls)
}

#[test]
fn what_takes_the_most_time_is_shown_from_then_on_and_the_rest_never_shrinks() {
    let start = Instant::now();
    let mut counted = counted(1);
    counted.run("SELECT * FROM a", 5, ONE_ROW);
    counted.run("SELECT * FROM b", 9, ONE_ROW);
    assert_eq!(counted.shown(), [row("", 2)]);
    assert!(counted.series.is_due(start));
    counted.revise(start);
    assert!(!counted.series.is_due(start) && counted.series.is_due(start + REVISION));
    counted.run("SELECT * FROM a", 5, ONE_ROW);
    counted.run("SELECT * FROM b", 9, ONE_ROW);
    assert_eq!(counted.shown(), [row("", 3), row("SELECT b", 1)]);
}

#[test]
fn one_that_falls_back_stays_for_an_hour_if_there_is_room() {
    let start = Instant::now();
    let mut counted = counted(1);
    counted.run("SELECT * FROM a", 10, ONE_ROW);
    counted.revise(start);
    counted.run("SELECT * FROM b", 20, ONE_ROW);
    counted.revise(start + HOUR / 2);
    assert_eq!(counted.shown(), [row("", 2), row("SELECT a", 0), row("SELECT b", 0)]);
    counted.run("SELECT * FROM c", 30, ONE_ROW);
    counted.revise(start + HOUR / 2 + REVISION);
    assert_eq!(
        counted.shown(),
        [row("", 3), row("SELECT b", 0), row("SELECT c", 0)],
        "two at most"
    );
    counted.revise(start + HOUR * 2);
    assert_eq!(counted.shown(), [row("", 3), row("SELECT c", 0)]);
}

#[test]
fn times_are_counted_by_kind() {
    let mut counted = counted(0);
    counted.run("SELECT 1", 1, ONE_ROW);
    counted.run("SELECT 2", 40_000, ONE_ROW);
    counted.run("UPDATE t SET a = 1", 3, ONE_ROW);
    counted.run("SELECT 3", 3, Outcome::Suspended { rows: 5 });
    assert!(counted.shown().is_empty() && !counted.series.is_due(Instant::now() + HOUR));
    let owner = Arc::new(counted.owner.clone());
    let seen = counted.series.seen(&HashMap::from([(Arc::clone(&owner), 7)]));
    let [(Kind::Select, selects), (Kind::Update, updates)] = &seen.kinds[&owner][..] else {
        panic!("{seen:?}")
    };
    assert_eq!((selects.count(), selects.total_micros()), (2, 40_001_000));
    let cumulative: Vec<_> = selects.cumulative().collect();
    assert_eq!(cumulative[2..4], [0, 1], "1 ms is within the bucket of 1 ms");
    assert_eq!(cumulative[BUCKETS.len() - 1], 1, "40 s is above all");
    assert_eq!(updates.cumulative().collect::<Vec<_>>()[3..5], [0, 0]);
    counted.series.retain(|owner| owner != 7);
    assert!(counted.series.seen(&HashMap::from([(owner, 7)])).kinds.is_empty());
}

#[test]
fn names_of_databases_without_end_are_bounded() {
    let mut counted = counted(1);
    for n in 0..MOST_DATABASES + 10 {
        counted.owner.database = format!("db{n}").into();
        counted.run("SELECT 1", 1, ONE_ROW);
    }
    assert_eq!(counted.shown().len(), MOST_DATABASES);
}
