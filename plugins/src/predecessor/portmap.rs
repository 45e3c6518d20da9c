//! Their port mappings.
//!
//! By iptables: a chain `CNI-DN-DIGEST` of network and container, to which rules
//! of `CNI-HOSTPORT-DNAT` lead; before version 0.7 a chain `CNI-SN-DIGEST` too,
//! which only DEL looks for. By nftables: a table for each family, where the rules of a container have its ID
//! as comment. That names no network: DEL of one of its networks takes the rules
//! of all, as theirs does, and GC does not know them.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use picocni_core::conf::ValidAttachments;
use picocni_core::error::Result;
use picocni_core::net::Cidr;
use picocni_core::observe::PublishedPort;
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::owner::Owner;
use picocni_core::packet_filter::{Action, Chain, Hook, Rule, Table, TableFamily, Which};
use picocni_core::session::Session;

use super::{
    NAT, Shared, chain_name, count, count_by_iptables, drop_legacy, ensure, gc_chains, is_anothers, plan_chain,
};

const PREFIX: &str = "CNI-DN-";
const ENTRY: &str = "CNI-HOSTPORT-DNAT";
const OLD_PREFIX: &str = "CNI-SN-";
const OLD_ENTRY: &str = "CNI-HOSTPORT-SNAT";
/// What the comments of iptables rules begin with.
const BEFORE: &str = "dnat name: ";

const fn table(v6: bool) -> Table<'static> {
    Table { family: TableFamily::of(v6), name: "cni_hostport" }
}

/// Where connections to host ports are led to containers.
const fn ports(v6: bool) -> Chain<'static> {
    table(v6).chain("hostports")
}

/// Where their sources are translated.
const fn sources(v6: bool) -> Chain<'static> {
    table(v6).chain("masquerading")
}

/// Removes what they publish for an attachment.
///
/// Every pod without port mappings comes here. So the chains that all their pods
/// share are asked for first: where they published nothing since the host was
/// started, there is no digest to make.
pub(crate) fn take_back(session: &mut Session<'_>, owner: &Owner<'_>) -> Result<()> {
    let [v4, v6] = NAT;
    let shared = session.backend.find_chains(&[v4.chain(ENTRY), v6.chain(ENTRY), ports(false), ports(true)])?;
    if shared != 0 {
        take_back_from(session, owner, shared)?;
    }
    drop_legacy(
        session,
        &[&chain_name(PREFIX, owner.network, owner.container), &chain_name(OLD_PREFIX, owner.network, owner.container)],
    )
}

#[inline(never)]
fn take_back_from(session: &mut Session<'_>, owner: &Owner<'_>, shared: u32) -> Result<()> {
    let [v4, v6] = NAT;
    let name = chain_name(PREFIX, owner.network, owner.container);
    let old = chain_name(OLD_PREFIX, owner.network, owner.container);
    let chains = [(v4, ENTRY, &name), (v6, ENTRY, &name), (v4, OLD_ENTRY, &old), (v6, OLD_ENTRY, &old)];
    let own = session.backend.find_chains(&chains.map(|(table, _, name)| table.chain(name)))?;
    if own != 0 && is_anothers(session, crate::portmap::record::DIR, owner)? {
        return Ok(());
    }
    let mut plan = Plan::new();
    for (_, (table, entry, name)) in (0..).zip(chains).filter(|(at, _)| own & 1 << at != 0) {
        plan_chain(table, entry, name, &mut plan)?;
    }
    for (_, v6) in [(4, false), (8, true)].into_iter().filter(|(bit, _)| shared & bit != 0) {
        for chain in [ports(v6), sources(v6)] {
            plan.remove(Removal::DropRules { chain, which: Which::Comment(owner.container) })?;
        }
    }
    session.remove(&plan)
}

/// What they should publish for one family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// IPv6 rather than IPv4.
    pub(crate) v6: bool,
    /// Port mappings.
    pub(crate) ports: usize,
    /// Rules for the source of each.
    pub(crate) sources: usize,
}

/// Whether they publish so much for an attachment, by one way or the other.
pub(crate) fn is_there(session: &mut Session<'_>, owner: &Owner<'_>, expected: &Expected) -> Result<bool> {
    let Expected { v6, ports: wanted, sources: translated } = *expected;
    let own = Some(Which::Comment(owner.container));
    if count(session, &ports(v6), own)? >= wanted {
        return Ok(translated == 0 || count(session, &sources(v6), own)? > 0);
    }
    let name = chain_name(PREFIX, owner.network, owner.container);
    let family = TableFamily::of(v6);
    for table in NAT.into_iter().filter(|table| table.family == family) {
        let rules = translated.saturating_add(1).saturating_mul(wanted);
        if count(session, &table.chain(ENTRY), Some(Which::JumpTo(&name)))? > 0
            && count(session, &table.chain(&name), None)? >= rules
        {
            return Ok(true);
        }
    }
    let (jumps, rules) = count_by_iptables(session, v6, ENTRY, &name);
    Ok(jumps > 0 && rules >= translated.saturating_add(1).saturating_mul(wanted))
}

/// Removes what they publish by iptables for containers of `network` that have
/// no valid attachment.
pub(crate) fn gc(session: &mut Session<'_>, network: &str, valid: &ValidAttachments<'_>) -> Result<()> {
    gc_chains(session, ENTRY, (PREFIX, BEFORE), network, &|container| valid.contains_container(container))
}

/// What their tables say of themselves.
const TABLE_COMMENT: &str = "CNI portmap plugin";

const fn shared(name: &'static str, hook: Option<Hook>, rules: &'static [Rule<'static>]) -> Shared {
    Shared { name, hook, comment: "", rules }
}

/// Only what is for this host itself is led elsewhere.
const OWN: &[Rule<'static>] = &[Rule { to_host: true, ..Rule::new(Action::Jump("hostports_all")) }];

const SHARED: [Shared; 6] = [
    shared("hostports", None, &[]),
    shared("hostip_hostports", None, &[]),
    shared("hostports_all", None, &[Rule::new(Action::Jump("hostip_hostports")), Rule::new(Action::Jump("hostports"))]),
    shared("prerouting", Some(Hook::NatPrerouting), OWN),
    shared("output", Some(Hook::NatOutput), OWN),
    shared("masquerading", Some(Hook::NatPostrouting), &[]),
];

/// Publishes a port as they do.
pub(crate) fn publish(session: &mut Session<'_>, owner: &Owner<'_>, port: &PublishedPort) -> Result<()> {
    let v6 = port.to.is_ipv6();
    ensure(session, table(v6), TABLE_COMMENT, &SHARED)?;
    let rule = Rule {
        to: port.host_ip.map(|ip| (true, Cidr::host(ip))),
        port: Some((port.protocol, port.host_port)),
        ..Rule::new(Action::Dnat(SocketAddr::new(port.to, port.to_port)))
    };
    session.change(Change::AppendRule { chain: ports(v6), rule: &rule, comment: owner.container })
}

/// Translates the source of connections to a container as they do; every source
/// if `all`, which their nftables backend leaves out.
pub(crate) fn publish_source(session: &mut Session<'_>, owner: &Owner<'_>, to: IpAddr, all: bool) -> Result<()> {
    let loopback = to.is_ipv4().then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    for from in [Some(Some(to)), loopback.map(Some), all.then_some(None)].into_iter().flatten() {
        let rule = Rule { from, to: Some((true, Cidr::host(to))), ..Rule::new(Action::Masquerade) };
        session.change(Change::AppendRule { chain: sources(to.is_ipv6()), rule: &rule, comment: owner.container })?;
    }
    Ok(())
}
