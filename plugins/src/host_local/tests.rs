//! `host-local` on a model of a host.
#![allow(clippy::unwrap_used, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;

use picocni_core::sim::SimBackend;

use super::HostLocal;
use crate::proof::{call, on_large_stack, prove, step};

fn host() -> Box<SimBackend> {
    on_large_stack(|| Box::new(SimBackend::new()))
}

fn conf(ipam: &str) -> String {
    format!(r#"{{"cniVersion":"1.0.0","name":"net","type":"bridge","ipam":{{"type":"host-local",{ipam}}}}}"#)
}

fn add(sim: &mut SimBackend, container: &str, conf: &str) -> Result<String, String> {
    call(sim, &step(&HostLocal, "ADD", container, "/none", conf))
}

#[test]
fn every_operation_fails_once_and_nothing_is_left() {
    let two = conf(r#""ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]]"#);
    assert_eq!(prove(&|_| {}, &[], step(&HostLocal, "ADD", "c1", "/none", &two), false), 4);
    let before = [step(&HostLocal, "ADD", "c1", "/none", &two)];
    assert_eq!(prove(&|_| {}, &before, step(&HostLocal, "DEL", "c1", "/none", &two), false), 2);
}

#[test]
fn round_robin_goes_on_and_is_exhausted() {
    let mut sim = host();
    let small = conf(r#""subnet":"10.1.0.0/29""#);
    for (container, address) in
        [("a", "10.1.0.2"), ("b", "10.1.0.3"), ("c", "10.1.0.4"), ("d", "10.1.0.5"), ("e", "10.1.0.6")]
    {
        let result = add(&mut sim, container, &small).unwrap();
        assert!(result.contains(&format!(r#""address":"{address}/29""#)), "{result}");
    }
    let error = add(&mut sim, "f", &small).unwrap_err();
    assert!(error.contains("no IP addresses available in range set: 10.1.0.1-10.1.0.6"), "{error}");
    call(&mut sim, &step(&HostLocal, "DEL", "b", "/none", &small)).unwrap();
    call(&mut sim, &step(&HostLocal, "DEL", "d", "/none", &small)).unwrap();
    assert!(add(&mut sim, "g", &small).unwrap().contains("10.1.0.3/29"), "resumes after the last one, round the end");
    assert!(add(&mut sim, "h", &small).unwrap().contains("10.1.0.5/29"));
}

#[test]
fn requested_addresses() {
    let mut sim = host();
    let with = |ips: &str| {
        format!(
            r#"{{"cniVersion":"1.0.0","name":"net","type":"x","runtimeConfig":{{"ips":[{ips}]}},"ipam":{{"type":"host-local",
            "ranges":[[{{"subnet":"10.1.0.0/24"}}],[{{"subnet":"fd00::/64"}}]]}}}}"#
        )
    };
    let result = add(&mut sim, "a", &with(r#""10.1.0.77","fd00::77/64""#)).unwrap();
    assert!(result.contains("10.1.0.77/24") && result.contains("fd00::77/64"), "{result}");
    let error = add(&mut sim, "b", &with(r#""10.1.0.77""#)).unwrap_err();
    assert!(
        error.contains("requested IP address 10.1.0.77 is not available in range set 10.1.0.1-10.1.0.254"),
        "{error}"
    );
    let error = add(&mut sim, "b", &with(r#""10.1.0.1""#)).unwrap_err();
    assert!(error.contains("requested ip 10.1.0.1 is subnet's gateway"), "{error}");
    let error = add(&mut sim, "b", &with(r#""192.0.2.1""#)).unwrap_err();
    assert!(error.contains("failed to allocate all requested IPs") && error.contains("192.0.2.1"), "{error}");
    let error = add(&mut sim, "b", &with(r#""nonsense""#)).unwrap_err();
    assert!(error.contains("invalid IP address"), "{error}");
    // A request moves the round robin on, and so did the call that failed after
    // it had got 10.1.0.78 (the lease was given back, the hint stays).
    assert!(add(&mut sim, "b", &with("")).unwrap().contains("10.1.0.79/24"));
}

#[test]
fn refusals() {
    let mut sim = host();
    for (ipam, phrase) in [
        (r#""x":1"#, "no IP ranges specified"),
        (r#""subnet":"10.1.0.0/31""#, "Network 10.1.0.0/31 too small to allocate from"),
        (r#""subnet":"10.1.0.1/24""#, "Network has host bits set"),
        (r#""subnet":"nonsense""#, "invalid CIDR address"),
        (r#""subnet":"10.1.0.0/24","rangeStart":"10.2.0.1""#, "RangeStart 10.2.0.1 not in network 10.1.0.0/24"),
        (r#""ranges":[[{"subnet":"10.1.0.0/24"},{"subnet":"fd00::/64"}]]"#, "mixed address families"),
        (r#""ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.1.0.0/25"}]]"#, "range set 0 overlaps with 1"),
        (r#""subnet":"10.1.0.0/24","dataDir":"relative""#, "invalid path"),
        (r#""subnet":7"#, "expected a string for"),
    ] {
        let error = add(&mut sim, "a", &conf(ipam)).unwrap_err();
        assert!(error.contains(phrase), "{ipam}: {error}");
    }
    let bare = r#"{"cniVersion":"1.0.0","name":"net","type":"x"}"#;
    assert!(add(&mut sim, "a", bare).unwrap_err().contains("IPAM config missing 'ipam' key"));
    let two = conf(r#""ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.2.0.0/24"}]]"#).replace("1.0.0", "0.2.0");
    assert!(add(&mut sim, "a", &two).unwrap_err().contains("does not support more than 1 address per family"));
}

#[test]
fn leases_of_older_releases_and_unknown_containers() {
    let mut sim = host();
    let net = conf(r#""subnet":"10.1.0.0/24""#);
    sim.set_file("/var/lib/cni/networks/net/10.1.0.2", b"old-container").unwrap();
    sim.set_file("/var/lib/cni/networks/net/10.1.0.3", b"").unwrap();
    assert!(add(&mut sim, "a", &net).unwrap().contains("10.1.0.4/24"));
    call(&mut sim, &step(&HostLocal, "DEL", "nobody", "/none", &net)).unwrap();
    call(&mut sim, &step(&HostLocal, "DEL", "old-container", "/none", &net)).unwrap();
    let gone = net
        .replacen('{', r#"{"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}],"#, 1)
        .replace("1.0.0", "1.1.0");
    call(&mut sim, &step(&HostLocal, "GC", "", "", &gone)).unwrap();
    let check = call(&mut sim, &step(&HostLocal, "CHECK", "a", "/none", &net));
    assert!(check.is_ok(), "GC kept the valid lease: {check:?}");
    let again =
        add(&mut sim, "b", &conf(r#""subnet":"10.1.0.0/24","rangeEnd":"10.1.0.3","rangeStart":"10.1.0.2""#)).unwrap();
    assert!(
        again.contains("10.1.0.2/24") || again.contains("10.1.0.3/24"),
        "both torn and old leases are free again: {again}"
    );
}

#[test]
fn resolv_conf() {
    let mut sim = host();
    sim.set_file("/etc/resolv.conf", b"# comment\nnameserver 192.0.2.53\nnameserver 2001:db8::53\ndomain example.com\nsearch a.example\nsearch b.example c.example\noptions ndots:2 edns0\n; end\n").unwrap();
    let result = add(&mut sim, "a", &conf(r#""subnet":"10.1.0.0/24","resolvConf":"/etc/resolv.conf""#)).unwrap();
    assert!(result.contains(r#""dns":{"nameservers":["192.0.2.53","2001:db8::53"],"domain":"example.com","search":["a.example","b.example","c.example"],"options":["ndots:2","edns0"]}"#), "{result}");
}
