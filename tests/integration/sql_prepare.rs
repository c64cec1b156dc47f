//! Statements prepared with SQL's `PREPARE`: a client's own on every server, and nobody else's.

use crate::support::{Batch, RawClient, Scenario, query};

const NAMES: &str =
    "SELECT string_agg(name, ',' ORDER BY name) FROM pg_prepared_statements WHERE from_sql";

/// A transaction in which the client has a server for itself: the other's next one is another.
fn occupy(holder: &mut RawClient) {
    holder.query("ROLLBACK");
    holder.query("BEGIN");
}

#[test]
fn a_statement_follows_its_client_to_another_server() {
    let world = Scenario::new().pool_size(2).start();
    world.prepare(
        "CREATE SCHEMA mine; CREATE TABLE mine.item AS SELECT 'of mine'::text AS name; \
         CREATE TABLE item AS SELECT 7 AS n",
    );
    let (mut pair, mut holder) = (world.pair(), world.client());
    for sql in [
        "PREPARE one AS SELECT 1; PREPARE two (int) AS SELECT $1 + 1; SELECT 'between'",
        "BEGIN; PREPARE three AS SELECT ';', 3; ROLLBACK",
        "BEGIN",
        "SAVEPOINT s",
        "PREPARE four AS VALUES (4)",
        "ROLLBACK TO s",
        "COMMIT",
        "SET search_path = mine",
        "PREPARE own AS SELECT * FROM item",
        "PREPARE \"Odd \"\"name\" AS SELECT 5",
    ] {
        pair.same(&query(sql));
    }
    let first = pair.pooled.backend();
    occupy(&mut holder);
    assert_eq!(holder.backend(), first);
    let check = |pair: &mut crate::support::Pair| {
        for sql in [
            "EXECUTE one",
            "EXECUTE two(4)",
            "EXECUTE three",
            "EXECUTE four",
            "EXECUTE own",
            "EXECUTE \"Odd \"\"name\"",
            "EXPLAIN (COSTS OFF) EXECUTE one",
            "CREATE TEMP TABLE t ON COMMIT DROP AS EXECUTE one",
            NAMES,
        ] {
            pair.same(&query(sql));
            pair.same(&Batch::new().parse("", sql).run("", &[]).sync());
        }
        pair.same(&Batch::new().run("two", &["6"]).sync());
    };
    check(&mut pair);
    assert_ne!(pair.pooled.backend(), first);
    // Prepared again under another text, then gone one by one and all at once.
    pair.same(&query("PREPARE one AS SELECT 2"));
    pair.same(&query("DEALLOCATE one; PREPARE one AS SELECT 2"));
    pair.same(&query("BEGIN; DEALLOCATE two; ROLLBACK"));
    occupy(&mut holder);
    check(&mut pair);
    for all in ["DEALLOCATE ALL", "DISCARD ALL"] {
        pair.same(&query("PREPARE last AS SELECT 1"));
        pair.same(&query(all));
        occupy(&mut holder);
        check(&mut pair);
    }
}

#[test]
fn two_clients_of_one_server_have_their_own() {
    let world = Scenario::new().pool_size(1).start();
    let (mut one, mut two, mut three) = (world.client(), world.client(), world.client());
    one.query("PREPARE a AS SELECT 'of one'; PREPARE b AS SELECT 'too'");
    two.query("PREPARE a AS SELECT 'of two'");
    for _ in 0..3 {
        assert_eq!(one.value("EXECUTE a"), "of one");
        assert_eq!(two.value("EXECUTE a"), "of two");
        assert_eq!(one.value(NAMES), "a,b");
        assert_eq!(two.run(&query("EXECUTE b")).shape(), "E(26000) Z(I)");
        assert_eq!(three.run(&query("EXECUTE a")).shape(), "E(26000) Z(I)");
    }
    two.query("DEALLOCATE ALL");
    assert_eq!(two.run(&query("EXECUTE a")).shape(), "E(26000) Z(I)");
    assert_eq!(one.value("EXECUTE a"), "of one");
    // Statements that clients share are none of their business.
    let shared = Batch::new().parse("s", "SELECT 's'").sync();
    one.run(&shared);
    three.query("DEALLOCATE ALL");
    assert_eq!(one.run(&Batch::new().run("s", &[]).sync()).value(), "s");
    one.terminate();
    assert_eq!(
        world.client().value("SELECT count(*) FROM pg_prepared_statements WHERE from_sql"),
        "0"
    );
    assert_eq!(world.backends().len(), 1);
}

/// Clients that prepare the same change nothing on the servers that have it.
#[test]
fn what_a_server_has_already_is_not_said_again() {
    let world = Scenario::new().pool_size(1).start();
    let mut clients = world.clients(3);
    for client in &mut clients {
        client.query("PREPARE a AS SELECT 1");
    }
    let since = "SELECT prepare_time FROM pg_prepared_statements WHERE name = 'a'";
    let first = clients[2].value(since);
    for client in &mut clients {
        assert_eq!(client.value(since), first);
    }
}

#[test]
fn a_statement_that_postgres_refuses_by_now_is_missing_where_it_is_executed() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item AS SELECT 1 AS n");
    let (mut one, mut two) = (world.client(), world.client());
    one.query("PREPARE a AS SELECT n FROM item; PREPARE b AS SELECT 'b'");
    world.prepare("DROP TABLE item");
    two.query("SELECT 1");
    assert_eq!(one.value("EXECUTE b"), "b");
    assert_eq!(one.run(&query("EXECUTE a")).shape(), "E(26000) Z(I)");
    assert_eq!(one.value("SELECT 1"), "1");
    // With the table it is back as soon as the server has served another.
    world.prepare("CREATE TABLE item AS SELECT 2 AS n");
    two.query("SELECT 1");
    assert_eq!(one.value("EXECUTE a"), "2");
    assert_eq!(world.backends().len(), 1);
}

#[test]
fn what_cannot_be_said_elsewhere_keeps_the_server() {
    let world = Scenario::new().pool_size(1).set("auth.auth_type", "trust").start();
    let many: String = (0..65).map(|n| format!("PREPARE p{n} AS SELECT {n};")).collect();
    let long = format!("PREPARE l AS SELECT '{}'", "x".repeat(9_000));
    for (make, execute, value) in [
        ("PREPARE a AS SELECT 'é'", "EXECUTE a", "é"),
        (r"PREPARE a AS SELECT E'\x41'", "EXECUTE a", "A"),
        ("PREPARE a AS SELECT 1; DEALLOCATE a; PREPARE a AS SELECT 2", "EXECUTE a", "2"),
        ("PREPARE pooler_9 AS SELECT 9", "EXECUTE pooler_9", "9"),
        (&many, "EXECUTE p64", "64"),
        (&long, "SELECT name FROM pg_prepared_statements WHERE from_sql", "l"),
    ] {
        let (mut one, mut two) = (world.client(), world.client());
        one.query(make);
        two.send(&query(NAMES));
        world.wait_for_waiting(1);
        assert_eq!(one.value(execute), value, "{make}");
        one.query("DEALLOCATE ALL");
        assert_eq!(two.read_readies(1).shape(), "T D(∅) C(SELECT 1) Z(I)", "{make}");
    }
}

/// A function can prepare unseen. The name is taken on its server then: nobody executes it for his own.
#[test]
fn what_a_function_prepared_unseen_is_not_executed_for_another() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare(
        "CREATE FUNCTION hide() RETURNS void LANGUAGE plpgsql AS \
         $$ BEGIN EXECUTE 'PREPARE a AS SELECT ''hidden'''; END $$",
    );
    let (mut one, mut two) = (world.client(), world.client());
    two.query("PREPARE a AS SELECT 'of two'");
    one.query("SET work_mem = '5MB'");
    one.query("SELECT hide()");
    assert_eq!(two.value("EXECUTE a"), "of two");
}

#[test]
fn a_rule_against_pins_is_none_against_what_follows_its_client() {
    let world = Scenario::new().pool_size(1).set("pool.pin", "reject").start();
    let (mut one, mut two) = (world.client(), world.client());
    one.query("PREPARE a AS SELECT 1");
    two.query("SELECT 1");
    assert_eq!(one.value("EXECUTE a"), "1");
    assert_eq!(one.run(&query(r"PREPARE b AS SELECT E'\x41'")).shape(), "E(0A000) Z(I)");
}
