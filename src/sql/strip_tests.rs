//! Which comments go, and that nothing else does.

use proptest::prelude::*;

use super::*;
use crate::sql::fingerprint::{Extent, Fingerprinter};
use crate::sql::lexer::Backslashes;

const TRACE: &str = "/*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/";

fn left(text: &str) -> Option<(String, u16)> {
    strip_tags(text.as_bytes())
        .map(|stripped| (String::from_utf8_lossy(stripped.text).into_owned(), stripped.lead))
}

#[test]
fn tags_at_the_ends_go() {
    for (text, body, lead) in [
        ("select 1 /*route='%2Fcart',traceparent='00-a'*/", "select 1", 0),
        ("select 1 /*route='/a'*/;", "select 1", 0),
        ("select 1; /*route='/a'*/ ", "select 1", 0),
        ("/*application:web,controller:cart*/ select 1;", "select 1;", 36),
        (" /*dddbs='shop'*/\n select 1 /*action='x'*/", "select 1", 19),
        ("/*+ SeqScan(t) */ select 1 /*route='/a'*/", "/*+ SeqScan(t) */ select 1", 0),
        ("select 1 /*controller:cart*/ /*dde='prod',ddpv='2'*/", "select 1", 0),
        ("/*route='/a'*/", "", 14),
        ("select 1 -- it's /*route='/a'*/", "select 1 -- it's", 0),
        ("select '/*', 1 /*job='x'*/", "select '/*', 1", 0),
    ] {
        assert_eq!(left(text), Some((body.to_owned(), lead)), "{text}");
    }
    let text = format!("/*dddbs='shop'*/ select 1 /*action='x'*/ {TRACE}");
    let stripped = strip_tags(text.as_bytes()).unwrap();
    assert_eq!(stripped.comments, [&b"/*dddbs='shop'*/"[..], b"/*action='x'*/", TRACE.as_bytes()]);
}

#[test]
fn all_else_stays() {
    for text in [
        "",
        "select 1",
        "select 1 /* route */",
        "select 1 /* see route='/a' */",
        "/*+ Set(route='a') */ select 1",
        "/*+route='a'*/ select 1",
        "select 1 /*+route='a'*/",
        "select /*route='/a'*/ 1",
        "select 1 /*unknown='x'*/",
        "select 1 /*route='/a",
        "select 1 /*route='/a'* /",
        "/*route='/a' select 1",
        "/* /*route='/a'*/ select 1",
        "select 1 /* /*route='/a'*/ */",
        "select 1 /*route='/a',broken*/",
        "select 1 /* x */*route='a'*/",
        "select 1 -- \n*/*route='a'*/",
        "select 1 -- /*route='a'\n, action='b'*/",
        "/*controller:é*/ select 1",
        "select $$ /*route='a'*/ $$",
    ] {
        assert_eq!(left(text), None, "{text}");
    }
    let long = format!("select 1 /*route='{}'*/", "x".repeat(2 * 1024));
    assert_eq!(left(&long), None);
    let wide = format!("/*route='/a'*/{}select 1", " ".repeat(70_000));
    assert_eq!(left(&wide), None);
}

#[test]
fn what_does_not_end_does_not_end_without_its_tags_either() {
    for text in
        ["select 'it /*route='a'*/", "select $$ /*route='a'*/", "select 1 /* x /*route='a'*/"]
    {
        let (left, _) = left(text).unwrap();
        assert!(read(left.as_bytes()).1 == Extent::Incomplete, "{left}");
    }
}

fn read(text: &[u8]) -> (Vec<(u64, String)>, Extent) {
    let (mut seen, mut extent) = (Vec::new(), Extent::Whole);
    Fingerprinter::default().read(text, Backslashes::Literal, |statement| {
        let text = statement.text();
        if (statement.extent, text.extent) != (Extent::Whole, Extent::Whole) {
            extent = Extent::Incomplete;
        }
        seen.push((statement.fingerprint.0, text.text));
    });
    (seen, extent)
}

/// Pieces that make comments, strings and operators, in any order.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("select a from t where b = 1"),
        Just("/*route='/a'*/"),
        Just("/*application:web*/"),
        Just("/*+ hint */"),
        Just("/* plain */"),
        Just(TRACE),
        Just(" "),
        Just("\n"),
        Just(";"),
        Just("--"),
        Just("'"),
        Just("\""),
        Just("$$"),
        Just("/*"),
        Just("*/"),
        Just("*"),
        Just("-"),
        Just("route='a'"),
    ];
    proptest::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn statements_stay_what_they_are(text in text()) {
        let Some(stripped) = strip_tags(text.as_bytes()) else { return Ok(()) };
        let lead = usize::from(stripped.lead);
        prop_assert!(text.as_bytes()[lead..].starts_with(stripped.text));
        let (before, extent) = read(text.as_bytes());
        let (after, still) = read(stripped.text);
        if extent == Extent::Whole {
            prop_assert_eq!((before, extent), (after, still), "{}", text);
        } else {
            prop_assert_eq!(still, Extent::Incomplete, "{}", text);
        }
    }

    #[test]
    fn what_is_stripped_has_nothing_more_to_strip(text in text()) {
        let Some(stripped) = strip_tags(text.as_bytes()) else { return Ok(()) };
        // More than the limit may stand at one end.
        if stripped.comments.len() < MOST_EACH {
            prop_assert_eq!(strip_tags(stripped.text), None);
        }
    }
}
