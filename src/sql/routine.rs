//! What the body of a function may do to the session of whoever calls it, read from its words, and what it names.
//! Which of the names mean something is left to `hidden`.
//!
//! PL/pgSQL is cut where its own words begin a statement: <https://www.postgresql.org/docs/current/plpgsql.html>.

use std::collections::BTreeSet;

use super::dynamic::{self, Said};
use super::effects::{Effects, MOST_READ};
use super::lexer::{Backslashes, Lexer, Token};
use super::tokens::{Words, cut, finds};

/// Texts within texts that are read; one in the last may do anything.
const MOST_DEPTH: u8 = 3;

/// Words of PL/pgSQL behind which a statement begins.
const BEGINNINGS: [&str; 5] = ["begin", "declare", "then", "else", "loop"];

/// What a statement that writes has among its words.
pub(super) const WRITING: [&str; 6] = ["insert", "update", "delete", "merge", "copy", "truncate"];

/// What other languages run SQL with, each with the place of a rare letter: PL/Python, PL/Perl, PL/Tcl, PL/v8, PL/R.
const RUNNING: [(&[u8], usize); 6] = [
    (b"exec", 1),
    (b"spi", 1),
    (b"prepare", 1),
    (b"query", 0),
    (b"cursor", 0),
    (b"find_function", 0),
];

/// A language that functions are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// SQL, PL/pgSQL and what reads as they do.
    Sql,
    /// Any other.
    Other,
}

/// What is done to tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// They are read.
    #[default]
    Reads,
    /// They are written to.
    Writes,
}

/// What was read of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// What it may do by itself, in whatever order.
    pub effects: Effects,
    /// Everything it names.
    pub names: BTreeSet<Box<str>>,
    /// Does it name what is known only when it runs?
    pub names_any: bool,
    /// What it does to tables, perhaps.
    pub access: Access,
}

impl Language {
    /// By the name that `pg_language` has.
    #[must_use]
    pub fn of(name: &str) -> Self {
        if matches!(name, "sql" | "plpgsql") { Self::Sql } else { Self::Other }
    }
}

impl Body {
    /// Reads a body; `None`: it is too long.
    #[must_use]
    pub fn read(language: Language, text: Option<&str>) -> Self {
        let mut body = Self::default();
        match text.map(str::as_bytes).filter(|text| text.len() <= MOST_READ) {
            None => body.anything(),
            Some(text) => match language {
                Language::Sql => body.text(text, 0),
                Language::Other if RUNNING.iter().any(|(word, rare)| finds(text, word, *rare)) => {
                    body.anything();
                }
                Language::Other => {}
            },
        }
        body.effects.forget_order();
        body
    }

    fn anything(&mut self) {
        self.effects.merge(&Effects::unreadable());
        self.names_any = true;
        self.access = Access::Writes;
    }

    fn text(&mut self, text: &[u8], depth: u8) {
        let tokens: Vec<_> = Lexer::new(text, Backslashes::Literal).without_comments().collect();
        let all = Words { sql: text, tokens: &tokens };
        let mut from = 0;
        for at in 0..tokens.len() {
            let ends = all.is_mark(at, b';') || BEGINNINGS.iter().any(|word| all.is(at, word));
            if ends {
                self.statement(&Words { sql: text, tokens: &tokens[from..at] }, depth);
                from = at + 1;
            }
            if WRITING.iter().any(|word| all.is(at, word)) {
                self.access = Access::Writes;
            }
            self.names.extend(all.name(at).map(|name| cut(&name).into()));
        }
        self.statement(&Words { sql: text, tokens: &tokens[from..] }, depth);
    }

    fn statement(&mut self, words: &Words<'_, '_>, depth: u8) {
        match words.keyword(0).as_deref() {
            // Named, and known by what it does; a cursor of PL/pgSQL; the end of a MERGE's branch.
            Some("call" | "close") => self.effects.called_by(words),
            Some("do") if words.is(1, "nothing") => {}
            Some(_) | None => self.effects.statement(words),
        }
        for at in 0..words.tokens.len() {
            if words.is(at, "execute") && !is_of_other(words, at + 1) {
                self.dynamic(&operand(words, at + 1), depth);
            }
        }
    }

    /// `EXECUTE` of a string that is put together.
    fn dynamic(&mut self, operand: &Words<'_, '_>, depth: u8) {
        match dynamic::said(operand) {
            Some(Said { text, names_any }) if depth < MOST_DEPTH => {
                self.names_any |= names_any;
                self.text(text.as_bytes(), depth + 1);
                let sets_any = |name: &str| name.contains(dynamic::ANY_NAME);
                if self.effects.settings.iter().any(|(name, _)| sets_any(name)) {
                    self.anything();
                }
            }
            Some(_) | None => self.anything(),
        }
    }
}

/// Is it the `EXECUTE` of GRANT or CREATE TRIGGER?
fn is_of_other(words: &Words<'_, '_>, at: usize) -> bool {
    ["on", "function", "procedure"].iter().any(|word| words.is(at, word))
}

/// What is executed: up to INTO, USING, or the loop that it is for.
fn operand<'s, 't>(words: &Words<'s, 't>, from: usize) -> Words<'s, 't> {
    let mut depth = 0_u32;
    let mut to = words.tokens.len();
    for at in from..words.tokens.len() {
        match words.text(at) {
            Some(b"(" | b"[") => depth += 1,
            Some(b")" | b"]") => depth = depth.saturating_sub(1),
            Some(_) | None => {}
        }
        if depth == 0 && (words.is(at, "into") || words.is(at, "using")) {
            to = at;
            break;
        }
    }
    let tokens: &'t [Token] = words.tokens;
    Words { sql: words.sql, tokens: tokens.get(from..to).unwrap_or_default() }
}

#[cfg(test)]
#[path = "routine_tests.rs"]
mod tests;
