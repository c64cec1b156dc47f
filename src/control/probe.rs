//! Is Postgres there? The question that needs no password: as `pg_isready` asks it.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use crate::net::address::ServerAddress;
use crate::net::framed::{MessageReader, ReadError};
use crate::net::stream::Stream;
use crate::protocol::backend::Authentication;
use crate::protocol::error_response::ErrorFields;
use crate::protocol::frame::{client_tag, server_tag};
use crate::protocol::frontend;
use crate::protocol::sqlstate::SqlState;
use crate::protocol::startup::PROTOCOL_3_0;
use crate::server::connection::poll_end;

/// What Postgres answers to a startup packet is small.
const MESSAGE_LIMIT: usize = 16 * 1024;

/// Why Postgres cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The connection failed before there was an answer.
    #[error("no answer: {0}")]
    Read(#[from] ReadError),
    /// Postgres starts, recovers or shuts down.
    #[error("{0}")]
    NotNow(String),
    /// Something else than Postgres answered.
    #[error("no Postgres: it answered with a message of type {0:#04x}")]
    NotPostgres(u8),
    /// Logging in or the check query failed.
    #[error("{}", in_postgres_words(.0))]
    Query(#[from] tokio_postgres::Error),
    /// The connection for the check query could not be made ready.
    #[error("no connection for the check query")]
    Pool,
}

/// Says hello as `user` and hears whether Postgres takes logins: any request for a password and any
/// refusal says so, but not "cannot connect now" (`PQping`, src/interfaces/libpq/fe-connect.c).
/// Cancel safe: dropping it closes the socket.
///
/// # Errors
/// As [`ProbeError`] says; a time limit is the caller's.
pub async fn takes_logins(
    address: &ServerAddress,
    user: &str,
    database: &str,
) -> Result<(), ProbeError> {
    let mut stream = address.connect().await.map_err(ProbeError::Connect)?;
    let mut startup = Vec::new();
    let parameters = [("user", user), ("database", database)];
    frontend::write_startup(&mut startup, PROTOCOL_3_0, &parameters);
    stream.write_all(&startup).await.map_err(ReadError::Io)?;
    let mut reader = MessageReader::default();
    let answer = reader.next(&mut stream, MESSAGE_LIMIT).await?;
    match answer.tag {
        server_tag::AUTHENTICATION => {
            if matches!(Authentication::parse(answer.body), Some(Authentication::Ok)) {
                take_leave(&mut stream).await;
            }
            Ok(())
        }
        server_tag::ERROR => {
            let fields = ErrorFields::parse(answer.body);
            match fields.sqlstate() {
                Some(SqlState::CANNOT_CONNECT_NOW) => {
                    Err(ProbeError::NotNow(String::from_utf8_lossy(fields.message).into_owned()))
                }
                Some(_) | None => Ok(()),
            }
        }
        tag => Err(ProbeError::NotPostgres(tag)),
    }
}

/// We are in without having been asked: Postgres has more to say, and would log a connection that
/// is cut before it was read.
async fn take_leave(stream: &mut Stream) {
    let mut terminate = Vec::new();
    frontend::write_empty(&mut terminate, client_tag::TERMINATE);
    // The question is answered, whatever becomes of the goodbye.
    if stream.write_all(&terminate).await.is_ok() {
        let _ = poll_fn(|cx| poll_end(stream, cx)).await;
    }
}

/// `tokio_postgres::Error` says "db error" and keeps what Postgres said to itself.
fn in_postgres_words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => {
            let cause = std::error::Error::source(error);
            cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
        }
    }
}
