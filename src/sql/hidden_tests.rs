//! Who does something to the session out of sight, and which texts do.

use super::super::routine::Language;
use super::*;

fn bodies(of: &[(&str, &str)]) -> Bodies {
    let mut bodies = Bodies::default();
    of.iter().for_each(|(name, text)| {
        bodies.add(name, Calls::Field, Body::read(Language::Sql, Some(text)))
    });
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
    assert!(!hidden.is_cut());
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
fn a_long_text_may_do_anything_where_there_are_such_functions() {
    let long = format!("insert into watched values ('{}')", "x".repeat(70_000));
    assert!(known().effects(long.as_bytes()).unwrap().is_unreadable());
    assert!(bodies(&[("pure", "select 1")]).hidden(&[]).effects(long.as_bytes()).is_none());
}

#[test]
fn only_functions_of_a_row_are_written_as_fields() {
    let mut bodies = Bodies::default();
    let body = || Body::read(Language::Sql, Some("set a = 1"));
    bodies.add("id", Calls::Usual, body());
    bodies.add("full_name", Calls::Field, body());
    let hidden = bodies.hidden(&[]);
    let does = |sql: &str| hidden.effects(sql.as_bytes()).is_some();
    assert!(!does("select t.id from t") && does("select public.id(1)"));
    assert!(does("select t.full_name from t") && does("select t.\"full_name\" from t"));
}

#[test]
fn what_cannot_be_told_may_do_anything() {
    let hidden = known();
    for sql in ["execute p", "explain analyze execute p(1)", "select pg_temp.f()"] {
        assert!(hidden.effects(sql.as_bytes()).unwrap().is_unreadable(), "{sql}");
    }
    assert!(hidden.effects(b"grant execute on all tables in schema x to y").is_none());
}

#[test]
fn strings_end_where_either_reading_has_it() {
    let hidden = known();
    assert!(hidden.effects(br"select 'a\', tenant('x') --'").is_some());
    assert!(hidden.effects(br"select 'a\' || ', tenant(1), '").is_some());
}

#[test]
fn a_chain_is_followed_to_its_end_or_said_to_be_cut() {
    let chain = |length: usize| {
        let mut bodies = Bodies::default();
        for at in 0..length {
            let text = format!("select f{}()", at + 1);
            bodies.add(&format!("f{at}"), Calls::Usual, Body::read(Language::Sql, Some(&text)));
        }
        let last = Body::read(Language::Sql, Some("set a = 1"));
        bodies.add(&format!("f{length}"), Calls::Usual, last);
        bodies.hidden(&[])
    };
    assert!(!chain(500).is_cut() && chain(500).functions().len() == 501);
    assert!(chain(10_000).is_cut());
}

#[test]
fn long_names_are_cut_as_postgres_does() {
    let long = "e".repeat(80);
    let text = format!("select {long}()");
    let hidden = bodies(&[(&long[..63], "set a = 1"), ("calls", &text)]).hidden(&[]);
    assert_eq!(hidden.functions().len(), 2);
    assert!(hidden.effects(text.as_bytes()).is_some());
    assert!(hidden.effects(b"select \"CALLS\"(), CALLS()").is_some());
}
