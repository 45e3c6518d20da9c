//! A list in one process on a model of a host.
#![allow(clippy::unwrap_used, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;

use picocni_core::backend::Backend;
use picocni_core::name::IfName;
use picocni_core::observe::Ns;
use picocni_core::sim::{SimBackend, Step};

use super::OneProcess;
use crate::proof::{call, prove, step};

const NETNS: &str = "/run/netns/a";
const BRIDGE: &str =
    r#"{"type":"bridge","isDefaultGateway":true,"ipMasq":true,"ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}"#;
const TUNING: &str = r#"{"type":"tuning","mtu":1400}"#;
const PORTMAP: &str = r#"{"type":"portmap","capabilities":{"portMappings":true}}"#;
/// CNI_IFNAME is in the way of the second one.
const FAILING: &str = r#"{"type":"dummy","ipam":{"type":"host-local","subnet":"10.2.0.0/24"}}"#;

fn conf(plugins: &[&str], more: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"net","type":"picocni","plugins":[{}],"capabilities":{{"portMappings":true,"mac":true}},
        "runtimeConfig":{{"mac":"02:00:00:00:00:07","portMappings":[{{"hostPort":8080,"containerPort":80,"protocol":"tcp"}}]}}{more}}}"#,
        plugins.join(",")
    )
}

fn build(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
}

fn host() -> Box<SimBackend> {
    let mut sim = Box::new(SimBackend::new());
    build(&mut sim);
    sim
}

const fn request<'a>(command: &'a str, netns: &'a str, config: &'a str) -> Step<'a> {
    step(&OneProcess, command, "c1", netns, config)
}

#[test]
fn add_check_del() {
    let mut sim = host();
    let all = conf(&[BRIDGE, TUNING, PORTMAP], "");
    let result = call(&mut sim, &request("ADD", NETNS, &all)).unwrap();
    assert!(result.contains("10.1.0.2/24"), "{result}");
    assert!(!result.contains("02:00:00:00:00:07"), "bridge does not declare \"mac\", so it does not get it: {result}");
    let prev = conf(&[BRIDGE, TUNING, PORTMAP], &format!(r#","prevResult":{result}"#));
    call(&mut sim, &request("CHECK", NETNS, &prev)).unwrap();
    // The same mapping by another container shows that portmap got it.
    sim.add_sandbox("/run/netns/b").unwrap();
    let error = call(&mut sim, &step(&OneProcess, "ADD", "c2", "/run/netns/b", &all)).unwrap_err();
    assert!(error.contains(r#"(plugin \"portmap\" of \"plugins\")"#), "{error}");
    sim.open_sandbox("/run/netns/b").unwrap();
    assert!(sim.link(Ns::Sandbox, &IfName::of("eth0")).unwrap().is_none(), "the failed ADD left nothing");
    call(&mut sim, &request("DEL", NETNS, &prev)).unwrap();
    call(&mut sim, &request("DEL", NETNS, &prev)).unwrap();
    let error = call(&mut sim, &request("CHECK", NETNS, &prev)).unwrap_err();
    assert!(error.contains(r#"plugin \"bridge\""#), "{error}");
}

#[test]
fn every_operation_fails_once_and_nothing_is_left() {
    let all = conf(&[BRIDGE, TUNING, PORTMAP], "");
    assert!(prove(&build, &[], request("ADD", NETNS, &all), false) >= 18);
    assert!(prove(&build, &[], request("ADD", NETNS, &all), true) >= 30);
    assert!(prove(&build, &[request("ADD", NETNS, &all)], request("DEL", NETNS, &all), false) >= 5);
    assert!(prove(&build, &[request("ADD", NETNS, &all)], request("DEL", "", &all), false) >= 5);
    let gc = conf(&[BRIDGE, TUNING, PORTMAP], r#","cni.dev/valid-attachments":[]"#);
    assert!(prove(&build, &[request("ADD", NETNS, &all)], step(&OneProcess, "GC", "", "", &gc), false) >= 5);
}

/// Two links of the host go: the pair of the pod, and the one that shapes what it sends.
#[test]
fn links_that_wait_for_one_another_are_deleted_whatever_fails() {
    const BANDWIDTH: &str = r#"{"type":"bandwidth","egressRate":8000000,"egressBurst":80000}"#;
    let all = conf(&[BRIDGE, BANDWIDTH], "");
    assert!(prove(&build, &[], request("ADD", NETNS, &all), false) >= 12);
    for netns in [NETNS, ""] {
        assert!(prove(&build, &[request("ADD", NETNS, &all)], request("DEL", netns, &all), false) >= 4);
    }
    let mut sim = host();
    let bare = call(&mut sim, &request("ADD", NETNS, &all)).unwrap();
    assert!(bare.contains("\"bwp"), "{bare}");
    call(&mut sim, &request("DEL", NETNS, &all)).unwrap();
    let mut left = 0;
    sim.links(Ns::Host, &mut |link| left += i32::from(link.name.as_str() != "lo" && link.name.as_str() != "cni0"))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn args_of_the_list_are_those_of_its_plugins() {
    let mut sim = host();
    let all = conf(&[BRIDGE], r#","args":{"cni":{"mac":"02:00:00:00:00:09"}}"#);
    let result = call(&mut sim, &request("ADD", NETNS, &all)).unwrap();
    assert!(result.contains("02:00:00:00:00:09"), "{result}");
}

#[test]
fn refusals() {
    let mut sim = host();
    for (plugins, phrase) in [
        (&[][..], "no plugin configs found"),
        (&["{}"], "missing 'type'"),
        (&[r#"{"type":"a/b"}"#], "invalid plugin name"),
        (&[PORTMAP], "Required prevResult missing"),
        (&[r#"{"type":"picocni","plugins":[{"type":"loopback"}]}"#], "cannot be inside another"),
        (&[BRIDGE, FAILING], "exists already"),
        (&[BRIDGE, r#"{"type":"nowhere"}"#], "plugin not built in"),
    ] {
        let error = call(&mut sim, &request("ADD", NETNS, &conf(plugins, ""))).unwrap_err();
        assert!(error.contains(phrase), "{plugins:?}: {error}");
    }
    sim.open_sandbox(NETNS).unwrap();
    assert!(sim.link(Ns::Sandbox, &IfName::of("eth0")).unwrap().is_none(), "nothing was left by the refusals");
    let old = conf(&[BRIDGE], "").replace("1.1.0", "0.2.0");
    assert!(call(&mut sim, &request("STATUS", "", &old)).unwrap_err().contains("STATUS"));
}
