//! Which routes go where: what the link has in the main table is copied to the
//! table of each address, and taken out of the main one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::IfIndex;
use picocni_core::net::{Cidr, Family};
use picocni_core::observe::{Ns, Route};
use picocni_core::op::{Plan, Removal};
use picocni_core::result::IpConfig;
use picocni_core::session::Session;

use super::conf::{Conf, Ips};
use super::record::Entry;

/// `RT_TABLE_MAIN` (linux/rtnetlink.h).
const MAIN: u32 = 254;
/// `RT_SCOPE_LINK`.
const SCOPE_LINK: u8 = 253;
/// `RTPROT_BOOT`: as plugins set routes.
const BY_BOOT: u8 = 3;
/// The metric of an IPv6 route that is given none (`IP6_RT_PRIO_USER`, linux/ipv6_route.h).
const METRIC_V6: u32 = 1024;

/// Routes of the link.
pub(super) type Routes = heapless::Vec<Route, { limits::MOVED_ROUTES }>;

/// The routes of a link in the tables of which `wanted` is true.
///
/// # Errors
/// Code 101. Code 100: more than [`limits::MOVED_ROUTES`].
pub(super) fn of_link(session: &mut Session<'_>, index: IfIndex, wanted: &dyn Fn(u32) -> bool) -> Result<Routes> {
    let mut routes = Routes::new();
    let mut more = false;
    session.backend.routes(Ns::Sandbox, index, &mut |route| {
        if wanted(route.table.unwrap_or(MAIN)) {
            more |= routes.push(*route).is_err();
        }
    })?;
    if more {
        return Err(Error::limit("MOVED_ROUTES", limits::MOVED_ROUTES).with(&" routes on the interface"));
    }
    Ok(routes)
}

/// The routes of a link in the main table.
///
/// # Errors
/// As [`of_link`].
pub(super) fn in_main(session: &mut Session<'_>, index: IfIndex) -> Result<Routes> {
    of_link(session, index, &|table| table == MAIN)
}

fn is_link_local(route: &Route) -> bool {
    matches!(route.dst.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Whether a route's source or next hop is in the network of an address, or it has neither.
fn is_for(route: &Route, ip: &IpConfig) -> bool {
    let within = |addr: Option<IpAddr>| addr.is_some_and(|addr| ip.address.contains(addr));
    within(route.src) || within(route.gw) || (route.src.is_none() && route.gw.is_none())
}

/// A default route that another one without a metric would replace.
fn is_plain_default(route: &Route) -> bool {
    let metric = if route.dst.is_v6() { METRIC_V6 } else { 0 };
    route.dst.is_default() && (route.priority == metric || route.priority == 0)
}

/// The routes of the main table that are copied to an address's.
fn copies<'r>(
    main: &'r Routes,
    ips: &'r Ips,
    ip: &'r IpConfig,
    conf: &Conf,
) -> impl Iterator<Item = &'r Route> + Clone {
    let (fixed, gateway) = (conf.fixed_gateway(ip).is_some(), conf.gateway(ip).is_some());
    main.iter().filter(move |route| {
        let own = is_for(route, ip);
        let replaced = is_plain_default(route) && (fixed || (gateway && !own));
        let is_here = own || !ips.iter().any(|ip| is_for(route, ip));
        route.dst.is_v6() == ip.address.is_v6() && is_here && !replaced
    })
}

/// The gateway of an address's default route, if that is none of the main table's.
pub(super) fn own_gateway(main: &Routes, ips: &Ips, ip: &IpConfig, conf: &Conf) -> Option<IpAddr> {
    conf.gateway(ip).filter(|_| !copies(main, ips, ip, conf).any(is_plain_default))
}

/// Hands out the routes of an address's table: those to neighbours, by which
/// next hops are reached, then the others. Routes that are for no address in
/// particular are for each of their family, where the peer loses them. A
/// gateway of the config replaces the default route of the main table, one of
/// prevResult yields to it.
///
/// # Errors
/// Those of `each`.
pub(super) fn of_table(
    main: &Routes,
    ips: &Ips,
    (ip, table): (&IpConfig, u32),
    conf: &Conf,
    each: &mut dyn FnMut(Route) -> Result<()>,
) -> Result<()> {
    let copies = copies(main, ips, ip, conf);
    let moved = |route: &Route| Route { table: Some(table), ..*route };
    for route in copies.clone().filter(|route| route.gw.is_none()) {
        each(moved(route))?;
    }
    if let Some(gw) = own_gateway(main, ips, ip, conf) {
        each(Route { gw: Some(gw), table: Some(table), ..Route::to(default(ip)) })?;
    }
    for route in copies.filter(|route| route.gw.is_some()) {
        each(moved(route))?;
    }
    Ok(())
}

fn default(ip: &IpConfig) -> Cidr {
    let any: IpAddr = match Family::of(ip.address.addr()) {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A prefix of 0 fits every address.
    Cidr::new(any, 0).unwrap_or(ip.address)
}

/// Whether `route` is the default route by `gw`.
pub(super) fn is_default_by(route: &Route, ip: &IpConfig, gw: IpAddr) -> bool {
    route.dst == default(ip) && route.gw == Some(gw)
}

/// The route to an address's network that stays in the main table, with the
/// address as its source; an address without neighbours has none.
pub(super) fn hint(ip: &IpConfig) -> Option<Route> {
    let address = ip.address;
    let scope = (!address.is_v6()).then_some(SCOPE_LINK);
    (Cidr::host(address.addr()) != address).then(|| Route {
        src: Some(address.addr()),
        scope,
        table: Some(MAIN),
        ..Route::to(address.network())
    })
}

/// Whether a route of the main table is the hint for an address.
pub(super) fn is_hint(route: &Route, hint: &Route) -> bool {
    route.dst == hint.dst && route.gw.is_none() && route.src == hint.src
}

/// Whether a route leaves the main table. The kernel's own to link-local
/// neighbours stays: what has no other address would not be reached. So do those
/// of a family that has no address here, and so no table. With hints
/// those to neighbours stay too, apart from one that a hint stands in for.
pub(super) fn leaves(route: &Route, ips: &Ips, hints: &[Route], conf: &Conf) -> bool {
    if is_link_local(route) || !ips.iter().any(|ip| ip.address.is_v6() == route.dst.is_v6()) {
        return false;
    }
    if !conf.source_hints {
        return true;
    }
    let to_neighbours = route.gw.is_none() && (route.dst.is_v6() || route.scope == Some(SCOPE_LINK));
    !to_neighbours || hints.iter().any(|hint| hint.dst == route.dst && !is_hint(route, hint))
}

/// What gives a chosen table's routes back: hints go, the routes come back to the
/// main table, those to neighbours first, and leave the other. Each stage needs
/// the one before.
///
/// # Errors
/// Code 101.
pub(super) fn give_back(session: &mut Session<'_>, index: IfIndex, entries: &[Entry]) -> Result<()> {
    let ns = Ns::Sandbox;
    let chosen = |table| entries.iter().any(|entry| entry.chosen && entry.table == table);
    let own = of_link(session, index, &chosen)?;
    let mut plan = Plan::new();
    for route in &in_main(session, index)? {
        let for_entry = |entry: &Entry| entry.chosen && route.src == Some(entry.ip) && route.dst.contains(entry.ip);
        if route.gw.is_none() && route.protocol == Some(BY_BOOT) && entries.iter().any(for_entry) {
            plan.remove(Removal::DeleteRoute { ns, index, route: *route })?;
        }
    }
    session.remove(&plan)?;
    plan.clear();
    let is_made = |route: &Route| {
        let by = |entry: &Entry| route.table == Some(entry.table) && route.gw.is_some() && route.gw == entry.gateway;
        is_plain_default(route) && entries.iter().any(by)
    };
    for by_next_hop in [false, true] {
        for route in own.iter().filter(|route| route.gw.is_some() == by_next_hop && !is_made(route)) {
            plan.remove(Removal::RestoreRoute { ns, index, route: Route { table: Some(MAIN), ..*route } })?;
        }
    }
    session.remove(&plan)?;
    plan.clear();
    for route in &own {
        plan.remove(Removal::DeleteRoute { ns, index, route: *route })?;
    }
    session.remove(&plan)
}
