//! `firewall` on a model of a host.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;

use picocni_core::backend::Backend as _;
use picocni_core::name::{IfIndex, IfName, Mac};
use picocni_core::observe::{FirewallEntry, Ns};
use picocni_core::op::Change;
use picocni_core::sim::SimBackend;

use super::Firewall;
use super::choice::{Facts, decide};
use super::conf::{Backend, Policy};
use super::record::{Isolation, Record};
use crate::proof::{call, on_large_stack, prove, step};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const A: &str = "/run/netns/a";
const B: &str = "/run/netns/b";

/// Two pods on the bridge cni0.
fn build(sim: &mut SimBackend) {
    let bridge =
        Change::EnsureBridge { name: IfName::of("cni0"), mac: MAC, mtu: 0, promisc: false, vlan_filtering: false };
    sim.arrange(&[bridge]).unwrap();
    let master = sim.link(Ns::Host, &IfName::of("cni0")).unwrap().unwrap().index;
    for (netns, host) in [(A, "vetha"), (B, "vethb")] {
        sim.add_sandbox(netns).unwrap();
        sim.open_sandbox(netns).unwrap();
        sim.arrange(&[Change::CreateVeth {
            host: IfName::of(host),
            host_mac: MAC,
            peer: IfName::of("eth0"),
            peer_mac: MAC,
            mtu: 0,
            master: Some(master),
        }])
        .unwrap();
        sim.end_process();
    }
}

fn host() -> Box<SimBackend> {
    on_large_stack(|| {
        let mut sim = Box::new(SimBackend::new());
        build(&mut sim);
        sim
    })
}

fn conf(keys: &str, last: u8) -> String {
    format!(
        "{{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"type\":\"firewall\"{keys},\"prevResult\":{{\"cniVersion\":\"1.1.0\",\
         \"interfaces\":[{{\"name\":\"cni0\"}},{{\"name\":\"vetha\"}},{{\"name\":\"eth0\",\"sandbox\":\"{A}\"}}],\
         \"ips\":[{{\"interface\":2,\"address\":\"10.88.0.{last}/16\"}},{{\"interface\":2,\"address\":\"fd00::{last}/64\"}}]}}}}"
    )
}

const BARE: &str = "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"type\":\"firewall\",\"ingressPolicy\":\"nonsense\"}";
const EMPTY_GC: &str =
    "{\"cniVersion\":\"1.1.0\",\"name\":\"net\",\"type\":\"firewall\",\"cni.dev/valid-attachments\":[]}";
const ISOLATED: &str = ",\"ingressPolicy\":\"isolated\"";
const SAME_BRIDGE: &str = ",\"ingressPolicy\":\"same-bridge\"";
const TAG_A: &str = "picocni:net:a:eth0";

fn pod(last: u8) -> FirewallEntry {
    FirewallEntry::Pod(format!("10.88.0.{last}").parse().unwrap())
}

fn has(sim: &mut SimBackend, entry: FirewallEntry, tag: &str) -> bool {
    sim.is_entered(&entry, tag).unwrap()
}

fn ask(sim: &mut SimBackend, command: &str, container: &str, config: &str) -> Result<String, String> {
    let netns = if container == "a" { A } else { B };
    let reply = call(sim, &step(&Firewall, command, container, netns, config));
    assert!(!sim.is_locked() || command == "STATUS", "{command} kept the lock");
    assert_eq!(sim.lock_faults(), 0);
    sim.end_process();
    reply
}

fn apart() -> FirewallEntry {
    FirewallEntry::Apart(IfName::of("cni0"))
}

fn closed() -> FirewallEntry {
    FirewallEntry::Closed(IfName::of("cni0"))
}

fn port(sim: &mut SimBackend, name: &str) -> FirewallEntry {
    FirewallEntry::Port(sim.link(Ns::Host, &IfName::of(name)).unwrap().unwrap().index)
}

#[test]
fn who_drops_decides_which_backend_lets_through() {
    let backend = |firewalld, drops| decide(Facts { firewalld, drops });
    assert_eq!(backend(false, false), Backend::Nftables);
    assert_eq!(backend(false, true), Backend::Iptables);
    assert_eq!(backend(true, false), Backend::Firewalld);
    assert_eq!(backend(true, true), Backend::Firewalld);
}

#[test]
fn a_record_reads_back() {
    let mut record = Record::new(Backend::Firewalld);
    record.zone.push_str("trusted").unwrap();
    record.pods.push("fd00::1".parse().unwrap()).unwrap();
    let isolation = Isolation { bridge: IfName::of("cni0"), closed: true, port: Some(IfIndex(7)) };
    record.isolation = Some(isolation);
    let text = record.text().unwrap();
    assert_eq!(text, "backend firewalld\nzone trusted\npod fd00::1\nisolated cni0\nport 7\n");
    let mut sim = host();
    sim.set_file("/run/cni/picocni/firewall/attachments/net:a:eth0", text.as_bytes()).unwrap();
    let tag = picocni_core::owner::Tag::read(TAG_A).unwrap();
    let read = on_large_stack(|| {
        let mut work = Box::new(picocni_core::session::Workspace::new());
        let mut session = picocni_core::session::Session::new(&mut *sim, &[], &mut work);
        Record::read(&mut session, &tag).unwrap()
    });
    assert_eq!(read, Some(record));
    assert!(Isolation::is(Some(&isolation), Policy::Isolated) && !Isolation::is(Some(&isolation), Policy::SameBridge));
    assert!(Isolation::is(None, Policy::Open) && !Isolation::is(None, Policy::Isolated));
}

#[test]
fn add_lets_every_address_through_and_del_needs_nothing() {
    let mut sim = host();
    let config = conf("", 2);
    assert!(ask(&mut sim, "ADD", "a", &config).unwrap().contains("10.88.0.2/16"));
    assert!(has(&mut sim, pod(2), TAG_A));
    assert!(has(&mut sim, FirewallEntry::Pod("fd00::2".parse().unwrap()), TAG_A));
    assert!(!has(&mut sim, apart(), ""));
    ask(&mut sim, "CHECK", "a", &config).unwrap();
    // Again, as after a restart of the runtime.
    ask(&mut sim, "ADD", "a", &config).unwrap();
    sim.remove_sandbox(A);
    ask(&mut sim, "DEL", "a", BARE).unwrap();
    ask(&mut sim, "DEL", "a", BARE).unwrap();
    sim.add_sandbox(A).unwrap();
    assert!(!has(&mut sim, pod(2), TAG_A));
}

#[test]
fn without_a_record_the_addresses_of_the_result_are_taken_back_if_they_are_the_attachments() {
    let mut sim = host();
    ask(&mut sim, "ADD", "a", &conf("", 2)).unwrap();
    let record = "/run/cni/picocni/firewall/attachments/net:a:eth0";
    sim.remove(&[picocni_core::op::Removal::RemoveFile { path: record }], &mut |_, outcome| outcome.unwrap());
    // Another container has the address by now.
    ask(&mut sim, "DEL", "b", &conf("", 2)).unwrap();
    assert!(has(&mut sim, pod(2), TAG_A));
    ask(&mut sim, "DEL", "a", &conf("", 2)).unwrap();
    assert!(!has(&mut sim, pod(2), TAG_A));
}

#[test]
fn check_tells_what_changed() {
    let mut sim = host();
    let config = conf(ISOLATED, 2);
    ask(&mut sim, "ADD", "a", &config).unwrap();
    ask(&mut sim, "CHECK", "a", &config).unwrap();
    let fails = |sim: &mut SimBackend, config: &str| ask(sim, "CHECK", "a", config).unwrap_err();
    assert!(fails(&mut sim, &conf("", 2)).contains("isolation is not as configured"));
    assert!(fails(&mut sim, &conf(",\"backend\":\"iptables\"", 2)).contains("another backend"));
    assert!(fails(&mut sim, &conf(ISOLATED, 3)).contains("10.88.0.3"));
    let port = port(&mut sim, "vetha");
    for (entry, tag) in [(port, TAG_A), (closed(), ""), (pod(2), TAG_A)] {
        let erase = picocni_core::op::Removal::Erase { entry, tag };
        sim.remove(&[erase], &mut |_, outcome| outcome.unwrap());
        assert!(fails(&mut sim, &config).contains("104"), "{entry:?}");
    }
    ask(&mut sim, "DEL", "a", BARE).unwrap();
    assert!(fails(&mut sim, &config).contains("has no record"));
}

#[test]
fn a_bridge_is_kept_apart_while_anybody_asks_for_it() {
    let mut sim = host();
    ask(&mut sim, "ADD", "a", &conf(ISOLATED, 2)).unwrap();
    ask(&mut sim, "ADD", "b", &conf(SAME_BRIDGE, 3)).unwrap();
    let (mine, other) = (port(&mut sim, "vetha"), port(&mut sim, "vethb"));
    assert!(has(&mut sim, apart(), "") && has(&mut sim, closed(), "") && has(&mut sim, mine, TAG_A));
    assert!(!has(&mut sim, other, "picocni:net:b:eth0"));
    // The one that closed the bridge goes: it stays apart from others.
    ask(&mut sim, "DEL", "a", BARE).unwrap();
    assert!(has(&mut sim, apart(), "") && !has(&mut sim, closed(), "") && !has(&mut sim, mine, TAG_A));
    ask(&mut sim, "GC", "", EMPTY_GC).unwrap();
    assert!(!has(&mut sim, apart(), "") && !has(&mut sim, pod(3), "picocni:net:b:eth0"));
}

#[test]
fn what_cannot_be_enforced_is_refused() {
    let mut sim = host();
    let fails = |sim: &mut SimBackend, keys: &str| ask(sim, "ADD", "a", &conf(keys, 2)).unwrap_err();
    assert!(fails(&mut sim, ",\"ingressPolicy\":\"nonsense\"").contains("unknown ingress policy"));
    assert!(fails(&mut sim, ",\"firewalldZone\":\"a b\"").contains("firewalldZone"));
    assert!(fails(&mut sim, ",\"iptablesAdminChainName\":\"-x\"").contains("iptablesAdminChainName"));
    let alone = conf(ISOLATED, 2).replace("{\"name\":\"cni0\"},{\"name\":\"vetha\"},", "");
    assert!(ask(&mut sim, "ADD", "a", &alone).unwrap_err().contains("interface needs to be set for ingress policy"));
    let strange = conf(ISOLATED, 2).replace("cni0", "cni9");
    assert!(ask(&mut sim, "ADD", "a", &strange).unwrap_err().contains("no such bridge"));
    sim.set_filters_frames(false);
    for key in ["iptables", "ip6tables"] {
        sim.set_sysctl(Ns::Host, &format!("net/bridge/bridge-nf-call-{key}"), "0").unwrap();
    }
    let status = |sim: &mut SimBackend| ask(sim, "STATUS", "", &conf(ISOLATED, 2));
    for text in [fails(&mut sim, ISOLATED), status(&mut sim).unwrap_err()] {
        assert!(text.contains("\"code\":50") && text.contains("bridge-nf-call-iptables"), "{text}");
    }
    sim.set_sysctl(Ns::Host, "net/bridge/bridge-nf-call-iptables", "1").unwrap();
    assert!(fails(&mut sim, ISOLATED).contains("bridge-nf-call-ip6tables"));
    sim.set_sysctl(Ns::Host, "net/bridge/bridge-nf-call-ip6tables", "1").unwrap();
    status(&mut sim).unwrap();
    ask(&mut sim, "ADD", "a", &conf(ISOLATED, 2)).unwrap();
    let mine = port(&mut sim, "vetha");
    assert!(has(&mut sim, closed(), "") && !has(&mut sim, mine, TAG_A));
    sim.set_filter_missing(true);
    for keys in ["", SAME_BRIDGE] {
        assert!(fails(&mut sim, keys).contains("packet filter not available"));
    }
}

/// The two pods, and firewalld.
fn with_firewalld(sim: &mut SimBackend) {
    build(sim);
    sim.set_firewalld(true);
    sim.set_forward_drop("table inet firewalld, chain filter_FORWARD");
}

#[test]
fn firewalld_is_asked_where_it_runs() {
    let mut sim = host();
    sim.set_firewalld(true);
    sim.set_forward_drop("table inet firewalld, chain filter_FORWARD");
    let config = conf("", 2);
    let bound = |sim: &mut SimBackend, zone| sim.is_bound(zone, "fd00::2".parse().unwrap()).unwrap();
    ask(&mut sim, "ADD", "a", &config).unwrap();
    assert!(bound(&mut sim, "trusted") && !has(&mut sim, pod(2), TAG_A));
    ask(&mut sim, "CHECK", "a", &config).unwrap();
    ask(&mut sim, "DEL", "a", BARE).unwrap();
    assert!(!bound(&mut sim, "trusted"));
    // Isolation is our own table's, whoever lets through.
    ask(&mut sim, "ADD", "a", &conf(",\"ingressPolicy\":\"isolated\",\"firewalldZone\":\"work\"", 2)).unwrap();
    assert!(bound(&mut sim, "work") && has(&mut sim, closed(), ""));
    // It stops, and its sources with it.
    sim.set_firewalld(false);
    assert!(ask(&mut sim, "CHECK", "a", &conf(ISOLATED, 2)).unwrap_err().contains("missing in firewalld"));
    ask(&mut sim, "GC", "", EMPTY_GC).unwrap();
    assert!(!has(&mut sim, closed(), ""));
    let explicit = conf(",\"backend\":\"firewalld\"", 2);
    assert!(ask(&mut sim, "ADD", "a", &explicit).unwrap_err().contains("firewalld does not run"));
}

fn with_a_drop(sim: &mut SimBackend) {
    build(sim);
    sim.set_forward_drop("table ip filter, chain FORWARD (policy drop)");
}

/// The rules of a filter table, one a line.
fn rules(sim: &mut SimBackend, v6: bool) -> String {
    let mut text = String::new();
    sim.iptables_rules(v6, "filter", &mut |line| {
        if line.starts_with("-A") {
            text.push_str(line);
            text.push('\n');
        }
    })
    .unwrap();
    text
}

const SHARED: &str = "-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD\n\
    -A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides\" -j CNI-ADMIN\n";

#[test]
fn iptables_lets_through_where_its_table_drops() {
    let mut sim = host();
    sim.set_forward_drop("table ip filter, chain FORWARD (policy drop)");
    let config = conf("", 2);
    ask(&mut sim, "ADD", "a", &config).unwrap();
    let lines = "-A CNI-FORWARD -d 10.88.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
        -A CNI-FORWARD -s 10.88.0.2/32 -j ACCEPT\n";
    assert_eq!(rules(&mut sim, false), format!("{SHARED}{lines}"));
    assert!(rules(&mut sim, true).contains("-A CNI-FORWARD -s fd00::2/128 -j ACCEPT"));
    assert!(!has(&mut sim, pod(2), TAG_A));
    ask(&mut sim, "CHECK", "a", &config).unwrap();
    // The choice would be another one now; the record says which it was.
    sim.set_forward_drop("");
    ask(&mut sim, "ADD", "b", &conf(",\"backend\":\"iptables\"", 3)).unwrap();
    ask(&mut sim, "DEL", "a", BARE).unwrap();
    assert!(!rules(&mut sim, false).contains("10.88.0.2") && rules(&mut sim, false).contains("10.88.0.3"));
    ask(&mut sim, "GC", "", EMPTY_GC).unwrap();
    assert_eq!(rules(&mut sim, false), SHARED);
    let text = ask(&mut sim, "CHECK", "a", &config).unwrap_err();
    assert!(text.contains("has no record"), "{text}");
}

#[test]
fn without_iptables_what_drops_is_named() {
    let mut sim = host();
    sim.set_forward_drop("table ip filter, chain FORWARD (policy drop)");
    sim.set_iptables_missing(true);
    for command in ["ADD", "STATUS"] {
        let text = ask(&mut sim, command, "a", &conf("", 2)).unwrap_err();
        assert!(text.contains("\"code\":50") && text.contains("table ip filter, chain FORWARD"), "{text}");
    }
    let explicit = ask(&mut sim, "ADD", "a", &conf(",\"backend\":\"iptables\"", 2)).unwrap_err();
    assert!(explicit.contains("iptables is not installed"), "{explicit}");
    // Whoever says so is believed.
    ask(&mut sim, "ADD", "a", &conf(",\"backend\":\"nftables\"", 2)).unwrap();
    // DEL of what is not recorded needs no iptables either.
    ask(&mut sim, "DEL", "b", &conf("", 3)).unwrap();
}

#[test]
fn an_address_that_another_attachment_has_by_now_stays() {
    let mut sim = host();
    let config = conf(",\"backend\":\"iptables\"", 2);
    ask(&mut sim, "ADD", "a", &config).unwrap();
    // As a runtime repeats it, of a container that is long gone.
    ask(&mut sim, "DEL", "b", &config).unwrap();
    ask(&mut sim, "CHECK", "a", &config).unwrap();
    let record = "/run/cni/picocni/firewall/attachments/net:a:eth0";
    sim.remove(&[picocni_core::op::Removal::RemoveFile { path: record }], &mut |_, outcome| outcome.unwrap());
    ask(&mut sim, "DEL", "b", &config).unwrap();
    assert_eq!(rules(&mut sim, false), SHARED);
}

#[test]
fn every_fault_of_add_is_undone() {
    for keys in ["", SAME_BRIDGE, ISOLATED] {
        let (mine, other) = (conf(keys, 2), conf(ISOLATED, 3));
        assert!(prove(&build, &[], step(&Firewall, "ADD", "a", A, &mine), true) > 3);
        // Another pod holds the bridge already.
        let before = [step(&Firewall, "ADD", "b", B, &other)];
        assert!(prove(&build, &before, step(&Firewall, "ADD", "a", A, &mine), false) > 2);
        assert!(prove(&with_a_drop, &[], step(&Firewall, "ADD", "a", A, &mine), true) > 4);
        assert!(prove(&with_firewalld, &before, step(&Firewall, "ADD", "a", A, &mine), false) > 2);
    }
}

#[test]
fn del_and_gc_go_on_past_every_fault() {
    for keys in ["", SAME_BRIDGE, ISOLATED] {
        let (mine, other) = (conf(keys, 2), conf(SAME_BRIDGE, 3));
        let before = [step(&Firewall, "ADD", "a", A, &mine), step(&Firewall, "ADD", "b", B, &other)];
        assert!(prove(&build, &before, step(&Firewall, "DEL", "a", "", BARE), false) > 2);
        assert!(prove(&build, &before, step(&Firewall, "GC", "", "", EMPTY_GC), false) > 4);
        assert!(prove(&with_a_drop, &before, step(&Firewall, "DEL", "a", "", BARE), false) > 2);
        assert!(prove(&with_firewalld, &before, step(&Firewall, "GC", "", "", EMPTY_GC), false) > 4);
    }
}
