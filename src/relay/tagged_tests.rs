//! Tags that are taken off texts: what becomes of them when Postgres discards requests.

use super::rig::{Client, Rig, all, bind, close, empty, error, frame, parse, query, ready, sync};
use crate::config::StripComments;

fn stripping() -> (Rig, Client) {
    let (rig, mut client) = (Rig::new(10), Client::default());
    client.statements.strip_comments(StripComments::Tags);
    (rig, client)
}

/// An error at the eighth character.
fn misplaced() -> Vec<u8> {
    frame(b'E', b"SERROR\0VERROR\0C42703\0Mnothing\0P8\0\0")
}

fn is_at(told: &[u8], place: &str) -> bool {
    told.windows(place.len() + 2).any(|part| part == format!("P{place}\0").as_bytes())
}

#[test]
fn what_goes_to_the_server_has_no_tags() {
    let (mut rig, mut client) = stripping();
    let sent = rig.ask(&mut client, &query("select 1 /*route='a'*/;"));
    assert_eq!(sent, query("select 1"));
    rig.reply(&mut client, &all(&[&misplaced(), &ready(b'I')]));
    let sent = rig.ask(&mut client, &all(&[&parse("", "/*job='x'*/ select 1"), &sync()]));
    assert_eq!(sent, all(&[&parse("", "select 1"), &sync()]));
}

#[test]
fn a_close_that_was_skipped_takes_no_tags_with_it() {
    let (mut rig, mut client) = stripping();
    rig.ask(&mut client, &all(&[&parse("s", "/*job='x'*/ select 1"), &sync()]));
    rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'I')]));
    rig.ask(&mut client, &all(&[&bind("gone", b""), &close("s"), &sync()]));
    rig.reply(&mut client, &all(&[&error("26000", "none"), &ready(b'I')]));
    rig.ask(&mut client, &all(&[&bind("s", b""), &sync()]));
    let told = rig.reply(&mut client, &all(&[&misplaced(), &ready(b'I')]));
    assert!(is_at(&told, "20"), "{}", told.escape_ascii());
}

#[test]
fn a_parse_that_was_skipped_leaves_the_unnamed_statement_as_it_was() {
    let (mut rig, mut client) = stripping();
    rig.ask(&mut client, &all(&[&parse("", "select 1"), &sync()]));
    rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'I')]));
    let other = parse("", "/*job='x'*/ select 2");
    rig.ask(&mut client, &all(&[&bind("gone", b""), &other, &sync()]));
    rig.reply(&mut client, &all(&[&error("26000", "none"), &ready(b'I')]));
    rig.ask(&mut client, &all(&[&bind("", b""), &sync()]));
    let told = rig.reply(&mut client, &all(&[&misplaced(), &ready(b'I')]));
    assert!(is_at(&told, "8"), "{}", told.escape_ascii());
}
