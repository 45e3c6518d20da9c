//! The options of bridge: gateways, MACs, port modes, routes, DNS (rows 65 to 68 and 77 of `parity.tsv`).

use std::net::IpAddr;

use netlink_packet_route::link::LinkAttribute;
use picocni_tests::Pod;
use picocni_tests::kernel::{self, Snapshot, edit};
use picocni_tests::sandbox;
use serde_json::{Value, json};

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
fn a_gateway_address_in_the_way_is_replaced_only_on_request() {
    sandbox::run(|host| {
        edit::bridge("br0");
        // Without a MAC of its own a bridge loses it with its last port, which the Go plugin stumbles over.
        edit::set("br0", LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]));
        edit::up("br0");
        edit::address("br0", "192.0.2.1/24");
        let gateway = |force: bool| {
            conf(
                "1.0.0",
                json!({
                    "isGateway": true, "forceAddress": force, "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"},
                }),
            )
        };
        let pod = Pod::new(host, "c1");
        pod.add(&gateway(false)).expect_phrases(&["br0", "already has an IP address different from", "10.1.2.1"]);
        assert_eq!(Snapshot::here().addresses_of("br0"), ["192.0.2.1/24"]);
        pod.call("DEL", &gateway(false)).run().expect_quiet();
        pod.add(&gateway(true)).expect_result();
        assert_eq!(Snapshot::here().addresses_of("br0"), ["10.1.2.1/24"]);
        // The same address again is no conflict.
        Pod::new(host, "c2").add(&gateway(false)).expect_result();
    });
}

#[test]
fn ipv6_gateways_live_side_by_side_unless_they_overlap() {
    sandbox::run(|host| {
        edit::bridge("br0");
        edit::up("br0");
        kernel::set_sysctl("net.ipv6.conf.br0.accept_dad", "0");
        edit::address("br0", "2001:db8:9::1/64");
        let gateway =
            |subnet: &str| conf("1.0.0", json!({"isGateway": true, "ipam": {"type": "host-local", "subnet": subnet}}));
        Pod::new(host, "c1").add(&gateway("2001:db8:1::/64")).expect_result();
        let mut both = Snapshot::here().addresses_of("br0");
        both.sort();
        assert_eq!(both, ["2001:db8:1::1/64", "2001:db8:9::1/64"]);
        Pod::new(host, "c2")
            .add(&gateway("2001:db8:9::/48"))
            .expect_phrases(&["already has an IP address different from"]);
    });
}

#[test]
fn the_gateway_comes_from_the_subnet_and_not_without_is_gateway() {
    sandbox::run(|host| {
        let plain = conf(
            "1.0.0",
            json!({"ipam": {"type": "host-local", "subnet": "10.1.2.0/24", "routes": [{"dst": "192.0.2.0/24"}]}}),
        );
        let pod = Pod::new(host, "c1");
        let result = pod.add(&plain).expect_result();
        assert!(Snapshot::here().addresses_of("br0").is_empty());
        assert_eq!(kernel::sysctl("net.ipv4.ip_forward"), "0");
        assert!(pod.inside().has_route("192.0.2.0/24", ip("10.1.2.1")), "{result}");
        assert!(!pod.inside().has_route("0.0.0.0/0", ip("10.1.2.1")));
    });
}

#[test]
fn a_route_keeps_its_metric_and_table() {
    sandbox::run(|host| {
        let routes = json!([
            {"dst": "192.0.2.0/24", "gw": "10.1.2.9", "priority": 77, "mtu": 1300, "advmss": 1200},
            {"dst": "203.0.113.0/24", "table": 500},
        ]);
        let conf = conf("1.1.0", json!({"ipam": {"type": "host-local", "subnet": "10.1.2.0/24", "routes": routes}}));
        let pod = Pod::new(host, "c1");
        let result = pod.add(&conf).expect_result();
        assert_eq!(result["routes"], routes, "{result}");
        let inside = pod.inside();
        let find = |dst: &str| {
            inside.routes.iter().find(|r| r.destination == dst).unwrap_or_else(|| panic!("no route to {dst}"))
        };
        assert_eq!((find("192.0.2.0/24").priority, find("192.0.2.0/24").via), (77, ip("10.1.2.9")));
        assert_eq!(find("203.0.113.0/24").table, 500);
        if !host.peer().is_go() {
            // The Go plugins only repeat these two in the result.
            assert_eq!((find("192.0.2.0/24").mtu, find("192.0.2.0/24").advmss), (Some(1300), Some(1200)));
        }
    });
}

#[test]
fn promiscuous_mode_is_set_on_the_bridge() {
    sandbox::run(|host| {
        let conf = conf("1.0.0", json!({"promiscMode": true, "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}}));
        let pod = Pod::new(host, "c1");
        let result = pod.add(&conf).expect_result();
        assert!(Snapshot::here().link("br0").promiscuous);
        pod.call("CHECK", &conf).conf_after(&conf, &result).run().expect_quiet();
    });
}

#[test]
fn hairpin_and_promiscuous_mode_exclude_each_other() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        let hairpin = conf("1.0.0", json!({"hairpinMode": true}));
        pod.add(&hairpin).expect_result();
        assert_eq!(pod.host_end().hairpin, Some(true));
        let plain = Pod::new(host, "c2");
        plain.add(&conf("1.0.0", json!({}))).expect_result();
        assert_eq!(plain.host_end().hairpin, Some(false));
        let both = conf("1.0.0", json!({"hairpinMode": true, "promiscMode": true}));
        Pod::new(host, "c3")
            .add(&both)
            .expect_phrases(&["cannot set hairpin mode and promiscuous mode at the same time"]);
    });
}

#[test]
fn the_bridge_keeps_its_mac_when_pods_come_and_go() {
    sandbox::run(|host| {
        let (first, second) = (Pod::new(host, "c1"), Pod::new(host, "c2"));
        first.add(&dual("1.0.0")).expect_result();
        let mac = Snapshot::here().link("br0").mac.clone();
        // A port with a lower MAC would take over a bridge whose MAC is not fixed.
        let mut low = dual("1.0.0");
        low["runtimeConfig"] = json!({"mac": "02:00:00:00:00:01"});
        second.add(&low).expect_result();
        edit::veth("low0", "low1");
        edit::set("low0", LinkAttribute::Address(vec![2, 0, 0, 0, 0, 0]));
        edit::enslave("low0", "br0");
        assert_eq!(Snapshot::here().link("br0").mac, mac);
        first.call("DEL", &dual("1.0.0")).run().expect_quiet();
        second.call("DEL", &low).run().expect_quiet();
        assert_eq!(Snapshot::here().link("br0").mac, mac);
    });
}

#[test]
fn a_mac_may_be_asked_for_in_three_places() {
    sandbox::run(|host| {
        let base = conf("1.0.0", json!({"ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}}));
        let mut args = base.clone();
        args["args"] = json!({"cni": {"mac": "02:00:00:00:00:02"}});
        let mut runtime = args.clone();
        runtime["runtimeConfig"] = json!({"mac": "02:00:00:00:00:03"});
        // The later place wins: CNI_ARGS, args.cni, runtimeConfig.
        for (id, conf, mac) in [
            ("c1", &base, "02:00:00:00:00:01"),
            ("c2", &args, "02:00:00:00:00:02"),
            ("c3", &runtime, "02:00:00:00:00:03"),
        ] {
            let pod = Pod::new(host, id);
            let result = pod
                .call("ADD", conf)
                .args("IgnoreUnknown=1;K8S_POD_NAME=p;MAC=02:00:00:00:00:01")
                .run()
                .expect_result();
            assert_eq!(pod.inside().link("eth0").mac, mac);
            assert_eq!(result["interfaces"][2]["mac"], mac);
        }
    });
}

#[test]
fn duplicate_address_detection_only_when_asked_for() {
    sandbox::run(|host| {
        for (id, asked, expected) in [("c1", false, "0"), ("c2", true, "1")] {
            let mut conf = dual("1.0.0");
            conf["enabledad"] = asked.into();
            let pod = Pod::new(host, id);
            pod.add(&conf).expect_result();
            let accept_dad = pod.netns().run(|| kernel::sysctl("net.ipv6.conf.eth0.accept_dad"));
            let v6 = pod
                .inside()
                .addresses
                .into_iter()
                .find(|a| a.dev == "eth0" && a.ip == ip("2001:db8:1::2").expect("one"));
            // Either way is fine for a pod that does not want to wait: the switch, or the flag of the address.
            if asked {
                assert_eq!(accept_dad, expected);
            } else {
                let flagged = v6.is_some_and(|a| a.no_dad);
                assert!(accept_dad == expected || flagged, "the address waits for duplicate address detection");
            }
        }
    });
}

#[test]
fn config_dns_replaces_the_ipam_plugins() {
    sandbox::run(|host| {
        std::fs::write("/etc/resolv.test", "nameserver 192.0.2.3\n").expect("a file in the private /etc");
        let ipam = json!({"type": "host-local", "subnet": "10.1.2.0/24", "resolvConf": "/etc/resolv.test"});
        let own = Pod::new(host, "c1").add(&conf("1.0.0", json!({"ipam": ipam}))).expect_result();
        assert_eq!(own["dns"], json!({"nameservers": ["192.0.2.3"]}));
        let dns = json!({"nameservers": ["192.0.2.9"], "search": ["example.com"]});
        let replaced = Pod::new(host, "c2").add(&conf("1.0.0", json!({"ipam": ipam, "dns": dns}))).expect_result();
        assert_eq!(replaced["dns"], dns);
    });
}

/// A bridge that an administrator made takes the MAC of a port, so it has another one after ADD than before.
#[test]
fn the_mac_of_a_bridge_that_was_there_is_the_one_it_has_afterwards() {
    sandbox::run(|host| {
        edit::bridge("br0");
        let pod = Pod::new(host, "c1");
        let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0",
            "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}});
        let result = pod.add(&conf).expect_result();
        assert_eq!(result["interfaces"][0]["mac"], Snapshot::here().link("br0").mac.as_str());
        conf["prevResult"] = result;
        pod.call("CHECK", &conf).run().expect_quiet();
    });
}

#[test]
fn an_interface_may_stay_down() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "pod");
        let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0",
            "disableContainerInterface": true});
        let result = pod.add(&conf).expect_result();
        assert_eq!(result["interfaces"][2]["name"], "eth0");
        assert!(!pod.inside().link("eth0").up);
        assert!(pod.host_end().up);
        conf["ipam"] = json!({"type": "host-local", "subnet": "10.1.2.0/24"});
        Pod::new(host, "other")
            .add(&conf)
            .expect_phrases(&["cannot use IPAM when DisableContainerInterface flag is set"]);
    });
}
