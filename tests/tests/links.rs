//! macvlan, ipvlan, vlan and dummy: one link in the pod, on a link of the host's that leads to a network (rows 76, 82 to
//! 95, 104 and 105 of `parity.tsv`). What the kernel of the host does not have is tested in the VM.

use std::fs::File;
use std::os::fd::AsRawFd;

use netlink_packet_route::link::LinkAttribute;
use picocni_tests::kernel::{self, LinkType, Snapshot, edit};
use picocni_tests::netns::Netns;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Protocol, Server, who};
use picocni_tests::{Pod, needs, skip};
use serde_json::{Value, json};

/// The network that the host's link `up0` leads to, with one machine on it: 10.9.0.1 and 2001:db8:9::1.
fn network(host: &Sandbox) -> Netns {
    let machine = host.pod("machine");
    edit::veth("up0", "wire");
    let file = File::open(machine.path()).expect("a namespace");
    edit::set("wire", LinkAttribute::NetNsFd(file.as_raw_fd()));
    edit::up("up0");
    machine.run(|| {
        kernel::set_sysctl("net/ipv6/conf/wire/accept_dad", "0");
        edit::up("wire");
        edit::address("wire", "10.9.0.1/24");
        edit::address("wire", "2001:db8:9::1/64");
    });
    machine
}

fn conf(kind: &str, extra: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": kind, "ipam": {"type": "host-local",
        "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "2001:db8:9::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}});
    if kind != "dummy" {
        conf["master"] = "up0".into();
    }
    conf.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    conf
}

/// Without the second, which waits for the detection of duplicates.
fn one_family(conf: &mut Value) {
    conf["ipam"]["ranges"].as_array_mut().expect("ranges").truncate(1);
    conf["ipam"]["routes"].as_array_mut().expect("routes").truncate(1);
}

/// ADD, CHECK and DEL; what ADD printed and what was there.
fn life(host: &Sandbox, conf: &Value, between: impl FnOnce(&Pod<'_>, &Value)) {
    let before = host.state();
    let pod = Pod::new(host, "pod");
    let empty = pod.inside();
    let result = pod.add(conf).expect_result();
    let inside = pod.inside();
    let eth0 = inside.link("eth0");
    assert_eq!(result["interfaces"].as_array().map(Vec::len), Some(1), "{result}");
    assert_eq!(result["interfaces"][0]["name"], "eth0");
    assert_eq!(result["interfaces"][0]["mac"], eth0.mac.as_str());
    assert_eq!(result["interfaces"][0]["sandbox"], pod.netns().path().to_str().expect("UTF-8"));
    assert!(eth0.up, "{eth0:?}");
    if conf.get("ipam").is_some() {
        let printed: Vec<&str> =
            result["ips"].as_array().expect("ips").iter().filter_map(|ip| ip["address"].as_str()).collect();
        assert_eq!(inside.addresses_of("eth0"), printed);
        assert!(result["ips"].as_array().expect("ips").iter().all(|ip| ip["interface"] == 0), "{result}");
        assert!(inside.has_route("0.0.0.0/0", Some("10.9.0.1".parse().expect("an address"))), "{:?}", inside.routes);
        let dual = printed.len() == 2;
        let v6 = Some("2001:db8:9::1".parse().expect("an address"));
        assert_eq!(inside.has_route("::/0", v6), dual, "{:?}", inside.routes);
        let mut with_prev = conf.clone();
        with_prev["prevResult"] = result.clone();
        pod.call("CHECK", &with_prev).run().expect_quiet();
        pod.netns().run(|| edit::delete_addresses("eth0"));
        pod.call("CHECK", &with_prev).run().expect_failure();
        pod.call("DEL", &with_prev).run().expect_quiet();
        between(&pod, &pod.add(conf).expect_result());
    } else {
        between(&pod, &result);
    }
    for _ in 0..2 {
        pod.call("DEL", conf).run().expect_quiet();
    }
    assert_eq!(empty.difference(&pod.inside()), [""; 0]);
    let ends = ["last_reserved_ip", "/lock "];
    let left: Vec<String> = kernel::difference(&before, &host.state());
    assert_eq!(left.into_iter().filter(|l| !ends.iter().any(|e| l.contains(e))).collect::<Vec<_>>(), [""; 0]);
    // A sandbox that is gone.
    let path = pod.netns().path().to_owned();
    pod.remove();
    host.call("DEL", conf["type"].as_str().expect("a type")).id("pod").netns(&path).conf(conf).run().expect_quiet();
}

/// The machine on the network talks with the pod.
fn is_reached(machine: &Netns, pod: &Pod<'_>, result: &Value) {
    let _servers = pod.netns().run(|| Server::both(80, "pod"));
    for ip in result["ips"].as_array().expect("ips") {
        let ip = ip["address"].as_str().and_then(|a| a.split('/').next()).expect("an address");
        let to = if ip.contains(':') { format!("[{ip}]:80") } else { format!("{ip}:80") };
        assert_eq!(machine.run(|| who(Protocol::Tcp, &to)), "pod");
    }
}

#[test]
fn macvlan_in_every_mode() {
    needs!(Macvlan);
    sandbox::run(|host| {
        let machine = network(host);
        for mode in ["", "bridge", "private", "vepa", "passthru"] {
            let mut conf = conf("macvlan", json!({"mode": mode, "mtu": 1400, "bcqueuelen": 500}));
            if mode != "bridge" {
                one_family(&mut conf);
            }
            life(host, &conf, |pod, result| {
                let eth0 = pod.inside().link("eth0").clone();
                assert_eq!((eth0.kind.as_str(), eth0.mtu), ("macvlan", 1400));
                let again = pod.call("ADD", &conf).run();
                again.expect_failure();
                is_reached(&machine, pod, result);
            });
        }
    });
}

#[test]
fn macvlan_on_the_default_route_with_a_mac_that_is_asked_for() {
    needs!(Macvlan);
    sandbox::run(|host| {
        let _machine = network(host);
        let mut conf = conf("macvlan", json!({"runtimeConfig": {"mac": "02:00:00:00:00:77"}}));
        conf.as_object_mut().expect("an object").remove("master");
        Pod::new(host, "none").add(&conf).expect_phrases(&["no default route interface found"]);
        edit::address("up0", "10.9.0.200/24");
        edit::route("0.0.0.0/0", "10.9.0.1");
        life(host, &conf, |pod, _| assert_eq!(pod.inside().link("eth0").mac, "02:00:00:00:00:77"));
        let mut layer_2 = conf.clone();
        layer_2.as_object_mut().expect("an object").remove("ipam");
        layer_2["dns"] = json!({"nameservers": ["192.0.2.53"]});
        life(host, &layer_2, |_, result| {
            assert_eq!(result["dns"]["nameservers"], json!(["192.0.2.53"]));
            assert!(result.get("ips").is_none(), "{result}");
        });
    });
}

#[test]
fn ipvlan_in_every_mode() {
    needs!(Ipvlan);
    sandbox::run(|host| {
        let machine = network(host);
        for mode in ["", "l2", "l3", "l3s"] {
            let mut conf = conf("ipvlan", json!({"mode": mode, "mtu": 1400}));
            if mode != "l2" {
                one_family(&mut conf);
            }
            life(host, &conf, |pod, result| {
                let eth0 = pod.inside().link("eth0").clone();
                assert_eq!((eth0.kind.as_str(), eth0.mtu), ("ipvlan", 1400));
                assert_eq!(eth0.mac, Snapshot::here().link("up0").mac);
                if !mode.starts_with("l3") {
                    is_reached(&machine, pod, result);
                }
            });
        }
    });
}

/// As a chained plugin without `ipam`: the link of prevResult is its master, and its addresses are used.
#[test]
fn ipvlan_behind_another_plugin() {
    needs!(Ipvlan);
    sandbox::run(|host| {
        let _machine = network(host);
        let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "ipvlan", "prevResult": {
            "cniVersion": "1.0.0", "interfaces": [{"name": "up0"}],
            "ips": [{"address": "10.9.0.7/24", "gateway": "10.9.0.1", "interface": 0}], "routes": [{"dst": "0.0.0.0/0"}]}});
        let pod = Pod::new(host, "pod");
        let result = pod.add(&conf).expect_result();
        assert_eq!(result["interfaces"][0]["name"], "eth0");
        assert_eq!(pod.inside().addresses_of("eth0"), ["10.9.0.7/24"]);
        conf["prevResult"]["interfaces"] = json!([]);
        Pod::new(host, "other").add(&conf).expect_phrases(&["PrevResult lacks a single named interface"]);
    });
}

#[test]
fn vlan_has_its_id_and_mtu() {
    needs!(Vlan);
    sandbox::run(|host| {
        let _machine = network(host);
        for (extra, mtu) in
            [(json!({"vlanId": 7}), 1500), (json!({"vlanId": 4094, "mtu": 1400}), 1400), (json!({}), 1500)]
        {
            let mut conf = conf("vlan", extra);
            if mtu == 1400 {
                one_family(&mut conf);
            }
            life(host, &conf, |pod, _| {
                let eth0 = pod.inside().link("eth0").clone();
                assert_eq!((eth0.kind.as_str(), eth0.mtu), ("vlan", mtu));
            });
        }
        for (name, extra, phrase) in [
            ("large", json!({"mtu": 1501}), "invalid MTU"),
            ("negative", json!({"mtu": -1}), "invalid MTU"),
            ("id", json!({"vlanId": 4095}), "invalid VLAN ID"),
        ] {
            Pod::new(host, name).add(&conf("vlan", extra)).expect_phrases(&[phrase]);
        }
    });
}

#[test]
fn a_master_inside_the_sandbox() {
    needs!(Macvlan);
    sandbox::run(|host| {
        let pod = Pod::new(host, "pod");
        pod.netns().run(|| {
            edit::veth("in0", "in1");
            edit::up("in0");
            edit::up("in1");
        });
        for kind in ["macvlan", "ipvlan", "vlan"] {
            let present = match kind {
                "ipvlan" => LinkType::Ipvlan.try_out().is_ok(),
                "vlan" => LinkType::Vlan.try_out().is_ok(),
                _ => true,
            };
            if !present {
                continue;
            }
            let conf = conf(kind, json!({"master": "in0", "linkInContainer": true}));
            pod.add(&conf).expect_result();
            assert_eq!(pod.inside().link("eth0").kind, kind);
            pod.call("DEL", &conf).run().expect_quiet();
            assert!(pod.inside().find_link("eth0").is_none());
        }
    });
}

#[test]
fn dummy_is_up_and_has_its_addresses() {
    needs!(Dummy);
    sandbox::run(|host| {
        life(host, &conf("dummy", json!({})), |pod, _| assert_eq!(pod.inside().link("eth0").kind, "dummy"));
        let mut without = conf("dummy", json!({}));
        without.as_object_mut().expect("an object").remove("ipam");
        Pod::new(host, "none").add(&without).expect_phrases(&["requires an IPAM configuration"]);
    });
}

#[test]
fn status_knows_the_master() {
    sandbox::run(|host| {
        let _machine = network(host);
        let go = host.peer().is_go();
        for kind in ["macvlan", "ipvlan", "vlan"] {
            let status = |master: &str| {
                let mut conf = conf(kind, json!({"master": master}));
                conf["cniVersion"] = "1.1.0".into();
                host.call("STATUS", kind).conf(&conf).run()
            };
            status("up0").expect_quiet();
            if !go {
                status("gone0").expect_error(50, &["master interface not found", "gone0"]);
            }
        }
    });
}

/// DEL needs no master, and no value that ADD refuses.
#[test]
fn del_looks_at_nothing_that_may_be_gone() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the Go plugins' DEL reads the master");
        }
        for kind in ["macvlan", "ipvlan", "vlan", "dummy", "ptp"] {
            let pod = Pod::new(host, kind);
            let conf = conf(kind, json!({"master": "gone0", "mode": "nonsense", "vlanId": 5000, "mtu": -1}));
            pod.call("DEL", &conf).run().expect_quiet();
        }
    });
}
