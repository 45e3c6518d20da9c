//! Every operation of every command fails once, and nothing is left behind.

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use picocni_core::dispatch::CallMemory;
use picocni_core::env::Environment;
use picocni_core::limits;
use picocni_core::observe::Ns;
use picocni_core::session::Workspace;
use picocni_core::sim::{Bench, Case, SimBackend, Snapshot, Step, rollback};

use super::super::Portmap;
use super::watched::Watched;
use super::{DNS, Host, REGISTRY, WEB, arrange, dual, on_large_stack, run, v4};

pub(super) const fn step<'a>(command: &'a str, container_id: &'a str, netns: &'a str, config: &'a str) -> Step<'a> {
    let env = Environment {
        command,
        container_id,
        netns,
        ifname: "eth0",
        args: "",
        path: "/opt/cni/bin",
        netns_override: "",
    };
    Step { plugin: &Portmap, env, config: config.as_bytes() }
}

/// How many operations were made to fail.
pub(super) fn prove(before: &[Step<'_>], step: Step<'_>, observations: bool) -> usize {
    prove_on(&|sim| arrange(sim), before, step, observations)
}

fn prove_on(
    build: &(dyn Fn(&mut SimBackend) + Sync),
    before: &[Step<'_>],
    step: Step<'_>,
    observations: bool,
) -> usize {
    on_large_stack(|| {
        let mut sim = Box::new(SimBackend::new());
        let (mut work, mut memory) = (Box::new(Workspace::new()), Box::new(CallMemory::new()));
        let (mut reference, mut state) = (Box::new(Snapshot::new()), Box::new(Snapshot::new()));
        let mut out = vec![0u8; limits::REQUEST];
        let build = |sim: &mut SimBackend| {
            build(sim);
            Ok(())
        };
        let case = Case { registry: REGISTRY, build: &build, before, step, observations };
        let mut bench = Bench {
            sim: &mut sim,
            work: &mut work,
            memory: &mut memory,
            out: &mut out,
            reference: &mut reference,
            state: &mut state,
        };
        rollback(&case, &mut bench).unwrap_or_else(|broken| panic!("{broken:#?}"))
    })
}

#[test]
fn add() {
    let conf = dual(1, &format!("{WEB},{DNS}"));
    // Record, three claims, three ports, two translations, the sysctl, one purge.
    assert_eq!(prove(&[], step("ADD", "c1", "/run/netns/c1", &conf), false), 11);
    // And what it asks: the lock, two looks for claims and the old record at least.
    assert!(prove(&[], step("ADD", "c1", "/run/netns/c1", &conf), true) >= 15);
}

#[test]
fn add_of_more_ports_than_one_plan_holds() {
    let list: Vec<String> = (1..=70).map(|n| format!(r#"{{"hostPort":{n},"containerPort":{n}}}"#)).collect();
    let conf = v4(1, &list.join(","));
    assert_eq!(prove(&[], step("ADD", "c1", "/run/netns/c1", &conf), false), 1 + 70 + 70 + 1 + 1);
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
                assert_eq!(lasts, if command == "ADD" { 11 } else { 10 });
                break;
            }
        }
    }
}
