//! A client whose request waits until its server has taken the client's settings: what happens when it
//! refuses them, or the client does not want to wait any more.

use std::task::Context;
use std::time::Instant;

use super::record::Phase;
use super::report::Report;
use super::session::{Attached, Cancelling, Carried, End, HeldBy, Session, State, Step};
use super::unfit::Fit;
use crate::pool::handle::{Leave, PooledServer};
use crate::protocol::sqlstate::SqlState;
use crate::relay::buffers::Buffers;
use crate::relay::replies::ServerFault;
use crate::server::cancel::Start;
use crate::server::connection::{Body, Sent};
use crate::server::parameters::Applied;

impl Session {
    /// Takes a server for a transaction: it gets the client's settings. The client's first request goes
    /// with them only where nothing depends on them.
    pub(super) fn attach(&mut self, mut server: PooledServer, now: Instant) -> Attached {
        let now = self.context.nanos(now);
        let connection = server.connection();
        connection.taken_at = now;
        connection.schemas = None;
        connection.bound_forgets = false;
        connection.kept.keep(&[]);
        let interest = self.handle.pool.database.registry.sequences.interest();
        let attached = match connection.apply(&self.settings, now) {
            Sent::Nothing | Sent::Harmless => Attached::Ready,
            Sent::OfFresh => Attached::Becoming(HeldBy::Own),
            Sent::OfUsed => Attached::Becoming(HeldBy::Others),
        };
        connection.take_sequences(self.record.id, interest, now);
        self.record.server_pid.set(connection.key.pid);
        self.record.transaction_since.set(now);
        self.record.enter(Phase::Running, now);
        self.handle.meter.borrow_mut().assignments += 1;
        self.state = State::Active(server);
        attached
    }

    /// Does its request wait for the server to take its settings?
    pub(super) fn is_held(&self) -> bool {
        matches!(self.carried, Carried::Held(_))
    }

    /// The server refuses the client's settings: the client's request has not been sent.
    pub(super) fn not_become(
        &mut self,
        code: SqlState,
        message: String,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Step {
        // A function prepared a statement of that name unseen: that server is no good to anybody.
        let taken = code == SqlState::DUPLICATE_PREPARED_STATEMENT;
        // Settings that were to be given back, behind a transaction: the next server gets them.
        let mut goes_on = code == SqlState::QUERY_CANCELED && self.body == Body::Boundary;
        if let State::Active(mut server) = std::mem::replace(&mut self.state, State::Idle) {
            let connection = server.connection();
            goes_on &= !connection.is_at_clients() && connection.pins.is_empty();
            if taken {
                server.discard();
            } else {
                // A Query that fails changes nothing: the server is as it was, which its next client does not rely on.
                server.connection().applied = Applied::Unknown;
                server.leave(Leave::Finish, Body::Boundary);
            }
        }
        self.record.server_pid.set(0);
        self.record.enter(Phase::Idle, self.context.nanos(Instant::now()));
        match std::mem::replace(&mut self.carried, Carried::Incomplete) {
            Carried::Held(by) if taken || by == HeldBy::Others => {
                // What another client left cannot be taken back there, one setting at a time: all of it will be. It may
                // be its statement_timeout that ended this.
                self.carried = Carried::Uncertain;
                Step::Moved
            }
            // A cancel request, from outside.
            Carried::Held(_) if code == SqlState::QUERY_CANCELED => {
                self.refuse_ahead(&Report::Cancelled, cx, buffers)
            }
            Carried::Held(_) => {
                self.take_back();
                self.fit = Fit::Refused;
                self.refuse_ahead(&Report::SettingsRefused { code, message: &message }, cx, buffers)
            }
            before @ (Carried::Incomplete | Carried::Uncertain) if goes_on => {
                self.carried = before;
                Step::Moved
            }
            Carried::Incomplete | Carried::Uncertain => {
                Step::Over(End::ServerFault(ServerFault::SettingsRefused { code, message }))
            }
        }
    }

    /// A cancel request came: it is for what the client asked, not for a query of ours that the server is at. Then the
    /// client's own may be sent already, or lie in its socket; or it has its answer, and the request came too late.
    pub(super) fn cancel(&mut self) -> Step {
        let before = std::mem::replace(&mut self.cancelling, Cancelling::No);
        if let State::Active(server) = &mut self.state {
            let connection = server.connection();
            if connection.is_at_our_query() {
                let waits = !self.carry.is_empty()
                    || connection.is_at_clients()
                    || self.stream.seems_readable();
                self.cancelling = if waits { Cancelling::Later } else { Cancelling::No };
            } else {
                server.cancel(if before == Cancelling::Due { Start::Soon } else { Start::Now });
            }
        }
        Step::Moved
    }

    /// All that can be done is done: is it the moment for a cancel request that came too early? It counts once, for
    /// what the client has asked by then.
    #[inline]
    pub(super) fn may_cancel(&mut self) -> bool {
        match self.cancelling {
            Cancelling::No => return false,
            Cancelling::Due => {
                self.cancelling = Cancelling::No;
                return false;
            }
            Cancelling::Later => {}
        }
        if let State::Active(server) = &mut self.state
            && server.connection().is_at_our_query()
        {
            return false;
        }
        self.cancelling = Cancelling::Due;
        true
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
