//! Certificates, keys and CAs from their files: read when the program starts and at each reload, all
//! of them or none.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{
    CipherSuite, ClientConfig, NamedGroup, RootCertStore, ServerConfig, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion, version,
};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::acceptor::{Acceptor, Handshakes};
use super::certificate::Certificate;
use super::connector::Connector;
use super::trust::{Anchors, Trust, Verifier};
use super::{ALPN, HTTP_ALPN};
use crate::config::{Config, ServerTls, SslMode, Tls, TlsProtocols};

const SECURE: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

const ONLY_13: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// What files say about TLS, ready for use.
#[derive(Debug)]
pub struct TlsMaterial {
    clients: Option<Arc<Acceptor>>,
    servers: Servers,
    admin: Option<Arc<ServerConfig>>,
}

#[derive(Debug)]
struct Servers {
    unverified: Arc<ClientConfig>,
    /// With `server_tls_ca_file` only.
    verified: Option<Verified>,
    fingerprint: [u8; 32],
}

#[derive(Debug)]
struct Verified {
    issuer: Arc<ClientConfig>,
    name: Arc<ClientConfig>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// It cannot be read, or is no PEM file.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: pem::Error,
    },
    /// There is no certificate in it.
    #[error("{}: holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// Certificate and key cannot be used, or not together.
    #[error("{}: {source}", path.display())]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// The reason.
        source: rustls::Error,
    },
    /// The certificates in it cannot be issuers.
    #[error("{}: {source}", path.display())]
    Issuers {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: VerifierBuilderError,
    },
    /// The protocol versions asked for are not there.
    #[error("the TLS versions cannot be had: {0}")]
    Versions(rustls::Error),
}

/// No files: clients have no TLS, and Postgres is believed whoever it is.
impl Default for TlsMaterial {
    fn default() -> Self {
        Self::load(&Config::default().tls).expect("no file is named that could be faulty")
    }
}

impl TlsMaterial {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// For the first file that cannot be used.
    pub fn load(settings: &Tls) -> Result<Self, MaterialError> {
        let provider = Arc::new(provider());
        Ok(Self {
            clients: clients(settings, &provider)?,
            servers: Servers::load(settings, &provider)?,
            admin: admin(settings, &provider)?,
        })
    }

    /// How clients are served; `None`: not by TLS.
    #[must_use]
    pub fn acceptor(&self) -> Option<&Arc<Acceptor>> {
        self.clients.as_ref()
    }

    /// How the admin API is served; `None`: not by TLS.
    #[must_use]
    pub fn admin(&self) -> Option<&Arc<ServerConfig>> {
        self.admin.as_ref()
    }

    /// How Postgres is connected to. As in libpq, `require` checks the issuer where one is known.
    #[must_use]
    pub fn connector(&self, way: ServerTls) -> Connector {
        let mode = way.mode;
        let Servers { unverified, verified, fingerprint } = &self.servers;
        let config = match (mode, verified) {
            (SslMode::VerifyFull, Some(verified)) => &verified.name,
            (SslMode::VerifyCa | SslMode::Require, Some(verified)) => &verified.issuer,
            // The configuration does not let verify-* be without a CA file.
            (
                SslMode::Disable
                | SslMode::Allow
                | SslMode::Prefer
                | SslMode::Require
                | SslMode::VerifyCa
                | SslMode::VerifyFull,
                _,
            ) => unverified,
        };
        Connector { way, config: Arc::clone(config), fingerprint: *fingerprint }
    }
}

/// ring's, with AES-128 and SHA-256 first: as strong as the keys that are agreed on here, and SHA-384,
/// which processors have no instructions for, was a tenth of what a login by TLS costs.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    let behind = |suite: &SupportedCipherSuite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    provider.cipher_suites.sort_by_key(behind);
    provider
}

fn clients(
    settings: &Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<Acceptor>>, MaterialError> {
    let mode = settings.client_tls_sslmode;
    let (Some(cert), Some(key)) = (&settings.client_tls_cert_file, &settings.client_tls_key_file)
    else {
        return Ok(None);
    };
    if mode == SslMode::Disable {
        return Ok(None);
    }
    let chain = certificates(cert)?;
    let end_point = chain.first().and_then(Certificate::parse).and_then(|own| own.end_point());
    let pair = CertifiedKey::from_der(chain, private_key(key)?, provider)
        .map_err(|source| MaterialError::Pair { path: cert.clone(), source })?;
    let handshakes = handshakes(settings, &*pair.key);
    let provider = &match handshakes {
        Handshakes::OnWorker => quick(provider),
        Handshakes::SignAside(_) | Handshakes::AllAside(_) => Arc::clone(provider),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions(settings.client_tls_protocols))
        .map_err(MaterialError::Versions)?;
    let builder = match (&settings.client_tls_ca_file, mode) {
        (Some(path), mode) => {
            let mut roots = RootCertStore::empty();
            let _ = roots.add_parsable_certificates(certificates(path)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
            // Below that a certificate may be left out, but not be bad, as in Postgres.
            let verifier =
                if mode.verifies() { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(
                verifier
                    .build()
                    .map_err(|source| MaterialError::Issuers { path: path.clone(), source })?,
            )
        }
        (None, _) => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // libpq resumes no sessions, and what is kept for the others is memory of idle clients.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    // The order of `provider` counts: clients put AES-256 first, as OpenSSL and rustls do.
    config.ignore_client_order = true;
    Ok(Some(Arc::new(Acceptor { mode, config: Arc::new(config), end_point, handshakes })))
}

/// Without the curve that takes ten times as long as the others: which one it is, clients say.
fn quick(provider: &CryptoProvider) -> Arc<CryptoProvider> {
    let mut provider = provider.clone();
    provider.kx_groups.retain(|group| group.name() != NamedGroup::secp384r1);
    provider.into()
}

fn handshakes(settings: &Tls, key: &dyn SigningKey) -> Handshakes {
    // As many as can run: more would only take turns with the workers.
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let quick = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];
    match (&settings.client_tls_ca_file, key.choose_scheme(&quick)) {
        (Some(_), _) => Handshakes::AllAside(Arc::new(Semaphore::new(cores))),
        (None, None) => Handshakes::SignAside(Arc::new(Semaphore::new(cores))),
        (None, Some(_)) => Handshakes::OnWorker,
    }
}

fn admin(
    settings: &Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<ServerConfig>>, MaterialError> {
    let (Some(cert), Some(key)) = (&settings.admin_tls_cert_file, &settings.admin_tls_key_file)
    else {
        return Ok(None);
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(SECURE)
        .map_err(MaterialError::Versions)?
        .with_no_client_auth()
        .with_single_cert(certificates(cert)?, private_key(key)?)
        .map_err(|source| MaterialError::Pair { path: cert.clone(), source })?;
    config.alpn_protocols = vec![HTTP_ALPN.to_vec()];
    Ok(Some(Arc::new(config)))
}

impl Servers {
    fn load(settings: &Tls, provider: &Arc<CryptoProvider>) -> Result<Self, MaterialError> {
        let own = match (&settings.server_tls_cert_file, &settings.server_tls_key_file) {
            (Some(cert), Some(key)) => Some((cert, certificates(cert)?, private_key(key)?)),
            (Some(_) | None, _) => None,
        };
        let anchors = settings.server_tls_ca_file.as_deref().map(certificates).transpose()?;
        let fingerprint = fingerprint(settings, own.as_ref().map(|own| &own.1), anchors.as_ref());
        let config = |trust| {
            let own =
                own.as_ref().map(|(path, chain, key)| (*path, chain.clone(), key.clone_key()));
            client_config(settings, provider, trust, own)
        };
        let verified = anchors.map(Anchors::new).map(|anchors| {
            Ok(Verified {
                issuer: config(Trust::Issuer(anchors.clone()))?,
                name: config(Trust::IssuerAndName(anchors))?,
            })
        });
        Ok(Self {
            unverified: config(Trust::Anybody)?,
            verified: verified.transpose()?,
            fingerprint,
        })
    }
}

type Own<'a> = Option<(&'a PathBuf, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

fn client_config(
    settings: &Tls,
    provider: &Arc<CryptoProvider>,
    trust: Trust,
    own: Own<'_>,
) -> Result<Arc<ClientConfig>, MaterialError> {
    let verifier = Verifier::new(trust, provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions(settings.server_tls_protocols))
        .map_err(MaterialError::Versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((path, chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|source| MaterialError::Pair { path: path.clone(), source })?,
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Postgres resumes no sessions.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Tells whether connections made before are as good as those made now. A key belongs to its
/// certificate, so that it need not be looked at.
fn fingerprint(
    settings: &Tls,
    own: Option<&Vec<CertificateDer<'static>>>,
    anchors: Option<&Vec<CertificateDer<'static>>>,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([u8::from(settings.server_tls_protocols == TlsProtocols::Tls13)]);
    for file in [own, anchors] {
        hash.update([u8::from(file.is_some())]);
        for certificate in file.into_iter().flatten() {
            hash.update(Sha256::digest(certificate));
        }
    }
    hash.finalize().into()
}

fn versions(protocols: TlsProtocols) -> &'static [&'static SupportedProtocolVersion] {
    match protocols {
        TlsProtocols::Secure => SECURE,
        TlsProtocols::Tls13 => ONLY_13,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let failed = |source| MaterialError::Read { path: path.to_owned(), source };
    let all = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if all.is_empty() { Err(MaterialError::NoCertificate(path.to_owned())) } else { Ok(all) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, MaterialError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|source| MaterialError::Read { path: path.to_owned(), source })
}
