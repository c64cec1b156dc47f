//! Plans on demand: what is planned, as whom, within which limits, and that nothing of it stays behind.

use serde_json::{Value, json};

use crate::support::{
    Batch, Http, PATIENCE, RawClient, Scenario, World, fingerprint, query, wait_for,
};

/// Asks for a plan as soon as the statement is known.
#[track_caller]
fn ask(world: &World, sql: &str, body: &Value) -> Http {
    let path = format!("/queries/{}/explain", fingerprint(sql));
    wait_for(PATIENCE, sql, || {
        let answer = world.pooler.admin().post(&path, &body.to_string());
        if answer.status == 404 { Err(answer.body) } else { Ok(answer) }
    })
}

#[track_caller]
fn plan(world: &World, sql: &str) -> Value {
    let answer = ask(world, sql, &json!({}));
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[track_caller]
fn refused(world: &World, sql: &str, status: u16, text: &str) {
    let answer = ask(world, sql, &json!({}));
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(text), "{answer:?}");
}

fn shop(world: &World, rows: u32) {
    world.prepare(
        "CREATE TABLE orders (id int PRIMARY KEY, customer int, made timestamptz, note text)",
    );
    world.prepare(&format!(
        "INSERT INTO orders SELECT i, i % 5000, now() - i * interval '1 min', 'note ' || i FROM generate_series(1, {rows}) i"
    ));
    world.prepare("ANALYZE orders");
}

/// The kinds of the nodes of a plan, a parent before its children.
fn kinds(plan: &Value) -> Vec<String> {
    let mut found = vec![plan["Node Type"].as_str().unwrap_or_default().to_owned()];
    found.extend(plan["Plans"].as_array().into_iter().flatten().flat_map(kinds));
    found
}

#[test]
fn a_simple_text_is_planned_without_its_values() {
    let world = Scenario::new().start();
    shop(&world, 1_000);
    let mut client = world.client();
    let sql = "SELECT * FROM orders WHERE id = 7 AND made > now() - interval '1 day'";
    client.query(sql);
    let answer = plan(&world, sql);
    assert_eq!(kinds(&answer["plan"][0]["Plan"]), ["Index Scan"], "{answer}");
    assert_eq!(answer["source"], "normalised");
    assert_eq!(answer["plan"][0]["Plan"]["Index Cond"], "(orders.id = $1)");
    assert_eq!(answer["label"], "generic plan: parameter values unknown; estimates are averages");
    assert!(
        answer["tree"]
            .as_str()
            .unwrap()
            .starts_with("Index Scan using orders_pkey on public.orders")
    );
}

#[test]
fn a_prepared_text_is_planned_with_the_types_that_its_client_gave() {
    let world = Scenario::new().start();
    shop(&world, 1_000);
    let mut client = world.client();
    // Without types Postgres does not know which operator this is.
    let sql = "SELECT $1 + $2 AS sum, o.* FROM orders o WHERE id = $3";
    client
        .run(&Batch::new().parse_typed("s", sql, &[23, 23, 23]).run("s", &["1", "2", "3"]).sync());
    let answer = plan(&world, sql);
    assert_eq!(
        (&answer["source"], &answer["plan"][0]["Plan"]["Index Cond"]),
        (&json!("prepared"), &json!("(o.id = $3)"))
    );
}

#[test]
fn what_cannot_be_planned_is_said() {
    let world = Scenario::new().start();
    shop(&world, 10);
    let mut client = world.client();
    client.query("SET work_mem = '8MB'");
    refused(&world, "SET work_mem = '8MB'", 422, "have plans");
    client.query("DROP TABLE IF EXISTS missing");
    refused(&world, "DROP TABLE IF EXISTS missing", 422, "have plans");
    client.query("SELECT note FROM orders");
    world.prepare("ALTER TABLE orders DROP COLUMN note");
    refused(&world, "SELECT note FROM orders", 422, "column \\\"note\\\" does not exist (42703)");
    let none = world.pooler.admin().post("/queries/0000000000000000/explain", "{}");
    assert_eq!(none.status, 404);
    let path = format!("/queries/{}/explain", fingerprint("SELECT note FROM orders"));
    assert_eq!(world.pooler.admin().post(&path, "{\"sql\":\"SELECT 1\"}").status, 400);
    assert_eq!(world.pooler.admin().get(&path, "application/json").status, 405);
}

#[test]
fn a_change_is_planned_and_nothing_changes() {
    let world = Scenario::new().start();
    shop(&world, 100);
    let mut client = world.client();
    for sql in [
        "DELETE FROM orders WHERE customer = 999999",
        "UPDATE orders SET note = 'x' WHERE customer = 999999",
        "INSERT INTO orders (id) SELECT 1 WHERE 1 = 2",
        "WITH gone AS (DELETE FROM orders WHERE customer = 999999 RETURNING id) SELECT * FROM gone",
    ] {
        client.query(sql);
        let answer = plan(&world, sql);
        assert!(kinds(&answer["plan"][0]["Plan"]).contains(&"ModifyTable".to_owned()), "{answer}");
    }
    assert_eq!(client.query("SELECT count(*) FROM orders").rows(), [["100"]]);
}

#[test]
fn a_plan_is_remembered_for_a_minute_and_new_ones_are_rationed() {
    let world = Scenario::new().start();
    let mut client = world.client();
    let sql = |number: u32| format!("SELECT {}", "1, ".repeat(number as usize) + "2");
    for number in 0..11 {
        client.query(&sql(number));
    }
    let first = plan(&world, &sql(0));
    for number in 1..10 {
        plan(&world, &sql(number));
    }
    let late = ask(&world, &sql(10), &json!({}));
    assert_eq!(late.status, 429, "{late:?}");
    assert!(late.head.to_ascii_lowercase().contains("retry-after: "), "{late:?}");
    assert_eq!(plan(&world, &sql(0))["took_ms"], first["took_ms"], "the same one");
    let metrics = world.pooler.admin().get("/metrics", "text/plain").body;
    for (fate, count) in [("planned", 10), ("remembered", 1), ("limited", 1)] {
        let line = format!("pooler_explains_total{{outcome=\"{fate}\"}} {count}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[test]
fn clients_go_first() {
    let world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    client.query("SELECT 'wanted'");
    plan(&world, "SELECT 'wanted'");
    client.query("SELECT 'other', 1");
    client.query("BEGIN");
    refused(&world, "SELECT 'other', 1", 409, "in use");
    client.query("COMMIT");
    plan(&world, "SELECT 'other', 1");
}

#[test]
fn planning_has_the_rights_of_the_pools_user() {
    let world = Scenario::new().start();
    let mut superuser = world.superuser();
    superuser.query("CREATE TABLE secret (id int, owner text)");
    superuser.query("INSERT INTO secret SELECT i, 'app' FROM generate_series(1, 100) i");
    superuser.query("GRANT SELECT ON secret TO app; ALTER TABLE secret ENABLE ROW LEVEL SECURITY");
    superuser.query("CREATE POLICY mine ON secret TO app USING (owner = current_user)");
    let mut client = world.client();
    client.query("SELECT id FROM secret WHERE id > 3");
    let answer = plan(&world, "SELECT id FROM secret WHERE id > 3");
    let filter = answer["plan"][0]["Plan"]["Filter"].as_str().unwrap();
    assert!(filter.contains("CURRENT_USER"), "{filter}");
    client.query("SELECT owner FROM secret");
    superuser.query("REVOKE SELECT ON secret FROM app");
    refused(&world, "SELECT owner FROM secret", 422, "permission denied for table secret (42501)");
}

#[test]
fn a_locked_table_is_not_waited_for() {
    let world = Scenario::new().start();
    shop(&world, 10);
    let (mut client, mut locker) = (world.client(), world.client());
    client.query("SELECT id FROM orders");
    locker.query("BEGIN");
    locker.query("LOCK TABLE orders");
    refused(&world, "SELECT id FROM orders", 422, "lock timeout");
    locker.query("COMMIT");
}

#[test]
fn names_are_looked_up_where_the_client_looks_them_up() {
    let world = Scenario::new().start();
    world.prepare("CREATE SCHEMA tenant; CREATE TABLE tenant.item (id int PRIMARY KEY); CREATE SCHEMA other; CREATE TABLE other.item (id int)");
    world.prepare("GRANT USAGE ON SCHEMA tenant, other TO app; GRANT SELECT ON tenant.item, other.item TO app");
    let mut client = world.client();
    client.query("SET search_path = tenant, public");
    client.query("SELECT * FROM item WHERE id = 1");
    client.run(
        &Batch::new().parse("s", "SELECT 'x', id FROM item WHERE id = $1").run("s", &["1"]).sync(),
    );
    let answer = plan(&world, "SELECT * FROM item WHERE id = 1");
    assert_eq!(
        (&answer["plan"][0]["Plan"]["Schema"], &answer["search_path"]),
        (&json!("tenant"), &json!("tenant, public"))
    );
    let answer = plan(&world, "SELECT 'x', id FROM item WHERE id = $1");
    assert_eq!(answer["plan"][0]["Plan"]["Schema"], "tenant", "{answer}");
    let answer = ask(&world, "SELECT * FROM item WHERE id = 1", &json!({"search_path": "other"}));
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer["plan"][0]["Plan"]["Schema"], "other", "{answer}");
}

/// What a session says of itself.
fn session(client: &mut RawClient) -> Vec<Vec<String>> {
    client
        .query(
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('plan_cache_mode'), \
             current_setting('search_path'), current_setting('transaction_read_only'), current_setting('client_encoding'), \
             (SELECT count(*) FROM pg_prepared_statements WHERE name = 'pooler_explain'), \
             (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
        )
        .rows()
        .iter()
        .map(|row| row.iter().map(ToString::to_string).collect())
        .collect()
}

#[test]
fn the_server_is_as_fresh_as_before() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE FUNCTION locks() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1 FROM (SELECT pg_advisory_lock(42)) x'");
    shop(&world, 10);
    let mut client = world.client();
    let before = session(&mut client);
    let pid = client.query("SELECT pg_backend_pid()").rows();
    client.query("SET search_path = pg_temp; SET work_mem = '9MB'");
    client.query("SELECT 1 FROM public.orders WHERE id = 1");
    plan(&world, "SELECT 1 FROM public.orders WHERE id = 1");
    let failing = "SELECT 1 FROM public.orders o WHERE o.customer = 1";
    client.query(failing);
    world.prepare("ALTER TABLE orders RENAME TO moved");
    refused(&world, failing, 422, "does not exist");
    let planned = world.client().query("SELECT public.locks()");
    assert_eq!(planned.rows(), [["1"]]);
    world.client().query("SELECT pg_advisory_unlock_all()");
    plan(&world, "SELECT public.locks()");
    let mut other = world.client();
    assert_eq!(session(&mut other), before);
    assert_eq!(other.query("SELECT pg_backend_pid()").rows(), pid, "the server is used again");
    assert_eq!(client.query("SHOW work_mem").rows(), [["9MB"]]);
}

#[test]
fn planning_that_takes_long_is_cut_off() {
    let world = Scenario::new().start();
    world.prepare("CREATE FUNCTION slow() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(0.1)'");
    let mut client = world.client();
    client.query("SELECT slow()");
    world.prepare("CREATE OR REPLACE FUNCTION slow() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(30)'");
    refused(&world, "SELECT slow()", 422, "statement timeout");
    client.query("SELECT 1");
}

#[test]
fn it_can_be_switched_off() {
    let world = Scenario::new().set("admin.explain", false).start();
    let mut client = world.client();
    client.run(&query("SELECT 'off'"));
    let path = format!("/queries/{}/explain", fingerprint("SELECT 'off'"));
    wait_for(PATIENCE, "the statement", || {
        let answer = world.pooler.admin().post(&path, "{}");
        if answer.body.contains("explain is off") { Ok(()) } else { Err(answer.body) }
    });
}

#[test]
fn a_missing_index_is_named_and_what_changes_with_it_is_remembered() {
    let world = Scenario::new().start();
    shop(&world, 100_000);
    let sql = "SELECT note FROM orders WHERE customer = 7 AND made BETWEEN now() - interval '1 day' AND now() AND 1 = 1";
    let mut client = world.client();
    client.query(sql);
    let before = plan(&world, sql);
    let hint = &before["hints"][0];
    assert_eq!(hint["rule"], "missing_index", "{before}");
    assert_eq!(hint["sql"], "CREATE INDEX CONCURRENTLY ON public.orders (customer, made)");
    assert!(
        hint["evidence"]
            .as_str()
            .unwrap()
            .starts_with("it reads all 100000 rows of public.orders for")
    );
    world.prepare(hint["sql"].as_str().unwrap());
    // With schemas that are said, the plan is made anew.
    let answer = ask(&world, sql, &json!({"search_path": "public"}));
    let after: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(after["hints"], json!([]), "{after}");
    assert_ne!(after["plan_hash"], before["plan_hash"]);
    let page = world.pooler.admin().json(&format!("/queries/{}", fingerprint(sql)));
    let history = &page["plans"][0]["history"];
    assert_eq!(
        (&history[0]["plan_hash"], &history[1]["plan_hash"]),
        (&after["plan_hash"], &before["plan_hash"]),
        "{page}"
    );
    assert_eq!(history[1]["summary"], "Seq Scan on public.orders");
    assert!(
        page["plans"][0]["tree"].as_str().unwrap().contains("orders_customer_made_idx"),
        "{page}"
    );
}

#[test]
fn people_see_the_plan_on_the_page_of_the_statement() {
    let world = Scenario::new().start();
    let mut client = world.client();
    let sql = "SELECT '<b>' FROM pg_class WHERE relname = '<i>'";
    client.run(&Batch::new().parse("s", sql).run("s", &[]).sync());
    let path = format!("/queries/{}", fingerprint(sql));
    plan(&world, sql);
    let text = world.pooler.admin().get(&path, "text/plain").body;
    assert!(
        text.contains(
            "\nIndex Only Scan using pg_class_relname_nsp_index on pg_catalog.pg_class  (cost="
        ),
        "{text}"
    );
    assert!(
        text.contains("generic plan: parameter values unknown; estimates are averages"),
        "{text}"
    );
    let page = world.pooler.admin().get(&path, "text/html").body;
    assert!(page.contains("Index Cond: (pg_class.relname = '&lt;i&gt;'::name)"), "{page}");
    let database = &world.pooler.admin().json(&path)["queries"][0]["database"];
    let body =
        format!("data-body=\"{{&quot;db&quot;:{database},&quot;user&quot;:&quot;app&quot;}}\"");
    let body = body.replace(&database.to_string(), &database.to_string().replace('"', "&quot;"));
    assert!(page.contains(&format!("data-post=\"{path}/explain\" {body}")), "{page}");
}

#[test]
fn what_is_slow_is_explained_by_itself_where_that_is_asked_for() {
    let slow = Scenario::new().set("log.log_slow_statements", "50ms");
    let world = slow.set("admin.explain_auto", true).start();
    let mut client = world.client();
    let sql = "SELECT pg_sleep(0.06) FROM pg_class WHERE oid = 1259";
    client.query("SELECT 'quick'");
    client.query(sql);
    wait_for(PATIENCE, "the plan", || {
        let page =
            world.pooler.admin().get(&format!("/queries/{}", fingerprint(sql)), "application/json");
        if page.body.contains(
            "\"summary\":\"Index Only Scan using pg_class_oid_index on pg_catalog.pg_class\"",
        ) {
            Ok(())
        } else {
            Err(page.body)
        }
    });
    client.query(sql);
    let quick = world.pooler.admin().json(&format!("/queries/{}", fingerprint("SELECT 'quick'")));
    assert_eq!(quick["plans"], json!([]));
    let metrics = world.pooler.admin().get("/metrics", "text/plain").body;
    assert!(metrics.contains("pooler_explains_total{outcome=\"planned\"} 1"), "{metrics}");
}

#[test]
fn a_call_is_planned_with_its_values() {
    let world = Scenario::new().set("samples.params", "full").start();
    world.prepare("CREATE TABLE skewed AS SELECT CASE WHEN i <= 10 THEN i ELSE 0 END AS kind FROM generate_series(1, 20000) i");
    world.prepare("CREATE INDEX ON skewed (kind)");
    world.prepare("ANALYZE skewed; GRANT SELECT ON skewed TO app");
    let mut client = world.client();
    let bound = "SELECT count(*) FROM skewed WHERE kind = $1";
    client.run(&Batch::new().parse("s", bound).run("s", &["3"]).sync());
    let simple = "SELECT max(kind) FROM skewed WHERE kind = 0 AND kind IS NOT NULL";
    client.query(simple);
    let of = |sql: &str| {
        let answer = ask(&world, sql, &json!({"mode": "sample"}));
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    let answer = of(bound);
    assert_eq!(answer["source"], "sample");
    assert!(answer["tree"].as_str().unwrap().contains("(skewed.kind = 3)"), "{answer}");
    assert!(answer["label"].as_str().unwrap().starts_with("custom plan for the values of a call"));
    let answer = of(simple);
    assert!(answer["tree"].as_str().unwrap().contains("(skewed.kind = 0)"), "{answer}");
    let page = world.pooler.admin().json(&format!("/queries/{}", fingerprint(bound)));
    assert_eq!(page["plans"], json!([]), "it is not remembered");
    let text = ask(&world, bound, &json!({"mode": "sample", "format": "text"}));
    assert!(text.body.contains("Index Cond: (skewed.kind = 3)"), "{text:?}");
    client.query("SELECT 'cut', count(*) FROM skewed WHERE kind = 3");
}

#[test]
fn a_call_without_its_values_is_not_planned_with_any() {
    let mut world = Scenario::new().start();
    let mut client = world.client();
    let long = format!("SELECT '{}'", "x".repeat(3_000));
    client.query(&long);
    let answer = ask(&world, &long, &json!({"mode": "sample"}));
    assert_eq!(answer.status, 409, "{answer:?}");
    world.pooler.reload(|config| {
        config.set("samples.params", "full");
    });
    client.query(&long);
    let answer = ask(&world, &long, &json!({"mode": "sample"}));
    assert!(answer.status == 409 && answer.body.contains("samples.params"), "cut: {answer:?}");
    let answer = ask(&world, &long, &json!({"mode": "analyze"}));
    assert!(answer.status == 403 && answer.body.contains("explain_analyze is off"), "{answer:?}");
    assert_eq!(ask(&world, &long, &json!({"mode": "all"})).status, 400);
}

#[test]
fn only_what_reads_is_run() {
    let scenario = Scenario::new().set("samples.params", "full");
    let world = scenario.set("admin.explain_analyze", true).start();
    shop(&world, 1_000);
    world.prepare(
        "CREATE VIEW tick AS SELECT id, random() AS r FROM orders; GRANT SELECT ON tick TO app",
    );
    world.prepare("CREATE SEQUENCE s; GRANT ALL ON SEQUENCE s TO app");
    let mut client = world.client();
    let analyze = |sql: &str| ask(&world, sql, &json!({"mode": "analyze"}));
    let good = "SELECT customer, count(*) FROM orders WHERE made < now() AND id < 100 GROUP BY 1";
    client.query(good);
    let answer = analyze(good);
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(body["tree"].as_str().unwrap().contains("rows=99 loops=1)"), "{body}");
    assert_eq!(body["plan"][0]["Plan"]["Actual Loops"], 1, "{body}");
    // The schemas are its own again when it is run.
    world.prepare("CREATE SCHEMA deep; GRANT USAGE ON SCHEMA deep TO app");
    world.prepare("CREATE VIEW deep.few AS SELECT 1 AS one; GRANT SELECT ON deep.few TO app");
    let few = "SELECT max(one) FROM few";
    client.query(&format!("SET search_path = deep; {few}"));
    let answer = ask(&world, few, &json!({"mode": "analyze", "search_path": "deep"}));
    assert_eq!(answer.status, 200, "{answer:?}");
    client.query("RESET search_path");
    for (sql, why) in [
        ("SELECT nextval('s')", "VOLATILE: nextval"),
        ("SELECT r FROM tick WHERE id = 1", "VOLATILE: random"),
        ("SELECT id FROM orders WHERE id = 1 FOR UPDATE", "locks rows"),
        ("UPDATE orders SET note = 'x' WHERE id = 1", "changes or locks"),
        ("SELECT id INTO TEMP kept FROM orders", "changes or locks"),
        (
            "WITH d AS (DELETE FROM orders WHERE id = 1 RETURNING id) SELECT * FROM d",
            "changes or locks",
        ),
    ] {
        client.query(sql);
        let answer = analyze(sql);
        assert!(answer.status == 422 && answer.body.contains(why), "{sql}: {answer:?}");
    }
    assert_eq!(client.query("SELECT last_value, is_called FROM s").rows(), [["1", "t"]]);
}

#[test]
fn an_index_is_tried_without_being_built() {
    let world = Scenario::new().pool_size(1).start();
    if world.superuser().run(&query("CREATE EXTENSION hypopg")).has_error() {
        eprintln!("skipped: there is no hypopg (scripts/install-test-deps.sh installs it)");
        return;
    }
    shop(&world, 50_000);
    let sql = "SELECT note FROM orders WHERE customer = 7 AND 2 = 2";
    let mut client = world.client();
    client.query(sql);
    let pid = client.query("SELECT pg_backend_pid()").rows();
    let answer = plan(&world, sql);
    let evidence = answer["hints"][0]["evidence"].as_str().unwrap();
    assert!(evidence.contains("; hypopg: with it the plan costs "), "{answer}");
    let kinds = kinds(&answer["plan"][0]["Plan"]);
    assert!(kinds.contains(&"Seq Scan".to_owned()), "the plan as it is: {answer}");
    assert_ne!(client.query("SELECT pg_backend_pid()").rows(), pid, "the session had that index");
    assert_eq!(
        client.query("SELECT count(*) FROM pg_index WHERE indrelid = 'orders'::regclass").rows(),
        [["1"]]
    );
}

#[test]
fn a_large_offset_has_its_advice() {
    let world = Scenario::new().start();
    shop(&world, 20_000);
    let sql = "SELECT id FROM orders ORDER BY id LIMIT 10 OFFSET 19000";
    world.client().query(sql);
    let answer = plan(&world, sql);
    assert_eq!(answer["hints"][0]["rule"], "offset", "{answer}");
    let near = "SELECT id FROM orders ORDER BY id LIMIT 10";
    world.client().query(near);
    assert_eq!(plan(&world, near)["hints"], json!([]));
}
