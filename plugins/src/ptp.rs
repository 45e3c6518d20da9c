//! `ptp`: a cable of its own between pod and host; the host is the router.

#[cfg(test)]
mod tests;

use picocni_core::conf::{IPAM, ValidAttachments};
use picocni_core::error::{Error, Failures, Result};
use picocni_core::json::{Key, Str};
use picocni_core::limits;
use picocni_core::net::Cidr;
use picocni_core::observe::{Link, LinkKind, Ns, Route};
use picocni_core::op::{Change, Plan};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::{AddResult, Interface};
use picocni_core::session::Session;
use picocni_core::version::{Command, Version};
use picocni_core::{config_keys, err, fields};

use crate::backend::Backend;
use crate::interface::{self, Options};
use crate::{forwarding, link, masquerade, veth};

/// Index of the container's interface in the result: host end, container.
const CONTAINER: i32 = 1;
/// `RT_SCOPE_LINK` and `RT_SCOPE_HOST` (linux/rtnetlink.h).
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;

/// The plugin.
#[derive(Debug)]
pub struct Ptp;

#[derive(Debug, Default)]
struct Wire<'a> {
    ip_masq: bool,
    ip_masq_backend: Str<'a>,
    mtu: i64,
}

fields!(Wire<'a> { "ipMasq" => ip_masq, "ipMasqBackend" => ip_masq_backend, "mtu" => mtu });

struct Conf {
    ip_masq: Option<Backend>,
    mtu: u32,
}

impl Conf {
    fn read(call: &Call<'_>) -> Result<Self> {
        let wire: Wire<'_> = call.fields()?;
        link::needs_ipam(call)?;
        let ip_masq = wire.ip_masq.then(|| masquerade::backend(wire.ip_masq_backend)).transpose()?;
        Ok(Conf { ip_masq, mtu: interface::mtu(wire.mtu)? })
    }
}

impl Plugin for Ptp {
    fn name(&self) -> &'static str {
        "ptp"
    }

    fn keys(&self) -> &'static [Key] {
        config_keys![IPAM, Key::bool("ipMasq"), Key::str("ipMasqBackend"), interface::MTU,]
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let conf = Conf::read(call)?;
        let tag = call.owner().tag();
        let request =
            veth::Request { mtu: conf.mtu, mac: None, master: None, hairpin: false, isolated: false, tag: &tag };
        let pair = veth::create(call, session, &request)?;
        link::delegate(call, session, result)?;
        let container = &pair.container;
        let mtu = if call.version >= Version::V1_1_0 { container.mtu } else { 0 };
        result.interfaces.clear();
        result.add_interface(Interface::new(&pair.host, pair.host_mac, mtu, ""))?;
        result.add_interface(Interface::new(&container.name, container.mac, mtu, call.env.netns))?;
        let connected = gateways(result)?;
        let host = link::made(session, Ns::Host, &pair.host)?;
        route_on_host(session, &host, result)?;
        let options = Options { announce: true, connected: &connected, ..Options::default() };
        interface::configure(session, container, result, options)?;
        if let Some(backend) = conf.ip_masq {
            masquerade::add(backend, call, session, &tag, result)?;
        }
        picocni_core::conf::dns(call.text, &mut result.dns)
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let conf = Conf::read(call)?;
        link::check(call, session, LinkKind::Veth)?;
        if conf.ip_masq.is_some() {
            masquerade::check(call, session, call.required_prev()?)?;
        }
        Ok(())
    }

    fn reconcile(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        match Conf::read(call)?.ip_masq {
            Some(backend) => masquerade::reconcile(backend, call, session, call.required_prev()?),
            None => Ok(()),
        }
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let mut failures = Failures::new();
        let mut plan = Plan::new();
        failures.note(veth::plan_deletion(call, session, &mut plan));
        failures.note(session.remove(&plan));
        failures.note(masquerade::del(call, session));
        failures.note(link::forward(call, session, Command::Del));
        failures.into_result()
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let mut failures = Failures::new();
        if let Some(valid) = ValidAttachments::read(call.text)? {
            failures.note(veth::gc(session, call.conf.name, &valid));
            failures.note(masquerade::gc(session, call.conf.name, &valid));
        }
        failures.note(link::forward(call, session, Command::Gc));
        failures.into_result()
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::needs_ipam(call)?;
        masquerade::status(call, session)?;
        link::forward(call, session, Command::Status)
    }
}

/// Each address belongs to the container and has a gateway; gives the routes to
/// the gateways and, by them, to the addresses' networks.
fn gateways(result: &mut AddResult) -> Result<heapless::Vec<Route, { 2 * limits::IPS }>> {
    let mut routes = heapless::Vec::new();
    for ip in &mut result.ips {
        ip.interface = Some(CONTAINER);
        let (address, network) = (ip.address.addr(), ip.address.network());
        let first = Some(network.first_host()).filter(|first| ip.address.prefix() > 0 && network.contains(*first));
        let Some(gw) = ip.gateway.or(first).filter(|gw| *gw != address) else {
            return Err(err!(CONFIG, "IPAM plugin returned no gateway", ip.address, " needs one of its own"));
        };
        ip.gateway = Some(gw);
        let to_gateway = Route { scope: Some(SCOPE_LINK), src: Some(address), ..Route::to(Cidr::host(gw)) };
        let to_network = Route { gw: Some(gw), src: Some(address), ..Route::to(network) };
        let own = [Some(to_gateway), Some(to_network).filter(|route| route.dst != Cidr::host(gw))];
        for route in own.into_iter().flatten() {
            routes.push(route).map_err(|_| Error::limit("IPS", limits::IPS))?;
        }
    }
    Ok(routes)
}

/// The host is each gateway, forwards, and finds each address by its end.
fn route_on_host(session: &mut Session<'_>, host: &Link, result: &AddResult) -> Result<()> {
    let mut plan = Plan::new();
    for v6 in [false, true] {
        let mut known: heapless::Vec<Cidr, { limits::IPS }> = heapless::Vec::new();
        for ip in result.ips.iter().filter(|ip| ip.address.is_v6() == v6) {
            let Some(cidr) = ip.gateway.map(Cidr::host) else { continue };
            if !known.contains(&cidr) {
                let _ = known.push(cidr);
                plan.change(Change::AddAddress {
                    ns: Ns::Host,
                    index: host.index,
                    cidr,
                    dad: false,
                    prefix_route: true,
                })?;
            }
            let route = Route { scope: Some(SCOPE_HOST), ..Route::to(Cidr::host(ip.address.addr())) };
            plan.change(Change::AddRoute { ns: Ns::Host, index: host.index, route })?;
        }
        if !known.is_empty() {
            forwarding::plan(v6, session, &mut plan)?;
        }
    }
    session.apply(&plan)
}
