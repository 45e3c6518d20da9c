//! Netlink attributes (TLVs) as they are read from a reply.
//!
//! Source: `include/uapi/linux/netlink.h` (`struct nlattr`). Writing is done
//! by [`super::nlmsg::Batch`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The payload is itself a list of attributes (`NLA_F_NESTED`).
pub const NLA_F_NESTED: u16 = 1 << 15;
/// The payload is in network byte order (`NLA_F_NET_BYTEORDER`).
pub const NLA_F_NET_BYTEORDER: u16 = 1 << 14;
/// What is left of `nla_type` without the flags (`NLA_TYPE_MASK`).
pub const NLA_TYPE_MASK: u16 = !(NLA_F_NESTED | NLA_F_NET_BYTEORDER);
/// Bytes of `struct nlattr`.
pub const HEADER_LEN: usize = 4;

/// `len` rounded up to the 4-byte alignment of netlink (`NLA_ALIGN`,
/// `NLMSG_ALIGN`). Saturates: a length near `usize::MAX` fits no buffer anyway.
#[must_use]
pub const fn align(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// Iterates over the attributes of one list as `(kind, payload)`.
///
/// The kind comes without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`. An
/// attribute whose length cannot be true ends the iteration and is reported by
/// [`Attrs::malformed`].
#[derive(Debug, Clone, Copy)]
pub struct Attrs<'a> {
    rest: &'a [u8],
    malformed: bool,
}

impl<'a> Attrs<'a> {
    /// Reads `bytes`, which start with the first attribute's header.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, malformed: false }
    }

    /// The payload of the first attribute of this kind among those not yet
    /// iterated over.
    #[must_use]
    pub fn find(&self, kind: u16) -> Option<&'a [u8]> {
        let mut attrs = *self;
        attrs.find_map(|(k, payload)| (k == kind).then_some(payload))
    }

    /// The attributes nested in the first attribute of this kind; an empty
    /// list if there is none.
    #[must_use]
    pub fn nested(&self, kind: u16) -> Self {
        Self::new(self.find(kind).unwrap_or(&[]))
    }

    /// True once the iteration met an attribute that lies about its length.
    #[must_use]
    pub const fn malformed(&self) -> bool {
        self.malformed
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = split_attr(self.rest);
        match parsed {
            Some((kind, payload, rest)) => {
                self.rest = rest;
                Some((kind, payload))
            }
            None => {
                self.rest = &[];
                self.malformed = true;
                None
            }
        }
    }
}

/// The first attribute of `bytes`: kind, payload, and what follows it.
fn split_attr(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = usize::from(u16_of(bytes)?);
    let kind = u16_of(bytes.get(2..)?)? & NLA_TYPE_MASK;
    let payload = bytes.get(HEADER_LEN..len)?;
    // The last attribute of a list may come without its padding.
    let rest = bytes.get(align(len)..).unwrap_or(&[]);
    Some((kind, payload, rest))
}

/// First byte of the payload.
#[must_use]
pub fn u8_of(payload: &[u8]) -> Option<u8> {
    payload.first().copied()
}

/// First two bytes of the payload in host order.
#[must_use]
pub fn u16_of(payload: &[u8]) -> Option<u16> {
    payload.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

/// First four bytes of the payload in host order.
#[must_use]
pub fn u32_of(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

/// First four bytes of the payload in host order, signed.
#[must_use]
pub fn i32_of(payload: &[u8]) -> Option<i32> {
    payload.first_chunk().map(|b| i32::from_ne_bytes(*b))
}

/// First eight bytes of the payload in host order.
#[must_use]
pub fn u64_of(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|b| u64::from_ne_bytes(*b))
}

/// First two bytes of the payload in network order.
#[must_use]
pub fn be16_of(payload: &[u8]) -> Option<u16> {
    payload.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// First four bytes of the payload in network order.
#[must_use]
pub fn be32_of(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// First eight bytes of the payload in network order.
#[must_use]
pub fn be64_of(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|b| u64::from_be_bytes(*b))
}

/// The payload up to its first NUL, or all of it when there is none.
#[must_use]
pub fn bytes0_of(payload: &[u8]) -> &[u8] {
    payload.split(|b| *b == 0).next().unwrap_or(&[])
}

/// [`bytes0_of`] as text; `None` if it is not UTF-8.
#[must_use]
pub fn str_of(payload: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes0_of(payload)).ok()
}

/// An IP address: 4 bytes are IPv4, 16 bytes IPv6, anything else is `None`.
#[must_use]
pub fn ip_of(payload: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(payload) {
        return Some(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    let v6 = <[u8; 16]>::try_from(payload).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(v6)))
}

/// The kernel's text as an inline string of at most `N` bytes.
///
/// Interface names and aliases may hold any bytes. One that is not UTF-8 comes
/// back with every byte outside printable ASCII as `?`: it can be shown, and
/// never equals a name that picocni makes. `None` if it is longer than `N`.
#[must_use]
pub fn text_of<const N: usize>(payload: &[u8]) -> Option<heapless::String<N>> {
    let bytes = bytes0_of(payload);
    if let Ok(text) = core::str::from_utf8(bytes) {
        return heapless::String::try_from(text).ok();
    }
    let mut out = heapless::String::new();
    for b in bytes {
        let c = if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '?' };
        out.push(c).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;
    extern crate std;
    use std::vec::Vec;

    /// u16 kind 3 | NESTED holding [1, 2], then u32 kind 9, then an empty kind 4.
    fn sample() -> Vec<u8> {
        let mut v = Vec::new();
        v.extend_from_slice(&6u16.to_ne_bytes());
        v.extend_from_slice(&(3 | NLA_F_NESTED).to_ne_bytes());
        v.extend_from_slice(&[1, 2, 0, 0]);
        v.extend_from_slice(&8u16.to_ne_bytes());
        v.extend_from_slice(&9u16.to_ne_bytes());
        v.extend_from_slice(&77u32.to_ne_bytes());
        v.extend_from_slice(&4u16.to_ne_bytes());
        v.extend_from_slice(&4u16.to_ne_bytes());
        v
    }

    #[test]
    fn reads_in_order_and_masks_flags() {
        let bytes = sample();
        let mut attrs = Attrs::new(&bytes);
        assert_eq!(attrs.next(), Some((3, &[1u8, 2][..])));
        assert_eq!(attrs.find(9).and_then(u32_of), Some(77));
        assert_eq!(attrs.find(3), None, "find looks at the rest only");
        assert_eq!(attrs.next(), Some((9, &77u32.to_ne_bytes()[..])));
        assert_eq!(attrs.next(), Some((4, &[][..])));
        assert_eq!(attrs.next(), None);
        assert!(!attrs.malformed());
    }

    #[test]
    fn last_attribute_needs_no_padding() {
        let bytes = sample();
        let mut attrs = Attrs::new(&bytes[..6]);
        assert_eq!(attrs.next(), Some((3, &[1u8, 2][..])));
        assert_eq!(attrs.next(), None);
        assert!(!attrs.malformed());
    }

    #[test]
    fn lying_lengths_stop_the_list() {
        for lie in [0u16, 1, 3, 7, 9, 200, u16::MAX] {
            let mut bytes = lie.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&[5, 0, 1, 2]);
            let mut attrs = Attrs::new(&bytes);
            assert_eq!(attrs.next(), None, "length {lie}");
            assert!(attrs.malformed(), "length {lie}");
            assert_eq!(attrs.next(), None, "length {lie}");
        }
        for n in 1..4 {
            let bytes = sample();
            let mut attrs = Attrs::new(&bytes[..n]);
            assert_eq!(attrs.next(), None);
            assert!(attrs.malformed());
        }
    }

    #[test]
    fn text() {
        assert_eq!(text_of::<4>(b"eth0\0junk").as_deref(), Some("eth0"));
        assert_eq!(text_of::<3>(b"eth0\0"), None);
        assert_eq!(text_of::<4>(b"e\xff\x00").as_deref(), Some("e?"));
        assert_eq!(text_of::<4>(b"").as_deref(), Some(""));
        assert_eq!(str_of(b"\xff"), None);
    }

    #[test]
    fn addresses() {
        assert_eq!(ip_of(&[10, 0, 0, 1]), Some("10.0.0.1".parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))));
        assert!(ip_of(&[0; 16]).is_some_and(|a| a.is_ipv6()));
        assert_eq!(ip_of(&[0; 5]), None);
        assert_eq!(ip_of(&[]), None);
    }
}
