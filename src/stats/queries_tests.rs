//! Tests of what a worker notes: texts with comments, and where statements stand among those of a client.

use super::*;
use crate::stats::insight::Detection;
use crate::stats::said::Sayings;
use crate::stats::slow::Thresholds;
use crate::stats::sums::Room;

fn log() -> QueryLog {
    let sayings = Sayings::new(&["route".to_owned()], 1);
    let ledger = Ledger::new(Room { most: 100, bytes: usize::MAX }, Thresholds::default())
        .watching(sayings, Detection::Off);
    QueryLog::new(Owner { database: "shop".into(), user: "app".into() }, Arc::new(ledger), 1)
}

fn route(log: &QueryLog, run: &Run) -> Option<String> {
    let said = run.said.as_ref()?;
    said.route.map(|route| log.ledger.sayings.name(route).to_string())
}

fn traced(sql: &str, n: usize) -> String {
    format!("{sql} /*route='/a',traceparent='00-{n:032x}-{n:016x}-01'*/", n = n + 1)
}

#[test]
fn texts_that_differ_in_their_trace_are_read_once_and_push_nothing_out() {
    let log = log();
    let plain = log.run(b"SELECT 1");
    let first = log.run(traced("SELECT * FROM t WHERE id = 1", 0).as_bytes());
    for n in 1..3 * KNOWN_TEXTS.get() {
        let run = log.run(traced("SELECT * FROM t WHERE id = 1", n).as_bytes());
        assert!(Arc::ptr_eq(&run.query, &first.query), "{n}");
        assert_eq!(run.values, first.values, "the trace is no value");
        assert_ne!(run.said.unwrap().unit, first.said.as_ref().unwrap().unit);
    }
    assert!(Arc::ptr_eq(&log.run(b"SELECT 1").query, &plain.query));
    assert_eq!(log.known.borrow().texts.len(), 2);
    assert!(log.known.borrow().comments.len() <= KNOWN_COMMENTS.get());
    assert_ne!(log.run(b"SELECT * FROM t WHERE id = 2").values, first.values);
}

#[test]
fn a_trace_within_a_text_does_not_fill_the_cache() {
    let log = log();
    for n in 0..10 {
        let text = traced("INSERT INTO t VALUES (1)", n) + " RETURNING id";
        let run = log.run(text.as_bytes());
        assert_eq!(route(&log, &run).as_deref(), Some("/a"));
    }
    assert!(log.known.borrow().texts.is_empty());
    let run = log.run(b"INSERT INTO t /*route='/b'*/ VALUES (1)");
    assert_eq!(route(&log, &run).as_deref(), Some("/b"));
    assert_eq!(log.known.borrow().texts.len(), 1);
}

#[test]
fn comments_are_no_part_of_a_fingerprint() {
    let log = log();
    let hash = |text: &str| log.run(text.as_bytes()).query.parts[0].about.fingerprint;
    let plain = hash("SELECT * FROM t WHERE id = 1");
    for text in
        ["/*route='/a'*/ SELECT * FROM t WHERE id = 2;", "SELECT * FROM t /*x*/ WHERE id = 3 /*y*/"]
    {
        assert_eq!(hash(text), plain, "{text}");
    }
}

#[test]
fn the_gap_is_what_the_client_took_and_nothing_where_it_did_not_wait() {
    let log = log();
    let mut watched = Watched::new(log.run(b"SELECT 1; SELECT 2"), 30);
    let place = Place { client: 7, ..Place::default() };
    let mut end = |times, last_end| {
        watched.end(Outcome::Complete { rows: 1 }, times, place, last_end).unwrap().place
    };
    let first = end(Times { sent: 150, began: 150, ended: 160 }, 100);
    assert_eq!((first.client, first.gap), (7, Some(20)), "it waited 30 of 50 for a server");
    assert_eq!(end(Times { sent: 150, began: 150, ended: 170 }, 160).gap, None);
    let mut ahead = Watched::new(log.run(b"SELECT 1"), 0);
    let times = Times { sent: 150, began: 170, ended: 180 };
    let event = ahead.end(Outcome::Complete { rows: 1 }, times, place, 170).unwrap();
    assert_eq!((event.place.gap, event.nanos), (None, 10));
}

#[test]
fn without_a_tag_the_route_is_the_application() {
    let log = log();
    let place = Place { route: log.route("web"), ..Place::default() };
    let name = |text: &[u8]| {
        let mut watched = Watched::new(log.run(text), 0);
        let times = Times { sent: 0, began: 0, ended: 1 };
        let event = watched.end(Outcome::Complete { rows: 0 }, times, place, 0).unwrap();
        log.ledger.sayings.name(event.place.route).to_string()
    };
    assert_eq!(name(b"SELECT 1"), "web");
    assert_eq!(name(b"SELECT 1 /*route='/a'*/"), "/a");
}
