//! Which Postgres is believed to be the right one: the meanings that libpq gives to `sslmode`.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::{Certificate, now};

/// Whom to believe.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    /// Anybody: against eavesdroppers, not against whoever stands in between.
    Anybody,
    /// Who shows a certificate of one of these.
    Issuer(Anchors),
    /// The same, if it names the host.
    IssuerAndName(Anchors),
}

/// The certificates of the CA file.
#[derive(Debug, Clone)]
pub(super) struct Anchors {
    roots: RootCertStore,
    /// A server's own certificate may be in the file instead of its issuer's: then it is believed as
    /// it is. webpki would take no CA's certificate for a server's, which is what `openssl req -x509`
    /// makes.
    exact: Vec<CertificateDer<'static>>,
}

/// Checks certificates as `trust` says.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Anchors {
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = RootCertStore::empty();
        // What cannot be an issuer may still be the server's own.
        let _ = roots.add_parsable_certificates(certificates.iter().cloned());
        Self { roots, exact: certificates }
    }
}

impl Verifier {
    pub(super) fn new(trust: Trust, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trust, algorithms }
    }

    fn check_issuer(
        &self,
        anchors: &Anchors,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<(), Error> {
        if anchors.exact.iter().any(|known| known == certificate) {
            let read = Certificate::parse(certificate).ok_or(CertificateError::BadEncoding)?;
            return if read.is_current(now()) {
                Ok(())
            } else {
                Err(CertificateError::Expired.into())
            };
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &anchors.roots, others, at, algorithms)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        at: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Anybody => {}
            Trust::Issuer(anchors) => self.check_issuer(anchors, certificate, others, at)?,
            Trust::IssuerAndName(anchors) => {
                self.check_issuer(anchors, certificate, others, at)?;
                check_name(certificate, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = verify_tls12_signature(message, certificate, signed, &self.algorithms);
        self.unless_unreadable(certificate, verified)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = verify_tls13_signature(message, certificate, signed, &self.algorithms);
        self.unless_unreadable(certificate, verified)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Verifier {
    /// Who believes anybody believes those too whose certificate is of a kind that webpki does not
    /// read (X.509 version 1). SCRAM does not bind to such a certificate.
    fn unless_unreadable(
        &self,
        certificate: &CertificateDer<'_>,
        verified: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.trust {
            Trust::Anybody if ParsedCertificate::try_from(certificate).is_err() => {
                Ok(HandshakeSignatureValid::assertion())
            }
            Trust::Anybody | Trust::Issuer(_) | Trust::IssuerAndName(_) => verified,
        }
    }
}

fn check_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    verify_server_name(&parsed, name).or_else(|error| {
        let host = name.to_str();
        let old = Certificate::parse(certificate);
        if old.is_some_and(|old| old.names_by_common_name(&host)) { Ok(()) } else { Err(error) }
    })
}
