//! A veth pair from the host into the sandbox, with names and addresses that
//! depend on the attachment alone.

use picocni_core::conf::ValidAttachments;
use picocni_core::digest::{hash64, mac_from};
use picocni_core::err;
use picocni_core::error::{Code, Error, Result};
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName, Mac};
use picocni_core::observe::{Link, LinkKind, Ns};
use picocni_core::op::{Change, LinkChange, LinkId, OnFailure, Plan, Removal, Undo};
use picocni_core::owner::{Owner, Tag};
use picocni_core::plugin::Call;
use picocni_core::put;
use picocni_core::session::Session;
use picocni_core::text::Hex;

/// `EEXIST` (asm-generic/errno-base.h).
const EEXIST: i32 = 17;

/// What a veth pair is made with.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// MTU of both ends, 0 for the kernel's.
    pub mtu: u32,
    /// Address of the container end; derived when absent.
    pub mac: Option<Mac>,
    /// Bridge of the host end.
    pub master: Option<IfIndex>,
    /// Hairpin mode of the bridge port.
    pub hairpin: bool,
    /// The bridge port has no traffic with other isolated ports.
    pub isolated: bool,
    /// Owner's tag, kept as the host end's alias.
    pub tag: &'a Tag,
}

/// The host end's name number `candidate` for an attachment.
#[must_use]
pub fn host_name(owner: &Owner<'_>, candidate: u8) -> IfName {
    hashed_name(&[&owner.hash().to_le_bytes(), &[candidate]])
}

/// `veth` and eight digits that depend on `what` alone.
#[must_use]
pub fn hashed_name(what: &[&[u8]]) -> IfName {
    let hash = hash64(what);
    let mut name = heapless::String::<{ limits::IFNAME }>::new();
    // Eight digits: the form the reference plugins use, so that tools which
    // look for `veth*` keep working.
    put!(&mut name, "veth");
    for shift in [28u32, 24, 20, 16, 12, 8, 4, 0] {
        put!(&mut name, Hex((hash >> shift) & 0xf));
    }
    IfName::of(&name)
}

/// A locally administered address that depends on `what` and the machine.
#[must_use]
pub fn derived_mac(machine: u64, what: &[&[u8]]) -> Mac {
    let machine = machine.to_le_bytes();
    let inner = hash64(what).to_le_bytes();
    Mac(mac_from(hash64(&[&machine, &inner])))
}

/// A pair that was made.
#[derive(Debug)]
pub struct Pair {
    /// Name of the host end.
    pub host: IfName,
    /// Its address.
    pub host_mac: Mac,
    /// The container end as it is.
    pub container: Link,
}

/// Makes the pair; the host end is up and, before that, refuses router
/// advertisements.
///
/// # Errors
/// Code 103: CNI_IFNAME exists in the sandbox, or strangers own every name
/// this attachment may use.
pub fn create(call: &Call<'_>, session: &mut Session<'_>, request: &Request<'_>) -> Result<Pair> {
    let owner = call.owner();
    let machine = session.backend.machine();
    let identity = owner.hash().to_le_bytes();
    let peer_mac = request.mac.unwrap_or_else(|| derived_mac(machine, &[b"sandbox", &identity]));
    let host_mac = derived_mac(machine, &[b"host", &identity]);
    for candidate in 0..limits::VETH_CANDIDATES {
        let host = host_name(&owner, candidate);
        let outcome = try_name(call, session, request, host, host_mac, peer_mac);
        let Err(error) = outcome else {
            // Only the container end is looked up: a get waits for the kernel's
            // link lock, and all of the host end is what was asked for.
            let container = crate::link::made(session, Ns::Sandbox, &owner.ifname)?;
            return Ok(Pair { host, host_mac, container });
        };
        if error.errno() != EEXIST || error.code() != Code::KERNEL {
            return Err(error);
        }
        if session.backend.link(Ns::Sandbox, &owner.ifname)?.is_some() {
            return Err(exists(call));
        }
    }
    Err(err!(
        CONFLICT,
        "host interface names are taken",
        host_name(&owner, 0),
        " and its ",
        limits::VETH_CANDIDATES,
        " candidates belong to others"
    ))
}

/// CNI_IFNAME is taken in the sandbox.
#[cold]
pub(crate) fn exists(call: &Call<'_>) -> Error {
    err!(
        CONFLICT,
        "container interface exists already",
        "\"",
        call.env.ifname,
        "\" in ",
        call.env.netns,
        "; DEL it before another ADD"
    )
}

fn try_name(
    call: &Call<'_>,
    session: &mut Session<'_>,
    request: &Request<'_>,
    host: IfName,
    host_mac: Mac,
    peer_mac: Mac,
) -> Result<()> {
    let key = crate::interface::host_key("ipv6", &host, "accept_ra")?;
    let detection = crate::interface::host_key("ipv6", &host, "accept_dad")?;
    let mut plan = Plan::new();
    plan.change(Change::CreateVeth {
        host,
        host_mac,
        peer: call.env.ifname,
        peer_mac,
        mtu: request.mtu,
        master: request.master,
    })?;
    // CVE-2020-10749: before the link is up, or a pod may be the host's router.
    plan.change(Change::WriteSysctl {
        ns: Ns::Host,
        key: &key,
        value: "0",
        undo: Undo::WithLink,
        on_failure: OnFailure::Ignore,
    })?;
    // A routed end solicits neighbours for others, which it cannot before its own
    // address is through the detection of duplicates, of which there are none.
    if request.master.is_none() {
        plan.change(Change::WriteSysctl {
            ns: Ns::Host,
            key: &detection,
            value: "0",
            undo: Undo::WithLink,
            on_failure: OnFailure::Ignore,
        })?;
    }
    let set = LinkChange {
        up: Some(true),
        alias: Some(request.tag.as_str()),
        hairpin: request.master.map(|_| request.hairpin),
        isolated: request.master.map(|_| request.isolated),
        ..LinkChange::NONE
    };
    plan.change(Change::SetLink { ns: Ns::Host, link: LinkId::Name(host), set, undo: Undo::WithLink })?;
    session.apply(&plan)
}

/// Plans the deletion of an attachment's pair: by the interface in the sandbox
/// where it can be reached, else by the host end if it carries our tag.
///
/// # Errors
/// Code 101.
pub fn plan_deletion<'p>(call: &Call<'_>, session: &mut Session<'_>, plan: &mut Plan<'p>) -> Result<()> {
    // The sandbox's end goes without a look. The host's goes together with links that wait for it.
    if session.has_sandbox() && !session.has_waiting_links() {
        return plan.remove(Removal::DeleteLink { ns: Ns::Sandbox, name: call.env.ifname });
    }
    let owner = call.owner();
    let tag = owner.tag();
    for candidate in 0..limits::VETH_CANDIDATES {
        let name = host_name(&owner, candidate);
        let Some(link) = session.backend.link(Ns::Host, &name)? else { break };
        // A stranger's link of that name is never deleted.
        if link.alias == tag.as_str() {
            return plan.remove(Removal::DeleteLink { ns: Ns::Host, name });
        }
    }
    if session.has_sandbox() {
        return plan.remove(Removal::DeleteLink { ns: Ns::Sandbox, name: call.env.ifname });
    }
    Ok(())
}

/// GC: deletes the pairs of `network` that belong to no valid attachment, in
/// slices, since a dump is closed before anything is deleted.
///
/// # Errors
/// Code 101.
pub fn gc(session: &mut Session<'_>, network: &str, valid: &ValidAttachments<'_>) -> Result<()> {
    gc_links(session, network, valid, |_| true)
}

/// The same for the links of some kinds only.
///
/// # Errors
/// Code 101.
pub fn gc_links(
    session: &mut Session<'_>,
    network: &str,
    valid: &ValidAttachments<'_>,
    is_meant: fn(LinkKind) -> bool,
) -> Result<()> {
    loop {
        let mut stale: heapless::Vec<IfName, 32> = heapless::Vec::new();
        session.backend.links(Ns::Host, &mut |link| {
            let dead =
                Tag::read(&link.alias).is_some_and(|tag| tag.is_of_network(network) && !valid.keeps(network, &tag));
            if dead && is_meant(link.kind) {
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
