//! Ranges of IP addresses: an address with a mask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::problem::HbaProblem;

/// An address, and which of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// An address within it.
    pub address: IpAddr,
    /// The mask, of the same family.
    pub mask: IpAddr,
}

impl Network {
    /// Is the address within it? One of the other family is not.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, self.mask, other) {
            (IpAddr::V4(own), IpAddr::V4(mask), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()) & mask.to_bits() == 0
            }
            (IpAddr::V6(own), IpAddr::V6(mask), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()) & mask.to_bits() == 0
            }
            (_, _, _) => false,
        }
    }

    /// With as many leading bits as `text` says, a number from 0 to 32 or 128.
    pub(super) fn with_bits(address: IpAddr, text: &str) -> Option<Self> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u32 = text.parse().ok().filter(|_| is_number)?;
        let mask = match address {
            IpAddr::V4(_) if bits <= 32 => {
                Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into()
            }
            IpAddr::V6(_) if bits <= 128 => {
                Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into()
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Self { address, mask })
    }

    /// With the mask that `text` writes out.
    pub(super) fn with_mask(address: IpAddr, text: &str) -> Result<Self, HbaProblem> {
        let mask: Option<IpAddr> = text.parse().ok();
        let mask = mask.filter(|mask| mask.is_ipv4() == address.is_ipv4());
        let mask = mask.ok_or_else(|| HbaProblem::Mask(text.to_owned()))?;
        Ok(Self { address, mask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn as_many_bits_count_as_the_mask_says() {
        for (address, bits, within, without) in [
            ("10.1.2.3", "8", "10.255.0.1", "11.1.2.3"),
            ("10.1.2.3", "32", "10.1.2.3", "10.1.2.2"),
            ("0.0.0.0", "0", "255.255.255.255", "::1"),
            ("fd00::1", "64", "fd00::ffff", "fd00:0:0:1::1"),
            ("::1", "128", "::1", "::2"),
            ("::", "0", "2001:db8::1", "127.0.0.1"),
        ] {
            let network = Network::with_bits(ip(address), bits).unwrap();
            assert!(network.contains(ip(within)), "{address}/{bits} {within}");
            assert!(!network.contains(ip(without)), "{address}/{bits} {without}");
        }
        for (address, bits) in [("10.0.0.0", "33"), ("::", "129"), ("::", "-1"), ("::", "+1")] {
            assert_eq!(Network::with_bits(ip(address), bits), None);
        }
    }

    #[test]
    fn a_mask_may_have_holes_but_no_other_family() {
        let network = Network::with_mask(ip("10.0.0.1"), "255.0.0.255").unwrap();
        assert!(network.contains(ip("10.9.9.1")) && !network.contains(ip("10.0.0.2")));
        for mask in ["255", "ffff::", "255.255.255.255/8"] {
            let fault = HbaProblem::Mask(mask.to_owned());
            assert_eq!(Network::with_mask(ip("10.0.0.1"), mask), Err(fault));
        }
    }
}
