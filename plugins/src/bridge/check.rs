//! CHECK of `bridge`.

use picocni_core::check;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::observe::{LinkKind, Ns};
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::version::Command;

use super::conf::Conf;
use super::macspoof;
use crate::{link, masquerade};

/// The IPAM plugin agrees; bridge, host end and container interface of
/// prevResult are there and joined; addresses and routes are on it.
pub(super) fn check(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let conf = Conf::read(call)?;
    link::forward(call, session, Command::Check)?;
    let prev = call.required_prev()?;
    let bridge =
        session.backend.link(Ns::Host, &conf.bridge)?.ok_or_else(|| err!(CHANGED, "bridge is missing", conf.bridge))?;
    if bridge.kind != LinkKind::Bridge {
        return Err(err!(CHANGED, "link exists but is not a bridge", conf.bridge));
    }
    if let Some(reported) = prev.interfaces.iter().find(|i| i.sandbox.is_empty() && i.name == conf.bridge.as_str()) {
        check::mac(&bridge, reported)?;
    }
    // Another listener may make the bridge promiscuous; only a mode that is
    // asked for and missing is a change.
    if conf.promisc && !bridge.promisc {
        return Err(err!(CHANGED, "bridge is not promiscuous", conf.bridge));
    }
    let container = check::interface(call, session, prev)?;
    if container.kind != LinkKind::Veth {
        return Err(err!(CHANGED, "container interface is not of kind veth", container.name));
    }
    let peer = container.peer.map_or(Ok(None), |index| session.backend.link_at(Ns::Host, index))?;
    let peer = peer.filter(|peer| peer.master == Some(bridge.index)).ok_or_else(|| {
        err!(CHANGED, "host interface is not a port of the bridge", container.name, " has no peer on ", conf.bridge)
    })?;
    if let Some(reported) = prev.interfaces.iter().find(|i| i.sandbox.is_empty() && i.name == peer.name.as_str()) {
        check::mac(&peer, reported)?;
    }
    check::addresses_and_routes(session, &container, prev)?;
    if conf.ip_masq.is_some() {
        masquerade::check(call, session, prev)?;
    }
    if conf.guard_source { macspoof::check(call, session, peer.index, container.mac) } else { Ok(()) }
}

/// Masquerade and guard, which a flush of the packet filter takes.
pub(super) fn reconcile(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let conf = Conf::read(call)?;
    let prev = call.required_prev()?;
    if let Some(backend) = conf.ip_masq {
        masquerade::reconcile(backend, call, session, prev)?;
    }
    if !conf.guard_source {
        return Ok(());
    }
    let container = check::interface(call, session, prev)?;
    let Some(port) = container.peer else {
        return Err(err!(CHANGED, "container interface is not of kind veth", container.name));
    };
    let checked = macspoof::check(call, session, port, container.mac);
    let tag = call.owner().tag();
    session.repair(call, "source guard", checked, |session| macspoof::add(call, session, &tag, port, container.mac))
}
