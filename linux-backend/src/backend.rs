//! [`Backend`] of this kernel: each question and each operation goes to its file.

use core::net::IpAddr;

use picocni_core::backend::{Applied, Backend, Exit, Found, Removed, Sandbox};
use picocni_core::env::Environment;
use picocni_core::err;
use picocni_core::error::{Code, Result};
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName, Mac};
use picocni_core::net::Family;
use picocni_core::observe::{Address, FirewallEntry, Link, Ns, PublishedPort, Route, Rule};
use picocni_core::op::{Change, Policy, Removal};
use picocni_core::packet_filter::{Chain, RuleView};
use picocni_core::shaping::Shaping;
use rustix::fs::FlockOperation;
use rustix::time::{ClockId, clock_gettime};

use crate::errno;
use crate::host::Linux;
use crate::{
    exec, files, filter, firewall, firewalld, forward, guard, iptables, netns, observe, policy, rules, sysctl,
};

/// A kernel without netfilter has no such socket.
const EPROTONOSUPPORT: i32 = 93;

impl Backend for Linux<'_> {
    fn open_sandbox(&mut self, path: &str) -> Result<Sandbox> {
        self.be_in(Ns::Host)?;
        self.inner = None;
        self.sandbox = netns::open(path)?;
        Ok(if self.sandbox.is_some() { Sandbox::Open } else { Sandbox::Missing })
    }

    fn sandbox_is_own(&mut self) -> Result<bool> {
        if self.own.is_none() {
            self.own = Some(netns::own()?);
        }
        let (Some(own), Some(sandbox)) = (&self.own, &self.sandbox) else { return Ok(false) };
        let (mut ours, mut theirs) = (heapless::String::new(), heapless::String::new());
        netns::identity(own, &mut ours);
        netns::identity(sandbox, &mut theirs);
        Ok(ours == theirs)
    }

    fn sandbox_identity(&mut self, out: &mut heapless::String<64>) {
        out.clear();
        if let Some(fd) = &self.sandbox {
            netns::identity(fd, out);
        }
    }

    fn sandbox_lives(&mut self, path: &str, identity: &str) -> bool {
        let Ok(Some(fd)) = netns::open(path) else { return false };
        let mut now = heapless::String::new();
        netns::identity(&fd, &mut now);
        now == identity
    }

    fn link(&mut self, ns: Ns, name: &IfName) -> Result<Option<Link>> {
        let (socket, memory) = self.route_parts(ns)?;
        observe::link(socket, memory, crate::wire::link::GetLink::Name(name.as_str()))
    }

    fn link_at(&mut self, ns: Ns, index: IfIndex) -> Result<Option<Link>> {
        let (socket, memory) = self.route_parts(ns)?;
        observe::link(socket, memory, crate::wire::link::GetLink::Index(index.0))
    }

    fn links(&mut self, ns: Ns, each: &mut dyn FnMut(&Link)) -> Result<()> {
        let (socket, memory) = self.route_parts(ns)?;
        observe::links(socket, memory, each)
    }

    fn addresses(
        &mut self,
        ns: Ns,
        index: IfIndex,
        family: Option<Family>,
        each: &mut dyn FnMut(&Address),
    ) -> Result<()> {
        let (socket, memory) = self.route_parts(ns)?;
        observe::addresses(socket, memory, index, family, each)
    }

    fn routes(&mut self, ns: Ns, index: IfIndex, each: &mut dyn FnMut(&Route)) -> Result<()> {
        let (socket, memory) = self.route_parts(ns)?;
        observe::routes(socket, memory, index, each)
    }

    fn route_tables(&mut self, ns: Ns, each: &mut dyn FnMut(u32)) -> Result<()> {
        let (socket, memory) = self.route_parts(ns)?;
        observe::route_tables(socket, memory, each)
    }

    fn rules(&mut self, ns: Ns, each: &mut dyn FnMut(&Rule)) -> Result<()> {
        let (socket, memory) = self.route_parts(ns)?;
        observe::rules(socket, memory, each)
    }

    fn default_route_link(&mut self, ns: Ns) -> Result<Option<Link>> {
        for family in [Family::V4, Family::V6] {
            let (socket, memory) = self.route_parts(ns)?;
            if let Some(index) = observe::default_route(socket, memory, family)? {
                return self.link_at(ns, index);
            }
        }
        Ok(None)
    }

    fn route_link(&mut self, to: IpAddr) -> Result<Option<Link>> {
        let (socket, memory) = self.route_parts(Ns::Host)?;
        match observe::route_index(socket, memory, to)? {
            Some(index) => self.link_at(Ns::Host, index),
            None => Ok(None),
        }
    }

    fn sysctl(&mut self, ns: Ns, key: &str, out: &mut heapless::String<{ limits::SYSCTL_VALUE }>) -> Result<bool> {
        self.be_in(ns)?;
        sysctl::read(key, out)
    }

    fn machine(&mut self) -> u64 {
        if let Some(machine) = self.machine {
            return machine;
        }
        // 32 hexadecimal digits and a newline (machine-id(5)).
        let mut id = [0u8; 64];
        let machine = match files::read_file("/etc/machine-id", &mut id) {
            Ok(Some(length)) if length >= 32 => picocni_core::digest::hash64(&[id.get(..32).unwrap_or_default()]),
            _ => 0,
        };
        self.machine = Some(machine);
        machine
    }

    fn now_us(&mut self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
        seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
    }

    fn apply(&mut self, changes: &[Change<'_>], report: &mut Applied<'_>) {
        crate::apply::changes(self, changes, report);
    }

    fn remove(&mut self, removals: &[Removal<'_>], report: &mut Removed<'_>) {
        crate::remove::removals(self, removals, report);
    }

    fn read_link(&mut self, dir: &str, key: &str, out: &mut heapless::String<{ limits::TAG }>) -> Result<bool> {
        files::read_link(dir, key, out)
    }

    fn is_published(&mut self, port: &PublishedPort, tag: &str) -> Result<bool> {
        let (socket, memory) = self.filter_parts()?;
        filter::is_published(socket, &mut memory.send, &mut memory.receive, port, tag)
    }

    fn is_masqueraded(&mut self, ip: IpAddr, tag: &str) -> Result<bool> {
        let (socket, memory) = self.filter_parts()?;
        filter::is_masqueraded(socket, &mut memory.send, &mut memory.receive, ip, tag)
    }

    fn is_guarded(&mut self, port: IfIndex, mac: Mac) -> Result<bool> {
        let (socket, memory) = self.filter_parts()?;
        guard::is_guarded(socket, memory, port.0, mac.0)
    }

    fn find_chains(&mut self, chains: &[Chain<'_>]) -> Result<u32> {
        match self.filter_parts() {
            Ok((socket, memory)) => rules::find_chains(socket, memory, chains),
            Err(error) if error.errno() == EPROTONOSUPPORT => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn chain_rules(&mut self, chain: &Chain<'_>, each: &mut dyn FnMut(&RuleView<'_>)) -> Result<()> {
        match self.filter_parts() {
            Ok((socket, memory)) => rules::visit(socket, memory, chain, each),
            Err(error) if error.errno() == EPROTONOSUPPORT => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn lacks_policy(&mut self, policy: &Policy<'_>) -> Result<Option<&'static str>> {
        let (socket, memory) = self.filter_parts()?;
        policy::lacks(socket, memory, policy)
    }

    fn tracks_bridges(&mut self) -> Result<bool> {
        let (socket, memory) = self.filter_parts()?;
        policy::tracks_bridges(socket, memory)
    }

    fn probe_filter(&mut self) -> Result<()> {
        let (socket, memory) = self.filter_parts().map_err(|error| error.as_code(Code::NOT_AVAILABLE))?;
        filter::probe(socket, &mut memory.send, &mut memory.receive).map_err(|refusal| {
            err!(
                NOT_AVAILABLE,
                "kernel has no nftables",
                errno::Reason(refusal.errno),
                "; needs CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET and CONFIG_NFT_NAT"
            )
        })
    }

    fn probe_vrf(&mut self) -> Result<()> {
        let (socket, memory) = self.route_parts(Ns::Host)?;
        observe::probe_vrf(socket, memory)
    }

    fn shaping(&mut self, index: IfIndex) -> Result<Shaping> {
        crate::shape::observe(self, index)
    }

    fn probe_shaping(&mut self, fq_codel: bool) -> Result<()> {
        crate::shape::probe(self, fq_codel)
    }

    fn is_entered(&mut self, entry: &FirewallEntry, tag: &str) -> Result<bool> {
        let (socket, memory) = self.filter_parts()?;
        firewall::is_entered(socket, memory, entry, tag)
    }

    fn filters_frames(&mut self) -> Result<bool> {
        let (socket, memory) = self.filter_parts()?;
        firewall::filters_frames(socket, memory)
    }

    fn has_firewalld(&mut self) -> Result<bool> {
        firewalld::runs(self)
    }

    fn is_bound(&mut self, zone: &str, ip: IpAddr) -> Result<bool> {
        firewalld::has(self, zone, ip)
    }

    fn forward_drop(&mut self, place: &mut heapless::String<{ limits::TAG }>) -> Result<bool> {
        place.clear();
        if let Ok((socket, memory)) = self.filter_parts()
            && forward::may_drop(socket, memory, place)?
        {
            return Ok(true);
        }
        self.be_in(Ns::Host)?;
        Ok(forward::legacy(place))
    }

    fn iptables_rules(&mut self, v6: bool, table: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
        self.be_in(Ns::Host)?;
        iptables::save(self.environ, v6, table, each)
    }

    fn read_file(&mut self, path: &str, out: &mut [u8]) -> Result<Option<usize>> {
        files::read_file(path, out)
    }

    fn write_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        files::replace(path, content, 0o600, 0o700).map_err(|errno| errno::file(&"failed to write a file", path, errno))
    }

    fn list(&mut self, dir: &str, each: &mut dyn FnMut(&str)) -> Result<bool> {
        files::list(dir, each)
    }

    fn leases(&mut self, dir: &str, each: &mut dyn FnMut(IpAddr, &[u8])) -> Result<bool> {
        files::leases(dir, each)
    }

    fn lock(&mut self, path: &str) -> Result<()> {
        if self.lock.is_some() {
            return Err(err!(INTERNAL, "a lock is held already", path));
        }
        self.lock = Some(files::lock(path)?);
        Ok(())
    }

    fn lock_sandbox(&mut self) -> Result<()> {
        let sandbox = self.sandbox.as_ref().ok_or_else(|| err!(NETNS, "no sandbox is open"))?;
        netns::lock(sandbox, FlockOperation::LockExclusive)?;
        self.locked_sandbox = true;
        Ok(())
    }

    fn unlock(&mut self) {
        self.lock = None;
        if let (true, Some(sandbox)) = (self.locked_sandbox, &self.sandbox) {
            // A lock that is held by a descriptor goes with it at the latest.
            let _ = netns::lock(sandbox, FlockOperation::Unlock);
        }
        self.locked_sandbox = false;
    }

    fn find(&mut self, plugin: &str, path: &str) -> Result<Found> {
        let Some((file, dev, ino)) = files::find(plugin, path)? else { return Ok(Found::Missing) };
        let own = rustix::fs::stat("/proc/self/exe")
            .map_err(|errno| errno::file(&"failed to look up own file", "/proc/self/exe", errno))?;
        Ok(if (own.st_dev, own.st_ino) == (dev, ino) { Found::Own } else { Found::Foreign(file) })
    }

    fn exec(&mut self, program: &str, env: &Environment<'_>, stdin: &[u8], out: &mut [u8]) -> Result<Exit> {
        self.be_in(Ns::Host)?;
        let set = [
            ("CNI_COMMAND", env.command),
            ("CNI_CONTAINERID", env.container_id),
            ("CNI_NETNS", env.netns),
            ("CNI_IFNAME", env.ifname),
            ("CNI_ARGS", env.args),
            ("CNI_PATH", env.path),
        ];
        let program = exec::Program { path: program, arguments: &[], environ: self.environ, set: &set, pass_on: true };
        let mut length = 0usize;
        exec::run(&program, stdin, &mut |more| {
            let end = length.saturating_add(more.len());
            let Some(room) = out.get_mut(length..end) else { return false };
            for (slot, byte) in room.iter_mut().zip(more) {
                *slot = *byte;
            }
            length = end;
            true
        })
    }
}
