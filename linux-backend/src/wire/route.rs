//! Routes: `RTM_NEWROUTE`, `RTM_DELROUTE`, `RTM_GETROUTE`.
//!
//! Source: `include/uapi/linux/rtnetlink.h`, rtnetlink(7).

mod reply;

pub use reply::{NextHop, NextHops, Route};

use super::addr::family_of;
use super::link::put_u32;
use super::nlmsg::{Batch, Mode, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use core::net::IpAddr;

/// Add a route; also the kind of every route in a reply (`RTM_NEWROUTE`).
pub const RTM_NEWROUTE: u16 = 24;
/// Remove a route (`RTM_DELROUTE`).
pub const RTM_DELROUTE: u16 = 25;
/// Ask for routes (`RTM_GETROUTE`).
pub const RTM_GETROUTE: u16 = 26;

/// The table of ordinary routes (`RT_TABLE_MAIN`).
pub const RT_TABLE_MAIN: u32 = 254;
/// The table of the host's own addresses (`RT_TABLE_LOCAL`).
pub const RT_TABLE_LOCAL: u32 = 255;

/// Made by the kernel (`RTPROT_KERNEL`).
pub const RTPROT_KERNEL: u8 = 2;
/// Made at boot, which is what `ip` says for itself (`RTPROT_BOOT`).
pub const RTPROT_BOOT: u8 = 3;
/// Made by the administrator (`RTPROT_STATIC`).
pub const RTPROT_STATIC: u8 = 4;

/// A gateway or direct route (`RTN_UNICAST`).
pub const RTN_UNICAST: u8 = 1;
/// An address of this host (`RTN_LOCAL`).
pub const RTN_LOCAL: u8 = 2;
/// Dropped in silence (`RTN_BLACKHOLE`).
pub const RTN_BLACKHOLE: u8 = 6;
/// Dropped with an ICMP message (`RTN_UNREACHABLE`).
pub const RTN_UNREACHABLE: u8 = 7;

/// Matches any scope when deleting (`RT_SCOPE_NOWHERE`).
const RT_SCOPE_NOWHERE: u8 = 255;

/// The gateway is on the link although no address says so (`RTNH_F_ONLINK`).
pub const RTNH_F_ONLINK: u32 = 4;

const RTMSG_LEN: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// The fields of `struct rtmsg` that requests set.
#[derive(Clone, Copy, Default)]
struct Rtmsg {
    family: u8,
    dst_len: u8,
    table: u32,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
}

impl Rtmsg {
    fn emit(self, batch: &mut Batch<'_>) {
        // A number above 255 does not fit the header and goes into RTA_TABLE.
        let table = u8::try_from(self.table);
        let [a, b, c, d] = self.flags.to_ne_bytes();
        batch.put_header(&[
            self.family,
            self.dst_len,
            0,
            0,
            table.unwrap_or(0),
            self.protocol,
            self.scope,
            self.kind,
            a,
            b,
            c,
            d,
        ]);
        if table.is_err() {
            batch.attr_u32(RTA_TABLE, self.table);
        }
    }
}

/// Add a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRoute {
    /// Destination. `0.0.0.0` or `::` with prefix 0 is the default route. The
    /// kernel refuses an IPv4 address with bits beyond the prefix.
    pub dst: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
    /// Next hop, of the same family.
    pub gateway: Option<IpAddr>,
    /// Interface it goes out by.
    pub oif: Option<u32>,
    /// Preferred source address.
    pub prefsrc: Option<IpAddr>,
    /// Smaller wins; `None` is 0 for IPv4, 1024 for IPv6.
    pub priority: Option<u32>,
    /// Table; see [`RT_TABLE_MAIN`].
    pub table: u32,
    /// `RT_SCOPE_*`: link if there is no gateway, host for local ones. IPv6
    /// ignores it.
    pub scope: u8,
    /// `RTPROT_*`: who made it.
    pub protocol: u8,
    /// `RTN_*`.
    pub kind: u8,
    /// `RTNH_F_*` bits.
    pub flags: u32,
    /// Path MTU, bytes.
    pub mtu: Option<u32>,
    /// Advertised TCP segment size, bytes.
    pub advmss: Option<u32>,
}

impl NewRoute {
    /// A unicast route of the main table, universe scope, protocol boot.
    #[must_use]
    pub const fn new(dst: IpAddr, prefix: u8) -> Self {
        Self {
            dst,
            prefix,
            gateway: None,
            oif: None,
            prefsrc: None,
            priority: None,
            table: RT_TABLE_MAIN,
            scope: 0,
            protocol: RTPROT_BOOT,
            kind: RTN_UNICAST,
            flags: 0,
            mtu: None,
            advmss: None,
        }
    }

    /// Writes the request.
    ///
    /// A second gateway for one destination and priority: with
    /// [`Mode::Append`] IPv4 keeps two routes, of which the first is used;
    /// IPv6 makes one route with two next hops.
    pub fn emit(&self, batch: &mut Batch<'_>, mode: Mode, seq: u32) {
        batch.begin(RTM_NEWROUTE, mode.flags(), seq);
        let header = Rtmsg {
            family: family_of(self.dst),
            dst_len: self.prefix,
            table: self.table,
            protocol: self.protocol,
            scope: self.scope,
            kind: self.kind,
            flags: self.flags,
        };
        header.emit(batch);
        put_dst(batch, self.dst, self.prefix);
        put_ip(batch, RTA_GATEWAY, self.gateway);
        put_u32(batch, RTA_OIF, self.oif);
        put_ip(batch, RTA_PREFSRC, self.prefsrc);
        put_u32(batch, RTA_PRIORITY, self.priority);
        if self.mtu.is_some() || self.advmss.is_some() {
            let metrics = batch.nest_begin(RTA_METRICS);
            put_u32(batch, RTAX_MTU, self.mtu);
            put_u32(batch, RTAX_ADVMSS, self.advmss);
            batch.nest_end(metrics);
        }
        batch.end();
    }
}

/// Remove the first route that matches all that is given; `ESRCH` if there is
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelRoute {
    /// Destination.
    pub dst: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
    /// Table.
    pub table: u32,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Interface.
    pub oif: Option<u32>,
    /// Priority.
    pub priority: Option<u32>,
    /// `RTPROT_*`; 0 is any.
    pub protocol: u8,
    /// Preferred source address; IPv6 ignores it.
    pub prefsrc: Option<IpAddr>,
}

impl DelRoute {
    /// Any route of the main table to this destination.
    #[must_use]
    pub const fn new(dst: IpAddr, prefix: u8) -> Self {
        Self { dst, prefix, table: RT_TABLE_MAIN, gateway: None, oif: None, priority: None, protocol: 0, prefsrc: None }
    }

    /// Writes the request. It matches any scope and type.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        batch.begin(RTM_DELROUTE, NLM_F_REQUEST | NLM_F_ACK, seq);
        let header = Rtmsg {
            family: family_of(self.dst),
            dst_len: self.prefix,
            table: self.table,
            protocol: self.protocol,
            scope: RT_SCOPE_NOWHERE,
            ..Rtmsg::default()
        };
        header.emit(batch);
        put_dst(batch, self.dst, self.prefix);
        put_ip(batch, RTA_GATEWAY, self.gateway);
        put_u32(batch, RTA_OIF, self.oif);
        put_ip(batch, RTA_PREFSRC, self.prefsrc);
        put_u32(batch, RTA_PRIORITY, self.priority);
        batch.end();
    }
}

/// Ask which route a packet to one destination takes. The answer is one route
/// or an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetRoute {
    /// Destination.
    pub dst: IpAddr,
    /// Only by way of this interface.
    pub oif: Option<u32>,
}

impl GetRoute {
    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        batch.begin(RTM_GETROUTE, NLM_F_REQUEST, seq);
        let bits = if self.dst.is_ipv4() { 32 } else { 128 };
        let header = Rtmsg { family: family_of(self.dst), dst_len: bits, ..Rtmsg::default() };
        header.emit(batch);
        batch.attr_ip(RTA_DST, self.dst);
        put_u32(batch, RTA_OIF, self.oif);
        batch.end();
    }
}

/// Ask for routes. The filters are obeyed only on a socket that has set
/// `NETLINK_GET_STRICT_CHK`: check the answers all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DumpRoutes {
    /// `AF_INET`, `AF_INET6`, or `AF_UNSPEC` for both.
    pub family: u8,
    /// Table; 0 is all. For a table that does not exist yet (none of its routes
    /// was ever made) the kernel answers `ENOENT`, in [`super::nlmsg::Message::done`].
    pub table: u32,
    /// Interface.
    pub oif: Option<u32>,
    /// `RTPROT_*`; 0 is any.
    pub protocol: u8,
    /// `RTN_*`; 0 is any.
    pub kind: u8,
}

impl DumpRoutes {
    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        batch.begin(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, seq);
        let header = Rtmsg {
            family: self.family,
            table: self.table,
            protocol: self.protocol,
            kind: self.kind,
            ..Rtmsg::default()
        };
        header.emit(batch);
        put_u32(batch, RTA_OIF, self.oif);
        batch.end();
    }
}

fn put_dst(batch: &mut Batch<'_>, dst: IpAddr, prefix: u8) {
    if prefix != 0 {
        batch.attr_ip(RTA_DST, dst);
    }
}

fn put_ip(batch: &mut Batch<'_>, kind: u16, ip: Option<IpAddr>) {
    if let Some(ip) = ip {
        batch.attr_ip(kind, ip);
    }
}
