//! Clients that move to other schemas, with statements that they prepared before.

use crate::support::{Batch, Pair, RawClient, Scenario, World, query};

/// Two schemas whose tables have the same names; `same` has the columns of `one`, `other` has others.
const TABLES: &str = "
    CREATE SCHEMA one; CREATE TABLE one.item AS SELECT 'one'::text AS name;
    CREATE SCHEMA same; CREATE TABLE same.item AS SELECT 'same'::text AS name;
    CREATE SCHEMA other; CREATE TABLE other.item AS SELECT 2 AS name, true AS more;
    CREATE TABLE item AS SELECT 'public'::text AS name;
    GRANT ALL ON SCHEMA one, same, other TO tenant;
    GRANT ALL ON one.item, same.item, other.item, item TO tenant";

fn world() -> World {
    let scenario = Scenario::new().pool_size(1).set("pool.max_prepared_statements", 1);
    let world = scenario.set("auth.auth_type", "trust").start();
    world.prepare(TABLES);
    world
}

/// Somebody else's statement is what the server knows.
fn forget(other: &mut RawClient) {
    other.run(&Batch::new().parse("", "SELECT 1").run("", &[]).sync());
    other.run(&Batch::new().close('S', "x").parse("x", "SELECT 2").run("x", &[]).sync());
}

fn run() -> Batch {
    Batch::new().run("items", &[]).sync()
}

fn described() -> Batch {
    Batch::new().bind("", "items", &[]).describe('P', "").execute("").sync()
}

/// The moves that bring other columns, and those that do not: from where, what moves, what follows.
const MOVES: [(&str, &str, &str); 7] = [
    ("SET search_path = one", "SET search_path = other", "SELECT 1"),
    ("SET search_path = one", "SET search_path = same", "SELECT 1"),
    ("SELECT 1", "SET search_path = other", "SELECT 1"),
    ("SET search_path = other", "RESET search_path", "SELECT 1"),
    ("SET search_path = one", "BEGIN; SET LOCAL search_path = other", "ROLLBACK"),
    ("SET search_path = one", "BEGIN; SET LOCAL search_path = same, one", "COMMIT"),
    (
        "SET search_path = one",
        "BEGIN; SAVEPOINT s; SET search_path = other; ROLLBACK TO s",
        "COMMIT",
    ),
];

/// Postgres decides by what was prepared, whichever server has it to say so.
#[test]
fn what_was_prepared_before_means_what_it_means_to_postgres() {
    let world = world();
    let (mut pair, mut other) = (world.pair(), world.client());
    for (from, moves, end) in MOVES {
        pair.same(&query(from));
        pair.same(&Batch::new().parse("items", "SELECT * FROM item").sync());
        forget(&mut other);
        pair.same(&query(moves));
        let reply = pair.same(&run());
        if reply.has_error() {
            assert_eq!(reply.error().message, "cached plan must not change result type", "{moves}");
        }
        pair.same(&query("SHOW search_path"));
        pair.same(&query(end));
        pair.same(&query("SHOW search_path"));
        pair.same(&query(from));
        pair.same(&Batch::new().close('S', "items").sync());
        pair.same(&query("RESET search_path"));
    }
}

/// One that has its results described gets those of the schema that it is in, and one that does not hears it once.
#[test]
fn what_moved_goes_on_in_its_new_schemas() {
    let world = world();
    let (mut one, mut other) = (world.client(), world.client());
    one.query("SET search_path = one");
    one.run(&Batch::new().parse("items", "SELECT * FROM item").sync());
    for described_first in [true, false] {
        one.query("SET search_path = other");
        forget(&mut other);
        if !described_first {
            assert_eq!(one.run(&run()).shape(), "E(0A000) Z(I)");
        }
        assert_eq!(one.run(&described()).shape(), "2 T D(2|t) C(SELECT 1) Z(I)");
        assert_eq!(one.run(&run()).shape(), "2 D(2|t) C(SELECT 1) Z(I)");
        one.query("SET search_path = one");
        assert_eq!(one.run(&run()).shape(), "2 D(one) C(SELECT 1) Z(I)");
        assert_eq!(one.run(&described()).shape(), "2 T D(one) C(SELECT 1) Z(I)");
    }
}

/// Where it was prepared is not there any more: it is known by where its client is, from the second time on.
#[test]
fn what_was_prepared_in_schemas_that_are_gone_goes_on() {
    let world = world();
    let (mut one, mut other) = (world.client(), world.client());
    world.prepare("CREATE SCHEMA gone; CREATE TABLE gone.item AS SELECT 'gone'::text AS name");
    one.query("SET search_path = gone");
    one.run(&Batch::new().parse("items", "SELECT * FROM item").sync());
    world.prepare("DROP SCHEMA gone CASCADE");
    one.query("SET search_path = same");
    forget(&mut other);
    assert_eq!(one.run(&run()).shape(), "E(42P01) Z(I)");
    for _ in 0..2 {
        assert_eq!(one.run(&run()).shape(), "2 D(same) C(SELECT 1) Z(I)");
        forget(&mut other);
    }
}

/// Of what a failed transaction is asked for, only its end is done.
#[test]
fn a_prepared_rollback_ends_a_failed_transaction_in_any_schemas() {
    let world = world();
    let (mut pair, mut other) = (world.pair(), world.client());
    pair.same(&query("SET search_path = one"));
    pair.same(&Batch::new().parse("items", "SELECT * FROM item").sync());
    pair.same(&Batch::new().parse("end", "/* app */ ROLLBACK").sync());
    forget(&mut other);
    pair.same(&query("SET search_path = same"));
    pair.same(&query("BEGIN"));
    pair.same(&query("SELECT 1/0"));
    assert_eq!(pair.same(&run()).error().sqlstate, "25P02");
    assert!(!pair.same(&Batch::new().run("end", &[]).sync()).has_error());
    pair.same(&run());
}

/// A text that is bound and not executed moves nobody.
#[test]
fn what_is_not_executed_moves_nothing() {
    let world = world();
    let (mut one, mut two) = (world.client(), world.client());
    one.query("BEGIN");
    one.run(&Batch::new().parse("s", "SET LOCAL search_path = other").bind("", "s", &[]).sync());
    let items = Batch::new().parse("items", "SELECT * FROM item").run("items", &[]).sync();
    assert_eq!(one.run(&items).shape(), "1 2 D(public) C(SELECT 1) Z(T)");
    one.query("COMMIT");
    two.query("SET search_path = other");
    assert_eq!(two.run(&items).shape(), "1 2 D(2|t) C(SELECT 1) Z(I)");
}

/// Nobody else's statements are prepared anew for it.
#[test]
fn who_moves_costs_others_nothing() {
    let world = Scenario::new().pool_size(1).set("auth.auth_type", "trust").start();
    world.prepare(TABLES);
    let (mut one, mut two) = (world.client(), world.client());
    for client in [&mut one, &mut two] {
        client.query("SET search_path = one");
        client.run(&Batch::new().parse("items", "SELECT * FROM item").sync());
        assert_eq!(client.run(&described()).shape(), "2 T D(one) C(SELECT 1) Z(I)");
    }
    let known = "SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql";
    assert_eq!(two.value(known), "1");
    one.run(&Batch::new().parse("own", "SELECT 1").sync());
    one.query("SET search_path = other");
    one.send(&run().run("own", &[]).sync());
    assert_eq!(one.read_readies(2).shape(), "E(0A000) Z(I) 2 D(1) C(SELECT 1) Z(I)");
    assert_eq!(one.run(&described()).shape(), "2 T D(2|t) C(SELECT 1) Z(I)");
    assert_eq!(two.run(&described()).shape(), "2 T D(one) C(SELECT 1) Z(I)");
    let again = Batch::new().parse("again", "SELECT * FROM item").run("again", &[]).sync();
    assert_eq!(two.run(&again).shape(), "1 2 D(one) C(SELECT 1) Z(I)");
    assert_eq!(two.value(known), "3");
}

/// A role in whose schema names would be looked up, and temporary tables, which come first anywhere.
#[test]
fn where_the_schemas_cannot_be_said_it_is_prepared_in_those_of_now() {
    let world = world();
    let mut other = world.client();
    let check = |pair: &mut Pair, other: &mut RawClient, moves: &str| {
        pair.same(&Batch::new().parse("items", "SELECT * FROM item").sync());
        forget(other);
        pair.same(&query(moves));
        pair.same(&run());
        pair.same(&run());
    };
    check(&mut world.pair(), &mut other, "SET ROLE tenant");
    check(
        &mut world.pair(),
        &mut other,
        "BEGIN; CREATE TEMP TABLE item (name text) ON COMMIT DROP",
    );
}
