//! `query_timeout` for a client that holds a server: which query has run too long, and what to do
//! when cancelling it does not help. When to look is left to `timing`.

use std::time::{Duration, Instant};

use super::record::{CancelledQuery, Kick, Phase};
use super::session::{End, Session, State, Step};
use crate::server::cancel::Start;

/// How long Postgres has to act on the cancel. It cannot while it waits for the rest of a message,
/// or for a client that does not read: then the session ends.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

impl Session {
    /// Something has been running for `query_timeout`: a query, or several one after another.
    pub(super) fn query_overdue(&mut self) -> Step {
        let now = self.context.nanos(Instant::now());
        let State::Active(server) = &mut self.state else { return Step::Moved };
        let limit = self.record.timeouts.borrow().query;
        let (Some(started), Some(limit)) = (server.connection().owed.oldest(), limit) else {
            return Step::Moved;
        };
        let past =
            |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) >= limit.as_nanos();
        if !past(started, limit) {
            // Looked at again when this query has had its time. An orphan's clock is another.
            if self.record.phase.get() == Phase::Running {
                self.record.since.set(started);
            }
            return Step::Moved;
        }
        match self.record.cancelled.get() {
            Some(query) if query.started == started => {
                if past(query.cancelled, CANCEL_GRACE) {
                    return Step::Over(End::Kicked(Kick::QueryTimeout));
                }
            }
            Some(_) | None => {
                self.record.cancelled.set(Some(CancelledQuery { started, cancelled: now }));
                server.cancel(Start::Now);
            }
        }
        Step::Moved
    }
}
