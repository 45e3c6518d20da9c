//! ADD of `vrf`.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName};
use picocni_core::net::Family;
use picocni_core::observe::{Link, LinkKind, Ns, Route};
use picocni_core::op::{Change, LinkChange, LinkId, OnFailure, Undo};
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::text::fits;

use super::{Conf, table_of};
use crate::link;
use crate::steps::Steps;
use crate::tables::Tables;

/// `RT_TABLE_DEFAULT`, `RT_TABLE_MAIN` and `RT_TABLE_LOCAL` (linux/rtnetlink.h).
pub(super) const KERNELS_TABLES: [u32; 3] = [253, MAIN, LOCAL];
const MAIN: u32 = 254;
const LOCAL: u32 = 255;
/// `RT_SCOPE_UNIVERSE`: not link-local.
const UNIVERSE: u8 = 0;
/// `RTPROT_KERNEL`: made for an address, and made anew.
const BY_KERNEL: u8 = 2;

type Routes = heapless::Vec<Route, { limits::MOVED_ROUTES }>;

/// Everything that can be refused is looked at before the first change.
pub(super) fn add(call: &Call<'_>, session: &mut Session<'_>, conf: &Conf) -> Result<()> {
    let ifname = call.env.ifname;
    let vrf = session.backend.link(Ns::Sandbox, &conf.name)?;
    let known = vrf.map(|vrf| known(&vrf, conf)).transpose()?;
    let link = session.backend.link(Ns::Sandbox, &ifname)?;
    let link = link.ok_or_else(|| err!(KERNEL, "could not get link by name", ifname, " is not in ", call.env.netns))?;
    if let Some(master) = link.master {
        if known.is_some_and(|(index, _)| index == master) {
            // An ADD that is repeated.
            return Ok(());
        }
        return Err(has_master(session, &link, master));
    }
    let routes = moving_routes(session, link.index)?;
    let mut v6 = false;
    session.backend.addresses(Ns::Sandbox, link.index, Some(Family::V6), &mut |address| {
        v6 |= address.scope == UNIVERSE;
    })?;
    let key: heapless::String<{ limits::SYSCTL_KEY }> =
        fits(&[&"net/ipv6/conf/", &link.name, &"/keep_addr_on_down"])
            .ok_or_else(|| Error::limit("SYSCTL_KEY", limits::SYSCTL_KEY))?;
    let mut steps = Steps::new();
    let vrf = match known {
        Some(known) => known,
        None => create(session, &mut steps, conf)?,
    };
    if v6 {
        let (ns, value, undo, on_failure) = (Ns::Sandbox, "1", Undo::Restore, OnFailure::Fail);
        steps.push(session, &Change::WriteSysctl { ns, key: &key, value, undo, on_failure })?;
    }
    enter(session, &mut steps, &link, vrf, &routes)
}

/// Index and table of a VRF that is there.
fn known(vrf: &Link, conf: &Conf) -> Result<(IfIndex, u32)> {
    let table = table_of(vrf).ok_or_else(|| err!(CONFLICT, "link is not a VRF", conf.name, " is of another kind"))?;
    if let Some(wanted) = conf.table.filter(|wanted| *wanted != table) {
        return Err(err!(
            CONFLICT,
            "VRF already exist with different routing table",
            conf.name,
            " has table ",
            table,
            ", the config asks for ",
            wanted
        ));
    }
    Ok((vrf.index, table))
}

#[cold]
fn has_master(session: &mut Session<'_>, link: &Link, master: IfIndex) -> Error {
    let name = session.backend.link_at(Ns::Sandbox, master).ok().flatten();
    let name = name.map_or(IfName::of("another link"), |master| master.name);
    err!(CONFLICT, "interface has already a master set", link.name, " is a port of ", name)
}

/// The routes of the main table that go with a link that enters a VRF, apart from
/// those that the kernel makes for its addresses. The peer leaves those to
/// neighbours behind, and fails on next hops that are reached by them.
fn moving_routes(session: &mut Session<'_>, index: IfIndex) -> Result<Routes> {
    let mut routes = Routes::new();
    let mut more = false;
    session.backend.routes(Ns::Sandbox, index, &mut |route| {
        if route.protocol != Some(BY_KERNEL) && route.table.is_none_or(|table| table == MAIN) {
            more |= routes.push(*route).is_err();
        }
    })?;
    if more {
        return Err(Error::limit("MOVED_ROUTES", limits::MOVED_ROUTES).with(&" routes on the interface"));
    }
    Ok(routes)
}

/// Makes the VRF, up.
fn create(session: &mut Session<'_>, steps: &mut Steps<'_>, conf: &Conf) -> Result<(IfIndex, u32)> {
    let table = match conf.table {
        Some(table) => table,
        None => free_table(session)?,
    };
    let up = LinkChange { up: Some(true), ..LinkChange::NONE };
    steps.push(
        session,
        &Change::CreateLink {
            from: Ns::Sandbox,
            name: conf.name,
            kind: LinkKind::Vrf(table),
            parent: None,
            mac: None,
            mtu: 0,
            broadcast_queue: 0,
        },
    )?;
    let link = LinkId::Name(conf.name);
    steps.push(session, &Change::SetLink { ns: Ns::Sandbox, link, set: up, undo: Undo::WithLink })?;
    steps.apply(session)?;
    Ok((link::made(session, Ns::Sandbox, &conf.name)?.index, table))
}

/// The lowest table that no VRF of the sandbox has and that is none of the kernel's.
fn free_table(session: &mut Session<'_>) -> Result<u32> {
    let mut tables = Tables::from(1);
    KERNELS_TABLES.iter().for_each(|table| tables.mark(*table));
    session.backend.links(Ns::Sandbox, &mut |link| {
        if let Some(table) = table_of(link) {
            tables.mark(table);
        }
    })?;
    tables.take()
}

/// The kernel sets a link that enters or leaves a VRF down and up, and its routes
/// go. Taken away before, they come back if this is undone. IPv6 addresses stay
/// if they are kept on a link that is down.
fn enter(
    session: &mut Session<'_>,
    steps: &mut Steps<'_>,
    link: &Link,
    (master, table): (IfIndex, u32),
    routes: &Routes,
) -> Result<()> {
    let (ns, index) = (Ns::Sandbox, link.index);
    // What next hops are reached by goes last, and comes back first.
    for route in in_order(routes, [true, false]) {
        steps.push(session, &Change::TakeRoute { ns, index, route: *route })?;
    }
    // The link must not enter while a route is left that would go with it unseen.
    steps.apply(session)?;
    let set = LinkChange { master: Some(master), ..LinkChange::NONE };
    steps.push(session, &Change::SetLink { ns, link: LinkId::Index(index), set, undo: Undo::Restore })?;
    if link.up {
        // A tentative address is no source of a route.
        steps.push(session, &Change::AwaitAddresses { ns, index })?;
    }
    for route in in_order(routes, [false, true]) {
        steps.push(session, &Change::AddRoute { ns, index, route: Route { table: Some(table), ..*route } })?;
    }
    steps.apply(session)
}

/// Those by a next hop first, or last.
fn in_order(routes: &Routes, by_next_hop: [bool; 2]) -> impl Iterator<Item = &Route> {
    by_next_hop.into_iter().flat_map(|by| routes.iter().filter(move |route| route.gw.is_some() == by))
}
