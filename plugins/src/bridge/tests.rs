//! `bridge` with `host-local` on a model of a host.
#![allow(clippy::unwrap_used, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;

use picocni_core::name::{IfName, Mac};
use picocni_core::observe::Ns;
use picocni_core::op::Change;
use picocni_core::sim::SimBackend;

use super::Bridge;
use crate::proof::{call, prove, step};

const PLAIN: &str =
    r#"{"cniVersion":"1.1.0","name":"net","type":"bridge","ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}"#;
const FULL: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"br7","isDefaultGateway":true,"ipMasq":true,
    "hairpinMode":true,"mtu":1400,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00:1::/64"}]],
    "routes":[{"dst":"192.0.2.0/24"}]}}"#;
const VLANS: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"bridge","isDefaultGateway":true,"vlan":7,"vlanTrunk":[{"id":9},
    {"minID":100,"maxID":200}],"macspoofchk":true,"portIsolation":true,"ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}"#;
const LAYER_2: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"bridge"}"#;
const NETNS: &str = "/run/netns/a";

fn build(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
}

#[test]
fn every_operation_of_add_fails_once_and_nothing_is_left() {
    let count = |conf, observations| prove(&build, &[], step(&Bridge, "ADD", "c1", NETNS, conf), observations);
    assert_eq!((count(PLAIN, false), count(FULL, false), count(LAYER_2, false)), (11, 29, 6));
    assert!(count(FULL, true) >= 35);
}

#[test]
fn vlans_isolation_and_guard_are_undone_too() {
    let add = step(&Bridge, "ADD", "c1", NETNS, VLANS);
    assert!(prove(&build, &[], add, false) >= 18);
    assert!(prove(&build, &[], add, true) >= 20);
    assert!(prove(&build, &[add], step(&Bridge, "DEL", "c1", NETNS, VLANS), false) >= 4);
    assert!(prove(&build, &[add], step(&Bridge, "DEL", "c1", "", VLANS), false) >= 4);
    let gc = VLANS.replacen('{', r#"{"cni.dev/valid-attachments":[],"#, 1);
    assert!(prove(&build, &[add], step(&Bridge, "GC", "", "", &gc), false) >= 4);
    let mut sim = host();
    let result = call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, VLANS)).unwrap();
    assert!(result.contains(r#""name":"cni0.7"}"#), "the host's end on the VLAN comes fourth: {result}");
}

#[test]
fn a_failed_del_is_finished_by_the_next() {
    let before = [step(&Bridge, "ADD", "c1", NETNS, FULL)];
    assert!(prove(&build, &before, step(&Bridge, "DEL", "c1", NETNS, FULL), false) >= 5);
    assert!(prove(&build, &before, step(&Bridge, "DEL", "c1", "", FULL), false) >= 5);
}

#[test]
fn a_failed_gc_is_finished_by_the_next() {
    let before = [step(&Bridge, "ADD", "c1", NETNS, FULL)];
    let conf = FULL.replacen('{', r#"{"cni.dev/valid-attachments":[],"#, 1);
    assert!(prove(&build, &before, step(&Bridge, "GC", "", "", &conf), false) >= 5);
}

fn host() -> Box<SimBackend> {
    let mut sim = crate::proof::on_large_stack(|| Box::new(SimBackend::new()));
    build(&mut sim);
    sim
}

#[test]
fn add_check_del() {
    let mut sim = host();
    let result = call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, FULL)).unwrap();
    assert!(result.contains(r#""address":"10.1.0.2/24","gateway":"10.1.0.1","interface":2"#), "{result}");
    assert!(result.contains(r#""address":"fd00:1::2/64""#), "{result}");
    assert!(result.contains(r#"{"dst":"0.0.0.0/0","gw":"10.1.0.1"}"#), "{result}");
    let again = call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, FULL)).unwrap_err();
    assert!(again.contains("container interface exists already"), "{again}");
    let with_prev = FULL.replacen('{', &format!(r#"{{"prevResult":{result},"#), 1);
    call(&mut sim, &step(&Bridge, "CHECK", "c1", NETNS, &with_prev)).unwrap();
    let other = with_prev.replace("10.1.0.2/24", "10.1.0.9/24");
    let error = call(&mut sim, &step(&Bridge, "CHECK", "c1", NETNS, &other)).unwrap_err();
    assert!(error.contains("Failed to match addr"), "{error}");
    for _ in 0..2 {
        assert_eq!(call(&mut sim, &step(&Bridge, "DEL", "c1", NETNS, FULL)).unwrap(), "");
    }
    let error = call(&mut sim, &step(&Bridge, "CHECK", "c1", NETNS, &with_prev)).unwrap_err();
    assert!(error.contains("Failed to find address added by container"), "{error}");
}

#[test]
fn gc_keeps_what_is_valid() {
    let mut sim = host();
    sim.add_sandbox("/run/netns/b").unwrap();
    call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, FULL)).unwrap();
    call(&mut sim, &step(&Bridge, "ADD", "c2", "/run/netns/b", FULL)).unwrap();
    let keep = r#"{"cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}],"#;
    call(&mut sim, &step(&Bridge, "GC", "", "", FULL)).unwrap();
    assert!(eth0(&mut sim, "/run/netns/b"), "an absent list is not an empty list");
    call(&mut sim, &step(&Bridge, "GC", "", "", &FULL.replacen('{', keep, 1))).unwrap();
    assert!(eth0(&mut sim, NETNS));
    assert!(!eth0(&mut sim, "/run/netns/b"));
}

fn eth0(sim: &mut SimBackend, netns: &str) -> bool {
    use picocni_core::backend::Backend;
    sim.open_sandbox(netns).unwrap();
    sim.link(Ns::Sandbox, &IfName::of("eth0")).unwrap().is_some()
}

#[test]
fn a_default_route_of_the_ipam_plugin_is_enough() {
    let mut sim = host();
    let conf = FULL.replace("192.0.2.0/24", "0.0.0.0/0");
    let result = call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, &conf)).unwrap();
    assert_eq!((result.matches("0.0.0.0/0").count(), result.matches("::/0").count()), (1, 1), "{result}");
}

#[test]
fn refusals() {
    let mut sim = host();
    let conf = |extra: &str| -> String { PLAIN.replacen('{', &format!("{{{extra},"), 1) };
    for (extra, phrase) in [
        (r#""hairpinMode":true,"promiscMode":true"#, "cannot set hairpin mode and promiscuous mode at the same time"),
        (r#""disableContainerInterface":true"#, "cannot use IPAM when DisableContainerInterface flag is set"),
        (r#""vlan":4095"#, "invalid VLAN ID"),
        (r#""vlan":-1"#, "invalid VLAN ID"),
        (r#""vlanTrunk":[{"minID":0,"maxID":7}]"#, "incorrect trunk minID parameter"),
        (r#""vlanTrunk":[{"minID":1,"maxID":4095}]"#, "incorrect trunk maxID parameter"),
        (r#""vlanTrunk":[{"minID":8,"maxID":7}]"#, "minID is greater than maxID in trunk parameter"),
        (r#""vlanTrunk":[{"maxID":7}]"#, "minID and maxID should be configured simultaneously, minID is missing"),
        (r#""vlanTrunk":[{"minID":7}]"#, "minID and maxID should be configured simultaneously, maxID is missing"),
        (r#""vlanTrunk":[{"id":4095}]"#, "incorrect trunk id parameter"),
        (r#""bridge":"abcdefghijkl","isGateway":true,"vlan":4094"#, "gateway interface is too long"),
        (r#""mtu":-1"#, "invalid mtu"),
        (r#""ipMasq":true,"ipMasqBackend":"x""#, "unknown ipmasq backend"),
        (r#""runtimeConfig":{"mac":"nonsense"}"#, "invalid MAC address"),
        (r#""bridge":"a/b""#, "invalid bridge name"),
    ] {
        let error = call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, &conf(extra))).unwrap_err();
        assert!(error.contains(phrase), "{extra}: {error}");
    }
    assert!(call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, PLAIN)).is_ok(), "nothing was left by the refusals");
}

#[test]
fn another_gateway_on_the_bridge_is_a_conflict_unless_forced() {
    use picocni_core::backend::Backend;
    let mut sim = host();
    let name = IfName::of("cni0");
    sim.arrange(&[Change::EnsureBridge {
        name,
        mac: Mac([2, 0, 0, 0, 0, 9]),
        mtu: 0,
        promisc: false,
        vlan_filtering: false,
    }])
    .unwrap();
    let index = sim.link(Ns::Host, &name).unwrap().unwrap().index;
    let old = picocni_core::net::Cidr::parse("10.9.0.1/24").unwrap();
    sim.arrange(&[Change::EnsureAddress { index, cidr: old }]).unwrap();
    let gateway = PLAIN.replacen('{', r#"{"isGateway":true,"#, 1);
    let error = call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, &gateway)).unwrap_err();
    assert!(error.contains("already has an IP address different from") && error.contains("forceAddress"), "{error}");
    let forced = gateway.replacen('{', r#"{"forceAddress":true,"#, 1);
    call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, &forced)).unwrap();
    let mut addresses = std::vec::Vec::new();
    sim.addresses(Ns::Host, index, None, &mut |address| addresses.push(address.cidr)).unwrap();
    assert_eq!(addresses, [picocni_core::net::Cidr::parse("10.1.0.1/24").unwrap()]);
}

#[test]
fn a_foreign_ipam_plugin_that_fails_gets_a_del_and_its_error_is_passed_through() {
    let mut sim = host();
    sim.set_found(
        "ext",
        picocni_core::backend::Found::Foreign(picocni_core::text::fits(&[&"/opt/cni/bin/ext"]).unwrap()),
    )
    .unwrap();
    sim.set_script("/opt/cni/bin/ext", 1, br#"{"code":11,"msg":"pool is busy","details":"try later"}"#, "").unwrap();
    let conf = PLAIN.replace("host-local", "ext");
    let error = call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, &conf)).unwrap_err();
    assert_eq!(error, r#"{"code":11,"msg":"pool is busy","details":"try later"}"#);
    let commands: std::vec::Vec<_> = sim.exec_calls().iter().map(|call| call.command.as_str()).collect();
    assert_eq!(commands, ["ADD", "DEL"], "an ADD that fails half way is undone by its own DEL");
}
