//! sbr: packets leave by the interface of their source address. Rules, tables and the main table (rows 153 to 157 of
//! `parity.tsv`), and that it is so with real packets.

use std::fs::File;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use netlink_packet_route::link::LinkAttribute;
use picocni_tests::kernel::{self, Snapshot, edit};
use picocni_tests::netns::Netns;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Protocol, Server};
use picocni_tests::{Outcome, Pod, skip};
use serde_json::{Value, json};

fn sbr(version: &str, extra: Value) -> Value {
    let mut conf = json!({"cniVersion": version, "name": "net", "type": "sbr"});
    conf.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    conf
}

/// An address of a result, as versions before 1.0.0 have it too.
fn ip(address: &str, gateway: &str, interface: i32) -> Value {
    let version = if address.contains(':') { "6" } else { "4" };
    let mut ip = json!({"version": version, "address": address, "interface": interface});
    if !gateway.is_empty() {
        ip["gateway"] = gateway.into();
    }
    ip
}

fn prev(pod: &Pod, version: &str, ips: Vec<Value>) -> Value {
    json!({"cniVersion": version, "interfaces": [{"name": "net1", "sandbox": pod.netns().path().to_str()}], "ips": ips})
}

/// A link of the pod, up, whose other end is on the host.
fn plug(netns: &Netns, name: &str, addresses: &[&str]) {
    let wire = format!("w-{name}");
    edit::veth(&wire, name);
    let file = File::open(netns.path()).expect("a namespace");
    edit::set(name, LinkAttribute::NetNsFd(file.as_raw_fd()));
    edit::up(&wire);
    netns.run(|| {
        // No address waits for others that might have it.
        kernel::set_sysctl(&format!("net/ipv6/conf/{name}/accept_dad"), "0");
        edit::up(name);
        addresses.iter().for_each(|cidr| edit::address(name, cidr));
    });
    let settled = || netns.run(|| !Snapshot::here().addresses.iter().any(|a| a.dev == name && a.tentative));
    let patience = Instant::now() + Duration::from_secs(2);
    while !settled() {
        assert!(Instant::now() < patience, "an address of {name} stays tentative");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A pod with `eth0`, by which its default route leads, and `net1`, to be routed by source.
fn pod<'a>(host: &'a Sandbox, addresses: &[&str]) -> Pod<'a> {
    let pod = Pod::new(host, "c1");
    plug(pod.netns(), "eth0", &["10.0.0.2/24"]);
    plug(pod.netns(), "net1", addresses);
    pod.netns().run(|| {
        edit::route("10.2.0.0/24", "10.0.0.5");
        edit::route("0.0.0.0/0", "10.0.0.1");
        if addresses.contains(&"192.168.1.209/24") {
            edit::route("192.168.2.0/24", "192.168.1.2");
        }
    });
    pod
}

fn call(pod: &Pod, command: &str, conf: &Value, result: &Value) -> Outcome {
    pod.call(command, conf).conf_after(conf, result).ifname("net1").run()
}

/// `TABLE DESTINATION [via GATEWAY] [src SOURCE]` of a link, without the tables of local addresses and what the kernel
/// has for link-local neighbours.
fn routes(pod: &Pod, link: &str) -> Vec<String> {
    let inside = pod.inside();
    let own = inside.routes.iter().filter(|r| {
        r.dev == link && r.kind == "Unicast" && !r.destination.starts_with("fe80") && !r.destination.starts_with("ff")
    });
    let word = |word: &str, ip: Option<IpAddr>| ip.map_or(String::new(), |ip| format!(" {word} {ip}"));
    let mut lines: Vec<String> =
        own.map(|r| format!("{} {}{}{}", r.table, r.destination, word("via", r.via), word("src", r.source))).collect();
    lines.sort();
    lines
}

/// `SOURCE TABLE`, in the order in which they are tried.
fn rules(pod: &Pod) -> Vec<String> {
    let inside = pod.inside();
    let mut own: Vec<_> = inside.rules.iter().filter(|r| r.from != "all").collect();
    own.sort_by_key(|r| (r.family.clone(), r.priority));
    own.iter().map(|r| format!("{} {}", r.from, r.table)).collect()
}

/// What a pod holds, by line.
fn lines(pod: &Pod) -> Vec<String> {
    pod.inside().lines()
}

#[test]
fn routes_move_to_a_table_of_the_address() {
    for version in ["0.3.0", "0.4.0", "1.0.0", "1.1.0"] {
        sandbox::run(|host| {
            let pod = pod(host, &["192.168.1.209/24"]);
            let (eth0, before) = (routes(&pod, "eth0"), lines(&pod));
            let (conf, result) =
                (sbr(version, json!({})), prev(&pod, version, vec![ip("192.168.1.209/24", "192.168.1.1", 0)]));
            let printed = call(&pod, "ADD", &conf, &result).expect_result();
            assert_eq!(printed["ips"][0]["address"], "192.168.1.209/24");
            assert_eq!(rules(&pod), ["192.168.1.209/32 100"]);
            let moved = [
                "100 0.0.0.0/0 via 192.168.1.1",
                "100 192.168.1.0/24 src 192.168.1.209",
                "100 192.168.2.0/24 via 192.168.1.2",
            ];
            assert_eq!(routes(&pod, "net1"), moved);
            assert_eq!(routes(&pod, "eth0"), eth0);
            if version != "0.3.0" {
                call(&pod, "CHECK", &conf, &printed).expect_quiet();
            }
            // A runtime may leave prevResult out.
            pod.call("DEL", &conf).ifname("net1").run().expect_quiet();
            assert_eq!(rules(&pod), [""; 0]);
            if !host.peer().is_go() {
                // The peer leaves them where they are.
                assert_eq!(kernel::difference(&before, &lines(&pod)), [""; 0]);
            }
            pod.call("DEL", &conf).ifname("net1").run().expect_quiet();
        });
    }
}

#[test]
fn a_default_route_that_is_there_moves_too() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        plug(pod.netns(), "net1", &["192.168.1.209/24"]);
        pod.netns().run(|| edit::route("0.0.0.0/0", "192.168.1.1"));
        let (conf, result) =
            (sbr("1.0.0", json!({})), prev(&pod, "1.0.0", vec![ip("192.168.1.209/24", "192.168.1.1", 0)]));
        call(&pod, "ADD", &conf, &result).expect_result();
        assert_eq!(routes(&pod, "net1"), ["100 0.0.0.0/0 via 192.168.1.1", "100 192.168.1.0/24 src 192.168.1.209"]);
        call(&pod, "CHECK", &conf, &result).expect_quiet();
    });
}

#[test]
fn each_address_has_a_table() {
    sandbox::run(|host| {
        let pod = pod(host, &["192.168.1.209/24", "192.168.101.209/24", "fd00:1::209/64"]);
        // Interfaces that are none of the list count as ours; another one's address does not.
        let mut result = prev(
            &pod,
            "1.0.0",
            vec![
                ip("192.168.1.209/24", "192.168.1.1", 0),
                ip("192.168.101.209/24", "192.168.101.1", 7),
                ip("fd00:1::209/64", "fd00:1::1", 0),
                ip("10.0.0.2/24", "10.0.0.1", 1),
            ],
        );
        let interfaces = result["interfaces"].as_array_mut().expect("a list");
        interfaces.push(json!({"name": "eth0", "sandbox": pod.netns().path().to_str()}));
        let conf = sbr("1.0.0", json!({}));
        call(&pod, "ADD", &conf, &result).expect_result();
        assert_eq!(rules(&pod), ["192.168.101.209/32 101", "192.168.1.209/32 100", "fd00:1::209/128 102"]);
        let of = |table: &str| -> Vec<String> {
            // The peer copies routes of one family to the other's tables as well.
            let v6 = table == "102";
            routes(&pod, "net1").into_iter().filter(|r| r.starts_with(table) && r.contains(':') == v6).collect()
        };
        let moved = [
            "100 0.0.0.0/0 via 192.168.1.1",
            "100 192.168.1.0/24 src 192.168.1.209",
            "100 192.168.2.0/24 via 192.168.1.2",
        ];
        assert_eq!(of("100"), moved);
        assert_eq!(of("101"), ["101 0.0.0.0/0 via 192.168.101.1", "101 192.168.101.0/24 src 192.168.101.209"]);
        assert_eq!(of("102"), ["102 ::/0 via fd00:1::1", "102 fd00:1::/64"]);
        assert_eq!(of("254"), [""; 0]);
        call(&pod, "CHECK", &conf, &result).expect_quiet();
        call(&pod, "DEL", &conf, &result).expect_quiet();
        assert_eq!(rules(&pod), [""; 0]);
    });
}

#[test]
fn a_given_table_gets_rules_alone() {
    sandbox::run(|host| {
        let pod = pod(host, &["192.168.1.209/24", "fd00:1::209/64"]);
        let before = routes(&pod, "net1");
        let conf = sbr("1.0.0", json!({"table": 5000}));
        let result = prev(&pod, "1.0.0", vec![ip("192.168.1.209/24", "", 0), ip("fd00:1::209/64", "", 0)]);
        call(&pod, "ADD", &conf, &result).expect_result();
        assert_eq!(rules(&pod), ["192.168.1.209/32 5000", "fd00:1::209/128 5000"]);
        assert_eq!(routes(&pod, "net1"), before);
        call(&pod, "CHECK", &conf, &result).expect_quiet();
        call(&pod, "DEL", &conf, &result).expect_quiet();
        assert_eq!(rules(&pod), [""; 0]);
    });
}

#[test]
fn gateways_of_the_config() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the packaged peer is older than its key `gateways`");
        }
        let pod = pod(host, &["192.168.1.209/24", "fd00:1::209/64"]);
        let ips = vec![ip("192.168.1.209/24", "192.168.1.1", 0), ip("fd00:1::209/64", "fd00:1::ffff", 0)];
        let result = prev(&pod, "1.0.0", ips);
        for (gateways, phrase) in [
            (json!(["192.168.1.1", "192.168.1.254"]), "multiple IPv4 addresses"),
            (json!(["fd00:1::1", "fd00:1::2"]), "multiple IPv6 addresses"),
            (json!(["192.168.1.1", "192.168.1.2", "fd00:1::2"]), "cannot contain more than 2 entries"),
            (json!(["there"]), "invalid static gateway IP address"),
        ] {
            let before = lines(&pod);
            call(&pod, "ADD", &sbr("1.0.0", json!({"gateways": gateways})), &result).expect_phrases(&[phrase]);
            assert_eq!(lines(&pod), before);
        }
        let conf = sbr("1.0.0", json!({"gateways": ["192.168.1.254", "fd00:1::1"]}));
        call(&pod, "ADD", &conf, &result).expect_result();
        let defaults: Vec<String> = routes(&pod, "net1").into_iter().filter(|r| r.contains("/0 ")).collect();
        assert_eq!(defaults, ["100 0.0.0.0/0 via 192.168.1.254", "101 ::/0 via fd00:1::1"]);
        call(&pod, "CHECK", &conf, &result).expect_quiet();
    });
}

#[test]
fn hints_in_the_main_table() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the packaged peer is older than its key `addSourceHints`");
        }
        let pod = pod(host, &["192.168.1.209/24", "fd00:1::209/64"]);
        let conf = sbr("1.0.0", json!({"addSourceHints": true}));
        let ips = vec![ip("192.168.1.209/24", "192.168.1.1", 0), ip("fd00:1::209/64", "fd00:1::1", 0)];
        let (result, before) = (prev(&pod, "1.0.0", ips), lines(&pod));
        for _ in 0..2 {
            call(&pod, "ADD", &conf, &result).expect_result();
            let main: Vec<String> = routes(&pod, "net1").into_iter().filter(|r| r.starts_with("254")).collect();
            assert_eq!(main, ["254 192.168.1.0/24 src 192.168.1.209", "254 fd00:1::/64 src fd00:1::209"]);
            let own: Vec<String> = routes(&pod, "net1").into_iter().filter(|r| r.starts_with("10")).collect();
            assert_eq!(own.len(), 5, "{own:?}");
            call(&pod, "CHECK", &conf, &result).expect_quiet();
        }
        let hint = pod.inside().routes.into_iter().find(|r| r.table == 254 && r.destination == "192.168.1.0/24");
        assert_eq!(hint.expect("the hint").scope, "link");
        call(&pod, "DEL", &conf, &result).expect_quiet();
        assert_eq!(kernel::difference(&before, &lines(&pod)), [""; 0]);
    });
}

/// An ADD that fails after it has emptied the main table brings every route back.
#[test]
fn a_failed_add_leaves_what_was_there() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the peer leaves rules and routes");
        }
        let pod = pod(host, &["192.168.1.209/24", "fd00:1::209/64"]);
        pod.netns().run(|| edit::route("fd00:2::/64", "fd00:1::2"));
        let before = lines(&pod);
        // 192.168.7.7 is no address of the link, and so no source of a route.
        let ips = vec![ip("fd00:1::209/64", "fd00:1::1", 0), ip("192.168.7.7/24", "", 0)];
        let conf = sbr("1.0.0", json!({"addSourceHints": true}));
        let outcome = call(&pod, "ADD", &conf, &prev(&pod, "1.0.0", ips));
        outcome.expect_phrases(&["192.168.7.0/24"]);
        assert_eq!(kernel::difference(&before, &lines(&pod)), [""; 0], "{outcome}");
        // A next hop that cannot be reached is found before the main table is touched.
        let ips = vec![ip("192.168.1.209/24", "203.0.113.1", 0)];
        call(&pod, "ADD", &sbr("1.0.0", json!({})), &prev(&pod, "1.0.0", ips)).expect_phrases(&["0.0.0.0/0"]);
        assert_eq!(kernel::difference(&before, &lines(&pod)), [""; 0]);
        let files = host.state().into_iter().filter(|line| line.contains("/sbr/")).count();
        assert_eq!(files, 0);
    });
}

#[test]
fn del_does_not_fail_on_what_is_gone() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the peer's DEL fails without the namespace and leaves the rules of addresses that are gone");
        }
        let pod = pod(host, &["192.168.1.209/24", "fd00:1::209/64"]);
        let conf = sbr("1.0.0", json!({}));
        let ips = vec![ip("192.168.1.209/24", "192.168.1.1", 0), ip("fd00:1::209/64", "fd00:1::1", 0)];
        let result = prev(&pod, "1.0.0", ips);
        call(&pod, "ADD", &conf, &result).expect_result();
        pod.netns().run(|| edit::delete_addresses("net1"));
        assert_eq!(rules(&pod).len(), 2);
        pod.call("DEL", &conf).ifname("net1").run().expect_quiet();
        assert_eq!(rules(&pod), [""; 0]);
        pod.netns().run(|| edit::delete("net1"));
        pod.call("DEL", &conf).ifname("net1").run().expect_quiet();
        pod.call("DEL", &conf).ifname("net1").env("CNI_NETNS", "").run().expect_quiet();
        let path = pod.remove();
        host.call("DEL", "sbr").id("c1").ifname("net1").netns(&path).conf(&conf).run().expect_quiet();
        assert!(!path.exists(), "DEL has made a file where the namespace was");
    });
}

/// The peer's rules have no record.
#[test]
fn rules_of_the_addresses_go_without_a_record() {
    sandbox::run(|host| {
        let pod = pod(host, &["192.168.1.209/24"]);
        let (conf, result) =
            (sbr("1.0.0", json!({})), prev(&pod, "1.0.0", vec![ip("192.168.1.209/24", "192.168.1.1", 0)]));
        call(&pod, "ADD", &conf, &result).expect_result();
        let _ = std::fs::remove_dir_all("/run/cni/picocni/sbr");
        call(&pod, "DEL", &conf, &result).expect_quiet();
        assert_eq!(rules(&pod), [""; 0]);
    });
}

#[test]
fn gc_takes_rules_of_stale_attachments() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the peer's GC does nothing");
        }
        let pod = pod(host, &["192.168.1.209/24"]);
        let (conf, result) =
            (sbr("1.1.0", json!({})), prev(&pod, "1.1.0", vec![ip("192.168.1.209/24", "192.168.1.1", 0)]));
        call(&pod, "ADD", &conf, &result).expect_result();
        for (valid, left) in [(json!([{"containerID": "c1", "ifname": "net1"}]), 1), (json!([]), 0)] {
            let mut gc = conf.clone();
            gc["cni.dev/valid-attachments"] = valid;
            host.call("GC", "sbr").conf(&gc).run().expect_quiet();
            assert_eq!(rules(&pod).len(), left);
        }
    });
}

#[test]
fn without_what_it_needs() {
    sandbox::run(|host| {
        let pod = pod(host, &["192.168.1.209/24"]);
        let before = lines(&pod);
        for version in ["0.1.0", "0.2.0", "0.3.0", "1.0.0"] {
            let conf = sbr(version, json!({}));
            pod.call("ADD", &conf).ifname("net1").run().expect_phrases(&["must be called as chained plugin"]);
        }
        // A result of a later shape under an old version.
        let late = prev(&pod, "1.0.0", vec![ip("192.168.1.209/24", "192.168.1.1", 0)]);
        call(&pod, "ADD", &sbr("0.2.0", json!({})), &late).expect_failure();
        call(&pod, "ADD", &sbr("0.1.0", json!({})), &late).expect_failure();
        let none = prev(&pod, "1.0.0", Vec::new());
        call(&pod, "ADD", &sbr("1.0.0", json!({})), &none).expect_phrases(&["No IP addresses supplied on interface"]);
        let conf = sbr("1.0.0", json!({}));
        let result = prev(&pod, "1.0.0", vec![ip("192.168.1.209/24", "", 8)]);
        let gone = pod.call("ADD", &conf).conf_after(&conf, &result).ifname("gone0").run();
        gone.expect_phrases(&["Cannot find network interface", "gone0"]);
        assert_eq!(kernel::difference(&before, &lines(&pod)), [""; 0]);
    });
}

/// Two interfaces of one pod are added at a time: they take turns, and nobody gets the other's table.
#[test]
fn the_namespace_is_the_lock() {
    sandbox::run(|host| {
        let pod = pod(host, &["192.168.1.209/24"]);
        let conf = sbr("1.0.0", json!({}));
        let of = |name: &str, address: &str, gateway: &str| {
            let mut result = prev(&pod, "1.0.0", vec![ip(address, gateway, 0)]);
            result["interfaces"][0]["name"] = name.into();
            pod.call("ADD", &conf).conf_after(&conf, &result).ifname(name)
        };
        let calls = [of("net1", "192.168.1.209/24", "192.168.1.1"), of("eth0", "10.0.0.2/24", "10.0.0.1")];
        let held = File::open(pod.netns().path()).expect("the namespace");
        held.lock().expect("its lock");
        std::thread::scope(|scope| {
            let threads = calls.each_ref().map(|call| scope.spawn(move || (call.run(), Instant::now())));
            std::thread::sleep(Duration::from_millis(150));
            assert_eq!(rules(&pod), [""; 0], "somebody did not wait");
            let released = Instant::now();
            held.unlock().expect("ours");
            for thread in threads {
                let (outcome, ended) = thread.join().expect("no panic");
                outcome.expect_result();
                assert!(ended > released);
            }
        });
        let mut tables: Vec<String> =
            rules(&pod).iter().map(|r| r.split(' ').next_back().expect("a table").into()).collect();
        tables.sort();
        assert_eq!(tables, ["100", "101"]);
    });
}

/// A machine behind the router of `net1`, which `eth0`'s router does not know, asks the pod at its address of `net1`.
#[test]
fn the_reply_leaves_by_the_interface_of_its_source() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        let router = host.pod("router");
        plug(pod.netns(), "eth0", &["10.0.0.2/24"]);
        edit::address("w-eth0", "10.0.0.1/24");
        plug(pod.netns(), "net1", &["192.168.1.209/24", "fd00:1::209/64"]);
        let file = File::open(router.path()).expect("a namespace");
        edit::set("w-net1", LinkAttribute::NetNsFd(file.as_raw_fd()));
        router.run(|| {
            kernel::set_sysctl("net/ipv6/conf/w-net1/accept_dad", "0");
            edit::up("w-net1");
            let addresses = ["192.168.1.1/24", "fd00:1::1/64", "198.51.100.7/32", "2001:db8::7/128"];
            addresses.iter().for_each(|cidr| edit::address("w-net1", cidr));
        });
        pod.netns().run(|| {
            edit::route("0.0.0.0/0", "10.0.0.1");
            ["all", "net1"].iter().for_each(|key| kernel::set_sysctl(&format!("net/ipv4/conf/{key}/rp_filter"), "0"));
        });
        let _servers = pod
            .netns()
            .run(|| ["192.168.1.209:80", "[fd00:1::209]:80"].map(|at| Server::start(Protocol::Udp, at, "pod")));
        let answer = |from: &str, to: &str| {
            router.run(|| {
                let socket = UdpSocket::bind(from).expect("an address of the machine");
                socket.set_read_timeout(Some(Duration::from_millis(250))).expect("a time limit");
                let mut buffer = [0; 64];
                let ask = || socket.send_to(b"who", to).and_then(|_| socket.recv(&mut buffer)).ok();
                let length = std::iter::repeat_with(ask).take(3).find_map(|n| n)?;
                Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
            })
        };
        let questions = [("198.51.100.7:0", "192.168.1.209:80"), ("[2001:db8::7]:0", "[fd00:1::209]:80")];
        assert_eq!(
            questions.map(|(from, to)| answer(from, to)),
            [None, None],
            "the pod answers by eth0, or not at all"
        );
        let conf = sbr("1.0.0", json!({}));
        let ips = vec![ip("192.168.1.209/24", "192.168.1.1", 0), ip("fd00:1::209/64", "fd00:1::1", 0)];
        let result = prev(&pod, "1.0.0", ips);
        call(&pod, "ADD", &conf, &result).expect_result();
        let expected = [Some("pod 198.51.100.7".to_owned()), Some("pod 2001:db8::7".to_owned())];
        assert_eq!(questions.map(|(from, to)| answer(from, to)), expected);
        // What has another source leaves as before.
        let _server = Server::start(Protocol::Tcp, "10.0.0.1:81", "host");
        let seen = pod.netns().run(|| picocni_tests::traffic::ask(Protocol::Tcp, "10.0.0.1:81"));
        assert_eq!(seen.expect("an answer").seen_from.to_string(), "10.0.0.2");
    });
}
