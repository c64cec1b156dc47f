//! Which functions a statement may call: the names before parentheses in its text, and in its plan, which has those of
//! views and policies, too.

use serde_json::Value;

use crate::sql::lexer::{Backslashes, Lexer, TokenKind};

/// Names of one statement.
const MOST_NAMES: usize = 200;

/// The names, each once, as the catalogs have them; none: there are too many.
#[must_use]
pub fn called(text: &str, plan: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    collect(text, &mut names)?;
    walk(&serde_json::from_str(plan).ok()?, &mut names)?;
    Some(names)
}

/// Is there the word INTO, as in SELECT INTO, which makes a table?
#[must_use]
pub fn has_into(text: &[u8]) -> bool {
    Lexer::new(text, Backslashes::Literal).any(|token| token.is_word(text, "into"))
}

fn walk(value: &Value, names: &mut Vec<String>) -> Option<()> {
    match value {
        Value::String(text) => collect(text, names),
        Value::Array(list) => list.iter().try_for_each(|value| walk(value, names)),
        Value::Object(map) => map.values().try_for_each(|value| walk(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(()),
    }
}

fn collect(text: &str, names: &mut Vec<String>) -> Option<()> {
    let sql = text.as_bytes();
    let tokens: Vec<_> = Lexer::new(sql, Backslashes::Literal).without_comments().collect();
    for pair in tokens.windows(2) {
        let [name, next] = pair else { continue };
        if !next.is_byte(sql, b'(') {
            continue;
        }
        let bytes = String::from_utf8_lossy(name.bytes(sql)).into_owned();
        let name = match name.kind {
            TokenKind::Word => bytes.to_ascii_lowercase(),
            TokenKind::QuotedIdentifier => bytes.trim_matches('"').replace("\"\"", "\""),
            // What it is called would have to be decoded.
            TokenKind::UnicodeIdentifier => return None,
            TokenKind::Number
            | TokenKind::String(_)
            | TokenKind::Parameter
            | TokenKind::Operator
            | TokenKind::Punctuation
            | TokenKind::Comment => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > MOST_NAMES {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn into_is_a_word() {
        assert!(has_into(b"SELECT 1 iNTo TEMP t"));
        assert!(!has_into(b"SELECT 'into', \"into\", into_it /* into */"));
    }

    #[test]
    fn names_before_parentheses_are_found_wherever_they_stand() {
        let plan = r#"[{"Plan": {"Filter": "(s.\"Tick\"() > 1)", "Output": ["nextval('a(b'::regclass)"]}}]"#;
        let text = "SELECT now(), Upper (x) /* f( */ , 'g(' FROM v WHERE id IN (1)";
        assert_eq!(called(text, plan).unwrap(), ["now", "upper", "in", "Tick", "nextval"]);
        assert_eq!(called("SELECT U&\"\\0066\"()", "[]"), None);
        let many: String = (0..=MOST_NAMES).map(|n| format!("f{n}()+")).collect();
        assert_eq!(called(&many, "[]"), None);
        assert_eq!(called("SELECT 1", "no plan"), None);
    }
}
