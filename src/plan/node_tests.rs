//! Plans of PostgreSQL 15 (`samples`), read and shown.

use super::*;
use crate::plan::text::{Columns, tree};

fn sample(name: &str) -> Plan {
    let json = match name {
        "join" => include_str!("samples/join.json"),
        "update" => include_str!("samples/update.json"),
        "jit" => include_str!("samples/jit.json"),
        "sort" => include_str!("samples/sort.json"),
        "primary" => include_str!("samples/primary.json"),
        "filter" => include_str!("samples/filter.json"),
        other => panic!("no sample {other}"),
    };
    Plan::read(json).unwrap()
}

#[test]
fn a_plan_is_shown_as_postgres_shows_it() {
    let expected = "\
Limit  (cost=2777.63..2777.64 rows=5 width=21)
  ->  Sort  (cost=2777.63..2777.64 rows=5 width=21)
        Sort Key: o.total
        ->  Hash Join  (cost=378.01..2777.57 rows=5 width=21)
              Hash Cond: (o.customer_id = c.id)
              ->  Seq Scan on shop.orders o  (cost=0.00..2137.00 rows=100000 width=14)
              ->  Hash  (cost=378.00..378.00 rows=1 width=15)
                    ->  Seq Scan on shop.customer c  (cost=0.00..378.00 rows=1 width=15)
                          Filter: ((c.email)::text = $1)
";
    assert_eq!(tree(&sample("join"), Columns::Hidden), expected);
    let verbose = tree(&sample("join"), Columns::Shown);
    assert!(verbose.contains("\n        Output: o.id, c.email, o.total\n"), "{verbose}");
}

#[test]
fn what_a_plan_does_is_said_in_a_few_words() {
    assert_eq!(sample("join").summary(), "Seq Scan on shop.orders o, Seq Scan on shop.customer c");
    assert_eq!(sample("update").summary(), "Update on shop.orders, Seq Scan on shop.orders");
    assert_eq!(sample("primary").summary(), "Index Scan using orders_pkey on shop.orders");
}

#[test]
fn settings_and_what_is_compiled_are_read() {
    let plan = sample("jit");
    let settings = [("jit_above_cost", "10"), ("jit_optimize_above_cost", "10")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(plan.settings, settings);
    assert_eq!(plan.jit, Some(Jit { functions: 3, effort: Effort::Optimized }));
    assert_eq!(sample("primary").settings, [], "what we set ourselves is none");
}

#[test]
fn costs_and_conditions_do_not_tell_plans_apart_and_indexes_do() {
    let plan = sample("primary");
    let mut dearer = plan.clone();
    (dearer.root.cost, dearer.root.rows) = ((1.0, 2.0), 3.0);
    dearer.root.details.clear();
    assert_eq!(plan.hash(), dearer.hash());
    let mut other = plan.clone();
    other.root.index = Some("other".to_owned());
    assert_ne!(plan.hash(), other.hash());
    assert_ne!(sample("filter").hash(), sample("sort").hash());
    // Who is whose child counts.
    let (a, b) = (
        Node { kind: "A".into(), ..Node::default() },
        Node { kind: "B".into(), ..Node::default() },
    );
    let over = Node { children: vec![b.clone()], ..a.clone() };
    let of = |root| Plan { root, ..plan.clone() }.hash();
    let beside = of(Node { children: vec![a.clone(), b], ..Node::default() });
    assert_ne!(beside, of(Node { children: vec![over], ..Node::default() }));
}

#[test]
fn what_is_no_plan_is_none() {
    for json in ["", "{}", "[]", "[{}]", "[{\"Plan\": {}}]", "[{\"Plan\": []}]", "null"] {
        assert_eq!(Plan::read(json), Err(NotAPlan), "{json}");
    }
    let deep = "[{\"Plan\":".to_owned() + &"{\"Node Type\":\"A\",\"Plans\":[".repeat(10_000);
    assert_eq!(Plan::read(&deep), Err(NotAPlan));
}

#[test]
fn of_many_nodes_the_first_are_read() {
    let child = "{\"Node Type\":\"Seq Scan\"}";
    let children = vec![child; 3_000].join(",");
    let json = format!("[{{\"Plan\":{{\"Node Type\":\"Append\",\"Plans\":[{children}]}}}}]");
    let plan = Plan::read(&json).unwrap();
    assert_eq!((plan.nodes().count(), plan.left_out), (MOST_NODES, 3_001 - MOST_NODES));
    assert!(tree(&plan, Columns::Hidden).ends_with("and 1001 more nodes\n"));
}
