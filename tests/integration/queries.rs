//! Statements by fingerprint: counted and timed as Postgres does it, whatever protocol runs them.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    Batch, PATIENCE, RawClient, Scenario, Signal, World, fingerprint, has_pg_stat_statements,
    query, seen_by_postgres, wait_for,
};

const ALL: &str = "/queries?kind=all&limit=500";

/// The row of a statement, once it was called so often.
#[track_caller]
fn row(world: &World, sql: &str, calls: u64) -> Value {
    let wanted = fingerprint(sql);
    wait_for(PATIENCE, sql, || {
        let page = world.pooler.admin().json(ALL);
        let rows = page["queries"].as_array().expect("a list");
        let row = rows.iter().find(|row| row["fingerprint"] == *wanted);
        match row {
            Some(row) if row["calls"] == calls => Ok(row.clone()),
            Some(_) | None => Err(page.to_string()),
        }
    })
}

fn work(world: &World, client: &mut RawClient, other: &mut RawClient) {
    world.prepare("CREATE TABLE item (id int PRIMARY KEY, name text)");
    for id in 0..10 {
        client.query(&format!("INSERT INTO item VALUES ({id}, 'name {id}')"));
    }
    client.query("INSERT INTO item VALUES (10, 'a'), (11, 'b'), (12, NULL)");
    for list in ["1", "1, 2", "1, 2, 3, 99"] {
        client.query(&format!("SELECT * FROM item WHERE id IN ({list})"));
    }
    client.query(
        "UPDATE item SET name = 'x' WHERE id < 5; SELECT count(*) FROM item; DELETE FROM item WHERE id = 9",
    );
    for client in [&mut *client, other] {
        let named = Batch::new().parse("s", "SELECT name FROM item WHERE id > $1");
        client.run(&named.run("s", &["3"]).run("s", &["5"]).run("s", &["100"]).sync());
        let unnamed = Batch::new().parse("", "UPDATE item SET name = $1 WHERE id = 3");
        client.run(&unnamed.run("", &["y"]).sync());
        client.run(&Batch::new().run("s", &["7"]).sync());
    }
    client.query("BEGIN");
    client.query("SELECT pg_sleep(0.2)");
    client.query("COMMIT");
    for _ in 0..2 {
        client.run(&query("SELECT id / 0 FROM item"));
    }
}

#[test]
fn calls_rows_and_times_are_those_of_pg_stat_statements() {
    let world = Scenario::new().start();
    let (mut client, mut other) = (world.client(), world.client());
    work(&world, &mut client, &mut other);
    let failed = row(&world, "SELECT id / 0 FROM item", 2);
    assert_eq!(failed["errors"], serde_json::json!({"22012": 2}));
    assert_eq!(row(&world, "SELECT name FROM item WHERE id > 1", 8)["rows"], 36);
    assert_eq!(row(&world, "SELECT * FROM item WHERE id IN (1)", 3)["max_list"], 4);
    if !has_pg_stat_statements() {
        eprintln!("not compared: this Postgres has no pg_stat_statements");
        return;
    }
    let postgres = seen_by_postgres(&world);
    let page = world.pooler.admin().json("/queries?limit=500");
    let rows = page["queries"].as_array().unwrap();
    assert_eq!(rows.len(), 10, "{page}");
    let mut over = 0.0;
    for ours in rows.iter().filter(|row| row["errors"] == serde_json::json!({})) {
        let hash = ours["fingerprint"].as_str().unwrap();
        let (seen, _) =
            postgres.get(hash).unwrap_or_else(|| panic!("Postgres does not know {ours}"));
        let counts = (&seen.calls.into(), &seen.rows.into());
        assert_eq!((&ours["calls"], &ours["rows"]), counts, "{ours}");
        // Postgres answers a batch at once, so only the sum can be compared. Ours is to the microsecond
        // for each call, and holds what Postgres needs to read and to send.
        over +=
            ours["exec_ms"]["total"].as_f64().unwrap() - seen.millis + 0.001 * seen.calls as f64;
    }
    assert!(over >= 0.0, "{over} ms: {page}");
    let slept = row(&world, "SELECT pg_sleep(0.2)", 1)["exec_ms"]["total"].as_f64().unwrap();
    let millis = postgres[&fingerprint("SELECT pg_sleep(0.2)")].0.millis;
    assert!(slept <= millis * 1.15, "{slept} ms, Postgres says {millis} ms");
}

#[test]
fn waiting_for_a_server_is_no_time_of_the_query() {
    let world = Scenario::new().pool_size(1).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.send(&query("SELECT pg_sleep(0.5)"));
    world.wait_for_query("pg_sleep");
    waiting.send(&query("SELECT 'quick'"));
    world.wait_for_waiting(1);
    holder.read_readies(1);
    waiting.read_readies(1);
    let row = row(&world, "SELECT 'quick'", 1);
    let wait = row["pool_wait_ms"]["total"].as_f64().unwrap();
    let exec = row["exec_ms"]["total"].as_f64().unwrap();
    assert!(wait > 0.0 && exec < 250.0, "{row}");
}

#[test]
fn a_portal_read_in_portions_is_one_call() {
    let world = Scenario::new().start();
    let mut client = world.client();
    let sql = "SELECT generate_series(1, 10) AS portion";
    let begin = Batch::new().parse("", sql).bind("cursor", "", &[]);
    let more = begin.execute_some("cursor", 4).execute_some("cursor", 4).execute_some("cursor", 4);
    client.run(&more.sync());
    assert_eq!(row(&world, sql, 1)["rows"], 10);
}

#[test]
fn an_error_at_bind_is_an_error_of_the_statement() {
    let world = Scenario::new().start();
    let mut client = world.client();
    let sql = "SELECT $1::int AS wrong";
    let reply = client.run(&Batch::new().parse("w", sql).run("w", &["no number"]).sync());
    assert_eq!(reply.error().sqlstate, "22P02");
    assert_eq!(row(&world, sql, 1)["errors"], serde_json::json!({"22P02": 1}));
}

#[test]
fn nothing_is_counted_when_that_is_switched_off() {
    let world = Scenario::new().set("admin.query_stats", false).start();
    world.client().query("SELECT 1");
    let answer = world.pooler.admin().get("/queries", "*/*");
    assert_eq!(
        (answer.status, &*answer.body),
        (404, "statements are not counted: query_stats is off\n")
    );
}

#[test]
fn a_slow_statement_is_logged_and_listed_without_its_values() {
    let world = Scenario::new().set("log.log_slow_statements", "300ms").start();
    let mut client = world.client();
    client.query("SELECT 'secret value', pg_sleep(0.4)");
    client.query("SELECT 'quick'");
    world.pooler.wait_for_log("slow statement");
    let page = world.pooler.admin().json("/slow?min_ms=350");
    let [slow] = &page["slow"].as_array().unwrap()[..] else { panic!("one: {page}") };
    assert_eq!((&slow["text"], &slow["rows"]), (&"select $1, pg_sleep($2)".into(), &1.into()));
    assert!(!page.to_string().contains("secret") && !world.pooler.log().contains("secret value"));
}

#[test]
fn slow_statements_can_be_followed_until_the_end() {
    let mut world = Scenario::new().set("log.log_slow_statements", "30ms").start();
    world.skip_rest_check();
    let mut client = world.client();
    client.query("SELECT 'secret value', pg_sleep(0.04)");
    let mut follower = world.pooler.admin().follow("/slow?follow=1&limit=5");
    follower.wait_for("took");
    client.query("SELECT 'secret value', 'later', pg_sleep(0.04)");
    let heard = follower.wait_for("select $1, $2, pg_sleep($3)");
    assert!(heard.contains("\r\ncontent-type: text/event-stream"), "{heard}");
    assert!(heard.contains("event: slow\ndata: ") && !heard.contains("secret"), "{heard}");
    // It waits for the transaction, and its followers do not wait for that.
    client.query("BEGIN");
    world.pooler.signal(Signal::Terminate);
    follower.wait_for("event: end\ndata: the pooler is shutting down\n\n");
}

#[test]
fn a_client_that_reads_slowly_is_no_slow_query() {
    let world = Scenario::new().start();
    let mut client = world.client();
    // More than the sockets on the way hold.
    let sql = "SELECT repeat('x', 1000) FROM generate_series(1, 30000)";
    client.send(&query(sql));
    world.wait_for_query("generate_series");
    std::thread::sleep(Duration::from_millis(600));
    client.read_readies(1);
    let row = row(&world, sql, 1);
    let millis = |field: &str, key: &str| row[field][key].as_f64().unwrap();
    assert!(millis("client_blocked_ms", "total") >= 400.0, "{row}");
    assert!(millis("exec_ms", "total") < 400.0, "{row}");
    assert!(millis("first_row_ms", "mean") < 300.0, "{row}");
    assert!(row["bytes_out"].as_u64().unwrap() >= 30_000_000, "{row}");
    assert_eq!((&row["rows"], &row["simple_calls"]), (&30_000.into(), &1.into()));
}

#[test]
fn a_reload_changes_what_is_slow_also_for_one_database() {
    let mut world = Scenario::new().set("log.log_slow_statements", "10s").start();
    let mut client = world.client();
    let sleep = |client: &mut RawClient| client.query("SELECT pg_sleep(0.05)");
    sleep(&mut client);
    row(&world, "SELECT pg_sleep(0.05)", 1);
    let slow = |world: &World| world.pooler.admin().json("/slow")["slow"].as_array().unwrap().len();
    assert_eq!(slow(&world), 0, "it is quick");
    world.pooler.reload(|config| {
        config.set("log.log_slow_statements", "20ms");
    });
    sleep(&mut client);
    row(&world, "SELECT pg_sleep(0.05)", 2);
    assert_eq!(slow(&world), 1);
    let key = format!("databases.{}.log_slow_statements", world.database);
    world.pooler.reload(|config| {
        config.set(&key, "10s");
    });
    sleep(&mut client);
    row(&world, "SELECT pg_sleep(0.05)", 3);
    assert_eq!(slow(&world), 1, "its own counts");
}
