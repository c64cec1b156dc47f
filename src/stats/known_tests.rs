//! Tests of which texts are recognised, and of comments in them.

use super::*;

struct Client {
    known: Known,
    sayings: Sayings,
}

impl Client {
    fn new() -> Self {
        Self { known: Known::new(1), sayings: Sayings::new(&["route".to_owned()], 1) }
    }

    fn run(&mut self, text: &str) -> Text {
        self.known.text(text.as_bytes(), &self.sayings).0
    }

    fn hash(&mut self, text: &str) -> u64 {
        self.known.text(text.as_bytes(), &self.sayings).1
    }

    fn route(&mut self, text: &str) -> Option<String> {
        let route = self.run(text).said?.route?;
        Some(self.sayings.name(route).to_string())
    }
}

fn traced(sql: &str, n: usize) -> String {
    format!("{sql} /*route='/a',traceparent='00-{n:032x}-{n:016x}-01'*/", n = n + 1)
}

#[test]
fn texts_that_differ_in_their_trace_are_read_once_and_push_nothing_out() {
    let mut client = Client::new();
    let text = |n| traced("SELECT * FROM t WHERE id = 1", n);
    let plain = client.run("SELECT 1");
    let first = client.run(&text(0));
    let values = client.hash(&text(0));
    for n in 1..3 * KNOWN_TEXTS.get() {
        let run = client.run(&text(n));
        assert!(Arc::ptr_eq(&run.query, &first.query), "{n}");
        assert_ne!(run.said.unwrap().unit, first.said.as_ref().unwrap().unit);
        assert_eq!(client.hash(&text(n)), values, "the trace is no value");
    }
    assert!(Arc::ptr_eq(&client.run("SELECT 1").query, &plain.query));
    assert_eq!(client.known.texts.len(), 2);
    assert!(client.known.comments.len() <= KNOWN_COMMENTS.get());
    assert_ne!(client.hash("SELECT * FROM t WHERE id = 2"), values);
}

#[test]
fn a_trace_within_a_text_does_not_fill_the_cache() {
    let mut client = Client::new();
    for n in 0..10 {
        let text = traced("INSERT INTO t VALUES (1)", n) + " RETURNING id";
        for _ in 0..2 {
            assert_eq!(client.route(&text).as_deref(), Some("/a"));
        }
    }
    assert!(client.known.texts.is_empty());
    for _ in 0..2 {
        let text = "INSERT INTO t /*route='/b'*/ VALUES (1)";
        assert_eq!(client.route(text).as_deref(), Some("/b"));
    }
    assert_eq!(client.known.texts.len(), 1);
}

#[test]
fn comments_are_no_part_of_a_fingerprint() {
    let mut client = Client::new();
    let mut hash = |text: &str| client.run(text).query.parts[0].about.fingerprint;
    let plain = hash("SELECT * FROM t WHERE id = 1");
    for text in
        ["/*route='/a'*/ SELECT * FROM t WHERE id = 2;", "SELECT * FROM t /*x*/ WHERE id = 3 /*y*/"]
    {
        assert_eq!(hash(text), plain, "{text}");
    }
}

#[test]
fn texts_with_other_values_share_what_they_are_and_are_kept_when_they_come_again() {
    let mut client = Client::new();
    let first = client.run("SELECT * FROM t WHERE id = 1").query;
    for n in 2..100 {
        let again = client.run(&format!("SELECT * FROM t WHERE id = {n}")).query;
        assert!(Arc::ptr_eq(&first, &again), "{n}");
    }
    assert!(client.known.texts.is_empty());
    client.run("SELECT * FROM t WHERE id = 99");
    assert_eq!(client.known.texts.len(), 1);
}

#[test]
fn texts_of_several_statements_or_longer_lists_are_others() {
    let mut client = Client::new();
    let alone = client.run("SELECT 1 WHERE 1 IN (1, 2)").query;
    let longer = client.run("SELECT 1 WHERE 1 IN (1, 2, 3)").query;
    assert_eq!(alone.parts[0].about.fingerprint, longer.parts[0].about.fingerprint);
    assert_eq!((alone.parts[0].max_list, longer.parts[0].max_list), (2, 3));
    let two = client.run("SELECT 1 WHERE 1 IN (1, 2, 3); SELECT 1 WHERE 1 IN (1, 2)").query;
    assert_eq!(two.parts.len(), 2);
    assert!(client.run(" ; ").query.parts.is_empty());
}
