//! `bandwidth` on a model of a host.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

extern crate std;

use std::format;
use std::string::String;

use picocni_core::backend::Backend;
use picocni_core::name::{IfIndex, IfName, Mac};
use picocni_core::observe::{LinkKind, Ns};
use picocni_core::op::{Change, LinkChange, LinkId, Removal, Undo};
use picocni_core::shaping::{Bucket, Ingress, Root, Shaping};
use picocni_core::sim::{SimBackend, Snapshot};

use super::*;
use crate::proof::{call, prove, step};

const NETNS: &str = "/run/netns/c1";
/// SHA-512 of `net1c1`, as `sha512sum` prints it.
const IFB: &str = "bwpc2d892b58e87";
const BOTH: &str = r#""ingressRate":10000000,"ingressBurst":819200,"egressRate":20000000,"egressBurst":819200,"#;

fn arrange(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    let (host, peer) = (IfName::of("veth1"), IfName::of("eth0"));
    let [host_mac, peer_mac] = [1, 2].map(|last| Mac([2, 0, 0, 0, 0, last]));
    let up = LinkChange { up: Some(true), ..LinkChange::NONE };
    sim.arrange(&[
        Change::CreateVeth { host, host_mac, peer, peer_mac, mtu: 1400, master: None },
        Change::SetLink { ns: Ns::Host, link: LinkId::Name(host), set: up, undo: Undo::WithLink },
    ])
    .unwrap();
    sim.end_process();
}

fn host() -> SimBackend {
    let mut sim = SimBackend::new();
    arrange(&mut sim);
    sim
}

fn config(keys: &str, prev: &str) -> String {
    format!(r#"{{"cniVersion":"1.1.0","name":"net1","type":"bandwidth",{keys}{prev}"end":1}}"#)
}

const PREV: &str = r#""prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"veth1","mac":"02:00:00:00:00:01"},
    {"name":"eth0","mac":"02:00:00:00:00:02","sandbox":"/run/netns/c1"}],"ips":[{"address":"10.1.0.5/24","interface":1}]},"#;

fn run(sim: &mut SimBackend, command: &str, conf: &str) -> core::result::Result<String, String> {
    let outcome = call(sim, &step(&Bandwidth, command, "c1", NETNS, conf));
    sim.end_process();
    outcome
}

fn add(sim: &mut SimBackend, keys: &str) -> core::result::Result<String, String> {
    run(sim, "ADD", &config(keys, PREV))
}

fn named(sim: &mut SimBackend, name: &str) -> Option<Link> {
    sim.link(Ns::Host, &IfName::of(name)).unwrap()
}

fn shaping(sim: &mut SimBackend, name: &str) -> Shaping {
    let index = named(sim, name).unwrap().index;
    sim.shaping(index).unwrap()
}

fn bucket(sim: &mut SimBackend, name: &str) -> Bucket {
    match shaping(sim, name).root {
        Root::Bucket(bucket, _) => bucket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_directions_are_shaped_and_the_ifb_is_reported() {
    crate::proof::on_large_stack(|| {
        let mut sim = host();
        let before = sim.snapshot();
        let printed = add(&mut sim, BOTH).unwrap();
        let ifb = named(&mut sim, IFB).unwrap();
        assert!(printed.contains(&format!(r#""name":"{IFB}"}}"#)), "{printed}");
        assert_eq!((ifb.kind, ifb.mtu, ifb.txqlen, ifb.up), (LinkKind::Ifb, 1400, 0, true));
        assert_eq!(ifb.alias, "picocni:net1:c1:eth0");
        assert_eq!(bucket(&mut sim, "veth1"), Bucket { rate: 1_250_000, buffer: 1_280_000, limit: 133_650 });
        assert_eq!(bucket(&mut sim, IFB).rate, 2_500_000);
        assert_eq!(shaping(&mut sim, "veth1").ingress, Ingress::Redirect(ifb.index));
        run(&mut sim, "CHECK", &config(BOTH, &format!(r#""prevResult":{printed},"#))).unwrap();
        // DEL on its own lifts everything; again, nothing.
        for _ in 0..2 {
            run(&mut sim, "DEL", &config(BOTH, "")).unwrap();
            assert_eq!(before, sim.snapshot());
        }
    });
}

#[test]
fn one_direction_alone() {
    crate::proof::on_large_stack(|| {
        let mut sim = host();
        let printed = add(&mut sim, r#""ingressRate":8,"ingressBurst":8,"#).unwrap();
        assert!(named(&mut sim, IFB).is_none() && !printed.contains("bwp"), "{printed}");
        assert_eq!(shaping(&mut sim, "veth1").ingress, Ingress::None);
        let mut sim = host();
        add(&mut sim, r#""egressRate":8,"egressBurst":8,"#).unwrap();
        assert_eq!(shaping(&mut sim, "veth1").root, Root::Default);
        assert_eq!(bucket(&mut sim, IFB).rate, 1);
    });
}

#[test]
fn without_limits_nothing_is_done_with_or_without_a_result() {
    crate::proof::on_large_stack(|| {
        let mut sim = host();
        let before = sim.snapshot();
        let zero = r#""ingressRate":0,"ingressBurst":0,"egressRate":0,"egressBurst":0,"#;
        for keys in ["", zero, r#""runtimeConfig":{},"#, r#""runtimeConfig":{"bandwidth":{}},"#] {
            assert!(add(&mut sim, keys).unwrap().contains("10.1.0.5/24"));
            assert_eq!(run(&mut sim, "ADD", &config(keys, "")).unwrap(), r#"{"cniVersion":"1.1.0"}"#);
            run(&mut sim, "CHECK", &config(keys, PREV)).unwrap();
            run(&mut sim, "DEL", &config(keys, "")).unwrap();
        }
        assert_eq!(before, sim.snapshot());
    });
}

#[test]
fn any_static_key_takes_the_place_of_the_runtimes() {
    crate::proof::on_large_stack(|| {
        let runtime = r#""runtimeConfig":{"bandwidth":{"IngressRate":8000,"IngressBurst":8000,
            "EgressRate":16000,"EgressBurst":16000}},"#;
        let mut sim = host();
        add(&mut sim, runtime).unwrap();
        assert_eq!((bucket(&mut sim, "veth1").rate, bucket(&mut sim, IFB).rate), (1000, 2000));
        let mut sim = host();
        add(&mut sim, &format!(r#"{runtime}"IngressRate":80,"ingressburst":80,"#)).unwrap();
        assert_eq!(bucket(&mut sim, "veth1").rate, 10);
        assert!(named(&mut sim, IFB).is_none());
        let mut sim = host();
        add(&mut sim, &format!(r#"{runtime}"egressRate":0,"#)).unwrap();
        assert_eq!(shaping(&mut sim, "veth1"), Shaping::NONE);
    });
}

#[test]
fn the_queue_and_its_latency() {
    crate::proof::on_large_stack(|| {
        let limits = r#""ingressRate":8000000,"ingressBurst":80000,"#;
        let mut sim = host();
        add(&mut sim, &format!(r#"{limits}"latencyMs":100,"queue":"tbf","#)).unwrap();
        assert_eq!(bucket(&mut sim, "veth1").limit, 110_000);
        let mut sim = host();
        let fair = format!(r#"{limits}"queue":"fq_codel","#);
        add(&mut sim, &fair).unwrap();
        assert!(matches!(shaping(&mut sim, "veth1").root, Root::Bucket(_, true)));
        run(&mut sim, "CHECK", &config(&fair, PREV)).unwrap();
        let changed = run(&mut sim, "CHECK", &config(limits, PREV)).unwrap_err();
        assert!(changed.contains(r#""code":104"#) && changed.contains("queue has changed"), "{changed}");
        let mut sim = host();
        sim.set_shaping_missing(false, true);
        let before = sim.snapshot();
        let refused = add(&mut sim, &fair).unwrap_err();
        assert!(refused.contains(r#""code":50"#) && refused.contains("sch_fq_codel"), "{refused}");
        assert_eq!(before, sim.snapshot());
    });
}

#[test]
fn what_is_refused() {
    let cases = [
        (r#""ingressRate":8,"#, "if rate is set, burst must also be set"),
        (r#""egressBurst":8,"#, "if burst is set, rate must also be set"),
        (r#""runtimeConfig":{"bandwidth":{"egressRate":8}},"#, "if rate is set, burst must also be set"),
        (r#""egressRate":8,"egressBurst":34359738360,"#, "burst cannot be more than 4GB"),
        (r#""egressRate":7,"egressBurst":80,"#, "rate or burst is too small"),
        (r#""egressRate":8000000000,"egressBurst":8,"#, "rate or burst is too small"),
        (r#""queue":"sfq","#, "unknown queue"),
        (r#""latencyMs":0,"#, "invalid latencyMs"),
        (r#""latencyMs":10001,"#, "invalid latencyMs"),
    ];
    crate::proof::on_large_stack(|| {
        let mut sim = host();
        let before = sim.snapshot();
        for (keys, phrase) in cases {
            let refused = add(&mut sim, keys).unwrap_err();
            assert!(refused.contains(r#""code":7"#) && refused.contains(phrase), "{keys} {refused}");
            run(&mut sim, "STATUS", &config(keys, "")).unwrap_err();
            // None of them keeps DEL from its work.
            run(&mut sim, "DEL", &config(keys, "")).unwrap();
        }
        add(&mut sim, r#""egressRate":8,"egressBurst":34359738359,"#).unwrap();
        run(&mut sim, "DEL", &config("", "")).unwrap();
        assert_eq!(before, sim.snapshot());
    });
}

#[test]
fn the_host_end_must_be_known() {
    crate::proof::on_large_stack(|| {
        let mut sim = host();
        let limit = r#""ingressRate":8,"ingressBurst":8,"#;
        let other = PREV.replace("veth1", "veth2");
        let inside = PREV.replace(r#""name":"veth1","#, r#""name":"veth1","sandbox":"/x","#);
        let cases = [
            ("", "Required prevResult missing"),
            (r#""prevResult":{"cniVersion":"1.1.0"},"#, "no interfaces provided"),
            (&other, "no veth peer of container interface found in host ns"),
            (&inside, "no veth peer of container interface found in host ns"),
        ];
        for (prev, phrase) in cases {
            let refused = run(&mut sim, "ADD", &config(limit, prev)).unwrap_err();
            assert!(refused.contains(phrase), "{refused}");
        }
        sim.open_sandbox(NETNS).unwrap();
        let dead = [Removal::DeleteLink { ns: Ns::Sandbox, name: IfName::of("eth0") }];
        sim.remove(&dead, &mut |_, outcome| outcome.unwrap());
        sim.add_link(Ns::Sandbox, "eth0", LinkKind::Dummy, Mac([2; 6])).unwrap();
        sim.end_process();
        assert!(add(&mut sim, limit).unwrap_err().contains("has no veth peer"));
    });
}

#[test]
fn leftovers_are_replaced_and_strangers_are_not() {
    crate::proof::on_large_stack(|| {
        let mut whole = host();
        add(&mut whole, BOTH).unwrap();
        let whole = whole.snapshot();
        // As the killed ADD, or the reference plugin, left it: without a mark, with all or half of it set.
        for ingress in [Ingress::None, Ingress::Empty, Ingress::Redirect(IfIndex(0))] {
            let mut sim = host();
            let ifb = sim.add_link(Ns::Host, IFB, LinkKind::Ifb, Mac([2; 6])).unwrap();
            let old = Root::Bucket(Bucket { rate: 5, buffer: 1_000_000_000, limit: 7 }, false);
            sim.set_shaping(ifb, Shaping { root: old, ingress: Ingress::None }).unwrap();
            let veth = named(&mut sim, "veth1").unwrap().index;
            sim.set_shaping(veth, Shaping { root: old, ingress }).unwrap();
            add(&mut sim, BOTH).unwrap();
            add(&mut sim, BOTH).unwrap();
            assert_eq!(whole, sim.snapshot());
        }
        type Damage = fn(&mut SimBackend, IfIndex);
        let strangers: [(Damage, &str); 4] = [
            (
                |sim, veth| sim.set_shaping(veth, Shaping { root: Root::Other, ..Shaping::NONE }).unwrap(),
                "another queue",
            ),
            (
                |sim, veth| sim.set_shaping(veth, Shaping { ingress: Ingress::Other, ..Shaping::NONE }).unwrap(),
                "filters",
            ),
            (
                |sim, veth| {
                    sim.set_shaping(veth, Shaping { ingress: Ingress::Redirect(veth), ..Shaping::NONE }).unwrap()
                },
                "redirects",
            ),
            (
                |sim, _| {
                    sim.add_link(Ns::Host, IFB, LinkKind::Dummy, Mac([2; 6])).unwrap();
                },
                "ifb belongs to another",
            ),
        ];
        for (damage, phrase) in strangers {
            let mut sim = host();
            let veth = named(&mut sim, "veth1").unwrap().index;
            damage(&mut sim, veth);
            let before = sim.snapshot();
            let refused = add(&mut sim, BOTH).unwrap_err();
            assert!(refused.contains(r#""code":103"#) && refused.contains(phrase), "{refused}");
            run(&mut sim, "DEL", &config(BOTH, "")).unwrap();
            assert_eq!(before, sim.snapshot());
        }
    });
}

#[test]
fn del_needs_neither_sandbox_nor_config() {
    crate::proof::on_large_stack(|| {
        let mut sim = host();
        add(&mut sim, BOTH).unwrap();
        sim.remove_sandbox(NETNS);
        run(&mut sim, "DEL", &config("", "")).unwrap();
        assert!(named(&mut sim, IFB).is_none());
        // The reference plugin's ifb has no alias.
        sim.add_link(Ns::Host, IFB, LinkKind::Ifb, Mac([2; 6])).unwrap();
        run(&mut sim, "DEL", &config("", "")).unwrap();
        assert!(named(&mut sim, IFB).is_none());
    });
}

#[test]
fn gc_takes_the_networks_own_and_status_names_what_is_missing() {
    crate::proof::on_large_stack(|| {
        let mut sim = host();
        add(&mut sim, BOTH).unwrap();
        let gc = |list: &str| config(&format!(r#""cni.dev/valid-attachments":{list},"#), "");
        run(&mut sim, "GC", &config("", "")).unwrap();
        run(&mut sim, "GC", &gc(r#"[{"containerID":"c1","ifname":"eth0"}]"#)).unwrap();
        run(&mut sim, "GC", &gc("[]").replace("net1", "net2")).unwrap();
        assert!(named(&mut sim, IFB).is_some());
        run(&mut sim, "GC", &gc("[]")).unwrap();
        assert!(named(&mut sim, IFB).is_none() && named(&mut sim, "veth1").is_some());
        run(&mut sim, "STATUS", &config("", "")).unwrap();
        sim.set_shaping_missing(true, false);
        let missing = run(&mut sim, "STATUS", &config("", "")).unwrap_err();
        assert!(missing.contains(r#""code":50"#) && missing.contains("sch_tbf"), "{missing}");
    });
}

#[test]
fn check_notices_every_part() {
    crate::proof::on_large_stack(|| {
        type Damage = fn(&mut SimBackend, IfIndex, IfIndex);
        let damages: [(Damage, &str); 7] = [
            (|sim, veth, _| reroot(sim, veth, Root::Default), "Failed to find qdisc"),
            (|sim, _, ifb| reroot(sim, ifb, Root::Other), "Failed to find qdisc"),
            (|sim, veth, _| change(sim, veth, |b| b.rate = 9), "Rate doesn't match"),
            (|sim, _, ifb| change(sim, ifb, |b| b.limit = 9), "Limit doesn't match"),
            (|sim, _, ifb| change(sim, ifb, |b| b.buffer = 9), "Buffer doesn't match"),
            (
                |sim, veth, _| {
                    let shaping = sim.shaping(veth).unwrap();
                    sim.set_shaping(veth, Shaping { ingress: Ingress::Empty, ..shaping }).unwrap();
                },
                "ingress is not redirected",
            ),
            (
                |sim, _, _| {
                    let gone = [Removal::DeleteLink { ns: Ns::Host, name: IfName::of(IFB) }];
                    sim.remove(&gone, &mut |_, outcome| outcome.unwrap());
                },
                "ifb is missing",
            ),
        ];
        for (damage, phrase) in damages {
            let mut sim = host();
            add(&mut sim, BOTH).unwrap();
            let [veth, ifb] = ["veth1", IFB].map(|name| named(&mut sim, name).unwrap().index);
            damage(&mut sim, veth, ifb);
            let noticed = run(&mut sim, "CHECK", &config(BOTH, PREV)).unwrap_err();
            assert!(noticed.contains(r#""code":104"#) && noticed.contains(phrase), "{phrase}: {noticed}");
        }
    });
}

fn reroot(sim: &mut SimBackend, link: IfIndex, root: Root) {
    let shaping = sim.shaping(link).unwrap();
    sim.set_shaping(link, Shaping { root, ..shaping }).unwrap();
}

fn change(sim: &mut SimBackend, link: IfIndex, how: fn(&mut Bucket)) {
    let Root::Bucket(mut bucket, fair) = sim.shaping(link).unwrap().root else { panic!("no bucket") };
    how(&mut bucket);
    reroot(sim, link, Root::Bucket(bucket, fair));
}

#[test]
fn every_operation_fails_once() {
    let conf = config(BOTH, PREV);
    let (empty, gc) = (config("", ""), config(r#""cni.dev/valid-attachments":[],"#, ""));
    // The ifb; bucket, alias and state, bucket, redirection.
    assert_eq!(prove(&arrange, &[], step(&Bandwidth, "ADD", "c1", NETNS, &conf), false), 5);
    // And two links by name, the shaping, the ifb that was made.
    assert_eq!(prove(&arrange, &[], step(&Bandwidth, "ADD", "c1", NETNS, &conf), true), 9);
    let before = [step(&Bandwidth, "ADD", "c1", NETNS, &conf)];
    assert_eq!(prove(&arrange, &before, step(&Bandwidth, "DEL", "c1", NETNS, &conf), false), 3);
    assert_eq!(prove(&arrange, &before, step(&Bandwidth, "DEL", "c1", NETNS, &empty), false), 2);
    assert_eq!(prove(&arrange, &before, step(&Bandwidth, "GC", "c1", NETNS, &gc), false), 1);
}

#[test]
fn a_snapshot_tells_shaping_apart() {
    crate::proof::on_large_stack(|| {
        let mut states: std::vec::Vec<Snapshot> = std::vec::Vec::new();
        for keys in ["", BOTH, r#""ingressRate":8,"ingressBurst":8,"#] {
            let mut sim = host();
            add(&mut sim, keys).unwrap();
            states.push(sim.snapshot());
        }
        assert!(states.iter().enumerate().all(|(at, state)| states.iter().skip(at + 1).all(|other| other != state)));
    });
}
