//! The text of an SQL-level `PREPARE`, as it can be said again on another server: the statement's own part of what
//! was sent, where it means the same whatever the session's settings are.

use super::effects::Effects;
use super::lexer::{Backslashes, Lexer, Token, TokenKind};
use super::tokens::Words;

/// The longest text that is carried, in bytes.
pub const MOST_TEXT: usize = 8 * 1024;

const EXECUTE: &str = "execute";

/// Names that statements which clients share have on servers.
const SHARED: &str = "pooler_";

/// The part of `text` that prepares the statement `name`; `None` if it is not to be said again elsewhere: no or more
/// than one part prepares it, or what it says depends on how its session reads strings and characters.
#[must_use]
pub fn preparing<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    // Where a string ends may depend on a setting.
    if text.contains('\\') {
        return None;
    }
    let mut found = None;
    let mut words: Vec<Token> = Vec::new();
    let sql = text.as_bytes();
    let real = Lexer::new(sql, Backslashes::Literal).filter(|t| t.kind != TokenKind::Comment);
    for token in real.map(Some).chain([None]) {
        match token {
            Some(token) if !token.is_byte(sql, b';') => words.push(token),
            Some(_) | None => {
                let statement = Words { sql, tokens: &words };
                if statement.is(0, "prepare") && statement.name(1).as_deref() == Some(name) {
                    if found.is_some() {
                        return None;
                    }
                    found = Some(portable(&statement)?);
                }
                words.clear();
            }
        }
    }
    text.get(found?)
}

/// The statement that a text executes by name, if that is all it does, and where the name stands.
#[must_use]
pub fn executed(text: &[u8]) -> Option<(Box<str>, std::ops::Range<usize>)> {
    let starts = text.trim_ascii_start().get(..EXECUTE.len())?;
    if !starts.eq_ignore_ascii_case(EXECUTE.as_bytes()) || !Effects::is_single(text) {
        return None;
    }
    let real = Lexer::new(text, Backslashes::Literal).filter(|t| t.kind != TokenKind::Comment);
    let tokens: Vec<_> = real.take(2).collect();
    let words = Words { sql: text, tokens: &tokens };
    let named = tokens.get(1).filter(|_| words.is(0, EXECUTE))?;
    Some((words.name(1)?, named.start..named.end))
}

/// Where a `PREPARE` stands in its text, if it can be said again elsewhere.
pub(super) fn portable(statement: &Words<'_, '_>) -> Option<std::ops::Range<usize>> {
    let (first, last) = (statement.tokens.first()?, statement.tokens.last()?);
    let range = first.start..last.end;
    let text = statement.sql.get(range.clone())?;
    let plain = text.is_ascii() && !text.contains(&b'\\') && text.len() <= MOST_TEXT;
    let own = statement.name(1).is_some_and(|name| !name.starts_with(SHARED));
    (plain && own).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_executed_is_named() {
        for (text, wanted) in [
            ("EXECUTE a", Some(("a", 8..9))),
            (" execute /* x */ \"B\"\"\" (1, 'x') ;", Some(("B\"", 17..22))),
            ("EXECUTE a; SELECT 1", None),
            ("EXECUTE 'a'", None),
            ("EXECUTE", None),
            ("EXECUTED a", None),
            ("SELECT a", None),
        ] {
            let found = executed(text.as_bytes());
            let wanted = wanted.map(|(name, range)| (name.into(), range));
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn a_statements_own_part_is_found() {
        for (text, name, part) in [
            ("PREPARE a AS SELECT 1", "a", Some("PREPARE a AS SELECT 1")),
            (" /* x */ prepare A (int) as select $1 ; ", "a", Some("prepare A (int) as select $1")),
            ("PREPARE \"A;\" AS SELECT 1;SELECT 2", "A;", Some("PREPARE \"A;\" AS SELECT 1")),
            (
                "SELECT 1; PREPARE b AS SELECT ';'; PREPARE a AS SELECT 1 -- c",
                "b",
                Some("PREPARE b AS SELECT ';'"),
            ),
            ("PREPARE a AS SELECT 1; DEALLOCATE a; PREPARE a AS SELECT 2", "a", None),
            ("PREPARE a AS SELECT 1", "b", None),
            ("PREPARE a AS SELECT 'é'", "a", None),
            (r"PREPARE a AS SELECT '\'", "a", None),
            ("PREPARE pooler_1 AS SELECT 1", "pooler_1", None),
            ("SELECT 1", "a", None),
            ("", "", None),
        ] {
            assert_eq!(preparing(text, name), part, "{text}");
        }
        let long = format!("PREPARE a AS SELECT '{}'", "x".repeat(MOST_TEXT));
        assert_eq!(preparing(&long, "a"), None);
    }
}
