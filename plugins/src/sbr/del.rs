//! DEL and GC of `sbr`.

use core::net::IpAddr;

use picocni_core::backend::Sandbox;
use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Failures, Result};
use picocni_core::name::IfName;
use picocni_core::net::Cidr;
use picocni_core::observe::Ns;
use picocni_core::op::{Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::Call;
use picocni_core::session::Session;

use super::record::{self, Record};
use super::{conf, routes};

/// Rules that are removed in one go.
const SLICE: usize = 32;

/// Addresses of a link whose rules are looked for.
const ADDRESSES: usize = 64;

pub(super) fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let tag = call.owner().tag();
    let record = Record::load(session, &tag)?;
    if session.has_sandbox() {
        let only = conf::table_of(call)?;
        under_lock(session, &mut |session| unroute(session, call.env.ifname, record.as_ref(), only))?;
    }
    forget(session, &tag)
}

/// GC: attachments that are gone. Their sandbox mostly is, and took the rules along.
pub(super) fn gc(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let Some(valid) = ValidAttachments::read(call.text)? else { return Ok(()) };
    crate::record::take_back_stale(session, record::DIR, call.conf.name, &valid, &mut |session, tag| {
        if let Some(record) = Record::load(session, tag)?
            && session.backend.sandbox_lives(&record.netns, &record.identity)
            && session.open_sandbox(&record.netns)? == Sandbox::Open
        {
            let ifname = tag.parts().and_then(|(_, _, ifname)| IfName::new(ifname).ok());
            // No link has the name "lo" but the one that has no rules.
            let ifname = ifname.unwrap_or(IfName::of("lo"));
            under_lock(session, &mut |session| unroute(session, ifname, Some(&record), None))?;
        }
        forget(session, tag)
    })
}

fn under_lock(session: &mut Session<'_>, act: &mut dyn FnMut(&mut Session<'_>) -> Result<()>) -> Result<()> {
    session.backend.lock_sandbox()?;
    let outcome = act(session);
    session.backend.unlock();
    outcome
}

fn forget(session: &mut Session<'_>, tag: &Tag) -> Result<()> {
    let path = crate::record::path(record::DIR, tag)?;
    session.removal(Removal::RemoveFile { path: &path })
}

/// Removes the rules that are written down and those of the link's addresses, of
/// which `only` a table may be meant; then the routes of chosen tables go back.
fn unroute(session: &mut Session<'_>, ifname: IfName, record: Option<&Record>, only: Option<u32>) -> Result<()> {
    let record = match record {
        Some(record) => Some(record).filter(|record| record.is_of_sandbox(session)),
        None => None,
    };
    let link = session.backend.link(Ns::Sandbox, &ifname)?;
    let mut addresses: heapless::Vec<IpAddr, ADDRESSES> = heapless::Vec::new();
    if let Some(link) = &link {
        session.backend.addresses(Ns::Sandbox, link.index, None, &mut |address| {
            let _ = addresses.push(address.cidr.addr());
        })?;
    }
    let entries = record.map_or(&[][..], |record| &record.entries);
    let mut failures = Failures::new();
    failures.note(remove_rules(session, &mut |src, table| {
        entries.iter().any(|entry| (entry.ip, entry.table) == (src, table))
            || (addresses.contains(&src) && only.is_none_or(|only| only == table))
    }));
    if let Some(link) = link.filter(|_| entries.iter().any(|entry| entry.chosen)) {
        failures.note(routes::give_back(session, link.index, entries));
    }
    failures.into_result()
}

/// Removes every rule from a single address for which `is_ours` is true.
fn remove_rules(session: &mut Session<'_>, is_ours: &mut dyn FnMut(IpAddr, u32) -> bool) -> Result<()> {
    loop {
        let mut found: heapless::Vec<Removal<'static>, SLICE> = heapless::Vec::new();
        session.backend.rules(Ns::Sandbox, &mut |rule| {
            let src = rule.src.filter(|src| Cidr::host(src.addr()) == *src).map(Cidr::addr);
            if let Some(src) = src.filter(|src| is_ours(*src, rule.table)) {
                let (table, priority) = (rule.table, Some(rule.priority));
                let _ = found.push(Removal::DeleteRule { ns: Ns::Sandbox, src, table, priority });
            }
        })?;
        if found.is_empty() {
            return Ok(());
        }
        let mut plan = Plan::new();
        for removal in &found {
            plan.remove(*removal)?;
        }
        session.remove(&plan)?;
    }
}
