//! The words for requests to Postgres and for what its replies mean to them; [`super::owed`] keeps
//! the books.

use crate::protocol::frame::server_tag;
use crate::protocol::sqlstate::SqlState;
use crate::sql::feature::Feature;

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
    #[must_use]
    pub fn is_statement(self) -> bool {
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
    /// As [`Self::Swallow`], of a Query that gives back settings which were reset: the client has heard of other values,
    /// and hears of these.
    Restoring,
    /// Nothing was sent: this empty message is the reply when its turn comes.
    Fake(u8),
    /// The client's, and one of ours is behind it ([`Self::Continuation`]): it gets all but `ReadyForQuery`.
    Continued,
    /// Ours, behind one of the client's: it gets the `ReadyForQuery` and what changed in its settings.
    Continuation,
    /// What was sent is sure to fail; the client gets `42P05 duplicate_prepared_statement`
    /// in place of that failure.
    DuplicateStatement,
    /// What was sent is sure to fail, because what the client asked for cannot be done on whichever server it has; it gets
    /// `0A000 feature_not_supported` in place of that failure.
    Tangled,
    /// What was sent is sure to fail, because a rule forbids what the client asked for; it gets
    /// `0A000 feature_not_supported` in place of that failure.
    Refused(Feature),
}

impl Answer {
    /// Is it that of a request of ours?
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Swallow | Self::Restoring | Self::Continuation)
    }
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
    /// Pass on `0A000` in its place.
    Refused(Feature),
    /// Pass on `0A000` in its place: statements of the protocol are named in SQL.
    Tangled,
    /// A Query of ours failed: the caller decides who hears of it.
    OurQuery,
    /// A Query of ours failed that nothing depends on: nobody hears of it.
    Nobody,
    /// Nothing was asked: the server speaks for itself, and is about to close.
    Unsolicited,
}

/// What an error came of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Something that Postgres read.
    Request,
    /// SQLSTATE class 57: cancelled, shut down. Nothing that Postgres read, or a `CopyFail`.
    Interrupt,
    /// A `CopyFail` of ours: Postgres has read everything before it.
    OurCopyFail,
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

/// What became of a request that Postgres discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// It is the one that failed.
    Failed,
    /// It was not even looked at.
    Skipped,
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

/// May a server say this unasked? Errors too, but those end the connection.
#[must_use]
pub fn is_asynchronous(tag: u8) -> bool {
    matches!(tag, server_tag::PARAMETER_STATUS | server_tag::NOTICE | server_tag::NOTIFICATION)
}
