//! Asking the admin API: one connection for each look, so that a pooler that was started anew is found.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::Options;

/// An answer takes milliseconds; keys are not heard while one is waited for.
const LIMIT: Duration = Duration::from_secs(2);

/// More than any screen holds.
const MOST_BYTES: usize = 1024 * 1024;

/// Where the admin API is if the address has no port.
const USUAL_PORT: u16 = 6433;

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum OptionFault {
    /// The address is none.
    #[error("--url {0}: not an address such as http://localhost:6433")]
    Url(String),
    /// The token cannot be read.
    #[error("--token-file {0}: {1}")]
    Token(String, io::Error),
    /// Nobody to believe.
    #[error("https needs --ca-file, a PEM file with the CA of the API's certificate")]
    NoCa,
    /// The CAs cannot be read.
    #[error("--ca-file: {0}")]
    Ca(#[from] pem::Error),
    /// TLS cannot be had.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The host cannot be in a certificate.
    #[error("TLS: {0}")]
    Name(#[from] InvalidDnsNameError),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    /// The network's reason.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Not HTTP, or not to its end.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The answer is too long, or was cut off.
    #[error("the answer cannot be read")]
    Body,
    /// It takes too long.
    #[error("it takes longer than {} s", LIMIT.as_secs())]
    Slow,
    /// The request cannot be made.
    #[error("{0}")]
    Request(#[from] hyper::http::Error),
    /// Something else than numbers.
    #[error("{0}: {1}")]
    Refused(StatusCode, String),
}

/// Whom to ask, and how.
pub(super) struct Ask {
    url: String,
    place: String,
    host: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authorization: Option<Zeroizing<String>>,
}

impl Ask {
    /// As the command line says.
    pub(super) fn new(options: &Options) -> Result<Self, OptionFault> {
        let wrong = || OptionFault::Url(options.url.clone());
        let with_scheme = if options.url.contains("://") {
            options.url.clone()
        } else {
            format!("http://{}", options.url)
        };
        let uri: Uri = with_scheme.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => {
                let name = authority.host().trim_matches(['[', ']']).to_owned();
                Some((connector(options)?, ServerName::try_from(name)?))
            }
            Some(_) | None => return Err(wrong()),
        };
        let authorization = options.token_file.as_ref().map(|file| {
            let token = std::fs::read_to_string(file).map(Zeroizing::new);
            let fault = |error| OptionFault::Token(file.display().to_string(), error);
            // The last word, so that what `pooler token` says may be in the file as it is.
            token.map_err(fault).map(|text| {
                let token = text.split_whitespace().last().unwrap_or_default();
                Zeroizing::new(format!("Bearer {token}"))
            })
        });
        let port = authority.port_u16().unwrap_or(USUAL_PORT);
        Ok(Self {
            place: format!("{}:{port}", authority.host()),
            host: authority.as_str().to_owned(),
            url: with_scheme,
            tls,
            authorization: authorization.transpose()?,
        })
    }

    /// Whom.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The overview with so many statements.
    pub(super) async fn overview(&self, sort: &str, statements: usize) -> Result<String, Silence> {
        let path = format!("/?format=text&sort={sort}&limit={statements}");
        timeout(LIMIT, self.get(&path)).await.map_err(|_| Silence::Slow)?
    }

    async fn get(&self, path: &str) -> Result<String, Silence> {
        let stream = TcpStream::connect(&self.place).await?;
        match &self.tls {
            None => self.ask(path, stream).await,
            Some((connector, name)) => {
                self.ask(path, connector.connect(name.clone(), stream).await?).await
            }
        }
    }

    async fn ask(
        &self,
        path: &str,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<String, Silence> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::get(path).header(HOST, &self.host).header(ACCEPT, "text/plain");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.as_str());
        }
        let request = request.body(Body::empty())?;
        let asking = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = to_bytes(Body::new(answer.into_body()), MOST_BYTES).await;
            let text = String::from_utf8_lossy(&body.map_err(|_| Silence::Body)?).into_owned();
            if status == StatusCode::OK {
                Ok(text)
            } else {
                Err(Silence::Refused(status, text.lines().next().unwrap_or_default().to_owned()))
            }
        };
        tokio::pin!(connection);
        tokio::select! {
            answer = asking => answer,
            Err(error) = &mut connection => Err(error.into()),
        }
    }
}

fn connector(options: &Options) -> Result<TlsConnector, OptionFault> {
    let file = options.ca_file.as_ref().ok_or(OptionFault::NoCa)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
