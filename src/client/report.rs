//! The one table of what the pooler itself says to clients: error to severity, SQLSTATE, text.

use super::admission::{AdmissionError, Wants};
use crate::auth::ClientHears;
use crate::config::hba::{Method, Origin};
use crate::protocol::error_response::{Severity, write_error};
use crate::protocol::sqlstate::SqlState;
use crate::protocol::startup::StartupError;
use crate::relay::requests::Violation;
use crate::server::dial::DialError;
use crate::server::login::ConnectError;

/// Why a client is not let in.
#[derive(Debug)]
pub enum Denial<'a> {
    /// The first packet makes no sense.
    Startup(&'a StartupError),
    /// Bytes that are no Postgres protocol.
    NotPostgres,
    /// Unencrypted bytes behind an answered request for encryption.
    BytesBehindRequest,
    /// Only encrypted clients are served.
    TlsRequired,
    /// No rule lets it in, or what it is known by is not this user's.
    NotAdmitted {
        /// Why.
        error: &'a AdmissionError,
        /// The user's name.
        user: &'a str,
        /// The database's name.
        database: &'a str,
    },
    /// Login took too long.
    LoginTimeout,
    /// Login failed.
    Credentials {
        /// What the client may hear.
        hears: ClientHears,
        /// The user's name.
        user: &'a str,
    },
    /// Something else than a password came.
    ExpectedPassword(u8),
    /// A password in clear would cross a network.
    PassthroughRemote,
    /// A token in clear would cross a network.
    TokenRemote,
    /// Postgres lets the pooler in without asking, so nothing is proven about the client.
    PassthroughUnproven,
    /// No such database is configured.
    NoDatabase(&'a str),
    /// A limit on clients is reached: the setting's name.
    TooManyClients(&'static str),
    /// A startup setting was refused by Postgres: its own words.
    Setting {
        /// Postgres' SQLSTATE.
        code: SqlState,
        /// Postgres' message.
        message: &'a str,
    },
}

/// Something the pooler has to say to a client.
#[derive(Debug)]
pub enum Report<'a> {
    /// The client is not let in.
    Login(Denial<'a>),
    /// No server can be had.
    NoServer(&'a ConnectError),
    /// The server refused settings it had accepted before.
    SettingsLost(&'a str),
    /// The server refuses the settings that the client carries: Postgres' own words.
    SettingsRefused {
        /// Postgres' SQLSTATE.
        code: SqlState,
        /// Postgres' message.
        message: &'a str,
    },
    /// `query_wait_timeout`.
    QueryWaitTimeout,
    /// A cancel request for a client that waits.
    Cancelled,
    /// `idle_transaction_timeout`.
    IdleTransactionTimeout,
    /// `query_timeout`, where cancelling the query did not help.
    QueryTimeout,
    /// `transaction_timeout`.
    TransactionTimeout,
    /// `client_idle_timeout`.
    ClientIdleTimeout,
    /// The program ends.
    Shutdown,
    /// The database was taken out of the configuration.
    DatabaseGone,
    /// An administrator ended the client.
    Ended,
    /// The client broke the protocol.
    Violation(&'a Violation),
    /// The client began a transaction in statement mode.
    TransactionBlock,
    /// The server went away in the middle of something.
    ServerGone,
    /// The server broke the protocol.
    ServerBroken,
}

struct Text<'a> {
    severity: Severity,
    code: SqlState,
    message: std::borrow::Cow<'a, str>,
    hint: &'static str,
}

impl Report<'_> {
    /// Appends it as an `ErrorResponse`; gives its SQLSTATE, for counting.
    pub fn write(&self, out: &mut Vec<u8>) -> SqlState {
        let Text { severity, code, message, hint } = self.text();
        write_error(out, severity, code, &message, hint);
        code
    }

    /// Appends it as an error that ends the session, as every error before the end of login does.
    pub fn write_fatal(&self, out: &mut Vec<u8>) -> SqlState {
        let Text { code, message, hint, .. } = self.text();
        write_error(out, Severity::Fatal, code, &message, hint);
        code
    }

    /// A word for it, for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Login(_) => "login",
            Self::NoServer(_) => "no_server",
            Self::SettingsLost(_) => "settings_lost",
            Self::SettingsRefused { .. } => "settings_refused",
            Self::QueryWaitTimeout => "query_wait_timeout",
            Self::Cancelled => "cancelled",
            Self::IdleTransactionTimeout => "idle_transaction_timeout",
            Self::QueryTimeout => "query_timeout",
            Self::TransactionTimeout => "transaction_timeout",
            Self::ClientIdleTimeout => "client_idle_timeout",
            Self::Shutdown => "shutdown",
            Self::DatabaseGone => "database_gone",
            Self::Ended => "ended",
            Self::Violation(_) => "protocol_violation",
            Self::TransactionBlock => "transaction_block",
            Self::ServerGone => "server_gone",
            Self::ServerBroken => "server_broken",
        }
    }

    fn text(&self) -> Text<'_> {
        match self {
            Self::Login(denial) => denial.text(),
            Self::NoServer(error) => no_server(error),
            Self::QueryWaitTimeout => error(
                SqlState::TOO_MANY_CONNECTIONS,
                "no server became free within query_wait_timeout",
                "All servers of the pool are in use: look for long transactions, or raise the pool size.",
            ),
            Self::Cancelled => {
                error(SqlState::QUERY_CANCELED, "canceling statement due to user request", "")
            }
            Self::SettingsLost(message) => fatal(
                SqlState::CONNECTION_FAILURE,
                format!("Postgres refused the session's settings: {message}"),
            ),
            Self::SettingsRefused { code, message } => error(
                *code,
                format!("Postgres refuses this session's settings: {message}"),
                "The session has them again when they can be set; RESET or DISCARD ALL goes on without them.",
            ),
            Self::IdleTransactionTimeout => {
                timed_out(SqlState::IDLE_IN_TRANSACTION_TIMEOUT, "idle_transaction_timeout")
            }
            Self::QueryTimeout => timed_out(SqlState::QUERY_CANCELED, "query_timeout"),
            Self::TransactionTimeout => {
                timed_out(SqlState::TRANSACTION_TIMEOUT, "transaction_timeout")
            }
            Self::ClientIdleTimeout => {
                timed_out(SqlState::IDLE_SESSION_TIMEOUT, "client_idle_timeout")
            }
            Self::Shutdown => fatal(
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection because the pooler is shutting down",
            ),
            Self::DatabaseGone => fatal(
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection because the pooler's configuration of the database has changed",
            ),
            Self::Ended => fatal(
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection due to administrator command",
            ),
            Self::Violation(violation) => violated(violation),
            Self::TransactionBlock => fatal(
                SqlState::PROTOCOL_VIOLATION,
                "transaction blocks are not allowed with pool_mode = statement",
            ),
            Self::ServerGone => {
                fatal(SqlState::CONNECTION_FAILURE, "Postgres closed the connection unexpectedly")
            }
            Self::ServerBroken => fatal(
                SqlState::CONNECTION_FAILURE,
                "the connection to Postgres is out of step and was closed",
            ),
        }
    }
}

fn violated(violation: &Violation) -> Text<'static> {
    let code = match violation {
        Violation::ParseTooLong(_)
        | Violation::NamesTooLong
        | Violation::TooMuchPrepared
        | Violation::TooMuchInCopy => SqlState::PROGRAM_LIMIT_EXCEEDED,
        Violation::Length(_) | Violation::Type(_) => SqlState::PROTOCOL_VIOLATION,
    };
    fatal(code, violation.to_string())
}

impl Denial<'_> {
    fn text(&self) -> Text<'_> {
        match self {
            Self::Startup(error) => {
                let code = match error {
                    StartupError::UnsupportedVersion { .. } => SqlState::FEATURE_NOT_SUPPORTED,
                    StartupError::NoUser => SqlState::INVALID_AUTHORIZATION,
                    StartupError::InvalidReplication => SqlState::INVALID_PARAMETER_VALUE,
                    StartupError::InvalidLength
                    | StartupError::InvalidLayout
                    | StartupError::NotUtf8
                    | StartupError::InvalidCancel
                    | StartupError::InvalidOptions => SqlState::PROTOCOL_VIOLATION,
                };
                fatal(code, error.to_string())
            }
            Self::NotPostgres => {
                fatal(SqlState::PROTOCOL_VIOLATION, "this is not the Postgres protocol")
            }
            Self::BytesBehindRequest => fatal(
                SqlState::PROTOCOL_VIOLATION,
                "received unencrypted data after SSL or GSSAPI encryption request",
            ),
            Self::TlsRequired => Text {
                hint: "Connect with sslmode=require, or stricter.",
                ..fatal(SqlState::INVALID_AUTHORIZATION, "TLS is required")
            },
            Self::NotAdmitted { error, user, database } => not_admitted(error, user, database),
            Self::LoginTimeout => fatal(
                SqlState::QUERY_CANCELED,
                "canceling authentication due to client_login_timeout",
            ),
            Self::Credentials { hears, user } => login_failed(*hears, user),
            Self::ExpectedPassword(tag) => fatal(
                SqlState::PROTOCOL_VIOLATION,
                format!("expected password response, got message type {tag}"),
            ),
            Self::PassthroughRemote => passthrough_remote(),
            Self::TokenRemote => token_remote(),
            Self::PassthroughUnproven => passthrough_unproven(),
            Self::NoDatabase(name) => {
                fatal(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))
            }
            Self::TooManyClients(limit) => fatal(
                SqlState::TOO_MANY_CONNECTIONS,
                format!("sorry, too many clients already ({limit})"),
            ),
            Self::Setting { code, message } => fatal(*code, (*message).to_owned()),
        }
    }
}

fn passthrough_remote() -> Text<'static> {
    Text {
        hint: "Connect with TLS (client_tls_sslmode), or configure users and auth_type = \"scram-sha-256\".",
        ..fatal(
            SqlState::INVALID_AUTHORIZATION,
            "auth_type passthrough takes passwords in clear only from this machine",
        )
    }
}

fn token_remote() -> Text<'static> {
    Text {
        hint: "Connect with TLS (client_tls_sslmode).",
        ..fatal(
            SqlState::INVALID_AUTHORIZATION,
            "auth_type oauth takes tokens in clear only from this machine",
        )
    }
}

fn passthrough_unproven() -> Text<'static> {
    Text {
        hint: "Postgres trusts the pooler (trust or peer in pg_hba.conf). Configure users, or auth_type = \"trust\" if that is meant.",
        ..fatal(
            SqlState::INVALID_AUTHORIZATION,
            "auth_type passthrough needs a Postgres that asks for the password",
        )
    }
}

/// In the words of Postgres (`ClientAuthentication` and `auth_failed`, src/backend/libpq/auth.c).
fn not_admitted(error: &AdmissionError, user: &str, database: &str) -> Text<'static> {
    let whence = |origin: &Origin| match origin {
        Origin::Local => ("[local]".to_owned(), "no encryption"),
        Origin::Clear(address) => (address.to_string(), "no encryption"),
        Origin::Encrypted(address) => (address.to_string(), "SSL encryption"),
    };
    let message = match error {
        AdmissionError::NoEntry { origin, wants } => {
            let (host, encryption) = whence(origin);
            match wants {
                Wants::Database => format!(
                    "no pg_hba.conf entry for host \"{host}\", user \"{user}\", database \"{database}\", {encryption}"
                ),
                Wants::Cluster => format!(
                    "no pg_hba.conf entry for replication connection from host \"{host}\", user \"{user}\", {encryption}"
                ),
            }
        }
        AdmissionError::Rejected { origin, wants, .. } => {
            let (host, encryption) = whence(origin);
            match wants {
                Wants::Database => format!(
                    "pg_hba.conf rejects connection for host \"{host}\", user \"{user}\", database \"{database}\", {encryption}"
                ),
                Wants::Cluster => format!(
                    "pg_hba.conf rejects replication connection for host \"{host}\", user \"{user}\", {encryption}"
                ),
            }
        }
        AdmissionError::NoCertificate => "connection requires a valid client certificate".into(),
        AdmissionError::OtherCertificate { method, .. } => match method {
            Method::Cert | Method::Peer | Method::Reject => {
                format!("certificate authentication failed for user \"{user}\"")
            }
            Method::OAuth => return login_failed(ClientHears::TokenFailed, user),
            Method::Trust => format!("\"trust\" authentication failed for user \"{user}\""),
            Method::Plain | Method::Md5 | Method::ScramSha256 | Method::Passthrough => {
                return login_failed(ClientHears::PasswordFailed, user);
            }
        },
        AdmissionError::OtherPeer(_) | AdmissionError::NoPeer | AdmissionError::Peer(_) => {
            format!("Peer authentication failed for user \"{user}\"")
        }
    };
    fatal(SqlState::INVALID_AUTHORIZATION, message)
}

fn login_failed(hears: ClientHears, user: &str) -> Text<'static> {
    match hears {
        ClientHears::PasswordFailed => fatal(
            SqlState::INVALID_PASSWORD,
            format!("password authentication failed for user \"{user}\""),
        ),
        ClientHears::EmptyPassword => {
            fatal(SqlState::INVALID_PASSWORD, "empty password returned by client")
        }
        ClientHears::Unsupported(text) => fatal(SqlState::FEATURE_NOT_SUPPORTED, text),
        ClientHears::TokenFailed => fatal(
            SqlState::INVALID_AUTHORIZATION,
            format!("OAuth bearer authentication failed for user \"{user}\""),
        ),
        ClientHears::ProtocolViolation(text) => fatal(SqlState::PROTOCOL_VIOLATION, text),
        ClientHears::ServerLoginFailed => {
            fatal(SqlState::CONNECTION_FAILURE, "the pooler cannot log in to Postgres")
        }
    }
}

/// What Postgres says is passed on with its code; of the rest, the client hears what an operator
/// of the application needs, and no secrets are in any of these texts.
fn no_server(failure: &ConnectError) -> Text<'_> {
    match failure {
        ConnectError::Refused { code, message } => error(*code, message.as_str(), ""),
        ConnectError::Dial(DialError::Connect { .. } | DialError::Ask(_))
        | ConnectError::Timeout
        | ConnectError::Read(_)
        | ConnectError::Io(_) => {
            error(SqlState::CONNECTION_FAILURE, format!("no connection to Postgres: {failure}"), "")
        }
        ConnectError::Dial(
            DialError::NoTls | DialError::Answer(_) | DialError::NoAlpn | DialError::Tls(_),
        )
        | ConnectError::Scram(_)
        | ConnectError::NoSecret(_)
        | ConnectError::Unsupported(_)
        | ConnectError::Unexpected(_)
        | ConnectError::TooMuchReported
        | ConnectError::Derivation => error(
            SqlState::CONNECTION_FAILURE,
            "the pooler cannot log in to Postgres",
            "The pooler's log has the reason.",
        ),
    }
}

fn error<'a>(
    code: SqlState,
    message: impl Into<std::borrow::Cow<'a, str>>,
    hint: &'static str,
) -> Text<'a> {
    Text { severity: Severity::Error, code, message: message.into(), hint }
}

fn fatal<'a>(code: SqlState, message: impl Into<std::borrow::Cow<'a, str>>) -> Text<'a> {
    Text { severity: Severity::Fatal, code, message: message.into(), hint: "" }
}

fn timed_out(code: SqlState, setting: &str) -> Text<'_> {
    fatal(code, format!("terminating connection due to {setting}"))
}
