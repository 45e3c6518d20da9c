//! The plugins that a node ran before: what they leave in the packet filter for
//! an attachment, by their names.
//!
//! Those of 1.9.1 and of Debian's 1.1.1 are known, with nftables and with the
//! iptables that makes nftables rules: its tables are ordinary ones, so nothing
//! is executed for them. Leases, saved `tuning` values, `flannel`'s configs and
//! a device's alias need no word here: the files and forms are the same.
//!
//! DEL looks where no record of ours says what there is. A look is a question
//! for a chain by its name and costs microseconds.
//!
//! | what they made | module |
//! |---|---|
//! | `ipMasq` | `masquerade` |
//! | port mappings | `portmap` |
//! | `macspoofchk` | `macspoof` |
//!
//! [`hand_back`] is the way back: what we hold for live attachments is written in
//! their form, so that they delete it.

pub mod hand_back;
pub(crate) mod macspoof;
pub(crate) mod masquerade;
pub(crate) mod portmap;
#[cfg(test)]
mod tests;

use picocni_core::error::Result;
use picocni_core::iptables;
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::owner::{Owner, Tag};
use picocni_core::packet_filter::{Chain, Hook, Rule, Table, TableFamily, Which};
use picocni_core::session::Session;

/// The tables that iptables and ip6tables call `nat`.
const NAT: [Table<'static>; 2] =
    [Table { family: TableFamily::Ip, name: "nat" }, Table { family: TableFamily::Ip6, name: "nat" }];

/// The name of a container's chain. Theirs do not hold the interface.
fn chain_name(prefix: &str, network: &str, container: &str) -> iptables::Chain {
    iptables::chain_name(prefix, [network, container])
}

/// Plans that a chain goes, with the rules of `entry` that lead to it.
fn plan_chain<'p>(table: Table<'p>, entry: &'p str, name: &'p str, plan: &mut Plan<'p>) -> Result<()> {
    plan.remove(Removal::DropRules { chain: table.chain(entry), which: Which::JumpTo(name) })?;
    plan.remove(Removal::DropChain { chain: table.chain(name) })
}

/// Whether another attachment of the container to the same network has a record
/// of ours: their names do not hold the interface, so the chain may be that one's.
fn is_anothers(session: &mut Session<'_>, dir: &str, owner: &Owner<'_>) -> Result<bool> {
    let mut found = false;
    session.backend.list(dir, &mut |name| {
        let other = Tag::of_file_name(name);
        let parts = other.as_ref().and_then(Tag::parts);
        found |= parts.is_some_and(|(network, container, ifname)| {
            (network, container) == (owner.network, owner.container) && ifname != owner.ifname.as_str()
        });
    })?;
    Ok(found)
}

/// Removes a chain that iptables-legacy made, whose tables no message of
/// nftables shows: in each family, if it has the table at all.
fn drop_legacy(session: &mut Session<'_>, chains: &[&str]) -> Result<()> {
    let mut plan = Plan::new();
    for chain in chains {
        for v6 in [false, true] {
            plan.remove(Removal::DropLegacyChain { v6, table: "nat", chain })?;
        }
    }
    session.remove(&plan)
}

/// What iptables, of whatever flavour, has of a chain in `nat`: rules of `entry`
/// that jump to it, and its own. Without iptables there are none.
fn count_by_iptables(session: &mut Session<'_>, v6: bool, entry: &str, chain: &str) -> (usize, usize) {
    let (mut jumps, mut rules) = (0usize, 0usize);
    let looked = session.backend.iptables_rules(v6, "nat", &mut |line| {
        if let Some((of, rule)) = iptables::rule(line) {
            jumps = jumps.saturating_add(usize::from(of == entry && iptables::jumps_to(rule, chain)));
            rules = rules.saturating_add(usize::from(of == chain));
        }
    });
    if looked.is_ok() { (jumps, rules) } else { (0, 0) }
}

/// How many of a chain's rules are of this kind.
fn count(session: &mut Session<'_>, chain: &Chain<'_>, which: Option<Which<'_>>) -> Result<usize> {
    let mut count = 0usize;
    session.backend.chain_rules(chain, &mut |rule| {
        if which.is_none_or(|which| rule.is(which)) {
            count = count.saturating_add(1);
        }
    })?;
    Ok(count)
}

/// A chain that all attachments share.
struct Shared {
    name: &'static str,
    hook: Option<Hook>,
    comment: &'static str,
    rules: &'static [Rule<'static>],
}

/// Makes a table as they do. Rules come into a chain that has none.
fn ensure(session: &mut Session<'_>, table: Table<'_>, comment: &str, chains: &[Shared]) -> Result<()> {
    let mut plan = Plan::new();
    for shared in chains {
        plan.change(Change::EnsureChain {
            chain: table.chain(shared.name),
            hook: shared.hook,
            table_comment: comment,
            comment: shared.comment,
        })?;
    }
    session.apply(&plan)?;
    for shared in chains.iter().filter(|shared| !shared.rules.is_empty()) {
        let chain = table.chain(shared.name);
        if count(session, &chain, None)? > 0 {
            continue;
        }
        let mut plan = Plan::new();
        for rule in shared.rules {
            plan.change(Change::AppendRule { chain, rule, comment: "" })?;
        }
        session.apply(&plan)?;
    }
    Ok(())
}

/// What comes before and after the first `separator`. (The standard library's
/// searcher for text is ten times as long.)
fn cut<'t>(text: &'t str, separator: &str) -> Option<(&'t str, &'t str)> {
    let at = text.as_bytes().windows(separator.len()).position(|window| window == separator.as_bytes())?;
    Some((text.get(..at)?, text.get(at.checked_add(separator.len())?..)?))
}

/// Network and container of a comment `BEFORE"NETWORK" id: "CONTAINER"`.
fn identity<'c>(comment: &'c str, before: &str) -> Option<(&'c str, &'c str)> {
    let (network, container) = cut(comment.strip_prefix(before)?, "\" id: \"")?;
    Some((network.strip_prefix('"')?, container.strip_suffix('"')?))
}

/// Chains of one slice of GC.
type Stale = heapless::Vec<iptables::Chain, 16>;

/// GC of what iptables made: the chains that rules of `entry` lead to, whose
/// comment names this network and a container that `keeps` does not know.
fn gc_chains(
    session: &mut Session<'_>,
    entry: &str,
    (prefix, before): (&str, &str),
    network: &str,
    keeps: &dyn Fn(&str) -> bool,
) -> Result<()> {
    for table in NAT {
        loop {
            let mut stale = Stale::new();
            session.backend.chain_rules(&table.chain(entry), &mut |rule| {
                let Some((_, container)) = identity(rule.comment, before).filter(|(of, _)| *of == network) else {
                    return;
                };
                let name = chain_name(prefix, network, container);
                if rule.jumps_to == name && !keeps(container) && !stale.contains(&name) {
                    let _ = stale.push(name);
                }
            })?;
            if stale.is_empty() {
                break;
            }
            let mut plan = Plan::new();
            for name in &stale {
                plan_chain(table, entry, name, &mut plan)?;
            }
            session.remove(&plan)?;
        }
    }
    Ok(())
}
