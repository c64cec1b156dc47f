//! Many clients on few servers: who holds a server, for how long, and that transactions are never mixed.

use std::collections::BTreeSet;

use crate::support::{Batch, Scenario, query};

#[test]
fn fifty_clients_share_two_servers() {
    const CLIENTS: usize = 50;
    const ROUNDS: usize = 20;
    let world = Scenario::new().pool_size(2).set("auth.auth_type", "trust").start();
    let mut clients = world.clients(CLIENTS);
    std::thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // Each answer carries the name of who asked.
                    let nonce = format!("{number}.{round}");
                    assert_eq!(client.value(&format!("SELECT '{nonce}'")), nonce);
                }
            });
        }
    });
    assert_eq!(world.backends().len(), 2);
}

#[test]
fn a_transaction_stays_on_its_server() {
    let world = Scenario::new().pool_size(2).start();
    let (mut one, mut two) = (world.client(), world.client());
    one.query("BEGIN");
    two.query("BEGIN");
    let (first, second) = (one.backend(), two.backend());
    assert_ne!(first, second);
    for _ in 0..20 {
        assert_eq!(one.backend(), first);
        assert_eq!(two.backend(), second);
    }
    one.query("COMMIT");
    two.query("ROLLBACK");
}

#[test]
fn a_server_goes_to_the_next_client_at_the_end_of_the_transaction() {
    let world = Scenario::new().pool_size(1).start();
    let (mut one, mut two) = (world.client(), world.client());
    one.query("BEGIN");
    let backend = one.backend();
    two.send(&query("SELECT pg_backend_pid()"));
    world.wait_for_waiting(1);
    assert_eq!(one.backend(), backend);
    one.query("COMMIT");
    assert_eq!(two.read_readies(1).value(), backend);
}

#[test]
fn a_failed_transaction_is_kept_until_it_is_ended() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(&query("BEGIN"), "C(BEGIN) Z(T)");
    pair.expect(&query("SELECT 1 / 0"), "E(22012) Z(E)");
    pair.expect(&query("SELECT 1"), "E(25P02) Z(E)");
    pair.expect(&Batch::new().parse("", "SELECT 1").run("", &[]).sync(), "E(25P02) Z(E)");
    pair.expect(&query("COMMIT"), "C(ROLLBACK) Z(I)");
    pair.expect(&query("SELECT 1"), "T D(1) C(SELECT 1) Z(I)");
}

#[test]
fn simple_queries_answer_as_postgres_does() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (n int); GRANT ALL ON item TO app");
    let mut pair = world.pair();
    pair.expect(&query(""), "I Z(I)");
    pair.expect(&query(";;"), "I Z(I)");
    pair.expect(&query("SELECT 1; SELECT 2"), "T D(1) C(SELECT 1) T D(2) C(SELECT 1) Z(I)");
    pair.expect(&query("INSERT INTO item VALUES (1); SELECT 1/0"), "C(INSERT 0 1) E(22012) Z(I)");
    pair.expect(&query("SELECT count(*) FROM item"), "T D(0) C(SELECT 1) Z(I)");
    pair.expect(&query("nonsense"), "E(42601) Z(I)");
    pair.expect(&query("BEGIN; SAVEPOINT s; SELECT 1/0"), "C(BEGIN) C(SAVEPOINT) E(22012) Z(E)");
    pair.expect(&query("ROLLBACK TO s"), "C(ROLLBACK) Z(T)");
    pair.expect(&query("COMMIT AND CHAIN"), "C(COMMIT) Z(T)");
    pair.expect(
        &query("SELECT 1; COMMIT; SELECT 2"),
        "T D(1) C(SELECT 1) C(COMMIT) T D(2) C(SELECT 1) Z(I)",
    );
}

#[test]
fn waiting_clients_are_served_in_the_order_they_came() {
    const CLIENTS: u64 = 8;
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE served (place serial, client int)");
    let mut holder = world.client();
    let mut clients = world.clients(usize::try_from(CLIENTS).unwrap());
    holder.query("BEGIN");
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&query(&format!("INSERT INTO served (client) VALUES ({number})")));
        world.wait_for_waiting(number as u64 + 1);
    }
    holder.query("COMMIT");
    for client in &mut clients {
        assert_eq!(client.read_readies(1).shape(), "C(INSERT 0 1) Z(I)");
    }
    let order = holder.query("SELECT client FROM served ORDER BY place").rows().concat();
    let expected: Vec<_> = (0..CLIENTS).map(|number| number.to_string()).collect();
    assert_eq!(order, expected);
}

#[test]
fn a_thousand_transactions_do_not_wear_out_servers() {
    let world = Scenario::new().pool_size(2).start();
    let mut client = world.client();
    let mut seen = BTreeSet::new();
    for round in 0..1000 {
        client.query("BEGIN");
        seen.insert(client.backend());
        client.query(if round % 2 == 0 { "COMMIT" } else { "ROLLBACK" });
    }
    assert_eq!(seen.len(), 1, "an idle server is used again before a new one is opened");
    assert_eq!(world.backends().len(), 1);
}

#[test]
fn a_client_that_leaves_after_its_reply_leaves_its_server() {
    let world = Scenario::new().pool_size(1).start();
    let backend = world.client().backend();
    for round in 0..50 {
        let mut client = world.client();
        assert_eq!(client.backend(), backend, "round {round}");
        if round % 2 == 0 {
            client.terminate();
        }
    }
}

#[test]
fn notices_and_changed_parameters_reach_their_client() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    let reply = client.query("DO $$ BEGIN RAISE NOTICE 'look here'; END $$");
    assert_eq!(reply.notices(), ["look here"]);
    client.query("SET application_name = 'renamed'");
    assert_eq!(client.parameter("application_name"), Some("renamed"));
}

#[test]
fn function_calls_are_passed_on() {
    let world = Scenario::new().pool_size(1).start();
    // pg_proc.dat: int4pl is 177, and has been since Postgres95.
    let mut pair = world.pair();
    let reply = pair.expect(&Batch::new().function_call(177, &["40", "2"]), "V Z(I)");
    assert!(reply.frames[0].body.ends_with(b"42"));
    pair.expect(&Batch::new().function_call(1, &[]), "E(42883) Z(I)");
    pair.expect(&query("SELECT 1"), "T D(1) C(SELECT 1) Z(I)");
}

#[test]
fn large_objects_work_inside_a_transaction() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.query("BEGIN");
    let oid = client.value("SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex'))");
    let opened = client.value(&format!("SELECT lo_open({oid}, 262144)"));
    assert_eq!(client.value(&format!("SELECT length(loread({opened}, 200000))")), "100000");
    assert_eq!(client.value(&format!("SELECT lo_unlink({oid})")), "1");
    client.query("COMMIT");
}

#[test]
fn cursors_live_as_long_as_their_transaction() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    pair.expect(
        &query("BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 3); FETCH 2 FROM c"),
        "C(BEGIN) C(DECLARE CURSOR) T D(1) D(2) C(FETCH 2) Z(T)",
    );
    pair.expect(&query("FETCH 2 FROM c"), "T D(3) C(FETCH 1) Z(T)");
    pair.expect(&query("COMMIT"), "C(COMMIT) Z(I)");
    pair.expect(&query("FETCH 1 FROM c"), "E(34000) Z(I)");
}

#[test]
fn pools_of_different_users_do_not_mix() {
    let world = Scenario::new().pool_size(1).start();
    let mut app = world.client();
    let other = world.login().user("other", "other_secret");
    let mut other = crate::support::RawClient::login(&other);
    app.query("BEGIN");
    assert_eq!(other.value("SELECT current_user"), "other");
    assert_eq!(app.value("SELECT session_user"), "app");
    app.query("COMMIT");
    assert_eq!(world.backends().len(), 2);
}
