//! `ptp` with `host-local` on a model of a host.
#![allow(clippy::unwrap_used, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;

use picocni_core::sim::SimBackend;

use super::Ptp;
use crate::proof::{call, on_large_stack, prove, step};

const NETNS: &str = "/run/netns/a";
const CONF: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"ptp","mtu":1400,"ipMasq":true,"ipam":{"type":"host-local",
    "ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00:1::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}}"#;

fn build(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
}

fn host() -> Box<SimBackend> {
    let mut sim = on_large_stack(|| Box::new(SimBackend::new()));
    build(&mut sim);
    sim
}

#[test]
fn every_operation_fails_once_and_nothing_is_left() {
    let add = step(&Ptp, "ADD", "c1", NETNS, CONF);
    assert!(prove(&build, &[], add, false) >= 25);
    assert!(prove(&build, &[], add, true) >= 30);
    assert!(prove(&build, &[add], step(&Ptp, "DEL", "c1", NETNS, CONF), false) >= 5);
    assert!(prove(&build, &[add], step(&Ptp, "DEL", "c1", "", CONF), false) >= 5);
    let gc = CONF.replacen('{', r#"{"cni.dev/valid-attachments":[],"#, 1);
    assert!(prove(&build, &[add], step(&Ptp, "GC", "", "", &gc), false) >= 5);
}

#[test]
fn add_check_del() {
    let mut sim = host();
    let result = call(&mut sim, &step(&Ptp, "ADD", "c1", NETNS, CONF)).unwrap();
    assert!(result.contains(r#""address":"10.1.0.2/24","gateway":"10.1.0.1","interface":1"#), "{result}");
    assert!(result.contains(r#""mtu":1400"#), "{result}");
    let with_prev = CONF.replacen('{', &format!(r#"{{"prevResult":{result},"#), 1);
    call(&mut sim, &step(&Ptp, "CHECK", "c1", NETNS, &with_prev)).unwrap();
    for _ in 0..2 {
        assert_eq!(call(&mut sim, &step(&Ptp, "DEL", "c1", NETNS, CONF)).unwrap(), "");
    }
    assert!(call(&mut sim, &step(&Ptp, "CHECK", "c1", NETNS, &with_prev)).is_err());
}

#[test]
fn an_address_without_a_gateway() {
    let mut sim = host();
    let foreign = |ips: &str| format!(r#"{{"cniVersion":"1.0.0","ips":[{ips}]}}"#);
    for (ips, gateway) in [
        (r#"{"address":"10.1.0.9/24"}"#, Some(r#""gateway":"10.1.0.1""#)),
        (r#"{"address":"10.1.0.1/24"}"#, None),
        (r#"{"address":"10.1.0.9/32"}"#, None),
    ] {
        sim.set_found(
            "ext",
            picocni_core::backend::Found::Foreign(picocni_core::text::fits(&[&"/opt/cni/bin/ext"]).unwrap()),
        )
        .unwrap();
        sim.set_script("/opt/cni/bin/ext", 0, foreign(ips).as_bytes(), "").unwrap();
        let conf = r#"{"cniVersion":"1.0.0","name":"net","type":"ptp","ipam":{"type":"ext"}}"#;
        let outcome = call(&mut sim, &step(&Ptp, "ADD", "c1", NETNS, conf));
        match gateway {
            Some(gateway) => assert!(outcome.unwrap().contains(gateway)),
            None => assert!(outcome.unwrap_err().contains("IPAM plugin returned no gateway"), "{ips}"),
        }
        call(&mut sim, &step(&Ptp, "DEL", "c1", NETNS, conf)).unwrap();
    }
}

#[test]
fn refusals() {
    let mut sim = host();
    for (from, to, phrase) in [
        (r#""mtu":1400"#, r#""mtu":-1"#, "invalid mtu"),
        (r#""ipMasq":true"#, r#""ipMasq":true,"ipMasqBackend":"x""#, "unknown ipmasq backend"),
        (r#""ipam""#, r#""nothing""#, "requires an IPAM configuration"),
    ] {
        let conf = CONF.replace(from, to);
        let error = call(&mut sim, &step(&Ptp, "ADD", "c1", NETNS, &conf)).unwrap_err();
        assert!(error.contains(phrase), "{to}: {error}");
    }
}
