//! What a client's unnamed statement is once Postgres has discarded requests: batches that were sent behind them still
//! happen, and began with what the discarded ones did not make after all.

use std::sync::Arc;

use super::prepared::ClientStatements;
use crate::server::connection::{ServerConnection, Undo};
use crate::server::owed::{Answer, Request};
use crate::server::statement::Statement;

impl ClientStatements {
    /// Postgres discards a batch: its requests are taken back from what they left, not from what later batches made of it.
    pub(super) fn rewind(&mut self, server: &ServerConnection) {
        let front = server.owed.ahead().next().map(|(request, ..)| request);
        if matches!(front, Some(Request::Query | Request::FunctionCall | Request::Sync)) {
            return;
        }
        let mut ahead = server.owed.ahead();
        let discarded = ahead.by_ref().take_while(|(request, ..)| *request != Request::Sync);
        let of_unnamed = |(.., undo): (_, _, Option<&Undo>)| undo.is_some_and(Undo::is_of_unnamed);
        let changes = discarded.filter(|entry| of_unnamed(*entry)).count() > 0;
        let later = |(request, answer, undo)| before(request, answer, undo);
        if changes && let Some(before) = ahead.find_map(later) {
            self.unnamed = before.map(Arc::clone);
        }
    }

    /// What Postgres has discarded was taken back, and what was sent behind it will still happen: that decides what the
    /// unnamed statement is. (What a name means is not changed while that of an earlier request is open.)
    pub(super) fn look_ahead(&mut self, server: &mut ServerConnection) {
        let now = self.unnamed.clone();
        let changes = |(request, answer, undo): &(Request, Answer, Option<&mut Undo>)| {
            before(*request, *answer, undo.as_deref()).is_some()
        };
        if let Some((.., Some(undo))) = server.owed.ahead_mut().find(changes) {
            begin_with(undo, now);
        }
        // The last of them decides.
        for (request, answer, undo) in server.owed.ahead().rev() {
            if request == Request::Query && !answer.is_ours() {
                return self.unnamed = None;
            } else if let Some(Undo::ParsedUnnamed { statement, .. }) = undo {
                return self.unnamed = Some(Arc::clone(statement));
            } else if matches!(undo, Some(Undo::Closed { name, .. }) if name.is_empty()) {
                return self.unnamed = None;
            }
        }
    }
}

/// What the unnamed statement was before this request, if that changes it.
fn before(
    request: Request,
    answer: Answer,
    undo: Option<&Undo>,
) -> Option<Option<&Arc<Statement>>> {
    match undo {
        Some(Undo::ParsedUnnamed { before, .. }) => Some(before.as_ref()),
        Some(Undo::Queried { unnamed, .. } | Undo::Deallocated { unnamed, .. }) => {
            (request == Request::Query).then_some(unnamed.as_ref())
        }
        Some(Undo::Closed { name, statement, .. }) if name.is_empty() => Some(Some(statement)),
        Some(_) | None => (request == Request::Query && !answer.is_ours()).then_some(None),
    }
}

/// It was this before the request.
fn begin_with(undo: &mut Undo, now: Option<Arc<Statement>>) {
    match (undo, now) {
        (Undo::ParsedUnnamed { before, .. }, now) => *before = now,
        (Undo::Queried { unnamed, .. } | Undo::Deallocated { unnamed, .. }, now) => *unnamed = now,
        (Undo::Closed { statement, .. }, Some(now)) => *statement = now,
        // There was nothing to close.
        (closed @ Undo::Closed { .. }, None) => *closed = Undo::Used(Box::default()),
        (
            Undo::Parsed { .. }
            | Undo::Injected(_)
            | Undo::Homed(_)
            | Undo::InjectedUnnamed
            | Undo::Lent(_)
            | Undo::Duplicate(_)
            | Undo::Evicted(_)
            | Undo::Used(_)
            | Undo::Strayed { .. }
            | Undo::SqlPrepared(_)
            | Undo::Optional,
            _,
        ) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::relay::rig::{Client, Rig, all, bind, error, parse, query, ready, sync};

    #[test]
    fn what_a_discarded_batch_made_does_not_come_back_with_a_later_one() {
        for later in [parse("", "select 3"), query("select 3")] {
            let (mut rig, mut client) = (Rig::new(200), Client::default());
            let first = [parse("", "nonsense"), parse("", "select 2"), sync()].concat();
            let second = [bind("none", b""), later, sync()].concat();
            rig.ask(&mut client, &all(&[&first, &second]));
            for code in ["42601", "26000"] {
                rig.reply(&mut client, &all(&[&error(code, "no"), &ready(b'I')]));
            }
            assert!(client.statements.get(b"").is_none());
        }
    }
}
