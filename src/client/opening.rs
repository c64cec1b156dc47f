//! The first packets of a client, up to the one that begins a session or asks to cancel: encryption
//! is agreed on here. Who the client is, is asked later.

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::net::address::ClientAddress;
use crate::net::framed::{MessageReader, ReadError};
use crate::net::stream::Stream;
use crate::net::tls::ALPN;
use crate::net::tls::acceptor::Acceptor;
use crate::net::tls::session::HandshakeError;
use crate::protocol::startup::{self, FirstPacket, StartupError};

/// Requests for encryption before the real first packet: TLS and GSSAPI, each once.
const MOST_REQUESTS: usize = 2;

/// The first byte of a TLS handshake (RFC 8446, 5.1), which no length of a first packet begins with.
const TLS_HANDSHAKE: u8 = 0x16;

/// Why there is no first packet.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// The socket failed, or the client went away.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The packet makes no sense.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// It is another protocol.
    #[error("not the Postgres protocol")]
    NotPostgres,
    /// Something came behind a request for encryption before it was answered.
    #[error("unencrypted bytes behind a request for encryption")]
    BytesBehindRequest,
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] HandshakeError),
    /// A client that began with TLS did not say that it means Postgres.
    #[error("direct TLS without the ALPN protocol \"postgresql\"")]
    NoAlpn,
    /// Only encrypted clients are served.
    #[error("the client does not use TLS")]
    TlsRequired,
}

/// A connection at its beginning.
pub struct Opening<'a> {
    /// Its socket.
    pub stream: &'a mut Stream,
    /// What was read from it.
    pub reader: &'a mut MessageReader,
    /// Where it comes from.
    pub address: ClientAddress,
    /// How it is served if it asks for TLS.
    pub acceptor: Option<&'a Arc<Acceptor>>,
    /// Its worker's turns at handshakes.
    pub signing: &'a Arc<Semaphore>,
}

impl<'a> Opening<'a> {
    /// Reads first packets until one is not a request for encryption. Not cancel safe.
    ///
    /// # Errors
    /// As [`OpeningError`] says.
    pub async fn first_packet(&mut self) -> Result<FirstPacket, OpeningError> {
        for request in 0..=MOST_REQUESTS {
            let head = self.reader.bytes(self.stream, 4).await?;
            let head = [head[0], head[1], head[2], head[3]];
            if request == 0 && head[0] == TLS_HANDSHAKE && self.acceptor().is_some() {
                self.begin_with_tls(head).await?;
                return self.encrypted_packet().await;
            }
            match self.packet(head).await? {
                FirstPacket::SslRequest | FirstPacket::GssEncRequest
                    if !self.reader.is_drained() =>
                {
                    // Whoever sends on without waiting for the answer may have been put in front
                    // of the client by somebody in between.
                    return Err(OpeningError::BytesBehindRequest);
                }
                FirstPacket::SslRequest if let Some(acceptor) = self.acceptor() => {
                    self.stream.write_all(b"S").await?;
                    let session = acceptor.session(self.signing).map_err(HandshakeError::from)?;
                    self.stream.start_tls(session, &[]).await?;
                    return self.encrypted_packet().await;
                }
                FirstPacket::SslRequest | FirstPacket::GssEncRequest => {
                    self.stream.write_all(b"N").await?;
                }
                other @ (FirstPacket::CancelRequest { .. } | FirstPacket::Startup(_)) => {
                    return Ok(other);
                }
            }
        }
        Err(OpeningError::NotPostgres)
    }

    /// May this client begin a session over the channel that it has?
    ///
    /// # Errors
    /// [`OpeningError::TlsRequired`].
    pub fn check(&self) -> Result<(), OpeningError> {
        let required = self.acceptor().is_some_and(|acceptor| acceptor.mode().requires());
        if required && self.stream.tls().is_none() {
            return Err(OpeningError::TlsRequired);
        }
        Ok(())
    }

    /// As in Postgres, there is no TLS within the machine's own sockets.
    fn acceptor(&self) -> Option<&'a Arc<Acceptor>> {
        match self.address {
            ClientAddress::Tcp(_) => self.acceptor,
            ClientAddress::Unix => None,
        }
    }

    async fn packet(&mut self, head: [u8; 4]) -> Result<FirstPacket, OpeningError> {
        let length = startup::packet_length(head).map_err(|_| OpeningError::NotPostgres)?;
        let body = self.reader.bytes(self.stream, length - 4).await?;
        Ok(startup::parse(body)?)
    }

    /// `sslnegotiation=direct` (`ProcessSSLStartup`, src/backend/tcop/backend_startup.c).
    async fn begin_with_tls(&mut self, head: [u8; 4]) -> Result<(), OpeningError> {
        let Some(acceptor) = self.acceptor() else { return Err(OpeningError::NotPostgres) };
        let session = acceptor.session(self.signing).map_err(HandshakeError::from)?;
        let seen = [&head[..], &self.reader.take_rest()].concat();
        self.stream.start_tls(session, &seen).await?;
        if self.stream.tls().and_then(|tls| tls.alpn()) != Some(ALPN) {
            return Err(OpeningError::NoAlpn);
        }
        Ok(())
    }

    /// What comes once the channel is encrypted; GSSAPI may still be asked for, in vain.
    async fn encrypted_packet(&mut self) -> Result<FirstPacket, OpeningError> {
        for _ in 0..MOST_REQUESTS {
            let head = self.reader.bytes(self.stream, 4).await?;
            let head = [head[0], head[1], head[2], head[3]];
            match self.packet(head).await? {
                FirstPacket::GssEncRequest => self.stream.write_all(b"N").await?,
                FirstPacket::SslRequest => return Err(OpeningError::NotPostgres),
                other @ (FirstPacket::CancelRequest { .. } | FirstPacket::Startup(_)) => {
                    return Ok(other);
                }
            }
        }
        Err(OpeningError::NotPostgres)
    }
}
