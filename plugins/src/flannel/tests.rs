//! `flannel` with `bridge` and `host-local` on a model of a host.
#![allow(clippy::unwrap_used, reason = "tests")]

extern crate std;

use std::borrow::ToOwned as _;
use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

use picocni_core::backend::Found;
use picocni_core::sim::{SimBackend, Step};

use super::Flannel;
use crate::proof::{call, on_large_stack, prove, step};

const ENV: &str = "/run/flannel/subnet.env";
const SAVED: &str = "/var/lib/cni/flannel/c1";
const NETNS: &str = "/run/netns/a";
const SINGLE: &[u8] =
    b"FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
const DUAL: &[u8] = b"# by hand\n\nFLANNEL_NETWORK=10.42.0.0/16, 10.43.0.0/16,10.42.0.0/16\nFLANNEL_SUBNET=10.42.3.1/24\r\n\
    FLANNEL_IPV6_NETWORK=fd42::/48\nFLANNEL_IPV6_SUBNET=fd42:0:0:3::1/64\nFLANNEL_MTU=1400\nFLANNEL_IPMASQ=false\nOTHER\n";

/// What k3s writes.
const K3S: &str = r#"{"cniVersion":"1.1.0","name":"cbr0","type":"flannel","delegate":{"hairpinMode":true,"forceAddress":true,"isDefaultGateway":true}}"#;

fn build(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
    sim.set_file(ENV, SINGLE).unwrap();
}

fn host() -> Box<SimBackend> {
    let mut sim = on_large_stack(|| Box::new(SimBackend::new()));
    build(&mut sim);
    sim
}

fn ask(sim: &mut SimBackend, command: &str, conf: &str) -> Result<String, String> {
    call(sim, &step(&Flannel, command, "c1", NETNS, conf))
}

fn on(sim: &mut SimBackend, command: &str, ifname: &str, conf: &str) -> Result<String, String> {
    let plain = step(&Flannel, command, "c1", NETNS, conf);
    call(sim, &Step { env: picocni_core::env::Environment { ifname, ..plain.env }, ..plain })
}

fn file(sim: &SimBackend, path: &str) -> Option<String> {
    sim.file(path).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

fn with(extra: &str) -> String {
    K3S.replacen('{', &format!("{{{extra},"), 1)
}

/// A delegate that is another program.
fn foreign(sim: &mut SimBackend, code: u32, stdout: &str) -> String {
    let program = picocni_core::text::fits(&[&"/opt/cni/bin/ext"]).unwrap();
    sim.set_found("ext", Found::Foreign(program)).unwrap();
    sim.set_script("/opt/cni/bin/ext", code, stdout.as_bytes(), "").unwrap();
    K3S.replace(r#""delegate":{"#, r#""delegate":{"type":"ext","#)
}

#[test]
fn every_operation_fails_once_and_nothing_is_left() {
    let add = step(&Flannel, "ADD", "c1", NETNS, K3S);
    assert!(prove(&build, &[], add, false) >= 15);
    assert!(prove(&build, &[], add, true) >= 20);
    let dual = |sim: &mut SimBackend| {
        build(sim);
        sim.set_file(ENV, DUAL).unwrap();
    };
    assert!(prove(&dual, &[], add, false) >= 20);
    for netns in [NETNS, ""] {
        assert!(prove(&build, &[add], step(&Flannel, "DEL", "c1", netns, K3S), false) >= 3);
    }
    let gone = with(r#""cni.dev/valid-attachments":[]"#);
    assert!(prove(&build, &[add], step(&Flannel, "GC", "", "", &gone), false) >= 3);
}

#[test]
fn the_saved_config_is_the_peers() {
    let mut sim = host();
    let result = ask(&mut sim, "ADD", K3S).unwrap();
    assert!(result.contains(r#""address":"10.42.3.2/24","gateway":"10.42.3.1","interface":2"#), "{result}");
    assert!(result.contains(r#"{"dst":"10.42.0.0/16"}"#) && result.contains(r#"{"dst":"0.0.0.0/0","gw":"10.42.3.1"}"#));
    assert!(result.contains(r#""mtu":1450"#), "{result}");
    let expected = concat!(
        r#"{"hairpinMode":true,"forceAddress":true,"isDefaultGateway":true,"name":"cbr0","cniVersion":"1.1.0","#,
        r#""type":"bridge","ipMasq":false,"mtu":1450,"isGateway":true,"ipam":{"type":"host-local","#,
        r#""ranges":[[{"subnet":"10.42.3.0/24"}]],"routes":[{"dst":"10.42.0.0/16"}]}}"#
    );
    let sorted = |text: &str| {
        let mut parts: Vec<_> = text.trim().split(',').map(|part| part.trim_matches(['{', '}']).to_owned()).collect();
        parts.sort();
        parts
    };
    assert_eq!(sorted(&file(&sim, SAVED).unwrap()), sorted(expected));
    let prev = with(&format!(r#""prevResult":{result}"#));
    ask(&mut sim, "CHECK", &prev).unwrap();
    let error = ask(&mut sim, "CHECK", &prev.replace("10.42.3.2/24", "10.42.3.9/24")).unwrap_err();
    assert!(error.contains("Failed to match addr"), "the delegate checks: {error}");
    for _ in 0..2 {
        assert_eq!(ask(&mut sim, "DEL", K3S).unwrap(), "");
        assert_eq!(file(&sim, SAVED), None);
    }
    assert!(ask(&mut sim, "CHECK", &prev).unwrap_err().contains("saved config of the delegate is missing"));
}

#[test]
fn what_the_config_says_wins_over_what_flannel_knows() {
    let mut sim = host();
    sim.set_file(ENV, DUAL).unwrap();
    let conf = r#"{"name":"cbr0","type":"flannel","dataDir":"/run/fl/","ipam":{"routes":[{"dst":"10.96.0.0/12"}],"ranges":"x","dataDir":"/run/leases"},
        "runtimeConfig":{"mac":"02:00:00:00:00:07"},"delegate":{"cniVersion":"0.3.1","mtu":1300,"ipMasq":false,"isGateway":false,"runtimeConfig":1}}"#;
    let result = ask(&mut sim, "ADD", conf).unwrap();
    assert!(result.starts_with(r#"{"cniVersion":"0.1.0","ip4":{"ip":"10.42.3.2/24""#), "{result}");
    let saved = file(&sim, "/run/fl/c1").unwrap();
    for part in [
        r#""cniVersion":"0.3.1""#,
        r#""mtu":1300"#,
        r#""ipMasq":false"#,
        r#""isGateway":false"#,
        r#""runtimeConfig":{"mac":"02:00:00:00:00:07"}"#,
        r#""dataDir":"/run/leases""#,
        r#""ranges":[[{"subnet":"10.42.3.0/24"}],[{"subnet":"fd42:0:0:3::/64"}]]"#,
        r#""routes":[{"dst":"10.96.0.0/12"},{"dst":"10.42.0.0/16"},{"dst":"10.43.0.0/16"},{"dst":"fd42::/48"}]"#,
    ] {
        assert_eq!(saved.matches(part).count(), 1, "{part} in {saved}");
    }
    assert!(sim.file("/run/leases/cbr0/fd42:0:0:3::2").is_some());
    // DEL goes by what was saved, whatever flanneld and the config say now.
    sim.set_file(ENV, b"torn").unwrap();
    ask(&mut sim, "DEL", &conf.replace("10.96.0.0/12", "nonsense").replace("/run/leases", "/else")).unwrap();
    assert!(sim.file("/run/leases/cbr0/fd42:0:0:3::2").is_none());
}

#[test]
fn what_is_wrong_with_subnet_env_is_named() {
    let mut sim = host();
    let single = String::from_utf8(SINGLE.to_vec()).unwrap();
    for (env, phrases) in [
        (
            "",
            [
                "is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ.",
                ENV,
            ],
        ),
        (
            "FLANNEL_MTU=1\nFLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00::/64",
            ["is missing FLANNEL_IPMASQ.", ENV],
        ),
        ("FLANNEL_SUBNET\nFLANNEL_NETWORKS=1", ["is missing FLANNEL_NETWORK", "FLANNEL_SUBNET,"]),
        (&single.replace("10.42.3.1/24", "10.42.3.1"), [r#"FLANNEL_SUBNET is \"10.42.3.1\""#, "a network like"]),
        (&single.replace("/16", "/16,x"), [r#"FLANNEL_NETWORK is \"x\""#, "a network like"]),
        (&single.replace("1450", "many"), [r#"FLANNEL_MTU is \"many\""#, "a number"]),
    ] {
        sim.set_file(ENV, env.as_bytes()).unwrap();
        for (command, code) in [("ADD", r#""code":7"#), ("STATUS", r#""code":50"#)] {
            let error = ask(&mut sim, command, K3S).unwrap_err();
            assert!(error.contains("failed to load flannel 'subnet.env' file") && error.contains(code), "{error}");
            assert!(error.contains("Check the flannel pod log"), "{error}");
            assert!(phrases.iter().all(|phrase| error.contains(phrase)), "{env}: {error}");
        }
        assert_eq!(file(&sim, SAVED), None);
    }
    let elsewhere = with(r#""subnetFile":"/run/other.env""#);
    for (command, code) in [("ADD", r#""code":11"#), ("STATUS", r#""code":50"#)] {
        let error = ask(&mut sim, command, &elsewhere).unwrap_err();
        assert!(error.contains("/run/other.env does not exist: flanneld has not written it yet"), "{error}");
        assert!(error.contains(code), "{error}");
    }
    assert_eq!(ask(&mut sim, "DEL", &elsewhere).unwrap(), "");
    assert_eq!(ask(&mut sim, "GC", &elsewhere).unwrap(), "");
    sim.set_file(ENV, SINGLE).unwrap();
    assert_eq!(ask(&mut sim, "STATUS", K3S).unwrap(), "");
    let error = ask(&mut sim, "STATUS", &with(r#""ipam":{"type":"host-local","dataDir":"x"}"#)).unwrap_err();
    assert!(error.contains("invalid path"), "STATUS asks the delegate: {error}");
}

#[test]
fn refusals() {
    let mut sim = host();
    let delegate = |member: &str| K3S.replace("\"hairpinMode\":true", member);
    for (conf, phrase) in [
        (delegate(r#""name":"x""#), "'delegate' dictionary must not have 'name' field, it'll be set by flannel"),
        (delegate(r#""ipam":{}"#), "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel"),
        (delegate(r#""type":5"#), "'delegate' dictionary, if present, must have (string) 'type' field"),
        (delegate(r#""type":"flannel""#), "flannel cannot be its own delegate"),
        (delegate(r#""type":"../x""#), "invalid plugin name"),
        (delegate(r#""type":"""#), "no plugin name provided"),
        (with(r#""ipam":{"routes":5}"#), "failed to parse ipam.routes"),
        (with(r#""ipam":{"routes":[{"dst":"x"}]}"#), "invalid CIDR address"),
        (with(r#""dataDir":"x""#), "invalid path"),
        (K3S.replace(r#"{"hairpinMode":true,"forceAddress":true,"isDefaultGateway":true}"#, "[]"), "delegate"),
    ] {
        let error = ask(&mut sim, "ADD", &conf).unwrap_err();
        assert!(error.contains(phrase), "{conf}: {error}");
        assert_eq!(file(&sim, SAVED), None);
    }
}

#[test]
fn the_saved_config_stays_until_the_delegate_has_deleted() {
    let mut sim = host();
    let conf = foreign(&mut sim, 0, r#"{"cniVersion":"1.1.0","ips":[{"address":"10.42.3.7/24"}]}"#);
    let result = ask(&mut sim, "ADD", &conf).unwrap();
    assert_eq!(result, r#"{"cniVersion":"1.1.0","ips":[{"address":"10.42.3.7/24"}]}"#);
    assert!(!file(&sim, SAVED).unwrap().contains("isGateway"), "that is for bridge only");
    foreign(&mut sim, 1, r#"{"code":111,"msg":"not now"}"#);
    assert!(ask(&mut sim, "DEL", &conf).unwrap_err().contains("not now"));
    assert!(file(&sim, SAVED).is_some());
    // GC cannot know what a foreign delegate still needs.
    let gone = conf.replacen('{', r#"{"cni.dev/valid-attachments":[],"#, 1);
    assert!(ask(&mut sim, "GC", &gone).is_err());
    assert!(file(&sim, SAVED).is_some());
    foreign(&mut sim, 0, "");
    ask(&mut sim, "GC", &gone).unwrap();
    assert!(file(&sim, SAVED).is_some());
    ask(&mut sim, "DEL", &conf).unwrap();
    assert!(file(&sim, SAVED).is_none());
}

#[test]
fn a_failed_foreign_delegate_is_undone_by_the_config_it_got() {
    let mut sim = host();
    let conf = foreign(&mut sim, 1, r#"{"code":111,"msg":"no luck"}"#);
    assert!(ask(&mut sim, "ADD", &conf).unwrap_err().contains("no luck"));
    let calls: Vec<_> = sim.exec_calls().iter().map(|call| call.command.as_str()).collect();
    assert_eq!(calls, ["ADD", "DEL"]);
    // Its DEL failed too: the file stays, for the DEL that the runtime sends.
    assert!(file(&sim, SAVED).is_some());
    foreign(&mut sim, 0, "{}");
    ask(&mut sim, "DEL", &conf).unwrap();
    assert!(file(&sim, SAVED).is_none());
}

#[test]
fn two_attachments_of_a_container_do_not_meet() {
    let mut sim = host();
    ask(&mut sim, "ADD", K3S).unwrap();
    // Of the same network and of another one; a sandbox has room for the routes once.
    let second = foreign(&mut sim, 0, r#"{"cniVersion":"1.1.0","ips":[{"address":"10.42.3.7/24"}]}"#);
    on(&mut sim, "ADD", "net1", &second).unwrap();
    let other = second.replace("cbr0", "other");
    on(&mut sim, "ADD", "net2", &other).unwrap();
    let has = |sim: &SimBackend, name: &str| file(sim, &format!("/var/lib/cni/flannel/{name}")).is_some();
    assert!(has(&sim, "c1") && has(&sim, "c1:net1") && has(&sim, "c1:net2"));
    for _ in 0..2 {
        on(&mut sim, "DEL", "net1", K3S).unwrap();
        assert!(has(&sim, "c1") && !has(&sim, "c1:net1") && has(&sim, "c1:net2"));
    }
    // A second ADD fails in the delegate; what the first needs at DEL stays.
    let error = ask(&mut sim, "ADD", K3S).unwrap_err();
    assert!(error.contains("container interface exists already"), "{error}");
    assert!(has(&sim, "c1"));
    let valid = |list: &str| with(&format!(r#""cni.dev/valid-attachments":[{list}]"#));
    ask(&mut sim, "GC", &valid(r#"{"containerID":"c1","ifname":"eth0"}"#)).unwrap();
    assert!(has(&sim, "c1") && has(&sim, "c1:net2"), "that of another network stays");
    ask(&mut sim, "GC", K3S).unwrap();
    assert!(has(&sim, "c1"), "an absent list is not an empty list");
    ask(&mut sim, "GC", &valid("")).unwrap();
    assert!(!has(&sim, "c1") && has(&sim, "c1:net2"));
    on(&mut sim, "DEL", "net2", &other).unwrap();
    assert!(!has(&sim, "c1:net2"));
}

#[test]
fn configs_that_the_peer_saved_are_found() {
    let mut sim = host();
    // As Go writes it: keys sorted.
    let theirs = r#"{"cniVersion":"1.0.0","hairpinMode":true,"ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.42.3.0/24"}]],"routes":[{"dst":"10.42.0.0/16"}],"type":"host-local"},"isGateway":true,"mtu":1450,"name":"cbr0","type":"bridge"}"#;
    let lease = "/var/lib/cni/networks/cbr0/10.42.3.9";
    for ifname in ["eth0", "net1"] {
        sim.set_file(SAVED, theirs.as_bytes()).unwrap();
        sim.set_file(lease, format!("c1\r\n{ifname}").as_bytes()).unwrap();
        on(&mut sim, "DEL", "net7", &K3S.replace("cbr0", "other")).unwrap();
        assert!(file(&sim, SAVED).is_some(), "another network's");
        on(&mut sim, "DEL", ifname, K3S).unwrap();
        assert!(file(&sim, SAVED).is_none() && file(&sim, lease).is_none());
    }
    // Torn by a power cut: the delegate's DEL runs by what would be written now.
    sim.set_file(SAVED, b"{\"cniVersion\":").unwrap();
    sim.set_file(lease, b"c1\r\neth0").unwrap();
    ask(&mut sim, "DEL", &with(r#""subnetFile":"/none""#)).unwrap();
    assert!(file(&sim, SAVED).is_none() && file(&sim, lease).is_none());
}
