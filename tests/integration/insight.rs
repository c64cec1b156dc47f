//! Statements that belong together: routes by the tags in comments, what repeats, pauses in transactions.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Batch, PATIENCE, RawClient, Scenario, World, wait_for};

fn tagged(sql: &str, route: &str) -> String {
    format!("{sql} /*framework='django%3A5.1',route='{}'*/", route.replace('/', "%2F"))
}

/// The list on a page, once the rule says that it is as it should be.
#[track_caller]
fn page(world: &World, path: &str, list: &str, rule: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    wait_for(PATIENCE, path, || {
        let page = world.pooler.admin().json(path);
        let rows = page[list].as_array().expect("a list").clone();
        if rule(&rows) { Ok(rows) } else { Err(page.to_string()) }
    })
}

fn prepare(world: &World) {
    world.prepare("CREATE TABLE author (id int PRIMARY KEY, name text)");
    world.prepare("INSERT INTO author SELECT n, 'author ' || n FROM generate_series(1, 30) n");
    world.prepare("CREATE TABLE book AS SELECT n AS id, n AS author FROM generate_series(1, 30) n");
}

/// A page with the mistake, in autocommit.
fn books(client: &mut RawClient) {
    client.query(&tagged("SELECT * FROM book", "/books/"));
    for id in 1..=30 {
        client.query(&tagged(&format!("SELECT * FROM author WHERE id = {id}"), "/books/"));
    }
}

#[test]
fn statements_are_added_up_by_route_whatever_protocol_they_come_by() {
    let world = Scenario::new().start();
    let mut client = world.client();
    client.query(&tagged("SELECT 1 AS one", "/a/b/"));
    let named = Batch::new().parse("s", &tagged("SELECT $1::int AS two", "/a/b/"));
    client.run(&named.run("s", &["3"]).run("s", &["5"]).sync());
    let unnamed = Batch::new().parse("", &tagged("SELECT 1 AS one", "/c/"));
    client.run(&unnamed.run("", &[]).sync());
    client.query("SELECT 'untagged'");
    let rows = page(&world, "/routes", "routes", |rows| rows.len() == 3);
    let calls =
        |route: &str| rows.iter().find(|row| row["route"] == route).map(|row| row["calls"].clone());
    assert_eq!(calls("/a/b/"), Some(3.into()), "{rows:?}");
    assert_eq!(calls("/c/"), Some(1.into()), "{rows:?}");
    for path in ["/routes/%2Fa%2Fb%2F", "/routes//a/b/"] {
        let one = page(&world, path, "routes", |rows| rows.len() == 1);
        assert_eq!(one[0]["statements"].as_array().unwrap().len(), 2, "{path} {one:?}");
    }
    let missing = world.pooler.admin().get("/routes/nowhere", "*/*");
    assert_eq!((missing.status, missing.body.lines().count()), (404, 1), "{missing:?}");
}

#[test]
fn a_page_that_asks_for_each_row_is_a_candidate_and_can_be_ignored() {
    let world = Scenario::new().start();
    prepare(&world);
    let mut client = world.client();
    for _ in 0..4 {
        books(&mut client);
        // Another page, that is as it should be.
        client.query(&tagged("SELECT * FROM book JOIN author ON author = author.id", "/all/"));
    }
    drop(client);
    let found = page(&world, "/nplusone", "candidates", |found| !found.is_empty());
    let [one] = &found[..] else { panic!("one: {found:?}") };
    let is = |key: &str| one[key].as_str().unwrap_or_default();
    assert_eq!((is("route"), is("class"), is("confidence")), ("/books/", "n_plus_one", "high"));
    assert_eq!(one["source"]["rows"], 30, "{one}");
    assert!(is("advice").contains("select_related"), "{one}");
    assert!(one["n"]["p50"] == 30, "{one}");
    for nothing in ["route=/all/", "class=duplicate", "db=other"] {
        assert!(page(&world, &format!("/nplusone?{nothing}"), "candidates", |_| true).is_empty());
    }
    let text = world.pooler.admin().get("/nplusone", "*/*").body;
    let head = format!("\nn_plus_one {} of {}, on /books/\n", is("id"), is("fingerprint"));
    assert!(text.contains(&head), "{text}");
    let screen = world.pooler.admin().get("/", "*/*").body;
    assert!(screen.contains("N+1 CANDIDATES") && screen.contains("/books/"), "{screen}");
    let metrics = world.pooler.admin().get("/metrics", "*/*").body;
    let sample = "pooler_nplusone_candidates{class=\"n_plus_one\",confidence=\"high\"} 1\n";
    assert!(metrics.contains(sample), "{metrics}");
    let ignore = |headers: &str| {
        let path = format!("/nplusone/{}/ignore", is("id"));
        world
            .pooler
            .admin()
            .send(&format!("POST {path} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n"))
    };
    assert_eq!(ignore("").status, 415);
    let ignored = ignore("Content-Type: application/json\r\n");
    assert!(ignored.status == 200 && ignored.body.contains(is("fingerprint")), "{ignored:?}");
    assert!(page(&world, "/nplusone", "candidates", |_| true).is_empty());
}

#[test]
fn a_statement_says_what_was_noticed_of_it_until_that_is_forgotten() {
    let world = Scenario::new().start();
    prepare(&world);
    let mut client = world.client();
    for _ in 0..4 {
        client.query("BEGIN");
        books(&mut client);
        sleep(Duration::from_millis(150));
        client.query("COMMIT");
    }
    drop(client);
    let found = page(&world, "/nplusone", "candidates", |found| !found.is_empty());
    let fingerprint = found[0]["fingerprint"].as_str().unwrap();
    let flagged = |rows: &[Value]| rows.iter().any(|row| row["flags"] != serde_json::json!([]));
    let rows = page(&world, "/queries?route=/books/", "queries", flagged);
    let row = rows.iter().find(|row| row["fingerprint"] == fingerprint).expect("it");
    assert_eq!(row["flags"], serde_json::json!(["idle_after", "n_plus_one"]), "{row}");
    let text = world.pooler.admin().get("/queries", "*/*").body;
    assert!(text.contains("FLAGS") && text.contains("  idle,n+1  "), "{text}");
    let one = world.pooler.admin().json(&format!("/queries/{fingerprint}"));
    assert_eq!(one["findings"][0]["id"], found[0]["id"], "{one}");
    let text = world.pooler.admin().get(&format!("/queries/{fingerprint}"), "*/*").body;
    assert!(text.contains("\nn_plus_one ") && text.contains("after 30 rows of "), "{text}");
    let forget = |body: &str| {
        let length = body.len();
        let answer = world.pooler.admin().send(&format!(
            "POST /queries/reset HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        answer.body
    };
    let said = forget(&format!("{{\"fingerprint\": \"{fingerprint}\"}}"));
    assert_eq!(said, "1 statements, 0 routes, 1 findings, 1 pauses forgotten\n");
    assert!(page(&world, "/nplusone", "candidates", |_| true).is_empty());
    let routes = page(&world, "/routes?q=books", "routes", |routes| routes.len() == 1);
    assert!(!routes[0]["statements"].to_string().contains(fingerprint), "{routes:?}");
    let said = forget("{}");
    assert!(said.contains(" routes, 0 findings, ") && !said.contains(", 0 routes"), "{said}");
    assert!(page(&world, "/idle", "idle", |_| true).is_empty());
    assert!(page(&world, "/routes?q=books", "routes", |_| true).is_empty());
}

#[test]
fn nothing_is_looked_for_when_that_is_switched_off() {
    let world = Scenario::new().set("admin.nplusone", false).start();
    prepare(&world);
    for _ in 0..4 {
        books(&mut world.client());
    }
    page(&world, "/routes", "routes", |rows| rows.iter().any(|row| row["calls"] == 124));
    assert!(page(&world, "/nplusone?confidence=low", "candidates", |_| true).is_empty());
}

#[test]
fn a_pause_in_a_transaction_is_told_with_its_route() {
    let world = Scenario::new().start();
    let mut client = world.client();
    client.query("BEGIN");
    client.query(&tagged("SELECT 'order' AS kind", "/pay/"));
    // As if it called an API.
    sleep(Duration::from_millis(300));
    client.query("COMMIT");
    sleep(Duration::from_millis(400));
    client.query("SELECT 'outside'");
    let idle = page(&world, "/idle", "idle", |idle| idle.len() == 2);
    let longest = &idle[0];
    assert_eq!((&longest["route"], &longest["count"]), (&"/pay/".into(), &1.into()), "{idle:?}");
    let max = longest["max_ms"].as_f64().unwrap();
    assert!(max >= 300.0, "{idle:?}");
    assert_eq!(longest["text"], "select $1 as kind");
    let screen = world.pooler.admin().get("/", "*/*").body;
    assert!(
        screen.contains("longest idle in a transaction") && screen.contains("/pay/"),
        "{screen}"
    );
    let metrics = world.pooler.admin().get("/metrics", "*/*").body;
    assert!(metrics.contains("pooler_idle_in_transaction_seconds_count{"), "{metrics}");
}
