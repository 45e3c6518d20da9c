//! The seam to an operating system: one trait, several implementations.

use core::net::IpAddr;

use crate::env::Environment;
use crate::error::Result;
use crate::limits;
use crate::name::{IfIndex, IfName, Mac};
use crate::net::Family;
use crate::observe::{Address, FirewallEntry, Link, Ns, Route, Rule};
use crate::op::{Change, Policy, Removal};
use crate::packet_filter::{Chain, RuleView};
use crate::shaping::Shaping;

/// Where a plugin's program was found.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Found {
    /// This very file: the plugin runs in process.
    Own,
    /// Another program at this path.
    Foreign(heapless::String<{ limits::PATH }>),
    /// No file of that name in the search path.
    Missing,
}

/// How a foreign plugin ended.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Exit {
    /// Exit code; 128 + signal when it was killed.
    pub code: u32,
    /// Bytes it wrote to stdout.
    pub stdout: usize,
    /// The beginning of what it wrote to stderr.
    pub stderr: heapless::String<{ limits::DETAILS }>,
}

/// State of the sandbox path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Sandbox {
    /// It is open.
    Open,
    /// The path does not exist, or is empty.
    Missing,
}

/// Reports the outcome of the change with this index; on success its inverse,
/// if it has one and if something was changed.
pub type Applied<'d> = dyn FnMut(usize, Result<Option<Removal<'_>>>) + 'd;

/// Reports the outcome of the removal with this index.
pub type Removed<'d> = dyn FnMut(usize, Result<()>) + 'd;

/// An operating system, or a model of one.
///
/// Plugins observe through it and hand it operations; they never act
/// otherwise. Paths are absolute. A backend makes no decision of its own: it
/// branches on operations, never on configs.
pub trait Backend {
    /// Opens the sandbox at `path` for [`Ns::Sandbox`]; replaces an open one.
    ///
    /// # Errors
    /// Code 8: the path exists but is no network namespace.
    fn open_sandbox(&mut self, path: &str) -> Result<Sandbox>;

    /// Whether the open sandbox is the namespace this program runs in.
    ///
    /// # Errors
    /// Code 8: own namespace unreadable.
    fn sandbox_is_own(&mut self) -> Result<bool>;

    /// A line that identifies the open sandbox until it is gone for good
    /// (device and inode on Linux). Empty when none is open.
    fn sandbox_identity(&mut self, out: &mut heapless::String<64>);

    /// Whether the sandbox at `path` still has this identity.
    fn sandbox_lives(&mut self, path: &str, identity: &str) -> bool;

    /// The link called `name`, by a targeted get.
    ///
    /// # Errors
    /// Code 101.
    fn link(&mut self, ns: Ns, name: &IfName) -> Result<Option<Link>>;

    /// The link with this index, by a targeted get.
    ///
    /// # Errors
    /// Code 101.
    fn link_at(&mut self, ns: Ns, index: IfIndex) -> Result<Option<Link>>;

    /// Every link; for GC only.
    ///
    /// # Errors
    /// Code 101.
    fn links(&mut self, ns: Ns, each: &mut dyn FnMut(&Link)) -> Result<()>;

    /// The addresses of one link, of one family or of both. One is cheaper: the
    /// kernel lists a single family without taking its network lock.
    ///
    /// # Errors
    /// Code 101.
    fn addresses(
        &mut self,
        ns: Ns,
        index: IfIndex,
        family: Option<Family>,
        each: &mut dyn FnMut(&Address),
    ) -> Result<()>;

    /// The routes out of one link, every table.
    ///
    /// # Errors
    /// Code 101.
    fn routes(&mut self, ns: Ns, index: IfIndex, each: &mut dyn FnMut(&Route)) -> Result<()>;

    /// The table of every route out of every link; a table comes as often as it
    /// has routes.
    ///
    /// # Errors
    /// Code 101.
    fn route_tables(&mut self, ns: Ns, each: &mut dyn FnMut(u32)) -> Result<()>;

    /// Every routing rule of both families, in order within each. If rules
    /// change meanwhile one may come twice.
    ///
    /// # Errors
    /// Code 101: also when the kernel has no rules at all.
    fn rules(&mut self, ns: Ns, each: &mut dyn FnMut(&Rule)) -> Result<()>;

    /// The link a packet to `to` leaves the host by.
    ///
    /// # Errors
    /// Code 101. No route is `Ok(None)`.
    fn route_link(&mut self, to: IpAddr) -> Result<Option<Link>>;

    /// The link of the first default route in the main table, IPv4 before IPv6.
    ///
    /// # Errors
    /// Code 101. No default route is `Ok(None)`.
    fn default_route_link(&mut self, ns: Ns) -> Result<Option<Link>>;

    /// Reads a sysctl (path below /proc/sys) without its newline; `false` if it does not exist.
    ///
    /// # Errors
    /// Code 100: the value is over `SYSCTL_VALUE` bytes. Code 5.
    fn sysctl(&mut self, ns: Ns, key: &str, out: &mut heapless::String<{ limits::SYSCTL_VALUE }>) -> Result<bool>;

    /// A number that is stable for this machine (from the machine ID), 0 if there is none.
    fn machine(&mut self) -> u64;

    /// Microseconds of a clock that only runs forward.
    fn now_us(&mut self) -> u64;

    /// Applies changes in order and reports each. A failed change does not stop
    /// those that were sent with it (rtnetlink goes on); the caller undoes.
    fn apply(&mut self, changes: &[Change<'_>], report: &mut Applied<'_>);

    /// Carries out removals in order, all of them, and reports each. A missing
    /// target is success.
    fn remove(&mut self, removals: &[Removal<'_>], report: &mut Removed<'_>);

    /// The text of the symbolic link `dir/key`, if there is one: who holds a
    /// claimed port, what drives a device.
    ///
    /// # Errors
    /// Code 5.
    fn read_link(&mut self, dir: &str, key: &str, out: &mut heapless::String<{ limits::TAG }>) -> Result<bool>;

    /// Whether the packet filter publishes `port` for `tag`.
    ///
    /// # Errors
    /// Code 101.
    fn is_published(&mut self, port: &crate::observe::PublishedPort, tag: &str) -> Result<bool>;

    /// Whether the packet filter masquerades `ip` for `tag`.
    ///
    /// # Errors
    /// Code 101.
    fn is_masqueraded(&mut self, ip: IpAddr, tag: &str) -> Result<bool>;

    /// Whether frames of a bridge port are dropped unless this is their source.
    ///
    /// # Errors
    /// Code 101.
    fn is_guarded(&mut self, port: IfIndex, mac: Mac) -> Result<bool>;

    /// Which of these chains of others the packet filter has: bit n for the
    /// n-th, of 32 at most. Without a packet filter there is none.
    ///
    /// # Errors
    /// Code 101.
    fn find_chains(&mut self, chains: &[Chain<'_>]) -> Result<u32>;

    /// The rules of a chain of others, in order; none if it is missing.
    ///
    /// # Errors
    /// Code 101.
    fn chain_rules(&mut self, chain: &Chain<'_>, each: &mut dyn FnMut(&RuleView<'_>)) -> Result<()>;

    /// What of a network policy is not as it was set; `None`: it is in force.
    ///
    /// # Errors
    /// Code 101.
    fn lacks_policy(&mut self, policy: &Policy<'_>) -> Result<Option<&'static str>>;

    /// Whether the packet filter can judge frames between ports of a bridge by
    /// the connection that they belong to.
    ///
    /// # Errors
    /// Code 101.
    fn tracks_bridges(&mut self) -> Result<bool>;

    /// Whether the packet filter can publish ports and masquerade at all.
    ///
    /// # Errors
    /// The reason it cannot, code 50.
    fn probe_filter(&mut self) -> Result<()>;

    /// Whether links of kind VRF can be made; changes nothing.
    ///
    /// # Errors
    /// The reason they cannot, code 50.
    fn probe_vrf(&mut self) -> Result<()>;

    /// How a link of the host is shaped; one that is gone is not.
    ///
    /// # Errors
    /// Code 101.
    fn shaping(&mut self, index: IfIndex) -> Result<Shaping>;

    /// Whether links can be shaped, with `fq_codel` behind the token bucket or
    /// without. Nothing is made for it, also not for a moment.
    ///
    /// # Errors
    /// What the kernel lacks, code 50.
    fn probe_shaping(&mut self, fq_codel: bool) -> Result<()>;

    /// Whether the native firewall has this entry for `tag` ("" for what pods share).
    ///
    /// # Errors
    /// Code 101.
    fn is_entered(&mut self, entry: &FirewallEntry, tag: &str) -> Result<bool>;

    /// Whether frames between the ports of a bridge can be filtered.
    ///
    /// # Errors
    /// Code 101.
    fn filters_frames(&mut self) -> Result<bool>;

    /// Whether firewalld runs.
    ///
    /// # Errors
    /// Code 101: there is a message bus, and it does not tell.
    fn has_firewalld(&mut self) -> Result<bool>;

    /// Whether firewalld has an address in this zone; not if it does not run.
    ///
    /// # Errors
    /// Code 101.
    fn is_bound(&mut self, zone: &str, ip: IpAddr) -> Result<bool>;

    /// Whether anything else than this program may drop what the host forwards;
    /// `place` says where. An accept of ours overrides no drop of another table.
    ///
    /// # Errors
    /// Code 101.
    fn forward_drop(&mut self, place: &mut heapless::String<{ limits::TAG }>) -> Result<bool>;

    /// What `iptables-save` prints of a table, line by line: chains (`:CHAIN POLICY
    /// [0:0]`) and rules (`-A CHAIN …`). A line over `IPTABLES_RULE` bytes is none
    /// of ours and is left out.
    ///
    /// # Errors
    /// Code 50: iptables is not there, or the kernel has no such table for it.
    fn iptables_rules(&mut self, v6: bool, table: &str, each: &mut dyn FnMut(&str)) -> Result<()>;

    /// Reads a file from its start; `None` if it does not exist, else its size,
    /// which may be over `out.len()`: then only the beginning was read.
    ///
    /// # Errors
    /// Code 5.
    fn read_file(&mut self, path: &str, out: &mut [u8]) -> Result<Option<usize>>;

    /// Replaces a file outside any plan (the runtime's result cache): written
    /// beside it, mode 0600, and renamed. Missing directories are made, mode 0700.
    ///
    /// # Errors
    /// Code 5.
    fn write_file(&mut self, path: &str, content: &[u8]) -> Result<()>;

    /// Names in a directory, unsorted, `.` and `..` left out; `false` if it does not exist.
    ///
    /// # Errors
    /// Code 5.
    fn list(&mut self, dir: &str, each: &mut dyn FnMut(&str)) -> Result<bool>;

    /// Files in a directory whose name is an address, with the first 512 bytes
    /// of each (an attachment's identity is far shorter); `false` if the
    /// directory does not exist.
    ///
    /// # Errors
    /// Code 5.
    fn leases(&mut self, dir: &str, each: &mut dyn FnMut(IpAddr, &[u8])) -> Result<bool>;

    /// Takes the exclusive lock at `path` (flock on Linux; its directory is
    /// made). One lock at a time is held; it ends with [`unlock`](Backend::unlock) or the process.
    ///
    /// # Errors
    /// Code 5.
    fn lock(&mut self, path: &str) -> Result<()>;

    /// Takes the exclusive lock on the open sandbox itself, by whatever path others
    /// opened it (flock on the namespace on Linux, which the reference plugins
    /// take too). As [`lock`](Backend::lock): it is the one lock.
    ///
    /// # Errors
    /// Code 5. Code 8: no sandbox is open.
    fn lock_sandbox(&mut self) -> Result<()>;

    /// Gives the lock back.
    fn unlock(&mut self);

    /// Looks `plugin` up in a colon-separated path.
    ///
    /// # Errors
    /// Code 5.
    fn find(&mut self, plugin: &str, path: &str) -> Result<Found>;

    /// Runs a foreign plugin with `env` as its CNI variables (the rest of the
    /// environment is inherited), `stdin` as its input and `out` for its output.
    ///
    /// # Errors
    /// Code 5: it could not be started. Code 100: it wrote more than `out` holds.
    fn exec(&mut self, program: &str, env: &Environment<'_>, stdin: &[u8], out: &mut [u8]) -> Result<Exit>;
}
