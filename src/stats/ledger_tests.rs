//! Tests of the ledger: sums, what goes when there is no room, what a flood does.

use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::protocol::sqlstate::SqlState;
use crate::stats::queries::{Block, Manner, Outcome, Place, QueryLog, Run, Times, Watched};
use crate::stats::slow::Thresholds;
use crate::stats::sums::{FLOOD, MOST_TRACKED};
use crate::stats::window::{Totals, Window};

struct Counted {
    ledger: Arc<Ledger>,
    log: QueryLog,
}

fn counted(most: usize) -> Counted {
    let ledger = Arc::new(Ledger::new(Room { most, bytes: usize::MAX }, slow_from(1_500)));
    let owner = Owner { database: "shop".into(), user: "app".into() };
    let log = QueryLog::new(owner, Arc::clone(&ledger), 1);
    Counted { ledger, log }
}

fn times(ended: u64) -> Times {
    Times { sent: 0, began: 0, ended }
}

fn slow_from(micros: u64) -> Thresholds {
    Thresholds { others: Some(Duration::from_micros(micros)), ..Thresholds::default() }
}

impl Counted {
    /// Runs a text whose statements end so, each a millisecond after the one before.
    fn run(&self, sql: &str, outcomes: &[Outcome]) {
        let mut watched = Watched::new(self.log.run(sql.as_bytes()), 5_000_000);
        for (at, outcome) in outcomes.iter().enumerate() {
            let now = 1_000_000 * (at as u64 + 1);
            if let Some(event) = watched.end(*outcome, times(now), Place::default(), 0) {
                self.log.note(event);
            }
        }
    }

    fn records(&self) -> Vec<Record> {
        self.log.flush();
        self.ledger.add_up();
        let mut records = Vec::new();
        self.ledger.each(|record| records.push(record.clone()));
        records.sort_by_key(|record| record.about.as_ref().map(|about| about.text.clone()));
        records
    }
}

const ONE_ROW: Outcome = Outcome::Complete { rows: 1 };

#[test]
fn statements_that_differ_in_values_add_up_to_one() {
    let counted = counted(10);
    counted.run("select * from t where id in (1, 2)", &[ONE_ROW]);
    counted.run("SELECT * FROM t WHERE id IN (3, 4, 5)", &[Outcome::Complete { rows: 3 }]);
    let code = SqlState::QUERY_CANCELED;
    counted.run("select * from t where id in (6)", &[Outcome::Failed(code)]);
    let [record] = &counted.records()[..] else { panic!("one record") };
    assert_eq!((record.calls, record.rows, record.failed()), (3, 4, 1));
    assert_eq!((record.total_micros, record.min_micros, record.max_micros), (3_000, 1_000, 1_000));
    assert_eq!((record.wait_micros, record.max_wait_micros, record.max_list), (15_000, 5_000, 3));
    assert_eq!(record.errors, [(code, 1)]);
    assert_eq!(record.spread(Window::All, SystemTime::now()).count(), 3);
}

#[test]
fn each_statement_of_a_text_is_charged_from_the_end_of_the_one_before() {
    let counted = counted(10);
    counted.run("select 1; select a from t; select 2", &[ONE_ROW, Outcome::Complete { rows: 9 }]);
    let records = counted.records();
    let seen: Vec<_> = records.iter().map(|r| (r.calls, r.rows, r.total_micros)).collect();
    assert_eq!(seen, [(1, 1, 1_000), (1, 9, 1_000)]);
    // Only the first can have waited for a server.
    assert_eq!(records.iter().map(|r| r.wait_micros).sum::<u64>(), 5_000);
}

#[test]
fn what_follows_an_error_in_a_text_is_not_counted() {
    let counted = counted(10);
    counted.run("select a; select b", &[Outcome::Failed(SqlState::INTERNAL_ERROR), ONE_ROW]);
    assert_eq!(counted.records().len(), 1);
}

#[test]
fn a_suspended_portal_is_one_call_with_all_its_rows() {
    let counted = counted(10);
    counted.run("select a from t", &[Outcome::Suspended { rows: 50 }]);
    counted.run("select a from t", &[Outcome::Complete { rows: 7 }]);
    let [record] = &counted.records()[..] else { panic!("one record") };
    assert_eq!((record.calls, record.rows, record.total_micros), (1, 57, 2_000));
}

#[test]
fn without_room_the_least_used_are_summed_up_as_others() {
    let counted = counted(20);
    for _ in 0..3 {
        counted.run("select much from t", &[ONE_ROW]);
    }
    for column in 0..40 {
        counted.run(&format!("select c{column} from t"), &[ONE_ROW]);
    }
    let records = counted.records();
    let calls: u64 = records.iter().map(|record| record.calls).sum();
    assert_eq!((records.len(), calls), (21, 43));
    let other = records.iter().find(|record| record.about.is_none()).unwrap();
    assert_eq!(other.calls, 21);
    assert!(records.iter().any(|record| record.calls == 3), "what is used most stays");
    let state = counted.ledger.state();
    assert_eq!((state.tracked, state.evictions, state.dropped), (20, 21, 0));
}

#[test]
fn a_flood_of_new_statements_is_not_told_apart() {
    let counted = counted(MOST_TRACKED);
    for column in 0..2 * FLOOD {
        counted.run(&format!("select c{column} from t"), &[ONE_ROW]);
    }
    let records = counted.records();
    assert_eq!(records.len(), FLOOD as usize + 1);
    assert_eq!(records.iter().map(|record| record.calls).sum::<u64>(), u64::from(2 * FLOOD));
}

#[test]
fn events_that_nobody_adds_up_are_dropped_and_counted() {
    let counted = counted(10);
    for _ in 0..MOST_WAITING {
        counted.run("select 1", &[ONE_ROW]);
    }
    counted.log.flush();
    assert_eq!(counted.ledger.state().dropped, 0);
    for _ in 0..5 {
        counted.run("select 1", &[ONE_ROW]);
    }
    counted.log.flush();
    assert_eq!(counted.ledger.state().dropped, 5);
    assert_eq!(counted.records()[0].calls, MOST_WAITING as u64);
}

#[test]
fn what_is_forgotten_begins_anew() {
    let counted = counted(10);
    counted.run("select a", &[ONE_ROW]);
    counted.run("select b", &[ONE_ROW]);
    assert_eq!(counted.records().len(), 2);
    let fingerprint = |text: &str| {
        let records = counted.records();
        let mut abouts = records.iter().filter_map(|record| record.about.clone());
        abouts.find(|about| &*about.text == text).unwrap().fingerprint
    };
    let a = Some(fingerprint("select a"));
    let route = || counted.ledger.insight.lock().routes().map(|r| r.statements.len()).collect();
    let forget = |fingerprint, yes| {
        let Forgotten { statements, routes, .. } = counted.ledger.forget(fingerprint, |_| yes);
        (statements, routes)
    };
    assert_eq!((forget(a, false), route()), ((0, 0), vec![2]));
    assert_eq!((forget(a, true), route()), ((1, 0), vec![1]));
    assert_eq!(counted.records().len(), 1);
    assert_eq!((forget(None, true), route()), ((1, 1), vec![]));
}

#[test]
fn what_takes_long_is_kept_one_by_one_and_told_once() {
    let counted = counted(10);
    counted.run("select quick", &[ONE_ROW]);
    for at in [2_000_000, 3_000_000] {
        let mut watched = Watched::new(counted.log.run(b"select slow where a = 1"), 0);
        counted.log.note(watched.end(ONE_ROW, times(at), Place::default(), 0).unwrap());
    }
    counted.records();
    let mut seen = Vec::new();
    counted.ledger.each_slow(|slow| seen.push((slow.about.text.to_string(), slow.micros)));
    let text = "select slow where a = $1".to_owned();
    assert_eq!(seen, [(text.clone(), 3_000), (text, 2_000)]);
    assert_eq!(counted.ledger.take_unlogged().len(), 2);
    assert_eq!(counted.ledger.take_unlogged().len(), 0);
}

/// One call of a statement, so long and of so many bytes.
fn call(counted: &Counted, sql: &str, nanos: u64, place: Place, bytes: u64) {
    let run = Run { manner: Manner::Extended, ..counted.log.run(sql.as_bytes()) };
    let mut watched = Watched::new(run, 0);
    watched.count_rows(1, bytes, 400_000);
    counted.log.note(watched.end(ONE_ROW, times(nanos), place, 0).unwrap());
}

#[test]
fn a_client_that_does_not_read_does_not_make_its_query_slow() {
    let counted = counted(10);
    let slow = Place { blocked: 8_000_000, block: Block::Open, ..Place::default() };
    call(&counted, "select a", 9_000_000, slow, 70_000);
    call(&counted, "select a", 1_000_000, Place::default(), 30);
    let [record] = &counted.records()[..] else { panic!("one record") };
    assert_eq!((record.calls, record.total_micros, record.max_micros), (2, 2_000, 1_000));
    assert_eq!((record.blocked_micros, record.max_blocked_micros), (8_000, 8_000));
    assert_eq!((record.bytes_out, record.first_rows), (70_030, (2, 800)));
    assert_eq!((record.extended_calls, record.in_transaction_calls), (2, 1));
}

#[test]
fn a_window_holds_what_came_in_it_and_nothing_else() {
    let counted = counted(10);
    let clock = Instant::now();
    // A span of five minutes begins with it.
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(5_000 * 300);
    let at = |minutes: u64| begin + Duration::from_secs(60 * minutes + 1);
    for (minute, micros) in [(0, 100), (4, 200), (5, 400), (9, 800), (62, 1_600)] {
        call(&counted, "select a", micros * 1_000, Place::default(), 1);
        counted.log.flush();
        counted.ledger.add_up_at(clock, at(minute));
    }
    let look = |minutes, now| {
        let mut seen = (0, 0, 0);
        counted.ledger.each(|record| {
            let window = Window::Minutes(minutes);
            let totals = record.totals(window, at(now));
            seen = (totals.calls, totals.total_micros, record.spread(window, at(now)).count());
        });
        seen
    };
    assert_eq!(look(1, 62), (1, 1_600, 1));
    assert_eq!(look(60, 62), (4, 3_000, 1), "the first is 62 minutes old");
    assert_eq!(look(60, 66), (2, 2_400, 1));
    assert_eq!(look(60, 70), (1, 1_600, 0), "its histogram is too old");
    assert_eq!(look(5, 70), (0, 0, 0));
    let mut all = Totals::default();
    counted.ledger.each(|record| all = record.totals(Window::All, at(70)));
    assert_eq!((all.calls, all.max_micros), (5, 1_600));
}

#[test]
fn a_window_goes_on_with_the_histogram_before() {
    let counted = counted(10);
    let clock = Instant::now();
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(5_000 * 300);
    let at = |minutes: u64| begin + Duration::from_secs(60 * minutes);
    for minute in [4, 5] {
        call(&counted, "select a", 1_000, Place::default(), 1);
        counted.log.flush();
        counted.ledger.add_up_at(clock, at(minute));
    }
    let counts = |now| {
        let mut count = 0;
        counted.ledger.each(|r| count = r.spread(Window::Minutes(5), at(now)).count());
        count
    };
    assert_eq!([counts(5), counts(9), counts(10), counts(15)], [2, 2, 1, 0]);
    // Nothing came since, and it is tidied once a minute.
    for minute in 6..12 {
        counted.ledger.add_up_at(clock, at(minute));
    }
    assert_eq!([counts(12), counts(15)], [1, 0]);
}

#[test]
fn the_slowest_and_the_newest_calls_are_kept() {
    let counted = counted(10);
    for millis in [5, 1, 9, 7, 2, 3] {
        call(&counted, "select a", millis * 1_000_000, Place::default(), 1);
    }
    let [record] = &counted.records()[..] else { panic!("one record") };
    let slowest: Vec<_> = record.slowest().map(|sample| sample.micros / 1_000).collect();
    let newest: Vec<_> = record.newest().map(|sample| sample.micros / 1_000).collect();
    assert_eq!((slowest, newest), (vec![9, 7, 5], vec![3, 2, 7]));
}

#[test]
fn little_memory_holds_fewer_fingerprints() {
    let counted = counted(MOST_TRACKED);
    let log = &counted.log;
    let tight = Ledger::new(Room { most: MOST_TRACKED, bytes: 200_000 }, Thresholds::default());
    let owner = Arc::new(Owner { database: "shop".into(), user: "app".into() });
    for column in 0..500 {
        let query = log.run(format!("select c{column} from t").as_bytes());
        let mut watched = Watched::new(query, 0);
        let events = vec![watched.end(ONE_ROW, times(1_000), Place::default(), 0).unwrap()];
        tight.hand_over(Batch::new(&owner, events, Vec::new()));
        tight.add_up();
        assert!(tight.state().bytes <= 200_000, "{:?}", tight.state());
    }
    let state = tight.state();
    assert!(state.tracked >= 30 && state.tracked < 300, "{state:?}");
    assert_eq!(state.tracked as u64 + state.evictions, 500);
}

#[test]
fn how_long_is_slow_is_each_databases_own_and_can_change() {
    let counted = counted(10);
    let of = |database: &str, limit| HashMap::from([(database.into(), limit)]);
    let kept = |named: HashMap<Box<str>, Option<Duration>>| {
        let others = Some(Duration::from_micros(500));
        counted.ledger.look_for_slow(Thresholds { named, others });
        counted.run("select a", &[ONE_ROW]);
        counted.records();
        counted.ledger.take_unlogged().len()
    };
    assert_eq!(kept(HashMap::new()), 1, "a millisecond is more than half of one");
    assert_eq!(kept(of("shop", Some(Duration::from_millis(2)))), 0);
    assert_eq!(kept(of("shop", None)), 0);
    assert_eq!(kept(of("crm", None)), 1, "another database's is not ours");
}

#[test]
fn values_that_wait_are_bounded_and_the_sums_go_on() {
    let counted = counted(10);
    counted.ledger.keep(Keep::All);
    let sql = format!("select '{}'", "x".repeat(3_000));
    for _ in 0..40 {
        // More than may be kept between two handings over.
        (0..600).for_each(|_| counted.run(&sql, &[ONE_ROW]));
        counted.log.flush();
    }
    let kept: usize = counted.ledger.inbox.lock().batches.iter().map(Batch::values).sum();
    assert!((MOST_VALUES / 2..=MOST_VALUES).contains(&kept), "{kept}");
    let [record] = &counted.records()[..] else { panic!("one record") };
    assert_eq!(record.calls, 40 * 600);
    counted.ledger.keep(Keep::Nothing);
    counted.run(&sql, &[ONE_ROW]);
    let [record] = &counted.records()[..] else { panic!("one record") };
    assert_eq!(record.newest().next().map(|sample| sample.kept.is_some()), Some(false));
}

#[test]
fn what_is_not_told_apart_gets_smaller_when_its_values_do() {
    let counted = counted(MOST_TRACKED);
    counted.ledger.keep(Keep::All);
    (0..FLOOD).for_each(|n| counted.run(&format!("select a{n}"), &[ONE_ROW]));
    let long = format!("'{}'", "x".repeat(1_500));
    for (n, value) in ["1", "1", "1", &long, "1", "1", "1"].into_iter().enumerate() {
        counted.run(&format!("select b{n}, {value}"), &[ONE_ROW]);
    }
    let records = counted.records();
    assert_eq!(records.len(), FLOOD as usize + 1);
    let bytes: usize = records.iter().map(Record::bytes).sum();
    assert!(bytes <= counted.ledger.state().bytes, "{bytes}");
}

#[test]
fn values_of_what_has_no_plan_are_not_kept() {
    let counted = counted(10);
    counted.ledger.keep(Keep::All);
    counted.run("alter role ann password 'pw'; select 'x'", &[ONE_ROW, ONE_ROW]);
    let records = counted.records();
    let kept: Vec<_> =
        records.iter().flat_map(Record::newest).map(|sample| sample.kept.is_some()).collect();
    assert_eq!(kept, [false, true]);
}

#[test]
fn values_go_when_they_are_not_to_be_kept_any_more() {
    let counted = counted(10);
    counted.ledger.look_for_slow(slow_from(1));
    let kept = || {
        let mut slow = 0;
        let samples =
            counted.records().iter().flat_map(Record::newest).filter(|s| s.kept.is_some()).count();
        counted.ledger.each_slow(|one| slow += usize::from(one.kept.is_some()));
        (samples, slow)
    };
    counted.ledger.keep(Keep::All);
    counted.run("select 'a'", &[ONE_ROW]);
    assert_eq!(kept(), (1, 1));
    let before = counted.ledger.state().bytes;
    counted.run("select 'on its way'", &[ONE_ROW]);
    counted.ledger.keep(Keep::Hash);
    assert!(counted.ledger.state().bytes < before);
    assert_eq!(kept(), (0, 0));
    counted.ledger.keep(Keep::All);
    assert_eq!(kept(), (0, 0));
}
