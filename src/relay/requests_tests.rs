//! What a server gets of a client's requests, byte by byte, and what the client hears.

use proptest::collection::vec;
use proptest::prelude::*;

use super::requests::{Violation, Wish};
use super::rig::{
    Client, Rig, all, bind, close, complete, describe, empty, error, execute, flush, frame, parse,
    query, ready, sync,
};
use crate::protocol::frame::client_tag;
use crate::server::connection::Body;

const TEXT: &str = "select $1";

fn start() -> (Rig, Client) {
    (Rig::new(200), Client::default())
}

/// A client that has prepared `s`, known to the server as `pooler_1`.
fn prepared() -> (Rig, Client) {
    let (mut rig, mut client) = start();
    rig.ask(&mut client, &all(&[&parse("s", TEXT), &sync()]));
    rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'I')]));
    (rig, client)
}

#[test]
fn what_needs_no_change_is_not_copied() {
    let (mut rig, mut client) = start();
    let input =
        all(&[&query("select 1"), &bind("", b"x"), &execute(), &sync(), &frame(b'F', b"f")]);
    let mut out = Vec::new();
    let (taken, sent) = rig.take(&mut client, &input, &mut out);
    assert_eq!(taken.unwrap().consumed, input.len());
    assert_eq!((sent.as_ptr(), sent.len()), (input.as_ptr(), input.len()));
}

#[test]
fn a_named_parse_goes_by_its_shared_name() {
    let (mut rig, mut client) = start();
    let sent = rig.ask(&mut client, &all(&[&parse("s", TEXT), &describe("s"), &bind("s", b"x")]));
    let wanted = [parse("pooler_1", TEXT), describe("pooler_1"), bind("pooler_1", b"x")];
    assert_eq!(sent, wanted.concat());
}

#[test]
fn what_the_server_knows_is_not_said_again_and_answered_in_its_turn() {
    let (mut rig, _) = prepared();
    let mut other = Client::default();
    let ahead = all(&[&bind("none", b""), &sync(), &parse("t", TEXT), &bind("t", b"y"), &sync()]);
    let sent = rig.ask(&mut other, &ahead);
    assert_eq!(other.wish, Some(Wish::None));
    // Whether a transaction fails meanwhile is open: Postgres is asked, under no name.
    let asked = [bind("none", b""), sync(), parse("", TEXT), bind("pooler_1", b"y"), sync()];
    assert_eq!(sent, asked.concat());

    let (mut rig, _) = prepared();
    let sent =
        rig.ask(&mut other, &all(&[&execute(), &parse("u", TEXT), &bind("u", b"y"), &sync()]));
    assert_eq!(sent, all(&[&execute(), &bind("pooler_1", b"y"), &sync()]));
    let told = rig.reply(&mut other, &all(&[&complete("SELECT 0"), &empty(b'2'), &ready(b'I')]));
    let wanted = [complete("SELECT 0"), empty(b'1'), empty(b'2'), ready(b'I')];
    assert_eq!(told, wanted.concat());
}

#[test]
fn another_server_is_told_and_its_reply_is_ours() {
    let (rig, mut client) = prepared();
    let mut other = rig.another();
    let sent = other.ask(&mut client, &all(&[&bind("s", b"x"), &execute(), &sync()]));
    let wanted = [parse("pooler_1", TEXT), bind("pooler_1", b"x"), execute(), sync()];
    assert_eq!(sent, wanted.concat());
    let replies = [empty(b'1'), empty(b'2'), complete("SELECT 0"), ready(b'I')];
    assert_eq!(other.reply(&mut client, &replies.concat()), replies[1..].concat());
    // It knows it now.
    assert_eq!(other.ask(&mut client, &describe("s")), describe("pooler_1"));
}

#[test]
fn an_injected_parse_that_fails_is_the_clients_error() {
    let (rig, mut client) = prepared();
    let mut other = rig.another();
    other.ask(&mut client, &all(&[&bind("s", b"x"), &execute(), &sync()]));
    let replies = all(&[&error("42P01", "gone"), &ready(b'I')]);
    assert_eq!(other.reply(&mut client, &replies), replies);
    // It is still the client's, and still to be told to this server.
    let sent = other.ask(&mut client, &describe("s"));
    assert_eq!(sent, all(&[&parse("pooler_1", TEXT), &describe("pooler_1")]));
}

#[test]
fn the_one_used_least_recently_makes_room() {
    let (mut rig, mut client) = (Rig::new(1), Client::default());
    let sent =
        rig.ask(&mut client, &all(&[&parse("a", "select 1"), &parse("b", "select 2"), &sync()]));
    let wanted =
        [parse("pooler_1", "select 1"), close("pooler_1"), parse("pooler_2", "select 2"), sync()];
    assert_eq!(sent, wanted.concat());
    let replies = [empty(b'1'), empty(b'3'), empty(b'1'), ready(b'I')];
    let told = rig.reply(&mut client, &replies.concat());
    assert_eq!(told, all(&[&empty(b'1'), &empty(b'1'), &ready(b'I')]));
    let sent = rig.ask(&mut client, &bind("a", b"x"));
    let wanted = [close("pooler_2"), parse("pooler_1", "select 1"), bind("pooler_1", b"x")];
    assert_eq!(sent, wanted.concat());
}

#[test]
fn room_that_was_not_made_after_all_is_taken_back() {
    let (mut rig, mut client) = (Rig::new(1), Client::default());
    rig.ask(&mut client, &all(&[&parse("a", "select 1"), &sync()]));
    rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'I')]));
    // Everything behind the failed Bind is skipped: the Close of `a`, and `b`.
    rig.ask(&mut client, &all(&[&bind("none", b""), &parse("b", "select 2"), &sync()]));
    rig.reply(&mut client, &all(&[&error("26000", "none"), &ready(b'I')]));
    assert_eq!(rig.ask(&mut client, &bind("a", b"x")), bind("pooler_1", b"x"));
}

#[test]
fn a_name_that_is_taken_is_refused_under_the_clients_name() {
    let (mut rig, mut client) = prepared();
    let sent = rig.ask(&mut client, &all(&[&parse("s", "select 2"), &sync()]));
    let portal = frame(b'E', b"pooler_no_such_portal\0\0\0\0\0");
    assert_eq!(sent, all(&[&parse("", "select 2"), &portal, &sync()]));
    let replies = [empty(b'1'), error("34000", "no portal"), ready(b'I')];
    let told = rig.reply(&mut client, &replies.concat());
    assert_eq!(told[0], b'E');
    let text = String::from_utf8_lossy(&told);
    assert!(text.contains("42P05") && text.contains("\"s\" already exists"), "{text}");
    assert!(told.ends_with(&ready(b'I')) && !text.contains("34000"));
    // What is wrong with the text comes first.
    rig.ask(&mut client, &all(&[&parse("s", "nonsense"), &sync()]));
    let replies = all(&[&error("42601", "nonsense"), &ready(b'I')]);
    assert_eq!(rig.reply(&mut client, &replies), replies);
    assert_eq!(rig.ask(&mut client, &bind("s", b"x")), bind("pooler_1", b"x"));
}

#[test]
fn names_nobody_gave_are_postgres_to_refuse() {
    let (mut rig, mut client) = prepared();
    assert_eq!(rig.ask(&mut client, &bind("none", b"x")), bind("none", b"x"));
    // A shared name is not the client's to use.
    let sent = rig.ask(&mut client, &bind("pooler_1", b"x"));
    assert_eq!(sent, bind(&format!("pooler_{}", u64::MAX), b"x"));
}

#[test]
fn the_unnamed_statement_is_its_clients_alone() {
    let (mut rig, mut one) = start();
    let mut two = Client::default();
    let ask = all(&[&parse("", "select 'one'"), &sync()]);
    assert_eq!(rig.ask(&mut one, &ask), ask);
    let replies = all(&[&empty(b'1'), &ready(b'I')]);
    rig.reply(&mut one, &replies);
    // The other client has none: what stands there is put away first, unseen.
    let use_it = all(&[&bind("", b""), &sync()]);
    assert_eq!(rig.ask(&mut two, &use_it), all(&[&close(""), &use_it]));
    let told = rig.reply(&mut two, &all(&[&empty(b'3'), &error("26000", "none"), &ready(b'I')]));
    assert_eq!(told, all(&[&error("26000", "none"), &ready(b'I')]));
    // The first one's is said again when it is used.
    assert_eq!(rig.ask(&mut one, &use_it), all(&[&parse("", "select 'one'"), &use_it]));
}

#[test]
fn the_unnamed_statement_ends_with_a_query_that_is_run() {
    let (mut rig, mut client) = start();
    rig.ask(&mut client, &all(&[&parse("", TEXT), &query("select 1")]));
    let row = all(&[&complete("SELECT 1"), &ready(b'I')]);
    rig.reply(&mut client, &all(&[&empty(b'1'), &row]));
    assert_eq!(rig.ask(&mut client, &bind("", b"")), all(&[&close(""), &bind("", b"")]));
}

#[test]
fn what_was_skipped_leaves_the_unnamed_statement() {
    for skipped in [query("select 1"), parse("", "select 2"), close("")] {
        let (mut rig, mut client) = start();
        rig.ask(&mut client, &all(&[&parse("", TEXT), &sync()]));
        rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'I')]));
        rig.ask(&mut client, &all(&[&bind("none", b""), &skipped, &sync()]));
        rig.reply(&mut client, &all(&[&error("26000", "none"), &ready(b'I')]));
        let sent = rig.ask(&mut client, &bind("", b"x"));
        assert!(sent.ends_with(&bind("", b"x")), "{skipped:?}");
        let before = &sent[..sent.len() - bind("", b"x").len()];
        assert!(before.is_empty() || before == parse("", TEXT), "{skipped:?}: {sent:?}");
    }
}

#[test]
fn a_parse_that_failed_takes_the_unnamed_statement_with_it() {
    let (mut rig, mut client) = start();
    rig.ask(&mut client, &all(&[&parse("", TEXT), &sync(), &parse("", "nonsense"), &sync()]));
    let replies = [empty(b'1'), ready(b'I'), error("42601", "nonsense"), ready(b'I')];
    rig.reply(&mut client, &replies.concat());
    assert!(client.statements.get(b"").is_none());
}

#[test]
fn a_parse_that_failed_or_was_skipped_leaves_its_name_free() {
    for before in [vec![], bind("none", b"")] {
        let (mut rig, mut client) = start();
        rig.ask(&mut client, &all(&[&before, &parse("s", "nonsense"), &sync()]));
        rig.reply(&mut client, &all(&[&error("42601", "nonsense"), &ready(b'I')]));
        assert!(client.statements.is_empty() && rig.server.statements.is_empty());
        assert_eq!(rig.ask(&mut client, &parse("s", TEXT)), parse("pooler_2", TEXT));
    }
}

#[test]
fn a_close_is_answered_here_and_one_that_was_skipped_did_nothing() {
    let (mut rig, mut client) = prepared();
    assert_eq!(
        rig.ask(&mut client, &all(&[&bind("none", b""), &close("s"), &sync()])),
        all(&[&bind("none", b""), &sync()])
    );
    rig.reply(&mut client, &all(&[&error("26000", "none"), &ready(b'I')]));
    assert!(client.statements.get(b"s").is_some());
    assert_eq!(rig.ask(&mut client, &all(&[&close("s"), &close("none"), &sync()])), sync());
    let told = rig.reply(&mut client, &ready(b'I'));
    assert_eq!(told, all(&[&empty(b'3'), &empty(b'3'), &ready(b'I')]));
    // Asked for again, the text is analysed anew.
    assert_eq!(rig.ask(&mut client, &parse("s", TEXT)), parse("pooler_2", TEXT));
}

#[test]
fn in_a_failed_transaction_only_postgres_knows_what_may_be_prepared() {
    let (mut rig, mut client) = prepared();
    rig.ask(&mut client, &query("begin; nonsense"));
    rig.reply(&mut client, &all(&[&error("42601", "nonsense"), &ready(b'E')]));
    let sent = rig.ask(&mut client, &all(&[&parse("t", TEXT), &sync()]));
    assert_eq!(sent, all(&[&parse("", TEXT), &sync()]));
    let replies = all(&[&error("25P02", "aborted"), &ready(b'E')]);
    assert_eq!(rig.reply(&mut client, &replies), replies);
    assert!(client.statements.get(b"t").is_none());
    rig.ask(&mut client, &all(&[&parse("end", "rollback"), &sync()]));
    rig.reply(&mut client, &all(&[&empty(b'1'), &ready(b'E')]));
    let sent = rig.ask(&mut client, &bind("end", b""));
    assert_eq!(sent, all(&[&parse("pooler_2", "rollback"), &bind("pooler_2", b"")]));
}

#[test]
fn deallocate_all_spares_what_was_prepared_behind_it() {
    let (mut rig, mut client) = prepared();
    let again = all(&[&parse("s", "select 2"), &bind("s", b"x"), &sync()]);
    let ahead = all(&[&query("DEALLOCATE ALL"), &again]);
    // Whether the name is free is known when it was run.
    assert_eq!(rig.ask(&mut client, &ahead), all(&[&query("DEALLOCATE ALL"), &flush()]));
    assert_eq!(client.wish, Some(Wish::Later));
    rig.reply(&mut client, &all(&[&complete("DEALLOCATE ALL"), &ready(b'I')]));
    assert!(client.statements.is_empty() && rig.server.statements.is_empty());
    let sent = rig.ask(&mut client, b"");
    let wanted = [parse("pooler_2", "select 2"), bind("pooler_2", b"x"), sync()];
    assert_eq!(sent, wanted.concat());
}

#[test]
fn what_uses_a_name_waits_for_deallocate() {
    for request in [bind("s", b"x"), describe("s"), close("s")] {
        let (mut rig, mut client) = prepared();
        let run = query("deallocate all");
        let sent = rig.ask(&mut client, &all(&[&run, &request, &sync()]));
        assert_eq!(sent, all(&[&run, &flush()]), "{request:?}");
    }
}

#[test]
fn a_hidden_deallocate_all_spares_what_was_prepared_behind_it_too() {
    let (mut rig, mut client) = prepared();
    let hidden = query("/* all of them */ DEALLOCATE ALL");
    rig.ask(&mut client, &all(&[&hidden, &parse("t", "select 2"), &parse("u", "select 3")]));
    rig.ask(&mut client, &all(&[&close("u"), &sync()]));
    rig.reply(&mut client, &all(&[&complete("DEALLOCATE ALL"), &ready(b'I')]));
    let known = |name: &[u8]| client.statements.get(name).is_some();
    assert!(!known(b"s") && known(b"t") && !known(b"u"));
    rig.reply(&mut client, &all(&[&empty(b'1'), &empty(b'1'), &ready(b'I')]));
    assert_eq!(rig.ask(&mut client, &bind("t", b"x")), bind("pooler_2", b"x"));
}

#[test]
fn deallocate_all_leaves_the_unnamed_statements() {
    let (mut rig, mut one) = prepared();
    let run = all(&[&parse("", "DEALLOCATE ALL"), &bind("", b""), &execute(), &sync()]);
    rig.ask(&mut one, &run);
    let replies = [empty(b'1'), empty(b'2'), complete("DEALLOCATE ALL"), ready(b'I')];
    rig.reply(&mut one, &replies.concat());
    assert!(one.statements.get(b"s").is_none() && one.statements.get(b"").is_some());
    // Another client must not run into it.
    let sent = rig.ask(&mut Client::default(), &bind("", b""));
    assert_eq!(sent, all(&[&close(""), &bind("", b"")]));
}

#[test]
fn what_depends_on_an_earlier_batch_waits_for_it() {
    let later = [parse("s", "select 2"), bind("s", b"x"), describe("s"), close("s")];
    for request in later {
        let (mut rig, mut client) = start();
        let first = all(&[&parse("s", TEXT), &sync()]);
        let sent = rig.ask(&mut client, &all(&[&first, &request, &sync()]));
        assert_eq!(sent, all(&[&parse("pooler_1", TEXT), &sync(), &flush()]), "{request:?}");
        assert_eq!(client.carry, all(&[&request, &sync()]));
        rig.reply(&mut client, &all(&[&error("42601", "nonsense"), &ready(b'I')]));
        rig.ask(&mut client, b"");
        assert!(client.carry.is_empty(), "{request:?} still waits");
    }
}

#[test]
fn a_name_given_without_asking_postgres_is_waited_for_too() {
    let (mut rig, _) = prepared();
    let mut other = Client::default();
    let first = all(&[&bind("none", b""), &parse("t", TEXT), &sync()]);
    let sent = rig.ask(&mut other, &all(&[&first, &bind("t", b"x"), &sync()]));
    assert_eq!(sent, all(&[&bind("none", b""), &sync(), &flush()]));
    rig.reply(&mut other, &all(&[&error("26000", "none"), &ready(b'I')]));
    assert_eq!(rig.ask(&mut other, b""), all(&[&bind("t", b"x"), &sync()]));
}

#[test]
fn an_injected_parse_that_may_be_skipped_is_waited_for() {
    let (rig, mut client) = prepared();
    let mut other = rig.another();
    let ahead = all(&[&bind("none", b""), &bind("s", b"x"), &sync(), &bind("s", b"y"), &sync()]);
    other.ask(&mut client, &ahead);
    other.reply(&mut client, &all(&[&error("26000", "none"), &ready(b'I')]));
    let sent = other.ask(&mut client, b"");
    assert_eq!(sent, all(&[&parse("pooler_1", TEXT), &bind("pooler_1", b"y"), &sync()]));
}

#[test]
fn what_has_to_go_is_chosen_when_it_is_known_what_is_there() {
    let (mut rig, mut client) = (Rig::new(1), Client::default());
    // Should the first batch fail before it, `a` is not there to be closed.
    let first = all(&[&bind("none", b""), &parse("a", "select 1"), &sync()]);
    let sent = rig.ask(&mut client, &all(&[&first, &parse("b", "select 2"), &sync()]));
    let wanted = [bind("none", b""), parse("pooler_1", "select 1"), sync(), flush()];
    assert_eq!(sent, wanted.concat());
    rig.reply(&mut client, &all(&[&error("26000", "none"), &ready(b'I')]));
    assert_eq!(rig.ask(&mut client, b""), all(&[&parse("pooler_2", "select 2"), &sync()]));
}

#[test]
fn a_pipeline_of_unnamed_statements_never_waits() {
    let (mut rig, mut client) = start();
    let one = all(&[&parse("", TEXT), &bind("", b"x"), &execute(), &sync()]);
    let input = one.repeat(100);
    assert_eq!(rig.ask(&mut client, &input), input);
}

#[test]
fn after_an_error_all_up_to_sync_is_dropped() {
    let (mut rig, mut client) = start();
    rig.ask(&mut client, &bind("none", b""));
    rig.reply(&mut client, &error("26000", "none"));
    let dropped = all(&[&parse("s", TEXT), &query("select 1"), &frame(b'd', &[0; 99]), &flush()]);
    assert_eq!(rig.ask(&mut client, &dropped), b"");
    // In parts too.
    let long = query(&"x".repeat(999));
    assert_eq!(rig.ask(&mut client, &long[..99]), b"");
    assert_eq!(rig.ask(&mut client, &all(&[&long[99..], &sync()])), sync());
    assert!(client.statements.is_empty());
}

#[test]
fn large_messages_are_passed_on_in_parts_without_a_copy() {
    let (mut rig, mut client) = prepared();
    let megabyte = vec![b'x'; 1 << 20];
    let rest = megabyte.len() - 100;
    for message in [bind("s", &megabyte), frame(b'Q', &megabyte), frame(b'd', &megabyte)] {
        let sent = rig.ask(&mut client, &message[..message.len() - rest]);
        assert!(!sent.is_empty() && client.carry.is_empty());
        assert_eq!(client.body, Body::Forward(rest));
        let mut out = Vec::new();
        let input = &message[message.len() - rest..];
        let (_, sent) = rig.take(&mut client, input, &mut out);
        assert_eq!((sent.as_ptr(), sent.len()), (input.as_ptr(), rest));
        assert_eq!(client.body, Body::Boundary);
    }
}

#[test]
fn a_goodbye_is_not_passed_on() {
    let (mut rig, mut client) = start();
    let input = all(&[&query("select 1"), &frame(client_tag::TERMINATE, b""), &query("select 2")]);
    assert_eq!(rig.ask(&mut client, &input), query("select 1"));
    assert_eq!(client.wish, Some(Wish::Leave));
}

#[test]
fn what_no_client_may_send_is_a_violation_after_what_came_before() {
    for (bad, known) in [
        (frame(b'p', b"secret"), true),
        (vec![b'S', 0, 0, 0, 3], false),
        (vec![b'Q', 0xff, 0xff, 0xff, 0xff], false),
        (vec![b'E', 0, 1, 0, 0], false),
        (vec![b'P', 0x04, 0, 0, 5], false),
    ] {
        let (mut rig, mut client) = start();
        let input = all(&[&query("select 1"), &bad]);
        let mut out = Vec::new();
        let (taken, sent) = rig.take(&mut client, &input, &mut out);
        assert_eq!(matches!(taken.unwrap_err(), Violation::Type(b'p')), known);
        assert_eq!(sent, query("select 1"));
    }
}

#[test]
fn a_bind_whose_names_do_not_end_is_not_passed_on_unread() {
    let (mut rig, mut client) = prepared();
    let portal = vec![b'p'; 1 << 18];
    let message = frame(b'B', &all(&[&portal, b"\0pooler_1\0\0\0\0\0\0\0"]));
    let mut out = Vec::new();
    let (taken, sent) = rig.take(&mut client, &message[..1 << 17], &mut out);
    assert_eq!(taken.unwrap_err(), Violation::NamesTooLong);
    assert!(sent.is_empty());
    // There all at once, it is read like any other.
    let wanted = format!("\0pooler_{}\0", u64::MAX);
    let sent = rig.ask(&mut client, &message);
    assert!(sent.windows(wanted.len()).any(|part| part == wanted.as_bytes()));
}

/// Every rule of the relay once.
fn script() -> Vec<u8> {
    let parts = [
        parse("s", TEXT),
        describe("s"),
        bind("s", b"parameter"),
        execute(),
        parse("t", TEXT),
        close("t"),
        parse("", "select 2"),
        bind("", b""),
        frame(b'B', b"portal\0s\0\0\0\0\0\0\0"),
        frame(b'D', b"Pportal\0"),
        frame(b'C', b"Pportal\0"),
        bind("pooler_9", b""),
        flush(),
        sync(),
        query("select 3"),
        frame(b'd', b"stray"),
        frame(b'F', b"function"),
    ];
    parts.concat()
}

#[test]
fn a_savepoints_end_may_take_back_what_names_mean() {
    let (mut rig, mut client) = start();
    let back = [parse("", "ROLLBACK TO s"), bind("", b""), execute()].concat();
    for back in [query("ROLLBACK TO s"), back] {
        rig.ask(&mut client, &query("BEGIN; SAVEPOINT s; SET search_path = a"));
        let told = rig.server.schemas.clone();
        assert!(told.is_some_and(|schemas| schemas.contains('a')));
        rig.ask(&mut client, &back);
        assert_eq!(rig.server.schemas.as_deref(), Some("\0"));
    }
}

#[test]
fn where_the_bytes_are_cut_makes_no_difference() {
    let script = script();
    let (mut rig, mut client) = start();
    let whole = rig.ask(&mut client, &script);
    for cut in 1..script.len() {
        let (mut rig, mut client) = start();
        let mut sent = rig.ask(&mut client, &script[..cut]);
        sent.extend(rig.ask(&mut client, &script[cut..]));
        assert_eq!(sent, whole, "cut at {cut}");
    }
    let (mut rig, mut client) = start();
    let one_by_one = |byte: &u8| rig.ask(&mut client, &[*byte]);
    assert_eq!(script.iter().flat_map(one_by_one).collect::<Vec<_>>(), whole);
}

proptest! {
    #[test]
    fn no_client_makes_it_panic(
        messages in vec((any::<u8>(), vec(any::<u8>(), 0..40)), 0..12),
        noise in vec(any::<u8>(), 0..40),
    ) {
        const TAGS: &[u8] = b"BCdcfDEHFPpQSX";
        let mut input = Vec::new();
        for (tag, body) in messages {
            input.extend(frame(TAGS[usize::from(tag) % TAGS.len()], &body));
        }
        input.extend(noise);
        let (mut rig, mut client) = prepared();
        let mut out = Vec::new();
        let (taken, _) = rig.take(&mut client, &input, &mut out);
        prop_assert!(taken.is_err() || taken.unwrap().consumed <= input.len());
    }
}
