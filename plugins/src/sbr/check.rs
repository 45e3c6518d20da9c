//! CHECK of `sbr`: rules and routes are as ADD made them.

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::net::Cidr;
use picocni_core::observe::{Ns, Rule};
use picocni_core::plugin::Call;
use picocni_core::result::IpConfig;
use picocni_core::session::Session;

use super::add::hints;
use super::conf::{Conf, Ips, own_ips};
use super::record::Record;
use super::routes;

pub(super) fn check(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let conf = Conf::read(call)?;
    let prev = call.required_prev()?;
    let ips = own_ips(call, prev)?;
    let record = Record::load(session, &call.owner().tag())?;
    let record = record.filter(|record| record.is_of_sandbox(session));
    let mut rules: heapless::Vec<Rule, { limits::PLAN }> = heapless::Vec::new();
    session.backend.rules(Ns::Sandbox, &mut |rule| {
        if ips.iter().any(|ip| rule.src == Some(Cidr::host(ip.address.addr()))) {
            let _ = rules.push(*rule);
        }
    })?;
    let mut tables: heapless::Vec<u32, { limits::IPS }> = heapless::Vec::new();
    for ip in &ips {
        let addr = ip.address.addr();
        // Without a record, as after the peer's ADD, any table will do.
        let written = record.as_ref().and_then(|record| record.entries.iter().find(|entry| entry.ip == addr));
        let expected = conf.table.or(written.map(|entry| entry.table));
        let of =
            |rule: &&Rule| rule.src == Some(Cidr::host(addr)) && expected.is_none_or(|expected| expected == rule.table);
        let Some(rule) = rules.iter().find(of) else {
            return Err(err!(CHANGED, "rule is missing", "from ", addr, " lookup ", expected.unwrap_or(0)));
        };
        let _ = tables.push(rule.table);
    }
    if conf.table.is_some() {
        return Ok(());
    }
    check_routes(call, session, &conf, &ips, &tables)
}

fn check_routes(call: &Call<'_>, session: &mut Session<'_>, conf: &Conf, ips: &Ips, tables: &[u32]) -> Result<()> {
    let ifname = call.env.ifname;
    let link = session.backend.link(Ns::Sandbox, &ifname)?;
    let link = link.ok_or_else(|| err!(CHANGED, "container interface is missing", ifname))?;
    let own = routes::of_link(session, link.index, &|table| tables.contains(&table))?;
    for (ip, table) in ips.iter().zip(tables) {
        if !has_default(conf, ip, *table, &own) {
            return Err(err!(CHANGED, "default route is missing", "from ", ip.address.addr(), " in table ", *table));
        }
    }
    let main = routes::in_main(session, link.index)?;
    let hints = hints(conf, ips);
    if let Some(route) = main.iter().find(|route| routes::leaves(route, ips, &hints, conf)) {
        return Err(err!(CHANGED, "route is in the main table", route.dst, " on ", ifname));
    }
    match hints.iter().find(|hint| !main.iter().any(|route| routes::is_hint(route, hint))) {
        Some(hint) => Err(err!(CHANGED, "route is missing in the main table", hint.dst, " on ", ifname)),
        None => Ok(()),
    }
}

/// A gateway of the config is the one that is used; for one of prevResult the
/// link's own default route may have come in.
fn has_default(conf: &Conf, ip: &IpConfig, table: u32, routes: &routes::Routes) -> bool {
    let Some(gw) = conf.gateway(ip) else { return true };
    let fixed = conf.fixed_gateway(ip).is_some();
    routes.iter().filter(|route| route.table == Some(table)).any(|route| {
        routes::is_default_by(route, ip, gw)
            || (!fixed && route.dst.is_default() && route.dst.is_v6() == ip.address.is_v6())
    })
}
