//! A client that holds a server: both directions of the relay, and the end of the transaction.

use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::record::{Kick, Phase};
use super::report::Report;
use super::session::{Carried, End, Saying, Session, State, Step};
use super::stock::Stock;
use super::unfit::Fit;
use crate::config::PoolMode;
use crate::pool::handle::{LAST_WORDS, Leave};
use crate::protocol::backend::{TransactionStatus, write_parameter_status};
use crate::relay::buffers::{Buffers, Splice, poll_input};
use crate::relay::replies::Replies;
use crate::relay::requests::{Pinning, Requests, Wish};
use crate::relay::retrying::Failed;
use crate::server::connection::{Body, poll_flush};
use crate::sql::feature::Features;

/// Requests that may wait for their replies before no more are read from the client.
const MOST_OWED: usize = 65_536;

/// The setting that a client is told of when it may be gone: no driver knows it, none minds.
const PROBE: (&str, &str) = ("pooler.probe", "");

impl Session {
    /// One round of both directions.
    pub(super) fn active(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Step {
        let blocked = !self.unsent.is_empty();
        match poll_flush(&mut self.stream, &mut self.unsent, cx) {
            Poll::Ready(Err(error)) => return Step::Over(End::ClientFailed(error)),
            Poll::Ready(Ok(())) if blocked => {
                self.statements.unblock(self.context.nanos(Instant::now()));
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let mut moved = false;
        match self.read_client(cx, buffers) {
            Step::Stuck => {}
            Step::Moved => moved = true,
            over @ Step::Over(_) => return over,
        }
        match self.read_server(cx, buffers) {
            Step::Stuck if moved => Step::Moved,
            step @ (Step::Stuck | Step::Moved | Step::Over(_)) => step,
        }
    }

    /// Client to server, as long as the server takes it.
    fn read_client(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Step {
        let State::Active(server) = &mut self.state else { return Step::Moved };
        let connection = server.connection();
        match connection.poll_flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Pending => return Step::Stuck,
            // What it said last may still be there to read.
            Poll::Ready(Err(_)) => {
                connection.unsent = Vec::new();
                return Step::Stuck;
            }
        }
        if self.carried != Carried::Incomplete {
            return self.take_again(cx, &mut buffers.out);
        }
        let restoring = connection.owed.is_restoring()
            || connection.asked.as_ref().is_some_and(|asked| asked.effects.is_wide());
        let held = restoring || self.fit != Fit::Good;
        if self.saying != Saying::Anything || connection.owed.len() > MOST_OWED || held {
            return Step::Stuck;
        }
        match poll_input(&mut self.stream, &mut self.carry, cx, &mut buffers.read) {
            Poll::Pending => Step::Stuck,
            Poll::Ready(Err(error)) => Step::Over(End::ClientFailed(error)),
            Poll::Ready(Ok(None)) => self.client_closed(cx),
            Poll::Ready(Ok(Some(input))) => {
                let Buffers { read, out } = buffers;
                self.handle.meter.borrow_mut().received += input.fresh();
                self.forward(input.bytes(read), Instant::now(), cx, out)
            }
        }
    }

    /// Takes what had to wait for replies once they are there, or a COPY waits for the client.
    fn take_again(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Step {
        let State::Active(server) = &mut self.state else { return Step::Moved };
        let owed = &server.connection().owed;
        if owed.is_running() && !owed.is_copying_in() {
            return Step::Stuck;
        }
        self.carried = Carried::Incomplete;
        let input = std::mem::take(&mut self.carry);
        self.forward(&input, Instant::now(), cx, out)
    }

    /// Passes requests on to the server that is held.
    pub(super) fn forward(
        &mut self,
        input: &[u8],
        now: Instant,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Step {
        let State::Active(server) = &mut self.state else { return Step::Moved };
        let now = self.context.nanos(now);
        let pinning = if server.may_keep() { Pinning::Allowed } else { Pinning::Refused };
        let connection = server.connection();
        // What is sent again must be all of its transaction.
        let alone = self.body == Body::Boundary && connection.is_free_of_clients();
        let mut splice = Splice::new(input, out);
        let mut requests = Requests {
            statements: &mut self.statements,
            body: &mut self.body,
            registry: &self.handle.pool.database.registry,
            server: connection,
            settings: &self.settings,
            initial: &self.initial,
            pinning,
            unreadable: self.handle.pool.rules.unreadable(),
            refused: Features::NONE,
            now,
        };
        let taken = requests.take(input, &mut splice);
        let whole = taken.as_ref().is_ok_and(|taken| taken.consumed == input.len());
        connection.kept.keep(if alone && whole { input } else { &[] });
        let sent = connection.send(cx, splice.finish());
        self.note_sent(now);
        if let Err(error) = sent.or_else(|error| self.server_lost_words(error)) {
            tracing::debug!(%error, "sending to the server failed");
            return Step::Over(End::ServerGone);
        }
        let taken = match taken {
            Ok(taken) => taken,
            Err(violation) => return Step::Over(End::Violation(violation)),
        };
        if !taken.refused.is_empty() {
            self.note_refused(taken.refused);
        }
        let rest = &input[taken.consumed..];
        match taken.wish {
            Wish::None => self.carry.extend_from_slice(rest),
            Wish::Later => {
                self.carry.extend_from_slice(rest);
                self.carried = Carried::Uncertain;
            }
            Wish::Flush => {
                self.carry.extend_from_slice(rest);
                return self.flush_fakes(cx, out);
            }
            Wish::Leave => {
                self.saying = Saying::Goodbye;
                self.record.enter(Phase::Orphaned, now);
            }
        }
        Step::Moved
    }

    /// Requests were passed on.
    #[inline]
    fn note_sent(&mut self, now: u64) {
        let State::Active(server) = &mut self.state else { return };
        let connection = server.connection();
        match self.record.phase.get() {
            Phase::IdleInTransaction => self.record.enter(Phase::Running, now),
            // It has kept its server.
            Phase::Idle if !connection.owed.is_quiet() => {
                connection.taken_at = now;
                self.record.transaction_since.set(now);
                self.record.enter(Phase::Running, now);
            }
            Phase::Idle
            | Phase::Waiting
            | Phase::Running
            | Phase::Orphaned
            | Phase::Replicating => {}
        }
        if connection.touched.as_ref().is_some_and(|touched| !touched.begins.is_empty()) {
            server.may_be_kept();
        }
    }

    /// A socket that takes nothing any more may still hold the server's last words: they are read
    /// before the client is told that the server is gone.
    fn server_lost_words(&mut self, error: io::Error) -> io::Result<()> {
        let State::Active(server) = &mut self.state else { return Err(error) };
        server.connection().unsent = Vec::new();
        Ok(())
    }

    /// The client asked for what is ready: replies in Postgres' place too.
    fn flush_fakes(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Step {
        let State::Active(server) = &mut self.state else { return Step::Moved };
        let mut splice = Splice::new(&[], out);
        while let Some(tag) = server.connection().owed.next_fake() {
            crate::protocol::backend::write_empty_reply(splice.insert(), tag);
        }
        match self.tell(cx, splice.finish()) {
            Ok(()) => Step::Moved,
            Err(error) => Step::Over(End::ClientFailed(error)),
        }
    }

    /// Server to client, as long as the client takes it.
    fn read_server(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Step {
        if !self.unsent.is_empty() {
            return Step::Stuck;
        }
        let State::Active(server) = &mut self.state else { return Step::Moved };
        let connection = server.connection();
        let Buffers { read, out } = buffers;
        let input = match poll_input(&mut connection.stream, &mut connection.carry, cx, read) {
            Poll::Pending => return self.between(),
            Poll::Ready(Ok(Some(input))) => input,
            Poll::Ready(Ok(None)) => return Step::Over(End::ServerGone),
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "the server's connection failed");
                return Step::Over(End::ServerGone);
            }
        };
        let input = input.bytes(read);
        let now = Instant::now();
        let nanos = self.context.nanos(now);
        let timed_out = self.record.has_cancelled(connection.owed.oldest());
        let mut splice = Splice::new(input, out);
        let (passed, refused) = {
            let mut meter = self.handle.meter.borrow_mut();
            let mut replies = Replies {
                statements: &mut self.statements,
                registry: &self.handle.pool.database.registry,
                server: connection,
                meter: &mut meter,
                now: nanos,
                timed_out,
                failed: Failed::default(),
                refused: None,
            };
            (replies.pass(input, &mut splice), replies.refused)
        };
        let bytes = splice.finish();
        let told = self.tell(cx, bytes);
        let passed = match passed {
            Ok(passed) => passed,
            Err(fault) => return Step::Over(End::ServerFault(fault)),
        };
        if passed.consumed < input.len() {
            let State::Active(server) = &mut self.state else { return Step::Moved };
            server.connection().carry.extend_from_slice(&input[passed.consumed..]);
        }
        if let Err(error) = told {
            return Step::Over(End::ClientFailed(error));
        }
        if !self.unsent.is_empty() {
            self.note_blocked(nanos);
        }
        if passed.fatal {
            return Step::Over(End::ServerFatal);
        }
        if let Some((code, message)) = refused {
            return self.not_become(code, message, cx, buffers);
        }
        self.go_on(now, cx, buffers)
    }

    /// Replies were passed on: a batch is sent again if it is due, else the transaction may be over.
    #[inline]
    fn go_on(&mut self, now: Instant, cx: &mut Context<'_>, buffers: &mut Buffers) -> Step {
        let State::Active(server) = &mut self.state else { return Step::Moved };
        if let Some(batch) = server.connection().kept.take_due() {
            return self.send_again(&batch, now, cx, &mut buffers.out);
        }
        self.settle(now, self.context.nanos(now))
    }

    /// The client did not take all there was: what runs is held up, unless it ended with that.
    #[cold]
    fn note_blocked(&mut self, now: u64) {
        let State::Active(server) = &mut self.state else { return };
        if !server.connection().owed.is_quiet() {
            self.statements.block(now);
        }
    }

    /// After replies: the server is given back if the transaction is over.
    #[inline]
    fn settle(&mut self, now: Instant, nanos: u64) -> Step {
        // What Postgres says unasked to a client that keeps it ends no transaction.
        let resting = self.is_resting();
        let State::Active(server) = &mut self.state else { return Step::Moved };
        let connection = server.connection();
        if !connection.owed.is_quiet() || resting && connection.reported.is_empty() {
            return Step::Moved;
        }
        if !connection.owed.is_free() {
            if connection.owed.status() != TransactionStatus::Idle
                && self.handle.pool.rules.mode() == PoolMode::Statement
            {
                return Step::Over(End::TransactionBlock);
            }
            // A batch without its Sync is a transaction too.
            if self.saying == Saying::Anything {
                self.record.enter(Phase::IdleInTransaction, nanos);
            }
            return if self.saying == Saying::Anything { Step::Moved } else { self.said_all() };
        }
        if matches!(self.body, Body::Forward(_))
            || connection.body != Body::Boundary
            || self.carried != Carried::Incomplete
        {
            return Step::Moved;
        }
        if (!connection.reported.is_empty()
            || connection.touched.is_some()
            || connection.asked.is_some())
            && matches!(self.take_stock(nanos), Stock::Asked)
        {
            return Step::Moved;
        }
        self.release(now, nanos)
    }

    /// Nothing came from the server. A client that left with nothing under way leaves its server,
    /// and so does one whose last message ended only after the transaction did (COPY that failed).
    fn between(&mut self) -> Step {
        let State::Active(server) = &mut self.state else { return Step::Moved };
        if self.saying != Saying::Anything {
            return self.said_all();
        }
        if !server.connection().owed.is_free() || self.body != Body::Boundary || self.is_resting() {
            return Step::Stuck;
        }
        let now = Instant::now();
        let nanos = self.context.nanos(now);
        self.settle(now, nanos)
    }

    /// The client says nothing more: is anything still to be answered?
    fn said_all(&mut self) -> Step {
        let State::Active(server) = &mut self.state else { return Step::Moved };
        if server.connection().owed.is_running() {
            return Step::Stuck;
        }
        match self.saying {
            Saying::Goodbye => Step::Over(End::Terminated),
            Saying::Anything | Saying::Nothing => Step::Over(End::ClientClosed),
        }
    }

    /// The client closed its side in the middle of something. A half-closed client still gets its
    /// reply; of one that is gone the next thing sent to it makes the kernel say so.
    fn client_closed(&mut self, cx: &mut Context<'_>) -> Step {
        self.saying = Saying::Nothing;
        let State::Active(server) = &mut self.state else { return Step::Moved };
        let connection = server.connection();
        // Data for a COPY cannot come any more.
        let over = !connection.owed.is_running() || connection.owed.is_copying_in();
        if over || !matches!(self.body, Body::Boundary) {
            return Step::Over(End::ClientClosed);
        }
        self.record.enter(Phase::Orphaned, self.context.nanos(Instant::now()));
        if connection.body == Body::Boundary && self.unsent.is_empty() {
            let mut probe = Vec::new();
            write_parameter_status(&mut probe, PROBE.0, PROBE.1);
            if let Err(error) = self.tell(cx, &probe) {
                return Step::Over(End::ClientFailed(error));
            }
        }
        Step::Moved
    }

    /// A push from outside.
    pub(super) fn kicked(
        &mut self,
        kick: Kick,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Step {
        let (resting, held) = (self.is_resting(), self.is_held());
        match (kick, &mut self.state) {
            // A request too late hits what comes next, or the question what is left.
            (Kick::Cancel, State::Active(_)) if resting => Step::Moved,
            (Kick::Cancel, State::Active(_)) if held => self.cancel_held(cx, buffers),
            (Kick::Cancel, State::Active(_)) => self.cancel(),
            (Kick::QueryTimeout, State::Active(_)) => match self.query_overdue() {
                Step::Moved if self.record.phase.get() == Phase::Orphaned => {
                    self.kicked(Kick::Probe, cx, buffers)
                }
                step @ (Step::Moved | Step::Stuck | Step::Over(_)) => step,
            },
            (Kick::Cancel, State::Waiting { ticket, .. }) => {
                self.handle.pool.abandon(*ticket, self.handle.worker);
                self.state = State::Idle;
                self.refuse_ahead(&Report::Cancelled, cx, buffers)
            }
            (Kick::QueryWait, State::Waiting { ticket, .. }) => {
                self.handle.pool.abandon(*ticket, self.handle.worker);
                self.state = State::Idle;
                self.refuse_ahead(&Report::QueryWaitTimeout, cx, buffers)
            }
            (Kick::Probe, State::Active(_)) => self.probe(),
            (Kick::ClientIdle | Kick::Shutdown | Kick::DatabaseGone, State::Idle) => {
                Step::Over(End::Kicked(kick))
            }
            (Kick::ClientIdle | Kick::Shutdown | Kick::DatabaseGone, State::Active(_))
                if resting =>
            {
                Step::Over(End::Kicked(kick))
            }
            (Kick::IdleTransaction | Kick::Transaction, State::Active(_))
            | (Kick::ShutdownNow | Kick::Ended, _) => Step::Over(End::Kicked(kick)),
            // Too late: the client has moved on.
            (
                Kick::Cancel
                | Kick::QueryTimeout
                | Kick::QueryWait
                | Kick::Probe
                | Kick::ClientIdle
                | Kick::Shutdown
                | Kick::DatabaseGone
                | Kick::IdleTransaction
                | Kick::Transaction,
                _,
            ) => Step::Moved,
        }
    }

    /// Is the client still there?
    fn probe(&self) -> Step {
        if self.saying == Saying::Goodbye {
            let since = Duration::from_nanos(self.record.since.get());
            let now = Duration::from_nanos(self.context.nanos(Instant::now()));
            if now.saturating_sub(since) < LAST_WORDS {
                return Step::Moved;
            }
            return Step::Over(End::Terminated);
        }
        match self.stream.take_error() {
            Ok(None) => Step::Moved,
            Ok(Some(error)) | Err(error) => Step::Over(End::ClientFailed(error)),
        }
    }

    /// The session is over: its server is left in the way that fits.
    /// Gives whether the client stands between two messages, so that it can be told why.
    pub(super) fn leave(&mut self, end: &End) -> bool {
        let mut between = true;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {}
            State::Waiting { ticket, .. } => {
                self.handle.pool.abandon(ticket, self.handle.worker);
            }
            State::Active(mut server) => {
                between = server.connection().body == Body::Boundary;
                if !between {
                    // Half a message has gone to the client: nothing that is said now would be
                    // understood.
                    self.unsent = Vec::new();
                }
                match end {
                    End::ServerFatal | End::ServerGone => server.close(),
                    End::ServerFault(_) => server.discard(),
                    End::Terminated if server.connection().owed.is_running() => {
                        server.leave(Leave::Abort, self.body);
                    }
                    End::Terminated => server.leave(Leave::Finish, self.body),
                    End::ClientFailed(_) if self.saying == Saying::Goodbye => {
                        server.leave(Leave::Finish, self.body);
                    }
                    End::ClientClosed
                    | End::ClientFailed(_)
                    | End::Violation(_)
                    | End::TransactionBlock
                    | End::Kicked(_) => server.leave(Leave::Abort, self.body),
                }
            }
        }
        between
    }
}
