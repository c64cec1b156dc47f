//! Accepting clients, and handing each to the worker that has the fewest.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::client::context::{Arrival, Command, Shared};
use crate::client::logins::{Crowded, LoginPlace, ROOM};
use crate::client::report::{Denial, Report};
use crate::net::address::ClientAddress;
use crate::net::listen::Listening;
use crate::net::socket::DetachedSocket;
use crate::net::stream::Detached;

/// After a failed accept that is not the client's fault, so that it cannot fill the log;
/// and how long a client is waited for that was there when it could not be accepted.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of a client.
enum Fate {
    Served,
    Refused,
}

/// Accepts until dropped. Cancel safe.
pub async fn accept_all(listener: Listening, shared: Arc<Shared>) {
    // Given up for a moment when no other file descriptor is left, so that a client can be told.
    let mut spare = File::open("/dev/null").ok();
    loop {
        // Never closed.
        let Ok(turn) = Arc::clone(&shared.arrivals).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, address)) => match hand_over(&shared, stream, address, turn) {
                Fate::Served => {}
                // The clients that are there have their turn between those that are refused, too.
                Fate::Refused => yield_now().await,
            },
            Err(error) if is_exhausted(&error) => {
                drop(spare.take());
                let waiting = timeout(PAUSE, listener.accept()).await;
                spare = File::open("/dev/null").ok();
                match waiting {
                    // Another descriptor has become free meanwhile.
                    Ok(Ok((stream, address))) if spare.is_some() => {
                        hand_over(&shared, stream, address, turn);
                    }
                    Ok(Ok((stream, _))) => {
                        warn!(%error, "a client was refused: out of file descriptors");
                        refuse(stream, "out of file descriptors");
                        sleep(PAUSE).await;
                        spare = File::open("/dev/null").ok();
                    }
                    // Others took the descriptor.
                    Ok(Err(_)) => sleep(PAUSE).await,
                    // The client has gone.
                    Err(_) => {}
                }
            }
            Err(error) => {
                debug!(%error, "accepting a client failed");
                sleep(PAUSE).await;
            }
        }
    }
}

fn hand_over(
    shared: &Shared,
    stream: Detached,
    address: ClientAddress,
    turn: OwnedSemaphorePermit,
) -> Fate {
    let place = match admit(shared, address) {
        Ok(place) => place,
        Err(limit) => {
            if let Some(refused) = shared.logins.note_refused(Instant::now()) {
                warn!(%address, limit, refused, "connections were refused, the last of them from this address");
            }
            refuse(stream, limit);
            return Fate::Refused;
        }
    };
    let loads = shared.loads.iter().enumerate();
    let Some((index, load)) = loads.min_by_key(|(_, load)| load.load(Ordering::Relaxed)) else {
        return Fate::Refused;
    };
    load.fetch_add(1, Ordering::Relaxed);
    // A worker that is gone drops the socket, which tells the client.
    let _ = shared.workers[index].send(Command::Accept(stream, address, Arrival { place, turn }));
    Fate::Served
}

/// A place among those that are logging in, or the limit that allows none.
fn admit(shared: &Shared, address: ClientAddress) -> Result<Option<LoginPlace>, &'static str> {
    let config = shared.pools.config();
    let limits = &config.limits;
    let there: usize = shared.loads.iter().map(|load| load.load(Ordering::Relaxed)).sum();
    let limit = limits.max_logins_per_address;
    // One address alone cannot take all of it with connections that are not logged in.
    if there >= limits.max_client_conn as usize + limit as usize + ROOM {
        return Err("max_client_conn");
    }
    shared.logins.take(address, limit).map_err(|Crowded| "max_logins_per_address")
}

/// `EMFILE` and `ENFILE`.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::MFILE.raw_os_error()
        || code == rustix::io::Errno::NFILE.raw_os_error())
}

/// Says why and closes, before the client has said anything: libpq and others read it.
fn refuse(stream: Detached, limit: &'static str) {
    use std::io::Write;
    let mut message = Vec::new();
    let denial = Denial::TooManyClients(limit);
    Report::Login(denial).write_fatal(&mut message);
    // The socket's buffer is empty, so a short message goes out at once or never.
    let _ = match stream.into_socket() {
        DetachedSocket::Tcp(mut stream) => stream.write_all(&message),
        DetachedSocket::Unix(mut stream) => stream.write_all(&message),
    };
}
