//! Tests of the ledger: sums, what goes when there is no room, what a flood does.

use super::*;
use crate::protocol::sqlstate::SqlState;
use crate::stats::queries::{Outcome, Place, QueryLog, Times, Watched};
use crate::stats::sums::{FLOOD, MOST_TRACKED};

struct Counted {
    ledger: Arc<Ledger>,
    log: QueryLog,
}

fn counted(most: usize) -> Counted {
    let ledger = Arc::new(Ledger::new(most, Some(Duration::from_micros(1_500))));
    let owner = Owner { database: "shop".into(), user: "app".into() };
    let log = QueryLog::new(owner, Arc::clone(&ledger), 1);
    Counted { ledger, log }
}

fn times(ended: u64) -> Times {
    Times { sent: 0, began: 0, ended }
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
    assert_eq!(record.spread().count(), 3);
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
    let is_a = |record: &Record| record.about.as_ref().is_some_and(|a| &*a.text == "select a");
    assert_eq!(counted.ledger.forget(is_a), 1);
    assert_eq!(counted.records().len(), 1);
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
