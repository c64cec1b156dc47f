//! Prepared statements that a text names: what it executes, deallocates or prepares. Left to others: what the names mean.

use super::effects::MOST_READ;
use super::glance::{escapes_quote, is_single};
use super::lexer::{Backslashes, Lexer, TokenKind};
pub use super::tokens::LONGEST_NAME;
use super::tokens::{Words, cut, finds};

/// The most names that are found in one text.
pub const MOST_NAMES: usize = 32;

/// What a text does with prepared statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Each name, in the order in which the text comes to them; not those behind `DEALLOCATE ALL` or `DISCARD ALL`.
    pub mentions: Vec<Mention>,
    /// What it deallocates by name, in order: each has a command tag.
    pub deallocated: Vec<Box<str>>,
    /// What else it is.
    pub shape: Shape,
    cleared: Cleared,
    snapshot: Snapshot,
}

/// A name in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The name; empty: one with escapes (`U&"a"`), which may be any.
    pub name: Box<str>,
    /// What the text does first with it.
    pub first: Use,
    /// Is it deallocated, and prepared again?
    pub remade: bool,
}

/// What is done with a prepared statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// `EXECUTE`, `EXPLAIN EXECUTE`, `CREATE TABLE AS EXECUTE`.
    Executed,
    /// `DEALLOCATE`.
    Deallocated,
    /// `PREPARE`.
    Prepared,
}

/// What a text that names statements is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// None of the others.
    #[default]
    Plain,
    /// One `EXECUTE` and nothing else.
    Alone,
    /// What precedes its first `EXECUTE` must come before the transaction's snapshot.
    Early,
    /// Its first statement may end a transaction.
    Ends,
    /// It asks its client for data, or has more than [`MOST_NAMES`].
    Tangled,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cleared {
    #[default]
    Not,
    /// Nothing that was prepared before is there any more.
    All,
}

/// May the transaction's snapshot have been taken by what was read?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Snapshot {
    #[default]
    Open,
    /// It should not be yet.
    Later,
}

/// Does running this text ask its client for data?
#[must_use]
pub fn asks_for_data(text: &[u8]) -> bool {
    let mut real = Lexer::new(text, Backslashes::Literal).without_comments();
    real.next().is_some_and(|first| first.is_word(text, "copy"))
        && real.any(|token| token.is_word(text, "stdin"))
}

/// May a name in this text begin so, in any case, or be any?
#[cold]
#[must_use]
pub fn may_begin(text: &[u8], prefix: &[u8]) -> bool {
    finds(text, prefix, prefix.len() - 1) || finds(text, b"u&\"", 1)
}

/// May this text name a prepared statement? A look, for every simple query of a client that has some.
#[inline]
#[must_use]
pub fn may_name(text: &[u8]) -> bool {
    let plain = |first: &u8| first.is_ascii_alphabetic() && !b"ecpdECPD".contains(first);
    text.len() <= MOST_READ
        && (!text.trim_ascii_start().first().is_some_and(plain) || !is_single(text))
        && (finds(text, b"execute", 1)
            || finds(text, b"prepare", 0)
            || finds(text, b"deallocate", 0))
}

impl Named {
    /// Reads a text; `None`: it names none, or is longer than what is read.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Box<Self>> {
        if text.len() > MOST_READ {
            return None;
        }
        let mut named = Self::read_as(text, Backslashes::Literal);
        if escapes_quote(text) {
            // Where a string ends depends on standard_conforming_strings: either way counts.
            let other = Self::read_as(text, Backslashes::Escape);
            if other != named {
                named.mentions.extend(other.mentions);
                named.shape = Shape::Tangled;
            }
        }
        (!named.mentions.is_empty()).then(|| Box::new(named))
    }

    fn read_as(text: &[u8], backslashes: Backslashes) -> Self {
        let mut named = Self::default();
        let mut count = 0;
        let tokens: Vec<_> = Lexer::new(text, backslashes).without_comments().collect();
        for statement in Words::statements(text, &tokens).filter(|words| !words.tokens.is_empty()) {
            named.statement(&statement, count);
            count += 1;
        }
        if named.shape == Shape::Alone && count > 1 {
            named.shape = Shape::Plain;
        }
        named
    }

    /// Takes in one statement, which `before` others precede.
    fn statement(&mut self, words: &Words<'_, '_>, before: usize) {
        let Some(first) = words.keyword(0) else { return };
        match &*first {
            "execute" => {
                self.note(name(words, 1), Use::Executed);
                self.shape = self.shape.max(Shape::Alone);
            }
            "explain" | "create" => {
                let at = (1..words.tokens.len()).find(|at| words.is(*at, "execute"));
                let names = at.filter(|at| is_executed(words, *at, &first));
                self.note(names.and_then(|at| name(words, at + 1)), Use::Executed);
            }
            "prepare" if words.is(1, "transaction") => self.ends(before),
            "prepare" => self.note(name(words, 1), Use::Prepared),
            "deallocate" => {
                let behind = words.is(1, "prepare") && words.tokens.len() > 2;
                let at = if behind { 2 } else { 1 };
                if words.is(at, "all") {
                    self.cleared = Cleared::All;
                } else {
                    self.note(name(words, at), Use::Deallocated);
                }
            }
            "discard" if words.is(1, "all") => self.cleared = Cleared::All,
            "copy" if words.has(&["stdin"]) => self.shape = Shape::Tangled,
            "rollback" | "commit" | "end" | "abort" => self.ends(before),
            "lock" => self.snapshot = Snapshot::Later,
            "set" if is_of_transaction(words) => self.snapshot = Snapshot::Later,
            _ => {}
        }
    }

    fn ends(&mut self, before: usize) {
        if before == 0 {
            self.shape = self.shape.max(Shape::Ends);
        }
    }

    fn note(&mut self, name: Option<Box<str>>, with: Use) {
        let Some(name) = name else { return };
        if self.mentions.len().max(self.deallocated.len()) >= MOST_NAMES {
            self.shape = Shape::Tangled;
            return;
        }
        if with == Use::Executed && self.snapshot == Snapshot::Later {
            self.shape = self.shape.max(Shape::Early);
        }
        let gone = self.cleared == Cleared::All || self.deallocated.contains(&name);
        match self.mentions.iter_mut().find(|mention| mention.name == name) {
            Some(mention) => mention.remade |= gone && with == Use::Prepared,
            None if self.cleared == Cleared::All => {}
            None => self.mentions.push(Mention { name: name.clone(), first: with, remade: false }),
        }
        if with == Use::Deallocated {
            self.deallocated.push(name);
        }
    }
}

/// The name at a place, as Postgres keeps it.
fn name(words: &Words<'_, '_>, at: usize) -> Option<Box<str>> {
    match words.kind(at)? {
        TokenKind::UnicodeIdentifier => Some(Box::default()),
        TokenKind::Word
        | TokenKind::QuotedIdentifier
        | TokenKind::Number
        | TokenKind::String(_)
        | TokenKind::Parameter
        | TokenKind::Operator
        | TokenKind::Punctuation
        | TokenKind::Comment => words.name(at).map(|name| cut(&name).into()),
    }
}

/// `SET TRANSACTION`, `SET LOCAL transaction_isolation` and their like.
fn is_of_transaction(words: &Words<'_, '_>) -> bool {
    let scoped = words.is(1, "local") || words.is(1, "session");
    let at = 1 + usize::from(scoped);
    words.name(at).is_some_and(|name| name.starts_with("transaction"))
}

/// Is the word `EXECUTE` at `at` a statement's, in an `EXPLAIN` or a `CREATE TABLE AS`? Not the privilege of that name, nor a
/// trigger's (gram.y: `ExplainStmt`, `ExecuteStmt`).
fn is_executed(words: &Words<'_, '_>, at: usize, first: &str) -> bool {
    let behind_as = words.is(at - 1, "as");
    let trigger = words.is(at + 1, "function") || words.is(at + 1, "procedure");
    behind_as || first == "explain" && !trigger
}

#[cfg(test)]
#[path = "named_tests.rs"]
mod tests;
