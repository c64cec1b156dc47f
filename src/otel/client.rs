//! One request to the collector over HTTP/1.1, with TLS or without. When to ask again is left to the sender.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::http1;
use hyper::header::{
    CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{Otel, OtlpEndpoint, Scheme, otlp_headers};

/// How long a request may take, with connecting: OTLP's default.
const LIMIT: Duration = Duration::from_secs(10);

/// A collector that wants to be left alone for longer is asked again all the same.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Why nothing can be sent, however often it is tried.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The file of CAs cannot be read.
    #[error("[otel] ca_file: {0}")]
    CaFile(#[from] pem::Error),
    /// A certificate in it cannot be an issuer; or TLS cannot be had.
    #[error("[otel] ca_file: {0}")]
    Tls(#[from] rustls::Error),
    /// The system has no CAs.
    #[error(
        "the system has no CAs that a collector could be checked with; name some in [otel] ca_file"
    )]
    NoRoots,
    /// The host cannot be in a certificate.
    #[error("[otel] endpoint: {0} is no name that TLS knows")]
    Name(String),
    /// A header cannot be sent. It is not quoted: it is secret.
    #[error("[otel] headers: a header cannot be sent")]
    Header,
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It cannot be reached, or went away.
    #[error("cannot be reached: {0}")]
    Gone(#[from] std::io::Error),
    /// It did not answer as a server does.
    #[error("did not answer in HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// It took too long.
    #[error("did not answer within 10 s")]
    Slow,
    /// It has too much to do, and wants to be asked again, perhaps after some time.
    #[error("answered {0}")]
    Busy(StatusCode, Option<Duration>),
    /// It will never take this.
    #[error("answered {0}")]
    Never(StatusCode),
    /// What was to be sent is no request.
    #[error("cannot be asked: {0}")]
    Request(#[from] hyper::http::Error),
}

/// Where a collector is, and what it is told with each request.
pub(super) struct Collector {
    place: (String, u16),
    base: String,
    headers: HeaderMap,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Refusal {
    /// Is it worth being asked again?
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Gone(_) | Self::Http(_) | Self::Slow | Self::Busy(..) => true,
            Self::Never(_) | Self::Request(_) => false,
        }
    }

    /// How long the collector wants to be left alone.
    pub(super) fn rest(&self) -> Option<Duration> {
        match self {
            Self::Busy(_, rest) => *rest,
            Self::Gone(_) | Self::Http(_) | Self::Slow | Self::Never(_) | Self::Request(_) => None,
        }
    }
}

impl Collector {
    pub(super) fn new(endpoint: &OtlpEndpoint, otel: &Otel) -> Result<Self, CollectorError> {
        let tls = match endpoint.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let name = ServerName::try_from(endpoint.host.clone());
                let name = name.map_err(|_| CollectorError::Name(endpoint.host.clone()))?;
                Some((connector(otel)?, name))
            }
        };
        let place = (endpoint.host.clone(), endpoint.port);
        Ok(Self { place, base: endpoint.base.clone(), headers: headers(endpoint, otel)?, tls })
    }

    /// Sends a message in protobuf to `/v1/traces` or another path. Cancel safe: the collector may have it all the same.
    pub(super) async fn send(&self, path: &str, message: Vec<u8>) -> Result<(), Refusal> {
        timeout(LIMIT, self.post(path, message)).await.map_err(|_| Refusal::Slow)?
    }

    async fn post(&self, path: &str, message: Vec<u8>) -> Result<(), Refusal> {
        let (host, port) = &self.place;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        match &self.tls {
            None => self.ask(path, message, stream).await,
            Some((connector, name)) => {
                self.ask(path, message, connector.connect(name.clone(), stream).await?).await
            }
        }
    }

    async fn ask(
        &self,
        path: &str,
        message: Vec<u8>,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<(), Refusal> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request =
            Request::post(format!("{}{path}", self.base)).body(Body::from(message))?;
        request.headers_mut().extend(self.headers.clone());
        tokio::pin!(connection);
        tokio::select! {
            answer = sender.send_request(request) => judge(&answer?),
            Err(error) = &mut connection => Err(error.into()),
        }
    }
}

/// <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>
fn judge<T>(answer: &Response<T>) -> Result<(), Refusal> {
    let status = answer.status();
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let rest = answer.headers().get(RETRY_AFTER).and_then(|rest| rest.to_str().ok());
            let seconds = rest.and_then(|rest| rest.parse().ok()).map(Duration::from_secs);
            Err(Refusal::Busy(status, seconds.map(|rest| rest.min(LONGEST_REST))))
        }
        _ => Err(Refusal::Never(status)),
    }
}

fn headers(endpoint: &OtlpEndpoint, otel: &Otel) -> Result<HeaderMap, CollectorError> {
    let mut headers = HeaderMap::new();
    let host = HeaderValue::try_from(endpoint.authority()).map_err(|_| CollectorError::Header)?;
    headers.insert(HOST, host);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    let agent = concat!("pooler/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    let given = otel.headers.as_ref().map(|text| otlp_headers(text).ok_or(CollectorError::Header));
    for (name, value) in given.transpose()?.into_iter().flatten() {
        let name = HeaderName::try_from(name).map_err(|_| CollectorError::Header)?;
        let mut value =
            HeaderValue::try_from(value.expose()).map_err(|_| CollectorError::Header)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn connector(otel: &Otel) -> Result<TlsConnector, CollectorError> {
    let mut roots = RootCertStore::empty();
    match &otel.ca_file {
        Some(file) => {
            for certificate in CertificateDer::pem_file_iter(file)? {
                roots.add(certificate?)?;
            }
        }
        None => {
            // Those that cannot be read are of no use to anybody.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(CollectorError::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
