//! TLS towards clients: the certificate that is shown, and what clients must bring.

use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use tokio::sync::Semaphore;

use super::session::{Steps, TlsSession};
use crate::config::SslMode;

/// How clients are served that ask for TLS.
pub struct Acceptor {
    pub(super) mode: SslMode,
    pub(super) config: Arc<ServerConfig>,
    pub(super) end_point: Option<Box<[u8]>>,
    /// Where handshakes are computed.
    pub(super) handshakes: Handshakes,
}

/// Where handshakes are computed.
pub(super) enum Handshakes {
    /// By the client's worker, in turn: a signature takes less than it costs to wake a thread for it.
    OnWorker,
    /// Their signatures beside the workers, so many at once.
    SignAside(Arc<Semaphore>),
    /// All of them beside the workers, so many at once.
    AllAside(Arc<Semaphore>),
}

impl Acceptor {
    /// `client_tls_sslmode`; never `disable`.
    #[must_use]
    pub fn mode(&self) -> SslMode {
        self.mode
    }

    /// What SCRAM binds to: the hash of the certificate that is shown.
    #[must_use]
    pub fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// A session for one client, on the worker whose turns these are: one permit. A handshake takes
    /// 0.1 ms with a P-256 key, which is the worker's to compute; 0.7 ms with RSA of 2048 bits and
    /// 5 ms with 4096 are not, nor is the check of clients' certificates.
    ///
    /// # Errors
    /// As rustls finds fault with its configuration.
    pub fn session(&self, turns: &Arc<Semaphore>) -> Result<TlsSession, rustls::Error> {
        let connection = ServerConnection::new(Arc::clone(&self.config))?;
        let steps = match &self.handshakes {
            Handshakes::OnWorker => Steps::HereInTurn(Arc::clone(turns)),
            Handshakes::SignAside(most) => Steps::SignAside(Arc::clone(most)),
            Handshakes::AllAside(most) => Steps::AllAside(Arc::clone(most)),
        };
        Ok(TlsSession::new(connection, steps))
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("mode", &self.mode).finish_non_exhaustive()
    }
}
