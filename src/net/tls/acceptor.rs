//! TLS towards clients: the certificate that is shown, and what clients must bring.

use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use super::session::{Aside, TlsSession};
use crate::config::SslMode;

/// How clients are served that ask for TLS.
pub struct Acceptor {
    pub(super) mode: SslMode,
    pub(super) config: Arc<ServerConfig>,
    pub(super) end_point: Option<Box<[u8]>>,
    /// How handshakes are computed.
    pub(super) aside: Aside,
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

    /// A session for one client. Its handshake is computed beside the workers: 0.1 ms with a P-256
    /// key, 0.7 ms with RSA of 2048 bits, 5 ms with 4096, and many clients may come at once.
    ///
    /// # Errors
    /// As rustls finds fault with its configuration.
    pub fn session(&self) -> Result<TlsSession, rustls::Error> {
        let connection = ServerConnection::new(Arc::clone(&self.config))?;
        Ok(TlsSession::new(connection, Some(self.aside.clone())))
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("mode", &self.mode).finish_non_exhaustive()
    }
}
