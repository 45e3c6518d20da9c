//! Kernel objects as plain values that tests can compare.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Snapshot, shaping, socket};

/// A network device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Index in its namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `veth`, `bridge`, …; empty for the loopback device.
    pub kind: String,
    /// Lower-case MAC with colons.
    pub mac: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Operational state: `Up`, `Down`, `LowerLayerDown`, `Unknown`.
    pub oper_state: String,
    /// Name of the device it is a port of.
    pub master: Option<String>,
    /// `IFLA_LINK`: index of the other end, in that end's namespace.
    pub peer_index: Option<u32>,
    /// The administrator's note.
    pub alias: String,
    /// Asked to be promiscuous.
    pub promiscuous: bool,
    /// Receives all multicast.
    pub all_multicast: bool,
    /// Length of the send queue in packets.
    pub tx_queue_len: u32,
    /// Bridge port: sends frames back where they came from.
    pub hairpin: Option<bool>,
    /// Bridge port: does not talk to other isolated ports.
    pub isolated: Option<bool>,
    /// Bridge: filters by VLAN.
    pub vlan_filtering: Option<bool>,
}

/// An address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Device name.
    pub dev: String,
    /// The address itself.
    pub ip: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// IPv4 broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// `Universe`, `Link`, `Host`, …
    pub scope: String,
    /// Duplicate address detection has not finished.
    pub tentative: bool,
    /// Duplicate address detection found another holder.
    pub dad_failed: bool,
    /// Set without duplicate address detection.
    pub no_dad: bool,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Table number; 254 is main.
    pub table: u32,
    /// `address/prefix`; the default route is `0.0.0.0/0` or `::/0`.
    pub destination: String,
    /// Gateway.
    pub via: Option<IpAddr>,
    /// Device name; empty if none.
    pub dev: String,
    /// `boot`, `kernel`, …
    pub protocol: String,
    /// `global`, `link`, `host`, …
    pub scope: String,
    /// `Unicast`, `Local`, …
    pub kind: String,
    /// Metric; 0 if none.
    pub priority: u32,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Path MTU metric.
    pub mtu: Option<u32>,
    /// Advertised MSS metric.
    pub advmss: Option<u32>,
}

/// A neighbour (ARP or NDP) entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Device name.
    pub dev: String,
    /// Whose link-layer address it is.
    pub ip: IpAddr,
    /// Lower-case MAC with colons; empty if unresolved.
    pub mac: String,
    /// `Reachable`, `Stale`, `Failed`, …
    pub state: String,
}

/// A routing rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `Inet` or `Inet6`.
    pub family: String,
    /// Priority; 0 comes first.
    pub priority: u32,
    /// Source prefix, `all` if any.
    pub from: String,
    /// Table looked up.
    pub table: u32,
}

impl Link {
    pub(super) fn line(&self) -> String {
        let Self { name, kind, mac, mtu, up, master, alias, promiscuous, all_multicast, tx_queue_len, .. } = self;
        format!(
            "link {name} {kind} {mac} mtu {mtu} up {up} master {master:?} alias {alias:?} promisc {promiscuous} \
             allmulti {all_multicast} txqlen {tx_queue_len} hairpin {:?} isolated {:?}",
            self.hairpin, self.isolated
        )
    }
}

impl Address {
    /// An IPv6 address of `fe80::/10`, which the kernel adds when a device comes up.
    pub fn is_link_local(&self) -> bool {
        matches!(self.ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
    }

    pub(super) fn line(&self) -> String {
        format!(
            "address {}/{} dev {} broadcast {:?} scope {}",
            self.ip, self.prefix, self.dev, self.broadcast, self.scope
        )
    }
}

impl Route {
    /// An IPv6 route that the kernel keeps by itself for an address or for multicast. It comes and goes with the carrier
    /// and with duplicate address detection, later than the address that is listed anyway.
    pub fn follows_an_address(&self) -> bool {
        let local = self.table == 255 && self.destination.contains(':');
        self.protocol == "kernel" && (local || self.destination.starts_with("fe80:"))
    }

    pub(super) fn line(&self) -> String {
        let Self { table, destination, via, dev, protocol, scope, kind, priority, source, mtu, advmss } = self;
        format!(
            "route {destination} via {via:?} dev {dev} table {table} proto {protocol} scope {scope} type {kind} \
             metric {priority} src {source:?} mtu {mtu:?} advmss {advmss:?}"
        )
    }
}

impl Rule {
    pub(super) fn line(&self) -> String {
        format!("rule {} {} from {} lookup {}", self.family, self.priority, self.from, self.table)
    }
}

pub(super) type Names = HashMap<u32, String>;

pub(super) fn snapshot() -> Snapshot {
    let links: Vec<LinkMessage> = take(RouteNetlinkMessage::GetLink(LinkMessage::default()), |m| match m {
        RouteNetlinkMessage::NewLink(l) => Some(l),
        _ => None,
    });
    let names: Names = links.iter().map(|l| (l.header.index, link_name(l))).collect();
    let addresses = take(RouteNetlinkMessage::GetAddress(AddressMessage::default()), |m| match m {
        RouteNetlinkMessage::NewAddress(a) => address(&a, &names),
        _ => None,
    });
    let neighbours = take(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), |m| match m {
        RouteNetlinkMessage::NewNeighbour(n) => neighbour(&n, &names),
        _ => None,
    });
    let (qdiscs, redirections) = shaping::read(&names);
    let (mut routes, mut rules) = (Vec::new(), Vec::new());
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut ask = RouteMessage::default();
        ask.header.address_family = family;
        routes.extend(take(RouteNetlinkMessage::GetRoute(ask), |m| match m {
            RouteNetlinkMessage::NewRoute(r) => Some(route(&r, &names)),
            _ => None,
        }));
        let mut ask = RuleMessage::default();
        ask.header.family = family;
        rules.extend(take(RouteNetlinkMessage::GetRule(ask), |m| match m {
            RouteNetlinkMessage::NewRule(r) => Some(rule(&r)),
            _ => None,
        }));
    }
    let links = links.iter().map(|l| link(l, &names)).collect();
    Snapshot { links, addresses, routes, neighbours, rules, qdiscs, redirections }
}

pub(super) fn take<T>(ask: RouteNetlinkMessage, pick: impl FnMut(RouteNetlinkMessage) -> Option<T>) -> Vec<T> {
    socket::dump(&ask).into_iter().filter_map(pick).collect()
}

pub(super) fn name_of(index: u32, names: &Names) -> String {
    names.get(&index).cloned().unwrap_or_default()
}

fn link_name(message: &LinkMessage) -> String {
    let name = message.attributes.iter().find_map(|a| match a {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    name.unwrap_or_default()
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

fn link(message: &LinkMessage, names: &Names) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: link_name(message),
        up: flags.contains(LinkFlags::Up),
        promiscuous: flags.contains(LinkFlags::Promisc),
        all_multicast: flags.contains(LinkFlags::Allmulti),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::OperState(state) => link.oper_state = format!("{state:?}"),
            LinkAttribute::Controller(index) => link.master = Some(name_of(*index, names)),
            LinkAttribute::Link(index) => link.peer_index = Some(*index),
            LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
            LinkAttribute::TxQueueLen(length) => link.tx_queue_len = *length,
            LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| link_info(info, &mut link)),
            _ => {}
        }
    }
    link
}

fn link_info(info: &LinkInfo, link: &mut Link) {
    match info {
        LinkInfo::Kind(kind) => link.kind = kind.to_string(),
        LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
            for attribute in port {
                match attribute {
                    InfoBridgePort::HairpinMode(on) => link.hairpin = Some(*on),
                    InfoBridgePort::Isolated(on) => link.isolated = Some(*on),
                    _ => {}
                }
            }
        }
        LinkInfo::Data(InfoData::Bridge(bridge)) => {
            for attribute in bridge {
                if let netlink_packet_route::link::InfoBridge::VlanFiltering(on) = attribute {
                    link.vlan_filtering = Some(*on);
                }
            }
        }
        _ => {}
    }
}

fn address(message: &AddressMessage, names: &Names) -> Option<Address> {
    let (mut ip, mut local, mut broadcast) = (None, None, None);
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(a) => ip = Some(*a),
            AddressAttribute::Local(a) => local = Some(*a),
            AddressAttribute::Broadcast(a) => broadcast = Some(*a),
            AddressAttribute::Flags(f) => flags = *f,
            _ => {}
        }
    }
    Some(Address {
        dev: name_of(message.header.index, names),
        ip: local.or(ip)?,
        prefix: message.header.prefix_len,
        broadcast,
        scope: format!("{:?}", message.header.scope),
        tentative: flags.contains(AddressFlags::Tentative),
        dad_failed: flags.contains(AddressFlags::Dadfailed),
        no_dad: flags.contains(AddressFlags::Nodad),
    })
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

fn route(message: &RouteMessage, names: &Names) -> Route {
    let header = &message.header;
    let any = if header.address_family == AddressFamily::Inet { "0.0.0.0" } else { "::" };
    let mut destination = any.to_owned();
    let mut route = Route {
        table: u32::from(header.table),
        destination: String::new(),
        via: None,
        dev: String::new(),
        protocol: header.protocol.to_string(),
        scope: header.scope.to_string(),
        kind: format!("{:?}", header.kind),
        priority: 0,
        source: None,
        mtu: None,
        advmss: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Destination(a) => destination = plain(a).map_or(destination, |ip| ip.to_string()),
            RouteAttribute::Gateway(a) => route.via = plain(a),
            RouteAttribute::PrefSource(a) => route.source = plain(a),
            RouteAttribute::Oif(index) => route.dev = name_of(*index, names),
            RouteAttribute::Priority(priority) => route.priority = *priority,
            RouteAttribute::Metrics(metrics) => {
                for metric in metrics {
                    match metric {
                        RouteMetric::Mtu(mtu) => route.mtu = Some(*mtu),
                        RouteMetric::Advmss(mss) => route.advmss = Some(*mss),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    route.destination = format!("{destination}/{}", header.destination_prefix_length);
    route
}

fn neighbour(message: &NeighbourMessage, names: &Names) -> Option<Neighbour> {
    let (mut ip, mut address) = (None, String::new());
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => ip = Some(IpAddr::V4(*a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => ip = Some(IpAddr::V6(*a)),
            NeighbourAttribute::LinkLayerAddress(bytes) => address = mac(bytes),
            _ => {}
        }
    }
    let dev = name_of(message.header.ifindex, names);
    Some(Neighbour { dev, ip: ip?, mac: address, state: format!("{:?}", message.header.state) })
}

fn rule(message: &RuleMessage) -> Rule {
    let mut rule = Rule {
        family: format!("{:?}", message.header.family),
        priority: 0,
        from: "all".to_owned(),
        table: u32::from(message.header.table),
    };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Source(ip) => rule.from = format!("{ip}/{}", message.header.src_len),
            _ => {}
        }
    }
    rule
}
