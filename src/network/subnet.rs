//! IPv4 subnets, and the choice of one that nobody uses.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;

/// Leaves room for more than the 1023 ports a bridge can have, so that addresses rest before they are used again.
const PREFIX: u8 = 20;

/// A range of IPv4 addresses: `10.77.0.0/20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subnet {
    /// The first address of the range.
    pub(crate) address: Ipv4Addr,
    /// How many leading bits are fixed, 0 to 32.
    pub(crate) prefix: u8,
}

impl Subnet {
    /// The subnet of `prefix` bits around `address`.
    pub(crate) fn new(address: Ipv4Addr, prefix: u8) -> Subnet {
        let prefix = prefix.min(32);
        Subnet { address: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix }
    }

    /// Whether what was read from disk is a subnet that containers can live in.
    pub(crate) fn is_usable(&self) -> bool {
        (8..=30).contains(&self.prefix) && *self == Subnet::new(self.address, self.prefix)
    }

    /// The fixed bits as an address: `255.255.240.0`.
    pub(crate) fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }

    /// Whether `address` lies in it.
    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }

    /// Whether the two have an address in common.
    pub(crate) fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// The first address for a host: the gateway's.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | 1)
    }

    /// How many addresses are for containers: the lower three quarters, but for the network's and the gateway's.
    pub(crate) fn capacity(&self) -> u32 {
        self.size() / 4 * 3 - 2
    }

    /// The container address number `index`, 0 is the first after the gateway; wraps around at the capacity.
    pub(crate) fn host(&self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() + 2 + index % self.capacity())
    }

    /// How many addresses are for services: the upper quarter, but for the broadcast address.
    pub(crate) fn service_capacity(&self) -> u32 {
        self.size() / 4 - 1
    }

    /// The service address number `index`, which is below the capacity.
    pub(crate) fn service(&self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() + self.size() / 4 * 3 + index)
    }

    /// The number of a service address.
    pub(crate) fn service_index(&self, address: Ipv4Addr) -> Option<u32> {
        let index = address.to_bits().checked_sub(self.service(0).to_bits())?;
        (index < self.service_capacity()).then_some(index)
    }

    /// Whether `address` can be a container's.
    pub(crate) fn is_container(&self, address: Ipv4Addr) -> bool {
        let first = self.host(0).to_bits();
        (first..first + self.capacity()).contains(&address.to_bits())
    }

    fn size(&self) -> u32 {
        1u32 << (32 - u32::from(self.prefix).clamp(8, 30))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32u32.saturating_sub(u32::from(prefix))).unwrap_or(0)
}

/// A private subnet (RFC 1918) that overlaps none of `taken`; the search begins at a place that depends on `network`, so
/// that two networks made at the same time do not meet.
pub(crate) fn free_subnet(taken: &[Subnet], network: u32) -> Result<Subnet> {
    // A route that covers a quarter of all addresses is a default route in disguise, as VPN clients set it.
    let taken: Vec<&Subnet> = taken.iter().filter(|subnet| subnet.prefix > 2).collect();
    let middle = (0..256u32).map(|index| ten(77 + index + network, 0));
    let rest = (0..256u32).flat_map(|high| (1..16u32).map(move |low| ten(high, low << 4)));
    let twelve = (0..256u32).map(|index| block(0xac10_0000, index + network, 256));
    let sixteen = (0..16u32).map(|index| block(0xc0a8_0000, index + network, 16));
    middle
        .chain(rest)
        .chain(twelve)
        .chain(sixteen)
        .find(|candidate| !taken.iter().any(|subnet| subnet.overlaps(candidate)))
        .ok_or_else(|| {
            Error::new(crate::ErrorKind::ResourceExhausted, "no private IPv4 subnet is free for the container network")
                .hint("the host's routes cover 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16 altogether")
        })
}

fn ten(second: u32, third: u32) -> Subnet {
    Subnet::new(Ipv4Addr::from_bits(0x0a00_0000 | (second % 256) << 16 | third << 8), PREFIX)
}

fn block(base: u32, index: u32, count: u32) -> Subnet {
    Subnet::new(Ipv4Addr::from_bits(base + ((index % count) << (32 - u32::from(PREFIX)))), PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        let (address, prefix) = text.split_once('/').unwrap();
        Subnet::new(address.parse().unwrap(), prefix.parse().unwrap())
    }

    #[test]
    fn arithmetic_holds_at_the_edges() {
        let all = subnet("0.0.0.0/0");
        assert!(all.contains(Ipv4Addr::BROADCAST) && all.overlaps(&subnet("10.0.0.0/8")));
        let one = subnet("10.77.3.9/32");
        assert!(one.contains("10.77.3.9".parse().unwrap()) && !one.contains("10.77.3.8".parse().unwrap()));
        let range = subnet("10.77.0.0/20");
        assert_eq!((range.gateway(), range.host(0)), ("10.77.0.1".parse().unwrap(), "10.77.0.2".parse().unwrap()));
        assert_eq!(range.capacity(), 3070);
        assert_eq!(range.host(3069), "10.77.11.255".parse::<Ipv4Addr>().unwrap());
        assert_eq!(range.host(3070), range.host(0));
        assert_eq!((range.service_capacity(), range.service(0)), (1023, "10.77.12.0".parse().unwrap()));
        assert_eq!(range.service(1022), "10.77.15.254".parse::<Ipv4Addr>().unwrap());
        assert_eq!(range.service_index(range.service(1022)), Some(1022));
        assert_eq!(range.service_index("10.77.15.255".parse().unwrap()), None);
        assert_eq!(range.service_index(range.host(3069)), None);
        assert!(range.is_container(range.host(3069)) && !range.is_container(range.service(0)));
        assert!(!range.is_container(range.gateway()));
        assert_eq!(range.mask(), "255.255.240.0".parse::<Ipv4Addr>().unwrap());
    }

    #[test]
    fn the_choice_avoids_what_the_host_routes() {
        assert_eq!(free_subnet(&[], 0).unwrap(), subnet("10.77.0.0/20"));
        assert_eq!(free_subnet(&[subnet("10.77.4.0/24")], 0).unwrap(), subnet("10.78.0.0/20"));
        assert_eq!(free_subnet(&[subnet("10.0.0.0/8")], 0).unwrap(), subnet("172.16.0.0/20"));
        let narrow = [subnet("10.0.0.0/8"), subnet("172.16.0.0/12")];
        assert_eq!(free_subnet(&narrow, 3).unwrap(), subnet("192.168.48.0/20"));
        let halves = [subnet("0.0.0.0/1"), subnet("128.0.0.0/1"), subnet("0.0.0.0/0")];
        assert!(free_subnet(&halves, 0).is_ok());
        let full = [subnet("10.0.0.0/8"), subnet("172.16.0.0/12"), subnet("192.168.0.0/16")];
        assert_eq!(free_subnet(&full, 0).unwrap_err().kind(), crate::ErrorKind::ResourceExhausted);
    }

    #[test]
    fn networks_made_together_do_not_meet() {
        let first: Vec<Subnet> = (0..16).map(|network| free_subnet(&[], network).unwrap()).collect();
        for (index, one) in first.iter().enumerate() {
            assert!(first[index + 1..].iter().all(|other| !one.overlaps(other)));
        }
    }
}
