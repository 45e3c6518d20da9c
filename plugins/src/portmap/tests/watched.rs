//! A backend that writes down what is asked of it, and that may die in the middle.

extern crate std;

use core::net::IpAddr;
use std::vec::Vec;

use picocni_core::backend::{Applied, Backend, Exit, Found, Removed, Sandbox};
use picocni_core::env::Environment;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName, Mac};
use picocni_core::net::Family;
use picocni_core::observe::{Address, FirewallEntry, Link, Ns, PublishedPort, Route, Rule};
use picocni_core::op::{Change, Policy, Removal};
use picocni_core::packet_filter::{Chain, RuleView};
use picocni_core::sim::SimBackend;

/// Notes whatever is asked of files, of links and of the packet filter.
pub(super) struct Watched<'b> {
    inner: &'b mut SimBackend,
    /// What was called, oldest first.
    pub(super) calls: Vec<&'static str>,
    /// After so many operations nothing is done any more, as if the process had been killed.
    pub(super) lasts: usize,
}

impl<'b> Watched<'b> {
    pub(super) fn new(inner: &'b mut SimBackend) -> Self {
        Watched { inner, calls: Vec::new(), lasts: usize::MAX }
    }

    fn lives_on(&mut self) -> bool {
        let lives = self.lasts > 0;
        self.lasts = self.lasts.saturating_sub(1);
        lives
    }
}

impl Backend for Watched<'_> {
    fn open_sandbox(&mut self, path: &str) -> Result<Sandbox> {
        self.inner.open_sandbox(path)
    }
    fn sandbox_is_own(&mut self) -> Result<bool> {
        self.inner.sandbox_is_own()
    }
    fn sandbox_identity(&mut self, out: &mut heapless::String<64>) {
        self.calls.push("sandbox_identity");
        self.inner.sandbox_identity(out);
    }
    fn sandbox_lives(&mut self, path: &str, identity: &str) -> bool {
        self.calls.push("sandbox_lives");
        self.inner.sandbox_lives(path, identity)
    }
    fn link(&mut self, ns: Ns, name: &IfName) -> Result<Option<Link>> {
        self.calls.push("link");
        self.inner.link(ns, name)
    }
    fn link_at(&mut self, ns: Ns, index: IfIndex) -> Result<Option<Link>> {
        self.calls.push("link_at");
        self.inner.link_at(ns, index)
    }
    fn links(&mut self, ns: Ns, each: &mut dyn FnMut(&Link)) -> Result<()> {
        self.calls.push("links");
        self.inner.links(ns, each)
    }
    fn addresses(
        &mut self,
        ns: Ns,
        index: IfIndex,
        family: Option<Family>,
        each: &mut dyn FnMut(&Address),
    ) -> Result<()> {
        self.calls.push("addresses");
        self.inner.addresses(ns, index, family, each)
    }
    fn routes(&mut self, ns: Ns, index: IfIndex, each: &mut dyn FnMut(&Route)) -> Result<()> {
        self.calls.push("routes");
        self.inner.routes(ns, index, each)
    }
    fn route_tables(&mut self, ns: Ns, each: &mut dyn FnMut(u32)) -> Result<()> {
        self.calls.push("route_tables");
        self.inner.route_tables(ns, each)
    }
    fn rules(&mut self, ns: Ns, each: &mut dyn FnMut(&Rule)) -> Result<()> {
        self.calls.push("rules");
        self.inner.rules(ns, each)
    }
    fn probe_vrf(&mut self) -> Result<()> {
        self.calls.push("probe_vrf");
        self.inner.probe_vrf()
    }
    fn lock_sandbox(&mut self) -> Result<()> {
        self.calls.push("lock_sandbox");
        self.inner.lock_sandbox()
    }
    fn default_route_link(&mut self, ns: Ns) -> Result<Option<Link>> {
        self.calls.push("default_route_link");
        self.inner.default_route_link(ns)
    }
    fn route_link(&mut self, to: IpAddr) -> Result<Option<Link>> {
        self.calls.push("route_link");
        self.inner.route_link(to)
    }
    fn sysctl(&mut self, ns: Ns, key: &str, out: &mut heapless::String<{ limits::SYSCTL_VALUE }>) -> Result<bool> {
        self.calls.push("sysctl");
        self.inner.sysctl(ns, key, out)
    }
    fn machine(&mut self) -> u64 {
        self.calls.push("machine");
        self.inner.machine()
    }
    fn now_us(&mut self) -> u64 {
        self.inner.now_us()
    }
    fn apply(&mut self, changes: &[Change<'_>], report: &mut Applied<'_>) {
        self.calls.push("apply");
        for (at, change) in changes.iter().enumerate() {
            if self.lives_on() {
                self.inner.apply(&[*change], &mut |_, outcome| report(at, outcome));
            } else {
                report(at, Err(err!(KERNEL, "killed")));
            }
        }
    }
    fn remove(&mut self, removals: &[Removal<'_>], report: &mut Removed<'_>) {
        self.calls.push("remove");
        for (at, removal) in removals.iter().enumerate() {
            if self.lives_on() {
                self.inner.remove(&[*removal], &mut |_, outcome| report(at, outcome));
            } else {
                report(at, Err(err!(KERNEL, "killed")));
            }
        }
    }
    fn read_link(&mut self, dir: &str, key: &str, out: &mut heapless::String<{ limits::TAG }>) -> Result<bool> {
        self.calls.push("read_link");
        self.inner.read_link(dir, key, out)
    }
    fn is_published(&mut self, port: &PublishedPort, tag: &str) -> Result<bool> {
        self.calls.push("is_published");
        self.inner.is_published(port, tag)
    }
    fn is_guarded(&mut self, port: IfIndex, mac: Mac) -> Result<bool> {
        self.calls.push("is_guarded");
        self.inner.is_guarded(port, mac)
    }

    fn find_chains(&mut self, chains: &[Chain<'_>]) -> Result<u32> {
        self.calls.push("find_chains");
        self.inner.find_chains(chains)
    }

    fn chain_rules(&mut self, chain: &Chain<'_>, each: &mut dyn FnMut(&RuleView<'_>)) -> Result<()> {
        self.calls.push("rules");
        self.inner.chain_rules(chain, each)
    }

    fn is_masqueraded(&mut self, ip: IpAddr, tag: &str) -> Result<bool> {
        self.calls.push("is_masqueraded");
        self.inner.is_masqueraded(ip, tag)
    }
    fn lacks_policy(&mut self, policy: &Policy<'_>) -> Result<Option<&'static str>> {
        self.inner.lacks_policy(policy)
    }
    fn tracks_bridges(&mut self) -> Result<bool> {
        self.inner.tracks_bridges()
    }

    fn is_entered(&mut self, entry: &FirewallEntry, tag: &str) -> Result<bool> {
        self.inner.is_entered(entry, tag)
    }

    fn filters_frames(&mut self) -> Result<bool> {
        self.inner.filters_frames()
    }

    fn has_firewalld(&mut self) -> Result<bool> {
        self.inner.has_firewalld()
    }

    fn is_bound(&mut self, zone: &str, ip: IpAddr) -> Result<bool> {
        self.inner.is_bound(zone, ip)
    }

    fn forward_drop(&mut self, place: &mut heapless::String<{ limits::TAG }>) -> Result<bool> {
        self.inner.forward_drop(place)
    }
    fn probe_filter(&mut self) -> Result<()> {
        self.calls.push("probe_filter");
        self.inner.probe_filter()
    }
    fn shaping(&mut self, index: IfIndex) -> Result<picocni_core::shaping::Shaping> {
        self.calls.push("shaping");
        self.inner.shaping(index)
    }
    fn probe_shaping(&mut self, fq_codel: bool) -> Result<()> {
        self.calls.push("probe_shaping");
        self.inner.probe_shaping(fq_codel)
    }
    fn iptables_rules(&mut self, v6: bool, table: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
        self.calls.push("iptables_rules");
        self.inner.iptables_rules(v6, table, each)
    }
    fn read_file(&mut self, path: &str, out: &mut [u8]) -> Result<Option<usize>> {
        self.calls.push("read_file");
        self.inner.read_file(path, out)
    }
    fn write_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.calls.push("write_file");
        self.inner.write_file(path, content)
    }
    fn list(&mut self, dir: &str, each: &mut dyn FnMut(&str)) -> Result<bool> {
        self.calls.push("list");
        self.inner.list(dir, each)
    }
    fn leases(&mut self, dir: &str, each: &mut dyn FnMut(IpAddr, &[u8])) -> Result<bool> {
        self.calls.push("leases");
        self.inner.leases(dir, each)
    }
    fn lock(&mut self, path: &str) -> Result<()> {
        self.calls.push("lock");
        self.inner.lock(path)
    }
    fn unlock(&mut self) {
        self.inner.unlock();
    }
    fn find(&mut self, plugin: &str, path: &str) -> Result<Found> {
        self.calls.push("find");
        self.inner.find(plugin, path)
    }
    fn exec(&mut self, program: &str, env: &Environment<'_>, stdin: &[u8], out: &mut [u8]) -> Result<Exit> {
        self.calls.push("exec");
        self.inner.exec(program, env, stdin, out)
    }
}
