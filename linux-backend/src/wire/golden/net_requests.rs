//! Requests about addresses, routes, neighbours and rules, compared with those
//! of iproute2. Where we mean to differ, the test says so and why.
#![allow(clippy::indexing_slicing, reason = "tests")]

extern crate std;

use super::super::addr::{AF_INET, AF_INET6, AF_UNSPEC, DelAddr, DumpAddrs, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, NewAddr};
use super::super::neigh::{DumpNeighs, NUD_PERMANENT, NeighKey, NewNeigh};
use super::super::nlmsg::Mode;
use super::super::route::{DelRoute, DumpRoutes, GetRoute, NewRoute};
use super::super::rule::{DumpRules, SourceRule};
use super::compare::{identical, ip, parts, route_nests, same, same_route};
use super::{hex, iproute, written};

#[test]
fn addresses() {
    let mut new = NewAddr { index: 3, address: ip("10.88.0.1"), prefix: 24, flags: 0, scope: 0 };
    same(|b| new.emit(b, Mode::Exclusive, 1), iproute::ADDR4, 8, |_| None);
    new = NewAddr { address: ip("fd00:88::1"), prefix: 64, flags: IFA_F_NODAD, ..new };
    identical(|b| new.emit(b, Mode::Exclusive, 1), iproute::ADDR6);
    let del = DelAddr { index: 3, address: ip("10.88.0.1"), prefix: 24 };
    identical(|b| del.emit(b, 1), iproute::ADDR_DEL);
    identical(|b| DumpAddrs { family: AF_UNSPEC, index: 3 }.emit(b, 1), iproute::ADDR_DUMP);
}

#[test]
fn address_flags_and_broadcast() {
    let new = |address, prefix, flags| {
        let new = NewAddr { index: 3, address: ip(address), prefix, flags, scope: 253 };
        let (_, _, header, flat) = parts(&written(|b| new.emit(b, Mode::Replace, 1)), 8, |_| None);
        let find = |kind| flat.iter().find(|a| a.0 == [kind]).map(|a| a.1.clone());
        (header, find(4), find(8))
    };
    let long = new("fd00::1", 64, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
    assert_eq!(long, ([10, 64, 0, 253, 3, 0, 0, 0].to_vec(), None, Some([2, 2, 0, 0].to_vec())));
    assert_eq!(new("10.0.0.1", 31, 0).1, None);
    assert_eq!(new("10.0.0.1", 32, 0).1, None);
    assert_eq!(new("10.0.0.1", 30, 0).1, Some([10, 0, 0, 3].to_vec()));
    assert_eq!(new("10.0.0.1", 0, 0).1, Some([255; 4].to_vec()));
}

#[test]
fn routes() {
    let mut route = NewRoute {
        gateway: Some(ip("10.88.0.9")),
        oif: Some(3),
        prefsrc: Some(ip("10.88.0.1")),
        priority: Some(50),
        table: 1000,
        mtu: Some(1300),
        advmss: Some(1200),
        ..NewRoute::new(ip("192.0.2.0"), 24)
    };
    same_route(|b| route.emit(b, Mode::Exclusive, 1), iproute::ROUTE4);
    route = NewRoute { gateway: Some(ip("10.88.0.9")), oif: Some(3), ..NewRoute::new(ip("0.0.0.0"), 0) };
    identical(|b| route.emit(b, Mode::Append, 1), iproute::ROUTE_DEF);
    route = NewRoute { oif: Some(3), scope: 253, ..NewRoute::new(ip("198.51.100.0"), 24) };
    identical(|b| route.emit(b, Mode::Exclusive, 1), iproute::ROUTE_LINK);
    route = NewRoute {
        gateway: Some(ip("fd00:88::9")),
        oif: Some(3),
        priority: Some(7),
        ..NewRoute::new(ip("2001:db8::"), 32)
    };
    same_route(|b| route.emit(b, Mode::Exclusive, 1), iproute::ROUTE6);
}

#[test]
fn route_deletion_and_lookup() {
    let del = DelRoute {
        gateway: Some(ip("10.88.0.9")),
        oif: Some(3),
        priority: Some(50),
        table: 1000,
        ..DelRoute::new(ip("192.0.2.0"), 24)
    };
    same_route(|b| del.emit(b, 1), iproute::ROUTE_DEL);
    identical(|b| DelRoute::new(ip("0.0.0.0"), 0).emit(b, 1), iproute::ROUTE_DEL0);
    let of_kernel =
        DelRoute { oif: Some(1), prefsrc: Some(ip("127.0.0.1")), protocol: 2, ..DelRoute::new(ip("192.0.2.0"), 24) };
    same_route(|b| of_kernel.emit(b, 1), iproute::ROUTE_DEL_SRC);

    identical(|b| GetRoute { dst: ip("2001:db8::5"), oif: None }.emit(b, 1), iproute::ROUTE_GET6);
    // `ip` also asks which table it was (RTM_F_LOOKUP_TABLE); we do not need it.
    let ours = written(|b| GetRoute { dst: ip("192.0.2.5"), oif: None }.emit(b, 1));
    let mut theirs = parts(&hex(iproute::ROUTE_GET), 12, route_nests);
    assert_eq!(theirs.2[9], 0x10);
    theirs.2[9] = 0;
    assert_eq!(parts(&ours, 12, route_nests), theirs);
}

#[test]
fn route_dump() {
    let dump = DumpRoutes { family: AF_INET6, table: 254, oif: Some(3), protocol: 4, kind: 1 };
    let (kind, flags, header, flat) = parts(&written(|b| dump.emit(b, 1)), 12, route_nests);
    assert_eq!((kind, flags), (26, 0x301));
    assert_eq!(header, [10, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0]);
    assert_eq!(flat, [([4].to_vec(), [3, 0, 0, 0].to_vec())].to_vec());
    let dump = DumpRoutes { family: AF_INET, table: 1000, ..DumpRoutes::default() };
    let (_, _, header, flat) = parts(&written(|b| dump.emit(b, 1)), 12, route_nests);
    assert_eq!(header, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(flat, [([15].to_vec(), [0xe8, 3, 0, 0].to_vec())].to_vec());
}

#[test]
fn neighbours() {
    let key = NeighKey { index: 3, dst: ip("10.88.0.7") };
    let new = NewNeigh { index: 3, dst: key.dst, mac: [2, 0, 0, 0, 0, 7], state: NUD_PERMANENT };
    identical(|b| new.emit(b, Mode::Replace, 1), iproute::NEIGH_ADD);
    identical(|b| key.emit_get(b, 1), iproute::NEIGH_GET);
    identical(|b| DumpNeighs { family: AF_UNSPEC, index: Some(3) }.emit(b, 1), iproute::NEIGH_DUMP);
    // `ip` sends a state with a deletion; the kernel does not look at it.
    let mut theirs = parts(&hex(iproute::NEIGH_DEL), 12, |_| None);
    assert_eq!(theirs.2[8], 0x80);
    theirs.2[8] = 0;
    assert_eq!(parts(&written(|b| key.emit_del(b, 1)), 12, |_| None), theirs);
}

#[test]
fn rules() {
    let rule = SourceRule { src: ip("10.88.0.5"), prefix: 32, table: 1000, priority: Some(555) };
    same(|b| rule.emit_new(b, Mode::Exclusive, 1), iproute::RULE_ADD, 12, |_| None);
    let rule6 = SourceRule { src: ip("fd00:88::5"), prefix: 128, table: 100, priority: None };
    identical(|b| rule6.emit_new(b, Mode::Exclusive, 1), iproute::RULE_ADD2);
    identical(|b| DumpRules { family: AF_INET }.emit(b, 1), iproute::RULE_DUMP);
    // `ip` deletes a rule of whatever action; we only one that looks up a table.
    let mut theirs = parts(&hex(iproute::RULE_DEL), 12, |_| None);
    assert_eq!(theirs.2[7], 0);
    theirs.2[7] = 1;
    assert_eq!(parts(&written(|b| rule.emit_del(b, 1)), 12, |_| None), theirs);
}
