//! `ingressPolicy`: bridges that are kept apart from each other, and pods from
//! the others of their bridge.
//!
//! Pods share a bridge, so it stays apart while any attachment asks for it.
//! Who does is a claim in [`DIR`]`/POLICY/BRIDGE/`; they are made, counted and
//! given back under a lock.

use picocni_core::digest;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName};
use picocni_core::observe::{FirewallEntry, LinkKind, Ns};
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::Call;
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::text::fits;

use super::conf::Policy;
use super::record::Isolation;

/// Above the claims.
const DIR: &str = "/run/cni/picocni/firewall";
/// Held while claims are made, counted or given back.
pub(super) const LOCK: &str = "/run/cni/picocni/firewall/lock";

/// Where bridged frames are handed to the IP layer's packet filter.
const BRIDGE_NF: [&str; 2] = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];

type Path = heapless::String<{ limits::PATH }>;

/// The claims on a bridge with one policy.
struct Claims {
    dir: Path,
    key: heapless::String<32>,
}

impl Claims {
    fn of(policy: &str, bridge: &IfName, tag: &Tag) -> Result<Self> {
        let mut key = heapless::String::new();
        // The tag itself may be longer than a claim's name.
        let _ = digest::hex_of(&[tag.as_str().as_bytes()], &mut key, 32);
        let dir = fits(&[&DIR, &"/", &policy, &"/", bridge]).ok_or_else(|| Error::limit("PATH", limits::PATH))?;
        Ok(Claims { dir, key })
    }

    /// Whether anybody has one.
    fn any(&self, session: &mut Session<'_>) -> Result<bool> {
        let mut any = false;
        session.backend.list(&self.dir, &mut |_| any = true)?;
        Ok(any)
    }
}

/// Whether a policy can be enforced on this host.
///
/// # Errors
/// Code 50.
pub(super) fn probe(policy: Policy, session: &mut Session<'_>) -> Result<()> {
    if policy != Policy::Open {
        session.backend.probe_filter()?;
    }
    if policy == Policy::Isolated {
        cuts_off_ports(session)?;
    }
    Ok(())
}

/// Whether pods of one bridge are kept apart by their ports; if not, the IP
/// layer sees what they send each other.
///
/// # Errors
/// Code 50: neither.
fn cuts_off_ports(session: &mut Session<'_>) -> Result<bool> {
    if session.backend.filters_frames()? {
        return Ok(true);
    }
    for key in BRIDGE_NF {
        let mut value = heapless::String::new();
        if !session.backend.sysctl(Ns::Host, key, &mut value)? || value != "1" {
            return Err(err!(
                NOT_AVAILABLE,
                "pods of one bridge cannot be isolated",
                "the kernel has no nftables of the bridge family (CONFIG_NF_TABLES_BRIDGE), and ",
                key,
                " is not 1"
            ));
        }
    }
    Ok(false)
}

/// What a call asks for, with the names and ports of this host.
///
/// # Errors
/// Code 7: the earlier result has no bridge. Code 50: it cannot be enforced.
pub(super) fn wanted(
    policy: Policy,
    call: &Call<'_>,
    prev: &AddResult,
    session: &mut Session<'_>,
) -> Result<Option<Isolation>> {
    if policy == Policy::Open {
        return Ok(None);
    }
    let first = prev.interfaces.first().filter(|first| first.sandbox.is_empty());
    let bridge = first.and_then(|first| IfName::new(&first.name).ok()).ok_or_else(|| {
        err!(
            CONFIG,
            "interface needs to be set for ingress policy",
            "the first interface of prevResult has to be the bridge, on the host"
        )
    })?;
    session.backend.probe_filter()?;
    let closed = policy == Policy::Isolated;
    let port = if closed { port(&bridge, call, session)? } else { None };
    Ok(Some(Isolation { bridge, closed, port }))
}

/// The pod's port of the bridge.
fn port(bridge: &IfName, call: &Call<'_>, session: &mut Session<'_>) -> Result<Option<IfIndex>> {
    let link = session.backend.link(Ns::Host, bridge)?.ok_or_else(|| err!(CONFIG, "no such bridge", *bridge))?;
    if link.kind != LinkKind::Bridge || !cuts_off_ports(session)? {
        return Ok(None);
    }
    let inner = session.backend.link(Ns::Sandbox, &call.env.ifname)?.filter(|link| link.kind == LinkKind::Veth);
    if let Some((inner, peer)) = inner.and_then(|inner| inner.peer.map(|peer| (inner, peer)))
        // An index counts in its own namespace; both ends have to agree.
        && let Some(end) = session.backend.link_at(Ns::Host, peer)?
        && end.peer == Some(inner.index)
        && end.master.is_some()
    {
        return Ok(Some(end.index));
    }
    Err(err!(
        CONFIG,
        "pod cannot be isolated",
        call.env.ifname,
        " in ",
        call.env.netns,
        " is not behind a port of ",
        *bridge
    ))
}

/// The entries that pods share, and whether both policies need one.
fn shared(isolation: &Isolation) -> impl Iterator<Item = FirewallEntry> {
    let apart = FirewallEntry::Apart(isolation.bridge);
    let closed = isolation.closed.then_some(FirewallEntry::Closed(isolation.bridge));
    [Some(apart), closed].into_iter().flatten()
}

/// Takes the bridge. Call it under the lock.
///
/// # Errors
/// Code 101, code 5.
pub(super) fn add(session: &mut Session<'_>, tag: &Tag, isolation: &Isolation) -> Result<()> {
    let claims = Claims::of(isolation.policy(), &isolation.bridge, tag)?;
    let mut plan = Plan::new();
    plan.change(Change::Claim { dir: &claims.dir, key: &claims.key, holder: tag.as_str() })?;
    for entry in shared(isolation) {
        plan.change(Change::Enter { entry, tag: "" })?;
    }
    if let Some(port) = isolation.port {
        plan.change(Change::Enter { entry: FirewallEntry::Port(port), tag: tag.as_str() })?;
    }
    session.apply(&plan)
}

/// Every entry is there.
///
/// # Errors
/// Code 104.
pub(super) fn check(session: &mut Session<'_>, tag: &Tag, isolation: &Isolation) -> Result<()> {
    let port = isolation.port.map(FirewallEntry::Port);
    for entry in shared(isolation).chain(port) {
        let owner = if matches!(entry, FirewallEntry::Port(_)) { tag.as_str() } else { "" };
        if !session.backend.is_entered(&entry, owner)? {
            return Err(err!(CHANGED, "isolation is not enforced", entry, " is missing in the packet filter"));
        }
    }
    Ok(())
}

/// Gives the bridge back, and opens it if nobody else keeps it apart. Call it
/// under the lock.
///
/// # Errors
/// The first failure.
pub(super) fn take_back(session: &mut Session<'_>, tag: &Tag, isolation: &Isolation) -> Result<()> {
    let bridge = isolation.bridge;
    let own = Claims::of(isolation.policy(), &bridge, tag)?;
    session.removal(Removal::Unclaim { dir: &own.dir, key: &own.key })?;
    let closed = Claims::of("isolated", &bridge, tag)?.any(session)?;
    let apart = closed || Claims::of("same-bridge", &bridge, tag)?.any(session)?;
    let mut plan = Plan::new();
    if let Some(port) = isolation.port {
        plan.remove(Removal::Erase { entry: FirewallEntry::Port(port), tag: tag.as_str() })?;
    }
    if !closed {
        plan.remove(Removal::Erase { entry: FirewallEntry::Closed(bridge), tag: "" })?;
    }
    if !apart {
        plan.remove(Removal::Erase { entry: FirewallEntry::Apart(bridge), tag: "" })?;
    }
    session.remove(&plan)
}
