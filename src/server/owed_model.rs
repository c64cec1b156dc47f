//! A Postgres backend as far as its replies go: a model that the tests of `owed` compare with.
//!
//! After `PostgresMain` and `SocketBackend` (src/backend/tcop/postgres.c) and `CopyGetData`
//! (src/backend/commands/copyfromparse.c).

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::backend::TransactionStatus;
use crate::protocol::frame::server_tag as tag;
use crate::server::owed::{Cause, Request};

/// How a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// Rows, this many.
    Rows(u8),
    /// Rows, and the portal is not at its end; whole in a simple query.
    Suspended,
    /// Empty query string.
    Empty,
    Begin,
    Commit,
    CopyOut,
    /// `COPY FROM STDIN`.
    CopyIn,
    /// `COPY FROM STDIN` that fails before it reads: a view, a trigger.
    CopyInto(Cause),
    Fails(Cause),
}

/// A message to the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Parse, Bind, Describe, Close, `FunctionCall` or Sync, and the error it ends with, if any.
    Plain(Request, Option<Cause>),
    Execute(Run),
    Query(Vec<Run>),
    Flush,
    /// Good data or bad.
    CopyData(bool),
    CopyDone,
    CopyFail,
}

/// A message of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) tag: u8,
    /// The request it answers.
    pub(super) label: usize,
    pub(super) status: TransactionStatus,
    pub(super) cause: Cause,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Failed,
    Skipped,
}

/// What reads the next message, if anything does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reader {
    Main,
    /// Discards up to Sync.
    Skipping,
    /// A COPY of this request; for a simple query, with the statements that follow it.
    Copy {
        label: usize,
        rest: Option<Vec<Run>>,
    },
    /// What was neither data nor Sync came within a COPY: "protocol synchronization was lost".
    Dead,
}

/// The backend.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) input: VecDeque<(usize, Message)>,
    pub(super) output: VecDeque<Reply>,
    pub(super) fates: BTreeMap<usize, Fate>,
    status: TransactionStatus,
    reader: Reader,
    /// Something of the extended protocol was read since the last Sync or Query.
    batch: bool,
}

impl Backend {
    pub(super) fn new() -> Self {
        Self {
            input: VecDeque::new(),
            output: VecDeque::new(),
            fates: BTreeMap::new(),
            status: TransactionStatus::Idle,
            reader: Reader::Main,
            batch: false,
        }
    }

    /// All replies to these messages, sent at once.
    pub(super) fn all(messages: &[Message]) -> Self {
        let mut backend = Self::new();
        backend.input = messages.iter().cloned().enumerate().collect();
        while backend.step() {}
        backend
    }

    /// Is a transaction, batch or COPY open?
    pub(super) fn is_at_rest(&self) -> bool {
        self.reader == Reader::Main && !self.batch && self.status == TransactionStatus::Idle
    }

    /// Has it ended the connection?
    pub(super) fn is_dead(&self) -> bool {
        self.reader == Reader::Dead
    }

    /// Reads one message. Was there one?
    pub(super) fn step(&mut self) -> bool {
        let Some((label, message)) = self.input.pop_front() else { return false };
        match std::mem::replace(&mut self.reader, Reader::Main) {
            Reader::Dead => self.reader = Reader::Dead,
            Reader::Copy { label: copy, rest } => self.copy(&message, copy, rest),
            Reader::Skipping if !matches!(message, Message::Plain(Request::Sync, _)) => {
                self.reader = Reader::Skipping;
                self.fates.insert(label, Fate::Skipped);
            }
            Reader::Skipping | Reader::Main => self.main(label, message),
        }
        true
    }

    fn main(&mut self, label: usize, message: Message) {
        match message {
            Message::Plain(Request::Sync, failure) => {
                self.batch = false;
                if let Some(cause) = failure {
                    self.error(label, cause);
                    self.reader = Reader::Main;
                }
                self.ready(label);
            }
            Message::Plain(Request::FunctionCall, failure) => {
                self.batch = false;
                match failure.or(self.refused()) {
                    None => self.say(label, tag::FUNCTION_RESPONSE),
                    Some(cause) => self.error(label, cause),
                }
                self.reader = Reader::Main;
                self.ready(label);
            }
            Message::Plain(request, failure) => {
                self.batch = true;
                match failure {
                    None => {
                        self.done(label);
                        self.plain(label, request);
                    }
                    Some(cause) => self.error(label, cause),
                }
            }
            Message::Execute(run) => {
                self.batch = true;
                self.run(label, run, None);
            }
            Message::Query(runs) => {
                self.batch = false;
                self.query(label, &runs);
            }
            Message::Flush | Message::CopyData(_) | Message::CopyDone | Message::CopyFail => {}
        }
    }

    fn plain(&mut self, label: usize, request: Request) {
        match request {
            Request::Parse => self.say(label, tag::PARSE_COMPLETE),
            Request::Bind => self.say(label, tag::BIND_COMPLETE),
            Request::Close => self.say(label, tag::CLOSE_COMPLETE),
            // A statement's or a portal's, by turns.
            Request::Describe if label.is_multiple_of(2) => self.say(label, tag::NO_DATA),
            Request::Describe => {
                self.say(label, tag::PARAMETER_DESCRIPTION);
                self.say(label, tag::ROW_DESCRIPTION);
            }
            Request::Query
            | Request::FunctionCall
            | Request::Execute
            | Request::Sync
            | Request::CopyEnd => panic!("{request:?} is not plain"),
        }
    }

    fn query(&mut self, label: usize, runs: &[Run]) {
        for (at, run) in runs.iter().enumerate() {
            if *run == Run::CopyIn && self.refused().is_none() {
                self.say(label, tag::COPY_IN);
                self.reader = Reader::Copy { label, rest: Some(runs[at + 1..].to_vec()) };
                return;
            }
            if !self.run(label, *run, Some(())) {
                break;
            }
        }
        self.reader = Reader::Main;
        self.ready(label);
    }

    /// Runs a statement, of a simple query or of an Execute. Did it succeed?
    fn run(&mut self, label: usize, run: Run, simple: Option<()>) -> bool {
        let refused = if run == Run::Commit || run == Run::Empty { None } else { self.refused() };
        if let Some(cause) = refused {
            self.error(label, cause);
            return false;
        }
        let replies: &[u8] = match (run, simple) {
            (Run::Rows(n), Some(())) => &b"TDDD"[..1 + usize::from(n % 4)],
            (Run::Rows(n), None) => &b"DDD"[..usize::from(n % 4)],
            (Run::Suspended, Some(())) => b"TD",
            (Run::Suspended, None) => b"Ds",
            (Run::Empty, _) => b"I",
            (Run::CopyOut, _) => b"Hddc",
            (Run::CopyIn | Run::CopyInto(_), _) => b"G",
            (Run::Begin | Run::Commit | Run::Fails(_), _) => b"",
        };
        replies.iter().for_each(|tag| self.say(label, *tag));
        match run {
            Run::Begin => self.status = TransactionStatus::InTransaction,
            Run::Commit => self.status = TransactionStatus::Idle,
            Run::CopyInto(cause) | Run::Fails(cause) => {
                self.error(label, cause);
                return false;
            }
            Run::CopyIn => {
                self.reader = Reader::Copy { label, rest: None };
                return true;
            }
            Run::Rows(_) | Run::CopyOut | Run::Suspended | Run::Empty => {}
        }
        if run != Run::Empty && (run != Run::Suspended || simple.is_some()) {
            self.say(label, tag::COMMAND_COMPLETE);
        }
        self.done(label);
        true
    }

    fn copy(&mut self, message: &Message, label: usize, rest: Option<Vec<Run>>) {
        let failure = match message {
            Message::CopyData(false) => Cause::Request,
            // 57014, as the client itself asked for it.
            Message::CopyFail => Cause::Interrupt,
            Message::CopyDone => {
                self.say(label, tag::COMMAND_COMPLETE);
                match rest {
                    Some(rest) => self.query(label, &rest),
                    None => self.done(label),
                }
                return;
            }
            Message::CopyData(true)
            | Message::Flush
            | Message::Plain(..)
            | Message::Execute(_)
            | Message::Query(_) => {
                let ignored = matches!(message, Message::Plain(Request::Sync, _));
                self.reader = if ignored || matches!(message, Message::CopyData(_) | Message::Flush)
                {
                    Reader::Copy { label, rest }
                } else {
                    Reader::Dead
                };
                return;
            }
        };
        self.error(label, failure);
        if rest.is_some() {
            self.reader = Reader::Main;
            self.ready(label);
        }
    }

    /// The error that ends anything in a failed transaction.
    fn refused(&self) -> Option<Cause> {
        (self.status == TransactionStatus::Failed).then_some(Cause::Request)
    }

    fn error(&mut self, label: usize, cause: Cause) {
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
        }
        self.fates.insert(label, Fate::Failed);
        self.reader = Reader::Skipping;
        self.output.push_back(Reply { tag: tag::ERROR, label, status: self.status, cause });
    }

    fn ready(&mut self, label: usize) {
        self.say(label, tag::READY_FOR_QUERY);
        self.fates.insert(label, Fate::Done);
    }

    fn done(&mut self, label: usize) {
        self.fates.insert(label, Fate::Done);
    }

    fn say(&mut self, label: usize, tag: u8) {
        self.output.push_back(Reply { tag, label, status: self.status, cause: Cause::Request });
    }
}
