//! One range of addresses inside one subnet.

use core::net::IpAddr;

use super::address::{from_number, to_number};
use crate::net::Family;
use crate::put;
use crate::text::{Put, Sink};

/// A range as a configuration states it, with everything optional.
///
/// `None` means that the key is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RangeSpec {
    /// `subnet`: network address and prefix length in bits. Required.
    pub subnet: Option<(IpAddr, u8)>,
    /// `rangeStart`: the first address to hand out, inclusive.
    pub start: Option<IpAddr>,
    /// `rangeEnd`: the last address to hand out, inclusive.
    pub end: Option<IpAddr>,
    /// `gateway`: never handed out; need not lie inside the subnet.
    pub gateway: Option<IpAddr>,
}

/// A canonical range: the subnet has no host bits, `start <= end`, both inside
/// the subnet, every default filled in. It cannot be made otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Range {
    family: Family,
    network: u128,
    prefix: u8,
    start: u128,
    end: u128,
    gateway: IpAddr,
}

/// Why a range or a range set is refused. Its text
/// ([`Put`]) is the reference plugin's phrase where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RangeError {
    /// No `subnet`.
    SubnetMissing,
    /// Prefix over the width less 2, so that no address is left beside network,
    /// gateway and broadcast.
    TooSmall {
        /// The subnet's address as given.
        address: IpAddr,
        /// The prefix as given.
        prefix: u8,
    },
    /// An IPv4-mapped IPv6 subnet: an IPv4 address with an IPv6 mask.
    FamilyMismatch,
    /// The subnet's address is not the network's address.
    HostBits {
        /// The network address that the prefix makes of it.
        network: IpAddr,
        /// The prefix as given.
        prefix: u8,
    },
    /// `rangeStart` outside the subnet, or after a given `rangeEnd`.
    StartOutside {
        /// `rangeStart` as given.
        start: IpAddr,
        /// The network address.
        network: IpAddr,
        /// The network's prefix.
        prefix: u8,
    },
    /// `rangeEnd` outside the subnet, or before the start.
    EndOutside {
        /// `rangeEnd` as given.
        end: IpAddr,
        /// The network address.
        network: IpAddr,
        /// The network's prefix.
        prefix: u8,
    },
    /// `rangeStart` is the broadcast address and `rangeEnd` is absent, so the
    /// range would end before it starts. The reference plugin accepts this and
    /// then leaves the subnet; here it is an error.
    StartAfterEnd {
        /// `rangeStart` as given.
        start: IpAddr,
        /// The end by default.
        end: IpAddr,
    },
    /// A range set without ranges.
    EmptySet,
    /// IPv4 and IPv6 in one range set.
    MixedFamilies,
    /// Two ranges of one set share an address.
    Overlap {
        /// Start and end of the earlier range.
        first: (IpAddr, IpAddr),
        /// Start and end of the later range.
        second: (IpAddr, IpAddr),
    },
}

impl Range {
    /// Makes a range canonical.
    ///
    /// Defaults: gateway and start are the network address plus one; the end is
    /// the last address, for IPv4 the one before the broadcast address. A
    /// gateway is not required to lie inside the subnet.
    ///
    /// # Errors
    /// The first rule that is broken, in the reference plugin's order; never
    /// one of the range set's variants.
    pub fn new(spec: &RangeSpec) -> Result<Self, RangeError> {
        let (address, prefix) = spec.subnet.ok_or(RangeError::SubnetMissing)?;
        // Measured before the family check: the mask's width decides here.
        let mask_bits = if address.is_ipv4() { 32 } else { 128u8 };
        if prefix > mask_bits.saturating_sub(2) {
            return Err(RangeError::TooSmall { address, prefix });
        }
        let (family, number) = to_number(address);
        if family.bits() != mask_bits {
            return Err(RangeError::FamilyMismatch);
        }
        let host_mask = family.host_mask(prefix);
        let network = number & !host_mask;
        if network != number {
            return Err(RangeError::HostBits { network: from_number(family, network), prefix });
        }
        // A prefix of at most width - 2 leaves room for both additions below.
        let next = network.wrapping_add(1);
        let last = network | host_mask;
        let shown = from_number(family, network);

        let given_end = spec.end.map(to_number);
        let start = match spec.start {
            None => next,
            Some(start) => {
                let ok = inside(family, network, last, to_number(start)).filter(|n| {
                    // The families may differ: then the end is refused below.
                    given_end.is_none_or(|(f, end)| f != family || *n <= end)
                });
                ok.ok_or(RangeError::StartOutside { start, network: shown, prefix })?
            }
        };
        let end = match spec.end {
            None => match family {
                Family::V4 => last.wrapping_sub(1),
                Family::V6 => last,
            },
            Some(end) => inside(family, network, last, to_number(end))
                .filter(|n| *n >= start)
                .ok_or(RangeError::EndOutside { end, network: shown, prefix })?,
        };
        if start > end {
            return Err(RangeError::StartAfterEnd { start: from_number(family, start), end: from_number(family, end) });
        }
        let gateway = spec.gateway.map_or_else(|| from_number(family, next), |g| g.to_canonical());
        Ok(Self { family, network, prefix, start, end, gateway })
    }

    /// The family of every address of the range.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Network address and prefix length.
    #[must_use]
    pub fn subnet(&self) -> (IpAddr, u8) {
        (from_number(self.family, self.network), self.prefix)
    }

    /// The subnet's prefix length in bits, which is also the result's.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The first address, inclusive.
    #[must_use]
    pub fn start(&self) -> IpAddr {
        from_number(self.family, self.start)
    }

    /// The last address, inclusive.
    #[must_use]
    pub fn end(&self) -> IpAddr {
        from_number(self.family, self.end)
    }

    /// The gateway: never handed out from this range.
    #[must_use]
    pub const fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Whether the address lies between start and end, both included.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.offset(address).is_some()
    }

    /// Whether the two ranges share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family == other.family && self.start <= other.end && other.start <= self.end
    }

    /// How many addresses, the gateway counted. Saturates for the one range of
    /// 2^128 addresses (`::/0` with start `::`), whose very last address is
    /// then never handed out.
    #[must_use]
    pub const fn len(&self) -> u128 {
        self.end.wrapping_sub(self.start).saturating_add(1)
    }

    /// Never true: a range has at least one address.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Distance of an address from the start, if it is in the range.
    pub(super) fn offset(&self, address: IpAddr) -> Option<u128> {
        inside(self.family, self.start, self.end, to_number(address)).map(|number| number.wrapping_sub(self.start))
    }

    /// The address at a distance from the start, if it is in the range.
    pub(super) fn at(&self, offset: u128) -> Option<IpAddr> {
        let number = self.start.checked_add(offset).filter(|n| *n <= self.end)?;
        Some(from_number(self.family, number))
    }
}

/// The number of an address that has this family and lies in `first..=last`.
fn inside(family: Family, first: u128, last: u128, (f, number): (Family, u128)) -> Option<u128> {
    (f == family && number >= first && number <= last).then_some(number)
}

impl Put for Range {
    /// `START-END`, as the reference plugin names a range.
    fn put(&self, out: &mut dyn Sink) {
        put!(out, self.start(), "-", self.end());
    }
}

impl Put for RangeError {
    /// The reference plugin's phrase where it has one.
    fn put(&self, out: &mut dyn Sink) {
        match *self {
            Self::SubnetMissing => put!(out, "subnet is required"),
            Self::TooSmall { address, prefix } => {
                put!(out, "Network ", address, "/", prefix, " too small to allocate from")
            }
            Self::FamilyMismatch => put!(out, "IPNet IP and Mask version mismatch"),
            Self::HostBits { network, prefix } => {
                put!(
                    out,
                    "Network has host bits set. For a subnet mask of length ",
                    prefix,
                    " the network address is ",
                    network
                );
            }
            Self::StartOutside { start, network, prefix } => {
                put!(out, "RangeStart ", start, " not in network ", network, "/", prefix);
            }
            Self::EndOutside { end, network, prefix } => {
                put!(out, "RangeEnd ", end, " not in network ", network, "/", prefix)
            }
            Self::StartAfterEnd { start, end } => put!(out, "RangeStart ", start, " is after the range's end ", end),
            Self::EmptySet => put!(out, "empty range set"),
            Self::MixedFamilies => put!(out, "mixed address families"),
            Self::Overlap { first, second } => {
                put!(out, "subnets ", first.0, "-", first.1, " and ", second.0, "-", second.1, " overlap");
            }
        }
    }
}
