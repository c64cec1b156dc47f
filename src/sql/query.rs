//! What is known of a text that clients run: its statements, each described once and shared by all who
//! count it.

use std::sync::Arc;

use super::fingerprint::{Comments, Extent, Fingerprint, Fingerprinter, Statement};
use super::kind::Kind;
use super::lexer::Backslashes;
use super::role::{Role, role};

/// The most statements of one text that are told apart; those behind are not counted.
const MOST_PARTS: usize = 100;

/// A statement without its values.
#[derive(Debug)]
pub struct About {
    /// Its hash.
    pub fingerprint: Fingerprint,
    /// Its normalised text.
    pub text: Box<str>,
    /// Whether that is all of it.
    pub extent: Extent,
    /// What it does.
    pub kind: Kind,
    /// Keyword and tables.
    pub summary: Box<str>,
    /// The part it plays where repeating is judged.
    pub role: Role,
}

impl About {
    /// Describes a statement.
    #[must_use]
    pub fn new(statement: &Statement<'_>) -> Self {
        let text = statement.text();
        let whole = (text.extent, statement.extent) == (Extent::Whole, Extent::Whole);
        let (kind, summary) = (statement.kind(), statement.summary());
        let role = role(kind, &text.text, &summary);
        Self {
            fingerprint: statement.fingerprint,
            role,
            text: text.text.into(),
            extent: if whole { Extent::Whole } else { Extent::Incomplete },
            kind,
            summary: summary.into(),
        }
    }

    /// Memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.summary.len()
    }
}

/// One statement of a text.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is.
    pub about: Arc<About>,
    /// How long its longest list is (see [`Statement::max_list`]).
    pub max_list: u32,
}

/// The statements of one text, in order.
#[derive(Debug)]
pub struct Query {
    /// Them.
    pub parts: Box<[Part]>,
}

/// Reads the statements of a text into `parts`, and says where comments stand in it. `known` gives what a statement
/// is, if that is known already.
pub fn read_parts(
    sql: &[u8],
    fingerprinter: &mut Fingerprinter,
    parts: &mut Vec<Part>,
    mut known: impl FnMut(&Statement<'_>) -> Arc<About>,
) -> Comments {
    // A text without prefix is read as Postgres does by default; where a session has set
    // standard_conforming_strings off, a backslash before a quote gives a fingerprint of its own.
    fingerprinter.read(sql, Backslashes::Literal, |statement| {
        if parts.len() < MOST_PARTS {
            parts.push(Part { about: known(statement), max_list: statement.max_list });
        }
    })
}
