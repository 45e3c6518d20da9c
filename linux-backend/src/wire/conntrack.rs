//! Connection tracking: find the entries of one host port, delete them one by
//! one.
//!
//! An UDP flow keeps the destination it got with its first packet, so after a
//! port map changes its old entries must go. They are looked up by what the
//! client sent (the *original* tuple) and deleted by tuple and id: there is no
//! request that could hit anything else.
//!
//! Source: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`,
//! `net/netfilter/nf_conntrack_netlink.c`.

use core::net::{IpAddr, SocketAddr};

use super::attr::{Attrs, be16_of, be32_of, ip_of, u8_of};
use super::nfnetlink::{self, Family, NFNL_SUBSYS_CTNETLINK};
use super::nftables::ct_status;
use super::nlmsg::{Batch, Message, NLM_F_ACK, NLM_F_DUMP};

/// `IPCTNL_MSG_CT_NEW`.
const MSG_NEW: u8 = 0;
/// `IPCTNL_MSG_CT_GET`.
const MSG_GET: u8 = 1;
/// `IPCTNL_MSG_CT_DELETE`.
const MSG_DELETE: u8 = 2;

/// `CTA_TUPLE_ORIG`.
const TUPLE_ORIG: u16 = 1;
/// `CTA_TUPLE_REPLY`.
const TUPLE_REPLY: u16 = 2;
/// `CTA_STATUS`.
const STATUS: u16 = 3;
/// `CTA_ID`.
const ID: u16 = 12;
/// `CTA_ZONE`.
const ZONE: u16 = 18;
/// `CTA_FILTER`, since Linux 5.8.
const FILTER: u16 = 25;

/// `CTA_TUPLE_IP`.
const TUPLE_IP: u16 = 1;
/// `CTA_TUPLE_PROTO`.
const TUPLE_PROTO: u16 = 2;
/// `CTA_IP_V4_SRC`.
const V4_SRC: u16 = 1;
/// `CTA_IP_V4_DST`.
const V4_DST: u16 = 2;
/// `CTA_IP_V6_SRC`.
const V6_SRC: u16 = 3;
/// `CTA_IP_V6_DST`.
const V6_DST: u16 = 4;
/// `CTA_PROTO_NUM`.
const PROTO_NUM: u16 = 1;
/// `CTA_PROTO_SRC_PORT`.
const SRC_PORT: u16 = 2;
/// `CTA_PROTO_DST_PORT`.
const DST_PORT: u16 = 3;

/// `CTA_FILTER_ORIG_FLAGS`, a `u32` in host order.
const ORIG_FLAGS: u16 = 1;
/// `CTA_FILTER_F_CTA_IP_DST` (`net/netfilter/nf_internals.h`).
const F_IP_DST: u32 = 1 << 1;
/// `CTA_FILTER_F_CTA_PROTO_NUM`.
const F_PROTO_NUM: u32 = 1 << 3;
/// `CTA_FILTER_F_CTA_PROTO_DST_PORT`.
const F_DST_PORT: u32 = 1 << 5;

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Who sends.
    pub src: IpAddr,
    /// To whom.
    pub dst: IpAddr,
    /// The IP protocol.
    pub protocol: u8,
    /// Source and destination port; `None` for protocols without (ICMP).
    pub ports: Option<(u16, u16)>,
}

/// An entry of the connection table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What the client sends: for a published port, to the host.
    pub orig: Tuple,
    /// What the server answers: for a published port, from the pod.
    pub reply: Tuple,
    /// The kernel's id of this very entry.
    pub id: u32,
    /// Its zone, if not the default one (0).
    pub zone: Option<u16>,
    /// Bits of [`super::nftables::ct_status`].
    pub status: u32,
}

/// Which entries are meant, by their original tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The IP protocol.
    pub protocol: u8,
    /// The port on the host that clients send to.
    pub dst_port: u16,
    /// The host address that clients send to; `None` is any. Of `family`.
    pub dst: Option<IpAddr>,
}

impl Entry {
    /// True if it was redirected to this pod address and port. Without a
    /// destination a [`Filter`] also means traffic that this host only
    /// forwards; what a removed port map leaves behind is found by its target.
    #[must_use]
    pub fn redirected_to(&self, target: SocketAddr) -> bool {
        self.status & ct_status::DST_NAT != 0
            && self.reply.src == target.ip()
            && self.reply.ports.is_some_and(|(src, _)| src == target.port())
    }
}

impl Filter {
    /// True if the entry is meant. The kernel filters less than it is asked
    /// (nothing before 5.8, never by an IPv6 address): every reply to [`dump`]
    /// must pass here before anything is deleted.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let orig = &entry.orig;
        Family::of(orig.dst) == self.family
            && orig.protocol == self.protocol
            && orig.ports.is_some_and(|(_, dst)| dst == self.dst_port)
            && self.dst.is_none_or(|dst| dst == orig.dst)
    }
}

/// Asks for the entries that a filter means; replies are read by [`parse`], up
/// to `NLMSG_DONE`.
pub fn dump(batch: &mut Batch<'_>, seq: u32, filter: &Filter) {
    begin(batch, MSG_GET, filter.family, NLM_F_DUMP, seq);
    let tuple = batch.nest_begin(TUPLE_ORIG);
    let mut flags = F_PROTO_NUM | F_DST_PORT;
    // Not for IPv6: the kernel's comparison there is the wrong way round (seen
    // on 6.18), it returns every entry but the wanted ones.
    if let Some(IpAddr::V4(dst)) = filter.dst {
        flags |= F_IP_DST;
        let ip = batch.nest_begin(TUPLE_IP);
        batch.attr(V4_DST, &dst.octets());
        batch.nest_end(ip);
    }
    let proto = batch.nest_begin(TUPLE_PROTO);
    batch.attr_u8(PROTO_NUM, filter.protocol);
    batch.attr_be16(DST_PORT, filter.dst_port);
    batch.nest_end(proto);
    batch.nest_end(tuple);
    let nest = batch.nest_begin(FILTER);
    batch.attr_u32(ORIG_FLAGS, flags);
    batch.nest_end(nest);
    batch.end();
}

/// Deletes exactly this entry. `ENOENT` (2) if it is gone already, also if its
/// place was taken by a newer one.
pub fn delete(batch: &mut Batch<'_>, seq: u32, entry: &Entry) {
    let orig = &entry.orig;
    begin(batch, MSG_DELETE, Family::of(orig.dst), NLM_F_ACK, seq);
    let tuple = batch.nest_begin(TUPLE_ORIG);
    let ip = batch.nest_begin(TUPLE_IP);
    put_ip(batch, V4_SRC, V6_SRC, orig.src);
    put_ip(batch, V4_DST, V6_DST, orig.dst);
    batch.nest_end(ip);
    let proto = batch.nest_begin(TUPLE_PROTO);
    batch.attr_u8(PROTO_NUM, orig.protocol);
    if let Some((src, dst)) = orig.ports {
        batch.attr_be16(SRC_PORT, src);
        batch.attr_be16(DST_PORT, dst);
    }
    batch.nest_end(proto);
    batch.nest_end(tuple);
    batch.attr_be32(ID, entry.id);
    if let Some(zone) = entry.zone {
        batch.attr_be16(ZONE, zone);
    }
    batch.end();
}

/// Reads a reply to [`dump`]; `None` if the message is not an entry.
#[must_use]
pub fn parse(message: &Message<'_>) -> Option<Entry> {
    let (msg, _, attrs) = nfnetlink::open(message, NFNL_SUBSYS_CTNETLINK)?;
    if msg != MSG_NEW {
        return None;
    }
    Some(Entry {
        orig: parse_tuple(attrs.nested(TUPLE_ORIG))?,
        reply: parse_tuple(attrs.nested(TUPLE_REPLY))?,
        id: attrs.find(ID).and_then(be32_of)?,
        zone: attrs.find(ZONE).and_then(be16_of),
        status: attrs.find(STATUS).and_then(be32_of).unwrap_or(0),
    })
}

fn parse_tuple(attrs: Attrs<'_>) -> Option<Tuple> {
    let ip = attrs.nested(TUPLE_IP);
    let proto = attrs.nested(TUPLE_PROTO);
    let src = proto.find(SRC_PORT).and_then(be16_of);
    let dst = proto.find(DST_PORT).and_then(be16_of);
    Some(Tuple {
        src: ip.find(V4_SRC).or_else(|| ip.find(V6_SRC)).and_then(ip_of)?,
        dst: ip.find(V4_DST).or_else(|| ip.find(V6_DST)).and_then(ip_of)?,
        protocol: proto.find(PROTO_NUM).and_then(u8_of)?,
        ports: src.zip(dst),
    })
}

fn begin(batch: &mut Batch<'_>, msg: u8, family: Family, flags: u16, seq: u32) {
    nfnetlink::begin(batch, NFNL_SUBSYS_CTNETLINK, msg, family, flags, seq);
}

fn put_ip(batch: &mut Batch<'_>, v4: u16, v6: u16, addr: IpAddr) {
    batch.attr_ip(if addr.is_ipv4() { v4 } else { v6 }, addr);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]
    use super::*;
    use crate::wire::nlmsg::Messages;
    extern crate std;
    use std::vec::Vec;

    /// First reply of a 6.18 kernel to
    /// `dump(Filter { Ipv4, 17, 8053, None })`: pod 10.88.0.5 talks to itself
    /// through 192.0.2.1:8053, which is redirected to 10.88.0.5:53 and
    /// masqueraded to 10.88.0.1.
    const REPLY: &str = "a40000000001220007000000c174000002000000\
        3400018014000180080001000a58000508000200c00002011c00028005000100110000\
        0006000200c6060000060003001f7500003400028014000180080001000a5800050800\
        02000a5800011c0002800500010011000000060002000035000006000300c606000008\
        000300000001ba080008000000000008000c00195f758908000b000000000108000700\
        0000001b";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter_map(|b| u8::try_from(char::from(b).to_digit(16)?).ok()).collect();
        digits.chunks(2).map(|d| d[0] * 16 + d[1]).collect()
    }

    fn entry() -> Entry {
        let raw = bytes(REPLY);
        parse(&Messages::new(&raw).next().unwrap()).unwrap()
    }

    #[test]
    fn reads_what_the_kernel_sends() {
        let tuple = |src: &str, dst: &str, ports| Tuple {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            protocol: 17,
            ports: Some(ports),
        };
        assert_eq!(
            entry(),
            Entry {
                orig: tuple("10.88.0.5", "192.0.2.1", (50694, 8053)),
                reply: tuple("10.88.0.5", "10.88.0.1", (53, 50694)),
                id: 0x195f_7589,
                zone: None,
                status: 442,
            }
        );
    }

    #[test]
    fn truncated_anywhere_is_no_entry_and_no_panic() {
        let raw = bytes(REPLY);
        let message = Messages::new(&raw).next().unwrap();
        // The attributes after CTA_ID are not needed.
        let needed = message.payload.len() - 16;
        for n in 0..message.payload.len() {
            let cut = Message { payload: &message.payload[..n], ..message };
            assert_eq!(parse(&cut).is_some(), n >= needed, "{n} bytes");
        }
    }

    #[test]
    fn filter_is_checked_again() {
        let filter = Filter { family: Family::Ipv4, protocol: 17, dst_port: 8053, dst: None };
        let e = entry();
        let dst = |a: &str| Some(a.parse().unwrap());
        assert!(filter.matches(&e));
        assert!(Filter { dst: dst("192.0.2.1"), ..filter }.matches(&e));
        assert!(!Filter { dst: dst("192.0.2.2"), ..filter }.matches(&e));
        assert!(!Filter { protocol: 6, ..filter }.matches(&e));
        assert!(!Filter { dst_port: 50694, ..filter }.matches(&e));
        assert!(!Filter { family: Family::Ipv6, ..filter }.matches(&e));
        assert!(e.redirected_to("10.88.0.5:53".parse().unwrap()));
        assert!(!e.redirected_to("10.88.0.5:54".parse().unwrap()));
        assert!(!e.redirected_to("10.88.0.6:53".parse().unwrap()));
        let plain = Entry { status: e.status & !ct_status::DST_NAT, ..e };
        assert!(!plain.redirected_to("10.88.0.5:53".parse().unwrap()));
    }

    fn sent(write: impl FnOnce(&mut Batch<'_>)) -> Vec<u8> {
        let mut buf = [0xaa; 256];
        let mut batch = Batch::new(&mut buf);
        write(&mut batch);
        batch.finish().unwrap().to_vec()
    }

    #[test]
    fn requests_hold_the_tuple() {
        // Accepted by a 6.18 kernel, which answered with the entries asked for.
        let filter =
            Filter { family: Family::Ipv4, protocol: 17, dst_port: 8053, dst: Some("192.0.2.1".parse().unwrap()) };
        let want = "44000000 0101 0103 07000000 00000000 02000000\
            24000180 0c000180 08000200c0000201\
            14000280 0500010011000000 060003001f750000\
            0c001980 080001002a000000";
        assert_eq!(sent(|b| dump(b, 7, &filter)), bytes(want));

        let v6 = Filter { family: Family::Ipv6, dst: Some("fd00::1".parse().unwrap()), ..filter };
        let want = "38000000 0101 0103 07000000 00000000 0a000000\
            18000180 14000280 0500010011000000 060003001f750000\
            0c001980 0800010028000000";
        assert_eq!(sent(|b| dump(b, 7, &v6)), bytes(want));

        let zoned = Entry { zone: Some(5), ..entry() };
        let want = "58000000 0201 0500 07000000 00000000 02000000\
            34000180 14000180 080001000a580005 08000200c0000201\
            1c000280 0500010011000000 06000200c6060000 060003001f750000\
            08000c00195f7589 0600120000050000";
        assert_eq!(sent(|b| delete(b, 7, &zoned)), bytes(want));
    }
}
