//! Statements prepared by the protocol and named in SQL: `EXECUTE`, `EXPLAIN EXECUTE`, `DEALLOCATE`, alone and among others.

use crate::differential::said;
use crate::support::{Batch, Pair, RawClient, Scenario, World, query};

/// A server that may know one statement, which somebody else uses between any two messages.
struct Changing {
    pair: Pair,
    other: RawClient,
    // Last: it waits for its clients to be gone.
    world: World,
}

impl Changing {
    fn start() -> Changing {
        let scenario = Scenario::new().pool_size(1).set("pool.max_prepared_statements", 1);
        let world = scenario.set("auth.auth_type", "trust").start();
        world.prepare("CREATE TABLE item AS SELECT 1 AS n; CREATE TABLE gone (n int)");
        let mut pair = world.pair();
        let mut other = world.client();
        other.run(&Batch::new().parse("a", "SELECT 'of another'").sync());
        pair.same(&prepared());
        Changing { pair, other, world }
    }

    /// Replies equal byte for byte, places in errors too.
    #[track_caller]
    fn same(&mut self, batch: &Batch) -> String {
        let expected = said(&self.pair.direct.run(batch));
        let found = said(&self.pair.pooled.run(batch));
        assert_eq!(found.0, expected.0, "the pooler (left) and Postgres (right)");
        assert_eq!(found.1, expected.1, "bytes of the pooler (left) and Postgres (right)");
        if expected.0.ends_with("Z(I)") {
            assert_eq!(self.other.run(&Batch::new().run("a", &[]).sync()).value(), "of another");
        }
        found.0
    }

    #[track_caller]
    fn all(&mut self, texts: &[&str]) {
        for text in texts {
            let _ = self.same(&query(text));
        }
    }
}

fn prepared() -> Batch {
    Batch::new()
        .parse("a", "SELECT $1::int + 1 AS sum")
        .parse("Odd", "SELECT 'odd'")
        .parse("add", "INSERT INTO item VALUES (7)")
        .parse("gone", "SELECT n FROM gone")
        .parse("set", "SET work_mem = '5MB'")
        .sync()
}

#[test]
fn they_are_executed_as_if_they_were_there() {
    let mut changing = Changing::start();
    changing.all(&[
        "EXECUTE a (41)",
        "execute /* why */ \"Odd\" ;",
        "BEGIN; EXECUTE a(1); EXECUTE \"Odd\"; COMMIT",
        "SELECT 1; EXECUTE a(1)",
        "EXPLAIN (COSTS OFF) EXECUTE a(1)",
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) EXECUTE \"Odd\"",
        "CREATE TABLE made AS EXECUTE a(1); SELECT * FROM made; DROP TABLE made",
        "CREATE TEMP TABLE made ON COMMIT DROP AS EXECUTE a(1)",
        "BEGIN",
        "EXECUTE a(2)",
        "EXECUTE add; SAVEPOINT s; EXECUTE add",
        "EXPLAIN (COSTS OFF) EXECUTE a(1)",
        "ROLLBACK TO s; SELECT count(*) FROM item",
        "COMMIT",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; EXECUTE a(1); SHOW transaction_isolation; COMMIT",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; EXECUTE a(1)",
        "EXECUTE set; SHOW work_mem",
        "SHOW work_mem",
        "SELECT count(*) FROM pg_prepared_statements WHERE name = 'Odd'; EXECUTE \"Odd\"",
    ]);
    let both = query("EXECUTE a(4)").then(query("EXECUTE a(5); EXECUTE \"Odd\""));
    changing.same(&both);
    // The name belongs to this client.
    let missing = changing.other.run(&query("SELECT 1; EXECUTE add"));
    assert_eq!(missing.shape(), "T D(1) C(SELECT 1) E(26000) Z(I)");
    assert_eq!(changing.world.backends().len(), 1);
}

#[test]
fn errors_are_heard_once_with_their_places() {
    let mut changing = Changing::start();
    changing.all(&[
        "EXECUTE a (nothing)",
        "SELECT 1; EXECUTE a (1, nothing)",
        "EXECUTE a; SELECT nothing",
        "EXECUTE a (1); SELECT nothing",
        "EXECUTE a ('x')",
        "EXECUTE A; SELECT (",
        "EXECUTE odd",
        "EXPLAIN EXECUTE a (nothing)",
        "BEGIN",
        "EXECUTE a ('x')",
        "EXECUTE a (2)",
        "EXECUTE a (2); ROLLBACK",
        "ROLLBACK",
    ]);
    for direct in [true, false] {
        let world = &changing.world;
        let mut owner = if direct { world.direct() } else { world.superuser() };
        owner.query("DROP TABLE IF EXISTS gone");
    }
    changing.all(&[
        "EXECUTE gone",
        "EXECUTE a (1); EXECUTE gone",
        "INSERT INTO item VALUES (1); EXECUTE gone; SELECT 1",
        "SELECT nothing; EXECUTE gone",
        "EXPLAIN EXECUTE gone",
        "BEGIN",
        "INSERT INTO item VALUES (2); EXECUTE gone; SELECT 1",
        "ROLLBACK",
        "BEGIN; SAVEPOINT t",
        "SAVEPOINT s; EXECUTE gone",
        "ROLLBACK TO s",
        "EXECUTE a (1)",
        "INSERT INTO item VALUES (3); COMMIT; EXECUTE gone",
        "SELECT count(*) FROM item",
        "EXECUTE a (1)",
        "SELECT 1; DEALLOCATE gone",
        "EXECUTE gone",
    ]);
}

#[test]
fn what_deallocates_and_prepares_among_others_is_followed() {
    let mut changing = Changing::start();
    changing.all(&[
        "PREPARE a AS SELECT 2",
        "SELECT 1; PREPARE a AS SELECT 2",
        "EXECUTE a (1); DEALLOCATE a",
        "EXECUTE a (1)",
        "SELECT 1; EXECUTE a (1)",
        "DEALLOCATE a; SELECT 1",
        "PREPARE a AS SELECT 2",
        "EXECUTE a; EXECUTE \"Odd\"",
    ]);
    // By either way of preparing, a name that is taken is taken.
    changing.same(&Batch::new().parse("a", "SELECT 3").sync());
    changing.all(&[
        "DEALLOCATE a; DEALLOCATE \"Odd\"; DEALLOCATE a",
        "EXECUTE \"Odd\"",
        "BEGIN; DEALLOCATE add; ROLLBACK",
        "EXECUTE add",
        "DEALLOCATE ALL; PREPARE gone AS SELECT 'SQL'",
        "EXECUTE gone",
        "DEALLOCATE ALL",
    ]);
    changing.same(&prepared());
    changing.all(&["EXECUTE a (1); DEALLOCATE ALL", "EXECUTE a (1)"]);
    let own =
        "SELECT count(*) FROM pg_prepared_statements WHERE name IN ('a', 'Odd', 'add', 'gone')";
    assert_eq!(changing.other.value(own), "0");
}

/// Drivers that pipeline have no other way.
#[test]
fn a_batch_may_deallocate() {
    let mut changing = Changing::start();
    let drop = |name: &str| Batch::new().parse("", &format!("DEALLOCATE {name}")).run("", &[]);
    changing.same(&drop("a").sync());
    changing.same(&Batch::new().run("a", &["1"]).sync());
    changing.same(&drop("a").sync());
    changing.same(&drop("\"Odd\"").parse("Odd", "SELECT 'even'").run("Odd", &[]).sync());
    changing.same(&query("BEGIN"));
    changing.same(&drop("add").sync());
    changing.same(&query("SELECT nothing"));
    changing.same(&drop("gone").sync());
    changing.same(&query("ROLLBACK"));
    changing.same(&Batch::new().run("add", &[]).sync());
    changing.same(&Batch::new().run("gone", &[]).sync());
    // What is bound and never executed drops nothing.
    changing.same(&Batch::new().parse("", "DEALLOCATE set").bind("", "", &[]).sync());
    changing.same(&Batch::new().run("set", &[]).sync());
}

#[test]
fn what_cannot_be_done_is_refused_in_clear_words() {
    let mut changing = Changing::start();
    let client = &mut changing.pair.pooled;
    let refused = |client: &mut RawClient, batch: &Batch, shape: &str| {
        let reply = client.run(batch);
        assert_eq!(reply.shape(), shape);
        assert!(reply.error().message.contains("prepared by the protocol"), "{:?}", reply.error());
    };
    for text in [
        "COPY item FROM STDIN; EXECUTE a (1)",
        "EXECUTE a (1); DEALLOCATE a; PREPARE a AS SELECT 1",
    ] {
        refused(client, &query(text), "E(0A000) Z(I)");
    }
    let executes = Batch::new().parse("", "EXECUTE a (1)").run("", &[]).sync();
    refused(client, &executes, "1 E(0A000) Z(I)");
    assert_eq!(client.run(&query("BEGIN; SELECT nothing")).shape(), "C(BEGIN) E(42703) Z(E)");
    refused(client, &query("ROLLBACK; EXECUTE a (1)"), "E(0A000) Z(E)");
    assert_eq!(client.run(&query("ROLLBACK")).shape(), "C(ROLLBACK) Z(I)");
    assert_eq!(client.value("EXECUTE a (1)"), "2");
}

/// Names by which servers know what clients share are nobody's in SQL, and what others left under a client's name is not its own.
#[test]
fn what_others_have_prepared_is_out_of_reach() {
    let mut changing = Changing::start();
    for n in 0..20 {
        for text in ["EXECUTE pooler_", "SELECT 1; DEALLOCATE POOLER_", "EXPLAIN EXECUTE pooler_"] {
            let reply = changing.pair.pooled.run(&query(&format!("{text}{n}")));
            assert_eq!(reply.shape(), "E(26000) Z(I)", "{text}{n}");
            let value = changing.other.run(&Batch::new().run("a", &[]).sync()).value();
            assert_eq!(value, "of another");
        }
    }
    let stranger = &mut changing.world.client();
    assert_eq!(stranger.run(&query("DEALLOCATE pooler_1")).shape(), "E(26000) Z(I)");
    assert_eq!(stranger.run(&query("EXECUTE U&\"pooler\\005f1\"")).shape(), "E(0A000) Z(I)");
    // Its own statement of such a name is known to servers by another.
    stranger.run(&Batch::new().parse("pooler_1", "SELECT 'own'").sync());
    assert_eq!(stranger.run(&query("EXECUTE pooler_1")).shape(), "E(0A000) Z(I)");
    assert_eq!(stranger.run(&Batch::new().run("pooler_1", &[]).sync()).value(), "own");
    let drop = Batch::new().parse("", "DEALLOCATE pooler_1").run("", &[]).sync();
    assert_eq!(stranger.run(&drop).shape(), "1 E(0A000) Z(I)");

    changing.world.prepare(
        "CREATE FUNCTION hide() RETURNS void LANGUAGE plpgsql AS \
         $$ BEGIN EXECUTE 'PREPARE ' || 'a AS SELECT ''hidden'''; END $$",
    );
    let _ = changing.other.run(&query("SELECT hide()"));
    assert_eq!(changing.pair.pooled.value("EXECUTE a (1)"), "2");
    let _ = changing.other.run(&query("SELECT hide()"));
    let drop = Batch::new().parse("", "DEALLOCATE a").run("", &[]).sync();
    assert_eq!(changing.pair.pooled.run(&drop).shape(), "1 2 C(DEALLOCATE) Z(I)");
}

#[test]
fn a_name_that_was_just_prepared_in_sql_is_taken() {
    let mut changing = Changing::start();
    changing.all(&["BEGIN", "PREPARE b AS SELECT 'SQL'"]);
    changing.same(&Batch::new().parse("c", "SELECT 'free'").run("c", &[]).sync());
    changing.same(&Batch::new().parse("b", "SELECT 'protocol'").sync());
    changing.all(&["ROLLBACK", "EXECUTE b", "BEGIN", "DEALLOCATE b"]);
    changing.same(&Batch::new().parse("b", "SELECT 'protocol'").sync());
    changing.all(&["EXECUTE b", "COMMIT", "EXECUTE b"]);
}

#[test]
fn long_names_are_cut() {
    let mut changing = Changing::start();
    let name = |length| "x".repeat(length);
    changing.same(&Batch::new().parse(&name(70), "SELECT 'long'").sync());
    changing.all(&[&format!("EXECUTE {}", name(80)), &format!("EXECUTE {}", name(63))]);
    changing.same(&Batch::new().run(&name(64), &[]).sync());
    changing.same(&Batch::new().parse(&name(64), "SELECT 'taken'").sync());
    changing.all(&[&format!("EXECUTE {}", name(62)), &format!("DEALLOCATE {}", name(63))]);
    changing.same(&Batch::new().run(&name(70), &[]).sync());
}

#[test]
fn what_was_refused_is_said_of_its_own_name_only() {
    let mut changing = Changing::start();
    for direct in [true, false] {
        let world = &changing.world;
        let mut owner = if direct { world.direct() } else { world.superuser() };
        owner.query("DROP TABLE IF EXISTS gone");
    }
    changing.all(&["EXECUTE nosuch; EXECUTE gone", "EXECUTE gone; EXECUTE nosuch"]);
    let both = query("SELECT 1/0; EXECUTE gone").then(query("EXECUTE nosuch"));
    changing.same(&both);
    changing.all(&["EXECUTE gone"]);
}

#[test]
fn what_needs_another_order_is_refused() {
    let mut changing = Changing::start();
    let client = &mut changing.pair.pooled;
    client.run(&Batch::new().parse("load", "/* x */ COPY item FROM STDIN").sync());
    for text in ["EXECUTE load", "SELECT 1; EXECUTE load"] {
        assert_eq!(client.run(&query(text)).shape(), "E(0A000) Z(I)", "{text}");
    }
    for text in [
        "LOCK TABLE item; EXECUTE add",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; EXECUTE a (1)",
        "SET LOCAL transaction_isolation TO 'serializable'; EXECUTE a (1)",
        "COMMIT; EXECUTE a (1)",
        "ROLLBACK; EXECUTE a (1)",
    ] {
        assert_eq!(client.run(&query("BEGIN")).shape(), "C(BEGIN) Z(T)");
        assert_eq!(client.run(&query(text)).shape(), "E(0A000) Z(E)", "{text}");
        assert_eq!(client.run(&query("ROLLBACK")).shape(), "C(ROLLBACK) Z(I)");
        assert!(!client.run(&query(text)).shape().contains("0A000"), "{text}");
    }
    assert_eq!(client.value("EXECUTE a (1)"), "2");
}

#[test]
fn a_batch_deallocates_what_it_executes() {
    let mut changing = Changing::start();
    let drop = |text: &str| Batch::new().parse("", text).bind("", "", &[]);
    let two = drop("DEALLOCATE a").parse("two", "SELECT 2").bind("p", "two", &[]);
    changing.same(&two.execute("p").sync());
    changing.same(&Batch::new().run("a", &["1"]).sync());
    let both = drop("DEALLOCATE a").bind("p", "two", &[]).execute("").execute("p").sync();
    changing.same(&both);
    changing.same(&Batch::new().run("a", &["1"]).sync());
    changing.same(&query("BEGIN"));
    changing.same(&drop("DEALLOCATE add").sync());
    changing.same(&Batch::new().execute("").sync());
    changing.same(&query("COMMIT"));
    changing.same(&Batch::new().run("add", &[]).sync());
    let behind = drop("/* x */ DEALLOCATE set").execute("").run("set", &[]).sync();
    changing.same(&behind);
    let pooled = &mut changing.pair.pooled;
    let named = Batch::new().parse("", "DEALLOCATE gone").bind("p", "", &[]).execute("p").sync();
    assert_eq!(pooled.run(&named).shape(), "1 E(0A000) Z(I)");
    assert_eq!(pooled.run(&Batch::new().run("gone", &[]).sync()).shape(), "2 C(SELECT 0) Z(I)");
}

/// What servers share may be lost by what one client does out of sight: others hear of it once.
#[test]
fn what_is_lost_is_prepared_again() {
    let world = Scenario::new().pool_size(1).set("auth.auth_type", "trust").start();
    let (mut one, mut other) = (world.client(), world.client());
    one.run(&Batch::new().parse("a", "SELECT 7").run("a", &[]).sync());
    let shared =
        "SELECT name FROM pg_prepared_statements WHERE NOT from_sql AND statement = 'SELECT 7'";
    let shared = other.value(shared);
    let drop = Batch::new().parse("d", &format!("DEALLOCATE {shared}")).sync();
    assert_eq!(other.run(&drop).shape(), "1 Z(I)");
    assert_eq!(other.run(&query("EXECUTE d")).shape(), "E(0A000) Z(I)");
    assert_eq!(one.run(&Batch::new().run("a", &[]).sync()).shape(), "2 D(7) C(SELECT 1) Z(I)");
    other.query(&format!("DO $$ BEGIN EXECUTE 'DEALLOCATE {shared}'; END $$"));
    assert_eq!(one.run(&Batch::new().run("a", &[]).sync()).shape(), "E(26000) Z(I)");
    assert_eq!(one.run(&Batch::new().run("a", &[]).sync()).shape(), "2 D(7) C(SELECT 1) Z(I)");
}
