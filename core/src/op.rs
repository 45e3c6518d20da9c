//! Typed operations: what a plan is made of.
//!
//! A [`Change`] has an inverse, which the backend returns when it applied it
//! (with the old value it read). *Ensure* changes are shared by all pods and
//! have none: undo never removes them. A [`Removal`] cannot be undone; a
//! [`Plan`] keeps removals apart and they run last.

use core::net::IpAddr;

use crate::error::{Error, Result};
use crate::limits;
use crate::name::{IfIndex, IfName, Mac};
use crate::net::Cidr;
use crate::observe::{LinkKind, Ns, Protocol, PublishedPort, Route};
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    /// Bridge or other device that it becomes a port of.
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

/// An operation that can be undone, or an *ensure* operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Change<'a> {
    /// Ensure: a bridge exists, refuses router advertisements, and is up.
    /// An existing one keeps its MAC and MTU.
    EnsureBridge {
        /// Bridge name.
        name: IfName,
        /// MAC given at creation, so that it never changes with its ports.
        mac: Mac,
        /// MTU at creation, 0 for the kernel's.
        mtu: u32,
        /// Turn promiscuous mode on.
        promisc: bool,
        /// Filter by VLAN, if it is made.
        vlan_filtering: bool,
    },
    /// Ensure: the host has an address on one VLAN of a bridge, by a veth pair of
    /// its own whose other end is a port in that VLAN; both up.
    EnsureVlanPort {
        /// The bridge.
        bridge: IfIndex,
        /// The end that carries addresses.
        name: IfName,
        /// The end that is the port.
        port: IfName,
        /// Address of the first.
        mac: Mac,
        /// Address of the second.
        port_mac: Mac,
        /// MTU of both.
        mtu: u32,
        /// The VLAN, untagged on the port.
        vlan: u16,
        /// The bridge's default VLAN stays on the port.
        keep_default: bool,
    },
    /// Ensure: the bridge carries its gateway address (no DAD).
    EnsureAddress {
        /// The bridge.
        index: IfIndex,
        /// Address and prefix.
        cidr: Cidr,
    },
    /// Ensure: a sysctl of the host has this value.
    EnsureSysctl {
        /// Path below /proc/sys.
        key: &'a str,
        /// Value.
        value: &'a str,
        /// What to do when it cannot be written.
        on_failure: OnFailure,
    },
    /// A veth pair, host end down; inverse: delete it.
    CreateVeth {
        /// Host end.
        host: IfName,
        /// Its address.
        host_mac: Mac,
        /// Container end, created inside the sandbox.
        peer: IfName,
        /// Its address.
        peer_mac: Mac,
        /// MTU of both, 0 for the kernel's.
        mtu: u32,
        /// Bridge of the host end.
        master: Option<IfIndex>,
    },
    /// A link with one end, made down in the sandbox; inverse: delete it.
    CreateLink {
        /// Namespace of the parent: where the kernel is asked.
        from: Ns,
        /// Name in the sandbox. No link of `from` may have it either.
        name: IfName,
        /// Dummy, macvlan, ipvlan or VLAN.
        kind: LinkKind,
        /// The link below it, in `from`.
        parent: Option<IfIndex>,
        /// Its address; the kernel's choice if absent.
        mac: Option<Mac>,
        /// MTU, 0 for the kernel's.
        mtu: u32,
        /// Macvlan: frames that may wait to be broadcast, 0 for the kernel's.
        broadcast_queue: u32,
    },
    /// A TAP device in the sandbox that outlives this program, down; inverse:
    /// delete it.
    CreateTap {
        /// Its name.
        name: IfName,
        /// Programs may open several queues of it.
        multi_queue: bool,
        /// User that may open it; root alone if absent.
        owner: Option<u32>,
        /// Group that may open it.
        group: Option<u32>,
        /// SELinux context it is made under, "" for this program's.
        selinux: &'a str,
    },
    /// A new name for a link that this plan made; inverse: delete it.
    RenameLink {
        /// Namespace of the link.
        ns: Ns,
        /// Its name.
        from: IfName,
        /// Its new name.
        to: IfName,
    },
    /// A bridge port of this plan leaves every VLAN; it goes with its link.
    ClearPortVlans {
        /// The port.
        port: IfIndex,
    },
    /// A bridge port of this plan joins VLANs; it goes with its link.
    AddPortVlans {
        /// The port.
        port: IfIndex,
        /// Which.
        vlans: &'a [VlanRange],
    },
    /// Frames that a bridge port sends under another address than this are
    /// dropped; inverse: they are not.
    GuardSource {
        /// The port.
        port: IfIndex,
        /// The address it has.
        mac: Mac,
        /// Owner's tag.
        tag: &'a str,
    },
    /// A link of the host goes into the sandbox under another name, where it is
    /// down; inverse: [`Removal::ReturnLink`].
    MoveLink {
        /// The link.
        index: IfIndex,
        /// Its name.
        name: IfName,
        /// Its name in the sandbox.
        to: IfName,
        /// Its alias there: by what DEL knows the name.
        alias: &'a str,
        /// Whether it was up.
        was_up: bool,
    },
    /// An address of a link of the host is taken away; inverse: it comes back.
    TakeAddress {
        /// The link.
        index: IfIndex,
        /// Its name, which stays when it has been away.
        name: IfName,
        /// Address and prefix.
        cidr: Cidr,
    },
    /// Attributes of a link; inverse: the old ones.
    SetLink {
        /// Namespace of the link.
        ns: Ns,
        /// The link.
        link: LinkId,
        /// What to set.
        set: LinkChange<'a>,
        /// How it is undone.
        undo: Undo,
    },
    /// An address; inverse: remove it.
    AddAddress {
        /// Namespace of the link.
        ns: Ns,
        /// The link.
        index: IfIndex,
        /// Address and prefix.
        cidr: Cidr,
        /// Run duplicate address detection (IPv6).
        dad: bool,
        /// Let the kernel make the route to the address's network.
        prefix_route: bool,
    },
    /// A route; inverse: remove it.
    AddRoute {
        /// Namespace of the link.
        ns: Ns,
        /// Outgoing link.
        index: IfIndex,
        /// The route.
        route: Route,
    },
    /// A sysctl; inverse: the old value.
    WriteSysctl {
        /// Namespace it belongs to.
        ns: Ns,
        /// Path below /proc/sys.
        key: &'a str,
        /// Value.
        value: &'a str,
        /// How it is undone.
        undo: Undo,
        /// What to do when it cannot be written.
        on_failure: OnFailure,
    },
    /// Not an act: wait (on kernel notifications) until a bridge port forwards.
    AwaitForwarding {
        /// Host end of the port.
        host: IfName,
    },
    /// Not an act: wait until no IPv6 address of the link is tentative.
    AwaitAddresses {
        /// Namespace of the link.
        ns: Ns,
        /// The link.
        index: IfIndex,
    },
    /// Announce the link's addresses (gratuitous ARP, unsolicited NA) so that
    /// nobody goes on talking to an earlier holder's MAC.
    Announce {
        /// The link in the sandbox.
        index: IfIndex,
        /// Its address.
        mac: Mac,
    },
    /// A lease file, created exclusively; inverse: remove it.
    ReserveLease {
        /// Directory of the network's leases.
        dir: &'a str,
        /// Leased address.
        ip: IpAddr,
        /// Container ID.
        container: &'a str,
        /// Interface name.
        ifname: IfName,
    },
    /// Where the next search starts; inverse: none needed (only an ordering hint).
    NoteLastLease {
        /// Directory of the network's leases.
        dir: &'a str,
        /// Index of the range set.
        set: u32,
        /// Address given last.
        ip: IpAddr,
    },
    /// A small file of ours, replaced atomically; inverse: the old content or none.
    WriteFile {
        /// Absolute path; missing directories are made.
        path: &'a str,
        /// Content.
        content: &'a [u8],
    },
    /// A host port is claimed by a symbolic link `dir/key` → holder, created
    /// exclusively; inverse: remove it.
    Claim {
        /// Directory of the port's claims; missing directories are made.
        dir: &'a str,
        /// Name in it.
        key: &'a str,
        /// Holder's tag.
        holder: &'a str,
    },
    /// A published port in the packet filter; inverse: unpublish.
    Publish {
        /// The mapping.
        port: PublishedPort,
        /// Owner's tag.
        tag: &'a str,
    },
    /// Source translation for connections to a published port; inverse: remove.
    PublishSource {
        /// Container's address.
        to: IpAddr,
        /// Link that leads to the container.
        via: IfIndex,
        /// Translate every source, not only local and same-link ones.
        all: bool,
        /// Owner's tag.
        tag: &'a str,
    },
    /// Masquerade of traffic that leaves a pod's network; inverse: remove.
    Masquerade {
        /// Pod's address.
        ip: IpAddr,
        /// Traffic within this network keeps its source.
        net: Cidr,
        /// Owner's tag.
        tag: &'a str,
    },
}

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

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.removals.is_empty()
    }
}

impl Change<'_> {
    /// Short name for logs.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Change::EnsureBridge { .. } => "ensure bridge",
            Change::EnsureAddress { .. } => "ensure address",
            Change::EnsureSysctl { .. } => "ensure sysctl",
            Change::CreateVeth { .. } => "create veth",
            Change::EnsureVlanPort { .. } => "ensure VLAN port",
            Change::ClearPortVlans { .. } => "clear port VLANs",
            Change::AddPortVlans { .. } => "add port VLANs",
            Change::GuardSource { .. } => "guard source",
            Change::MoveLink { .. } => "move link",
            Change::TakeAddress { .. } => "take address",
            Change::CreateLink { .. } => "create link",
            Change::CreateTap { .. } => "create tap",
            Change::RenameLink { .. } => "rename link",
            Change::SetLink { .. } => "set link",
            Change::AddAddress { .. } => "add address",
            Change::AddRoute { .. } => "add route",
            Change::WriteSysctl { .. } => "write sysctl",
            Change::AwaitForwarding { .. } => "await forwarding",
            Change::AwaitAddresses { .. } => "await addresses",
            Change::Announce { .. } => "announce",
            Change::ReserveLease { .. } => "reserve lease",
            Change::NoteLastLease { .. } => "note last lease",
            Change::WriteFile { .. } => "write file",
            Change::Claim { .. } => "claim port",
            Change::Publish { .. } => "publish port",
            Change::PublishSource { .. } => "translate source",
            Change::Masquerade { .. } => "masquerade",
        }
    }

    /// Whether pods share what this makes; undo leaves it.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(
            self,
            Change::EnsureBridge { .. }
                | Change::EnsureVlanPort { .. }
                | Change::EnsureAddress { .. }
                | Change::EnsureSysctl { .. }
        )
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

impl Put for PublishedPort {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, self.protocol.as_str(), " ");
        if let Some(ip) = self.host_ip {
            put!(out, ip, " ");
        }
        put!(out, "port ", self.host_port, " to ", self.to, " port ", self.to_port);
    }
}

impl Put for Change<'_> {
    /// One line of a plan, without the verb of [`Change::verb`].
    fn put(&self, out: &mut dyn Sink) {
        match self {
            Change::EnsureBridge { name, .. } => put!(out, *name),
            Change::EnsureAddress { cidr, .. } => put!(out, *cidr),
            Change::EnsureSysctl { key, value, .. } | Change::WriteSysctl { key, value, .. } => {
                put!(out, *key, " = ", *value)
            }
            Change::CreateVeth { host, peer, .. } => put!(out, *host, " - ", *peer),
            Change::CreateLink { name, .. } | Change::CreateTap { name, .. } | Change::EnsureVlanPort { name, .. } => {
                put!(out, *name)
            }
            Change::ClearPortVlans { port } => put!(out, "link ", port.0),
            Change::AddPortVlans { port, vlans } => {
                put!(out, "link ", port.0);
                for range in *vlans {
                    put!(out, " ", range.first, "-", range.last);
                }
            }
            Change::GuardSource { port, mac, .. } => put!(out, "link ", port.0, " ", mac),
            Change::RenameLink { from, to, .. } => put!(out, *from, " to ", *to),
            Change::MoveLink { name, to, .. } => put!(out, *name, " to ", *to),
            Change::TakeAddress { name, cidr, .. } => put!(out, *cidr, " of ", *name),
            Change::SetLink { link, set, .. } => put!(out, *link, *set),
            Change::AddAddress { cidr, .. } => put!(out, *cidr),
            Change::AddRoute { route, .. } => {
                put!(out, route.dst);
                if let Some(gw) = route.gw {
                    put!(out, " via ", gw);
                }
            }
            Change::AwaitForwarding { host } => put!(out, *host),
            Change::AwaitAddresses { index, .. } | Change::Announce { index, .. } => put!(out, "link ", index.0),
            Change::ReserveLease { ip, .. } | Change::NoteLastLease { ip, .. } => put!(out, *ip),
            Change::WriteFile { path, .. } => put!(out, *path),
            Change::Claim { key, .. } => put!(out, *key),
            Change::Publish { port, .. } => put!(out, *port),
            Change::PublishSource { to, .. } => put!(out, *to),
            Change::Masquerade { ip, net, .. } => put!(out, *ip, " out of ", *net),
        }
    }
}

impl Removal<'_> {
    /// Short name for logs.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Removal::DeleteLink { .. } => "delete link",
            Removal::ResetLink { .. } => "reset link",
            Removal::ResetSysctl { .. } => "reset sysctl",
            Removal::DeleteAddress { .. } => "delete address",
            Removal::DeleteRoute { .. } => "delete route",
            Removal::DeleteNeighbour { .. } => "delete neighbour",
            Removal::ReturnLink { .. } => "return link",
            Removal::RestoreAddress { .. } => "restore address",
            Removal::UnguardSource { .. } => "stop guarding source",
            Removal::ReleaseLease { .. } => "release lease",
            Removal::RemoveFile { .. } => "remove file",
            Removal::Unclaim { .. } => "unclaim port",
            Removal::Unpublish { .. } => "unpublish port",
            Removal::UnpublishSource { .. } => "stop translating",
            Removal::Unmasquerade { .. } => "stop masquerade",
            Removal::PurgeConnections { .. } => "purge connections",
        }
    }
}

impl Put for Removal<'_> {
    /// One line of a plan, without the verb of [`Removal::verb`].
    fn put(&self, out: &mut dyn Sink) {
        match self {
            Removal::DeleteLink { name, .. } => put!(out, *name),
            Removal::ResetLink { link, set, .. } => put!(out, *link, *set),
            Removal::ResetSysctl { key, value, .. } => put!(out, *key, " = ", *value),
            Removal::DeleteAddress { cidr, .. } => put!(out, *cidr),
            Removal::DeleteRoute { route, .. } => put!(out, route.dst),
            Removal::DeleteNeighbour { ip, .. } | Removal::ReleaseLease { ip, .. } | Removal::Unmasquerade { ip } => {
                put!(out, *ip)
            }
            Removal::ReturnLink { name, to, .. } => put!(out, *name, " to ", *to),
            Removal::RestoreAddress { name, cidr } => put!(out, *cidr, " of ", *name),
            Removal::UnguardSource { port, mac } => put!(out, "link ", port.0, " ", mac),
            Removal::RemoveFile { path } => put!(out, *path),
            Removal::Unclaim { key, .. } => put!(out, *key),
            Removal::Unpublish { port } => put!(out, *port),
            Removal::UnpublishSource { to, .. } => put!(out, *to),
            Removal::PurgeConnections { protocol, host_port, .. } => put!(out, protocol.as_str(), " port ", *host_port),
        }
    }
}
