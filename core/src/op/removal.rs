//! What cannot be undone: DEL, and the inverses of changes.

use core::net::IpAddr;

use super::{LinkChange, LinkId};
use crate::name::{IfIndex, IfName, Mac};
use crate::net::Cidr;
use crate::observe::{FirewallEntry, Ns, Protocol, PublishedPort, Route};
use crate::packet_filter::{Chain, Table, Which};

/// An operation without an inverse. A missing target is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Removal<'a> {
    /// Delete a link.
    DeleteLink {
        /// Namespace of the link.
        ns: Ns,
        /// The link.
        name: IfName,
    },
    /// Set attributes back, or a link down: what DEL does to a link that stays.
    ResetLink {
        /// Namespace of the link.
        ns: Ns,
        /// The link.
        link: LinkId,
        /// What to set.
        set: LinkChange<'a>,
    },
    /// Write a sysctl back.
    ResetSysctl {
        /// Namespace it belongs to.
        ns: Ns,
        /// Path below /proc/sys.
        key: &'a str,
        /// Value.
        value: &'a str,
    },
    /// Remove an address.
    DeleteAddress {
        /// Namespace of the link.
        ns: Ns,
        /// The link.
        index: IfIndex,
        /// Address and prefix.
        cidr: Cidr,
    },
    /// Remove a route.
    DeleteRoute {
        /// Namespace of the link.
        ns: Ns,
        /// Outgoing link.
        index: IfIndex,
        /// The route.
        route: Route,
    },
    /// A route comes back. Success also if it is there, or if what it leads by is
    /// gone: link, source address or the network of its next hop.
    RestoreRoute {
        /// Namespace of the link.
        ns: Ns,
        /// Outgoing link.
        index: IfIndex,
        /// The route as it was.
        route: Route,
    },
    /// Remove a rule `from SRC lookup TABLE`.
    DeleteRule {
        /// Namespace of the rule.
        ns: Ns,
        /// The one source address.
        src: IpAddr,
        /// Table that is looked up.
        table: u32,
        /// Only the one of this priority; `None`: the first.
        priority: Option<u32>,
    },
    /// Forget what the host learnt about an address.
    DeleteNeighbour {
        /// The host's link.
        index: IfIndex,
        /// Neighbour's address.
        ip: IpAddr,
    },
    /// A link of the sandbox goes back to the host, under its name there and
    /// without an alias. One that is not there is success.
    ReturnLink {
        /// Where it is: on the host if its sandbox went before it.
        ns: Ns,
        /// Its name there.
        name: IfName,
        /// Its name on the host.
        to: IfName,
        /// Whether it is to be up.
        up: bool,
    },
    /// An address of a link of the host comes back; one that is there is success.
    RestoreAddress {
        /// The link.
        name: IfName,
        /// Address and prefix.
        cidr: Cidr,
    },
    /// Stop dropping frames of a port by their address.
    UnguardSource {
        /// The port.
        port: IfIndex,
        /// The address that was let through.
        mac: Mac,
    },
    /// What a link of the host sends no longer waits for tokens. A queue that
    /// plugins did not make stays.
    Unshape {
        /// The link.
        link: IfIndex,
    },
    /// What a link of the host receives is no longer classified, by whatever filters.
    ReleaseIngress {
        /// The link.
        link: IfIndex,
    },
    /// Remove a lease file.
    ReleaseLease {
        /// Directory of the network's leases.
        dir: &'a str,
        /// Leased address.
        ip: IpAddr,
    },
    /// Remove a file.
    RemoveFile {
        /// Absolute path.
        path: &'a str,
    },
    /// Give a claimed host port back.
    Unclaim {
        /// Directory of the port's claims; removed when it is left empty.
        dir: &'a str,
        /// Name in it.
        key: &'a str,
    },
    /// Take a published port back.
    Unpublish {
        /// The mapping.
        port: PublishedPort,
    },
    /// Take source translation back.
    UnpublishSource {
        /// Container's address.
        to: IpAddr,
        /// Link that led to the container.
        via: IfIndex,
        /// As it was set.
        all: bool,
    },
    /// Stop masquerading.
    Unmasquerade {
        /// Pod's address.
        ip: IpAddr,
    },
    /// Stop enforcing a network policy.
    LiftPolicy {
        /// Owner's tag.
        tag: &'a str,
        /// The attachment's addresses.
        addresses: &'a [IpAddr],
        /// Its bridge port.
        port: Option<IfIndex>,
    },
    /// Take an address from a zone of firewalld.
    UnbindSource {
        /// firewalld's zone.
        zone: &'a str,
        /// Pod's address.
        ip: IpAddr,
    },
    /// Remove an entry of the native firewall, if it is this owner's.
    Erase {
        /// The entry.
        entry: FirewallEntry,
        /// Owner's tag; "" for what pods share.
        tag: &'a str,
    },
    /// Forget connections to a host port, so that they follow the new rules.
    PurgeConnections {
        /// Transport.
        protocol: Protocol,
        /// Original destination port.
        host_port: u16,
        /// Original destination address, any if `None`.
        host_ip: Option<IpAddr>,
        /// IPv6 rather than IPv4.
        v6: bool,
    },
    /// Delete rules of a chain that others made.
    DropRules {
        /// The chain.
        chain: Chain<'a>,
        /// Which rules.
        which: Which<'a>,
    },
    /// Delete a chain that others made, with its rules. What jumps to it goes
    /// before, by [`Removal::DropRules`]; the kernel refuses a chain that is in use.
    DropChain {
        /// The chain.
        chain: Chain<'a>,
    },
    /// Delete a table with all that is in it.
    DropTable {
        /// The table.
        table: Table<'a>,
    },
    /// Delete a chain of iptables and every rule of its table that jumps to it.
    IptablesChain {
        /// ip6tables.
        v6: bool,
        /// Table of the chain.
        table: &'a str,
        /// The chain.
        chain: &'a str,
    },
    /// Delete a chain that others made by iptables-legacy, with every rule of its
    /// table that jumps to it. No program is run where the kernel has no such
    /// table; without the program a warning is all.
    DropLegacyChain {
        /// ip6tables.
        v6: bool,
        /// Table of the chain.
        table: &'a str,
        /// The chain.
        chain: &'a str,
    },
    /// Delete rules of iptables, each once; those that are not there are left out.
    IptablesRules {
        /// ip6tables.
        v6: bool,
        /// Table of the chains.
        table: &'a str,
        /// Rules in the form of [`Lines`](crate::iptables::Lines).
        rules: &'a str,
    },
}
