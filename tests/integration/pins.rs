//! Clients that keep their server between transactions for state that no other server has, and the rules about it.

use std::time::Duration;

use crate::support::{Batch, PATIENCE, RawClient, Scenario, Signal, World, query, wait_for};

fn tight() -> Scenario {
    Scenario::new().pool_size(1).set("auth.auth_type", "trust")
}

/// The client holds no server now: another gets the only one.
#[track_caller]
fn is_free(world: &World) {
    assert_eq!(world.client().value("SELECT 1"), "1");
}

#[test]
fn a_listener_hears_while_it_is_idle() {
    let world = Scenario::new().pool_size(2).start();
    let (mut listener, mut other) = (world.client(), world.client());
    listener.query("LISTEN news");
    for round in 0..3 {
        other.query(&format!("NOTIFY news, '{round}'"));
        let heard = listener.frame().expect("it is still connected");
        assert_eq!(heard.tag, b'A');
        let payload = [round.to_string().as_bytes(), b"\0"].concat();
        assert!(heard.body.ends_with(&payload), "{:?}", heard.body);
    }
    listener.query("UNLISTEN *");
    other.query("NOTIFY news");
    assert_eq!(listener.value("SELECT 'quiet'"), "quiet");
}

#[test]
fn a_pin_holds_the_server_and_ends_with_the_state() {
    let world = tight().start();
    let (mut one, mut two) = (world.client(), world.client());
    one.query("CREATE TEMP TABLE mine AS SELECT 7 AS n");
    let backend = one.backend();
    two.send(&query("SELECT pg_backend_pid()"));
    world.wait_for_waiting(1);
    assert_eq!(one.value("SELECT n FROM mine"), "7");
    one.query("DROP TABLE mine");
    assert_eq!(two.read_readies(1).value(), backend);
}

#[test]
fn locks_are_counted() {
    let world = tight().start();
    let mut one = world.client();
    one.query("SELECT pg_advisory_lock(1), pg_advisory_lock(1)");
    one.query("SELECT pg_advisory_unlock(1)");
    let mut two = world.client();
    two.send(&query("SELECT 1"));
    world.wait_for_waiting(1);
    one.query("SELECT pg_advisory_unlock(1)");
    assert_eq!(two.read_readies(1).value(), "1");
}

#[test]
fn what_is_over_with_its_transaction_pins_nobody() {
    let world = tight().start();
    let mut one = world.client();
    for sql in [
        "SELECT pg_advisory_xact_lock(1)",
        "BEGIN; CREATE TEMP TABLE t (n int) ON COMMIT DROP; INSERT INTO t VALUES (1); COMMIT",
        "SELECT pg_advisory_lock(1), pg_advisory_unlock(1)",
        "BEGIN; LISTEN a; ROLLBACK",
        "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c; COMMIT",
    ] {
        one.query(sql);
        is_free(&world);
    }
}

#[test]
fn what_is_rejected_is_an_error_that_says_what_to_do() {
    let world = tight().set("pool.pin", "reject").start();
    let mut one = world.client();
    for sql in [
        "LISTEN a",
        "SELECT pg_advisory_lock(1)",
        "CREATE TEMP TABLE t (n int)",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "PREPARE p AS SELECT 'é'",
        "LOAD 'auto_explain'",
        "SELECT 1; LISTEN a",
    ] {
        let reply = one.run(&query(sql));
        assert_eq!(reply.shape(), "E(0A000) Z(I)", "{sql}");
        let error = reply.error();
        assert!(error.message.contains("the pooler's settings for pins refuse this"), "{error:?}");
        assert!(!error.hint.is_empty(), "{sql}");
        let batch = Batch::new().parse("", sql).run("", &[]).sync();
        if !sql.contains(';') {
            assert_eq!(one.run(&batch).shape(), "1 E(0A000) Z(I)", "{sql}");
        }
    }
    let lock = "SELECT pg_advisory_lock($1)";
    let batch = Batch::new().parse("l", lock).run("l", &["1"]).run("l", &["2"]).sync();
    assert_eq!(one.run(&batch).shape(), "1 E(0A000) Z(I)");
    one.query("BEGIN");
    assert_eq!(one.run(&query("LISTEN a")).shape(), "E(0A000) Z(E)");
    assert_eq!(one.run(&query("SELECT 1")).shape(), "E(25P02) Z(E)");
    one.query("ROLLBACK");
    assert_eq!(one.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
    is_free(&world);
}

#[test]
fn no_more_than_max_pinned_keep_their_servers() {
    let world = Scenario::new().pool_size(3).set("pool.max_pinned", 1).start();
    let (mut one, mut two) = (world.client(), world.client());
    one.query("LISTEN a");
    assert_eq!(two.run(&query("LISTEN a")).shape(), "E(0A000) Z(I)");
    // Who has a pin may have more in it.
    one.query("LISTEN b");
    one.query("BEGIN; CREATE TEMP TABLE m1 (n int); CREATE TEMP TABLE m2 (n int); COMMIT");
    one.query("DROP TABLE m1, m2");
    one.query("UNLISTEN *");
    listens_at_last(&mut two);
    assert_eq!(one.run(&query("LISTEN a")).shape(), "E(0A000) Z(I)");
    two.kill();
    listens_at_last(&mut one);
}

/// A pin ends a moment after its client was answered: Postgres is asked first.
#[track_caller]
fn listens_at_last(client: &mut RawClient) {
    wait_for(PATIENCE, "another's pin to end", || {
        let shape = client.run(&query("LISTEN a")).shape();
        if shape == "C(LISTEN) Z(I)" { Ok(()) } else { Err(shape) }
    });
}

#[test]
fn a_pinned_client_is_idle_to_timeouts_and_to_a_shutdown() {
    let mut world = Scenario::new()
        .set("timeouts.client_idle_timeout", "300ms")
        .set("timeouts.idle_transaction_timeout", "100ms")
        .start();
    let mut one = world.client();
    one.query("LISTEN a");
    let reply = one.read_to_end();
    assert_eq!(reply.shape(), "E(57P05) closed");
    world.pooler.reload(|config| {
        config.set("timeouts.client_idle_timeout", 0);
    });
    let mut two = world.client();
    two.query("LISTEN a");
    world.pooler.signal(Signal::Terminate);
    assert_eq!(two.read_to_end().shape(), "E(57P01) closed");
    assert!(world.pooler.wait_for_exit(Duration::from_secs(5)).success());
    world.skip_rest_check();
}

#[test]
fn session_mode_gives_the_server_back_when_its_client_leaves() {
    let world = tight().set("pool.pool_mode", "session").start();
    let mut one = world.client();
    one.query("CREATE TEMP TABLE mine (n int); SET work_mem = '5MB'");
    let backend = one.backend();
    let mut two = world.client();
    two.send(&query("SELECT pg_backend_pid()"));
    world.wait_for_waiting(1);
    assert_eq!(one.value("SELECT count(*) FROM mine"), "0");
    one.terminate();
    assert_eq!(two.read_readies(1).value(), backend);
    assert_eq!(two.value("SHOW work_mem"), "4MB");
    assert_eq!(two.value("SELECT count(*) FROM pg_class WHERE relname = 'mine'"), "0");
}

#[test]
fn a_library_that_is_not_there_keeps_no_server() {
    let world = tight().start();
    let mut one = world.client();
    assert!(one.run(&query("LOAD 'no_such_library'")).has_error());
    is_free(&world);
}

#[test]
fn modes_are_set_by_database_and_user() {
    let scenario = tight();
    let database = scenario.database().to_owned();
    let world = scenario
        .set(&format!("databases.{database}.pool_mode"), "session")
        .set("users.other.pool_mode", "transaction")
        .start();
    let mut one = world.client();
    one.query("SELECT 1");
    let mut other = RawClient::login(&world.login().user("other", "other_secret"));
    other.query("SELECT 1");
    let pinned = world.pooler.admin().clients();
    let of = |user: &str| pinned.iter().find(|c| c["user"] == user).unwrap()["pinned"].clone();
    assert_eq!(of("app"), "session mode");
    assert_eq!(of("other"), "");
}

#[test]
fn statement_mode_allows_no_transaction_block() {
    let world = tight().set("pool.pool_mode", "statement").start();
    let mut one = world.client();
    one.query("SELECT 1; SELECT 2");
    assert_eq!(one.value("SELECT 3"), "3");
    one.send(&query("BEGIN"));
    assert_eq!(one.read_to_end().shape(), "C(BEGIN) Z(T) E(08P01) closed");
    is_free(&world);
}

#[test]
fn a_role_that_was_taken_away_runs_nothing() {
    let world = tight().start();
    let mut root = world.superuser();
    let role = format!("r_{}", std::process::id());
    root.query(&format!("CREATE ROLE {role}; GRANT {role} TO app; CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC"));
    let (mut one, mut two) = (world.client(), world.client());
    one.query(&format!("SET ROLE {role}"));
    assert_eq!(two.value("SELECT current_user"), "app");
    root.query(&format!("REVOKE {role} FROM app"));
    let insert = "INSERT INTO seen VALUES (current_user)";
    let reply = one.run(&query(insert));
    assert_eq!(reply.shape(), "E(42501) Z(I)", "{:?}", reply.error());
    assert_eq!(two.value("SELECT count(*) FROM seen"), "0");
    root.query(&format!("GRANT {role} TO app"));
    one.query(insert);
    assert_eq!(two.value("SELECT who FROM seen"), role);
    one.query("RESET ROLE");
    root.query(&format!("DROP ROLE {role}"));
}

#[test]
fn reset_goes_back_to_what_the_client_logged_in_with() {
    let world = tight().start();
    let login = world.login().parameter("options", "-c work_mem=6MB -c search_path=mine");
    let mut one = RawClient::login(&login);
    for reset in ["RESET work_mem", "RESET ALL", "SET work_mem TO DEFAULT", "DISCARD ALL"] {
        one.query("SET work_mem = '8MB'");
        assert_eq!(one.value("SHOW work_mem"), "8MB");
        one.query(&format!("BEGIN; {}; ROLLBACK", reset.replace("DISCARD ALL", "RESET ALL")));
        assert_eq!(one.value("SHOW work_mem"), "8MB", "{reset}, rolled back");
        one.query(reset);
        assert_eq!(one.value("SHOW work_mem"), "6MB", "{reset}");
        assert_eq!(one.value("SHOW search_path"), "mine", "{reset}");
        assert_eq!(world.client().value("SHOW work_mem"), "4MB");
    }
}

#[test]
fn always_reset_means_always() {
    let world = tight().set("pool.server_reset", "always").start();
    world.prepare("CREATE FUNCTION hide() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(1); SET work_mem = '5MB'; END $$");
    world.client().query("SELECT hide()");
    let mut two = world.client();
    assert_eq!(two.value("SHOW work_mem"), "4MB");
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(two.value(held), "0");
}

/// As Rails migrates: a session lock around transactions, tried for and given back; two at once.
#[test]
fn two_migrations_at_once_exclude_each_other() {
    let world = Scenario::new().pool_size(2).start();
    world.prepare("CREATE TABLE schema_migrations (version int PRIMARY KEY); GRANT ALL ON schema_migrations TO app");
    let migrate = |number: usize| {
        let mut client = world.client();
        let locked = wait_for(PATIENCE, "the migration lock", || {
            match client.value("SELECT pg_try_advisory_lock(3205853)").as_str() {
                "t" => Ok(client.backend()),
                other => Err(other.to_owned()),
            }
        });
        // Whoever is second finds them done.
        if client.value("SELECT count(*) FROM schema_migrations") == "0" {
            for version in 1..=5 {
                client.query("BEGIN");
                client.query(&format!("INSERT INTO schema_migrations VALUES ({version})"));
                client.query("COMMIT");
                assert_eq!(client.backend(), locked, "migration {number}");
            }
        }
        assert_eq!(client.value("SELECT pg_advisory_unlock(3205853)"), "t");
    };
    std::thread::scope(|scope| {
        for number in 0..4 {
            let migrate = &migrate;
            scope.spawn(move || migrate(number));
        }
    });
    assert_eq!(world.client().value("SELECT count(*) FROM schema_migrations"), "5");
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 3205853";
    assert_eq!(world.client().value(held), "0");
}

/// As django-tenants does: each client sets its schema, and all use the same SQL and statement names, for tables that
/// need not have the same columns.
#[test]
fn two_tenants_with_the_same_statement_see_their_own_rows() {
    let world = tight().start();
    for (tenant, column) in [("a", "name text"), ("b", "number int, name text")] {
        world.prepare(&format!(
            "CREATE SCHEMA tenant_{tenant}; CREATE TABLE tenant_{tenant}.item ({column}); \
             INSERT INTO tenant_{tenant}.item (name) VALUES ('of {tenant}'); \
             GRANT USAGE ON SCHEMA tenant_{tenant} TO app; GRANT ALL ON tenant_{tenant}.item TO app"
        ));
    }
    let (mut one, mut two) = (world.client(), world.client());
    let run = Batch::new().run("items", &[]).sync();
    let parse = Batch::new().parse("items", "SELECT * FROM item").sync();
    one.query("SET search_path = tenant_a, public");
    one.run(&parse);
    two.query("BEGIN; SET search_path = tenant_b, public");
    two.run(&parse);
    two.query("COMMIT");
    for _ in 0..10 {
        assert_eq!(one.run(&run).shape(), "2 D(of a) C(SELECT 1) Z(I)");
        assert_eq!(two.run(&run).shape(), "2 D(∅|of b) C(SELECT 1) Z(I)");
        assert_eq!(one.value("SELECT name FROM item"), "of a");
    }
    // What is only for one transaction makes no difference to others either.
    let mut three = world.client();
    for (tenant, row) in [("a", "of a"), ("b", "∅|of b"), ("a", "of a")] {
        three.query(&format!("BEGIN; SET LOCAL search_path = tenant_{tenant}"));
        let own = Batch::new().parse(tenant, "SELECT * FROM item").run(tenant, &[]).sync();
        let wanted = format!("1 2 D({row}) C(SELECT 1) Z(T)");
        assert_eq!(three.run(&own).shape(), wanted);
        three.query("COMMIT");
        three.run(&Batch::new().close('S', tenant).sync());
        assert_eq!(one.run(&run).shape(), "2 D(of a) C(SELECT 1) Z(I)");
        assert_eq!(two.run(&run).shape(), "2 D(∅|of b) C(SELECT 1) Z(I)");
    }
}

/// One that changes its schema goes on with the statements that it has, where their columns are the same.
#[test]
fn a_statement_follows_its_clients_schema() {
    let world = Scenario::new().pool_size(2).set("auth.auth_type", "trust").start();
    for tenant in ["a", "b"] {
        world.prepare(&format!(
            "CREATE SCHEMA {tenant}; CREATE TABLE {tenant}.item AS SELECT '{tenant}'::text AS name"
        ));
    }
    let (mut pair, mut holder) = (world.pair(), world.client());
    pair.same(&query("SET search_path = a"));
    pair.same(&Batch::new().parse("items", "SELECT * FROM item").sync());
    for round in 0..6 {
        if round % 2 == 1 {
            holder.query("BEGIN");
        }
        for tenant in ["b", "a", "public, b"] {
            pair.same(&query(&format!("SET search_path = {tenant}")));
            pair.same(&Batch::new().run("items", &[]).sync());
        }
        holder.query("ROLLBACK");
    }
}

const LOCK: &str = "DO $$ BEGIN PERFORM pg_advisory_xact_lock(1); END $$";

/// What cannot be read is allowed, and then Postgres is asked what it left.
#[test]
fn what_cannot_be_read_keeps_the_server_only_for_what_it_left() {
    let world = tight().set("pool.pin", "reject").start();
    let (mut one, mut two) = (world.client(), world.client());
    one.query(LOCK);
    is_free(&world);
    one.query("DO $$ BEGIN PERFORM pg_advisory_lock(1); END $$");
    two.send(&query("SELECT 1"));
    world.wait_for_waiting(1);
    one.query("SELECT pg_advisory_unlock(1)");
    assert_eq!(two.read_readies(1).value(), "1");
}

#[test]
fn what_cannot_be_read_can_be_refused() {
    let world = tight().set("pool.unreadable", "reject").start();
    let mut one = world.client();
    for sql in [LOCK, "SELECT set_config('a' || '.b', 'c', false)", "CALL nothing()"] {
        let reply = one.run(&query(sql));
        assert_eq!(reply.shape(), "E(0A000) Z(I)", "{sql}");
        assert!(reply.error().message.contains("unreadable"), "{:?}", reply.error());
        if !sql.starts_with("CALL") {
            let batch = Batch::new().parse("", sql).run("", &[]).sync();
            assert_eq!(one.run(&batch).shape(), "1 E(0A000) Z(I)", "{sql}");
        }
        is_free(&world);
    }
    one.query("SET work_mem = '5MB'; LISTEN a");
    one.query("DISCARD ALL");
}

#[test]
fn what_cannot_be_read_can_keep_the_server() {
    let world = tight().set("pool.unreadable", "pin").set("pool.max_pinned", 1).start();
    let (mut one, mut two, mut three) = (world.client(), world.client(), world.client());
    one.query(LOCK);
    two.send(&query("SELECT 2"));
    world.wait_for_waiting(1);
    one.query("DISCARD ALL");
    assert_eq!(two.read_readies(1).value(), "2");
    one.query(LOCK);
    one.query("DISCARD ALL");
    assert_eq!(three.value("SELECT 3"), "3");
}
