//! Every operation and every observation fails once.

use picocni_core::sim::{Bench, Case, Snapshot, rollback};

use super::*;

const KEYS: &str = r#""mac":"02:00:00:00:00:0a","promisc":true,"mtu":1400,"allmulti":true,"txQLen":50,
    "sysctl":{"net.ipv4.conf.IFNAME.arp_notify":"1","net.core.somaxconn":"7","net/core/somaxconn":"8"},"#;

fn step<'a>(command: &'a str, config: &'a str) -> picocni_core::sim::Step<'a> {
    crate::proof::step(&Tuning, command, "c1", NETNS, config)
}

fn proven(case: &Case<'_>) -> usize {
    let mut out = [0u8; 8192];
    rollback(
        case,
        &mut Bench {
            sim: &mut boxed(SimBackend::new),
            work: &mut boxed(Workspace::new),
            memory: &mut boxed(CallMemory::new),
            out: &mut out,
            reference: &mut boxed(Snapshot::new),
            state: &mut boxed(Snapshot::new),
        },
    )
    .unwrap()
}

fn build(sim: &mut SimBackend) -> picocni_core::error::Result<()> {
    arrange(sim);
    sim.set_file(ALLOWLIST, b"^net\n")
}

#[test]
fn a_failed_add_leaves_nothing() {
    let conf = config(KEYS);
    let case =
        Case { registry: crate::REGISTRY, build: &build, before: &[], step: step("ADD", &conf), observations: false };
    // Three sysctls, the backup, five attributes.
    assert_eq!(proven(&case), 9);
    // And the allowlist, the link, the backup are read.
    assert_eq!(proven(&Case { observations: true, ..case }), 12);
}

#[test]
fn a_failed_repeated_add_keeps_the_backup() {
    let conf = config(KEYS);
    let other = config(r#""mtu":1300,"txQLen":3,"#);
    let before = [step("ADD", &conf)];
    let case = Case {
        registry: crate::REGISTRY,
        build: &build,
        before: &before,
        step: step("ADD", &other),
        observations: false,
    };
    assert_eq!(proven(&case), 2);
}

#[test]
fn a_failed_del_is_finished_by_the_next() {
    let conf = config(KEYS);
    let before = [step("ADD", &conf)];
    let case = Case {
        registry: crate::REGISTRY,
        build: &build,
        before: &before,
        step: step("DEL", &conf),
        observations: false,
    };
    // Five attributes, then the backup.
    assert_eq!(proven(&case), 6);
    assert_eq!(proven(&Case { observations: true, ..case }), 7);
}

#[test]
fn a_failed_gc_is_finished_by_the_next() {
    on_large_stack(fail_gc_everywhere);
}

fn fail_gc_everywhere() {
    let conf = config(KEYS);
    let before = [step("ADD", &conf)];
    let gc = r#"{"cniVersion":"1.1.0","name":"net1","type":"tuning","cni.dev/valid-attachments":[]}"#;
    let build = |sim: &mut SimBackend| {
        build(sim)?;
        (0..20).try_for_each(|at| {
            let backup = format!(r#"{{"picocni":"picocni:net1:d{at}:eth0"}}"#);
            sim.set_file(&format!("/run/cni/tuning/d{at}_eth0.json"), backup.as_bytes())
        })
    };
    let case =
        Case { registry: crate::REGISTRY, build: &build, before: &before, step: step("GC", gc), observations: false };
    assert_eq!(proven(&case), 21);
}
