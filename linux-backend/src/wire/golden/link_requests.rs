//! Requests about links, compared with those of iproute2. Where we mean to
//! differ, the test says so and why.
#![allow(clippy::indexing_slicing, reason = "tests")]

extern crate std;

use super::super::addr::AF_UNSPEC;
use super::super::bridge_vlan::{self, Range};
use super::super::link::{
    BridgePort, DelLink, DumpLinks, GetLink, IFF_ALLMULTI, IFF_PROMISC, IFF_UP, LinkKind, NewLink, SetLink, Target,
    VethPeer,
};
use super::compare::{Flat, LINK_HEADER, identical, link_nests, parts, same_link};
use super::{hex, iproute, written};
use std::vec::Vec;

#[test]
fn new_bridge() {
    let mut link = NewLink::new("cni0", LinkKind::Bridge { vlan_filtering: None });
    link.mtu = Some(1450);
    link.mac = Some([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]);
    same_link(|b| link.emit(b, 1), iproute::BR_NEW);
    link.mac = None;
    link.kind = LinkKind::Bridge { vlan_filtering: Some(true) };
    same_link(|b| link.emit(b, 1), iproute::BR_NEW_VLAN);
}

#[test]
fn new_veth() {
    let mut peer = VethPeer { name: "vp1", mac: Some([2, 0, 0, 0, 0, 2]), mtu: Some(1450), ..VethPeer::default() };
    let mut link = NewLink::new("vh1", LinkKind::Veth { peer });
    link.mtu = Some(1450);
    link.mac = Some([2, 0, 0, 0, 0, 1]);
    same_link(|b| link.emit(b, 1), iproute::VETH_NEW);

    peer = VethPeer { name: "eth0", netns_fd: Some(4), ..VethPeer::default() };
    link = NewLink::new("vh2", LinkKind::Veth { peer });
    link.mtu = Some(1450);
    link.master = Some(3);
    same_link(|b| link.emit(b, 1), iproute::VETH_NS);
}

#[test]
fn new_link_up() {
    let link = NewLink {
        up: true,
        ..NewLink::new("v", LinkKind::Veth { peer: VethPeer { name: "w", ..VethPeer::default() } })
    };
    let bytes = written(|b| link.emit(b, 1));
    let (_, _, header, flat) = parts(&bytes, LINK_HEADER, link_nests);
    assert_eq!(header, [&[0u8; 8][..], &[1, 0, 0, 0, 1, 0, 0, 0]].concat());
    // The peer cannot be up yet.
    assert!(flat.contains(&([18, 2, 1].to_vec(), [0; 16].to_vec())));
}

#[test]
fn set_link() {
    let by_index = |index| SetLink::new(Target::Index(index));
    identical(|b| by_index(3).flag(IFF_UP | IFF_PROMISC, true).emit(b, 1), iproute::SET_UP);
    identical(|b| SetLink { master: Some(3), ..by_index(5) }.emit(b, 1), iproute::SET_MASTER);
    identical(|b| SetLink { master: Some(0), ..by_index(6) }.emit(b, 1), iproute::SET_NOMASTER);
    identical(|b| SetLink { group: Some(77), ..by_index(6) }.emit(b, 1), iproute::SET_GROUP);
    let set = SetLink {
        alias: Some("picocni:net/abc/eth0"),
        mtu: Some(1400),
        txqlen: Some(500),
        ..by_index(5).flag(IFF_UP, true)
    };
    same_link(|b| set.emit(b, 1), iproute::SET_ALIAS);
    let rename = SetLink {
        mac: Some([2, 0, 0, 0, 0, 9]),
        ..SetLink::new(Target::Rename { index: 4, to: "eth9" }).flag(IFF_UP | IFF_ALLMULTI, true)
    };
    same_link(|b| rename.emit(b, 1), iproute::SET_RENAME);
}

/// iproute2 has no word for it: the bytes are those of rtnl_link_inet_fill and the policy of net/ipv4/devinet.c.
#[test]
fn set_arp_notify() {
    let set = SetLink { arp_notify: Some(true), ..SetLink::new(Target::Index(5)) };
    let bytes = written(|b| set.emit(b, 1));
    let attributes = [
        &[20, 0, 26, 0x80][..], // IFLA_AF_SPEC
        &[16, 0, 2, 0x80],      // AF_INET
        &[12, 0, 1, 0x80],      // IFLA_INET_CONF
        &[8, 0, 22, 0, 1, 0, 0, 0],
    ]
    .concat();
    assert_eq!(bytes.get(bytes.len() - attributes.len()..), Some(&attributes[..]));
}

#[test]
fn set_link_by_name_and_netns() {
    let set = SetLink { netns_fd: Some(9), ..SetLink::new(Target::Name("eth9")).flag(IFF_UP, false) };
    let (_, _, header, flat) = parts(&written(|b| set.emit(b, 1)), LINK_HEADER, link_nests);
    assert_eq!(header, [&[0u8; 12][..], &[1, 0, 0, 0]].concat());
    let expected: Flat = [([3].to_vec(), b"eth9\0".to_vec()), ([28].to_vec(), [9, 0, 0, 0].to_vec())].to_vec();
    assert_eq!(flat, expected);
}

/// `ip` names the kind of its own making `bridge_slave` in `IFLA_INFO_KIND`,
/// which the kernel does not look at; we name the master's in
/// `IFLA_INFO_SLAVE_KIND`, as the kernel does when it tells about a port.
#[test]
fn set_bridge_port() {
    let port = BridgePort { hairpin: Some(true), isolated: Some(true) };
    let set = SetLink { port: Some(port), ..SetLink::new(Target::Index(5)) };
    let ours = parts(&written(|b| set.emit(b, 1)), LINK_HEADER, link_nests);
    let mut theirs = parts(&hex(iproute::SET_PORT), LINK_HEADER, link_nests);
    for (path, payload) in &mut theirs.3 {
        if path.as_slice() == [18, 1] {
            assert_eq!(payload.as_slice(), b"bridge_slave");
            *path = [18, 4].to_vec();
            *payload = b"bridge".to_vec();
        }
    }
    theirs.3.sort();
    assert_eq!(ours, theirs);
}

#[test]
fn delete_link() {
    identical(|b| DelLink::Index(5).emit(b, 1), iproute::DEL_LINK);
    identical(|b| DelLink::Group(77).emit(b, 1), iproute::DEL_GROUP);
    let (kind, _, header, flat) = parts(&written(|b| DelLink::Name("vh1").emit(b, 1)), LINK_HEADER, link_nests);
    assert_eq!((kind, header), (17, [0; 16].to_vec()));
    assert_eq!(flat, [([3].to_vec(), b"vh1\0".to_vec())].to_vec());
}

/// `ip` asks for SR-IOV functions (bit 0 of the mask) and for the family it
/// was called with; we ask for neither, and for less of the counters (bit 3).
#[test]
fn dump_links() {
    for (dump, theirs) in [
        (DumpLinks { master: Some(3), kind: None }, iproute::DUMP_MASTER),
        (DumpLinks { master: None, kind: Some("veth") }, iproute::DUMP_TYPE),
    ] {
        let ours = parts(&written(|b| dump.emit(b, 1)), LINK_HEADER, link_nests);
        let mut theirs = parts(&hex(theirs), LINK_HEADER, link_nests);
        theirs.2[0] = AF_UNSPEC;
        for (path, mask) in &mut theirs.3 {
            if path.as_slice() == [29] {
                assert_eq!(mask.as_slice(), [1, 0, 0, 0]);
                *mask = [8, 0, 0, 0].to_vec();
            }
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn get_link() {
    let (kind, flags, header, flat) = parts(&written(|b| GetLink::Name("vh1").emit(b, 1)), LINK_HEADER, link_nests);
    assert_eq!((kind, flags, header), (18, 1, [0; 16].to_vec()));
    let mask: (Vec<u16>, Vec<u8>) = ([29].to_vec(), [8, 0, 0, 0].to_vec());
    assert_eq!(flat, [([3].to_vec(), b"vh1\0".to_vec()), mask.clone()].to_vec());
    let (_, _, header, flat) = parts(&written(|b| GetLink::Index(7).emit(b, 1)), LINK_HEADER, link_nests);
    assert_eq!(header[4..8], [7, 0, 0, 0]);
    assert_eq!(flat, [mask].to_vec());
}

/// As `link_nests`, where attribute 1 of INFO_DATA is a number and no veth peer.
fn kind_nests(path: &[u16]) -> Option<usize> {
    matches!(path, [18] | [18, 2]).then_some(0)
}

#[test]
fn new_links_on_a_parent() {
    let same = |link: &NewLink<'_>, theirs: &str| {
        let (ours, theirs) = (written(|b| link.emit(b, 1)), hex(theirs));
        assert_eq!(parts(&ours, LINK_HEADER, kind_nests), parts(&theirs, LINK_HEADER, kind_nests));
    };
    let on = |name, kind| NewLink { link: Some(3), ..NewLink::new(name, kind) };
    let macvlan = LinkKind::Macvlan { mode: 1, broadcast_queue: Some(500) };
    let own = Some([2, 0, 0, 0, 0, 1]);
    let link = NewLink { mac: own, mtu: Some(1400), ..on("mv0", macvlan) };
    same(&link, iproute::MACVLAN_NEW);
    same(&on("m0.7", LinkKind::Vlan { id: 7 }), iproute::VLAN_NEW);
    same(&NewLink { mac: own, ..NewLink::new("d0", LinkKind::Dummy) }, iproute::DUMMY_NEW);
    same(&NewLink::new("red", LinkKind::Vrf { table: 1001 }), iproute::VRF_NEW);
    // iproute2 also says that no flag is set (IFLA_IPVLAN_FLAGS), which is the kernel's default.
    let bytes = written(|b| on("iv0", LinkKind::Ipvlan { mode: 2 }).emit(b, 1));
    let theirs = hex(iproute::IPVLAN_NEW);
    let (ours, theirs) = (parts(&bytes, LINK_HEADER, kind_nests), parts(&theirs, LINK_HEADER, kind_nests));
    let without_flags: Flat = theirs.3.into_iter().filter(|(path, _)| *path != [18, 2, 2]).collect();
    assert_eq!(ours.3, without_flags);
}

#[test]
fn vlans_of_a_port() {
    let range = |first, last, untagged| core::iter::once(Range { first, last, untagged });
    let same = |bytes: &[u8], theirs: &str| {
        // IFLA_AF_SPEC holds attributes.
        let nests = |path: &[u16]| (*path == [26]).then_some(0);
        assert_eq!(parts(bytes, LINK_HEADER, nests), parts(&hex(theirs), LINK_HEADER, nests));
    };
    same(&written(|b| bridge_vlan::add(b, 1, 4, range(7, 7, true))), iproute::BRIDGE_VLAN_ADD);
    same(&written(|b| bridge_vlan::add(b, 1, 4, range(100, 200, false))), iproute::BRIDGE_VLAN_RANGE);
    same(&written(|b| bridge_vlan::del(b, 1, 4, range(1, 4094, false))), iproute::BRIDGE_VLAN_DEL);
}
