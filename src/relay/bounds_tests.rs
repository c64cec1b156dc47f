//! What a client can make the relay hold or put together, and errors that say the right name.

use super::requests::{Violation, Wish};
use super::rig::{
    Client, Rig, all, bind, close, complete, describe, empty, error, parse, query, ready, sync,
};

/// So long that a few of them are too much for one read.
fn long_text(letter: char) -> String {
    format!("select '{}'", letter.to_string().repeat(1024 * 1024))
}

/// A client with statements of these texts, named by their place, on a server that has room for so many.
fn with(texts: &[String], room: u32) -> (Rig, Client) {
    let (mut rig, mut client) = (Rig::new(room), Client::default());
    for (name, text) in texts.iter().enumerate() {
        rig.ask(&mut client, &all(&[&parse(&name.to_string(), text), &sync()]));
        let made_room = if name as u32 >= room { empty(b'3') } else { Vec::new() };
        rig.reply(&mut client, &all(&[&made_room, &empty(b'1'), &ready(b'I')]));
    }
    (rig, client)
}

#[test]
fn a_few_bytes_do_not_make_the_pooler_send_gigabytes_at_once() {
    let (mut rig, mut client) = with(&['a', 'b', 'c'].map(long_text), 1);
    let binds: Vec<_> = (0..500).flat_map(|n| bind(&(n % 3).to_string(), b"")).collect();
    let mut out = Vec::new();
    let (taken, sent) = rig.take(&mut client, &binds, &mut out);
    let taken = taken.unwrap();
    assert_eq!(taken.wish, Wish::Later, "the rest waits until Postgres has answered");
    assert!(taken.consumed > 0 && sent.len() < 4 * 1024 * 1024, "{} bytes", sent.len());
    // What is answered makes room for what comes next.
    let once = all(&[&empty(b'3'), &empty(b'1'), &empty(b'2')]);
    let answered = sent.iter().filter(|byte| **byte == 0).count();
    assert!(answered > 0);
    let mut left = &binds[taken.consumed..];
    for _ in 0..3 {
        while rig.server.owed.is_running() {
            rig.reply(&mut client, &once);
        }
        let (taken, _) = rig.take(&mut client, left, &mut out);
        let consumed = taken.unwrap().consumed;
        assert!(consumed > 0, "it goes on");
        left = &left[consumed..];
    }
}

#[test]
fn a_clients_statements_have_a_limit_in_bytes() {
    let (mut rig, mut client) = (Rig::new(200), Client::default());
    let text = "x".repeat(60 * 1024 * 1024);
    for name in ["a", "b"] {
        rig.ask(&mut client, &all(&[&parse(name, &format!("{name}{text}")), &sync()]));
        rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'I')]));
    }
    let third = parse("c", &format!("c{text}"));
    let mut out = Vec::new();
    let (taken, _) = rig.take(&mut client, &third, &mut out);
    assert_eq!(taken.unwrap_err(), Violation::TooMuchPrepared);
    // One that is closed makes room.
    rig.ask(&mut client, &all(&[&close("a"), &sync()]));
    rig.reply(&mut client, &ready(b'I'));
    assert!(rig.take(&mut client, &third, &mut out).0.is_ok());
}

#[test]
fn of_two_names_with_one_meaning_an_error_says_the_one_that_was_used() {
    let (mut rig, mut client) = with(&["select $1".to_owned()], 200);
    rig.ask(&mut client, &all(&[&parse("other", "select $1"), &sync()]));
    rig.reply(&mut client, &ready(b'I'));
    let wrong = |name: &str| error("08P01", &format!("statement \"{name}\" requires 1"));
    for name in ["0", "other", "0"] {
        rig.ask(&mut client, &all(&[&bind(name, b""), &sync()]));
        let told = rig.reply(&mut client, &all(&[&wrong("pooler_1"), &ready(b'I')]));
        assert_eq!(told, all(&[&wrong(name), &ready(b'I')]));
        rig.ask(&mut client, &all(&[&describe(name), &sync()]));
        let told = rig.reply(&mut client, &all(&[&wrong("pooler_1"), &ready(b'I')]));
        assert_eq!(told, all(&[&wrong(name), &ready(b'I')]));
    }
}

#[test]
fn an_unnamed_statement_does_not_come_back_behind_a_query_that_drops_it() {
    let (mut rig, mut client) = (Rig::new(200), Client::default());
    rig.ask(&mut client, &all(&[&parse("", "select 1"), &sync()]));
    rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'I')]));
    let skipped = all(&[&bind("none", b""), &parse("", "select 1"), &close(""), &sync()]);
    rig.ask(&mut client, &all(&[&skipped, &query("select 2")]));
    let replies =
        [error("26000", "no such statement"), ready(b'I'), complete("SELECT 1"), ready(b'I')];
    rig.reply(&mut client, &replies.concat());
    assert!(client.statements.get(b"").is_none());
    // What is left there, perhaps, is closed: then Postgres says that there is none.
    assert_eq!(rig.ask(&mut client, &describe("")), all(&[&close(""), &describe("")]));
}

#[test]
fn an_unnamed_statement_that_was_parsed_behind_an_error_stays() {
    let (mut rig, mut client) = (Rig::new(200), Client::default());
    let failing = all(&[&bind("none", b""), &parse("", "select 1"), &sync()]);
    rig.ask(&mut client, &all(&[&failing, &parse("", "select 2"), &sync()]));
    let replies = [error("26000", "no such statement"), ready(b'I'), empty(b'1'), ready(b'I')];
    rig.reply(&mut client, &replies.concat());
    let text = &client.statements.get(b"").unwrap().body;
    assert!(text.starts_with(b"select 2"));
}
