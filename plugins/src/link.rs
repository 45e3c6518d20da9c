//! A link with one end in the sandbox: how it is made, gets its addresses, is
//! compared with prevResult and goes. What `macvlan`, `ipvlan`, `vlan`, `dummy`
//! and `tap` have in common.

#[cfg(test)]
mod tests;

use picocni_core::check;
use picocni_core::err;
use picocni_core::error::{Code, Failures, Result};
use picocni_core::json::Str;
use picocni_core::limits;
use picocni_core::name::{IfName, Mac};
use picocni_core::observe::{Link, LinkKind, Ns};
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::plugin::Call;
use picocni_core::result::{AddResult, Interface};
use picocni_core::session::Session;
use picocni_core::version::{Command, Version};

use crate::interface::{self, Options};
use crate::veth;

/// The link below a new one.
#[derive(Debug, Clone)]
pub struct Parent {
    /// Where it is: on the host, or in the sandbox (`linkInContainer`).
    pub ns: Ns,
    /// The link.
    pub link: Link,
}

impl Parent {
    /// The link called `name`, or that of the default route where the config
    /// leaves it open.
    ///
    /// # Errors
    /// Code 7: there is no such link, or no default route.
    pub fn find(session: &mut Session<'_>, name: Str<'_>, ns: Ns) -> Result<Self> {
        let link = if name.is_empty() {
            session.backend.default_route_link(ns)?.ok_or_else(|| {
                err!(CONFIG, "no default route interface found", "set \"master\", the link that the pods share")
            })?
        } else {
            let wanted = IfName::new(name.plain().unwrap_or("/"))
                .map_err(|error| err!(CONFIG, "invalid master", "\"", name.canonical(), "\": ", error.msg()))?;
            session.backend.link(ns, &wanted)?.ok_or_else(|| {
                let place = if ns == Ns::Host { "on this host" } else { "in the sandbox" };
                err!(CONFIG, "master interface not found", "no link \"", wanted, "\" ", place)
            })?
        };
        Ok(Parent { ns, link })
    }

    /// STATUS: ADD would find it. One in a sandbox cannot be looked for yet.
    ///
    /// # Errors
    /// Code 50.
    pub fn status(session: &mut Session<'_>, name: Str<'_>, ns: Ns) -> Result<()> {
        if ns == Ns::Sandbox {
            return Ok(());
        }
        Parent::find(session, name, ns).map(|_| ()).map_err(|error| error.as_code(Code::NOT_AVAILABLE))
    }

    /// An MTU that the parent can carry; 0 is its own.
    ///
    /// # Errors
    /// Code 7.
    pub fn mtu(&self, mtu: i64) -> Result<u32> {
        u32::try_from(mtu)
            .ok()
            .filter(|mtu| *mtu <= self.link.mtu)
            .ok_or_else(|| err!(CONFIG, "invalid MTU", mtu, ", must be [0, master MTU(", self.link.mtu, ")]"))
    }
}

/// What a link is made with.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its kind.
    pub kind: LinkKind,
    /// The link below it.
    pub parent: Option<&'a Parent>,
    /// Its address; the kernel's choice if absent.
    pub mac: Option<Mac>,
    /// MTU, 0 for the kernel's.
    pub mtu: u32,
    /// Macvlan: frames that may wait to be broadcast, 0 for the kernel's.
    pub broadcast_queue: u32,
}

/// The name under which a link is made: the kernel looks for a new link's name
/// also in the parent's namespace, and most hosts have an `eth0`.
fn first_name(call: &Call<'_>) -> IfName {
    veth::host_name(&call.owner(), limits::VETH_CANDIDATES)
}

/// Makes the link, down, under CNI_IFNAME.
///
/// # Errors
/// Code 103: CNI_IFNAME exists in the sandbox. Code 101.
pub fn create(call: &Call<'_>, session: &mut Session<'_>, request: &Request<'_>) -> Result<Link> {
    let ifname = call.env.ifname;
    if session.backend.link(Ns::Sandbox, &ifname)?.is_some() {
        return Err(veth::exists(call));
    }
    let from = request.parent.map_or(Ns::Sandbox, |parent| parent.ns);
    let name = if from == Ns::Host { first_name(call) } else { ifname };
    let mut plan = Plan::new();
    plan.change(Change::CreateLink {
        from,
        name,
        kind: request.kind,
        parent: request.parent.map(|parent| parent.link.index),
        mac: request.mac,
        mtu: request.mtu,
        broadcast_queue: request.broadcast_queue,
    })?;
    if name != ifname {
        plan.change(Change::RenameLink { ns: Ns::Sandbox, from: name, to: ifname })?;
    }
    session.apply(&plan)?;
    made(session, Ns::Sandbox, &ifname)
}

/// A link that was just made, as it is.
///
/// # Errors
/// Code 101: it is gone.
pub fn made(session: &mut Session<'_>, ns: Ns, name: &IfName) -> Result<Link> {
    let link = session.backend.link(ns, name)?;
    link.ok_or_else(|| err!(KERNEL, "a link vanished while it was set up", *name))
}

/// The address of an attachment's link where the kernel would give a random one.
#[must_use]
pub fn derived_mac(call: &Call<'_>, session: &mut Session<'_>) -> Mac {
    let machine = session.backend.machine();
    veth::derived_mac(machine, &[b"sandbox", &call.owner().hash().to_le_bytes()])
}

/// Adds the sandbox's link to the result, the only interface in it.
///
/// # Errors
/// Code 100.
pub fn report(call: &Call<'_>, link: &Link, result: &mut AddResult) -> Result<()> {
    let mtu = if call.version >= Version::V1_1_0 { link.mtu } else { 0 };
    result.interfaces.clear();
    result.add_interface(Interface::new(&link.name, link.mac, mtu, call.env.netns))
}

/// Delegates for addresses, which must not be none.
///
/// # Errors
/// The IPAM plugin's; code 7: it gave no address.
pub fn delegate(call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
    session.delegate(call, Command::Add, Some(result))?;
    if result.ips.is_empty() {
        return Err(err!(CONFIG, "IPAM plugin returned missing IP config", call.conf.ipam_type(), " gave no address"));
    }
    Ok(())
}

/// The plugin makes no sense without addresses.
///
/// # Errors
/// Code 7.
pub fn needs_ipam(call: &Call<'_>) -> Result<()> {
    if call.conf.has_ipam() {
        return Ok(());
    }
    Err(err!(CONFIG, "interface requires an IPAM configuration", "set \"ipam\": {\"type\": \"host-local\", ...}"))
}

/// Gives the link its addresses and routes and sets it up: those of the IPAM
/// plugin or, without one, those that are in the result already.
///
/// # Errors
/// The IPAM plugin's; code 7: it gave no address; code 101.
pub fn attach(
    call: &Call<'_>,
    session: &mut Session<'_>,
    link: &Link,
    result: &mut AddResult,
    options: Options<'_>,
) -> Result<()> {
    if call.conf.has_ipam() {
        delegate(call, session, result)?;
    }
    report(call, link, result)?;
    if result.ips.is_empty() {
        return interface::set_up(session, link);
    }
    for ip in &mut result.ips {
        ip.interface = Some(0);
    }
    interface::configure(session, link, result, options)
}

/// The config's `dns`, and no other.
///
/// # Errors
/// Code 100.
pub fn own_dns(call: &Call<'_>, result: &mut AddResult) -> Result<()> {
    result.dns.clear();
    picocni_core::conf::dns(call.text, &mut result.dns)
}

/// CHECK: the IPAM plugin agrees, the link of prevResult is there with its MAC
/// and of this kind, addresses and routes are on it.
///
/// # Errors
/// Code 104.
pub fn check(call: &Call<'_>, session: &mut Session<'_>, kind: LinkKind) -> Result<Link> {
    forward(call, session, Command::Check)?;
    let prev = call.required_prev()?;
    let link = check::interface(call, session, prev)?;
    if link.kind != kind {
        return Err(err!(CHANGED, "container interface is of another kind or mode", link.name));
    }
    check::addresses_and_routes(session, &link, prev)?;
    Ok(link)
}

/// DEL: the link first, so that nobody else gets an address that is still in
/// use, then the addresses. No config but `ipam` is read: neither a master that
/// is gone nor a value that ADD refused keeps DEL from it.
///
/// # Errors
/// The first failure, after everything was tried.
pub fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let mut failures = Failures::new();
    if session.has_sandbox() {
        let mut plan = Plan::new();
        // Under its first name if ADD was killed half way.
        for name in [call.env.ifname, first_name(call)] {
            plan.remove(Removal::DeleteLink { ns: Ns::Sandbox, name })?;
        }
        failures.note(session.remove(&plan));
    }
    failures.note(forward(call, session, Command::Del));
    failures.into_result()
}

/// The same command of the IPAM plugin, if there is one.
///
/// # Errors
/// The IPAM plugin's.
pub fn forward(call: &Call<'_>, session: &mut Session<'_>, command: Command) -> Result<()> {
    if call.conf.has_ipam() { session.delegate(call, command, None) } else { Ok(()) }
}
