//! COPY in both directions and both protocols: streamed, failed, cut, and sent ahead.

use std::time::Duration;

use crate::support::{Batch, PATIENCE, Pair, Scenario, World, query, wait_for};

const COPY_IN: &str = "COPY item FROM STDIN";

fn batch() -> Batch {
    Batch::new()
}

fn world() -> World {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (n int)");
    world
}

fn expect_count(pair: &mut Pair, count: u32) {
    pair.expect(&query("SELECT count(*) FROM item"), &format!("T D({count}) C(SELECT 1) Z(I)"));
    pair.direct.query("TRUNCATE item");
}

#[test]
fn rows_go_in_and_come_out() {
    let world = world();
    let mut pair = world.pair();
    let copy_in = query(COPY_IN).copy_data("1\n2\n").copy_data("3\n").copy_done();
    pair.expect(&copy_in, "G C(COPY 3) Z(I)");
    pair.direct.query("TRUNCATE item; INSERT INTO item VALUES (1), (2)");
    pair.expect(&query("COPY item TO STDOUT"), "H d(1) d(2) c C(COPY 2) Z(I)");
    let copy_out = batch().parse("", "COPY item TO STDOUT").run("", &[]).sync();
    pair.expect(&copy_out, "1 2 H d(1) d(2) c C(COPY 2) Z(I)");
}

#[test]
fn one_query_may_hold_two_copies() {
    let world = world();
    let mut pair = world.pair();
    let both = query("COPY item FROM STDIN; COPY item FROM STDIN; COPY item TO STDOUT");
    let both = both.copy_data("1\n").copy_done().copy_data("2\n").copy_done();
    pair.direct.query("BEGIN");
    assert_eq!(
        pair.direct.run(&both).shape(),
        "G C(COPY 1) G C(COPY 1) H d(1) d(2) c C(COPY 2) Z(T)"
    );
    pair.direct.query("ROLLBACK");
    assert_eq!(
        pair.pooled.run(&both).shape(),
        "G C(COPY 1) G C(COPY 1) H d(1) d(2) c C(COPY 2) Z(I)"
    );
}

#[test]
fn a_client_may_give_up() {
    let world = world();
    let mut pair = world.pair();
    let reply =
        pair.expect(&query(COPY_IN).copy_data("1\n").copy_fail("no more"), "G E(57014) Z(I)");
    assert!(reply.error().message.contains("no more"), "{:?}", reply.error());
    let extended = batch().parse("", COPY_IN).run("", &[]).copy_data("1\n").copy_fail("no").sync();
    pair.expect(&extended, "1 2 G E(57014) Z(I)");
    expect_count(&mut pair, 0);
}

#[test]
fn data_behind_an_error_is_thrown_away() {
    let world = world();
    let mut pair = world.pair();
    let bad = query(COPY_IN).copy_data("not a number\n");
    let late = bad.copy_data("1\n").copy_data("2\n").copy_done().query("SELECT 'next'");
    pair.expect(&late, "G E(22P02) Z(I) T D(next) C(SELECT 1) Z(I)");
    let bad = batch().parse("", COPY_IN).run("", &[]).copy_data("not a number\n");
    let late = bad.copy_data("1\n").copy_done().sync().query("SELECT 'next'");
    pair.expect(&late, "1 2 G E(22P02) Z(I) T D(next) C(SELECT 1) Z(I)");
    expect_count(&mut pair, 0);
}

#[test]
fn data_that_comes_after_the_server_was_given_back_hurts_nobody() {
    let world = world();
    let (mut late, mut other) = (world.client(), world.client());
    assert_eq!(late.run(&query(COPY_IN).copy_data("x\n")).shape(), "G E(22P02) Z(I)");
    other.query("BEGIN");
    late.send(&batch().copy_data("1\n").copy_done());
    assert_eq!(other.value("SELECT count(*) FROM item"), "0");
    other.query("COMMIT");
    assert_eq!(late.value("SELECT 'next'"), "next");
    assert_eq!(late.value("SELECT count(*) FROM item"), "0");
}

#[test]
fn a_copy_may_be_sent_ahead_with_its_sync() {
    let world = world();
    let mut pair = world.pair();
    // Postgres reads the first Sync as a part of the copy, and does not answer it.
    let ahead = batch().parse("", COPY_IN).run("", &[]).swallowed_sync();
    let ahead = ahead.copy_data("1\n").copy_data("2\n").copy_done().sync();
    pair.expect(&ahead, "1 2 G C(COPY 2) Z(I)");
    pair.direct.query("TRUNCATE item");
    let twice = ahead.clone().query("SELECT 'between'").then(ahead);
    pair.expect(&twice, "1 2 G C(COPY 2) Z(I) T D(between) C(SELECT 1) Z(I) 1 2 G C(COPY 2) Z(I)");
}

#[test]
fn a_copy_that_never_starts_leaves_no_trace() {
    let world = world();
    let mut pair = world.pair();
    let ahead = batch().parse("", "COPY nowhere FROM STDIN").run("", &[]).sync();
    let ahead = ahead.copy_data("1\n").copy_done().sync().query("SELECT 'next'");
    pair.expect(&ahead, "1 2 E(42P01) Z(I) Z(I) T D(next) C(SELECT 1) Z(I)");
    let ahead = query("COPY nowhere FROM STDIN").copy_data("1\n").copy_done().query("SELECT 1");
    pair.expect(&ahead, "E(42P01) Z(I) T D(1) C(SELECT 1) Z(I)");
}

#[test]
fn a_copy_holds_its_server_until_it_is_over() {
    let world = world();
    let (mut copying, mut other) = (world.client(), world.client());
    copying.send(&query(COPY_IN).copy_data("1\n"));
    assert_eq!(copying.read_tag('G').shape(), "G");
    other.send(&query("SELECT count(*) FROM item"));
    world.wait_for_waiting(1);
    copying.send(&batch().copy_data("2\n").copy_done());
    assert_eq!(copying.read_readies(1).shape(), "C(COPY 2) Z(I)");
    assert_eq!(other.read_readies(1).value(), "2");
}

#[test]
fn a_copy_belongs_to_its_transaction() {
    let world = world();
    let mut pair = world.pair();
    pair.expect(&query("BEGIN"), "C(BEGIN) Z(T)");
    pair.expect(&query(COPY_IN).copy_data("1\n").copy_done(), "G C(COPY 1) Z(T)");
    pair.expect(&query(COPY_IN).copy_data("x\n").copy_done(), "G E(22P02) Z(E)");
    pair.expect(&query("ROLLBACK"), "C(ROLLBACK) Z(I)");
    expect_count(&mut pair, 0);
}

#[test]
fn a_copy_may_be_cut_at_every_byte() {
    let world = world();
    let script = query("COPY item FROM STDIN; COPY item TO STDOUT");
    let script = script.copy_data("1\n").copy_data("2\n").copy_done();
    let mut client = world.client();
    for cut in 1..script.bytes.len() {
        client.send_pieces([&script.bytes[..cut], &script.bytes[cut..]]);
        let shape = client.read_readies(1).shape();
        assert_eq!(shape, "G C(COPY 2) H d(1) d(2) c C(COPY 2) Z(I)", "cut at {cut}");
        client.query("TRUNCATE item");
    }
}

#[test]
fn a_cancelled_copy_ends_and_the_session_lives() {
    let world = world();
    let mut client = world.client();
    client.send(&query(COPY_IN).copy_data("1\n"));
    assert_eq!(client.read_tag('G').shape(), "G");
    client.cancel();
    // Postgres looks for a cancel when more data comes, which may be before the cancel has come.
    client.patience(Duration::from_millis(20));
    let error = wait_for(PATIENCE, "the cancel", || {
        client.send(&batch().copy_data("2\n"));
        client.try_frame().map_err(|error| error.to_string())
    });
    assert_eq!(error.expect("the session lives").shape(), "E(57014)");
    client.patience(PATIENCE);
    assert_eq!(client.read_readies(1).shape(), "Z(I)");
    assert_eq!(client.value("SELECT count(*) FROM item"), "0");
}

#[test]
fn many_rows_pass_both_ways() {
    const ROWS: usize = 1_000_000;
    let world = world();
    let mut client = world.client();
    let rows: Vec<_> = (0..ROWS).map(|row| format!("{row}\n")).collect();
    let mut copy = query(COPY_IN);
    for chunk in rows.chunks(5000) {
        copy = copy.copy_data(&chunk.concat());
    }
    assert_eq!(client.run(&copy.copy_done()).shape(), format!("G C(COPY {ROWS}) Z(I)"));
    let sum = client.value("SELECT sum(n) FROM item");
    assert_eq!(sum, (ROWS * (ROWS - 1) / 2).to_string());
    let reply = client.run(&query("COPY item TO STDOUT"));
    let back =
        reply.frames.iter().filter(|frame| frame.tag == b'd').map(|frame| frame.body.clone());
    assert!(back.flatten().eq(rows.concat().bytes()), "the rows came back changed");
}
