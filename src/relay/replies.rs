//! The server's replies on their way to the client: what is passed on, what is swallowed, what is
//! answered in Postgres' place, and what they say about the session.

use std::ops::Range;

use super::buffers::Splice;
use super::lending::{write_kept, write_tangled};
use super::names;
use super::position::moved;
use super::prepared::ClientStatements;
use super::requests::continue_body;
use super::retrying::Failed;
use crate::protocol::backend::{self, TransactionStatus, command_tag, parameter_status};
use crate::protocol::error_response::{ErrorFields, Severity, write_error};
use crate::protocol::frame::{self, HEADER_LENGTH, Header, InvalidLength, server_tag};
use crate::protocol::sqlstate::SqlState;
use crate::server::connection::{Body, Dirt, Routines, ServerConnection, Undo};
use crate::server::effects::{Effect, effect};
use crate::server::owed::{
    Cause, Discarded, Done, ErrorVerdict, Request, Unexpected, Verdict, is_asynchronous,
};
use crate::server::statement::StatementRegistry;
use crate::sql::effects::Effects;
use crate::sql::feature::Feature;
use crate::stats::meter::Meter;

/// The longest message of the server that must be complete before it is looked at. Of a longer
/// error, the fields within this are read, and the rest passes.
const WHOLE_LIMIT: usize = 32 * 1024;

/// Where Postgres says "cached plan must not change result type" (plancache.c); the text itself may
/// be translated.
const CHANGED_RESULT_ROUTINE: &[u8] = b"RevalidateCachedQuery";

/// The server said what no server says: the connection cannot be trusted any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerFault {
    /// A length that cannot be.
    #[error(transparent)]
    Length(#[from] InvalidLength),
    /// A reply to nothing.
    #[error(transparent)]
    Unexpected(#[from] Unexpected),
    /// A message longer than its type can be.
    #[error("oversized message of type {tag:#04x} and {length} bytes from the server")]
    Oversized {
        /// The message's type.
        tag: u8,
        /// Its length, header included.
        length: usize,
    },
    /// A message whose body makes no sense.
    #[error("malformed message of type {0:#04x} from the server")]
    Malformed(u8),
    /// The server refused the client's settings.
    #[error("the server refused the client's settings: {message}")]
    SettingsRefused {
        /// Postgres' SQLSTATE.
        code: SqlState,
        /// Postgres' message.
        message: String,
    },
}

/// How far the replies were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Bytes of the input that are dealt with; the rest is an incomplete message.
    pub consumed: usize,
    /// The server ends the connection after this.
    pub fatal: bool,
}

/// What replies are checked against and noted in.
#[derive(Debug)]
pub struct Replies<'a> {
    /// The client's statements.
    pub statements: &'a mut ClientStatements,
    /// The statements all clients of the database share.
    pub registry: &'a StatementRegistry,
    /// The server the client holds.
    pub server: &'a mut ServerConnection,
    /// The pool's numbers.
    pub meter: &'a mut Meter,
    /// The relay's clock, nanoseconds.
    pub now: u64,
    /// Was the request that is being answered cancelled because of `query_timeout`?
    pub timed_out: bool,
    /// What the last error is about.
    pub failed: Failed,
    /// The server refused the client's settings.
    pub refused: Option<(SqlState, String)>,
}

impl Replies<'_> {
    /// Takes the replies in `input`, a server's bytes; what goes to the client is spliced.
    ///
    /// # Errors
    /// When the server cannot be trusted any more. What came before was taken.
    pub fn pass(&mut self, input: &[u8], splice: &mut Splice<'_>) -> Result<Passed, ServerFault> {
        let (mut at, forward) = continue_body(&mut self.server.body, input.len());
        if forward {
            splice.forward(0..at);
        }
        let mut fatal = false;
        while at < input.len() {
            self.answer_fakes(splice);
            let Some(head) = frame::header(&input[at..])? else { break };
            if self.server.owed.is_free()
                && !is_asynchronous(head.tag)
                && head.tag != server_tag::ERROR
            {
                // Nobody asked for it: whoever closes the connection finds it here.
                break;
            }
            let end = at + head.frame_length();
            let verdict = match head.tag {
                server_tag::DATA_ROW if self.is_answer() => {
                    if end > input.len() && end - at <= WHOLE_LIMIT {
                        break;
                    }
                    self.answer(&input[at + HEADER_LENGTH..end.min(input.len())])?
                }
                server_tag::DATA_ROW | server_tag::COPY_DATA => {
                    let (verdict, _) = self.server.owed.received(head.tag, self.now)?;
                    let end = self.rows(head.tag, verdict, at, input);
                    if verdict == Verdict::Forward {
                        splice.forward(at..end);
                    }
                    at = end;
                    continue;
                }
                tag if !must_be_whole(tag) => self.any(tag)?,
                server_tag::ERROR if input.len() - at >= end.min(at + WHOLE_LIMIT) - at => {
                    let there = end.min(input.len());
                    let body = &input[at + HEADER_LENGTH..there];
                    let kept = self.kept_for(body);
                    let said = kept.as_deref().unwrap_or(body);
                    match self.error(said, splice, &mut fatal)? {
                        Verdict::Forward if kept.is_some() => write_kept(said, splice),
                        Verdict::Forward if end <= input.len() => self.name(body, splice),
                        verdict @ (Verdict::Forward | Verdict::Swallow) => verdict,
                    }
                }
                tag if end - at > WHOLE_LIMIT && tag != server_tag::ERROR => {
                    return Err(ServerFault::Oversized { tag, length: end - at });
                }
                _ if end > input.len() => break,
                _ => self.whole(head, &input[at + HEADER_LENGTH..end])?,
            };
            at = self.part(at..end, verdict, input.len(), splice);
        }
        self.answer_fakes(splice);
        if self.server.owed.is_quiet() {
            self.statements.settle();
            self.server.statements.settle();
        }
        Ok(Passed { consumed: at, fatal })
    }

    /// Gives the replies that are due in Postgres' place.
    #[inline(always)]
    pub fn answer_fakes(&mut self, splice: &mut Splice<'_>) {
        while let Some(tag) = self.server.owed.next_fake() {
            backend::write_empty_reply(splice.insert(), tag);
        }
    }

    /// Passes on or drops a frame as far as it is there; gives where the next one begins.
    fn part(
        &mut self,
        frame: Range<usize>,
        verdict: Verdict,
        there: usize,
        splice: &mut Splice<'_>,
    ) -> usize {
        let upto = frame.end.min(there);
        let rest = frame.end - upto;
        self.server.body = match (rest, verdict) {
            (0, _) => Body::Boundary,
            (_, Verdict::Forward) => Body::Forward(rest),
            (_, Verdict::Swallow) => Body::Drop(rest),
        };
        if verdict == Verdict::Forward {
            splice.forward(frame.start..upto);
        }
        upto
    }

    /// A run of rows, by header alone: gives where it ends.
    #[inline]
    fn rows(&mut self, tag: u8, verdict: Verdict, mut at: usize, input: &[u8]) -> usize {
        let (mut count, begin) = (0, at);
        let mut beyond = 0;
        while let Some(head) = input[at..].first_chunk::<HEADER_LENGTH>() {
            if head[0] != tag {
                break;
            }
            let Ok(Some(header)) = frame::header(head) else { break };
            count += 1;
            at += header.frame_length();
            if at > input.len() {
                let rest = at - input.len();
                beyond = rest;
                self.server.body = match verdict {
                    Verdict::Forward => Body::Forward(rest),
                    Verdict::Swallow => Body::Drop(rest),
                };
                at = input.len();
                break;
            }
        }
        if verdict == Verdict::Forward {
            let rows = if tag == server_tag::DATA_ROW { count } else { 0 };
            self.meter.rows += rows;
            self.watch_rows(rows, (at + beyond - begin) as u64);
        }
        at
    }

    /// Is this row an answer to a question of ours?
    #[inline]
    fn is_answer(&self) -> bool {
        self.server.asked.is_some() && self.server.owed.front_is_ours()
    }

    #[cold]
    fn answer(&mut self, body: &[u8]) -> Result<Verdict, ServerFault> {
        if let Some(inventory) = &mut self.server.asked
            && !inventory.row(body)
        {
            inventory.fail();
        }
        self.any(server_tag::DATA_ROW)
    }

    fn any(&mut self, tag: u8) -> Result<Verdict, ServerFault> {
        if tag == server_tag::PORTAL_SUSPENDED {
            self.watch_suspension();
        }
        let (verdict, done) = self.server.owed.received(tag, self.now)?;
        self.note(done);
        Ok(verdict)
    }

    fn whole(&mut self, head: Header, body: &[u8]) -> Result<Verdict, ServerFault> {
        match head.tag {
            server_tag::READY_FOR_QUERY => {
                let status = match body {
                    [byte] => TransactionStatus::from_byte(*byte),
                    _ => None,
                };
                self.ready(status.ok_or(ServerFault::Malformed(head.tag))?)
            }
            server_tag::COMMAND_COMPLETE => {
                match effect(command_tag(body)) {
                    Effect::None => {}
                    effect @ (Effect::Schema
                    | Effect::Routine
                    | Effect::Done
                    | Effect::Deallocated
                    | Effect::Loaded
                    | Effect::DeallocatedAll
                    | Effect::Discarded) => {
                        self.effect(effect);
                    }
                }
                self.watch_end(command_tag(body));
                self.any(head.tag)
            }
            server_tag::PARAMETER_STATUS => {
                let verdict = self.any(head.tag)?;
                if verdict == Verdict::Forward
                    && let Some((name, value)) = parameter_status(body)
                {
                    self.server.reported.retain(|(known, _)| **known != *name);
                    self.server.reported.push((name.into(), value.into()));
                }
                Ok(verdict)
            }
            tag => self.any(tag),
        }
    }

    fn ready(&mut self, status: TransactionStatus) -> Result<Verdict, ServerFault> {
        let (verdict, done) = self.server.owed.received_ready(status, self.now)?;
        self.note(done);
        if verdict == Verdict::Swallow {
            return Ok(verdict);
        }
        self.statements.not_lent = None;
        self.watch_ready(status);
        if status == TransactionStatus::Idle {
            self.meter.transactions += 1;
            self.meter.transaction.record(self.now.saturating_sub(self.server.taken_at));
            self.server.taken_at = self.now;
        }
        Ok(verdict)
    }

    #[cold]
    fn effect(&mut self, effect: Effect) {
        if self.server.owed.front_is_ours() {
            return;
        }
        self.server.note_effect(effect);
        match effect {
            Effect::Schema if self.registry.hidden.any() => {
                self.registry.schema_changed();
                self.server.routines = Routines::Changed;
                self.server.touch(&Effects::unreadable());
            }
            Effect::Schema => self.registry.schema_changed(),
            Effect::Routine => {
                self.registry.schema_changed();
                // Its own transaction may call it, before anybody can know what it does.
                self.server.touch(&Effects::unreadable());
            }
            Effect::Done => {}
            Effect::Deallocated => self.statements.deallocated(self.server),
            Effect::DeallocatedAll | Effect::Discarded => self.statements.clear(self.server),
            Effect::None | Effect::Loaded => {}
        }
    }

    fn error(
        &mut self,
        body: &[u8],
        splice: &mut Splice<'_>,
        fatal: &mut bool,
    ) -> Result<Verdict, ServerFault> {
        let fields = ErrorFields::parse(body);
        let code = fields.sqlstate();
        *fatal |= fields.is_fatal();
        let cause = Cause::of(code);
        if fields.routine == CHANGED_RESULT_ROUTINE && self.may_send_again() {
            return Ok(self.send_again(cause));
        }
        if !fields.is_fatal() && self.is_of_loan() {
            return Ok(self.keep(body, cause));
        }
        self.watch_failure(code);
        self.failed.begin(self.server.owed.front_lead());
        self.server.path = None;
        self.statements.rewind(self.server);
        let ServerConnection { owed, statements, .. } = &mut *self.server;
        let (mut unnamed, mut left) = (false, false);
        let verdict = owed.received_error(cause, |undo, how| {
            statements.undo(&undo);
            unnamed |= undo.is_of_unnamed();
            left |= matches!(&*undo, Undo::Deallocated { .. });
            if how == Discarded::Failed {
                self.failed.note(&undo, self.statements, cause);
            }
            self.statements.undo(*undo, how);
        });
        if left || names::is_lost(code, body) {
            // What was made to be deallocated may be there still, under a client's name; and what a client deallocated
            // out of sight, in a function for one, is not.
            self.server.dirt = Dirt::Unknown;
        }
        if unnamed {
            self.statements.look_ahead(self.server);
        }
        self.meter.count_error(code);
        if fields.is_fatal() {
            // Postgres' last words, whatever was asked.
            return Ok(Verdict::Forward);
        }
        *fatal |= matches!(verdict, ErrorVerdict::Unsolicited);
        self.judge(verdict, &fields, splice)
    }

    /// What becomes of an error that ends no connection.
    fn judge(
        &mut self,
        verdict: ErrorVerdict,
        fields: &ErrorFields<'_>,
        splice: &mut Splice<'_>,
    ) -> Result<Verdict, ServerFault> {
        let code = fields.sqlstate();
        let timed_out = std::mem::take(&mut self.timed_out);
        match verdict {
            ErrorVerdict::Forward if timed_out && code == Some(SqlState::QUERY_CANCELED) => {
                // In Postgres' words it would be the user's request.
                let text = "canceling statement due to query_timeout";
                write_error(splice.insert(), Severity::Error, SqlState::QUERY_CANCELED, text, "");
                Ok(Verdict::Swallow)
            }
            ErrorVerdict::Forward => {
                if fields.routine == CHANGED_RESULT_ROUTINE {
                    self.outdate();
                }
                Ok(Verdict::Forward)
            }
            ErrorVerdict::Unsolicited => Ok(Verdict::Forward),
            ErrorVerdict::DuplicateStatement => {
                write_duplicate(splice.insert(), &self.failed.name);
                Ok(Verdict::Swallow)
            }
            ErrorVerdict::Refused(feature) => {
                write_refused(splice.insert(), feature);
                Ok(Verdict::Swallow)
            }
            ErrorVerdict::Tangled => {
                write_tangled(splice.insert());
                Ok(Verdict::Swallow)
            }
            ErrorVerdict::Nobody => Ok(Verdict::Swallow),
            ErrorVerdict::OurQuery if self.server.is_without(code) => Ok(Verdict::Swallow),
            ErrorVerdict::OurQuery => match &mut self.server.asked {
                Some(inventory) => {
                    inventory.fail();
                    Ok(Verdict::Swallow)
                }
                None => {
                    let message = String::from_utf8_lossy(fields.message).into_owned();
                    self.refused = Some((code.unwrap_or(SqlState::INTERNAL_ERROR), message));
                    Ok(Verdict::Swallow)
                }
            },
        }
    }

    /// Passes on an error in the client's own names, and with places as in its text.
    fn name(&self, body: &[u8], splice: &mut Splice<'_>) -> Verdict {
        let closed = |id| self.server.owed.in_flight().find_map(|undo| undo.closed_name(id));
        let used = |id| {
            let statement = self.statements.get(&self.failed.name)?;
            (!self.failed.name.is_empty() && statement.id == id).then_some(&*self.failed.name)
        };
        let name_of = |id| used(id).or_else(|| self.statements.name_of(id)).or_else(|| closed(id));
        let restored = names::restore(body, name_of);
        let moved = match (self.failed.lead, &restored) {
            (0, _) => None,
            (lead, restored) => moved(restored.as_deref().unwrap_or(body), lead),
        };
        match moved.or(restored) {
            Some(restored) => {
                frame::write_frame(splice.insert(), server_tag::ERROR, |out| {
                    out.extend_from_slice(&restored);
                });
                Verdict::Swallow
            }
            None => Verdict::Forward,
        }
    }

    fn note(&mut self, done: Option<Done<Undo>>) {
        let Some(done) = done else { return };
        if let Some(Undo::Parsed { statement, sent: true, .. }) = done.kept.as_deref() {
            statement.prove();
        }
        if !done.ours
            && matches!(done.request, Request::Query | Request::Execute | Request::FunctionCall)
        {
            self.meter.queries += 1;
            self.meter.query.record(self.now.saturating_sub(done.started_at));
        }
    }
}

fn write_duplicate(out: &mut Vec<u8>, name: &[u8]) {
    let name = String::from_utf8_lossy(name);
    let text = format!("prepared statement \"{name}\" already exists");
    write_error(out, Severity::Error, SqlState::DUPLICATE_PREPARED_STATEMENT, &text, "");
}

fn write_refused(out: &mut Vec<u8>, feature: Feature) {
    let text = format!("the pooler's settings for pins refuse this: {}", feature.name());
    write_error(out, Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, &text, feature.advice());
}

/// Is the body of this message looked at?
fn must_be_whole(tag: u8) -> bool {
    matches!(
        tag,
        server_tag::READY_FOR_QUERY
            | server_tag::COMMAND_COMPLETE
            | server_tag::PARAMETER_STATUS
            | server_tag::ERROR
    )
}
