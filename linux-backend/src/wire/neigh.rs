//! Neighbours, that is ARP and NDP entries: `RTM_NEWNEIGH`, `RTM_DELNEIGH`,
//! `RTM_GETNEIGH`.
//!
//! Source: `include/uapi/linux/neighbour.h`, rtnetlink(7).

use super::addr::family_of;
use super::attr::{ip_of, u16_of, u32_of};
use super::nlmsg::{Batch, Message, Mode, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use core::net::IpAddr;

/// Add an entry; also the kind of every entry in a reply (`RTM_NEWNEIGH`).
pub const RTM_NEWNEIGH: u16 = 28;
/// Remove an entry (`RTM_DELNEIGH`).
pub const RTM_DELNEIGH: u16 = 29;
/// Ask for entries (`RTM_GETNEIGH`).
pub const RTM_GETNEIGH: u16 = 30;

/// Being resolved (`NUD_INCOMPLETE`).
pub const NUD_INCOMPLETE: u16 = 0x01;
/// Confirmed a short time ago (`NUD_REACHABLE`).
pub const NUD_REACHABLE: u16 = 0x02;
/// To be confirmed when next used (`NUD_STALE`).
pub const NUD_STALE: u16 = 0x04;
/// Resolution failed (`NUD_FAILED`).
pub const NUD_FAILED: u16 = 0x20;
/// Never resolved, valid for ever (`NUD_NOARP`).
pub const NUD_NOARP: u16 = 0x40;
/// Set by hand, valid for ever (`NUD_PERMANENT`).
pub const NUD_PERMANENT: u16 = 0x80;

const NDMSG_LEN: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_IFINDEX: u16 = 8;

/// `struct ndmsg`.
fn ndmsg(family: u8, index: u32, state: u16) -> [u8; NDMSG_LEN] {
    let [a, b, c, d] = index.to_ne_bytes();
    let [e, f] = state.to_ne_bytes();
    [family, 0, 0, 0, a, b, c, d, e, f, 0, 0]
}

/// Add or replace an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewNeigh {
    /// Interface.
    pub index: u32,
    /// The neighbour's address.
    pub dst: IpAddr,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// `NUD_*`.
    pub state: u16,
}

impl NewNeigh {
    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, mode: Mode, seq: u32) {
        batch.begin(RTM_NEWNEIGH, mode.flags(), seq);
        batch.put_header(&ndmsg(family_of(self.dst), self.index, self.state));
        batch.attr_ip(NDA_DST, self.dst);
        batch.attr(NDA_LLADDR, &self.mac);
        batch.end();
    }
}

/// One entry, to be removed or asked for. Both fail with `ENOENT` if it is
/// not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighKey {
    /// Interface.
    pub index: u32,
    /// The neighbour's address.
    pub dst: IpAddr,
}

impl NeighKey {
    /// Writes a request that removes it.
    pub fn emit_del(&self, batch: &mut Batch<'_>, seq: u32) {
        self.emit(batch, RTM_DELNEIGH, NLM_F_REQUEST | NLM_F_ACK, seq);
    }

    /// Writes a request that asks for it. The answer is the entry or an error.
    pub fn emit_get(&self, batch: &mut Batch<'_>, seq: u32) {
        self.emit(batch, RTM_GETNEIGH, NLM_F_REQUEST, seq);
    }

    fn emit(&self, batch: &mut Batch<'_>, msg_type: u16, flags: u16, seq: u32) {
        batch.begin(msg_type, flags, seq);
        batch.put_header(&ndmsg(family_of(self.dst), self.index, 0));
        batch.attr_ip(NDA_DST, self.dst);
        batch.end();
    }
}

/// Ask for entries. The interface is obeyed by Linux 4.5 and later; check
/// [`Neigh::index`] all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DumpNeighs {
    /// `AF_INET`, `AF_INET6`, or `AF_UNSPEC` for both.
    pub family: u8,
    /// Interface; `None` is all.
    pub index: Option<u32>,
}

impl DumpNeighs {
    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        batch.begin(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, seq);
        // The header's own index must be 0 in a strict dump.
        batch.put_header(&ndmsg(self.family, 0, 0));
        super::link::put_u32(batch, NDA_IFINDEX, self.index);
        batch.end();
    }
}

/// An entry as the kernel describes it (`RTM_NEWNEIGH`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neigh {
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// Interface.
    pub index: u32,
    /// `NUD_*`.
    pub state: u16,
    /// `NTF_*` bits.
    pub flags: u8,
    /// The neighbour's address.
    pub dst: IpAddr,
    /// Its hardware address, if known and of 6 bytes.
    pub mac: Option<[u8; 6]>,
}

impl Neigh {
    /// Reads an entry; `None` if the message is of another kind, has no IP
    /// address (a bridge's forwarding entry), or is damaged.
    #[must_use]
    pub fn parse(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWNEIGH {
            return None;
        }
        let header = message.payload.first_chunk::<NDMSG_LEN>()?;
        let (mut dst, mut mac) = (None, None);
        let mut attrs = message.attrs(NDMSG_LEN);
        for (kind, payload) in attrs.by_ref() {
            match kind {
                NDA_DST => dst = ip_of(payload),
                NDA_LLADDR => mac = payload.try_into().ok(),
                _ => {}
            }
        }
        if attrs.malformed() {
            return None;
        }
        Some(Self {
            family: *header.first()?,
            index: header.get(4..).and_then(u32_of)?,
            state: header.get(8..).and_then(u16_of)?,
            flags: *header.get(10)?,
            dst: dst?,
            mac,
        })
    }
}
