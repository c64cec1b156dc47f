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
use crate::protocol::bound::types;
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
    /// The session does not become what it should be.
    #[error("the server refuses what its session needs: {message} ({code})")]
    Unfit {
        /// Why.
        code: SqlState,
        /// Why, in Postgres' words.
        message: String,
    },
}

/// What was learnt while nothing was passed on to anybody.
#[derive(Debug, Default)]
pub struct Heard {
    /// The last error: SQLSTATE and message.
    pub error: Option<(SqlState, String)>,
    /// Settings that were reported.
    pub reported: Vec<(Box<str>, Box<str>)>,
    /// The types of the parameters of a statement that was described.
    pub parameters: Vec<u32>,
    /// What is kept of rows.
    pub rows: Rows,
}

/// The first column of rows, as far as there is room.
#[derive(Debug, Default)]
pub struct Rows {
    /// The values; NULL is left out.
    pub values: Vec<Box<[u8]>>,
    /// How many bytes of values may come yet.
    room: usize,
    /// Was there more than room?
    pub is_cut: bool,
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

/// As [`run`], and keeps the first column of the rows: up to `room` bytes in all. Not cancel safe, as [`run`].
///
/// # Errors
/// As [`run`].
pub async fn ask(
    server: &mut ServerConnection,
    sql: &str,
    room: usize,
) -> Result<Heard, ExecError> {
    frontend::write_query(&mut server.unsent, sql);
    server.statements.doubt_unnamed();
    server.owed.push(Request::Query, Answer::Swallow, None, 0);
    let rows = Rows { room, ..Rows::default() };
    listen(server, Heard { rows, ..Heard::default() }).await
}

/// Prepares a statement (its text, NUL and types, as a Parse has them) under a name, and learns the types of
/// its parameters. Not cancel safe, as [`run`].
///
/// # Errors
/// As [`run`].
pub async fn prepare(
    server: &mut ServerConnection,
    name: &[u8],
    statement: &[u8],
) -> Result<Heard, ExecError> {
    frontend::write_parse(&mut server.unsent, name, statement);
    frontend::write_describe_statement(&mut server.unsent, name);
    for request in [Request::Parse, Request::Describe] {
        server.owed.push(request, Answer::Swallow, None, 0);
    }
    push_sync(server);
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
    listen(server, Heard::default()).await
}

async fn listen(server: &mut ServerConnection, mut heard: Heard) -> Result<Heard, ExecError> {
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
        if there < end && end - at <= WHOLE_LIMIT.max(heard.rows.room) {
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
            match tag {
                server_tag::DATA_ROW => heard.rows.note(body),
                server_tag::PARAMETER_DESCRIPTION => heard.parameters = types(body),
                _ => {}
            }
            server.owed.received(tag, 0)?;
        }
    }
    Ok(())
}

impl Rows {
    /// The first value as text, if it is whole.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        let first = self.values.first().filter(|_| !self.is_cut)?;
        std::str::from_utf8(first).ok()
    }

    /// A `DataRow` came: count of columns, and of each its length and bytes.
    fn note(&mut self, row: &[u8]) {
        let Some((length, rest)) = row.get(2..).and_then(|row| row.split_first_chunk()) else {
            return;
        };
        // NULL has the length -1.
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return };
        match rest.get(..length).filter(|_| length <= self.room) {
            Some(value) => {
                self.room -= length;
                self.values.push(value.into());
            }
            // Who asked for none is told nothing.
            None => self.is_cut = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(first: &[u8]) -> Vec<u8> {
        [&[0, 2], &(first.len() as u32).to_be_bytes()[..], first, &[0, 0, 0, 0]].concat()
    }

    #[test]
    fn the_first_column_is_kept_as_far_as_there_is_room() {
        let mut rows = Rows { room: 5, ..Rows::default() };
        rows.note(&row(b"abc"));
        rows.note(&[0, 1, 255, 255, 255, 255]);
        assert_eq!((rows.text(), rows.values.len()), (Some("abc"), 1));
        rows.note(&row(b"def"));
        assert_eq!((rows.text(), rows.is_cut), (None, true));
    }

    #[test]
    fn rows_that_make_no_sense_are_no_values() {
        for bytes in [&b""[..], &[0], &[0, 1, 0], &[0, 1, 0, 0, 0, 9, b'x']] {
            let mut rows = Rows { room: 100, ..Rows::default() };
            rows.note(bytes);
            assert!(rows.values.is_empty(), "{bytes:?}");
        }
    }
}
