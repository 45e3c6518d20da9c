//! Their `macspoofchk`: two chains for each port of a bridge, and a rule for all
//! ports that leads to the first. Neither names the network: GC does not know them.

use picocni_core::error::Result;
use picocni_core::op::{Plan, Removal};
use picocni_core::owner::Owner;
use picocni_core::packet_filter::{Table, TableFamily, Which};
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

/// Removes their guard of an attachment.
pub(crate) fn take_back(session: &mut Session<'_>, owner: &Owner<'_>) -> Result<()> {
    let Some([port, mac, comment]) = names(owner) else { return Ok(()) };
    if !session.backend.has_chain(&TABLE.chain(&port))? {
        return Ok(());
    }
    let mut plan = Plan::new();
    plan.remove(Removal::DropRules { chain: TABLE.chain(ENTRY), which: Which::Comment(&comment) })?;
    for name in [&port, &mac] {
        plan.remove(Removal::DropChain { chain: TABLE.chain(name) })?;
    }
    session.remove(&plan)
}
