//! `bandwidth`: limits for what a pod receives (ingress) and sends (egress), by
//! token buckets on the host.
//!
//! What a pod receives waits at the host's end of its veth pair. What it sends
//! comes in there, is redirected to an ifb of its own and waits in that, under
//! the names and handles that the reference plugin gives, so that either takes
//! over pods of the other.
//!
//! DEL finds the ifb by its name, which depends on network and container alone.
//! Buckets at the host's end go with it; so does the redirection, but until then
//! it would lead to an ifb that is gone, and the pod, if it lives on, would send
//! nothing any more. So DEL lifts both where the sandbox still tells what the
//! host's end is. That takes a hundredth of the deletion of a link.

mod add;
mod check;
mod conf;
mod del;
#[cfg(test)]
mod tests;

use picocni_core::digest;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::json::Key;
use picocni_core::limits;
use picocni_core::name::IfName;
use picocni_core::observe::{Link, LinkKind, Ns};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::shaping::Queue;
use picocni_core::version::Version;

/// The plugin.
#[derive(Debug)]
pub struct Bandwidth;

impl Plugin for Bandwidth {
    fn name(&self) -> &'static str {
        "bandwidth"
    }

    fn keys(&self) -> &'static [Key] {
        conf::KEYS
    }

    /// Results of 0.1.0 and 0.2.0 have no interfaces, among which the host's end has to be.
    fn versions(&self) -> &'static [Version] {
        &[Version::V0_3_0, Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0]
    }

    fn is_chained(&self) -> bool {
        true
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        add::add(call, session, result)
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        check::check(call, session)
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        del::del(call, session)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        del::gc(call, session)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let conf = conf::Conf::read(call)?;
        session.backend.probe_shaping(conf.queue != Queue::Fifo)
    }
}

/// Hexadecimal digits of an ifb's name, as the reference plugin has them.
const DIGITS: usize = 12;

/// The name of the container's ifb on this network.
fn ifb_name(call: &Call<'_>) -> IfName {
    let mut name = heapless::String::<{ limits::IFNAME }>::new();
    let _ = name.push_str("bwp");
    // Three and twelve characters are as many as fit.
    let _ = digest::hex_of(&[call.conf.name.as_bytes(), call.env.container_id.as_bytes()], &mut name, DIGITS);
    IfName::of(&name)
}

/// Whose the link of that name is.
enum Ifb {
    /// There is none.
    Missing,
    /// This attachment's, made by us, or by the reference plugin, which does not mark it.
    Own(Link),
    /// Another interface's of this container, or a stranger's.
    Other(Link),
}

fn ifb(call: &Call<'_>, session: &mut Session<'_>) -> Result<Ifb> {
    let Some(link) = session.backend.link(Ns::Host, &ifb_name(call))? else { return Ok(Ifb::Missing) };
    let own = link.kind == LinkKind::Ifb && (link.alias.is_empty() || link.alias == call.owner().tag().as_str());
    Ok(if own { Ifb::Own(link) } else { Ifb::Other(link) })
}

/// The host's end of the pod's veth pair.
fn host_end(call: &Call<'_>, session: &mut Session<'_>) -> Result<Link> {
    let ifname = call.env.ifname;
    let inside = session.backend.link(Ns::Sandbox, &ifname)?;
    let index = inside.filter(|link| link.kind == LinkKind::Veth).and_then(|link| link.peer).ok_or_else(|| {
        err!(
            CONFIG,
            "container interface has no veth peer",
            "container interface ",
            ifname,
            " has no veth peer: only the interfaces of bridge and ptp can be shaped"
        )
    })?;
    let host = session.backend.link_at(Ns::Host, index)?;
    host.ok_or_else(|| {
        err!(CONFIG, "veth peer is not on the host", "veth peer with index ", index.0, " is not in host ns")
    })
}

/// The same, which the plugin that made it must have reported.
///
/// # Errors
/// Code 7.
fn reported_host_end(call: &Call<'_>, session: &mut Session<'_>, prev: &AddResult) -> Result<Link> {
    if prev.interfaces.is_empty() {
        return Err(err!(CONFIG, "no interfaces provided", "prevResult has none"));
    }
    let host = host_end(call, session)?;
    let reported = |i: &picocni_core::result::Interface| i.sandbox.is_empty() && i.name == host.name.as_str();
    if prev.interfaces.iter().any(reported) {
        return Ok(host);
    }
    Err(not_reported(&host))
}

#[cold]
fn not_reported(host: &Link) -> Error {
    err!(
        CONFIG,
        "no veth peer of container interface found in host ns",
        host.name,
        " is not among the interfaces of prevResult, without a sandbox"
    )
}
