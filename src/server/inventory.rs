//! Asking a session what it holds: after a transaction that may have changed it, Postgres itself
//! says what is left, whatever was rolled back, done inside a function, or failed. Pure.

use std::fmt::Write as _;

use super::parameters::quote;
use super::sql_prepared::{MOST_STATEMENTS, SqlStatements};
use crate::sql::effects::{Effects, OF_TRANSACTION, Scope};
use crate::sql::feature::{Feature, Features};
use crate::sql::prepare::{MOST_TEXT, preparing};

/// Two settings that `pg_settings` does not list.
const HIDDEN: [&str; 2] = ["role", "session_authorization"];

/// How often a session is asked that answers with an error (a cancel request that came late, a
/// `statement_timeout` shorter than the question).
const TRIES: u8 = 3;

/// Where the text of a row's first column begins: behind the count of columns, and its length.
const COLUMN: usize = 6;

/// A question that is on its way, and its answer.
#[derive(Debug)]
pub struct Inventory {
    /// What may have changed.
    pub effects: Effects,
    /// Settings as they are now; `None`: not set at all.
    pub settings: Vec<(Box<str>, Option<Box<str>>)>,
    /// State that is left in the session.
    pub left: Features,
    /// Statements that are prepared with SQL's `PREPARE` and can be elsewhere.
    pub prepared: SqlStatements,
    outcome: Outcome,
    tries: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Failed,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was answered.
    Answered,
    /// It failed: it is worth asking again.
    Again,
    /// It fails every time.
    Hopeless,
}

impl Inventory {
    /// A question about what these effects may have changed.
    #[must_use]
    pub fn new(effects: Effects) -> Self {
        Self {
            effects,
            settings: Vec::new(),
            left: Features::NONE,
            prepared: SqlStatements::default(),
            outcome: Outcome::Answered,
            tries: 1,
        }
    }

    /// The same question once more.
    #[must_use]
    pub fn again(self) -> Self {
        Self { tries: self.tries + 1, ..Self::new(self.effects) }
    }

    /// The question in SQL: rows of what (`s` or a feature), name, value. Operators and functions
    /// are Postgres' own, whatever the session's `search_path` is.
    #[must_use]
    pub fn sql(&self) -> String {
        let mut sql = String::new();
        match self.effects.scope {
            Scope::Named => {
                self.effects.settings.iter().for_each(|(name, _)| setting(&mut sql, name))
            }
            Scope::All | Scope::Reset | Scope::ResetAndAll => {
                begin(&mut sql);
                sql.push_str(
                    "'s',name,pg_catalog.current_setting(name) FROM pg_catalog.pg_settings \
                     WHERE source OPERATOR(pg_catalog.=) 'session'",
                );
                self.without_locals(&mut sql);
                let hidden = HIDDEN.iter().copied();
                let named = self.effects.settings.iter().map(|(name, _)| &**name);
                for name in hidden.chain(named.filter(|n| n.contains('.'))) {
                    setting(&mut sql, name);
                }
            }
        }
        for feature in self.effects.touches.iter() {
            if feature == Feature::Prepare {
                statements(&mut sql);
            } else if let Some(source) = source(feature) {
                begin(&mut sql);
                let _ = write!(
                    sql,
                    "'{}','',pg_catalog.count(*)::pg_catalog.text {source}",
                    feature.name()
                );
            }
        }
        sql
    }

    /// What was set for the transaction only, behind what reset it, is not set.
    fn without_locals(&self, sql: &mut String) {
        let mut separator =
            " AND NOT(setting OPERATOR(pg_catalog.=) reset_val AND pg_catalog.lower(name) IN (";
        for name in &self.effects.locals {
            sql.push_str(separator);
            sql.push('E');
            quote(sql, name, '\'');
            separator = ",";
        }
        if separator == "," {
            sql.push_str("))");
        }
    }

    /// Takes in the body of one `DataRow`; false: it cannot be read (text that is not UTF-8, or too long to
    /// be looked at).
    pub fn row(&mut self, body: &[u8]) -> bool {
        let Some([Some(what), Some(name), value]) = columns(body) else {
            // A name or text that cannot be read here stays where it is.
            let stays = body.get(COLUMN..).is_some_and(|b| b.starts_with(b"prepare"));
            if stays {
                self.left.insert(Feature::Prepare);
            }
            return stays;
        };
        if OF_TRANSACTION.contains(&name) {
            return true;
        }
        match Feature::by_name(what) {
            Some(Feature::Prepare) => {
                let text = value.and_then(|value| preparing(value, name));
                if !text.is_some_and(|text| self.prepared.add(name, text)) {
                    self.left.insert(Feature::Prepare);
                }
            }
            Some(feature) => {
                if value.is_some_and(|count| count != "0") {
                    self.left.insert(feature);
                }
            }
            None => self.settings.push((name.into(), value.map(Into::into))),
        }
        true
    }

    /// Postgres answered with an error.
    pub fn fail(&mut self) {
        self.outcome = Outcome::Failed;
    }

    /// What became of the question, once Postgres has said all it says.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.outcome {
            Outcome::Answered => Verdict::Answered,
            Outcome::Failed if self.tries < TRIES => Verdict::Again,
            Outcome::Failed => Verdict::Hopeless,
        }
    }
}

/// Where Postgres shows what a session holds; within no transaction only what outlives one is there.
fn source(feature: Feature) -> Option<&'static str> {
    Some(match feature {
        Feature::Listen => "FROM pg_catalog.pg_listening_channels()",
        Feature::AdvisoryLock => {
            "FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
             AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()"
        }
        Feature::TemporaryTable => {
            "FROM (SELECT relnamespace AS n FROM pg_catalog.pg_class \
             UNION ALL SELECT pronamespace FROM pg_catalog.pg_proc \
             UNION ALL SELECT typnamespace FROM pg_catalog.pg_type) AS t \
             WHERE n OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()"
        }
        Feature::HoldCursor => "FROM pg_catalog.pg_cursors WHERE is_holdable",
        // A library does not go again; a session is for as long as its client.
        Feature::Prepare | Feature::Load | Feature::Session | Feature::Unreadable => return None,
    })
}

fn begin(sql: &mut String) {
    sql.push_str(if sql.is_empty() { "SELECT " } else { " UNION ALL SELECT " });
}

/// Of more than there is room for, it does not matter which are seen.
fn statements(sql: &mut String) {
    begin(sql);
    let _ = write!(
        sql,
        "'prepare',name,CASE WHEN pg_catalog.octet_length(statement) OPERATOR(pg_catalog.<=) {MOST_TEXT} \
         THEN statement END FROM (SELECT name,statement FROM pg_catalog.pg_prepared_statements \
         WHERE from_sql LIMIT {}) AS p",
        MOST_STATEMENTS + 1
    );
}

fn setting(sql: &mut String, name: &str) {
    begin(sql);
    sql.push_str("'s',E");
    quote(sql, name, '\'');
    sql.push_str(",pg_catalog.current_setting(E");
    quote(sql, name, '\'');
    sql.push_str(",true)");
}

/// The columns of a `DataRow` in text format; `None` when there are not three, or not in UTF-8.
fn columns(body: &[u8]) -> Option<[Option<&str>; 3]> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    if u16::from_be_bytes(*count) != 3 {
        return None;
    }
    let mut columns = [None; 3];
    for column in &mut columns {
        let (length, after) = rest.split_first_chunk::<4>()?;
        // -1 is NULL.
        match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => rest = after,
            Ok(length) => {
                let (value, after) = after.split_at_checked(length)?;
                *column = Some(std::str::from_utf8(value).ok()?);
                rest = after;
            }
        }
    }
    Some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: [Option<&str>; 3]) -> Vec<u8> {
        let mut body = vec![0, 3];
        for column in columns {
            match column {
                None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(text) => {
                    body.extend_from_slice(&(text.len() as u32).to_be_bytes());
                    body.extend_from_slice(text.as_bytes());
                }
            }
        }
        body
    }

    fn of(sql: &str) -> Inventory {
        Inventory::new(*Effects::read(sql.as_bytes()).expect("it has effects"))
    }

    #[test]
    fn only_what_may_have_changed_is_asked_for() {
        assert_eq!(
            of("SET search_path TO a").sql(),
            "SELECT 's',E'search_path',pg_catalog.current_setting(E'search_path',true)"
        );
        assert_eq!(
            of("LISTEN a").sql(),
            "SELECT 'listen','',pg_catalog.count(*)::pg_catalog.text FROM pg_catalog.pg_listening_channels()"
        );
        let all = of("DO 'x'").sql();
        for part in ["pg_settings", "E'role'", "pg_locks", "pg_class", "pg_cursors", "from_sql"] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }

    #[test]
    fn rows_say_what_is_there() {
        let mut inventory = of("DO 'x'");
        inventory.row(&row([Some("s"), Some("search_path"), Some("a, b")]));
        inventory.row(&row([Some("s"), Some("my.x"), None]));
        inventory.row(&row([Some("s"), Some("my.y"), Some("")]));
        inventory.row(&row([Some("listen"), Some(""), Some("2")]));
        inventory.row(&row([Some("advisory lock"), Some(""), Some("0")]));
        assert_eq!(
            inventory.settings,
            [
                ("search_path".into(), Some("a, b".into())),
                ("my.x".into(), None),
                ("my.y".into(), Some("".into()))
            ]
        );
        assert_eq!(inventory.left.iter().collect::<Vec<_>>(), [Feature::Listen]);
    }

    #[test]
    fn malformed_rows_are_not_taken() {
        let mut inventory = of("LISTEN a");
        for body in [&b""[..], b"\0\x03", b"\0\x03\0\0\0\x09s", b"\0\x02\0\0\0\0\0\0\0\0"] {
            assert!(!inventory.row(body));
        }
        assert!(inventory.left.is_empty() && inventory.settings.is_empty());
    }

    #[test]
    fn a_question_that_fails_is_asked_again_but_not_for_ever() {
        let mut inventory = of("LISTEN a");
        for _ in 1..TRIES {
            inventory.fail();
            assert_eq!(inventory.verdict(), Verdict::Again);
            inventory = inventory.again();
            assert_eq!(inventory.verdict(), Verdict::Answered);
        }
        inventory.fail();
        assert_eq!(inventory.verdict(), Verdict::Hopeless);
    }
}
