//! Cancelling what a server runs: a connection of its own that carries the server's key.

use std::future::poll_fn;
use std::io;

use super::connection::{CancelInFlight, CancelKey, poll_end};
use crate::protocol::frontend;

/// Sends a cancel request and waits until Postgres has acted on it, which it says by closing the
/// connection (`processCancelRequest`, src/backend/tcop/backend_startup.c: the signal is sent
/// before). Only then is `in_flight` over, so that a late cancel cannot hit the server's next
/// client. Cancel safe: dropping it gives the request up.
///
/// # Errors
/// When Postgres cannot be reached.
pub async fn cancel(key: CancelKey, in_flight: CancelInFlight) -> io::Result<()> {
    let mut stream = match key.address.connect().await {
        Ok(stream) => stream,
        Err(error) => {
            in_flight.finish();
            return Err(error);
        }
    };
    let mut request = Vec::new();
    frontend::write_cancel(&mut request, key.pid, &key.secret);
    stream.write_all(&request).await?;
    poll_fn(|cx| poll_end(&mut stream, cx)).await?;
    in_flight.finish();
    Ok(())
}
