//! Addresses with a prefix length.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{IpAddress, IpCidr};

use crate::put;
use crate::text::{Put, Sink, parse_u32};

/// Address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Family {
    /// IPv4, 32 bits.
    V4,
    /// IPv6, 128 bits.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Width of an address in bits: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// An address and the prefix of its network, such as `10.1.2.3/24`.
///
/// Invariant: `prefix` is at most 32 (IPv4) or 128 (IPv6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cidr {
    addr: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// `None` if the prefix is longer than the address.
    #[must_use]
    pub const fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        if prefix <= Family::of(addr).bits() { Some(Cidr { addr, prefix }) } else { None }
    }

    /// The address as its own network (`/32` or `/128`).
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        Cidr { addr, prefix: Family::of(addr).bits() }
    }

    /// Parses `address/prefix`; leading zeros are refused (`010.0.0.1` is not octal here).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (addr, prefix) = text.split_once('/')?;
        if prefix.len() > 3 || (prefix.len() > 1 && prefix.starts_with('0')) {
            return None;
        }
        Cidr::new(parse_ip(addr)?, u8::try_from(parse_u32(prefix)?).ok()?)
    }

    /// The address, host bits and all.
    #[must_use]
    pub const fn addr(self) -> IpAddr {
        self.addr
    }

    /// The prefix length in bits.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether this is IPv6.
    #[must_use]
    pub const fn is_v6(self) -> bool {
        self.addr.is_ipv6()
    }

    /// Whether this is the default route of its family.
    #[must_use]
    pub fn is_default(self) -> bool {
        self.prefix == 0 && self.addr.is_unspecified()
    }

    fn wire(self) -> IpCidr {
        // The prefix was checked by `new`; smoltcp asserts the same bound.
        IpCidr::new(IpAddress::from(self.addr), self.prefix.min(Family::of(self.addr).bits()))
    }

    /// The network: host bits cleared.
    #[must_use]
    pub fn network(self) -> Cidr {
        let addr = match self.wire() {
            IpCidr::Ipv4(v4) => IpAddr::V4(v4.network().address()),
            IpCidr::Ipv6(v6) => {
                let mask = v6_mask(self.prefix);
                IpAddr::V6(Ipv6Addr::from(u128::from(v6.address()) & mask))
            }
        };
        Cidr { addr, prefix: self.prefix }
    }

    /// The IPv4 broadcast address, where the network has one (prefix at most 30).
    #[must_use]
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match self.wire() {
            IpCidr::Ipv4(v4) => v4.broadcast(),
            IpCidr::Ipv6(_) => None,
        }
    }

    /// Whether `addr` lies in this network.
    #[must_use]
    pub fn contains(self, addr: IpAddr) -> bool {
        self.is_v6() == addr.is_ipv6() && self.wire().contains_addr(&IpAddress::from(addr))
    }

    /// The first address after the network address, the usual gateway.
    #[must_use]
    pub fn first_host(self) -> IpAddr {
        match self.network().addr {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(u32::from(v4).wrapping_add(1))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6).wrapping_add(1))),
        }
    }
}

fn v6_mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128u32.saturating_sub(u32::from(prefix))).unwrap_or(0)
}

impl Put for Cidr {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, self.addr, "/", self.prefix);
    }
}

/// Parses an address; leading zeros in IPv4 are refused, IPv4-mapped IPv6 is IPv4 as in Go.
#[must_use]
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>().ok()? {
        IpAddr::V6(v6) => Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)),
        v4 => Some(v4),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn parses_strictly() {
        assert!(Cidr::parse("10.1.2.3/24").is_some());
        assert!(Cidr::parse("fd00::1/64").is_some());
        for bad in
            ["", "10.1.2.3", "10.1.2.3/33", "010.1.2.3/24", "10.1.2.3/", "10.1.2.3/024", "fd00::/129", "10.1.2.3/-1"]
        {
            assert!(Cidr::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn arithmetic() {
        let net = Cidr::parse("10.1.2.3/20").unwrap();
        assert_eq!(net.network(), Cidr::parse("10.1.0.0/20").unwrap());
        assert_eq!(net.broadcast(), Some(Ipv4Addr::new(10, 1, 15, 255)));
        assert_eq!(net.first_host(), parse_ip("10.1.0.1").unwrap());
        assert!(net.contains(parse_ip("10.1.15.1").unwrap()));
        assert!(!net.contains(parse_ip("10.1.16.1").unwrap()));
        assert!(!net.contains(parse_ip("fd00::1").unwrap()));
        let v6 = Cidr::parse("fd00:1:2:3:4::5/64").unwrap();
        assert_eq!(v6.network(), Cidr::parse("fd00:1:2:3::/64").unwrap());
        assert_eq!(Cidr::parse("::1/0").unwrap().network(), Cidr::parse("::/0").unwrap());
        assert!(v6.contains(parse_ip("fd00:1:2:3:ffff::").unwrap()));
    }
}
