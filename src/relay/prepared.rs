//! A client's prepared statements: its names, and what they mean.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::server::connection::{ServerConnection, Undo};
use crate::server::statement::{Statement, StatementRegistry};

/// How many closed statements are remembered: one that the client closes and prepares again is
/// analysed anew by Postgres, and so it is here. More than a driver closes between the two.
const REMEMBERED_CLOSED: usize = 16;

/// One client's statements.
#[derive(Debug, Default)]
pub struct ClientStatements {
    named: HashMap<Box<[u8]>, Arc<Statement>, FxBuildHasher>,
    unnamed: Option<Arc<Statement>>,
    closed: Vec<u64>,
}

impl ClientStatements {
    /// What a name means; the empty one is the unnamed statement.
    #[inline]
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    /// Gives a name its meaning.
    pub fn define(&mut self, name: &[u8], statement: Arc<Statement>) {
        if name.is_empty() {
            self.unnamed = Some(statement);
        } else {
            self.named.insert(name.into(), statement);
        }
    }

    /// Takes a name back.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// The client closed a statement: should it ask for the same again, that is a new one.
    pub fn remember_closed(&mut self, id: u64) {
        if self.closed.len() == REMEMBERED_CLOSED {
            self.closed.remove(0);
        }
        self.closed.push(id);
    }

    /// The shared statement for a Parse of this client.
    pub fn intern(&self, registry: &StatementRegistry, body: &[u8]) -> Arc<Statement> {
        registry.intern(body, |found| self.closed.contains(&found.id))
    }

    /// Does a Parse of this client need no server, because Postgres has accepted the same text
    /// already? Then the name has its meaning now. A name that is taken is Postgres' to refuse.
    pub fn define_proven(
        &mut self,
        registry: &StatementRegistry,
        name: &[u8],
        body: &[u8],
    ) -> bool {
        if name.is_empty() || self.named.contains_key(name) {
            return false;
        }
        match registry.proven(body) {
            Some(statement) if !self.closed.contains(&statement.id) => {
                self.define(name, statement);
                true
            }
            Some(_) | None => false,
        }
    }

    /// A simple Query is sent: Postgres drops the unnamed statement.
    #[inline]
    pub fn drop_unnamed(&mut self) {
        self.unnamed = None;
    }

    /// `DEALLOCATE ALL` was run: the client has no statements but those it has asked for since.
    pub fn clear(&mut self, server: &ServerConnection) {
        self.named.clear();
        self.unnamed = None;
        for undo in server.owed.in_flight() {
            if let Undo::Parsed { name, statement, .. } = undo {
                self.named.insert(name.clone(), Arc::clone(statement));
            }
        }
    }

    /// The client's name for a statement.
    #[must_use]
    pub fn name_of(&self, id: u64) -> Option<&[u8]> {
        self.named.iter().find(|(_, statement)| statement.id == id).map(|(name, _)| &**name)
    }

    /// How many named statements the client has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.named.len()
    }

    /// Has the client no named statement?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// A request of this client was discarded by Postgres: what it did here is taken back.
    pub fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Parsed { name, .. } => {
                self.named.remove(&name);
            }
            Undo::ParsedUnnamed => self.unnamed = None,
            Undo::Closed { name, statement } => self.define(&name, statement),
            Undo::Forgets
            | Undo::Injected(_)
            | Undo::InjectedUnnamed
            | Undo::Duplicate(_)
            | Undo::Evicted(_) => {}
        }
    }
}
