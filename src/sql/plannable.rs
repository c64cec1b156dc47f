//! Which statements have a plan, and how a normalised text is written so that Postgres reads it again.

use super::lexer::{Backslashes, Lexer, Token, TokenKind};

/// What statements with a plan begin with; a parenthesis is before a SELECT.
const PLANNED: [&str; 8] =
    ["select", "insert", "update", "delete", "merge", "values", "with", "table"];

/// Types that stand before a literal in standard SQL and in the manual's examples: no other word that may stand
/// before a value is among them.
const TYPES: [&str; 40] = [
    "bit",
    "bool",
    "boolean",
    "box",
    "bpchar",
    "bytea",
    "char",
    "cidr",
    "circle",
    "date",
    "decimal",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "int8",
    "integer",
    "interval",
    "json",
    "jsonb",
    "lseg",
    "macaddr",
    "money",
    "name",
    "numeric",
    "path",
    "point",
    "polygon",
    "regclass",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "tsquery",
    "tsvector",
    "uuid",
    "varchar",
    "xml",
];

/// Does the text begin as a statement does that Postgres plans?
#[must_use]
pub fn has_plan(sql: &[u8]) -> bool {
    let tokens = Lexer::new(sql, Backslashes::Literal).without_comments();
    let mut tokens = tokens.filter(|token| !token.is_byte(sql, b'('));
    tokens.next().is_some_and(|first| PLANNED.iter().any(|word| first.is_word(sql, word)))
}

/// A normalised text with a type before a parameter, where only a literal can have one, written behind it:
/// `interval $1` becomes `$1::interval`.
#[must_use]
pub fn typed(text: &str) -> String {
    let sql = text.as_bytes();
    let tokens: Vec<_> = Lexer::new(sql, Backslashes::Literal).without_comments().collect();
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    for (at, parameter) in tokens.iter().enumerate() {
        if parameter.kind != TokenKind::Parameter {
            continue;
        }
        let Some(first) = type_before(&tokens[..at], sql) else { continue };
        let (Some(between), Some(kind), Some(value)) = (
            text.get(copied..first.start),
            text.get(first.start..parameter.start),
            text.get(parameter.start..parameter.end),
        ) else {
            continue;
        };
        out.push_str(between);
        out.push_str(value);
        out.push_str("::");
        out.push_str(kind.trim_end());
        copied = parameter.end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// Stands for a constant that is not shown.
pub const MASK: &str = "…";

/// A part of a plan with [`MASK`] for every string and number that stands for a value.
#[must_use]
pub fn without_constants(text: &str) -> String {
    let sql = text.as_bytes();
    let tokens: Vec<Token> = Lexer::new(sql, Backslashes::Literal).collect();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let is_name = before.is_some_and(|before| {
            ["subplan", "initplan", "cte"].iter().any(|word| before.is_word(sql, word))
        });
        let mask = match token.kind {
            TokenKind::Number if !is_name => MASK.to_owned(),
            TokenKind::String(_) => format!("'{MASK}'"),
            TokenKind::Number
            | TokenKind::Word
            | TokenKind::QuotedIdentifier
            | TokenKind::UnicodeIdentifier
            | TokenKind::Parameter
            | TokenKind::Operator
            | TokenKind::Punctuation
            | TokenKind::Comment => continue,
        };
        out.push_str(text.get(copied..token.start).unwrap_or_default());
        out.push_str(&mask);
        copied = token.end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// The first token of the type that these tokens end with, if they do.
fn type_before<'a>(tokens: &'a [Token], sql: &[u8]) -> Option<&'a Token> {
    let before = |back: usize| tokens.len().checked_sub(back).and_then(|at| tokens.get(at));
    let is = |back: usize, word: &str| before(back).is_some_and(|token| token.is_word(sql, word));
    let first = if is(1, "precision") && is(2, "double") {
        2
    } else if is(1, "zone") && is(2, "time") && (is(3, "with") || is(3, "without")) {
        // `AT TIME ZONE $1` has neither of them.
        4
    } else {
        1
    };
    let token = before(first)?;
    if first == 2 {
        return Some(token);
    }
    // A column may have such a name; then it stands behind a dot, and a value never behind it.
    let is_qualified = before(first + 1).is_some_and(|token| token.is_byte(sql, b'.'));
    let is_type = TYPES.iter().any(|kind| token.is_word(sql, kind));
    (is_type && !is_qualified).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_begins_so() {
        for sql in [
            "select 1",
            " /* x */ (SELECT 1) UNION (SELECT 2)",
            "With x as (select 1) delete from t",
            "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
            "TABLE t",
        ] {
            assert!(has_plan(sql.as_bytes()), "{sql}");
        }
        for sql in ["", "begin", "CREATE TABLE t AS SELECT 1", "EXPLAIN SELECT 1", "\"select\" 1"] {
            assert!(!has_plan(sql.as_bytes()), "{sql}");
        }
    }

    #[test]
    fn a_type_before_a_parameter_goes_behind_it() {
        for (text, expected) in [
            ("select now() - interval $1", "select now() - $1::interval"),
            ("select interval $1 day", "select $1::interval day"),
            ("select date $1, timestamp $2", "select $1::date, $2::timestamp"),
            (
                "select timestamp with time zone $1 at time zone $2",
                "select $1::timestamp with time zone at time zone $2",
            ),
            ("where x = double precision $1", "where x = $1::double precision"),
        ] {
            assert_eq!(typed(text), expected);
        }
    }

    #[test]
    fn constants_of_a_plan_are_masked_and_nothing_else() {
        for (text, expected) in [
            ("((o.id = 7) AND (o.note = 'it''s'::text))", "((o.id = …) AND (o.note = '…'::text))"),
            ("(o.made > (now() - '1 day'::interval))", "(o.made > (now() - '…'::interval))"),
            ("(o.x = $1)", "(o.x = $1)"),
            ("(hashed SubPlan 1)", "(hashed SubPlan 1)"),
            ("o2.\"7\"", "o2.\"7\""),
            ("(a[3] = '{1,2}'::integer[])", "(a[…] = '…'::integer[])"),
            ("'never closed", "'…'"),
        ] {
            assert_eq!(without_constants(text), expected);
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "select * from t where date = $1 and t.time between $2 and $3",
            "select x at time zone $1",
            "select * from t where id in ($1 /*, ... */) limit $2",
            "select 'é', $1",
            "",
        ] {
            assert_eq!(typed(text), text);
        }
    }
}
