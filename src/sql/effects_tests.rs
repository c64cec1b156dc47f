//! What texts may do to their session.

use super::*;

fn read(sql: &str) -> Effects {
    Effects::read(sql.as_bytes()).map(|effects| *effects).unwrap_or_default()
}

fn settings(sql: &str) -> Vec<(String, Change)> {
    read(sql).settings.iter().map(|(name, change)| (name.to_string(), *change)).collect()
}

fn begins(sql: &str) -> Vec<Feature> {
    read(sql).begins.iter().collect()
}

#[test]
fn most_texts_do_nothing() {
    for sql in [
        "",
        ";",
        "select 1",
        "SELECT * FROM t WHERE a = 'SET x = 1'",
        "(select 1)",
        "insert into t values (1, 'x;y')",
        "begin; commit;",
        "SET LOCAL search_path = a",
        "SET LOCAL work_mem = '1MB'",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET CONSTRAINTS ALL DEFERRED",
        "set transaction_read_only = on",
        "select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)",
        "select set_config('a', 'b', true)",
        "select 'set_config(''a'', ''b'', false)'",
        "select /* pg_advisory_lock(1) */ 1 -- ; set x = 1",
        "select $$ ; set x = 1 $$",
        "select temperature from temp_readings",
        "prepare transaction 'x'",
        "show all",
        "create temp table t (a int) on commit drop",
    ] {
        let effects = read(sql);
        let touches = effects.touches;
        assert_eq!(
            (effects.begins, effects.settings.len(), effects.scope),
            (Features::NONE, 0, Scope::Named),
            "{sql}"
        );
        assert!(touches.is_empty(), "{sql}: {touches:?}");
    }
}

#[test]
fn set_names_its_setting() {
    use Change::{Reset, Set};
    for (sql, name, change) in [
        ("SET search_path TO a, b", "search_path", Set),
        ("set Search_Path = 'x'", "search_path", Set),
        ("SET SESSION statement_timeout = 5", "statement_timeout", Set),
        ("/* c */ set /* d */ \"My\".User = '1'", "my.user", Set),
        ("SET TIME ZONE 'UTC'", "timezone", Set),
        ("SET NAMES 'utf8'", "client_encoding", Set),
        ("SET SCHEMA 'x'", "search_path", Set),
        ("SET ROLE bob", "role", Set),
        ("SET ROLE NONE", "role", Set),
        ("RESET ROLE", "role", Reset),
        ("SET transaction_timeout = '5s'", "transaction_timeout", Set),
        ("reset a.b", "a.b", Reset),
        ("RESET TIME ZONE", "timezone", Reset),
        ("SET x TO DEFAULT", "x", Reset),
        ("SET TIME ZONE LOCAL", "timezone", Reset),
        ("SET x TO LOCAL", "x", Set),
        ("select set_config('Search_Path', $1, false)", "search_path", Set),
        ("select 1, pg_catalog.\"set_config\" ( 'a.b' , f(1, 2), FALSE )", "a.b", Set),
        ("with x as (select set_config('a', 'b', 'f')) select 1", "a", Set),
        ("select 1; set x = 1", "x", Set),
    ] {
        assert_eq!(settings(sql), [(name.to_owned(), change)], "{sql}");
        assert_eq!(read(sql).scope, Scope::Named, "{sql}");
    }
}

#[test]
fn who_acts_is_two_settings() {
    for sql in ["SET SESSION AUTHORIZATION bob", "RESET SESSION AUTHORIZATION"] {
        let names: Vec<_> = settings(sql).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["session_authorization", "role"], "{sql}");
    }
    let characteristics = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";
    assert_eq!(settings(characteristics).len(), 3);
}

#[test]
fn what_is_set_and_reset_may_be_either() {
    assert_eq!(settings("set x = 1; set x = 2"), [("x".to_owned(), Change::Set)]);
    assert_eq!(settings("reset x; set x = 1"), [("x".to_owned(), Change::Both)]);
    let mut all = read("set x = 1");
    all.merge(&read("reset x; listen a"));
    assert_eq!(&*all.settings, [("x".into(), Change::Both)]);
    assert!(all.resets() && all.resets_setting("x"));
    assert!(all.begins.contains(Feature::Listen));
}

#[test]
fn what_names_no_setting_may_change_any() {
    assert_eq!(read("select set_config($1, $2, false)").scope, Scope::All);
    assert_eq!(read("select set_config(name, value, false) from t").scope, Scope::All);
    assert_eq!(read("RESET ALL").scope, Scope::Reset);
    assert_eq!(read("DISCARD ALL").scope, Scope::Reset);
    for sql in ["do $$ begin end $$", "call p()"] {
        assert_eq!(
            (read(sql).scope, read(sql).touches),
            (Scope::All, Features::visible()),
            "{sql}"
        );
    }
}

#[test]
fn state_that_is_bound_to_the_connection_is_seen() {
    for (sql, feature) in [
        ("LISTEN a", Feature::Listen),
        ("begin; listen \"a\"; commit", Feature::Listen),
        ("select pg_advisory_lock(1)", Feature::AdvisoryLock),
        ("SELECT PG_TRY_ADVISORY_LOCK_SHARED (1, 2)", Feature::AdvisoryLock),
        ("select \"pg_advisory_lock\"($1)", Feature::AdvisoryLock),
        ("create temp table t (a int)", Feature::TemporaryTable),
        ("CREATE LOCAL TEMPORARY VIEW v AS SELECT 1", Feature::TemporaryTable),
        ("create or replace temp view v as select 1", Feature::TemporaryTable),
        ("create table pg_temp.t (a int)", Feature::TemporaryTable),
        ("select 1 into temp t", Feature::TemporaryTable),
        ("with a as (select 1) select * into temporary table t from a", Feature::TemporaryTable),
        ("select 1 as a into local temp t", Feature::TemporaryTable),
        ("select 1 as a into global temporary t", Feature::TemporaryTable),
        ("explain analyze create temp table t as select 1", Feature::TemporaryTable),
        (
            "create function pg_temp.f() returns int language sql as 'select 1'",
            Feature::TemporaryTable,
        ),
        ("select set_config($1, $2, false)", Feature::Unreadable),
        ("declare c scroll cursor with hold for select 1", Feature::HoldCursor),
        ("prepare p as select 'é'", Feature::Prepare),
        ("load 'auto_explain'", Feature::Load),
    ] {
        assert_eq!(begins(sql), [feature], "{sql}");
    }
    assert_eq!(begins("declare c cursor for select 1"), []);
    let hidden = begins("prepare p as select pg_advisory_lock($1)");
    assert!(hidden.contains(&Feature::Unreadable));
}

#[test]
fn names_in_disguise_and_strings_that_may_end_elsewhere_are_met() {
    assert_eq!(read(r#"set U&"work\005Fmem" = '1'"#).scope, Scope::All);
    assert_eq!(read(r#"select U&"set\005Fconfig"('a', 'b', false)"#).scope, Scope::All);
    assert_eq!(read("update pg_settings set setting = '1' where name = 'a'").scope, Scope::All);
    let either = r"select 'a\'; ', 1; set work_mem='999'; --'";
    assert_eq!(settings(either), [("work_mem".to_owned(), Change::Set)]);
    let other = r"select 'a\', 1; set work_mem='999'; --'";
    assert_eq!(settings(other), [("work_mem".to_owned(), Change::Set)]);
}

#[test]
fn what_is_too_much_to_read_may_do_anything() {
    let many: String = (0..100).map(|n| format!("set a{n} = 1;")).collect();
    assert_eq!(read(&many).scope, Scope::All);
    let long = format!("do {}", "x".repeat(MOST_READ));
    assert_eq!(read(&long).scope, Scope::All);
    assert_eq!(read("reset all; do 'x'").scope, Scope::ResetAndAll);
    let mut both = read("do 'x'");
    both.merge(&read("reset all"));
    assert_eq!(both.scope, Scope::ResetAndAll);
}

#[test]
fn what_may_end_it_is_seen() {
    for (sql, feature) in [
        ("unlisten *", Feature::Listen),
        ("select pg_advisory_unlock_all()", Feature::AdvisoryLock),
        ("select pg_advisory_unlock(1)", Feature::AdvisoryLock),
        ("drop table t", Feature::TemporaryTable),
        ("discard temp", Feature::TemporaryTable),
        ("close c", Feature::HoldCursor),
        ("deallocate p", Feature::Prepare),
    ] {
        assert_eq!(read(sql).ends.iter().collect::<Vec<_>>(), [feature], "{sql}");
    }
    assert_eq!(read("discard all").ends, Features::visible());
}

#[test]
fn what_is_deallocated_has_a_name() {
    for (sql, name) in [
        ("DEALLOCATE Pdo_Stmt_1", Some("pdo_stmt_1")),
        ("deallocate prepare \"A \"\"b\" ; ", Some("A \"b")),
        ("/* x */ deallocate p", None),
        (" Deallocate /* x */ p -- y", Some("p")),
        ("deallocate prepare", Some("prepare")),
        ("deallocate all", None),
        ("deallocate prepare all", None),
        ("deallocate p; select 1", None),
        ("deallocate p q", None),
        ("deallocate", None),
        ("delete from t", None),
        ("", None),
    ] {
        assert_eq!(Effects::deallocated(sql.as_bytes()).as_deref(), name, "{sql}");
        let with_nul = [sql.as_bytes(), b"\0"].concat();
        assert_eq!(Effects::deallocated(&with_nul).as_deref(), name, "{sql}");
    }
}

#[test]
fn a_glance_finds_words_anywhere_in_any_case() {
    assert!(finds(b"xxSet_Config", b"set_config", 7));
    assert!(finds(b"temp", b"temp", 2) && !finds(b"tem", b"temp", 2) && !finds(b"m", b"temp", 2));
}

#[test]
fn texts_that_do_not_end_are_read_to_their_end() {
    for sql in [
        "set x = 'abc",
        "set x /* ",
        "set \"x",
        "listen $a$",
        "select set_config(",
        "set",
        "reset",
        "create",
    ] {
        let _ = read(sql);
    }
    assert_eq!(settings("set \"x"), [("x".to_owned(), Change::Set)]);
}

#[test]
fn reading_takes_time_in_proportion() {
    for piece in ["(", "set_config(", "pg_temp ", "/*", "$a", "'", ";set x=1", "into temp "] {
        let text = format!("do {}", piece.repeat(60_000 / piece.len()));
        let started = std::time::Instant::now();
        let _ = read(&text);
        assert!(started.elapsed() < std::time::Duration::from_secs(2), "{piece}");
    }
}

#[test]
fn what_is_said_of_the_schemas_is_told() {
    let said = |sql: &str| read(sql).schemas.map(String::from);
    for (sql, wanted) in [
        ("SET search_path TO a, \"B\"", Some("TO a , \"B\"")),
        ("SET LOCAL search_path = a", Some("= a")),
        ("SET SCHEMA 'a'", Some("'a'")),
        ("SELECT set_config('search_path', 'a', true)", Some("a")),
        ("SELECT set_config('search_path', $1, true)", Some("")),
        ("SELECT set_config($1, 'a', true)", Some("")),
        ("SET search_path TO a; RESET search_path", Some("")),
        ("DISCARD ALL", Some("")),
        ("DO 'x'", Some("")),
        ("SET LOCAL work_mem = '1MB'", None),
        ("SELECT set_config('work_mem', '1MB', false)", None),
    ] {
        assert_eq!(said(sql).as_deref(), wanted, "{sql}");
    }
}

#[test]
fn schemas_are_known_as_postgres_shows_them_where_they_are_plain() {
    for (sql, wanted) in [
        ("SET search_path TO One, \"two\",'three'", Some("one, two, three")),
        ("SET LOCAL search_path = a;", Some("a")),
        ("SET SESSION search_path = a", Some("a")),
        ("BEGIN; SET LOCAL search_path = a; SELECT 1", Some("a")),
        ("BEGIN; SET LOCAL search_path = a; ROLLBACK", None),
        ("SET search_path = a; RESET search_path", None),
        ("SET search_path = a; DO 'x'", None),
        ("SET search_path TO DEFAULT", None),
        ("SET search_path = \"B\"", None),
        ("SET search_path = \"$user\", a", None),
        ("SET search_path = ''", None),
        ("SET search_path = E'a'", None),
        ("SET search_path = a,", None),
        ("SET search_path = a b", None),
        ("SET search_path", None),
    ] {
        let effects = Effects::read(sql.as_bytes());
        assert_eq!(effects.and_then(|effects| effects.path).as_deref(), wanted, "{sql}");
    }
}

#[test]
fn who_asks_for_sequences_is_seen() {
    for (sql, asks) in [
        ("SELECT lastval()", true),
        ("select CurrVal('a')", true),
        ("INSERT INTO t VALUES (pg_catalog.lastval ())", true),
        ("SELECT nextval('a')", false),
        ("SELECT lastval FROM t", false),
        ("SELECT 'lastval()'", false),
    ] {
        assert_eq!(read(sql).asks_sequences, asks, "{sql}");
    }
}

#[test]
fn what_is_set_for_the_session_is_not_the_transactions_alone() {
    let locals = |text: &str| Effects::read(text.as_bytes()).expect("effects").locals.len();
    assert_eq!(locals("RESET ALL; SET LOCAL work_mem = '1MB'; SET LOCAL TIME ZONE 'UTC'"), 2);
    assert_eq!(locals("RESET ALL; SET LOCAL work_mem = '1MB'; SET work_mem = '2MB'"), 0);
    assert_eq!(locals("RESET ALL; SET work_mem = '2MB'; SET LOCAL work_mem = '1MB'"), 1);
}
