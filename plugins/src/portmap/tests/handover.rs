//! One container on two networks with the same ports.

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;

use picocni_core::backend::Backend;
use picocni_core::observe::{Protocol, PublishedPort};
use picocni_core::op::Removal;

use super::faults::{prove, step};
use super::watched::Watched;
use super::{DNS, Host, WEB, dual, published, run, v4};

const FIRST: &str = "picocni:net:c1:eth0";
const SECOND: &str = "picocni:second:c1:eth0";
const CLAIM: &str = "/run/cni/picocni/portmap/ports/tcp-8080/any4";

/// The same container on the network `second`, with addresses of its own.
fn second(conf: &str) -> String {
    let other = conf.replace(r#""name":"net""#, r#""name":"second""#);
    assert_ne!(other, conf);
    other.replace("10.88.0.", "10.88.9.").replace("fd00:88::", "fd00:88::9:")
}

fn gc(network: &str) -> String {
    format!(r#"{{"cniVersion":"1.1.0","name":"{network}","type":"portmap","cni.dev/valid-attachments":[]}}"#)
}

fn web(to: &str) -> PublishedPort {
    published(Protocol::Tcp, "", 8080, to, 80)
}

fn holds(host: &mut Host, tag: &str, port: PublishedPort) -> bool {
    host.sim.is_published(&port, tag).unwrap()
}

fn record_of_second(host: &Host) -> Option<String> {
    let file = host.sim.file("/run/cni/picocni/portmap/attachments/second:c1:eth0")?;
    Some(String::from_utf8(file.to_vec()).unwrap())
}

#[test]
fn the_second_attachment_waits_and_inherits() {
    let mut host = Host::new();
    let before = Box::new(host.sim.snapshot().without_shared());
    let (one, two) = (dual(1, &format!("{WEB},{DNS}")), second(&dual(1, &format!("{WEB},{DNS}"))));
    host.call("ADD", 1, &one).unwrap();
    host.call("ADD", 1, &two).unwrap();
    assert!(holds(&mut host, FIRST, web("10.88.0.1")) && !holds(&mut host, SECOND, web("10.88.9.1")));
    let record = record_of_second(&host).unwrap();
    assert!(record.contains("\nwait tcp any 8080 10.88.9.1 80\n"), "{record}");
    assert!(record.contains("\nwait tcp any 8080 fd00:88::9:1 80\n"), "{record}");
    host.call("CHECK", 1, &one).unwrap();
    host.call("CHECK", 1, &two).unwrap();
    let purges = host.sim.purges();
    host.call("DEL", 1, &one).unwrap();
    for to in ["10.88.9.1", "fd00:88::9:1"] {
        assert!(holds(&mut host, SECOND, web(to)), "{to}");
    }
    assert!(holds(&mut host, SECOND, published(Protocol::Udp, "192.0.2.1", 53, "10.88.9.1", 5353)));
    // Once for what went, once for what came.
    assert_eq!(host.sim.purges(), purges + 2);
    host.call("CHECK", 1, &two).unwrap();
    host.call("DEL", 1, &one).unwrap();
    host.call("CHECK", 1, &two).unwrap();
    host.call("DEL", 1, &two).unwrap();
    assert_eq!(*before, host.sim.snapshot().without_shared());
}

#[test]
fn deleting_who_waits_changes_nothing_for_the_holder() {
    let mut host = Host::new();
    host.call("ADD", 1, &v4(1, WEB)).unwrap();
    let before = Box::new(host.sim.snapshot());
    host.call("ADD", 1, &second(&v4(1, WEB))).unwrap();
    host.call("DEL", 1, &second(&v4(1, WEB))).unwrap();
    assert_eq!(*before, host.sim.snapshot());
    host.call("CHECK", 1, &v4(1, WEB)).unwrap();
}

#[test]
fn another_container_still_gets_the_error() {
    let mut host = Host::new();
    host.call("ADD", 1, &v4(1, WEB)).unwrap();
    host.call("ADD", 1, &second(&v4(1, WEB))).unwrap();
    let (code, text) = host.call("ADD", 2, &v4(2, WEB)).unwrap_err();
    assert!(code == 103 && text.contains("container c1, network net"), "{text}");
    host.call("DEL", 1, &v4(1, WEB)).unwrap();
    let (code, text) = host.call("ADD", 2, &v4(2, WEB)).unwrap_err();
    assert!(code == 103 && text.contains("container c1, network second"), "{text}");
}

#[test]
fn addresses_overlap_as_claims_do() {
    // The first holds one address, the second wants all of them, and the other way round.
    let on = |ip: &str| format!(r#"{{"hostPort":8080,"containerPort":80,"hostIP":"{ip}"}}"#);
    for (first, then) in [(on("192.0.2.1"), on("0.0.0.0")), (on("0.0.0.0"), on("192.0.2.1"))] {
        let mut host = Host::new();
        host.call("ADD", 1, &v4(1, &first)).unwrap();
        let two = second(&v4(1, &then));
        host.call("ADD", 1, &two).unwrap();
        assert!(record_of_second(&host).unwrap().contains("wait tcp"));
        host.call("CHECK", 1, &two).unwrap();
        host.call("DEL", 1, &v4(1, &first)).unwrap();
        host.call("CHECK", 1, &two).unwrap();
        let ip = if then.contains("0.0.0.0") { "" } else { "192.0.2.1" };
        assert!(holds(&mut host, SECOND, published(Protocol::Tcp, ip, 8080, "10.88.9.1", 80)), "{first} {then}");
    }
}

#[test]
fn a_stranger_on_one_address_keeps_the_port_waiting() {
    let mut host = Host::new();
    let on = |ip: &str| format!(r#"{{"hostPort":8080,"containerPort":80,"hostIP":"{ip}"}}"#);
    host.call("ADD", 1, &v4(1, &on("192.0.2.1"))).unwrap();
    host.call("ADD", 1, &second(&v4(1, &on("0.0.0.0")))).unwrap();
    host.call("ADD", 2, &v4(2, &on("192.0.2.2"))).unwrap();
    host.call("DEL", 1, &v4(1, "")).unwrap();
    assert!(!holds(&mut host, SECOND, web("10.88.9.1")));
    host.call("CHECK", 2, &v4(2, &on("192.0.2.2"))).unwrap();
    host.call("DEL", 2, &v4(2, "")).unwrap();
    // Nobody is in the way any more, and the mark still tells who waits.
    assert!(holds(&mut host, SECOND, web("10.88.9.1")));
}

#[test]
fn some_ports_are_held_and_some_are_waited_for() {
    let mut host = Host::new();
    let own = r#"{"hostPort":81,"containerPort":81}"#;
    host.call("ADD", 1, &v4(1, WEB)).unwrap();
    let two = second(&v4(1, &format!("{WEB},{own}")));
    host.call("ADD", 1, &two).unwrap();
    assert!(holds(&mut host, SECOND, published(Protocol::Tcp, "", 81, "10.88.9.1", 81)));
    host.call("CHECK", 1, &two).unwrap();
    host.call("DEL", 1, &v4(1, WEB)).unwrap();
    assert!(holds(&mut host, SECOND, web("10.88.9.1")));
    host.call("CHECK", 1, &two).unwrap();
}

#[test]
fn check_notices_a_waiting_port_that_nobody_holds() {
    let mut host = Host::new();
    let two = second(&v4(1, WEB));
    host.call("ADD", 1, &v4(1, WEB)).unwrap();
    host.call("ADD", 1, &two).unwrap();
    host.remove(Removal::Unclaim { dir: "/run/cni/picocni/portmap/ports/tcp-8080", key: "any4" });
    let (code, text) = host.call("CHECK", 1, &two).unwrap_err();
    assert!(code == 104 && text.contains("port is not claimed"), "{text}");
}

#[test]
fn nothing_goes_to_a_sandbox_that_is_gone() {
    let mut host = Host::new();
    host.call("ADD", 1, &v4(1, WEB)).unwrap();
    host.call("ADD", 1, &second(&v4(1, WEB))).unwrap();
    host.sim.remove_sandbox("/run/netns/c1");
    host.call("DEL", 1, &v4(1, WEB)).unwrap();
    assert_eq!(host.sim.file(CLAIM), None);
    host.call("ADD", 2, &v4(2, WEB)).unwrap();
    host.call("DEL", 1, &second(&v4(1, WEB))).unwrap();
    host.call("CHECK", 2, &v4(2, WEB)).unwrap();
}

#[test]
fn gc_hands_over_as_del_does() {
    let mut host = Host::new();
    let before = Box::new(host.sim.snapshot().without_shared());
    host.call("ADD", 1, &v4(1, WEB)).unwrap();
    host.call("ADD", 1, &second(&v4(1, WEB))).unwrap();
    host.call("GC", 0, &gc("net")).unwrap();
    assert!(holds(&mut host, SECOND, web("10.88.9.1")));
    host.call("GC", 0, &gc("second")).unwrap();
    assert_eq!(*before, host.sim.snapshot().without_shared());
}

#[test]
fn every_operation_of_a_handover_may_fail() {
    let mappings = format!("{WEB},{DNS}");
    let (one, two) = (dual(1, &mappings), second(&dual(1, &mappings)));
    let netns = "/run/netns/c1";
    let before = [step("ADD", "c1", netns, &one), step("ADD", "c1", netns, &two)];
    // DEL's ten, and for each of three ports its claim, its rule and the translation (which the second one of a family
    // finds there already), and one purge; the sysctl is set.
    assert_eq!(prove(&before, step("DEL", "c1", "", &one), false), 10 + 3 * 3 + 1);
    assert!(prove(&before, step("DEL", "c1", "", &one), true) > 30);
    prove(&before, step("GC", "", "", &gc("net")), false);
    // ADD of who waits: chains of iptables-legacy, the record and a mark for each of two port numbers.
    assert_eq!(prove(&before[..1], step("ADD", "c1", netns, &two), false), 4 + 3);
    // DEL of who waits: two marks (one of them asked for by both families), and the record.
    assert_eq!(prove(&before, step("DEL", "c1", "", &two), false), 4);
}

#[test]
fn killed_anywhere_in_a_handover() {
    let (one, two) = (dual(1, &format!("{WEB},{DNS}")), second(&dual(1, &format!("{WEB},{DNS}"))));
    let mut host = Host::new();
    let before = Box::new(host.sim.snapshot().without_shared());
    for lasts in 0.. {
        host.call("ADD", 1, &one).unwrap();
        host.call("ADD", 1, &two).unwrap();
        let mut dying = Watched::new(&mut host.sim);
        dying.lasts = lasts;
        let ended = run(&mut dying, "DEL", 1, &one).is_ok();
        host.sim.end_process();
        host.call("DEL", 1, &one).unwrap();
        host.call("CHECK", 1, &two).unwrap();
        host.call("DEL", 1, &two).unwrap();
        assert_eq!(*before, host.sim.snapshot().without_shared(), "killed after {lasts} operations");
        if ended {
            assert!(lasts >= 19);
            break;
        }
    }
}
