//! Replication clients: each has a server of its own, and COPY flows in both directions at once.

use std::time::Duration;

use crate::support::{
    Batch, Login, RawClient, Scenario, ServerError, Signal, World, query, wait_for,
};

const SOON: Duration = Duration::from_secs(10);

fn walsender(login: Login) -> RawClient {
    RawClient::login(&login.parameter("replication", "database"))
}

#[track_caller]
fn refusal(login: &Login) -> ServerError {
    RawClient::try_login(login).err().expect("a refusal")
}

/// A standby status update (`r`): everything is written, flushed and applied up to there.
fn status(position: u64) -> Vec<u8> {
    let mut body = vec![b'r'];
    for _ in 0..3 {
        body.extend(position.to_be_bytes());
    }
    body.extend(0_u64.to_be_bytes());
    body.push(0);
    body
}

/// Starts to stream the changes of table `item`.
fn subscribe(world: &World) -> RawClient {
    world.prepare("CREATE TABLE item (n int); CREATE PUBLICATION items FOR TABLE item");
    let mut client = walsender(world.login());
    client.query("CREATE_REPLICATION_SLOT one TEMPORARY LOGICAL pgoutput");
    let start = "START_REPLICATION SLOT one LOGICAL 0/0 \
                 (proto_version '1', publication_names 'items')";
    client.send(&query(start));
    client.read_tag('W');
    client
}

/// Reads changes until one of this kind comes; keepalives are `k`.
fn change(client: &mut RawClient, kind: u8) -> Vec<u8> {
    loop {
        let frame = client.frame().expect("the stream goes on");
        // `w`, three numbers of eight bytes, the change.
        if frame.tag == b'd' && frame.body[0] == b'w' && frame.body[25] == kind {
            return frame.body[25..].to_vec();
        }
    }
}

fn walsenders(world: &World) -> String {
    world.superuser().value("SELECT count(*) FROM pg_stat_replication")
}

#[test]
fn changes_stream_and_feedback_goes_the_other_way_at_the_same_time() {
    let world = Scenario::replicable().start();
    let mut client = subscribe(&world);
    let mut other = world.client();
    for n in 0..50 {
        other.query(&format!("INSERT INTO item VALUES ({n})"));
        let row = change(&mut client, b'I');
        assert!(row.ends_with(n.to_string().as_bytes()), "{row:?}");
        let position = other.value("SELECT pg_current_wal_lsn() - '0/0'").parse().unwrap();
        client.send(&Batch::new().frame(b'd', &status(position)));
    }
    let sql = "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn = pg_current_wal_lsn()";
    let mut superuser = world.superuser();
    wait_for(SOON, "Postgres to hear of it", || match &*superuser.value(sql) {
        "1" => Ok(()),
        _ => Err(superuser.query("TABLE pg_stat_replication").shape()),
    });
    let seen = world.pooler.admin().clients();
    let states: Vec<_> = seen.iter().map(|client| client["state"].as_str().unwrap()).collect();
    assert!(states.contains(&"replication"), "{states:?}");
    assert_eq!(world.pooler.admin().servers().len(), 2, "its own, and one in the pool");
    client.send(&Batch::new().copy_done());
    client.read_tag('Z');
    assert_eq!(client.value("SELECT 1"), "1", "SQL works on the same connection");
    client.terminate();
}

#[test]
fn physical_replication_needs_no_database_of_that_name() {
    let world = Scenario::replicable().start();
    let login = world.login().database("replication").parameter("replication", "true");
    let mut client = RawClient::login(&login);
    let identity = client.query("IDENTIFY_SYSTEM").rows();
    assert_eq!(identity[0].len(), 4, "{identity:?}");
    let refused = client.run(&query("SELECT 1"));
    assert!(refused.has_error(), "no SQL without a database: {}", refused.shape());
}

#[test]
fn a_password_is_proven_by_the_replication_login_itself() {
    let scenario = Scenario::replicable().without("users");
    let world = scenario.set("auth.auth_type", "passthrough").start();
    let login = || world.login().database("replication").parameter("replication", "true");
    let mut client = RawClient::login(&login());
    assert_eq!(client.query("IDENTIFY_SYSTEM").rows().len(), 1);
    assert_eq!(walsenders(&world), "1", "the one that proved the password");
    // Known by now, so that another one is opened.
    let mut second = RawClient::login(&login());
    assert_eq!(second.query("IDENTIFY_SYSTEM").rows().len(), 1);
    let error = refusal(&login().user("app", "wrong"));
    assert_eq!(error.sqlstate, "28P01");
}

#[test]
fn its_settings_are_the_clients() {
    let world = Scenario::replicable().start();
    let login = world.login().parameter("options", "-c application_name=a\\ b -c user=postgres");
    let error = refusal(&login.parameter("replication", "database"));
    assert_eq!(error.sqlstate, "42704", "no user can be smuggled in: {error:?}");
    let login = world.login().parameter("options", "-c application_name=a\\ b -c work_mem=3MB");
    let mut client = walsender(login.parameter("DateStyle", "German"));
    assert_eq!(client.value("SHOW work_mem"), "3MB");
    assert_eq!(client.value("SHOW application_name"), "a b");
    assert_eq!(client.parameter("application_name"), Some("a b"));
    assert_eq!(client.parameter("DateStyle"), Some("German, DMY"));
}

#[test]
fn who_may_not_replicate_hears_it_from_postgres() {
    let world = Scenario::replicable().start();
    let login = world.login().user("other", "other_secret").parameter("replication", "database");
    let error = refusal(&login);
    assert_eq!(error.sqlstate, "42501", "{error:?}");
    let login = world.login().parameter("replication", "maybe");
    assert_eq!(refusal(&login).sqlstate, "22023");
}

#[test]
fn a_query_of_it_can_be_cancelled() {
    let world = Scenario::replicable().start();
    let mut client = walsender(world.login());
    client.send(&query("SELECT pg_sleep(60)"));
    world.wait_for_query("pg_sleep");
    client.cancel();
    assert_eq!(client.read_tag('Z').fault(), "ERROR 57014");
}

#[test]
fn it_takes_a_place_that_postgres_has_and_gives_it_back() {
    let world = Scenario::replicable().set_database("max_db_connections", 1).start();
    let mut other = world.client();
    assert_eq!(other.value("SELECT 1"), "1");
    // The pool's idle server goes for it.
    let first = walsender(world.login());
    let login = world.login().parameter("replication", "database");
    let error = refusal(&login);
    assert_eq!(error.sqlstate, "53300", "{error:?}");
    other.send(&query("SELECT 2"));
    world.wait_for_waiting(1);
    first.terminate();
    assert_eq!(other.read_tag('Z').value(), "2");
}

#[test]
fn no_timeout_ends_a_stream_and_a_dead_client_leaves_nothing() {
    let world = Scenario::replicable()
        .set("timeouts.query_timeout", "200ms")
        .set("timeouts.transaction_timeout", "200ms")
        .set("timeouts.client_idle_timeout", "200ms")
        .start();
    let mut client = subscribe(&world);
    std::thread::sleep(Duration::from_millis(600));
    world.prepare("INSERT INTO item VALUES (7)");
    assert!(change(&mut client, b'I').ends_with(b"7"));
    client.kill();
    wait_for(SOON, "the walsender to end", || match &*walsenders(&world) {
        "0" => Ok(()),
        count => Err(count.to_owned()),
    });
}

#[test]
fn a_drain_ends_a_stream_between_two_messages() {
    let mut world = Scenario::replicable().start();
    let mut client = subscribe(&world);
    world.prepare("INSERT INTO item SELECT generate_series(1, 5000)");
    change(&mut client, b'I');
    world.pooler.signal(Signal::Terminate);
    let last = client.read_to_end();
    assert!(last.shape().ends_with("E(57P01) closed"), "{}", last.shape());
    assert_eq!(world.pooler.wait_for_exit(SOON).code(), Some(0));
    world.skip_rest_check();
}

#[test]
fn a_postgres_that_goes_away_is_heard() {
    let mut world = Scenario::replicable().start();
    let mut client = subscribe(&world);
    world.cluster().crash();
    let last = client.read_to_end();
    assert!(last.shape().ends_with("closed"), "{}", last.shape());
    assert!(last.has_error(), "{}", last.shape());
    world.skip_rest_check();
}
