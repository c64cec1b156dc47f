//! A client whose request waits until its server has taken the client's settings: what happens when it
//! refuses them, or the client does not want to wait any more.

use std::task::Context;
use std::time::Instant;

use super::record::Phase;
use super::report::Report;
use super::session::{Carried, End, HeldBy, Session, State, Step};
use super::unfit::Fit;
use crate::pool::handle::Leave;
use crate::protocol::sqlstate::SqlState;
use crate::relay::buffers::Buffers;
use crate::relay::replies::ServerFault;
use crate::server::connection::Body;

impl Session {
    /// Does its request wait for the server to take its settings?
    pub(super) fn is_held(&self) -> bool {
        matches!(self.carried, Carried::Held(_))
    }

    /// The server refuses the client's settings: the client's request has not been sent.
    pub(super) fn not_become(
        &mut self,
        code: SqlState,
        message: &str,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Step {
        if let State::Active(server) = std::mem::replace(&mut self.state, State::Idle) {
            server.unfit(message);
        }
        self.record.server_pid.set(0);
        self.record.enter(Phase::Idle, self.context.nanos(Instant::now()));
        match std::mem::replace(&mut self.carried, Carried::Incomplete) {
            // A cancel request, of this client.
            _ if code == SqlState::QUERY_CANCELED => {
                self.refuse_ahead(&Report::Cancelled, cx, buffers)
            }
            Carried::Held(HeldBy::Others) => {
                // What another client left cannot be taken back there. A fresh server will do.
                self.carried = Carried::Uncertain;
                Step::Moved
            }
            Carried::Held(HeldBy::Own) => {
                self.fit = Fit::Refused;
                self.refuse_ahead(&Report::SettingsRefused { code, message }, cx, buffers)
            }
            Carried::Incomplete | Carried::Uncertain => {
                let message = message.to_owned();
                Step::Over(End::ServerFault(ServerFault::SettingsRefused { code, message }))
            }
        }
    }

    /// The request to be cancelled has not been sent yet: a cancel request would find nothing to
    /// cancel, and the request would run after it.
    pub(super) fn cancel_held(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Step {
        if let State::Active(server) = std::mem::replace(&mut self.state, State::Idle) {
            server.leave(Leave::Finish, Body::Boundary);
        }
        self.record.server_pid.set(0);
        self.carried = Carried::Incomplete;
        self.refuse_ahead(&Report::Cancelled, cx, buffers)
    }
}
