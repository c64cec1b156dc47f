//! Cuts the bytes of a statement into Postgres' tokens. What they mean is left to others.

use memchr::{memchr, memchr2, memmem};

/// Whether a backslash in a string without a prefix is a byte like others or hides the next one.
///
/// Follows the setting `standard_conforming_strings`, which Postgres reports:
/// <https://www.postgresql.org/docs/current/runtime-config-compatible.html>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backslashes {
    /// `standard_conforming_strings = on`, the default since 9.1.
    #[default]
    Literal,
    /// `standard_conforming_strings = off`: every plain string is read like `E'…'`.
    Escape,
}

impl Backslashes {
    /// From the reported value of `standard_conforming_strings`.
    pub fn from_setting(value: &[u8]) -> Self {
        if value.eq_ignore_ascii_case(b"off") { Self::Escape } else { Self::Literal }
    }
}

/// How a string literal was written; the prefix and the quotes are part of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringForm {
    /// `'…'` or `N'…'`; backslashes as the session has it.
    Plain,
    /// `E'…'`, where backslashes escape.
    Escape,
    /// `U&'…'`, with its `UESCAPE 'c'` if there is one.
    Unicode,
    /// `B'…'` or `X'…'`.
    Bits,
    /// `$tag$…$tag$`.
    Dollar,
}

/// What a token is. Its bytes are as the client wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A keyword or an unquoted name, in the case it was written in.
    Word,
    /// `"…"`, quotes included, `""` still doubled.
    QuotedIdentifier,
    /// `U&"…"`, with its `UESCAPE 'c'` if there is one.
    UnicodeIdentifier,
    /// A number without a sign.
    Number,
    /// A string literal; pieces that only a line break separates are one.
    String(StringForm),
    /// `$1`
    Parameter,
    /// One of Postgres' operators, in full: `->>`, `<=`, `*`.
    Operator,
    /// One byte of `( ) [ ] , ; . :`, or `::` or `:=`, or a byte that means nothing to Postgres.
    Punctuation,
    /// `-- …` without its line break, or `/* … */`, nested ones included.
    Comment,
}

/// A piece of the text: `sql[start..end]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where its first byte stands.
    pub start: usize,
    /// Behind its last byte; always more than `start`.
    pub end: usize,
}

impl Token {
    /// Its bytes, given the text that was lexed.
    pub fn bytes<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        sql.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether it is this word, in any case. A quoted identifier is never a keyword.
    pub fn is_word(&self, sql: &[u8], word: &str) -> bool {
        self.kind == TokenKind::Word && self.bytes(sql).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether it is this one byte of punctuation.
    pub fn is_byte(&self, sql: &[u8], byte: u8) -> bool {
        self.kind == TokenKind::Punctuation && self.bytes(sql) == [byte]
    }
}

/// The tokens of a text, in order: white space is left out, comments are not.
///
/// ```
/// use pooler::sql::lexer::{Backslashes, Lexer};
/// let sql = b"SET x /* why */ = 'y'";
/// let mut tokens = Lexer::new(sql, Backslashes::Literal).without_comments();
/// assert!(tokens.next().is_some_and(|token| token.is_word(sql, "set")));
/// assert_eq!(tokens.next().map(|token| token.bytes(sql)), Some(&b"x"[..]));
/// ```
///
/// It never fails: any bytes are tokens, whatever their encoding, and what is never closed runs to the end
/// of the text, after which [`Lexer::incomplete`] says so (iterate over `by_ref()` to ask). It allocates nothing and takes time in proportion to the text. The
/// rules are those of Postgres' `src/backend/parser/scan.l`.
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
    /// Up to here there are signs only, each an operator of its own, given back by a longer run.
    signs_until: usize,
    backslashes: Backslashes,
    incomplete: bool,
}

/// What a byte can begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Letter,
    Digit,
    Quote,
    DoubleQuote,
    Dollar,
    Dot,
    Colon,
    Operator,
    Other,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class_of(byte as u8);
        byte += 1;
    }
    classes
};

const fn class_of(byte: u8) -> Class {
    match byte {
        // NUL cannot be in a statement that Postgres reads; it separates, if it ever comes here.
        0 | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Space,
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        b'\'' => Class::Quote,
        b'"' => Class::DoubleQuote,
        b'$' => Class::Dollar,
        b'.' => Class::Dot,
        b':' => Class::Colon,
        b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=' | b'~' | b'!' | b'@' | b'#' | b'%'
        | b'^' | b'&' | b'|' | b'`' | b'?' => Class::Operator,
        _ => Class::Other,
    }
}

fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

/// With one of these in it an operator may end in a sign: `scan.l`, rule `{operator}`.
fn allows_trailing_sign(byte: u8) -> bool {
    matches!(byte, b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?')
}

fn continues_word(byte: u8) -> bool {
    matches!(class(byte), Class::Letter | Class::Digit | Class::Dollar)
}

impl<'a> Lexer<'a> {
    /// A lexer at the start of the text.
    pub fn new(sql: &'a [u8], backslashes: Backslashes) -> Self {
        Self { sql, at: 0, signs_until: 0, backslashes, incomplete: false }
    }

    /// The tokens but for comments.
    pub fn without_comments(self) -> impl Iterator<Item = Token> {
        self.filter(|token| token.kind != TokenKind::Comment)
    }

    /// Whether the text ended within a string, a quoted identifier or a comment. Known once the last token
    /// was given.
    pub fn incomplete(&self) -> bool {
        self.incomplete
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.sql.get(at).copied()
    }

    fn rest(&self, from: usize) -> &'a [u8] {
        self.sql.get(from..).unwrap_or_default()
    }

    /// Behind the bytes from `from` on that satisfy the condition.
    fn run(&self, from: usize, condition: impl Fn(u8) -> bool) -> usize {
        let rest = self.rest(from);
        from + rest.iter().position(|byte| !condition(*byte)).unwrap_or(rest.len())
    }

    fn unterminated(&mut self) -> usize {
        self.incomplete = true;
        self.sql.len()
    }

    fn scan(&mut self, first: u8) -> (TokenKind, usize) {
        let at = self.at;
        match class(first) {
            Class::Letter => self.word(first),
            Class::Digit => (TokenKind::Number, self.number()),
            Class::Quote => self.string(StringForm::Plain, at),
            Class::DoubleQuote => (TokenKind::QuotedIdentifier, self.quoted_identifier(at)),
            Class::Dollar => self.dollar(),
            Class::Dot if self.byte(at + 1).is_some_and(|byte| byte.is_ascii_digit()) => {
                (TokenKind::Number, self.number())
            }
            Class::Colon if matches!(self.byte(at + 1), Some(b':' | b'=')) => {
                (TokenKind::Punctuation, at + 2)
            }
            Class::Operator => self.operator(),
            Class::Dot | Class::Colon | Class::Other | Class::Space => {
                (TokenKind::Punctuation, at + 1)
            }
        }
    }

    fn word(&mut self, first: u8) -> (TokenKind, usize) {
        let at = self.at;
        match (first, self.byte(at + 1), self.byte(at + 2)) {
            (b'e' | b'E', Some(b'\''), _) => self.string(StringForm::Escape, at + 1),
            (b'n' | b'N', Some(b'\''), _) => self.string(StringForm::Plain, at + 1),
            (b'b' | b'B' | b'x' | b'X', Some(b'\''), _) => self.string(StringForm::Bits, at + 1),
            (b'u' | b'U', Some(b'&'), Some(b'\'')) => self.string(StringForm::Unicode, at + 2),
            (b'u' | b'U', Some(b'&'), Some(b'"')) => {
                let end = self.quoted_identifier(at + 2);
                (TokenKind::UnicodeIdentifier, self.unicode_escape(end))
            }
            _ => (TokenKind::Word, self.run(at + 1, continues_word)),
        }
    }

    /// Behind a string whose opening quote stands at `quote`.
    fn string(&mut self, form: StringForm, quote: usize) -> (TokenKind, usize) {
        let escapes = match form {
            StringForm::Plain => self.backslashes,
            StringForm::Escape => Backslashes::Escape,
            StringForm::Unicode | StringForm::Bits | StringForm::Dollar => Backslashes::Literal,
        };
        let mut end = self.quoted(quote, escapes);
        while !self.incomplete
            && let Some(next) = self.continued(end)
        {
            end = self.quoted(next, escapes);
        }
        if form == StringForm::Unicode {
            end = self.unicode_escape(end);
        }
        (TokenKind::String(form), end)
    }

    /// Behind the closing quote; `''` is a quote within.
    fn quoted(&mut self, quote: usize, escapes: Backslashes) -> usize {
        let mut at = quote + 1;
        loop {
            let rest = self.rest(at);
            let found = match escapes {
                Backslashes::Literal => memchr(b'\'', rest),
                Backslashes::Escape => memchr2(b'\'', b'\\', rest),
            };
            let Some(found) = found else { return self.unterminated() };
            match (rest[found], self.byte(at + found + 1)) {
                (b'\\', None) => return self.unterminated(),
                (b'\\', Some(_)) | (_, Some(b'\'')) => at += found + 2,
                _ => return at + found + 1,
            }
        }
    }

    /// Where the next piece of a string opens: behind white space that holds a line break, in which line
    /// comments may stand (`scan.l`, `quotecontinue`).
    fn continued(&self, end: usize) -> Option<usize> {
        let mut at = end;
        let mut line_break_at = None;
        loop {
            match self.byte(at)? {
                b'\n' | b'\r' => {
                    line_break_at = Some(at);
                    at += 1;
                }
                b' ' | b'\t' | 0x0b | 0x0c => at += 1,
                b'-' if self.byte(at + 1) == Some(b'-') => at = self.line_comment(at),
                b'\'' => return line_break_at.map(|_| at),
                _ => return None,
            }
        }
    }

    /// Behind `UESCAPE 'c'` if that is next.
    fn unicode_escape(&self, end: usize) -> usize {
        const KEYWORD: &[u8] = b"uescape";
        let word = self.run(end, |byte| class(byte) == Class::Space);
        let Some(written) = self.sql.get(word..word + KEYWORD.len()) else { return end };
        if !written.eq_ignore_ascii_case(KEYWORD) {
            return end;
        }
        let quote = self.run(word + KEYWORD.len(), |byte| class(byte) == Class::Space);
        // One byte that is not a quote, between quotes.
        match self.rest(quote) {
            [b'\'', byte, b'\'', ..] if *byte != b'\'' => quote + 3,
            _ => end,
        }
    }

    fn quoted_identifier(&mut self, quote: usize) -> usize {
        let mut at = quote + 1;
        loop {
            let Some(found) = memchr(b'"', self.rest(at)) else { return self.unterminated() };
            at += found + 1;
            if self.byte(at) != Some(b'"') {
                return at;
            }
            at += 1;
        }
    }

    /// A parameter, a string in dollars or a lone dollar sign.
    fn dollar(&mut self) -> (TokenKind, usize) {
        let at = self.at;
        let next = self.byte(at + 1).unwrap_or(b' ');
        if next.is_ascii_digit() {
            return (TokenKind::Parameter, self.run(at + 1, |byte| byte.is_ascii_digit()));
        }
        // The first byte of a tag is no digit, as was seen above.
        let tag = self.run(at + 1, |byte| matches!(class(byte), Class::Letter | Class::Digit));
        if self.byte(tag) != Some(b'$') {
            return (TokenKind::Punctuation, at + 1);
        }
        let (delimiter, inside) = (&self.sql[at..=tag], tag + 1);
        let end = match memmem::find(self.rest(inside), delimiter) {
            Some(found) => inside + found + delimiter.len(),
            None => self.unterminated(),
        };
        (TokenKind::String(StringForm::Dollar), end)
    }

    fn number(&self) -> usize {
        let at = self.at;
        let digits: fn(&u8) -> bool = match self.byte(at + 1) {
            Some(b'x' | b'X') => u8::is_ascii_hexdigit,
            Some(b'o' | b'O') => |byte| matches!(byte, b'0'..=b'7'),
            Some(b'b' | b'B') => |byte| matches!(byte, b'0' | b'1'),
            _ => |_| false,
        };
        if self.byte(at) == Some(b'0') {
            let first = at + 2 + usize::from(self.byte(at + 2) == Some(b'_'));
            let end = self.digits(first, digits);
            if end > first {
                return end;
            }
        }
        let mut end = self.digits(at, u8::is_ascii_digit);
        // `1..10` is a range of PL/pgSQL: the dots are no part of the number.
        if self.byte(end) == Some(b'.') && self.byte(end + 1) != Some(b'.') {
            end = self.digits(end + 1, u8::is_ascii_digit);
        }
        self.exponent(end)
    }

    /// Behind digits with single `_` between them.
    fn digits(&self, from: usize, digit: fn(&u8) -> bool) -> usize {
        let mut at = from;
        loop {
            let rest = self.rest(at);
            match rest {
                [byte, ..] if digit(byte) => at += 1,
                [b'_', byte, ..] if at > from && digit(byte) => at += 2,
                _ => return at,
            }
        }
    }

    fn exponent(&self, end: usize) -> usize {
        if !matches!(self.byte(end), Some(b'e' | b'E')) {
            return end;
        }
        let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
        let first = end + 1 + sign;
        let behind = self.digits(first, u8::is_ascii_digit);
        if behind > first { behind } else { end }
    }

    fn operator(&mut self) -> (TokenKind, usize) {
        let at = self.at;
        match self.rest(at) {
            [b'-', b'-', ..] => return (TokenKind::Comment, self.line_comment(at)),
            [b'/', b'*', ..] => return (TokenKind::Comment, self.block_comment(at)),
            _ => {}
        }
        if at < self.signs_until {
            return (TokenKind::Operator, at + 1);
        }
        let mut end = at + 1;
        while let [byte, tail @ ..] = self.rest(end)
            && class(*byte) == Class::Operator
            && !matches!((*byte, tail.first()), (b'-', Some(b'-')) | (b'/', Some(b'*')))
        {
            end += 1;
        }
        let run = &self.sql[at..end];
        if matches!(run, [.., b'+' | b'-']) && !run.iter().any(|byte| allows_trailing_sign(*byte)) {
            // What is given back holds signs only, and each of them would give back the rest again.
            self.signs_until = end;
            let signs = run.iter().rev().take_while(|byte| matches!(byte, b'+' | b'-')).count();
            end = at + (run.len() - signs).max(1);
        }
        (TokenKind::Operator, end)
    }

    /// Before the line break.
    fn line_comment(&self, at: usize) -> usize {
        memchr2(b'\n', b'\r', self.rest(at)).map_or(self.sql.len(), |found| at + found)
    }

    fn block_comment(&mut self, at: usize) -> usize {
        let mut depth = 1_usize;
        let mut at = at + 2;
        loop {
            let Some(found) = memchr2(b'*', b'/', self.rest(at)) else {
                return self.unterminated();
            };
            at += found;
            match self.rest(at) {
                [b'/', b'*', ..] => {
                    depth += 1;
                    at += 2;
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return at;
                    }
                }
                _ => at += 1,
            }
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        let first = loop {
            let byte = self.byte(self.at)?;
            if class(byte) != Class::Space {
                break byte;
            }
            self.at += 1;
        };
        let start = self.at;
        let (kind, end) = self.scan(first);
        self.at = end;
        Some(Token { kind, start, end })
    }
}

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;
