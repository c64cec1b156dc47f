//! What a client that holds no server is answered at once, and what needs a server.

use proptest::collection::vec;
use proptest::prelude::*;

use super::local::{Local, Next};
use super::rig::{Client, Rig, all, bind, close, empty, flush, frame, parse, query, ready, sync};
use crate::server::connection::Body;

/// A client without a server.
struct Idle {
    rig: Rig,
    client: Client,
    skipping: bool,
}

impl Idle {
    /// One whose database has a statement that Postgres has accepted.
    fn new() -> Self {
        let (mut rig, mut other) = (Rig::new(200), Client::default());
        rig.ask(&mut other, &all(&[&parse("s", "select 1"), &sync()]));
        rig.reply(&mut other, &all(&[&empty(b'1'), &ready(b'I')]));
        Self { rig, client: Client::default(), skipping: false }
    }

    fn local(&mut self) -> Local<'_> {
        Local {
            statements: &mut self.client.statements,
            registry: &self.rig.registry,
            settings: &self.rig.settings,
            body: &mut self.client.body,
            skipping: &mut self.skipping,
        }
    }

    /// What is dealt with, what comes next, and the reply.
    fn take(&mut self, input: &[u8]) -> (usize, Next, Vec<u8>) {
        let mut reply = Vec::new();
        let (consumed, next) = self.local().take(input, &mut reply).unwrap();
        (consumed, next, reply)
    }
}

#[test]
fn a_text_that_postgres_has_accepted_is_prepared_without_it() {
    let mut idle = Idle::new();
    let input = all(&[&parse("mine", "select 1"), &flush(), &sync()]);
    let told = all(&[&empty(b'1'), &ready(b'I')]);
    assert_eq!(idle.take(&input), (input.len(), Next::Read, told));
    assert!(idle.client.statements.get(b"mine").is_some());
    let sent = idle.rig.ask(&mut idle.client, &bind("mine", b"x"));
    assert_eq!(sent, bind("pooler_1", b"x"));
}

#[test]
fn what_postgres_has_to_judge_is_left_to_it() {
    let unknown = [
        parse("mine", "select 2"),
        parse("", "select 1"),
        frame(b'P', b"mine\0select 1\0\0\x01"),
        query("select 1"),
        bind("", b""),
        frame(b'C', b"Xs\0"),
    ];
    for request in unknown {
        let mut idle = Idle::new();
        let input = all(&[&sync(), &request]);
        assert_eq!(idle.take(&input), (sync().len(), Next::Server, ready(b'I')), "{request:?}");
    }
    let mut idle = Idle::new();
    idle.take(&parse("mine", "select 1"));
    assert_eq!(idle.take(&parse("mine", "select 1")), (0, Next::Server, Vec::new()));
}

#[test]
fn one_that_the_client_closed_is_analysed_anew() {
    let mut idle = Idle::new();
    let input = all(&[&parse("mine", "select 1"), &close("mine"), &close("none")]);
    let told = all(&[&empty(b'1'), &empty(b'3'), &empty(b'3')]);
    assert_eq!(idle.take(&input), (input.len(), Next::Read, told));
    assert_eq!(idle.take(&parse("mine", "select 1")).1, Next::Server);
}

#[test]
fn a_schema_that_changed_takes_the_proof_away() {
    let mut idle = Idle::new();
    idle.rig.registry.schema_changed();
    assert_eq!(idle.take(&parse("mine", "select 1")).1, Next::Server);
}

#[test]
fn a_refused_batch_is_dropped_up_to_its_sync() {
    let mut idle = Idle::new();
    let input = all(&[&bind("mine", b"x"), &parse("mine", "select 1"), &query("q"), &sync()]);
    let (dropped, alone) = idle.local().refuse(&input);
    assert_eq!((dropped, alone), (bind("mine", b"x").len(), false));
    let rest = &input[dropped..];
    assert_eq!(idle.take(rest), (rest.len(), Next::Read, ready(b'I')));
    assert!(idle.client.statements.is_empty());
    assert_eq!(idle.take(&query("q")).1, Next::Server);
}

#[test]
fn a_refused_query_is_alone_and_dropped_to_its_end() {
    let mut idle = Idle::new();
    let input = query(&"x".repeat(99));
    assert_eq!(idle.local().refuse(&input[..50]), (50, true));
    assert_eq!(idle.client.body, Body::Drop(input.len() - 50));
    let rest = all(&[&input[50..], &sync()]);
    assert_eq!(idle.take(&rest), (rest.len(), Next::Read, ready(b'I')));
}

#[test]
fn the_rest_of_a_copy_that_failed_is_ignored() {
    let mut idle = Idle::new();
    let data = frame(b'd', &[b'x'; 5_000]);
    assert_eq!(idle.take(&data[..100]), (100, Next::Read, Vec::new()));
    let rest = all(&[&data[100..], &frame(b'c', b""), &frame(b'f', b"no\0"), &sync()]);
    assert_eq!(idle.take(&rest), (rest.len(), Next::Read, ready(b'I')));
    let goodbye = all(&[&sync(), &frame(b'X', b""), &query("q")]);
    assert_eq!(idle.take(&goodbye), (sync().len(), Next::Terminate, ready(b'I')));
}

#[test]
fn where_the_bytes_are_cut_makes_no_difference() {
    let parts = [
        parse("a", "select 1"),
        flush(),
        frame(b'd', b"stray"),
        close("a"),
        frame(b'C', b"Pportal\0"),
        sync(),
    ];
    let script = parts.concat();
    let whole = Idle::new().take(&script).2;
    for cut in 1..script.len() {
        let mut idle = Idle::new();
        let (consumed, _, mut told) = idle.take(&script[..cut]);
        told.extend(idle.take(&script[consumed..]).2);
        assert_eq!(told, whole, "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn no_client_makes_it_panic(
        messages in vec((any::<u8>(), vec(any::<u8>(), 0..20)), 0..8),
        noise in vec(any::<u8>(), 0..20),
    ) {
        const TAGS: &[u8] = b"BCdcfDEHFPQSX";
        let mut input = Vec::new();
        for (tag, body) in messages {
            input.extend(frame(TAGS[usize::from(tag) % TAGS.len()], &body));
        }
        input.extend(noise);
        let mut idle = Idle::new();
        let mut reply = Vec::new();
        let taken = idle.local().take(&input, &mut reply);
        prop_assert!(taken.is_err() || taken.unwrap().0 <= input.len());
        idle.local().refuse(&input);
    }
}
