//! Values of single calls: nowhere unless `samples.params` keeps them, and then for administrators only.

use serde_json::Value;

use crate::support::{
    Batch, Collector, PATIENCE, Scenario, World, fingerprint, query, wait_for, with_token,
};

const SIMPLE: &str = "SELECT 'v4lue-simple', pg_sleep(0.002)";
const BOUND: &str = "SELECT $1::text, $2::int, pg_sleep(0.002)";

/// Two calls of each with the same values, one that fails, and one of two statements in one text.
fn call(world: &World) {
    let mut client = world.client();
    for _ in 0..2 {
        client.query(SIMPLE);
        let bound = Batch::new().parse_typed("", BOUND, &[25, 23]);
        client.run(&bound.run("", &["v4lue-bound", "7"]).sync());
    }
    client.run(&query("SELECT 'v4lue-failed'::int"));
    client.run(&Batch::new().parse("", "SELECT $1::int").run("", &["v4lue-wrong"]).sync());
    client.query("SELECT 1, 2, 3; SELECT 'v4lue-second', 2, 3, 4");
}

/// The newest call of a statement, once it was called so often.
#[track_caller]
fn newest(world: &World, sql: &str, calls: usize) -> Value {
    let path = format!("/queries/{}/samples", fingerprint(sql));
    wait_for(PATIENCE, sql, || {
        let answer = world.pooler.admin().get(&path, "application/json");
        let page: Value = serde_json::from_str(&answer.body).map_err(|e| e.to_string())?;
        let rows = page["newest"].as_array().cloned().unwrap_or_default();
        if rows.len() == calls { Ok(rows[0].clone()) } else { Err(page.to_string()) }
    })
}

fn slow(scenario: Scenario) -> Scenario {
    scenario.set("log.log_slow_statements", "1ms")
}

/// Every page in every form.
fn pages(world: &World, sql: &str, token: Option<&str>) -> Vec<(String, String)> {
    let admin = world.pooler.admin();
    let get = |path: &str, accept: &str| {
        let token = token.map_or_else(String::new, |t| format!("Authorization: Bearer {t}\r\n"));
        admin.send(&format!(
            "GET {path} HTTP/1.0\r\nHost: localhost\r\n{token}Accept: {accept}\r\n\r\n"
        ))
    };
    let api: Value = serde_json::from_str(&get("/openapi.json", "application/json").body).unwrap();
    let paths = api["paths"].as_object().unwrap();
    assert!(paths.len() > 20);
    let mut pages = Vec::new();
    for (path, _) in paths.iter().filter(|(_, of)| of.get("get").is_some()) {
        let path = path.replace("{fingerprint}", &fingerprint(sql)).replace("{route}", "%2Fv%2F");
        let path = path.replace("{database}", &world.database).replace("{user}", "app");
        for accept in ["*/*", "application/json", "text/html"] {
            let answer = get(&path, accept);
            assert!(matches!(answer.status, 200 | 404), "{path}: {answer:?}");
            pages.push((path.clone(), answer.body));
        }
    }
    pages
}

#[test]
fn by_default_values_are_in_no_page_no_log_line_and_nothing_that_is_exported() {
    let collector = Collector::start();
    let scenario = slow(Scenario::new()).set("otel.endpoint", collector.endpoint());
    let world = scenario.set("otel.interval", "1s").set("metrics.fingerprints", 20).start();
    call(&world);
    let traced = "SELECT 'v4lue-traced' /*route='/v/',traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/";
    world.client().query(traced);
    for (sql, calls) in [(SIMPLE, 2), (BOUND, 2)] {
        assert_eq!(newest(&world, sql, calls)["values"], Value::Null);
        for (path, body) in pages(&world, sql, None) {
            assert!(!body.contains("v4lue"), "{path}: {body}");
        }
    }
    world.pooler.wait_for_log("slow statement");
    let exported = wait_for(PATIENCE, "spans and metrics", || {
        let (spans, metrics) = (collector.spans(), collector.metrics());
        if spans.is_empty() || metrics.is_empty() {
            return Err(String::new());
        }
        Ok(format!("{spans:?}{metrics:?}{:?}", collector.heads()))
    });
    assert!(exported.contains("select $1") && !exported.contains("v4lue"), "{exported}");
    assert!(!world.pooler.log().contains("v4lue"), "{}", world.pooler.log());
}

#[test]
fn hashes_tell_which_calls_had_the_same_values() {
    let world = slow(Scenario::new()).set("samples.params", "hash").start();
    call(&world);
    world.client().query(&SIMPLE.replace("simple", "other"));
    newest(&world, SIMPLE, 3);
    let page = world.pooler.admin().json(&format!("/queries/{}/samples", fingerprint(SIMPLE)));
    let hash = |at: usize| page["newest"][at]["values"]["hash"].as_str().unwrap().to_owned();
    assert_eq!(hash(1), hash(2), "{page}");
    assert_ne!(hash(0), hash(1), "{page}");
    for (path, body) in pages(&world, SIMPLE, None) {
        assert!(!body.contains("v4lue"), "{path}: {body}");
    }
    assert!(!world.pooler.log().contains("v4lue"), "{}", world.pooler.log());
}

#[test]
fn values_are_kept_where_that_is_asked_for_and_not_logged() {
    let mut world = slow(Scenario::new()).set("samples.params", "off").start();
    world.pooler.reload(|config| {
        config.set("samples.params", "full");
    });
    call(&world);
    let values = |sql: &str, calls| newest(&world, sql, calls)["values"].clone();
    assert_eq!(values(SIMPLE, 2)["statement"], SIMPLE);
    let bound = values(BOUND, 2);
    assert_eq!(bound["parameters"], serde_json::json!(["v4lue-bound", "7"]), "{bound}");
    assert_eq!(values("SELECT $1::int", 2)["parameters"][0], "v4lue-wrong");
    let second = values("SELECT 'v4lue-second', 2, 3, 4", 1);
    assert_eq!(
        (&second["statement"], &second["cut"]),
        (&"SELECT 'v4lue-second', 2, 3, 4".into(), &false.into())
    );
    let text = world.pooler.admin().get("/slow?limit=500", "text/plain").body;
    assert!(text.contains("$1 = 'v4lue-bound', $2 = '7'") && text.contains(SIMPLE), "{text}");
    world.pooler.wait_for_log("slow statement");
    // Postgres quotes the value, which only the answer shows.
    let path = format!("/queries/{}/explain", fingerprint("SELECT $1::int"));
    let answer = world.pooler.admin().post(&path, "{\"mode\":\"sample\"}");
    assert_eq!((answer.status, answer.body.contains("v4lue")), (422, true), "{answer:?}");
    world.pooler.wait_for_log("Postgres cannot plan it (22P02)");
    assert!(!world.pooler.log().contains("v4lue"), "{}", world.pooler.log());
    world.pooler.reload(|config| {
        config.set("samples.params", "off");
    });
    let answer = world.pooler.admin().post(&path, "{\"mode\":\"sample\"}");
    assert!(answer.body.contains("no call of it is known"), "{answer:?}");
    // Not even if it is set back.
    for params in ["off", "full"] {
        world.pooler.reload(|config| {
            config.set("samples.params", params);
        });
        for (path, body) in pages(&world, BOUND, None) {
            assert!(!body.contains("v4lue"), "{path}: {body}");
        }
    }
}

#[test]
fn binary_values_and_those_that_are_long() {
    let world = Scenario::new().set("samples.params", "full").start();
    let mut client = world.client();
    let sql = "SELECT $1::int8, $2::bool, $3::text";
    let parse = Batch::new().parse_typed("s", sql, &[20, 16, 25]);
    let long = "x".repeat(200_000);
    let mut body =
        b"\0s\0\0\x03\0\x01\0\x01\0\x00\0\x03\0\0\0\x08\0\0\0\0\0\0\x01\0\0\0\0\x01\x01".to_vec();
    body.extend((long.len() as u32).to_be_bytes());
    body.extend(long.as_bytes());
    body.extend([0, 0]);
    client.run(&parse.frame(b'B', &body).execute("").sync());
    let values = newest(&world, sql, 1)["values"].clone();
    assert_eq!((&values["parameters"][0], &values["parameters"][1]), (&"256".into(), &"t".into()));
    assert_eq!(values["cut"], true, "{values}");
    assert!(values["parameters"][2].as_str().is_some_and(|text| text.len() < 2_100));
}

#[test]
fn only_administrators_see_values_and_constants() {
    let (scenario, view) = with_token(slow(Scenario::new()), "grafana", "view");
    let (scenario, admin) = with_token(scenario, "ann", "admin");
    let mut world = scenario.set("samples.params", "full").start();
    world.skip_rest_check();
    world.prepare("CREATE TABLE note (id int, body text)");
    call(&world);
    let sql = "SELECT id FROM note WHERE body = 'v4lue-constant' AND id > 987654321";
    world.client().run(&Batch::new().parse("s", sql).run("s", &[]).sync());
    let path = format!("/queries/{}/explain", fingerprint(sql));
    let plan = wait_for(PATIENCE, "the plan", || {
        let answer = world.pooler.admin().send(&format!(
            "POST {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {admin}\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        ));
        if answer.status == 200 { Ok(answer.body) } else { Err(answer.body) }
    });
    assert!(plan.contains("v4lue-constant"), "{plan}");
    let mut seen = [false; 4];
    for wanted in [SIMPLE, BOUND, sql] {
        for (path, body) in pages(&world, wanted, Some(&view)) {
            assert!(!body.contains("v4lue"), "{path}: {body}");
            assert!(!body.contains("987654321"), "{path}: {body}");
        }
        for (_, body) in pages(&world, wanted, Some(&admin)) {
            for (seen, value) in seen.iter_mut().zip(["simple", "bound", "constant", "> 987654321"])
            {
                *seen |= body.contains(value);
            }
        }
    }
    assert_eq!(seen, [true; 4]);
}
