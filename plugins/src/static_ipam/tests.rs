//! `static` on a model of a host, alone and below `bridge`.
#![allow(clippy::unwrap_used, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;

use picocni_core::sim::{SimBackend, Step};

use super::Static;
use crate::bridge::Bridge;
use crate::proof::{call, on_large_stack, prove, step};

fn conf(ipam: &str) -> String {
    format!(r#"{{"cniVersion":"1.0.0","name":"net","type":"bridge","ipam":{{"type":"static"{ipam}}}}}"#)
}

fn run(command: &str, args: &str, conf: &str) -> Result<String, String> {
    let mut sim = on_large_stack(|| Box::new(SimBackend::new()));
    let plain = step(&Static, command, "c1", "/none", conf);
    call(&mut sim, &Step { env: picocni_core::env::Environment { args, ..plain.env }, ..plain })
}

fn add(args: &str, conf: &str) -> Result<String, String> {
    run("ADD", args, conf)
}

const TWO: &str = r#","addresses":[{"address":"10.1.2.9/24","gateway":"10.1.2.254"},{"address":"fd00::9/64"}],"routes":[{"dst":"0.0.0.0/0"}]"#;

#[test]
fn gives_what_is_configured() {
    let result = add("", &conf(&format!(r#"{TWO},"dns":{{"nameservers":["192.0.2.53"]}}"#))).unwrap();
    assert_eq!(
        result,
        concat!(
            r#"{"cniVersion":"1.0.0","dns":{"nameservers":["192.0.2.53"]},"#,
            r#""ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.254"},{"address":"fd00::9/64"}],"#,
            r#""routes":[{"dst":"0.0.0.0/0"}]}"#
        )
    );
    assert_eq!(add("", &conf("")).unwrap(), r#"{"cniVersion":"1.0.0"}"#, "no address is no error of its own");
    assert_eq!(run("DEL", "", &conf(r#","addresses":[{"address":"x"}]"#)).unwrap(), "");
}

#[test]
fn arguments_come_behind_and_bring_their_own_gateways() {
    let result = add("IP=10.1.2.7/24, 10.9.0.7/16;GATEWAY=10.1.2.1,10.9.0.1", &conf(TWO)).unwrap();
    let ips = r#""ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.254"},{"address":"fd00::9/64"},{"address":"10.1.2.7/24","gateway":"10.1.2.1"},{"address":"10.9.0.7/16","gateway":"10.9.0.1"}]"#;
    assert!(result.contains(ips), "{result}");
    assert!(add("GATEWAY=fd00::1", &conf(TWO)).unwrap().contains(r#"{"address":"fd00::9/64"}"#));
}

#[test]
fn the_runtime_replaces_the_args_and_they_replace_all_else() {
    let with = |extra: &str| conf(r#","addresses":[{"address":"not read"}]"#).replacen('{', &format!("{{{extra},"), 1);
    let args = r#""args":{"cni":{"ips":["10.6.0.1/24","10.6.0.2/24"]}}"#;
    let runtime = r#""runtimeConfig":{"ips":["10.5.0.1/24"]}"#;
    let result = add("IP=10.1.2.7/24", &with(args)).unwrap();
    assert!(result.contains(r#""ips":[{"address":"10.6.0.1/24"},{"address":"10.6.0.2/24"}]"#), "{result}");
    let result = add("", &with(&format!("{args},{runtime}"))).unwrap();
    assert!(result.contains(r#""ips":[{"address":"10.5.0.1/24"}]"#), "{result}");
    let error = add("", &with(r#""runtimeConfig":{"ips":[]}"#)).unwrap_err();
    assert!(error.contains("the 'address' field is expected to be in CIDR notation"), "{error}");
}

#[test]
fn refusals() {
    let from = |key: &str, value: &str| conf("").replacen('{', &format!("{{\"{key}\":{value},"), 1);
    let many = core::iter::repeat_n(r#"{"address":"10.1.2.9/24"}"#, 17).collect::<std::vec::Vec<_>>().join(",");
    let missing = conf("").replace("ipam", "other");
    for (args, conf, phrases) in [
        ("", conf(r#","addresses":[{"address":"10.1.2.9"}]"#), ["the 'address' field is expected", "got: '10.1.2.9'"]),
        ("", conf(r#","addresses":[{"gateway":"10.1.2.9"}]"#), ["the 'address' field is expected", "got: ''"]),
        ("IP=10.1.2.9", conf(""), ["the 'ip' field is expected to be in CIDR notation", "got: '10.1.2.9'"]),
        ("IP=10.1.2.9/24,", conf(""), ["the 'ip' field is expected to be in CIDR notation", "got: ''"]),
        ("GATEWAY=x", conf(""), ["invalid gateway address", "'x'"]),
        ("", from("args", r#"{"cni":{"ips":["x"]}}"#), ["an entry in the 'ips' field is NOT in CIDR notation", "'x'"]),
        ("", from("runtimeConfig", r#"{"ips":["1.2.3.4"]}"#), ["an entry in the 'ips' field is NOT in", "'1.2.3.4'"]),
        ("", conf(r#","addresses":[{"address":"10.1.2.9/24","gateway":"y"}]"#), ["invalid gateway address", "'y'"]),
        ("", conf(r#","routes":[{"dst":"nowhere"}]"#), ["invalid CIDR address", "nowhere"]),
        ("", conf(&format!(r#","addresses":[{many}]"#)), ["IPS allows 16", "addresses"]),
        ("NOPE=1", conf(""), ["invalid CNI_ARGS", "NOPE"]),
        ("", missing, ["IPAM config missing 'ipam' key", ""]),
        (
            "IP=10.1.2.7/24",
            conf(r#","addresses":[{"address":"10.1.2.9/24"}]"#).replace("1.0.0", "0.2.0"),
            ["too many addresses per family", "CNI version 0.2.0 does not support more than 1 address per family"],
        ),
    ] {
        let error = add(args, &conf).unwrap_err();
        assert!(phrases.iter().all(|phrase| error.contains(phrase)), "{args} {conf}: {error}");
    }
}

#[test]
fn check_compares_what_it_finds() {
    let prev = |ip: &str| conf(TWO).replacen('{', &format!(r#"{{"prevResult":{{"ips":[{ip}]}},"#), 1);
    for same in [
        r#"{"address":"10.1.2.9/24","gateway":"10.1.2.254"},{"address":"fd00::9/64","gateway":"fd00::1"}"#,
        r#"{"address":"10.7.7.7/24"}"#,
    ] {
        run("CHECK", "", &prev(same)).unwrap();
    }
    for other in [r#"{"address":"10.1.2.9/24","gateway":"10.1.2.1"}"#, r#"{"address":"fd00::9/48"}"#] {
        let error = run("CHECK", "", &prev(other)).unwrap_err();
        assert!(error.contains("static: Failed to match addr") && error.contains("eth0"), "{error}");
    }
    assert!(run("CHECK", "", &conf(TWO)).unwrap_err().contains("Required prevResult missing"));
    let status = |ipam: &str| run("STATUS", "", &conf(ipam).replace("1.0.0", "1.1.0"));
    assert_eq!(status(TWO).unwrap(), "");
    assert!(status(r#","addresses":[{"address":"x"}]"#).is_err());
}

#[test]
fn every_operation_of_a_bridge_with_static_addresses_fails_once_and_nothing_is_left() {
    let build = |sim: &mut SimBackend| sim.add_sandbox("/run/netns/a").unwrap();
    let conf = conf(TWO).replacen('{', r#"{"isGateway":true,"ipMasq":true,"#, 1);
    let add = step(&Bridge, "ADD", "c1", "/run/netns/a", &conf);
    assert!(prove(&build, &[], add, true) >= 20);
    assert!(prove(&build, &[add], step(&Bridge, "DEL", "c1", "/run/netns/a", &conf), false) >= 3);
    // Alone it changes nothing.
    assert_eq!(prove(&|_| {}, &[], step(&Static, "ADD", "c1", "/none", &conf), true), 0);
}
