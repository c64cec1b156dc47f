//! TLS towards Postgres: whether, and how a session begins.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::session::{Steps, TlsSession};
use crate::config::{ServerTls, SslMode, SslNegotiation};

/// How Postgres is connected to: mode and trust. Two are equal if a connection made by one is as good
/// as one made by the other.
#[derive(Clone)]
pub struct Connector {
    pub(super) way: ServerTls,
    pub(super) config: Arc<ClientConfig>,
    /// A hash of the files that `config` was made from.
    pub(super) fingerprint: [u8; 32],
}

impl Connector {
    /// `server_tls_sslmode`.
    #[must_use]
    pub fn mode(&self) -> SslMode {
        self.way.mode
    }

    /// `server_tls_negotiation`.
    #[must_use]
    pub fn negotiation(&self) -> SslNegotiation {
        self.way.negotiation
    }

    /// What rustls is told.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// A session with the Postgres on this host.
    ///
    /// # Errors
    /// When the host's name cannot be one, or rustls finds fault with its configuration.
    pub fn session(&self, host: &str) -> Result<TlsSession, rustls::Error> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| rustls::Error::General("the host's name is no DNS name".to_owned()))?;
        Ok(TlsSession::new(ClientConnection::new(Arc::clone(&self.config), name)?, Steps::Here))
    }
}

impl PartialEq for Connector {
    fn eq(&self, other: &Self) -> bool {
        self.way == other.way && self.fingerprint == other.fingerprint
    }
}

impl Eq for Connector {}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("way", &self.way).finish_non_exhaustive()
    }
}
