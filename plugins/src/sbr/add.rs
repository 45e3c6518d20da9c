//! ADD of `sbr`.

use core::net::IpAddr;

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::name::IfIndex;
use picocni_core::net::Cidr;
use picocni_core::observe::{Ns, Route};
use picocni_core::op::{Change, Removal};
use picocni_core::plugin::Call;
use picocni_core::result::AddResult;
use picocni_core::session::Session;

use super::conf::{Conf, Ips, own_ips};
use super::record::{self, Entry, Record};
use super::routes::{self, Routes};
use crate::steps::Steps;
use crate::tables::Tables;

/// The first table that is chosen, as in the peer.
const FIRST: u32 = 100;

pub(super) fn add(call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
    let conf = Conf::read(call)?;
    let prev = call.required_prev()?;
    let ips = own_ips(call, prev)?;
    session.backend.lock_sandbox()?;
    // A failure keeps the lock: the caller undoes under it, then unlocks.
    route(call, session, &conf, &ips)?;
    session.backend.unlock();
    result.clone_from(prev);
    Ok(())
}

/// Record, routes of the tables, rules, main table: a rule finds its table whole.
fn route(call: &Call<'_>, session: &mut Session<'_>, conf: &Conf, ips: &Ips) -> Result<()> {
    let index = match conf.table {
        Some(_) => None,
        None => Some(link_index(call, session)?),
    };
    let tag = call.owner().tag();
    let path = crate::record::path(record::DIR, &tag)?;
    let was = session.backend.read_file(&path, &mut [])?.is_some();
    let old = Record::load(session, &tag)?.filter(|old| old.is_of_sandbox(session));
    let main = match index {
        Some(index) => routes::in_main(session, index)?,
        None => Routes::new(),
    };
    let (record, present) = assign(call, session, conf, (ips, &main), old.as_ref())?;
    let text = record.text();
    let write = Change::WriteFile { path: &path, content: text.as_bytes() };
    if old.is_none() {
        if was {
            session.removal(Removal::RemoveFile { path: &path })?;
        }
        session.change(write)?;
    }
    let mut steps = Steps::new();
    if let Some(index) = index {
        copy_routes(session, &mut steps, index, conf, (ips, &main), &record)?;
    }
    for entry in record.entries.iter().filter(|entry| !present.contains(entry)) {
        steps.push(session, &Change::AddRule { ns: Ns::Sandbox, src: entry.ip, table: entry.table })?;
    }
    if let Some(index) = index {
        empty_main(session, &mut steps, index, conf, ips, &main)?;
    }
    steps.apply(session)?;
    // The old record is what DEL of the attachment in use needs, up to here.
    if old.is_some_and(|old| old != record) {
        session.removal(Removal::RemoveFile { path: &path })?;
        session.change(write)?;
    }
    Ok(())
}

fn link_index(call: &Call<'_>, session: &mut Session<'_>) -> Result<IfIndex> {
    let ifname = call.env.ifname;
    let link = session.backend.link(Ns::Sandbox, &ifname)?;
    link.map(|link| link.index)
        .ok_or_else(|| err!(KERNEL, "Cannot find network interface", ifname, " is not in ", call.env.netns))
}

type Entries = record::Entries;

/// A table for each address: that of the config, the one that an earlier ADD of
/// this attachment chose, or the first that no rule names and that has no route.
/// With it those entries whose rule is there already.
fn assign(
    call: &Call<'_>,
    session: &mut Session<'_>,
    conf: &Conf,
    (ips, main): (&Ips, &Routes),
    old: Option<&Record>,
) -> Result<(Record, Entries)> {
    let mut tables = Tables::from(FIRST);
    let mut ruled: heapless::Vec<(IpAddr, u32), { limits::PLAN }> = heapless::Vec::new();
    session.backend.rules(Ns::Sandbox, &mut |rule| {
        tables.mark(rule.table);
        let of = |ip: IpAddr| rule.src == Some(Cidr::host(ip));
        if let Some(ip) = ips.iter().map(|ip| ip.address.addr()).find(|ip| of(*ip)) {
            let _ = ruled.push((ip, rule.table));
        }
    })?;
    if conf.table.is_none() {
        session.backend.route_tables(Ns::Sandbox, &mut |table| tables.mark(table))?;
    }
    let mut record = Record::new(session, call.env.netns)?;
    let mut present = Entries::new();
    for ip in ips {
        let gateway = routes::own_gateway(main, ips, ip, conf);
        let ip = ip.address.addr();
        let earlier = || old.and_then(|old| old.entries.iter().find(|entry| entry.chosen && entry.ip == ip));
        let entry = match (conf.table, earlier()) {
            (Some(table), _) => Entry { ip, table, chosen: false, gateway: None },
            (None, Some(earlier)) => *earlier,
            (None, None) => Entry { ip, table: tables.take()?, chosen: true, gateway },
        };
        let _ = record.entries.push(entry);
        if ruled.contains(&(ip, entry.table)) {
            let _ = present.push(entry);
        }
    }
    Ok((record, present))
}

/// Gives each table its routes. What an earlier ADD put there stays.
fn copy_routes(
    session: &mut Session<'_>,
    steps: &mut Steps<'_>,
    index: IfIndex,
    conf: &Conf,
    (ips, main): (&Ips, &Routes),
    record: &Record,
) -> Result<()> {
    let own = |table| record.entries.iter().any(|entry| entry.table == table);
    let present = routes::of_link(session, index, &own)?;
    for (ip, entry) in ips.iter().zip(&record.entries) {
        routes::of_table(main, ips, (ip, entry.table), conf, &mut |route| {
            let same = |known: &Route| known.dst == route.dst && known.gw == route.gw && known.table == route.table;
            if present.iter().any(same) {
                return Ok(());
            }
            steps.push(session, &Change::AddRoute { ns: Ns::Sandbox, index, route })
        })?;
    }
    Ok(())
}

/// Takes the routes out of the main table: those by a next hop first, since
/// they come back last; then hints come in for those to neighbours.
fn empty_main(
    session: &mut Session<'_>,
    steps: &mut Steps<'_>,
    index: IfIndex,
    conf: &Conf,
    ips: &Ips,
    main: &Routes,
) -> Result<()> {
    let hints = hints(conf, ips);
    for by_next_hop in [true, false] {
        for route in main.iter().filter(|route| route.gw.is_some() == by_next_hop) {
            if routes::leaves(route, ips, &hints, conf) {
                steps.push(session, &Change::TakeRoute { ns: Ns::Sandbox, index, route: *route })?;
            }
        }
    }
    let missing = || hints.iter().filter(|hint| !main.iter().any(|route| routes::is_hint(route, hint)));
    if missing().any(|hint| hint.dst.is_v6()) {
        // A tentative address is no source of a route.
        steps.push(session, &Change::AwaitAddresses { ns: Ns::Sandbox, index })?;
    }
    for hint in missing() {
        steps.push(session, &Change::AddRoute { ns: Ns::Sandbox, index, route: *hint })?;
    }
    Ok(())
}

/// Hints, one for each network: of several addresses in it the last counts.
pub(super) fn hints(conf: &Conf, ips: &Ips) -> heapless::Vec<Route, { limits::IPS }> {
    let mut hints: heapless::Vec<Route, { limits::IPS }> = heapless::Vec::new();
    for hint in ips.iter().filter(|_| conf.source_hints).filter_map(routes::hint) {
        hints.retain(|other| other.dst != hint.dst);
        let _ = hints.push(hint);
    }
    hints
}
