//! Cancelling what a server runs: a connection of its own that carries the server's key, encrypted if
//! the server's own is.

use std::future::poll_fn;
use std::io;

use super::connection::{CancelInFlight, CancelKey, poll_end};
use super::dial::{Attempt, DialError, dial};
use crate::net::stream::Stream;
use crate::protocol::frontend;

/// Why a cancel request did not get through.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// Postgres cannot be reached: the request never set out.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection failed on the way.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Sends a cancel request and waits until Postgres has acted on it, which it says by closing the
/// connection (`processCancelRequest`, src/backend/tcop/backend_startup.c: the signal is sent
/// before). Only then is `in_flight` over, so that a late cancel cannot hit the server's next
/// client. Cancel safe: dropping it gives the request up.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn cancel(key: CancelKey, in_flight: CancelInFlight) -> Result<(), CancelError> {
    let mut stream = match connect(&key).await {
        Ok(stream) => stream,
        Err(error) => {
            in_flight.finish();
            return Err(error.into());
        }
    };
    let mut request = Vec::new();
    frontend::write_cancel(&mut request, key.pid, &key.secret);
    stream.write_all(&request).await?;
    poll_fn(|cx| poll_end(&mut stream, cx)).await?;
    in_flight.finish();
    Ok(())
}

async fn connect(key: &CancelKey) -> Result<Stream, DialError> {
    let Some(connector) = &key.tls else {
        let connected = key.address.connect().await;
        return connected
            .map_err(|source| DialError::Connect { address: key.address.clone(), source });
    };
    dial(&key.address, connector, Attempt::Encrypted).await
}
