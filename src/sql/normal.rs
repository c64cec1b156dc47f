//! From the tokens of a statement to those of its fingerprint: which are values, which names are, and
//! which are written otherwise. What repeats is left out by [`super::shape`].

use super::canonical::Piece;
use super::lexer::{Token, TokenKind};
use super::shape::Shape;
use super::words::{Role, needs_quotes, role};

/// The comment that stands for repetitions in a normalised text, ours and Postgres 18's.
pub(super) const REPETITION: &[u8] = b"/*, ... */";

/// What the words of a statement mean, going by its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// No word was seen.
    Start,
    /// A query: `true`, `false` and `null` are values.
    Query,
    /// Nothing is special.
    Plain,
    /// `ROLLBACK`: a name comes behind `TO`.
    Rollback,
    /// A name is next, behind words that are none.
    Name(Named),
    /// `FETCH`, `MOVE`: every word that is no direction is the cursor.
    Fetch,
    /// `SET`, up to its value.
    Set,
    /// `SET`: the value is next.
    Value,
    /// `SET`: the value goes on.
    Rest,
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Savepoint,
    Declared,
    Prepared,
    Executed,
    Closed,
    Deallocated,
}

impl Named {
    /// Is this word no name?
    fn keeps(self, word: &[u8]) -> bool {
        match self {
            Self::Savepoint => word == b"savepoint",
            Self::Prepared => word == b"transaction",
            Self::Closed => word == b"all",
            Self::Deallocated => matches!(word, b"prepare" | b"all"),
            Self::Declared | Self::Executed => false,
        }
    }

    fn after(self) -> Mode {
        match self {
            Self::Declared | Self::Prepared => Mode::Query,
            Self::Savepoint | Self::Executed | Self::Closed | Self::Deallocated => Mode::Plain,
        }
    }
}

impl Mode {
    fn of(first: &[u8]) -> Self {
        match first {
            b"select" | b"with" | b"insert" | b"update" | b"delete" | b"merge" | b"values"
            | b"call" | b"explain" | b"table" => Self::Query,
            b"savepoint" | b"release" => Self::Name(Named::Savepoint),
            b"rollback" => Self::Rollback,
            b"declare" => Self::Name(Named::Declared),
            b"prepare" => Self::Name(Named::Prepared),
            b"execute" => Self::Name(Named::Executed),
            b"close" => Self::Name(Named::Closed),
            b"deallocate" => Self::Name(Named::Deallocated),
            b"fetch" | b"move" => Self::Fetch,
            b"set" => Self::Set,
            _ => Self::Plain,
        }
    }
}

fn is_direction(word: &[u8]) -> bool {
    matches!(
        word,
        b"next"
            | b"prior"
            | b"first"
            | b"last"
            | b"absolute"
            | b"relative"
            | b"forward"
            | b"backward"
            | b"all"
            | b"from"
            | b"in"
    )
}

/// Normalises one statement after the other.
#[derive(Debug)]
pub(super) struct Normaliser {
    pub(super) shape: Shape,
    mode: Mode,
}

impl Default for Normaliser {
    fn default() -> Self {
        let mut shape = Shape::default();
        shape.clear();
        Self { shape, mode: Mode::Start }
    }
}

impl Normaliser {
    pub(super) fn clear(&mut self) {
        self.shape.clear();
        self.mode = Mode::Start;
    }

    /// Does a semicolon end the statement here?
    pub(super) fn is_top(&self) -> bool {
        matches!(self.mode, Mode::Value | Mode::Rest) || self.shape.is_top()
    }

    /// A token other than a comment.
    #[inline]
    pub(super) fn token(&mut self, token: Token, sql: &[u8]) {
        match self.mode {
            Mode::Rest => return,
            Mode::Value => {
                self.mode = Mode::Rest;
                return self.shape.value();
            }
            Mode::Start
            | Mode::Query
            | Mode::Plain
            | Mode::Rollback
            | Mode::Name(_)
            | Mode::Fetch
            | Mode::Set => {}
        }
        let bytes = token.bytes(sql);
        match token.kind {
            TokenKind::Word => self.word(bytes),
            TokenKind::QuotedIdentifier => self.quoted(bytes),
            TokenKind::UnicodeIdentifier => self.identifier(bytes),
            TokenKind::Number => self.number(bytes),
            TokenKind::String(_) | TokenKind::Parameter => self.value(),
            TokenKind::Operator => self.operator(bytes),
            TokenKind::Punctuation => self.punctuation(bytes),
            TokenKind::Comment => {}
        }
    }

    /// A comment. In the value of a SET it stands for nothing.
    pub(super) fn comment(&mut self, bytes: &[u8]) {
        if bytes == REPETITION && self.mode != Mode::Rest {
            self.shape.read_mark();
        }
    }

    /// Something other than a word comes.
    fn no_word(&mut self) {
        self.mode = match self.mode {
            Mode::Start => Mode::Plain,
            Mode::Name(named) => named.after(),
            mode @ (Mode::Query
            | Mode::Plain
            | Mode::Rollback
            | Mode::Fetch
            | Mode::Set
            | Mode::Value
            | Mode::Rest) => mode,
        };
    }

    fn value(&mut self) {
        if !self.shape.skips(Piece::Value) {
            self.no_word();
            self.shape.value();
        }
    }

    fn number(&mut self, bytes: &[u8]) {
        if self.shape.skips(Piece::Value) {
            return;
        }
        self.no_word();
        if bytes.iter().all(u8::is_ascii_digit) && self.shape.is_ordinal() {
            self.shape.append(Piece::Ordinal, bytes);
        } else {
            self.shape.value();
        }
    }

    fn operator(&mut self, bytes: &[u8]) {
        if self.shape.skips(Piece::Operator) {
            return;
        }
        self.no_word();
        let bytes = if bytes == b"!=" { b"<>" } else { bytes };
        self.shape.append(Piece::Operator, bytes);
        if self.mode == Mode::Set && bytes == b"=" {
            self.mode = Mode::Value;
        }
    }

    fn punctuation(&mut self, bytes: &[u8]) {
        let piece = match bytes {
            b"::" => Piece::Cast,
            b":=" => Piece::Assign,
            [byte, ..] => Piece::Byte(*byte),
            [] => return,
        };
        if self.shape.skips(piece) {
            return;
        }
        // `(select …) union …` is a query still.
        if self.mode != Mode::Start || piece != Piece::Byte(b'(') {
            self.no_word();
        }
        match piece {
            Piece::Byte(byte @ (b'(' | b'[')) => self.shape.bracket(byte),
            Piece::Byte(byte @ (b')' | b']')) => self.shape.close(byte),
            Piece::Byte(b',') => self.shape.comma(),
            Piece::Value
            | Piece::Word(_)
            | Piece::Quoted
            | Piece::Ordinal
            | Piece::Operator
            | Piece::Cast
            | Piece::Assign
            | Piece::Byte(_) => self.shape.append(piece, bytes),
        }
    }

    /// `"name"`: without its quotes if Postgres would read the same without them.
    fn quoted(&mut self, bytes: &[u8]) {
        let plain = match bytes {
            [b'"', name @ .., b'"'] if is_plain(name) && !needs_quotes(name) => Some(name),
            _ => None,
        };
        match plain {
            Some(name) => self.word(name),
            None => self.identifier(bytes),
        }
    }

    fn identifier(&mut self, bytes: &[u8]) {
        if self.shape.skips(Piece::Quoted) {
            return;
        }
        let is_name = matches!(self.mode, Mode::Name(_) | Mode::Fetch);
        self.no_word();
        if is_name {
            self.shape.value();
        } else {
            self.shape.append(Piece::Quoted, bytes);
        }
    }

    fn word(&mut self, bytes: &[u8]) {
        // A row that is left out has no CASE and no mode.
        if self.shape.skips(Piece::Word(Role::Name)) {
            return;
        }
        let start = self.shape.bytes.len();
        self.shape.bytes.extend(bytes.iter().map(u8::to_ascii_lowercase));
        let word = self.shape.bytes.get(start..).unwrap_or_default();
        let qualified = self.shape.last() == Some(Piece::Byte(b'.'));
        let role = if qualified { Role::Name } else { role(word) };
        match self.fate(start, role) {
            Fate::Value => {
                self.shape.bytes.truncate(start);
                self.shape.value();
            }
            Fate::Word => {
                if !matches!(role, Role::Name | Role::Structural) {
                    // What is open is settled before the word is there.
                    self.shape.bytes.truncate(start);
                    self.shape.before_word(role);
                    let start = self.shape.bytes.len();
                    self.shape.bytes.extend(bytes.iter().map(u8::to_ascii_lowercase));
                    return self.shape.note(Piece::Word(role), start);
                }
                self.shape.note(Piece::Word(role), start);
            }
        }
    }

    /// What becomes of a word, which stands at the end of the bytes.
    fn fate(&mut self, start: usize, role: Role) -> Fate {
        let word = self.shape.bytes.get(start..).unwrap_or_default();
        match self.mode {
            Mode::Start => self.mode = Mode::of(word),
            Mode::Query if role == Role::Constant => {
                if self.shape.last() != Some(Piece::Word(Role::IsOrNot)) {
                    return Fate::Value;
                }
            }
            Mode::Rollback if word == b"to" => self.mode = Mode::Name(Named::Savepoint),
            Mode::Name(named) => {
                if named.keeps(word) {
                    if named == Named::Prepared {
                        self.mode = Mode::Plain;
                    }
                    return Fate::Word;
                }
                self.mode = named.after();
                return Fate::Value;
            }
            Mode::Fetch if !is_direction(word) => return Fate::Value,
            Mode::Set if self.shape.last() != Some(Piece::Byte(b'.')) => self.mode = self.set(word),
            Mode::Query
            | Mode::Plain
            | Mode::Rollback
            | Mode::Fetch
            | Mode::Set
            | Mode::Value
            | Mode::Rest => {}
        }
        Fate::Word
    }

    fn set(&self, word: &[u8]) -> Mode {
        let before = self
            .shape
            .tokens
            .last()
            .and_then(|token| self.shape.bytes.get(token.start as usize..token.end as usize));
        let before = before.unwrap_or_default();
        match word {
            b"to" => Mode::Value,
            b"zone" if before == b"time" => Mode::Value,
            b"role" if matches!(before, b"set" | b"local" | b"session") => Mode::Value,
            b"authorization" if before == b"session" => Mode::Value,
            b"transaction" => Mode::Plain,
            _ => Mode::Set,
        }
    }
}

enum Fate {
    Word,
    Value,
}

/// Would Postgres read this name without quotes as it stands?
fn is_plain(name: &[u8]) -> bool {
    matches!(name, [b'a'..=b'z' | b'_', rest @ ..]
        if rest.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')))
}
