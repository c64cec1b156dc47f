//! What Postgres owes us: the queue of requests on one server connection that have no complete
//! reply yet. A pure state machine: it decides the order of replies, what is passed on, what is
//! swallowed or answered in Postgres' place, what an error discards, and when the server is free.
//!
//! It knows nothing of names, statements or sockets; what must be taken back when a request is
//! discarded travels with the request as an opaque `U`.
//!
//! Postgres: `PostgresMain` and `SocketBackend` in src/backend/tcop/postgres.c,
//! <https://www.postgresql.org/docs/current/protocol-flow.html>.

use std::collections::VecDeque;

use crate::protocol::backend::TransactionStatus;
use crate::protocol::frame::server_tag;
use crate::protocol::sqlstate::SqlState;

/// A request that Postgres answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Simple query: ends with `ReadyForQuery`.
    Query,
    /// Fast-path function call: ends with `ReadyForQuery`.
    FunctionCall,
    /// Ends with `ParseComplete`.
    Parse,
    /// Ends with `BindComplete`.
    Bind,
    /// Ends with `RowDescription` or `NoData`.
    Describe,
    /// Ends with `CommandComplete`, `EmptyQueryResponse` or `PortalSuspended`.
    Execute,
    /// Ends with `CloseComplete`.
    Close,
    /// Ends with `ReadyForQuery`.
    Sync,
    /// `CopyDone` or `CopyFail`: no reply of its own, it separates the Syncs that `COPY FROM
    /// STDIN` eats from those it does not.
    CopyEnd,
}

impl Request {
    /// Does it run something, or end what ran?
    fn is_statement(self) -> bool {
        match self {
            Self::Query | Self::FunctionCall | Self::Execute | Self::Sync => true,
            Self::Parse | Self::Bind | Self::Describe | Self::Close | Self::CopyEnd => false,
        }
    }
}

/// For whom a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client sent the request: it gets the reply.
    Forward,
    /// We injected the request: its success is ours alone. Its failure is the client's, whose
    /// request made us inject it.
    Swallow,
    /// Nothing was sent: this empty message is the reply when its turn comes.
    Fake(u8),
    /// What was sent is sure to fail; the client gets `42P05 duplicate_prepared_statement`
    /// in place of that failure.
    DuplicateStatement,
}

#[derive(Debug)]
struct Entry<U> {
    request: Request,
    answer: Answer,
    /// When it was sent, in the caller's clock (nanoseconds).
    sent_at: u64,
    undo: Option<Box<U>>,
}

/// What to do with a message of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Forward,
    /// Drop it.
    Swallow,
}

/// What to do with an error of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorVerdict {
    /// Pass it on.
    Forward,
    /// Pass on `42P05` in its place.
    DuplicateStatement,
    /// A Query of ours failed: the caller decides who hears of it.
    OurQuery,
    /// Nothing was asked: the server speaks for itself, and is about to close.
    Unsolicited,
}

/// What an error came of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Something that Postgres read.
    Request,
    /// SQLSTATE class 57: cancelled, shut down. Nothing that Postgres read.
    Interrupt,
}

/// A reply that answers nothing we asked: the connection is out of step and cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected message of type {0:#04x} from the server")]
pub struct Unexpected(pub u8);

/// A request that has just been answered in full.
#[derive(Debug)]
pub struct Done<U> {
    /// What was asked.
    pub request: Request,
    /// When Postgres can have begun with it: sent, and the statement before it answered. What leads
    /// up to a statement (Parse, Bind, our own queries) counts as part of it: replies to all of them
    /// mostly come at once.
    pub started_at: u64,
    /// Was it one of ours?
    pub ours: bool,
    /// What travelled with it: it is not to be taken back any more.
    pub kept: Option<Box<U>>,
}

/// Where the extended protocol stands, as far as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    /// Nothing was sent since the last Sync.
    Closed,
    /// A Sync is due: Postgres is within a transaction, even if it owes no reply.
    Open,
    /// There was an error: Postgres discards everything up to the Sync.
    Skipping,
}

/// Where `COPY` stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    None,
    /// `COPY FROM STDIN` is reading; it eats Syncs, and has eaten this many that we know of.
    In {
        eaten: u32,
    },
}

/// Is it known which reply answers which request?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    InStep,
    /// It could not be known whether Postgres read a Sync inside or after a COPY: replies may be
    /// off by one, so the connection must not be used for anybody else.
    Doubtful,
}

/// The queue of owed replies.
#[derive(Debug)]
pub struct Owed<U> {
    queue: VecDeque<Entry<U>>,
    /// Requests in the queue that something was sent for (all but fakes and copy ends).
    outstanding: u32,
    /// Requests in the queue that would have to be taken back.
    undoable: u32,
    status: TransactionStatus,
    batch: Batch,
    copy: Copy,
    trust: Trust,
    last_done: u64,
}

impl Cause {
    /// What an error with this SQLSTATE came of.
    #[must_use]
    pub fn of(code: Option<SqlState>) -> Self {
        match code {
            Some(code) if code.class() == *b"57" => Self::Interrupt,
            Some(_) | None => Self::Request,
        }
    }
}

impl<U> Default for Owed<U> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            outstanding: 0,
            undoable: 0,
            status: TransactionStatus::Idle,
            batch: Batch::Closed,
            copy: Copy::None,
            trust: Trust::InStep,
            last_done: 0,
        }
    }
}

impl<U> Owed<U> {
    /// The transaction status of the last `ReadyForQuery`.
    #[must_use]
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// Does Postgres discard what it gets up to the next Sync? The caller then drops all but Sync
    /// itself, as the reply would be nothing.
    #[inline]
    #[must_use]
    pub fn is_skipping(&self) -> bool {
        self.batch == Batch::Skipping
    }

    /// Nothing is owed, no transaction or batch is open: another client may have the server.
    #[inline]
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.queue.is_empty()
            && self.batch == Batch::Closed
            && self.status == TransactionStatus::Idle
    }

    /// Nothing is owed, whatever the transaction's status.
    #[inline]
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many replies are owed.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Is nothing owed? The same as [`Self::is_quiet`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_quiet()
    }

    /// Is a statement running, as far as we can know?
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.outstanding > 0
    }

    /// May the connection be out of step (see the field)? Then it is closed, never reused.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.trust == Trust::Doubtful
    }

    /// When the oldest request that is still unanswered was sent.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.queue.iter().find(|e| !e.is_silent()).map(|e| e.sent_at)
    }

    /// Is `COPY FROM STDIN` reading what the client sends?
    #[must_use]
    pub fn is_copying_in(&self) -> bool {
        self.copy != Copy::None
    }

    /// Is the request at the front one of ours?
    #[must_use]
    pub fn front_is_ours(&self) -> bool {
        self.queue.front().is_some_and(|e| e.answer == Answer::Swallow)
    }

    /// Notes a request that was sent, or a fake one that was not. `undo` comes back if Postgres
    /// discards the request.
    ///
    /// The caller has asked [`Self::is_skipping`] before, for all but Sync.
    #[inline]
    pub fn push(&mut self, request: Request, answer: Answer, undo: Option<Box<U>>, now: u64) {
        match request {
            Request::Sync => {
                self.batch = Batch::Closed;
                // COPY reads it and answers nothing, unless the end of the data goes before it.
                if let Copy::In { eaten } = &mut self.copy
                    && !self.queue.iter().any(|e| e.request == Request::CopyEnd)
                {
                    *eaten += 1;
                    return;
                }
            }
            // A late end of data, after COPY failed: Postgres ignores it.
            Request::CopyEnd if self.queue.is_empty() => return,
            // They end with ReadyForQuery, and with it what was open.
            Request::Query | Request::FunctionCall => self.batch = Batch::Closed,
            Request::Parse
            | Request::Bind
            | Request::Describe
            | Request::Execute
            | Request::Close => self.batch = Batch::Open,
            // Who ends the data has seen COPY begin: the Syncs before it have been read.
            Request::CopyEnd => {
                if let Copy::In { eaten } = &mut self.copy {
                    *eaten = 0;
                }
            }
        }
        let entry = Entry { request, answer, sent_at: now, undo };
        self.outstanding += u32::from(!entry.is_silent());
        self.undoable += u32::from(entry.undo.is_some());
        self.queue.push_back(entry);
    }

    /// The next reply to give in Postgres' place: its tag. To be called until `None` before each
    /// message of the server, and where the client asked for a Flush.
    #[inline]
    pub fn next_fake(&mut self) -> Option<u8> {
        match self.queue.front()?.answer {
            Answer::Fake(tag) => {
                let entry = self.queue.pop_front()?;
                self.undoable -= u32::from(entry.undo.is_some());
                Some(tag)
            }
            Answer::Forward | Answer::Swallow | Answer::DuplicateStatement => None,
        }
    }

    /// Looks at a message of the server other than an error or `ReadyForQuery`.
    ///
    /// # Errors
    /// When it answers nothing that was asked.
    #[inline]
    pub fn received(
        &mut self,
        tag: u8,
        now: u64,
    ) -> Result<(Verdict, Option<Done<U>>), Unexpected> {
        use Request::{Bind, Close, Describe, Execute, FunctionCall, Parse, Query};
        let Some(front) = self.queue.front() else {
            return if is_asynchronous(tag) {
                Ok((Verdict::Forward, None))
            } else {
                Err(Unexpected(tag))
            };
        };
        let verdict = front.verdict();
        let request = front.request;
        let pops = match (tag, request) {
            (server_tag::PARAMETER_STATUS | server_tag::NOTICE | server_tag::NOTIFICATION, _)
            | (
                server_tag::DATA_ROW | server_tag::COPY_DATA | server_tag::COPY_DONE,
                Query | Execute,
            )
            | (server_tag::ROW_DESCRIPTION, Query)
            | (server_tag::COMMAND_COMPLETE | server_tag::EMPTY_QUERY, Query)
            | (server_tag::PARAMETER_DESCRIPTION, Describe)
            | (server_tag::FUNCTION_RESPONSE, FunctionCall)
            | (server_tag::COPY_OUT | server_tag::COPY_BOTH, Query | Execute) => false,
            (server_tag::COPY_IN, Query | Execute) => {
                self.copy_in_begins();
                false
            }
            (server_tag::PARSE_COMPLETE, Parse)
            | (server_tag::BIND_COMPLETE, Bind)
            | (server_tag::CLOSE_COMPLETE, Close)
            | (server_tag::ROW_DESCRIPTION | server_tag::NO_DATA, Describe)
            | (
                server_tag::COMMAND_COMPLETE
                | server_tag::EMPTY_QUERY
                | server_tag::PORTAL_SUSPENDED,
                Execute,
            ) => true,
            _ => return Err(Unexpected(tag)),
        };
        if tag == server_tag::COMMAND_COMPLETE {
            self.copy = Copy::None;
        }
        let done = if pops { self.pop(now) } else { None };
        Ok((verdict, done))
    }

    /// Looks at an error of the server: what Postgres discards now is discarded here, newest
    /// first, and `undo` gets what must be taken back.
    pub fn received_error(&mut self, cause: Cause, mut undo: impl FnMut(Box<U>)) -> ErrorVerdict {
        let Some(front) = self.queue.front() else { return ErrorVerdict::Unsolicited };
        let (request, answer) = (front.request, front.answer);
        if let Copy::In { eaten } = std::mem::replace(&mut self.copy, Copy::None)
            && cause == Cause::Interrupt
            && eaten > 0
        {
            self.trust = Trust::Doubtful;
        }
        match request {
            Request::Query | Request::FunctionCall | Request::Sync => {}
            Request::Parse
            | Request::Bind
            | Request::Describe
            | Request::Execute
            | Request::Close
            | Request::CopyEnd => self.discard_to_sync(&mut undo),
        }
        match (answer, request) {
            (Answer::Swallow, Request::Query) => ErrorVerdict::OurQuery,
            (Answer::DuplicateStatement, _) => ErrorVerdict::DuplicateStatement,
            (Answer::Forward | Answer::Swallow | Answer::Fake(_), _) => ErrorVerdict::Forward,
        }
    }

    /// Looks at a `ReadyForQuery`.
    ///
    /// # Errors
    /// When no Query, `FunctionCall` or Sync is at the front.
    #[inline]
    pub fn received_ready(
        &mut self,
        status: TransactionStatus,
        now: u64,
    ) -> Result<(Verdict, Option<Done<U>>), Unexpected> {
        self.skip_copy_ends();
        let Some(front) = self.queue.front() else {
            return Err(Unexpected(server_tag::READY_FOR_QUERY));
        };
        match front.request {
            Request::Query | Request::FunctionCall | Request::Sync => {
                let verdict = front.verdict();
                self.status = status;
                self.copy = Copy::None;
                let done = self.pop(now);
                self.skip_copy_ends();
                Ok((verdict, done))
            }
            Request::Parse
            | Request::Bind
            | Request::Describe
            | Request::Execute
            | Request::Close
            | Request::CopyEnd => Err(Unexpected(server_tag::READY_FOR_QUERY)),
        }
    }

    /// What would have to be taken back for the requests that are still in the queue, newest
    /// first: the connection is given up.
    pub fn abandon(&mut self, mut undo: impl FnMut(Box<U>)) {
        while let Some(entry) = self.queue.pop_back() {
            entry.undo.map(&mut undo);
        }
        self.outstanding = 0;
        self.undoable = 0;
    }

    /// Is the transaction's status known for what is sent now? Not while the end of an earlier batch
    /// is owed.
    #[inline]
    #[must_use]
    pub fn is_status_known(&self) -> bool {
        !self.queue.iter().any(Entry::ends_batch)
    }

    /// May a request of an earlier batch, which `concerns` picks out, still be taken back? Within
    /// its own batch that is no question: what comes after it is discarded with it.
    #[inline]
    pub fn is_uncertain(&self, concerns: impl Fn(&U) -> bool) -> bool {
        if self.undoable == 0 {
            return false;
        }
        self.queue
            .iter()
            .skip_while(|e| !e.undo.as_deref().is_some_and(&concerns))
            .any(Entry::ends_batch)
    }

    /// Is a request in the queue with which something travels that `concerns` picks out?
    #[inline]
    pub fn is_pending(&self, concerns: impl Fn(&U) -> bool) -> bool {
        self.undoable > 0 && self.in_flight().any(concerns)
    }

    /// What travels with the requests that are still in the queue, oldest first.
    pub fn in_flight(&self) -> impl Iterator<Item = &U> {
        self.queue.iter().filter_map(|entry| entry.undo.as_deref())
    }

    fn pop(&mut self, now: u64) -> Option<Done<U>> {
        let entry = self.queue.pop_front()?;
        self.outstanding -= u32::from(!entry.is_silent());
        self.undoable -= u32::from(entry.undo.is_some());
        let started_at = entry.sent_at.max(self.last_done);
        let ours = entry.answer == Answer::Swallow;
        if entry.request.is_statement() && !ours {
            self.last_done = now;
        }
        self.skip_copy_ends();
        Some(Done { request: entry.request, started_at, ours, kept: entry.undo })
    }

    fn skip_copy_ends(&mut self) {
        while self.queue.front().is_some_and(|e| e.request == Request::CopyEnd) {
            self.queue.pop_front();
        }
    }

    /// `CopyGetData` (copyfromparse.c) ignores Flush and Sync until the data ends: those sent
    /// before the client knew of the COPY get no `ReadyForQuery`.
    fn copy_in_begins(&mut self) {
        let mut eaten = 0;
        let mut at = 1;
        while let Some(entry) = self.queue.get(at) {
            match entry.request {
                Request::CopyEnd => break,
                Request::Sync => {
                    self.queue.remove(at);
                    self.outstanding -= 1;
                    eaten += 1;
                }
                Request::Query
                | Request::FunctionCall
                | Request::Parse
                | Request::Bind
                | Request::Describe
                | Request::Execute
                | Request::Close => at += 1,
            }
        }
        self.copy = Copy::In { eaten };
    }

    /// After an error in an extended batch Postgres reads and ignores everything up to Sync,
    /// simple queries too.
    fn discard_to_sync(&mut self, undo: &mut impl FnMut(Box<U>)) {
        let sync = self.queue.iter().position(|e| e.request == Request::Sync);
        if sync.is_none() {
            self.batch = Batch::Skipping;
        }
        let rest = self.queue.split_off(sync.unwrap_or(self.queue.len()));
        for entry in std::mem::replace(&mut self.queue, rest).into_iter().rev() {
            self.outstanding -= u32::from(!entry.is_silent());
            self.undoable -= u32::from(entry.undo.is_some());
            entry.undo.map(&mut *undo);
        }
    }
}

impl<U> Entry<U> {
    fn verdict(&self) -> Verdict {
        match self.answer {
            Answer::Swallow => Verdict::Swallow,
            Answer::Forward | Answer::Fake(_) | Answer::DuplicateStatement => Verdict::Forward,
        }
    }

    /// Does `ReadyForQuery` answer it?
    fn ends_batch(&self) -> bool {
        matches!(self.request, Request::Sync | Request::Query | Request::FunctionCall)
    }

    /// Was nothing sent that Postgres would answer?
    fn is_silent(&self) -> bool {
        self.request == Request::CopyEnd || matches!(self.answer, Answer::Fake(_))
    }
}

/// May a server say this unasked? Errors too, but those end the connection.
#[must_use]
pub fn is_asynchronous(tag: u8) -> bool {
    matches!(tag, server_tag::PARAMETER_STATUS | server_tag::NOTICE | server_tag::NOTIFICATION)
}
