//! Statements that clients prepared with SQL's `PREPARE`: which a server has, and how it comes to have those of its
//! next client. They outlive a rollback, and Postgres is asked for them (`server::inventory`).

use std::collections::BTreeMap;

use super::connection::{ServerConnection, Undo};
use super::owed::{Answer, Request};
use super::parameters::quote;
use crate::protocol::frontend;
use crate::protocol::sqlstate::SqlState;

/// The most statements of one client that follow it; one that has more keeps its server.
pub const MOST_STATEMENTS: usize = 64;

/// The most bytes of their names and texts.
const MOST_BYTES: usize = 32 * 1024;

/// Statements by name, each with the `PREPARE` that makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SqlStatements(BTreeMap<Box<str>, Box<str>>);

impl SqlStatements {
    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is there one of this name?
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds one; false: there is no room.
    #[must_use]
    pub fn add(&mut self, name: &str, text: &str) -> bool {
        let bytes: usize = self.0.iter().map(|(name, text)| name.len() + text.len()).sum();
        if self.0.len() >= MOST_STATEMENTS || bytes + name.len() + text.len() > MOST_BYTES {
            return false;
        }
        self.0.insert(name.into(), text.into());
        true
    }

    /// There is none any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Those of ours that the other set has not, or under another text.
    fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let ours = self.0.iter().map(|(name, text)| (&**name, &**text));
        ours.filter(|(name, text)| other.0.get(*name).is_none_or(|theirs| **theirs != **text))
    }
}

impl ServerConnection {
    /// Sends what gives the session these statements and no others. Each is a request of its own: one that Postgres refuses
    /// (its table is gone) is not there then, which `EXECUTE` says.
    #[cold]
    pub(super) fn change_prepared(&mut self, wanted: &SqlStatements, now: u64) {
        let before = std::mem::replace(&mut self.prepared, wanted.clone());
        for (name, _) in before.beyond(wanted) {
            let mut sql = String::from("DEALLOCATE ");
            quote(&mut sql, name, '"');
            self.send_optional(&sql, Undo::Optional, now);
        }
        for (name, text) in wanted.beyond(&before) {
            self.send_optional(text, Undo::SqlPrepared(name.into()), now);
        }
    }

    pub(super) fn send_optional(&mut self, sql: &str, undo: Undo, now: u64) {
        frontend::write_query(&mut self.unsent, sql);
        self.statements.doubt_unnamed();
        self.owed.push(Request::Query, Answer::Swallow, Some(Box::new(undo)), now);
    }

    /// A Query of ours failed: was it one that the session can be without? Not so if the name is taken by what nobody
    /// knows of: then it would be executed in place of the client's.
    #[cold]
    pub fn is_without(&mut self, code: Option<SqlState>) -> bool {
        match self.owed.front_undo() {
            Some(Undo::Optional) => {
                self.sequences.doubt();
                true
            }
            Some(Undo::SqlPrepared(name)) => {
                self.prepared.0.remove(name);
                code != Some(SqlState::DUPLICATE_PREPARED_STATEMENT)
            }
            Some(_) | None => false,
        }
    }

    /// The session has no prepared statement any more, of whichever kind.
    pub fn forget_all_statements(&mut self) {
        self.statements.clear();
        self.prepared.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> SqlStatements {
        let mut statements = SqlStatements::default();
        pairs.iter().for_each(|(name, text)| assert!(statements.add(name, text)));
        statements
    }

    #[test]
    fn what_differs_is_told() {
        let (one, two) = (of(&[("a", "x"), ("b", "y")]), of(&[("b", "z"), ("c", "x")]));
        assert_eq!(one.beyond(&two).collect::<Vec<_>>(), [("a", "x"), ("b", "y")]);
        assert_eq!(two.beyond(&one).collect::<Vec<_>>(), [("b", "z"), ("c", "x")]);
        assert_eq!(one.beyond(&one.clone()).count(), 0);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut statements = SqlStatements::default();
        for number in 0..MOST_STATEMENTS {
            assert!(statements.add(&number.to_string(), "x"));
        }
        assert!(!statements.add("more", "x"));
        let mut large = SqlStatements::default();
        assert!(large.add("a", &"x".repeat(MOST_BYTES - 1)));
        assert!(!large.add("b", ""));
    }
}
