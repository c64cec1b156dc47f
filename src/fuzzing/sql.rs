//! Texts of statements, which clients choose.

use crate::sql::effects::Effects;
use crate::sql::fingerprint::{Extent, Fingerprinter};
use crate::sql::lexer::{Backslashes, Lexer, TokenKind};
use crate::sql::strip::strip_tags;

/// Longer texts teach nothing new, and take the fuzzer's time.
const LONGEST: usize = 4 * 1024;

/// One statement of a text.
#[derive(Debug, PartialEq)]
struct Seen {
    hash: u64,
    text: String,
    whole: bool,
    range: std::ops::Range<usize>,
}

fn read(sql: &[u8], backslashes: Backslashes) -> Vec<Seen> {
    let mut seen = Vec::new();
    Fingerprinter::default().read(sql, backslashes, |statement| {
        let text = statement.text();
        let _ = (statement.kind(), statement.summary());
        seen.push(Seen {
            hash: statement.fingerprint.0,
            whole: (statement.extent, text.extent) == (Extent::Whole, Extent::Whole),
            text: text.text,
            range: statement.range.clone(),
        });
    });
    seen
}

/// The lexer covers the text; a normalised text is its own normalised text, holds no string, and has the statement's
/// fingerprint; a statement has the same one alone; the quick glance at effects overlooks none.
pub(super) fn sql(input: &[u8]) {
    let sql = input.get(..LONGEST).unwrap_or(input);
    for backslashes in [Backslashes::Literal, Backslashes::Escape] {
        covers(sql, backslashes);
        let all = read(sql, backslashes);
        for seen in &all {
            is_its_own(seen);
        }
        if all.iter().all(|seen| seen.whole) {
            for seen in &all {
                let alone = read(&sql[seen.range.clone()], backslashes);
                assert_eq!(alone.len(), 1, "{seen:?}");
                assert_eq!((alone[0].hash, &alone[0].text), (seen.hash, &seen.text));
            }
        }
    }
    effects(sql);
    stripped(sql);
}

/// Without its tags a text is the same statements; what does not end does not end then either.
fn stripped(sql: &[u8]) {
    let Some(stripped) = strip_tags(sql) else { return };
    assert!(sql[usize::from(stripped.lead)..].starts_with(stripped.text));
    let seen = |sql| {
        let all = read(sql, Backslashes::Literal);
        let whole = all.iter().all(|seen| seen.whole);
        (all.into_iter().map(|seen| (seen.hash, seen.text)).collect::<Vec<_>>(), whole)
    };
    let ((before, whole), (after, still)) = (seen(sql), seen(stripped.text));
    assert_eq!(whole, still);
    if whole {
        assert_eq!(before, after);
    }
}

fn covers(sql: &[u8], backslashes: Backslashes) {
    let mut at = 0;
    for token in Lexer::new(sql, backslashes) {
        assert!(token.start < token.end && token.end <= sql.len(), "{token:?}");
        let between = sql.get(at..token.start).expect("tokens in order");
        let is_space = |byte: &u8| matches!(byte, 0 | b' ' | b'\t'..=b'\r');
        assert!(between.iter().all(is_space), "{:?}", String::from_utf8_lossy(between));
        at = token.end;
    }
}

fn is_its_own(seen: &Seen) {
    // The replacement of a byte that is no UTF-8 is another name.
    if !seen.whole || seen.text.contains('\u{fffd}') {
        return;
    }
    let again = read(seen.text.as_bytes(), Backslashes::Literal);
    assert_eq!(again.len(), 1, "{seen:?}");
    assert_eq!((again[0].hash, &again[0].text), (seen.hash, &seen.text));
    for token in Lexer::new(seen.text.as_bytes(), Backslashes::Literal) {
        assert!(!matches!(token.kind, TokenKind::String(_)), "a value is shown: {seen:?}");
    }
}

fn effects(sql: &[u8]) {
    let effects = Effects::read(sql);
    // A leading semicolon is an empty statement, and rules the glance at the first word out.
    let slowly = Effects::read(&[b";", sql].concat());
    assert_eq!(effects, slowly, "{:?}", String::from_utf8_lossy(sql));
    if let (Some(mut both), Some(again)) = (effects.clone(), effects) {
        both.merge(&again);
        let _ = (both.resets(), both.is_wide());
    }
    if let Some(name) = Effects::deallocated(sql) {
        // A byte that is no UTF-8 is replaced by three.
        assert!(name.len() <= 3 * sql.len());
    }
}
