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

use super::entry::Entry;
pub use super::request::{
    Answer, Cause, Discarded, Done, ErrorVerdict, Request, Unexpected, Verdict, is_asynchronous,
};
use super::stage::{Batch, Copy, Segments, Trust};
use crate::protocol::backend::TransactionStatus;
use crate::protocol::frame::server_tag;
use crate::stats::queries::{Times, Watched};

/// The queue of owed replies.
#[derive(Debug)]
pub struct Owed<U> {
    queue: VecDeque<Entry<U>>,
    /// Requests in the queue that something was sent for (all but fakes and copy ends).
    outstanding: u32,
    status: TransactionStatus,
    batch: Batch,
    copy: Copy,
    /// Was data for a `COPY` sent since all was answered?
    fed: bool,
    trust: Trust,
    last_done: u64,
    /// Requests that bring `ReadyForQuery`: sent, and ended.
    segments: Segments,
}

impl<U> Default for Owed<U> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            outstanding: 0,
            status: TransactionStatus::Idle,
            batch: Batch::Closed,
            copy: Copy::None,
            fed: false,
            trust: Trust::InStep,
            last_done: 0,
            segments: Segments::default(),
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

    /// Is there a batch that no Sync has ended?
    #[must_use]
    pub fn is_batch_open(&self) -> bool {
        self.batch != Batch::Closed
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

    /// The number of the segment that requests are sent in now: one ends with each Sync, Query or
    /// `FunctionCall`. An error in a segment discards the rest of it, not what comes after.
    #[inline]
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.segments.sent
    }

    /// Is it open how an earlier segment ends, so that what was sent in it may not happen?
    #[inline]
    #[must_use]
    pub fn is_undecided(&self, segment: u64) -> bool {
        (self.segments.ended..self.segments.sent).contains(&segment)
    }

    /// Is it open what the transaction's status will be when Postgres reads what is sent next?
    #[inline]
    #[must_use]
    pub fn is_status_due(&self) -> bool {
        self.segments.ended < self.segments.sent
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

    /// Since when Postgres has been at the oldest request that is still unanswered: when it was
    /// sent, or the statement before it ended.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.queue.iter().find(|e| !e.is_silent()).map(|e| e.sent_at.max(self.last_done))
    }

    /// Is `COPY FROM STDIN` reading what the client sends?
    #[must_use]
    pub fn is_copying_in(&self) -> bool {
        self.copy != Copy::None
    }

    /// Does `COPY FROM STDIN` read, and has the end of its data not been sent?
    #[must_use]
    pub fn awaits_copy_data(&self) -> bool {
        self.is_copying_in() && !self.queue.iter().any(|e| e.request == Request::CopyEnd)
    }

    /// Is the request at the front one of ours?
    #[must_use]
    pub fn front_is_ours(&self) -> bool {
        self.queue.front().is_some_and(|e| matches!(e.answer, Answer::Swallow | Answer::Restoring))
    }

    /// Are settings being given back that were reset?
    #[inline]
    #[must_use]
    pub fn is_restoring(&self) -> bool {
        self.queue.front().is_some_and(|e| e.answer == Answer::Restoring)
    }

    /// Notes a request that was sent, or a fake one that was not. `undo` comes back if Postgres
    /// discards the request.
    ///
    /// The caller has asked [`Self::is_skipping`] before, for all but Sync.
    #[inline]
    pub fn push(&mut self, request: Request, answer: Answer, undo: Option<Box<U>>, now: u64) {
        match request {
            // A late end of data, after COPY failed: Postgres ignores it.
            Request::CopyEnd if self.queue.is_empty() => return,
            Request::CopyEnd => {}
            // They end with ReadyForQuery, and with it what was open.
            Request::Query | Request::FunctionCall | Request::Sync => self.batch = Batch::Closed,
            Request::Parse
            | Request::Bind
            | Request::Describe
            | Request::Execute
            | Request::Close => {
                if !matches!(answer, Answer::Fake(_)) {
                    self.batch = Batch::Open;
                }
            }
        }
        let entry = Entry { request, answer, sent_at: now, undo, lead: 0, watched: None };
        self.outstanding += u32::from(!entry.is_silent());
        self.segments.sent += u64::from(entry.brings_ready());
        self.queue.push_back(entry);
    }

    /// The request that was pushed last runs these statements.
    #[inline]
    pub fn watch(&mut self, watched: Watched) {
        if let Some(last) = self.queue.back_mut() {
            last.watched = Some(watched);
        }
    }

    /// So many characters were taken off the front of the text that the request is about that was pushed last.
    #[inline]
    pub fn note_lead(&mut self, lead: u16) {
        if let Some(last) = self.queue.back_mut() {
            last.lead = lead;
        }
    }

    /// How many characters were taken off the front of the text that the request at the front is about.
    #[must_use]
    pub fn front_lead(&self) -> u16 {
        self.queue.front().map_or(0, |front| front.lead)
    }

    /// The statements of the request at the front, and when it was sent, can have begun (see
    /// [`Done::started_at`]), and ended if that is now.
    #[inline]
    pub fn watched(&mut self, now: u64) -> Option<(&mut Watched, Times)> {
        let front = self.queue.front_mut()?;
        let (sent, began) = (front.sent_at, front.sent_at.max(self.last_done));
        front.watched.as_mut().map(|watched| (watched, Times { sent, began, ended: now }))
    }

    /// Notes that data for a `COPY FROM STDIN` is sent.
    #[inline]
    pub fn feed(&mut self) {
        self.fed = true;
    }

    /// The next reply to give in Postgres' place: its tag. To be called until `None` before each
    /// message of the server, and where the client asked for a Flush.
    #[inline]
    pub fn next_fake(&mut self) -> Option<u8> {
        let Answer::Fake(tag) = self.queue.front()?.answer else { return None };
        self.drop_fake();
        Some(tag)
    }

    /// Apart, so that asking for one, several times for each read, is no more than a look.
    #[inline(never)]
    fn drop_fake(&mut self) {
        self.queue.pop_front();
        self.skip_copy_ends();
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
        let verdict = front.verdict_on(tag);
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
                self.copy = Copy::In;
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
        if tag == server_tag::COMMAND_COMPLETE && self.copy == Copy::In {
            self.copy_in_ends();
        }
        let done = if pops { self.pop(now) } else { None };
        Ok((verdict, done))
    }

    /// Looks at an error of the server: what Postgres discards now is discarded here, newest
    /// first, and `undo` gets what must be taken back.
    pub fn received_error(
        &mut self,
        cause: Cause,
        mut undo: impl FnMut(Box<U>, Discarded),
    ) -> ErrorVerdict {
        let Some(front) = self.queue.front() else { return ErrorVerdict::Unsolicited };
        let (request, answer) = (front.request, front.answer);
        if self.copy == Copy::In {
            self.copy_in_fails(cause);
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
            (Answer::Swallow | Answer::Restoring, Request::Query) => ErrorVerdict::OurQuery,
            (Answer::Continuation, _) => ErrorVerdict::Nobody,
            (Answer::DuplicateStatement, _) => ErrorVerdict::DuplicateStatement,
            (Answer::Refused(feature), _) => ErrorVerdict::Refused(feature),
            (Answer::Tangled, _) => ErrorVerdict::Tangled,
            (
                Answer::Forward
                | Answer::Continued
                | Answer::Swallow
                | Answer::Restoring
                | Answer::Fake(_),
                _,
            ) => ErrorVerdict::Forward,
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
        match self.queue.front() {
            Some(front) if front.brings_ready() => {
                let verdict = front.verdict_on(server_tag::READY_FOR_QUERY);
                self.status = status;
                self.copy = Copy::None;
                let done = self.pop(now);
                self.fed &= !self.queue.is_empty();
                Ok((verdict, done))
            }
            Some(_) | None if self.trust == Trust::Doubtful => {
                // That of a Sync which COPY did not read after all.
                self.status = status;
                if self.batch == Batch::Skipping {
                    self.batch = Batch::Closed;
                }
                Ok((Verdict::Forward, None))
            }
            Some(_) | None => Err(Unexpected(server_tag::READY_FOR_QUERY)),
        }
    }

    /// An error was taken in: is the Sync behind it the only request? Then its `ReadyForQuery` is dropped.
    pub fn drop_ready(&mut self) -> bool {
        let sync = self.queue.front_mut().filter(|front| front.request == Request::Sync);
        sync.map(|sync| sync.answer = Answer::Swallow).is_some()
    }

    /// What travels with the request that is being answered.
    #[must_use]
    pub fn front_undo(&self) -> Option<&U> {
        self.queue.front()?.undo.as_deref()
    }

    /// The same, to be changed.
    pub fn front_undo_mut(&mut self) -> Option<&mut U> {
        self.queue.front_mut()?.undo.as_deref_mut()
    }

    /// What travels with the requests that are still in the queue, oldest first.
    pub fn in_flight(&self) -> impl Iterator<Item = &U> {
        self.queue.iter().filter_map(|entry| entry.undo.as_deref())
    }

    /// The requests that are still to be answered, oldest first, with what travels with them.
    pub fn ahead(&self) -> impl DoubleEndedIterator<Item = (Request, Answer, Option<&U>)> {
        self.queue.iter().map(|entry| (entry.request, entry.answer, entry.undo.as_deref()))
    }

    /// The same, to be changed.
    pub fn ahead_mut(&mut self) -> impl Iterator<Item = (Request, Answer, Option<&mut U>)> {
        self.queue.iter_mut().map(|entry| (entry.request, entry.answer, entry.undo.as_deref_mut()))
    }

    fn pop(&mut self, now: u64) -> Option<Done<U>> {
        let entry = self.queue.pop_front()?;
        self.gone(&entry);
        let started_at = entry.sent_at.max(self.last_done);
        let ours = entry.is_ours();
        if entry.request.is_statement() && !ours {
            self.last_done = now;
        }
        self.skip_copy_ends();
        Some(Done { request: entry.request, started_at, ours, kept: entry.undo })
    }

    fn gone(&mut self, entry: &Entry<U>) {
        self.outstanding -= u32::from(!entry.is_silent());
        self.segments.ended += u64::from(entry.brings_ready());
    }

    fn skip_copy_ends(&mut self) {
        while self.queue.front().is_some_and(|e| e.request == Request::CopyEnd) {
            self.queue.pop_front();
        }
    }

    /// `COPY FROM STDIN` read everything up to the end of its data.
    fn copy_in_ends(&mut self) {
        self.copy = Copy::None;
        let eaten = self.eat_syncs();
        // The end of this COPY's data, lest the next COPY of the same Query take it for its own.
        if self.queue.get(1).is_some_and(|e| e.request == Request::CopyEnd) {
            self.queue.remove(1);
        }
        let batch = self.queue.front().is_some_and(|e| e.request == Request::Execute);
        if eaten && batch && !self.queue.iter().any(Entry::brings_ready) {
            self.batch = Batch::Open;
        }
    }

    /// `COPY FROM STDIN` failed somewhere in its data, or before it (a view, a trigger): the Syncs
    /// sent before it was known to read may have been read by it, or be answered yet.
    fn copy_in_fails(&mut self, cause: Cause) {
        self.copy = Copy::None;
        let ended = self.queue.iter().any(|e| e.request == Request::CopyEnd);
        if cause == Cause::Request && !self.fed && !ended {
            // It had nothing to fail at but itself.
            return;
        }
        if self.eat_syncs() && cause != Cause::OurCopyFail {
            self.trust = Trust::Doubtful;
        }
    }

    /// Takes out the Syncs between the front and the end of its data. Were there any?
    fn eat_syncs(&mut self) -> bool {
        let before = self.queue.len();
        let mut at = 1;
        while let Some(entry) = self.queue.get(at) {
            match entry.request {
                Request::CopyEnd => break,
                Request::Sync => {
                    self.queue.remove(at);
                    self.outstanding -= 1;
                    self.segments.ended += 1;
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
        self.queue.len() < before
    }

    /// After an error in an extended batch Postgres reads and ignores everything up to Sync,
    /// simple queries too.
    fn discard_to_sync(&mut self, undo: &mut impl FnMut(Box<U>, Discarded)) {
        let sync = self.queue.iter().position(|e| e.request == Request::Sync);
        if sync.is_none() {
            self.batch = Batch::Skipping;
        }
        // What is behind stays where it is: there may be thousands.
        let discarded: Vec<_> = self.queue.drain(..sync.unwrap_or(self.queue.len())).collect();
        for (at, entry) in discarded.into_iter().enumerate().rev() {
            self.gone(&entry);
            let how = if at == 0 { Discarded::Failed } else { Discarded::Skipped };
            if let Some(taken) = entry.undo {
                undo(taken, how);
            }
        }
    }
}
