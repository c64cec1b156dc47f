//! Tests of what a worker notes: where statements stand among those of a client.

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
