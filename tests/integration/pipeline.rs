//! Requests sent before earlier ones are answered: overlapped Syncs, Flush, errors, cuts at every byte.

use crate::support::{Batch, RawClient, Scenario, query};

fn batch() -> Batch {
    Batch::new()
}

#[test]
fn simple_queries_may_be_sent_ahead() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    let (mut ahead, mut expected) = (batch(), Vec::new());
    for number in 0..50 {
        ahead = ahead.query(&format!("SELECT {number}"));
        expected.push(format!("T D({number}) C(SELECT 1) Z(I)"));
    }
    pair.expect(&ahead, &expected.join(" "));
}

#[test]
fn many_syncs_overlap() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().parse("s", "SELECT $1").sync(), "1 Z(I)");
    let (mut ahead, mut expected) = (batch(), Vec::new());
    for number in 0..500 {
        ahead = ahead.run("s", &[&number.to_string()]).sync();
        expected.push(format!("2 D({number}) C(SELECT 1) Z(I)"));
    }
    pair.expect(&ahead, &expected.join(" "));
}

#[test]
fn pipelines_of_many_clients_stay_apart() {
    const CLIENTS: usize = 20;
    const DEPTH: usize = 50;
    let world = Scenario::new().pool_size(2).start();
    let mut clients = world.clients(CLIENTS);
    std::thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || {
                client.run(&batch().parse("s", &format!("SELECT '{number}', $1")).sync());
                let (mut ahead, mut expected) = (batch(), Vec::new());
                for step in 0..DEPTH {
                    ahead = ahead.run("s", &[&step.to_string()]).sync();
                    expected.push(format!("2 D({number}|{step}) C(SELECT 1) Z(I)"));
                }
                for _ in 0..10 {
                    assert_eq!(client.run(&ahead).shape(), expected.join(" "));
                }
            });
        }
    });
    assert_eq!(world.backends().len(), 2);
}

#[test]
fn an_error_skips_to_its_own_sync_only() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().parse("s", "SELECT 10 / $1::int").sync(), "1 Z(I)");
    let ahead = batch().run("s", &["1"]).run("s", &["0"]).run("s", &["2"]).sync();
    let ahead = ahead.run("s", &["5"]).sync().query("SELECT 1").run("nowhere", &[]).sync().sync();
    pair.expect(
        &ahead,
        "2 D(10) C(SELECT 1) E(22012) Z(I) 2 D(2) C(SELECT 1) Z(I) T D(1) C(SELECT 1) Z(I) \
         E(26000) Z(I) Z(I)",
    );
}

#[test]
fn a_failed_bind_followed_at_once_by_more_is_skipped_in_order() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().parse("s", "SELECT $1::int").sync(), "1 Z(I)");
    let bad = batch().run("s", &["not a number"]);
    let ahead = bad.parse("", "SELECT 1").describe('S', "").flush().sync().run("s", &["7"]).sync();
    pair.expect(&ahead, "E(22P02) Z(I) 2 D(7) C(SELECT 1) Z(I)");
}

#[test]
fn a_simple_query_inside_a_skipped_batch_is_skipped_too() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    let mut ahead = batch().run("nowhere", &[]).query("SELECT 1").sync();
    // The query is thrown away with the rest and brings no ReadyForQuery.
    ahead.readies = 1;
    pair.expect(&ahead, "E(26000) Z(I)");
    pair.expect(&query("SELECT 2"), "T D(2) C(SELECT 1) Z(I)");
}

#[test]
fn flush_brings_replies_without_a_sync() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.send(&batch().parse("s", "SELECT $1::text").describe('S', "s").flush());
    assert_eq!(client.read_tag('T').shape(), "1 t T");
    client.send(&batch().bind("", "s", &["a"]).flush());
    assert_eq!(client.read_tag('2').shape(), "2");
    client.send(&batch().execute("").flush());
    assert_eq!(client.read_tag('C').shape(), "D(a) C(SELECT 1)");
    client.send(&batch().run("nowhere", &[]).flush());
    assert_eq!(client.read_tag('E').shape(), "E(26000)");
    assert_eq!(client.run(&batch().sync()).shape(), "Z(I)");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_client_between_flush_and_sync_keeps_its_server() {
    let world = Scenario::new().pool_size(1).start();
    let (mut one, mut two) = (world.client(), world.client());
    one.send(&batch().parse("", "SELECT pg_backend_pid()").run("", &[]).flush());
    let backend = one.read_tag('C').value();
    two.send(&query("SELECT pg_backend_pid()"));
    world.wait_for_waiting(1);
    assert_eq!(one.run(&batch().sync()).shape(), "Z(I)");
    assert_eq!(two.read_readies(1).value(), backend);
}

#[test]
fn a_sync_alone_is_answered() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().sync(), "Z(I)");
    pair.expect(&batch().sync().sync().sync(), "Z(I) Z(I) Z(I)");
    pair.expect(&batch().flush().sync(), "Z(I)");
    pair.expect(
        &query("BEGIN").sync().query("COMMIT").sync(),
        "C(BEGIN) Z(T) Z(T) C(COMMIT) Z(I) Z(I)",
    );
}

#[test]
fn transactions_may_be_sent_ahead() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (n int)");
    let mut pair = world.pair();
    let insert =
        |n: &str| query("BEGIN").parse("", "INSERT INTO item VALUES ($1)").run("", &[n]).sync();
    let ahead = insert("1").query("COMMIT").then(insert("x")).query("COMMIT").then(insert("3"));
    pair.expect(
        &ahead.query("ROLLBACK").query("DELETE FROM item"),
        "C(BEGIN) Z(T) 1 2 C(INSERT 0 1) Z(T) C(COMMIT) Z(I) \
         C(BEGIN) Z(T) 1 E(22P02) Z(E) C(ROLLBACK) Z(I) \
         C(BEGIN) Z(T) 1 2 C(INSERT 0 1) Z(T) C(ROLLBACK) Z(I) C(DELETE 1) Z(I)",
    );
}

#[test]
fn an_implicit_transaction_ends_at_its_sync() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (n int UNIQUE)");
    let mut pair = world.pair();
    let insert = batch().parse("", "INSERT INTO item VALUES (1)").run("", &[]);
    pair.expect(&insert.clone().then(insert).sync(), "1 2 C(INSERT 0 1) 1 2 E(23505) Z(I)");
    pair.expect(&query("SELECT count(*) FROM item"), "T D(0) C(SELECT 1) Z(I)");
}

/// Everything that is rewritten, answered in Postgres' place or passed on, in one script.
fn script() -> Batch {
    let script = batch().parse("s", "SELECT $1").describe('S', "s").run("s", &["ab"]).sync();
    let script =
        script.close('S', "s").parse("", "SELECT 1").run("", &[]).run("nowhere", &[]).sync();
    script.query("SELECT 2").query("")
}

const SCRIPT_REPLIES: &str = "1 t T 2 D(ab) C(SELECT 1) Z(I) 3 1 2 D(1) C(SELECT 1) E(26000) Z(I) \
                              T D(2) C(SELECT 1) Z(I) I Z(I)";

fn send_in(client: &mut RawClient, script: &Batch, pieces: &[&[u8]]) -> String {
    client.send_pieces(pieces.iter().copied());
    client.read_readies(script.readies).shape()
}

#[test]
fn messages_may_be_cut_at_every_byte() {
    let world = Scenario::new().pool_size(1).start();
    let script = script();
    let mut pair = world.pair();
    pair.expect(&script, SCRIPT_REPLIES);
    for cut in 1..script.bytes.len() {
        let pieces = [&script.bytes[..cut], &script.bytes[cut..]];
        assert_eq!(send_in(&mut pair.pooled, &script, &pieces), SCRIPT_REPLIES, "cut at {cut}");
    }
    let bytes: Vec<_> = script.bytes.chunks(1).collect();
    assert_eq!(send_in(&mut pair.pooled, &script, &bytes), SCRIPT_REPLIES, "byte by byte");
}

#[test]
fn half_a_message_holds_no_server() {
    let world = Scenario::new().pool_size(1).start();
    let (mut slow, mut other) = (world.client(), world.client());
    let bytes = batch().parse("s", "SELECT 1").run("s", &[]).sync().bytes;
    for cut in 1..5 {
        slow.send_pieces([&bytes[..cut]]);
        assert_eq!(other.value("SELECT 1"), "1", "{cut} bytes of a header held the server");
        slow.send_bytes(&bytes[cut..]);
        assert!(slow.read_readies(1).shape().ends_with("2 D(1) C(SELECT 1) Z(I)"));
        slow.run(&batch().close('S', "s").sync());
    }
}

#[test]
fn messages_of_every_size_around_the_buffers_pass() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&batch().parse("s", "SELECT length($1), $1").sync(), "1 Z(I)");
    for size in [1_usize << 12, 1 << 13, 1 << 14, 1 << 16, 1 << 17, 1 << 18, 1 << 20] {
        for around in size - 40..size + 2 {
            let text = "y".repeat(around);
            let row = format!("{around}|{text}");
            let reply = pair.pooled.run(&batch().run("s", &[&text]).sync());
            assert!(reply.rows()[0].join("|") == row, "a parameter of {around} bytes");
        }
    }
}

/// A Terminate message, which may stand in a value as well.
const GOODBYE: &[u8] = b"X\0\0\0\x04";

#[test]
fn what_looks_like_a_goodbye_within_a_message_is_none() {
    let world = Scenario::new().pool_size(1).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    let value = [b"before".as_slice(), GOODBYE, b"behind"].concat();
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let body = [b"\0\0\0\x01\0\x01\0\x01".as_slice(), &length, &value, b"\0\0"].concat();
    let ask = batch().parse_typed("", "SELECT length($1)", &[17]).frame(b'B', &body);
    let bytes = ask.execute("").sync().bytes;
    let within = bytes.windows(GOODBYE.len()).position(|part| part == GOODBYE).unwrap();
    let (first, rest) = bytes.split_at(within + GOODBYE.len());
    waiting.send_bytes(first);
    world.wait_for_waiting(1);
    waiting.send_bytes(rest);
    holder.query("COMMIT");
    assert_eq!(waiting.read_readies(1).shape(), format!("1 2 D({}) C(SELECT 1) Z(I)", value.len()));
}

/// Each error concerns its own batch, however many stand behind it.
#[test]
fn many_batches_that_fail_take_no_longer_than_they_must() {
    const BATCHES: usize = 20_000;
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.patience(std::time::Duration::from_secs(20));
    let failing = batch().describe('P', "no such portal").sync();
    let bytes = failing.bytes.repeat(BATCHES);
    let mut writer = client.writer();
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes));
    let began = std::time::Instant::now();
    let reply = client.read_readies(BATCHES);
    assert!(reply.shape().starts_with("E(34000) Z(I) E(34000) Z(I)"));
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "{:?}", began.elapsed());
    sending.join().unwrap().unwrap();
}
