//! Running something of our own on a server that no client holds: checks, resets, settings, and
//! reading what is still owed after a client left.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use memchr::memmem;

use super::connection::{Body, ServerConnection};
use super::effects::effect;
use super::owed::{Answer, Cause, ErrorVerdict, Request, Unexpected};
use crate::protocol::backend::{TransactionStatus, command_tag, parameter_status};
use crate::protocol::error_response::ErrorFields;
use crate::protocol::frame::{self, HEADER_LENGTH, InvalidLength, client_tag, server_tag};
use crate::protocol::frontend;
use crate::protocol::sqlstate::SqlState;

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// The longest message that is looked at; of a longer one only the type counts.
const WHOLE_LIMIT: usize = 32 * 1024;

/// Our reason for a `CopyFail`. Postgres quotes it in its error, which tells that error from one
/// that came of anything before.
const COPY_FAIL_REASON: &str = "pooler: the client left";

/// Why a server cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Postgres closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// A length that cannot be.
    #[error(transparent)]
    Length(#[from] InvalidLength),
    /// A reply to nothing.
    #[error(transparent)]
    Unexpected(#[from] Unexpected),
    /// A message whose body makes no sense.
    #[error("malformed message from the server")]
    Malformed,
}

/// What was learnt while nothing was passed on to anybody.
#[derive(Debug, Default)]
pub struct Heard {
    /// The last error: SQLSTATE and message.
    pub error: Option<(SqlState, String)>,
    /// Settings that were reported.
    pub reported: Vec<(Box<str>, Box<str>)>,
}

/// Runs a simple query of ours and reads all replies. Not cancel safe: a server this was dropped
/// on must be closed.
///
/// # Errors
/// When the connection is of no use any more. An error of the query itself is in [`Heard`].
pub async fn run(server: &mut ServerConnection, sql: &str) -> Result<Heard, ExecError> {
    frontend::write_query(&mut server.unsent, sql);
    server.statements.doubt_unnamed();
    server.owed.push(Request::Query, Answer::Swallow, None, 0);
    settle(server).await
}

/// Ends a COPY whose client is gone.
pub fn push_copy_fail(server: &mut ServerConnection) {
    frame::write_frame(&mut server.unsent, client_tag::COPY_FAIL, |out| {
        out.extend_from_slice(COPY_FAIL_REASON.as_bytes());
        out.push(0);
    });
    server.owed.push(Request::CopyEnd, Answer::Forward, None, 0);
}

/// Sends a Sync of ours behind what was sent.
pub fn push_sync(server: &mut ServerConnection) {
    frontend::write_empty(&mut server.unsent, client_tag::SYNC);
    server.owed.push(Request::Sync, Answer::Swallow, None, 0);
}

/// Sends what is unsent and reads until nothing is owed. Not cancel safe, as [`run`].
///
/// # Errors
/// When the connection is of no use any more.
pub async fn settle(server: &mut ServerConnection) -> Result<Heard, ExecError> {
    let mut heard = Heard::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        while server.owed.next_fake().is_some() {}
        if server.owed.is_quiet() && server.unsent.is_empty() {
            return Ok(heard);
        }
        let read = poll_fn(|cx| {
            // Both directions at once, or the two sides could wait for each other.
            if let Poll::Ready(Err(error)) = server.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            if server.owed.is_quiet() && server.unsent.is_empty() {
                return Poll::Ready(Ok(None));
            }
            server.stream.poll_read(cx, &mut chunk).map_ok(Some)
        })
        .await?;
        match read {
            None => {}
            Some(0) => return Err(ExecError::Closed),
            Some(length) => hear(server, &chunk[..length], &mut heard)?,
        }
    }
}

/// Takes in bytes that came from a server no client holds.
///
/// # Errors
/// When the connection is of no use any more.
pub fn hear(
    server: &mut ServerConnection,
    bytes: &[u8],
    heard: &mut Heard,
) -> Result<(), ExecError> {
    let skip = match server.body {
        Body::Boundary => 0,
        Body::Forward(remaining) | Body::Drop(remaining) => remaining.min(bytes.len()),
    };
    if let Body::Forward(remaining) | Body::Drop(remaining) = server.body {
        let rest = remaining - skip;
        server.body = if rest == 0 { Body::Boundary } else { Body::Drop(rest) };
    }
    let mut input = std::mem::take(&mut server.carry);
    input.extend_from_slice(&bytes[skip..]);
    let mut at = 0;
    while let Some(head) = frame::header(&input[at..])? {
        let end = at + head.frame_length();
        let there = end.min(input.len());
        if there < end && end - at <= WHOLE_LIMIT {
            break;
        }
        one(server, head.tag, &input[at + HEADER_LENGTH..there], heard)?;
        at = there;
        if there < end {
            server.body = Body::Drop(end - there);
        }
    }
    input.drain(..at);
    if !input.is_empty() {
        server.carry = input;
    }
    Ok(())
}

fn one(
    server: &mut ServerConnection,
    tag: u8,
    body: &[u8],
    heard: &mut Heard,
) -> Result<(), ExecError> {
    while server.owed.next_fake().is_some() {}
    match tag {
        server_tag::READY_FOR_QUERY => {
            let status = body.first().and_then(|b| TransactionStatus::from_byte(*b));
            server.owed.received_ready(status.ok_or(ExecError::Malformed)?, 0)?;
        }
        server_tag::ERROR => {
            let fields = ErrorFields::parse(body);
            let code = fields.sqlstate().unwrap_or(SqlState::INTERNAL_ERROR);
            let statements = &mut server.statements;
            let cause = if memmem::find(fields.message, COPY_FAIL_REASON.as_bytes()).is_some() {
                Cause::OurCopyFail
            } else {
                Cause::of(Some(code))
            };
            let verdict = server.owed.received_error(cause, |undo, _| statements.undo(&undo));
            if server.is_without(Some(code)) {
                return Ok(());
            }
            let message = String::from_utf8_lossy(fields.message).into_owned();
            heard.error = Some((code, message));
            if verdict == ErrorVerdict::Unsolicited || fields.is_fatal() {
                return Err(ExecError::Closed);
            }
        }
        server_tag::COMMAND_COMPLETE => {
            if !server.owed.front_is_ours() {
                server.note_effect(effect(command_tag(body)));
            }
            server.owed.received(tag, 0)?;
        }
        server_tag::PARAMETER_STATUS => {
            server.owed.received(tag, 0)?;
            if let Some((name, value)) = parameter_status(body) {
                heard.reported.retain(|(known, _)| **known != *name);
                heard.reported.push((name.into(), value.into()));
            }
        }
        tag => {
            server.owed.received(tag, 0)?;
        }
    }
    Ok(())
}
