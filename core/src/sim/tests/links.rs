//! Links, addresses, routes, and the rtnetlink batch rule.

use super::*;
use crate::observe::{LinkKind, Route};
use crate::sim::{EACCES, EEXIST, ENETDOWN, ENETUNREACH, ENODEV, EOPNOTSUPP};

#[test]
fn deleting_one_end_of_a_veth_takes_the_other_and_all_that_hangs_on_them() {
    let mut sim = host();
    let before = state(&sim);
    sim.arrange(&[veth(), set(Ns::Host, "veth1", up())]).unwrap();
    let (outer, inner) = (index(&mut sim, Ns::Host, "veth1"), index(&mut sim, Ns::Sandbox, "eth0"));
    assert_ne!(outer, inner);
    assert_eq!(link(&mut sim, Ns::Host, "veth1").unwrap().peer, Some(inner));
    assert_eq!(link(&mut sim, Ns::Sandbox, "eth0").unwrap().mtu, 1400);
    sim.arrange(&[
        set(Ns::Sandbox, "eth0", up()),
        Change::AddAddress { ns: Ns::Sandbox, index: inner, cidr: cidr("10.0.0.2/24"), dad: false, prefix_route: true },
        Change::AddRoute {
            ns: Ns::Sandbox,
            index: inner,
            route: Route { gw: Some(ip("10.0.0.1")), ..Route::to(cidr("0.0.0.0/0")) },
        },
        Change::WriteSysctl {
            ns: Ns::Sandbox,
            key: "net/ipv4/conf/eth0/arp_notify",
            value: "1",
            undo: Undo::WithLink,
            on_failure: crate::op::OnFailure::Fail,
        },
    ])
    .unwrap();
    sim.add_neighbour(outer, ip("10.0.0.2"), Mac([2; 6])).unwrap();
    assert_ne!(before, state(&sim));
    remove(&mut *sim, Removal::DeleteLink { ns: Ns::Host, name: IfName::of("veth1") }).unwrap();
    assert_eq!(before, state(&sim));
    // A missing target is success, and lo stays.
    remove(&mut *sim, Removal::DeleteLink { ns: Ns::Host, name: IfName::of("veth1") }).unwrap();
    let lo = remove(&mut *sim, Removal::DeleteLink { ns: Ns::Host, name: IfName::of("lo") }).unwrap_err();
    assert_eq!(code(&lo), (101, EOPNOTSUPP));
}

#[test]
fn a_sandbox_takes_its_links_and_their_host_peers_along() {
    let mut sim = host();
    let mut identity = heapless::String::new();
    sim.sandbox_identity(&mut identity);
    sim.arrange(&[veth()]).unwrap();
    assert!(sim.sandbox_lives(A, &identity));
    sim.remove_sandbox(A);
    assert!(link(&mut sim, Ns::Host, "veth1").is_none());
    assert!(sim.link(Ns::Sandbox, &IfName::of("lo")).is_err(), "no sandbox is open");
    assert_eq!(sim.open_sandbox(A).unwrap(), Sandbox::Missing);
    sim.add_sandbox(A).unwrap();
    assert!(!sim.sandbox_lives(A, &identity), "the same path, another sandbox");
    assert_eq!(sim.open_sandbox(A).unwrap(), Sandbox::Open);
    assert!(!sim.sandbox_is_own().unwrap());
    sim.set_own_sandbox(A).unwrap();
    assert!(sim.sandbox_is_own().unwrap());
    sim.add_not_a_sandbox("/etc/hosts").unwrap();
    assert_eq!(sim.open_sandbox("/etc/hosts").unwrap_err().code().0, 8);
}

#[test]
fn an_rtnetlink_batch_goes_on_and_the_next_batch_does_not_begin() {
    let mut sim = host();
    sim.arrange(&[veth()]).unwrap();
    let (outer, lo) = (index(&mut sim, Ns::Host, "veth1"), IfIndex(1));
    let all = reports(
        &mut *sim,
        &[
            Change::AddAddress {
                ns: Ns::Host,
                index: outer,
                cidr: cidr("10.9.0.1/24"),
                dad: false,
                prefix_route: true,
            },
            Change::AddAddress {
                ns: Ns::Host,
                index: outer,
                cidr: cidr("10.9.0.1/24"),
                dad: false,
                prefix_route: true,
            },
            set(Ns::Host, "veth1", up()),
            set(Ns::Sandbox, "lo", up()),
            Change::Masquerade { ip: ip("10.9.0.2"), net: cidr("10.9.0.0/24"), tag: "t" },
        ],
    );
    assert_eq!(all[0], Ok(true));
    assert_eq!(code(all[1].as_ref().unwrap_err()), (101, EEXIST));
    assert_eq!(all[2], Ok(true), "the rest of the batch is applied");
    for late in &all[3..] {
        let error = late.as_ref().unwrap_err();
        assert_eq!((error.code().0, error.msg()), (999, "not applied"));
    }
    assert!(link(&mut sim, Ns::Host, "veth1").unwrap().up);
    assert!(!link(&mut sim, Ns::Sandbox, "lo").unwrap().up);
    assert!(!sim.is_masqueraded(ip("10.9.0.2"), "t").unwrap());
    assert!(addresses(&mut sim, Ns::Sandbox, lo).is_empty());
}

#[test]
fn inverses_bring_back_what_was() {
    let mut sim = host();
    sim.arrange(&[veth(), set(Ns::Host, "veth1", LinkChange { mtu: Some(1300), ..up() })]).unwrap();
    let outer = index(&mut sim, Ns::Host, "veth1");
    there_and_back(
        &mut sim,
        set(Ns::Host, "veth1", LinkChange { mtu: Some(9000), up: Some(false), txqlen: Some(7), ..LinkChange::NONE }),
    );
    there_and_back(
        &mut sim,
        set(
            Ns::Host,
            "veth1",
            LinkChange { mac: Some(Mac([6; 6])), promisc: Some(true), allmulti: Some(true), ..up() },
        ),
    );
    let net = cidr("10.7.0.0/16");
    there_and_back(
        &mut sim,
        Change::AddAddress { ns: Ns::Host, index: outer, cidr: cidr("10.7.0.1/16"), dad: true, prefix_route: true },
    );
    there_and_back(&mut sim, Change::AddRoute { ns: Ns::Host, index: outer, route: Route::to(net) });
    let write = |undo| Change::WriteSysctl {
        ns: Ns::Host,
        key: "net/ipv4/conf/veth1/rp_filter",
        value: "2",
        undo,
        on_failure: crate::op::OnFailure::Fail,
    };
    there_and_back(&mut sim, write(Undo::Restore));
    assert_eq!(reports(&mut *sim, &[write(Undo::WithLink)]), [Ok(false)]);
    let mut value = heapless::String::new();
    assert!(sim.sysctl(Ns::Host, "net/ipv4/conf/veth1/rp_filter", &mut value).unwrap());
    assert_eq!(value, "2");
}

#[test]
fn an_inverse_holds_only_what_was_changed() {
    let mut sim = host();
    sim.arrange(&[veth()]).unwrap();
    let mut seen = false;
    sim.apply(
        &[set(Ns::Host, "veth1", LinkChange { mtu: Some(1400), alias: Some("tag"), ..up() })],
        &mut |_, outcome| {
            let Some(Removal::ResetLink { set, .. }) = outcome.unwrap() else { panic!("no inverse") };
            assert_eq!(set, LinkChange { up: Some(false), alias: Some(""), ..LinkChange::NONE });
            seen = true;
        },
    );
    assert!(seen);
    assert_eq!(reports(&mut *sim, &[set(Ns::Host, "veth1", up())]), [Ok(false)], "nothing to undo");
}

#[test]
fn the_kernel_s_refusals() {
    let mut sim = host();
    sim.arrange(&[veth()]).unwrap();
    let inner = index(&mut sim, Ns::Sandbox, "eth0");
    let default = Change::AddRoute {
        ns: Ns::Sandbox,
        index: inner,
        route: Route { gw: Some(ip("10.0.0.1")), ..Route::to(cidr("0.0.0.0/0")) },
    };
    let refusal = |sim: &mut SimBackend, change: Change<'_>| code(&sim.arrange(&[change]).unwrap_err());
    assert_eq!(refusal(&mut sim, default), (101, ENETDOWN));
    sim.arrange(&[set(Ns::Sandbox, "eth0", up())]).unwrap();
    assert_eq!(refusal(&mut sim, default), (101, ENETUNREACH));
    sim.arrange(&[
        Change::AddAddress { ns: Ns::Sandbox, index: inner, cidr: cidr("10.0.0.2/24"), dad: false, prefix_route: true },
        default,
    ])
    .unwrap();
    assert_eq!(refusal(&mut sim, default), (101, EEXIST));
    assert_eq!(refusal(&mut sim, veth()), (101, EEXIST));
    assert_eq!(refusal(&mut sim, set(Ns::Host, "nothing", up())), (101, ENODEV));
    sim.set_sysctl(Ns::Sandbox, "net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    let v6 =
        Change::AddAddress { ns: Ns::Sandbox, index: inner, cidr: cidr("fd00::2/64"), dad: false, prefix_route: true };
    assert_eq!(refusal(&mut sim, v6), (101, EACCES));
    sim.set_ipv6(false);
    assert_eq!(refusal(&mut sim, v6), (101, EOPNOTSUPP));
    let mut value = heapless::String::new();
    assert!(!sim.sysctl(Ns::Sandbox, "net/ipv6/conf/eth0/disable_ipv6", &mut value).unwrap());
}

#[test]
fn detection_of_duplicates_is_awaited() {
    let mut sim = host();
    sim.arrange(&[veth()]).unwrap();
    let inner = index(&mut sim, Ns::Sandbox, "eth0");
    let add =
        |text, dad| Change::AddAddress { ns: Ns::Sandbox, index: inner, cidr: cidr(text), dad, prefix_route: true };
    sim.arrange(&[add("fd00::2/64", true), add("fd00::3/64", false)]).unwrap();
    let tentative: Vec<bool> =
        addresses(&mut sim, Ns::Sandbox, inner).iter().map(|address| address.tentative).collect();
    assert_eq!(tentative, [true, false]);
    let wait = Change::AwaitAddresses { ns: Ns::Sandbox, index: inner };
    sim.arrange(&[wait]).unwrap();
    assert!(addresses(&mut sim, Ns::Sandbox, inner).iter().all(|address| !address.tentative));
    sim.add_duplicate(ip("fd00::4")).unwrap();
    sim.arrange(&[add("fd00::4/64", true)]).unwrap();
    assert_eq!(sim.arrange(&[wait]).unwrap_err().code().0, 103);
    assert!(addresses(&mut sim, Ns::Sandbox, inner).iter().any(|address| address.dad_failed));
}

#[test]
fn a_port_forwards_once_both_ends_and_the_bridge_are_up() {
    let mut sim = host();
    let name = IfName::of("br0");
    sim.arrange(&[Change::EnsureBridge { name, mac: Mac([2; 6]), mtu: 0, promisc: false, vlan_filtering: false }])
        .unwrap();
    let bridge = index(&mut sim, Ns::Host, "br0");
    let Change::CreateVeth { host, host_mac, peer, peer_mac, mtu, .. } = veth() else { panic!("a veth") };
    sim.arrange(&[
        Change::CreateVeth { host, host_mac, peer, peer_mac, mtu, master: Some(bridge) },
        set(Ns::Host, "veth1", up()),
    ])
    .unwrap();
    let wait = Change::AwaitForwarding { host };
    assert!(sim.arrange(&[wait]).is_err());
    assert!(!link(&mut sim, Ns::Host, "br0").unwrap().running);
    sim.arrange(&[set(Ns::Sandbox, "eth0", up()), wait]).unwrap();
    assert!(link(&mut sim, Ns::Host, "veth1").unwrap().forwarding);
    assert!(link(&mut sim, Ns::Host, "br0").unwrap().running);
    there_and_back(&mut sim, set(Ns::Host, "veth1", LinkChange { hairpin: Some(true), ..LinkChange::NONE }));
    remove(&mut *sim, Removal::DeleteLink { ns: Ns::Host, name }).unwrap();
    assert_eq!(link(&mut sim, Ns::Host, "veth1").unwrap().master, None);
}

#[test]
fn the_route_out_of_the_host_is_the_longest() {
    let mut sim = host();
    let outer = sim.add_link(Ns::Host, "ens3", LinkKind::Other, Mac([2; 6])).unwrap();
    assert!(sim.route_link(ip("9.9.9.9")).unwrap().is_none());
    sim.arrange(&[veth(), set(Ns::Host, "ens3", up()), set(Ns::Host, "veth1", up())]).unwrap();
    let inner = index(&mut sim, Ns::Host, "veth1");
    sim.arrange(&[
        Change::AddAddress { ns: Ns::Host, index: outer, cidr: cidr("192.0.2.2/24"), dad: false, prefix_route: true },
        Change::AddRoute {
            ns: Ns::Host,
            index: outer,
            route: Route { gw: Some(ip("192.0.2.1")), ..Route::to(cidr("0.0.0.0/0")) },
        },
        Change::AddRoute { ns: Ns::Host, index: inner, route: Route::to(cidr("10.0.0.2/32")) },
    ])
    .unwrap();
    assert_eq!(sim.route_link(ip("9.9.9.9")).unwrap().unwrap().index, outer);
    assert_eq!(sim.route_link(ip("10.0.0.2")).unwrap().unwrap().index, inner);
}

#[test]
fn lo_has_its_addresses_once_it_is_up() {
    let mut sim = host();
    there_and_back(&mut sim, set(Ns::Sandbox, "lo", up()));
    sim.arrange(&[set(Ns::Sandbox, "lo", up())]).unwrap();
    let own: Vec<Cidr> = addresses(&mut sim, Ns::Sandbox, IfIndex(1)).iter().map(|address| address.cidr).collect();
    assert_eq!(own, [cidr("127.0.0.1/8"), cidr("::1/128")]);
}
