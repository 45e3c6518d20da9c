//! DEL and GC of `firewall`: what the record says is taken back.

use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Failures, Result};
use picocni_core::observe::FirewallEntry;
use picocni_core::op::{Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::Call;
use picocni_core::session::Session;

use super::conf::Backend;
use super::isolation;
use super::record::{self, Record};

/// Needs neither a sandbox, nor a prevResult, nor a config that is right.
/// Without a record the addresses of prevResult are asked for.
pub(super) fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let tag = call.owner().tag();
    if take_back(session, &tag)? {
        return Ok(());
    }
    let Some(prev) = call.prev else { return Ok(()) };
    let mut plan = Plan::new();
    for ip in &prev.ips {
        plan.remove(Removal::Erase { entry: FirewallEntry::Pod(ip.address.addr()), tag: tag.as_str() })?;
    }
    session.remove(&plan)
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
    if let Some(isolation) = &record.isolation {
        session.backend.lock(isolation::LOCK)?;
        failures.note(isolation::take_back(session, tag, isolation));
        session.backend.unlock();
    }
    failures.into_result()?;
    session.removal(Removal::RemoveFile { path: &Record::path(tag)? })?;
    Ok(true)
}
