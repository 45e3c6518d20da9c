//! How a test arranges the host, and what it can ask afterwards.

use core::net::IpAddr;

use super::chains::Chains;
use super::events::{Announcement, Events, ExecCall};
use super::filter::Filter;
use super::iptables::Tables;
use super::network::{HOST, Neighbour, Network, NsId};
use super::store::{Kind, Store};
use super::sysctl::{Layer, Sysctls};
use super::{ENODEV, SIM_PATH, SimBackend, keep, refused};
use crate::backend::{Backend, Found};
use crate::err;
use crate::error::{Error, Result};
use crate::name::{IfIndex, IfName, Mac};
use crate::observe::{LinkKind, Ns};
use crate::op::Change;
use crate::text::fits;

impl SimBackend {
    /// A freshly booted host.
    #[must_use]
    pub fn new() -> Self {
        let mut sim = Self::blank();
        sim.reset();
        sim
    }

    /// Memory that has not been booted: without `lo` even.
    pub(crate) const fn blank() -> Self {
        SimBackend {
            net: Network::new(),
            sysctls: Sysctls::new(),
            filter: Filter::new(),
            chains: Chains::new(),
            tables: Tables::new(),
            store: Store::new(),
            events: Events::new(),
            open: None,
            own: None,
            clock_us: 0,
            machine: 0,
            locked: false,
        }
    }

    /// Back to a freshly booted host, in place.
    pub fn reset(&mut self) {
        self.net.clear();
        self.sysctls.clear();
        self.filter.clear();
        self.chains.clear();
        self.tables.clear();
        self.store.clear();
        self.events.clear();
        self.open = None;
        self.own = None;
        self.clock_us = 0;
        self.machine = 0x5eed;
        self.locked = false;
    }

    /// A new sandbox at `path`, with `lo` down in it.
    ///
    /// # Errors
    /// Code 101: it exists. Code 100: no room in the model.
    pub fn add_sandbox(&mut self, path: &str) -> Result<()> {
        self.net.add_space(sim_path(path)?, true).map(|_| ())
    }

    /// A file at `path` that is no namespace.
    ///
    /// # Errors
    /// As [`add_sandbox`](Self::add_sandbox).
    pub fn add_not_a_sandbox(&mut self, path: &str) -> Result<()> {
        self.net.add_space(sim_path(path)?, false).map(|_| ())
    }

    /// The container is gone: its links with their host peers, its sysctls, its path.
    pub fn remove_sandbox(&mut self, path: &str) {
        let Some(id) = self.net.space_at(path).map(|space| space.id) else { return };
        let sysctls = &mut self.sysctls;
        self.net.remove_space(id, &mut |ns, name| sysctls.link_gone(ns, name.as_str()));
        self.sysctls.space_gone(id);
        self.open = self.open.filter(|open| *open != id);
    }

    /// Makes the sandbox at `path` the namespace the plugin itself runs in.
    ///
    /// # Errors
    /// Code 8: there is none.
    pub fn set_own_sandbox(&mut self, path: &str) -> Result<()> {
        let space = self.net.space_at(path).ok_or_else(|| err!(NETNS, "no such sandbox", path))?;
        self.own = Some(space.id);
        Ok(())
    }

    /// A link that was there before any plugin ran, down.
    ///
    /// # Errors
    /// Code 101: the name is taken. Code 8: no sandbox is open.
    pub fn add_link(&mut self, ns: Ns, name: &str, kind: LinkKind, mac: Mac) -> Result<IfIndex> {
        let ns = self.space(ns)?;
        self.net.add_link(ns, IfName::new(name)?, mac, kind)
    }

    /// Makes a link of the host a port of a bridge, or of none.
    ///
    /// # Errors
    /// Code 101: no such link.
    pub fn set_master(&mut self, port: IfIndex, master: Option<IfIndex>) -> Result<()> {
        let link = self.net.link_mut(HOST, port).ok_or_else(|| refused(ENODEV, "no such link"))?;
        link.master = master;
        Ok(())
    }

    /// Applies changes outside any session, to arrange a host.
    ///
    /// # Errors
    /// The first failure; the changes before it stay.
    pub fn arrange(&mut self, changes: &[Change<'_>]) -> Result<()> {
        let mut first = Ok(());
        self.apply(changes, &mut |_, outcome| {
            if first.is_ok() {
                first = outcome.map(|_| ());
            }
        });
        first
    }

    /// What the host learnt about an address.
    ///
    /// # Errors
    /// Code 100.
    pub fn add_neighbour(&mut self, index: IfIndex, ip: IpAddr, mac: Mac) -> Result<()> {
        keep(&mut self.net.neighbours, Neighbour { index, ip, mac }, "NEIGHBOURS")
    }

    /// Configures a sysctl of the host or the open sandbox. A key that a fresh
    /// kernel does not have exists from now on.
    ///
    /// # Errors
    /// Code 100, code 8.
    pub fn set_sysctl(&mut self, ns: Ns, key: &str, value: &str) -> Result<()> {
        let ns = self.space(ns)?;
        self.sysctls.set(&self.net, ns, Layer::Base, key, value)
    }

    /// Whether the kernel has IPv6.
    pub fn set_ipv6(&mut self, present: bool) {
        self.net.ipv6 = present;
    }

    /// Whether the kernel has routing rules.
    pub fn set_policy_routing(&mut self, present: bool) {
        self.net.policy = present;
    }

    /// Whether the kernel has VRFs.
    pub fn set_vrf(&mut self, present: bool) {
        self.net.vrf = present;
    }

    /// Whether /proc/sys refuses writes (`EROFS`).
    pub fn set_read_only_sysctls(&mut self, read_only: bool) {
        self.sysctls.read_only = read_only;
    }

    /// Whether the packet filter does not track connections on bridges.
    pub fn set_bridges_untracked(&mut self, untracked: bool) {
        self.filter.bridges_untracked = untracked;
    }

    /// Whether the kernel lacks a packet filter.
    pub fn set_filter_missing(&mut self, missing: bool) {
        self.filter.missing = missing;
    }

    /// Whether frames between bridge ports can be filtered.
    pub fn set_filters_frames(&mut self, filters: bool) {
        self.filter.no_frames = !filters;
    }

    /// Whether firewalld runs; it has no address yet.
    pub fn set_firewalld(&mut self, runs: bool) {
        self.filter.zones = runs.then(heapless::Vec::new);
    }

    /// Where something else may drop forwarded packets; "" for nowhere.
    pub fn set_forward_drop(&mut self, place: &'static str) {
        self.filter.forward_drop = place;
    }

    /// Whether iptables is not installed.
    pub fn set_iptables_missing(&mut self, missing: bool) {
        self.tables.missing = missing;
    }

    /// The number that [`Backend::machine`] gives.
    pub fn set_machine(&mut self, machine: u64) {
        self.machine = machine;
    }

    /// Another machine holds `ip`: duplicate address detection will fail.
    ///
    /// # Errors
    /// Code 100.
    pub fn add_duplicate(&mut self, ip: IpAddr) -> Result<()> {
        keep(&mut self.events.duplicates, ip, "EVENTS")
    }

    /// Where [`Backend::find`] finds `plugin`; everything else is [`Found::Own`].
    ///
    /// # Errors
    /// Code 100.
    pub fn set_found(&mut self, plugin: &str, found: Found) -> Result<()> {
        self.events.set_found(plugin, found)
    }

    /// How the foreign plugin at `program` ends and what it writes.
    ///
    /// # Errors
    /// Code 100.
    pub fn set_script(&mut self, program: &str, code: u32, stdout: &[u8], stderr: &str) -> Result<()> {
        self.events.set_script(program, code, stdout, stderr)
    }

    /// Creates or replaces a file, whatever it holds.
    ///
    /// # Errors
    /// Code 100.
    pub fn set_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.store.put(Kind::File, path, content)
    }

    /// The content of a file, or the holder of a claim.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.store.get(path).map(|file| file.content)
    }

    /// Foreign plugins that were run, oldest first.
    #[must_use]
    pub fn exec_calls(&self) -> &[ExecCall] {
        &self.events.calls
    }

    /// Addresses that were announced, oldest first.
    #[must_use]
    pub fn announcements(&self) -> &[Announcement] {
        &self.events.announced
    }

    /// How many purges of connections were carried out.
    #[must_use]
    pub const fn purges(&self) -> u32 {
        self.events.purges
    }

    /// Whether the lock is held.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.locked
    }

    /// How often a lock was taken while one was held: a defect of the plugin.
    #[must_use]
    pub const fn lock_faults(&self) -> u32 {
        self.events.lock_faults
    }

    /// The plugin's process ends: its lock and its sandbox are given back.
    pub fn end_process(&mut self) {
        self.locked = false;
        self.open = None;
    }

    /// The namespace that `ns` stands for.
    pub(crate) fn space(&self, ns: Ns) -> Result<NsId> {
        match ns {
            Ns::Host => Ok(HOST),
            Ns::Sandbox => self.open.ok_or_else(|| err!(NETNS, "no sandbox is open")),
        }
    }
}

fn sim_path(path: &str) -> Result<heapless::String<SIM_PATH>> {
    fits(&[&path]).ok_or_else(|| Error::limit("SIM_PATH", SIM_PATH))
}
