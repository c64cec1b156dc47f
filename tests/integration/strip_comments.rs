//! `strip_comments`: statements that differ only in their tags are one to Postgres, and the tags count all the same.

use serde_json::Value;

use crate::support::{Batch, PATIENCE, Pair, Scenario, World, query, wait_for};

fn world() -> World {
    Scenario::new().pool_size(1).set("pool.strip_comments", "tags").start()
}

/// As OpenTelemetry's SQLCommenter writes it, another trace for each number.
fn traced(sql: &str, route: &str, number: u32) -> String {
    let trace = format!("00-{:032x}-{:016x}-00", number + 1, number + 1);
    format!("{sql} /*route='{}',traceparent='{trace}'*/", route.replace('/', "%2F"))
}

#[track_caller]
fn wait_for_calls(world: &World, route: &str, calls: u64) -> Value {
    wait_for(PATIENCE, route, || {
        let page = world.pooler.admin().json("/routes");
        let rows = page["routes"].as_array().expect("a list");
        let row = rows.iter().find(|row| row["route"] == route && row["calls"] == calls);
        row.cloned().ok_or_else(|| page.to_string())
    })
}

#[test]
fn statements_of_two_routes_are_one_on_the_server() {
    let world = world();
    let (mut one, mut two) = (world.client(), world.client());
    let sql = "SELECT $1::int AS shared";
    one.run(&Batch::new().parse("s", &traced(sql, "/one", 1)).sync());
    two.run(&Batch::new().parse("s", &traced(sql, "/two", 2)).sync());
    for _ in 0..3 {
        let reply = one.run(&Batch::new().run("s", &["7"]).sync());
        assert_eq!(reply.shape(), "2 D(7) C(SELECT 1) Z(I)");
        two.run(&Batch::new().run("s", &["8"]).run("s", &["9"]).sync());
    }
    let known = one.run(&query("SELECT statement FROM pg_prepared_statements")).rows();
    assert_eq!(known, [[sql]]);
    wait_for_calls(&world, "/one", 3);
    let row = wait_for_calls(&world, "/two", 6);
    assert_eq!(row["errors"], 0, "{row}");
    let page = world.pooler.admin().json("/queries?q=shared");
    assert_eq!(page["queries"].as_array().unwrap().len(), 1, "{page}");
    assert_eq!(page["queries"][0]["calls"], 9, "{page}");
}

#[test]
fn a_trace_for_each_request_prepares_nothing_new() {
    let world = world();
    let mut client = world.client();
    for number in 0..300 {
        let sql = traced("SELECT $1::int AS traced", "/traced", number);
        let name = format!("s{number}");
        let reply = client.run(&Batch::new().parse(&name, &sql).run(&name, &["1"]).sync());
        assert_eq!(reply.shape(), "1 2 D(1) C(SELECT 1) Z(I)");
        client.run(&Batch::new().parse("", &sql).run("", &["1"]).close('S', &name).sync());
    }
    let known = "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''";
    assert_eq!(client.value(known), "1");
    wait_for_calls(&world, "/traced", 600);
}

#[test]
fn postgres_sees_simple_queries_without_tags_and_with_all_else() {
    let world = world();
    let mut client = world.client();
    let seen = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    assert_eq!(client.value(&traced(seen, "/simple", 1)), seen);
    assert_eq!(client.value(&format!("/*dddbs='shop'*/ {seen} /*route='%2Fsimple'*/;")), seen);
    for kept in [
        format!("/*+ SeqScan(t) */ {seen}"),
        format!("{seen} /* why: see below */"),
        format!("{seen} /*+ route='%2Fhint' */"),
        seen.replace("query", "query /*route='%2Fwithin'*/"),
    ] {
        assert_eq!(client.value(&kept), kept);
    }
    wait_for_calls(&world, "/simple", 2);
}

#[test]
fn places_in_errors_are_those_of_the_clients_text() {
    let world = world();
    let Pair { mut direct, mut pooled } = world.pair();
    for front in ["", "/*route='/a',action='b'*/ ", "\n/*controller:x*/\t", "/*+ hint */"] {
        let text = |sql: &str| format!("{front}{sql} /*job='nightly'*/");
        let missing = text("SELECT 'é', nothing FROM pg_class");
        let utility = text("CREATE TABLE x (a integer, b nosuchtype)");
        for (number, batch) in [
            query(&missing),
            query(&utility),
            Batch::new().parse("", &missing).run("", &[]).sync(),
            Batch::new().parse("s", &missing).run("s", &[]).sync(),
            Batch::new().parse("", &utility).run("", &[]).sync(),
            Batch::new().parse("u", &utility).sync(),
            Batch::new().run("u", &[]).sync(),
            Batch::new().close('S', "u").sync(),
        ]
        .into_iter()
        .enumerate()
        {
            let replies = [direct.run(&batch), pooled.run(&batch)];
            let bodies = replies.map(|reply| {
                let error = reply.frames.into_iter().find(|frame| frame.tag == b'E');
                error.map(|error| String::from_utf8_lossy(&error.body).into_owned())
            });
            assert_eq!(bodies[0], bodies[1], "{number}: {front:?}");
        }
    }
}

#[test]
fn it_is_off_unless_asked_for_and_follows_a_reload() {
    let mut world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    let seen = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let tagged = traced(seen, "/off", 1);
    assert_eq!(client.value(&tagged), tagged);
    let database = format!("databases.{}.strip_comments", world.database);
    world.pooler.reload(|config| {
        config.set(&database, "tags");
    });
    wait_for(PATIENCE, "the reload", || {
        let query = client.value(&tagged);
        if query == seen { Ok(()) } else { Err(query) }
    });
    world.pooler.reload(|config| {
        config.set(&database, "off");
    });
    wait_for(PATIENCE, "the reload", || {
        let query = client.value(&tagged);
        if query == tagged { Ok(()) } else { Err(query) }
    });
}
