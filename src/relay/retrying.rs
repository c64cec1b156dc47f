//! A statement whose result has changed: where the client has its results described in the same batch, the batch is
//! sent again with the statement prepared anew, and the client learns from the reply what the columns are now.

use super::replies::Replies;
use crate::protocol::backend::TransactionStatus;
use crate::protocol::frame::HEADER_LENGTH;
use crate::protocol::frontend::Bind;
use crate::server::connection::ServerConnection;
use crate::server::owed::{Cause, Verdict};

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
        if let Some(stray) = self.statements.stray.take() {
            self.statements.unsettled = Some(stray);
            return;
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
        if current {
            self.outdate();
        } else {
            self.statements.outdate(self.registry.epoch());
        }
        let ServerConnection { owed, statements, kept, .. } = &mut *self.server;
        let _ = owed.received_error(cause, |undo, how| {
            statements.undo(&undo);
            self.statements.undo(*undo, how);
        });
        if owed.drop_ready() {
            kept.send_again();
        }
        Verdict::Swallow
    }
}

/// The statement that a batch binds.
fn statement(batch: &[u8]) -> Option<&[u8]> {
    Bind::read(batch.get(HEADER_LENGTH..)?).map(|bind| bind.statement)
}
