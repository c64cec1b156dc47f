//! From the lines of an HBA file to its rules, each valid by itself. Which of them holds for a client is `mod`'s.

use std::net::IpAddr;
use std::sync::Arc;

use super::fields::{Line, Word};
use super::ident::{IdentMap, IdentMaps};
use super::network::Network;
use super::pattern::Pattern;
use super::problem::HbaProblem;
use super::{Addresses, ClientCert, Kind, Method, Names, Rule};

/// What a rule may refer to.
pub(super) struct Surroundings<'a> {
    /// The maps of the ident file.
    pub(super) maps: &'a IdentMaps,
    /// Can certificates of clients be checked?
    pub(super) authority: Authority,
    /// Can tokens of clients be checked?
    pub(super) issuer: Authority,
}

/// Is there somebody whose signatures are believed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authority {
    Known,
    None,
}

/// What stands behind the method.
#[derive(Default)]
struct Options {
    map: Option<Arc<IdentMap>>,
    client_cert: Option<ClientCert>,
}

/// The fields of a line, taken from the front.
struct Fields<'a>(std::slice::Iter<'a, Vec<Word>>);

impl<'a> Fields<'a> {
    fn list(&mut self, what: &'static str) -> Result<&'a [Word], HbaProblem> {
        self.0.next().map(Vec::as_slice).ok_or(HbaProblem::EndsBefore(what))
    }

    fn one(&mut self, what: &'static str) -> Result<&'a Word, HbaProblem> {
        if let [word] = self.list(what)? { Ok(word) } else { Err(HbaProblem::Several(what)) }
    }
}

/// The rule of a line.
pub(super) fn rule(line: &Line, known: &Surroundings<'_>) -> Result<Rule, HbaProblem> {
    let mut fields = Fields(line.fields.iter());
    let kind = kind(&fields.one("connection type")?.text)?;
    let databases = names(fields.list("database")?, database)?;
    let users = names(fields.list("user")?, user)?;
    let addresses = match kind {
        Kind::Local => Addresses::All,
        Kind::Host | Kind::HostSsl | Kind::HostNoSsl => addresses(&mut fields)?,
    };
    let method = method(&fields.one("authentication method")?.text, kind)?;
    let options = options(fields, (kind, method), known)?;
    let client_cert = match (method, options.client_cert) {
        (Method::Cert, Some(ClientCert::Issuer)) => return Err(HbaProblem::CertIsFull),
        (Method::Cert, _) => ClientCert::Issuer,
        (_, other) => other.unwrap_or(ClientCert::Unasked),
    };
    if client_cert != ClientCert::Unasked && known.authority == Authority::None {
        return Err(HbaProblem::NoAuthority);
    }
    if method == Method::OAuth && known.issuer == Authority::None {
        return Err(HbaProblem::NoIssuer);
    }
    let place = (Arc::clone(&line.file), line.number);
    Ok(Rule { place, kind, databases, users, addresses, method, client_cert, map: options.map })
}

fn kind(text: &str) -> Result<Kind, HbaProblem> {
    match text {
        "local" => Ok(Kind::Local),
        // Nobody comes through GSSAPI, so that whoever comes by TCP comes without.
        "host" | "hostnogssenc" => Ok(Kind::Host),
        "hostssl" => Ok(Kind::HostSsl),
        "hostnossl" => Ok(Kind::HostNoSsl),
        "hostgssenc" => Err(HbaProblem::Gss),
        other => Err(HbaProblem::Type(other.to_owned())),
    }
}

fn names(
    words: &[Word],
    name: impl Fn(&Word) -> Result<Names, HbaProblem>,
) -> Result<Vec<Names>, HbaProblem> {
    words.iter().map(name).collect()
}

fn database(word: &Word) -> Result<Names, HbaProblem> {
    if ["samerole", "samegroup"].iter().any(|keyword| word.is(keyword)) {
        return Err(HbaProblem::Roles(word.text.clone()));
    }
    if word.is("sameuser") {
        return Ok(Names::SameAsUser);
    }
    if word.is("replication") {
        return Ok(Names::Replication);
    }
    plain(word)
}

fn user(word: &Word) -> Result<Names, HbaProblem> {
    if !word.quoted && word.text.starts_with('+') {
        return Err(HbaProblem::Roles(word.text.clone()));
    }
    plain(word)
}

fn plain(word: &Word) -> Result<Names, HbaProblem> {
    if word.is("all") {
        return Ok(Names::All);
    }
    match Pattern::of(&word.text) {
        Some(pattern) => pattern.map(Names::Pattern),
        None => Ok(Names::One(word.text.as_str().into())),
    }
}

fn addresses(fields: &mut Fields<'_>) -> Result<Addresses, HbaProblem> {
    let word = fields.one("address")?;
    let keywords = [
        ("all", Addresses::All),
        ("samehost", Addresses::SameHost),
        ("samenet", Addresses::SameNet),
    ];
    if let Some((_, addresses)) = keywords.into_iter().find(|(keyword, _)| word.is(keyword)) {
        return Ok(addresses);
    }
    let (address, bits) = match word.text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (word.text.as_str(), None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(HbaProblem::HostName(word.text.clone()));
    };
    let network = match bits {
        Some(bits) => {
            Network::with_bits(address, bits).ok_or_else(|| HbaProblem::Cidr(word.text.clone()))?
        }
        None => Network::with_mask(address, &fields.one("IP mask")?.text)?,
    };
    Ok(Addresses::Within(network))
}

fn method(text: &str, kind: Kind) -> Result<Method, HbaProblem> {
    const ELSEWHERE: [&str; 6] = ["gss", "sspi", "pam", "bsd", "ldap", "radius"];
    let method = match text {
        "trust" => Method::Trust,
        "reject" => Method::Reject,
        "password" => Method::Plain,
        "md5" => Method::Md5,
        "scram-sha-256" => Method::ScramSha256,
        "passthrough" => Method::Passthrough,
        "cert" => Method::Cert,
        "oauth" => Method::OAuth,
        // As in Postgres, on Unix sockets the one stands for the other.
        "peer" => Method::Peer,
        "ident" if kind == Kind::Local => Method::Peer,
        "ident" => return Err(HbaProblem::MethodNotHere("ident")),
        other => {
            let known = ELSEWHERE.into_iter().find(|known| *known == other);
            return Err(known
                .map_or_else(|| HbaProblem::Method(other.to_owned()), HbaProblem::MethodNotHere));
        }
    };
    match (method, kind) {
        (Method::Peer, Kind::Host | Kind::HostSsl | Kind::HostNoSsl) => {
            Err(HbaProblem::MethodFor("peer", "local"))
        }
        (Method::Cert, Kind::Local | Kind::Host | Kind::HostNoSsl) => {
            Err(HbaProblem::MethodFor("cert", "hostssl"))
        }
        (_, _) => Ok(method),
    }
}

fn options(
    fields: Fields<'_>,
    of: (Kind, Method),
    known: &Surroundings<'_>,
) -> Result<Options, HbaProblem> {
    let mut options = Options::default();
    for word in fields.0.flatten() {
        let Some((name, value)) = word.text.split_once('=') else {
            return Err(HbaProblem::NoOption(word.text.clone()));
        };
        match (name, of) {
            ("map", (_, Method::Cert | Method::Peer | Method::OAuth)) => {
                let map = known.maps.get(value).ok_or_else(|| HbaProblem::NoMap(value.into()))?;
                options.map = Some(Arc::clone(map));
            }
            ("map", _) => {
                return Err(HbaProblem::OptionFor("map", "the methods cert, peer and oauth"));
            }
            ("clientcert", (Kind::HostSsl, _)) => {
                options.client_cert = Some(client_cert(value)?);
            }
            ("clientcert", _) => {
                return Err(HbaProblem::OptionFor("clientcert", "hostssl lines"));
            }
            ("issuer" | "scope" | "validator" | "delegate_ident_mapping", (_, Method::OAuth)) => {
                return Err(HbaProblem::OptionElsewhere(name.to_owned()));
            }
            (_, _) => return Err(HbaProblem::Option(name.to_owned())),
        }
    }
    Ok(options)
}

fn client_cert(value: &str) -> Result<ClientCert, HbaProblem> {
    match value {
        "verify-ca" => Ok(ClientCert::Issuer),
        "verify-full" => Ok(ClientCert::IssuerAndName),
        other => Err(HbaProblem::ClientCert(other.to_owned())),
    }
}
