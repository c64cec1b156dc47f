//! A cancel request that comes while the server is at something of the pooler's: settings that go ahead, the question
//! behind a transaction. It reaches the request of its client, however early it came, and never another's.

use std::time::{Duration, Instant};

use crate::support::{Batch, RawClient, Scenario, SlowLine, World, query};

/// Would make a test fail by its length if it were not cancelled.
const LONG_QUERY: &str = "SELECT pg_sleep(60)";

/// Not as long as the query.
const SOON: Duration = Duration::from_secs(10);

/// Enough for a request to get to where it is going.
const PAUSE: Duration = Duration::from_millis(200);

/// One server, behind a line that can be held up.
fn world() -> (World, SlowLine) {
    let scenario = Scenario::new().pool_size(1).set("auth.auth_type", "trust");
    let line = SlowLine::to(scenario.cluster().port());
    let world = scenario.set_database("port", i64::from(line.port())).start();
    (world, line)
}

/// What its client sent ends with 57014, well before its time; the server then serves another, who is not disturbed.
#[track_caller]
fn is_cancelled(client: &mut RawClient, other: &mut RawClient, since: Instant) {
    let reply = client.read_readies(1);
    assert!(reply.has_error(), "not cancelled: {}", reply.shape());
    assert_eq!(reply.fault(), "ERROR 57014");
    assert!(since.elapsed() < SOON);

    assert_eq!(other.run(&query("SELECT pg_sleep(0.3)")).shape(), "T D() C(SELECT 1) Z(I)");
    assert_eq!(client.value("SELECT 'goes on'"), "goes on");
}

/// The cancel comes while this text is held up, on its way to the server.
#[track_caller]
fn cancelled_during(prepare: &[&str], other: &str, held: &str, request: &Batch) {
    let (world, line) = world();
    let (mut one, mut two) = (world.client(), world.client());
    prepare.iter().for_each(|sql| drop(one.query(sql)));
    two.query(other);
    line.hold(held);
    let start = Instant::now();
    one.send(request);
    line.wait();
    one.cancel();
    // It has arrived by then, and would have hit nothing.
    std::thread::sleep(PAUSE);
    line.let_go();
    is_cancelled(&mut one, &mut two, start);
}

#[test]
fn while_settings_go_ahead() {
    cancelled_during(&["SET work_mem = '5MB'"], "SELECT 1", "set_config", &query(LONG_QUERY));
    let batch = Batch::new().parse("s", LONG_QUERY).run("s", &[]).sync();
    cancelled_during(&["SET work_mem = '5MB'"], "SET work_mem = '6MB'", "set_config", &batch);
}

#[test]
fn while_settings_that_nothing_depends_on_go_ahead() {
    cancelled_during(&["SET application_name = 'a'"], "SELECT 1", "set_config", &query(LONG_QUERY));
}

#[test]
fn while_a_statement_of_sql_is_prepared_again() {
    cancelled_during(&["PREPARE mine AS SELECT 1"], "SELECT 1", "PREPARE mine", &query(LONG_QUERY));
}

#[test]
fn while_sequences_are_forgotten() {
    let other = "CREATE SEQUENCE numbers; SELECT nextval('numbers'), lastval()";
    cancelled_during(&["SELECT 1"], other, "DISCARD SEQUENCES", &query(LONG_QUERY));
}

/// The question what a transaction left is on its way when its client goes on, and cancels that.
#[track_caller]
fn cancelled_behind_a_question(sql: &str, held: &str, request: &Batch) {
    let (world, line) = world();
    let (mut one, mut two) = (world.client(), world.client());
    two.query("SELECT 1");
    one.query("SELECT 1");
    line.hold(held);
    let start = Instant::now();
    one.query(sql);
    line.wait();
    one.send(request);
    // The pooler has it, or it is in its socket.
    std::thread::sleep(PAUSE);
    one.cancel();
    // It has arrived by then, and would have hit nothing.
    std::thread::sleep(PAUSE);
    line.let_go();
    is_cancelled(&mut one, &mut two, start);
}

#[test]
fn behind_the_question_for_one_setting() {
    cancelled_behind_a_question("SET my.x = '1'", "current_setting", &query(LONG_QUERY));
    let batch = Batch::new().parse("", LONG_QUERY).run("", &[]).sync();
    cancelled_behind_a_question("SET my.x = '1'", "current_setting", &batch);
}

#[test]
fn behind_the_question_for_everything() {
    cancelled_behind_a_question("DO 'BEGIN END'", "current_setting", &query(LONG_QUERY));
}

#[test]
fn behind_the_question_for_a_pin() {
    cancelled_behind_a_question(
        "LISTEN news; UNLISTEN news",
        "pg_listening_channels",
        &query(LONG_QUERY),
    );
}

/// Nothing was asked when the cancel came: what is asked later is not cancelled.
#[test]
fn a_cancel_during_the_question_alone_is_forgotten() {
    let (world, line) = world();
    let mut one = world.client();
    for (sql, held) in [
        ("SET my.x = '1'", "current_setting"),
        ("DO 'BEGIN END'", "current_setting"),
        ("LISTEN news", "pg_listening_channels"),
        ("UNLISTEN news", "pg_listening_channels"),
    ] {
        line.hold(held);
        one.query(sql);
        line.wait();
        one.cancel();
        // It has arrived by then.
        std::thread::sleep(PAUSE);
        one.send(&query("SELECT pg_sleep(0.3)"));
        std::thread::sleep(PAUSE);
        line.let_go();
        let reply = one.read_readies(1);
        assert_eq!(reply.shape(), "T D() C(SELECT 1) Z(I)", "{sql}");
    }
}

/// While the server is at the question, another client waits for it: it is not the one that is cancelled.
#[test]
fn who_waits_behind_the_question_is_not_cancelled() {
    let (world, line) = world();
    let (mut one, mut two) = (world.client(), world.client());
    line.hold("current_setting");
    one.query("SET my.x = '1'");
    line.wait();
    two.send(&query("SELECT pg_sleep(0.5), 'two'"));
    world.wait_for_waiting(1);
    one.cancel();
    // It has arrived by then, and would have hit nothing.
    std::thread::sleep(PAUSE);
    line.let_go();
    assert_eq!(two.read_readies(1).shape(), "T D(|two) C(SELECT 1) Z(I)");
    assert_eq!(one.value("SHOW my.x"), "1");
}
