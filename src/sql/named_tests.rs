//! Which prepared statements a text names.

use super::*;

fn names(text: &str) -> Vec<(String, Use)> {
    let named = Named::read(text.as_bytes());
    let mentions = named.map(|named| named.mentions).unwrap_or_default();
    mentions.into_iter().map(|mention| (mention.name.into_string(), mention.first)).collect()
}

#[test]
fn what_names_a_statement_is_found() {
    for (text, wanted) in [
        ("EXECUTE a", &[("a", Use::Executed)][..]),
        (" /* x */ execute \"B\"\"\" (1, 'x') ;", &[("B\"", Use::Executed)]),
        ("BEGIN; EXECUTE a; EXECUTE A; COMMIT", &[("a", Use::Executed)]),
        ("EXPLAIN EXECUTE a(1)", &[("a", Use::Executed)]),
        ("EXPLAIN (ANALYZE, COSTS OFF) EXECUTE a", &[("a", Use::Executed)]),
        ("EXPLAIN ANALYZE VERBOSE EXECUTE a", &[("a", Use::Executed)]),
        ("EXPLAIN CREATE TABLE x AS EXECUTE a", &[("a", Use::Executed)]),
        (
            "CREATE TEMP TABLE IF NOT EXISTS x (n) AS EXECUTE a(1) WITH NO DATA",
            &[("a", Use::Executed)],
        ),
        ("SELECT 1; DEALLOCATE PREPARE a", &[("a", Use::Deallocated)]),
        ("DEALLOCATE prepare", &[("prepare", Use::Deallocated)]),
        ("PREPARE a AS SELECT 1; EXECUTE a", &[("a", Use::Prepared)]),
        ("EXECUTE a; DISCARD ALL; EXECUTE b", &[("a", Use::Executed)]),
        ("DEALLOCATE ALL; EXECUTE a", &[]),
        ("PREPARE TRANSACTION 'a'", &[]),
        ("SELECT 'EXECUTE a'; -- EXECUTE b", &[]),
        ("CREATE TRIGGER t AFTER INSERT ON x EXECUTE FUNCTION f()", &[]),
        ("EXPLAIN SELECT 1", &[]),
        ("GRANT EXECUTE ON FUNCTION f() TO a", &[]),
        ("EXECUTE", &[]),
        ("EXECUTE 'a'", &[]),
        ("", &[]),
    ] {
        let wanted: Vec<_> =
            wanted.iter().map(|(name, with)| ((*name).to_owned(), *with)).collect();
        assert_eq!(names(text), wanted, "{text}");
        assert!(wanted.is_empty() || may_name(text.as_bytes()), "{text}");
    }
}

#[test]
fn most_texts_are_not_read() {
    for text in ["SELECT * FROM execute", "INSERT INTO prepare VALUES (1)", "EXPLAIN SELECT 1", ""]
    {
        assert!(!may_name(text.as_bytes()), "{text}");
    }
}

#[test]
fn what_the_text_is_beside_that() {
    for (text, wanted) in [
        ("EXECUTE a ;", Shape::Alone),
        ("EXECUTE a; SELECT 1", Shape::Plain),
        ("SELECT 1; EXECUTE a", Shape::Plain),
        ("EXPLAIN EXECUTE a", Shape::Plain),
        ("ROLLBACK TO s; EXECUTE a", Shape::Ends),
        ("EXECUTE a; COMMIT", Shape::Plain),
        ("SELECT 1; LOCK x; EXECUTE a", Shape::Early),
        ("SET LOCAL transaction_read_only = on; EXPLAIN EXECUTE a", Shape::Early),
        ("EXECUTE a; LOCK x; SET TRANSACTION READ ONLY", Shape::Plain),
        ("LOCK x; DEALLOCATE a", Shape::Plain),
        ("SET LOCAL work_mem = '4MB'; EXECUTE a", Shape::Plain),
        ("COPY x FROM STDIN; EXECUTE a", Shape::Tangled),
        ("COPY x TO STDOUT; EXECUTE a", Shape::Plain),
        (r"SELECT '\'; EXECUTE a; --'", Shape::Tangled),
    ] {
        assert_eq!(Named::read(text.as_bytes()).map(|n| n.shape), Some(wanted), "{text}");
    }
    let many: String = (0..=MOST_NAMES).map(|n| format!("EXECUTE a{n};")).collect();
    assert_eq!(Named::read(many.as_bytes()).map(|n| n.shape), Some(Shape::Tangled));
}

#[test]
fn what_is_prepared_again_is_known() {
    for (text, wanted) in [
        ("EXECUTE a; DEALLOCATE a; PREPARE a AS SELECT 1", true),
        ("EXECUTE a; DEALLOCATE ALL; PREPARE a AS SELECT 1", true),
        ("DEALLOCATE a; EXECUTE a", false),
        ("EXECUTE a; PREPARE a AS SELECT 1; DEALLOCATE a", false),
    ] {
        let named = Named::read(text.as_bytes()).expect("it names one");
        assert_eq!(named.mentions[0].remade, wanted, "{text}");
    }
    let named = Named::read(b"DEALLOCATE a; DEALLOCATE b; DEALLOCATE a").expect("it names some");
    assert_eq!(named.deallocated.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "a"]);
}

/// A Parse may be of 64 MiB, and each name is compared with those before it.
#[test]
fn no_more_is_read_than_serves() {
    let long = "DEALLOCATE a;".repeat(MOST_READ / 13 + 1);
    assert_eq!(Named::read(long.as_bytes()), None);
    for other in ["EXECUTE a;", ""] {
        let many: String = (0..3_000).map(|n| format!("DEALLOCATE a{n};{other}")).collect();
        let named = Named::read(&many.as_bytes()[..MOST_READ.min(many.len())]).expect("names");
        assert_eq!(named.shape, Shape::Tangled);
        assert!(named.mentions.len().max(named.deallocated.len()) <= MOST_NAMES);
    }
}

#[test]
fn names_are_as_postgres_keeps_them() {
    let (long, kept) = ("a".repeat(70), "a".repeat(63));
    for text in [format!("EXECUTE {long}"), format!("DEALLOCATE \"{long}\"")] {
        assert_eq!(names(&text)[0].0, kept);
    }
    // With escapes it may be any.
    assert_eq!(names("EXECUTE a; DEALLOCATE U&\"\\0061\"")[1], (String::new(), Use::Deallocated));
}

#[test]
fn what_asks_for_data_is_known() {
    for (text, wanted) in [
        ("COPY x FROM STDIN", true),
        (" -- x\n copy x (a) from stdin with csv", true),
        ("COPY x TO STDOUT", false),
        ("SELECT stdin FROM copy", false),
        ("", false),
    ] {
        assert_eq!(asks_for_data(text.as_bytes()), wanted, "{text}");
    }
}
