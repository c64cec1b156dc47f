//! The end of a session: its server is left, its client and the log are told why.

use std::future::poll_fn;
use std::time::Duration;

use tokio::time::timeout;
use tracing::info;

use super::record::Kick;
use super::report::Report;
use super::session::{End, Session};
use crate::net::stream::Stream;
use crate::relay::replies::ServerFault;
use crate::server::connection::poll_flush;

/// How long a client is given to hear why its session ended.
pub(super) const FAREWELL: Duration = Duration::from_millis(500);

/// The end of a session: the server is left, the client told why, the log as well.
pub(super) async fn farewell(mut session: Box<Session>, end: End) {
    let between = session.leave(&end);
    if session.context.shared.pools.config().log.log_disconnections {
        let _span = session.record.span().entered();
        info!(reason = %end, "disconnected");
    }
    // In the middle of a message it would be taken for the rest of that message.
    if between && let Some(report) = report(&end) {
        let code = report.write(&mut session.unsent);
        session.handle.meter.borrow_mut().count_report(code, report.reason());
    }
    say_last(&mut session.stream, &mut session.unsent).await;
}

/// What is left to say is said, and the connection ended.
pub(super) async fn say_last(stream: &mut Stream, unsent: &mut Vec<u8>) {
    if unsent.is_empty() {
        return stream.say_end();
    }
    let last_words = async {
        poll_fn(|cx| poll_flush(stream, unsent, cx)).await?;
        poll_fn(|cx| stream.poll_shutdown(cx)).await?;
        poll_fn(|cx| stream.poll_end(cx)).await
    };
    // Whoever does not listen misses it.
    let _ = timeout(FAREWELL, last_words).await;
}

/// What the client is told at the end, if there is anything to say and anybody to hear it.
pub(super) fn report(end: &End) -> Option<Report<'_>> {
    Some(match end {
        End::Terminated | End::ClientClosed | End::ClientFailed(_) | End::ServerFatal => {
            return None;
        }
        End::Violation(violation) => Report::Violation(violation),
        End::TransactionBlock => Report::TransactionBlock,
        End::ServerGone => Report::ServerGone,
        End::ServerFault(ServerFault::SettingsRefused { message, .. }) => {
            Report::SettingsLost(message)
        }
        End::ServerFault(_) => Report::ServerBroken,
        End::Kicked(kick) => match kick {
            Kick::ClientIdle => Report::ClientIdleTimeout,
            Kick::IdleTransaction => Report::IdleTransactionTimeout,
            Kick::Transaction => Report::TransactionTimeout,
            Kick::Shutdown | Kick::ShutdownNow => Report::Shutdown,
            Kick::DatabaseGone => Report::DatabaseGone,
            Kick::Ended => Report::Ended,
            Kick::QueryWait => Report::QueryWaitTimeout,
            Kick::Cancel => Report::Cancelled,
            Kick::QueryTimeout => Report::QueryTimeout,
            Kick::Probe => return None,
        },
    })
}
