//! The undo log: rollback exists only here.

use core::net::IpAddr;

use crate::error::{Error, Result};
use crate::limits;
use crate::name::{IfIndex, IfName, Mac};
use crate::net::Cidr;
use crate::observe::{FirewallEntry, Ns, PublishedPort, Route};
use crate::op::{LinkChange, LinkId, Removal};
use crate::text::fits;

type Path = heapless::String<{ limits::PATH }>;
type Table = heapless::String<{ limits::IPTABLES_TABLE }>;

/// An inverse with its text copied, so that it outlives the plan.
#[allow(
    clippy::large_enum_variant,
    reason = "no heap to box the long ones; pages that no entry reaches are never touched"
)]
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Inverse {
    DeleteLink {
        ns: Ns,
        name: IfName,
    },
    ResetLink {
        ns: Ns,
        link: LinkId,
        set: LinkChange<'static>,
    },
    ResetSysctl {
        ns: Ns,
        key: heapless::String<{ limits::SYSCTL_KEY }>,
        value: heapless::String<{ limits::SYSCTL_VALUE }>,
    },
    DeleteAddress {
        ns: Ns,
        index: IfIndex,
        cidr: Cidr,
    },
    DeleteRoute {
        ns: Ns,
        index: IfIndex,
        route: Route,
    },
    RestoreRoute {
        ns: Ns,
        index: IfIndex,
        route: Route,
    },
    DeleteRule {
        ns: Ns,
        src: IpAddr,
        table: u32,
        priority: Option<u32>,
    },
    ReturnLink {
        ns: Ns,
        name: IfName,
        to: IfName,
        up: bool,
    },
    RestoreAddress {
        name: IfName,
        cidr: Cidr,
    },
    UnguardSource {
        port: IfIndex,
        mac: Mac,
    },
    Unshape {
        link: IfIndex,
    },
    ReleaseIngress {
        link: IfIndex,
    },
    ReleaseLease {
        dir: Path,
        ip: IpAddr,
    },
    RemoveFile {
        path: Path,
    },
    Unclaim {
        dir: Path,
        key: heapless::String<64>,
    },
    Unpublish {
        port: PublishedPort,
    },
    UnpublishSource {
        to: IpAddr,
        via: IfIndex,
        all: bool,
    },
    Unmasquerade {
        ip: IpAddr,
    },
    LiftPolicy {
        tag: heapless::String<{ limits::TAG }>,
        addresses: heapless::Vec<IpAddr, { limits::POLICY_ADDRESSES }>,
        port: Option<IfIndex>,
    },
    UnbindSource {
        zone: heapless::String<64>,
        ip: IpAddr,
    },
    Erase {
        entry: FirewallEntry,
        tag: heapless::String<{ limits::TAG }>,
    },
    IptablesChain {
        v6: bool,
        table: Table,
        chain: heapless::String<{ limits::IPTABLES_CHAIN }>,
    },
    IptablesRules {
        v6: bool,
        table: Table,
        rules: heapless::String<{ limits::IPTABLES_LINES }>,
    },
    /// A foreign plugin's ADD is compensated by its DEL.
    Delegate {
        plugin: heapless::String<64>,
        composed: usize,
    },
}

impl Inverse {
    fn copy(removal: &Removal<'_>) -> Option<Self> {
        Some(match *removal {
            Removal::DeleteLink { ns, name } => Inverse::DeleteLink { ns, name },
            Removal::ResetLink { ns, link, set } => Inverse::ResetLink {
                ns,
                link,
                set: LinkChange {
                    alias: None,
                    up: set.up,
                    mtu: set.mtu,
                    mac: set.mac,
                    promisc: set.promisc,
                    allmulti: set.allmulti,
                    txqlen: set.txqlen,
                    master: set.master,
                    hairpin: set.hairpin,
                    isolated: set.isolated,
                    arp_notify: set.arp_notify,
                },
            },
            Removal::ResetSysctl { ns, key, value } => {
                Inverse::ResetSysctl { ns, key: fits(&[&key])?, value: fits(&[&value])? }
            }
            Removal::DeleteAddress { ns, index, cidr } => Inverse::DeleteAddress { ns, index, cidr },
            Removal::DeleteRoute { ns, index, route } => Inverse::DeleteRoute { ns, index, route },
            Removal::RestoreRoute { ns, index, route } => Inverse::RestoreRoute { ns, index, route },
            Removal::DeleteRule { ns, src, table, priority } => Inverse::DeleteRule { ns, src, table, priority },
            Removal::ReturnLink { ns, name, to, up } => Inverse::ReturnLink { ns, name, to, up },
            Removal::RestoreAddress { name, cidr } => Inverse::RestoreAddress { name, cidr },
            Removal::UnguardSource { port, mac } => Inverse::UnguardSource { port, mac },
            Removal::Unshape { link } => Inverse::Unshape { link },
            Removal::ReleaseIngress { link } => Inverse::ReleaseIngress { link },
            Removal::ReleaseLease { dir, ip } => Inverse::ReleaseLease { dir: fits(&[&dir])?, ip },
            Removal::RemoveFile { path } => Inverse::RemoveFile { path: fits(&[&path])? },
            Removal::Unclaim { dir, key } => Inverse::Unclaim { dir: fits(&[&dir])?, key: fits(&[&key])? },
            Removal::Unpublish { port } => Inverse::Unpublish { port },
            Removal::UnpublishSource { to, via, all } => Inverse::UnpublishSource { to, via, all },
            Removal::Unmasquerade { ip } => Inverse::Unmasquerade { ip },
            Removal::LiftPolicy { tag, addresses, port } => {
                Inverse::LiftPolicy { tag: fits(&[&tag])?, addresses: heapless::Vec::from_slice(addresses).ok()?, port }
            }
            Removal::UnbindSource { zone, ip } => Inverse::UnbindSource { zone: fits(&[&zone])?, ip },
            Removal::Erase { entry, tag } => Inverse::Erase { entry, tag: fits(&[&tag])? },
            Removal::IptablesChain { v6, table, chain } => {
                Inverse::IptablesChain { v6, table: fits(&[&table])?, chain: fits(&[&chain])? }
            }
            Removal::IptablesRules { v6, table, rules } => {
                Inverse::IptablesRules { v6, table: fits(&[&table])?, rules: fits(&[&rules])? }
            }
            // Not the inverse of any change.
            Removal::DeleteNeighbour { .. }
            | Removal::PurgeConnections { .. }
            | Removal::DropRules { .. }
            | Removal::DropChain { .. }
            | Removal::DropTable { .. }
            | Removal::DropLegacyChain { .. } => return None,
        })
    }

    fn step(&self) -> Step<'_> {
        Step::Remove(match self {
            Inverse::DeleteLink { ns, name } => Removal::DeleteLink { ns: *ns, name: *name },
            Inverse::ResetLink { ns, link, set } => Removal::ResetLink { ns: *ns, link: *link, set: *set },
            Inverse::ResetSysctl { ns, key, value } => Removal::ResetSysctl { ns: *ns, key, value },
            Inverse::DeleteAddress { ns, index, cidr } => {
                Removal::DeleteAddress { ns: *ns, index: *index, cidr: *cidr }
            }
            Inverse::DeleteRoute { ns, index, route } => Removal::DeleteRoute { ns: *ns, index: *index, route: *route },
            Inverse::RestoreRoute { ns, index, route } => {
                Removal::RestoreRoute { ns: *ns, index: *index, route: *route }
            }
            Inverse::DeleteRule { ns, src, table, priority } => {
                Removal::DeleteRule { ns: *ns, src: *src, table: *table, priority: *priority }
            }
            Inverse::ReturnLink { ns, name, to, up } => Removal::ReturnLink { ns: *ns, name: *name, to: *to, up: *up },
            Inverse::RestoreAddress { name, cidr } => Removal::RestoreAddress { name: *name, cidr: *cidr },
            Inverse::UnguardSource { port, mac } => Removal::UnguardSource { port: *port, mac: *mac },
            Inverse::Unshape { link } => Removal::Unshape { link: *link },
            Inverse::ReleaseIngress { link } => Removal::ReleaseIngress { link: *link },
            Inverse::ReleaseLease { dir, ip } => Removal::ReleaseLease { dir, ip: *ip },
            Inverse::RemoveFile { path } => Removal::RemoveFile { path },
            Inverse::Unclaim { dir, key } => Removal::Unclaim { dir, key },
            Inverse::Unpublish { port } => Removal::Unpublish { port: *port },
            Inverse::UnpublishSource { to, via, all } => Removal::UnpublishSource { to: *to, via: *via, all: *all },
            Inverse::Unmasquerade { ip } => Removal::Unmasquerade { ip: *ip },
            Inverse::LiftPolicy { tag, addresses, port } => Removal::LiftPolicy { tag, addresses, port: *port },
            Inverse::UnbindSource { zone, ip } => Removal::UnbindSource { zone, ip: *ip },
            Inverse::Erase { entry, tag } => Removal::Erase { entry: *entry, tag },
            Inverse::IptablesChain { v6, table, chain } => Removal::IptablesChain { v6: *v6, table, chain },
            Inverse::IptablesRules { v6, table, rules } => Removal::IptablesRules { v6: *v6, table, rules },
            Inverse::Delegate { plugin, composed } => return Step::Delegate(plugin, *composed),
        })
    }
}

/// An entry that was taken out to be undone.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Entry(Inverse);

impl Entry {
    /// What undoes it.
    #[must_use]
    pub fn step(&self) -> Step<'_> {
        self.0.step()
    }
}

/// One step of an undo.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Step<'j> {
    /// An operation for the backend.
    Remove(Removal<'j>),
    /// DEL of this foreign plugin. Its config is the composed text, by the
    /// length of it; 0: that of the call.
    Delegate(&'j str, usize),
}

/// A bounded undo log, newest entry undone first.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Journal {
    entries: heapless::Vec<Inverse, { limits::JOURNAL }>,
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

impl Journal {
    /// An empty journal.
    #[must_use]
    pub const fn new() -> Self {
        Journal { entries: heapless::Vec::new() }
    }

    /// Whether another entry fits; asked before a change is applied.
    ///
    /// # Errors
    /// Code 100.
    pub fn reserve(&self, more: usize) -> Result<()> {
        if self.entries.len().saturating_add(more) > limits::JOURNAL {
            return Err(Error::limit("JOURNAL", limits::JOURNAL));
        }
        Ok(())
    }

    /// Records the inverse of an applied change.
    ///
    /// # Errors
    /// Code 100: the text of the inverse is over its limit.
    pub fn record(&mut self, removal: &Removal<'_>) -> Result<()> {
        let inverse = Inverse::copy(removal).ok_or_else(|| Error::limit("PATH", limits::PATH))?;
        self.entries.push(inverse).map_err(|_| Error::limit("JOURNAL", limits::JOURNAL))
    }

    /// Records that a foreign plugin's ADD is run, and with which config; see [`Step::Delegate`].
    ///
    /// # Errors
    /// Code 100.
    pub fn record_delegate(&mut self, plugin: &str, composed: usize) -> Result<()> {
        let plugin = fits(&[&plugin]).ok_or_else(|| Error::limit("JOURNAL plugin name", 64))?;
        self.entries.push(Inverse::Delegate { plugin, composed }).map_err(|_| Error::limit("JOURNAL", limits::JOURNAL))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to undo.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes out the newest entry while there are more than `mark`. One at a
    /// time: the journal itself is far too large to be moved.
    pub fn take_above(&mut self, mark: usize) -> Option<Entry> {
        if self.entries.len() <= mark {
            return None;
        }
        self.entries.pop().map(Entry)
    }

    /// Forgets everything: what was done stays.
    pub fn commit(&mut self) {
        self.entries.clear();
    }
}
