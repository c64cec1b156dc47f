//! What part a statement plays in a request, where repeating it is judged: one that reads, one that writes a row,
//! one that begins or ends a transaction, or one that says nothing.

use super::kind::Kind;

/// The part a statement plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It begins a transaction.
    Begin,
    /// It ends one.
    End,
    /// It reads: of many, one could do.
    Read,
    /// It writes one row, or those that a condition names: of many, one could do.
    Write,
    /// Repeating it is as it should be: settings, cursors, catalogs, queues, inserts of many rows.
    Aside,
}

/// The collapsed rows of an INSERT in its normalised text.
const MORE_ROWS: &str = ") /*, ... */";

/// The part that a statement plays: its kind, its normalised text and its summary.
#[must_use]
pub fn role(kind: Kind, text: &str, summary: &str) -> Role {
    match kind {
        Kind::Transaction => ends(text),
        Kind::Select if is_catalog(summary) || is_queue(text) || text == "select $1" => Role::Aside,
        Kind::Select => Role::Read,
        Kind::Insert if text.contains(MORE_ROWS) || is_catalog(summary) => Role::Aside,
        Kind::Update | Kind::Delete if is_queue(text) => Role::Aside,
        Kind::Insert | Kind::Update | Kind::Delete => Role::Write,
        Kind::Utility | Kind::Other => Role::Aside,
    }
}

fn ends(text: &str) -> Role {
    let mut words = text.split(' ');
    match (words.next().unwrap_or_default(), text.contains(" to ")) {
        ("begin" | "start", _) => Role::Begin,
        ("commit" | "end" | "abort", _) | ("rollback", false) => Role::End,
        _ => Role::Aside,
    }
}

/// Does it read the system's tables, as drivers do for themselves?
fn is_catalog(summary: &str) -> bool {
    let is = |table: &str| table.starts_with("pg_") || table.starts_with("information_schema");
    summary.split(' ').skip(1).any(is)
}

/// Is it a worker asking a queue for the next job?
fn is_queue(text: &str) -> bool {
    text.contains("skip locked")
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint::Fingerprinter;
    use super::super::lexer::Backslashes;
    use super::*;

    fn role_of(sql: &str) -> Role {
        let mut found = Vec::new();
        Fingerprinter::default().read(sql.as_bytes(), Backslashes::Literal, |statement| {
            found.push(role(statement.kind(), &statement.text().text, &statement.summary()));
        });
        found[0]
    }

    #[test]
    fn statements_play_their_part() {
        for (sql, expected) in [
            ("BEGIN", Role::Begin),
            ("START TRANSACTION READ ONLY", Role::Begin),
            ("COMMIT", Role::End),
            ("ROLLBACK", Role::End),
            ("ROLLBACK TO SAVEPOINT a", Role::Aside),
            ("SAVEPOINT a", Role::Aside),
            ("SELECT * FROM users WHERE id = 1", Role::Read),
            ("WITH a AS (SELECT 1) SELECT * FROM a", Role::Read),
            ("SELECT next_number(7)", Role::Read),
            ("SELECT 1", Role::Aside),
            ("SELECT * FROM pg_class WHERE oid = 3", Role::Aside),
            ("SELECT * FROM information_schema.tables", Role::Aside),
            ("SELECT * FROM job LIMIT 1 FOR UPDATE SKIP LOCKED", Role::Aside),
            ("INSERT INTO t (a) VALUES (1)", Role::Write),
            ("INSERT INTO t (a) VALUES (1), (2)", Role::Aside),
            ("INSERT INTO t (a) VALUES (1) RETURNING id", Role::Write),
            ("UPDATE t SET a = 1 WHERE id IN (1, 2)", Role::Write),
            ("DELETE FROM t WHERE id = 1", Role::Write),
            ("SET a = 1", Role::Aside),
            ("FETCH 10 FROM c", Role::Aside),
            ("COPY t FROM STDIN", Role::Aside),
        ] {
            assert_eq!(role_of(sql), expected, "{sql}");
        }
    }
}
