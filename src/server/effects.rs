//! What a command tag says about the session.
//!
//! Tags: src/include/tcop/cmdtaglist.h. What happens inside functions has no tag of its own.

use crate::sql::lexer::{Backslashes, Lexer};

/// What a completed command did beside what its text says (`sql::effects`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// The schema changed: statements prepared before may have another meaning now.
    Schema,
    /// So it did, and with it functions, or what calls them, perhaps.
    Routine,
    /// `DO`: it may have done as much.
    Done,
    /// `DEALLOCATE` of one statement.
    Deallocated,
    /// `LOAD`: a library that stays.
    Loaded,
    /// `DEALLOCATE ALL`: this server knows no prepared statement any more.
    DeallocatedAll,
    /// `DISCARD ALL`: this server is as new.
    Discarded,
}

/// Reads a command tag (`SELECT 1`, `SET`, …).
#[must_use]
pub fn effect(tag: &[u8]) -> Effect {
    match tag {
        // The daily bread first.
        [b'S', b'E', b'L', ..] | [b'I', b'N', ..] | [b'U' | b'M' | b'F' | b'B' | b'N', ..] => {
            Effect::None
        }
        b"DEALLOCATE ALL" => Effect::DeallocatedAll,
        b"DISCARD ALL" => Effect::Discarded,
        b"DEALLOCATE" => Effect::Deallocated,
        b"LOAD" => Effect::Loaded,
        b"DO" => Effect::Done,
        _ if is_of_routine(tag) => Effect::Routine,
        [b'A', b'L', b'T', ..]
        | [b'D', b'R', b'O', b'P', ..]
        | [b'C', b'R', b'E', ..]
        | [b'C', b'O', b'M', b'M', b'E', ..]
        | b"IMPORT FOREIGN SCHEMA" => Effect::Schema,
        _ => Effect::None,
    }
}

/// May clients share a statement?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Yes: its text means the same to all.
    Shared,
    /// No: what `EXECUTE` gives is what its client has prepared in SQL, and is fixed with its Parse.
    Private,
}

/// May clients share the statement of this text?
#[must_use]
pub fn sharing(text: &[u8]) -> Sharing {
    let first = Lexer::new(text, Backslashes::Literal).without_comments().next();
    if first.is_some_and(|token| token.is_word(text, "execute")) {
        Sharing::Private
    } else {
        Sharing::Shared
    }
}

/// `CREATE FUNCTION`, `ALTER PROCEDURE`, `CREATE EXTENSION`, and the like.
fn is_of_routine(tag: &[u8]) -> bool {
    let kind = tag.strip_prefix(b"CREATE ").or_else(|| tag.strip_prefix(b"ALTER "));
    matches!(
        kind,
        Some(b"FUNCTION" | b"PROCEDURE" | b"ROUTINE" | b"AGGREGATE" | b"EXTENSION" | b"SCHEMA")
    )
}

/// May running this text make Postgres forget prepared statements? Only its first word is looked
/// at; who hides it behind a comment loses nothing but the right order within one batch.
#[must_use]
pub fn forgets(text: &[u8]) -> bool {
    let word = text.trim_ascii_start();
    [&b"deallocate"[..], b"discard"]
        .iter()
        .any(|w| word.get(..w.len()).is_some_and(|start| start.eq_ignore_ascii_case(w)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_apart() {
        for (tag, wanted) in [
            ("SELECT 1", Effect::None),
            ("INSERT 0 1", Effect::None),
            ("COMMIT", Effect::None),
            ("SET CONSTRAINTS", Effect::None),
            ("SAVEPOINT", Effect::None),
            ("DELETE 3", Effect::None),
            ("SET", Effect::None),
            ("RESET", Effect::None),
            ("LISTEN", Effect::None),
            ("LOAD", Effect::Loaded),
            ("PREPARE", Effect::None),
            ("PREPARE TRANSACTION", Effect::None),
            ("DECLARE CURSOR", Effect::None),
            ("CREATE TABLE", Effect::Schema),
            ("ALTER TABLE", Effect::Schema),
            ("DROP TYPE", Effect::Schema),
            ("CREATE FUNCTION", Effect::Routine),
            ("ALTER PROCEDURE", Effect::Routine),
            ("DO", Effect::Done),
            ("DEALLOCATE ALL", Effect::DeallocatedAll),
            ("DEALLOCATE", Effect::Deallocated),
            ("CREATE VIEW", Effect::Schema),
            ("DISCARD ALL", Effect::Discarded),
            ("DISCARD PLANS", Effect::None),
        ] {
            assert_eq!(effect(tag.as_bytes()), wanted, "{tag}");
        }
    }
}
