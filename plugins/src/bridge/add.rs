//! ADD of `bridge`.

use core::net::IpAddr;

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::Mac;
use picocni_core::net::{Cidr, Family};
use picocni_core::observe::{Link, LinkKind, Ns, Route};
use picocni_core::op::{Change, OnFailure, Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::Call;
use picocni_core::result::{AddResult, Interface};
use picocni_core::session::Session;
use picocni_core::version::Version;

use super::conf::Conf;
use super::{macspoof, vlan};
use crate::{forwarding, interface, link, masquerade, veth};

/// Index of the container's interface in the result: bridge, host end, container.
const CONTAINER: i32 = 2;

pub(super) fn add(call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
    let conf = Conf::read(call)?;
    let mut bridge = ensure_bridge(&conf, session)?;
    let tag = call.owner().tag();
    let request = veth::Request {
        mtu: conf.mtu,
        mac: conf.mac,
        master: Some(bridge.index),
        hairpin: conf.hairpin,
        isolated: conf.isolated,
        tag: &tag,
    };
    // Before addresses are asked for: a DHCP client asks by this interface.
    let pair = veth::create(call, session, &request)?;
    set_up_port(&conf, call, session, &tag, &pair)?;
    // A bridge that was made without a MAC takes that of a port.
    if Tag::read(&bridge.alias).is_none()
        && let Some(now) = session.backend.link(Ns::Host, &conf.bridge)?
    {
        bridge.mac = now.mac;
    }
    if call.conf.has_ipam() {
        link::delegate(call, session, result)?;
    }
    let container = &pair.container;
    result.interfaces.clear();
    let mtu = |link: &Link| if call.version >= Version::V1_1_0 { link.mtu } else { 0 };
    result.add_interface(Interface::new(&bridge.name, bridge.mac, mtu(&bridge), ""))?;
    result.add_interface(Interface::new(&pair.host, pair.host_mac, mtu(container), ""))?;
    result.add_interface(Interface::new(&container.name, container.mac, mtu(container), call.env.netns))?;
    if call.conf.has_ipam() {
        plan_gateways(&conf, result)?;
        let dad = if conf.enable_dad { interface::Dad::Enhanced } else { interface::Dad::Off };
        interface::configure(session, container, result, interface::Options { dad, ..Default::default() })?;
        if conf.is_gateway {
            let vlans = conf.vlans.as_ref().filter(|vlans| vlans.untagged != 0);
            let own = vlans.map(|vlans| vlan::gateway(session, &bridge, vlans)).transpose()?;
            serve_as_gateway(&conf, own.as_ref().unwrap_or(&bridge), session, result)?;
            if let Some(own) = own {
                result.add_interface(Interface::new(&own.name, own.mac, mtu(&own), ""))?;
            }
        }
        if let Some(backend) = conf.ip_masq {
            masquerade::add(backend, call, session, &tag, result)?;
        }
    } else if conf.container_interface {
        interface::set_up(session, container)?;
    }
    if conf.container_interface {
        greet(&bridge, &pair, session, result)?;
    }
    picocni_core::conf::dns(call.text, &mut result.dns)
}

/// VLANs and guard of the new port, which both need its index.
fn set_up_port(conf: &Conf, call: &Call<'_>, session: &mut Session<'_>, tag: &Tag, pair: &veth::Pair) -> Result<()> {
    if conf.vlans.is_none() && !conf.guard_source {
        return Ok(());
    }
    let port = link::made(session, Ns::Host, &pair.host)?.index;
    if let Some(vlans) = &conf.vlans {
        let mut plan = Plan::new();
        vlans.plan(port, &mut plan)?;
        session.apply(&plan)?;
    }
    if conf.guard_source { macspoof::add(call, session, tag, port, pair.container.mac) } else { Ok(()) }
}

/// The bridge, made if it is missing, with a MAC that its ports never change.
fn ensure_bridge(conf: &Conf, session: &mut Session<'_>) -> Result<Link> {
    let found = session.backend.link(Ns::Host, &conf.bridge)?;
    if let Some(link) = &found {
        if link.kind != LinkKind::Bridge {
            return Err(err!(
                CONFLICT,
                "link exists but is not a bridge",
                "\"",
                conf.bridge,
                "\" already exists but is not a bridge; choose another name for \"bridge\""
            ));
        }
        let accept_ra = interface::host_key("ipv6", &conf.bridge, "accept_ra")?;
        let mut plan = Plan::new();
        // A bridge of ours was made so.
        if Tag::read(&link.alias).is_none() {
            plan.change(Change::EnsureSysctl { key: &accept_ra, value: "0", on_failure: OnFailure::Ignore })?;
        }
        if !link.up || (conf.promisc && !link.promisc) {
            plan.change(ensure(conf, link.mac))?;
        }
        session.apply(&plan)?;
        return Ok(link.clone());
    }
    let machine = session.backend.machine();
    let mac = veth::derived_mac(machine, &[b"bridge", conf.bridge.as_str().as_bytes()]);
    let mut plan = Plan::new();
    plan.change(ensure(conf, mac))?;
    session.apply(&plan)?;
    session.backend.link(Ns::Host, &conf.bridge)?.ok_or_else(|| err!(KERNEL, "could not look up bridge", conf.bridge))
}

fn ensure(conf: &Conf, mac: Mac) -> Change<'static> {
    Change::EnsureBridge {
        name: conf.bridge,
        mac,
        mtu: conf.mtu,
        promisc: conf.promisc,
        vlan_filtering: conf.vlans.is_some(),
    }
}

/// Addresses belong to the container's interface; the bridge is their gateway
/// if it is to be one, and the default route if it is to be that.
fn plan_gateways(conf: &Conf, result: &mut AddResult) -> Result<()> {
    for ip in &mut result.ips {
        ip.interface = Some(CONTAINER);
        if conf.is_gateway && ip.gateway.is_none() {
            ip.gateway = Some(ip.address.first_host());
        }
    }
    if !conf.is_default_gateway {
        return Ok(());
    }
    for v6 in [false, true] {
        let Some(gw) = result.ips.iter().filter(|ip| ip.address.is_v6() == v6).find_map(|ip| ip.gateway) else {
            continue;
        };
        let has_default = result.routes.iter().any(|r| r.dst.is_v6() == v6 && r.dst.is_default());
        let any = if v6 { IpAddr::from([0u16; 8]) } else { IpAddr::from([0u8; 4]) };
        if let (false, Some(dst)) = (has_default, Cidr::new(any, 0)) {
            let route = Route { gw: Some(gw), ..Route::to(dst) };
            result.routes.push(route).map_err(|_| Error::limit("ROUTES", limits::ROUTES))?;
        }
    }
    Ok(())
}

/// The bridge carries the gateway addresses and the host forwards.
fn serve_as_gateway(conf: &Conf, bridge: &Link, session: &mut Session<'_>, result: &AddResult) -> Result<()> {
    let mut plan = Plan::new();
    let mut retired = Plan::new();
    for v6 in [false, true] {
        let family = if v6 { Family::V6 } else { Family::V4 };
        for ip in result.ips.iter().filter(|ip| ip.address.is_v6() == v6) {
            let Some(cidr) = ip.gateway.and_then(|gw| Cidr::new(gw, ip.address.prefix())) else { continue };
            let mut present = false;
            let mut other: heapless::Vec<Cidr, 8> = heapless::Vec::new();
            session.backend.addresses(Ns::Host, bridge.index, Some(family), &mut |address| {
                let old = address.cidr;
                present |= old == cidr;
                // A second IPv4 network on the bridge is a conflict; IPv6 networks
                // may live side by side unless they overlap.
                let clash = !v6 || old.contains(cidr.addr()) || cidr.contains(old.addr());
                if clash && old != cidr {
                    let _ = other.push(old);
                }
            })?;
            if present {
                continue;
            }
            for old in &other {
                if !conf.force_address {
                    return Err(err!(
                        CONFLICT,
                        "bridge already has an IP address different from the gateway",
                        "\"",
                        bridge.name,
                        "\" already has an IP address different from ",
                        cidr,
                        ": ",
                        *old,
                        " (set \"forceAddress\": true to replace it)"
                    ));
                }
                retired.remove(Removal::DeleteAddress { ns: Ns::Host, index: bridge.index, cidr: *old })?;
            }
            plan.change(Change::EnsureAddress { index: bridge.index, cidr })?;
        }
        if result.ips.iter().any(|ip| ip.address.is_v6() == v6) {
            forwarding::plan(v6, session, &mut plan)?;
        }
    }
    session.remove(&retired)?;
    session.apply(&plan)
}

/// The port forwards, then the container announces its addresses and the host
/// forgets who had them before: an address that is used again must not lead to
/// the old MAC for the seconds that caches last.
fn greet(bridge: &Link, pair: &veth::Pair, session: &mut Session<'_>, result: &AddResult) -> Result<()> {
    let mut plan = Plan::new();
    plan.change(Change::AwaitForwarding { host: pair.host })?;
    if !bridge.running {
        // Its first port makes it run, a moment later: until then the kernel
        // drops what the host sends to the pod.
        plan.change(Change::AwaitForwarding { host: bridge.name })?;
    }
    if result.ips.iter().any(|ip| ip.address.is_v6()) {
        plan.change(Change::AwaitAddresses { ns: Ns::Sandbox, index: pair.container.index })?;
    }
    if !result.ips.is_empty() {
        plan.change(Change::Announce { index: pair.container.index, mac: pair.container.mac })?;
    }
    for ip in &result.ips {
        plan.remove(Removal::DeleteNeighbour { index: bridge.index, ip: ip.address.addr() })?;
    }
    session.apply(&plan)
}
