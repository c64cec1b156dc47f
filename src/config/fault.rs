//! What is wrong with a configuration, and where: the faults that refuse it and the warnings that do not.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use super::hba::HbaProblem;
use super::jwks::KeysProblem;
use super::units::UnitError;
use super::userlist::{LineFault, LineProblem};

/// Every fault of a configuration, in a stable order. `Display` gives one line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Fault>);

impl ConfigErrors {
    /// The faults if there are any.
    pub(super) fn unless_empty(mut faults: Vec<Fault>) -> Result<(), Self> {
        // The `config` crate keeps tables in hash maps: sorting makes the report the same each time.
        faults.sort_by_cached_key(|fault| (fault.place.clone(), fault.problem.to_string()));
        faults.dedup();
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }

    /// The faults, at least one.
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One thing that is wrong and the place to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {problem}")]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

/// Where a value came from. The order is the order of a report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file as a whole.
    File(PathBuf),
    /// A line of a file, from 1.
    Line(PathBuf, usize),
    /// A key in the configuration file.
    Key(PathBuf, String),
    /// An environment variable.
    Variable(String),
    /// A key that neither file nor environment set: its default does not fit the rest.
    Default(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Self::Key(file, path) => write!(f, "{}: {path}", file.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Default(path) => write!(f, "{path} (default)"),
        }
    }
}

/// What is wrong. The texts quote what was given, except for secrets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// The file cannot be read at all.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::ErrorKind),
    /// More than a settings file ever needs.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The largest size, in bytes.
        limit: u64,
    },
    /// Not text.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// Not TOML. The text has the line and column but not the line itself, which may hold a secret.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// A `pgbouncer.ini`.
    #[error(
        "in PgBouncer's format, which is not read: write its settings as TOML (docs/MIGRATING.md \
         says how; pooler.toml.example has them all), then `pooler check` says what fits"
    )]
    PgBouncerFormat,
    /// A line of the user list.
    #[error(transparent)]
    UserList(#[from] LineProblem),
    /// A line of the HBA or ident file.
    #[error(transparent)]
    Hba(#[from] HbaProblem),
    /// The keys of tokens.
    #[error(transparent)]
    Keys(#[from] KeysProblem),

    /// No such key, and what was probably meant.
    #[error("unknown key{0}")]
    UnknownKey(Hint),
    /// No such table, and what was probably meant.
    #[error("unknown table{0}")]
    UnknownTable(Hint),
    /// A setting that PgBouncer has and this program has not.
    #[error("a PgBouncer setting that is not here: {0}")]
    OnlyInPgBouncer(&'static str),
    /// Two variables that differ only in case.
    #[error("sets the same key as {0}")]
    SameKeyAs(String),
    /// A variable names no key of a user or a database in the file whose name differs only in case.
    #[error("fits more than one name in the file; set it there")]
    AmbiguousName,

    /// `""` as the name of a database or user.
    #[error("the name is empty")]
    EmptyName,

    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The type that fits.
        expected: &'static str,
        /// The type that was given.
        found: Found,
    },
    /// A number outside what is possible.
    #[error("{given} is out of range: {low} to {high}")]
    OutOfRange {
        /// The number.
        given: i64,
        /// The least allowed.
        low: i64,
        /// The greatest allowed.
        high: i64,
    },
    /// A duration or a size outside what is possible.
    #[error("{given:?} is out of range: {low} to {high}")]
    AmountOutOfRange {
        /// It as it was written.
        given: String,
        /// The least allowed.
        low: String,
        /// The most allowed.
        high: String,
    },
    /// A size that cannot be read.
    #[error("{given:?} is not a size such as 64kB, 64MB or 1GB: {why}")]
    Size {
        /// The text.
        given: String,
        /// What is wrong with it.
        why: UnitError,
    },
    /// A duration that cannot be read.
    #[error("{given:?} is not a duration such as 500ms, 30s, 5m, 1h or 1d: {why}")]
    Duration {
        /// The text.
        given: String,
        /// What is wrong with it.
        why: UnitError,
    },
    /// None of the words that are known.
    #[error("{given:?} is none of: {allowed}")]
    NotOneOf {
        /// The word.
        given: String,
        /// The words that are known, with commas.
        allowed: String,
    },
    /// A text that breaks the rule of its key.
    #[error("{given:?} is not {expected}")]
    NotA {
        /// The text.
        given: String,
        /// What it ought to be.
        expected: &'static str,
    },
    /// A zero byte, which neither the wire protocol nor a path can carry.
    #[error("holds a zero byte")]
    ZeroByte,
    /// `""` where that means nothing.
    #[error("is empty; leave the key out instead")]
    Empty,

    /// A combination that is not possible.
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

/// Values that are each possible but not together, or not today.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Conflict {
    /// An admin address that others can reach, and nobody to tell them apart.
    #[error(
        "{0} is not a loopback address: whoever reaches it could see everything; `pooler token` makes \
         a token that it can ask for"
    )]
    AdminNeedsToken(std::net::SocketAddr),
    /// A token that nobody can show.
    #[error("needs a hash; `pooler token` makes a token with its hash")]
    TokenNeedsHash,
    /// The admin API and the pooler on one address.
    #[error("{0} is where clients connect too (listen_addr, listen_port)")]
    AdminOnListenPort(std::net::SocketAddr),
    /// No TCP address and no Unix socket.
    #[error("nothing to listen on: both listen_addr and unix_socket_dir are empty")]
    NothingToListenOn,
    /// More warm servers than servers.
    #[error("min_pool_size {min} is more than the pool size {size}")]
    MinAbovePoolSize {
        /// The servers to keep.
        min: u32,
        /// The most servers there may be.
        size: u32,
    },
    /// A forced password for no forced user.
    #[error("needs a user beside it, whose password it is")]
    PasswordWithoutUser,
    /// A database that leads back here.
    #[error("with this port it leads back to this pooler itself")]
    LeadsBack,
    /// A name kept for the console.
    #[error("the name is reserved")]
    ReservedName,
    /// Clients could name any database to ask in.
    #[error("the databases behind \"*\" need auth_dbname, which says where auth_user asks")]
    NoAuthDatabase,
    /// A mode of TLS without a file that it needs.
    #[error("needs {0} beside it")]
    TlsNeeds(&'static str),
    /// `auth_type = hba` without rules.
    #[error("needs auth_hba_file beside it")]
    HbaNeedsFile,
    /// `auth_type = cert` where no certificate is looked at.
    #[error("needs client_tls_ca_file in [tls], and another client_tls_sslmode than disable")]
    CertNeedsTls,
    /// `auth_type = oauth` where no token can be checked.
    #[error("needs issuer and jwks_file in [oauth]")]
    OAuthNeedsKeys,
    /// Every token of the issuer would do.
    #[error("needs audience or scope beside it, or every token of the issuer lets in")]
    OAuthTakesAll,
    /// An issuer without keys, or the other way round.
    #[error("needs {0} beside it")]
    OAuthNeeds(&'static str),
    /// TLS at once, where it may be none.
    #[error(
        "direct needs a server_tls_sslmode of require or stricter: whoever begins with TLS cannot do without"
    )]
    WeakForDirect,
    /// A secret from two places.
    #[error("there is {0} beside it: one of them is enough")]
    TwoPasswords(&'static str),
    /// An environment variable that is not there.
    #[error("the environment has no {0}")]
    NoVariable(String),
    /// A secret that is none.
    #[error("the secret is empty")]
    EmptySecret,
    /// Headers for a collector. They are not quoted: they are secret.
    #[error("headers are name=value, with commas, values URL-encoded")]
    OtlpHeaders,
    /// A list of hosts, as PgBouncer knows it.
    #[error("only one host is possible, not a list")]
    SeveralHosts,
    /// A URL as a host. It is not quoted: it may hold a password.
    #[error("a URL is not possible; set host, port, dbname, user and password apart")]
    Url,
    /// A socket path that the kernel cannot hold.
    #[error("the path is too long for a Unix socket: at most {limit} bytes")]
    SocketPathTooLong {
        /// The longest folder path, in bytes.
        limit: usize,
    },
}

/// What the writer of an unknown name probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Nothing is near.
    Nothing,
    /// A name of the same kind.
    DidYouMean(String),
    /// The same name in another table; for a variable, its whole name.
    BelongsIn(String),
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::DidYouMean(name) => write!(f, "; did you mean {name}?"),
            Self::BelongsIn(name) => write!(f, "; it is {name} here"),
        }
    }
}

/// The type of a value that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the words are the documentation")]
pub enum Found {
    #[error("nothing")]
    Nothing,
    #[error("a whole number")]
    Whole,
    #[error("a number with a fraction")]
    Decimal,
    #[error("true or false")]
    Flag,
    #[error("text")]
    Text,
    #[error("a list")]
    List,
    #[error("a table")]
    Table,
}

/// Something that works but that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Warning {
    /// A file with secrets that everybody on the machine can read.
    #[error("{}: holds secrets and is readable by everybody; chmod 600 it", .0.display())]
    ReadableByAll(PathBuf),
    /// A PgBouncer setting whose purpose is served without it.
    #[error("{place}: not needed: {why}")]
    NotNeeded {
        /// Where it was set.
        place: Place,
        /// What happens without it.
        why: &'static str,
    },
    /// A user named twice in the user list.
    #[error("{}:{line}: replaces the secret of an earlier line", file.display())]
    RepeatedUser {
        /// The user list.
        file: PathBuf,
        /// The later line, from 1.
        line: usize,
    },
    /// Rules that nobody goes by.
    #[error("auth_hba_file is not used, as auth_type is not hba")]
    HbaUnused,
    /// A rule for TLS where there is none.
    #[error("{place}: matches nobody, as client_tls_sslmode is disable")]
    HbaBlind {
        /// The line.
        place: Place,
    },
    /// `trust` where others than this machine's users can connect.
    #[error("auth_type is trust and {0} is not a loopback address: whoever reaches it is let in")]
    TrustOnNetwork(std::net::IpAddr),
    /// Passwords are asked in clear, and others than this machine's users can listen.
    #[error(
        "auth_type is plain and {0} is not a loopback address: passwords cross the network in clear; client_tls_sslmode = \"require\" prevents it"
    )]
    PlainOnNetwork(std::net::IpAddr),
    /// Passwords or tokens are asked in clear, but not of those who connect here.
    #[error(
        "auth_type is {0} and {1} is not a loopback address: clients that come over the network without TLS are refused"
    )]
    RefusedOnNetwork(&'static str, std::net::IpAddr),
    /// Tokens cross the network, and others can listen.
    #[error(
        "admin_listen has {0}, which is not a loopback address: tokens and answers cross the network in clear; admin_tls_cert_file and admin_tls_key_file prevent it"
    )]
    AdminInClear(std::net::SocketAddr),
    /// Passwords are proven against secrets, and there are none.
    #[error("auth_type is {0} and no user has a secret: nobody can log in")]
    NobodyCanLogIn(&'static str),
    /// A stored secret that SCRAM cannot use.
    #[error("user {0:?} cannot log in: auth_type is scram-sha-256 and the secret is stored as md5")]
    Md5SecretForScram(String),
}

impl Fault {
    /// The fault of one line of the user list.
    pub(super) fn in_user_list(file: &std::path::Path, fault: LineFault) -> Self {
        Self { place: Place::Line(file.to_owned(), fault.line), problem: fault.problem.into() }
    }
}
