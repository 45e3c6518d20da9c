//! Changes a test makes to the calling thread's network namespace before the plugin runs.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Snapshot, socket};

fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

fn create(name: &str, info: Vec<LinkInfo>) {
    try_create(name, None, info).unwrap_or_else(|e| panic!("link {name}: {e}"));
}

/// Makes a link, on another one if it is of such a type.
pub(super) fn try_create(name: &str, lower: Option<&str>, info: Vec<LinkInfo>) -> io::Result<()> {
    let mut link = named(name);
    if let Some(lower) = lower {
        link.attributes.push(LinkAttribute::Link(Snapshot::here().link(lower).index));
    }
    link.attributes.push(LinkAttribute::LinkInfo(info));
    socket::change(NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLink(link))
}

/// Puts a qdisc at the root of what a link sends through.
pub(super) fn try_qdisc(name: &str, kind: &str) -> io::Result<()> {
    let mut qdisc = TcMessage::default();
    qdisc.header.index = i32::try_from(Snapshot::here().link(name).index).expect("an index");
    qdisc.header.parent = TcHandle::ROOT;
    qdisc.attributes.push(TcAttribute::Kind(kind.to_owned()));
    socket::change(NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewQueueDiscipline(qdisc))
}

/// Takes away the qdisc that sees what a link receives, with its filters.
pub fn delete_ingress(name: &str) {
    let mut qdisc = TcMessage::default();
    qdisc.header.index = i32::try_from(Snapshot::here().link(name).index).expect("an index");
    qdisc.header.parent = TcHandle::INGRESS;
    qdisc.header.handle = TcHandle { major: 0xffff, minor: 0 };
    let request = RouteNetlinkMessage::DelQueueDiscipline(qdisc);
    socket::change(0, request).unwrap_or_else(|e| panic!("ingress qdisc of {name}: {e}"));
}

/// Takes away the qdisc at the root of what a link sends through.
pub fn delete_root(name: &str) {
    let mut qdisc = TcMessage::default();
    qdisc.header.index = i32::try_from(Snapshot::here().link(name).index).expect("an index");
    qdisc.header.parent = TcHandle::ROOT;
    let request = RouteNetlinkMessage::DelQueueDiscipline(qdisc);
    socket::change(0, request).unwrap_or_else(|e| panic!("qdisc of {name}: {e}"));
}

/// Makes a link of a kind that has no settings.
pub fn plain(name: &str, kind: InfoKind) {
    create(name, vec![LinkInfo::Kind(kind)]);
}

/// Makes a bridge.
pub fn bridge(name: &str) {
    create(name, vec![LinkInfo::Kind(InfoKind::Bridge)]);
}

/// Makes a veth pair, both ends here.
pub fn veth(name: &str, peer: &str) {
    create(name, vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(named(peer))))]);
}

/// Sets a link up.
pub fn up(name: &str) {
    flags(name, LinkFlags::Up, LinkFlags::Up);
}

/// Sets a link down.
pub fn down(name: &str) {
    flags(name, LinkFlags::empty(), LinkFlags::Up);
}

fn flags(name: &str, flags: LinkFlags, mask: LinkFlags) {
    let mut link = named(name);
    link.header.flags = flags;
    link.header.change_mask = mask;
    socket::change(0, RouteNetlinkMessage::NewLink(link)).unwrap_or_else(|e| panic!("link {name}: {e}"));
}

/// Sets one attribute of a link.
pub fn set(name: &str, attribute: LinkAttribute) {
    let mut link = named(name);
    link.attributes.push(attribute);
    socket::change(0, RouteNetlinkMessage::NewLink(link)).unwrap_or_else(|e| panic!("link {name}: {e}"));
}

/// Makes `port` a port of `master`.
pub fn enslave(port: &str, master: &str) {
    set(port, LinkAttribute::Controller(Snapshot::here().link(master).index));
}

/// Sets the alias of a link.
pub fn alias(name: &str, text: &str) {
    set(name, LinkAttribute::IfAlias(text.to_owned()));
}

/// Sets the MTU of a link, in bytes.
pub fn mtu(name: &str, mtu: u32) {
    set(name, LinkAttribute::Mtu(mtu));
}

/// Removes a link.
pub fn delete(name: &str) {
    let request = RouteNetlinkMessage::DelLink(named(name));
    socket::change(0, request).unwrap_or_else(|e| panic!("link {name}: {e}"));
}

/// Gives a link an address, `192.0.2.1/24` style.
pub fn address(name: &str, cidr: &str) {
    let (ip, prefix) = cidr.split_once('/').expect("address/prefix");
    let ip: IpAddr = ip.parse().expect("an IP address");
    let mut message = AddressMessage::default();
    message.header.index = Snapshot::here().link(name).index;
    message.header.prefix_len = prefix.parse().expect("a prefix length");
    message.header.family = family(ip);
    message.attributes.push(AddressAttribute::Local(ip));
    message.attributes.push(AddressAttribute::Address(ip));
    socket::change(NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewAddress(message))
        .unwrap_or_else(|e| panic!("address {cidr} on {name}: {e}"));
}

/// Takes a port off its bridge.
pub fn release(port: &str) {
    set(port, LinkAttribute::Controller(0));
}

/// Takes all addresses off a link that it did not get by itself.
pub fn delete_addresses(name: &str) {
    let here = Snapshot::here();
    for address in here.addresses.iter().filter(|a| a.dev == name && !a.is_link_local()) {
        let mut message = AddressMessage::default();
        message.header.index = here.link(name).index;
        message.header.prefix_len = address.prefix;
        message.header.family = family(address.ip);
        message.attributes.push(AddressAttribute::Local(address.ip));
        let request = RouteNetlinkMessage::DelAddress(message);
        socket::change(0, request).unwrap_or_else(|e| panic!("address {} on {name}: {e}", address.ip));
    }
}

/// Adds a route to `destination` (`0.0.0.0/0` for the default) through `via`.
pub fn route(destination: &str, via: &str) {
    let (ip, prefix) = destination.split_once('/').expect("address/prefix");
    let ip: IpAddr = ip.parse().expect("an IP address");
    let mut message = RouteMessage::default();
    message.header.address_family = family(ip);
    message.header.destination_prefix_length = prefix.parse().expect("a prefix length");
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    if message.header.destination_prefix_length > 0 {
        message.attributes.push(RouteAttribute::Destination(route_address(ip)));
    }
    message.attributes.push(RouteAttribute::Gateway(route_address(via.parse().expect("an IP address"))));
    socket::change(NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewRoute(message))
        .unwrap_or_else(|e| panic!("route {destination} via {via}: {e}"));
}

fn route_address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

/// Removes the IPv4 default route.
pub fn delete_default_route() {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.scope = RouteScope::NoWhere;
    let request = RouteNetlinkMessage::DelRoute(message);
    socket::change(0, request).unwrap_or_else(|e| panic!("default route: {e}"));
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Gives a link another MAC, `02:00:00:00:00:01` style.
///
/// # Panics
/// When it is none.
pub fn mac(name: &str, mac: &str) {
    let bytes = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a MAC")).collect();
    set(name, LinkAttribute::Address(bytes));
}
