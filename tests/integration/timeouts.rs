//! Every timeout: whom it hits, with which SQLSTATE, and whom it leaves alone.

use std::time::{Duration, Instant};

use crate::support::{Batch, RawClient, Scenario, World, query, wait_for};

const SHORT: &str = "300ms";

/// Twice the timeout: who is not hit in that time is not meant.
const OUTLASTS: &str = "SELECT pg_sleep(0.7), 'outlasted'";

fn world(key: &str) -> World {
    Scenario::new().pool_size(1).set(key, SHORT).start()
}

/// The server is clean and the same as before.
#[track_caller]
fn server_goes_on(world: &World, backend: &str) {
    let mut next = world.client();
    assert_eq!(next.backend(), backend);
    let locks = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(next.value(locks), "0");
}

#[test]
fn who_waits_too_long_for_a_server_is_told_so_and_may_try_again() {
    let world = world("timeouts.query_wait_timeout");
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    let reply = waiting.run(&query("SELECT 1"));
    assert_eq!(reply.fault(), "ERROR 53300", "{:?}", reply.error());
    assert_eq!(reply.shape(), "E(53300) Z(I)");
    assert!(reply.error().message.contains("query_wait_timeout"), "{:?}", reply.error());
    holder.query("COMMIT");
    assert_eq!(waiting.value("SELECT 1"), "1");
}

#[test]
fn a_batch_that_waits_too_long_is_answered_at_its_sync() {
    let world = world("timeouts.query_wait_timeout");
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    waiting.send(&Batch::new().parse("s", "SELECT 1").describe('S', "s").flush());
    assert_eq!(waiting.read_tag('E').shape(), "E(53300)");
    let rest = Batch::new().run("s", &[]).sync();
    assert_eq!(waiting.run(&rest).shape(), "Z(I)");
    holder.query("COMMIT");
    assert_eq!(waiting.run(&rest).shape(), "E(26000) Z(I)");
    let again = Batch::new().parse("s", "SELECT 1").then(rest);
    assert_eq!(waiting.run(&again).shape(), "1 2 D(1) C(SELECT 1) Z(I)");
}

#[test]
fn queries_sent_ahead_behind_one_that_waited_too_long_are_answered_too() {
    let world = world("timeouts.query_wait_timeout");
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    let ahead = query("SELECT 1").parse("", "SELECT 2").run("", &[]).sync().query("SELECT 3");
    let shape = waiting.run(&ahead).shape();
    assert_eq!(shape, "E(53300) Z(I) E(53300) Z(I) E(53300) Z(I)");
    holder.query("COMMIT");
}

#[test]
fn the_wait_of_a_database_is_its_own() {
    let scenario = Scenario::new().pool_size(1).set("timeouts.query_wait_timeout", "60s");
    let world = scenario.set_database("query_wait_timeout", SHORT).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    assert_eq!(waiting.run(&query("SELECT 1")).shape(), "E(53300) Z(I)");
    holder.query("COMMIT");
}

#[test]
fn a_query_that_runs_too_long_is_cancelled() {
    let world = world("timeouts.query_timeout");
    let mut client = world.client();
    let backend = client.backend();
    let reply = client.run(&query("SELECT pg_sleep(60)"));
    assert_eq!(reply.error().sqlstate, "57014", "{:?}", reply.error());
    assert_eq!(reply.error().message, "canceling statement due to query_timeout");
    assert_eq!(reply.error().severity, "ERROR");
    // Postgres' own word where the client asked for it.
    let sql = "SET statement_timeout = '50ms'; SELECT pg_sleep(60)";
    let error = client.run(&query(sql)).error();
    assert_eq!(error.message, "canceling statement due to statement timeout");
    drop(client);
    server_goes_on(&world, &backend);
}

#[test]
fn query_timeout_is_for_each_query_of_a_pipeline() {
    let world = world("timeouts.query_timeout");
    let mut client = world.client();
    let short = "SELECT pg_sleep(0.1)";
    let pipeline = query(short).query(short).query(short).query(short).query(short).query(short);
    assert!(!client.run(&pipeline).has_error());
    // Never quiet: the next is sent before the one before it is answered.
    client.send(&query(short));
    for _ in 0..7 {
        client.send(&query(short));
        assert!(!client.read_readies(1).has_error());
    }
    assert!(!client.read_readies(1).has_error());
    assert!(client.run(&query("SELECT pg_sleep(60)")).has_error());
}

#[test]
fn a_query_that_cannot_be_cancelled_ends_its_session() {
    let world = world("timeouts.query_timeout");
    // Postgres waits for the rest of the query.
    let mut half = world.client();
    half.query("SELECT 1");
    let long = query(&format!("SELECT 1 -- {}", "x".repeat(1_000_000)));
    half.send_bytes(&long.bytes[..500_000]);
    assert_eq!(half.read_to_end().shape(), "E(57014) closed");
    // Postgres waits for a client that reads nothing.
    let mut deaf = world.client();
    deaf.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"));
    world.wait_for_query("generate_series");
    wait_for(Duration::from_secs(20), "the session to end", || {
        match world.pooler.admin().clients().len() {
            0 => Ok(()),
            count => Err(count.to_string()),
        }
    });
    world.pooler.wait_for_log("query_timeout");
    assert_eq!(world.client().value("SELECT 1"), "1");
}

#[test]
fn query_timeout_leaves_alone_who_runs_nothing() {
    let world = world("timeouts.query_timeout");
    let mut client = world.client();
    client.query("BEGIN");
    // Each query is short; the transaction as a whole outlasts the timeout.
    for _ in 0..7 {
        client.query("SELECT pg_sleep(0.1)");
    }
    client.query("COMMIT");
    let mut idle = world.client();
    client.query("SELECT pg_sleep(0.1)");
    assert_eq!(idle.value("SELECT 1"), "1");
}

#[test]
fn a_transaction_that_lasts_too_long_is_ended() {
    let world = world("timeouts.transaction_timeout");
    let mut client = world.client();
    let backend = client.backend();
    client.query("BEGIN");
    let ended = loop {
        let reply = client.run(&query("SELECT pg_sleep(0.05)"));
        if reply.has_error() {
            break reply;
        }
    };
    assert_eq!(ended.fault(), "FATAL 25P04", "{:?}", ended.error());
    assert!(client.read_to_end().closed);
    server_goes_on(&world, &backend);
}

#[test]
fn transaction_timeout_ends_a_transaction_that_is_idle_too() {
    let world = world("timeouts.transaction_timeout");
    let mut client = world.client();
    let backend = client.backend();
    client.query("BEGIN");
    assert_eq!(client.read_to_end().fault(), "FATAL 25P04");
    server_goes_on(&world, &backend);
}

#[test]
fn who_idles_in_a_transaction_is_dropped() {
    let world = world("timeouts.idle_transaction_timeout");
    let mut client = world.client();
    let backend = client.backend();
    client.query("BEGIN; CREATE TABLE item (n int)");
    let reply = client.read_to_end();
    assert_eq!(reply.fault(), "FATAL 25P03", "{:?}", reply.error());
    server_goes_on(&world, &backend);
    assert_eq!(world.client().value("SELECT to_regclass('item') IS NULL"), "t");
}

#[test]
fn idle_transaction_timeout_leaves_alone_who_runs_something() {
    let world = world("timeouts.idle_transaction_timeout");
    let mut client = world.client();
    client.query("BEGIN");
    assert_eq!(client.query(OUTLASTS).rows()[0][1], "outlasted");
    client.query("COMMIT");
    let mut idle = world.client();
    client.query(OUTLASTS);
    assert_eq!(idle.value("SELECT 1"), "1");
}

#[test]
fn who_is_idle_too_long_is_dropped() {
    let world = world("timeouts.client_idle_timeout");
    let mut client = world.client();
    client.query("SELECT 1");
    let reply = client.read_to_end();
    assert_eq!(reply.fault(), "FATAL 57P05", "{:?}", reply.error());
    let mut never_asked = world.client();
    assert_eq!(never_asked.read_to_end().fault(), "FATAL 57P05");
}

#[test]
fn client_idle_timeout_leaves_alone_who_asks_for_what_needs_no_server() {
    let world = world("timeouts.client_idle_timeout");
    let mut client = world.client();
    let start = Instant::now();
    // Four times the timeout.
    while start.elapsed() < Duration::from_millis(1_200) {
        assert_eq!(client.run(&Batch::new().sync()).shape(), "Z(I)");
        std::thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn client_idle_timeout_leaves_alone_who_runs_or_waits() {
    let world = world("timeouts.client_idle_timeout");
    let (mut busy, mut waiting) = (world.client(), world.client());
    busy.send(&query(OUTLASTS));
    world.wait_for_query("outlasted");
    waiting.send(&query("SELECT 'served'"));
    assert_eq!(busy.read_readies(1).rows()[0][1], "outlasted");
    assert_eq!(waiting.read_readies(1).value(), "served");
}

/// What Postgres says to a login that takes too long, and what poolers do.
const LOGIN_FAULTS: [&str; 2] = ["FATAL 57014", "FATAL 08P01"];

#[test]
fn a_login_must_be_over_in_time() {
    let world = world("timeouts.client_login_timeout");
    let login = world.login();
    let startup = login.startup();
    for sent in [0, 5, startup.len()] {
        let mut client = RawClient::connect(&login.address);
        client.send_bytes(&startup[..sent]);
        let start = Instant::now();
        let reply = client.read_to_end();
        assert!(LOGIN_FAULTS.contains(&&*reply.fault()), "{sent} bytes: {:?}", reply.error());
        assert!(
            start.elapsed() >= Duration::from_millis(200),
            "{sent} bytes: {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn drip_feeding_does_not_extend_the_login() {
    let world = world("timeouts.client_login_timeout");
    let mut client = RawClient::connect(&world.pooler.address());
    let start = Instant::now();
    for byte in world.login().startup() {
        client.send_bytes(&[byte]);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(LOGIN_FAULTS.contains(&&*client.read_to_end().fault()));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_timeouts_of_a_user_are_its_own() {
    let scenario = Scenario::new().pool_size(1).set("users.other.idle_transaction_timeout", SHORT);
    let world = scenario.set("users.other.client_idle_timeout", "2s").start();
    let login = world.login().user("other", "other_secret");
    let mut app = world.client();
    app.query("BEGIN");
    let mut other = RawClient::login(&login);
    other.query("BEGIN");
    assert_eq!(other.read_to_end().fault(), "FATAL 25P03");
    assert_eq!(RawClient::login(&login).read_to_end().fault(), "FATAL 57P05");
    assert_eq!(app.value("SELECT 1"), "1");
    app.query("COMMIT");
}
