//! What a statement does and to which tables, as far as its words say so.

use super::canonical::{Canonical, Piece};
use super::render::slice;
use super::shape::Shape;

/// The longest summary, in bytes: OpenTelemetry's limit for `db.query.summary`.
const SUMMARY_LIMIT: usize = 255;

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reads: SELECT, VALUES, TABLE.
    Select,
    /// INSERT
    Insert,
    /// UPDATE
    Update,
    /// DELETE
    Delete,
    /// Begins or ends a transaction or a part of one.
    Transaction,
    /// Another command of Postgres.
    Utility,
    /// MERGE, and what is no command of Postgres.
    Other,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Select,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Transaction,
        Self::Utility,
        Self::Other,
    ];

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Transaction => "txn",
            Self::Utility => "utility",
            Self::Other => "other",
        }
    }

    fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"select" | b"values" | b"table" => Self::Select,
            b"insert" => Self::Insert,
            b"update" => Self::Update,
            b"delete" => Self::Delete,
            b"begin" | b"start" | b"commit" | b"rollback" | b"end" | b"abort" | b"savepoint"
            | b"release" => Self::Transaction,
            b"alter" | b"analyse" | b"analyze" | b"call" | b"checkpoint" | b"close"
            | b"cluster" | b"comment" | b"copy" | b"create" | b"deallocate" | b"declare"
            | b"discard" | b"do" | b"drop" | b"execute" | b"explain" | b"fetch" | b"grant"
            | b"import" | b"listen" | b"load" | b"lock" | b"move" | b"notify" | b"prepare"
            | b"reassign" | b"refresh" | b"reindex" | b"reset" | b"revoke" | b"security"
            | b"set" | b"show" | b"truncate" | b"unlisten" | b"vacuum" => Self::Utility,
            _ => return None,
        })
    }
}

pub(super) fn kind(shape: &Shape) -> Kind {
    let mut words = words(shape);
    let Some((depth, first)) = words.next() else { return Kind::Other };
    if first != b"with" {
        return Kind::of(first).unwrap_or(Kind::Other);
    }
    // The main statement stands behind the common table expressions, which are in brackets.
    let main = words.filter(|(deep, _)| *deep <= depth).find_map(|(_, word)| {
        matches!(word, b"select" | b"insert" | b"update" | b"delete" | b"merge" | b"values")
            .then_some(word)
    });
    main.and_then(Kind::of).unwrap_or(Kind::Other)
}

/// Words, and how many brackets they stand in.
fn words(shape: &Shape) -> impl Iterator<Item = (i32, &[u8])> {
    let mut depth = 0;
    shape.tokens.iter().filter_map(move |token| {
        match token.piece {
            Piece::Byte(b'(') => depth += 1,
            Piece::Byte(b')') => depth -= 1,
            Piece::Word(_) => return Some((depth, slice(token, &shape.bytes))),
            Piece::Value
            | Piece::Quoted
            | Piece::Ordinal
            | Piece::Operator
            | Piece::Cast
            | Piece::Assign
            | Piece::Byte(_) => {}
        }
        None
    })
}

pub(super) fn summary(shape: &Shape) -> String {
    let mut out = String::new();
    let mut due = false;
    let mut tokens = shape.tokens.iter().peekable();
    while let Some(token) = tokens.next() {
        let word = slice(token, &shape.bytes);
        let is_name = matches!(token.piece, Piece::Word(_) | Piece::Quoted);
        if out.is_empty() && is_name {
            out = String::from_utf8_lossy(word).to_uppercase();
        } else if due && is_name && !is_filler(token, word) {
            let mut name = String::from_utf8_lossy(word).into_owned();
            while tokens.next_if(|next| next.piece == Piece::Byte(b'.')).is_some() {
                let Some(part) = tokens.next() else { break };
                name.push('.');
                name.push_str(&String::from_utf8_lossy(slice(part, &shape.bytes)));
            }
            if out.len() + 1 + name.len() > SUMMARY_LIMIT {
                return out;
            }
            if !out.split(' ').any(|known| known == name) {
                out.push(' ');
                out.push_str(&name);
            }
            due = false;
        }
        due = match token.piece {
            Piece::Word(_) => {
                matches!(word, b"from" | b"join" | b"into" | b"update" | b"table" | b"call")
                    || due && is_filler(token, word)
            }
            Piece::Value
            | Piece::Quoted
            | Piece::Ordinal
            | Piece::Operator
            | Piece::Cast
            | Piece::Assign
            | Piece::Byte(_) => false,
        };
    }
    out.truncate(out.floor_char_boundary(SUMMARY_LIMIT));
    out
}

/// Does this word stand between the keyword and the table?
fn is_filler(token: &Canonical, word: &[u8]) -> bool {
    let Piece::Word(role) = token.piece else { return false };
    role.is_structural() || matches!(word, b"only" | b"if" | b"to")
}
