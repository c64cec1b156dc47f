//! Hints from real plans, and those that must not be given.

use super::*;
use crate::plan::facts::Column;

/// What PostgreSQL 15 says of the tables of the samples.
fn facts() -> Vec<(Relation, Facts)> {
    let read = |name: &str, json: &str| {
        let relation = Relation { schema: "shop".to_owned(), name: name.to_owned() };
        (relation, Facts::read(json).unwrap())
    };
    vec![
        read("orders", include_str!("samples/orders.facts.json")),
        read("customer", include_str!("samples/customer.facts.json")),
    ]
}

fn plan(name: &str) -> Plan {
    let json = match name {
        "filter" => include_str!("samples/filter.json"),
        "join" => include_str!("samples/join.json"),
        "update" => include_str!("samples/update.json"),
        "wrapped" => include_str!("samples/wrapped.json"),
        "like" => include_str!("samples/like.json"),
        "distinct" => include_str!("samples/distinct.json"),
        "list" => include_str!("samples/list.json"),
        "sort" => include_str!("samples/sort.json"),
        "nested" => include_str!("samples/nested.json"),
        "primary" => include_str!("samples/primary.json"),
        "jit" => include_str!("samples/jit.json"),
        other => panic!("no sample {other}"),
    };
    Plan::read(json).unwrap()
}

fn sql(name: &str, facts: &[(Relation, Facts)]) -> Vec<String> {
    let hints = hints(&plan(name), facts, &Seen::default());
    hints.into_iter().map(|hint| hint.sql.unwrap_or(hint.advice)).collect()
}

#[test]
fn a_scan_for_a_few_rows_wants_an_index() {
    for (name, columns) in [
        ("filter", "shop.orders (customer_id, created)"),
        ("update", "shop.orders (note)"),
        ("wrapped", "shop.customer ((lower((email)::text)))"),
        ("like", "shop.customer (email text_pattern_ops)"),
        ("list", "shop.orders (customer_id)"),
    ] {
        let expected = format!("CREATE INDEX CONCURRENTLY ON {columns}");
        assert_eq!(sql(name, &facts()), [expected], "{name}");
    }
    let hint = &hints(&plan("filter"), &facts(), &Seen::default())[0];
    assert_eq!(hint.rule, "missing_index");
    assert_eq!(hint.advice, "consider an index on shop.orders (customer_id, created)");
    assert_eq!(
        hint.evidence,
        "it reads all 100000 rows of shop.orders for 2 of them, 100 % of the plan's cost; \
         filter ((orders.created > $2) AND (orders.customer_id = $1))"
    );
}

#[test]
fn what_an_index_would_not_help_is_left_alone() {
    for name in ["primary", "distinct", "jit"] {
        assert_eq!(sql(name, &facts()), [""; 0], "{name}");
    }
    let mut small = facts();
    small[0].1.tuples = MANY_ROWS - 1.0;
    assert_eq!(sql("filter", &small), [""; 0], "a small table");
    let mut few = facts();
    for column in &mut few[0].1.columns {
        column.distinct = Some(FEW_VALUES);
    }
    assert_eq!(sql("filter", &few), [""; 0], "columns with few values");
    assert_eq!(sql("filter", &[]), [""; 0], "nothing is known");
}

#[test]
fn an_index_that_is_there_is_named() {
    let mut known = facts();
    let mut index = known[0].1.indexes[0].clone();
    (index.name, index.columns) = ("by_customer".to_owned(), vec!["customer_id".to_owned()]);
    known[0].1.indexes.push(index);
    let hint = &hints(&plan("filter"), &known, &Seen::default())[0];
    assert_eq!((hint.rule, &hint.sql), ("unused_index", &None));
    assert!(hint.advice.starts_with("index by_customer exists but was not used"), "{hint:?}");
    // One that was not built to its end, or leaves rows out, is none.
    known[0].1.indexes.last_mut().unwrap().complete = false;
    assert!(sql("filter", &known)[0].starts_with("CREATE INDEX"));
}

#[test]
fn a_cast_that_changes_the_value_is_an_expression() {
    let mut numbers = facts();
    let email = numbers[1].1.columns.iter_mut().find(|column| column.name == "email").unwrap();
    *email = Column { kind: "integer".to_owned(), ..email.clone() };
    let found = sql("like", &numbers);
    assert_eq!(
        found,
        ["CREATE INDEX CONCURRENTLY ON shop.customer (((email)::text) text_pattern_ops)"]
    );
}

#[test]
fn a_scan_for_each_row_of_another_wants_an_index() {
    let found = hints(&plan("nested"), &facts(), &Seen::default());
    let sql: Vec<_> = found.iter().map(|hint| (hint.rule, hint.sql.as_deref().unwrap())).collect();
    assert_eq!(sql, [("nested_scan", "CREATE INDEX CONCURRENTLY ON shop.orders (customer_id)")]);
    assert_eq!(
        found[0].evidence,
        "all 100000 rows of shop.orders are compared for each of 400 rows; (c.id = o.customer_id)"
    );
}

#[test]
fn a_sort_for_the_first_rows_wants_an_index() {
    let found = hints(&plan("sort"), &facts(), &Seen::default());
    let sql: Vec<_> = found.iter().map(|hint| (hint.rule, hint.sql.as_deref().unwrap())).collect();
    assert_eq!(sql, [("sort_for_few", "CREATE INDEX CONCURRENTLY ON shop.orders (created)")]);
}

#[test]
fn estimates_are_compared_with_what_clients_get() {
    let of = |name, rows_per_call, calls| {
        let seen = Seen { calls, rows_per_call, p50_micros: 1_000_000 };
        let found = hints(&plan(name), &facts(), &seen);
        found.into_iter().find(|hint| hint.rule == "estimate").map(|hint| hint.sql)
    };
    assert_eq!(of("distinct", 4_000.0, 10), Some(Some("ANALYZE shop.orders".to_owned())));
    assert_eq!(of("primary", 4_000.0, 10), Some(Some("ANALYZE shop.orders".to_owned())));
    assert_eq!(of("distinct", 40_000.0, 10), None, "near");
    assert_eq!(of("primary", 50.0, 10), None, "few");
    assert_eq!(of("distinct", 4_000.0, 1), None, "once is chance");
    assert_eq!(of("update", 4_000.0, 10), None, "what is changed is not returned");
    assert_eq!(of("join", 4_000.0, 10), None, "a limit says nothing of the rows below");
}

#[test]
fn compiling_is_compared_with_the_time_of_the_statement() {
    let of = |p50_micros| {
        let seen = Seen { calls: 10, rows_per_call: 1.0, p50_micros };
        hints(&plan("jit"), &facts(), &seen).into_iter().find(|hint| hint.rule == "jit")
    };
    assert!(of(20_000).is_some(), "3 functions, 5 ms each");
    assert_eq!(of(40_000), None);
}

#[test]
fn a_table_that_was_never_looked_at_is_named() {
    let mut unknown = facts();
    unknown[0].1.tuples = -1.0;
    assert_eq!(sql("filter", &unknown), ["ANALYZE shop.orders"]);
}
