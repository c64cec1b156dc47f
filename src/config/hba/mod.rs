//! Who is let in how, by the rules of a file in the form of `pg_hba.conf`: the first that fits decides. To ask a client
//! for what a rule wants is left to others.

mod fields;
mod ident;
mod network;
mod pattern;
mod problem;
mod rules;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

pub use ident::IdentMap;
pub use network::Network;
pub use problem::HbaProblem;

use super::choices::AuthType;
use super::fault::{Fault, Place, Warning};
use super::tls::SslMode;
use super::{Config, OAuth, Tls};
use ident::IdentMaps;
use pattern::Pattern;
use rules::{Authority, Surroundings};

/// The rules of a file in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hba(Vec<Rule>);

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    place: (Arc<Path>, usize),
    kind: Kind,
    databases: Vec<Names>,
    users: Vec<Names>,
    addresses: Addresses,
    method: Method,
    client_cert: ClientCert,
    map: Option<Arc<IdentMap>>,
}

/// What clients come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Host,
    HostSsl,
    HostNoSsl,
}

/// Whose names fit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    SameAsUser,
    /// Physical replication, which no other name stands for.
    Replication,
    One(Box<str>),
    Pattern(Pattern),
}

/// Which addresses fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    All,
    SameHost,
    SameNet,
    Within(Network),
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It is refused.
    Reject,
    /// Not at all.
    Trust,
    /// By the password in clear.
    Plain,
    /// By Postgres' old challenge, or by SCRAM if that is what its secret is for.
    Md5,
    /// By SCRAM.
    ScramSha256,
    /// By logging in to Postgres with the password in clear.
    Passthrough,
    /// By its certificate.
    Cert,
    /// By the system user that runs it.
    Peer,
    /// By a token.
    OAuth,
}

/// What a client's certificate has to show, beside the proof that the method asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientCert {
    /// There need not be one.
    Unasked,
    /// That it is of a known CA.
    Issuer,
    /// That it is of a known CA and that its common name is the user's.
    IssuerAndName,
}

/// Who wants to be let in.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// What it comes through, and from where.
    pub origin: Origin,
    /// The database it asks for; `None`: it is about the whole cluster (physical replication).
    pub database: Option<&'a str>,
    /// The user it says it is.
    pub user: &'a str,
}

/// What a client comes through, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A Unix socket.
    Local,
    /// TCP without TLS.
    Clear(IpAddr),
    /// TCP with TLS.
    Encrypted(IpAddr),
}

/// What is asked of a client.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    /// The method.
    pub method: Method,
    /// What its certificate has to show.
    pub client_cert: ClientCert,
    /// Who may log in as whom by [`Method::Cert`], [`Method::Peer`] and [`Method::OAuth`]; `None`: everybody as himself.
    pub map: Option<&'a IdentMap>,
    /// The rule that says so, if it is one of a file.
    pub rule: Option<&'a Rule>,
}

impl Terms<'_> {
    /// May who is proven to be `proven` log in as `user`?
    #[must_use]
    pub fn allow(&self, proven: &str, user: &str) -> bool {
        self.map.map_or(proven == user, |map| map.allows(proven, user))
    }
}

impl Hba {
    /// Reads the rules, and the maps that they name.
    pub(super) fn read(
        file: &Path,
        ident: Option<&Path>,
        (tls, oauth): (&Tls, &OAuth),
        faults: &mut Vec<Fault>,
    ) -> Self {
        let maps = ident.map_or_else(IdentMaps::new, |ident| ident::read(ident, faults));
        let authority = match (&tls.client_tls_ca_file, tls.client_tls_sslmode) {
            (Some(_), SslMode::Disable) | (None, _) => Authority::None,
            (Some(_), _) => Authority::Known,
        };
        let issuer = oauth.issuer.as_ref().map_or(Authority::None, |_| Authority::Known);
        let known = Surroundings { maps: &maps, authority, issuer };
        let mut all = Vec::new();
        for line in fields::read(file, faults) {
            match rules::rule(&line, &known) {
                Ok(rule) => all.push(rule),
                Err(problem) => faults.push(Fault { place: line.place(), problem: problem.into() }),
            }
        }
        Self(all)
    }

    /// The rules for TLS where there is none.
    pub(super) fn blind(&self, tls: &Tls) -> Vec<Warning> {
        let rules = self.0.iter().filter(|rule| rule.kind == Kind::HostSsl);
        let rules = rules.filter(|_| tls.client_tls_sslmode == SslMode::Disable);
        let place = |rule: &Rule| Place::Line(rule.place.0.to_path_buf(), rule.place.1);
        rules.map(|rule| Warning::HbaBlind { place: place(rule) }).collect()
    }

    /// The first rule that fits. `own` gives the machine's own addresses, where a rule asks for them.
    fn rule(&self, caller: &Caller<'_>, own: &dyn Fn() -> Vec<Network>) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.fits(caller, own))
    }
}

impl Rule {
    fn fits(&self, caller: &Caller<'_>, own: &dyn Fn() -> Vec<Network>) -> bool {
        let address = match (self.kind, caller.origin) {
            (Kind::Local, Origin::Local) => None,
            (Kind::Host | Kind::HostNoSsl, Origin::Clear(address))
            | (Kind::Host | Kind::HostSsl, Origin::Encrypted(address)) => Some(address),
            (Kind::Local | Kind::Host | Kind::HostSsl | Kind::HostNoSsl, _) => return false,
        };
        let fits = |names: &[Names], name| names.iter().any(|one| one.fit(name, caller.user));
        let database = match caller.database {
            Some(name) => fits(&self.databases, name),
            None => self.databases.contains(&Names::Replication),
        };
        database
            && fits(&self.users, caller.user)
            && address.is_none_or(|address| self.addresses.hold(address, own))
    }
}

/// As the log names it: file and line.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = &self.place;
        write!(f, "{}:{line}", file.display())
    }
}

impl Names {
    fn fit(&self, name: &str, user: &str) -> bool {
        match self {
            Self::All => true,
            Self::SameAsUser => name == user,
            Self::Replication => false,
            Self::One(one) => **one == *name,
            Self::Pattern(pattern) => pattern.fits(name),
        }
    }
}

impl Addresses {
    fn hold(&self, address: IpAddr, own: &dyn Fn() -> Vec<Network>) -> bool {
        match self {
            Self::All => true,
            Self::SameHost => own().iter().any(|network| network.address == address),
            Self::SameNet => own().iter().any(|network| network.contains(address)),
            Self::Within(network) => network.contains(address),
        }
    }
}

impl Config {
    /// What is asked of this client; `None`: no rule is about it. `own` gives the machine's own addresses.
    pub fn terms(&self, caller: &Caller<'_>, own: &dyn Fn() -> Vec<Network>) -> Option<Terms<'_>> {
        let method = match self.auth.auth_type {
            AuthType::Hba => {
                let rule = self.hba.rule(caller, own)?;
                return Some(Terms {
                    method: rule.method,
                    client_cert: rule.client_cert.max(self.client_cert(rule.method, caller.origin)),
                    map: rule.map.as_deref(),
                    rule: Some(rule),
                });
            }
            AuthType::Trust => Method::Trust,
            AuthType::Plain => Method::Plain,
            AuthType::Md5 => Method::Md5,
            AuthType::ScramSha256 => Method::ScramSha256,
            AuthType::Passthrough => Method::Passthrough,
            AuthType::Cert => Method::Cert,
            AuthType::Peer => Method::Peer,
            AuthType::OAuth => Method::OAuth,
        };
        let client_cert = self.client_cert(method, caller.origin);
        Some(Terms { method, client_cert, map: None, rule: None })
    }

    /// What `client_tls_sslmode` wants of certificates. The method `cert` has its own way with names.
    fn client_cert(&self, method: Method, origin: Origin) -> ClientCert {
        match (self.tls.client_tls_sslmode, origin, method) {
            (_, _, Method::Cert) => ClientCert::Issuer,
            (_, Origin::Local, _) => ClientCert::Unasked,
            (SslMode::VerifyFull, _, _) => ClientCert::IssuerAndName,
            (SslMode::VerifyCa, _, _) => ClientCert::Issuer,
            (_, _, _) => ClientCert::Unasked,
        }
    }
}
