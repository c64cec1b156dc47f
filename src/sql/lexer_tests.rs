//! Tests of the lexer: which bytes belong together, and that nothing stops it.

use std::time::{Duration, Instant};

use super::*;
use proptest::prelude::*;

/// The tokens as text, each with a letter for its kind before it.
fn lex_with(sql: &str, backslashes: Backslashes) -> (Vec<String>, bool) {
    let mut lexer = Lexer::new(sql.as_bytes(), backslashes);
    let mut found = Vec::new();
    for token in lexer.by_ref() {
        let letter = match token.kind {
            TokenKind::Word => 'w',
            TokenKind::QuotedIdentifier | TokenKind::UnicodeIdentifier => 'i',
            TokenKind::Number => 'n',
            TokenKind::String(StringForm::Plain) => 's',
            TokenKind::String(StringForm::Escape) => 'e',
            TokenKind::String(StringForm::Unicode) => 'u',
            TokenKind::String(StringForm::Bits) => 'b',
            TokenKind::String(StringForm::Dollar) => 'd',
            TokenKind::Parameter => 'p',
            TokenKind::Operator => 'o',
            TokenKind::Punctuation => '.',
            TokenKind::Comment => 'c',
        };
        found.push(format!("{letter} {}", &sql[token.start..token.end]));
    }
    (found, lexer.incomplete())
}

fn lex(sql: &str) -> Vec<String> {
    let (found, incomplete) = lex_with(sql, Backslashes::Literal);
    assert!(!incomplete, "{sql} is complete");
    found
}

fn unfinished(sql: &str) -> Vec<String> {
    let (found, incomplete) = lex_with(sql, Backslashes::Literal);
    assert!(incomplete, "{sql} is not complete");
    found
}

#[test]
fn words_keep_their_case_and_may_hold_digits_dollars_and_any_high_byte() {
    assert_eq!(lex("SELECT a$1 _x é\t\n\u{b}B"), ["w SELECT", "w a$1", "w _x", "w é", "w B"]);
}

#[test]
fn numbers_know_every_notation_of_postgres() {
    let numbers = [
        "1", "1.5", ".5", "10.", "1e10", "1.5E-3", "1.e5", "0xFF", "0x_f", "0o17", "0b1_0", "1_000",
    ];
    for number in numbers {
        assert_eq!(lex(number), [format!("n {number}")]);
    }
    assert_eq!(lex("1..10"), ["n 1", ". .", "n .10"]);
    assert_eq!(
        lex("1e 0xg 1__0 a.b"),
        ["n 1", "w e", "n 0", "w xg", "n 1", "w __0", "w a", ". .", "w b"]
    );
    assert_eq!(lex("t.1"), ["w t", "n .1"]);
}

#[test]
fn a_string_owns_its_prefix() {
    assert_eq!(lex("'it''s'N'n'"), ["s 'it''s'", "s N'n'"]);
    assert_eq!(lex(r"E'a\'b' e'\\'"), [r"e E'a\'b'", r"e e'\\'"]);
    assert_eq!(lex("B'01' x'ff'"), ["b B'01'", "b x'ff'"]);
    assert_eq!(lex("U&'d!0061' UESCAPE '!' a"), ["u U&'d!0061' UESCAPE '!'", "w a"]);
    assert_eq!(lex("U&'a' uescapes"), ["u U&'a'", "w uescapes"]);
    assert_eq!(lex("u & 'a' be'x'"), ["w u", "o &", "s 'a'", "w be", "s 'x'"]);
}

#[test]
fn backslashes_hide_a_quote_only_where_the_session_says_so() {
    let sql = r"'a\' c'";
    assert_eq!(unfinished(sql), [r"s 'a\'", "w c", "s '"]);
    assert_eq!(lex_with(sql, Backslashes::Escape), (vec![r"s 'a\' c'".to_owned()], false));
    assert_eq!(lex_with(r"x'\' 'b\\'", Backslashes::Escape).0, [r"b x'\'", r"s 'b\\'"]);
    assert_eq!(Backslashes::from_setting(b"off"), Backslashes::Escape);
    assert_eq!(Backslashes::from_setting(b"on"), Backslashes::Literal);
}

#[test]
fn strings_with_a_line_break_between_them_are_one() {
    assert_eq!(lex("'foo' \n 'bar'"), ["s 'foo' \n 'bar'"]);
    assert_eq!(lex("'foo' -- and\n 'bar'"), ["s 'foo' -- and\n 'bar'"]);
    assert_eq!(lex("'foo' 'bar'"), ["s 'foo'", "s 'bar'"]);
    assert_eq!(lex("'foo' \n , 'bar'"), ["s 'foo'", ". ,", "s 'bar'"]);
    assert_eq!(unfinished("'foo' \n 'bar"), ["s 'foo' \n 'bar"]);
}

#[test]
fn dollars_quote_or_number() {
    assert_eq!(lex("$$a'b$$"), ["d $$a'b$$"]);
    assert_eq!(lex("$t$x $$ y$t$;"), ["d $t$x $$ y$t$", ". ;"]);
    assert_eq!(
        lex("$1,$23::int $ $a"),
        ["p $1", ". ,", "p $23", ". ::", "w int", ". $", ". $", "w a"]
    );
    assert_eq!(unfinished("$a$ $A$ $$"), ["d $a$ $A$ $$"]);
}

#[test]
fn identifiers_keep_their_quotes() {
    assert_eq!(lex(r#""a""b"."C""#), [r#"i "a""b""#, ". .", r#"i "C""#]);
    assert_eq!(lex(r#"U&"d!0061" uescape '!'"#), [r#"i U&"d!0061" uescape '!'"#]);
    assert_eq!(unfinished(r#"select "a;"#), ["w select", r#"i "a;"#]);
}

#[test]
fn operators_are_the_longest_run_that_postgres_would_read() {
    assert_eq!(lex("d->>'v'"), ["w d", "o ->>", "s 'v'"]);
    assert_eq!(lex("x=-5"), ["w x", "o =", "o -", "n 5"]);
    assert_eq!(lex("x@-5"), ["w x", "o @-", "n 5"]);
    assert_eq!(lex("y<>@z"), ["w y", "o <>@", "w z"]);
    assert_eq!(lex("a+-+b"), ["w a", "o +", "o -", "o +", "w b"]);
    assert_eq!(lex("a=--b\n*/*c*/1"), ["w a", "o =", "c --b", "o *", "c /*c*/", "n 1"]);
    assert_eq!(lex("a=+--b"), ["w a", "o =", "o +", "c --b"]);
    assert_eq!(
        lex("f(a:=1)[1:2]"),
        "w f|. (|w a|. :=|n 1|. )|. [|n 1|. :|n 2|. ]".split('|').collect::<Vec<_>>()
    );
}

#[test]
fn comments_nest() {
    assert_eq!(lex("/* a /* b */ c */ 1 -- tail"), ["c /* a /* b */ c */", "n 1", "c -- tail"]);
    assert_eq!(lex("-- a\r\n1"), ["c -- a", "n 1"]);
    assert_eq!(lex("/*/**/*/x"), ["c /*/**/*/", "w x"]);
    assert_eq!(unfinished("/* a /* b */ 1"), ["c /* a /* b */ 1"]);
    assert_eq!(unfinished("/*/"), ["c /*/"]);
}

#[test]
fn bytes_without_meaning_stand_alone_and_nul_separates() {
    assert_eq!(lex("a\0b\\{"), ["w a", "w b", ". \\", ". {"]);
    assert_eq!(lex(" \n\0"), Vec::<String>::new());
}

/// What a megabyte may take in a build without optimisation; a quadratic rule takes minutes.
const LONGEST: Duration = Duration::from_secs(2);

#[test]
fn hostile_texts_take_time_in_proportion() {
    let pieces = [
        "(((", "'''", "$a$b", "- - -", "+-", "''\n", "''--\n", "/*", "*/", "/**/", "$", "\"\"",
        "U&'' ", "1_", "=+", "$aa",
    ];
    for piece in pieces {
        let sql = piece.repeat((1 << 20) / piece.len());
        let began = Instant::now();
        let count = Lexer::new(sql.as_bytes(), Backslashes::Escape).count();
        assert!(began.elapsed() < LONGEST, "{piece}: {count} tokens, {:?}", began.elapsed());
    }
}

/// Pieces that meet in unlucky ways.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(vec![
        "'", "''", "\"", "\\", "$", "$a$", "$1", "--", "\n", "/*", "*/", "E'", "U&'", "uescape",
        "+", "-", "=", "@", ".", "..", ":", "1", "0x", "e", "_", "a", " ", ";", "é", "\0",
    ]);
    let piece = prop_oneof![
        4 => special.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn tokens_are_in_order_and_leave_out_white_space_only(sql in pieces(), escape in any::<bool>()) {
        let backslashes = if escape { Backslashes::Escape } else { Backslashes::Literal };
        let mut at = 0;
        for token in Lexer::new(&sql, backslashes) {
            prop_assert!(at <= token.start && token.start < token.end && token.end <= sql.len());
            prop_assert!(sql[at..token.start].iter().all(|byte| class(*byte) == Class::Space));
            at = token.end;
        }
        prop_assert!(sql[at..].iter().all(|byte| class(*byte) == Class::Space));
    }
}
