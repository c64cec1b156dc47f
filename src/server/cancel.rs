//! Cancelling what a server runs: a connection of its own that carries the server's key, encrypted if
//! the server's own is, and the bounds on how many of those there are.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::connection::{CancelInFlight, CancelKey};
use super::dial::{Attempt, DialError, dial};
use crate::net::stream::Stream;
use crate::protocol::frontend;

/// A cancel request that has set out is not waited for longer: its server is closed then.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

/// What is to be cancelled was sent just now: Postgres forgets a cancel request that comes before it has read that.
const HEAD_START: Duration = Duration::from_millis(5);

/// When a cancel request sets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At once.
    Now,
    /// A moment later, as what it is for has only just been sent.
    Soon,
}

/// Bounds the cancel requests to Postgres, of all workers.
#[derive(Debug)]
pub struct Cancels {
    permits: Semaphore,
    bounds: Mutex<Bounds>,
    /// [`CANCEL_LIMIT`].
    limit: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    most: usize,
    wait: Option<Duration>,
}

impl Cancels {
    /// At most `most` at once (`max_cancel_connections`); one that has waited for `wait`
    /// (`cancel_wait_timeout`) for its turn is given up.
    #[must_use]
    pub fn new(most: usize, wait: Option<Duration>) -> Self {
        let bounds = Mutex::new(Bounds { most, wait });
        Self { permits: Semaphore::new(most), bounds, limit: CANCEL_LIMIT }
    }

    /// Other bounds. Those on their way go on, also where fewer are allowed now.
    pub fn set_bounds(&self, most: usize, wait: Option<Duration>) {
        let mut bounds = self.bounds.lock();
        bounds.wait = wait;
        if most > bounds.most {
            self.permits.add_permits(most - bounds.most);
            bounds.most = most;
        } else {
            // What is in use stays until the next change.
            bounds.most -= self.permits.forget_permits(bounds.most - most);
        }
    }

    /// As [`Self::send`], after the moment that it is to wait. Cancel safe, as that is.
    pub async fn send_at(&self, start: Start, key: CancelKey, in_flight: CancelInFlight) {
        match start {
            Start::Now => {}
            Start::Soon => sleep(HEAD_START).await,
        }
        self.send(key, in_flight).await;
    }

    /// Sends a cancel request when it is its turn, and waits until it has ended. Cancel safe, but
    /// one that has set out may arrive all the same; the gate knows.
    pub async fn send(&self, key: CancelKey, in_flight: CancelInFlight) {
        let wait = self.bounds.lock().wait;
        let turn = self.permits.acquire();
        let turn = match wait {
            Some(limit) => timeout(limit, turn).await.ok(),
            None => Some(turn.await),
        };
        let Some(Ok(_permit)) = turn else {
            debug!("cancel_wait_timeout: a cancel request is given up");
            return in_flight.finish();
        };
        let stream = match timeout(self.limit, connect(&key)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                debug!(%error, "a cancel request cannot be sent");
                return in_flight.finish();
            }
            // It has not set out.
            Err(_) => {
                debug!("connecting for a cancel request took too long");
                return in_flight.finish();
            }
        };
        match timeout(self.limit, cancel(stream, key, in_flight)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a cancel request failed"),
            Err(_) => debug!("a cancel request took too long"),
        }
    }
}

/// Sends a cancel request and waits until Postgres has acted on it, which it says by closing the
/// connection (`processCancelRequest`, src/backend/tcop/backend_startup.c: the signal is sent
/// before). Only then is `in_flight` over, so that a late cancel cannot hit the server's next
/// client. Cancel safe: dropping it gives the request up.
///
/// # Errors
/// When the connection fails.
async fn cancel(mut stream: Stream, key: CancelKey, in_flight: CancelInFlight) -> io::Result<()> {
    let mut request = Vec::new();
    frontend::write_cancel(&mut request, key.pid, &key.secret);
    stream.write_all(&request).await?;
    poll_fn(|cx| stream.poll_end(cx)).await?;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::connection::CancelGate;
    use super::*;
    use crate::net::address::ServerAddress;

    fn key(port: u16) -> CancelKey {
        CancelKey {
            address: ServerAddress::new("127.0.0.1", port),
            tls: None,
            pid: 1,
            secret: Box::new([0; 4]),
        }
    }

    #[test]
    fn a_request_whose_turn_does_not_come_is_given_up_and_hits_nobody() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // It accepts in the backlog, and never closes.
            let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = silent.local_addr().unwrap().port();
            let cancels = Arc::new(Cancels::new(1, Some(Duration::from_millis(20))));
            let (first, second) = (Arc::<CancelGate>::default(), Arc::<CancelGate>::default());
            let stuck = {
                let (cancels, flight) = (Arc::clone(&cancels), first.enter());
                tokio::spawn(async move { cancels.send(key(port), flight).await })
            };
            tokio::task::yield_now().await;
            cancels.send(key(port), second.enter()).await;
            assert!(first.is_busy() && !second.is_busy());
            assert!(!second.is_lost(), "its server can be used again");
            stuck.abort();
        });
    }

    /// One that did not set out hits nobody: its server can be used again. One that did may arrive at any time.
    #[test]
    fn a_request_that_takes_too_long_keeps_its_server_only_if_it_has_not_set_out() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut cancels = Cancels::new(1, None);
            cancels.limit = Duration::from_millis(50);
            // Room for one connection that nobody accepts; what knocks then gets no answer.
            let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let full = full.unwrap();
            full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            full.listen(0).unwrap();
            let address = full.local_addr().unwrap().as_socket().unwrap();
            let _inside = std::net::TcpStream::connect(address).unwrap();
            let gate = Arc::<CancelGate>::default();
            cancels.send(key(address.port()), gate.enter()).await;
            assert!(!gate.is_busy() && !gate.is_lost());

            let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let gate = Arc::<CancelGate>::default();
            cancels.send(key(silent.local_addr().unwrap().port()), gate.enter()).await;
            assert!(!gate.is_busy() && gate.is_lost());
        });
    }

    #[test]
    fn the_bounds_follow_the_configuration() {
        let cancels = Cancels::new(2, None);
        cancels.set_bounds(5, None);
        assert_eq!(cancels.permits.available_permits(), 5);
        let held = cancels.permits.try_acquire_many(4).unwrap();
        cancels.set_bounds(2, None);
        assert_eq!(cancels.permits.available_permits(), 0);
        drop(held);
        cancels.set_bounds(2, None);
        assert_eq!(cancels.permits.available_permits(), 2);
    }
}
