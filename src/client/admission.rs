//! What is asked of a client, by `auth_type` or the rules of `auth_hba_file`, and the proofs that need no password: its
//! certificate, or the system user that runs it.

use std::io;

use tokio::task::spawn_blocking;

use super::credentials::{Asking, Channel};
use crate::auth::Authenticated;
use crate::config::Config;
use crate::config::hba::{Caller, ClientCert, Method, Origin, Terms};
use crate::net::address::ClientAddress;
use crate::net::interfaces;
use crate::net::tls::session::TlsSession;
use crate::protocol::startup::Replication;

/// Why a client is not let in, or not asked. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// No rule is about such a client.
    #[error("no rule of auth_hba_file fits")]
    NoEntry {
        /// What it came through.
        origin: Origin,
        /// What it is about.
        wants: Wants,
    },
    /// A rule refuses such a client.
    #[error("rejected by {rule}")]
    Rejected {
        /// What it came through.
        origin: Origin,
        /// What it is about.
        wants: Wants,
        /// File and line.
        rule: String,
    },
    /// A certificate is needed, and there is none.
    #[error("the client showed no certificate")]
    NoCertificate,
    /// The certificate is another user's.
    #[error("the certificate's common name is {name:?}, which may not log in as this user")]
    OtherCertificate {
        /// The common name.
        name: String,
        /// The method that speaks: Postgres says of a password what failed for a certificate.
        method: Method,
    },
    /// The system user is not this user.
    #[error("the system user is {0:?}, who may not log in as this user")]
    OtherPeer(String),
    /// The client has no system user to be known by.
    #[error("the client's system user is not known")]
    NoPeer,
    /// The system does not tell who runs the client.
    #[error("the client's system user cannot be found out: {0}")]
    Peer(#[source] io::Error),
}

/// What a login is about, as rules tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// A database.
    Database,
    /// The whole cluster: physical replication.
    Cluster,
}

impl Asking<'_> {
    /// What is asked of this client. Its certificate has been looked at, as far as that is part of it.
    ///
    /// # Errors
    /// When the client is not to be asked anything more.
    pub(super) fn terms<'c>(&self, config: &'c Config) -> Result<Terms<'c>, AdmissionError> {
        let origin = match (self.address, &self.channel) {
            (ClientAddress::Unix, _) => Origin::Local,
            (ClientAddress::Tcp(address), Channel::Clear) => {
                Origin::Clear(address.ip().to_canonical())
            }
            (ClientAddress::Tcp(address), Channel::Tls(_)) => {
                Origin::Encrypted(address.ip().to_canonical())
            }
        };
        // As in Postgres, `replication=database` is a session in that database.
        let (wants, database) = match self.startup.replication {
            Some(Replication::Physical) => (Wants::Cluster, None),
            Some(Replication::Logical) | None => {
                (Wants::Database, Some(self.startup.database.as_str()))
            }
        };
        let caller = Caller { origin, database, user: &self.startup.user };
        let terms = config.terms(&caller, &interfaces::networks);
        let terms = terms.ok_or(AdmissionError::NoEntry { origin, wants })?;
        if terms.method == Method::Reject {
            let rule = terms.rule.map(ToString::to_string).unwrap_or_default();
            return Err(AdmissionError::Rejected { origin, wants, rule });
        }
        if terms.client_cert > ClientCert::Unasked {
            let _is_there = self.certificate_name()?;
        }
        Ok(terms)
    }

    /// The name on its certificate is the user's, where that is asked for beside the proof by the method. As Postgres
    /// does, after that proof.
    pub(super) fn check_certificate_name(&self, terms: &Terms<'_>) -> Result<(), AdmissionError> {
        if terms.client_cert < ClientCert::IssuerAndName {
            return Ok(());
        }
        let name = self.certificate_name()?;
        if name == self.startup.user {
            return Ok(());
        }
        // The mode is the pooler's own, and so are the words for it.
        let method = if terms.rule.is_some() { terms.method } else { Method::Cert };
        Err(AdmissionError::OtherCertificate { name, method })
    }

    /// By its certificate, which TLS has proven to be the client's.
    pub(super) fn by_certificate(
        &self,
        terms: &Terms<'_>,
    ) -> Result<Authenticated, AdmissionError> {
        let name = self.certificate_name()?;
        // A map could say something of no name as well: it is not asked.
        if !name.is_empty() && terms.allow(&name, &self.startup.user) {
            Ok(Authenticated::by_certificate(&self.startup.user))
        } else {
            Err(AdmissionError::OtherCertificate { name, method: Method::Cert })
        }
    }

    /// By the system user that runs it, as the kernel says.
    pub(super) async fn by_peer(&self, terms: &Terms<'_>) -> Result<Authenticated, AdmissionError> {
        let uid = self.stream.peer_uid().map_err(AdmissionError::Peer)?;
        let Some(uid) = uid else { return Err(AdmissionError::NoPeer) };
        let asked = spawn_blocking(move || interfaces::user_name(uid)).await;
        let name = asked.map_err(|_| AdmissionError::NoPeer)?.map_err(AdmissionError::Peer)?;
        let name = name.ok_or(AdmissionError::NoPeer)?;
        if terms.allow(&name, &self.startup.user) {
            Ok(Authenticated::by_peer(&self.startup.user))
        } else {
            Err(AdmissionError::OtherPeer(name))
        }
    }

    /// The common name of the client's certificate, which is of a known CA if there is one. Without a
    /// common name it is empty, and nobody's.
    fn certificate_name(&self) -> Result<String, AdmissionError> {
        let peer = self.stream.tls().and_then(TlsSession::peer);
        let peer = peer.ok_or(AdmissionError::NoCertificate)?;
        Ok(peer.common_name().unwrap_or_default())
    }
}
