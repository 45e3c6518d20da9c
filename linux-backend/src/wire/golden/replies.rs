//! What the kernel answered, read into full structs.

extern crate std;

use super::super::addr::Addr;
use super::super::link::{BridgePortState, Link};
use super::super::neigh::Neigh;
use super::super::route::{NextHop, NextHops, Route};
use super::super::rule::Rule;
use super::compare::ip;
use super::{hex, hurt, kernel, only};
use std::vec::Vec;

fn text<const N: usize>(text: &str) -> heapless::String<N> {
    heapless::String::try_from(text).unwrap_or_default()
}

fn check<T: PartialEq + core::fmt::Debug>(captured: &str, parse: fn(&super::Message<'_>) -> Option<T>, expected: T) {
    let bytes = hex(captured);
    assert_eq!(parse(&only(&bytes)), Some(expected));
    hurt(&bytes, parse);
    // A message of another kind is not taken for this one.
    let mut other = bytes;
    if let Some(kind) = other.get_mut(4) {
        *kind = kind.wrapping_add(1);
    }
    assert_eq!(parse(&only(&other)), None);
}

#[test]
fn bridge() {
    let expected = Link {
        index: 3,
        device_type: 1,
        flags: 0x1_1143,
        name: text("cni0"),
        mac: Some([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]),
        hardware_len: 6,
        mtu: 1400,
        txqlen: 1000,
        kind: text("bridge"),
        operstate: 6,
        promiscuity: 1,
        allmulti: Some(0),
        carrier: true,
        vlan_filtering: Some(false),
        ..Link::default()
    };
    check(kernel::BRIDGE, Link::parse, expected);
}

#[test]
fn bridge_port() {
    let expected = Link {
        index: 5,
        device_type: 1,
        flags: 0x1_1043,
        name: text("vh1"),
        mac: Some([2, 0, 0, 0, 0, 1]),
        hardware_len: 6,
        mtu: 1400,
        txqlen: 500,
        kind: text("veth"),
        slave_kind: text("bridge"),
        master: Some(3),
        link: Some(4),
        operstate: 6,
        promiscuity: 1,
        allmulti: Some(1),
        alias: text("picocni:net/abc/eth0"),
        carrier: true,
        bridge_port: Some(BridgePortState { state: 3, hairpin: true, isolated: true }),
        ..Link::default()
    };
    check(kernel::BRIDGE_PORT, Link::parse, expected);
}

#[test]
fn veth_with_peer_elsewhere() {
    let bytes = hex(kernel::VETH_ELSEWHERE);
    let link = Link::parse(&only(&bytes)).unwrap_or_default();
    // The kernel's random address differs from capture to capture.
    assert!(link.mac.is_some());
    let expected = Link {
        index: 6,
        device_type: 1,
        flags: 0x1002,
        name: text("vh2"),
        mac: link.mac,
        hardware_len: 6,
        mtu: 1450,
        txqlen: 1000,
        kind: text("veth"),
        link: Some(2),
        link_netnsid: Some(0),
        group: 77,
        operstate: 2,
        allmulti: Some(0),
        ..Link::default()
    };
    check(kernel::VETH_ELSEWHERE, Link::parse, expected);
}

#[test]
fn addresses() {
    let v4 = Addr {
        family: 2,
        prefix: 24,
        flags: 0x80,
        scope: 0,
        index: 3,
        local: ip("10.88.0.1"),
        address: ip("10.88.0.1"),
        label: text("cni0"),
    };
    check(kernel::ADDR4, Addr::parse, v4.clone());
    let point_to_point = Addr { prefix: 32, index: 2, local: ip("10.0.0.1"), address: ip("10.0.0.2"), ..v4 };
    check(kernel::ADDR_PEER, Addr::parse, point_to_point);
    let v6 = Addr {
        family: 10,
        prefix: 64,
        flags: 0x82,
        scope: 0,
        index: 3,
        local: ip("fd00:88::1"),
        address: ip("fd00:88::1"),
        label: text(""),
    };
    check(kernel::ADDR6, Addr::parse, v6.clone());
    let tentative = Addr {
        flags: 0xc0,
        scope: 253,
        local: ip("fe80::11:22ff:fe33:4455"),
        address: ip("fe80::11:22ff:fe33:4455"),
        ..v6
    };
    check(kernel::ADDR6_LL, Addr::parse, tentative);
}

fn route(dst: &str, prefix: u8) -> Route {
    Route {
        family: if ip(dst).is_ipv4() { 2 } else { 10 },
        dst: ip(dst),
        prefix,
        table: 254,
        protocol: 3,
        scope: 0,
        kind: 1,
        flags: 0,
        gateway: None,
        oif: Some(3),
        prefsrc: None,
        priority: 0,
        mtu: None,
        advmss: None,
        multipath: false,
    }
}

#[test]
fn routes() {
    let with_metrics = Route {
        table: 1000,
        gateway: Some(ip("10.88.0.9")),
        prefsrc: Some(ip("10.88.0.1")),
        priority: 50,
        mtu: Some(1300),
        advmss: Some(1200),
        ..route("192.0.2.0", 24)
    };
    check(kernel::ROUTE_TABLE, Route::parse, with_metrics);
    let default = Route { gateway: Some(ip("10.88.0.9")), ..route("0.0.0.0", 0) };
    check(kernel::ROUTE_DEFAULT, Route::parse, default);
    let via = Route { gateway: Some(ip("fd00:88::9")), ..route("203.0.113.0", 24) };
    check(kernel::ROUTE_VIA, Route::parse, via);
}

#[test]
fn looked_up_routes() {
    let v4 = Route {
        protocol: 0,
        // RTM_F_CLONED: made for this answer, in no table.
        flags: 0x200,
        gateway: Some(ip("10.88.0.9")),
        prefsrc: Some(ip("10.88.0.1")),
        ..route("10.99.1.1", 32)
    };
    check(kernel::ROUTE_GET4, Route::parse, v4);
    let v6 = Route {
        gateway: Some(ip("fd00:88::9")),
        prefsrc: Some(ip("fd00:88::1")),
        priority: 7,
        ..route("2001:db8::5", 128)
    };
    check(kernel::ROUTE_GET6, Route::parse, v6);
}

#[test]
fn multipath() {
    let expected = Route { oif: None, priority: 1024, multipath: true, ..route("2001:db8:1::", 48) };
    check(kernel::ROUTE_MULTIPATH, Route::parse, expected);
    let bytes = hex(kernel::ROUTE_MULTIPATH);
    let mut hops: Vec<NextHop> = NextHops::of(&only(&bytes)).collect();
    hops.sort_by_key(|hop| hop.gateway);
    let hop = |gateway| NextHop { oif: 3, gateway: Some(ip(gateway)), flags: 0, weight: 1 };
    assert_eq!(hops, [hop("fd00:88::9"), hop("fd00:88::a")]);
    hurt(&bytes, |m| NextHops::of(m).count());
    let single = hex(kernel::ROUTE_DEFAULT);
    assert_eq!(NextHops::of(&only(&single)).count(), 0);
}

#[test]
fn neighbours() {
    let v4 = Neigh { family: 2, index: 3, state: 0x80, flags: 0, dst: ip("10.88.0.7"), mac: Some([2, 0, 0, 0, 0, 7]) };
    check(kernel::NEIGH4, Neigh::parse, v4);
    let v6 =
        Neigh { family: 10, index: 3, state: 4, flags: 0, dst: ip("fd00:88::7"), mac: Some([2, 0, 0, 0, 0, 0x17]) };
    check(kernel::NEIGH6, Neigh::parse, v6);
}

#[test]
fn rules() {
    let source = Rule {
        family: 2,
        src: Some((ip("10.88.0.5"), 32)),
        dst: None,
        iif: text(""),
        table: 1000,
        action: 1,
        priority: 555,
        flags: 0,
        narrowed: false,
    };
    check(kernel::RULE_SRC, Rule::parse, source.clone());
    check(kernel::RULE_MARK, Rule::parse, Rule { narrowed: true, ..source.clone() });
    let local = Rule { src: None, table: 255, priority: 0, ..source };
    check(kernel::RULE_LOCAL, Rule::parse, local);
}

/// The bridge family tells about the port in another place, and less of the
/// link.
#[test]
fn bridge_family() {
    let expected = Link {
        index: 4,
        device_type: 1,
        flags: 0x1_1043,
        name: text("vh1"),
        mac: Some([2, 0, 0, 0, 0, 1]),
        hardware_len: 6,
        mtu: 1450,
        master: Some(2),
        link: Some(3),
        operstate: 6,
        bridge_port: Some(BridgePortState { state: 3, hairpin: false, isolated: true }),
        ..Link::default()
    };
    check(kernel::BRIDGE_FAMILY, Link::parse, expected);
    // In other families this attribute is not about a port.
    let mut other = hex(kernel::BRIDGE_FAMILY);
    if let Some(family) = other.get_mut(16) {
        *family = 10;
    }
    assert_eq!(Link::parse(&only(&other)).map(|link| link.bridge_port), Some(None));
}
