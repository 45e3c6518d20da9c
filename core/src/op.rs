//! Typed operations: what a plan is made of.
//!
//! A [`Change`] has an inverse, which the backend returns when it applied it
//! (with the old value it read). *Ensure* changes are shared by all pods and
//! have none: undo never removes them. A [`Removal`] cannot be undone; a
//! [`Plan`] keeps removals apart and they run last.

mod change;
mod policy;
mod removal;
mod shown;

pub use change::Change;
pub use policy::{Direction, Policy, PolicyLine, PortRange};
pub use removal::Removal;

use crate::error::{Error, Result};
use crate::limits;
use crate::name::{IfIndex, IfName, Mac};
use crate::observe::{FirewallEntry, PublishedPort};
use crate::put;
use crate::text::{Put, Sink};

/// A link addressed by name or index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LinkId {
    /// By name.
    Name(IfName),
    /// By index.
    Index(IfIndex),
}

/// Attributes of a link to set; `None` leaves one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LinkChange<'a> {
    /// Administrative state.
    pub up: Option<bool>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Ethernet address.
    pub mac: Option<Mac>,
    /// Promiscuous mode.
    pub promisc: Option<bool>,
    /// All-multicast mode.
    pub allmulti: Option<bool>,
    /// Transmit queue length in packets.
    pub txqlen: Option<u32>,
    /// ifalias.
    pub alias: Option<&'a str>,
    /// Bridge or other device that it becomes a port of; index 0, which no link
    /// has: of none.
    pub master: Option<IfIndex>,
    /// Bridge port: hairpin mode.
    pub hairpin: Option<bool>,
    /// Bridge port: no traffic with other isolated ports.
    pub isolated: Option<bool>,
    /// Announce IPv4 addresses when the link is given a MAC, from the next time
    /// on: the sysctl `arp_notify`, without the look-up of a path below
    /// /proc/sys, which takes longer with every namespace on the host. For links
    /// that the plan made: it goes with the link and is not restored.
    pub arp_notify: Option<bool>,
}

impl LinkChange<'_> {
    /// Changes nothing.
    pub const NONE: Self = LinkChange {
        up: None,
        mtu: None,
        mac: None,
        promisc: None,
        allmulti: None,
        txqlen: None,
        alias: None,
        master: None,
        hairpin: None,
        isolated: None,
        arp_notify: None,
    };
}

/// VLANs of a bridge port, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VlanRange {
    /// First VLAN ID.
    pub first: u16,
    /// Last VLAN ID.
    pub last: u16,
    /// What comes in without a tag is of this one VLAN, and it goes out without.
    pub untagged: bool,
}

/// How a change that rewrites a value is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Undo {
    /// The old value is read before and restored.
    Restore,
    /// It goes with the link or namespace that this plan made.
    WithLink,
}

/// What to do when a sysctl cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OnFailure {
    /// The plan fails.
    Fail,
    /// Go on: the feature is absent (a kernel without IPv6) or read-only.
    Ignore,
}

/// A list of operations: changes in order, then removals in order.
#[derive(Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Plan<'a> {
    changes: heapless::Vec<Change<'a>, { limits::PLAN }>,
    removals: heapless::Vec<Removal<'a>, { limits::PLAN }>,
}

impl<'a> Plan<'a> {
    /// An empty plan.
    #[must_use]
    pub const fn new() -> Self {
        Plan { changes: heapless::Vec::new(), removals: heapless::Vec::new() }
    }

    /// Adds a change.
    ///
    /// # Errors
    /// [`limits::PLAN`] changes are in the plan already.
    pub fn change(&mut self, change: Change<'a>) -> Result<()> {
        self.changes.push(change).map_err(|_| Error::limit("PLAN", limits::PLAN))
    }

    /// Adds a removal; it runs after all changes.
    ///
    /// # Errors
    /// [`limits::PLAN`] removals are in the plan already.
    pub fn remove(&mut self, removal: Removal<'a>) -> Result<()> {
        self.removals.push(removal).map_err(|_| Error::limit("PLAN", limits::PLAN))
    }

    /// The changes in order.
    #[must_use]
    pub fn changes(&self) -> &[Change<'a>] {
        &self.changes
    }

    /// The removals in order.
    #[must_use]
    pub fn removals(&self) -> &[Removal<'a>] {
        &self.removals
    }

    /// Makes it empty again.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.removals.clear();
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.removals.is_empty()
    }
}

impl Put for LinkId {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            LinkId::Name(name) => name.put(out),
            LinkId::Index(index) => put!(out, "link ", index.0),
        }
    }
}

impl Put for LinkChange<'_> {
    fn put(&self, out: &mut dyn Sink) {
        if let Some(up) = self.up {
            out.text(if up { " up" } else { " down" });
        }
        if let Some(mtu) = self.mtu {
            put!(out, " mtu ", mtu);
        }
        if let Some(mac) = self.mac {
            put!(out, " mac ", mac);
        }
        if let Some(promisc) = self.promisc {
            put!(out, " promisc ", promisc);
        }
        if let Some(allmulti) = self.allmulti {
            put!(out, " allmulti ", allmulti);
        }
        if let Some(txqlen) = self.txqlen {
            put!(out, " txqlen ", txqlen);
        }
        if let Some(master) = self.master {
            put!(out, " master ", master.0);
        }
        if let Some(hairpin) = self.hairpin {
            put!(out, " hairpin ", hairpin);
        }
        if let Some(isolated) = self.isolated {
            put!(out, " isolated ", isolated);
        }
        if let Some(arp_notify) = self.arp_notify {
            put!(out, " arp_notify ", arp_notify);
        }
    }
}

impl Put for FirewallEntry {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            FirewallEntry::Pod(ip) => put!(out, "pod ", *ip),
            FirewallEntry::Apart(bridge) => put!(out, *bridge, " apart from other bridges"),
            FirewallEntry::Closed(bridge) => put!(out, "within ", *bridge),
            FirewallEntry::Port(port) => put!(out, "port ", port.0),
        }
    }
}

impl Put for PublishedPort {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, self.protocol.as_str(), " ");
        if let Some(ip) = self.host_ip {
            put!(out, ip, " ");
        }
        put!(out, "port ", self.host_port, " to ", self.to, " port ", self.to_port);
    }
}
