//! Network policies in nftables: what our two tables have for them.
//!
//! Everything here is made with the first policy, apart from the other parts of
//! the tables. Each policy has a chain for each direction that it isolates:
//! what is let through is accepted there, the end drops. Maps say by which key
//! a packet gets to which chain, so that a packet's cost does not grow with the
//! number of policies. `nft list` shows the counters of every rule.
//!
//! | table | chain | hook, priority | key | maps |
//! |---|---|---|---|---|
//! | `inet picocni` | `from-pods` | forward, 0 | source address | `egress4`, `egress6` |
//! | | `to-pods` | forward, 1 | destination address | `ingress4`, `ingress6` |
//! | `bridge picocni` | `from-pods` | forward, -200 | port it came in by | `egress-ports` |
//! | | `to-pods` | forward, -199 | port it goes out by | `ingress-ports` |
//!
//! Two base chains, since both ends of a connection have a say: an accept ends
//! one base chain and not the other. The first rules of each let pass what
//! belongs to a connection that was let through, and what IPv6 needs to find its
//! neighbours; on a bridge also what is not IP, such as ARP.
//!
//! Frames between two ports of a bridge pass the hook of `inet` only with
//! `bridge-nf-call-iptables`, and pass both tables then. Both come to the same
//! verdict, so the second changes nothing.
//!
//! Owners: chains (since Linux 5.10) and elements have the attachment's tag as
//! their comment, rules a digest of the policy.

mod base;
mod chain;
#[cfg(test)]
mod tests;

pub use base::{BASE_CHAINS, Key, add, base_rules, decode, del, ensure, get};
pub use chain::{ChainName, chain_name, digest_text, rules, write};

use picocni_core::op::Direction;

use super::{guard, layout};
use crate::wire::nftables::Table;

/// Where packets are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Between links, and between ports of a bridge with `bridge-nf-call-iptables`.
    Routed,
    /// Between ports of a bridge.
    Bridged,
}

impl Place {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Routed, Self::Bridged];

    /// The table.
    #[must_use]
    pub const fn table(self) -> Table<'static> {
        match self {
            Self::Routed => layout::TABLE,
            Self::Bridged => guard::TABLE,
        }
    }
}

/// The names of the base chain and of the chains of policies for a direction begin so.
const fn prefix_of(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "in-",
        Direction::Egress => "out-",
    }
}
