//! The tokens of a fingerprint as text for people, and what kind of statement they make.

use super::canonical::{Canonical, Mark, Piece};
use super::normal::REPETITION;
use super::words::Role;

/// Writes the normalised text; false when it is cut before a token that would exceed the limit.
pub(super) fn text(tokens: &[Canonical], bytes: &[u8], limit: usize) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(bytes.len().min(limit));
    let mut values = 0_u32;
    let mut before: Option<Piece> = None;
    for token in tokens {
        let fits = out.len();
        if before.is_some_and(|before| has_space(before, token.piece)) {
            out.push(b' ');
        }
        before = Some(token.piece);
        if token.piece == Piece::Value {
            values += 1;
            out.extend_from_slice(format!("${values}").as_bytes());
        } else {
            out.extend_from_slice(slice(token, bytes));
        }
        if token.mark != Mark::None {
            out.push(b' ');
            out.extend_from_slice(REPETITION);
        }
        if out.len() > limit {
            out.truncate(fits);
            return (out, false);
        }
    }
    (out, true)
}

pub(super) fn slice<'a>(token: &Canonical, bytes: &'a [u8]) -> &'a [u8] {
    bytes.get(token.start as usize..token.end as usize).unwrap_or_default()
}

fn has_space(before: Piece, piece: Piece) -> bool {
    match (before, piece) {
        // Together they would be another token.
        (Piece::Byte(b':') | Piece::Cast, Piece::Byte(b':') | Piece::Cast | Piece::Assign)
        | (Piece::Byte(b':'), Piece::Operator) => true,
        (Piece::Byte(b'(' | b'[' | b'.' | b':') | Piece::Cast, _)
        | (_, Piece::Byte(b',' | b')' | b']' | b'.' | b':') | Piece::Cast) => false,
        (before, Piece::Byte(b'(')) => match before {
            Piece::Word(role) => role.is_structural() && role != Role::Callable,
            Piece::Quoted | Piece::Value => false,
            Piece::Ordinal | Piece::Operator | Piece::Cast | Piece::Assign | Piece::Byte(_) => true,
        },
        (before, Piece::Byte(b'[')) => !matches!(
            before,
            Piece::Word(_) | Piece::Quoted | Piece::Value | Piece::Byte(b']' | b')')
        ),
        _ => true,
    }
}
