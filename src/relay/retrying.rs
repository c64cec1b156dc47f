//! A statement whose result has changed: where the client has its results described in the same batch, the batch is
//! sent again with the statement prepared anew, and the client learns from the reply what the columns are now.

use super::prepared::ClientStatements;
use super::replies::Replies;
use crate::protocol::backend::TransactionStatus;
use crate::protocol::frame::HEADER_LENGTH;
use crate::protocol::frontend::Bind;
use crate::server::connection::{ServerConnection, Undo};
use crate::server::owed::{Cause, Discarded, Verdict};

/// What an error is about.
#[derive(Debug, Default)]
pub struct Failed {
    /// The client's name for its statement, where that is not clear; else empty.
    pub(super) name: Box<[u8]>,
    /// The statement's number, if its client has left the schemas that it was prepared in.
    strayed: Option<u64>,
    /// How many characters were taken off the front of the client's text.
    pub(super) lead: u16,
}

impl Failed {
    /// The next error, of a text that lost so many characters.
    pub(super) fn begin(&mut self, lead: u16) {
        (self.lead, self.strayed) = (lead, None);
    }

    /// This is what failed.
    pub(super) fn note(&mut self, undo: &Undo, statements: &mut ClientStatements, cause: Cause) {
        match undo {
            Undo::Duplicate(name) | Undo::Used(name) => self.name.clone_from(name),
            Undo::Strayed { id, name } => {
                self.name.clone_from(name);
                self.strayed = Some(*id);
            }
            // What it was prepared in is not there any more.
            Undo::Homed(id) if cause != Cause::Interrupt => statements.unsettle(*id),
            Undo::Homed(_)
            | Undo::Parsed { .. }
            | Undo::ParsedUnnamed { .. }
            | Undo::Queried { .. }
            | Undo::Deallocated { .. }
            | Undo::Injected(_)
            | Undo::Lent(_)
            | Undo::InjectedUnnamed
            | Undo::Closed { .. }
            | Undo::Evicted(_)
            | Undo::SqlPrepared(_)
            | Undo::Optional => {}
        }
    }
}

impl Replies<'_> {
    /// Is what failed the first of a batch that may be sent again, and nothing behind it?
    #[cold]
    pub(super) fn may_send_again(&self) -> bool {
        let owed = &self.server.owed;
        owed.status() == TransactionStatus::Idle
            && self.server.kept.batch().is_some_and(|(_, requests)| requests == owed.len())
    }

    /// A result has changed: because its client has moved to other schemas, or the schema was changed behind the pooler's
    /// back.
    #[cold]
    pub(super) fn outdate(&mut self) {
        if let Some(id) = self.failed.strayed.take() {
            return self.statements.unsettle(id);
        }
        self.registry.schema_changed();
        self.statements.outdate(self.registry.epoch());
    }

    /// Takes in the error, of which nobody hears.
    #[cold]
    pub(super) fn send_again(&mut self, cause: Cause) -> Verdict {
        let name = self.server.kept.batch().and_then(|(batch, _)| statement(batch));
        let current = name
            .and_then(|name| self.statements.get(name))
            .is_some_and(|statement| !statement.is_older(self.registry.epoch()));
        self.failed.begin(0);
        let ServerConnection { owed, statements, kept, .. } = &mut *self.server;
        let _ = owed.received_error(cause, |undo, how| {
            statements.undo(&undo);
            if how == Discarded::Failed {
                self.failed.note(&undo, self.statements, cause);
            }
            self.statements.undo(*undo, how);
        });
        if owed.drop_ready() {
            kept.send_again();
        }
        if current || self.failed.strayed.is_some() {
            self.outdate();
        } else {
            self.statements.outdate(self.registry.epoch());
        }
        Verdict::Swallow
    }
}

/// The statement that a batch binds.
fn statement(batch: &[u8]) -> Option<&[u8]> {
    Bind::read(batch.get(HEADER_LENGTH..)?).map(|bind| bind.statement)
}
