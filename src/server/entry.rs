//! One request in the queue of owed replies. The queue's rules are [`super::owed`]'s.

use super::request::{Answer, Request, Verdict};
use crate::protocol::frame::server_tag;
use crate::stats::queries::Watched;

#[derive(Debug)]
pub(super) struct Entry<U> {
    pub(super) request: Request,
    pub(super) answer: Answer,
    /// When it was sent, in the caller's clock (nanoseconds).
    pub(super) sent_at: u64,
    pub(super) undo: Option<Box<U>>,
    /// How many characters were taken off the front of the text that it is about.
    pub(super) lead: u16,
    /// Which statements it runs, if anybody counts them.
    pub(super) watched: Option<Watched>,
}

impl<U> Entry<U> {
    /// For whom is a message of this type? What Postgres says of itself while it does something of ours is
    /// for the client, but for settings that a Query of ours changes.
    pub(super) fn verdict_on(&self, tag: u8) -> Verdict {
        let of_itself = matches!(tag, server_tag::PARAMETER_STATUS | server_tag::NOTIFICATION);
        let ready = tag == server_tag::READY_FOR_QUERY;
        let forwards = match self.answer {
            Answer::Forward
            | Answer::Fake(_)
            | Answer::DuplicateStatement
            | Answer::Tangled
            | Answer::Refused(_) => true,
            Answer::Swallow => of_itself && self.request != Request::Query,
            Answer::Restoring => of_itself,
            Answer::Continued => !ready,
            Answer::Continuation => of_itself || ready,
        };
        if forwards { Verdict::Forward } else { Verdict::Swallow }
    }

    /// Is it a request of ours?
    pub(super) fn is_ours(&self) -> bool {
        self.answer.is_ours()
    }

    pub(super) fn brings_ready(&self) -> bool {
        matches!(self.request, Request::Query | Request::FunctionCall | Request::Sync)
    }

    /// Was nothing sent that Postgres would answer?
    pub(super) fn is_silent(&self) -> bool {
        self.request == Request::CopyEnd || matches!(self.answer, Answer::Fake(_))
    }
}
