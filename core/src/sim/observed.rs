//! The trait: observation straight from the model, operations by its own files.

use core::net::IpAddr;

use super::network::{HOST, SimLink};
use super::store::Kind;
use super::{EOPNOTSUPP, SimBackend, apply::path_in, refused};
use crate::backend::{Applied, Backend, Exit, Found, Removed, Sandbox};
use crate::env::Environment;
use crate::err;
use crate::error::{Error, Result};
use crate::limits;
use crate::name::{IfIndex, IfName, Mac};
use crate::net::{Cidr, Family, parse_ip};
use crate::observe::{Address, FirewallEntry, Link, Ns, PublishedPort, Route, Rule};
use crate::op::{Change, Policy, Removal};
use crate::packet_filter::{Chain, RuleView};
use crate::put;
use crate::shaping::Shaping;
use crate::text::fits;

/// A lease is read to its first 512 bytes.
const LEASE: usize = 512;

impl SimBackend {
    fn seen_link(&self, ns: Ns, wanted: impl Fn(&SimLink) -> bool) -> Result<Option<Link>> {
        let space = self.space(ns)?;
        Ok(self.net.links.iter().find(|known| known.ns == space && wanted(known)).map(|known| self.net.seen(known)))
    }
}

impl Backend for SimBackend {
    fn open_sandbox(&mut self, path: &str) -> Result<Sandbox> {
        self.open = None;
        match self.net.space_at(path) {
            None => Ok(Sandbox::Missing),
            Some(space) if space.genuine => {
                self.open = Some(space.id);
                Ok(Sandbox::Open)
            }
            Some(_) => Err(err!(NETNS, "not a network namespace", path)),
        }
    }

    fn sandbox_is_own(&mut self) -> Result<bool> {
        Ok(self.open.is_some() && self.open == self.own)
    }

    fn sandbox_identity(&mut self, out: &mut heapless::String<64>) {
        out.clear();
        if let Some(open) = self.open {
            put!(out, "sim:", open);
        }
    }

    fn sandbox_lives(&mut self, path: &str, identity: &str) -> bool {
        self.net
            .space_at(path)
            .is_some_and(|space| fits::<64>(&[&"sim:", &space.id]).is_some_and(|own| own == identity))
    }

    fn link(&mut self, ns: Ns, name: &IfName) -> Result<Option<Link>> {
        self.seen_link(ns, |known| known.link.name == *name)
    }

    fn link_at(&mut self, ns: Ns, index: IfIndex) -> Result<Option<Link>> {
        self.seen_link(ns, |known| known.link.index == index)
    }

    fn links(&mut self, ns: Ns, each: &mut dyn FnMut(&Link)) -> Result<()> {
        let space = self.space(ns)?;
        for known in self.net.links.iter().filter(|known| known.ns == space) {
            each(&self.net.seen(known));
        }
        Ok(())
    }

    fn addresses(
        &mut self,
        ns: Ns,
        index: IfIndex,
        family: Option<Family>,
        each: &mut dyn FnMut(&Address),
    ) -> Result<()> {
        let space = self.space(ns)?;
        let is_of = |address: &Address| family.is_none_or(|family| family == Family::of(address.cidr.addr()));
        for known in self.net.addresses.iter().filter(|known| known.ns == space && known.index == index) {
            if is_of(&known.address) {
                each(&known.address);
            }
        }
        Ok(())
    }

    fn routes(&mut self, ns: Ns, index: IfIndex, each: &mut dyn FnMut(&Route)) -> Result<()> {
        let space = self.space(ns)?;
        for known in self.net.routes.iter().filter(|known| known.ns == space && known.index == index) {
            each(&known.route);
        }
        Ok(())
    }

    fn route_tables(&mut self, ns: Ns, each: &mut dyn FnMut(u32)) -> Result<()> {
        let space = self.space(ns)?;
        for known in self.net.routes.iter().filter(|known| known.ns == space) {
            // 254 is the main table.
            each(known.route.table.unwrap_or(254));
        }
        Ok(())
    }

    fn rules(&mut self, ns: Ns, each: &mut dyn FnMut(&Rule)) -> Result<()> {
        let space = self.space(ns)?;
        if !self.net.policy {
            return Err(refused(EOPNOTSUPP, "no rules"));
        }
        for known in self.net.rules.iter().filter(|known| known.ns == space) {
            each(&known.rule);
        }
        Ok(())
    }

    fn probe_vrf(&mut self) -> Result<()> {
        if self.net.vrf { Ok(()) } else { Err(err!(NOT_AVAILABLE, "kernel has no VRF")) }
    }

    fn lock_sandbox(&mut self) -> Result<()> {
        self.space(Ns::Sandbox)?;
        self.lock("the sandbox")
    }

    fn default_route_link(&mut self, ns: Ns) -> Result<Option<Link>> {
        let space = self.space(ns)?;
        let mut defaults = self.net.routes.iter().filter(|known| {
            known.ns == space && known.route.dst.is_default() && known.route.table.is_none_or(|table| table == 254)
        });
        let first = defaults.clone().find(|known| !known.route.dst.is_v6()).or_else(|| defaults.next());
        match first.map(|known| known.index) {
            Some(index) => self.seen_link(ns, |known| known.link.index == index),
            None => Ok(None),
        }
    }

    fn route_link(&mut self, to: IpAddr) -> Result<Option<Link>> {
        let connected =
            self.net.addresses.iter().filter(|known| known.ns == HOST).map(|known| (known.index, known.address.cidr));
        // 254 is the main table; policy routing is not modelled.
        let routed = self
            .net
            .routes
            .iter()
            .filter(|known| known.ns == HOST && known.route.table.is_none_or(|table| table == 254))
            .map(|known| (known.index, known.route.dst));
        let covers = |(index, cidr): &(IfIndex, Cidr)| {
            cidr.contains(to) && self.net.indexed(HOST, *index).is_some_and(|link| link.up)
        };
        let best = connected.chain(routed).filter(covers).max_by_key(|(_, cidr)| cidr.prefix());
        best.map_or(Ok(None), |(index, _)| self.seen_link(Ns::Host, |known| known.link.index == index))
    }

    fn sysctl(&mut self, ns: Ns, key: &str, out: &mut heapless::String<{ limits::SYSCTL_VALUE }>) -> Result<bool> {
        out.clear();
        let space = self.space(ns)?;
        let Some(value) = self.sysctls.get(&self.net, space, key) else { return Ok(false) };
        out.push_str(value).map_err(|_| Error::limit("SYSCTL_VALUE", limits::SYSCTL_VALUE))?;
        Ok(true)
    }

    fn machine(&mut self) -> u64 {
        self.machine
    }

    fn now_us(&mut self) -> u64 {
        self.clock_us = self.clock_us.wrapping_add(1);
        self.clock_us
    }

    fn apply(&mut self, changes: &[Change<'_>], report: &mut Applied<'_>) {
        self.apply_all(changes, report);
    }

    fn remove(&mut self, removals: &[Removal<'_>], report: &mut Removed<'_>) {
        for (at, removal) in removals.iter().enumerate() {
            let outcome = self.remove_one(removal);
            report(at, outcome);
        }
    }

    fn read_link(&mut self, dir: &str, key: &str, out: &mut heapless::String<{ limits::TAG }>) -> Result<bool> {
        out.clear();
        let path = path_in(dir, &key)?;
        let Some(file) = self.store.get(&path).filter(|file| file.kind == Kind::Claim) else { return Ok(false) };
        let holder = core::str::from_utf8(file.content).map_err(|_| err!(IO, "claim is not text", path))?;
        out.push_str(holder).map_err(|_| Error::limit("TAG", limits::TAG))?;
        Ok(true)
    }

    fn is_published(&mut self, port: &PublishedPort, tag: &str) -> Result<bool> {
        Ok(self.filter.published.iter().any(|known| known.port == *port && known.tag == tag))
    }

    fn is_masqueraded(&mut self, ip: IpAddr, tag: &str) -> Result<bool> {
        Ok(self.filter.masqueraded.iter().any(|known| known.ip == ip && known.tag == tag))
    }

    fn is_guarded(&mut self, port: IfIndex, mac: Mac) -> Result<bool> {
        Ok(self.filter.guarded.iter().any(|known| known.port == port && known.mac == mac))
    }

    fn find_chains(&mut self, chains: &[Chain<'_>]) -> Result<u32> {
        let found = chains.iter().zip(0u32..32).filter(|(chain, _)| self.chains.has(chain));
        Ok(found.fold(0, |found, (_, at)| found | 1 << at))
    }

    fn chain_rules(&mut self, chain: &Chain<'_>, each: &mut dyn FnMut(&RuleView<'_>)) -> Result<()> {
        self.chains.rules(chain, each);
        Ok(())
    }

    fn lacks_policy(&mut self, policy: &Policy<'_>) -> Result<Option<&'static str>> {
        Ok(self.filter.lacks(policy))
    }

    fn tracks_bridges(&mut self) -> Result<bool> {
        Ok(!self.filter.missing && !self.filter.bridges_untracked)
    }

    fn probe_filter(&mut self) -> Result<()> {
        self.filter.probe()
    }

    fn shaping(&mut self, index: IfIndex) -> Result<Shaping> {
        Ok(self.net.shaped.of(index))
    }

    fn probe_shaping(&mut self, fq_codel: bool) -> Result<()> {
        self.probe_shaped(fq_codel)
    }

    fn is_entered(&mut self, entry: &FirewallEntry, tag: &str) -> Result<bool> {
        Ok(self.filter.entered.iter().any(|known| known.entry == *entry && known.tag == tag))
    }

    fn filters_frames(&mut self) -> Result<bool> {
        Ok(!self.filter.no_frames)
    }

    fn has_firewalld(&mut self) -> Result<bool> {
        Ok(self.filter.zones.is_some())
    }

    fn is_bound(&mut self, zone: &str, ip: IpAddr) -> Result<bool> {
        Ok(self.filter.zones.iter().flatten().any(|known| known.0 == ip && known.1 == zone))
    }

    fn forward_drop(&mut self, place: &mut heapless::String<{ limits::TAG }>) -> Result<bool> {
        place.clear();
        put!(place, self.filter.forward_drop);
        Ok(!self.filter.forward_drop.is_empty())
    }

    fn iptables_rules(&mut self, v6: bool, table: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
        self.tables.list(v6, table, each)
    }

    fn read_file(&mut self, path: &str, out: &mut [u8]) -> Result<Option<usize>> {
        let Some(file) = self.store.get(path) else { return Ok(None) };
        for (slot, byte) in out.iter_mut().zip(file.content) {
            *slot = *byte;
        }
        Ok(Some(file.content.len()))
    }

    fn write_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.store.put(Kind::File, path, content)
    }

    fn list(&mut self, dir: &str, each: &mut dyn FnMut(&str)) -> Result<bool> {
        for name in self.store.files().filter_map(|file| file.name_in(dir)) {
            each(name);
        }
        Ok(self.store.has_dir(dir))
    }

    fn leases(&mut self, dir: &str, each: &mut dyn FnMut(IpAddr, &[u8])) -> Result<bool> {
        for file in self.store.files() {
            if let Some(ip) = file.name_in(dir).and_then(parse_ip) {
                each(ip, file.content.get(..LEASE).unwrap_or(file.content));
            }
        }
        Ok(self.store.has_dir(dir))
    }

    fn lock(&mut self, path: &str) -> Result<()> {
        if self.locked {
            self.events.lock_faults = self.events.lock_faults.saturating_add(1);
            return Err(err!(INTERNAL, "lock taken while one is held", path));
        }
        self.locked = true;
        Ok(())
    }

    fn unlock(&mut self) {
        self.locked = false;
    }

    fn find(&mut self, plugin: &str, _path: &str) -> Result<Found> {
        Ok(self.events.find(plugin))
    }

    fn exec(&mut self, program: &str, env: &Environment<'_>, stdin: &[u8], out: &mut [u8]) -> Result<Exit> {
        self.events.exec(program, env, stdin, out)
    }
}
