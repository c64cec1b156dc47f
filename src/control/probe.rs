//! Is Postgres there? The question that needs no password: as `pg_isready` asks it.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use crate::account::{AccountError, in_postgres_words};
use crate::net::address::ServerAddress;
use crate::net::framed::{MessageReader, ReadError};
use crate::net::stream::Stream;
use crate::protocol::backend::Authentication;
use crate::protocol::error_response::ErrorFields;
use crate::protocol::frame::{client_tag, server_tag};
use crate::protocol::frontend;
use crate::protocol::sqlstate::SqlState;
use crate::protocol::startup::PROTOCOL_3_0;

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

impl From<AccountError> for ProbeError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Postgres(error) => Self::Query(error),
            AccountError::Pool => Self::Pool,
        }
    }
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
        let _ = poll_fn(|cx| stream.poll_end(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::protocol::error_response::{Severity, write_error};

    /// Asks a server that answers a startup packet with these bytes.
    fn answered(reply: Vec<u8>) -> Result<(), ProbeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut startup = [0; 256];
                let length = stream.read(&mut startup).await.unwrap();
                let startup = String::from_utf8_lossy(&startup[..length]).into_owned();
                assert!(startup.contains("user\0app\0database\0shop\0"), "{startup:?}");
                stream.write_all(&reply).await.unwrap();
            };
            let address = ServerAddress::new("127.0.0.1", port);
            tokio::join!(server, takes_logins(&address, "app", "shop")).1
        })
    }

    fn refusal(code: SqlState) -> Vec<u8> {
        let mut reply = Vec::new();
        write_error(&mut reply, Severity::Fatal, code, "the database system is starting up", "");
        reply
    }

    #[test]
    fn a_request_for_a_password_says_that_postgres_is_there() {
        let scram = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec();
        answered(scram).unwrap();
    }

    #[test]
    fn who_is_let_in_at_once_says_goodbye_and_is_content() {
        answered(b"R\0\0\0\x08\0\0\0\0S\0\0\0\x08a\0b\0".to_vec()).unwrap();
    }

    #[test]
    fn refusals_say_that_postgres_is_there_but_for_one() {
        for code in [SqlState::INVALID_CATALOG_NAME, SqlState::TOO_MANY_CONNECTIONS] {
            answered(refusal(code)).unwrap();
        }
        let not_now = answered(refusal(SqlState::CANNOT_CONNECT_NOW)).unwrap_err();
        assert_eq!(not_now.to_string(), "the database system is starting up");
    }

    #[test]
    fn what_does_not_speak_postgres_is_not_it() {
        let http = answered(b"HTTP/1.1 400 Bad Request\r\n".to_vec()).unwrap_err();
        assert!(matches!(http, ProbeError::Read(ReadError::Length(_))), "{http}");
        let copy = answered(b"G\0\0\0\x04".to_vec()).unwrap_err();
        assert!(matches!(copy, ProbeError::NotPostgres(b'G')), "{copy}");
        assert!(matches!(answered(Vec::new()).unwrap_err(), ProbeError::Read(ReadError::Closed)));
    }
}
