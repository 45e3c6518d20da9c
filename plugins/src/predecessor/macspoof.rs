//! Their `macspoofchk`: two chains for each port of a bridge, and a rule for all
//! ports that leads to the first. Neither names the network: GC does not know them.

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::name::{IfName, Mac};
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::owner::Owner;
use picocni_core::packet_filter::{Action, Hook, Rule, Table, TableFamily, Which};
use picocni_core::session::Session;
use picocni_core::text::fits;

const TABLE: Table<'static> = Table { family: TableFamily::Bridge, name: "nat" };
const ENTRY: &str = "PREROUTING";

/// Bytes of a chain's name and of a comment: what nftables takes.
type Name = heapless::String<127>;

/// The names of an attachment's chains, and the comment of its rules; none if
/// they are longer than nftables lets them be, and so cannot be there.
fn names(owner: &Owner<'_>) -> Option<[Name; 3]> {
    let Owner { container, ifname, .. } = owner;
    Some([
        fits(&[&"cni-br-iface-", container, &"-", ifname])?,
        fits(&[&"cni-br-iface-", container, &"-", ifname, &"-mac"])?,
        fits(&[&"macspoofchk-", container, &"-", ifname])?,
    ])
}

/// Whether an attachment has their guard.
pub(crate) fn is_there(session: &mut Session<'_>, owner: &Owner<'_>) -> Result<bool> {
    let Some([port, mac, _]) = names(owner) else { return Ok(false) };
    Ok(session.backend.find_chains(&[TABLE.chain(&port), TABLE.chain(&mac)])? == 0b11)
}

/// Removes their guard of an attachment.
pub(crate) fn take_back(session: &mut Session<'_>, owner: &Owner<'_>) -> Result<()> {
    let Some([port, mac, comment]) = names(owner) else { return Ok(()) };
    if session.backend.find_chains(&[TABLE.chain(&port), TABLE.chain(&mac)])? == 0 {
        return Ok(());
    }
    let mut plan = Plan::new();
    plan.remove(Removal::DropRules { chain: TABLE.chain(ENTRY), which: Which::Comment(&comment) })?;
    for name in [&port, &mac] {
        plan.remove(Removal::DropChain { chain: TABLE.chain(name) })?;
    }
    session.remove(&plan)
}

/// Guards a port as they do. An attachment whose names are too long for them
/// is none that they can guard.
pub(crate) fn guard(session: &mut Session<'_>, owner: &Owner<'_>, port: IfName, source: Mac) -> Result<()> {
    let Some([first, second, comment]) = names(owner) else {
        return Err(err!(CONFLICT, "container ID is too long for a chain of theirs", owner.container));
    };
    let rules = [
        (ENTRY, Rule { input: Some(port), ..Rule::new(Action::Jump(&first)) }),
        (first.as_str(), Rule::new(Action::Jump(&second))),
        (second.as_str(), Rule { source_mac: Some(source), ..Rule::new(Action::Return) }),
        (second.as_str(), Rule::new(Action::Drop)),
    ];
    let mut plan = Plan::new();
    for (name, hook) in [(ENTRY, Some(Hook::FilterPrerouting)), (first.as_str(), None), (second.as_str(), None)] {
        plan.change(Change::EnsureChain { chain: TABLE.chain(name), hook, table_comment: "", comment: "" })?;
    }
    for (name, rule) in &rules {
        plan.change(Change::AppendRule { chain: TABLE.chain(name), rule, comment: &comment })?;
    }
    session.apply(&plan)
}
