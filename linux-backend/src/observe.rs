//! Links, addresses and routes as the kernel tells them.

use core::net::IpAddr;

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName, Mac};
use picocni_core::net::{Cidr, Family};
use picocni_core::observe::{Address, IpvlanMode, Link, LinkKind, MacvlanMode, Route, Rule};
use picocni_core::text::Put;

use crate::errno;
use crate::host::{Memory, over_send};
use crate::socket::{Refusal, Socket};
use crate::wire;
use crate::wire::addr::{AF_INET, AF_INET6, AF_UNSPEC, Addr, DumpAddrs, IFA_F_DADFAILED, IFA_F_TENTATIVE};
use crate::wire::link::{DumpLinks, GetLink, IFF_ALLMULTI, IFF_LOOPBACK, IFF_LOWER_UP, IFF_PROMISC, IFF_UP, NewLink};
use crate::wire::nlmsg::Batch;
use crate::wire::route::{DumpRoutes, GetRoute, RT_TABLE_MAIN, RTN_UNICAST, RTNH_F_ONLINK};
use crate::wire::rule::{DumpRules, FR_ACT_TO_TBL};

const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const ENODEV: i32 = 19;
const ENETUNREACH: i32 = 101;
const EHOSTUNREACH: i32 = 113;

/// `IF_OPER_*` of RFC 2863.
const OPER_UNKNOWN: u8 = 0;
const OPER_UP: u8 = 6;
/// `BR_STATE_FORWARDING` (linux/if_bridge.h).
const FORWARDING: u8 = 3;

/// Addresses of one link that are looked at.
const ADDRESSES: usize = 64;
/// Routes of one link that are looked at.
const ROUTES: usize = 128;

fn refused(verb: &'static str, object: &dyn Put, refusal: &Refusal) -> Error {
    errno::kernel(verb, object, refusal.errno, &refusal.words)
}

/// The link that the request asks for.
pub(crate) fn link(socket: &mut Socket, memory: &mut Memory, request: GetLink<'_>) -> Result<Option<Link>> {
    let seq = socket.take_seq(1);
    let mut batch = Batch::new(&mut memory.send);
    request.emit(&mut batch, seq);
    let bytes = batch.finish().map_err(|_| over_send())?;
    let mut found = None;
    socket
        .get(bytes, seq, &[ENODEV], &mut memory.receive, &mut |message| {
            found = wire::link::Link::parse(message).as_ref().map(read_link)
        })
        .map_err(|refusal| refused("look up", &"link", &refusal))?;
    Ok(found)
}

fn read_link(link: &wire::link::Link) -> Link {
    let mut alias = heapless::String::new();
    // An alias that does not fit is none of ours.
    let _ = alias.push_str(&link.alias);
    let port = link.bridge_port.unwrap_or_default();
    let carrier = link.flags & IFF_LOWER_UP != 0;
    Link {
        index: IfIndex(link.index),
        name: IfName::of(&link.name),
        mac: Mac(link.mac.unwrap_or_default()),
        mtu: link.mtu,
        txqlen: link.txqlen,
        up: link.flags & IFF_UP != 0,
        // A veth whose state is unknown is a new one that the kernel has yet to give a queue: it drops what is sent.
        running: link.operstate == OPER_UP || (link.operstate == OPER_UNKNOWN && carrier && link.kind != "veth"),
        promisc: link.promiscuity > 0 || link.flags & IFF_PROMISC != 0,
        allmulti: link.flags & IFF_ALLMULTI != 0,
        kind: read_kind(link),
        master: link.master.map(IfIndex),
        peer: link.link.map(IfIndex),
        forwarding: port.state == FORWARDING,
        hairpin: port.hairpin,
        isolated: port.isolated,
        alias,
    }
}

fn read_kind(link: &wire::link::Link) -> LinkKind {
    match (link.kind.as_str(), link.mode) {
        ("bridge", _) => LinkKind::Bridge,
        ("veth", _) => LinkKind::Veth,
        ("dummy", _) => LinkKind::Dummy,
        ("macvlan", Some(1)) => LinkKind::Macvlan(MacvlanMode::Private),
        ("macvlan", Some(2)) => LinkKind::Macvlan(MacvlanMode::Vepa),
        ("macvlan", Some(4)) => LinkKind::Macvlan(MacvlanMode::Bridge),
        ("macvlan", Some(8)) => LinkKind::Macvlan(MacvlanMode::Passthru),
        ("ipvlan", Some(0)) => LinkKind::Ipvlan(IpvlanMode::L2),
        ("ipvlan", Some(1)) => LinkKind::Ipvlan(IpvlanMode::L3),
        ("ipvlan", Some(2)) => LinkKind::Ipvlan(IpvlanMode::L3s),
        ("vlan", Some(id)) => LinkKind::Vlan(u16::try_from(id).unwrap_or(u16::MAX)),
        ("tun", _) => LinkKind::Tun,
        ("vrf", Some(table)) => LinkKind::Vrf(table),
        ("ifb", _) => LinkKind::Ifb,
        _ if link.flags & IFF_LOOPBACK != 0 => LinkKind::Loopback,
        _ => LinkKind::Other,
    }
}

/// Every link. If links change meanwhile one may come twice.
pub(crate) fn links(socket: &mut Socket, memory: &mut Memory, each: &mut dyn FnMut(&Link)) -> Result<()> {
    let Memory { send, receive } = memory;
    let outcome = socket.dump(
        &mut |seq, buffer| {
            let mut batch = Batch::new(buffer);
            DumpLinks::default().emit(&mut batch, seq);
            batch.finish().map_or(0, <[u8]>::len)
        },
        send,
        receive,
        &mut |message| {
            if let Some(link) = message.and_then(wire::link::Link::parse) {
                each(&read_link(&link));
            }
        },
    );
    outcome.map_err(|refusal| refused("list", &"links", &refusal))
}

/// The addresses of a link, of one family or of both.
pub(crate) fn addresses(
    socket: &mut Socket,
    memory: &mut Memory,
    index: IfIndex,
    family: Option<Family>,
    each: &mut dyn FnMut(&Address),
) -> Result<()> {
    let Memory { send, receive } = memory;
    let number = match family {
        None => AF_UNSPEC,
        Some(Family::V4) => AF_INET,
        Some(Family::V6) => AF_INET6,
    };
    let mut found: heapless::Vec<Address, ADDRESSES> = heapless::Vec::new();
    let mut more = false;
    let outcome = socket.dump(
        &mut |seq, buffer| {
            let mut batch = Batch::new(buffer);
            DumpAddrs { family: number, index: index.0 }.emit(&mut batch, seq);
            batch.finish().map_or(0, <[u8]>::len)
        },
        send,
        receive,
        &mut |message| match message {
            None => found.clear(),
            Some(message) => {
                if let Some(address) =
                    Addr::parse(message).filter(|a| a.index == index.0).as_ref().and_then(read_address)
                {
                    more |= found.push(address).is_err();
                }
            }
        },
    );
    outcome.map_err(|refusal| refused("list", &"addresses", &refusal))?;
    if more {
        return Err(Error::limit("ADDRESSES", ADDRESSES));
    }
    // A kernel without IPv6 answers a question for its addresses with all it has.
    found.iter().filter(|a| family.is_none_or(|family| family == Family::of(a.cidr.addr()))).for_each(each);
    Ok(())
}

fn read_address(address: &Addr) -> Option<Address> {
    Some(Address {
        cidr: Cidr::new(address.local, address.prefix)?,
        scope: address.scope,
        tentative: address.flags & IFA_F_TENTATIVE != 0,
        dad_failed: address.flags & IFA_F_DADFAILED != 0,
    })
}

/// The unicast routes out of a link. One of IPv4 with several next hops is no
/// route of one link.
pub(crate) fn routes(
    socket: &mut Socket,
    memory: &mut Memory,
    index: IfIndex,
    each: &mut dyn FnMut(&Route),
) -> Result<()> {
    let Memory { send, receive } = memory;
    let mut found: heapless::Vec<Route, ROUTES> = heapless::Vec::new();
    let mut more = false;
    let outcome = socket.dump(
        &mut |seq, buffer| {
            let mut batch = Batch::new(buffer);
            DumpRoutes { oif: Some(index.0), ..DumpRoutes::default() }.emit(&mut batch, seq);
            batch.finish().map_or(0, <[u8]>::len)
        },
        send,
        receive,
        &mut |message| match message {
            None => found.clear(),
            Some(message) => {
                let mut keep = |route: Option<Route>| {
                    if let Some(route) = route {
                        more |= found.push(route).is_err();
                    }
                };
                let Some(route) = wire::route::Route::parse(message).filter(|r| r.kind == RTN_UNICAST) else { return };
                if route.oif == Some(index.0) {
                    keep(read_route(&route, route.gateway));
                }
                // Of IPv6 each next hop is a route that can be removed alone.
                if route.multipath && route.family == AF_INET6 {
                    for hop in wire::route::NextHops::of(message).filter(|hop| hop.oif == index.0) {
                        keep(read_route(&route, hop.gateway));
                    }
                }
            }
        },
    );
    outcome.map_err(|refusal| refused("list", &"routes", &refusal))?;
    if more {
        return Err(Error::limit("ROUTES", ROUTES).with(&" routes on one link"));
    }
    found.iter().for_each(each);
    Ok(())
}

fn read_route(route: &wire::route::Route, gw: Option<IpAddr>) -> Option<Route> {
    Some(Route {
        dst: Cidr::new(route.dst, route.prefix)?,
        gw,
        mtu: route.mtu.unwrap_or(0),
        advmss: route.advmss.unwrap_or(0),
        priority: route.priority,
        table: Some(route.table),
        scope: Some(route.scope),
        src: route.prefsrc,
        protocol: Some(route.protocol),
        onlink: route.flags & RTNH_F_ONLINK != 0,
    })
}

/// The table of every route.
pub(crate) fn route_tables(socket: &mut Socket, memory: &mut Memory, each: &mut dyn FnMut(u32)) -> Result<()> {
    let Memory { send, receive } = memory;
    let outcome = socket.dump(
        &mut |seq, buffer| {
            let mut batch = Batch::new(buffer);
            DumpRoutes::default().emit(&mut batch, seq);
            batch.finish().map_or(0, <[u8]>::len)
        },
        send,
        receive,
        &mut |message| {
            if let Some(route) = message.and_then(wire::route::Route::parse) {
                each(route.table);
            }
        },
    );
    outcome.map_err(|refusal| refused("list", &"routes", &refusal))
}

/// Every rule of IPv4 and IPv6; the dump has those of multicast too.
pub(crate) fn rules(socket: &mut Socket, memory: &mut Memory, each: &mut dyn FnMut(&Rule)) -> Result<()> {
    let Memory { send, receive } = memory;
    let outcome = socket.dump(
        &mut |seq, buffer| {
            let mut batch = Batch::new(buffer);
            DumpRules { family: AF_UNSPEC }.emit(&mut batch, seq);
            batch.finish().map_or(0, <[u8]>::len)
        },
        send,
        receive,
        &mut |message| {
            let rule = message.and_then(wire::rule::Rule::parse);
            if let Some(rule) = rule.filter(|rule| matches!(rule.family, AF_INET | AF_INET6)) {
                let plain = !rule.narrowed && rule.flags == 0 && rule.action == FR_ACT_TO_TBL;
                let src = rule.src.filter(|_| plain).and_then(|(src, prefix)| Cidr::new(src, prefix));
                each(&Rule { src, table: rule.table, priority: rule.priority });
            }
        },
    );
    outcome.map_err(|refusal| refused("list", &"rules", &refusal))
}

/// Whether the kernel knows VRFs: it refuses to make one without a table, and
/// before that a kind that it does not know.
pub(crate) fn probe_vrf(socket: &mut Socket, memory: &mut Memory) -> Result<()> {
    let seq = socket.take_seq(1);
    let mut batch = Batch::new(&mut memory.send);
    NewLink::new("vrf-probe", wire::link::LinkKind::Vrf { table: 0 }).emit(&mut batch, seq);
    let bytes = batch.finish().map_err(|_| over_send())?;
    let mut told = 0;
    let answered = socket.acknowledge(bytes, seq, 1, &mut memory.receive, &mut |_, outcome| {
        told = outcome.err().map_or(0, |refusal| refusal.errno);
    });
    if answered.is_ok() && matches!(told, EINVAL | EEXIST) {
        return Ok(());
    }
    Err(err!(NOT_AVAILABLE, "kernel has no VRF", errno::Reason(told), "; needs CONFIG_NET_VRF (module vrf)"))
}

/// The link of the first default route in the main table.
pub(crate) fn default_route(socket: &mut Socket, memory: &mut Memory, family: Family) -> Result<Option<IfIndex>> {
    let Memory { send, receive } = memory;
    let number = if family == Family::V4 { AF_INET } else { AF_INET6 };
    let mut first = None;
    let outcome = socket.dump(
        &mut |seq, buffer| {
            let mut batch = Batch::new(buffer);
            DumpRoutes { family: number, table: RT_TABLE_MAIN, ..DumpRoutes::default() }.emit(&mut batch, seq);
            batch.finish().map_or(0, <[u8]>::len)
        },
        send,
        receive,
        &mut |message| {
            let Some(message) = message else { return first = None };
            let route = wire::route::Route::parse(message)
                .filter(|route| route.kind == RTN_UNICAST && route.prefix == 0 && route.table == RT_TABLE_MAIN);
            if let (None, Some(route)) = (first, route) {
                first = route.oif.or_else(|| wire::route::NextHops::of(message).map(|hop| hop.oif).next());
            }
        },
    );
    match outcome {
        Err(refusal) if refusal.errno != ENOENT => Err(refused("list", &"routes", &refusal)),
        _ => Ok(first.map(IfIndex)),
    }
}

/// The link by which a packet to `to` leaves.
pub(crate) fn route_index(socket: &mut Socket, memory: &mut Memory, to: IpAddr) -> Result<Option<IfIndex>> {
    let seq = socket.take_seq(1);
    let mut batch = Batch::new(&mut memory.send);
    GetRoute { dst: to, oif: None }.emit(&mut batch, seq);
    let bytes = batch.finish().map_err(|_| over_send())?;
    let mut found = None;
    socket
        .get(bytes, seq, &[ENETUNREACH, EHOSTUNREACH], &mut memory.receive, &mut |message| {
            found = wire::route::Route::parse(message).and_then(|route| route.oif).map(IfIndex);
        })
        .map_err(|refusal| refused("look up route to", &to, &refusal))?;
    Ok(found)
}

/// Bytes of an alias that fit a tag.
const _: () = assert!(limits::TAG <= 255, "ifalias holds 255 bytes");
