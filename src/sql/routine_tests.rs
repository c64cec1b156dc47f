//! What bodies of functions may do to the session.

use super::super::effects::{Change, Scope};
use super::super::feature::{Feature, Features};
use super::*;

fn read(text: &str) -> Body {
    Body::read(Language::Sql, Some(text))
}

#[test]
fn most_bodies_do_nothing() {
    for text in [
        "select 1",
        "begin return new; end",
        "begin new.changed := now(); return new; end",
        "begin update t set a = 1 where b = 2; end",
        "begin insert into t values (1) on conflict do nothing; end",
        "begin merge into t using s on t.a = s.a when matched then do nothing when not matched then insert values (1); end",
        "declare c cursor for select 1; begin open c; fetch c into x; close c; end",
        "begin perform set_config('a.b', 'c', true); end",
        "begin execute 'insert into t values ($1)' using new; end",
        "begin execute format('insert into %I.%I (a) values (%L)', s, t, v); end",
        "begin execute format('drop index %I', i) ; execute 'select count(*) from ' || quote_ident(t) into n; end",
        "begin raise notice 'set x = 1'; -- ; set x = 1\n end",
        "begin perform pg_advisory_xact_lock(1); grant execute on function f() to r; end",
    ] {
        let Effects { begins, touches, settings, scope, schemas, .. } = read(text).effects;
        assert_eq!((begins, touches), (Features::NONE, Features::NONE), "{text}");
        assert!(settings.is_empty() && scope == Scope::Named && schemas.is_none(), "{text}");
    }
}

#[test]
fn what_is_set_is_named() {
    for text in [
        "begin perform set_config('app.x', v, false); end",
        "select set_config('app.x', $1, false)",
        "begin set app.x = 1; end",
        "begin if a then set app.x = 1; else reset app.x; end if; end",
        "begin for r in select 1 loop set session app.x to default; end loop; end",
        "begin execute 'set app.x = 1'; end",
        "begin execute format('set app.x = %L', v); end",
        "begin execute 'do nothing; set app.x = ' || quote_literal(v); end; -- not all of it is SQL",
    ] {
        let settings = read(text).effects.settings;
        assert!(settings.contains(&("app.x".into(), Change::Set)), "{text}: {settings:?}");
    }
}

#[test]
fn state_is_found_wherever_it_is_made() {
    for (text, feature) in [
        ("begin perform pg_advisory_lock(1); end", Feature::AdvisoryLock),
        ("begin if pg_try_advisory_lock(1) then return; end if; end", Feature::AdvisoryLock),
        ("begin listen x; end", Feature::Listen),
        ("begin create temp table t (a int); end", Feature::TemporaryTable),
        (
            "begin execute 'create temp table ' || quote_ident(t) || ' as select 1'; end",
            Feature::TemporaryTable,
        ),
        ("begin execute $q$ select pg_advisory_lock(1) $q$ into x; end", Feature::AdvisoryLock),
    ] {
        assert!(read(text).effects.begins.contains(feature), "{text}");
    }
    assert!(read("begin prepare p as select 1; end").effects.touches.contains(Feature::Prepare));
    assert!(read("begin return lastval(); end").effects.asks_sequences);
}

#[test]
fn what_is_put_together_may_do_anything() {
    for text in [
        "begin execute v; end",
        "begin execute 'select ' || v; end",
        "begin return query execute format('select %s', v); end",
        "begin for r in execute v loop null; end loop; end",
        "begin execute format('set %I = 1', v); end",
        "begin execute format('select set_config(%L, %L, false)', v, w); end",
        "begin execute 'do $x$ begin set a = 1; end $x$'; end",
        "begin do $x$ begin end $x$; end",
        "begin perform set_config(v, 'x', false); end",
    ] {
        assert!(read(text).effects.is_unreadable(), "{text}");
    }
    assert!(Body::read(Language::Sql, None).effects.is_unreadable());
    assert!(Body::read(Language::Other, Some("plpy.execute(x)")).effects.is_unreadable());
    assert!(!Body::read(Language::Other, Some("return a + b")).effects.is_unreadable());
    assert_eq!(Language::of("plpython3u"), Language::Other);
}

#[test]
fn calls_are_names() {
    let body = read("begin perform a.f(1); call \"G\"(); insert into t select * from v; end");
    for name in ["f", "G", "t", "v"] {
        assert!(body.names.contains(name), "{name}");
    }
    assert!(body.access == Access::Writes && !body.names_any && !body.effects.is_unreadable());
    assert_eq!(read("select f()").access, Access::Reads);
    assert!(read("begin execute format('insert into %I values (1)', t); end").names_any);
}
