//! The tokens of one statement, and questions about them: which words it has, what it names, what a
//! function is called with.

use std::borrow::Cow;

use memchr::memchr2_iter;

use super::lexer::{StringForm, Token, TokenKind};

/// A call of `set_config` with longer arguments may set anything; a limit keeps the time for nested
/// calls in proportion to the text.
const MOST_ARGUMENT_TOKENS: usize = 256;

/// Postgres cuts names here (`NAMEDATALEN`).
pub const LONGEST_NAME: usize = 63;

/// The tokens of one statement.
pub(super) struct Words<'s, 't> {
    pub(super) sql: &'s [u8],
    pub(super) tokens: &'t [Token],
}

impl<'s, 't> Words<'s, 't> {
    /// The statements of a text, given its tokens; those of nothing among them.
    pub(super) fn statements(sql: &'s [u8], tokens: &'t [Token]) -> impl Iterator<Item = Self> {
        tokens.split(move |token| token.is_byte(sql, b';')).map(move |tokens| Self { sql, tokens })
    }
}

impl Words<'_, '_> {
    pub(super) fn text(&self, at: usize) -> Option<&[u8]> {
        Some(self.tokens.get(at)?.bytes(self.sql))
    }

    pub(super) fn kind(&self, at: usize) -> Option<TokenKind> {
        Some(self.tokens.get(at)?.kind)
    }

    /// The unquoted word at a place, in lower case.
    pub(super) fn keyword(&self, at: usize) -> Option<Box<str>> {
        (self.kind(at)? == TokenKind::Word).then(|| self.text(at).map(lower))?
    }

    /// The unquoted words from a place on, up to anything else.
    pub(super) fn keywords(&self, from: usize) -> impl Iterator<Item = Box<str>> {
        (from..self.tokens.len()).map_while(|at| self.keyword(at))
    }

    pub(super) fn is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_word(self.sql, word))
    }

    pub(super) fn is_mark(&self, at: usize, mark: u8) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_byte(self.sql, mark))
    }

    /// The tokens from a place on, as text that is the same for the same tokens.
    pub(super) fn rest(&self, from: usize) -> String {
        let tokens = self.tokens.get(from..).unwrap_or_default();
        let texts = tokens.iter().map(|token| String::from_utf8_lossy(token.bytes(self.sql)));
        texts.collect::<Vec<_>>().join(" ")
    }

    /// The schemas listed behind `=` or `TO` at a place, as Postgres shows them; `None`: not plain enough.
    pub(super) fn schemas(&self, at: usize) -> Option<Box<str>> {
        if !self.is_mark(at, b'=') && !self.is(at, "to") && !self.is_operator(at, b"=") {
            return None;
        }
        let mut path = String::new();
        for (index, token) in self.tokens.get(at + 1..)?.iter().enumerate() {
            if index % 2 == 1 {
                if !token.is_byte(self.sql, b',') {
                    return None;
                }
                path.push_str(", ");
                continue;
            }
            let text = std::str::from_utf8(token.bytes(self.sql)).ok()?;
            let name = match token.kind {
                TokenKind::Word => text.to_ascii_lowercase(),
                TokenKind::QuotedIdentifier | TokenKind::String(StringForm::Plain) => {
                    text.get(1..text.len().checked_sub(1)?)?.to_owned()
                }
                TokenKind::UnicodeIdentifier
                | TokenKind::String(_)
                | TokenKind::Number
                | TokenKind::Parameter
                | TokenKind::Operator
                | TokenKind::Punctuation
                | TokenKind::Comment => return None,
            };
            let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_';
            let starts = name.as_bytes().first().is_some_and(|b| !b.is_ascii_digit());
            if !starts || !name.as_bytes().iter().all(plain) || name.len() > LONGEST_NAME {
                return None;
            }
            path.push_str(&name);
        }
        (!path.is_empty() && !path.ends_with(' ')).then(|| path.into_boxed_str())
    }

    fn is_operator(&self, at: usize, operator: &[u8]) -> bool {
        self.kind(at) == Some(TokenKind::Operator) && self.text(at) == Some(operator)
    }

    /// Do these words stand somewhere one after the other?
    pub(super) fn has(&self, words: &[&str]) -> bool {
        (0..self.tokens.len())
            .any(|from| words.iter().enumerate().all(|(i, word)| self.is(from + i, word)))
    }

    /// `INTO [LOCAL | GLOBAL] TEMP`, or `TEMPORARY`: gram.y, `OptTempTableName`.
    pub(super) fn is_into_temporary(&self) -> bool {
        (0..self.tokens.len()).filter(|at| self.is(*at, "into")).any(|at| {
            let scoped = self.is(at + 1, "local") || self.is(at + 1, "global");
            let at = at + 1 + usize::from(scoped);
            self.is(at, "temp") || self.is(at, "temporary")
        })
    }

    /// Does something have this name?
    pub(super) fn names(&self, name: &str) -> bool {
        let span = match self.tokens {
            [first, .., last] => &self.sql[first.start..last.end],
            [only] => only.bytes(self.sql),
            [] => &[],
        };
        finds(span, name.as_bytes(), 3)
            && (0..self.tokens.len()).any(|at| self.name(at).is_some_and(|n| *n == *name))
    }

    /// The identifier at a place, quoted or not, as Postgres knows it.
    pub(super) fn name(&self, at: usize) -> Option<Box<str>> {
        let text = self.text(at)?;
        match self.kind(at)? {
            TokenKind::Word => Some(lower(text)),
            TokenKind::QuotedIdentifier => {
                let inner = text.strip_prefix(b"\"")?;
                let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
                Some(String::from_utf8_lossy(inner).replace("\"\"", "\"").into_boxed_str())
            }
            TokenKind::UnicodeIdentifier
            | TokenKind::Number
            | TokenKind::String(_)
            | TokenKind::Parameter
            | TokenKind::Operator
            | TokenKind::Punctuation
            | TokenKind::Comment => None,
        }
    }

    /// The same as Postgres keeps it, if that is not longer than `longest`.
    pub(super) fn kept_name<'b>(
        &self,
        at: usize,
        longest: usize,
        room: &'b mut [u8; LONGEST_NAME],
    ) -> Option<Cow<'b, str>> {
        let text = self.text(at)?;
        if self.kind(at)? != TokenKind::Word || text.len() > LONGEST_NAME {
            let name = self.name(at)?;
            return Some(Cow::Owned(cut(&name).to_owned()));
        }
        if text.len() > longest {
            return None;
        }
        let room = &mut room[..text.len()];
        room.copy_from_slice(text);
        room.make_ascii_lowercase();
        Some(String::from_utf8_lossy(room))
    }

    /// The setting named at a place: `name`, `class.name`. Their case does not count.
    pub(super) fn setting(&self, at: usize) -> Option<Box<str>> {
        let mut name = self.name(at)?.into_string();
        let mut next = at + 1;
        while self.is_mark(next, b'.') {
            name.push('.');
            name.push_str(&self.name(next + 1)?);
            next += 2;
        }
        name.make_ascii_lowercase();
        Some(name.into_boxed_str())
    }

    /// The same, by its name where it has words of its own.
    pub(super) fn setting_name(&self, at: usize) -> Option<Box<str>> {
        let name = self.setting(at)?;
        Some(match &*name {
            "time" if self.is(at + 1, "zone") => "timezone".into(),
            "names" => "client_encoding".into(),
            "schema" => "search_path".into(),
            "xml" => "xmloption".into(),
            _ => name,
        })
    }

    /// What a plain string constant says, in lower case; only what needs no unescaping.
    pub(super) fn string(&self, at: usize) -> Option<Box<str>> {
        if self.kind(at)? != TokenKind::String(StringForm::Plain) {
            return None;
        }
        let inner = self.text(at)?.strip_prefix(b"'")?.strip_suffix(b"'")?;
        let plain = inner.iter().all(|b| b.is_ascii_alphanumeric() || b"._- ".contains(b));
        plain.then(|| lower(inner))
    }

    /// The tokens of the first arguments of a call whose first one is at `from`.
    pub(super) fn arguments(&self, from: usize) -> Vec<std::ops::Range<usize>> {
        let mut arguments = Vec::new();
        let (mut start, mut depth) = (from, 0_u32);
        for at in (from..self.tokens.len()).take(MOST_ARGUMENT_TOKENS) {
            match self.text(at) {
                Some(b"(" | b"[") => depth += 1,
                Some(b")" | b"]") if depth > 0 => depth -= 1,
                Some(b")") => {
                    arguments.push(start..at);
                    break;
                }
                Some(b",") if depth == 0 => {
                    arguments.push(start..at);
                    start = at + 1;
                }
                _ => {}
            }
        }
        arguments
    }
}

/// A name as Postgres keeps it.
pub(super) fn cut(name: &str) -> &str {
    let mut end = name.len().min(LONGEST_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

fn lower(text: &[u8]) -> Box<str> {
    String::from_utf8_lossy(text).to_ascii_lowercase().into_boxed_str()
}

/// Finds a word in any case; `rare` is the place of the letter to look for.
pub(super) fn finds(text: &[u8], word: &[u8], rare: usize) -> bool {
    memchr2_iter(word[rare], word[rare].to_ascii_uppercase(), text)
        .any(|at| stands(text, at, (word, rare)))
}

/// Does a word, in any case, stand where its letter number `rare` is at `at`?
#[inline]
pub(super) fn stands(text: &[u8], at: usize, (word, rare): (&[u8], usize)) -> bool {
    at.checked_sub(rare)
        .and_then(|from| text.get(from..from + word.len()))
        .is_some_and(|found| found.eq_ignore_ascii_case(word))
}
