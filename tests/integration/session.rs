//! Settings a client makes for its session: kept for it on every server, and for nobody else.

use crate::support::{Pair, RawClient, Scenario, query};

/// Settings that Postgres reports when they change.
const REPORTED: [(&str, &str); 5] = [
    ("application_name", "shop"),
    ("TimeZone", "Asia/Tokyo"),
    ("DateStyle", "German, DMY"),
    ("IntervalStyle", "iso_8601"),
    ("client_encoding", "LATIN1"),
];

fn show(client: &mut RawClient, name: &str) -> String {
    client.value(&format!("SHOW {name}"))
}

#[test]
fn a_setting_stays_with_its_client() {
    let world = Scenario::new().pool_size(1).start();
    let (mut one, mut two) = (world.client(), world.client());
    for (name, value) in REPORTED {
        let default = show(&mut two, name);
        one.query(&format!("SET {name} = '{value}'"));
        for _ in 0..3 {
            assert_eq!(show(&mut two, name), default, "{name} leaked");
            assert_eq!(show(&mut one, name), value, "{name} was lost");
        }
    }
    assert_eq!(world.backends().len(), 1);
}

#[test]
fn a_setting_goes_with_its_client_to_another_server() {
    let world = Scenario::new().pool_size(2).start();
    let (mut client, mut holder) = (world.client(), world.client());
    for (name, value) in REPORTED {
        client.query(&format!("SET {name} = '{value}'"));
    }
    let backend = client.backend();
    holder.query("BEGIN");
    assert_eq!(holder.backend(), backend);
    for (name, value) in REPORTED {
        assert_eq!(show(&mut client, name), value);
    }
    assert_ne!(client.backend(), backend);
    holder.query("COMMIT");
}

/// Sets, resets and rolls back as Postgres does, step by step.
fn same_values(pair: &mut Pair, steps: &[&str]) {
    for step in steps {
        pair.same(&query(step));
        for (name, _) in REPORTED {
            pair.same(&query(&format!("SHOW {name}")));
            assert_eq!(
                pair.pooled.parameter(name),
                pair.direct.parameter(name),
                "{name} after {step}"
            );
        }
    }
}

#[test]
fn settings_follow_their_transaction() {
    let world = Scenario::new().pool_size(1).start();
    let mut pair = world.pair();
    same_values(
        &mut pair,
        &[
            "SET TimeZone = 'Asia/Tokyo'",
            "BEGIN; SET TimeZone = 'UTC'; SET application_name = 'inside'",
            "ROLLBACK",
            "BEGIN; SET LOCAL TimeZone = 'Europe/Berlin'",
            "COMMIT",
            "BEGIN; SET DateStyle = 'German'; SAVEPOINT s; SET DateStyle = 'SQL'",
            "ROLLBACK TO s",
            "COMMIT",
            "RESET TimeZone",
            "RESET ALL",
            "SET SESSION application_name TO 'later'",
            "DISCARD ALL",
        ],
    );
}

#[test]
fn two_tenants_of_one_server_do_not_meet() {
    const ROUNDS: usize = 200;
    let world = Scenario::new().pool_size(1).start();
    for tenant in ["red", "blue"] {
        world.prepare(&format!(
            "CREATE SCHEMA {tenant}; CREATE TABLE {tenant}.item AS SELECT '{tenant}' AS owner"
        ));
    }
    let log_in = |tenant| {
        let options = format!("-c search_path={tenant}");
        RawClient::login(&world.login().parameter("options", &options))
    };
    let (mut red, mut blue) = (log_in("red"), log_in("blue"));
    // The same text under the same name: only the path differs.
    let parse = crate::support::Batch::new().parse("s", "SELECT owner FROM item");
    let run = crate::support::Batch::new().run("s", &[]).sync();
    red.run(&parse.clone().sync());
    blue.run(&parse.sync());
    for _ in 0..ROUNDS {
        assert_eq!(red.run(&run).value(), "red");
        assert_eq!(blue.run(&run).value(), "blue");
        assert_eq!(red.value("SELECT owner FROM item"), "red");
        assert_eq!(blue.value("SELECT owner FROM item"), "blue");
    }
}

#[test]
fn a_setting_that_is_refused_disturbs_nobody() {
    let world = Scenario::new().pool_size(1).start();
    let (mut one, mut two) = (world.client(), world.client());
    assert_eq!(one.run(&query("SET TimeZone = 'Nowhere/Land'")).shape(), "E(22023) Z(I)");
    let batch = crate::support::Batch::new().parse("", "SELECT 1").run("", &[]).sync();
    assert_eq!(one.run(&batch).shape(), "1 2 D(1) C(SELECT 1) Z(I)");
    assert_eq!(two.run(&batch).shape(), "1 2 D(1) C(SELECT 1) Z(I)");
    assert_eq!(one.run(&query("PREPARE p AS SELECT nothing")).shape(), "E(42703) Z(I)");
    assert_eq!(two.run(&batch).shape(), "1 2 D(1) C(SELECT 1) Z(I)");
}

#[test]
fn the_pool_shows_an_open_read_only_transaction_as_served() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.query("BEGIN READ ONLY");
    let counts = world.pooler.admin().total();
    assert_eq!((counts.servers_active, counts.servers_idle), (1, 0));
    client.query("COMMIT");
}

/// Nothing is a value too: a custom setting that is empty follows its client to a server that never heard of it.
#[test]
fn an_empty_setting_follows_its_client() {
    let world = Scenario::new().pool_size(2).start();
    let (mut client, mut holder) = (world.client(), world.client());
    client.query("SET h.x = ''");
    let backend = client.backend();
    holder.query("BEGIN");
    assert_eq!(holder.backend(), backend);
    assert_ne!(client.backend(), backend);
    assert_eq!(client.value("SELECT current_setting('h.x')"), "");
    holder.query("COMMIT");
}

/// A setting of an extension that is set to nothing, which is not its default, does not stay behind.
#[test]
fn an_empty_setting_of_an_extension_reaches_nobody() {
    const LOAD: &str = "DO $$ BEGIN END $$";
    let world = Scenario::new().pool_size(1).start();
    let (mut one, mut two) = (world.client(), world.client());
    one.query(LOAD);
    one.query("SET plpgsql.extra_warnings = ''");
    two.query(LOAD);
    assert_eq!(show(&mut two, "plpgsql.extra_warnings"), "none");
    assert_eq!(show(&mut one, "plpgsql.extra_warnings"), "");
    one.query("RESET plpgsql.extra_warnings");
    assert_eq!(show(&mut one, "plpgsql.extra_warnings"), "none");
}
