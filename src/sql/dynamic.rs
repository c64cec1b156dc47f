//! What a string says that PL/pgSQL executes, as far as it is certain before it runs: literals, and between them names
//! and values that are quoted.

use super::lexer::{StringForm, TokenKind};
use super::tokens::Words;

/// Stands for a name that is known only when it runs. No digits or capitals: it is read as any other.
pub(super) const ANY_NAME: &str = "pooler_any_name";

/// Stands for a value: a parameter, which is no constant to anybody who reads.
const ANY_VALUE: &str = " $1 ";

/// Words behind which a name with a parenthesis is a table, and no function that is called.
const TABLES: [&str; 5] = ["into", "table", "exists", "on", "references"];

/// Variables of triggers that hold names.
const TRIGGER_NAMES: [&str; 4] = ["tg_table_name", "tg_table_schema", "tg_relname", "tg_name"];

/// What is executed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// In SQL.
    pub(super) text: String,
    /// Does it name what is known only when it runs?
    pub(super) names_any: bool,
}

/// What the operand of an EXECUTE says; `None` if it may say anything.
pub(super) fn said(operand: &Words<'_, '_>) -> Option<Said> {
    let mut text = String::new();
    for part in parts(operand) {
        text.push_str(&one(&part)?);
    }
    let names_any = text.contains(ANY_NAME);
    if text.is_empty() || names_any && calls_any(&text) {
        return None;
    }
    Some(Said { text, names_any })
}

/// The operands of `||`.
fn parts<'s, 't>(words: &Words<'s, 't>) -> Vec<Words<'s, 't>> {
    let mut parts = Vec::new();
    let (mut from, mut depth) = (0, 0_u32);
    for at in 0..words.tokens.len() {
        match words.text(at) {
            Some(b"(" | b"[") => depth += 1,
            Some(b")" | b"]") => depth = depth.saturating_sub(1),
            Some(b"||") if depth == 0 => {
                parts.push(Words { sql: words.sql, tokens: &words.tokens[from..at] });
                from = at + 1;
            }
            Some(_) | None => {}
        }
    }
    parts.push(Words { sql: words.sql, tokens: &words.tokens[from..] });
    parts
}

fn one(part: &Words<'_, '_>) -> Option<String> {
    let last = part.tokens.len().checked_sub(1)?;
    if part.is_mark(0, b'(') && part.is_mark(last, b')') {
        return said(&Words { sql: part.sql, tokens: &part.tokens[1..last] }).map(|said| said.text);
    }
    if last == 0 {
        let name = part.keyword(0);
        if name.is_some_and(|name| TRIGGER_NAMES.contains(&&*name)) {
            return Some(ANY_NAME.to_owned());
        }
        return literal(part, 0);
    }
    // `x::regclass` is quoted where it must be.
    if part.is(last, "regclass") && part.text(last - 1) == Some(b"::") {
        return Some(ANY_NAME.to_owned());
    }
    let at = if part.is(0, "pg_catalog") && part.is_mark(1, b'.') { 2 } else { 0 };
    let is_call = part.is_mark(at + 1, b'(') && part.is_mark(last, b')');
    let only = part.arguments(at + 2).iter().map(std::ops::Range::len).sum::<usize>();
    let commas = part.arguments(at + 2).len().saturating_sub(1);
    if !is_call || at + 2 + only + commas != last {
        return None;
    }
    match part.keyword(at).as_deref()? {
        "format" => format(&literal(part, at + 2)?),
        "quote_ident" => Some(ANY_NAME.to_owned()),
        "quote_literal" | "quote_nullable" => Some(ANY_VALUE.to_owned()),
        _ => None,
    }
}

/// What a string constant says, if no setting is asked what it says.
fn literal(words: &Words<'_, '_>, at: usize) -> Option<String> {
    let text = std::str::from_utf8(words.text(at)?).ok()?;
    match words.kind(at)? {
        TokenKind::String(StringForm::Plain) => {
            let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
            let plain = !inner.contains('\\') && !inner.replace("''", "").contains('\'');
            plain.then(|| inner.replace("''", "'"))
        }
        TokenKind::String(StringForm::Dollar) => {
            let tag = text.get(..text.get(1..)?.find('$')? + 2)?;
            Some(text.strip_prefix(tag)?.strip_suffix(tag)?.to_owned())
        }
        TokenKind::String(StringForm::Escape | StringForm::Unicode | StringForm::Bits)
        | TokenKind::Word
        | TokenKind::QuotedIdentifier
        | TokenKind::UnicodeIdentifier
        | TokenKind::Number
        | TokenKind::Parameter
        | TokenKind::Operator
        | TokenKind::Punctuation
        | TokenKind::Comment => None,
    }
}

/// What `format()` makes of a text: `%I` and `%L` quote, `%s` may be anything.
fn format(text: &str) -> Option<String> {
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        made.push_str(before);
        // `%2$-10I`: position, flag and width.
        let kind = behind.trim_start_matches(|c: char| c.is_ascii_digit() || "$-*".contains(c));
        let letter = kind.chars().next()?;
        made.push_str(match letter {
            'I' => ANY_NAME,
            'L' => ANY_VALUE,
            '%' => "%",
            _ => return None,
        });
        rest = &kind[letter.len_utf8()..];
    }
    made.push_str(rest);
    Some(made)
}

/// Is a function called whose name is known only when it runs?
fn calls_any(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.match_indices(ANY_NAME).any(|(at, _)| {
        let behind = lower[at + ANY_NAME.len()..].trim_start();
        if !behind.starts_with('(') {
            return false;
        }
        // A schema may stand in front.
        let name =
            lower[..at].trim_end_matches(|c: char| c == '.' || c == '_' || c.is_alphanumeric());
        let before = name.trim_end().rsplit(|c: char| !c.is_alphanumeric()).next();
        !before.is_some_and(|word| TABLES.contains(&word))
    })
}

#[cfg(test)]
mod tests {
    use super::super::lexer::{Backslashes, Lexer};
    use super::*;

    fn text(operand: &str) -> Option<String> {
        let sql = operand.as_bytes();
        let tokens: Vec<_> = Lexer::new(sql, Backslashes::Literal).collect();
        said(&Words { sql, tokens: &tokens }).map(|said| said.text)
    }

    #[test]
    fn what_is_quoted_is_a_name_or_a_value() {
        for (operand, wanted) in [
            ("'SET x = 1'", Some("SET x = 1")),
            ("('a ''b''')", Some("a 'b'")),
            ("$q$a 'b'$q$", Some("a 'b'")),
            ("format('LOCK %I', x)", Some("LOCK pooler_any_name")),
            ("pg_catalog.format('a %1$L %% %2$I', f(x, y), z)", Some("a  $1  % pooler_any_name")),
            (
                "'INSERT INTO ' || quote_ident(t) || '(a) VALUES (1)'",
                Some("INSERT INTO pooler_any_name(a) VALUES (1)"),
            ),
            ("'LOCK ' || t::regclass", Some("LOCK pooler_any_name")),
            ("'LOCK ' || TG_TABLE_NAME", Some("LOCK pooler_any_name")),
            (
                "format('INSERT INTO %I.%I (a) SELECT 1', s, t)",
                Some("INSERT INTO pooler_any_name.pooler_any_name (a) SELECT 1"),
            ),
            ("format('SELECT %I()', f)", None),
            ("format('SELECT %I.f(), s.%I(1)', f)", None),
            ("format('SELECT %s', f)", None),
            ("format(f, 'x')", None),
            ("'SELECT ' || f", None),
            ("f", None),
            ("f('x')", None),
            ("format('a') || f(')')", None),
            (r"E'\x53ET x'", None),
            ("'a'\n'b'", None),
            ("", None),
        ] {
            assert_eq!(text(operand).as_deref(), wanted, "{operand}");
        }
    }
}
