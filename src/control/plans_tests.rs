//! What is remembered of plans, and for how long.

use super::*;
use crate::control::explained::{Masked, Source, Target};
use crate::plan::hints::Seen;
use crate::plan::node::Plan;
use crate::sql::fingerprint::Fingerprinter;
use crate::sql::lexer::Backslashes;
use crate::sql::query::About;

fn key(database: &str) -> Key {
    (Fingerprint(7), Arc::new(Owner { database: database.into(), user: "app".into() }))
}

/// A plan that reads by this index, of so many bytes.
fn plan(index: &str, bytes: usize, taken: u64) -> Arc<Explained> {
    let json = format!(
        "[{{\"Plan\": {{\"Node Type\": \"Index Scan\", \"Index Name\": \"{index}\", \"Total Cost\": 5.5}}}}]"
    );
    let mut about = None;
    let _ = Fingerprinter::default()
        .read(b"select 1", Backslashes::Literal, |statement| about = Some(About::new(statement)));
    let read = Plan::read(&json).unwrap();
    Arc::new(Explained {
        target: Target::new(Arc::new(about.unwrap()), Arc::clone(&key("shop").1), Seen::default()),
        source: Source::Normalised,
        search_path: None,
        taken: SystemTime::UNIX_EPOCH + Duration::from_secs(taken),
        took: Duration::ZERO,
        hash: read.hash(),
        hints: Vec::new(),
        masked: Masked { tree: String::new(), hints: Vec::new() },
        json: "x".repeat(bytes),
        plan: read,
    })
}

#[test]
fn a_plan_is_fresh_for_a_while_and_for_its_schemas() {
    let (mut plans, now) = (Plans::default(), Instant::now());
    plans.note(key("shop"), None, &plan("a", 10, 0), now);
    let is_fresh = |path, after| plans.fresh(&key("shop"), path, now + after).is_some();
    assert!(is_fresh(None, Duration::ZERO) && is_fresh(None, FRESH - Duration::from_millis(1)));
    assert!(!is_fresh(None, FRESH) && !is_fresh(Some("tenant"), Duration::ZERO));
    assert!(plans.fresh(&key("other"), None, now).is_none());
    assert!(plans.last(&key("shop")).is_some(), "however old");
}

#[test]
fn one_at_a_time_and_so_many_a_minute() {
    let (mut plans, now) = (Plans::default(), Instant::now());
    assert_eq!(plans.begin("shop", now), Turn::Yes);
    assert_eq!((plans.begin("shop", now), plans.begin("crm", now)), (Turn::Running, Turn::Yes));
    for _ in 1..MOST_ASKED {
        plans.done("shop");
        assert_eq!(plans.begin("shop", now), Turn::Yes);
    }
    plans.done("shop");
    let later = now + Duration::from_secs(20);
    assert_eq!(plans.begin("shop", later), Turn::Later(SPAN - Duration::from_secs(20)));
    assert_eq!(plans.begin("shop", now + SPAN), Turn::Yes);
    plans.done("shop");
    plans.done("crm");
    let _ = plans.begin("new", now + 3 * SPAN);
    assert_eq!(plans.databases.len(), 1, "those that ask no more are forgotten");
}

#[test]
fn plans_that_change_are_remembered_and_those_that_do_not_once() {
    let (mut plans, now) = (Plans::default(), Instant::now());
    let wall = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    for (at, index) in ["a", "a", "b", "a"].into_iter().enumerate() {
        plans.note(key("shop"), None, &plan(index, 10, at as u64), now);
    }
    let eras = plans.eras(&key("shop"));
    let shown: Vec<_> =
        eras.iter().map(|era| (&*era.summary, era.first_seen, era.last_seen)).collect();
    let by = |index: &str| format!("Index Scan using {index}");
    assert_eq!(
        shown,
        [
            (&*by("a"), wall(3), wall(3)),
            (&*by("b"), wall(2), wall(2)),
            (&*by("a"), wall(0), wall(1))
        ]
    );
    for at in 0..2 * MOST_CHANGES {
        plans.note(key("shop"), None, &plan(&at.to_string(), 10, 9), now);
    }
    assert_eq!(plans.eras(&key("shop")).len(), MOST_CHANGES);
}

#[test]
fn memory_is_bounded_and_the_history_stays() {
    let (mut plans, now) = (Plans::default(), Instant::now());
    let long = MOST_BYTES / 4;
    for database in ["a", "b", "c", "d", "e"] {
        plans.note(key(database), None, &plan("i", long, 0), now);
    }
    assert!(plans.bytes <= MOST_BYTES, "{}", plans.bytes);
    assert!(plans.last(&key("a")).is_none() && plans.last(&key("e")).is_some());
    assert_eq!(plans.eras(&key("a")).len(), 1);
    for number in 0..2 * MOST_STATEMENTS.get() {
        plans.note(key(&number.to_string()), None, &plan("i", 10, 0), now);
    }
    assert_eq!(plans.statements.len(), MOST_STATEMENTS.get());
    assert_eq!(plans.bytes, 10 * MOST_STATEMENTS.get(), "what went is not counted any more");
}

#[test]
fn slow_statements_are_explained_by_themselves_now_and_then() {
    let (mut plans, now) = (Plans::default(), Instant::now());
    for database in ["a", "b", "c", "d"] {
        assert!(plans.may_by_itself(&key(database), now));
    }
    assert!(!plans.may_by_itself(&key("e"), now), "enough for now");
    let later = now + SPAN;
    assert!(plans.may_by_itself(&key("e"), later));
    assert!(!plans.may_by_itself(&key("a"), later), "it was lately");
    assert!(plans.may_by_itself(&key("a"), now + BY_ITSELF_AGAIN));
}
