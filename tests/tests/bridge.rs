//! bridge with host-local: what a pod gets, what the host keeps, what goes away (rows 57 to 60, 69, 74
//! and 75 of `parity.tsv`).

use std::net::IpAddr;
use std::path::Path;

use netlink_packet_route::link::LinkAttribute;
use picocni_tests::Pod;
use picocni_tests::kernel::{self, Snapshot, edit};
use picocni_tests::sandbox;
use serde_json::{Value, json};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

fn conf(version: &str, extra: Value) -> Value {
    let mut conf = json!({"cniVersion": version, "name": "net", "type": "bridge", "bridge": "br0"});
    let extra = extra.as_object().expect("an object");
    conf.as_object_mut().expect("an object").extend(extra.clone());
    conf
}

/// Dual stack with default routes, the usual case.
fn dual(version: &str) -> Value {
    conf(
        version,
        json!({"isDefaultGateway": true, "ipam": {
            "type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
        }}),
    )
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

#[test]
fn makes_the_bridge_and_reuses_it() {
    sandbox::run(|host| {
        let (first, second) = (Pod::new(host, "c1"), Pod::new(host, "c2"));
        let conf = conf("1.0.0", json!({"mtu": 1400, "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}}));
        first.add(&conf).expect_result();
        let made = Snapshot::here().link("br0").clone();
        assert_eq!((made.kind.as_str(), made.mtu, made.up), ("bridge", 1400, true));
        assert_eq!(kernel::sysctl("net.ipv6.conf.br0.accept_ra"), "0");
        let mut other_mtu = conf.clone();
        other_mtu["mtu"] = 1300.into();
        second.add(&other_mtu).expect_result();
        let reused = Snapshot::here().link("br0").clone();
        assert_eq!(reused.index, made.index);
        assert_eq!(second.host_end().mtu, 1300);
        assert_eq!(second.inside().link("eth0").mtu, 1300);
    });
}

#[test]
fn joins_a_bridge_that_somebody_else_made() {
    sandbox::run(|host| {
        edit::bridge("br0");
        let before = Snapshot::here().link("br0").index;
        let pod = Pod::new(host, "c1");
        pod.add(&dual("1.0.0")).expect_result();
        assert_eq!(Snapshot::here().link("br0").index, before);
        assert_eq!(pod.host_end().master.as_deref(), Some("br0"));
    });
}

#[test]
fn refuses_a_device_that_is_no_bridge() {
    sandbox::run(|host| {
        edit::veth("br0", "other");
        let pod = Pod::new(host, "c1");
        let before = host.state();
        pod.add(&dual("1.0.0")).expect_phrases(&["br0", "not a bridge"]);
        let changed: Vec<String> = kernel::difference(&before, &host.state());
        assert_eq!(changed, [""; 0]);
    });
}

#[test]
fn gives_a_pod_addresses_and_default_routes_in_every_version() {
    sandbox::run(|host| {
        for version in VERSIONS {
            let pod = Pod::new(host, &format!("v{version}"));
            let result = pod.add(&dual(version)).expect_result();
            assert_eq!(result["cniVersion"], version, "{result}");
            let inside = pod.inside();
            let eth0 = inside.link("eth0");
            assert!(eth0.up && eth0.kind == "veth", "{eth0:?}");
            // ADD returns when the port forwards; the pod's end may learn of its carrier a moment later.
            assert_eq!(pod.host_end().oper_state, "Up", "{version}");
            let printed = printed_addresses(&result);
            assert_eq!(inside.addresses_of("eth0"), printed, "{version}: printed and real addresses differ");
            assert!(printed[0].starts_with("10.1.2.") && printed[0].ends_with("/24"), "{printed:?}");
            assert!(printed[1].starts_with("2001:db8:1::") && printed[1].ends_with("/64"), "{printed:?}");
            assert!(inside.has_route("0.0.0.0/0", ip("10.1.2.1")), "{version}: {:?}", inside.routes);
            assert!(inside.has_route("::/0", ip("2001:db8:1::1")), "{version}: {:?}", inside.routes);
            let v4 = inside.addresses.iter().find(|a| a.dev == "eth0" && a.ip.is_ipv4()).expect("an IPv4 address");
            assert_eq!(v4.broadcast, Some([10, 1, 2, 255].into()));
            let v6 = inside.addresses.iter().find(|a| a.dev == "eth0" && !a.ip.is_ipv4() && !a.is_link_local());
            assert!(!v6.expect("an IPv6 address").tentative, "{version}: ADD returns before the address can be used");
            if version >= "0.3.0" {
                check_interfaces(&result, &pod, version);
            }
        }
        let gateways = Snapshot::here().addresses_of("br0");
        assert_eq!(gateways, ["10.1.2.1/24", "2001:db8:1::1/64"]);
        assert_eq!(kernel::sysctl("net.ipv4.ip_forward"), "1");
        assert_eq!(kernel::sysctl("net.ipv6.conf.all.forwarding"), "1");
    });
}

/// The addresses of a result of any version, IPv4 first.
fn printed_addresses(result: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("an address").to_owned();
    match result.get("ips") {
        Some(ips) => ips.as_array().expect("a list").iter().map(|ip| text(&ip["address"])).collect(),
        None => vec![text(&result["ip4"]["ip"]), text(&result["ip6"]["ip"])],
    }
}

fn check_interfaces(result: &Value, pod: &Pod, version: &str) {
    let interfaces = result["interfaces"].as_array().expect("interfaces");
    let (host, peer, eth0) = (Snapshot::here(), pod.host_end(), pod.inside().link("eth0").clone());
    assert_eq!(interfaces.len(), 3, "{result}");
    assert_eq!(interfaces[0]["name"], "br0");
    assert_eq!(interfaces[0]["mac"], host.link("br0").mac.as_str());
    assert_eq!(interfaces[1]["name"], peer.name.as_str());
    assert_eq!(interfaces[1]["mac"], peer.mac.as_str());
    assert_eq!(interfaces[2]["name"], "eth0");
    assert_eq!(interfaces[2]["mac"], eth0.mac.as_str());
    assert_eq!(interfaces[2]["sandbox"], pod.netns().path().to_str().expect("UTF-8"));
    for address in result["ips"].as_array().expect("ips") {
        assert_eq!(address["interface"], 2, "{result}");
        let family = address["address"].as_str().is_some_and(|a| a.contains(':'));
        let expected = (version < "1.0.0").then_some(if family { "6" } else { "4" });
        assert_eq!(address.get("version").and_then(Value::as_str), expected, "{result}");
    }
    assert_eq!(peer.master.as_deref(), Some("br0"));
    assert_eq!(kernel::sysctl(&format!("net/ipv6/conf/{}/accept_ra", peer.name)), "0");
}

#[test]
fn del_removes_the_link_and_releases_the_lease_in_every_version() {
    sandbox::run(|host| {
        // The bridge, its gateway address and the switches stay: other pods may use them.
        let settled = Pod::new(host, "settled");
        let result = settled.add(&dual("1.0.0")).expect_result();
        settled.call("DEL", &dual("1.0.0")).conf_after(&dual("1.0.0"), &result).run().expect_quiet();
        let before = without_marks(host.state());
        for version in VERSIONS {
            let pod = Pod::new(host, &format!("v{version}"));
            let fresh = pod.inside();
            let result = pod.add(&dual(version)).expect_result();
            let call = pod.call("DEL", &dual(version));
            if version >= "0.4.0" {
                call.conf_after(&dual(version), &result).run().expect_quiet();
            } else {
                call.run().expect_quiet();
            }
            assert_eq!(pod.inside().find_link("eth0"), None);
            assert_eq!(fresh.difference(&pod.inside()), [""; 0], "{version}: left in the pod");
            assert_eq!(
                kernel::difference(&before, &without_marks(host.state())),
                [""; 0],
                "{version}: left on the host"
            );
            pod.call("DEL", &dual(version)).run().expect_quiet();
        }
    });
}

/// The state without what is meant to stay: the round robin's mark, the lock file, an index that can be rebuilt, and
/// the bridge's operational state, which follows its ports.
fn without_marks(state: Vec<String>) -> Vec<String> {
    state
        .into_iter()
        .filter(|l| !["last_reserved_ip", "/lock ", "/run/cni/picocni/"].iter().any(|w| l.contains(w)))
        .collect()
}

#[test]
fn check_agrees_until_something_is_changed() {
    type Damage = fn(&Pod);
    let damages: [(&str, Damage); 5] = [
        ("address", |pod| pod.netns().run(|| edit::delete_addresses("eth0"))),
        ("route", |pod| pod.netns().run(edit::delete_default_route)),
        ("link", |pod| pod.netns().run(|| edit::delete("eth0"))),
        ("port", |pod| edit::release(&pod.host_end().name)),
        ("bridge", |_| edit::delete("br0")),
    ];
    sandbox::run(|host| {
        for version in ["0.4.0", "1.0.0", "1.1.0"] {
            for (index, (what, damage)) in damages.iter().enumerate() {
                let pod = Pod::new(host, &format!("v{version}-{index}"));
                let conf = dual(version);
                let result = pod.add(&conf).expect_result();
                pod.call("CHECK", &conf).conf_after(&conf, &result).run().expect_quiet();
                damage(&pod);
                let outcome = pod.call("CHECK", &conf).conf_after(&conf, &result).run();
                assert_eq!(outcome.code, Some(1), "{version}: CHECK has not missed the {what}: {outcome}");
                outcome.expect_failure();
                pod.call("DEL", &conf).run().expect_quiet();
            }
            // Without the result of ADD there is nothing to compare with.
            let pod = Pod::new(host, &format!("v{version}"));
            pod.add(&dual(version)).expect_result();
            pod.call("CHECK", &dual(version)).run().expect_phrases(&["prevResult"]);
        }
    });
}

#[test]
fn without_ipam_a_pod_gets_a_link_only() {
    sandbox::run(|host| {
        for (index, ipam) in [None, Some(json!({})), Some(json!({"type": ""}))].into_iter().enumerate() {
            let mut conf = conf("1.0.0", json!({}));
            if let Some(ipam) = ipam {
                conf["ipam"] = ipam;
            }
            let pod = Pod::new(host, &format!("c{index}"));
            let result = pod.add(&conf).expect_result();
            assert_eq!(result.get("ips"), None, "{result}");
            assert_eq!(result["interfaces"].as_array().map(Vec::len), Some(3), "{result}");
            assert!(pod.inside().link("eth0").up);
            assert_eq!(pod.inside().addresses_of("eth0"), [""; 0]);
            pod.call("DEL", &conf).run().expect_quiet();
            assert_eq!(pod.inside().find_link("eth0"), None);
            assert!(Snapshot::here().addresses_of("br0").is_empty());
        }
    });
}

#[test]
fn a_failed_add_releases_the_address() {
    sandbox::run(|host| {
        edit::bridge("br0");
        edit::set("br0", LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]));
        edit::up("br0");
        edit::address("br0", "192.0.2.1/24");
        let conf = conf("1.0.0", json!({"isGateway": true, "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}}));
        let before = without_marks(host.state());
        let pod = Pod::new(host, "c1");
        let fresh = pod.inside();
        pod.add(&conf).expect_failure();
        assert!(!Path::new("/var/lib/cni/networks/net/10.1.2.2").exists(), "the lease is left");
        if host.peer().is_go() {
            // It leaves the link: row 169 is where picocni differs.
            return;
        }
        assert_eq!(fresh.difference(&pod.inside()), [""; 0], "left in the pod");
        assert_eq!(kernel::difference(&before, &without_marks(host.state())), [""; 0], "left on the host");
    });
}

#[test]
fn an_interface_that_exists_is_an_error_that_names_it() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        pod.netns().run(|| edit::veth("eth0", "other"));
        let fresh = pod.inside();
        let outcome = pod.add(&dual("1.0.0"));
        outcome.expect_phrases(&["eth0"]);
        assert!(fresh.find_link("eth0").is_some() && pod.inside().find_link("eth0").is_some());
    });
}

#[test]
fn del_of_what_never_was_succeeds() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        pod.call("DEL", &dual("1.0.0")).run().expect_quiet();
        pod.call("DEL", &dual("1.0.0")).without("CNI_NETNS").run().expect_quiet();
        let path = pod.remove();
        host.call("DEL", "bridge").netns(&path).conf(&dual("1.0.0")).run().expect_quiet();
    });
}

#[test]
fn del_without_a_namespace_still_releases_the_lease() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        pod.add(&dual("1.0.0")).expect_result();
        let lease = Path::new("/var/lib/cni/networks/net/10.1.2.2");
        assert!(lease.exists());
        pod.call("DEL", &dual("1.0.0")).without("CNI_NETNS").run().expect_quiet();
        assert!(!lease.exists());
    });
}

#[test]
fn status_asks_the_ipam_plugin() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        pod.call("STATUS", &dual("1.1.0")).run().expect_quiet();
        pod.call("STATUS", &conf("1.1.0", json!({}))).run().expect_quiet();
        let absent = conf("1.1.0", json!({"ipam": {"type": "not-installed"}}));
        pod.call("STATUS", &absent).run().expect_phrases(&["not-installed"]);
    });
}
