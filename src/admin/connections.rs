//! HTTP connections: how many there may be at once and how long a silent one stays. Who reads an
//! answer slowly or keeps a connection open holds one of them, no more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

/// Connections at once, of all listeners: probes, a few scrapers, people. More wait for their turn
/// in the kernel.
pub(super) const MOST_CONNECTIONS: usize = 100;

/// A connection that sends no request for so long is closed; longer than scrapers' usual interval,
/// so that theirs stay.
const SILENCE_LIMIT: Duration = Duration::from_secs(75);

/// A connection ends after so long whatever it does: this bounds clients that read slowly.
const LONGEST_CONNECTION: Duration = Duration::from_secs(3_600);

/// After a failed accept, so that it cannot fill the log.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until dropped; the connections end with it.
pub(super) async fn serve(listener: TcpListener, router: Router, places: Arc<Semaphore>) {
    if let Ok(address) = listener.local_addr() {
        info!(%address, "admin API listening");
    }
    let mut connections = JoinSet::new();
    loop {
        // Never closed; if it were, nothing would be left to bound.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(async move {
                    if let Err(error) = converse(stream, router).await {
                        debug!(%error, "an HTTP connection failed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                debug!(%error, "accepting an HTTP connection failed");
                sleep(PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, router: Router) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SILENCE_LIMIT);
    let service = TowerToHyperService::new(router);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    match timeout(LONGEST_CONNECTION, connection).await {
        Ok(ended) => ended.map_err(io::Error::other),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
