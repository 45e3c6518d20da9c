//! Links: `RTM_NEWLINK`, `RTM_DELLINK`, `RTM_GETLINK`.
//!
//! Source: `include/uapi/linux/if_link.h`, `rtnetlink.h`, `if.h`, `veth.h`.
//! Interface indexes are those of the namespace that the socket is in.

mod create;
mod reply;

pub use create::{LinkKind, NewLink, VethPeer};
pub use reply::{BridgePortState, Link};

use super::addr::AF_INET;
use super::nlmsg::{Batch, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};

/// Create or change a link; also the kind of every link in a reply
/// (`RTM_NEWLINK`).
pub const RTM_NEWLINK: u16 = 16;
/// Delete a link (`RTM_DELLINK`).
pub const RTM_DELLINK: u16 = 17;
/// Change the settings of a bridge port ([`super::bridge_vlan`]).
pub const RTM_SETLINK: u16 = 19;
/// Ask for links (`RTM_GETLINK`).
pub const RTM_GETLINK: u16 = 18;

/// Administratively up (`IFF_UP`).
pub const IFF_UP: u32 = 0x1;
/// It is a loopback (`IFF_LOOPBACK`).
pub const IFF_LOOPBACK: u32 = 0x8;
/// Operational (`IFF_RUNNING`), read only.
pub const IFF_RUNNING: u32 = 0x40;
/// Receives every frame (`IFF_PROMISC`).
pub const IFF_PROMISC: u32 = 0x100;
/// Receives every multicast frame (`IFF_ALLMULTI`).
pub const IFF_ALLMULTI: u32 = 0x200;
/// Has carrier (`IFF_LOWER_UP`), read only.
pub const IFF_LOWER_UP: u32 = 0x1_0000;

/// Bytes of `struct ifinfomsg`.
pub(crate) const IFINFOMSG_LEN: usize = 16;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
pub(super) const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_CARRIER: u16 = 33;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_ALLMULTI: u16 = 61;

/// `IFLA_INET_CONF`, in `IFLA_AF_SPEC` → `AF_INET`: an attribute for each setting.
const IFLA_INET_CONF: u16 = 1;
/// `IPV4_DEVCONF_ARP_NOTIFY` (linux/ip.h).
const IPV4_DEVCONF_ARP_NOTIFY: u16 = 22;

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;

/// `enum` of `veth.h`.
const VETH_INFO_PEER: u16 = 1;

const IFLA_BR_VLAN_FILTERING: u16 = 7;

const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_MACVLAN_BC_QUEUE_LEN: u16 = 7;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VRF_TABLE: u16 = 1;

const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;

/// Leave the IPv6 and ICMPv6 counters out of the reply: they are a third of it
/// (`RTEXT_FILTER_SKIP_STATS`). Those of the device itself always come.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// `struct ifinfomsg`: family and device type unspecified.
fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; IFINFOMSG_LEN] {
    let mut out = [0; IFINFOMSG_LEN];
    let fields = [0, index, flags, change];
    for (to, from) in out.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
        *to = from.to_ne_bytes();
    }
    out
}

/// The link that a request changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// By index.
    Index(u32),
    /// By name.
    Name(&'a str),
    /// By index, and give it a new name. There is no rename by name: the
    /// kernel would look for the new one.
    Rename {
        /// Index of the link.
        index: u32,
        /// Its new name, 1 to 15 bytes.
        to: &'a str,
    },
}

/// Settings of a bridge port; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BridgePort {
    /// Send frames back out of the port they came in by (`IFLA_BRPORT_MODE`).
    pub hairpin: Option<bool>,
    /// No traffic between isolated ports (`IFLA_BRPORT_ISOLATED`).
    pub isolated: Option<bool>,
}

/// Change a link; `None` leaves a setting as it is. One message does it all,
/// but not atomically: the kernel stops at the first refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetLink<'a> {
    /// Which link.
    pub target: Target<'a>,
    /// New values of the `IFF_*` bits named in `change`.
    pub flags: u32,
    /// Which `IFF_*` bits change.
    pub change: u32,
    /// Hardware address. Some drivers refuse while the link is up.
    pub mac: Option<[u8; 6]>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// Transmit queue length, packets.
    pub txqlen: Option<u32>,
    /// Index of the new master; 0 is none.
    pub master: Option<u32>,
    /// Device group, for [`DelLink::Group`].
    pub group: Option<u32>,
    /// Up to 255 bytes; the empty text removes it.
    pub alias: Option<&'a str>,
    /// Open descriptor of the namespace to move it to.
    pub netns_fd: Option<u32>,
    /// Port settings, if it is a bridge's port *already*: the kernel applies
    /// them before `master`, so a link does not become a port and get its
    /// settings in one message (`EOPNOTSUPP`).
    pub port: Option<BridgePort>,
    /// Whether it announces its IPv4 addresses when it comes up or is given a
    /// hardware address. The kernel takes this after all the rest of the message.
    pub arp_notify: Option<bool>,
}

impl<'a> SetLink<'a> {
    /// A request that changes nothing yet.
    #[must_use]
    pub const fn new(target: Target<'a>) -> Self {
        Self {
            target,
            flags: 0,
            change: 0,
            mac: None,
            mtu: None,
            txqlen: None,
            master: None,
            group: None,
            alias: None,
            netns_fd: None,
            port: None,
            arp_notify: None,
        }
    }

    /// Sets or clears `IFF_*` bits.
    #[must_use]
    pub const fn flag(mut self, bits: u32, on: bool) -> Self {
        self.change |= bits;
        self.flags = if on { self.flags | bits } else { self.flags & !bits };
        self
    }

    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        let (index, name) = match self.target {
            Target::Index(index) => (index, None),
            Target::Name(name) => (0, Some(name)),
            Target::Rename { index, to } => (index, Some(to)),
        };
        batch.begin(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, seq);
        batch.put_header(&ifinfomsg(index, self.flags, self.change));
        if let Some(name) = name {
            batch.attr_str0(IFLA_IFNAME, name);
        }
        put_mac(batch, self.mac);
        put_u32(batch, IFLA_MTU, self.mtu);
        put_u32(batch, IFLA_TXQLEN, self.txqlen);
        put_u32(batch, IFLA_MASTER, self.master);
        put_u32(batch, IFLA_GROUP, self.group);
        if let Some(alias) = self.alias {
            // Without a NUL: the kernel stores every byte it is given.
            batch.attr(IFLA_IFALIAS, alias.as_bytes());
        }
        put_u32(batch, IFLA_NET_NS_FD, self.netns_fd);
        if let Some(port) = self.port {
            port.emit(batch);
        }
        if let Some(on) = self.arp_notify {
            put_ipv4_conf(batch, IPV4_DEVCONF_ARP_NOTIFY, on.into());
        }
        batch.end();
    }
}

fn put_ipv4_conf(batch: &mut Batch<'_>, setting: u16, value: u32) {
    let families = batch.nest_begin(IFLA_AF_SPEC);
    let inet = batch.nest_begin(u16::from(AF_INET));
    let settings = batch.nest_begin(IFLA_INET_CONF);
    batch.attr_u32(setting, value);
    batch.nest_end(settings);
    batch.nest_end(inet);
    batch.nest_end(families);
}

impl BridgePort {
    fn emit(&self, batch: &mut Batch<'_>) {
        let info = batch.nest_begin(IFLA_LINKINFO);
        put_kind(batch, IFLA_INFO_SLAVE_KIND, "bridge");
        let data = batch.nest_begin(IFLA_INFO_SLAVE_DATA);
        for (kind, value) in [(IFLA_BRPORT_MODE, self.hairpin), (IFLA_BRPORT_ISOLATED, self.isolated)] {
            if let Some(on) = value {
                batch.attr_u8(kind, on.into());
            }
        }
        batch.nest_end(data);
        batch.nest_end(info);
    }
}

/// Delete links. Deleting one end of a veth pair deletes the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelLink<'a> {
    /// By index.
    Index(u32),
    /// By name.
    Name(&'a str),
    /// Every link of a device group; the kernel refuses group 0, the default.
    Group(u32),
}

impl DelLink<'_> {
    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        let index = if let Self::Index(index) = *self { index } else { 0 };
        batch.begin(RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, seq);
        batch.put_header(&ifinfomsg(index, 0, 0));
        match *self {
            Self::Index(_) => {}
            Self::Name(name) => batch.attr_str0(IFLA_IFNAME, name),
            Self::Group(group) => batch.attr_u32(IFLA_GROUP, group),
        }
        batch.end();
    }
}

/// Ask for one link. The answer is the link or an error, without a further
/// acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GetLink<'a> {
    /// By index.
    Index(u32),
    /// By name.
    Name(&'a str),
}

impl GetLink<'_> {
    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        let index = if let Self::Index(index) = *self { index } else { 0 };
        batch.begin(RTM_GETLINK, NLM_F_REQUEST, seq);
        batch.put_header(&ifinfomsg(index, 0, 0));
        batch.attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        if let Self::Name(name) = *self {
            batch.attr_str0(IFLA_IFNAME, name);
        }
        batch.end();
    }
}

/// Ask for all links, or those that match every filter given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DumpLinks<'a> {
    /// Only ports of this device.
    pub master: Option<u32>,
    /// Only links of this kind, such as `veth`.
    pub kind: Option<&'a str>,
}

impl DumpLinks<'_> {
    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        batch.begin(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, seq);
        batch.put_header(&ifinfomsg(0, 0, 0));
        batch.attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        put_u32(batch, IFLA_MASTER, self.master);
        if let Some(kind) = self.kind {
            let info = batch.nest_begin(IFLA_LINKINFO);
            put_kind(batch, IFLA_INFO_KIND, kind);
            batch.nest_end(info);
        }
        batch.end();
    }
}

/// Kinds go without a NUL, as every other program sends them.
fn put_kind(batch: &mut Batch<'_>, attribute: u16, kind: &str) {
    batch.attr(attribute, kind.as_bytes());
}

fn put_mac(batch: &mut Batch<'_>, mac: Option<[u8; 6]>) {
    if let Some(mac) = mac {
        batch.attr(IFLA_ADDRESS, &mac);
    }
}

/// Writes the attribute if there is a value.
pub(super) fn put_u32(batch: &mut Batch<'_>, kind: u16, value: Option<u32>) {
    if let Some(value) = value {
        batch.attr_u32(kind, value);
    }
}
