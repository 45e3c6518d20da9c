//! Addresses as numbers, and their text.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::Family;

impl Family {
    /// All bits below a prefix of `prefix` bits. A prefix over the width gives 0.
    pub(super) const fn host_mask(self, prefix: u8) -> u128 {
        let host_bits = self.bits().saturating_sub(prefix) as u32;
        match u128::MAX.checked_shl(host_bits) {
            Some(network) => !network,
            // Only a shift by 128 fails: every bit is a host bit.
            None => u128::MAX,
        }
    }
}

/// The address as a number, IPv4-mapped IPv6 as IPv4 (as the reference plugin
/// does with every address of a configuration).
pub(super) const fn to_number(address: IpAddr) -> (Family, u128) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (Family::V4, v4.to_bits() as u128),
        IpAddr::V6(v6) => (Family::V6, v6.to_bits()),
    }
}

/// The reverse of [`to_number`]. Bits above the family's width are dropped.
pub(super) fn from_number(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => {
            let low = u32::try_from(number & 0xffff_ffff).unwrap_or_default();
            IpAddr::V4(Ipv4Addr::from_bits(low))
        }
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}
