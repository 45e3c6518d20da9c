//! New links of every kind.

use super::{
    IFF_UP, IFLA_BR_VLAN_FILTERING, IFLA_GROUP, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_IPVLAN_MODE,
    IFLA_LINK, IFLA_LINKINFO, IFLA_MACVLAN_BC_QUEUE_LEN, IFLA_MACVLAN_MODE, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD,
    IFLA_TXQLEN, IFLA_VLAN_ID, IFLA_VRF_TABLE, RTM_NEWLINK, VETH_INFO_PEER, ifinfomsg, put_kind, put_mac, put_u32,
};
use crate::wire::nlmsg::{Batch, Mode};

/// What is special about the kind of a link that is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkKind<'a> {
    /// A Linux bridge.
    Bridge {
        /// Filter by VLAN from the start; `None` leaves the kernel's default.
        vlan_filtering: Option<bool>,
    },
    /// What is sent by it is gone.
    Dummy,
    /// What another link receives can be queued in it (an intermediate functional block).
    Ifb,
    /// Shares the link below it under a hardware address of its own.
    Macvlan {
        /// `MACVLAN_MODE_*`: 1 private, 2 VEPA, 4 bridge, 8 passthru.
        mode: u32,
        /// Frames that may wait to be broadcast; `None` is the kernel's default.
        broadcast_queue: Option<u32>,
    },
    /// Shares the link below it and its hardware address.
    Ipvlan {
        /// `IPVLAN_MODE_*`: 0 layer 2, 1 layer 3, 2 layer 3 with the packet filter.
        mode: u16,
    },
    /// The frames of the link below it that carry this 802.1Q VLAN ID.
    Vlan {
        /// 0 to 4094.
        id: u16,
    },
    /// A routing domain.
    Vrf {
        /// Table of its ports. 0, which no table has, asks for no link: whether
        /// the kernel knows the kind is told by its refusal, `EINVAL` if so.
        table: u32,
    },
    /// One end of a virtual cable; the other is the peer.
    Veth {
        /// The other end.
        peer: VethPeer<'a>,
    },
}

/// The other end of a new veth pair. It is created down: the kernel configures
/// it before the two are joined, and up would fail with `ENOTCONN`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VethPeer<'a> {
    /// Name, 1 to 15 bytes.
    pub name: &'a str,
    /// Hardware address; `None` is a random one.
    pub mac: Option<[u8; 6]>,
    /// Bytes; `None` is the kernel's default.
    pub mtu: Option<u32>,
    /// Open descriptor of the namespace it is created in; `None` is that of
    /// the socket.
    pub netns_fd: Option<u32>,
}

/// Create a link. Fails with `EEXIST` if the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewLink<'a> {
    /// Name, 1 to 15 bytes.
    pub name: &'a str,
    /// Hardware address; `None` is a random one.
    pub mac: Option<[u8; 6]>,
    /// Bytes; `None` is the kernel's default.
    pub mtu: Option<u32>,
    /// Transmit queue length, packets.
    pub txqlen: Option<u32>,
    /// Index of the bridge or other device that it becomes a port of.
    pub master: Option<u32>,
    /// Index of the device below it (`IFLA_LINK`).
    pub link: Option<u32>,
    /// Device group, for [`super::DelLink::Group`].
    pub group: Option<u32>,
    /// Open descriptor of the namespace it is created in; `None` is that of
    /// the socket.
    pub netns_fd: Option<u32>,
    /// Create it administratively up.
    pub up: bool,
    /// The kind and its settings.
    pub kind: LinkKind<'a>,
}

impl<'a> NewLink<'a> {
    /// A link of this kind with the kernel's defaults.
    #[must_use]
    pub const fn new(name: &'a str, kind: LinkKind<'a>) -> Self {
        Self {
            name,
            mac: None,
            mtu: None,
            txqlen: None,
            master: None,
            link: None,
            group: None,
            netns_fd: None,
            up: false,
            kind,
        }
    }

    /// Writes the request. An alias cannot be given here: the kernel ignores
    /// it on creation, see [`super::SetLink::alias`].
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        let up = if self.up { IFF_UP } else { 0 };
        batch.begin(RTM_NEWLINK, Mode::Exclusive.flags(), seq);
        batch.put_header(&ifinfomsg(0, up, up));
        batch.attr_str0(IFLA_IFNAME, self.name);
        put_mac(batch, self.mac);
        put_u32(batch, IFLA_MTU, self.mtu);
        put_u32(batch, IFLA_TXQLEN, self.txqlen);
        put_u32(batch, IFLA_MASTER, self.master);
        put_u32(batch, IFLA_LINK, self.link);
        put_u32(batch, IFLA_GROUP, self.group);
        put_u32(batch, IFLA_NET_NS_FD, self.netns_fd);
        let info = batch.nest_begin(IFLA_LINKINFO);
        match self.kind {
            LinkKind::Bridge { vlan_filtering } => {
                put_kind(batch, IFLA_INFO_KIND, "bridge");
                if let Some(on) = vlan_filtering {
                    let data = batch.nest_begin(IFLA_INFO_DATA);
                    batch.attr_u8(IFLA_BR_VLAN_FILTERING, on.into());
                    batch.nest_end(data);
                }
            }
            LinkKind::Dummy => put_kind(batch, IFLA_INFO_KIND, "dummy"),
            LinkKind::Ifb => put_kind(batch, IFLA_INFO_KIND, "ifb"),
            LinkKind::Macvlan { mode, broadcast_queue } => {
                put_kind(batch, IFLA_INFO_KIND, "macvlan");
                let data = batch.nest_begin(IFLA_INFO_DATA);
                batch.attr_u32(IFLA_MACVLAN_MODE, mode);
                put_u32(batch, IFLA_MACVLAN_BC_QUEUE_LEN, broadcast_queue);
                batch.nest_end(data);
            }
            LinkKind::Ipvlan { mode } => put_u16_kind(batch, "ipvlan", IFLA_IPVLAN_MODE, mode),
            LinkKind::Vlan { id } => put_u16_kind(batch, "vlan", IFLA_VLAN_ID, id),
            LinkKind::Vrf { table } => {
                put_kind(batch, IFLA_INFO_KIND, "vrf");
                let data = batch.nest_begin(IFLA_INFO_DATA);
                batch.attr_u32(IFLA_VRF_TABLE, table);
                batch.nest_end(data);
            }
            LinkKind::Veth { peer } => {
                put_kind(batch, IFLA_INFO_KIND, "veth");
                let data = batch.nest_begin(IFLA_INFO_DATA);
                peer.emit(batch);
                batch.nest_end(data);
            }
        }
        batch.nest_end(info);
        batch.end();
    }
}

fn put_u16_kind(batch: &mut Batch<'_>, kind: &str, attribute: u16, value: u16) {
    put_kind(batch, IFLA_INFO_KIND, kind);
    let data = batch.nest_begin(IFLA_INFO_DATA);
    batch.attr(attribute, &value.to_ne_bytes());
    batch.nest_end(data);
}

impl VethPeer<'_> {
    fn emit(&self, batch: &mut Batch<'_>) {
        let nest = batch.nest_begin(VETH_INFO_PEER);
        batch.put_header(&ifinfomsg(0, 0, 0));
        batch.attr_str0(IFLA_IFNAME, self.name);
        put_mac(batch, self.mac);
        put_u32(batch, IFLA_MTU, self.mtu);
        put_u32(batch, IFLA_NET_NS_FD, self.netns_fd);
        batch.nest_end(nest);
    }
}
