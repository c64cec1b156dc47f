//! Opening a connection to Postgres: connect, log in, learn what the server reports.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::connection::{Body, CancelGate, CancelKey, Dirt, Routines, ServerConnection};
use super::derive::derive;
use super::dial::{Attempt, DialError, attempts, dial};
use super::kept::Kept;
use super::owed::Owed;
use super::parameters::{Applied, Settings};
use super::sequences::Sequences;
use super::sql_prepared::SqlStatements;
use super::statement::ServerStatements;
use crate::auth::scram::client::{self, ClientError};
use crate::auth::scram::{Binding, KeyCache, LoginKeys, MECHANISM};
use crate::auth::{Secret, md5};
use crate::net::address::ServerAddress;
use crate::net::framed::{MessageReader, ReadError};
use crate::net::keepalive::Keepalive;
use crate::net::stream::Stream;
use crate::net::tls::connector::Connector;
use crate::net::tls::session::TlsSession;
use crate::protocol::backend::{Authentication, parameter_status};
use crate::protocol::error_response::ErrorFields;
use crate::protocol::frame::server_tag;
use crate::protocol::frontend;
use crate::protocol::sqlstate::SqlState;
use crate::protocol::startup::PROTOCOL_3_0;
use crate::sql::feature::Features;

/// The longest message of a login: far above what Postgres says, far below what would hurt.
const MESSAGE_LIMIT: usize = 64 * 1024;

/// Settings a server may report; far above what Postgres does.
const MOST_REPORTED: usize = 256;

/// How to prove to Postgres who we are.
#[derive(Clone, Debug)]
pub enum Credential {
    /// With a secret from the configuration, or the password a client gave.
    Secret(Secret),
    /// With keys learnt from a client's own SCRAM login.
    LoginKeys(Arc<LoginKeys>),
    /// There is nothing: Postgres must not ask.
    None,
}

/// Where to log in, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where Postgres is.
    pub address: ServerAddress,
    /// Whether and how the connection is encrypted.
    pub tls: Connector,
    /// The user Postgres knows.
    pub user: Box<str>,
    /// The database Postgres knows.
    pub database: Box<str>,
    /// Proof of identity.
    pub credential: Credential,
    /// TCP keepalive.
    pub keepalive: Keepalive,
    /// Named statements to keep on the server.
    pub max_statements: u32,
    /// Startup parameters beside user and database. Servers that clients share have none.
    pub startup: Vec<(Box<str>, Box<str>)>,
}

impl Target {
    /// Is a server that logged in by `other` as good as one that logs in by this?
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.address == other.address
            && self.tls == other.tls
            && self.user == other.user
            && self.database == other.database
            && self.max_statements == other.max_statements
            && self.startup == other.startup
    }
}

/// A connection fresh from login, and what it said.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub connection: Box<ServerConnection>,
    /// The settings it reported, in its order.
    pub reported: Vec<(Box<str>, Box<str>)>,
    /// Did Postgres ask for a proof of identity?
    pub proven: bool,
}

/// Why a connection to Postgres could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection to the address, or not one as it must be.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It took longer than `server_connect_timeout`.
    #[error("no login within server_connect_timeout")]
    Timeout,
    /// Postgres refused.
    #[error("{message} ({})", code.as_str())]
    Refused {
        /// Postgres' SQLSTATE.
        code: SqlState,
        /// Postgres' message.
        message: String,
    },
    /// The connection ended during login.
    #[error("login was cut short: {0}")]
    Read(#[from] ReadError),
    /// The socket failed.
    #[error("login was cut short: {0}")]
    Io(#[from] io::Error),
    /// SCRAM failed.
    #[error("SCRAM: {0}")]
    Scram(#[from] ClientError),
    /// Postgres asks for a proof that cannot be given from what is known of the user.
    #[error("Postgres asks for {0}, for which the pooler has no suitable secret")]
    NoSecret(&'static str),
    /// Postgres asks for a method the pooler does not have.
    #[error("Postgres asks for an authentication method the pooler does not have ({0})")]
    Unsupported(String),
    /// The server does not speak as Postgres does.
    #[error("unexpected message of type {0:#04x} during login")]
    Unexpected(u8),
    /// The server reports more settings than any Postgres.
    #[error("the server reports too many settings")]
    TooMuchReported,
    /// The key derivation's thread failed.
    #[error("the key derivation failed")]
    Derivation,
}

/// Makes ids for servers.
#[derive(Debug, Default)]
pub struct ServerIds(AtomicU64);

/// What all logins share.
pub struct LoginContext {
    /// Keys derived before.
    pub keys: Mutex<KeyCache>,
    /// The next server's id.
    pub ids: ServerIds,
    /// Bounds the derivations that run at once: each is a thread that computes, and strangers choose how many.
    pub(super) derivations: Arc<Semaphore>,
}

impl LoginContext {
    /// Nothing derived yet, and so many derivations at once.
    #[must_use]
    pub fn new(keys: KeyCache, at_once: usize) -> Self {
        let derivations = Arc::new(Semaphore::new(at_once));
        Self { keys: Mutex::new(keys), ids: ServerIds::default(), derivations }
    }
}

struct Login<'a> {
    stream: Stream,
    reader: MessageReader,
    target: &'a Target,
    context: &'a LoginContext,
    proven: bool,
}

/// Connects and logs in. Cancel safe: dropping it closes the socket.
///
/// # Errors
/// As [`ConnectError`] says; a time limit is the caller's.
pub async fn open(
    target: &Target,
    context: &LoginContext,
    none: &Arc<Settings>,
    worker: usize,
) -> Result<Opened, ConnectError> {
    let mut attempts = attempts(&target.address, target.tls.mode()).iter().peekable();
    loop {
        let attempt = attempts.next().copied().unwrap_or(Attempt::Clear);
        match open_by(attempt, target, context, none, worker).await {
            Err(error) if attempts.peek().is_some() && error.is_about_tls() => {}
            outcome => return outcome,
        }
    }
}

async fn open_by(
    attempt: Attempt,
    target: &Target,
    context: &LoginContext,
    none: &Arc<Settings>,
    worker: usize,
) -> Result<Opened, ConnectError> {
    let stream = dial(&target.address, &target.tls, attempt).await?;
    target.keepalive.apply(&stream)?;
    let reader = MessageReader::default();
    let mut login = Login { stream, reader, target, context, proven: false };
    let mut startup = Vec::new();
    let names = [("user", &*target.user), ("database", &*target.database)].into_iter();
    let further = target.startup.iter().map(|(name, value)| (&**name, &**value));
    let parameters: Vec<_> = names.chain(further).collect();
    frontend::write_startup(&mut startup, PROTOCOL_3_0, &parameters);
    login.stream.write_all(&startup).await?;
    login.authenticate().await?;
    let (reported, key) = login.learn().await?;
    let connection = Box::new(ServerConnection {
        id: context.ids.0.fetch_add(1, Ordering::Relaxed) + 1,
        stream: login.stream,
        worker,
        owed: Owed::default(),
        carry: login.reader.into_rest(),
        body: Body::Boundary,
        bound_forgets: false,
        half_sent: 0,
        unsent: Vec::new(),
        statements: ServerStatements::new(target.max_statements),
        applied: Applied::Known(Arc::clone(none)),
        prepared: SqlStatements::default(),
        sequences: Sequences::default(),
        reported: Vec::new(),
        routines: Routines::Same,
        dirt: Dirt::Known,
        touched: None,
        asked: None,
        schemas: None,
        path: None,
        kept: Kept::default(),
        pins: Features::NONE,
        key,
        cancels: Arc::new(CancelGate::default()),
        opened_at: Instant::now(),
        taken_at: 0,
    });
    Ok(Opened { connection, reported, proven: login.proven })
}

impl ConnectError {
    /// May it go better with, or without, TLS? `pg_hba.conf` can ask for either.
    fn is_about_tls(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_about_tls(),
            Self::Refused { code, .. } => *code == SqlState::INVALID_AUTHORIZATION,
            Self::Timeout
            | Self::Read(_)
            | Self::Io(_)
            | Self::Scram(_)
            | Self::NoSecret(_)
            | Self::Unsupported(_)
            | Self::Unexpected(_)
            | Self::TooMuchReported
            | Self::Derivation => false,
        }
    }
}

impl Login<'_> {
    async fn authenticate(&mut self) -> Result<(), ConnectError> {
        loop {
            let message = self.reader.next(&mut self.stream, MESSAGE_LIMIT).await?;
            let request = match message.tag {
                server_tag::AUTHENTICATION => Authentication::parse(message.body)
                    .ok_or(ConnectError::Unexpected(message.tag))?,
                server_tag::ERROR => return Err(refused(message.body)),
                server_tag::NOTICE => continue,
                tag => return Err(ConnectError::Unexpected(tag)),
            };
            match request {
                Authentication::Ok => return Ok(()),
                Authentication::CleartextPassword => self.clear().await?,
                Authentication::Md5Password(salt) => self.md5(salt).await?,
                Authentication::Sasl(mechanisms) if mechanisms.contains(&MECHANISM) => {
                    let end_point = self.stream.tls().and_then(TlsSession::peer);
                    let end_point = end_point.and_then(|peer| peer.end_point());
                    let binding = Binding::choose(end_point, &mechanisms);
                    return self.scram(binding).await;
                }
                Authentication::Sasl(mechanisms) => {
                    return Err(ConnectError::Unsupported(mechanisms.join(", ")));
                }
                Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
                    return Err(ConnectError::Unexpected(server_tag::AUTHENTICATION));
                }
                Authentication::Unsupported(code) => {
                    return Err(ConnectError::Unsupported(format!("code {code}")));
                }
            }
        }
    }

    async fn clear(&mut self) -> Result<(), ConnectError> {
        let Credential::Secret(Secret::Plain(password)) = &self.target.credential else {
            return Err(ConnectError::NoSecret("the password in clear"));
        };
        self.answer(&Zeroizing::new([password.expose(), &[0]].concat())).await
    }

    async fn md5(&mut self, salt: [u8; 4]) -> Result<(), ConnectError> {
        let answer = match &self.target.credential {
            Credential::Secret(secret) => md5::answer(&self.target.user, secret, salt),
            Credential::LoginKeys(_) | Credential::None => None,
        };
        let answer = answer.ok_or(ConnectError::NoSecret("an MD5 password"))?;
        self.answer(&[answer.expose(), &[0]].concat()).await
    }

    async fn scram(&mut self, binding: Binding) -> Result<(), ConnectError> {
        let mechanism = binding.mechanism();
        let (sent, first) = client::begin(binding);
        let length = u32::try_from(first.len()).unwrap_or(u32::MAX);
        let initial =
            [mechanism.as_bytes(), &[0], &length.to_be_bytes()[..], first.as_bytes()].concat();
        self.answer(&initial).await?;
        let challenge = match self.next_sasl().await? {
            Sasl::Continue(data) => sent.server_first(&data)?,
            Sasl::Final(_) => return Err(ConnectError::Unexpected(server_tag::AUTHENTICATION)),
        };
        let mut derived = None;
        let (sent, last) = match &self.target.credential {
            Credential::Secret(Secret::Plain(password)) => {
                let derivation = challenge.derivation(password);
                let derived = derived.insert(derive(derivation, self.context).await?);
                challenge.answer(&derived.keys)
            }
            Credential::LoginKeys(keys) => challenge.answer_as_client(keys)?,
            Credential::Secret(Secret::Md5(_) | Secret::Scram(_)) | Credential::None => {
                return Err(ConnectError::NoSecret("SCRAM-SHA-256"));
            }
        };
        self.answer(last.as_bytes()).await?;
        let _proven = match self.next_sasl().await? {
            Sasl::Final(data) => sent.server_final(&data)?,
            Sasl::Continue(_) => return Err(ConnectError::Unexpected(server_tag::AUTHENTICATION)),
        };
        // The server knows the user's secret, so its salt is no stranger's.
        if let Some(derived) = derived {
            derived.remember(self.context);
        }
        let message = self.reader.next(&mut self.stream, MESSAGE_LIMIT).await?;
        match (message.tag, Authentication::parse(message.body)) {
            (server_tag::AUTHENTICATION, Some(Authentication::Ok)) => Ok(()),
            (server_tag::ERROR, _) => Err(refused(message.body)),
            (tag, _) => Err(ConnectError::Unexpected(tag)),
        }
    }

    async fn next_sasl(&mut self) -> Result<Sasl, ConnectError> {
        let message = self.reader.next(&mut self.stream, MESSAGE_LIMIT).await?;
        match (message.tag, Authentication::parse(message.body)) {
            (server_tag::AUTHENTICATION, Some(Authentication::SaslContinue(data))) => {
                Ok(Sasl::Continue(data.into()))
            }
            (server_tag::AUTHENTICATION, Some(Authentication::SaslFinal(data))) => {
                Ok(Sasl::Final(data.into()))
            }
            (server_tag::ERROR, _) => Err(refused(message.body)),
            (tag, _) => Err(ConnectError::Unexpected(tag)),
        }
    }

    async fn answer(&mut self, body: &[u8]) -> Result<(), ConnectError> {
        self.proven = true;
        let mut message = Zeroizing::new(Vec::with_capacity(body.len() + 5));
        frontend::write_password(&mut message, body);
        Ok(self.stream.write_all(&message).await?)
    }

    /// Between `AuthenticationOk` and the first `ReadyForQuery`.
    async fn learn(&mut self) -> Result<(Vec<(Box<str>, Box<str>)>, CancelKey), ConnectError> {
        let mut reported = Vec::new();
        let address = self.target.address.clone();
        let tls = self.stream.tls().map(|_| self.target.tls.clone());
        let mut key = CancelKey { address, tls, pid: 0, secret: Box::default() };
        loop {
            let message = self.reader.next(&mut self.stream, MESSAGE_LIMIT).await?;
            match message.tag {
                server_tag::PARAMETER_STATUS => {
                    if let Some((name, value)) = parameter_status(message.body) {
                        reported.push((name.into(), value.into()));
                    }
                    if reported.len() > MOST_REPORTED {
                        return Err(ConnectError::TooMuchReported);
                    }
                }
                server_tag::BACKEND_KEY_DATA => {
                    let (pid, secret) = message
                        .body
                        .split_first_chunk::<4>()
                        .ok_or(ConnectError::Unexpected(message.tag))?;
                    key.pid = u32::from_be_bytes(*pid);
                    key.secret = secret.into();
                }
                server_tag::READY_FOR_QUERY => return Ok((reported, key)),
                server_tag::ERROR => return Err(refused(message.body)),
                server_tag::NOTICE | server_tag::NEGOTIATE_VERSION => {}
                tag => return Err(ConnectError::Unexpected(tag)),
            }
        }
    }
}

enum Sasl {
    Continue(Box<[u8]>),
    Final(Box<[u8]>),
}

fn refused(body: &[u8]) -> ConnectError {
    let fields = ErrorFields::parse(body);
    ConnectError::Refused {
        code: fields.sqlstate().unwrap_or(SqlState::CONNECTION_FAILURE),
        message: String::from_utf8_lossy(fields.message).into_owned(),
    }
}
