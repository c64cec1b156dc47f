//! What is read from a certificate beyond what TLS itself checks: the common name, the dates, and
//! the hash that SCRAM binds to. Whether it can be trusted is decided in `trust`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A certificate.
pub struct Certificate {
    der: Box<[u8]>,
    parsed: x509_cert::Certificate,
}

/// The hash functions of certificates' signatures (RFC 5929, 4.1).
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Signature algorithms by the hash they call for. MD5 and SHA-1 are replaced by SHA-256.
const HASHES: &[(Hash, &[&str])] = &[
    (Hash::Sha224, &["1.2.840.113549.1.1.14", "1.2.840.10045.4.3.1"]),
    (
        Hash::Sha256,
        &[
            "1.2.840.113549.1.1.4",
            "1.2.840.113549.1.1.5",
            "1.2.840.10045.4.1",
            "1.2.840.113549.1.1.11",
            "1.2.840.10045.4.3.2",
        ],
    ),
    (Hash::Sha384, &["1.2.840.113549.1.1.12", "1.2.840.10045.4.3.3"]),
    (Hash::Sha512, &["1.2.840.113549.1.1.13", "1.2.840.10045.4.3.4"]),
];

impl Certificate {
    /// `None` for what is no certificate.
    #[must_use]
    pub fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(der).ok()?;
        Some(Self { der: der.as_ref().into(), parsed })
    }

    /// The subject's common name, the first of several, as OpenSSL and so Postgres take it. One with a zero byte
    /// is none.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        let name = self.parsed.tbs_certificate().subject().common_name().ok()??;
        Some(name.value().into_owned()).filter(|name| !name.contains('\0'))
    }

    /// Is `now` within its dates?
    #[must_use]
    pub fn is_current(&self, now: Duration) -> bool {
        let validity = self.parsed.tbs_certificate().validity();
        (validity.not_before.to_unix_duration()..=validity.not_after.to_unix_duration())
            .contains(&now)
    }

    /// Does it name this host by its common name, having no DNS name in the place for them? As libpq
    /// does (`pgtls_verify_peer_name_matches_certificate_guts`, fe-secure-openssl.c), for the
    /// certificates of old.
    #[must_use]
    pub fn names_by_common_name(&self, host: &str) -> bool {
        let names = self.parsed.tbs_certificate().get_extension::<SubjectAltName>();
        let Ok(names) = names else { return false };
        let has_dns_name = names.is_some_and(|(_, SubjectAltName(names))| {
            names.iter().any(|name| matches!(name, GeneralName::DnsName(_)))
        });
        !has_dns_name && self.common_name().is_some_and(|name| matches_host(&name, host))
    }

    /// The `tls-server-end-point` of RFC 5929: a hash of the certificate with the function of its
    /// signature. `None` where there is no such function (Ed25519), and for certificates whose
    /// signature in the handshake nobody can check: binding to those would prove nothing.
    #[must_use]
    pub fn end_point(&self) -> Option<Box<[u8]>> {
        let der = CertificateDer::from_slice(&self.der);
        if ParsedCertificate::try_from(&der).is_err() {
            return None;
        }
        let algorithm = self.parsed.signature_algorithm().oid;
        let is = |oid: &&str| ObjectIdentifier::new_unwrap(oid) == algorithm;
        let (hash, _) = HASHES.iter().find(|(_, oids)| oids.iter().any(is))?;
        Some(match hash {
            Hash::Sha224 => Sha224::digest(&self.der).as_slice().into(),
            Hash::Sha256 => Sha256::digest(&self.der).as_slice().into(),
            Hash::Sha384 => Sha384::digest(&self.der).as_slice().into(),
            Hash::Sha512 => Sha512::digest(&self.der).as_slice().into(),
        })
    }
}

/// The time, as certificates count it.
#[must_use]
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `wildcard_certificate_match` of fe-secure-common.c: `*.` stands for one label.
fn matches_host(name: &str, host: &str) -> bool {
    let Some(domain) = name.strip_prefix('*') else { return name.eq_ignore_ascii_case(host) };
    let label_end = host.find('.').filter(|end| *end > 0);
    domain.len() > 2
        && domain.starts_with('.')
        && label_end.is_some_and(|end| host[end..].eq_ignore_ascii_case(domain))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    fn made(names: &[&str], key: &KeyPair) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "db.example");
        Certificate::parse(params.self_signed(key).unwrap().der()).unwrap()
    }

    #[test]
    fn the_common_name_names_a_host_only_without_dns_names() {
        let key = KeyPair::generate().unwrap();
        let without = made(&[], &key);
        assert_eq!(without.common_name().as_deref(), Some("db.example"));
        assert!(without.names_by_common_name("DB.example"));
        assert!(!without.names_by_common_name("other.example"));
        assert!(!made(&["other.example"], &key).names_by_common_name("db.example"));
    }

    #[test]
    fn the_first_of_several_common_names_counts() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "first");
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "second");
        let key = KeyPair::generate().unwrap();
        let made = Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!(made.common_name().as_deref(), Some("first"));
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(matches_host("*.example.org", "db.example.org"));
        for (name, host) in [
            ("*.example.org", "a.db.example.org"),
            ("*.example.org", ".example.org"),
            ("*.example.org", "example.org"),
            ("*", "db"),
            ("*.", "db."),
            ("d*.example.org", "db.example.org"),
        ] {
            assert!(!matches_host(name, host), "{name} {host}");
        }
    }

    #[test]
    fn the_end_point_is_hashed_with_the_function_of_the_signature() {
        let p256 = made(&[], &KeyPair::generate().unwrap());
        assert_eq!(p256.end_point().unwrap()[..], *Sha256::digest(&p256.der));
        let p384 = made(&[], &KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
        assert_eq!(p384.end_point().unwrap()[..], *Sha384::digest(&p384.der));
        let ed25519 = made(&[], &KeyPair::generate_for(&PKCS_ED25519).unwrap());
        assert!(ed25519.end_point().is_none());
    }

    #[test]
    fn dates_are_kept_to() {
        let certificate = made(&[], &KeyPair::generate().unwrap());
        assert!(certificate.is_current(now()));
        assert!(!certificate.is_current(Duration::ZERO));
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert!(Certificate::parse(&CertificateDer::from_slice(b"\x30\x03abc")).is_none());
    }
}
