//! What a backend reports of links, addresses and routes.

use core::net::IpAddr;

use crate::limits;
use crate::name::{IfIndex, IfName, Mac};
use crate::net::Cidr;

/// Whose network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Ns {
    /// The namespace the plugin was started in.
    Host,
    /// The container's, opened by [`Backend::open_sandbox`](crate::backend::Backend::open_sandbox).
    Sandbox,
}

/// The kind of a link, as far as plans care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LinkKind {
    /// A bridge.
    Bridge,
    /// One end of a veth pair.
    Veth,
    /// The loopback interface.
    Loopback,
    /// An interface without a cable: what is sent by it is gone.
    Dummy,
    /// Shares its parent's cable under a MAC of its own.
    Macvlan(MacvlanMode),
    /// Shares its parent's cable and MAC.
    Ipvlan(IpvlanMode),
    /// The frames of its parent that carry this 802.1Q VLAN ID.
    Vlan(u16),
    /// A TUN or TAP device.
    Tun,
    /// A routing domain: its ports look routes up in this table.
    Vrf(u32),
    /// What another link receives can be queued in it (an intermediate functional block).
    Ifb,
    /// Anything else.
    Other,
}

/// Whom the macvlan links of one parent reach (linux/if_link.h, `enum macvlan_mode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MacvlanMode {
    /// Each other, directly.
    #[default]
    Bridge,
    /// Nobody of the same parent.
    Private,
    /// Each other by way of a switch that sends frames back.
    Vepa,
    /// One link that has the parent for itself.
    Passthru,
}

/// On what layer ipvlan links share their parent (linux/if_link.h, `enum ipvlan_mode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IpvlanMode {
    /// Layer 2.
    #[default]
    L2,
    /// Layer 3: no broadcast, no ARP.
    L3,
    /// Layer 3 by way of the host's packet filter.
    L3s,
}

/// A link as it is.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Link {
    /// Interface index.
    pub index: IfIndex,
    /// Interface name.
    pub name: IfName,
    /// Ethernet address, zero where the link has none.
    pub mac: Mac,
    /// Maximum transmission unit in bytes.
    pub mtu: u32,
    /// Transmit queue length in packets.
    pub txqlen: u32,
    /// IFF_UP.
    pub up: bool,
    /// Carrier and protocols ready (operstate up, or unknown as loopback has it).
    pub running: bool,
    /// Promiscuity count is not zero.
    pub promisc: bool,
    /// IFF_ALLMULTI.
    pub allmulti: bool,
    /// Kind of link.
    pub kind: LinkKind,
    /// Bridge (or other master) this link is a port of.
    pub master: Option<IfIndex>,
    /// Index of the other end or the parent (IFLA_LINK), in whatever namespace.
    pub peer: Option<IfIndex>,
    /// As a bridge port: it forwards frames.
    pub forwarding: bool,
    /// As a bridge port: hairpin mode.
    pub hairpin: bool,
    /// As a bridge port: no traffic with other isolated ports.
    pub isolated: bool,
    /// ifalias, where ownership tags live.
    pub alias: heapless::String<{ limits::TAG }>,
}

/// An address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Address {
    /// Address and prefix.
    pub cidr: Cidr,
    /// Link-local, host or global scope (rtnetlink(7): 0 is global).
    pub scope: u8,
    /// Duplicate address detection still runs.
    pub tentative: bool,
    /// Duplicate address detection failed.
    pub dad_failed: bool,
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Route {
    /// Destination; the address keeps the host bits it was given with.
    pub dst: Cidr,
    /// Next hop.
    pub gw: Option<IpAddr>,
    /// Path MTU, 0 if unset.
    pub mtu: u32,
    /// Advertised segment size, 0 if unset.
    pub advmss: u32,
    /// Metric, 0 if unset.
    pub priority: u32,
    /// Routing table, main if unset.
    pub table: Option<u32>,
    /// Scope (rtnetlink(7)), universe if unset.
    pub scope: Option<u8>,
    /// Source address of what leaves by it without one; not part of a CNI result.
    pub src: Option<IpAddr>,
    /// Who made it (rtnetlink(7): 2 is the kernel), boot if unset; not part of a CNI result.
    pub protocol: Option<u8>,
    /// The next hop is on the link although no address says so; not part of a CNI result.
    pub onlink: bool,
}

impl Route {
    /// A route to `dst` with every option unset.
    #[must_use]
    pub const fn to(dst: Cidr) -> Self {
        Route {
            dst,
            gw: None,
            mtu: 0,
            advmss: 0,
            priority: 0,
            table: None,
            scope: None,
            src: None,
            protocol: None,
            onlink: false,
        }
    }
}

/// A routing rule: which table answers for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rule {
    /// Packets from this network; `None` for any other rule, also for one that
    /// asks for more than the source.
    pub src: Option<Cidr>,
    /// The table; 0 if it names none.
    pub table: u32,
    /// Smaller is tried first.
    pub priority: u32,
}

/// Transport protocol of a port mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// As configs write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// A published port of one address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PublishedPort {
    /// Transport.
    pub protocol: Protocol,
    /// Only packets to this host address; `None`: to any address of the host.
    pub host_ip: Option<IpAddr>,
    /// Port on the host.
    pub host_port: u16,
    /// Container's address; its family is the mapping's.
    pub to: IpAddr,
    /// Port in the container.
    pub to_port: u16,
}

/// What the native firewall knows: an entry of a set each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FirewallEntry {
    /// What is from this pod passes, and what answers it.
    Pod(IpAddr),
    /// What goes from one of these bridges to another is dropped. Pods share it.
    Apart(IfName),
    /// What is forwarded from this bridge to itself is dropped. Pods share it.
    Closed(IfName),
    /// IPv4 and IPv6 frames between this bridge port and another are dropped,
    /// whether the bridge hands frames to the IP layer's packet filter or not.
    Port(IfIndex),
}
