//! How many connections of one address are not logged in yet: more than a limit of them are refused before they cost
//! anything, so that a flood, or clients that say nothing, take no descriptors from the others. Pure: time is an argument.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::net::address::ClientAddress;

/// Connections over `max_client_conn` and `max_logins_per_address` that may be there, so that others log in and a cancel
/// request gets through when every place is taken. Within what `descriptors` sets aside.
pub const ROOM: usize = 100;

/// Refusals are told of in the log at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Of an IPv6 address only the network counts: who has one address has all of a /64.
const NETWORK: u128 = !0 << 64;

/// Connections that are not logged in, by address.
#[derive(Debug, Default)]
pub struct Logins {
    by_address: Mutex<HashMap<IpAddr, u32>>,
    refused: AtomicU64,
    told: Mutex<Told>,
}

/// What the log has been told of.
#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    refused: u64,
}

/// A connection that is not logged in; dropped when it is, or ends.
#[derive(Debug)]
pub struct LoginPlace {
    logins: Arc<Logins>,
    address: IpAddr,
}

/// The address has as many as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

impl Logins {
    /// A connection comes from there. Those through a Unix socket are not counted: who may use it is the folder's rule.
    ///
    /// # Errors
    /// When `limit` connections of the address are there already.
    pub fn take(
        self: &Arc<Self>,
        from: ClientAddress,
        limit: u32,
    ) -> Result<Option<LoginPlace>, Crowded> {
        let ClientAddress::Tcp(from) = from else { return Ok(None) };
        let address = group(from.ip());
        let mut by_address = self.by_address.lock();
        let count = by_address.get(&address).copied().unwrap_or(0);
        if count >= limit {
            return Err(Crowded);
        }
        by_address.insert(address, count + 1);
        Ok(Some(LoginPlace { logins: Arc::clone(self), address }))
    }

    /// A connection was refused. Gives how many were since the log was told last, if it is time to tell it again.
    pub fn note_refused(&self, now: Instant) -> Option<u64> {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock();
        if told.last.is_some_and(|last| now.saturating_duration_since(last) < TOLD_EVERY) {
            return None;
        }
        let since = refused - told.refused;
        *told = Told { last: Some(now), refused };
        Some(since)
    }

    /// Connections that were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for LoginPlace {
    fn drop(&mut self) {
        let mut by_address = self.logins.by_address.lock();
        match by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(by_address.remove(&self.address)),
        }
    }
}

/// Whom an address is counted with.
pub(super) fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> ClientAddress {
        ClientAddress::Tcp((address.parse::<IpAddr>().unwrap(), 1).into())
    }

    #[test]
    fn an_address_has_its_limit_and_others_have_theirs() {
        let logins = Arc::new(Logins::default());
        let places: Vec<_> =
            (0..2).map(|_| logins.take(from("10.0.0.1"), 2).unwrap().unwrap()).collect();
        assert_eq!(logins.take(from("10.0.0.1"), 2).unwrap_err(), Crowded);
        assert_eq!(logins.take(from("::ffff:10.0.0.1"), 2).unwrap_err(), Crowded);
        assert!(logins.take(from("10.0.0.2"), 2).is_ok());
        assert!(logins.take(ClientAddress::Unix, 0).unwrap().is_none());
        drop(places);
        assert!(logins.take(from("10.0.0.1"), 2).is_ok());
        assert!(logins.by_address.lock().is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn the_addresses_of_one_network_are_one() {
        let logins = Arc::new(Logins::default());
        let _place = logins.take(from("2001:db8:0:1::1"), 1).unwrap();
        assert_eq!(logins.take(from("2001:db8:0:1:ffff::2"), 1).unwrap_err(), Crowded);
        assert!(logins.take(from("2001:db8:0:2::1"), 1).is_ok());
    }

    #[test]
    fn refusals_are_counted_and_told_of_now_and_then() {
        let logins = Logins::default();
        let start = Instant::now();
        assert_eq!(logins.note_refused(start), Some(1));
        for _ in 0..41 {
            assert_eq!(logins.note_refused(start + TOLD_EVERY / 2), None);
        }
        assert_eq!(logins.note_refused(start + TOLD_EVERY), Some(42));
        assert_eq!(logins.refused(), 43);
    }
}
