//! Interface addresses: `RTM_NEWADDR`, `RTM_DELADDR`, `RTM_GETADDR`.
//!
//! Source: `include/uapi/linux/if_addr.h`, `rtnetlink.h`.

use super::attr::{ip_of, text_of, u32_of};
use super::nlmsg::{Batch, Message, Mode, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use core::net::{IpAddr, Ipv4Addr};

/// Add an address; also the kind of every address in a reply (`RTM_NEWADDR`).
pub const RTM_NEWADDR: u16 = 20;
/// Remove an address (`RTM_DELADDR`).
pub const RTM_DELADDR: u16 = 21;
/// Ask for addresses (`RTM_GETADDR`).
pub const RTM_GETADDR: u16 = 22;

/// IPv4 (`AF_INET`).
pub const AF_INET: u8 = 2;
/// IPv6 (`AF_INET6`).
pub const AF_INET6: u8 = 10;
/// Any family (`AF_UNSPEC`).
pub const AF_UNSPEC: u8 = 0;

/// No duplicate address detection for this one (`IFA_F_NODAD`).
pub const IFA_F_NODAD: u32 = 0x02;
/// Duplicate address detection failed (`IFA_F_DADFAILED`).
pub const IFA_F_DADFAILED: u32 = 0x08;
/// Duplicate address detection is not finished (`IFA_F_TENTATIVE`).
pub const IFA_F_TENTATIVE: u32 = 0x40;
/// It has no end of life (`IFA_F_PERMANENT`).
pub const IFA_F_PERMANENT: u32 = 0x80;
/// The kernel makes no route for its prefix (`IFA_F_NOPREFIXROUTE`).
pub const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// Valid everywhere (`RT_SCOPE_UNIVERSE`).
pub const RT_SCOPE_UNIVERSE: u8 = 0;
/// Valid on this link (`RT_SCOPE_LINK`).
pub const RT_SCOPE_LINK: u8 = 253;
/// Valid on this host (`RT_SCOPE_HOST`).
pub const RT_SCOPE_HOST: u8 = 254;

const IFADDRMSG_LEN: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;

/// The `AF_*` number of an address.
#[must_use]
pub const fn family_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// `struct ifaddrmsg`.
fn ifaddrmsg(family: u8, prefix: u8, flags: u8, scope: u8, index: u32) -> [u8; IFADDRMSG_LEN] {
    let [a, b, c, d] = index.to_ne_bytes();
    [family, prefix, flags, scope, a, b, c, d]
}

/// Add an address to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewAddr {
    /// Interface.
    pub index: u32,
    /// The interface's own address.
    pub address: IpAddr,
    /// Prefix length in bits. The kernel refuses more than 32 or 128.
    pub prefix: u8,
    /// `IFA_F_*` bits.
    pub flags: u32,
    /// `RT_SCOPE_*`; IPv6 derives it from the address.
    pub scope: u8,
}

impl NewAddr {
    /// Writes the request. IPv4 gets the prefix's broadcast address if the
    /// prefix is 30 bits or shorter.
    pub fn emit(&self, batch: &mut Batch<'_>, mode: Mode, seq: u32) {
        batch.begin(RTM_NEWADDR, mode.flags(), seq);
        let family = family_of(self.address);
        // Flags that do not fit the header go into IFA_FLAGS, which then wins.
        let flags = u8::try_from(self.flags);
        batch.put_header(&ifaddrmsg(family, self.prefix, flags.unwrap_or(0), self.scope, self.index));
        batch.attr_ip(IFA_LOCAL, self.address);
        batch.attr_ip(IFA_ADDRESS, self.address);
        if let Some(broadcast) = broadcast_of(self.address, self.prefix) {
            batch.attr(IFA_BROADCAST, &broadcast.octets());
        }
        if flags.is_err() {
            batch.attr_u32(IFA_FLAGS, self.flags);
        }
        batch.end();
    }
}

/// The broadcast address of an IPv4 prefix of at most 30 bits.
fn broadcast_of(address: IpAddr, prefix: u8) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(v4) if prefix <= 30 => {
            let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            Some(Ipv4Addr::from_bits(v4.to_bits() | host))
        }
        _ => None,
    }
}

/// Remove an address from an interface; `EADDRNOTAVAIL` if it is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelAddr {
    /// Interface.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
}

impl DelAddr {
    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        batch.begin(RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK, seq);
        let family = family_of(self.address);
        batch.put_header(&ifaddrmsg(family, self.prefix, 0, 0, self.index));
        batch.attr_ip(IFA_LOCAL, self.address);
        // IPv4 compares the prefix with this one.
        batch.attr_ip(IFA_ADDRESS, self.address);
        batch.end();
    }
}

/// Ask for addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DumpAddrs {
    /// `AF_INET`, `AF_INET6` or `AF_UNSPEC` for both.
    pub family: u8,
    /// Interface; 0 is all. Obeyed only on a socket that has set
    /// `NETLINK_GET_STRICT_CHK`: check [`Addr::index`] all the same.
    pub index: u32,
}

impl DumpAddrs {
    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        batch.begin(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, seq);
        batch.put_header(&ifaddrmsg(self.family, 0, 0, 0, self.index));
        batch.end();
    }
}

/// An address as the kernel describes it (`RTM_NEWADDR`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addr {
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// Prefix length in bits.
    pub prefix: u8,
    /// `IFA_F_*` bits.
    pub flags: u32,
    /// `RT_SCOPE_*`.
    pub scope: u8,
    /// Interface.
    pub index: u32,
    /// The interface's own address (`IFA_LOCAL`, or `IFA_ADDRESS` where that
    /// is missing, as with IPv6).
    pub local: IpAddr,
    /// The prefix's address (`IFA_ADDRESS`): equal to `local`, except on a
    /// point-to-point link, where it is the peer's.
    pub address: IpAddr,
    /// IPv4 label; empty without one.
    pub label: heapless::String<15>,
}

impl Addr {
    /// Reads an address; `None` if the message is of another kind or damaged.
    #[must_use]
    pub fn parse(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWADDR {
            return None;
        }
        let (header, _) = message.payload.split_first_chunk::<IFADDRMSG_LEN>()?;
        let [family, prefix, flags, scope, index @ ..] = *header;
        let (mut local, mut address) = (None, None);
        let mut flags = u32::from(flags);
        let mut label = heapless::String::new();
        let mut attrs = message.attrs(IFADDRMSG_LEN);
        for (kind, payload) in attrs.by_ref() {
            match kind {
                IFA_LOCAL => local = ip_of(payload),
                IFA_ADDRESS => address = ip_of(payload),
                IFA_LABEL => label = text_of(payload)?,
                IFA_FLAGS => flags = u32_of(payload)?,
                _ => {}
            }
        }
        if attrs.malformed() {
            return None;
        }
        let address = address.or(local)?;
        Some(Self {
            family,
            prefix,
            flags,
            scope,
            index: u32::from_ne_bytes(index),
            local: local.unwrap_or(address),
            address,
            label,
        })
    }
}
