//! What was done here for a request, and must be taken back if Postgres discards it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::statement::{ServerStatements, Statement, Tagged};

/// What must be taken back when Postgres discards a request.
#[derive(Debug)]
pub enum Undo {
    /// A named Parse of the client, forwarded or answered in Postgres' place.
    Parsed {
        /// The client's name for it.
        name: Box<[u8]>,
        /// What it was to mean.
        statement: Arc<Statement>,
        /// Was it sent, so that the server does not know it now?
        sent: bool,
    },
    /// A Parse of the unnamed statement.
    ParsedUnnamed {
        /// What it is now.
        statement: Arc<Statement>,
        /// What it was before.
        before: Option<Arc<Statement>>,
    },
    /// A simple Query.
    Queried {
        /// The unnamed statement that it drops.
        unnamed: Option<Arc<Statement>>,
        /// What it deallocates by name, in order, and Postgres has not said to be done yet.
        deallocates: VecDeque<Box<str>>,
    },
    /// A simple `DEALLOCATE` of a statement that was prepared by protocol: the name stands until it
    /// is done. With it the unnamed statement, which goes as with every Query.
    Deallocated {
        /// The client's name.
        name: Box<[u8]>,
        /// What it means.
        statement: Arc<Statement>,
        /// The unnamed statement that goes with it.
        unnamed: Option<Arc<Statement>>,
    },
    /// A Parse we injected.
    Injected(u64),
    /// A Parse we injected of a statement as it was prepared in schemas that the client has left.
    Homed(u64),
    /// A Parse we injected under the client's own name, this one, for one Query.
    Lent(Box<str>),
    /// A Parse or Close of the unnamed statement that we injected.
    InjectedUnnamed,
    /// A Close of the client: the name still stands.
    Closed {
        /// The client's name; empty for the unnamed statement.
        name: Box<[u8]>,
        /// What it still means.
        statement: Arc<Statement>,
        /// What was taken off its text.
        tagged: Option<Tagged>,
    },
    /// A Parse of a name that the client has already: nothing to take back, but the name is said.
    Duplicate(Box<[u8]>),
    /// A Close we injected to make room: the server still knows it.
    Evicted(u64),
    /// A Bind or Describe: nothing to take back, but this is the client's name for the statement.
    Used(Box<[u8]>),
    /// A Bind or Describe of a statement that was prepared in schemas that the client has left.
    Strayed {
        /// The statement's number.
        id: u64,
        /// The client's name for it.
        name: Box<[u8]>,
    },
    /// A `PREPARE` of ours, which is for the client: the statement's name.
    SqlPrepared(Box<str>),
    /// A Query of ours that a session can be without: `DEALLOCATE` of what another client prepared.
    Optional,
}

impl Undo {
    /// That of a simple Query which drops this unnamed statement.
    #[must_use]
    pub fn of_query(unnamed: Option<Arc<Statement>>) -> Option<Box<Self>> {
        let deallocates = VecDeque::new();
        unnamed.map(|unnamed| Box::new(Self::Queried { unnamed: Some(unnamed), deallocates }))
    }

    /// Does taking it back change what the client's unnamed statement is?
    #[must_use]
    pub fn is_of_unnamed(&self) -> bool {
        match self {
            Self::ParsedUnnamed { .. } => true,
            Self::Closed { name, .. } => name.is_empty(),
            Self::Deallocated { unnamed, .. } | Self::Queried { unnamed, .. } => unnamed.is_some(),
            Self::Parsed { .. }
            | Self::Injected(_)
            | Self::Homed(_)
            | Self::Lent(_)
            | Self::InjectedUnnamed
            | Self::Duplicate(_)
            | Self::Evicted(_)
            | Self::Used(_)
            | Self::Strayed { .. }
            | Self::SqlPrepared(_)
            | Self::Optional => false,
        }
    }

    /// The name that the client gave the statement with this id, if this is its Close.
    #[must_use]
    pub fn closed_name(&self, id: u64) -> Option<&[u8]> {
        match self {
            Self::Closed { name, statement, .. } if statement.id == id => Some(name),
            Self::Closed { .. }
            | Self::Parsed { .. }
            | Self::ParsedUnnamed { .. }
            | Self::Queried { .. }
            | Self::Deallocated { .. }
            | Self::Injected(_)
            | Self::Homed(_)
            | Self::Lent(_)
            | Self::InjectedUnnamed
            | Self::Duplicate(_)
            | Self::Evicted(_)
            | Self::Used(_)
            | Self::Strayed { .. }
            | Self::SqlPrepared(_)
            | Self::Optional => None,
        }
    }
}

impl ServerStatements {
    /// A request was discarded by Postgres: what it did to the server's statements is taken back.
    pub fn undo(&mut self, undo: &Undo) {
        match undo {
            Undo::Parsed { statement, sent: true, .. } => self.forget(statement.id),
            Undo::ParsedUnnamed { .. } | Undo::InjectedUnnamed => self.forget_unnamed(),
            Undo::Injected(id) | Undo::Homed(id) => self.forget(*id),
            Undo::Evicted(id) => self.learn(*id),
            Undo::Parsed { sent: false, .. }
            | Undo::Queried { .. }
            | Undo::Lent(_)
            | Undo::Deallocated { .. }
            | Undo::Closed { .. }
            | Undo::Duplicate(_)
            | Undo::Used(_)
            | Undo::Strayed { .. }
            | Undo::SqlPrepared(_)
            | Undo::Optional => {}
        }
    }
}
