//! TLS for tokio-postgres, the driver of our own questions to Postgres, by the same rules and
//! certificates as for the clients' servers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{SslMode as PostgresMode, SslNegotiation as PostgresNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use super::certificate::Certificate;
use super::connector::Connector;
use crate::config::{Host, SslMode, SslNegotiation};

/// Makes sessions for tokio-postgres.
#[derive(Clone)]
pub struct MakeTls(Arc<ClientConfig>);

/// Makes one session.
pub struct Connect {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A session.
pub struct Session<S>(tokio_rustls::client::TlsStream<S>);

impl MakeTls {
    /// By these rules.
    #[must_use]
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self(config)
    }
}

/// What tokio-postgres is to do. It has no `allow`, which in most cases comes to the same.
#[must_use]
pub fn mode(connector: &Connector, host: &Host) -> (PostgresMode, PostgresNegotiation) {
    match (host, connector.mode(), connector.negotiation()) {
        (Host::Socket(_), _, _) | (_, SslMode::Disable, _) => {
            (PostgresMode::Disable, PostgresNegotiation::Postgres)
        }
        (_, SslMode::Allow | SslMode::Prefer, _) => {
            (PostgresMode::Prefer, PostgresNegotiation::Postgres)
        }
        (_, _, SslNegotiation::Postgres) => (PostgresMode::Require, PostgresNegotiation::Postgres),
        (_, _, SslNegotiation::Direct) => (PostgresMode::Require, PostgresNegotiation::Direct),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for MakeTls {
    type Stream = Session<S>;
    type TlsConnect = Connect;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connect, InvalidDnsNameError> {
        let name = ServerName::try_from(host.to_owned())?;
        Ok(Connect { config: Arc::clone(&self.0), name })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Connect {
    type Stream = Session<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Session<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = tokio_rustls::TlsConnector::from(self.config).connect(self.name, stream);
        Box::pin(async { connecting.await.map(Session) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Session<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let peer = self.0.get_ref().1.peer_certificates().and_then(|all| all.first());
        let end_point = peer.and_then(Certificate::parse).and_then(|peer| peer.end_point());
        end_point.map_or_else(ChannelBinding::none, |hash| {
            ChannelBinding::tls_server_end_point(hash.into_vec())
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Session<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Session<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
