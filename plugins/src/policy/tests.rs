//! `policy` on a model of a host.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

extern crate std;

mod configs;

use std::boxed::Box;
use std::format;
use std::string::String;

use picocni_core::backend::Backend;
use picocni_core::name::{IfIndex, IfName, Mac};
use picocni_core::observe::Ns;
use picocni_core::op::Change;
use picocni_core::sim::SimBackend;

use super::Policy;
use crate::proof::{call, on_large_stack, prove, step};

pub(super) const NETNS: &str = "/run/netns/pod";
const CALLS: [&str; 2] = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];

/// A pod on a bridge, with an address of each family.
pub(super) fn arrange(sim: &mut SimBackend) {
    let name = IfName::of("cni0");
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    sim.add_sandbox(NETNS).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    sim.arrange(&[Change::EnsureBridge { name, mac, mtu: 0, promisc: false, vlan_filtering: false }]).unwrap();
    let bridge = sim.link(Ns::Host, &name).unwrap().unwrap().index;
    pair(sim, Some(bridge));
}

fn pair(sim: &mut SimBackend, master: Option<IfIndex>) {
    let (host, peer) = (IfName::of("veth0"), IfName::of("eth0"));
    let (host_mac, peer_mac) = (Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 3]));
    sim.arrange(&[Change::CreateVeth { host, host_mac, peer, peer_mac, mtu: 0, master }]).unwrap();
}

/// A config behind that pod's interface.
pub(super) fn config(keys: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"net","type":"policy",{keys}"prevResult":{{"cniVersion":"1.1.0","interfaces":[
        {{"name":"veth0"}},{{"name":"eth0","sandbox":"{NETNS}"}}],"ips":[{{"address":"10.1.2.3/24","interface":1}},
        {{"address":"fd00::3/64","interface":1}},{{"address":"10.9.9.9/24","interface":0}}]}}}}"#
    )
}

const CLOSED: &str = r#""policyTypes":["Ingress","Egress"],"#;
const OPEN: &str = r#""ingress":[{}],"#;

/// Lines of the model that speak of policies.
fn policies(sim: &SimBackend) -> std::vec::Vec<String> {
    let snapshot = Box::new(sim.snapshot());
    snapshot.lines().filter(|line| line.contains("polic")).map(String::from).collect()
}

fn on_host(act: impl FnOnce(&mut SimBackend) + Send) {
    on_large_stack(|| {
        let mut sim = Box::new(SimBackend::new());
        arrange(&mut sim);
        act(&mut sim);
    });
}

#[test]
fn every_operation_fails_once() {
    let conf = config(CLOSED);
    let step = |command| step(&Policy, command, "c1", NETNS, &conf);
    // The record and the policy.
    assert_eq!(prove(&arrange, &[], step("ADD"), false), 2);
    // And the link, the packet filter and an earlier record are looked at.
    assert_eq!(prove(&arrange, &[], step("ADD"), true), 5);
    assert_eq!(prove(&arrange, &[step("ADD")], step("DEL"), false), 2);
    let gc = r#"{"cniVersion":"1.1.0","name":"net","type":"policy","cni.dev/valid-attachments":[]}"#;
    let gc = crate::proof::step(&Policy, "GC", "", "", gc);
    assert_eq!(prove(&arrange, &[step("ADD")], gc, false), 2);
}

/// It is replaced in one operation: the record stays as it is.
#[test]
fn a_repeated_add_is_one_operation() {
    let (closed, open) = (config(CLOSED), config(OPEN));
    let before = [step(&Policy, "ADD", "c1", NETNS, &closed)];
    // Its failure keeps the policy that was there.
    assert_eq!(prove(&arrange, &before, step(&Policy, "ADD", "c1", NETNS, &open), false), 1);
    on_host(|sim| {
        call(sim, &before[0]).unwrap();
        let first = policies(sim);
        call(sim, &step(&Policy, "ADD", "c1", NETNS, &open)).unwrap();
        let second = policies(sim);
        assert_eq!(first.len(), second.len());
        assert_ne!(first, second);
        call(sim, &step(&Policy, "CHECK", "c1", NETNS, &open)).unwrap();
        let error = call(sim, &step(&Policy, "CHECK", "c1", NETNS, &closed)).unwrap_err();
        assert!(error.contains("policy is not in force"), "{error}");
        // Without a policy it is lifted.
        call(sim, &step(&Policy, "ADD", "c1", NETNS, &config(""))).unwrap();
        assert_eq!(policies(sim), [""; 0]);
    });
}

#[test]
fn a_pod_is_known_by_its_addresses_and_its_bridge_port() {
    on_host(|sim| {
        let conf = config(CLOSED);
        let port = sim.link(Ns::Host, &IfName::of("veth0")).unwrap().unwrap().index;
        let result = call(sim, &step(&Policy, "ADD", "c1", NETNS, &conf)).unwrap();
        assert!(result.contains("10.9.9.9/24"), "{result}");
        let content = String::from_utf8(sim.file("/run/cni/picocni/policy/net:c1:eth0").unwrap().to_vec()).unwrap();
        assert_eq!(content, format!("port {}\naddress 10.1.2.3\naddress fd00::3\n", port.0));
    });
}

/// Without connection tracking on bridges only br_netfilter is left; it judges by addresses, so link-local ones count.
#[test]
fn a_kernel_that_does_not_track_bridges() {
    on_host(|sim| {
        sim.set_bridges_untracked(true);
        let conf = config(CLOSED);
        let status = r#"{"cniVersion":"1.1.0","name":"net","type":"policy"}"#;
        CALLS.iter().for_each(|key| sim.set_sysctl(Ns::Host, key, "0").unwrap());
        for key in CALLS {
            for command in ["ADD", "STATUS"] {
                let text = if command == "ADD" { conf.as_str() } else { status };
                let error = call(sim, &step(&Policy, command, "c1", NETNS, text)).unwrap_err();
                assert!(error.contains("\"code\":50,") && error.contains(key), "{command}: {error}");
            }
            assert_eq!(policies(sim), [""; 0]);
            sim.set_sysctl(Ns::Host, key, "1").unwrap();
        }
        call(sim, &step(&Policy, "STATUS", "c1", NETNS, status)).unwrap();
        call(sim, &step(&Policy, "ADD", "c1", NETNS, &conf)).unwrap();
        let content = String::from_utf8(sim.file("/run/cni/picocni/policy/net:c1:eth0").unwrap().to_vec()).unwrap();
        assert_eq!(content, "address 10.1.2.3\naddress fd00::3\naddress fe80::ff:fe00:3\n");
        call(sim, &step(&Policy, "CHECK", "c1", NETNS, &conf)).unwrap();
        sim.set_sysctl(Ns::Host, CALLS[0], "0").unwrap();
        let error = call(sim, &step(&Policy, "CHECK", "c1", NETNS, &conf)).unwrap_err();
        assert!(error.contains("\"code\":104,") && error.contains("cannot be enforced"), "{error}");
    });
}

#[test]
fn a_routed_pod_needs_nothing_of_bridges() {
    on_large_stack(|| {
        let mut sim = Box::new(SimBackend::new());
        sim.add_sandbox(NETNS).unwrap();
        sim.open_sandbox(NETNS).unwrap();
        pair(&mut sim, None);
        sim.set_bridges_untracked(true);
        call(&mut sim, &step(&Policy, "ADD", "c1", NETNS, &config(CLOSED))).unwrap();
        let content = String::from_utf8(sim.file("/run/cni/picocni/policy/net:c1:eth0").unwrap().to_vec()).unwrap();
        assert_eq!(content, "address 10.1.2.3\naddress fd00::3\n");
    });
}

#[test]
fn what_passes_by_the_packet_filter_is_refused() {
    on_large_stack(|| {
        let mut sim = Box::new(SimBackend::new());
        sim.add_sandbox(NETNS).unwrap();
        sim.open_sandbox(NETNS).unwrap();
        let conf = config(CLOSED);
        let add = |sim: &mut SimBackend| call(sim, &step(&Policy, "ADD", "c1", NETNS, &conf)).unwrap_err();
        assert!(add(&mut sim).contains("container interface not found"));
        let kind = picocni_core::observe::LinkKind::Dummy;
        sim.add_link(Ns::Sandbox, "eth0", kind, Mac([2, 0, 0, 0, 0, 3])).unwrap();
        let error = add(&mut sim);
        assert!(error.contains("policy cannot be enforced") && error.contains("\"code\":2,"), "{error}");
    });
}
