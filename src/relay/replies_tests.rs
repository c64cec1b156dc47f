//! What a client gets of a server's replies, byte by byte; servers that break the protocol.

use proptest::collection::vec;
use proptest::prelude::*;

use super::replies::ServerFault;
use super::rig::{
    Client, Rig, all, bind, close, complete, empty, error, execute, frame, parse, query, ready,
    sync,
};
use crate::protocol::backend::write_parameter_status;
use crate::protocol::sqlstate::SqlState;
use crate::server::connection::Body;
use crate::server::owed::{Answer, Request};

/// A client that has asked for this.
fn asked(requests: &[&[u8]]) -> (Rig, Client) {
    let (mut rig, mut client) = (Rig::new(200), Client::default());
    rig.ask(&mut client, &requests.concat());
    (rig, client)
}

/// A client whose settings were sent ahead of its query.
fn with_settings() -> (Rig, Client) {
    let (mut rig, mut client) = (Rig::new(200), Client::default());
    rig.server.owed.push(Request::Query, Answer::Swallow, None, 0);
    rig.ask(&mut client, &query("select 1"));
    (rig, client)
}

fn setting(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_parameter_status(&mut out, name, value);
    out
}

fn row(length: usize) -> Vec<u8> {
    frame(b'D', &vec![b'r'; length])
}

/// The last thing a FATAL error says.
fn fatal() -> Vec<u8> {
    frame(b'E', b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0")
}

#[test]
fn a_result_is_not_copied() {
    let (mut rig, mut client) = asked(&[&query("select 1")]);
    let input = all(&[&frame(b'T', b"one"), &row(9), &row(9), &complete("SELECT 2"), &ready(b'I')]);
    let mut out = Vec::new();
    let (passed, told) = rig.pass(&mut client, &input, &mut out);
    assert_eq!(passed.unwrap().consumed, input.len());
    assert_eq!((told.as_ptr(), told.len()), (input.as_ptr(), input.len()));
    assert_eq!((rig.meter.rows, rig.meter.queries, rig.meter.transactions), (2, 1, 1));
    assert!(rig.server.owed.is_free());
}

#[test]
fn a_row_of_any_size_is_passed_on_in_parts_without_a_copy() {
    let (mut rig, mut client) = asked(&[&query("select 1")]);
    let rows = all(&[&row(10), &row(1 << 20)]);
    let (first, rest) = rows.split_at(100);
    assert_eq!(rig.reply(&mut client, first), first);
    assert_eq!(rig.server.body, Body::Forward(rest.len()));
    let mut out = Vec::new();
    let (_, told) = rig.pass(&mut client, rest, &mut out);
    assert_eq!((told.as_ptr(), told.len()), (rest.as_ptr(), rest.len()));
    assert_eq!((rig.server.body, rig.meter.rows), (Body::Boundary, 2));
}

#[test]
fn what_the_settings_bring_is_ours() {
    let (mut rig, mut client) = with_settings();
    let ours = [
        setting("TimeZone", "UTC"),
        frame(b'N', b"SNOTICE\0\0"),
        frame(b'T', b"t"),
        row(50_000),
        complete("SELECT 1"),
        ready(b'I'),
    ];
    let theirs = all(&[&complete("SELECT 0"), &ready(b'I')]);
    let input = all(&[&ours.concat(), &theirs]);
    let (start, rest) = input.split_at(300);
    let mut told = rig.reply(&mut client, start);
    told.extend(rig.reply(&mut client, rest));
    assert_eq!(told, theirs);
    assert!(rig.server.reported.is_empty() && rig.server.is_clean());
    assert_eq!((rig.meter.rows, rig.meter.transactions), (0, 1));
}

#[test]
fn settings_that_are_refused_are_nothing_to_the_client() {
    let (mut rig, mut client) = with_settings();
    let mut out = Vec::new();
    let input = error("22023", "no such zone");
    let (passed, told) = rig.pass(&mut client, &input, &mut out);
    assert_eq!(passed.map(|passed| passed.consumed), Ok(input.len()));
    assert!(told.is_empty());
    let refused = (SqlState::parse(b"22023").unwrap(), "no such zone".into());
    assert_eq!(rig.refused, Some(refused));
}

#[test]
fn last_words_are_the_clients_whatever_was_asked() {
    let (mut settings, mut client) = with_settings();
    let (taken, mut other) = asked(&[&parse("s", "select 1"), &parse("s", "select 2"), &sync()]);
    let (mut idle, mut third) = asked(&[]);
    let mut duplicate = taken;
    duplicate.reply(&mut other, &empty(b'1'));
    for (rig, client) in
        [(&mut settings, &mut client), (&mut duplicate, &mut other), (&mut idle, &mut third)]
    {
        let (input, mut out) = (fatal(), Vec::new());
        let (passed, told) = rig.pass(client, &input, &mut out);
        assert!(passed.unwrap().fatal);
        assert_eq!(told, input);
    }
}

#[test]
fn settings_the_client_changed_are_remembered_once() {
    let (mut rig, mut client) = asked(&[&query("set timezone = 'CET'")]);
    let input = all(&[
        &setting("TimeZone", "UTC"),
        &setting("TimeZone", "CET"),
        &complete("SET"),
        &ready(b'I'),
    ]);
    assert_eq!(rig.reply(&mut client, &input), input);
    assert_eq!(rig.server.reported, [("TimeZone".into(), "CET".into())]);
    assert!(rig.server.touched.is_some(), "Postgres is asked what became of it");
}

#[test]
fn an_error_speaks_of_statements_by_the_clients_names() {
    let (mut rig, mut client) = asked(&[&parse("s", "select $1"), &sync()]);
    rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'I')]));
    rig.ask(&mut client, &all(&[&bind("s", b""), &sync()]));
    let told = rig.reply(&mut client, &error("08P01", "\"pooler_1\" requires 0"));
    assert_eq!(told, error("08P01", "\"s\" requires 0"));
}

#[test]
fn an_error_of_any_size_is_passed_on() {
    let (mut rig, mut client) = asked(&[&query("nonsense")]);
    let input = all(&[&error("42601", &"x".repeat(1 << 20)), &ready(b'I')]);
    let mut told = Vec::new();
    for part in input.chunks(50_000) {
        told.extend(rig.reply(&mut client, part));
    }
    assert_eq!(told, input);
    assert!(rig.server.owed.is_free());
}

#[test]
fn a_server_that_breaks_the_protocol_is_not_believed() {
    let long = vec![b'x'; 40_000];
    for (bad, oversized) in [
        (frame(b'S', &long), true),
        (frame(b'C', &long), true),
        (frame(b'Z', b"?"), false),
        (frame(b'Z', b"II"), false),
        (frame(b'R', b"\0\0\0\0"), false),
        (vec![b'D', 0, 0, 0, 3], false),
        (empty(b'1'), false),
    ] {
        let (mut rig, mut client) = asked(&[&query("select 1")]);
        let input = all(&[&row(3), &bad]);
        let mut out = Vec::new();
        let (passed, told) = rig.pass(&mut client, &input, &mut out);
        let fault = passed.unwrap_err();
        assert_eq!(matches!(fault, ServerFault::Oversized { .. }), oversized, "{fault}");
        assert_eq!(told, row(3), "what came before is passed on");
    }
}

#[test]
fn what_nobody_asked_for_waits_for_whoever_closes_the_server() {
    let (mut rig, mut client) = asked(&[&query("select 1")]);
    let answer = all(&[&complete("SELECT 0"), &ready(b'I')]);
    let input = all(&[&answer, &ready(b'I')]);
    assert_eq!(rig.reply(&mut client, &input), answer);
    assert!(!rig.server.is_reusable());
}

/// Requests of every kind, and the replies to them.
fn conversation() -> (Rig, Client, Vec<u8>) {
    let (mut rig, mut client) = with_settings();
    rig.reply(&mut client, &all(&[&ready(b'I'), &complete("SELECT 0"), &ready(b'I')]));
    rig.server.owed.push(Request::Query, Answer::Swallow, None, 0);
    let requests =
        [parse("s", "select $1"), close("none"), bind("s", b"x"), execute(), close("s"), sync()];
    rig.ask(&mut client, &requests.concat());
    let replies = [
        setting("TimeZone", "UTC"),
        complete("SELECT 1"),
        ready(b'I'),
        empty(b'1'),
        empty(b'2'),
        frame(b'N', b"SNOTICE\0\0"),
        row(20),
        row(0),
        row(7),
        setting("application_name", "x"),
        error("08P01", "\"pooler_1\" \"pooler_2\" is at fault"),
        ready(b'I'),
    ];
    (rig, client, replies.concat())
}

#[test]
fn where_the_bytes_are_cut_makes_no_difference() {
    let (mut rig, mut client, replies) = conversation();
    let whole = rig.reply(&mut client, &replies);
    for cut in 1..replies.len() {
        let (mut rig, mut client, _) = conversation();
        let mut told = rig.reply(&mut client, &replies[..cut]);
        told.extend(rig.reply(&mut client, &replies[cut..]));
        assert_eq!(told, whole, "cut at {cut}");
        assert_eq!(rig.meter.rows, 3, "cut at {cut}");
    }
    let (mut rig, mut client, _) = conversation();
    let one_by_one = |byte: &u8| rig.reply(&mut client, &[*byte]);
    assert_eq!(replies.iter().flat_map(one_by_one).collect::<Vec<_>>(), whole);
}

proptest! {
    #[test]
    fn no_server_makes_it_panic(
        messages in vec((any::<u8>(), vec(any::<u8>(), 0..40)), 0..12),
        noise in vec(any::<u8>(), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        const TAGS: &[u8] = b"123sCDTIntGHWdcVNSAZERKvE";
        let mut input = Vec::new();
        for (tag, body) in messages {
            input.extend(frame(TAGS[usize::from(tag) % TAGS.len()], &body));
        }
        input.extend(noise);
        let (mut rig, mut client, _) = conversation();
        let cut = cut.index(input.len() + 1);
        let mut out = Vec::new();
        let first = rig.pass(&mut client, &input[..cut], &mut out).0;
        if let Ok(passed) = first {
            prop_assert!(passed.consumed <= cut);
            // Whatever came of it: `exec` reads on when the client is gone.
            let mut heard = crate::server::exec::Heard::default();
            rig.server.carry = input[passed.consumed..cut].to_vec();
            let _ = crate::server::exec::hear(&mut rig.server, &input[cut..], &mut heard);
        }
    }
}
