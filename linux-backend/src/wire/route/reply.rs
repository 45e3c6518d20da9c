//! What the kernel tells about a route.

use super::{
    RTA_DST, RTA_GATEWAY, RTA_METRICS, RTA_MULTIPATH, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY, RTA_TABLE, RTA_VIA,
    RTAX_ADVMSS, RTAX_MTU, RTM_NEWROUTE, RTMSG_LEN,
};
use crate::wire::addr::AF_INET;
use crate::wire::attr::{Attrs, align, ip_of, u16_of, u32_of};
use crate::wire::nlmsg::Message;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of `struct rtnexthop`.
const RTNEXTHOP_LEN: usize = 8;

/// A route as the kernel describes it (`RTM_NEWROUTE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// Destination; unspecified with prefix 0 for the default route.
    pub dst: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
    /// Table.
    pub table: u32,
    /// `RTPROT_*`.
    pub protocol: u8,
    /// `RT_SCOPE_*`.
    pub scope: u8,
    /// `RTN_*`.
    pub kind: u8,
    /// `RTNH_F_*` and `RTM_F_*` bits.
    pub flags: u32,
    /// Next hop; of IPv6 possibly for an IPv4 destination (`RTA_VIA`).
    pub gateway: Option<IpAddr>,
    /// Interface it goes out by.
    pub oif: Option<u32>,
    /// Preferred source address; in the answer to a
    /// [`super::GetRoute`] the address that would be used.
    pub prefsrc: Option<IpAddr>,
    /// Smaller wins; 0 when not told.
    pub priority: u32,
    /// Path MTU, bytes.
    pub mtu: Option<u32>,
    /// Advertised TCP segment size, bytes.
    pub advmss: Option<u32>,
    /// It has several next hops: `gateway` and `oif` are empty, see
    /// [`NextHops`].
    pub multipath: bool,
}

impl Route {
    /// Reads a route; `None` if the message is of another kind, of a family
    /// other than IPv4 and IPv6, or damaged.
    #[must_use]
    pub fn parse(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWROUTE {
            return None;
        }
        let header = message.payload.first_chunk::<RTMSG_LEN>()?;
        let [family, prefix, _src_len, _tos, table, protocol, scope, kind, flags @ ..] = *header;
        let any = match family {
            AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            crate::wire::addr::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => return None,
        };
        let mut route = Self {
            family,
            dst: any,
            prefix,
            table: table.into(),
            protocol,
            scope,
            kind,
            flags: u32::from_ne_bytes(flags),
            gateway: None,
            oif: None,
            prefsrc: None,
            priority: 0,
            mtu: None,
            advmss: None,
            multipath: false,
        };
        let mut attrs = message.attrs(RTMSG_LEN);
        for (kind, payload) in attrs.by_ref() {
            route.read(kind, payload)?;
        }
        (!attrs.malformed()).then_some(route)
    }

    fn read(&mut self, kind: u16, payload: &[u8]) -> Option<()> {
        match kind {
            RTA_DST => self.dst = ip_of(payload)?,
            RTA_OIF => self.oif = Some(u32_of(payload)?),
            RTA_GATEWAY => self.gateway = Some(ip_of(payload)?),
            RTA_VIA => self.gateway = Some(via(payload)?),
            RTA_PRIORITY => self.priority = u32_of(payload)?,
            RTA_PREFSRC => self.prefsrc = Some(ip_of(payload)?),
            RTA_TABLE => self.table = u32_of(payload)?,
            RTA_MULTIPATH => self.multipath = true,
            RTA_METRICS => {
                let metrics = Attrs::new(payload);
                self.mtu = metrics.find(RTAX_MTU).and_then(u32_of);
                self.advmss = metrics.find(RTAX_ADVMSS).and_then(u32_of);
            }
            _ => {}
        }
        Some(())
    }
}

/// `struct rtvia`: a family, then the address.
fn via(payload: &[u8]) -> Option<IpAddr> {
    ip_of(payload.get(2..)?)
}

/// One of several next hops of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// Interface.
    pub oif: u32,
    /// Next hop's address.
    pub gateway: Option<IpAddr>,
    /// `RTNH_F_*` bits.
    pub flags: u8,
    /// Share of the traffic, from 1.
    pub weight: u16,
}

/// Iterates over the next hops of a route with several (`RTA_MULTIPATH`).
#[derive(Debug, Clone, Copy)]
pub struct NextHops<'a> {
    rest: &'a [u8],
}

impl<'a> NextHops<'a> {
    /// Of this `RTM_NEWROUTE`; empty if it has at most one next hop.
    #[must_use]
    pub fn of(message: &Message<'a>) -> Self {
        let found = message.attrs(RTMSG_LEN).find(RTA_MULTIPATH);
        Self { rest: found.unwrap_or(&[]) }
    }
}

impl Iterator for NextHops<'_> {
    type Item = NextHop;

    fn next(&mut self) -> Option<NextHop> {
        // Damage ends the iteration.
        let rest = core::mem::take(&mut self.rest);
        let header = rest.first_chunk::<RTNEXTHOP_LEN>()?;
        let [_, _, flags, hops, oif @ ..] = *header;
        let len = usize::from(u16_of(header)?);
        let attrs = Attrs::new(rest.get(RTNEXTHOP_LEN..len)?);
        self.rest = rest.get(align(len)..).unwrap_or(&[]);
        Some(NextHop {
            oif: u32::from_ne_bytes(oif),
            gateway: attrs.find(RTA_GATEWAY).and_then(ip_of).or_else(|| attrs.find(RTA_VIA).and_then(via)),
            flags,
            // rtnh_hops is the weight less one.
            weight: u16::from(hops).saturating_add(1),
        })
    }
}
