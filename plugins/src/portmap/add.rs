//! ADD of `portmap`.

use picocni_core::err;
use picocni_core::error::{Code, Error, Result};
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName};
use picocni_core::net::Cidr;
use picocni_core::observe::{Ns, Protocol, PublishedPort};
use picocni_core::op::{Change, OnFailure, Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::Call;
use picocni_core::result::{AddResult, IpConfig};
use picocni_core::session::Session;

use super::claims::{self, Claim, LOCK};
use super::conf::Conf;
use super::del::{self, Removals, Then};
use super::iptables;
use super::record::{self, Draft, Source};
use crate::{interface, predecessor};

/// A mapping counts once for each family.
const PORTS: usize = limits::PORT_MAPPINGS * 2;

/// What an attachment publishes.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) ports: heapless::Vec<PublishedPort, PORTS>,
    /// The container's address with its prefix, IPv4 and IPv6.
    addresses: [Option<Cidr>; 2],
    /// For each port, whether another attachment of the container holds it;
    /// empty until it is known.
    waits: heapless::Vec<bool, PORTS>,
}

impl Wanted {
    /// The container's network of a family.
    pub(super) fn net(&self, v6: bool) -> Option<Cidr> {
        self.addresses.get(usize::from(v6)).copied().flatten().map(Cidr::network)
    }

    /// Ports that this attachment gets.
    fn held(&self) -> impl Iterator<Item = &PublishedPort> {
        self.ports.iter().zip(&self.waits).filter(|(_, waits)| !**waits).map(|(port, _)| port)
    }

    /// Ports that another attachment of the container holds.
    fn waiting(&self) -> impl Iterator<Item = &PublishedPort> {
        self.ports.iter().zip(&self.waits).filter(|(_, waits)| **waits).map(|(port, _)| port)
    }
}

/// Publishes every port of the config; what the attachment published before is taken back.
///
/// # Errors
/// Code 7, 103, 101.
pub(super) fn publish_all(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let conf = Conf::read(call)?;
    let prev = call.required_prev()?;
    let mut wanted = wanted(&conf, call, prev)?;
    if !wanted.ports.is_empty() {
        session.backend.lock(LOCK)?;
        let outcome = publish(&conf, call, session, &mut wanted);
        // A failure keeps the lock: the caller undoes under it, then unlocks.
        outcome?;
        session.backend.unlock();
    }
    Ok(())
}

/// The container's first address of a family.
fn container_address(call: &Call<'_>, prev: &AddResult, v6: bool) -> Option<Cidr> {
    let own = |ip: &&IpConfig| {
        prev.interface_of(ip).is_none_or(|i| i.name == call.env.ifname.as_str() && !i.sandbox.is_empty())
    };
    prev.ips.iter().filter(|ip| ip.address.is_v6() == v6).find(own).map(|ip| ip.address)
}

/// Every mapping for every family the container has.
///
/// # Errors
/// Code 7: one host port leads to two container ports.
pub(super) fn wanted(conf: &Conf<'_>, call: &Call<'_>, prev: &AddResult) -> Result<Wanted> {
    let mut ports: heapless::Vec<PublishedPort, PORTS> = heapless::Vec::new();
    let addresses = [false, true].map(|v6| container_address(call, prev, v6));
    for (to, v6) in addresses.iter().zip([false, true]) {
        let Some(to) = to.map(Cidr::addr) else { continue };
        for mapping in &conf.mappings {
            let Some(host_ip) = mapping.host.of_family(v6) else { continue };
            let port = PublishedPort {
                protocol: mapping.protocol,
                host_ip,
                host_port: mapping.host_port,
                to,
                to_port: mapping.container_port,
            };
            let same_key = |other: &&PublishedPort| {
                other.to == to
                    && other.protocol == port.protocol
                    && other.host_port == port.host_port
                    && other.host_ip == host_ip
            };
            match ports.iter().find(same_key) {
                // "0.0.0.0" and an absent hostIP mean the same to IPv4.
                Some(other) if *other == port => {}
                Some(other) => {
                    return Err(err!(CONFIG, "host port is mapped twice", port, " and to port ", other.to_port));
                }
                None => ports.push(port).map_err(|_| Error::limit("PORT_MAPPINGS", limits::PORT_MAPPINGS))?,
            }
        }
    }
    Ok(Wanted { ports, addresses, waits: heapless::Vec::new() })
}

type Sources = heapless::Vec<(Source, Option<IfName>), 2>;

/// Source translation of each family that has a port, and the link it goes by.
fn sources(conf: &Conf<'_>, session: &mut Session<'_>, wanted: &Wanted) -> Result<Sources> {
    let mut sources = Sources::new();
    for v6 in [false, true] {
        let Some(to) = wanted.ports.iter().map(|port| port.to).find(|to| conf.snat && to.is_ipv6() == v6) else {
            continue;
        };
        let link = session.backend.route_link(to)?;
        let via = link.as_ref().map_or(IfIndex(0), |link| link.index);
        let _ = sources.push((Source { to, via, all: conf.masq_all }, link.map(|link| link.name)));
    }
    Ok(sources)
}

/// Record, claims, rules, sysctl, connections: in this order, so that whatever
/// is killed in between leaves a record of what there may be.
fn publish(conf: &Conf<'_>, call: &Call<'_>, session: &mut Session<'_>, wanted: &mut Wanted) -> Result<()> {
    let tag = call.owner().tag();
    if session.backend.read_file(&record::path(&tag)?, &mut [])?.is_none() {
        predecessor::portmap::take_back(session, &call.owner())?;
    }
    let by_iptables = conf.backend.is_iptables(session);
    clear_the_way(session, wanted, &tag)?;
    let sources = sources(conf, session, wanted)?;
    write_record(call, session, wanted, if by_iptables { None } else { Some(&sources) }, &tag)?;
    claim(session, wanted, &tag)?;
    if by_iptables {
        // Also of ports that wait: whose jump comes first has them.
        iptables::publish(conf, call, session, wanted)?;
    } else {
        publish_natively(session, wanted, &sources, &tag)?;
    }
    for (source, link) in &sources {
        let published = by_iptables || wanted.held().any(|port| port.to == source.to);
        if let (true, true, Some(link)) = (published, source.to.is_ipv4(), link) {
            allow_localhost(session, link)?;
        }
    }
    let mut purges = Removals::new();
    for port in wanted.held().filter(|port| port.protocol == Protocol::Udp) {
        purges.push(session, del::purge(port));
    }
    purges.finish(session)
}

fn publish_natively(session: &mut Session<'_>, wanted: &Wanted, sources: &Sources, tag: &Tag) -> Result<()> {
    let mut rules = Rules::new();
    for port in wanted.held() {
        rules.push(session, Change::Publish { port: *port, tag: tag.as_str() })?;
    }
    for (source, _) in sources.iter().filter(|(source, _)| wanted.held().any(|port| port.to == source.to)) {
        rules.push(
            session,
            Change::PublishSource { to: source.to, via: source.via, all: source.all, tag: tag.as_str() },
        )?;
    }
    rules.apply(session)
}

/// What an earlier life of this attachment left, and claims of the dead. Every
/// port is looked at before anything is made.
fn clear_the_way(session: &mut Session<'_>, wanted: &mut Wanted, tag: &Tag) -> Result<()> {
    let mut buffer = [0u8; limits::STATE_FILE];
    del::take_back(session, tag, &mut buffer, Then::Keep)?;
    let Wanted { ports, waits, .. } = wanted;
    waits.clear();
    for port in ports {
        let _ = waits.push(claims::make_way(session, port, tag, &mut buffer)?);
    }
    Ok(())
}

fn write_record(
    call: &Call<'_>,
    session: &mut Session<'_>,
    wanted: &Wanted,
    native: Option<&Sources>,
    tag: &Tag,
) -> Result<()> {
    let mut draft = Draft::new(session, call.env.netns)?;
    for (port, waits) in wanted.ports.iter().zip(&wanted.waits) {
        draft.port(port, *waits)?;
    }
    for (source, _) in native.into_iter().flatten() {
        draft.source(source)?;
    }
    if native.is_none() {
        let chain = iptables::chain(&call.owner());
        iptables::families(wanted).try_for_each(|v6| draft.chain(v6, &chain))?;
    }
    let path = record::path(tag)?;
    let mut plan = Plan::new();
    plan.change(Change::WriteFile { path: &path, content: draft.content() })?;
    session.apply(&plan)
}

fn claim(session: &mut Session<'_>, wanted: &Wanted, tag: &Tag) -> Result<()> {
    let mut claims: Claims = heapless::Vec::new();
    for port in wanted.held() {
        add_claim(session, &mut claims, Claim::of(port), tag)?;
    }
    for (at, port) in wanted.waiting().enumerate() {
        // One mark for all addresses of a port number.
        let same = |other: &&PublishedPort| other.protocol == port.protocol && other.host_port == port.host_port;
        if !wanted.waiting().take(at).any(|other| same(&other)) {
            add_claim(session, &mut claims, Claim::waiting(port, tag), tag)?;
        }
    }
    make_claims(session, &claims, tag)
}

type Claims = heapless::Vec<Claim, { limits::PLAN }>;

/// Collects claims, and makes them when a plan is full.
fn add_claim(session: &mut Session<'_>, claims: &mut Claims, claim: Claim, tag: &Tag) -> Result<()> {
    if let Err(claim) = claims.push(claim) {
        make_claims(session, claims, tag)?;
        claims.clear();
        let _ = claims.push(claim);
    }
    Ok(())
}

fn make_claims(session: &mut Session<'_>, claims: &Claims, tag: &Tag) -> Result<()> {
    let mut plan = Plan::new();
    for claim in claims {
        plan.change(Change::Claim { dir: &claim.dir, key: &claim.key, holder: tag.as_str() })?;
    }
    session.apply(&plan)
}

/// Any number of rules, set in batches of [`limits::PLAN`].
#[derive(Debug)]
pub(super) struct Rules<'t> {
    plan: Plan<'t>,
}

impl<'t> Rules<'t> {
    pub(super) const fn new() -> Self {
        Rules { plan: Plan::new() }
    }

    pub(super) fn push(&mut self, session: &mut Session<'_>, change: Change<'t>) -> Result<()> {
        if self.plan.changes().len() >= limits::PLAN {
            self.apply(session)?;
            self.plan = Plan::new();
        }
        self.plan.change(change)
    }

    /// Sets the rules. Where the packet filter has one of them already, nobody
    /// claims it: its record was lost with /run. A batch is all or nothing, so
    /// what stands in its way is removed and the batch is sent once more.
    pub(super) fn apply(&self, session: &mut Session<'_>) -> Result<()> {
        match session.apply(&self.plan) {
            Err(error) if error.code() == Code::CONFLICT => {}
            outcome => return outcome,
        }
        let mut leftovers = Removals::new();
        for change in self.plan.changes() {
            match *change {
                Change::Publish { port, .. } => leftovers.push(session, Removal::Unpublish { port }),
                Change::PublishSource { to, via, all, .. } => {
                    leftovers.push(session, Removal::UnpublishSource { to, via, all })
                }
                _ => {}
            }
        }
        leftovers.finish(session)?;
        session.apply(&self.plan)
    }
}

/// 127.0.0.1 on the host reaches the container only if the link takes packets
/// of that source. The packet filter keeps such packets from other hosts out.
pub(super) fn allow_localhost(session: &mut Session<'_>, link: &IfName) -> Result<()> {
    let key = interface::host_key("ipv4", link, "route_localnet")?;
    let mut value = heapless::String::new();
    if session.backend.sysctl(Ns::Host, &key, &mut value)? && value == "1" {
        return Ok(());
    }
    let mut plan = Plan::new();
    plan.change(Change::EnsureSysctl { key: &key, value: "1", on_failure: OnFailure::Fail })?;
    session.apply(&plan)
}
