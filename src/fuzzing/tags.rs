//! Comments in which applications say who they are.

use std::fmt::Write as _;
use std::ops::Range;

use crate::sql::fingerprint::{Extent, Fingerprinter};
use crate::sql::lexer::{Backslashes, Lexer, TokenKind};
use crate::sql::tags::{Edges, MOST_TAGS, Tags, VALUE_LIMIT, is_tags};

/// Longer texts teach nothing new.
const LONGEST: usize = 4 * 1024;

/// The fingerprints of a text, if all of each statement is there.
fn fingerprints(sql: &[u8]) -> Option<Vec<u64>> {
    let (mut all, mut whole) = (Vec::new(), true);
    Fingerprinter::default().read(sql, Backslashes::Literal, |statement| {
        whole &= statement.extent == Extent::Whole;
        all.push(statement.fingerprint.0);
    });
    whole.then_some(all)
}

fn is_comment(sql: &[u8], range: &Range<usize>) -> bool {
    let mut tokens = Lexer::new(sql, Backslashes::Literal);
    tokens.any(|token| token.kind == TokenKind::Comment && (token.start..token.end) == *range)
}

/// A pair as SQLCommenter writes it: every byte that could mean something is encoded.
fn written(pairs: &[(Box<str>, Box<str>)]) -> String {
    let encoded = |text: &str| {
        text.bytes().fold(String::new(), |mut out, byte| {
            if byte.is_ascii_alphanumeric() {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
    };
    let pairs = pairs.iter().map(|(key, value)| format!("{}='{}'", encoded(key), encoded(value)));
    format!("/*{}*/", pairs.collect::<Vec<_>>().join(","))
}

/// Comments at the ends are no part of a statement; what they say is bounded, and the same when it is written again.
pub(super) fn tags(input: &[u8]) {
    let text = input.get(..LONGEST).unwrap_or(input);
    let Edges { first, body, last } = Edges::of(text);
    let (front, back) =
        (first.clone().unwrap_or(0..0), last.clone().unwrap_or(text.len()..text.len()));
    assert!(front.end <= body.start && body.start <= body.end && body.end <= back.start);
    assert!(back.end <= text.len());
    // What ends in `*/` without being a comment is no statement to Postgres: an operator at the end.
    let read = [&first, &last].into_iter().flatten().all(|range| is_comment(text, range));
    if let Some(all) = fingerprints(text).filter(|_| read) {
        assert_eq!(fingerprints(&text[body]), Some(all), "{:?}", text.escape_ascii().to_string());
    }
    let comments = [first, last].into_iter().flatten().map(|range| &text[range]);
    // What is asked of any comment: a text that is none says nothing.
    for comment in comments.chain([text]) {
        says_the_same_again(comment);
    }
}

fn says_the_same_again(comment: &[u8]) {
    let tags = Tags::read([comment], |_| true);
    assert!(tags.pairs.len() <= MOST_TAGS);
    assert!(tags.pairs.iter().all(|(_, value)| value.len() <= VALUE_LIMIT));
    assert!(!is_tags(comment) || !tags.is_empty(), "{:?}", comment.escape_ascii().to_string());
    if let Some(trace) = tags.trace {
        assert_eq!(trace.to_string().parse(), Ok(trace));
    }
    let _ = tags.route();
    let again = written(&tags.pairs);
    // The limit of a comment's length is of what is written.
    if again.len() <= crate::sql::tags::COMMENT_LIMIT {
        let reread = Tags::read([again.as_bytes()], |_| true);
        assert_eq!(reread.pairs, tags.pairs, "{again}");
    }
}
