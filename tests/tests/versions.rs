//! Results of every specification version: their shapes, what is converted into what, and what cannot be (rows 13 to 17
//! and 19 of `parity.tsv`).

use std::fs;

use picocni_tests::Pod;
use picocni_tests::kernel;
use picocni_tests::{sandbox, tool};
use serde_json::{Value, json};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Versions whose results have one type.
const FAMILIES: [&[&str]; 3] = [&["0.1.0", "0.2.0"], &["0.3.0", "0.3.1", "0.4.0"], &["1.0.0", "1.1.0"]];

fn family(version: &str) -> usize {
    FAMILIES.iter().position(|family| family.contains(&version)).expect("a known version")
}

/// One network in every version's words: two addresses, three routes, and DNS.
fn expected(version: &str) -> Value {
    let dns = json!({"nameservers": ["192.0.2.53"], "search": ["example.org"]});
    let (v4, v6) = (("10.1.2.1/24", "10.1.2.254"), ("2001:db8:1::2/64", "2001:db8:1::1"));
    let routes =
        [json!({"dst": "0.0.0.0/0"}), json!({"dst": "192.168.0.0/16", "gw": "10.1.2.9"}), json!({"dst": "::/0"})];
    let mut result = match family(version) {
        0 => json!({
            "ip4": {"ip": v4.0, "gateway": v4.1, "routes": routes[..2]},
            "ip6": {"ip": v6.0, "gateway": v6.1, "routes": routes[2..]},
        }),
        1 => json!({
            "ips": [
                {"version": "4", "address": v4.0, "gateway": v4.1},
                {"version": "6", "address": v6.0, "gateway": v6.1},
            ],
            "routes": routes,
        }),
        _ => json!({
            "ips": [{"address": v4.0, "gateway": v4.1}, {"address": v6.0, "gateway": v6.1}],
            "routes": routes,
        }),
    };
    result["cniVersion"] = version.into();
    result["dns"] = dns;
    result
}

fn ipam(version: &str) -> Value {
    json!({"cniVersion": version, "name": "net", "ipam": {"type": "host-local", "resolvConf": "/run/resolv.conf",
        "ranges": [[{"subnet": "10.1.2.0/24", "gateway": "10.1.2.254"}], [{"subnet": "2001:db8:1::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.1.2.9"}, {"dst": "::/0"}]}})
}

#[test]
fn one_network_has_a_shape_in_every_version() {
    for version in VERSIONS {
        sandbox::run(|host| {
            fs::write("/run/resolv.conf", "nameserver 192.0.2.53\nsearch example.org\n").expect("a file");
            let mut conf = ipam(version);
            let call = host.call("ADD", "host-local").netns(host.pod("p").path());
            assert_eq!(call.clone().conf(&conf).run().expect_result(), expected(version));
            // Without DNS the old shapes have an empty object, the new ones none.
            conf["ipam"].as_object_mut().expect("an object").remove("resolvConf");
            let result = call.id("c2").conf(&conf).run().expect_result();
            let empty = (family(version) < 2).then(|| json!({}));
            assert_eq!(result.get("dns"), empty.as_ref(), "{result}");
        });
    }
}

/// A result with everything that a version's type can hold.
fn full(version: &str) -> Value {
    if family(version) == 0 {
        return expected(version);
    }
    let mut result = json!({
        "cniVersion": version,
        "interfaces": [
            {"name": "br0", "mac": "02:00:00:00:00:01"},
            {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/c1"},
        ],
        "ips": [
            {"interface": 0, "address": "10.1.2.3/24", "gateway": "10.1.2.1"},
            {"interface": 1, "address": "2001:db8:1::3/64"},
            {"address": "10.1.3.3/32"},
        ],
        // Host bits of a destination are no mistake, nor is a route without a gateway.
        "routes": [
            {"dst": "192.168.1.7/16"},
            {"dst": "::/0", "gw": "2001:db8:1::1", "mtu": 1400, "advmss": 1300, "priority": 7, "table": 100, "scope": 0},
        ],
        "dns": {"nameservers": ["192.0.2.53"], "domain": "example.org", "search": ["a", "b"], "options": ["c"]},
    });
    if family(version) == 1 {
        for ip in result["ips"].as_array_mut().expect("a list") {
            let v6 = ip["address"].as_str().is_some_and(|a| a.contains(':'));
            ip["version"] = if v6 { "6" } else { "4" }.into();
        }
    }
    result
}

fn tuning(version: &str) -> Value {
    json!({"cniVersion": version, "name": "net", "type": "tuning"})
}

#[test]
fn a_result_goes_through_a_plugin_unchanged() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        for version in VERSIONS {
            let (conf, result) = (tuning(version), full(version));
            let printed = pod.call("ADD", &conf).conf_after(&conf, &result).run().expect_result();
            // What has the value that it would have anyway may be left out or be said.
            assert_eq!(said(&printed), said(&result), "{version}");
        }
    });
}

/// A result without members that say nothing: an empty DNS, a scope of 0.
fn said(result: &Value) -> Value {
    let mut result = result.clone();
    let object = result.as_object_mut().expect("an object");
    object.retain(|key, value| key != "dns" || value != &json!({}));
    for route in object.get_mut("routes").and_then(Value::as_array_mut).into_iter().flatten() {
        route.as_object_mut().expect("an object").retain(|key, value| key != "scope" || value != 0);
    }
    result
}

#[test]
fn interfaces_of_the_newest_versions_tell_more() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        for version in ["1.0.0", "1.1.0"] {
            let mut result = full(version);
            result["interfaces"][1]["mtu"] = 1400.into();
            result["interfaces"][1]["socketPath"] = "/run/vhost.sock".into();
            result["interfaces"][1]["pciID"] = "0000:00:1f.6".into();
            let conf = tuning(version);
            let printed = pod.call("ADD", &conf).conf_after(&conf, &result).run().expect_result();
            assert_eq!(said(&printed), said(&result), "{version}");
        }
    });
}

#[test]
fn a_previous_result_is_of_the_family_of_the_config() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        for version in VERSIONS {
            for other in VERSIONS {
                let (conf, result) = (tuning(version), full(other));
                let outcome = pod.call("ADD", &conf).conf_after(&conf, &result).run();
                if family(version) == family(other) {
                    let mut converted = result;
                    converted["cniVersion"] = version.into();
                    assert_eq!(said(&outcome.expect_result()), said(&converted), "{other} in {version}");
                } else {
                    outcome.expect_phrases(&["prevResult"]);
                }
            }
            // Without a version it is taken to be the config's.
            let (conf, mut result) = (tuning(version), full(version));
            result.as_object_mut().expect("an object").remove("cniVersion");
            let outcome = pod.call("ADD", &conf).conf_after(&conf, &result).run();
            assert_eq!(said(&outcome.expect_result()), said(&full(version)), "{version}");
        }
    });
}

#[test]
fn addresses_and_routes_are_checked_where_they_are_read() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        let conf = tuning("1.0.0");
        let bad = [
            ("ips", json!([{"address": "10.1.2.3"}])),
            ("ips", json!([{"address": "10.1.2.3/33"}])),
            ("ips", json!([{"address": "10.1.2/24"}])),
            ("ips", json!([{"address": "10.1.2.3/24", "gateway": "10.1.2"}])),
            ("ips", json!([{"address": 7}])),
            ("routes", json!([{"dst": "10.1.2.0"}])),
            ("routes", json!([{"dst": "10.1.2.0/24", "gw": "::g"}])),
            ("routes", json!({"dst": "10.1.2.0/24"})),
        ];
        for (key, value) in bad {
            let mut result = full("1.0.0");
            result[key] = value.clone();
            let outcome = pod.call("ADD", &conf).conf_after(&conf, &result).run();
            assert_eq!(outcome.code, Some(1), "{key} {value} was accepted: {outcome}");
            outcome.expect_failure();
        }
    });
}

#[test]
fn a_result_without_addresses_has_no_old_shape() {
    sandbox::run(|host| {
        for version in VERSIONS {
            let conf = json!({"cniVersion": version, "name": "net", "type": "bridge", "bridge": "br0"});
            let pod = Pod::new(host, &format!("v{version}"));
            let fresh = pod.inside();
            let outcome = pod.add(&conf);
            if family(version) > 0 {
                assert_eq!(outcome.expect_result().get("ips"), None);
                continue;
            }
            outcome.expect_phrases(&["no valid IP addresses"]);
            if !host.peer().is_go() {
                assert_eq!(fresh.difference(&pod.inside()), [""; 0], "{version}: left in the pod");
            }
        }
    });
}

#[test]
fn an_ipam_result_of_any_version_is_understood() {
    sandbox::run(|host| {
        let mut number = 0;
        for theirs in VERSIONS {
            for ours in VERSIONS {
                number += 1;
                let conf = json!({"cniVersion": ours, "name": "net", "type": "bridge", "bridge": "br0",
                    "ipam": {"type": "printing-ipam"}});
                let mut result = full(theirs);
                // An IPAM plugin knows no interfaces; the routes of its result are set in the pod.
                let object = result.as_object_mut().expect("an object");
                object.remove("interfaces");
                if let Some(routes) = object.get_mut("routes") {
                    *routes = json!([{"dst": "192.168.0.0/16", "gw": "10.1.2.9"}]);
                }
                for ip in object.get_mut("ips").and_then(Value::as_array_mut).into_iter().flatten() {
                    ip.as_object_mut().expect("an object").remove("interface");
                }
                tool::script(host, "printing-ipam", &result);
                let pod = Pod::new(host, &format!("c{number}"));
                let printed = pod.add(&conf).expect_result();
                assert_eq!(printed["cniVersion"], ours, "{theirs} to {ours}");
                let here = pod.inside().addresses_of("eth0");
                let first = if family(theirs) == 0 { "10.1.2.1/24" } else { "10.1.2.3/24" };
                assert!(here.contains(&first.to_owned()), "{theirs} to {ours}: {here:?}");
                let printed = if family(ours) == 0 { &printed["ip4"]["ip"] } else { &printed["ips"][0]["address"] };
                assert_eq!(printed, first, "{theirs} to {ours}");
                pod.call("DEL", &conf).run().expect_quiet();
            }
        }
        assert!(kernel::Snapshot::here().find_link("br0").is_some());
    });
}
