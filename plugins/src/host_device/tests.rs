//! `host-device` on a model of a host.
#![allow(clippy::unwrap_used, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

use picocni_core::backend::Backend;
use picocni_core::name::{IfName, Mac};
use picocni_core::net::Cidr;
use picocni_core::observe::{Link, Ns};
use picocni_core::op::{Change, Removal};
use picocni_core::sim::SimBackend;

use super::HostDevice;
use super::record;
use crate::proof::{call, on_large_stack, prove, step};

const NETNS: &str = "/run/netns/a";
const CONF: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"host-device","device":"ens3","ipam":{"type":"host-local",
    "ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00:1::/64"}]],"routes":[{"dst":"0.0.0.0/0"}]}}"#;
const BARE: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"host-device","device":"ens3"}"#;

fn name(text: &str) -> IfName {
    IfName::of(text)
}

/// A host with a device `ens3` that is up and has two addresses.
fn build(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
    let mac = Mac([2, 0, 0, 0, 9, 1]);
    // Of whatever kind; a bridge is what the model makes alone.
    sim.arrange(&[Change::EnsureBridge { name: name("ens3"), mac, mtu: 1400, promisc: false, vlan_filtering: false }])
        .unwrap();
    let index = host_link(sim, "ens3").unwrap().index;
    for cidr in ["192.0.2.2/24", "2001:db8::2/64"] {
        sim.arrange(&[Change::EnsureAddress { index, cidr: Cidr::parse(cidr).unwrap() }]).unwrap();
    }
}

fn host() -> Box<SimBackend> {
    let mut sim = on_large_stack(|| Box::new(SimBackend::new()));
    build(&mut sim);
    sim
}

fn host_link(sim: &mut SimBackend, text: &str) -> Option<Link> {
    sim.link(Ns::Host, &name(text)).unwrap()
}

fn addresses(sim: &mut SimBackend, text: &str) -> Vec<String> {
    let index = host_link(sim, text).unwrap().index;
    let mut all = Vec::new();
    sim.addresses(Ns::Host, index, None, &mut |address| all.push(format!("{:?}", address.cidr))).unwrap();
    all
}

#[test]
fn every_operation_fails_once_and_nothing_is_left() {
    for conf in [CONF, BARE] {
        let add = step(&HostDevice, "ADD", "c1", NETNS, conf);
        assert!(prove(&build, &[], add, false) >= 5);
        assert!(prove(&build, &[], add, true) >= 6);
        assert!(prove(&build, &[add], step(&HostDevice, "DEL", "c1", NETNS, conf), false) >= 4);
    }
}

#[test]
fn it_comes_back_as_it_was() {
    let mut sim = host();
    let before = (host_link(&mut sim, "ens3").unwrap().up, addresses(&mut sim, "ens3"));
    let result = call(&mut sim, &step(&HostDevice, "ADD", "c1", NETNS, CONF)).unwrap();
    assert!(result.contains(r#""mac":"02:00:00:00:09:01","mtu":1400,"name":"eth0""#), "{result}");
    assert!(host_link(&mut sim, "ens3").is_none());
    sim.open_sandbox(NETNS).unwrap();
    let inside = sim.link(Ns::Sandbox, &name("eth0")).unwrap().unwrap();
    assert_eq!((inside.up, inside.alias.as_str()), (true, "ens3"), "the peer's DEL finds the name in the alias");
    let with_prev = CONF.replacen('{', &format!(r#"{{"prevResult":{result},"#), 1);
    call(&mut sim, &step(&HostDevice, "CHECK", "c1", NETNS, &with_prev)).unwrap();
    for _ in 0..2 {
        assert_eq!(call(&mut sim, &step(&HostDevice, "DEL", "c1", NETNS, CONF)).unwrap(), "");
    }
    assert_eq!((host_link(&mut sim, "ens3").unwrap().up, addresses(&mut sim, "ens3")), before);
    assert!(call(&mut sim, &step(&HostDevice, "CHECK", "c1", NETNS, &with_prev)).is_err());
}

/// Moved by the peer: an alias and no record. It comes back down, as the peer leaves it.
#[test]
fn a_device_that_the_peer_moved() {
    let mut sim = host();
    let index = host_link(&mut sim, "ens3").unwrap().index;
    sim.open_sandbox(NETNS).unwrap();
    let (to, alias) = (name("eth0"), "ens3");
    sim.arrange(&[Change::MoveLink { index, name: name("ens3"), to, alias, was_up: true }]).unwrap();
    sim.end_process();
    call(&mut sim, &step(&HostDevice, "DEL", "c1", NETNS, BARE)).unwrap();
    assert!(!host_link(&mut sim, "ens3").unwrap().up);
}

/// The kernel gives a device back whose namespace ends, under the name that it had there.
fn outlive_the_sandbox(sim: &mut SimBackend) {
    call(sim, &step(&HostDevice, "ADD", "c1", NETNS, CONF)).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    // What the kernel does: back, down, with its alias.
    let mut failed = false;
    let back = Removal::ReturnLink { ns: Ns::Sandbox, name: name("eth0"), to: name("eth0"), up: false };
    sim.remove(&[back], &mut |_, outcome| failed |= outcome.is_err());
    assert!(!failed);
    let set = picocni_core::op::LinkChange { alias: Some("ens3"), ..picocni_core::op::LinkChange::NONE };
    let link = picocni_core::op::LinkId::Name(name("eth0"));
    sim.arrange(&[Change::SetLink { ns: Ns::Host, link, set, undo: picocni_core::op::Undo::WithLink }]).unwrap();
    sim.end_process();
    sim.remove_sandbox(NETNS);
}

/// By the attachment's DEL, or by GC where that never comes.
#[test]
fn a_device_whose_sandbox_went_before_it() {
    let gc = CONF.replacen('{', r#"{"cni.dev/valid-attachments":[],"#, 1);
    for (command, container, conf) in [("DEL", "c1", CONF), ("GC", "", gc.as_str())] {
        let mut sim = host();
        outlive_the_sandbox(&mut sim);
        for _ in 0..2 {
            call(&mut sim, &step(&HostDevice, command, container, "", conf)).unwrap();
        }
        assert!(host_link(&mut sim, "ens3").unwrap().up);
        assert_eq!(addresses(&mut sim, "ens3").len(), 2);
        let record = "/run/cni/picocni/host-device/net:c1:eth0";
        assert!(sim.read_file(record, &mut [0; 64]).unwrap().is_none());
    }
}

/// The name on the host was taken meanwhile: nothing is lost, and DEL can be called again.
#[test]
fn a_name_that_is_taken() {
    let mut sim = host();
    call(&mut sim, &step(&HostDevice, "ADD", "c1", NETNS, BARE)).unwrap();
    let stranger = Change::EnsureBridge {
        name: name("ens3"),
        mac: Mac([2, 0, 0, 0, 9, 9]),
        mtu: 0,
        promisc: false,
        vlan_filtering: false,
    };
    sim.arrange(&[stranger]).unwrap();
    assert!(call(&mut sim, &step(&HostDevice, "DEL", "c1", NETNS, BARE)).is_err());
    let mut gone = true;
    sim.remove(&[Removal::DeleteLink { ns: Ns::Host, name: name("ens3") }], &mut |_, outcome| gone &= outcome.is_ok());
    assert!(gone);
    call(&mut sim, &step(&HostDevice, "DEL", "c1", NETNS, BARE)).unwrap();
    assert_eq!(addresses(&mut sim, "ens3").len(), 2);
}

#[test]
fn refusals() {
    let mut sim = host();
    for (device, phrase) in [
        ("", "specify either"),
        (r#""device":"gone0""#, "failed to find host device"),
        (r#""hwaddr":"02:00:00:00:00:55""#, "failed to find host device"),
        (r#""hwaddr":"nonsense""#, "failed to parse MAC address"),
        (r#""kernelpath":"/etc""#, "invalid kernelpath"),
        (r#""kernelpath":"/sys/devices/../../etc""#, "invalid kernelpath"),
        (r#""pciBusID":"../../x""#, "invalid device address"),
        (r#""pciBusID":"0000:00:1f.6""#, "device has no driver"),
        (r#""runtimeConfig":{"deviceID":"0000:00:1f.6"}"#, "DeviceID not found or unsupported"),
    ] {
        let conf =
            BARE.replace(r#","device":"ens3""#, &format!("{}{device}", if device.is_empty() { "" } else { "," }));
        let error = call(&mut sim, &step(&HostDevice, "ADD", "c1", NETNS, &conf)).unwrap_err();
        assert!(error.contains(phrase), "{device}: {error}");
        assert_eq!(call(&mut sim, &step(&HostDevice, "DEL", "c1", NETNS, &conf)).unwrap(), "", "DEL reads none of it");
    }
    let by_mac = BARE.replace(r#""device":"ens3""#, r#""hwaddr":"02:00:00:00:09:01""#);
    call(&mut sim, &step(&HostDevice, "ADD", "c1", NETNS, &by_mac)).unwrap();
    let error = call(&mut sim, &step(&HostDevice, "STATUS", "", "", BARE)).unwrap_err();
    assert!(error.contains(r#""code":50"#), "{error}");
}

#[test]
fn records_are_read_strictly() {
    let text = "ens3 02:00:00:00:09:01 up\n10.0.0.1/24\nfd00::1/64\n";
    let device = record::Device::parse(text).unwrap();
    assert_eq!(device.text(), text);
    for torn in ["", "ens3", "ens3 02:00:00:00:09:01", "ens3 x up\n", "/ 02:00:00:00:09:01 up\n"] {
        assert!(record::Device::parse(torn).is_none(), "{torn:?}");
    }
    let half = record::Device::parse("ens3 02:00:00:00:09:01 down\n10.0.0.1/24\n10.0.").unwrap();
    assert_eq!((half.up, half.addresses.len()), (false, 1));
}
