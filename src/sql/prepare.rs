//! The text of an SQL-level `PREPARE`, as it can be said again on another server: the statement's own part of what
//! was sent, where it means the same whatever the session's settings are.

use super::lexer::{Backslashes, Lexer, Token};
use super::tokens::Words;

/// The longest text that is carried, in bytes.
pub const MOST_TEXT: usize = 8 * 1024;

/// Names that statements which clients share have on servers.
const SHARED: &str = "pooler_";

/// The part of `text` that prepares the statement `name`; `None` if it is not to be said again elsewhere: no part
/// prepares it, or one does once more behind what may have ended it (else that one fails), or what it says depends on how its session reads strings and characters.
#[must_use]
pub fn preparing<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    // Where a string ends may depend on a setting.
    if text.contains('\\') {
        return None;
    }
    let (mut found, mut ended) = (None, false);
    let mut words: Vec<Token> = Vec::new();
    let sql = text.as_bytes();
    let real = Lexer::new(sql, Backslashes::Literal).without_comments();
    for token in real.map(Some).chain([None]) {
        match token {
            Some(token) if !token.is_byte(sql, b';') => words.push(token),
            Some(_) | None => {
                let statement = Words { sql, tokens: &words };
                if statement.is(0, "prepare") && statement.name(1).as_deref() == Some(name) {
                    if found.is_some() && ended {
                        return None;
                    }
                    if found.is_none() {
                        found = Some(portable(&statement)?);
                    }
                }
                ended |= statement.is(0, "deallocate") || statement.is(0, "discard");
                words.clear();
            }
        }
    }
    text.get(found?)
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
            ("PREPARE a AS SELECT 1; PREPARE a AS SELECT 2", "a", Some("PREPARE a AS SELECT 1")),
            ("DEALLOCATE a; PREPARE a AS SELECT 1", "a", Some("PREPARE a AS SELECT 1")),
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
