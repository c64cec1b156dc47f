//! Tests of fingerprints: the published vectors, which never change, and what holds for any bytes.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::*;
use proptest::prelude::*;

/// `statement <TAB> text <TAB> hash`, several of each joined by ` | `; `!` behind a hash: incomplete.
const VECTORS: &str = include_str!("fingerprint_vectors.tsv");

struct Seen {
    text: String,
    hash: String,
    kind: Kind,
    summary: String,
    max_list: u32,
    range: Range<usize>,
}

fn read(sql: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    Fingerprinter::default().read(sql, Backslashes::Literal, |statement| {
        let incomplete = if statement.extent == Extent::Incomplete { "!" } else { "" };
        seen.push(Seen {
            text: statement.text().text,
            hash: format!("{}{incomplete}", statement.fingerprint),
            kind: statement.kind(),
            summary: statement.summary(),
            max_list: statement.max_list,
            range: statement.range.clone(),
        });
    });
    seen
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match (byte, byte == b'\\') {
            (_, false) => bytes.push(byte),
            (_, true) => match rest.next().expect("an escape has two bytes") {
                b'n' => bytes.push(b'\n'),
                b't' => bytes.push(b'\t'),
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    bytes.push(
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap(),
                    );
                }
                other => bytes.push(other),
            },
        }
    }
    bytes
}

#[test]
fn the_published_vectors_hold() {
    let mut faults = String::new();
    let vectors: Vec<_> = VECTORS.lines().collect();
    assert_eq!(vectors.len(), 51);
    for (at, line) in vectors.iter().enumerate() {
        let [sql, text, hash] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let seen = read(&unescape(sql));
        let got_text = seen.iter().map(|s| &*s.text).collect::<Vec<_>>().join(" | ");
        let got_hash = seen.iter().map(|s| &*s.hash).collect::<Vec<_>>().join(" ");
        if (&*got_text, &*got_hash) != (text, hash) {
            writeln!(
                faults,
                "{} {sql}\n  got    {got_text} {got_hash}\n  wanted {text} {hash}",
                at + 1
            )
            .unwrap();
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn the_text_of_a_vector_has_the_fingerprint_of_the_vector() {
    for line in VECTORS.lines() {
        for text in line.split('\t').nth(1).unwrap().split(" | ") {
            // The replacement of a byte that is no UTF-8 is another name.
            if !text.contains('\u{fffd}') {
                assert_eq!(read(text.as_bytes())[0].text, text, "{line}");
            }
        }
    }
}

#[test]
fn the_longest_repetition_is_told() {
    let lists = |sql: &str| read(sql.as_bytes())[0].max_list;
    assert_eq!(lists("select 1"), 0);
    assert_eq!(lists("select * from t where a in (1, 2) and b in (1, 2, 3)"), 3);
    assert_eq!(lists("insert into t values (1), (2), (3), (4)"), 4);
    assert_eq!(lists("update t set x = case when a = 1 then 2 when a = 3 then 4 end"), 2);
    assert_eq!(lists("select * from t where (a = 1) or (a = 2) or (a = 3)"), 3);
}

#[test]
fn statements_say_what_they_do_and_to_what() {
    let cases = [
        ("select a from public.t join \"U\" on true", Kind::Select, "SELECT public.t \"U\""),
        (
            "with x as (insert into t values (1) returning a) select * from x",
            Kind::Select,
            "WITH t x",
        ),
        ("with x as (select 1) update t set a = 1", Kind::Update, "WITH t"),
        ("insert into t select * from u", Kind::Insert, "INSERT t u"),
        ("(select 1 from t) union (select 2 from t)", Kind::Select, "SELECT t"),
        ("update only t set a = 1", Kind::Update, "UPDATE t"),
        ("delete from t where a in (select b from u)", Kind::Delete, "DELETE t u"),
        ("create table if not exists t (a int)", Kind::Utility, "CREATE t"),
        ("call p(1)", Kind::Utility, "CALL p"),
        ("begin", Kind::Transaction, "BEGIN"),
        ("release savepoint a", Kind::Transaction, "RELEASE"),
        ("merge into t using u on true when matched then do nothing", Kind::Other, "MERGE t"),
        ("selec 1", Kind::Other, "SELEC"),
    ];
    for (sql, kind, summary) in cases {
        let seen = &read(sql.as_bytes())[0];
        assert_eq!((seen.kind, &*seen.summary), (kind, summary), "{sql}");
    }
}

#[test]
fn statements_know_their_place_and_texts_their_comments() {
    let sql = "/* a */ select 1 ; -- b\n select 'x;y' /* c */;";
    let seen = read(sql.as_bytes());
    let places: Vec<_> = seen.iter().map(|s| &sql[s.range.clone()]).collect();
    assert_eq!(places, ["select 1", "select 'x;y'"]);
    let comments = Fingerprinter::default().read(sql.as_bytes(), Backslashes::Literal, |_| {});
    let comment = |range: Option<Range<usize>>| range.map(|range| &sql[range]);
    assert_eq!(comment(comments.first), Some("/* a */"));
    assert_eq!(comment(comments.last), Some("/* c */"));
}

#[test]
fn what_is_cut_off_collapses_like_what_is_whole() {
    let same = [
        ("insert into t values (1, 2), (3, 4), (5", "insert into t values (1, 2), (3,"),
        ("insert into t values (1, 2), (3, 4)", "insert into t values (1, 2), "),
        (
            "select * from t where (a, b) in ((1, 2), (3, 4), (5",
            "select * from t where (a, b) in ((1, 2), (3, 4",
        ),
        (
            "update t set a = case when a = 1 then 2 when a = 3",
            "update t set a = case when a = 1 then 2 when",
        ),
    ];
    for (one, other) in same {
        assert_eq!(read(one.as_bytes())[0].text, read(other.as_bytes())[0].text);
    }
}

#[test]
fn long_texts_are_looked_at_up_to_the_limit_only() {
    let long = format!("select * from t where id in ({})", "1,".repeat(SCAN_LIMIT));
    let seen = &read(long.as_bytes())[0];
    assert_eq!(seen.text, "select * from t where id in ($1 /*, ... */");
    assert!(seen.hash.ends_with('!'), "incomplete");
    let wide = format!("select {}", "a, ".repeat(SCAN_LIMIT / 4));
    assert!(read(wide.as_bytes())[0].text.len() <= TEXT_LIMIT);
}

/// What the limit of a scan may take in a build without optimisation.
const LONGEST: Duration = Duration::from_secs(2);

#[test]
fn hostile_texts_take_bounded_time() {
    let pieces = [
        "(",
        "'''",
        "$a$b",
        "- ",
        "array[",
        "in (",
        "in ((1),",
        "case when a then b ",
        "case ",
        "(a) or ",
        "values (1),",
        "in (array[1],",
        "1,",
        ")",
        "]",
        "end ",
        "x.",
        ":",
        "or (",
        "in (in (1),",
    ];
    for piece in pieces {
        let sql = piece.repeat((1 << 20) / piece.len());
        let began = Instant::now();
        read(sql.as_bytes());
        assert!(began.elapsed() < LONGEST, "{piece}: {:?}", began.elapsed());
    }
}

/// Pieces that mean something to the rules.
const PIECES: &str = "select SELECT values in array case when then else end or and not is null true order by \
    group limit set to savepoint fetch declare prepare execute close rollback release row cast as where from \
    \"a\" \"A\" \"user\" u&\"x\" a b 1 2 -1 'x' E'\\'' $1 $$x$$ ( ) ( ) ( ) [ ] , , . :: : := = - + * <> != @- ; \
    /*,...*/ /*c*/ --x $ é \\ ? all transaction role time zone 0x1f 1.5 .5 local session";

fn texts() -> impl Strategy<Value = String> {
    let pieces = PIECES.split_ascii_whitespace().map(|piece| match piece {
        "/*,...*/" => "/*, ... */",
        "--x" => "--x\n",
        other => other,
    });
    let piece = prop::sample::select(pieces.collect::<Vec<_>>());
    prop::collection::vec((piece, prop::sample::select(vec!["", " ", "\n"])), 0..60)
        .prop_map(|pieces| pieces.into_iter().flat_map(|(piece, gap)| [piece, gap]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_text_has_the_fingerprint_of_the_statement(sql in texts()) {
        for seen in read(sql.as_bytes()) {
            let again = read(seen.text.as_bytes());
            prop_assert_eq!(again.len(), 1, "{} -> {}", sql, seen.text);
            prop_assert_eq!(&again[0].text, &seen.text, "{}", sql);
            let (first, second) = (seen.hash.trim_end_matches('!'), again[0].hash.trim_end_matches('!'));
            prop_assert_eq!(first, second, "{} -> {}", sql, seen.text);
        }
    }

    #[test]
    fn any_bytes_have_a_fingerprint(sql in prop::collection::vec(any::<u8>(), 0..300)) {
        for seen in read(&sql) {
            prop_assert!(seen.range.end <= sql.len() && seen.range.start < seen.range.end);
        }
    }
}
