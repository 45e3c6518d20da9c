//! Their `ipMasq`.
//!
//! By iptables: a chain `CNI-DIGEST` of network and container, to which a rule
//! of `POSTROUTING` leads for each address. By nftables: a table for all, where
//! the rules of an attachment have a comment that begins with digests of
//! network and attachment.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use picocni_core::conf::ValidAttachments;
use picocni_core::digest::hex_of;
use picocni_core::error::Result;
use picocni_core::net::Cidr;
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::owner::Owner;
use picocni_core::packet_filter::{Action, Chain, Hook, Rule, Table, TableFamily, Which};
use picocni_core::put;
use picocni_core::result::AddResult;
use picocni_core::session::Session;

use super::{
    NAT, Shared, chain_name, count, count_by_iptables, cut, drop_legacy, ensure, gc_chains, is_anothers, plan_chain,
};

const PREFIX: &str = "CNI-";
const ENTRY: &str = "POSTROUTING";
/// What the comments of iptables rules begin with.
const BEFORE: &str = "name: ";

const TABLE: Table<'static> = Table { family: TableFamily::Inet, name: "cni_plugins_masquerade" };
/// The rules of all attachments.
const CHECKS: Chain<'static> = TABLE.chain("masq_checks");

/// Hex digits of each digest.
const DIGITS: usize = 16;
/// Bytes of a comment; a longer one is cut.
const COMMENT: usize = 128;

/// `DIGEST-` of the network and, if it is given, `DIGEST` of the attachment.
type Mark = heapless::String<{ 2 * DIGITS + 1 }>;

fn mark(network: &str, attachment: Option<(&str, &str)>) -> Mark {
    let mut mark = Mark::new();
    let _ = hex_of(&[network.as_bytes()], &mut mark, DIGITS);
    put!(&mut mark, "-");
    if let Some((container, ifname)) = attachment {
        let _ = hex_of(&[ifname.as_bytes(), b":", container.as_bytes()], &mut mark, DIGITS);
    }
    mark
}

fn mark_of(owner: &Owner<'_>) -> Mark {
    mark(owner.network, Some((owner.container, owner.ifname.as_str())))
}

/// Removes what they masquerade for an attachment.
pub(crate) fn take_back(session: &mut Session<'_>, owner: &Owner<'_>) -> Result<()> {
    let name = chain_name(PREFIX, owner.network, owner.container);
    let mark = mark_of(owner);
    let [v4, v6] = NAT;
    let found = session.backend.find_chains(&[v4.chain(&name), v6.chain(&name), CHECKS])?;
    if found & 3 != 0 && is_anothers(session, crate::masquerade::DIR, owner)? {
        return Ok(());
    }
    drop_legacy(session, &[&name])?;
    if found == 0 {
        return Ok(());
    }
    let mut plan = Plan::new();
    for (_, table) in [(1, v4), (2, v6)].into_iter().filter(|(bit, _)| found & bit != 0) {
        plan_chain(table, ENTRY, &name, &mut plan)?;
    }
    if found & 4 != 0 {
        plan.remove(Removal::DropRules { chain: CHECKS, which: Which::CommentPrefix(&mark) })?;
    }
    session.remove(&plan)
}

/// Whether they masquerade every address of `prev`.
pub(crate) fn is_there(session: &mut Session<'_>, owner: &Owner<'_>, prev: &AddResult) -> Result<bool> {
    let mark = mark_of(owner);
    let rules = count(session, &CHECKS, Some(Which::CommentPrefix(&mark)))?;
    if rules >= prev.ips.len() {
        return Ok(true);
    }
    let name = chain_name(PREFIX, owner.network, owner.container);
    for table in NAT {
        let v6 = table.family == TableFamily::Ip6;
        let addresses = prev.ips.iter().filter(|ip| ip.address.is_v6() == v6).count();
        if addresses == 0 {
            continue;
        }
        let mut jumps = count(session, &table.chain(ENTRY), Some(Which::JumpTo(&name)))?;
        let mut rules = count(session, &table.chain(&name), None)?;
        if jumps == 0 {
            (jumps, rules) = count_by_iptables(session, v6, ENTRY, &name);
        }
        // To its own network unchanged, all else masqueraded.
        if jumps < addresses || rules < 2 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes what they masquerade for attachments of `network` that are not valid.
pub(crate) fn gc(session: &mut Session<'_>, network: &str, valid: &ValidAttachments<'_>) -> Result<()> {
    gc_chains(session, ENTRY, (PREFIX, BEFORE), network, &|container| valid.contains_container(container))?;
    let own = mark(network, None);
    loop {
        let mut stale: heapless::Vec<Mark, 16> = heapless::Vec::new();
        session.backend.chain_rules(&CHECKS, &mut |rule| {
            let mark = rule.comment.get(..2 * DIGITS + 1).filter(|mark| mark.starts_with(own.as_str()));
            let mark = mark.and_then(|mark| picocni_core::text::fits(&[&mark]));
            if let Some(mark) = mark
                && !stale.contains(&mark)
                && !keeps(network, rule.comment, &mark, valid)
            {
                let _ = stale.push(mark);
            }
        })?;
        if stale.is_empty() {
            return Ok(());
        }
        let mut plan = Plan::new();
        for mark in &stale {
            plan.remove(Removal::DropRules { chain: CHECKS, which: Which::CommentPrefix(mark) })?;
        }
        session.remove(&plan)?;
    }
}

/// Whether a rule belongs to a valid attachment: by what its comment says or,
/// where that was cut, by the digest of each.
fn keeps(network: &str, comment: &str, own: &Mark, valid: &ValidAttachments<'_>) -> bool {
    if comment.len() < COMMENT
        && let Some((ifname, container)) = cut(comment, ", if: ").and_then(|(_, rest)| cut(rest, ", id: "))
    {
        return valid.contains(container, ifname);
    }
    valid.any(&mut |container, ifname| mark(network, Some((container, ifname))) == *own)
}

/// What their table says of itself.
const TABLE_COMMENT: &str = "Masquerading for plugins from github.com/containernetworking/plugins";

const fn unchanged(ip: IpAddr, prefix: u8) -> Rule<'static> {
    let net = match Cidr::new(ip, prefix) {
        Some(net) => net,
        None => Cidr::host(ip),
    };
    Rule { to: Some((true, net)), ..Rule::new(Action::Return) }
}

const SHARED: [Shared; 2] = [
    Shared {
        name: CHECKS.name,
        hook: None,
        comment: "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet",
        rules: &[],
    },
    Shared {
        name: "postrouting",
        hook: Some(Hook::NatPostrouting),
        comment: "",
        rules: &[
            unchanged(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
            unchanged(IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
            Rule::new(Action::Goto(CHECKS.name)),
        ],
    },
];

/// Masquerades an address as they do.
pub(crate) fn masquerade(session: &mut Session<'_>, owner: &Owner<'_>, ip: IpAddr, net: Cidr) -> Result<()> {
    ensure(session, TABLE, TABLE_COMMENT, &SHARED)?;
    let rule = Rule { from: Some(ip), to: Some((false, net)), ..Rule::new(Action::Masquerade) };
    session.change(Change::AppendRule { chain: CHECKS, rule: &rule, comment: &comment(owner) })
}

/// The comment of an attachment's rules.
fn comment(owner: &Owner<'_>) -> heapless::String<COMMENT> {
    let mut comment = heapless::String::new();
    let parts: [&str; 6] = [", net: ", owner.network, ", if: ", owner.ifname.as_str(), ", id: ", owner.container];
    let mark = mark_of(owner);
    for c in core::iter::once(mark.as_str()).chain(parts).flat_map(str::chars) {
        if comment.push(c).is_err() {
            break;
        }
    }
    comment
}
