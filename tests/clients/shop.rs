//! The Django shop with a mistake on each page: what each page asks of Postgres is what the pooler counts, and what repeats
//! is found, however Django keeps its connections and transactions.

use std::time::Duration;

use serde_json::Value;

use super::support::{Scenario, World, query, wait_for};
use super::{SERVERS, python, run_many};

/// How often each page is asked for among others, and again with nothing between.
const ROUNDS: u64 = 3;
const VISITS: u64 = 2 * ROUNDS;

/// Rows of the pages that ask in a loop.
const ROWS: u64 = 40;

/// A part of a statement's text, and how often a visit runs it: of the page with the mistake, and of that done right.
const PAGES: &[(&str, u64)] = &[
    // N+1 on a foreign key: a customer for each order. A join.
    ("from store_customer where store_customer.id = $1 limit", ROWS),
    ("from store_order inner join store_customer", 1),
    // N+1 on a reverse relation: the orders of each customer. One list of customers.
    ("from store_order where store_order.customer_id = $1", ROWS),
    ("from store_order where store_order.customer_id in", 1),
    // The same question for each line. Once.
    ("from store_taxrate where store_taxrate.country = $1", ROWS + 1),
    // save() for each product. bulk_update().
    ("update store_product set name = ", ROWS),
    ("update store_product set stock = (case", 1),
    // A column without an index. One with.
    ("where store_parcel.tracking_code = ", 1),
    ("where store_parcel.barcode = ", 1),
    // A transaction that waits for the bank. None.
    ("for update", 1),
    ("update store_order set status = $1, created = ", 1),
];

/// Longer than a trace is waited for.
const TRACE_ENDS: Duration = Duration::from_secs(20);

/// The pages that repeat what they need not. Of those done right nothing is said.
const FINDINGS: [(&str, &str); 4] = [
    ("/cart/", "duplicate"),
    ("/customers/", "n_plus_one"),
    ("/orders/", "n_plus_one"),
    ("/restock/", "loop_write"),
];

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("no {key} in {row}"))
}

fn shop(settings: &[(&str, &str)]) {
    shop_in(&scenario().start(), settings);
}

fn scenario() -> Scenario {
    let quiet = Scenario::new().set("log.log_connections", false);
    quiet.set("log.log_disconnections", false).pool_size(SERVERS)
}

fn shop_in(world: &World, settings: &[(&str, &str)]) {
    let rounds = format!("--rounds={ROUNDS}");
    let mut program = python("django_shop/run.py");
    run_many(world, program.args([&*rounds, "--parcels=20000"]).envs(settings.iter().copied()));
    let page = world.pooler.admin().json("/queries?limit=500");
    let rows = page["queries"].as_array().unwrap();
    for (part, each) in PAGES {
        let found = rows.iter().filter(|row| row["text"].as_str().unwrap().contains(part));
        let calls: Vec<_> = found.map(|row| row["calls"].as_u64().unwrap()).collect();
        assert_eq!(calls, [VISITS * each], "{settings:?}: {part}: {page}");
    }
    // A trace is over when nothing of it was seen for seconds.
    wait_for(TRACE_ENDS, "the findings", || {
        let page = world.pooler.admin().json("/nplusone?confidence=medium");
        let rows = page["candidates"].as_array().unwrap().iter();
        let mut found: Vec<_> = rows.map(|row| (text(row, "route"), text(row, "class"))).collect();
        found.sort_unstable();
        if found == FINDINGS { Ok(()) } else { Err(format!("{settings:?}: {page}")) }
    });
    let page = world.pooler.admin().json("/idle");
    assert_eq!(text(&page["idle"][0], "route"), "/checkout/", "{settings:?}: {page}");
}

#[test]
fn the_shop_asks_what_its_pages_are_made_to_ask() {
    for age in ["0", "600"] {
        for atomic in ["0", "1"] {
            shop(&[("CONN_MAX_AGE", age), ("ATOMIC_REQUESTS", atomic)]);
        }
    }
}

#[test]
fn a_trace_for_each_request_makes_no_statement_another_one() {
    shop(&[("CONN_MAX_AGE", "600"), ("SHOP_TRACEPARENT", "1")]);
}

#[test]
fn prepared_statements_are_shared_by_requests_that_tell_their_traces() {
    let world = scenario().set("pool.strip_comments", "tags").start();
    let prepared = [("SHOP_PREPARED", "1"), ("SHOP_TRACEPARENT", "1"), ("CONN_MAX_AGE", "600")];
    shop_in(&world, &prepared);
    let rows = world
        .client()
        .run(&query("SELECT statement FROM pg_prepared_statements ORDER BY 1"))
        .rows();
    assert!(rows.iter().any(|row| row[0].contains("store_customer")), "{rows:?}");
    assert!(rows.iter().all(|row| !row[0].contains("traceparent")), "{rows:?}");
    let calls = world.pooler.admin().json("/queries?limit=500&q=store_")["queries"].clone();
    assert!(rows.len() <= 2 * calls.as_array().unwrap().len(), "{}: {rows:?}", rows.len());
}
