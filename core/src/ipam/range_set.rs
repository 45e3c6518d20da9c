//! A set of ranges: its numbering and its round-robin order.

use core::net::IpAddr;

use super::range::{Range, RangeError};
use crate::net::Family;
use crate::put;
use crate::text::{Put, Sink};

/// The ranges that one address is taken from: at least one, all of one family,
/// none sharing an address. Borrowed, so the caller chooses the capacity.
///
/// The set numbers its addresses: position 0 is the start of the first range,
/// and the next range begins where the one before ends. Gateways have a
/// position too, but are never handed out from their own range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RangeSet<'r> {
    ranges: &'r [Range],
    len: u128,
}

/// An address that may be handed out, with what the result says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Candidate {
    /// The address.
    pub address: IpAddr,
    /// The prefix length of its subnet, in bits.
    pub prefix: u8,
    /// The gateway of its range.
    pub gateway: IpAddr,
    /// Its position in the set.
    pub position: u128,
}

/// Why an address was not given. Its text ([`Put`]) is the reference plugin's phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AllocationError<'r> {
    /// The requested address is in no range of the set.
    NotInSet(IpAddr, RangeSet<'r>),
    /// The requested address is the gateway of its range.
    IsGateway(IpAddr),
    /// The requested address is taken.
    NotAvailable(IpAddr, RangeSet<'r>),
    /// Every address of the set is taken.
    Exhausted(RangeSet<'r>),
}

impl<'r> RangeSet<'r> {
    /// Checks the ranges against each other.
    ///
    /// # Errors
    /// [`RangeError::EmptySet`], [`RangeError::MixedFamilies`] or
    /// [`RangeError::Overlap`].
    pub fn new(ranges: &'r [Range]) -> Result<Self, RangeError> {
        let first = ranges.first().ok_or(RangeError::EmptySet)?;
        if ranges.iter().any(|r| r.family() != first.family()) {
            return Err(RangeError::MixedFamilies);
        }
        for (index, a) in ranges.iter().enumerate() {
            for b in ranges.iter().skip(index.saturating_add(1)) {
                if a.overlaps(b) {
                    return Err(RangeError::Overlap { first: (a.start(), a.end()), second: (b.start(), b.end()) });
                }
            }
        }
        let len = ranges.iter().fold(0u128, |sum, r| sum.saturating_add(r.len()));
        Ok(Self { ranges, len })
    }

    /// The ranges, in the order of the configuration.
    #[must_use]
    pub const fn ranges(&self) -> &'r [Range] {
        self.ranges
    }

    /// The family of every address of the set.
    #[must_use]
    pub fn family(&self) -> Family {
        self.ranges.first().map_or(Family::V4, Range::family)
    }

    /// How many positions the set has, gateways counted; at least 1. Saturates
    /// at 2^128 - 1 (see [`Range::len`]).
    #[must_use]
    pub const fn len(&self) -> u128 {
        self.len
    }

    /// Never true: a set has at least one range, a range at least one address.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The position of an address, `None` if it is in no range of the set.
    #[must_use]
    pub fn position(&self, address: IpAddr) -> Option<u128> {
        let mut base = 0u128;
        for range in self.ranges {
            if let Some(offset) = range.offset(address) {
                return Some(base.saturating_add(offset)).filter(|p| *p < self.len);
            }
            base = base.saturating_add(range.len());
        }
        None
    }

    /// The address at a position, `None` beyond the set. A gateway's position
    /// is answered like any other.
    #[must_use]
    pub fn at(&self, position: u128) -> Option<Candidate> {
        let mut offset = position;
        for range in self.ranges {
            match offset.checked_sub(range.len()) {
                Some(rest) => offset = rest,
                None => {
                    return Some(Candidate {
                        address: range.at(offset)?,
                        prefix: range.prefix(),
                        gateway: range.gateway(),
                        position,
                    });
                }
            }
        }
        None
    }

    /// The positions that must never be handed out: each range's gateway, if it
    /// lies in that same range. (A gateway inside another range of the set is
    /// handed out from there, as the reference plugin does.)
    pub fn gateways(&self) -> impl Iterator<Item = u128> + '_ {
        let mut base = 0u128;
        self.ranges.iter().filter_map(move |range| {
            let start = base;
            base = base.saturating_add(range.len());
            range.offset(range.gateway()).map(|offset| start.saturating_add(offset))
        })
    }

    /// Where round robin resumes: the position after `last`, or 0 if there is
    /// no last address or it is not in the set (any more).
    #[must_use]
    pub fn resume(&self, last: Option<IpAddr>) -> u128 {
        last.and_then(|address| self.position(address))
            .and_then(|position| position.checked_add(1))
            .filter(|position| *position < self.len)
            .unwrap_or(0)
    }

    /// Every address in the order in which it is offered: from the one after
    /// `last` across all ranges round to `last` itself, gateways left out.
    #[must_use]
    pub fn round_robin(&self, last: Option<IpAddr>) -> RoundRobin<'r> {
        RoundRobin { set: *self, origin: self.resume(last), done: 0 }
    }

    /// The address of a request, if this set may hand it out. Whether it is
    /// taken is not known here.
    ///
    /// # Errors
    /// [`AllocationError::NotInSet`] or [`AllocationError::IsGateway`].
    pub fn request(&self, address: IpAddr) -> Result<Candidate, AllocationError<'r>> {
        let address = address.to_canonical();
        let candidate = self
            .position(address)
            .and_then(|position| self.at(position))
            .ok_or(AllocationError::NotInSet(address, *self))?;
        if candidate.address == candidate.gateway {
            return Err(AllocationError::IsGateway(address));
        }
        Ok(candidate)
    }

    /// Whether the two sets share an address.
    #[must_use]
    pub fn overlaps(&self, other: &RangeSet<'_>) -> bool {
        self.ranges.iter().any(|a| other.ranges.iter().any(|b| a.overlaps(b)))
    }

    /// The position `distance` after `origin`, going round at the end. Both
    /// must be below [`RangeSet::len`].
    pub(super) const fn ahead(&self, origin: u128, distance: u128) -> u128 {
        let before_end = self.len.wrapping_sub(origin);
        if distance < before_end { origin.wrapping_add(distance) } else { distance.wrapping_sub(before_end) }
    }

    /// The reverse of [`RangeSet::ahead`]: the distance from `origin` to a position.
    pub(super) const fn distance(&self, origin: u128, position: u128) -> u128 {
        if position >= origin {
            position.wrapping_sub(origin)
        } else {
            self.len.wrapping_sub(origin).wrapping_add(position)
        }
    }
}

/// Iterator of [`RangeSet::round_robin`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RoundRobin<'r> {
    set: RangeSet<'r>,
    origin: u128,
    done: u128,
}

impl Iterator for RoundRobin<'_> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        // Gateways are the only positions skipped, so this goes round at most
        // once per range without a result.
        while self.done < self.set.len() {
            let position = self.set.ahead(self.origin, self.done);
            self.done = self.done.saturating_add(1);
            let candidate = self.set.at(position)?;
            if candidate.address != candidate.gateway {
                return Some(candidate);
            }
        }
        None
    }
}

/// Two sets of one configuration share an address; their indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SetsOverlap {
    /// Index of the earlier set.
    pub first: usize,
    /// Index of the later set.
    pub second: usize,
}

/// Checks that no two sets of a configuration share an address.
///
/// # Errors
/// The first pair that does.
pub fn check_sets(sets: &[RangeSet<'_>]) -> Result<(), SetsOverlap> {
    for (first, a) in sets.iter().enumerate() {
        for (second, b) in sets.iter().enumerate().skip(first.saturating_add(1)) {
            if a.overlaps(b) {
                return Err(SetsOverlap { first, second });
            }
        }
    }
    Ok(())
}

impl Put for SetsOverlap {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, "range set ", self.first, " overlaps with ", self.second);
    }
}

impl Put for RangeSet<'_> {
    /// `START-END`, ranges joined by commas.
    fn put(&self, out: &mut dyn Sink) {
        for (index, range) in self.ranges.iter().enumerate() {
            put!(out, if index > 0 { "," } else { "" }, *range);
        }
    }
}

impl Put for AllocationError<'_> {
    /// The reference plugin's phrase.
    fn put(&self, out: &mut dyn Sink) {
        match self {
            Self::NotInSet(address, set) => put!(out, *address, " not in range set ", *set),
            Self::IsGateway(address) => put!(out, "requested ip ", *address, " is subnet's gateway"),
            Self::NotAvailable(address, set) => {
                put!(out, "requested IP address ", *address, " is not available in range set ", *set)
            }
            Self::Exhausted(set) => put!(out, "no IP addresses available in range set: ", *set),
        }
    }
}
