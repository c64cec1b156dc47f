//! What becomes of errors about statements that are lent.

use crate::relay::rig::{Client, Rig, all, complete, empty, error, parse, query, ready, sync};

/// What the client hears where Postgres refuses its statement with `refusal`, which comes in two parts.
fn told(refusal: &[u8], first: usize, said: &[u8]) -> Vec<u8> {
    let (mut rig, mut client) = (Rig::new(10), Client::default());
    rig.ask(&mut client, &all(&[&parse("a", "SELECT 1"), &sync()]));
    rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'I')]));
    rig.ask(&mut client, &query("SELECT 1; EXECUTE a"));
    let mut input = all(&[&empty(b'3'), refusal]);
    let rest = input.split_off(first.min(input.len()));
    let mut told = rig.reply(&mut client, &input);
    let end = all(&[&rest, &ready(b'I'), said, &ready(b'I'), &empty(b'3'), &ready(b'I')]);
    told.extend(rig.reply(&mut client, &end));
    assert!(rig.server.owed.is_free());
    told
}

#[test]
fn a_refusal_is_kept_if_it_is_there_in_full() {
    let missing = error("26000", "prepared statement \"a\" does not exist");
    let short = error("42P01", "relation \"gone\" does not exist");
    assert_eq!(told(&short, 10, &missing), all(&[&short, &ready(b'I')]));
    let long = error("42P01", &"x".repeat(64 * 1024));
    assert_eq!(told(&long, 40 * 1024, &missing), all(&[&missing, &ready(b'I')]));
}

#[test]
fn a_refusal_is_of_one_name_and_one_query() {
    let refusal = error("42P01", "relation \"gone\" does not exist");
    for message in [
        "prepared statement \"b\" does not exist",
        "a missing statement",
        "\"ab\"",
        "\u{bb}b\u{ab}",
    ] {
        let other = error("26000", message);
        assert_eq!(told(&refusal, 10, &other), all(&[&other, &ready(b'I')]), "{message}");
    }
    let translated = error("26000", "vorbereitete Anweisung \u{bb}a\u{ab} existiert nicht");
    assert_eq!(told(&refusal, 10, &translated), all(&[&refusal, &ready(b'I')]));
    let fine = complete("SELECT 1");
    assert_eq!(told(&refusal, 10, &fine), all(&[&fine, &ready(b'I')]));
}
