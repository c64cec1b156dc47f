//! Asking a client who it is: the exchange of each `auth_type`.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout;
use zeroize::Zeroizing;

use super::admission::AdmissionError;
use super::bearer::BearerError;
use super::context::Shared;
use crate::account;
use crate::auth::scram::server::{self as scram, Chosen, ServerError};
use crate::auth::scram::{MECHANISM, MECHANISM_PLUS};
use crate::auth::verifier::{Account, Known};
use crate::auth::{Authenticated, ClientHears, PlainText, Refusal, Secret, SecretKind, md5, plain};
use crate::config::hba::{Method, Terms};
use crate::config::{AuthQuery, Config, SecretText};
use crate::lookup::{Asker, LookupError};
use crate::net::address::ClientAddress;
use crate::net::framed::{MessageReader, ReadError};
use crate::net::stream::Stream;
use crate::net::tls::material::TlsMaterial;
use crate::pool::pools::secret;
use crate::pool::shared::{Plan, PoolKey};
use crate::protocol::backend::write_authentication;
use crate::protocol::frame::client_tag;
use crate::protocol::sasl::InitialResponse;
use crate::protocol::startup::Startup;
use crate::server::derive::derive;
use crate::server::login::{self, ConnectError, Credential, Opened, Target};

/// The longest password (`PG_MAX_AUTH_TOKEN_LENGTH`).
const PASSWORD_LIMIT: usize = 65_535;

/// The longest SASL message: a name of 63 bytes, a nonce and a proof are far below.
const SASL_LIMIT: usize = 2 * 1024;

/// The better mechanism, offered first.
const OFFERED_PLUS: &[u8] = b"SCRAM-SHA-256-PLUS\0";

/// Codes of `Authentication…` messages.
pub(super) mod code {
    pub(in crate::client) const CLEARTEXT: u32 = 3;
    pub(in crate::client) const MD5: u32 = 5;
    pub(in crate::client) const SASL: u32 = 10;
    pub(in crate::client) const SASL_CONTINUE: u32 = 11;
    pub(in crate::client) const SASL_FINAL: u32 = 12;
}

/// Why a client was not let in.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The socket failed, or a message was too long.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is not to be asked, or what it is known by is not this user's.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// Something else than a password came.
    #[error("expected a password, got message type {0}")]
    NoPassword(u8),
    /// A `SASLInitialResponse` that makes no sense, or names a mechanism that was not offered.
    #[error("malformed SASL response")]
    Sasl,
    /// SCRAM failed.
    #[error(transparent)]
    Scram(#[from] ServerError),
    /// It brings no token that is taken.
    #[error(transparent)]
    Bearer(#[from] BearerError),
    /// The password is wrong, or there is no such user.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A password in clear would cross a network.
    #[error("passthrough is for clients on this machine or with TLS")]
    Remote,
    /// Postgres did not ask for the password.
    #[error("Postgres did not ask for a password, so nothing is proven")]
    Unproven,
    /// Postgres could not be asked for the user's secret.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Postgres does not accept the login, or cannot be reached.
    #[error(transparent)]
    Server(#[from] ConnectError),
}

/// What a client's login teaches: a way to log in to Postgres, perhaps a server that did.
#[derive(Debug, Default)]
pub struct Learnt {
    /// How servers of the client's pool may log in.
    pub credential: Option<Credential>,
    /// A server that has logged in, and how.
    pub opened: Option<(Opened, Target)>,
}

/// What a client's messages come through.
#[derive(Debug)]
pub enum Channel {
    /// Anybody in between can read along.
    Clear,
    /// TLS, with the end point that SCRAM can bind to, if there is one.
    Tls(Option<Box<[u8]>>),
}

impl Channel {
    /// Can nobody in between read along, for a client from there?
    pub(super) fn is_private(&self, address: ClientAddress) -> bool {
        matches!(self, Self::Tls(_)) || address.is_local()
    }
}

/// A client that is asked who it is.
pub struct Asking<'a> {
    /// Its socket.
    pub stream: &'a mut Stream,
    /// What was read from it.
    pub reader: &'a mut MessageReader,
    /// Who it says it is.
    pub startup: &'a Startup,
    /// Where it comes from.
    pub address: ClientAddress,
    /// What it comes through.
    pub channel: Channel,
    /// What all workers share.
    pub shared: &'a Arc<Shared>,
    /// The pool it asks for and how that is run, if there is such a database.
    pub plan: Option<(PoolKey, Plan)>,
    /// What the login taught us for the pool.
    pub learnt: Learnt,
    /// The worker that serves it.
    pub worker: usize,
    /// What is still to be said to a client that was let in, before all else.
    pub last_words: Vec<u8>,
}

impl CredentialError {
    /// What the client may hear of it, where it is about the login as such.
    #[must_use]
    pub fn client_hears(&self) -> Option<ClientHears> {
        match self {
            Self::Scram(error) => Some(error.client_hears()),
            Self::Refused(refusal) => Some(refusal.client_hears()),
            Self::Bearer(error) => error.client_hears(),
            Self::Lookup(_) => Some(ClientHears::ServerLoginFailed),
            Self::Sasl => Some(ClientHears::ProtocolViolation("malformed SASL response")),
            Self::Read(_)
            | Self::Io(_)
            | Self::Admission(_)
            | Self::NoPassword(_)
            | Self::Remote
            | Self::Unproven
            | Self::Server(_) => None,
        }
    }

    /// Would another secret of the user have let it in?
    fn is_about_the_secret(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Scram(ServerError::Refused(_)) => true,
            Self::Scram(_)
            | Self::Bearer(_)
            | Self::Read(_)
            | Self::Io(_)
            | Self::Admission(_)
            | Self::NoPassword(_)
            | Self::Sasl
            | Self::Remote
            | Self::Unproven
            | Self::Lookup(_)
            | Self::Server(_) => false,
        }
    }
}

impl Asking<'_> {
    /// Runs the exchange that the configuration asks for. Not cancel safe: the client is lost.
    ///
    /// # Errors
    /// When the client is not let in.
    pub async fn ask(&mut self, config: &Config) -> Result<Authenticated, CredentialError> {
        let terms = self.terms(config)?;
        let authenticated = self.exchange(&terms, config).await?;
        self.check_certificate_name(&terms)?;
        Ok(authenticated)
    }

    /// Runs the exchange with the secret from the file, or the one that Postgres gives.
    async fn exchange(
        &mut self,
        terms: &Terms<'_>,
        config: &Config,
    ) -> Result<Authenticated, CredentialError> {
        let user = &self.startup.user;
        let own = config.users.get(user).and_then(|u| u.password.as_ref()).and_then(secret);
        let asks = matches!(terms.method, Method::Plain | Method::Md5 | Method::ScramSha256);
        let query = config.auth_query(&self.startup.database).filter(|_| asks && own.is_none());
        let Some(query) = query else { return self.prove_by(terms, config, own).await };
        let asker = asker(config, &query, &self.shared.pools.tls());
        let found = self.shared.lookups.secret(query.name, asker, user).await?;
        let outcome = self.prove_by(terms, config, found.clone()).await;
        if outcome.as_ref().is_err_and(CredentialError::is_about_the_secret) {
            self.shared.lookups.forget(query.name, user);
        }
        let authenticated = outcome?;
        self.learn_secret(found);
        Ok(authenticated)
    }

    /// Runs the exchange with this secret.
    async fn prove_by(
        &mut self,
        terms: &Terms<'_>,
        config: &Config,
        secret: Option<Secret>,
    ) -> Result<Authenticated, CredentialError> {
        match terms.method {
            Method::Trust => Ok(Authenticated::by_trust(&self.startup.user)),
            Method::Plain => self.plain(secret).await,
            Method::Md5 => match self.shared.decoy.kind_of(secret.as_ref()) {
                SecretKind::Md5 | SecretKind::Plain => self.md5(secret).await,
                SecretKind::Scram => self.scram(secret).await,
            },
            Method::ScramSha256 => self.scram(secret).await,
            Method::Passthrough => self.passthrough(config).await,
            Method::Cert => Ok(self.by_certificate(terms)?),
            Method::Peer => Ok(self.by_peer(terms).await?),
            Method::OAuth => self.by_token(terms).await,
            // `terms` gives nobody such terms.
            Method::Reject => Err(Refusal::UnknownUser.into()),
        }
    }

    /// A secret that Postgres gave is good for logging in to it, unless it is one of SCRAM: of that,
    /// the exchange has taught us the keys.
    fn learn_secret(&mut self, found: Option<Secret>) {
        let Some(secret @ (Secret::Plain(_) | Secret::Md5(_))) = found else { return };
        if self.is_keyless() {
            self.learnt.credential = Some(Credential::Secret(secret));
        }
    }

    /// Do the servers of this client's pool log in as this client, with nothing to do it with?
    fn is_keyless(&self) -> bool {
        self.plan.as_ref().is_some_and(|(key, plan)| {
            matches!(plan.target.credential, Credential::None) && *key.user == *self.startup.user
        })
    }

    async fn plain(&mut self, secret: Option<Secret>) -> Result<Authenticated, CredentialError> {
        let password = self.password().await?;
        let authenticated = self.check_plain(&password, secret.as_ref()).await?;
        if matches!(secret, Some(Secret::Scram(_))) && self.is_keyless() {
            // A stored secret logs in nowhere, what fits it does.
            self.learnt.credential = Some(Credential::Secret(Secret::Plain(password)));
        }
        Ok(authenticated)
    }

    async fn check_plain(
        &self,
        password: &PlainText,
        secret: Option<&Secret>,
    ) -> Result<Authenticated, CredentialError> {
        match plain::begin(&self.startup.user, password, secret, &self.shared.decoy) {
            plain::Begin::Decided(decision) => Ok(decision?),
            plain::Begin::Derive(needs) => {
                let logins = &self.shared.pools.logins;
                let derived = derive(needs.derivation().clone(), logins).await?;
                let authenticated = needs.with_keys(&derived.keys)?;
                derived.remember(logins);
                Ok(authenticated)
            }
        }
    }

    async fn md5(&mut self, secret: Option<Secret>) -> Result<Authenticated, CredentialError> {
        let salt = md5::random_salt();
        self.say(code::MD5, &salt).await?;
        let answer = self.read_password().await?;
        let decoy = &self.shared.decoy;
        Ok(md5::verify(&self.startup.user, &answer, salt, secret.as_ref(), decoy)?)
    }

    async fn scram(&mut self, secret: Option<Secret>) -> Result<Authenticated, CredentialError> {
        let end_point = match &self.channel {
            Channel::Tls(Some(end_point)) => Some(end_point.clone()),
            Channel::Tls(None) | Channel::Clear => None,
        };
        let plus = end_point.as_ref().map_or(&[][..], |_| OFFERED_PLUS);
        let mechanisms = [plus, MECHANISM.as_bytes(), &[0, 0]].concat();
        self.say(code::SASL, &mechanisms).await?;
        let begin = scram::begin(&self.startup.user, secret.as_ref(), &self.shared.decoy);
        let awaiting = match begin {
            scram::Begin::Ready(awaiting) => awaiting,
            scram::Begin::Derive(needs) => {
                let logins = &self.shared.pools.logins;
                let derived = derive(needs.derivation().clone(), logins).await?;
                let awaiting = needs.with_keys(&derived.keys);
                // Of the user's own password, not of what somebody sent.
                derived.remember(logins);
                awaiting
            }
        };
        let initial = self.read_message(SASL_LIMIT).await?;
        let (chosen, first) = sasl_initial(&initial, end_point.as_deref())?;
        let (awaiting, server_first) = awaiting.client_first(chosen, first)?;
        self.say(code::SASL_CONTINUE, server_first.as_bytes()).await?;
        let last = self.read_message(SASL_LIMIT).await?;
        let accepted = awaiting.client_final(&last)?;
        // Goes out together with what follows: one system call and one wake-up less.
        write_authentication(
            &mut self.last_words,
            code::SASL_FINAL,
            accepted.server_final.as_bytes(),
        );
        if self.is_keyless() {
            let keys = Credential::LoginKeys(Arc::new(accepted.login_keys));
            self.learnt.credential = Some(keys);
        }
        Ok(accepted.authenticated)
    }

    /// The password is good if Postgres takes it.
    async fn passthrough(&mut self, config: &Config) -> Result<Authenticated, CredentialError> {
        if !self.channel.is_private(self.address) {
            return Err(CredentialError::Remote);
        }
        let password = self.password().await?;
        if password.is_empty() {
            return Err(Refusal::EmptyPassword.into());
        }
        // Who asks for a database that is not there hears so after the password was read.
        if self.plan.is_none() {
            return Ok(Authenticated::by_trust(&self.startup.user));
        }
        let account = Account { user: &self.startup.user, database: &self.startup.database };
        let known = self.shared.verifiers.lock().check(account, &password, Instant::now());
        if let Known::Yes(authenticated) = known {
            return Ok(authenticated);
        }
        self.prove(&password).await?;
        let expires = Instant::now() + config.auth.auth_cache_ttl;
        let mut verifiers = self.shared.verifiers.lock();
        // A reload since then may have given the name to another database, and forgets after it has.
        if std::ptr::eq(&*self.shared.pools.config(), config) {
            verifiers.remember(account, &password, expires);
        }
        drop(verifiers);
        Ok(Authenticated::by_server_login(&self.startup.user))
    }

    async fn prove(&mut self, password: &PlainText) -> Result<(), CredentialError> {
        let Some((key, plan)) = &self.plan else { return Ok(()) };
        let credential = Credential::Secret(Secret::Plain(password.clone()));
        let target = Target {
            credential: credential.clone(),
            user: self.startup.user.as_str().into(),
            ..plan.target.clone()
        };
        let _turn = self.shared.proofs.turn(&target.address).await;
        let (logins, none) = (&self.shared.pools.logins, Arc::default());
        let opening = Box::pin(login::open(&target, logins, &none, self.worker));
        let opened = match plan.connect_timeout {
            Some(limit) => timeout(limit, opening).await.map_err(|_| ConnectError::Timeout)??,
            None => opening.await?,
        };
        if !opened.proven {
            return Err(CredentialError::Unproven);
        }
        if *key.user == *self.startup.user {
            self.learnt = Learnt { credential: Some(credential), opened: Some((opened, target)) };
        }
        Ok(())
    }

    async fn password(&mut self) -> Result<PlainText, CredentialError> {
        self.say(code::CLEARTEXT, &[]).await?;
        self.read_password().await
    }

    async fn read_password(&mut self) -> Result<PlainText, CredentialError> {
        let body = self.read_message(PASSWORD_LIMIT).await?;
        Ok(PlainText::new(body.strip_suffix(&[0]).unwrap_or(&body)))
    }

    pub(super) async fn read_message(
        &mut self,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        // Before the rest of it is waited for, as Postgres does.
        let tag = self.reader.tag(self.stream).await?;
        if tag != client_tag::PASSWORD {
            return Err(CredentialError::NoPassword(tag));
        }
        let message = self.reader.next(self.stream, limit).await?;
        Ok(Zeroizing::new(message.body.to_vec()))
    }

    pub(super) async fn say(&mut self, code: u32, rest: &[u8]) -> Result<(), CredentialError> {
        let mut message = Vec::with_capacity(9 + rest.len());
        write_authentication(&mut message, code, rest);
        Ok(self.stream.write_all(&message).await?)
    }
}

/// Who is asked for secrets, with all that is needed to ask.
fn asker(config: &Config, query: &AuthQuery<'_>, tls: &TlsMaterial) -> Asker {
    let own = config.users.get(query.user).and_then(|user| user.password.as_ref());
    let forced = query.database.password.as_ref();
    let forced = forced.filter(|_| query.database.user.as_deref() == Some(query.user));
    // A stored secret is no password.
    let is_password = |text: &&SecretText| matches!(secret(text), Some(Secret::Plain(_)));
    let password = forced.or(own).filter(is_password).cloned();
    let account = account::Account {
        host: query.database.host.clone(),
        port: query.database.port,
        database: query.dbname.to_owned(),
        user: query.user.to_owned(),
        password,
        tls: tls.connector(config.tls.servers(query.database)),
    };
    Asker { account, sql: query.sql.to_owned() }
}

/// What a `SASLInitialResponse` (mechanism, length, data) chose of what was offered, and its data.
fn sasl_initial<'a>(
    body: &'a [u8],
    end_point: Option<&'a [u8]>,
) -> Result<(Chosen<'a>, &'a [u8]), CredentialError> {
    let initial = InitialResponse::parse(body).ok_or(CredentialError::Sasl)?;
    let chosen = match (initial.mechanism, end_point) {
        (name, Some(end_point)) if name == MECHANISM_PLUS.as_bytes() => Chosen::Bound(end_point),
        (name, Some(_)) if name == MECHANISM.as_bytes() => Chosen::Unbound,
        (name, None) if name == MECHANISM.as_bytes() => Chosen::Only,
        (_, _) => return Err(CredentialError::Sasl),
    };
    initial.data.map(|data| (chosen, data)).ok_or(CredentialError::Sasl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_private_within_the_machine_and_with_tls() {
        let [near, far] = ["127.0.0.1:1", "192.0.2.1:1"]
            .map(|address| ClientAddress::Tcp(address.parse().unwrap()));
        assert!(Channel::Clear.is_private(near) && !Channel::Clear.is_private(far));
        assert!(Channel::Tls(None).is_private(far));
    }

    #[test]
    fn an_initial_response_names_the_mechanism_and_its_length() {
        let (plain, plus) = (b"SCRAM-SHA-256\0\0\0\0\x03abc", b"SCRAM-SHA-256-PLUS\0\0\0\0\x03abc");
        let (only, unbound) = ((Chosen::Only, &b"abc"[..]), (Chosen::Unbound, &b"abc"[..]));
        assert_eq!(sasl_initial(plain, None).unwrap(), only);
        assert_eq!(sasl_initial(plain, Some(b"hash")).unwrap(), unbound);
        let bound = (Chosen::Bound(b"hash"), &b"abc"[..]);
        assert_eq!(sasl_initial(plus, Some(b"hash")).unwrap(), bound);
        assert!(sasl_initial(plus, None).is_err());
        for bad in
            [&b""[..], b"PLAIN\0\0\0\0\0", b"SCRAM-SHA-256\0\0\0\0\x04abc", b"SCRAM-SHA-256\0\0"]
        {
            assert!(sasl_initial(bad, None).is_err());
        }
    }
}
