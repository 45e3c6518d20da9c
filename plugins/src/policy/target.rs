//! Whose packets a policy judges, and whether this host can.

use core::net::{IpAddr, Ipv6Addr};

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::{IfIndex, Mac};
use picocni_core::net::Family;
use picocni_core::observe::{Link, LinkKind, Ns};
use picocni_core::plugin::Call;
use picocni_core::result::{AddResult, IpConfig};
use picocni_core::session::Session;

pub(super) type Addresses = heapless::Vec<IpAddr, { limits::POLICY_ADDRESSES }>;

/// By what the packet filter knows an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) addresses: Addresses,
    pub(super) port: Option<IfIndex>,
}

/// The switches by which frames between ports of a bridge pass the filter of
/// routed packets.
const BRIDGE_CALLS: [&str; 2] = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];

/// What is to be judged for the attachment, as it is wired now.
///
/// # Errors
/// Code 2: its packets do not pass this host's packet filter. Code 50: frames
/// between ports of its bridge do not. Code 7: nothing to know it by.
pub(super) fn find(call: &Call<'_>, session: &mut Session<'_>, prev: &AddResult) -> Result<Target> {
    let ifname = call.env.ifname;
    let link = session
        .backend
        .link(Ns::Sandbox, &ifname)?
        .ok_or_else(|| err!(CONTAINER, "container interface not found", ifname, " is not in the sandbox"))?;
    let (port, bridge) = outer_end(session, &link)?;
    let mut target = Target { addresses: Addresses::new(), port: None };
    let own = |ip: &&IpConfig| prev.interface_of(ip).is_none_or(|i| i.name == ifname.as_str() && !i.sandbox.is_empty());
    for ip in prev.ips.iter().filter(own) {
        keep(&mut target.addresses, ip.address.addr())?;
    }
    if bridge {
        if session.backend.tracks_bridges()? {
            target.port = Some(port);
        } else {
            bridge_calls(session)?;
            link_local(session, &link, &mut target.addresses)?;
        }
    }
    if target.addresses.is_empty() && target.port.is_none() {
        return Err(err!(CONFIG, "no address to judge by", "prevResult has no address of ", ifname));
    }
    Ok(target)
}

/// The host's end of the container's link, and whether it is a port of a bridge.
fn outer_end(session: &mut Session<'_>, link: &Link) -> Result<(IfIndex, bool)> {
    let outer = match (link.kind, link.peer) {
        (LinkKind::Veth, Some(peer)) => session.backend.link_at(Ns::Host, peer)?,
        _ => None,
    };
    let outer = outer.filter(|outer| outer.kind == LinkKind::Veth && outer.peer == Some(link.index));
    let Some(outer) = outer else { return Err(out_of_reach(link, "is no veth with its other end on this host")) };
    let Some(master) = outer.master else { return Ok((outer.index, false)) };
    match session.backend.link_at(Ns::Host, master)? {
        Some(master) if master.kind == LinkKind::Bridge => Ok((outer.index, true)),
        _ => Err(out_of_reach(link, "leads to a port of something else than a Linux bridge")),
    }
}

#[cold]
fn out_of_reach(link: &Link, why: &'static str) -> Error {
    err!(
        UNSUPPORTED,
        "policy cannot be enforced",
        link.name,
        " ",
        why,
        ": its packets do not pass this host's packet filter; put policy behind bridge, ptp or flannel"
    )
}

/// Whether the packet filter judges frames between ports of any bridge.
///
/// # Errors
/// Code 50, with what is missing.
pub(super) fn bridge_calls(session: &mut Session<'_>) -> Result<()> {
    for key in BRIDGE_CALLS {
        let mut value = heapless::String::new();
        if !session.backend.sysctl(Ns::Host, key, &mut value)? || value != "1" {
            return Err(err!(
                NOT_AVAILABLE,
                "policy cannot be enforced between pods of one bridge",
                "the kernel has no connection tracking on bridges (CONFIG_NF_CONNTRACK_BRIDGE), and ",
                key,
                " is not 1; load nf_conntrack_bridge, or load br_netfilter and set both of its switches"
            ));
        }
    }
    Ok(())
}

/// Neighbours reach a pod by its link-local address too: by the one that the
/// kernel makes of its MAC, and by those that it has.
fn link_local(session: &mut Session<'_>, link: &Link, addresses: &mut Addresses) -> Result<()> {
    let mut found: heapless::Vec<IpAddr, { limits::POLICY_ADDRESSES }> = heapless::Vec::new();
    let mut more = false;
    session.backend.addresses(Ns::Sandbox, link.index, Some(Family::V6), &mut |address| {
        let ip = address.cidr.addr();
        if matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            more |= found.push(ip).is_err();
        }
    })?;
    if more {
        return Err(too_many());
    }
    keep(addresses, IpAddr::V6(of_mac(link.mac)))?;
    found.iter().try_for_each(|ip| keep(addresses, *ip))
}

fn keep(addresses: &mut Addresses, ip: IpAddr) -> Result<()> {
    if addresses.contains(&ip) { Ok(()) } else { addresses.push(ip).map_err(|_| too_many()) }
}

#[cold]
fn too_many() -> Error {
    Error::limit("POLICY_ADDRESSES", limits::POLICY_ADDRESSES).with(&" addresses of one attachment")
}

/// The link-local address of a MAC (RFC 4291, appendix A).
fn of_mac(Mac([a, b, c, d, e, f]): Mac) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_gives_a_link_local_address() {
        let ip = of_mac(Mac([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]));
        assert_eq!(Ok(ip), "fe80::11:22ff:fe33:4455".parse());
    }
}
