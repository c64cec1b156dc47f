//! What statements have in common when only their values differ: a hash and a text that stay the same on
//! every server and in every version of the pooler. How often and how long they run is counted elsewhere.

use std::fmt;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::kind::{self, Kind};
use super::lexer::{Backslashes, Lexer, TokenKind};
use super::normal::Normaliser;
use super::render;

/// The version of the rules. It seeds the hash: other rules give other fingerprints.
const VERSION: u64 = 1;

/// Of a text only this much is looked at: what is longer is data.
pub const SCAN_LIMIT: usize = 64 * 1024;

/// The longest normalised text that is given, in bytes.
pub const TEXT_LIMIT: usize = 4 * 1024;

/// The hash of a normalised statement: XXH3-64 of its canonical tokens. Sixteen hex digits when shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match u64::from_str_radix(text, 16) {
            Ok(hash) if text.len() == 16 && !text.starts_with('+') => Ok(Self(hash)),
            Ok(_) | Err(_) => Err(NotAFingerprint),
        }
    }
}

/// A fingerprint is written otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 16 hexadecimal digits")]
pub struct NotAFingerprint;

/// Was the whole statement seen?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It was.
    Whole,
    /// It ends within a string, a quoted name, a comment or brackets, or is longer than [`SCAN_LIMIT`].
    Incomplete,
}

/// A normalised text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// With `$1…` for values. Bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Whether all of it is there.
    pub extent: Extent,
}

/// One statement of a text.
#[derive(Debug)]
pub struct Statement<'a> {
    /// Its hash.
    pub fingerprint: Fingerprint,
    /// Where it stands, without comments and semicolons around it.
    pub range: Range<usize>,
    /// How many times the longest list, VALUES, CASE or group in it repeats; 0 without any.
    pub max_list: u32,
    /// Whether all of it was seen.
    pub extent: Extent,
    normal: &'a Normaliser,
}

impl Statement<'_> {
    /// The normalised text: at most [`TEXT_LIMIT`] bytes, cut between tokens.
    #[must_use]
    pub fn text(&self) -> Text {
        let shape = &self.normal.shape;
        let (text, whole) = render::text(&shape.tokens, &shape.bytes, TEXT_LIMIT);
        let text = String::from_utf8(text)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Text { text, extent: if whole { Extent::Whole } else { Extent::Incomplete } }
    }

    /// What it does.
    #[must_use]
    pub fn kind(&self) -> Kind {
        kind::kind(&self.normal.shape)
    }

    /// Its first keyword and the tables it names, for a line in a list: `SELECT orders users`.
    #[must_use]
    pub fn summary(&self) -> String {
        kind::summary(&self.normal.shape)
    }
}

/// The first and the last comment of a text, where tags stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comments {
    /// Where the first one stands.
    pub first: Option<Range<usize>>,
    /// Where the last one stands; the first if it is the only one.
    pub last: Option<Range<usize>>,
}

/// Finds fingerprints. It keeps its buffers, so that most texts need no allocation.
#[derive(Debug, Default)]
pub struct Fingerprinter {
    normal: Normaliser,
}

impl Fingerprinter {
    /// Gives the statements of a text in order; empty ones are left out. Any bytes will do.
    pub fn read(
        &mut self,
        sql: &[u8],
        backslashes: Backslashes,
        mut each: impl FnMut(&Statement<'_>),
    ) -> Comments {
        let scanned = sql.get(..SCAN_LIMIT).unwrap_or(sql);
        let mut comments = Comments::default();
        let mut range: Option<Range<usize>> = None;
        let mut lexer = Lexer::new(scanned, backslashes);
        self.normal.clear();
        for token in lexer.by_ref() {
            if token.kind == TokenKind::Comment {
                let bytes = token.bytes(scanned);
                self.normal.comment(bytes);
                comments.note(token.start..token.end);
            } else if token.is_byte(scanned, b';') && self.normal.is_top() {
                self.end(range.take(), Extent::Whole, &mut each);
            } else {
                range.get_or_insert(token.start..token.end).end = token.end;
                self.normal.token(token, scanned);
            }
        }
        let whole = !lexer.incomplete() && scanned.len() == sql.len();
        self.end(range, if whole { Extent::Whole } else { Extent::Incomplete }, &mut each);
        comments
    }

    fn end(
        &mut self,
        range: Option<Range<usize>>,
        extent: Extent,
        each: &mut impl FnMut(&Statement<'_>),
    ) {
        if let Some(range) = range {
            let closed = self.normal.shape.is_top();
            let extent = if closed { extent } else { Extent::Incomplete };
            self.normal.shape.finish();
            let shape = &self.normal.shape;
            each(&Statement {
                fingerprint: Fingerprint(xxh3_64_with_seed(&shape.bytes, VERSION)),
                range,
                max_list: shape.max_list,
                extent,
                normal: &self.normal,
            });
        }
        self.normal.clear();
    }
}

impl Comments {
    fn note(&mut self, range: Range<usize>) {
        self.first.get_or_insert_with(|| range.clone());
        self.last = Some(range);
    }
}

#[cfg(test)]
#[path = "fingerprint_tests.rs"]
mod tests;
