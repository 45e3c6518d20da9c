//! The independent witness: kernel state of the calling thread's network namespace, read and prepared with netlink-sys
//! and netlink-packet-route. None of picocni's own codecs is used, so none is checked only by itself.

pub mod edit;
mod link_type;
mod read;
mod shaping;
mod socket;

use std::net::IpAddr;

pub use link_type::LinkType;
pub use read::{Address, Link, Neighbour, Route, Rule};
pub use shaping::{Bucket, Qdisc, Redirection};

/// What a network namespace holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Network devices.
    pub links: Vec<Link>,
    /// IPv4 and IPv6 addresses.
    pub addresses: Vec<Address>,
    /// Routes of all tables.
    pub routes: Vec<Route>,
    /// Neighbour entries; they come and go with traffic and are no part of [`Snapshot::lines`].
    pub neighbours: Vec<Neighbour>,
    /// Routing rules.
    pub rules: Vec<Rule>,
    /// Queueing disciplines.
    pub qdiscs: Vec<Qdisc>,
    /// Filters that send what a device receives by another one first.
    pub redirections: Vec<Redirection>,
}

impl Snapshot {
    /// Reads the calling thread's network namespace.
    ///
    /// # Panics
    /// When the kernel does not answer or answers what cannot be parsed.
    pub fn here() -> Self {
        read::snapshot()
    }

    /// The link of that name, if there is one.
    pub fn find_link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|l| l.name == name)
    }

    /// The link of that name.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn link(&self, name: &str) -> &Link {
        self.find_link(name).unwrap_or_else(|| panic!("no link {name} among {:?}", self.link_names()))
    }

    /// All link names, in the kernel's order.
    pub fn link_names(&self) -> Vec<&str> {
        self.links.iter().map(|l| l.name.as_str()).collect()
    }

    /// The addresses of a link as `ip/prefix`, without the link-local IPv6 one the kernel adds by itself.
    pub fn addresses_of(&self, link: &str) -> Vec<String> {
        let own = self.addresses.iter().filter(|a| a.dev == link && !a.is_link_local());
        own.map(|a| format!("{}/{}", a.ip, a.prefix)).collect()
    }

    /// The routes of the main table that use a link and that the kernel has not made by itself.
    pub fn routes_of(&self, link: &str) -> Vec<&Route> {
        self.routes.iter().filter(|r| r.dev == link && r.table == 254 && r.protocol != "kernel").collect()
    }

    /// The token bucket of a device, if there is one.
    pub fn bucket(&self, dev: &str) -> Option<Bucket> {
        self.qdiscs.iter().filter(|q| q.dev == dev).find_map(|q| q.bucket)
    }

    /// Kind and handle of each qdisc of a device, `tbf 1:`; the kernel's own, which have no handle, are left out.
    pub fn qdiscs_of(&self, dev: &str) -> Vec<String> {
        let made = self.qdiscs.iter().filter(|q| q.dev == dev && q.handle != 0);
        made.map(|q| format!("{} {:x}:", q.kind, q.handle)).collect()
    }

    /// Where all that a device receives is sent first.
    pub fn redirection(&self, dev: &str) -> Option<&str> {
        self.redirections.iter().find(|r| r.dev == dev).map(|r| r.to.as_str())
    }

    /// Whether the main table has a route to `destination` (`0.0.0.0/0` for the default) through `via`.
    pub fn has_route(&self, destination: &str, via: Option<IpAddr>) -> bool {
        self.routes.iter().any(|r| r.table == 254 && r.destination == destination && r.via == via)
    }

    /// One line for each thing that stays until somebody removes it. Indexes, counters, states that settle by
    /// themselves, neighbour entries and the kernel's own link-local addresses are left out, so two snapshots of an unchanged namespace give equal lines.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.links.iter().map(Link::line).collect();
        lines.extend(self.addresses.iter().filter(|a| !a.is_link_local()).map(Address::line));
        lines.extend(self.routes.iter().filter(|r| !r.follows_an_address()).map(Route::line));
        lines.extend(self.rules.iter().map(Rule::line));
        lines.extend(self.qdiscs.iter().map(Qdisc::line));
        lines.extend(self.redirections.iter().map(Redirection::line));
        lines.sort();
        lines
    }

    /// What changed from `self` to `later`: lines that begin with `-` went, those with `+` came.
    pub fn difference(&self, later: &Self) -> Vec<String> {
        difference(&self.lines(), &later.lines())
    }
}

/// What changed between two sorted lists of lines.
pub fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let gone = before.iter().filter(|l| !after.contains(l)).map(|l| format!("- {l}"));
    gone.chain(after.iter().filter(|l| !before.contains(l)).map(|l| format!("+ {l}"))).collect()
}

/// Reads a sysctl of the calling thread's network namespace, `net.ipv4.ip_forward` style or with slashes.
///
/// # Panics
/// When it does not exist.
pub fn sysctl(key: &str) -> String {
    let path = sysctl_path(key);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
}

/// Writes a sysctl of the calling thread's network namespace.
///
/// # Panics
/// When the kernel refuses it.
pub fn set_sysctl(key: &str, value: &str) {
    let path = sysctl_path(key);
    std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path} = {value}: {e}"));
}

fn sysctl_path(key: &str) -> String {
    let slashes = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    format!("/proc/sys/{slashes}")
}
