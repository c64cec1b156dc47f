//! A client after login: it asks, holds a server while it must, and leaves.
//!
//! Written as one `poll` and not as an async fn: both directions of the relay run at once, and an
//! idle session must be as small as what it knows.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::context::WorkerContext;
use super::farewell::farewell;
use super::handshake::ClientPlaces;
use super::record::{ClientRecord, Kick, Phase};
use super::report::Report;
use super::unfit::Fit;
use crate::net::stream::Stream;
use crate::pool::handle::{Checkout, PoolHandle, PooledServer};
use crate::pool::slots::Ticket;
use crate::protocol::backend::{TransactionStatus, write_ready};
use crate::protocol::frame::{self, client_tag};
use crate::relay::buffers::{Buffers, READ_BUFFER, poll_input};
use crate::relay::local::{Local, Next};
use crate::relay::prepared::ClientStatements;
use crate::relay::replies::ServerFault;
use crate::relay::requests::Violation;
use crate::server::connection::{Body, poll_flush, send};
use crate::server::parameters::Settings;
use crate::sql::feature::Features;

/// Chunks passed on before other clients of the worker have their turn.
const TURN: usize = 16;

/// What a waiting client may send ahead.
const MOST_AHEAD: usize = READ_BUFFER / 2;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The client said goodbye.
    #[error("client disconnected")]
    Terminated,
    /// The client closed the connection without a word.
    #[error("client closed the connection unexpectedly")]
    ClientClosed,
    /// The client's socket failed.
    #[error("client connection failed: {0}")]
    ClientFailed(io::Error),
    /// The client broke the protocol.
    #[error("protocol violation: {0}")]
    Violation(Violation),
    /// The client began a transaction where `pool_mode = statement` allows none.
    #[error("transaction block in statement mode")]
    TransactionBlock,
    /// Postgres ended the session with a FATAL error, which the client got.
    #[error("ended by Postgres")]
    ServerFatal,
    /// Postgres went away.
    #[error("server closed the connection unexpectedly")]
    ServerGone,
    /// The server broke the protocol.
    #[error("server fault: {0}")]
    ServerFault(ServerFault),
    /// A limit or an operator ended it.
    #[error("{0}")]
    Kicked(Kick),
}

/// What a login hands over to the session, of whichever kind.
pub struct SessionParts {
    /// The client's socket.
    pub stream: Stream,
    /// Bytes read beyond the login.
    pub carry: Vec<u8>,
    /// What the worker knows of the client.
    pub record: Rc<ClientRecord>,
    /// Its place in the worker's table.
    pub place: usize,
    /// The worker.
    pub context: Rc<WorkerContext>,
    /// The worker's side of the pool.
    pub handle: Rc<PoolHandle>,
    /// Its places within the limits.
    pub places: ClientPlaces,
    /// What it is told first.
    pub first: Vec<u8>,
}

/// What the client still says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saying {
    /// Everything.
    Anything,
    /// It said goodbye; what it asked before is answered.
    Goodbye,
    /// It closed its side; it may still listen.
    Nothing,
}

/// What the carried bytes wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// The rest of a message, if there are any.
    Incomplete,
    /// To be looked at: replies of the server decide what they mean, or the login was before them.
    Uncertain,
    /// To be looked at once the server has the client's settings.
    Held(HeldBy),
}

/// Whose settings are at fault if a server refuses those of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldBy {
    /// The client's: the server had none.
    Own,
    /// Perhaps those of the client before.
    Others,
}

/// Whether a cancel request waits for its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelling {
    /// None came, or it was passed on.
    No,
    /// One came while the server was at a query of ours, which it is not to hit.
    Later,
    /// That query has ended.
    Due,
}

#[derive(Debug)]
pub(super) enum State {
    Idle,
    Waiting { ticket: Ticket, since: u64 },
    Active(PooledServer),
}

/// Is a server ready for the client's first request?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attached {
    /// Yes; what it must be told goes ahead in the same write.
    Ready,
    /// It has been told of settings. Nothing else is sent before it has said yes, or a request could
    /// run with those of another client.
    Becoming(HeldBy),
}

/// What a step did.
pub(super) enum Step {
    /// Something: go on.
    Moved,
    /// Nothing: wait to be woken.
    Stuck,
    /// The session is over.
    Over(End),
}

/// A client's session.
pub struct Session {
    pub(super) stream: Stream,
    pub(super) state: State,
    pub(super) saying: Saying,
    /// The client's message that is being passed on in parts.
    pub(super) body: Body,
    /// Is the rest of a batch dropped, whose beginning the pooler refused?
    pub(super) skipping: bool,
    pub(super) carried: Carried,
    pub(super) cancelling: Cancelling,
    /// Bytes of an incomplete message, or what a waiting client sent ahead.
    pub(super) carry: Vec<u8>,
    /// Bytes for the client that its socket has not taken yet.
    pub(super) unsent: Vec<u8>,
    pub(super) statements: ClientStatements,
    pub(super) fit: Fit,
    /// Session state it was refused, as the log knows.
    pub(super) refused: Features,
    pub(super) settings: Arc<Settings>,
    /// The settings at the session's start: what RESET goes back to.
    pub(super) initial: Arc<Settings>,
    pub(super) record: Rc<ClientRecord>,
    pub(super) place: usize,
    pub(super) context: Rc<WorkerContext>,
    pub(super) handle: Rc<PoolHandle>,
    _places: ClientPlaces,
}

impl Session {
    /// A session that has told its client nothing yet. `settings`: the client's.
    #[must_use]
    pub fn new(parts: SessionParts, settings: Arc<Settings>) -> Self {
        let watched = {
            let (record, log) = (&parts.record, parts.handle.queries.as_ref());
            ClientStatements::watched_by(log, record.id, &record.application.borrow())
        };
        let session = Self {
            stream: parts.stream,
            state: State::Idle,
            saying: Saying::Anything,
            body: Body::Boundary,
            skipping: false,
            // What came behind the login has not been looked at.
            carried: Carried::Uncertain,
            cancelling: Cancelling::No,
            carry: parts.carry,
            unsent: parts.first,
            statements: watched,
            fit: Fit::Good,
            refused: Features::NONE,
            initial: Arc::clone(&settings),
            settings,
            record: parts.record,
            place: parts.place,
            context: parts.context,
            handle: parts.handle,
            _places: parts.places,
        };
        session.show_search_path();
        session
    }

    /// Runs to the end.
    pub async fn run(mut self: Box<Self>) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.context.clients.borrow_mut().try_remove(self.place);
        // Boxed: rare, and not to be paid for by every idle session.
        Box::pin(farewell(self, end)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.record.keep_waker(cx.waker());
        // A reload may have changed it.
        self.statements.strip_comments(self.handle.pool.rules.strip());
        let context = Rc::clone(&self.context);
        let mut buffers = context.buffers.borrow_mut();
        for _ in 0..TURN {
            if let Some(kick) = self.record.take_kick()
                && let Step::Over(end) = self.kicked(kick, cx, &mut buffers)
            {
                return Poll::Ready(end);
            }
            let step = match &self.state {
                State::Idle => self.idle(cx, &mut buffers),
                State::Waiting { .. } => self.waiting(cx, &mut buffers),
                State::Active(_) => self.active(cx, &mut buffers),
            };
            match step {
                Step::Moved => {}
                Step::Stuck if self.may_cancel() => self.record.kick(Kick::Cancel),
                Step::Stuck => return Poll::Pending,
                Step::Over(end) => return Poll::Ready(end),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn idle(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Step {
        match poll_flush(&mut self.stream, &mut self.unsent, cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Step::Over(End::ClientFailed(error)),
            Poll::Pending => return Step::Stuck,
        }
        match self.saying {
            Saying::Anything => {}
            Saying::Goodbye => return Step::Over(End::Terminated),
            Saying::Nothing => return Step::Over(End::ClientClosed),
        }
        if self.carry.is_empty() {
            if self.context.draining.get() {
                return Step::Over(End::Kicked(Kick::Shutdown));
            }
            if self.handle.pool.is_gone() || self.record.leaves.get() {
                return Step::Over(End::Kicked(Kick::DatabaseGone));
            }
        }
        if self.carried == Carried::Uncertain {
            self.carried = Carried::Incomplete;
            let input = std::mem::take(&mut self.carry);
            return self.ask(&input, cx, &mut buffers.out);
        }
        match poll_input(&mut self.stream, &mut self.carry, cx, &mut buffers.read) {
            Poll::Pending => Step::Stuck,
            Poll::Ready(Err(error)) => Step::Over(End::ClientFailed(error)),
            Poll::Ready(Ok(None)) => Step::Over(End::ClientClosed),
            Poll::Ready(Ok(Some(input))) => {
                let Buffers { read, out } = buffers;
                self.handle.meter.borrow_mut().received += input.fresh();
                self.ask(input.bytes(read), cx, out)
            }
        }
    }

    /// Requests of a client that holds no server.
    pub(super) fn ask(
        &mut self,
        mut input: &[u8],
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Step {
        loop {
            out.clear();
            let mut local = Local {
                statements: &mut self.statements,
                registry: &self.handle.pool.database.registry,
                settings: &self.settings,
                body: &mut self.body,
                skipping: &mut self.skipping,
            };
            let taken = local.take(input, out);
            if !out.is_empty()
                && let Err(error) = self.tell(cx, out)
            {
                return Step::Over(End::ClientFailed(error));
            }
            let (consumed, next) = match taken {
                Ok(taken) => taken,
                Err(violation) => return Step::Over(End::Violation(violation)),
            };
            input = &input[consumed..];
            match next {
                Next::Read => {
                    self.record.heard(consumed, || self.context.nanos(Instant::now()));
                    self.carry.extend_from_slice(input);
                    return Step::Moved;
                }
                Next::Terminate => {
                    self.saying = Saying::Goodbye;
                    return Step::Moved;
                }
                Next::Server => {}
            }
            let now = Instant::now();
            match self.handle.checkout(now) {
                Checkout::Ready(server) => {
                    return self.begin(server, input, now, (cx, out));
                }
                Checkout::Wait(ticket) => {
                    let since = self.context.nanos(now);
                    self.carry.extend_from_slice(input);
                    if frame::ends_with_empty(input, client_tag::TERMINATE) {
                        // Last words, said together with what they are about, are still heard.
                        self.saying = Saying::Goodbye;
                    }
                    self.record.enter(Phase::Waiting, since);
                    self.state = State::Waiting { ticket, since };
                    return Step::Moved;
                }
                Checkout::Refused(failure) => {
                    let dropped = self.refuse(&Report::NoServer(&failure), input);
                    input = &input[dropped..];
                }
            }
        }
    }

    /// The client has a server: its requests go there, as soon as the server is who it must be.
    fn begin(
        &mut self,
        server: PooledServer,
        input: &[u8],
        now: Instant,
        (cx, out): (&mut Context<'_>, &mut Vec<u8>),
    ) -> Step {
        self.make_way(input);
        match self.attach(server, now) {
            Attached::Ready => self.forward(input, now, cx, out),
            Attached::Becoming(held) => {
                self.carry.extend_from_slice(input);
                self.carried = Carried::Held(held);
                Step::Moved
            }
        }
    }

    fn waiting(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Step {
        let State::Waiting { ticket, since } = &mut self.state else { return Step::Stuck };
        let since = *since;
        match self.handle.poll(ticket, cx.waker()) {
            Some(Ok(server)) => {
                let now = Instant::now();
                let waited = self.context.nanos(now).saturating_sub(since);
                self.handle.meter.borrow_mut().wait.record(waited);
                self.statements.waited(waited);
                let input = std::mem::take(&mut self.carry);
                self.begin(server, &input, now, (cx, &mut buffers.out))
            }
            Some(Err(failure)) => {
                self.state = State::Idle;
                self.refuse_ahead(&Report::NoServer(&failure), cx, buffers)
            }
            None => self.read_ahead(cx, buffers),
        }
    }

    /// A client that waits may go away, and may send on, within bounds.
    fn read_ahead(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Step {
        if let Poll::Ready(Err(error)) = poll_flush(&mut self.stream, &mut self.unsent, cx) {
            return Step::Over(End::ClientFailed(error));
        }
        if self.carry.len() >= MOST_AHEAD || self.saying != Saying::Anything {
            return Step::Stuck;
        }
        match self.stream.poll_read(cx, &mut buffers.read[..MOST_AHEAD]) {
            Poll::Pending => Step::Stuck,
            Poll::Ready(Err(error)) => Step::Over(End::ClientFailed(error)),
            // It gave up waiting: what it asked is not done.
            Poll::Ready(Ok(0)) => Step::Over(End::ClientClosed),
            Poll::Ready(Ok(length)) => {
                self.handle.meter.borrow_mut().received += length as u64;
                self.carry.extend_from_slice(&buffers.read[..length]);
                Step::Moved
            }
        }
    }

    /// What a client sent while it waited is refused; what follows in it is looked at anew.
    pub(super) fn refuse_ahead(
        &mut self,
        report: &Report<'_>,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Step {
        let input = std::mem::take(&mut self.carry);
        self.record.enter(Phase::Idle, self.context.nanos(Instant::now()));
        let dropped = self.refuse(report, &input);
        self.ask(&input[dropped..], cx, &mut buffers.out)
    }

    /// Answers the request at the start of `input` with an error; the session goes on. Gives how
    /// much of the input is dropped.
    fn refuse(&mut self, report: &Report<'_>, input: &[u8]) -> usize {
        let mut local = Local {
            statements: &mut self.statements,
            registry: &self.handle.pool.database.registry,
            settings: &self.settings,
            body: &mut self.body,
            skipping: &mut self.skipping,
        };
        let (dropped, alone) = local.refuse(input);
        let code = report.write(&mut self.unsent);
        self.handle.meter.borrow_mut().count_report(code, report.reason());
        if alone {
            write_ready(&mut self.unsent, TransactionStatus::Idle);
        }
        dropped
    }

    /// Sends to the client, or keeps what its socket does not take.
    #[inline]
    pub(super) fn tell(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        self.handle.meter.borrow_mut().sent += bytes.len() as u64;
        send(&mut self.stream, &mut self.unsent, cx, bytes)
    }
}
