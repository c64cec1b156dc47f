//! Certificates made on the fly: an authority and what it signs, as PEM files and for rustls.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, PKCS_ECDSA_P384_SHA384, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::process::TempDir;

/// An authority with a folder for its files.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, in files.
#[derive(Clone)]
pub(crate) struct Papers {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// When a certificate is good.
#[derive(Clone, Copy)]
pub(crate) enum Age {
    Current,
    Expired,
}

impl Papers {
    /// A server that shows this certificate.
    pub(crate) fn serving(&self) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from_pem_file(&self.cert).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "pooler test authority");
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = TempDir::new();
        folder.write("ca.pem", &issuer.pem());
        Authority { folder, issuer }
    }

    /// The file with the authority's own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server's certificate for these hosts.
    pub(crate) fn server(&self, name: &str, hosts: &[&str], age: Age) -> Papers {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(name, params, age)
    }

    /// A certificate for `localhost`, 127.0.0.1 and ::1.
    pub(crate) fn local(&self) -> Papers {
        self.server("server", &["localhost", "127.0.0.1", "::1"], Age::Current)
    }

    /// A client's certificate, its name being the user's.
    pub(crate) fn client(&self, user: &str, age: Age) -> Papers {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&format!("client-{user}"), params, age)
    }

    /// A certificate for `localhost` whose key takes long to sign with.
    pub(crate) fn slow(&self) -> Papers {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        self.sign_key("slow", &key, &params)
    }

    fn sign(&self, name: &str, mut params: CertificateParams, age: Age) -> Papers {
        if let Age::Expired = age {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        self.sign_key(name, &KeyPair::generate().unwrap(), &params)
    }

    fn sign_key(&self, name: &str, key: &KeyPair, params: &CertificateParams) -> Papers {
        let cert = params.signed_by(key, &self.issuer).unwrap();
        let papers = Papers {
            cert: self.folder.write(&format!("{name}.pem"), &cert.pem()),
            key: self.folder.write(&format!("{name}.key"), &key.serialize_pem()),
        };
        // libpq uses no key that others can read.
        let secret = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&papers.key, secret).unwrap();
        papers
    }

    /// A client that believes this authority, with ALPN as named and perhaps a certificate of its own.
    pub(crate) fn trusting(&self, alpn: &[&str], own: Option<&Papers>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(papers) => {
                let chain = vec![CertificateDer::from_pem_file(&papers.cert).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&papers.key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
