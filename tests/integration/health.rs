//! Postgres goes away and comes back: who notices, what they are told, and how soon all is well.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::support::{FakeServer, RawClient, Scenario, World, query, wait_for};

/// A refused connect is known at once; the rest is for busy machines.
const FAST: Duration = Duration::from_secs(3);

/// The promise: service within a second of Postgres' return.
const RECOVERY: Duration = Duration::from_secs(1);

/// SQLSTATE of class 08 or "cannot connect now": the server is away. Never 53300, which is saturation.
#[track_caller]
fn away(sqlstate: &str) {
    assert!(sqlstate.starts_with("08") || sqlstate.starts_with("57P"), "{sqlstate}");
}

/// Asks until there is an answer; how long that took.
fn until_answered(world: &World) -> Duration {
    let start = Instant::now();
    wait_for(Duration::from_secs(20), "service", || {
        let mut client =
            RawClient::try_login(&world.login()).map_err(|error| format!("{error:?}"))?;
        let reply = client.run(&query("SELECT 1"));
        if reply.has_error() { Err(reply.shape()) } else { Ok(()) }
    });
    start.elapsed()
}

#[test]
fn an_idle_server_that_died_is_replaced_unseen() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    for _ in 0..5 {
        let backend = client.backend();
        world.terminate_backend(&backend);
        assert_ne!(client.backend(), backend);
    }
}

#[test]
fn the_death_of_a_server_in_a_transaction_is_told_in_its_last_words() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.query("BEGIN");
    let backend = client.backend();
    world.terminate_backend(&backend);
    let reply = client.read_to_end();
    assert_eq!(reply.fault(), "FATAL 57P01", "{:?}", reply.error());
    assert_eq!(world.client().value("SELECT 1"), "1");
}

#[test]
fn the_death_of_a_server_in_a_query_is_told_in_its_last_words() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    let backend = client.backend();
    client.send(&query("SELECT pg_sleep(60)"));
    world.wait_for_query("pg_sleep(60)");
    world.terminate_backend(&backend);
    let reply = client.read_readies(1);
    assert_eq!(reply.error().sqlstate, "57P01", "{:?}", reply.error());
    assert_eq!(world.client().value("SELECT 1"), "1");
}

#[test]
fn a_stop_of_postgres_is_told_fast_and_its_return_found_within_a_second() {
    let world = Scenario::with_own_postgres().start();
    let (mut idle, mut busy) = (world.client(), world.client());
    idle.query("SELECT 1");
    busy.query("BEGIN");
    world.cluster().stop();
    let start = Instant::now();
    away(&busy.read_to_end().error().sqlstate);
    away(&idle.run(&query("SELECT 1")).error().sqlstate);
    assert!(start.elapsed() < FAST, "told after {:?}", start.elapsed());
    let start = Instant::now();
    if let Err(error) = RawClient::try_login(&world.login()) {
        away(&error.sqlstate);
    }
    assert!(start.elapsed() < FAST, "told after {:?}", start.elapsed());
    world.cluster().resume();
    let took = until_answered(&world);
    assert!(took < RECOVERY, "recovered after {took:?}");
}

#[test]
fn a_crash_restart_costs_idle_clients_a_delay_only() {
    let world = Scenario::with_own_postgres().start();
    let mut clients = world.clients(5);
    for client in &mut clients {
        client.query("SELECT 1");
    }
    world.cluster().crash();
    world.cluster().resume();
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn clients_that_come_while_postgres_is_away_are_told_at_once_and_kept_to_nothing() {
    let world = Scenario::with_own_postgres().start();
    world.cluster().stop();
    for _ in 0..20 {
        let start = Instant::now();
        let error = RawClient::try_login(&world.login()).map(drop).expect_err("there is no server");
        away(&error.sqlstate);
        assert!(start.elapsed() < FAST, "told after {:?}", start.elapsed());
    }
    world.cluster().resume();
    let took = until_answered(&world);
    assert!(took < RECOVERY, "recovered after {took:?}");
}

#[test]
fn readiness_follows_postgres() {
    let scenario = Scenario::with_own_postgres();
    let world = scenario.set("server.health_check_interval", "100ms").start();
    let until = |status| world.pooler.wait_for_readiness(status);
    until(200);
    world.cluster().stop();
    until(503);
    assert_eq!(world.pooler.admin().get("/healthz", "*/*").status, 200);
    world.cluster().resume();
    until(200);
}

#[test]
fn a_database_that_is_away_holds_up_no_other() {
    // Accepts and never answers: nothing reads what the kernel has taken.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    // Nobody listens on port 1.
    let scenario = Scenario::new().foreign_database("silent", port).foreign_database("refused", 1);
    // With trust the startup packet is all of a login.
    let scenario = scenario.set("auth.auth_type", "trust");
    let world = scenario.set("server.server_connect_timeout", "2s").start();
    let mut stuck = RawClient::connect(&world.pooler.address());
    let login = world.login().database("silent");
    stuck.send_bytes(&login.startup());
    let start = Instant::now();
    let refused = RawClient::try_login(&world.login().database("refused"));
    away(&refused.map(drop).expect_err("nobody listens").sqlstate);
    assert_eq!(world.client().value("SELECT 1"), "1");
    assert!(start.elapsed() < FAST, "held up for {:?}", start.elapsed());
    away(&stuck.finish_login(&login).expect_err("nobody answers").sqlstate);
}

#[test]
fn saturation_is_not_taken_for_absence() {
    let scenario = Scenario::new().pool_size(1).set("timeouts.query_wait_timeout", "200ms");
    let world = scenario.set("server.health_check_interval", "100ms").start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    for _ in 0..5 {
        assert_eq!(waiting.run(&query("SELECT 1")).shape(), "E(53300) Z(I)");
        assert_eq!(world.pooler.admin().get("/readyz", "*/*").status, 200);
    }
    holder.query("COMMIT");
    assert_eq!(waiting.value("SELECT 1"), "1");
}

#[test]
fn too_many_connections_at_postgres_itself_are_told_in_its_words() {
    let world = Scenario::new().pool_size(3).start();
    world.superuser().query(&format!("ALTER DATABASE {} CONNECTION LIMIT 1", world.database));
    let (mut one, mut two) = (world.client(), world.client());
    one.query("BEGIN");
    two.send(&query("SELECT 'two'"));
    // The one connection there is serves both in turn, or the second is told why not.
    world.wait_for_counts(|counts| counts.servers_opening == 0, "the second connection to fail");
    one.query("COMMIT");
    let reply = two.read_readies(1);
    if reply.has_error() {
        assert_eq!(reply.error().sqlstate, "53300", "{:?}", reply.error());
    } else {
        assert_eq!(reply.value(), "two");
    }
    assert_eq!(world.client().value("SELECT 1"), "1");
}

#[test]
fn a_login_that_hangs_at_postgres_holds_up_no_other() {
    // The first connection is never answered, all others are as they should be.
    let server = FakeServer::start(|number, session| match number {
        0 => while session.frame().is_some() {},
        _ => {
            session.welcome();
            session.echo();
        }
    });
    let scenario = Scenario::new().foreign_database("fake", server.port());
    let scenario = scenario.set("auth.auth_type", "trust");
    let scenario = scenario.set("server.health_check_interval", "0");
    let world = scenario.set("server.server_connect_timeout", "20s").start();
    let login = world.login().database("fake");
    let start = Instant::now();
    let mut first = RawClient::connect(&login.address);
    first.send_bytes(&login.startup());
    wait_for(FAST, "the first connection", || match server.accepted() {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    });
    let mut second = RawClient::login(&login);
    assert_eq!(second.value("second"), "second");
    // And the one whose connection hangs takes what the other gives back.
    first.finish_login(&login).unwrap().expect("logged in");
    assert_eq!(first.value("first"), "first");
    assert!(start.elapsed() < FAST, "held up for {:?}", start.elapsed());
    // Ends the login that hangs.
    drop(server);
}

#[test]
fn a_password_that_postgres_refuses_makes_the_pooler_unready() {
    let mut world = Scenario::new()
        .set_database("user", "other")
        .set_database("password", "not_the_password")
        .start();
    let ready = |world: &World| world.pooler.admin().get("/readyz", "text/plain");
    assert!(RawClient::try_login(&world.login()).is_err());
    let answer = ready(&world);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("password authentication failed"), "{answer:?}");
    // Put right, it is known at once: no client has to try first.
    let password = format!("databases.{}.password", world.database);
    world.pooler.reload(|config| {
        config.set(&password, "other_secret");
    });
    wait_for(FAST, "readiness", || match ready(&world) {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.body),
    });
    assert_eq!(world.client().value("SELECT current_user"), "other");
}

#[test]
fn without_a_check_delay_every_use_of_a_server_is_checked() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = FakeServer::start({
        let seen = Arc::clone(&seen);
        move |_, session| {
            session.welcome();
            while let Some(frame) = session.frame() {
                if frame.tag == b'Q' {
                    seen.lock().push(frame.text());
                    session.row(&frame.text());
                    session.ready();
                }
            }
        }
    });
    let scenario = Scenario::new().foreign_database("fake", server.port()).pool_size(1);
    let scenario = scenario.set("server.server_check_query", "SELECT 'check'");
    let world = scenario.set("server.server_check_delay", "0").start();
    let mut client = RawClient::login(&world.login().database("fake"));
    seen.lock().clear();
    for sql in ["one", "two"] {
        assert_eq!(client.value(sql), sql);
    }
    assert_eq!(*seen.lock(), ["SELECT 'check'", "one", "SELECT 'check'", "two"]);
}
