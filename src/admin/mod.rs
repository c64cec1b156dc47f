//! The HTTP API for operators: what there is to see, as text for people and JSON for programs, and
//! Prometheus' format. What it shows is gathered by `control`.
//!
//! Whoever asks shows a token, unless there is none in the configuration: then only loopback addresses
//! are listened on, and requests for other host names are refused, because a web page that points its
//! own name to 127.0.0.1 must not reach it.

mod access;
mod answer;
mod connections;
mod explain;
mod follow;
mod format;
mod guard;
mod html;
mod human;
mod insight;
#[cfg(test)]
mod load_tests;
pub mod metrics;
mod moment;
mod openapi;
mod parameters;
mod places;
mod problem;
mod process;
mod queries;
mod routes;
mod sheet;
#[cfg(test)]
mod statement_tests;
mod table;
#[cfg(test)]
mod tests;
mod views;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::client::context::Shared;
use crate::client::logins::Logins;
use crate::control::census::Census;
use crate::control::explain::Explainer;
use crate::control::health::Health;
use crate::control::history::History;
use crate::lifecycle::Lifecycle;
use connections::Door;
use places::Places;

/// What the API shows, and where it has it from.
pub struct Sources {
    /// Pools and configuration.
    pub shared: Arc<Shared>,
    /// Asks the workers.
    pub census: Census,
    /// The last minute.
    pub history: Arc<History>,
    /// Asks for plans.
    pub explainer: Arc<Explainer>,
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

/// Serves on all listeners until dropped. Cancel safe.
pub async fn serve(listeners: Vec<TcpListener>, sources: Arc<Sources>) {
    let shared = Arc::clone(&sources.shared);
    let router = routes::router(sources);
    let places = Arc::<Places>::default();
    let peers = Arc::<Logins>::default();
    let mut serving = JoinSet::new();
    for listener in listeners {
        let door = Door {
            router: router.clone(),
            places: Arc::clone(&places),
            peers: Arc::clone(&peers),
            shared: Arc::clone(&shared),
        };
        serving.spawn(door.serve(listener));
    }
    while serving.join_next().await.is_some() {}
}
