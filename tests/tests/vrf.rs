//! vrf: an interface with its addresses and routes in a routing domain of the pod (rows 158 to 162 of `parity.tsv`).

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use netlink_packet_route::link::LinkAttribute;
use picocni_tests::kernel::{self, Link, edit};
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Protocol, Server, ask};
use picocni_tests::{Outcome, Pod, needs, skip};
use serde_json::{Value, json};

fn vrf(version: &str, name: &str, table: u32) -> Value {
    let mut conf = json!({"cniVersion": version, "name": "net", "type": "vrf", "vrfname": name});
    if table != 0 {
        conf["table"] = table.into();
    }
    conf
}

fn prev(version: &str) -> Value {
    json!({"cniVersion": version, "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}]})
}

/// A pod with links that are up, each with its addresses.
fn pod<'a>(host: &'a Sandbox, links: &[(&str, &[&str])]) -> Pod<'a> {
    let pod = Pod::new(host, "c1");
    let settled = pod.netns().run(|| {
        kernel::set_sysctl("net/ipv6/conf/default/accept_dad", "0");
        for (name, addresses) in links {
            edit::veth(name, &format!("w-{name}"));
            edit::up(&format!("w-{name}"));
            edit::up(name);
            addresses.iter().for_each(|cidr| edit::address(name, cidr));
        }
        let tentative = || kernel::Snapshot::here().addresses.iter().any(|a| a.tentative);
        let patience = Instant::now() + Duration::from_secs(2);
        while tentative() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        !tentative()
    });
    assert!(settled);
    pod
}

fn call(pod: &Pod, command: &str, ifname: &str, conf: &Value) -> Outcome {
    let version = conf["cniVersion"].as_str().expect("a version");
    pod.call(command, conf).conf_after(conf, &prev(version)).ifname(ifname).run()
}

/// `TABLE DESTINATION [via GATEWAY]` of what was set on a link.
fn routes(pod: &Pod, link: &str) -> Vec<String> {
    let inside = pod.inside();
    let set = inside.routes.iter().filter(|r| r.dev == link && r.protocol != "kernel");
    let via = |r: &kernel::Route| r.via.map_or(String::new(), |ip| format!(" via {ip}"));
    let mut lines: Vec<String> = set.map(|r| format!("{} {}{}", r.table, r.destination, via(r))).collect();
    lines.sort();
    lines
}

fn master(pod: &Pod, link: &str) -> Option<String> {
    pod.inside().link(link).master.clone()
}

/// The table that a VRF's ports have their addresses in.
fn table(pod: &Pod, port: &str) -> u32 {
    let inside = pod.inside();
    let local = inside.routes.iter().find(|r| r.dev == port && r.kind == "Local" && !r.destination.contains(':'));
    local.expect("the port has an IPv4 address").table
}

const BOTH: &[&str] = &["10.0.0.2/24", "fd00::2/64"];

#[test]
fn the_interface_takes_addresses_and_routes_along() {
    needs!(Vrf);
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        sandbox::run(|host| {
            let pod = pod(host, &[("eth0", BOTH), ("net1", &["10.1.0.2/24", "fd01::2/64"])]);
            pod.netns().run(|| {
                edit::route("10.10.10.0/24", "10.0.0.1");
                edit::route("fd99::/80", "fd00::1");
                edit::route("10.11.0.0/16", "10.1.0.1");
            });
            let (net1, addresses) = (routes(&pod, "net1"), pod.inside().addresses_of("eth0"));
            let conf = vrf(version, "red", 0);
            let printed = call(&pod, "ADD", "eth0", &conf).expect_result();
            assert_eq!(printed["interfaces"][0]["name"], "eth0");
            let red: Link = pod.inside().link("red").clone();
            assert_eq!((red.kind.as_str(), red.up), ("vrf", true));
            assert_eq!((master(&pod, "eth0").as_deref(), table(&pod, "eth0")), (Some("red"), 1));
            let mut now = pod.inside().addresses_of("eth0");
            let mut before = addresses;
            now.sort();
            before.sort();
            assert_eq!(now, before);
            assert_eq!(routes(&pod, "eth0"), ["1 10.10.10.0/24 via 10.0.0.1", "1 fd99::/80 via fd00::1"]);
            assert_eq!(routes(&pod, "net1"), net1);
            if version != "0.3.1" {
                call(&pod, "CHECK", "eth0", &conf).expect_quiet();
                call(&pod, "CHECK", "net1", &conf).expect_phrases(&["net1", "red"]);
                call(&pod, "CHECK", "eth0", &vrf(version, "blue", 0)).expect_failure();
            }
            call(&pod, "DEL", "eth0", &conf).expect_quiet();
            assert_eq!(master(&pod, "eth0"), None);
            assert!(pod.inside().find_link("red").is_none(), "the last port takes the VRF along");
            call(&pod, "DEL", "eth0", &conf).expect_quiet();
        });
    }
}

#[test]
fn two_interfaces_of_one_vrf() {
    needs!(Vrf);
    sandbox::run(|host| {
        let pod = pod(host, &[("eth0", BOTH), ("net1", &["10.1.0.2/24", "fd01::2/64"])]);
        let conf = vrf("1.0.0", "red", 0);
        for link in ["eth0", "net1"] {
            call(&pod, "ADD", link, &conf).expect_result();
            assert_eq!((master(&pod, link).as_deref(), table(&pod, link)), (Some("red"), 1));
            assert_eq!(pod.inside().addresses_of(link).len(), 2);
        }
        call(&pod, "DEL", "eth0", &conf).expect_quiet();
        assert_eq!((master(&pod, "eth0"), master(&pod, "net1").as_deref()), (None, Some("red")));
        call(&pod, "CHECK", "net1", &conf).expect_quiet();
        call(&pod, "DEL", "net1", &conf).expect_quiet();
        assert!(pod.inside().find_link("red").is_none());
    });
}

/// The same addresses in two routing domains; each has a table of its own.
#[test]
fn two_vrfs_with_the_same_addresses() {
    needs!(Vrf);
    for tables in [[0, 0], [1001, 1002], [2, 0]] {
        sandbox::run(|host| {
            let pod = pod(host, &[("eth0", BOTH)]);
            call(&pod, "ADD", "eth0", &vrf("1.0.0", "red", tables[0])).expect_result();
            let other = pod.netns().run(|| {
                edit::veth("net1", "w-net1");
                edit::up("w-net1");
                edit::up("net1");
                edit::address("net1", "10.0.0.2/24");
                kernel::Snapshot::here().addresses_of("net1")
            });
            assert_eq!(other, ["10.0.0.2/24"]);
            call(&pod, "ADD", "net1", &vrf("1.0.0", "blue", tables[1])).expect_result();
            let expected = match tables {
                [0, 0] => [1, 2],
                [2, 0] => [2, 1],
                given => given,
            };
            assert_eq!([table(&pod, "eth0"), table(&pod, "net1")], expected);
            call(&pod, "CHECK", "net1", &vrf("1.0.0", "blue", tables[1])).expect_quiet();
        });
    }
}

#[test]
fn what_is_refused() {
    needs!(Vrf);
    sandbox::run(|host| {
        let pod = pod(host, &[("eth0", BOTH), ("net1", &[])]);
        pod.netns().run(|| {
            edit::bridge("br0");
            edit::enslave("net1", "br0");
        });
        call(&pod, "ADD", "net1", &vrf("1.0.0", "other", 0)).expect_phrases(&["has already a master set", "br0"]);
        call(&pod, "ADD", "eth0", &vrf("1.0.0", "", 0)).expect_phrases(&["expected to have a valid vrf name"]);
        call(&pod, "ADD", "none0", &vrf("1.0.0", "other", 0)).expect_phrases(&["could not get link by name", "none0"]);
        if !host.peer().is_go() {
            assert!(pod.inside().find_link("other").is_none(), "the peer leaves its VRF");
        }
        call(&pod, "ADD", "eth0", &vrf("1.0.0", "red", 7)).expect_result();
        pod.netns().run(|| edit::release("net1"));
        let outcome = call(&pod, "ADD", "net1", &vrf("1.0.0", "red", 8));
        outcome.expect_phrases(&["already exist with different routing table", "7"]);
        pod.call("ADD", &vrf("1.0.0", "red", 7)).run().expect_phrases(&["prevResult"]);
        for version in ["0.1.0", "0.2.0", "0.3.0"] {
            call(&pod, "ADD", "net1", &vrf(version, "red", 0)).expect_error(1, &["incompatible CNI versions"]);
        }
    });
}

#[test]
fn del_does_not_fail_on_what_is_gone() {
    needs!(Vrf);
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the peer's DEL fails without the interface");
        }
        let pod = pod(host, &[("eth0", BOTH)]);
        let conf = vrf("1.0.0", "red", 0);
        call(&pod, "ADD", "eth0", &conf).expect_result();
        pod.netns().run(|| edit::delete("eth0"));
        call(&pod, "DEL", "eth0", &conf).expect_quiet();
        assert!(pod.inside().find_link("red").is_none());
        call(&pod, "DEL", "eth0", &conf).expect_quiet();
        pod.call("DEL", &conf).env("CNI_NETNS", "").run().expect_quiet();
        let path = pod.remove();
        host.call("DEL", "vrf").id("c1").netns(&path).conf(&conf).run().expect_quiet();
        let mut status = conf.clone();
        status["cniVersion"] = "1.1.0".into();
        host.call("STATUS", "vrf").conf(&status).run().expect_quiet();
    });
}

/// In the VRF the address is looked for once more, and by now somebody else has it: the interface leaves the VRF again, and
/// its routes come back.
#[test]
fn a_failed_add_leaves_what_was_there() {
    needs!(Vrf);
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the peer leaves the VRF with the interface in it");
        }
        let (pod, other) = (pod(host, &[("eth0", BOTH)]), host.pod("other"));
        let file = File::open(other.path()).expect("a namespace");
        pod.netns().run(|| {
            edit::set("w-eth0", LinkAttribute::NetNsFd(file.as_raw_fd()));
            edit::route("10.10.10.0/24", "10.0.0.1");
            edit::route("fd99::/80", "fd00::1");
            kernel::set_sysctl("net/ipv6/conf/eth0/keep_addr_on_down", "0");
        });
        other.run(|| {
            kernel::set_sysctl("net/ipv6/conf/w-eth0/accept_dad", "0");
            edit::up("w-eth0");
            edit::address("w-eth0", "fd00::2/64");
        });
        // The kernel makes rules for VRFs with the first one, and keeps them.
        let conf = vrf("1.0.0", "red", 0);
        pod.netns().run(|| edit::veth("net1", "w-net1"));
        call(&pod, "ADD", "net1", &conf).expect_result();
        call(&pod, "DEL", "net1", &conf).expect_quiet();
        let before = pod.inside().lines();
        pod.netns().run(|| kernel::set_sysctl("net/ipv6/conf/eth0/accept_dad", "1"));
        call(&pod, "ADD", "eth0", &conf).expect_phrases(&["address is in use", "fd00::2"]);
        assert_eq!(kernel::difference(&before, &pod.inside().lines()), [""; 0]);
        assert_eq!(pod.netns().run(|| kernel::sysctl("net/ipv6/conf/eth0/keep_addr_on_down")), "0");
        // A name that is taken is found before anything is done.
        pod.netns().run(|| edit::veth("blue", "w-blue"));
        let before = pod.inside().lines();
        call(&pod, "ADD", "eth0", &vrf("1.0.0", "blue", 0)).expect_phrases(&["not a VRF"]);
        assert_eq!(kernel::difference(&before, &pod.inside().lines()), [""; 0]);
    });
}

#[test]
fn packets_follow_the_table() {
    needs!(Vrf);
    let bridge = json!({"type": "bridge", "bridge": "br0", "isGateway": true});
    sandbox::run(|host| check_packets(host, bridge, &["1 0.0.0.0/0 via 10.1.2.1", "1 ::/0 via fd00:1::1"]));
}

/// Next hops of ptp are reached by routes that somebody set.
#[test]
fn packets_of_ptp_follow_the_table() {
    needs!(Vrf);
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the peer leaves the route to the next hop behind, and then fails");
        }
        let moved = [
            "1 0.0.0.0/0 via 10.1.2.1",
            "1 10.1.2.0/24 via 10.1.2.1",
            "1 10.1.2.1/32",
            "1 ::/0 via fd00:1::1",
            "1 fd00:1::/64 via fd00:1::1",
            "1 fd00:1::1/128",
        ];
        check_packets(host, json!({"type": "ptp"}), &moved);
    });
}

/// What only the VRF's table knows is not reached from outside it.
fn check_packets(host: &Sandbox, keys: Value, moved: &[&str]) {
    let pod = Pod::new(host, "c1");
    let mut bridge = json!({"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "host-local",
        "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "fd00:1::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}});
    bridge.as_object_mut().expect("an object").extend(keys.as_object().expect("an object").clone());
    let result = pod.add(&bridge).expect_result();
    let conf = vrf("1.0.0", "red", 0);
    let chained = |command: &str| pod.call(command, &conf).conf_after(&conf, &result).run();
    chained("ADD").expect_result();
    assert_eq!(routes(&pod, "eth0"), moved);
    // The VRF answers for the port's address as it did before.
    pod.netns().run(|| kernel::set_sysctl("net/ipv4/tcp_l3mdev_accept", "1"));
    let _server = pod.netns().run(|| Server::start(Protocol::Tcp, "[::]:80", "pod"));
    for to in ["10.1.2.2:80", "[fd00:1::2]:80"] {
        let answered = (0..3).find_map(|_| ask(Protocol::Tcp, to).ok());
        assert_eq!(answered.map(|answer| answer.who), Some("pod".to_owned()), "{to}");
    }
    let _host = Server::start(Protocol::Tcp, "10.1.2.1:81", "host");
    pod.netns().run(|| ask(Protocol::Tcp, "10.1.2.1:81")).expect_err("the main table has no route");
    chained("CHECK").expect_quiet();
    // The plugin that made the interface finds its routes too.
    if !host.peer().is_go() {
        pod.call("CHECK", &bridge).conf_after(&bridge, &result).run().expect_quiet();
    }
    chained("DEL").expect_quiet();
    pod.call("DEL", &bridge).run().expect_quiet();
    assert!(pod.inside().find_link("eth0").is_none());
}

/// On a kernel without VRFs the reason is said, and nothing is changed.
#[test]
fn without_vrfs_the_reason_is_said() {
    if picocni_tests::kernel::LinkType::Vrf.try_out().is_ok() {
        skip!("this kernel has VRFs");
    }
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the peer's STATUS looks at nothing");
        }
        let conf = vrf("1.1.0", "red", 0);
        host.call("STATUS", "vrf").conf(&conf).run().expect_error(50, &["kernel has no VRF", "CONFIG_NET_VRF"]);
        let pod = pod(host, &[("eth0", BOTH)]);
        pod.netns().run(|| edit::route("10.10.10.0/24", "10.0.0.1"));
        let before = pod.inside().lines();
        call(&pod, "ADD", "eth0", &conf).expect_failure();
        assert_eq!(kernel::difference(&before, &pod.inside().lines()), [""; 0]);
    });
}
