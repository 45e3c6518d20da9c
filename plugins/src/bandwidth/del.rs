//! DEL and GC of `bandwidth`.

use picocni_core::conf::ValidAttachments;
use picocni_core::error::Result;
use picocni_core::observe::{Link, LinkKind};
use picocni_core::op::{Plan, Removal};
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::shaping::{Ingress, Root};

use super::conf::Conf;
use super::{Ifb, host_end, ifb};
use crate::veth;

/// The ifb goes whatever the config says. Without one, and without a limit in
/// the config, there is nothing at the host's end either, and nobody looks. So it
/// goes last: while it is there, the next DEL looks again.
pub(super) fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let ifb = match ifb(call, session)? {
        Ifb::Own(link) => Some(link),
        Ifb::Missing | Ifb::Other(_) => None,
    };
    let shaped = Conf::read(call).is_ok_and(|conf| conf.ingress.is_some());
    if session.has_sandbox() && (shaped || ifb.is_some()) {
        lift(ifb.as_ref(), shaped, call, session)?;
    }
    // In a list in one process it goes with the pod's link.
    ifb.map_or(Ok(()), |ifb| session.delete_link_later(ifb.name))
}

/// What is set at the host's end, if the sandbox still tells which that is.
fn lift(ifb: Option<&Link>, shaped: bool, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let Ok(host) = host_end(call, session) else { return Ok(()) };
    let shaping = session.backend.shaping(host.index)?;
    let mut plan = Plan::new();
    if ifb.is_some_and(|ifb| shaping.ingress == Ingress::Redirect(ifb.index)) {
        plan.remove(Removal::ReleaseIngress { link: host.index })?;
    }
    if shaped && matches!(shaping.root, Root::Bucket(..)) {
        plan.remove(Removal::Unshape { link: host.index })?;
    }
    session.remove(&plan)
}

/// Ifbs with this network's tag that belong to no valid attachment. Those of
/// the reference plugin have no tag and stay.
pub(super) fn gc(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    match ValidAttachments::read(call.text)? {
        Some(valid) => veth::gc_links(session, call.conf.name, &valid, |kind| kind == LinkKind::Ifb),
        None => Ok(()),
    }
}
