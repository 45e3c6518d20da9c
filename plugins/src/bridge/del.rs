//! DEL and GC of `bridge`.

use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Failures, Result};
use picocni_core::op::Plan;
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::version::Command;

use super::macspoof;
use crate::{link, masquerade, veth};

/// The link first, so that nobody else gets an address that is still in use.
/// Everything is tried; what is gone already is success.
pub(super) fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let mut failures = Failures::new();
    let mut plan = Plan::new();
    failures.note(veth::plan_deletion(call, session, &mut plan));
    failures.note(session.remove(&plan));
    failures.note(macspoof::del(call, session));
    failures.note(masquerade::del(call, session));
    failures.note(link::forward(call, session, Command::Del));
    failures.into_result()
}

/// Links and masquerade entries with this network's tag that belong to no
/// valid attachment, then the IPAM plugin's own GC.
pub(super) fn gc(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let mut failures = Failures::new();
    if let Some(valid) = ValidAttachments::read(call.text)? {
        let network = call.conf.name;
        failures.note(veth::gc(session, network, &valid));
        failures.note(macspoof::gc(session, network, &valid));
        failures.note(masquerade::gc(session, network, &valid));
    }
    failures.note(link::forward(call, session, Command::Gc));
    failures.into_result()
}
