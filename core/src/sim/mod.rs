//! A model of a Linux host for tests: [`SimBackend`], faults in it
//! ([`FaultBackend`]), and the proof that a plugin undoes what it did
//! ([`rollback()`]).
//!
//! **What it models.** Namespaces, each with its `lo`; links, veth pairs and
//! bridges, VRFs; addresses, routes, rules, sysctls and neighbours; files and port claims;
//! published ports, source translation, masquerade, firewall and network policies, the
//! chains that others left, and shaping; chains and rules of iptables as text; foreign
//! plugins by script. Operations fail with the kernel's error numbers (`EEXIST` is 17).
//!
//! **What it leaves out.** Link-local addresses and connected routes that the
//! kernel makes by itself, packets, time (every look at the clock is one
//! microsecond later), and the directories of files (a directory exists while
//! something is in it).
//!
//! # The batch rule of every backend
//!
//! [`Backend::apply`](crate::backend::Backend::apply) cuts a list of changes
//! into batches by [`Batch::of`]:
//!
//! - consecutive rtnetlink changes of one namespace are one batch. A failed
//!   change does not stop the others of its batch; each has its own report.
//! - consecutive packet filter changes are one batch, all or nothing. When one
//!   fails, every member reports that failure and none is applied.
//! - any other change is a batch by itself.
//!
//! After a failed batch nothing more is applied: each change of the following
//! batches is reported with code 999 and `not applied`. Removals have no such
//! rule: all of them are carried out.
//!
//! # Memory
//!
//! A [`SimBackend`] has 339 KiB and a [`Snapshot`] 88 KiB. A [`TestBed`] holds all
//! that a test needs and can be static.

mod apply;
mod chains;
mod events;
mod fault;
mod filter;
mod iptables;
mod network;
mod observed;
mod removed;
pub mod rollback;
mod routing;
mod setup;
mod shaped;
mod snapshot;
mod store;
mod sysctl;
mod testbed;
mod waits;

#[cfg(test)]
mod tests;

pub use events::{Announcement, ExecCall};
pub use fault::{FaultBackend, Faults};
pub use rollback::{Bench, Broken, Case, Step, rollback};
pub use snapshot::{Difference, Snapshot};
pub use testbed::TestBed;

use crate::err;
use crate::error::{Error, Result};
use crate::observe::Ns;
use crate::op::Change;

/// Sandboxes of one model.
pub const SANDBOXES: usize = 48;
/// Links of all namespaces together.
pub const LINKS: usize = 192;
/// Addresses of all links.
pub const ADDRESSES: usize = 256;
/// Routes of all links.
pub const ROUTES: usize = 256;
/// Routing rules of all namespaces, without the kernel's own.
pub const RULES: usize = 64;
/// Neighbour entries of the host.
pub const NEIGHBOURS: usize = 64;
/// Sysctls that have another value than a fresh kernel's.
pub const SYSCTLS: usize = 128;
/// Files and claims.
pub const FILES: usize = 512;
/// Bytes of all files, paths included. A lease has some 120.
pub const FILE_BYTES: usize = 64 * 1024;
/// Published ports.
pub const PUBLISHED: usize = 192;
/// Network policies.
pub const POLICIES: usize = 32;
/// Source translations, and as many masqueraded addresses.
pub const TRANSLATED: usize = 96;
/// Chains that others left in the packet filter.
pub const CHAINS: usize = 48;
/// Their rules.
pub const CHAIN_RULES: usize = 96;
/// Bytes of a sandbox path or of a scripted program's path.
pub const SIM_PATH: usize = 128;
/// Scripted programs, scripted look-ups, recorded calls, announcements and duplicates, each.
pub const EVENTS: usize = 32;
/// Bytes that a scripted program writes to stdout.
pub const SCRIPT_STDOUT: usize = 1024;

/// Alias of links that pods share.
pub(crate) const SHARED_ALIAS: &str = "picocni:bridge";
/// `EIO`: the error number of an injected fault.
pub const EIO: i32 = 5;
pub(crate) const EACCES: i32 = 13;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const ENODEV: i32 = 19;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const EROFS: i32 = 30;
pub(crate) const EOPNOTSUPP: i32 = 95;
pub(crate) const ENETDOWN: i32 = 100;
pub(crate) const ENETUNREACH: i32 = 101;
pub(crate) const ETIMEDOUT: i32 = 110;
pub(crate) const EHOSTUNREACH: i32 = 113;

/// What leaves in one message to the kernel, and so fails together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// rtnetlink of one namespace: goes on after a failure.
    Rtnetlink(Ns),
    /// nfnetlink: all or nothing.
    Nfnetlink,
    /// An operation by itself.
    Single,
}

impl Batch {
    /// The batch that a change belongs to.
    #[must_use]
    pub const fn of(change: &Change<'_>) -> Self {
        match change {
            Change::CreateVeth { .. } | Change::CreateIfb { .. } => Batch::Rtnetlink(Ns::Host),
            Change::CreateLink { from, .. } => Batch::Rtnetlink(*from),
            Change::ClearPortVlans { .. } | Change::AddPortVlans { .. } | Change::TakeAddress { .. } => {
                Batch::Rtnetlink(Ns::Host)
            }
            Change::SetLink { ns, .. }
            | Change::AddAddress { ns, .. }
            | Change::AddRoute { ns, .. }
            | Change::TakeRoute { ns, .. }
            | Change::AddRule { ns, .. } => Batch::Rtnetlink(*ns),
            Change::Publish { .. } | Change::PublishSource { .. } | Change::Masquerade { .. } => Batch::Nfnetlink,
            _ => Batch::Single,
        }
    }

    /// How many changes at the start of `changes` are its first batch; 0 only of an empty list.
    #[must_use]
    pub fn first_of(changes: &[Change<'_>]) -> usize {
        let Some(batch) = changes.first().map(Batch::of) else { return 0 };
        if batch == Batch::Single {
            return 1;
        }
        changes.iter().take_while(|change| Batch::of(change) == batch).count()
    }
}

/// The report of a change that comes after a failed batch.
#[must_use]
pub fn not_applied() -> Error {
    err!(INTERNAL, "not applied")
}

/// A host that is only memory. It starts as a kernel does: `lo` in the host's
/// namespace, no sandbox, no files.
#[derive(Debug)]
pub struct SimBackend {
    pub(crate) net: network::Network,
    pub(crate) sysctls: sysctl::Sysctls,
    pub(crate) filter: filter::Filter,
    pub(crate) chains: chains::Chains,
    pub(crate) tables: iptables::Tables,
    pub(crate) store: store::Store,
    pub(crate) events: events::Events,
    /// The sandbox that is open.
    pub(crate) open: Option<network::NsId>,
    /// The sandbox the plugin itself runs in, if it does.
    pub(crate) own: Option<network::NsId>,
    pub(crate) clock_us: u64,
    pub(crate) machine: u64,
    pub(crate) locked: bool,
}

impl Default for SimBackend {
    fn default() -> Self {
        Self::new()
    }
}

/// A kernel's refusal: code 101 with this error number.
pub(crate) fn refused(errno: i32, why: &'static str) -> Error {
    err!(KERNEL, "kernel refused", why, " (errno ", errno, ")").with_errno(errno)
}

/// A capacity of the model itself is used up.
pub(crate) fn full(what: &'static str, allowed: usize) -> Error {
    Error::limit(what, allowed)
}

/// Somebody else holds it: code 103 with `EEXIST`.
pub(crate) fn taken(what: &'static str) -> Error {
    err!(CONFLICT, "already taken", what).with_errno(EEXIST)
}

/// Pushes, or says which capacity of the model is too small.
pub(crate) fn keep<T, const N: usize>(list: &mut heapless::Vec<T, N>, item: T, what: &'static str) -> Result<()> {
    list.push(item).map_err(|_| full(what, N))
}
