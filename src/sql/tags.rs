//! What applications say of themselves in comments of their statements: SQLCommenter's tags, marginalia's and
//! Datadog's, in the forms that are seen on the wire. Pure; which of them are kept is said by the caller.

use std::ops::Range;

use memchr::{memmem, memrchr};

use super::trace::TraceParent;

/// The longest comment that is read, in bytes.
pub const COMMENT_LIMIT: usize = 2 * 1024;

/// The most tags that are read of one comment.
pub const MOST_TAGS: usize = 32;

/// The longest value that is kept, in bytes; longer ones are cut.
pub const VALUE_LIMIT: usize = 200;

/// Keys that say that a comment was written by a tool that tags, whether they are kept or not.
const WELL_KNOWN: [&str; 22] = [
    "route",
    "controller",
    "action",
    "job",
    "application",
    "app_name",
    "framework",
    "db_driver",
    "traceparent",
    "tracestate",
    "request_id",
    "nplusone",
    "dddbs",
    "ddps",
    "dde",
    "ddpv",
    "ddh",
    "dddb",
    "ddprs",
    "endpoint_id",
    "source_location",
    "pid",
];

/// Names that others give to a key.
const ALIASES: [(&str, &str); 3] =
    [("app_name", "application"), ("app", "application"), ("ddps", "application")];

/// A text without the comments at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edges {
    /// The comment that the text begins with.
    pub first: Option<Range<usize>>,
    /// What stands between them.
    pub body: Range<usize>,
    /// The comment that the text ends with, before a closing semicolon perhaps.
    pub last: Option<Range<usize>>,
}

/// What the comments of a statement say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Keys that were asked for, with their values.
    pub pairs: Vec<(Box<str>, Box<str>)>,
    /// The trace that the statement belongs to.
    pub trace: Option<TraceParent>,
    /// The request that it belongs to.
    pub request: Option<Box<str>>,
    /// Whether the application says that repeating it is meant.
    pub repeats: Repeats,
}

/// May a statement repeat within a request?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// Nothing was said.
    #[default]
    Unsaid,
    /// `nplusone='ok'`: it is known.
    Known,
}

impl Edges {
    /// Finds comments at the ends of a text by looking at its ends only. They are such in every text that
    /// Postgres accepts: of what ends in `*/`, only a comment can.
    #[inline]
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let mut body = trimmed(text, 0..text.len());
        let first = leading(&text[body.clone()]).map(|end| body.start..body.start + end);
        if let Some(first) = &first {
            body = trimmed(text, first.end..body.end);
        }
        let last = trailing(&text[body.clone()]).map(|start| body.start + start..body.end);
        if let Some(last) = &last {
            body = trimmed(text, body.start..last.start);
        }
        Self { first, body, last }
    }

    /// Has it none?
    #[inline]
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.first.is_none() && self.last.is_none()
    }
}

/// Without white space around it, and without semicolons behind it.
#[inline]
fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let Range { mut start, mut end } = range;
    while start < end && text[start].is_ascii_whitespace() {
        start += 1;
    }
    while start < end && matches!(text[end - 1], b' ' | b'\t' | b'\n' | b'\r' | b';' | 0) {
        end -= 1;
    }
    start..end
}

/// Behind the comment at the start, if there is one without another in it.
#[inline]
fn leading(text: &[u8]) -> Option<usize> {
    let inside = text.strip_prefix(b"/*")?;
    let end = memmem::find(inside.get(..COMMENT_LIMIT).unwrap_or(inside), b"*/")?;
    memmem::find(&inside[..end], b"/*").is_none().then_some(end + 4)
}

/// Where the comment at the end begins, if there is one without another in it.
#[inline]
fn trailing(text: &[u8]) -> Option<usize> {
    let inside = text.strip_suffix(b"*/")?;
    let from = inside.len().saturating_sub(COMMENT_LIMIT);
    let mut upto = inside.len();
    loop {
        let slash = from + memrchr(b'/', &inside[from..upto])?;
        match (inside.get(slash + 1), slash.checked_sub(1).map(|before| inside[before])) {
            // Of `*/*` only a reader from the front knows which it is.
            (_, Some(b'*')) => return None,
            (Some(b'*'), _) => return Some(slash),
            _ => upto = slash,
        }
    }
}

impl Tags {
    /// What these comments say; of two that say the same the later one counts. `wanted`: is a key kept?
    #[must_use]
    pub fn read<'a>(
        comments: impl IntoIterator<Item = &'a [u8]>,
        wanted: impl Fn(&str) -> bool,
    ) -> Self {
        let mut tags = Self::default();
        for comment in comments {
            each(comment, |key, value| tags.note(key, value, &wanted));
        }
        tags
    }

    fn note(&mut self, key: &str, value: String, wanted: &impl Fn(&str) -> bool) {
        match key {
            "traceparent" => self.trace = value.parse().ok().or(self.trace),
            "request_id" => self.request = Some(value.as_str().into()),
            "nplusone" if value == "ok" => self.repeats = Repeats::Known,
            _ => {}
        }
        if wanted(key) {
            self.put(key, value);
        } else if let Some((_, usual)) = ALIASES.iter().find(|(alias, _)| *alias == key)
            && wanted(usual)
            && self.get(usual).is_none()
        {
            self.put(usual, value);
        }
    }

    fn put(&mut self, key: &str, value: String) {
        match self.pairs.iter_mut().find(|(known, _)| **known == *key) {
            Some((_, old)) => *old = value.into(),
            None => self.pairs.push((key.into(), value.into())),
        }
    }

    /// The value of a key that was asked for.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| **known == *key).map(|(_, value)| &**value)
    }

    /// Do they say nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Which part of the application it is: its route, else `controller#action`, else its job.
    #[must_use]
    pub fn route(&self) -> Option<String> {
        let action = || match (self.get("controller"), self.get("action")) {
            (Some(controller), Some(action)) => Some(format!("{controller}#{action}")),
            (controller, action) => controller.or(action).map(str::to_owned),
        };
        let owned = |value: &str| value.to_owned();
        self.get("route").map(owned).or_else(action).or_else(|| self.get("job").map(owned))
    }
}

/// Did a tool write this comment, and nothing else is in it? A hint of `pg_hint_plan` is none.
#[must_use]
pub fn is_tags(comment: &[u8]) -> bool {
    let mut known = false;
    let all = each(comment, |key, _| known |= WELL_KNOWN.contains(&key));
    known && all == Extent::Whole
}

/// Was all of a comment read?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Whole,
    Partly,
}

/// Gives the tags of a comment: `key='value'` or `key:value`, with commas. A pair that is broken is left out.
fn each(comment: &[u8], mut tag: impl FnMut(&str, String)) -> Extent {
    let inside = comment.strip_prefix(b"/*").and_then(|rest| rest.strip_suffix(b"*/"));
    let Some(mut rest) = inside.filter(|inside| inside.len() <= COMMENT_LIMIT) else {
        return Extent::Partly;
    };
    if rest.first() == Some(&b'+') {
        return Extent::Partly;
    }
    let mut extent = Extent::Whole;
    for _ in 0..MOST_TAGS {
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b',');
        let Some(start) = start else { return extent };
        let (key, value, behind) = pair(&rest[start..]);
        rest = behind;
        let read = key.and_then(decoded).zip(value.and_then(decoded));
        match read {
            Some((key, value)) => tag(key.to_ascii_lowercase().trim(), value),
            None => extent = Extent::Partly,
        }
    }
    Extent::Partly
}

/// The pair at the start, and what is behind it.
fn pair(text: &[u8]) -> (Option<&[u8]>, Option<&[u8]>, &[u8]) {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-%".contains(byte);
    let end = text.iter().position(|byte| !name(byte)).unwrap_or(text.len());
    let (key, behind) = text.split_at(end);
    let next = || {
        let comma = text.iter().position(|byte| *byte == b',').unwrap_or(text.len());
        &text[comma..]
    };
    match behind.trim_ascii_start() {
        [b'=', value @ ..] if end > 0 => match value.trim_ascii_start() {
            [b'\'', quoted @ ..] => match closing_quote(quoted) {
                Some(close) => (Some(key), Some(&quoted[..close]), &quoted[close + 1..]),
                None => (None, None, next()),
            },
            plain => bare(key, plain),
        },
        [b':', value @ ..] if end > 0 => bare(key, value),
        _ => (None, None, next()),
    }
}

fn bare<'a>(key: &'a [u8], value: &'a [u8]) -> (Option<&'a [u8]>, Option<&'a [u8]>, &'a [u8]) {
    let comma = value.iter().position(|byte| *byte == b',').unwrap_or(value.len());
    (Some(key), Some(value[..comma].trim_ascii()), &value[comma..])
}

/// The quote that ends a value: one without a backslash before it.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'\'' => return Some(at),
            _ => at += 1,
        }
    }
}

/// A value as it was before it was written: `%2F`, `%%2F` (doubled for a driver that did not undo it) and `\'`.
fn decoded(written: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match byte {
            b'\\' if behind.first() == Some(&b'\'') => {}
            b'%' => {
                let digits = behind.strip_prefix(b"%").unwrap_or(behind);
                match hex(digits) {
                    Some(value) => {
                        bytes.push(value);
                        rest = &digits[2..];
                    }
                    None => {
                        bytes.push(b'%');
                        rest = digits;
                    }
                }
            }
            _ => bytes.push(*byte),
        }
    }
    let mut text = String::from_utf8(bytes).ok()?;
    // The example in OpenTelemetry's specification ends one so.
    let end = text.trim_end_matches(',').len();
    let cut = (0..=VALUE_LIMIT.min(end)).rev().find(|at| text.is_char_boundary(*at))?;
    text.truncate(cut);
    (!text.is_empty()).then_some(text)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = digits else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    // Two digits make a byte.
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

#[cfg(test)]
#[path = "tags_tests.rs"]
mod tests;
