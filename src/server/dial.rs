//! A connection to Postgres' address, encrypted as configured. To log in over it is left to `login`.

use std::io;

use crate::config::{SslMode, SslNegotiation};
use crate::net::address::ServerAddress;
use crate::net::stream::Stream;
use crate::net::tls::ALPN;
use crate::net::tls::connector::Connector;
use crate::net::tls::session::HandshakeError;
use crate::protocol::frontend;

/// What Postgres answers to a request for TLS ("SSL Session Encryption" in the docs).
const WILLING: u8 = b'S';

/// The same: it goes on in clear, or not at all.
const UNWILLING: u8 = b'N';

/// One way to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Without a word about TLS.
    Clear,
    /// TLS is asked for; whether it may be done without, the mode says.
    Encrypted,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address does not answer.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address.
        address: ServerAddress,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection ended while TLS was asked for.
    #[error("asking for TLS: {0}")]
    Ask(io::Error),
    /// Postgres has no TLS, and the mode needs it.
    #[error("Postgres does not do TLS, and server_tls_sslmode requires it")]
    NoTls,
    /// It is no Postgres.
    #[error("the request for TLS was answered with {0:#04x}")]
    Answer(u8),
    /// It speaks TLS, but does not say that it is Postgres.
    #[error(
        "the server did not agree on the ALPN protocol \"postgresql\"; server_tls_negotiation = \"direct\" needs PostgreSQL 17"
    )]
    NoAlpn,
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] HandshakeError),
}

/// The ways to try in turn, as libpq orders them.
#[must_use]
pub fn attempts(address: &ServerAddress, mode: SslMode) -> &'static [Attempt] {
    match (address, mode) {
        // Within the machine nobody is in between; Postgres would answer `N`.
        (ServerAddress::Unix(_), _) | (_, SslMode::Disable) => &[Attempt::Clear],
        (_, SslMode::Allow) => &[Attempt::Clear, Attempt::Encrypted],
        (_, SslMode::Prefer) => &[Attempt::Encrypted, Attempt::Clear],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[Attempt::Encrypted],
    }
}

/// Connects. Cancel safe: dropping it closes the socket.
///
/// # Errors
/// As [`DialError`] says.
pub async fn dial(
    address: &ServerAddress,
    connector: &Connector,
    attempt: Attempt,
) -> Result<Stream, DialError> {
    let connected = address.connect().await;
    let mut stream =
        connected.map_err(|source| DialError::Connect { address: address.clone(), source })?;
    let ServerAddress::Tcp { host, .. } = address else { return Ok(stream) };
    if attempt == Attempt::Clear {
        return Ok(stream);
    }
    if connector.negotiation() == SslNegotiation::Direct {
        let session = connector.session(host).map_err(HandshakeError::from)?;
        stream.start_tls(session, &[]).await?;
        // Whoever does not name the protocol may have been meant for another one (ALPACA).
        return match stream.tls().and_then(|tls| tls.alpn()) {
            Some(ALPN) => Ok(stream),
            Some(_) | None => Err(DialError::NoAlpn),
        };
    }
    let mut request = Vec::new();
    frontend::write_ssl_request(&mut request);
    stream.write_all(&request).await.map_err(DialError::Ask)?;
    // One byte and no more: what somebody may have put behind it is no TLS, and the handshake fails
    // (CVE-2021-23222).
    let mut answer = [0];
    stream.read_exact(&mut answer).await.map_err(DialError::Ask)?;
    match answer {
        [WILLING] => {
            let session = connector.session(host).map_err(HandshakeError::from)?;
            stream.start_tls(session, &[]).await?;
            Ok(stream)
        }
        [UNWILLING] if connector.mode().requires() => Err(DialError::NoTls),
        [UNWILLING] => Ok(stream),
        [other] => Err(DialError::Answer(other)),
    }
}

impl DialError {
    /// May it go better without TLS?
    #[must_use]
    pub fn is_about_tls(&self) -> bool {
        match self {
            Self::Ask(_) | Self::Answer(_) | Self::NoAlpn | Self::Tls(_) => true,
            Self::Connect { .. } | Self::NoTls => false,
        }
    }
}
