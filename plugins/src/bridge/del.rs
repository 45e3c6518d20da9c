//! DEL and GC of `bridge`.

use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Failures, Result};
use picocni_core::name::IfName;
use picocni_core::observe::Ns;
use picocni_core::op::{Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::version::Command;

use crate::{masquerade, veth};

/// The link first, so that nobody else gets an address that is still in use.
/// Everything is tried; what is gone already is success.
pub(super) fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let mut failures = Failures::new();
    let mut plan = Plan::new();
    failures.note(veth::plan_deletion(call, session, &mut plan));
    failures.note(session.remove(&plan));
    failures.note(masquerade::del(session, &call.owner().tag()));
    if call.conf.has_ipam() {
        failures.note(session.delegate(call, Command::Del, None));
    }
    failures.into_result()
}

/// Links and masquerade entries with this network's tag that belong to no
/// valid attachment, then the IPAM plugin's own GC.
pub(super) fn gc(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let mut failures = Failures::new();
    if let Some(valid) = ValidAttachments::read(call.text)? {
        let network = call.conf.name;
        failures.note(remove_links(session, network, &valid));
        failures.note(masquerade::gc(session, network, &valid));
    }
    if call.conf.has_ipam() {
        failures.note(session.delegate(call, Command::Gc, None));
    }
    failures.into_result()
}

/// Stale links go in slices: a dump is closed before anything is deleted.
fn remove_links(session: &mut Session<'_>, network: &str, valid: &ValidAttachments<'_>) -> Result<()> {
    loop {
        let mut stale: heapless::Vec<IfName, 32> = heapless::Vec::new();
        session.backend.links(Ns::Host, &mut |link| {
            let dead =
                Tag::read(&link.alias).is_some_and(|tag| tag.is_of_network(network) && !valid.keeps(network, &tag));
            if dead {
                let _ = stale.push(link.name);
            }
        })?;
        if stale.is_empty() {
            return Ok(());
        }
        let mut plan = Plan::new();
        for name in &stale {
            plan.remove(Removal::DeleteLink { ns: Ns::Host, name: *name })?;
        }
        session.remove(&plan)?;
    }
}
