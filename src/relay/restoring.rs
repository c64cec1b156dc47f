//! `RESET` goes back to what the client logged in with, which its server does not know: right behind what resets, in
//! the same transaction, the server is told. What the client then hears of its settings is true.

use memchr::memmem;

use super::buffers::Splice;
use super::requests::{Fate, Requests};
use crate::protocol::frontend;
use crate::server::owed::{Answer, Request};
use crate::server::parameters::restoration;
use crate::sql::effects::Effects;

/// A statement and a portal of ours, gone as soon as they were used.
const OURS: &[u8] = b"pooler_ours";

impl Requests<'_> {
    /// What is to be sent behind a simple Query with these effects.
    #[cold]
    pub(super) fn restores(&self, effects: &Effects, text: &[u8]) -> Option<String> {
        if self.initial.is_empty() || !effects.resets() {
            return None;
        }
        // A Query behind one that waits for data would end that.
        let copies = memmem::find(&text.to_ascii_lowercase(), b"copy").is_some();
        if copies { None } else { restoration(self.initial, effects) }
    }

    /// A simple Query goes on, and behind it what restores. Both together end with one `ReadyForQuery`.
    #[cold]
    pub(super) fn continue_with(
        &mut self,
        restoration: &str,
        frame: &[u8],
        splice: &mut Splice<'_>,
    ) -> Fate {
        splice.insert().extend_from_slice(frame);
        frontend::write_query(splice.insert(), restoration);
        self.server.owed.push(Request::Query, Answer::Continuation, None, self.now);
        Fate::Drop
    }

    /// A statement with these effects is bound: what is to be sent behind its Execute.
    #[cold]
    pub(super) fn restore_after_execute(&mut self, effects: &Effects) {
        if !self.initial.is_empty() && effects.resets() {
            let sql = restoration(self.initial, effects);
            self.statements.restores = sql.map(String::into_boxed_str);
        }
    }

    /// An Execute goes on, and behind it what restores.
    #[cold]
    pub(super) fn execute_and_restore(
        &mut self,
        sql: &str,
        frame: &[u8],
        splice: &mut Splice<'_>,
    ) -> Fate {
        let out = splice.insert();
        out.extend_from_slice(frame);
        self.run_ours(sql, out);
        Fate::Drop
    }

    /// Runs a statement of ours within a batch.
    #[cold]
    pub(super) fn run_ours(&mut self, sql: &str, out: &mut Vec<u8>) {
        let statement = [sql.as_bytes(), b"\0\0\0"].concat();
        // It is there still if the last one was cancelled.
        frontend::write_close_statement(out, OURS);
        frontend::write_parse(out, OURS, &statement);
        frontend::write_bind(out, OURS, OURS);
        frontend::write_execute(out, OURS);
        frontend::write_close_portal(out, OURS);
        frontend::write_close_statement(out, OURS);
        for request in [
            Request::Close,
            Request::Parse,
            Request::Bind,
            Request::Execute,
            Request::Close,
            Request::Close,
        ] {
            self.server.owed.push(request, Answer::Swallow, None, self.now);
        }
    }
}
