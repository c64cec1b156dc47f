//! Who does something to the session out of sight, and which texts do.

use super::super::routine::Language;
use super::*;

fn bodies(of: &[(&str, &str)]) -> Bodies {
    let mut bodies = Bodies::default();
    of.iter().for_each(|(name, text)| bodies.add(name, Body::read(Language::Sql, Some(text))));
    bodies
}

fn relation(name: &str) -> Named {
    Named::Relation(name.into())
}

fn function(name: &str) -> Named {
    Named::Function(name.into())
}

fn known() -> Hidden {
    let bodies = bodies(&[
        ("tenant", "select set_config('app.tenant', $1, false)"),
        ("outer_one", "begin perform inner_one(); end"),
        ("inner_one", "begin perform tenant('x'); end"),
        ("round_a", "begin reset app.a; perform round_b(); end"),
        ("round_b", "begin set app.a = 1; perform round_a(); end"),
        ("pure", "select 1"),
        ("writer", "begin insert into watched values (1); end"),
        ("reader", "begin perform 1 from watched; end"),
        ("partition", "begin execute format('insert into %I values (1)', 'x'); end"),
    ]);
    let links = [
        Link { named: relation("watched"), by: By::Write(function("tenant")) },
        Link { named: relation("view"), by: By::Use(function("outer_one")) },
        Link { named: relation("view_of_view"), by: By::Use(relation("view")) },
        Link { named: relation("parent"), by: By::Write(relation("watched")) },
        Link { named: function("total"), by: By::Use(function("tenant")) },
        Link { named: relation("innocent"), by: By::Write(function("pure")) },
    ];
    assert!(bodies.do_anything());
    bodies.hidden(&links)
}

#[test]
fn callers_do_what_they_call() {
    let hidden = known();
    let functions = hidden.functions();
    let names: Vec<_> = functions.keys().copied().collect();
    let wanted =
        ["inner_one", "outer_one", "partition", "round_a", "round_b", "tenant", "total", "writer"];
    assert_eq!(names, wanted);
    assert_eq!(functions["outer_one"].settings.len(), 1);
    let relations: Vec<_> = hidden.relations().into_keys().collect();
    assert_eq!(relations, ["parent", "view", "view_of_view", "watched"]);
    assert_eq!(hidden.len(), 12);
}

#[test]
fn texts_that_name_them_do_it_too() {
    let hidden = known();
    let does = |sql: &str| hidden.effects(sql.as_bytes()).is_some();
    for sql in [
        "select tenant('a')",
        "SELECT Public.\"tenant\" ( 'a' )",
        "select 1; select (r).tenant from t r",
        "call outer_one()",
        "insert into watched values (1)",
        "copy parent from stdin",
        "select * from view_of_view",
        "with x as (update watched set a = 1 returning a) select * from x",
        "create table t as select tenant('x')",
    ] {
        assert!(does(sql), "{sql}");
    }
    for sql in [
        "select 1",
        "select tenant from t",
        "select pure()",
        "select reader()",
        "select * from watched",
        "select 'tenant(1)' -- tenant(1)",
        "insert into innocent values (1)",
        "create or replace function tenant(text) returns text language sql as 'select 1'",
        "drop function if exists tenant(text)",
        "comment on function tenant(text) is 'x'",
        "",
    ] {
        assert!(!does(sql), "{sql}");
    }
}

#[test]
fn what_is_executed_later_keeps_its_server() {
    let hidden = known();
    let effects = hidden.effects(b"prepare p as select tenant('a')").unwrap();
    assert!(effects.begins.contains(Feature::Unreadable));
    assert!(hidden.effects(b"prepare p as select pure()").is_none());
}

#[test]
fn without_such_functions_nothing_is_looked_for() {
    let clean = bodies(&[("pure", "select 1")]);
    assert!(!clean.do_anything());
    let hidden = clean.hidden(&[]);
    assert!(hidden.is_empty() && hidden.effects(b"select pure()").is_none());
}

#[test]
fn long_names_are_cut_as_postgres_does() {
    let long = "é".repeat(40);
    assert_eq!(cut(&long).len(), 62);
    assert_eq!(cut("short"), "short");
}
