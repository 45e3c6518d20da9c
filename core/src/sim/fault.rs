//! A backend in which operation number k fails.

use core::net::IpAddr;

use super::{Batch, EIO, not_applied};
use crate::backend::{Applied, Backend, Exit, Found, Removed, Sandbox};
use crate::env::Environment;
use crate::err;
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::name::{IfIndex, IfName, Mac};
use crate::net::Family;
use crate::observe::{Address, FirewallEntry, Link, Ns, PublishedPort, Route, Rule};
use crate::op::{Change, OnFailure, Policy, Removal};
use crate::packet_filter::{Chain, RuleView};
use crate::shaping::Shaping;

/// Which operation fails, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Number of the operation, from 0; `None` only counts.
    pub at: Option<usize>,
    /// Error code of the failure.
    pub code: Code,
    /// Error number of the failure.
    pub errno: i32,
    /// Also count `link`, `sysctl`, `rules`, `find`, `exec`, `lock`, `lock_sandbox`, `list`, `read_file`, `find_chains`,
    /// `chain_rules`, `iptables_rules`, `shaping` and `tracks_bridges`.
    pub observations: bool,
}

impl Faults {
    /// No fault: only counts.
    #[must_use]
    pub const fn none() -> Self {
        Faults { at: None, code: Code::KERNEL, errno: EIO, observations: false }
    }

    /// Operation `at` fails with code 101 and `EIO`.
    #[must_use]
    pub const fn at(at: usize) -> Self {
        Faults { at: Some(at), code: Code::KERNEL, errno: EIO, observations: false }
    }
}

/// Passes everything to another backend, except for the one operation that fails.
///
/// Changes and removals are counted in the order they are handed over. A
/// failing change follows the [batch rule](crate::sim): the rest of an
/// rtnetlink batch is still applied, nothing of a packet filter batch is. A
/// failing removal does nothing; the others are carried out. A sysctl whose
/// failure is to be ignored is not counted: no backend may report it.
#[expect(missing_debug_implementations, reason = "holds a backend, which has no debug form")]
pub struct FaultBackend<'b> {
    inner: &'b mut dyn Backend,
    faults: Faults,
    count: usize,
    hit: Option<&'static str>,
}

/// Whether a backend may report the failure of this change.
const fn can_fail(change: &Change<'_>) -> bool {
    !matches!(
        change,
        Change::EnsureSysctl { on_failure: OnFailure::Ignore, .. }
            | Change::WriteSysctl { on_failure: OnFailure::Ignore, .. }
    )
}

impl<'b> FaultBackend<'b> {
    /// Wraps `inner`.
    pub fn new(inner: &'b mut dyn Backend, faults: Faults) -> Self {
        FaultBackend { inner, faults, count: 0, hit: None }
    }

    /// How many operations were counted so far.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The operation that failed, once it did.
    #[must_use]
    pub const fn hit(&self) -> Option<&'static str> {
        self.hit
    }

    fn error(&self, verb: &'static str) -> Error {
        let error = err!(KERNEL, "injected fault", verb, " (operation ", self.faults.at.unwrap_or(0), ")")
            .as_code(self.faults.code);
        error.with_errno(self.faults.errno)
    }

    /// Counts one operation; whether it is the one.
    fn strikes(&mut self, verb: &'static str) -> bool {
        let number = self.count;
        self.count = number.saturating_add(1);
        let strikes = self.faults.at == Some(number);
        if strikes {
            self.hit = Some(verb);
        }
        strikes
    }

    fn observe(&mut self, verb: &'static str) -> Result<()> {
        if self.faults.observations && self.strikes(verb) { Err(self.error(verb)) } else { Ok(()) }
    }

    /// Applies all of `changes` but number `at`, as the batch rule has it.
    fn apply_around(&mut self, changes: &[Change<'_>], at: usize, verb: &'static str, report: &mut Applied<'_>) {
        let (start, end) = batch_around(changes, at);
        let atomic = changes.get(at).map(Batch::of) == Some(Batch::Nfnetlink);
        let first_failed = if atomic { start } else { at };
        let mut stopped = false;
        self.inner.apply(changes.get(..first_failed).unwrap_or_default(), &mut |index, outcome| {
            stopped |= outcome.is_err() && index < start;
            report(index, outcome);
        });
        if stopped {
            for index in first_failed..changes.len() {
                report(index, Err(not_applied()));
            }
            return;
        }
        let next = at.saturating_add(1);
        if atomic {
            for index in start..end {
                report(index, Err(self.error(verb)));
            }
        } else {
            report(at, Err(self.error(verb)));
            let rest = changes.get(next..end).unwrap_or_default();
            if !rest.is_empty() {
                self.inner.apply(rest, &mut |index, outcome| report(next.saturating_add(index), outcome));
            }
        }
        for index in end..changes.len() {
            report(index, Err(not_applied()));
        }
    }
}

/// Start and end of the batch that change `at` belongs to.
fn batch_around(changes: &[Change<'_>], at: usize) -> (usize, usize) {
    let mut start = 0usize;
    loop {
        let length = Batch::first_of(changes.get(start..).unwrap_or_default());
        let end = start.saturating_add(length);
        if at < end || length == 0 {
            return (start, end);
        }
        start = end;
    }
}

impl Backend for FaultBackend<'_> {
    fn apply(&mut self, changes: &[Change<'_>], report: &mut Applied<'_>) {
        let mut struck = None;
        for (at, change) in changes.iter().enumerate() {
            if can_fail(change) && self.strikes(change.verb()) {
                struck = Some((at, change.verb()));
            }
        }
        match struck {
            None => self.inner.apply(changes, report),
            Some((at, verb)) => self.apply_around(changes, at, verb, report),
        }
    }

    fn remove(&mut self, removals: &[Removal<'_>], report: &mut Removed<'_>) {
        for (at, removal) in removals.iter().enumerate() {
            if self.strikes(removal.verb()) {
                report(at, Err(self.error(removal.verb())));
            } else {
                self.inner.remove(core::slice::from_ref(removal), &mut |_, outcome| report(at, outcome));
            }
        }
    }

    fn link(&mut self, ns: Ns, name: &IfName) -> Result<Option<Link>> {
        self.observe("read link")?;
        self.inner.link(ns, name)
    }

    fn sysctl(&mut self, ns: Ns, key: &str, out: &mut heapless::String<{ limits::SYSCTL_VALUE }>) -> Result<bool> {
        self.observe("read sysctl")?;
        self.inner.sysctl(ns, key, out)
    }

    fn read_file(&mut self, path: &str, out: &mut [u8]) -> Result<Option<usize>> {
        self.observe("read file")?;
        self.inner.read_file(path, out)
    }

    fn list(&mut self, dir: &str, each: &mut dyn FnMut(&str)) -> Result<bool> {
        self.observe("list directory")?;
        self.inner.list(dir, each)
    }

    fn lock(&mut self, path: &str) -> Result<()> {
        self.observe("lock")?;
        self.inner.lock(path)
    }

    fn lock_sandbox(&mut self) -> Result<()> {
        self.observe("lock sandbox")?;
        self.inner.lock_sandbox()
    }

    fn find(&mut self, plugin: &str, path: &str) -> Result<Found> {
        self.observe("find plugin")?;
        self.inner.find(plugin, path)
    }

    fn exec(&mut self, program: &str, env: &Environment<'_>, stdin: &[u8], out: &mut [u8]) -> Result<Exit> {
        self.observe("run plugin")?;
        self.inner.exec(program, env, stdin, out)
    }

    fn open_sandbox(&mut self, path: &str) -> Result<Sandbox> {
        self.inner.open_sandbox(path)
    }

    fn sandbox_is_own(&mut self) -> Result<bool> {
        self.inner.sandbox_is_own()
    }

    fn sandbox_identity(&mut self, out: &mut heapless::String<64>) {
        self.inner.sandbox_identity(out);
    }

    fn sandbox_lives(&mut self, path: &str, identity: &str) -> bool {
        self.inner.sandbox_lives(path, identity)
    }

    fn link_at(&mut self, ns: Ns, index: IfIndex) -> Result<Option<Link>> {
        self.inner.link_at(ns, index)
    }

    fn links(&mut self, ns: Ns, each: &mut dyn FnMut(&Link)) -> Result<()> {
        self.inner.links(ns, each)
    }

    fn addresses(
        &mut self,
        ns: Ns,
        index: IfIndex,
        family: Option<Family>,
        each: &mut dyn FnMut(&Address),
    ) -> Result<()> {
        self.inner.addresses(ns, index, family, each)
    }

    fn routes(&mut self, ns: Ns, index: IfIndex, each: &mut dyn FnMut(&Route)) -> Result<()> {
        self.inner.routes(ns, index, each)
    }

    fn route_tables(&mut self, ns: Ns, each: &mut dyn FnMut(u32)) -> Result<()> {
        self.inner.route_tables(ns, each)
    }

    fn rules(&mut self, ns: Ns, each: &mut dyn FnMut(&Rule)) -> Result<()> {
        self.observe("list rules")?;
        self.inner.rules(ns, each)
    }

    fn probe_vrf(&mut self) -> Result<()> {
        self.inner.probe_vrf()
    }

    fn default_route_link(&mut self, ns: Ns) -> Result<Option<Link>> {
        self.inner.default_route_link(ns)
    }

    fn route_link(&mut self, to: IpAddr) -> Result<Option<Link>> {
        self.inner.route_link(to)
    }

    fn machine(&mut self) -> u64 {
        self.inner.machine()
    }

    fn now_us(&mut self) -> u64 {
        self.inner.now_us()
    }

    fn read_link(&mut self, dir: &str, key: &str, out: &mut heapless::String<{ limits::TAG }>) -> Result<bool> {
        self.inner.read_link(dir, key, out)
    }

    fn is_published(&mut self, port: &PublishedPort, tag: &str) -> Result<bool> {
        self.inner.is_published(port, tag)
    }

    fn is_guarded(&mut self, port: IfIndex, mac: Mac) -> Result<bool> {
        self.inner.is_guarded(port, mac)
    }

    fn is_masqueraded(&mut self, ip: IpAddr, tag: &str) -> Result<bool> {
        self.inner.is_masqueraded(ip, tag)
    }

    fn find_chains(&mut self, chains: &[Chain<'_>]) -> Result<u32> {
        self.observe("find chains")?;
        self.inner.find_chains(chains)
    }

    fn chain_rules(&mut self, chain: &Chain<'_>, each: &mut dyn FnMut(&RuleView<'_>)) -> Result<()> {
        self.observe("read rules")?;
        self.inner.chain_rules(chain, each)
    }

    fn lacks_policy(&mut self, policy: &Policy<'_>) -> Result<Option<&'static str>> {
        self.inner.lacks_policy(policy)
    }

    fn tracks_bridges(&mut self) -> Result<bool> {
        self.observe("look at the packet filter")?;
        self.inner.tracks_bridges()
    }

    fn probe_filter(&mut self) -> Result<()> {
        self.inner.probe_filter()
    }

    fn shaping(&mut self, index: IfIndex) -> Result<Shaping> {
        self.observe("read shaping")?;
        self.inner.shaping(index)
    }

    fn probe_shaping(&mut self, fq_codel: bool) -> Result<()> {
        self.inner.probe_shaping(fq_codel)
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

    fn iptables_rules(&mut self, v6: bool, table: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
        self.observe("read iptables")?;
        self.inner.iptables_rules(v6, table, each)
    }

    fn write_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.inner.write_file(path, content)
    }

    fn leases(&mut self, dir: &str, each: &mut dyn FnMut(IpAddr, &[u8])) -> Result<bool> {
        self.inner.leases(dir, each)
    }

    fn unlock(&mut self) {
        self.inner.unlock();
    }
}
