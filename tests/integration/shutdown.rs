//! SIGTERM and SIGINT: transactions end well, idle clients are told, the program goes with code 0.

use std::time::{Duration, Instant};

use crate::support::{RawClient, Scenario, Signal, World, query, wait_for};

/// A drain with nothing to wait for.
const FAST: Duration = Duration::from_secs(5);

#[track_caller]
fn exits_well(mut world: World) {
    world.skip_rest_check();
    let status = world.pooler.wait_for_exit(FAST);
    assert_eq!(status.code(), Some(0), "{status}");
    wait_for(FAST, "Postgres to be left alone", || match world.backends().as_slice() {
        [] => Ok(()),
        backends => Err(backends.join(" ")),
    });
}

#[test]
fn idle_clients_are_told_and_the_program_ends() {
    for signal in [Signal::Terminate, Signal::Interrupt] {
        let world = Scenario::new().start();
        let mut clients = world.clients(5);
        clients[0].query("SELECT 1");
        world.pooler.signal(signal);
        for client in &mut clients {
            let reply = client.read_to_end();
            assert_eq!(reply.fault(), "FATAL 57P01", "{signal:?}: {}", reply.shape());
        }
        exits_well(world);
    }
}

#[test]
fn without_clients_the_program_ends_at_once() {
    let world = Scenario::new().start();
    world.pooler.signal(Signal::Terminate);
    exits_well(world);
}

#[test]
fn a_transaction_ends_before_its_client_is_told() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (n int)");
    let mut client = world.client();
    client.query("BEGIN; INSERT INTO item VALUES (1)");
    world.pooler.signal(Signal::Terminate);
    wait_until_closed(&world);
    client.query("INSERT INTO item VALUES (2)");
    // The commit is answered in full, and only then comes the end.
    client.send(&query("COMMIT"));
    let reply = client.read_to_end();
    assert_eq!(reply.shape(), "C(COMMIT) Z(I) E(57P01) closed");
    assert_eq!(world.superuser().value("SELECT count(*) FROM item"), "2");
    exits_well(world);
}

/// Nobody new is let in; that is how the outside sees that the drain has begun.
fn wait_until_closed(world: &World) {
    wait_for(FAST, "new clients to be refused", || match RawClient::try_login(&world.login()) {
        Ok(_) => Err("one was let in".to_owned()),
        Err(error) if ["08001", "08006", "57P01", "57P03"].contains(&error.sqlstate.as_str()) => {
            Ok(())
        }
        Err(error) => Err(format!("{error:?}")),
    });
}

#[test]
fn a_running_query_is_waited_for() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.send(&query("SELECT pg_sleep(3), 'done'"));
    world.wait_for_query("pg_sleep(3)");
    world.pooler.signal(Signal::Terminate);
    assert_eq!(client.read_to_end().shape(), "T D(|done) C(SELECT 1) Z(I) E(57P01) closed");
    exits_well(world);
}

#[test]
fn readiness_goes_first() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.query("BEGIN");
    world.pooler.signal(Signal::Terminate);
    world.pooler.wait_for_readiness(503);
    client.query("COMMIT");
    drop(client);
    exits_well(world);
}

#[test]
fn a_transaction_that_does_not_end_is_not_waited_for_longer_than_said() {
    let world = Scenario::new().set("timeouts.shutdown_timeout", "500ms").start();
    let mut client = world.client();
    client.query("BEGIN");
    let start = Instant::now();
    world.pooler.signal(Signal::Terminate);
    let reply = client.read_to_end();
    assert!(start.elapsed() >= Duration::from_millis(400), "ended after {:?}", start.elapsed());
    assert_eq!(reply.fault(), "FATAL 57P01");
    exits_well(world);
}

#[test]
fn a_second_interrupt_waits_for_nothing() {
    let mut world = Scenario::new().start();
    world.skip_rest_check();
    let mut client = world.client();
    client.query("BEGIN");
    world.pooler.signal(Signal::Interrupt);
    wait_until_closed(&world);
    assert_eq!(client.value("SELECT 1"), "1");
    world.pooler.signal(Signal::Interrupt);
    assert!(client.read_to_end().closed);
    let _status = world.pooler.wait_for_exit(FAST);
}

#[test]
fn waiting_clients_are_served_or_told() {
    let world = Scenario::new().pool_size(1).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    waiting.send(&query("SELECT 'served'"));
    world.wait_for_waiting(1);
    world.pooler.signal(Signal::Terminate);
    wait_until_closed(&world);
    holder.send(&query("COMMIT"));
    assert_eq!(holder.read_to_end().shape(), "C(COMMIT) Z(I) E(57P01) closed");
    let shape = waiting.read_to_end().shape();
    let served = "T D(served) C(SELECT 1) Z(I) E(57P01) closed";
    assert!(shape == served || shape == "E(57P01) closed", "{shape}");
    exits_well(world);
}

/// Works until it is told to go; fails when a transaction is broken off.
fn work_until_told(client: &mut RawClient) {
    loop {
        for (sql, expected) in [("BEGIN", "C(BEGIN) Z(T)"), ("SELECT 1", "T D(1) C(SELECT 1) Z(T)")]
        {
            let shape = client.run(&query(sql)).shape();
            if sql == "BEGIN" && (shape == "E(57P01) closed" || shape == "closed") {
                return;
            }
            assert_eq!(shape, expected, "a transaction was broken off");
        }
        let shape = client.run(&query("COMMIT")).shape();
        assert_eq!(shape, "C(COMMIT) Z(I)", "a transaction was broken off");
    }
}

#[test]
fn a_drain_under_load_breaks_off_no_transaction() {
    const CLIENTS: usize = 20;
    let world = Scenario::new().pool_size(3).start();
    let mut clients = world.clients(CLIENTS);
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| work_until_told(client));
        }
        std::thread::sleep(Duration::from_millis(200));
        world.pooler.signal(Signal::Terminate);
    });
    exits_well(world);
}

#[test]
fn connections_that_say_nothing_do_not_hold_up_the_end() {
    let world = Scenario::new().start();
    let mut silent = RawClient::connect(&world.pooler.address());
    let mut half = RawClient::connect(&world.pooler.address());
    half.send_bytes(&world.login().startup()[..6]);
    // Accepted before, so that both have been seen.
    drop(world.client());
    world.pooler.signal(Signal::Terminate);
    for client in [&mut silent, &mut half] {
        assert_eq!(client.read_to_end().shape(), "E(57P01) closed");
    }
    exits_well(world);
}
