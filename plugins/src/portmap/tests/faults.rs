//! Every operation of every command fails once, and nothing is left behind.

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

use picocni_core::observe::Ns;
use picocni_core::sim::Step;

use super::super::Portmap;
use super::watched::Watched;
use super::{DNS, Host, WEB, arrange, dual, run, v4};

pub(super) const fn step<'a>(command: &'a str, container_id: &'a str, netns: &'a str, config: &'a str) -> Step<'a> {
    crate::proof::step(&Portmap, command, container_id, netns, config)
}

/// How many operations were made to fail.
pub(super) fn prove(before: &[Step<'_>], step: Step<'_>, observations: bool) -> usize {
    crate::proof::prove(&|sim| arrange(sim), before, step, observations)
}

#[test]
fn add() {
    let conf = dual(1, &format!("{WEB},{DNS}"));
    // Two chains of iptables-legacy in each family, that the plugins before may have left; record, three claims, three
    // ports, two translations, the sysctl, one purge.
    assert_eq!(prove(&[], step("ADD", "c1", "/run/netns/c1", &conf), false), 4 + 11);
    // And what it asks: the lock, two looks for claims and the old record at least.
    assert!(prove(&[], step("ADD", "c1", "/run/netns/c1", &conf), true) >= 15);
}

#[test]
fn add_of_more_ports_than_one_plan_holds() {
    let list: Vec<String> = (1..=70).map(|n| format!(r#"{{"hostPort":{n},"containerPort":{n}}}"#)).collect();
    let conf = v4(1, &list.join(","));
    assert_eq!(prove(&[], step("ADD", "c1", "/run/netns/c1", &conf), false), 4 + 1 + 70 + 70 + 1 + 1);
}

#[test]
fn del() {
    let conf = dual(1, &format!("{WEB},{DNS}"));
    let before = [step("ADD", "c1", "/run/netns/c1", &conf)];
    // Three ports, two translations, one purge, three claims, the record.
    assert_eq!(prove(&before, step("DEL", "c1", "", &conf), false), 10);
    assert!(prove(&before, step("DEL", "c1", "", &conf), true) >= 13);
}

#[test]
fn gc() {
    let (one, two) = (dual(1, WEB), v4(2, DNS));
    let before = [step("ADD", "c1", "/run/netns/c1", &one), step("ADD", "c2", "/run/netns/c2", &two)];
    let conf = r#"{"cniVersion":"1.1.0","name":"net","type":"portmap","cni.dev/valid-attachments":[]}"#;
    // c1: two ports, two translations, two claims, the record; c2: one each, a purge, the record.
    assert_eq!(prove(&before, step("GC", "", "", conf), false), 7 + 5);
}

/// A failed ADD leaves no claim that blocks the next one, whatever failed in it.
#[test]
fn add_after_a_failed_add() {
    let conf = v4(2, WEB);
    let mut host = Host::new();
    host.sim.set_read_only_sysctls(true);
    let (code, text) = host.call("ADD", 1, &v4(1, WEB)).unwrap_err();
    assert!(code == 101 && text.contains("route_localnet"), "{code} {text}");
    host.sim.set_read_only_sysctls(false);
    host.call("ADD", 2, &conf).unwrap();
}

/// The dead holder goes for good; the rest is undone.
#[test]
fn add_in_place_of_a_dead_holder() {
    let (one, two) = (dual(1, WEB), dual(2, WEB));
    let mut host = Host::new();
    host.call("ADD", 1, &one).unwrap();
    host.sim.remove_sandbox("/run/netns/c1");
    host.sim.set_sysctl(Ns::Host, "net/ipv4/conf/cni0/route_localnet", "0").unwrap();
    host.sim.set_read_only_sysctls(true);
    assert_eq!(host.call("ADD", 2, &two).unwrap_err().0, 101);
    assert_eq!((host.record(1), host.record(2)), (None, None));
    for claim in ["any4", "any6"] {
        assert_eq!(host.sim.file(&format!("/run/cni/picocni/portmap/ports/tcp-8080/{claim}")), None);
    }
}

/// A process that ends anywhere leaves what DEL finds and takes back.
#[test]
fn killed_anywhere() {
    let conf = dual(1, &format!("{WEB},{DNS}"));
    let mut host = Host::new();
    let before = Box::new(host.sim.snapshot().without_shared());
    for command in ["ADD", "DEL"] {
        for lasts in 0.. {
            if command == "DEL" {
                host.call("ADD", 1, &conf).unwrap();
            }
            let mut dying = Watched::new(&mut host.sim);
            dying.lasts = lasts;
            let ended = run(&mut dying, command, 1, &conf).is_ok();
            host.sim.end_process();
            host.call("DEL", 1, &conf).unwrap();
            assert_eq!(*before, host.sim.snapshot().without_shared(), "{command} killed after {lasts} operations");
            if ended {
                assert_eq!(lasts, if command == "ADD" { 4 + 11 } else { 10 });
                break;
            }
        }
    }
}
