//! Who may use the API: tokens compared with their hashes, and addresses that show wrong ones.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::{Config, Role};

/// Wrong tokens that one address may show within [`WINDOW`]; more of them are neither counted nor logged for the rest of
/// it. Nobody guesses 256 bits: this keeps the log for others. One that is right is let in all the same.
const MOST_WRONG: u32 = 10;

/// For how long wrong tokens are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered; those heard of last stay.
const MOST_ADDRESSES: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Its address.
    pub(super) ip: IpAddr,
    /// Who can reach the listener that it came through.
    pub(super) reach: Reach,
}

/// Who can reach a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Users of this machine.
    Machine,
    /// Others too.
    Network,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Somebody on this machine, where there are no tokens: may do everything.
    Local,
    /// The holder of a token.
    Holder {
        /// The token's name in the configuration.
        name: String,
        /// What it is good for.
        role: Role,
    },
    /// Nobody that is known: sees what probes must.
    Stranger,
}

/// May whoever asks see values that clients sent? Constants in a plan are such, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sight {
    /// No.
    #[default]
    NoValues,
    /// Yes: it may do everything else, too.
    Values,
}

impl<S: Sync> FromRequestParts<S> for Sight {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Caller>();
        let may = caller.is_some_and(|caller| caller.may(Role::Admin));
        Ok(if may { Self::Values } else { Self::NoValues })
    }
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It shows no token.
    NoToken,
    /// It shows one that is not there.
    WrongToken,
}

/// Wrong tokens by address.
pub(super) struct WrongTokens(Mutex<LruCache<IpAddr, Strikes>>);

#[derive(Clone, Copy)]
struct Strikes {
    since: Instant,
    count: u32,
}

impl Caller {
    /// Who asks with these headers.
    pub(super) fn of(peer: Peer, headers: &HeaderMap, config: &Config) -> Result<Self, Refusal> {
        if config.tokens.is_empty() && peer.reach == Reach::Machine {
            return Ok(Self::Local);
        }
        let shown = shown(headers).ok_or(Refusal::NoToken)?;
        let hash = Sha256::digest(shown.as_bytes());
        let mut holder = None;
        // All are compared whatever is found: how long it takes says nothing.
        for (name, token) in &config.tokens {
            let is_it = token.hash.map_or(Choice::from(0), |known| known.0.ct_eq(hash.as_slice()));
            if bool::from(is_it) {
                holder = Some(Self::Holder { name: name.clone(), role: token.role });
            }
        }
        holder.ok_or(Refusal::WrongToken)
    }

    /// May it do what this role may?
    pub(super) fn may(&self, needed: Role) -> bool {
        match self {
            Self::Local => true,
            Self::Holder { role, .. } => *role >= needed,
            Self::Stranger => false,
        }
    }

    /// As the log names it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Local => "somebody on this machine",
            Self::Holder { name, .. } => name,
            Self::Stranger => "a stranger",
        }
    }
}

/// The token of a request: as a bearer's (RFC 6750), or as the password of anybody, which is what browsers ask for
/// (RFC 7617).
fn shown(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = given.split_once(' ')?;
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        rest.trim().to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
        pair.split_once(':')?.1.to_owned()
    } else {
        return None;
    };
    (!token.is_empty()).then_some(token)
}

impl Default for WrongTokens {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST_ADDRESSES)))
    }
}

impl WrongTokens {
    /// A wrong token came from there; gives how many did so far.
    pub(super) fn note(&self, from: IpAddr, now: Instant) -> u32 {
        let mut known = self.0.lock();
        let strikes = known.get_or_insert_mut(network(from), || Strikes { since: now, count: 0 });
        if now.saturating_duration_since(strikes.since) >= WINDOW {
            *strikes = Strikes { since: now, count: 0 };
        }
        strikes.count = strikes.count.saturating_add(1);
        strikes.count
    }

    /// Were there too many, so that another from there is not worth a line?
    pub(super) fn is_over(&self, from: IpAddr, now: Instant) -> bool {
        self.0.lock().peek(&network(from)).is_some_and(|strikes| {
            strikes.count >= MOST_WRONG && now.saturating_duration_since(strikes.since) < WINDOW
        })
    }
}

/// Whoever has one address of IPv6 has the 2^64 beside it.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn config(tokens: &[(&str, &str, &str)]) -> Config {
        let mut settings = BTreeMap::new();
        for (name, role, token) in tokens {
            let hash: String =
                Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
            settings.insert(format!("POOLER__TOKENS__{name}__HASH"), format!("sha256:{hash}"));
            settings.insert(format!("POOLER__TOKENS__{name}__ROLE"), (*role).to_owned());
        }
        Config::load(None, &settings).unwrap()
    }

    fn asks(reach: Reach, authorization: &str, config: &Config) -> Result<Caller, Refusal> {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        }
        Caller::of(Peer { ip: [127, 0, 0, 1].into(), reach }, &headers, config)
    }

    #[test]
    fn without_tokens_only_this_machine_is_let_in() {
        let config = Config::default();
        assert_eq!(asks(Reach::Machine, "", &config), Ok(Caller::Local));
        assert_eq!(asks(Reach::Network, "", &config), Err(Refusal::NoToken));
        assert_eq!(asks(Reach::Network, "Bearer x", &config), Err(Refusal::WrongToken));
    }

    #[test]
    fn a_token_says_who_asks_in_both_schemes() {
        let config = config(&[("SCRAPER", "metrics", "aaaa"), ("ANN", "admin", "bbbb")]);
        let ann = Ok(Caller::Holder { name: "ann".to_owned(), role: Role::Admin });
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for right in ["Bearer bbbb", "bearer  bbbb", &basic("anybody:bbbb"), &basic(":bbbb")] {
            assert_eq!(asks(Reach::Machine, right, &config), ann, "{right}");
        }
        for wrong in ["Bearer cccc", "Bearer bbb", &basic("bbbb:x")] {
            let asked = asks(Reach::Machine, wrong, &config);
            assert_eq!(asked, Err(Refusal::WrongToken), "{wrong}");
        }
        for none in ["", "Bearer ", "bbbb", "Basic !!", &basic("bbbb"), "Digest bbbb"] {
            assert_eq!(asks(Reach::Machine, none, &config), Err(Refusal::NoToken), "{none}");
        }
    }

    #[test]
    fn roles_grow() {
        let holder = |role| Caller::Holder { name: "x".to_owned(), role };
        assert!(holder(Role::Admin).may(Role::Metrics) && holder(Role::View).may(Role::View));
        assert!(!holder(Role::Metrics).may(Role::View) && !holder(Role::View).may(Role::Admin));
        assert!(Caller::Local.may(Role::Admin) && !Caller::Stranger.may(Role::Metrics));
    }

    #[test]
    fn who_guesses_is_not_noted_for_a_while_and_others_are() {
        let wrong = WrongTokens::default();
        let now = Instant::now();
        let [one, other] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        for count in 1..=MOST_WRONG {
            assert!(!wrong.is_over(one, now));
            assert_eq!(wrong.note(one, now), count);
        }
        assert!(wrong.is_over(one, now) && !wrong.is_over(other, now));
        assert!(wrong.is_over("::ffff:10.0.0.1".parse().unwrap(), now));
        assert!(!wrong.is_over(one, now + WINDOW));
        assert_eq!(wrong.note(one, now + WINDOW), 1);
        for _ in 0..MOST_WRONG {
            wrong.note("2001:db8::1".parse().unwrap(), now);
        }
        assert!(wrong.is_over("2001:db8::2".parse().unwrap(), now));
        assert!(!wrong.is_over("2001:db8:0:1::1".parse().unwrap(), now));
    }
}
