//! Ensure operations, sysctls, and snapshots with and without what is shared.

use super::*;
use crate::observe::LinkKind;
use crate::op::OnFailure;
use crate::sim::{Difference, EROFS};

fn value(sim: &mut SimBackend, ns: Ns, key: &str) -> Option<std::string::String> {
    let mut out = heapless::String::new();
    sim.sysctl(ns, key, &mut out).unwrap().then(|| out.as_str().into())
}

#[test]
fn ensured_things_have_no_inverse_and_are_shared() {
    let mut sim = host();
    let (before, before_unshared) = (state(&sim), unshared(&sim));
    let bridge = Change::EnsureBridge {
        name: IfName::of("br0"),
        mac: Mac([2; 6]),
        mtu: 1450,
        promisc: true,
        vlan_filtering: false,
    };
    assert_eq!(reports(&mut *sim, &[bridge]), [Ok(false)]);
    let index = index(&mut sim, Ns::Host, "br0");
    let rest = [
        Change::EnsureAddress { index, cidr: cidr("10.0.0.1/24") },
        Change::EnsureSysctl { key: "net/ipv4/ip_forward", value: "1", on_failure: OnFailure::Fail },
        bridge,
        Change::EnsureAddress { index, cidr: cidr("10.0.0.1/24") },
    ];
    assert!(rest.iter().all(Change::is_shared));
    assert_eq!(reports(&mut *sim, &rest), [Ok(false), Ok(false), Ok(false), Ok(false)]);
    let br0 = link(&mut sim, Ns::Host, "br0").unwrap();
    assert!(br0.up && br0.promisc && br0.mtu == 1450);
    assert_eq!(value(&mut sim, Ns::Host, "net/ipv6/conf/br0/accept_ra").as_deref(), Some("0"));
    assert_ne!(before, state(&sim));
    let mut seen = 0;
    before.differences(&state(&sim), &mut |difference| {
        assert!(matches!(difference, Difference::New(_)), "{difference:?}");
        seen += 1;
    });
    assert_eq!(seen, 4, "link, address and two sysctls");
    assert_eq!(before_unshared, unshared(&sim));
}

#[test]
fn an_existing_bridge_keeps_its_mac_and_a_stranger_is_refused() {
    let mut sim = host();
    let bridge =
        |mac| Change::EnsureBridge { name: IfName::of("br0"), mac, mtu: 0, promisc: false, vlan_filtering: false };
    sim.arrange(&[bridge(Mac([2; 6])), bridge(Mac([4; 6]))]).unwrap();
    assert_eq!(link(&mut sim, Ns::Host, "br0").unwrap().mac, Mac([2; 6]));
    sim.add_link(Ns::Host, "ens3", LinkKind::Other, Mac([2; 6])).unwrap();
    let other = Change::EnsureBridge {
        name: IfName::of("ens3"),
        mac: Mac([2; 6]),
        mtu: 0,
        promisc: false,
        vlan_filtering: false,
    };
    assert_eq!(sim.arrange(&[other]).unwrap_err().code().0, 103);
}

#[test]
fn what_is_not_shared_stays_visible() {
    let mut sim = host();
    let before = unshared(&sim);
    let write = |value| Change::WriteSysctl {
        ns: Ns::Host,
        key: "net/ipv4/ip_forward",
        value,
        undo: Undo::Restore,
        on_failure: OnFailure::Fail,
    };
    sim.arrange(&[write("1")]).unwrap();
    assert_ne!(before, unshared(&sim));
    sim.arrange(&[write("0")]).unwrap();
    assert_eq!(before, unshared(&sim), "the default leaves no trace");
    // An ensured value that a plugin overwrites is no longer hidden.
    let ensured = Change::EnsureSysctl { key: "net/ipv4/ip_forward", value: "1", on_failure: OnFailure::Fail };
    sim.arrange(&[ensured]).unwrap();
    assert_eq!(before, unshared(&sim));
    there_and_back(&mut sim, write("0"));
    sim.arrange(&[write("0")]).unwrap();
    assert_ne!(before, unshared(&sim));
}

#[test]
fn sysctls_appear_and_go_with_their_links() {
    let mut sim = host();
    let key = "net/ipv6/conf/eth0/disable_ipv6";
    assert_eq!(value(&mut sim, Ns::Sandbox, key), None);
    let write = |on_failure| Change::WriteSysctl { ns: Ns::Sandbox, key, value: "1", undo: Undo::Restore, on_failure };
    assert_eq!(code(&sim.arrange(&[write(OnFailure::Fail)]).unwrap_err()), (101, 2));
    assert_eq!(reports(&mut *sim, &[write(OnFailure::Ignore)]), [Ok(false)]);
    sim.arrange(&[veth()]).unwrap();
    assert_eq!(value(&mut sim, Ns::Sandbox, key).as_deref(), Some("0"));
    sim.set_read_only_sysctls(true);
    assert_eq!(code(&sim.arrange(&[write(OnFailure::Fail)]).unwrap_err()), (101, EROFS));
    sim.set_read_only_sysctls(false);
    sim.arrange(&[write(OnFailure::Fail)]).unwrap();
    assert_eq!(value(&mut sim, Ns::Sandbox, key).as_deref(), Some("1"));
    remove(&mut *sim, Removal::DeleteLink { ns: Ns::Sandbox, name: IfName::of("eth0") }).unwrap();
    assert_eq!(value(&mut sim, Ns::Sandbox, key), None);
    sim.arrange(&[veth()]).unwrap();
    assert_eq!(value(&mut sim, Ns::Sandbox, key).as_deref(), Some("0"), "a new link, a new value");
}

#[test]
fn a_value_that_cannot_be_kept_is_not_overwritten() {
    let mut sim = host();
    let long = "x".repeat(crate::limits::SYSCTL_VALUE + 1);
    sim.set_sysctl(Ns::Host, "net/core/long", &long).unwrap();
    let write = Change::WriteSysctl {
        ns: Ns::Host,
        key: "net/core/long",
        value: "1",
        undo: Undo::Restore,
        on_failure: OnFailure::Fail,
    };
    assert_eq!(sim.arrange(&[write]).unwrap_err().code().0, 100);
    assert_eq!(sim.sysctl(Ns::Host, "net/core/long", &mut heapless::String::new()).unwrap_err().code().0, 100);
}
