//! How many: clients, servers of a pool, a database, a user; and what those beyond a limit are told.

use std::time::{Duration, Instant};

use crate::support::{Login, RawClient, Scenario, World, query, wait_for};

const SOON: Duration = Duration::from_secs(10);

/// Refused with 53300, and the limit by its name.
#[track_caller]
fn refused_by(login: &Login, limit: &str) {
    let error = RawClient::try_login(login).map(drop).expect_err("one too many was let in");
    assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("FATAL", "53300"), "{error:?}");
    assert!(error.message.contains(limit), "{error:?}");
}

/// Waits until a login succeeds: that a place is free again is known a moment after a client left.
fn let_in(login: &Login) -> RawClient {
    wait_for(SOON, "a place to be free", || {
        RawClient::try_login(login).map_err(|error| format!("{error:?}"))
    })
}

fn other(world: &World) -> Login {
    world.login().user("other", "other_secret")
}

#[test]
fn max_client_conn_is_told_to_the_client_beyond_it_only() {
    let world = Scenario::new().set("limits.max_client_conn", 3).start();
    let mut clients = world.clients(3);
    for login in [world.login(), other(&world)] {
        refused_by(&login, "max_client_conn");
    }
    // Who has proven nothing is not told how many there are.
    let stranger = RawClient::try_login(&world.login().user("nobody_known", "x"));
    assert_eq!(stranger.map(drop).expect_err("nobody knows it").sqlstate, "28P01");
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
    drop(clients.pop());
    assert_eq!(let_in(&world.login()).value("SELECT 1"), "1");
}

#[test]
fn clients_of_a_database_are_limited() {
    let world = Scenario::new().set_database("max_db_client_connections", 2).start();
    let (_one, two) = (world.client(), world.client());
    refused_by(&other(&world), "max_db_client_connections");
    two.terminate();
    let_in(&other(&world));
}

#[test]
fn clients_of_a_user_are_limited() {
    let world = Scenario::new().set("users.app.max_user_client_connections", 2).start();
    let (_one, two) = (world.client(), world.client());
    refused_by(&world.login(), "max_user_client_connections");
    let _other = RawClient::login(&other(&world));
    drop(two);
    let_in(&world.login());
}

#[test]
fn a_cancel_gets_through_when_every_place_is_taken() {
    let world = Scenario::new().set("limits.max_client_conn", 1).start();
    let mut client = world.client();
    client.send(&query("SELECT pg_sleep(60)"));
    world.wait_for_query("pg_sleep(60)");
    client.cancel();
    assert_eq!(client.read_readies(1).shape(), "T E(57014) Z(I)");
}

/// How many transactions can be open at once, one per client.
fn open_at_once(world: &World, login: &Login, clients: usize) -> usize {
    let mut clients: Vec<_> = (0..clients).map(|_| RawClient::login(login)).collect();
    for client in &mut clients {
        client.send(&query("BEGIN"));
    }
    let queue = clients.len() as u64;
    world.wait_for_counts(
        |counts| {
            counts.servers_active + counts.clients_waiting == queue && counts.servers_opening == 0
        },
        "every client to be served or to wait",
    );
    usize::try_from(world.pooler.admin().total().servers_active).unwrap()
}

#[test]
fn the_size_of_a_pool_is_set_for_all_for_a_database_and_for_a_user() {
    let world = Scenario::new().pool_size(2).start();
    assert_eq!(open_at_once(&world, &world.login(), 5), 2);
    drop(world);
    let world = Scenario::new().pool_size(2).set_database("pool_size", 3).start();
    assert_eq!(open_at_once(&world, &world.login(), 5), 3);
    drop(world);
    let scenario = Scenario::new().pool_size(2).set_database("pool_size", 3);
    let world = scenario.set("users.app.pool_size", 1).start();
    assert_eq!(open_at_once(&world, &world.login(), 5), 1);
    wait_for(SOON, "the clients to be gone", || match world.pooler.admin().clients().len() {
        0 => Ok(()),
        count => Err(count.to_string()),
    });
    assert_eq!(open_at_once(&world, &other(&world), 5), 3);
}

#[test]
fn reserve_servers_serve_those_who_waited_long_enough() {
    let scenario = Scenario::new().pool_size(1).set("pool.reserve_pool_size", 1);
    let world = scenario.set("pool.reserve_pool_timeout", "500ms").start();
    let (mut holder, mut second, mut third) = (world.client(), world.client(), world.client());
    holder.query("BEGIN");
    let start = Instant::now();
    second.query("BEGIN");
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(450), "served after {waited:?} already");
    assert!(waited < SOON, "served after {waited:?} only");
    third.send(&query("SELECT 'third'"));
    world.wait_for_waiting(1);
    assert_eq!(world.backends().len(), 2);
    second.query("COMMIT");
    assert_eq!(third.read_readies(1).value(), "third");
    holder.query("COMMIT");
}

#[test]
fn min_pool_size_keeps_servers_ready() {
    let world = Scenario::new().set("pool.min_pool_size", 3).start();
    world.client().query("SELECT 1");
    wait_for(SOON, "three servers", || match world.backends().len() {
        3 => Ok(()),
        count => Err(count.to_string()),
    });
}

#[test]
fn an_idle_server_of_a_sibling_makes_room_at_max_db_connections() {
    let world = Scenario::new().set_database("max_db_connections", 2).start();
    let (mut one, mut two) = (world.client(), world.client());
    one.query("BEGIN");
    two.query("BEGIN");
    one.query("COMMIT");
    two.query("COMMIT");
    assert_eq!(world.backends().len(), 2);
    let start = Instant::now();
    let mut third = RawClient::login(&other(&world));
    assert_eq!(third.value("SELECT current_user"), "other");
    assert!(start.elapsed() < SOON);
    // One made room, and one only.
    wait_for(SOON, "two servers", || match world.backends().len() {
        2 => Ok(()),
        count => Err(count.to_string()),
    });
}

#[test]
fn minima_that_do_not_fit_a_shared_limit_leave_servers_in_peace() {
    let scenario = Scenario::new().set("pool.min_pool_size", 2);
    let world = scenario.set_database("max_db_connections", 2).start();
    let mut ours = world.client();
    ours.query("SELECT 1");
    let mut theirs = RawClient::login(&other(&world));
    theirs.query("SELECT 1");
    let before = wait_for(SOON, "two servers", || match world.backends() {
        backends if backends.len() == 2 => Ok(backends),
        backends => Err(backends.join(" ")),
    });
    // Ten rounds of maintenance.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        assert_eq!(world.backends(), before);
    }
    assert_eq!(theirs.value("SELECT current_user"), "other");
    assert_eq!(ours.value("SELECT current_user"), "app");
}

#[test]
fn at_max_db_connections_the_pool_whose_client_waits_longest_is_next() {
    let world = Scenario::new().set_database("max_db_connections", 1).start();
    // Both pools are known before the limit is reached, so that logging in needs no server.
    let mut second = RawClient::login(&other(&world));
    second.query("SELECT 1");
    let (mut holder, mut third) = (world.client(), world.client());
    holder.query("BEGIN");
    second.send(&query("SELECT current_user"));
    world.wait_for_waiting(1);
    third.send(&query("SELECT current_user"));
    world.wait_for_waiting(2);
    third.patience(Duration::from_secs(30));
    holder.query("COMMIT");
    assert_eq!(second.read_readies(1).value(), "other");
    assert_eq!(third.read_readies(1).value(), "app");
}

#[test]
fn servers_of_a_user_are_limited_over_all_databases() {
    let scenario = Scenario::new().set("users.app.max_user_connections", 1);
    let port = i64::from(scenario.cluster().port());
    let scenario = scenario.set("databases.second.host", "127.0.0.1");
    let dbname = scenario.database().to_owned();
    let scenario =
        scenario.set("databases.second.port", port).set("databases.second.dbname", dbname);
    let world = scenario.start();
    let mut first = world.client();
    let mut second = RawClient::login(&world.login().database("second"));
    assert_eq!(second.value("SELECT 1"), "1");
    first.query("BEGIN");
    second.send(&query("SELECT 'second'"));
    world.wait_for_waiting(1);
    assert!(world.backends().len() <= 1);
    first.query("COMMIT");
    assert_eq!(second.read_readies(1).value(), "second");
}

#[test]
fn idle_servers_are_closed_after_a_while() {
    let world = Scenario::new().set("server.server_idle_timeout", "200ms").start();
    let mut client = world.client();
    let backend = client.backend();
    wait_for(SOON, "the server to be closed", || match world.backends().as_slice() {
        [] => Ok(()),
        backends => Err(backends.join(" ")),
    });
    assert_ne!(client.backend(), backend);
}

#[test]
fn servers_are_replaced_at_the_end_of_their_life() {
    let world = Scenario::new().set("server.server_lifetime", "300ms").start();
    let mut client = world.client();
    client.query("BEGIN");
    let backend = client.backend();
    let alive = Instant::now();
    while alive.elapsed() < Duration::from_millis(700) {
        assert_eq!(client.backend(), backend, "a transaction outlives the server's lifetime");
    }
    client.query("COMMIT");
    wait_for(SOON, "another server", || {
        let now = client.backend();
        if now == backend { Err(now) } else { Ok(()) }
    });
}

#[test]
fn a_thousand_clients_on_five_servers_are_all_answered() {
    const CLIENTS: usize = 1000;
    let world = Scenario::new().set("auth.auth_type", "trust").start();
    let mut clients = world.clients(CLIENTS);
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&query(&format!("SELECT {number}")));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read_readies(1).value(), number.to_string());
    }
    assert!(world.backends().len() <= 5);
}

#[test]
fn without_file_descriptors_new_clients_are_refused_and_others_served() {
    const FILES: usize = 80;
    let world = Scenario::new().set("general.workers", 2).file_limit(FILES).start();
    let mut client = world.client();
    let mut taken = Vec::new();
    let refusal = loop {
        match RawClient::try_login(&world.login()) {
            Ok(client) => taken.push(client),
            Err(error) => break error,
        }
        assert!(taken.len() < FILES, "more clients than files");
    };
    assert_eq!(refusal.sqlstate, "53300", "{refusal:?}");
    assert_eq!(client.value("SELECT 1"), "1");
    taken.truncate(1);
    let_in(&world.login());
}
