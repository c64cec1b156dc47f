//! A token in canonical form. What becomes of it is decided by [`super::shape`].

use super::words::Role;

/// What a canonical token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A literal or a parameter, whatever it was.
    Value,
    Word(Role),
    /// An identifier that keeps its quotes.
    Quoted,
    /// A number that stays: a column's place in ORDER BY.
    Ordinal,
    Operator,
    /// `::`
    Cast,
    /// `:=`
    Assign,
    Byte(u8),
}

/// Does a token stand for a repetition?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    None,
    /// It may: the hash does not tell.
    Shown,
    /// It does: another hash.
    Hashed,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Canonical {
    pub(super) piece: Piece,
    pub(super) mark: Mark,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// Are these tokens values, in parentheses and with casts at most?
pub(super) fn are_values(tokens: &[Canonical], bytes: &[u8]) -> bool {
    let mut values = 0;
    let mut in_type = false;
    for token in tokens {
        let word = bytes.get(token.start as usize..token.end as usize).unwrap_or_default();
        match token.piece {
            Piece::Value => values += 1,
            Piece::Cast => in_type = true,
            Piece::Byte(b',' | b')') => in_type = false,
            Piece::Byte(b'(') => {}
            Piece::Word(_) if matches!(word, b"row" | b"cast") => {}
            Piece::Word(_) if word == b"as" => in_type = true,
            Piece::Word(_) | Piece::Quoted | Piece::Byte(b'.' | b'[' | b']') if in_type => {}
            Piece::Word(_)
            | Piece::Quoted
            | Piece::Ordinal
            | Piece::Operator
            | Piece::Assign
            | Piece::Byte(_) => return false,
        }
    }
    values > 0
}
