//! What can be undone, and what pods share.

use core::net::IpAddr;

use super::{LinkChange, LinkId, OnFailure, Policy, Undo, VlanRange};
use crate::name::{IfIndex, IfName, Mac};
use crate::net::Cidr;
use crate::observe::{FirewallEntry, LinkKind, Ns, PublishedPort, Route};
use crate::packet_filter::{Chain, Hook, Rule};
use crate::shaping::{Bucket, Queue};

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
        /// Dummy, macvlan, ipvlan, VLAN or VRF.
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
    /// A link of the host for what another one receives, down and with a send
    /// queue of 0; inverse: delete it.
    CreateIfb {
        /// Its name.
        name: IfName,
        /// Its address.
        mac: Mac,
        /// MTU, that of the other link.
        mtu: u32,
    },
    /// What a link of the host sends waits for tokens; inverse: it does not.
    Shape {
        /// The link.
        link: IfIndex,
        /// The tokens.
        bucket: Bucket,
        /// Where it waits.
        queue: Queue,
    },
    /// All that a link of the host receives is sent by another one first;
    /// inverse: it is not.
    RedirectIngress {
        /// The link.
        link: IfIndex,
        /// The other one.
        to: IfIndex,
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
    /// down; inverse: [`Removal::ReturnLink`](super::Removal::ReturnLink).
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
    /// A route is taken away; inverse: it comes back.
    TakeRoute {
        /// Namespace of the link.
        ns: Ns,
        /// Outgoing link.
        index: IfIndex,
        /// The route as it was observed.
        route: Route,
    },
    /// A rule `from SRC lookup TABLE`, before those that are there; inverse:
    /// remove it.
    AddRule {
        /// Namespace of the rule.
        ns: Ns,
        /// The one source address.
        src: IpAddr,
        /// Table that is looked up.
        table: u32,
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
    /// Not an act: wait (on kernel notifications) until a bridge port forwards,
    /// or a link that is no port runs.
    AwaitForwarding {
        /// The port: a link of the host.
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
    /// Ensure: a table and a chain of others are there, as they make them.
    EnsureChain {
        /// The chain.
        chain: Chain<'a>,
        /// Where it hangs; only jumped to if absent.
        hook: Option<Hook>,
        /// Comment of the table, "" for none; an existing one keeps its own.
        table_comment: &'a str,
        /// Comment of the chain, "" for none.
        comment: &'a str,
    },
    /// A rule at the end of a chain of others. It has no inverse here: like
    /// its owner, whoever plans it finds it by its comment
    /// ([`Removal::DropRules`](super::Removal::DropRules)).
    AppendRule {
        /// The chain.
        chain: Chain<'a>,
        /// The rule.
        rule: &'a Rule<'a>,
        /// Its comment, "" for none.
        comment: &'a str,
    },
    /// A network policy, in the place of an earlier one of the same owner, in one
    /// step; inverse: [`Removal::LiftPolicy`](super::Removal::LiftPolicy).
    Enforce {
        /// Whose, and what.
        policy: Policy<'a>,
    },
    /// firewalld lets an address through by its zone; inverse: no more, unless
    /// it did already.
    BindSource {
        /// firewalld's zone.
        zone: &'a str,
        /// Pod's address.
        ip: IpAddr,
    },
    /// An entry of the native firewall; inverse: remove it, unless it was there.
    /// Another owner's entry of the same address is an earlier life of it and
    /// is replaced.
    Enter {
        /// The entry.
        entry: FirewallEntry,
        /// Owner's tag; "" for what pods share.
        tag: &'a str,
    },
    /// Ensure: what pods share in iptables is there. Made after a look at what is
    /// missing, and run by `iptables-restore --noflush`.
    EnsureIptables {
        /// ip6tables.
        v6: bool,
        /// The transaction; see [`Script`](crate::iptables::Script).
        text: &'a str,
    },
    /// A chain of one attachment in iptables, with the jumps to it; inverse:
    /// [`Removal::IptablesChain`](super::Removal::IptablesChain).
    Iptables {
        /// ip6tables.
        v6: bool,
        /// Table of the chain.
        table: &'a str,
        /// The attachment's chain.
        chain: &'a str,
        /// The transaction; see [`Script`](crate::iptables::Script).
        text: &'a str,
    },
    /// Rules of one attachment at the end of chains that others use too; inverse:
    /// [`Removal::IptablesRules`](super::Removal::IptablesRules).
    IptablesRules {
        /// ip6tables.
        v6: bool,
        /// Table of the chains.
        table: &'a str,
        /// The rules.
        rules: &'a crate::iptables::Lines,
    },
}

impl Change<'_> {
    /// Whether pods share what this makes; undo leaves it.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(
            self,
            Change::EnsureBridge { .. }
                | Change::EnsureVlanPort { .. }
                | Change::EnsureAddress { .. }
                | Change::EnsureSysctl { .. }
                | Change::EnsureChain { .. }
                | Change::EnsureIptables { .. }
        )
    }
}
