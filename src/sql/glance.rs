//! What a text is at a glance, which is all that most texts cost: one statement that does nothing to its session, or
//! worth to be read.

use memchr::{memchr, memchr_iter, memchr3_iter};

use super::tokens::{finds, stands};

/// First words of statements that do nothing to the session but by the functions they call, and by
/// `INTO TEMPORARY`.
const PLAIN: [&[u8]; 30] = [
    b"select",
    b"insert",
    b"update",
    b"delete",
    b"with",
    b"values",
    b"table",
    b"merge",
    b"begin",
    b"start",
    b"commit",
    b"rollback",
    b"savepoint",
    b"release",
    b"end",
    b"abort",
    b"fetch",
    b"move",
    b"copy",
    b"explain",
    b"show",
    b"truncate",
    b"vacuum",
    b"analyze",
    b"execute",
    b"notify",
    b"lock",
    b"grant",
    b"revoke",
    b"comment",
];

/// The longest word of [`PLAIN`].
const LONGEST_PLAIN: usize = 9;

/// Is it sure, at a glance, that a text leaves the session as it is? This is all that most texts
/// cost.
#[inline]
pub(super) fn is_plain(sql: &[u8]) -> bool {
    let text = sql.trim_ascii_start();
    let length =
        text.iter().take(LONGEST_PLAIN + 1).take_while(|b| b.is_ascii_alphabetic()).count();
    let word = &text[..length];
    let known = length == 0 && text.starts_with(b"(")
        || PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(word));
    known && is_single(text) && !is_suspect(text)
}

/// Is there a quote behind a backslash?
pub(super) fn escapes_quote(text: &[u8]) -> bool {
    memchr_iter(b'\\', text).any(|at| follows(text, at, b"\\'"))
}

/// Is there nothing behind a semicolon?
pub(super) fn is_single(text: &[u8]) -> bool {
    memchr(b';', text).is_none_or(|at| {
        text[at..].iter().all(|b| b.is_ascii_whitespace() || matches!(b, b';' | 0))
    })
}

/// Does it hold a word that makes a second look worth while? Every simple query is asked this: words are found by
/// a rare letter that several of them have, in three passes for all.
fn is_suspect(text: &[u8]) -> bool {
    memchr3_iter(b'v', b'V', b'&', text).any(|at| {
        follows(text, at, b"&\"")
            || stands(text, at, (b"advisory", 2))
            || stands(text, at, (b"lastval", 4))
            || stands(text, at, (b"currval", 4))
    }) || memchr3_iter(b'g', b'G', b'\\', text).any(|at| {
        follows(text, at, b"\\'")
            || stands(text, at, (b"set_config", 9))
            || stands(text, at, (b"pg_settings", 1))
    }) || finds(text, b"temp", 2)
}

fn follows(text: &[u8], at: usize, what: &[u8; 2]) -> bool {
    text.get(at..at + 2).is_some_and(|there| there == what)
}
