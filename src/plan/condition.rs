//! What a filter asks of which column, read from the text that Postgres writes for it (`ruleutils.c`): enough to
//! name an index, and nothing where that is not sure.

/// One of the conditions that a filter combines with AND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The column, without quotes.
    pub column: String,
    /// How the column stands in it.
    pub form: Form,
    /// What it is compared by.
    pub operator: Operator,
}

/// How a column stands in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// By itself.
    Plain,
    /// As another type.
    Cast {
        /// The type.
        kind: String,
    },
    /// Within a function or an expression.
    Wrapped {
        /// The expression, with the table's name left out.
        expression: String,
    },
}

/// What a column is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`, also to any of a list, and IS NULL.
    Equal,
    /// `<`, `<=`, `>`, `>=`.
    Range,
    /// LIKE.
    Like,
    /// ILIKE.
    CaseInsensitiveLike,
}

/// The conditions of a filter on the table of this alias that are understood; others are left out.
#[must_use]
pub fn terms(filter: &str, alias: &str) -> Vec<Term> {
    conjuncts(filter).into_iter().filter_map(|part| term(part, alias)).collect()
}

/// A column's name without a table and without quotes, if the text is one; `alias` is the table's.
#[must_use]
pub fn column<'a>(text: &'a str, alias: &str) -> Option<&'a str> {
    let text = unwrapped(text);
    let rest = text.strip_prefix(alias).or_else(|| text.strip_prefix(&*format!("\"{alias}\"")))?;
    let name = rest.strip_prefix('.')?;
    match name.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').filter(|name| !name.contains('"')),
        None => is_name(name).then_some(name),
    }
}

/// The column of this table that a join's condition compares by `=` with one of another; the first if there are more.
#[must_use]
pub fn joined_column<'a>(condition: &'a str, alias: &str) -> Option<&'a str> {
    conjuncts(condition).into_iter().find_map(|part| match words(part)[..] {
        [left, "=", right] => match (column(left, alias), column(right, alias)) {
            (Some(name), None) | (None, Some(name)) => Some(name),
            (Some(_), Some(_)) | (None, None) => None,
        },
        _ => None,
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$')
}

/// The parts between the ANDs at the top.
fn conjuncts(filter: &str) -> Vec<&str> {
    let text = unwrapped(filter);
    let words = words(text);
    if words.contains(&"OR") {
        return Vec::new();
    }
    if !words.contains(&"AND") {
        return vec![text];
    }
    let mut parts = Vec::new();
    let mut start = 0;
    for word in words.iter().filter(|word| **word == "AND") {
        let at = offset(text, word);
        parts.extend(text.get(start..at));
        start = at + word.len();
    }
    parts.extend(text.get(start..));
    parts.into_iter().flat_map(conjuncts).collect()
}

fn term(text: &str, alias: &str) -> Option<Term> {
    let text = unwrapped(text);
    let words = words(text);
    let (left, operator) = (*words.first()?, *words.get(1)?);
    let right = text.get(offset(text, operator) + operator.len()..)?.trim();
    let names = |side: &str| mentions(side, alias).is_some();
    // Postgres turns `7 = id` round only where an index makes it do so.
    let (side, turned) = match (names(left), names(right)) {
        (true, false) => (left, false),
        (false, true) => (right, true),
        (true, true) | (false, false) => return None,
    };
    let operator = match operator {
        "=" => Operator::Equal,
        "IS" if right == "NULL" => Operator::Equal,
        "<" | "<=" | ">" | ">=" => Operator::Range,
        "~~" if !turned => Operator::Like,
        "~~*" if !turned => Operator::CaseInsensitiveLike,
        _ => return None,
    };
    let (name, form) = form(side, alias)?;
    Some(Term { column: name.to_owned(), form, operator })
}

fn form<'a>(side: &'a str, alias: &str) -> Option<(&'a str, Form)> {
    let side = unwrapped(side);
    if let Some(name) = column(side, alias) {
        return Some((name, Form::Plain));
    }
    if let Some((inner, kind)) = side.rsplit_once("::")
        && let Some(name) = column(inner, alias)
        && inner.starts_with('(')
    {
        return Some((name, Form::Cast { kind: kind.to_owned() }));
    }
    let name = mentions(side, alias)?;
    let expression = side.replace(&format!("{alias}."), "");
    Some((name, Form::Wrapped { expression }))
}

/// The first column of this table that a text names outside of strings.
fn mentions<'a>(text: &'a str, alias: &str) -> Option<&'a str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '.' || c == '"';
    let mut quoted = false;
    let mut start = None;
    let ends = text.char_indices().chain([(text.len(), ' ')]);
    for (at, c) in ends {
        if c == '\'' {
            quoted = !quoted;
        }
        if !quoted && is_word(c) {
            start.get_or_insert(at);
        } else if let Some(from) = start.take()
            && let Some(name) = text.get(from..at).and_then(|word| column(word, alias))
        {
            return Some(name);
        }
    }
    None
}

/// The text without parentheses around all of it.
fn unwrapped(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        if !is_balanced(inner) {
            break;
        }
        text = inner.trim();
    }
    text
}

/// Does every parenthesis of it close within?
fn is_balanced(text: &str) -> bool {
    let mut depth = 0_i32;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth -= 1;
                if depth < 0 {
                    return false;
                }
            }
            (None, _) => {}
        }
    }
    depth == 0
}

/// The words that spaces outside of strings and parentheses part.
fn words(text: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut start) = (0_u32, None, None);
    let mut words = Vec::new();
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        if c == ' ' && depth == 0 && quote.is_none() {
            words.extend(start.take().and_then(|from| text.get(from..at)));
        } else {
            start.get_or_insert(at);
        }
    }
    words.extend(start.and_then(|from| text.get(from..)));
    words
}

/// Where a part of a text stands in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(filter: &str) -> Vec<String> {
        let show = |Term { column, form, operator }| match form {
            Form::Plain => format!("{column} {operator:?}"),
            Form::Cast { kind } => format!("{column}::{kind} {operator:?}"),
            Form::Wrapped { expression } => format!("{expression} of {column} {operator:?}"),
        };
        terms(filter, "o").into_iter().map(show).collect()
    }

    #[test]
    fn conditions_are_read_as_postgres_writes_them() {
        for (filter, expected) in [
            ("(o.customer_id = $1)", &["customer_id Equal"][..]),
            (
                "((o.created > $2) AND (o.customer_id = $1))",
                &["created Range", "customer_id Equal"],
            ),
            ("((o.a = ANY ($1)) AND (o.b = ANY ('{1,2}'::integer[])))", &["a Equal", "b Equal"]),
            ("(o.deleted IS NULL)", &["deleted Equal"]),
            ("($1 = o.id)", &["id Equal"]),
            ("((o.email)::text ~~ $1)", &["email::text Like"]),
            ("(o.note ~~* 'a%'::text)", &["note CaseInsensitiveLike"]),
            ("(lower((o.email)::text) = $1)", &["lower((email)::text) of email Equal"]),
            ("(date(o.created) = $1)", &["date(created) of created Equal"]),
            ("(o.\"Größe\" >= (now() - '1 day'::interval))", &["Größe Range"]),
            (
                "(o.created >= '2020-01-01 00:00:00'::timestamp without time zone)",
                &["created Range"],
            ),
            ("(o.note = 'a AND (b'::text)", &["note Equal"]),
        ] {
            assert_eq!(read(filter), expected, "{filter}");
        }
    }

    #[test]
    fn what_no_index_serves_is_left_out() {
        for filter in [
            "((o.a = $1) OR (o.b = $2))",
            "(o.a <> $1)",
            "(NOT o.paid)",
            "o.paid",
            "(o.deleted IS NOT NULL)",
            "(o.a = o.b)",
            "(u.id = $1)",
            "($1 ~~ o.pattern)",
            "(SubPlan 1)",
            "(hashed SubPlan 1)",
            "",
            "((((",
            "'",
        ] {
            assert!(read(filter).is_empty(), "{filter}: {:?}", read(filter));
        }
        let some = "(((o.note = $2) OR (o.note IS NULL)) AND (o.customer_id = ANY ($1)))";
        assert_eq!(read(some), ["customer_id Equal"]);
    }
}
