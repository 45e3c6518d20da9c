//! static: whose addresses count, what is refused, and a pod of a bridge that has them (rows 121 to 125 of `parity.tsv`).

use std::path::Path;

use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::{Call, Outcome, Pod};
use serde_json::{Value, json};

fn conf(ipam: &Value) -> Value {
    let mut ipam = ipam.clone();
    ipam["type"] = "static".into();
    json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": ipam})
}

/// Two addresses, routes and name servers.
fn full() -> Value {
    json!({
        "addresses": [{"address": "10.1.2.9/24", "gateway": "10.1.2.254"}, {"address": "2001:db8:1::9/64"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.1.2.253"}, {"dst": "::/0", "gw": "2001:db8:1::1"}],
        "dns": {"nameservers": ["192.0.2.53"], "domain": "example.com", "search": ["a.example"], "options": ["ndots:2"]},
    })
}

fn call(host: &Sandbox, command: &str, conf: &Value) -> Call {
    host.call(command, "static").netns(Path::new("/run/netns/any")).conf(conf)
}

fn add(host: &Sandbox, args: &str, conf: &Value) -> Outcome {
    call(host, "ADD", conf).args(args).run()
}

#[test]
fn gives_addresses_routes_and_name_servers() {
    sandbox::run(|host| {
        let before = host.state();
        let conf = conf(&full());
        let expected = json!({
            "cniVersion": "1.0.0",
            "ips": [{"address": "10.1.2.9/24", "gateway": "10.1.2.254"}, {"address": "2001:db8:1::9/64"}],
            "routes": full()["routes"], "dns": full()["dns"],
        });
        // Nothing is kept, so the same may be given twice, and anything may be deleted.
        for _ in 0..2 {
            assert_eq!(add(host, "", &conf).expect_result(), expected);
        }
        call(host, "DEL", &conf).run().expect_quiet();
        call(host, "DEL", &conf).id("never").without("CNI_NETNS").run().expect_quiet();
        let wrong = json!({"cniVersion": "1.0.0", "name": "net", "ipam": {"addresses": [{"address": "nonsense"}]}});
        call(host, "DEL", &wrong).run().expect_quiet();
        assert_eq!(host.state(), before);
    });
}

#[test]
fn old_versions_have_one_address_of_each_family() {
    sandbox::run(|host| {
        for version in ["0.1.0", "0.2.0"] {
            let mut conf = conf(&full());
            conf["cniVersion"] = version.into();
            let result = add(host, "", &conf).expect_result();
            assert_eq!(result["ip4"]["ip"], "10.1.2.9/24", "{result}");
            assert_eq!(result["ip6"]["ip"], "2001:db8:1::9/64", "{result}");
            add(host, "IP=10.1.2.7/24", &conf).expect_phrases(&["does not support more than 1 address per family"]);
        }
    });
}

#[test]
fn arguments_of_the_environment_add_addresses_with_their_gateways() {
    sandbox::run(|host| {
        let none = conf(&json!({}));
        let ips = |args: &str, conf: &Value| add(host, args, conf).expect_result()["ips"].clone();
        assert_eq!(ips("IP=10.1.2.7/24", &none), json!([{"address": "10.1.2.7/24"}]));
        assert_eq!(
            ips("IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.1.2.7/24,10.3.0.7/16;GATEWAY=10.1.2.1, 10.3.0.1", &none),
            json!([{"address": "10.1.2.7/24", "gateway": "10.1.2.1"}, {"address": "10.3.0.7/16", "gateway": "10.3.0.1"}])
        );
        // Behind those of the config, whose gateways stay as they are.
        assert_eq!(
            ips("IP=2001:db8:2::7/64;GATEWAY=2001:db8:2::1,10.1.2.1", &conf(&full())),
            json!([
                {"address": "10.1.2.9/24", "gateway": "10.1.2.254"},
                {"address": "2001:db8:1::9/64"},
                {"address": "2001:db8:2::7/64", "gateway": "2001:db8:2::1"},
            ])
        );
    });
}

#[test]
fn the_runtime_wins_over_the_args_and_both_over_the_rest() {
    sandbox::run(|host| {
        let ips = |conf: &Value| add(host, "IP=10.1.2.7/24", conf).expect_result()["ips"].clone();
        let mut conf = conf(&full());
        conf["runtimeConfig"] = json!({"ips": []});
        assert_eq!(ips(&conf).as_array().map(Vec::len), Some(3), "an empty list replaces nothing");
        conf["args"] = json!({"cni": {"ips": ["10.6.0.1/16", "2001:db8:6::1/64"]}});
        assert_eq!(ips(&conf), json!([{"address": "10.6.0.1/16"}, {"address": "2001:db8:6::1/64"}]));
        conf["runtimeConfig"] = json!({"ips": ["10.5.0.1/16"]});
        assert_eq!(ips(&conf), json!([{"address": "10.5.0.1/16"}]));
        // What is replaced is not even read.
        conf["ipam"]["addresses"] = json!([{"address": "nonsense"}]);
        assert_eq!(ips(&conf), json!([{"address": "10.5.0.1/16"}]));
    });
}

#[test]
fn what_is_no_address_is_refused_wherever_it_stands() {
    sandbox::run(|host| {
        let with = |key: &str, value: Value| {
            let mut conf = conf(&json!({}));
            conf[key] = value;
            conf
        };
        let address = |address: &str| conf(&json!({"addresses": [{"address": address}]}));
        let (none, ips) = (conf(&json!({})), json!({"ips": ["10.1.2.9"]}));
        for (args, conf, phrase) in [
            ("", &address("10.1.2.9"), "the 'address' field is expected to be in CIDR notation"),
            ("", &address(""), "the 'address' field is expected to be in CIDR notation"),
            ("IP=10.1.2.9", &none, "the 'ip' field is expected to be in CIDR notation"),
            ("IP=10.1.2.7/24,10.1.2.9", &none, "the 'ip' field is expected to be in CIDR notation"),
            ("GATEWAY=10.1.2", &none, "invalid gateway address"),
            ("", &with("args", json!({"cni": ips})), "an entry in the 'ips' field is NOT in CIDR notation"),
            ("", &with("runtimeConfig", ips.clone()), "an entry in the 'ips' field is NOT in CIDR notation"),
            ("NOPE=1", &none, "unknown args"),
            ("", &json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge"}), "IPAM config missing 'ipam' key"),
        ] {
            let seen = if phrase.contains("CIDR") && !conf.to_string().contains("\"\"") { "10.1.2.9" } else { "" };
            add(host, args, conf).expect_phrases(&[phrase, seen]);
        }
        add(host, "", &conf(&json!({"addresses": [{"address": "10.1.2.9/24", "gateway": "x"}]}))).expect_failure();
        add(host, "", &conf(&json!({"routes": [{"dst": "x"}]}))).expect_failure();
    });
}

#[test]
fn check_finds_another_gateway() {
    sandbox::run(|host| {
        let conf = conf(&full());
        let mut result = add(host, "", &conf).expect_result();
        let check = |result: &Value| call(host, "CHECK", &conf).conf_after(&conf, result).run();
        check(&result).expect_quiet();
        result["ips"][0]["gateway"] = "10.1.2.1".into();
        check(&result).expect_phrases(&["static: Failed to match addr", "10.1.2.9", "eth0"]);
        // An address that is not in the result is no fault: the runtime may have given others at ADD.
        result["ips"][0]["address"] = "10.7.7.7/24".into();
        check(&result).expect_quiet();
        call(host, "CHECK", &conf).run().expect_phrases(&["Required prevResult missing"]);
    });
}

#[test]
fn status_and_gc_have_nothing_to_say() {
    sandbox::run(|host| {
        let mut conf = conf(&full());
        conf["cniVersion"] = "1.1.0".into();
        conf["cni.dev/valid-attachments"] = json!([]);
        call(host, "STATUS", &conf).run().expect_quiet();
        call(host, "GC", &conf).run().expect_quiet();
    });
}

#[test]
fn a_pod_of_a_bridge_has_the_addresses() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        let mut conf = conf(&full());
        conf["isGateway"] = true.into();
        conf["bridge"] = "br0".into();
        let result = pod.add(&conf).expect_result();
        let inside = pod.inside();
        assert_eq!(inside.addresses_of("eth0"), ["10.1.2.9/24", "2001:db8:1::9/64"]);
        let via = |text: &str| Some(text.parse().expect("an address"));
        assert!(inside.has_route("0.0.0.0/0", via("10.1.2.254")), "{:?}", inside.routes);
        assert!(inside.has_route("192.168.0.0/16", via("10.1.2.253")), "{:?}", inside.routes);
        assert!(inside.has_route("::/0", via("2001:db8:1::1")), "{:?}", inside.routes);
        let on_host = picocni_tests::kernel::Snapshot::here();
        assert_eq!(on_host.addresses_of("br0"), ["10.1.2.254/24", "2001:db8:1::1/64"], "the gateways are the bridge's");
        assert_eq!(result["dns"], full()["dns"]);
        pod.call("CHECK", &conf).conf_after(&conf, &result).run().expect_quiet();
        for _ in 0..2 {
            pod.call("DEL", &conf).run().expect_quiet();
            assert!(pod.inside().find_link("eth0").is_none());
        }
        // The same address again, with the bridge that is left.
        pod.add(&conf).expect_result();
    });
}
