//! The one nftables table of picocni, `inet picocni`, and what goes into it.
//!
//! Rules are written once, when the table is made. An attachment only adds
//! elements to sets and maps, so the cost of a packet does not grow with the
//! number of pods. `nft list table inet picocni` shows all of it, with each
//! element's owner as its comment, and can load it again.
//!
//! Look before you change. A transaction that succeeds takes microseconds (6
//! for one element, measured on 6.18); one that the kernel refuses takes 8 to
//! 24 ms, an RCU grace period. So whether the table or a network's chain is
//! there is asked with a query, never found out by a failure; the `EEXIST` and
//! `ENOENT` below are for races. Adding an [`Entry::Masquerade`] makes the
//! kernel check its whole verdict map, 40 ns for each pod in it; the other
//! entries cost the same however many there are.
//!
//! * `prerouting`, `output` (nat, -90) → `hostports`: published ports. They
//!   run after kube-proxy's (-100), so a Service wins, and match addresses of
//!   this host only, so transit traffic passes untouched.
//! * `martians` (filter, -300): keeps packets from or to 127.0.0.0/8 that come
//!   in by a real interface out. `route_localnet`, which 127.0.0.1:port needs,
//!   would open the host's own loopback services to its neighbours otherwise
//!   (CVE-2020-8558).
//! * `postrouting` (nat, 110, after kube-proxy's 100): masquerade, first for
//!   published ports, then `ipMasq` through one chain per network.
//!
//! An `::1` source cannot be routed to a pod, so there is no IPv6 counterpart
//! of `loopback4`.

mod entry;
mod network;
mod rules;
#[cfg(test)]
pub(crate) mod tests;

pub use entry::{Claim, Entry, FamilyMismatch, HostPort, add, decode, del, get};
pub use network::{ChainName, Network, del_network, ensure_network};
pub use rules::{SET_NAMES, ensure_table};

use crate::wire::nftables::{Comment, Family, Table};

/// The table.
pub const TABLE: Table<'static> = Table { family: Family::Inet, name: "picocni" };

/// The table's comment. It names the layout: rules of another number are not
/// ours to add elements to. Kernels before 5.10 do not keep it.
pub const LAYOUT: &str = "picocni layout 1";

/// [`LAYOUT`] as a comment; checked when this is compiled.
const LAYOUT_COMMENT: Option<Comment<'static>> = match Comment::new(LAYOUT) {
    Ok(comment) => Some(comment),
    Err(_) => None,
};
const _: () = assert!(LAYOUT_COMMENT.is_some());
