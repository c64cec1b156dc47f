//! Who shows wrong cancel keys: guessing one of 2^32 must take longer than anybody has. Pure: time is
//! an argument. A key is wrong too where its client has just gone, so some are normal.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use super::logins::group;
use crate::net::address::ClientAddress;

/// Wrong keys that one address may show within [`WINDOW`]; after them it is not listened to for the
/// rest of it. At this rate, guessing takes ten years for an even chance.
const MOST_WRONG: u32 = 64;

/// For how long wrong keys are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Addresses that are remembered; those heard of last stay.
const MOST_ADDRESSES: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// Wrong keys by address; all that come through a Unix socket are one.
pub struct WrongKeys(Mutex<LruCache<Option<IpAddr>, Strikes>>);

#[derive(Clone, Copy)]
struct Strikes {
    since: Instant,
    count: u32,
}

impl Default for WrongKeys {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST_ADDRESSES)))
    }
}

impl WrongKeys {
    /// A wrong key came from there.
    pub fn note(&self, from: ClientAddress, now: Instant) {
        let mut known = self.0.lock();
        let strikes = known.get_or_insert_mut(ip(from), || Strikes { since: now, count: 0 });
        if now.saturating_duration_since(strikes.since) >= WINDOW {
            *strikes = Strikes { since: now, count: 0 };
        }
        strikes.count = strikes.count.saturating_add(1);
    }

    /// Were there too many, so that no key from there is looked at?
    #[must_use]
    pub fn is_over(&self, from: ClientAddress, now: Instant) -> bool {
        self.0.lock().peek(&ip(from)).is_some_and(|strikes| {
            strikes.count >= MOST_WRONG && now.saturating_duration_since(strikes.since) < WINDOW
        })
    }
}

fn ip(address: ClientAddress) -> Option<IpAddr> {
    match address {
        ClientAddress::Tcp(address) => Some(group(address.ip())),
        ClientAddress::Unix => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_one_network_guess_together() {
        let wrong = WrongKeys::default();
        let from =
            |last: u32| ClientAddress::Tcp(format!("[2001:db8:0:1::{last:x}]:1").parse().unwrap());
        let start = Instant::now();
        (0..MOST_WRONG).for_each(|last| wrong.note(from(last), start));
        assert!(wrong.is_over(from(MOST_WRONG), start));
        let other = ClientAddress::Tcp("[2001:db8:0:2::1]:1".parse().unwrap());
        assert!(!wrong.is_over(other, start));
    }

    #[test]
    fn who_guesses_is_not_listened_to_for_a_while_and_others_are() {
        let wrong = WrongKeys::default();
        let guesser = |port| ClientAddress::Tcp(([10, 0, 0, 1], port).into());
        let other = ClientAddress::Tcp(([10, 0, 0, 2], 1).into());
        let start = Instant::now();
        for number in 0..MOST_WRONG {
            assert!(!wrong.is_over(guesser(1), start), "{number}");
            wrong.note(guesser(number as u16), start);
        }
        assert!(wrong.is_over(guesser(1), start));
        assert!(!wrong.is_over(other, start) && !wrong.is_over(ClientAddress::Unix, start));
        assert!(!wrong.is_over(guesser(1), start + WINDOW));
        let mapped = ClientAddress::Tcp("[::ffff:10.0.0.1]:1".parse().unwrap());
        assert!(wrong.is_over(mapped, start));
        wrong.note(guesser(1), start + WINDOW);
        assert!(!wrong.is_over(guesser(1), start + WINDOW));
    }
}
