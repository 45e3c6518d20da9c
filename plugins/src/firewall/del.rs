//! DEL and GC of `firewall`: what the record says is taken back.

use core::net::IpAddr;

use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Failures, Result};
use picocni_core::limits;
use picocni_core::observe::FirewallEntry;
use picocni_core::op::{Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::Call;
use picocni_core::result::AddResult;
use picocni_core::session::Session;

use super::conf::{self, Backend};
use super::record::{self, Record};
use super::{iptables, isolation};

/// Needs neither a sandbox, nor a prevResult, nor a config that is right.
/// Without a record the addresses of prevResult are asked for.
pub(super) fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let tag = call.owner().tag();
    if take_back(session, &tag)? {
        return Ok(());
    }
    let Some(prev) = call.prev else { return Ok(()) };
    unrecorded(call, session, &tag, prev)
}

/// Whichever backend knows the addresses. The peer keeps no record, and neither
/// firewalld nor iptables says whose an address is: one that another attachment
/// has by now stays.
fn unrecorded(call: &Call<'_>, session: &mut Session<'_>, tag: &Tag, prev: &AddResult) -> Result<()> {
    let zone = conf::zone(call);
    let mut failures = Failures::new();
    let mut plan = Plan::new();
    let mut pods = heapless::Vec::<IpAddr, { limits::IPS }>::new();
    for ip in &prev.ips {
        let ip = ip.address.addr();
        plan.remove(Removal::Erase { entry: FirewallEntry::Pod(ip), tag: tag.as_str() })?;
        let _ = pods.push(ip);
    }
    failures.note(session.remove(&plan));
    for ip in &pods {
        if session.backend.is_bound(zone, *ip)? && !record::holds(session, *ip)? {
            failures.note(session.removal(Removal::UnbindSource { zone, ip: *ip }));
        }
    }
    for ip in &iptables::find(session, &pods)? {
        if !record::holds(session, *ip)? {
            failures.note(iptables::remove(session, core::slice::from_ref(ip)));
        }
    }
    failures.into_result()
}

/// Records of this network that belong to no valid attachment.
pub(super) fn gc(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let Some(valid) = ValidAttachments::read(call.text)? else { return Ok(()) };
    crate::record::take_back_stale(session, record::DIR, call.conf.name, &valid, &mut |session, tag| {
        take_back(session, tag).map(|_| ())
    })
}

/// Takes back what the record of `tag` says; `false` if there is none. The
/// record goes last, and only if all went well: it is what a repeated DEL needs.
///
/// # Errors
/// The first failure, after everything was tried.
pub(super) fn take_back(session: &mut Session<'_>, tag: &Tag) -> Result<bool> {
    let Some(record) = Record::read(session, tag)? else { return Ok(false) };
    let mut failures = Failures::new();
    let mut plan = Plan::new();
    for ip in &record.pods {
        match record.backend {
            Backend::Nftables => plan.remove(Removal::Erase { entry: FirewallEntry::Pod(*ip), tag: tag.as_str() })?,
            Backend::Firewalld => plan.remove(Removal::UnbindSource { zone: &record.zone, ip: *ip })?,
            Backend::Iptables => {}
        }
    }
    failures.note(session.remove(&plan));
    if record.backend == Backend::Iptables {
        failures.note(iptables::remove(session, &record.pods));
    }
    if let Some(isolation) = &record.isolation {
        session.backend.lock(isolation::LOCK)?;
        failures.note(isolation::take_back(session, tag, isolation));
        session.backend.unlock();
    }
    failures.into_result()?;
    session.removal(Removal::RemoveFile { path: &Record::path(tag)? })?;
    Ok(true)
}
