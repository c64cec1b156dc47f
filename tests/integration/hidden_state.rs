//! State that functions make, out of sight of whoever reads texts: it follows its client or keeps its server as if the
//! client had made it, and reaches nobody else.

use std::time::Duration;

use crate::support::{Batch, RawClient, Scenario, World, query, wait_for};

const CUSTOM: &str = "SELECT coalesce(nullif(current_setting('my.tenant', true), ''), 'none')";
const LOCKS: &str =
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
const LISTENING: &str = "SELECT count(*) FROM pg_listening_channels()";
const TEMPORARY: &str = "SELECT count(*) FROM pg_class WHERE relname = 'hidden_one' AND relnamespace = pg_my_temp_schema()";
const PREPARED: &str = "SELECT count(*) FROM pg_prepared_statements WHERE name = 'hidden_one'";

/// Bodies in PL/pgSQL, and what shows what they did.
const BODIES: [(&str, &str); 11] = [
    ("PERFORM set_config('my.tenant', 'seven', false);", CUSTOM),
    ("SET my.tenant = 'seven';", CUSTOM),
    ("IF true THEN SET search_path = elsewhere, public; END IF;", "SHOW search_path"),
    ("PERFORM pg_advisory_lock(pg_backend_pid());", LOCKS),
    ("LISTEN hidden_one;", LISTENING),
    ("CREATE TEMP TABLE hidden_one (n int);", TEMPORARY),
    ("PREPARE hidden_one AS SELECT 1;", PREPARED),
    ("EXECUTE 'SET my.tenant = ' || quote_literal('seven');", CUSTOM),
    ("EXECUTE concat('SET work_mem', ' = ''7MB''');", "SHOW work_mem"),
    ("EXECUTE format('SET %I = %L', 'work_mem', '7MB');", "SHOW work_mem"),
    ("DO $do$ BEGIN SET work_mem = '7MB'; END $do$;", "SHOW work_mem"),
];

fn world() -> World {
    let world = Scenario::new().pool_size(1).set("auth.auth_type", "trust").start();
    world.prepare("CREATE SCHEMA elsewhere");
    world
}

fn function(name: &str, body: &str) -> String {
    format!(
        "CREATE FUNCTION {name}() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN {body} RETURN 1; END $f$"
    )
}

fn forms(sql: &str) -> [Batch; 3] {
    [
        query(sql),
        Batch::new().parse("", sql).run("", &[]).sync(),
        Batch::new().parse(sql, sql).run(sql, &[]).sync(),
    ]
}

/// Does `make` in every form: its client sees what it did, others see a fresh session.
fn check(world: &World, make: &str, see: &str) {
    let fresh = world.direct().value(see);
    for form in forms(make) {
        let mut one = world.client();
        let reply = one.run(&form);
        assert!(!reply.has_error(), "{make}: {}", reply.fault());
        let mine = one.value(see);
        assert_ne!(mine, fresh, "{make}");
        let keeps = |client: &serde_json::Value| client["pinned"] != "";
        if !world.pooler.admin().clients().iter().any(keeps) {
            assert_eq!(world.client().value(see), fresh, "{make}: another's");
            assert_eq!(one.value(see), mine, "{make}: its own, after another's");
        }
        one.kill();
        assert_eq!(world.client().value(see), fresh, "{make}: after its client left");
    }
    assert_eq!(world.backends().len(), 1);
}

fn functions(world: &World) -> String {
    world.pooler.admin().json("/compat")["functions"].to_string()
}

fn wait(world: &World, what: &str, rule: &dyn Fn(&str) -> bool) {
    wait_for(Duration::from_secs(10), what, || {
        let known = functions(world);
        if rule(&known) { Ok(()) } else { Err(known) }
    });
}

/// By itself, called by others, and within a transaction that is rolled back.
#[test]
fn what_a_function_does_is_its_callers() {
    let world = world();
    for (number, (body, _)) in BODIES.iter().enumerate() {
        world.prepare(&function(&format!("does_{number}"), body));
        world.prepare(&format!(
            "CREATE FUNCTION calls_{number}() RETURNS int LANGUAGE sql AS 'SELECT does_{number}()';
             CREATE PROCEDURE runs_{number}() LANGUAGE plpgsql AS
             $p$ BEGIN PERFORM public.calls_{number}(); END $p$"
        ));
    }
    for (number, (_, see)) in BODIES.iter().enumerate() {
        for make in [
            format!("SELECT does_{number}()"),
            format!("SELECT Public.\"calls_{number}\" ( )"),
            format!("CALL runs_{number}()"),
            format!("WITH a AS (SELECT calls_{number}() AS n) SELECT n FROM a"),
        ] {
            check(&world, &make, see);
        }
        let (mut real, mut one) = (world.direct(), world.client());
        let fresh = real.value(see);
        for sql in ["BEGIN", &format!("SELECT does_{number}()"), "ROLLBACK"] {
            real.query(sql);
            one.query(sql);
        }
        assert_eq!(one.value(see), real.value(see), "{number}: rolled back");
        one.kill();
        real.kill();
        assert_eq!(world.client().value(see), fresh, "{number}: another's");
    }
}

const CALLERS: &str = "
    CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS
        $f$ BEGIN PERFORM tenant(); RETURN coalesce(NEW, OLD); END $f$;
    CREATE TABLE triggered (n int);
    CREATE TRIGGER t BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION fires();
    CREATE TABLE heir () INHERITS (triggered);
    CREATE VIEW written AS SELECT n FROM triggered;
    CREATE TABLE above (n int); CREATE TABLE below () INHERITS (above);
    CREATE TRIGGER t AFTER UPDATE ON below FOR EACH ROW EXECUTE FUNCTION fires();
    INSERT INTO below VALUES (1);
    CREATE TABLE defaulted (n int, m int DEFAULT tenant());
    CREATE VIEW seen AS SELECT tenant() AS n; CREATE VIEW seen_again AS SELECT n FROM seen;
    CREATE TABLE guarded (n int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    INSERT INTO guarded VALUES (1);
    ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
    CREATE POLICY p ON guarded USING (tenant() = 1);
    CREATE TABLE ruled (n int);
    CREATE RULE r AS ON INSERT TO ruled DO ALSO SELECT tenant();
    CREATE TABLE parent (n int PRIMARY KEY);
    CREATE TABLE child (n int REFERENCES parent ON DELETE CASCADE);
    CREATE TRIGGER t BEFORE DELETE ON child FOR EACH ROW EXECUTE FUNCTION fires();
    INSERT INTO parent VALUES (1), (2), (3); INSERT INTO child VALUES (1), (2), (3);
    CREATE FUNCTION add_one(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1 + tenant()';
    CREATE AGGREGATE total (int) (SFUNC = add_one, STYPE = int, INITCOND = '0');
    GRANT ALL ON ALL TABLES IN SCHEMA public TO app";

/// Triggers, defaults, views, policies, rules, aggregates, and tables that lead to those.
#[test]
fn what_calls_a_function_unseen_is_known_too() {
    let world = world();
    world.prepare(&function("tenant", "PERFORM set_config('my.tenant', 'seven', false);"));
    world.prepare(CALLERS);
    for make in [
        "INSERT INTO triggered VALUES (1)",
        "INSERT INTO written VALUES (1)",
        "UPDATE above SET n = 2",
        "INSERT INTO defaulted VALUES (1)",
        "SELECT * FROM seen",
        "SELECT * FROM seen_again",
        "SELECT * FROM guarded",
        "INSERT INTO ruled VALUES (1)",
        "DELETE FROM parent WHERE n = (SELECT min(n) FROM parent)",
        "SELECT total(n) FROM generate_series(1, 2) AS n",
    ] {
        check(&world, make, CUSTOM);
    }
    let known = functions(&world);
    for name in ["tenant", "fires", "total", "triggered", "written", "parent", "above"] {
        assert!(known.contains(&format!("\"{name}\"")), "{name} in {known}");
    }
    assert!(known.contains("my.tenant") && !known.contains("\"heir\""), "{known}");
    world.pooler.wait_for_log("functions that leave something in sessions");
}

/// A function that is made or changed through the pooler is known soon, and its own transaction at once.
#[test]
fn new_functions_are_known_at_once() {
    let world = world();
    world.prepare("GRANT CREATE ON SCHEMA public TO app");
    let (mut one, mut two) = (world.client(), world.client());
    one.query("BEGIN");
    one.query(&function("does", "SET my.tenant = 'seven'; SET work_mem = '7MB';"));
    one.query("SELECT does()");
    one.query("COMMIT");
    assert_eq!((two.value(CUSTOM), two.value("SHOW work_mem")), ("none".into(), "4MB".into()));
    // Custom settings are listed nowhere.
    assert_eq!((one.value(CUSTOM), one.value("SHOW work_mem")), ("none".into(), "7MB".into()));
    one.query("SELECT does()");
    assert_eq!((two.value(CUSTOM), one.value(CUSTOM)), ("none".into(), "seven".into()));
    one.query(&function("later", ""));
    let first = Batch::new().parse("later", "SELECT later()").run("later", &[]).sync();
    assert_eq!(two.run(&first).value(), "1");
    assert_eq!(two.value(CUSTOM), "none");
    one.query(&function("later", "PERFORM does();").replace("CREATE", "CREATE OR REPLACE"));
    wait(&world, "it to be known", &|known| known.contains("\"later\""));
    // What was prepared before knows of it.
    two.run(&Batch::new().run("later", &[]).sync());
    one.query("RESET my.tenant");
    assert_eq!((one.value(CUSTOM), two.value(CUSTOM)), ("none".into(), "seven".into()));
    one.query(
        "DO $d$ BEGIN EXECUTE 'CREATE FUNCTION made() RETURNS int LANGUAGE sql AS ''SELECT later()'''; END $d$",
    );
    wait(&world, "it to be known", &|known| known.contains("\"made\""));
    one.query("SELECT made()");
    assert_eq!((one.value(CUSTOM), world.client().value(CUSTOM)), ("seven".into(), "none".into()));
}

/// A function that is made elsewhere is known after `function_check`.
#[test]
fn functions_made_elsewhere_are_found_in_time() {
    let world = Scenario::new().pool_size(1).set("server.function_check", "200ms").start();
    assert_eq!(world.client().value("SELECT 1"), "1");
    assert_eq!(functions(&world), "[]");
    world.prepare(&function("elsewhere", "SET my.tenant = 'seven';"));
    wait(&world, "the function to be found", &|known| known.contains("\"elsewhere\""));
    check(&world, "SELECT elsewhere()", CUSTOM);
    world.prepare("DROP FUNCTION elsewhere()");
    wait(&world, "it to be gone", &|known| known == "[]");
}

/// So is a new name of what calls it; what is of somebody's temporary schema is theirs alone.
#[test]
fn new_names_are_found_and_temporary_ones_are_not() {
    let world = Scenario::new().pool_size(1).set("server.function_check", "200ms").start();
    world.prepare(&function("tenant", "PERFORM set_config('my.tenant', 'seven', false);"));
    world.prepare("CREATE VIEW seen AS SELECT tenant() AS n; GRANT SELECT ON seen TO app");
    assert_eq!(world.client().value("SELECT 1"), "1");
    let mut other = world.direct();
    other.query(&function("pg_temp.theirs", "SET my.tenant = 'seven';"));
    other.query("CREATE TEMP TABLE their_table (n int DEFAULT tenant())");
    wait(&world, "the view to be found", &|known| known.contains("\"seen\""));
    world.prepare("ALTER VIEW seen RENAME TO viewed");
    wait(&world, "its new name to be found", &|known| known.contains("\"viewed\""));
    check(&world, "SELECT * FROM viewed", CUSTOM);
    assert!(!functions(&world).contains("their"), "{}", functions(&world));
    other.kill();
}

/// What was prepared in SQL before its function did anything does it now.
#[test]
fn what_was_prepared_in_sql_before_is_known() {
    let world = world();
    world.prepare("GRANT CREATE ON SCHEMA public TO app");
    let mut one = world.client();
    one.query(&function("later", ""));
    one.query("PREPARE p AS SELECT later()");
    let change = function("later", "SET my.tenant = 'seven';");
    one.query(&change.replace("CREATE", "CREATE OR REPLACE"));
    wait(&world, "it to be known", &|known| known.contains("\"later\""));
    one.query("EXECUTE p");
    assert_eq!(world.client().value(CUSTOM), "none");
}

/// The rules for state hold for functions that make it.
#[test]
fn rules_hold_for_functions() {
    let strict = Scenario::new().pool_size(1).set("pool.pin", "reject");
    let world = strict.set("pool.unreadable", "reject").start();
    world.prepare(&function("locks", "PERFORM pg_advisory_lock(1);"));
    world.prepare(&function("runs", "EXECUTE concat('SELECT ', 1);"));
    let mut one = world.client();
    for sql in ["SELECT locks()", "SELECT runs()"] {
        for form in forms(sql) {
            let reply = one.run(&form);
            assert!(reply.shape().contains("E(0A000)"), "{sql}: {}", reply.shape());
        }
    }
    assert_eq!(one.value("SELECT 1"), "1");
}

/// `function_check = 0` asks nothing.
#[test]
fn functions_are_not_read_where_nobody_wants_it() {
    let world = Scenario::new().set("server.function_check", 0).start();
    world.prepare(&function("does", "SET my.tenant = 'seven';"));
    let mut one: RawClient = world.client();
    one.query("SELECT does()");
    assert_eq!(functions(&world), "[]");
}
