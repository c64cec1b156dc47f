//! Settings a client makes for its session: kept for it on every server, and for nobody else.

use crate::support::{Batch, Login, Pair, RawClient, Scenario, SlowLine, query};

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
    let parse = Batch::new().parse("s", "SELECT owner FROM item");
    let run = Batch::new().run("s", &[]).sync();
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
    let batch = Batch::new().parse("", "SELECT 1").run("", &[]).sync();
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

/// What a client logged in with is what `RESET` goes back to, at once and in any transaction, as Postgres does it.
#[test]
fn reset_goes_back_to_what_the_client_logged_in_with() {
    let world = Scenario::new().pool_size(1).start();
    let log_in = |login: Login| {
        let login = login.parameter("TimeZone", "Asia/Tokyo").parameter("application_name", "shop");
        let options = "-c work_mem=6MB -c my.name=x";
        RawClient::login(
            &login.parameter("client_encoding", "LATIN1").parameter("options", options),
        )
    };
    let mut pair = Pair { direct: log_in(world.direct_login()), pooled: log_in(world.login()) };
    same_values(
        &mut pair,
        &[
            "SET TimeZone = 'UTC'; SET application_name = 'other'",
            "BEGIN; RESET TimeZone; ROLLBACK",
            "BEGIN",
            "RESET TimeZone",
            "RESET application_name",
            "SELECT 1 / 0",
            "RESET TimeZone",
            "ROLLBACK",
            "SET TIME ZONE LOCAL",
            "SET application_name TO DEFAULT",
            "SET client_encoding = 'UTF8'",
            "RESET ALL",
            "SET TimeZone = 'UTC'",
            "BEGIN; SET LOCAL TimeZone = 'Europe/Berlin'; RESET TimeZone",
            "SAVEPOINT s; SET TimeZone = 'UTC'",
            "ROLLBACK TO s",
            "COMMIT",
            "SET TimeZone = 'UTC'; SET client_encoding = 'UTF8'",
            "DISCARD ALL",
            "RESET nothing",
        ],
    );
    let names = ["TimeZone", "work_mem", "my.name"];
    for reset in ["RESET ALL", "DISCARD ALL", "RESET work_mem", "SET work_mem TO DEFAULT"] {
        for set in ["SET TimeZone = 'UTC'", "SET work_mem = '7MB'", "SET my.name = 'y'"] {
            pair.same(&query(set));
        }
        let extended =
            names.iter().fold(Batch::new().parse("", reset).run("", &[]), |batch, name| {
                batch.parse("", &format!("SHOW {name}")).run("", &[])
            });
        let replies = pair.same(&extended.sync());
        let simple =
            names.iter().fold(query(reset), |batch, name| batch.query(&format!("SHOW {name}")));
        assert_eq!(pair.same(&simple).rows(), replies.rows(), "{reset}");
    }
    let mut other = world.client();
    let fresh = world.direct();
    for (name, _) in REPORTED {
        assert_eq!(other.parameter(name), fresh.parameter(name), "{name}");
    }
    assert_eq!(show(&mut other, "work_mem"), "4MB");
}

/// A role that is dropped while a client has it: the client hears of it, and can go on without.
#[test]
fn a_role_that_is_gone_can_be_given_up() {
    let world = Scenario::new().pool_size(1).start();
    let role = format!("gone_{}", world.database);
    let mut superuser = world.superuser();
    superuser.query(&format!("CREATE ROLE {role}; GRANT {role} TO app"));
    let mut clients = world.clients(4);
    for client in &mut clients {
        client.query(&format!("SET ROLE {role}"));
        assert_eq!(client.value("SELECT current_user"), role);
    }
    let mut other = world.client();
    assert_eq!(other.value("SELECT current_user"), "app");
    superuser.query(&format!("DROP ROLE {role}"));
    let batch = |sql| Batch::new().parse("", sql).run("", &[]).sync();
    let backs =
        [query("RESET ROLE"), query("SET ROLE NONE"), batch("RESET ROLE"), query("DISCARD ALL")];
    for (client, back) in clients.iter_mut().zip(backs) {
        for _ in 0..2 {
            assert_eq!(client.run(&query("SELECT current_user")).shape(), "E(22023) Z(I)");
            assert_eq!(client.run(&batch("SELECT current_user")).shape(), "E(22023) Z(I)");
        }
        // Another one that is not there either makes nobody in particular of it.
        assert!(client.run(&query("SET ROLE no_such_role")).has_error());
        assert_eq!(client.run(&query("SELECT current_user")).shape(), "E(22023) Z(I)");
        assert_eq!(client.run(&query("SELECT 1; RESET ROLE")).shape(), "E(22023) Z(I)");
        assert!(!client.run(&back).has_error());
        assert_eq!(client.value("SELECT current_user"), "app");
        assert_eq!(other.value("SELECT current_user"), "app");
    }
}

/// A client whose settings are refused asks again and again: that costs no connections.
#[test]
fn a_refusal_keeps_the_server() {
    let world = Scenario::new().pool_size(1).start();
    let role = format!("lost_{}", world.database);
    world.superuser().query(&format!("CREATE ROLE {role}; GRANT {role} TO app"));
    let (mut one, mut two) = (world.client(), world.client());
    one.query(&format!("SET ROLE {role}; SET work_mem = '5MB'; PREPARE p AS SELECT 'p'"));
    assert_eq!(two.value("SHOW work_mem"), "4MB");
    world.superuser().query(&format!("DROP ROLE {role}"));
    let backend = two.backend();
    for _ in 0..5 {
        assert_eq!(one.run(&query("SELECT 1")).shape(), "E(22023) Z(I)");
        assert_eq!(two.value("SHOW work_mem"), "4MB");
        assert_eq!(two.run(&query("EXECUTE p")).shape(), "E(26000) Z(I)");
        assert_eq!(two.backend(), backend);
    }
    one.query("RESET ROLE");
    assert_eq!(one.value("EXECUTE p"), "p");
}

/// What a client has set and lost is not forgotten by another refusal, or by a cancel: it never goes on as another user.
#[test]
fn a_role_that_is_lost_is_not_forgotten() {
    let world = Scenario::new().pool_size(1).start();
    let role = format!("lost_{}", world.database);
    let mut superuser = world.superuser();
    superuser.query(&format!("CREATE ROLE {role}; GRANT {role} TO app"));
    superuser.query("CREATE TEXT SEARCH CONFIGURATION public.own (COPY = simple)");
    let mut client = world.client();
    client.query(&format!("SET default_text_search_config = 'public.own'; SET ROLE {role}"));
    assert_eq!(world.client().value("SELECT current_user"), "app");
    superuser.query(&format!("DROP ROLE {role}; DROP TEXT SEARCH CONFIGURATION public.own"));
    assert!(client.run(&query("SET ROLE app")).has_error(), "the other setting is refused");
    client.run(&query("RESET default_text_search_config"));
    assert!(client.run(&query("SELECT current_user")).has_error());
    client.query("DISCARD ALL");
    assert_eq!(client.value("SELECT current_user"), "app");
}

/// A `RESET` that is bound and never executed has no part in what follows.
#[test]
fn what_is_bound_and_not_executed_resets_nothing() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (n int)");
    let login = world.login().parameter("options", "-c work_mem=5MB");
    let mut client = RawClient::login(&login);
    client.run(&Batch::new().parse("r", "RESET work_mem").sync());
    client.run(&Batch::new().bind("", "r", &[]).sync());
    let copy = Batch::new().parse("", "COPY item FROM STDIN").run("", &[]).sync();
    client.send(&copy);
    client.read_tag('G');
    client.send(&Batch::new().copy_data("1\n").copy_done().sync());
    assert_eq!(client.read_readies(1).shape(), "C(COPY 1) Z(I)");
    assert_eq!(client.value("SHOW work_mem"), "5MB");
}

/// Clients that have the same settings, however they came to them, are served with nothing but what they say.
#[test]
fn equal_settings_cost_no_message() {
    const ROUNDS: usize = 50;
    let scenario = Scenario::new().pool_size(1).set("auth.auth_type", "trust");
    let line = SlowLine::to(scenario.cluster().port());
    let world = scenario.set_database("port", i64::from(line.port())).start();
    let login = world.login().parameter("search_path", "pg_catalog").parameter("work_mem", "5MB");
    let mut clients = vec![RawClient::login(&login), world.client(), world.client()];
    clients[1].query("SET work_mem = '5MB'; SET search_path = pg_catalog");
    clients[2].query("SET search_path TO pg_catalog");
    clients[2].query("BEGIN; SELECT set_config('work_mem', '5MB', false); COMMIT");
    for client in &mut clients {
        assert_eq!(client.value("SHOW work_mem"), "5MB");
    }
    let batch = Batch::new().query("SELECT 1").parse("", "SELECT $1::int").run("", &["7"]).sync();
    let wanted = batch.bytes.repeat(ROUNDS * clients.len());
    let _before = line.heard();
    for _ in 0..ROUNDS {
        for client in &mut clients {
            assert_eq!(client.run(&batch).rows().concat(), ["1", "7"]);
        }
    }
    assert_eq!(line.heard(), wanted);
    // One that has others is no longer for nothing.
    clients[1].query("SET work_mem = '6MB'");
    let _before = line.heard();
    for client in &mut clients {
        client.run(&batch);
    }
    assert!(line.heard().len() > batch.bytes.len() * clients.len());
}

/// A client whose transactions wait for a safe snapshot makes nobody else wait for it.
#[test]
fn who_waits_for_safe_snapshots_holds_up_nobody() {
    let world = Scenario::new().pool_size(1).start();
    let mut writer = world.direct();
    writer.query("CREATE TABLE written (n int)");
    writer.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
    writer.query("INSERT INTO written VALUES (1)");
    let (mut one, mut two) = (world.client(), world.client());
    for set in [
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
        "SET work_mem = '7MB'",
    ] {
        // What it asks itself would wait; this does not.
        one.query(set);
        assert_eq!(two.value("SHOW work_mem"), "4MB");
    }
    one.query("BEGIN ISOLATION LEVEL READ COMMITTED");
    assert_eq!(one.value("SHOW default_transaction_deferrable"), "on");
    one.query("COMMIT");
    writer.query("COMMIT");
    assert_eq!(one.value("SHOW transaction_isolation"), "serializable");
}

/// Nor does one for whom an operator has set that.
#[test]
fn nobody_waits_for_a_safe_snapshot_that_an_operator_set() {
    let scenario = Scenario::new().pool_size(1);
    let database = scenario.database().to_owned();
    let world = scenario.start();
    let mut writer = world.direct();
    for set in ["isolation = serializable", "read_only = on", "deferrable = on"] {
        writer.query(&format!("ALTER DATABASE {database} SET default_transaction_{set}"));
    }
    writer.query("CREATE TABLE written (n int)");
    writer.query("BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE");
    writer.query("INSERT INTO written VALUES (1)");
    let (mut one, mut two) = (world.client(), world.client());
    for set in ["SET work_mem = '7MB'", "SET my.x = 'mine'", "RESET my.x"] {
        one.query(&format!("BEGIN ISOLATION LEVEL READ COMMITTED; {set}; COMMIT"));
        assert_eq!(two.value("SHOW work_mem"), "4MB");
        assert_eq!(one.value("SHOW work_mem"), "7MB");
    }
    writer.query("COMMIT");
    assert_eq!(one.value("SHOW default_transaction_deferrable"), "on");
}

/// What gives back the settings of the login may itself be rolled back, or not be sent at once: then the client hears of
/// them as soon as they are.
#[test]
fn a_client_hears_of_its_own_settings_after_a_reset() {
    let world = Scenario::new().pool_size(1).start();
    let login = world.login().parameter("TimeZone", "Asia/Tokyo").parameter("work_mem", "7MB");
    for (number, reset) in [
        Batch::new().parse("", "DISCARD ALL").run("", &[]).parse("", "SELECT nothing").sync(),
        query("RESET ALL; COPY (SELECT 1) TO STDOUT"),
        query("RESET ALL; SET LOCAL TimeZone = 'Europe/Rome'"),
        query("BEGIN; RESET ALL; SET LOCAL work_mem = '5MB'; COMMIT"),
        query("RESET ALL; SELECT nothing"),
        query("BEGIN; RESET ALL; SET LOCAL work_mem = '4MB'").then(query("COMMIT")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = RawClient::login(&login);
        client.run(&reset);
        assert_eq!(client.value("SHOW work_mem"), "7MB", "{number}");
        assert_eq!(client.value("SHOW TimeZone"), "Asia/Tokyo", "{number}");
        let told = client.parameters.iter().find(|(name, _)| name == "TimeZone");
        assert_eq!(told.map(|(_, value)| value.as_str()), Some("Asia/Tokyo"), "{number}");
    }
}

/// What a client sets itself behind a reset, it has, be it what the server has by default.
#[test]
fn what_is_set_behind_a_reset_stands() {
    let world = Scenario::new().pool_size(1).start();
    let default = world.client().value("SHOW work_mem");
    let mut client = RawClient::login(&world.login().parameter("work_mem", "7MB"));
    client.query(&format!("BEGIN; RESET ALL; SET LOCAL work_mem = '{default}'"));
    assert_eq!(client.value("SHOW work_mem"), default);
    client.query("ROLLBACK");
    assert_eq!(client.value("SHOW work_mem"), "7MB");
    let both = format!("RESET ALL; SET LOCAL work_mem = '5MB'; SET work_mem = '{default}'");
    client.query(&both);
    assert_eq!(client.value("SHOW work_mem"), default);
}
