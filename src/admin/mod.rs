//! The HTTP API for operators: what there is to see, as text for people and JSON for programs, and
//! Prometheus' format. Reads only; what it shows is gathered by `control`.
//!
//! There is no authentication yet, so the configuration allows loopback addresses only, and requests
//! for other host names are refused: a web page that points its own name to 127.0.0.1 must not reach it.

mod answer;
mod format;
mod guard;
mod human;
mod metrics;
mod parameters;
mod problem;
mod process;
mod routes;
mod table;
mod views;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::net::TcpListener;
use tracing::{error, info};

use crate::client::context::Shared;
use crate::control::census::Census;
use crate::control::health::Health;
use crate::control::history::History;
use crate::lifecycle::Lifecycle;

/// What the API shows, and where it has it from.
pub struct Sources {
    /// Pools and configuration.
    pub shared: Arc<Shared>,
    /// Asks the workers.
    pub census: Census,
    /// The last minute.
    pub history: Arc<History>,
    /// Whether Postgres is there.
    pub health: Arc<Health>,
    /// Whether the program ends.
    pub lifecycle: Arc<Lifecycle>,
    /// When the program started.
    pub started: (Instant, SystemTime),
}

/// Listens on one address.
///
/// # Errors
/// As the system's.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, sources: Arc<Sources>) {
    if let Ok(address) = listener.local_addr() {
        info!(%address, "admin API listening");
    }
    if let Err(error) = axum::serve(listener, routes::router(sources)).await {
        error!(%error, "the admin API ended");
    }
}
