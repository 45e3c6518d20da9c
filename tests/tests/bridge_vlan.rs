//! bridge with VLANs, isolated ports and guarded sources, by packets that arrive and packets that must not (rows 61 to 64,
//! 71 and 73 of `parity.tsv`).

use picocni_tests::kernel::{Snapshot, edit};
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Protocol, Server, ask, who};
use picocni_tests::{Pod, needs, skip};
use serde_json::{Value, json};

fn conf(extra: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0",
        "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}});
    conf.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    conf
}

fn address(result: &Value) -> String {
    result["ips"][0]["address"].as_str().and_then(|a| a.split('/').next()).expect("an address").to_owned()
}

fn pod<'a>(host: &'a Sandbox, name: &str, extra: Value) -> (Pod<'a>, String) {
    let pod = Pod::new(host, name);
    let result = pod.add(&conf(extra)).expect_result();
    (pod, address(&result))
}

fn reaches(from: &Pod<'_>, to: &str) -> bool {
    from.netns().run(|| ask(Protocol::Tcp, &format!("{to}:80")).is_ok())
}

#[test]
fn pods_of_one_vlan_reach_each_other_and_no_other() {
    needs!(VlanFiltering);
    sandbox::run(|host| {
        let (a, _) = pod(host, "a", json!({"vlan": 7}));
        let (b, to_b) = pod(host, "b", json!({"vlan": 7}));
        let (c, to_c) = pod(host, "c", json!({"vlan": 8}));
        let (trunk, to_trunk) =
            pod(host, "trunk", json!({"vlan": 8, "vlanTrunk": [{"minID": 5, "maxID": 9}, {"id": 20}]}));
        assert_eq!(Snapshot::here().link("br0").vlan_filtering, Some(true));
        let servers: Vec<_> = [(&b, "b"), (&c, "c"), (&trunk, "trunk")]
            .map(|(pod, who)| pod.netns().run(|| Server::both(80, who)))
            .into();
        assert!(reaches(&a, &to_b));
        assert!(!reaches(&a, &to_c), "VLAN 7 reached VLAN 8");
        assert!(reaches(&c, &to_trunk), "untagged in VLAN 8");
        assert!(!reaches(&a, &to_trunk), "only with a tag in VLAN 7");
        drop(servers);
    });
}

#[test]
fn the_gateway_of_a_vlan() {
    needs!(VlanFiltering);
    sandbox::run(|host| {
        let extra = json!({"vlan": 7, "isDefaultGateway": true});
        let first = Pod::new(host, "first");
        let result = first.add(&conf(extra.clone())).expect_result();
        let here = Snapshot::here();
        assert_eq!(here.addresses_of("br0.7"), ["10.1.2.1/24"]);
        assert_eq!(here.addresses_of("br0"), [""; 0]);
        assert_eq!(result["interfaces"][3]["name"], "br0.7");
        assert_eq!(result["interfaces"][3]["mac"], here.link("br0.7").mac.as_str());
        let (second, _) = pod(host, "second", extra.clone());
        let _servers = Server::both(80, "host");
        for pod in [&first, &second] {
            assert_eq!(pod.netns().run(|| who(Protocol::Tcp, "10.1.2.1:80")), "host");
        }
        let mut check = conf(extra.clone());
        check["prevResult"] = result;
        first.call("CHECK", &check).run().expect_quiet();
        for pod in [&first, &second] {
            pod.call("DEL", &conf(extra.clone())).run().expect_quiet();
        }
    });
}

/// Without VLANs everything is in VLAN 1; a port keeps it if it is asked to.
#[test]
fn the_default_vlan_stays_if_it_is_to() {
    needs!(VlanFiltering);
    sandbox::run(|host| {
        let (plain, to_plain) = pod(host, "plain", json!({"vlanTrunk": []}));
        for (name, keep) in [("kept", true), ("left", false)] {
            let (with, to) = pod(host, name, json!({"vlan": 7, "preserveDefaultVlan": keep}));
            let _servers = with.netns().run(|| Server::both(80, "with"));
            // What it sends is of VLAN 7 in both cases, so nothing comes back; but it hears the question.
            assert!(!reaches(&plain, &to));
            let heard = with.inside().neighbours.iter().any(|n| n.ip.to_string() == to_plain);
            assert_eq!(heard, keep, "{name}");
        }
    });
}

#[test]
fn isolated_ports_reach_the_host_alone() {
    sandbox::run(|host| {
        let extra = |isolated: bool| json!({"isGateway": true, "portIsolation": isolated});
        let (a, _) = pod(host, "a", extra(true));
        let (b, to_b) = pod(host, "b", extra(true));
        let (c, to_c) = pod(host, "c", extra(false));
        assert_eq!([&a, &b, &c].map(|pod| pod.host_end().isolated), [Some(true), Some(true), Some(false)]);
        let _servers = [(&b, "b"), (&c, "c")].map(|(pod, who)| pod.netns().run(|| Server::both(80, who)));
        let _host = Server::both(81, "host");
        assert!(!reaches(&a, &to_b), "isolated ports reached each other");
        assert!(reaches(&a, &to_c));
        assert_eq!(a.netns().run(|| who(Protocol::Tcp, "10.1.2.1:81")), "host");
    });
}

#[test]
fn a_guarded_pod_sends_under_its_own_address_only() {
    sandbox::run(|host| {
        let extra = |guard: bool| json!({"isGateway": true, "macspoofchk": guard});
        let before = host.state();
        let (guarded, _) = pod(host, "guarded", extra(true));
        let (free, _) = pod(host, "free", extra(false));
        let _host = Server::both(80, "host");
        for pod in [&guarded, &free] {
            assert!(reaches(pod, "10.1.2.1"));
            pod.netns().run(|| {
                edit::down("eth0");
                edit::mac("eth0", "02:00:00:00:00:66");
                edit::up("eth0");
            });
        }
        assert!(!reaches(&guarded, "10.1.2.1"), "a frame under a foreign address passed");
        assert!(reaches(&free, "10.1.2.1"));
        for pod in [&guarded, &free] {
            for _ in 0..2 {
                pod.call("DEL", &conf(extra(true))).run().expect_quiet();
            }
        }
        let left = picocni_tests::kernel::difference(&before, &host.state());
        assert!(!left.iter().any(|line| line.contains("macspoof") || line.contains("element")), "{left:#?}");
    });
}

/// The attachment's own DEL never comes.
#[test]
fn gc_takes_the_guard_back() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the Go plugins' GC does nothing");
        }
        let (pod, _) = pod(host, "guarded", json!({"macspoofchk": true}));
        let records = || std::fs::read_dir("/run/cni/picocni/macspoof").map_or(0, Iterator::count);
        assert_eq!(records(), 1);
        pod.remove();
        let mut gc = conf(json!({}));
        gc["cniVersion"] = "1.1.0".into();
        gc["cni.dev/valid-attachments"] = json!([]);
        host.call("GC", "bridge").conf(&gc).run().expect_quiet();
        assert_eq!(records(), 0);
    });
}

#[test]
fn vlan_ids_are_validated() {
    sandbox::run(|host| {
        for (number, (extra, phrase)) in [
            (json!({"vlan": -1}), "invalid VLAN ID"),
            (json!({"vlan": 4095}), "invalid VLAN ID"),
            (json!({"vlanTrunk": [{"minID": 0, "maxID": 7}]}), "incorrect trunk minID parameter"),
            (json!({"vlanTrunk": [{"minID": 4095, "maxID": 4096}]}), "incorrect trunk minID parameter"),
            (json!({"vlanTrunk": [{"minID": 7, "maxID": 0}]}), "incorrect trunk maxID parameter"),
            (json!({"vlanTrunk": [{"minID": 7, "maxID": 4095}]}), "incorrect trunk maxID parameter"),
            (json!({"vlanTrunk": [{"minID": 8, "maxID": 7}]}), "minID is greater than maxID in trunk parameter"),
            (json!({"vlanTrunk": [{"maxID": 7}]}), "configured simultaneously, minID is missing"),
            (json!({"vlanTrunk": [{"minID": 7}]}), "configured simultaneously, maxID is missing"),
            (json!({"vlanTrunk": [{"id": 0}]}), "incorrect trunk id parameter"),
            (json!({"vlanTrunk": [{"id": 4095}]}), "incorrect trunk id parameter"),
            (json!({"vlanTrunk": [{"id": 7}, {"id": -7}]}), "incorrect trunk id parameter"),
        ]
        .into_iter()
        .enumerate()
        {
            let pod = Pod::new(host, &format!("pod{number}"));
            pod.add(&conf(extra)).expect_phrases(&[phrase]);
            assert!(pod.inside().find_link("eth0").is_none());
        }
    });
}
