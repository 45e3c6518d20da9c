//! What the kernel tells about a link.

use super::{
    IFINFOMSG_LEN, IFLA_ADDRESS, IFLA_ALLMULTI, IFLA_BR_VLAN_FILTERING, IFLA_BRPORT_ISOLATED, IFLA_BRPORT_MODE,
    IFLA_BRPORT_STATE, IFLA_CARRIER, IFLA_GROUP, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_IPVLAN_MODE, IFLA_LINK, IFLA_LINK_NETNSID, IFLA_LINKINFO,
    IFLA_MACVLAN_MODE, IFLA_MASTER, IFLA_MTU, IFLA_OPERSTATE, IFLA_PROMISCUITY, IFLA_PROTINFO, IFLA_TXQLEN,
    IFLA_VLAN_ID, IFLA_VRF_TABLE, RTM_NEWLINK,
};
use crate::wire::attr::{Attrs, i32_of, text_of, u8_of, u16_of, u32_of};
use crate::wire::nlmsg::Message;

/// Family of what `bridge link` asks for (`AF_BRIDGE`).
const AF_BRIDGE: u8 = 7;
/// Longest interface name in bytes (`IFNAMSIZ` less its NUL).
const NAME_MAX: usize = 15;
/// Longest alias in bytes (`IFALIASZ` less its NUL).
const ALIAS_MAX: usize = 255;

/// A link as the kernel describes it (`RTM_NEWLINK`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Index in the namespace of the socket, never 0.
    pub index: u32,
    /// Device type (`ARPHRD_*`): 1 is Ethernet, 772 a loopback.
    pub device_type: u16,
    /// `IFF_*` bits.
    pub flags: u32,
    /// Name.
    pub name: heapless::String<NAME_MAX>,
    /// Hardware address if it has 6 bytes.
    pub mac: Option<[u8; 6]>,
    /// Bytes of the hardware address; 0 when there is none.
    pub hardware_len: usize,
    /// Bytes.
    pub mtu: u32,
    /// Transmit queue length, packets.
    pub txqlen: u32,
    /// `veth`, `bridge`, ...; empty for a device without a kind.
    pub kind: heapless::String<NAME_MAX>,
    /// Kind of its master, such as `bridge`; empty without one.
    pub slave_kind: heapless::String<NAME_MAX>,
    /// Index of its master.
    pub master: Option<u32>,
    /// Index of the device below it, for veth that of the peer. It counts in
    /// the namespace `link_netnsid` if that is given.
    pub link: Option<u32>,
    /// Of a macvlan `MACVLAN_MODE_*`, of an ipvlan `IPVLAN_MODE_*`, of a VLAN its ID,
    /// of a VRF its table.
    pub mode: Option<u32>,
    /// Identity of the namespace that `link` is in, if it is another.
    pub link_netnsid: Option<i32>,
    /// Device group.
    pub group: u32,
    /// `IF_OPER_*` of RFC 2863: 6 is up, 2 down, 0 unknown.
    pub operstate: u8,
    /// How many want it promiscuous.
    pub promiscuity: u32,
    /// How many want all multicast; told since Linux 6.0.
    pub allmulti: Option<u32>,
    /// Alias; empty without one.
    pub alias: heapless::String<ALIAS_MAX>,
    /// Has carrier.
    pub carrier: bool,
    /// Its settings as a bridge's port, if it is one.
    pub bridge_port: Option<BridgePortState>,
    /// For a bridge: whether it filters by VLAN.
    pub vlan_filtering: Option<bool>,
}

/// State of a bridge's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BridgePortState {
    /// `BR_STATE_*`: 0 disabled, 1 listening, 2 learning, 3 forwarding,
    /// 4 blocking.
    pub state: u8,
    /// Sends frames back out of the port they came in by.
    pub hairpin: bool,
    /// No traffic to other isolated ports.
    pub isolated: bool,
}

impl Link {
    /// Reads a link; `None` if the message is of another kind or damaged.
    #[must_use]
    pub fn parse(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWLINK {
            return None;
        }
        let header = message.payload.first_chunk::<IFINFOMSG_LEN>()?;
        let mut link = Self {
            device_type: header.get(2..).and_then(u16_of)?,
            index: header.get(4..).and_then(u32_of)?,
            flags: header.get(8..).and_then(u32_of)?,
            ..Self::default()
        };
        let of_bridge_family = header.first() == Some(&AF_BRIDGE);
        let mut attrs = message.attrs(IFINFOMSG_LEN);
        for (kind, payload) in attrs.by_ref() {
            // It holds something else in each family.
            if kind == IFLA_PROTINFO && of_bridge_family {
                link.bridge_port = Some(port_state(Attrs::new(payload))?);
            }
            link.read(kind, payload)?;
        }
        (!attrs.malformed()).then_some(link)
    }

    fn read(&mut self, kind: u16, payload: &[u8]) -> Option<()> {
        match kind {
            IFLA_ADDRESS => {
                self.hardware_len = payload.len();
                self.mac = payload.try_into().ok();
            }
            IFLA_IFNAME => self.name = text_of(payload)?,
            IFLA_MTU => self.mtu = u32_of(payload)?,
            IFLA_LINK => self.link = Some(u32_of(payload)?),
            IFLA_MASTER => self.master = Some(u32_of(payload)?),
            IFLA_TXQLEN => self.txqlen = u32_of(payload)?,
            IFLA_OPERSTATE => self.operstate = u8_of(payload)?,
            IFLA_IFALIAS => self.alias = text_of(payload)?,
            IFLA_GROUP => self.group = u32_of(payload)?,
            IFLA_PROMISCUITY => self.promiscuity = u32_of(payload)?,
            IFLA_ALLMULTI => self.allmulti = Some(u32_of(payload)?),
            IFLA_CARRIER => self.carrier = u8_of(payload)? != 0,
            IFLA_LINK_NETNSID => self.link_netnsid = Some(i32_of(payload)?),
            IFLA_LINKINFO => self.read_info(Attrs::new(payload))?,
            _ => {}
        }
        Some(())
    }

    fn read_info(&mut self, info: Attrs<'_>) -> Option<()> {
        // A kind that does not fit is none that picocni makes or looks for.
        let text = |kind| info.find(kind).and_then(text_of).unwrap_or_default();
        self.kind = text(IFLA_INFO_KIND);
        self.slave_kind = text(IFLA_INFO_SLAVE_KIND);
        // Attribute numbers mean something only together with the kind.
        if self.kind == "bridge" {
            self.vlan_filtering =
                info.nested(IFLA_INFO_DATA).find(IFLA_BR_VLAN_FILTERING).and_then(u8_of).map(|v| v != 0);
        }
        let data = info.nested(IFLA_INFO_DATA);
        self.mode = match self.kind.as_str() {
            "macvlan" => data.find(IFLA_MACVLAN_MODE).and_then(u32_of),
            "ipvlan" => data.find(IFLA_IPVLAN_MODE).and_then(u16_of).map(u32::from),
            "vlan" => data.find(IFLA_VLAN_ID).and_then(u16_of).map(u32::from),
            "vrf" => data.find(IFLA_VRF_TABLE).and_then(u32_of),
            _ => None,
        };
        if self.slave_kind == "bridge" {
            self.bridge_port = Some(port_state(info.nested(IFLA_INFO_SLAVE_DATA))?);
        }
        let mut all = info;
        all.by_ref().for_each(drop);
        (!all.malformed()).then_some(())
    }
}

fn port_state(attrs: Attrs<'_>) -> Option<BridgePortState> {
    let byte = |kind| attrs.find(kind).and_then(u8_of);
    Some(BridgePortState {
        state: byte(IFLA_BRPORT_STATE)?,
        hairpin: byte(IFLA_BRPORT_MODE)? != 0,
        // Absent before Linux 4.18.
        isolated: byte(IFLA_BRPORT_ISOLATED).unwrap_or(0) != 0,
    })
}
