//! Cancel requests: they reach what their client runs now, and never anything else.

use std::time::{Duration, Instant};

use crate::support::{Protocol, RawClient, Scenario, World, query, send_cancel};

/// Would make a test fail by its length if it were not cancelled.
const LONG_QUERY: &str = "SELECT pg_sleep(60)";

const CANCELLED: &str = "T E(57014) Z(I)";

#[test]
fn a_running_query_is_cancelled_and_the_session_lives() {
    let world = Scenario::new().pool_size(1).start();
    for login in [world.login(), world.login().protocol(Protocol::V3_2)] {
        let mut client = RawClient::login(&login);
        client.send(&query(LONG_QUERY));
        world.wait_for_query("pg_sleep(60)");
        client.cancel();
        assert_eq!(client.read_readies(1).shape(), CANCELLED);
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn a_cancel_inside_a_transaction_fails_the_transaction_only() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.query("BEGIN");
    client.send(&query(LONG_QUERY));
    world.wait_for_query("pg_sleep(60)");
    client.cancel();
    assert_eq!(client.read_readies(1).shape(), "T E(57014) Z(E)");
    client.query("ROLLBACK");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn the_cancel_goes_to_the_server_that_the_client_holds_now() {
    let world = Scenario::new().pool_size(2).start();
    let (mut one, mut two) = (world.client(), world.client());
    two.query("BEGIN");
    one.query("SELECT 1");
    two.query("COMMIT");
    one.query("BEGIN");
    two.send(&query("SELECT pg_sleep(60), 'two'"));
    one.send(&query("SELECT pg_sleep(60), 'one'"));
    world.wait_for_query("''two''");
    world.wait_for_query("''one''");
    two.cancel();
    assert_eq!(two.read_readies(1).shape(), CANCELLED);
    one.cancel();
    assert_eq!(one.read_readies(1).shape(), "T E(57014) Z(E)");
    one.query("ROLLBACK");
}

#[test]
fn a_waiting_client_is_taken_out_of_the_queue() {
    let world = Scenario::new().pool_size(1).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    waiting.send(&query("SELECT 1"));
    world.wait_for_waiting(1);
    waiting.cancel();
    let reply = waiting.read_readies(1);
    assert_eq!(reply.shape(), "E(57014) Z(I)");
    assert_eq!(reply.fault(), "ERROR 57014");
    assert_eq!(holder.value("SELECT 'undisturbed'"), "undisturbed");
    holder.query("COMMIT");
    assert_eq!(waiting.value("SELECT 2"), "2");
}

#[test]
fn a_waiting_batch_is_cancelled_as_a_whole() {
    let world = Scenario::new().pool_size(1).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    let batch = crate::support::Batch::new().parse("s", "SELECT 1").run("s", &[]).sync();
    waiting.send(&batch);
    world.wait_for_waiting(1);
    waiting.cancel();
    assert_eq!(waiting.read_readies(1).shape(), "E(57014) Z(I)");
    holder.query("COMMIT");
    // What was not done left its name free.
    assert_eq!(waiting.run(&batch).shape(), "1 2 D(1) C(SELECT 1) Z(I)");
}

#[test]
fn wrong_keys_are_met_with_silence() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.send(&query("SELECT pg_sleep(1)"));
    world.wait_for_query("pg_sleep(1)");
    let right = client.cancel_key.clone().unwrap();
    let mut guesses = vec![right.clone(), right.clone(), right];
    guesses[0].process ^= 1;
    guesses[1].secret[0] ^= 1;
    guesses[2].secret = vec![0; 32];
    for key in &guesses {
        crate::support::send_cancel(&world.pooler.address(), key);
    }
    assert_eq!(client.read_readies(1).shape(), "T D() C(SELECT 1) Z(I)");
}

#[test]
fn keys_are_not_handed_out_twice() {
    const CLIENTS: usize = 100;
    let world = Scenario::new().set("auth.auth_type", "trust").start();
    let clients = world.clients(CLIENTS);
    let mut keys: Vec<_> =
        clients.iter().map(|client| client.cancel_key.clone().unwrap()).collect();
    keys.sort_by(|a, b| (a.process, &a.secret).cmp(&(b.process, &b.secret)));
    keys.dedup();
    assert_eq!(keys.len(), CLIENTS);
}

#[test]
fn the_key_of_an_idle_client_cancels_nobody() {
    let world = Scenario::new().pool_size(1).start();
    let (idle, mut busy) = (world.client(), world.client());
    busy.send(&query("SELECT pg_sleep(0.5)"));
    world.wait_for_query("pg_sleep(0.5)");
    idle.cancel();
    assert_eq!(busy.read_readies(1).shape(), "T D() C(SELECT 1) Z(I)");
}

#[test]
fn the_key_of_a_client_that_left_cancels_nobody() {
    let world = Scenario::new().pool_size(1).start();
    let gone = world.client();
    let key = gone.cancel_key.clone().unwrap();
    drop(gone);
    let mut busy = world.client();
    busy.send(&query("SELECT pg_sleep(0.5)"));
    world.wait_for_query("pg_sleep(0.5)");
    crate::support::send_cancel(&world.pooler.address(), &key);
    assert_eq!(busy.read_readies(1).shape(), "T D() C(SELECT 1) Z(I)");
}

/// The owner's query ends and its cancel arrives at about the same time, while another client waits for the
/// same server.
fn race(world: &World, owner: &mut RawClient, next: &mut RawClient, pause: Duration) {
    owner.send(&query("SELECT pg_sleep(0.01)"));
    next.send(&query("SELECT pg_sleep(0.01), 'next'"));
    let key = owner.cancel_key.clone().unwrap();
    let address = world.pooler.address();
    let cancel = std::thread::spawn(move || {
        std::thread::sleep(pause);
        crate::support::send_cancel(&address, &key);
    });
    let own = owner.read_readies(1).shape();
    assert!(own.ends_with("Z(I)"), "{own}");
    assert_eq!(next.read_readies(1).shape(), "T D(|next) C(SELECT 1) Z(I)", "a late cancel hit it");
    cancel.join().unwrap();
}

#[test]
fn a_late_cancel_never_hits_the_next_client() {
    const ROUNDS: u32 = 150;
    let world = Scenario::new().pool_size(1).start();
    let (mut owner, mut next) = (world.client(), world.client());
    for round in 0..ROUNDS {
        // From well before the end of the query to well behind it.
        race(&world, &mut owner, &mut next, Duration::from_micros(u64::from(round) * 160));
    }
}

#[test]
fn a_storm_of_cancels_leaks_nothing() {
    const THREADS: usize = 10;
    const ROUNDS: usize = 100;
    let world = Scenario::new().pool_size(2).start();
    let storm = || {
        let mut client = world.client();
        for round in 0..ROUNDS {
            client.send(&query("SELECT pg_sleep(0.001)"));
            client.cancel();
            let shape = client.read_readies(1).shape();
            assert!(shape.ends_with("Z(I)"), "{round}: {shape}");
            assert_eq!(client.run(&query("SELECT 7")).frames.last().unwrap().tag, b'Z');
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(storm);
        }
    });
    // A cancel that came late may have hit its own client's next query, but leaves nothing behind.
    let mut client = world.client();
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_cancel_connection_that_says_no_more_holds_up_nobody() {
    const SILENT: usize = 100;
    let world = Scenario::new().pool_size(1).start();
    let silent: Vec<_> = (0..SILENT)
        .map(|_| {
            let mut client = RawClient::connect(&world.pooler.address());
            client.send_bytes(&[0, 0, 0, 16, 4, 210, 22]);
            client
        })
        .collect();
    let start = Instant::now();
    a_cancel_works(&world);
    assert!(start.elapsed() < Duration::from_secs(10));
    drop(silent);
}

fn a_cancel_works(world: &World) {
    let mut client = world.client();
    client.send(&query(LONG_QUERY));
    world.wait_for_query("pg_sleep(60)");
    client.cancel();
    assert_eq!(client.read_readies(1).shape(), CANCELLED);
}

#[test]
fn a_cancel_comes_through_the_unix_socket_too() {
    let world = Scenario::new().pool_size(1).start();
    let mut login = world.login();
    login.address = world.pooler.socket();
    let mut client = RawClient::login(&login);
    client.send(&query(LONG_QUERY));
    world.wait_for_query("pg_sleep(60)");
    client.cancel();
    assert_eq!(client.read_readies(1).shape(), CANCELLED);
}

#[test]
fn after_many_wrong_keys_no_key_from_there_is_looked_at() {
    const MOST_WRONG: usize = 64;
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.send(&query(LONG_QUERY));
    world.wait_for_query("pg_sleep(60)");
    let mut wrong = client.cancel_key.clone().unwrap();
    wrong.secret[0] ^= 1;
    for _ in 0..MOST_WRONG {
        send_cancel(&world.pooler.address(), &wrong);
    }
    // The worker that looks at the keys has seen them once it has answered.
    let _clients = world.pooler.admin().clients();
    client.cancel();
    client.patience(Duration::from_millis(300));
    assert!(client.try_frame().is_err(), "cancelled by somebody who guesses");
    // Not through the network, it is another's.
    send_cancel(&world.pooler.socket(), &client.cancel_key.clone().unwrap());
    client.patience(Duration::from_secs(20));
    assert_eq!(client.read_readies(1).shape(), CANCELLED);
}

/// The cancel arrives just when the client gets its server, which must be told of other settings first.
#[test]
fn a_cancel_at_the_moment_of_getting_a_server_is_not_lost() {
    let world = Scenario::new().pool_size(1).set("auth.auth_type", "trust").start();
    let (mut one, mut two) = (world.client(), world.client());
    one.query("SET work_mem = '5MB'");
    for _ in 0..40 {
        two.query("BEGIN; SET LOCAL work_mem = '6MB'");
        one.send(&query("SELECT pg_sleep(10)"));
        world.wait_for_waiting(1);
        two.send(&query("COMMIT"));
        one.cancel();
        let reply = one.read_readies(1);
        assert_eq!(reply.error().sqlstate, "57014", "{}", reply.shape());
        two.read_readies(1);
    }
}
