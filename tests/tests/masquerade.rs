//! ipMasq with real packets: who leaves a pod's network has the host's address, who stays keeps its own (rows 48,
//! 49 and 70 of `parity.tsv`).

use picocni_tests::iptables::{FLAVOURS, Flavour};
use picocni_tests::kernel;
use picocni_tests::outside::Outside;
use picocni_tests::peer::Peer;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Answer, PROTOCOLS, Protocol, Server, ask};
use picocni_tests::{Call, Pod, skip};
use serde_json::{Value, json};

fn conf(masquerade: bool) -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
        "ipMasq": masquerade, "ipMasqBackend": "nftables",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]]}})
}

/// As whom `pod` is seen at `to`.
fn seen(pod: &Pod, protocol: Protocol, to: &str) -> String {
    let answer: Result<Answer, String> = pod.netns().run(|| ask(protocol, to));
    answer.unwrap_or_else(|e| panic!("{e}")).seen_from.to_string()
}

fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().expect("ips").iter();
    ips.map(|ip| ip["address"].as_str().expect("an address").split('/').next().expect("an address").to_owned())
        .collect()
}

/// Rules and records of this attachment.
fn traces(host: &Sandbox, id: &str, address: &str) -> Vec<String> {
    let about = |l: &String| {
        (l.starts_with("nft") || l.contains("/masq/")) && (l.contains(id) || l.contains(&format!("{address} ")))
    };
    host.state().into_iter().filter(about).collect()
}

#[test]
fn packets_that_leave_the_network_get_the_hosts_address() {
    sandbox::run(|host| {
        if host.peer().is_go() && sandbox::nft_ruleset().is_none() {
            skip!("the Go plugins need nft");
        }
        let outside = Outside::new(host);
        let _client = outside.client.run(|| Server::both(7, "client"));
        let _far = outside.far.run(|| Server::both(7, "far"));
        let (pod, neighbour) = (Pod::new(host, "pod"), Pod::new(host, "neighbour"));
        let own = addresses(&pod.add(&conf(true)).expect_result());
        let other = addresses(&neighbour.add(&conf(true)).expect_result());
        let _neighbour = neighbour.netns().run(|| Server::both(7, "neighbour"));
        let _host = Server::both(7, "host");
        for protocol in PROTOCOLS {
            assert_eq!(seen(&pod, protocol, "192.0.2.100:7"), "192.0.2.1");
            assert_eq!(seen(&pod, protocol, "203.0.113.2:7"), "203.0.113.1");
            assert_eq!(seen(&pod, protocol, "[2001:db8:9::100]:7"), "2001:db8:9::1");
            // Inside the network, and at the host, a pod is who it is.
            assert_eq!(seen(&pod, protocol, &format!("{}:7", other[0])), own[0]);
            assert_eq!(seen(&pod, protocol, &format!("[{}]:7", other[1])), own[1]);
            assert_eq!(seen(&pod, protocol, "10.1.2.1:7"), own[0]);
        }
    });
}

#[test]
fn without_it_nothing_is_translated() {
    sandbox::run(|host| {
        let outside = Outside::new(host);
        let _client = outside.client.run(|| Server::both(7, "client"));
        let pod = Pod::new(host, "pod");
        let own = addresses(&pod.add(&conf(false)).expect_result());
        assert_eq!(seen(&pod, Protocol::Tcp, "192.0.2.100:7"), own[0]);
        assert_eq!(seen(&pod, Protocol::Tcp, "[2001:db8:9::100]:7"), own[1]);
        if host.peer().is_go() {
            return;
        }
        assert_eq!(traces(host, "pod", &own[0]), [""; 0]);
    });
}

#[test]
fn check_and_del_know_their_rules() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            // Its comments and its GC are of another kind.
            return;
        }
        let pod = Pod::new(host, "c1");
        let result = pod.add(&conf(true)).expect_result();
        let address = &addresses(&result)[0];
        let call = |command: &str| pod.call(command, &conf(true)).conf_after(&conf(true), &result).run();
        call("CHECK").expect_quiet();
        assert_ne!(traces(host, "c1", address), [""; 0]);
        // Without a namespace and without a result, as after a crash: the record is enough.
        pod.call("DEL", &conf(true)).without("CNI_NETNS").run().expect_quiet();
        assert_eq!(traces(host, "c1", address), [""; 0]);
        let state = host.state();
        pod.call("DEL", &conf(true)).run().expect_quiet();
        let left: Vec<String> =
            kernel::difference(&state, &host.state()).into_iter().filter(|l| l.starts_with('+')).collect();
        assert_eq!(left, [""; 0]);
    });
}

#[test]
fn gc_removes_the_rules_of_stale_attachments() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            return;
        }
        let (stale, valid) = (Pod::new(host, "stale"), Pod::new(host, "valid"));
        let gone = addresses(&stale.add(&conf(true)).expect_result())[0].clone();
        let kept = addresses(&valid.add(&conf(true)).expect_result())[0].clone();
        let mut gc = conf(true);
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "valid", "ifname": "eth0"}]);
        host.call("GC", "bridge").conf(&gc).run().expect_quiet();
        assert_eq!(traces(host, "stale", &gone), [""; 0]);
        assert_ne!(traces(host, "valid", &kept), [""; 0]);
    });
}

/// A bridge or ptp network that masquerades by iptables.
fn network(kind: &str) -> Value {
    let mut conf = conf(true);
    conf["type"] = kind.into();
    conf["ipMasqBackend"] = "iptables".into();
    if kind == "ptp" {
        conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    }
    conf
}

fn by_iptables(pod: &Pod, flavour: Flavour, command: &str, kind: &str) -> Call {
    pod.call(command, &network(kind)).env("PATH", &flavour.path())
}

/// A DEL or CHECK after `result`.
fn after(pod: &Pod, flavour: Flavour, command: &str, kind: &str, result: &Value) -> Call {
    by_iptables(pod, flavour, command, kind).conf_after(&network(kind), result)
}

/// Chains and rules of both families.
fn saved(flavour: Flavour) -> Vec<String> {
    [flavour.saved(false, "nat"), flavour.saved(true, "nat")].concat()
}

/// Runs `body` on a host of its own for each flavour and each plugin that masquerades.
fn with_each(peer: &Peer, body: impl Fn(&Sandbox, Flavour, &'static str) + Sync) {
    for flavour in FLAVOURS {
        for kind in ["bridge", "ptp"] {
            sandbox::run_with(peer.clone(), |host| {
                if !flavour.works() {
                    skip!("no {flavour:?} iptables");
                }
                body(host, flavour, kind);
            });
        }
    }
}

#[test]
fn by_iptables_too() {
    with_each(&Peer::under_test(), |host, flavour, kind| {
        let outside = Outside::new(host);
        let _client = outside.client.run(|| Server::both(7, "client"));
        let (pod, neighbour) = (Pod::new(host, "pod"), Pod::new(host, "neighbour"));
        let before = saved(flavour);
        let result = by_iptables(&pod, flavour, "ADD", kind).run().expect_result();
        let other = by_iptables(&neighbour, flavour, "ADD", kind).run().expect_result();
        let _neighbour = neighbour.netns().run(|| Server::both(7, "neighbour"));
        let _host = Server::both(7, "host");
        let (own, other_own) = (addresses(&result), addresses(&other));
        for protocol in PROTOCOLS {
            assert_eq!(seen(&pod, protocol, "192.0.2.100:7"), "192.0.2.1");
            assert_eq!(seen(&pod, protocol, "[2001:db8:9::100]:7"), "2001:db8:9::1");
            assert_eq!(seen(&pod, protocol, &format!("{}:7", other_own[0])), own[0]);
            assert_eq!(seen(&pod, protocol, &format!("[{}]:7", other_own[1])), own[1]);
            assert_eq!(seen(&pod, protocol, "10.1.2.1:7"), own[0]);
        }
        after(&pod, flavour, "CHECK", kind, &result).run().expect_quiet();
        after(&neighbour, flavour, "DEL", kind, &other).run().expect_quiet();
        assert_eq!(seen(&pod, Protocol::Tcp, "192.0.2.100:7"), "192.0.2.1", "a neighbour's DEL");
        for _ in 0..2 {
            after(&pod, flavour, "DEL", kind, &result).run().expect_quiet();
            assert_eq!(saved(flavour), before, "{flavour:?} {kind}");
        }
    });
}

#[test]
fn the_rules_are_the_go_plugins_one_by_one() {
    let Some(go) = Peer::go().filter(|_| !Peer::under_test().is_go()) else {
        return;
    };
    let all = std::sync::Mutex::new(Vec::new());
    for peer in [Peer::picocni(), go] {
        with_each(&peer, |host, flavour, kind| {
            let pod = Pod::new(host, "c1");
            by_iptables(&pod, flavour, "ADD", kind).run().expect_result();
            all.lock().expect("a list").push(saved(flavour));
        });
    }
    let all = all.into_inner().expect("a list");
    let (ours, theirs) = all.split_at(all.len() / 2);
    assert_eq!(ours, theirs);
    assert!(ours.iter().all(|rules| rules.iter().filter(|line| line.contains("MASQUERADE")).count() == 2), "{ours:#?}");
}

#[test]
fn check_del_and_gc_by_iptables_go_by_the_record() {
    with_each(&Peer::under_test(), |host, flavour, kind| {
        if host.peer().is_go() {
            return;
        }
        let before = saved(flavour);
        let (stale, valid) = (Pod::new(host, "stale"), Pod::new(host, "valid"));
        let result = by_iptables(&stale, flavour, "ADD", kind).run().expect_result();
        // Once more, as after a crash: one set of rules.
        let added = saved(flavour);
        assert_eq!(added.iter().filter(|line| line.contains("-j MASQUERADE")).count(), 2);
        by_iptables(&valid, flavour, "ADD", kind).run().expect_result();
        let mut gc = network(kind);
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "valid", "ifname": "eth0"}]);
        host.call("GC", kind).conf(&gc).env("PATH", &flavour.path()).run().expect_quiet();
        let left = saved(flavour);
        assert_eq!(left.iter().filter(|line| line.contains("-j MASQUERADE")).count(), 2, "{left:#?}");
        assert!(!left.iter().any(|line| line.contains("stale")), "{left:#?}");
        after(&stale, flavour, "CHECK", kind, &result).run().expect_failure();
        // Without a namespace, and with a config that says another backend by now.
        let mut other = conf(true);
        other["type"] = kind.into();
        let del = valid.call("DEL", &other).env("PATH", &flavour.path()).without("CNI_NETNS");
        del.run().expect_quiet();
        assert_eq!(saved(flavour), before);
    });
}
