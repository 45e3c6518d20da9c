//! `loopback` on a model of a host.
#![allow(clippy::unwrap_used, reason = "tests")]

extern crate std;

use std::boxed::Box;

use picocni_core::sim::SimBackend;

use super::Loopback;
use crate::proof::{call, on_large_stack, prove, step};

const CONF: &str = r#"{"cniVersion":"1.0.0","name":"cni-loopback","type":"loopback"}"#;
const NETNS: &str = "/run/netns/a";

fn build(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
}

#[test]
fn every_operation_fails_once_and_nothing_is_left() {
    assert_eq!(prove(&build, &[], step(&Loopback, "ADD", "c1", NETNS, CONF), false), 1);
    assert!(prove(&build, &[], step(&Loopback, "ADD", "c1", NETNS, CONF), true) >= 2);
    let before = [step(&Loopback, "ADD", "c1", NETNS, CONF)];
    assert_eq!(prove(&build, &before, step(&Loopback, "DEL", "c1", NETNS, CONF), false), 1);
}

#[test]
fn up_checked_and_down_again() {
    let mut sim = on_large_stack(|| Box::new(SimBackend::new()));
    build(&mut sim);
    let down = call(&mut sim, &step(&Loopback, "CHECK", "c1", NETNS, CONF)).unwrap_err();
    assert!(down.contains("loopback interface is down"), "{down}");
    let result = call(&mut sim, &step(&Loopback, "ADD", "c1", NETNS, CONF)).unwrap();
    assert!(
        result.contains(r#""interfaces":[{"mac":"00:00:00:00:00:00","name":"lo","sandbox":"/run/netns/a"}]"#),
        "{result}"
    );
    call(&mut sim, &step(&Loopback, "CHECK", "c1", NETNS, CONF)).unwrap();
    for netns in [NETNS, NETNS, "", "/run/netns/gone"] {
        assert_eq!(call(&mut sim, &step(&Loopback, "DEL", "c1", netns, CONF)).unwrap(), "");
    }
    assert!(call(&mut sim, &step(&Loopback, "CHECK", "c1", NETNS, CONF)).is_err());
}

#[test]
fn a_result_before_it_is_passed_through() {
    let mut sim = on_large_stack(|| Box::new(SimBackend::new()));
    build(&mut sim);
    let conf = CONF.replacen('{', r#"{"prevResult":{"ips":[{"address":"192.0.2.7/24"}]},"#, 1);
    let result = call(&mut sim, &step(&Loopback, "ADD", "c1", NETNS, &conf)).unwrap();
    assert_eq!(result, r#"{"cniVersion":"1.0.0","ips":[{"address":"192.0.2.7/24"}]}"#);
}
