//! `/openapi.json` says what the API answers: every page that it names is asked for, and the answer compared with its
//! schema, as far as the schemas go that are there.

use serde_json::{Map, Value};

use crate::support::{PATIENCE, Scenario, World, query, wait_for};

/// Everything that a schema here can say. What is in neither list would go unchecked.
const CHECKED: [&str; 11] = [
    "$ref",
    "type",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "anyOf",
    "enum",
    "const",
    "minimum",
    "oneOf",
];
const SILENT: [&str; 4] = ["description", "title", "format", "default"];

/// What is wrong with the value, and where.
fn fault(value: &Value, schema: &Value, document: &Value, place: &str) -> Option<String> {
    let Some(rules) = schema.as_object() else {
        // `true` is anything.
        return (schema != true).then(|| format!("{place}: no schema: {schema}"));
    };
    let unknown = rules
        .keys()
        .find(|rule| !CHECKED.contains(&rule.as_str()) && !SILENT.contains(&rule.as_str()));
    if let Some(rule) = unknown {
        return Some(format!("{place}: this test does not know {rule}"));
    }
    if let Some(path) = rules.get("$ref").and_then(Value::as_str) {
        let pointer = path.strip_prefix('#').unwrap_or(path);
        let Some(schema) = document.pointer(pointer) else { return Some(format!("no {path}")) };
        return fault(value, schema, document, place);
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(ways) = rules.get(word).and_then(Value::as_array) {
            let fits = ways.iter().any(|way| fault(value, way, document, place).is_none());
            return (!fits).then(|| format!("{place}: {value} is none of {ways:?}"));
        }
    }
    if rules.get("enum").and_then(Value::as_array).is_some_and(|all| !all.contains(value)) {
        return Some(format!("{place}: {value} is not in {:?}", rules["enum"]));
    }
    if rules.get("const").is_some_and(|only| only != value) {
        return Some(format!("{place}: {value} is not {}", rules["const"]));
    }
    if value.as_f64() < rules.get("minimum").and_then(Value::as_f64) && value.is_number() {
        return Some(format!("{place}: {value} is too small"));
    }
    let types = match rules.get("type") {
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        Some(one) => one.as_str().into_iter().collect::<Vec<_>>(),
        None => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_a(value, name)) {
        return Some(format!("{place}: {value} is no {types:?}"));
    }
    match value {
        Value::Object(object) => object_fault(object, rules, document, place),
        Value::Array(items) => {
            let schema = rules.get("items")?;
            let mut items = items.iter().enumerate();
            items.find_map(|(at, item)| fault(item, schema, document, &format!("{place}[{at}]")))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => false,
    }
}

/// Stricter than the standard: what is not named must not be there.
fn object_fault(
    object: &Map<String, Value>,
    rules: &Map<String, Value>,
    document: &Value,
    place: &str,
) -> Option<String> {
    let required = rules.get("required").and_then(Value::as_array).into_iter().flatten();
    let missing = required.filter_map(Value::as_str).find(|name| !object.contains_key(*name));
    if let Some(name) = missing {
        return Some(format!("{place} has no {name}"));
    }
    object.iter().find_map(|(name, value)| {
        let inside = format!("{place}.{name}");
        let named = rules.get("properties").and_then(|properties| properties.get(name));
        match named.or(rules.get("additionalProperties")) {
            Some(schema) => fault(value, schema, document, &inside),
            None => Some(format!("{inside} is not in the schema")),
        }
    })
}

/// A world where every list has something in it.
fn world() -> World {
    let scenario = Scenario::new().set("log.log_slow_statements", "1ms");
    let world = scenario.set("server.health_check_interval", "100ms").start();
    let mut client = world.client();
    client.query("SELECT 1; LISTEN nobody; UNLISTEN nobody");
    client.run(&query("SELECT 1/0"));
    for _ in 0..3 {
        client.query("BEGIN");
        client.query("SELECT generate_series(1, 25) AS n /*route='shop'*/");
        for n in 0..25 {
            client.query(&format!("SELECT {n} AS one /*route='shop'*/"));
        }
        client.query("COMMIT");
    }
    client.query("SELECT pg_sleep(0.01)");
    wait_for(PATIENCE, "statements to be listed", || {
        let slow = world.pooler.admin().json("/slow").to_string();
        if slow.contains("pg_sleep") { Ok(()) } else { Err(slow) }
    });
    world
}

#[test]
fn every_page_answers_what_its_schema_says() {
    let world = world();
    let mut client = world.client();
    client.query("BEGIN");
    let admin = world.pooler.admin();
    let document = admin.json("/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let queries = admin.json("/queries");
    let fingerprint = queries["queries"][0]["fingerprint"].as_str().unwrap();
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(schema) =
            operations.pointer("/get/responses/200/content/application~1json/schema")
        else {
            continue;
        };
        if path == "/openapi.json" {
            continue;
        }
        let filled = path.replace("{database}", &world.database).replace("{user}", "app");
        let filled = filled.replace("{route}", "shop");
        let answer = admin.json(&filled.replace("{fingerprint}", fingerprint));
        assert_eq!(fault(&answer, schema, &document, path), None, "{answer}");
        checked += 1;
    }
    assert!(checked >= 18, "{checked} pages were looked at");
    let found = admin.json("/nplusone");
    assert_eq!(found["candidates"].as_array().map(Vec::len), Some(1), "{found}");
    // It would be noticed.
    let schema = &document["paths"]["/version"]["get"]["responses"]["200"]["content"];
    let schema = &schema["application/json"]["schema"];
    for wrong in ["{\"name\": \"pooler\"}", "{\"name\": \"x\", \"version\": 1}", "[]"] {
        let wrong = serde_json::from_str(wrong).unwrap();
        assert!(fault(&wrong, schema, &document, "").is_some(), "{wrong}");
    }
}

#[test]
fn actions_and_problems_answer_what_their_schemas_say() {
    let world = world();
    let admin = world.pooler.admin();
    let document = admin.json("/openapi.json");
    let post = |path: &str, body: &str| {
        let length = body.len();
        let answer = admin.send(&format!(
            "POST {path} HTTP/1.0\r\nAccept: application/json\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap())
    };
    for (path, body) in [
        ("/fingerprint", "{\"sql\": \"select 1; begin\"}"),
        ("/queries/reset", "{\"db\": \"none\"}"),
    ] {
        let operation = &document["paths"][path]["post"];
        let asked = &operation["requestBody"]["content"]["application/json"]["schema"];
        let body_fault = fault(&serde_json::from_str(body).unwrap(), asked, &document, path);
        assert_eq!(body_fault, None, "{asked}");
        let (status, answer) = post(path, body);
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!((status, fault(&answer, schema, &document, path)), (200, None), "{answer}");
        let (status, problem) = post(path, "{\"nothing\": 1}");
        let schema = &document["components"]["schemas"]["Problem"];
        assert_eq!((status, fault(&problem, schema, &document, path)), (400, None), "{problem}");
    }
}
