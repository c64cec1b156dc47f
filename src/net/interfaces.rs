//! The machine's own addresses, and the name of a system user: what the rules of `pg_hba.conf` ask the system for.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use nix::unistd::{Uid, User};

use crate::config::hba::Network;

/// The addresses of every network interface; none if the system does not tell.
#[must_use]
pub fn networks() -> Vec<Network> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let network = |interface: nix::ifaddrs::InterfaceAddress| {
        let (address, mask) = (ip(interface.address?)?, ip(interface.netmask?)?);
        Some(Network { address, mask })
    };
    interfaces.filter_map(network).collect()
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
}

/// The name of a system user; `None`: it has none. It may be asked of a directory: do not call it on a worker.
///
/// # Errors
/// When the system cannot be asked.
pub fn user_name(uid: u32) -> io::Result<Option<String>> {
    let user = User::from_uid(Uid::from_raw(uid)).map_err(io::Error::from)?;
    Ok(user.map(|user| user.name))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn loopback_is_one_of_the_machines_networks() {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert!(networks().iter().any(|network| network.address == loopback));
        assert!(networks().iter().any(|network| network.contains([127, 9, 9, 9].into())));
        assert!(!networks().iter().any(|network| network.address == IpAddr::from([127, 9, 9, 9])));
    }

    #[test]
    fn root_has_a_name_and_not_everybody_has() {
        assert_eq!(user_name(0).unwrap().as_deref(), Some("root"));
        assert_eq!(user_name(u32::MAX - 7).unwrap(), None);
    }
}
