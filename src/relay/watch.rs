//! Which statements a client's requests run, and what becomes of each: noted for the statistics where the
//! relay passes, without changing anything there.

use std::rc::Rc;
use std::sync::Arc;

use memchr::memchr;

use super::replies::Replies;
use super::requests::Requests;
use crate::protocol::backend::TransactionStatus;
use crate::protocol::sqlstate::SqlState;
use crate::stats::queries::{Block, Manner, Outcome, Place, QueryLog, Run, Watched};
use crate::stats::said::Said;

/// Named portals that are remembered for a client: cursors of a driver that reads in portions.
const MOST_PORTALS: usize = 16;

/// What is watched of one client.
#[derive(Debug)]
pub(super) struct Watch {
    log: Rc<QueryLog>,
    /// What was bound to the unnamed portal last.
    unnamed: Option<Run>,
    /// Names of portals with their NUL, oldest first.
    named: Vec<(Box<[u8]>, Run)>,
    /// How long the client waited for the server it has, nanoseconds; said of one statement only.
    waited: u64,
    /// Where its next statement stands.
    place: Place,
    /// When its last statement ended, in the relay's clock (nanoseconds).
    last_end: u64,
    blocked: Blocked,
}

/// Since when, and how long already, the client has not read the replies of the statement that runs.
#[derive(Clone, Copy, Debug, Default)]
struct Blocked {
    since: Option<u64>,
    nanos: u64,
}

impl Watch {
    /// A client whose statements go to this log.
    #[must_use]
    pub(super) fn new(log: Rc<QueryLog>, client: u64, application: &str) -> Self {
        let application = log.route(application);
        let place = Place { client, route: application, application, ..Place::default() };
        let blocked = Blocked::default();
        Self { log, unnamed: None, named: Vec::new(), waited: 0, place, last_end: 0, blocked }
    }

    /// The client had to wait for a server, nanoseconds.
    pub(super) fn waited(&mut self, nanos: u64) {
        self.waited = nanos;
    }

    /// The client does not read what a statement has for it.
    #[cold]
    pub(super) fn block(&mut self, now: u64) {
        self.blocked.since.get_or_insert(now);
    }

    /// It has read all there was.
    #[cold]
    pub(super) fn unblock(&mut self, now: u64) {
        if let Some(since) = self.blocked.since.take() {
            self.blocked.nanos += now.saturating_sub(since);
        }
    }

    /// What these comments say.
    pub(super) fn said(&self, comments: &[&[u8]]) -> Option<Arc<Said>> {
        self.log.said(comments)
    }

    #[inline]
    fn bind(&mut self, portal: &[u8], run: Run) {
        if portal == [0] {
            self.unnamed = Some(run);
            return;
        }
        self.named.retain(|(name, _)| **name != *portal);
        if self.named.len() == MOST_PORTALS {
            self.named.remove(0);
        }
        self.named.push((portal.into(), run));
    }

    #[inline]
    fn keeps_values(&self) -> bool {
        let keeps = |run: &Run| run.kept.is_some();
        self.unnamed.as_ref().is_some_and(keeps) || self.named.iter().any(|(_, run)| keeps(run))
    }

    /// An idle client keeps no values.
    #[cold]
    fn forget_values(&mut self) {
        let named = self.named.iter_mut().map(|(_, run)| run);
        self.unnamed.iter_mut().chain(named).for_each(|run| run.kept = None);
    }

    fn bound(&self, portal: &[u8]) -> Option<&Run> {
        if portal == [0] {
            return self.unnamed.as_ref();
        }
        self.named.iter().find(|(name, _)| **name == *portal).map(|(_, run)| run)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.log.gone(self.place.client);
    }
}

impl Requests<'_> {
    /// A simple Query was pushed.
    #[inline]
    pub(super) fn watch_query(&mut self, text: &[u8]) {
        let tagged = self.statements.take_query_tags();
        if let Some(tagged) = &tagged {
            self.server.owed.note_lead(tagged.lead);
        }
        let Some(watch) = &mut self.statements.watch else { return };
        let mut run = watch.log.run(text);
        run.said = tagged.and_then(|tagged| tagged.said).or(run.said);
        self.server.owed.watch(Watched::new(run, std::mem::take(&mut watch.waited)));
    }

    /// A Bind was passed on; the portal's name is with its NUL. `values`: the rest of the message, as far as it
    /// is there.
    #[inline]
    pub(super) fn watch_bind(&mut self, portal: &[u8], statement: &[u8], values: &[u8]) {
        if self.statements.watch.is_none() {
            return;
        }
        let said = self.statements.said(statement);
        let Some(statement) = self.statements.get(statement).map(Arc::clone) else { return };
        let Some(watch) = &mut self.statements.watch else { return };
        let run = statement.run.get_or_init(|| {
            let text = statement.body.split(|byte| *byte == 0).next();
            // It is shared, and outlives what is kept of one call.
            Run { kept: None, ..watch.log.run(text.unwrap_or_default()) }
        });
        let kept = watch.log.bound(&statement.body, values);
        let values = watch.log.hash(values);
        let said = said.or_else(|| run.said.clone());
        let query = Arc::clone(&run.query);
        let run = Run { query, said, values, kept, manner: Manner::Extended };
        watch.bind(portal, run.clone());
        // Should it fail, that is an error of the statement. What it waited for is told at its end.
        self.server.owed.watch(Watched::new(run, 0));
    }

    /// An Execute was pushed; its body begins with the portal's name.
    #[inline]
    pub(super) fn watch_execute(&mut self, body: &[u8]) {
        let Some(watch) = &mut self.statements.watch else { return };
        let Some(end) = memchr(0, body) else { return };
        let Some(run) = watch.bound(&body[..=end]).cloned() else { return };
        self.server.owed.watch(Watched::new(run, std::mem::take(&mut watch.waited)));
    }
}

impl Replies<'_> {
    /// `CommandComplete` came, with this tag.
    #[inline]
    pub(super) fn watch_end(&mut self, command: &[u8]) {
        self.watch(|_| Outcome::Complete { rows: rows(command) });
    }

    /// `PortalSuspended` came.
    #[cold]
    pub(super) fn watch_suspension(&mut self) {
        self.watch(|watched| Outcome::Suspended { rows: watched.rows() });
    }

    /// Rows of so many bytes came, of a query or of a COPY.
    #[inline]
    pub(super) fn watch_rows(&mut self, rows: u64, bytes: u64) {
        if let Some((watched, _)) = self.server.owed.watched(self.now) {
            watched.count_rows(rows, bytes, self.now);
        }
    }

    /// An error came.
    #[cold]
    pub(super) fn watch_failure(&mut self, code: Option<SqlState>) {
        self.watch(|_| Outcome::Failed(code.unwrap_or(SqlState::INTERNAL_ERROR)));
    }

    /// `ReadyForQuery` came: a batch has ended, and perhaps a transaction.
    #[inline]
    pub(super) fn watch_ready(&mut self, status: TransactionStatus) {
        let Some(watch) = &mut self.statements.watch else { return };
        let place = &mut watch.place;
        place.batch = place.batch.wrapping_add(1);
        let over = u32::from(status == TransactionStatus::Idle);
        place.transaction = place.transaction.wrapping_add(over);
        // Portals end with their transaction, but one that was bound since may be on its way.
        let is_over = status == TransactionStatus::Idle && self.server.owed.is_empty();
        if is_over && watch.keeps_values() {
            watch.forget_values();
        }
    }

    #[inline]
    fn watch(&mut self, outcome: impl FnOnce(&Watched) -> Outcome) {
        let Some(watch) = &mut self.statements.watch else { return };
        let block = match self.server.owed.status() {
            TransactionStatus::Idle => Block::None,
            TransactionStatus::InTransaction | TransactionStatus::Failed => Block::Open,
        };
        let Some((watched, times)) = self.server.owed.watched(self.now) else { return };
        let outcome = outcome(watched);
        let place =
            Place { block, blocked: std::mem::take(&mut watch.blocked.nanos), ..watch.place };
        let before = std::mem::replace(&mut watch.last_end, times.ended);
        if let Some(event) = watched.end(outcome, times, place, before) {
            watch.log.note(event);
        }
    }
}

/// The rows that a command tag counts: `INSERT 0 5`, `SELECT 7`, as `pg_stat_statements` does (MOVE is none).
fn rows(command: &[u8]) -> u64 {
    let number = command.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    if command.starts_with(b"MOVE") || number.len() == command.len() {
        return 0;
    }
    std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_tag_ends_with_the_rows_if_it_counts_any() {
        let cases: [(&[u8], u64); 6] = [
            (b"SELECT 7", 7),
            (b"INSERT 0 5", 5),
            (b"COPY 12", 12),
            (b"MOVE 3", 0),
            (b"CREATE TABLE", 0),
            (b"BEGIN", 0),
        ];
        for (command, expected) in cases {
            assert_eq!(rows(command), expected, "{}", String::from_utf8_lossy(command));
        }
    }
}
