//! HTTP connections, with TLS where there is a certificate: how many there may be at once and how long a silent one stays. Who reads an
//! answer slowly or keeps a connection open holds one of them, no more.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info};

use super::access::{Peer, Reach};
use super::places::{Places, Seat};
use crate::client::context::Shared;
use crate::client::logins::Logins;
use crate::net::address::ClientAddress;

/// Connections of one address at once, of all listeners, so that it cannot take every place: ten may follow what happens, a
/// browser opens six, and the rest is for probes and scrapers. One more is closed.
const MOST_OF_ONE_ADDRESS: u32 = 20;

/// A connection that has not sent its first request after so long is closed.
const FIRST_REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// A connection that sends no further request for so long is closed; longer than scrapers' usual interval,
/// so that theirs stay.
const SILENCE_LIMIT: Duration = Duration::from_secs(75);

/// A connection ends after so long whatever it does: this bounds clients that read slowly.
const LONGEST_CONNECTION: Duration = Duration::from_secs(3_600);

/// How long a TLS handshake takes at most.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// After a failed accept, so that it cannot fill the log.
const PAUSE: Duration = Duration::from_millis(100);

/// What every listener's connections have in common.
pub(super) struct Door {
    /// Who answers.
    pub(super) router: Router,
    /// Where they sit.
    pub(super) places: Arc<Places>,
    /// Whose they are.
    pub(super) peers: Arc<Logins>,
    /// Has the certificate.
    pub(super) shared: Arc<Shared>,
}

/// A connection.
struct Guest {
    peer: Peer,
    seat: Arc<Seat>,
}

impl Door {
    /// Serves until dropped; the connections end with it.
    pub(super) async fn serve(self, listener: TcpListener) {
        let address = listener.local_addr();
        let is_ours = address.as_ref().is_ok_and(|own| own.ip().to_canonical().is_loopback());
        let reach = if is_ours { Reach::Machine } else { Reach::Network };
        if let Ok(address) = address {
            info!(%address, "admin API listening");
        }
        let mut connections = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let peer = Peer { ip: from.ip().to_canonical(), reach };
                    let taken = self.peers.take(ClientAddress::Tcp(from), MOST_OF_ONE_ADDRESS);
                    let Ok(own_place) = taken else {
                        debug!(from = %peer.ip, "an HTTP connection too many of one address");
                        continue;
                    };
                    let place = self.places.take().await;
                    // As the last reload has it.
                    let tls = self.shared.pools.tls().admin().cloned();
                    let guest = Guest { peer, seat: Arc::clone(place.seat()) };
                    let router = self.router.clone();
                    connections.spawn(async move {
                        let ended = tokio::select! {
                            ended = welcome(stream, tls, &guest, router) => ended,
                            () = place.seat().told_to_leave() => Err(io::Error::other("others want its place")),
                        };
                        if let Err(error) = ended {
                            debug!(%error, from = %peer.ip, "an HTTP connection failed");
                        }
                        drop((place, own_place));
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
}

async fn welcome(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    guest: &Guest,
    router: Router,
) -> io::Result<()> {
    match tls {
        None => converse(stream, guest, router).await,
        Some(tls) => {
            let shaking = TlsAcceptor::from(tls).accept(stream);
            converse(timeout(HANDSHAKE_LIMIT, shaking).await??, guest, router).await
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    guest: &Guest,
    router: Router,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SILENCE_LIMIT);
    let router = TowerToHyperService::new(router);
    let heard = AtomicBool::new(false);
    let service = service_fn(|request| {
        heard.store(true, Ordering::Relaxed);
        answer(&router, request, guest)
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let silent = async {
        sleep(FIRST_REQUEST_LIMIT).await;
        if heard.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = timeout(LONGEST_CONNECTION, connection) => match ended {
            Ok(ended) => ended.map_err(io::Error::other),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        },
        () = silent => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Tells the router whom the request comes from.
fn answer(
    router: &TowerToHyperService<Router>,
    mut request: Request<Incoming>,
    guest: &Guest,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
    guest.seat.hear();
    request.extensions_mut().insert(guest.peer);
    request.extensions_mut().insert(Arc::clone(&guest.seat));
    router.call(request)
}
