//! policy, by packets that pass and packets that must not, in both protocols and both families. The Go plugins have no
//! counterpart.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use picocni_tests::kernel::{self, LinkType};
use picocni_tests::outside::Outside;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Client, PROTOCOLS, Protocol, Server, ask};
use picocni_tests::{Pod, needs, skip};
use serde_json::{Value, json};

const CALLS: [&str; 2] = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];

/// A network of its own bridge; `number` tells its addresses.
fn bridge(number: u8) -> Value {
    json!({"cniVersion": "1.1.0", "name": format!("net{number}"), "type": "bridge", "bridge": format!("br{number}"),
        "isDefaultGateway": true, "ipam": {"type": "host-local", "ranges":
            [[{"subnet": format!("10.1.{number}.0/24")}], [{"subnet": format!("2001:db8:{number}::/64")}]]}})
}

/// The plugin's config behind such a network.
fn policy(number: u8, spec: &Value) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": format!("net{number}"), "type": "policy"});
    conf.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
    conf
}

fn block(cidr: &str) -> Value {
    json!({"ipBlock": {"cidr": cidr}})
}

/// A pod that answers at some ports with its name.
struct Wired<'a> {
    pod: Pod<'a>,
    number: u8,
    result: Value,
    _servers: Vec<[Server; 2]>,
}

impl<'a> Wired<'a> {
    fn new(host: &'a Sandbox, name: &str, number: u8, ports: &[u16]) -> Self {
        let pod = Pod::new(host, name);
        // Without it the first second of a link-local address goes to the detection of duplicates.
        pod.netns().run(|| kernel::set_sysctl("net/ipv6/conf/default/accept_dad", "0"));
        let result = pod.add(&bridge(number)).expect_result();
        let servers = pod.netns().run(|| ports.iter().map(|port| Server::both(*port, name)).collect());
        Self { pod, number, result, _servers: servers }
    }

    fn call(&self, command: &str, spec: &Value) -> picocni_tests::Outcome {
        let conf = policy(self.number, spec);
        self.pod.call(command, &conf).conf_after(&conf, &self.result).run()
    }

    /// Its IPv4 and IPv6 address.
    fn addresses(&self) -> [String; 2] {
        [0, 1].map(|at| {
            let text = self.result["ips"][at]["address"].as_str().expect("an address");
            text.split('/').next().expect("an address").to_owned()
        })
    }

    /// One peer for each of its addresses.
    fn blocks(&self) -> Vec<Value> {
        let [v4, v6] = self.addresses();
        vec![block(&format!("{v4}/32")), block(&format!("{v6}/128"))]
    }

    fn sockets(&self, port: u16) -> [String; 2] {
        let [v4, v6] = self.addresses();
        [format!("{v4}:{port}"), format!("[{v6}]:{port}")]
    }

    /// Asserts whether it gets an answer from a port of another pod, in every way or in none.
    #[track_caller]
    fn meets(&self, other: &Wired<'_>, port: u16, wanted: bool) {
        for to in other.sockets(port) {
            for protocol in PROTOCOLS {
                let got = self.pod.netns().run(|| ask(protocol, &to));
                assert_eq!(got.is_ok(), wanted, "{protocol:?} {to}: {got:?}");
            }
        }
    }
}

/// Lets frames between ports of a bridge be judged, or says why this kernel cannot.
fn bridged() -> Result<(), &'static str> {
    let tracks = LinkType::BridgeTracking.try_out().is_ok();
    let calls = CALLS.iter().all(|key| Path::new("/proc/sys").join(key).exists());
    if calls {
        // Of two ways the kernel's own is the one that must do alone.
        let value = if tracks { "0" } else { "1" };
        CALLS.iter().for_each(|key| kernel::set_sysctl(key, value));
    }
    if tracks || calls { Ok(()) } else { Err("neither connection tracking on bridges nor br_netfilter") }
}

macro_rules! bridged {
    () => {
        if let Err(what) = bridged() {
            skip!("{what}");
        }
    };
}

fn tcp_and_udp(port: u16, end: Option<u16>) -> Value {
    PROTOCOLS
        .iter()
        .map(|protocol| {
            let mut entry = json!({"protocol": protocol.name().to_uppercase(), "port": port});
            if let Some(end) = end {
                entry["endPort"] = end.into();
            }
            entry
        })
        .collect()
}

fn nft(words: &[&str]) -> Option<String> {
    let output = Command::new("nft").args(words).output().ok()?;
    assert!(output.status.success(), "nft {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn ingress_on_one_bridge() {
    sandbox::run(|host| {
        bridged!();
        let server = Wired::new(host, "server", 1, &[80, 81]);
        let friend = Wired::new(host, "friend", 1, &[80]);
        let stranger = Wired::new(host, "stranger", 1, &[80]);
        stranger.meets(&server, 80, true);
        let spec = json!({"policyTypes": ["Ingress"],
            "ingress": [{"from": friend.blocks(), "ports": tcp_and_udp(80, None)}]});
        let result = server.call("ADD", &spec).expect_result();
        assert_eq!(result, server.result, "the result is passed on");
        friend.meets(&server, 80, true);
        friend.meets(&server, 81, false);
        stranger.meets(&server, 80, false);
        // Replies to what it asks for come back, and nobody else is touched.
        server.meets(&stranger, 80, true);
        friend.meets(&stranger, 80, true);
        stranger.meets(&friend, 80, true);
        for to in server.sockets(81) {
            assert!(ask(Protocol::Tcp, &to).is_ok(), "the pod's own node is always let in: {to}");
        }
        server.call("CHECK", &spec).expect_quiet();
        server.call("DEL", &spec).expect_quiet();
        stranger.meets(&server, 80, true);
    });
}

#[test]
fn egress_on_one_bridge() {
    sandbox::run(|host| {
        bridged!();
        let client = Wired::new(host, "client", 1, &[80]);
        let friend = Wired::new(host, "friend", 1, &[79, 80, 90, 91]);
        let stranger = Wired::new(host, "stranger", 1, &[80]);
        let spec = json!({"policyTypes": ["Egress"],
            "egress": [{"to": friend.blocks(), "ports": tcp_and_udp(80, Some(90))}]});
        client.call("ADD", &spec).expect_result();
        for (port, wanted) in [(79, false), (80, true), (90, true), (91, false)] {
            client.meets(&friend, port, wanted);
        }
        client.meets(&stranger, 80, false);
        // It answers whoever asks.
        stranger.meets(&client, 80, true);
        client.call("CHECK", &spec).expect_quiet();
    });
}

#[test]
fn nothing_at_all_is_let_through_by_default() {
    sandbox::run(|host| {
        bridged!();
        let closed = Wired::new(host, "closed", 1, &[80]);
        let other = Wired::new(host, "other", 1, &[80]);
        closed.call("ADD", &json!({"policyTypes": ["Ingress", "Egress"]})).expect_result();
        closed.meets(&other, 80, false);
        other.meets(&closed, 80, false);
        // Neighbours are found all the same: it is the policy that drops, not a frame that never finds its way.
        let inside = closed.pod.inside();
        for ip in other.addresses() {
            let known = inside.neighbours.iter().find(|n| n.ip.to_string() == ip);
            assert!(known.is_some_and(|n| !n.mac.is_empty()), "{ip} is not found: {:?}", inside.neighbours);
        }
        // One policy for a rule that lets everybody in at one port, and nothing else.
        closed.call("ADD", &json!({"ingress": [{"ports": tcp_and_udp(80, None)}], "egress": []})).expect_result();
        other.meets(&closed, 80, true);
        closed.meets(&other, 80, false);
    });
}

/// Every address of the port is judged, not only those that an IPAM plugin gave.
#[test]
fn a_link_local_address_is_no_way_round() {
    sandbox::run(|host| {
        bridged!();
        let server = Wired::new(host, "server", 1, &[80]);
        let stranger = Wired::new(host, "stranger", 1, &[]);
        let inside = server.pod.inside();
        let local = inside.addresses.iter().find(|a| a.dev == "eth0" && a.is_link_local()).expect("an address").ip;
        let scope = stranger.pod.inside().link("eth0").index;
        let to = format!("[{local}%{scope}]:80");
        let reaches = || stranger.pod.netns().run(|| PROTOCOLS.map(|protocol| ask(protocol, &to).is_ok()));
        assert_eq!(reaches(), [true, true]);
        server.call("ADD", &json!({"policyTypes": ["Ingress"]})).expect_result();
        assert_eq!(reaches(), [false, false]);
    });
}

#[test]
fn across_bridges_and_from_outside() {
    sandbox::run(|host| {
        bridged!();
        let outside = Outside::new(host);
        let server = Wired::new(host, "server", 1, &[80]);
        let near = Wired::new(host, "near", 2, &[80]);
        let far = Wired::new(host, "far", 3, &[80]);
        near.meets(&server, 80, true);
        let spec = json!({"policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.3.0/24"]}},
                          {"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:3::/48", "2001:db8:9::/64"]}}]},
                {"from": [block("192.0.2.96/28")]}],
            "egress": [{"to": [block("10.1.3.0/24"), block("2001:db8:3::/64"), block("203.0.113.2/32")]}]});
        server.call("ADD", &spec).expect_result();
        near.meets(&server, 80, true);
        far.meets(&server, 80, false);
        server.meets(&near, 80, false);
        server.meets(&far, 80, true);
        let [v4, v6] = server.sockets(80);
        for protocol in PROTOCOLS {
            assert!(outside.client.run(|| ask(protocol, &v4)).is_ok(), "{protocol:?}: 192.0.2.100 is let in");
            assert!(outside.client.run(|| ask(protocol, &v6)).is_err(), "{protocol:?}: 2001:db8:9::100 is excepted");
            assert!(outside.far.run(|| ask(protocol, &v4)).is_err(), "{protocol:?}: 203.0.113.2 is in no block");
        }
        let _far = outside.far.run(|| Server::both(80, "far"));
        let _client = outside.client.run(|| Server::both(80, "client"));
        for protocol in PROTOCOLS {
            assert!(server.pod.netns().run(|| ask(protocol, "203.0.113.2:80")).is_ok());
            assert!(server.pod.netns().run(|| ask(protocol, "192.0.2.100:80")).is_err());
        }
        server.call("CHECK", &spec).expect_quiet();
    });
}

/// A pod on a veth pair of its own needs nothing of bridges.
#[test]
fn a_routed_pod_is_judged_whatever_bridges_can() {
    sandbox::run(|host| {
        if Path::new("/proc/sys").join(CALLS[0]).exists() {
            CALLS.iter().for_each(|key| kernel::set_sysctl(key, "0"));
        }
        let outside = Outside::new(host);
        let ptp = json!({"cniVersion": "1.1.0", "name": "net1", "type": "ptp", "ipam": {"type": "host-local",
            "ranges": [[{"subnet": "10.1.1.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}});
        let pod = Pod::new(host, "routed");
        let result = pod.add(&ptp).expect_result();
        let servers = pod.netns().run(|| vec![Server::both(80, "routed")]);
        let routed = Wired { pod, number: 1, result, _servers: servers };
        let reached = |routed: &Wired<'_>| {
            let to = routed.sockets(80);
            to.map(|to| outside.client.run(|| PROTOCOLS.map(|protocol| ask(protocol, &to).is_ok())))
        };
        assert_eq!(reached(&routed), [[true; 2]; 2]);
        let spec = json!({"ingress": [{"from": [block("192.0.2.0/24")], "ports": [{"port": 80}]}]});
        routed.call("ADD", &spec).expect_result();
        assert_eq!(reached(&routed), [[true, false], [false, false]]);
        routed.call("CHECK", &spec).expect_quiet();
    });
}

/// A port of the host leads to the pod's port before the policy sees the packet.
#[test]
fn a_published_port_is_judged_as_the_pods_own() {
    sandbox::run(|host| {
        bridged!();
        let outside = Outside::new(host);
        let server = Wired::new(host, "server", 1, &[80, 81]);
        let portmap = json!({"cniVersion": "1.1.0", "name": "net1", "type": "portmap", "runtimeConfig": {"portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 8081, "containerPort": 81, "protocol": "tcp"}]}});
        server.pod.call("ADD", &portmap).conf_after(&portmap, &server.result).run().expect_result();
        server.call("ADD", &json!({"ingress": [{"ports": [{"port": 80}]}]})).expect_result();
        assert!(outside.client.run(|| ask(Protocol::Tcp, "192.0.2.1:8080")).is_ok());
        assert!(outside.client.run(|| ask(Protocol::Tcp, "192.0.2.1:8081")).is_err());
    });
}

#[test]
fn a_repeated_add_replaces_the_policy_and_what_is_connected_stays() {
    sandbox::run(|host| {
        bridged!();
        let server = Wired::new(host, "server", 1, &[80]);
        let client = Wired::new(host, "client", 1, &[80]);
        let open = json!({"ingress": [{"from": client.blocks()}]});
        server.call("ADD", &open).expect_result();
        let before = host.state();
        let flows = server.sockets(80).map(|to| {
            let to: SocketAddr = to.parse().expect("an address");
            let flow = client.pod.netns().run(|| Client::new(to));
            flow.ask().unwrap_or_else(|e| panic!("{to}: {e}"));
            flow
        });
        let closed = json!({"policyTypes": ["Ingress"]});
        server.call("ADD", &closed).expect_result();
        server.call("CHECK", &closed).expect_quiet();
        server.call("CHECK", &open).expect_error(104, &["policy is not in force"]);
        for flow in &flows {
            assert!(flow.ask().is_ok(), "a flow that was let in goes on");
        }
        client.meets(&server, 80, false);
        // The other direction, and back to the first: nothing piles up.
        server.call("ADD", &json!({"policyTypes": ["Egress"]})).expect_result();
        client.meets(&server, 80, true);
        server.meets(&client, 80, false);
        server.call("ADD", &open).expect_result();
        let left = kernel::difference(&before, &host.state());
        let left: Vec<_> = left.iter().filter(|line| !line.contains("counter packets")).collect();
        assert!(left.is_empty(), "{left:#?}");
    });
}

#[test]
fn del_and_gc_leave_what_pods_share() {
    sandbox::run(|host| {
        bridged!();
        let spec = json!({"policyTypes": ["Ingress", "Egress"], "ingress": [{"from": [block("10.0.0.0/8")]}]});
        // The first policy makes what all of them share.
        let first = Wired::new(host, "first", 1, &[]);
        first.call("ADD", &spec).expect_result();
        first.call("DEL", &spec).expect_quiet();
        let pods = ["a", "b", "c"].map(|name| Wired::new(host, name, 1, &[]));
        let before = host.state();
        for pod in &pods {
            pod.call("ADD", &spec).expect_result();
        }
        let [a, b, c] = &pods;
        let conf = policy(1, &json!({}));
        for _ in 0..2 {
            // Without prevResult, rules, or a namespace.
            a.pod.call("DEL", &conf).without("CNI_NETNS").run().expect_quiet();
        }
        b.call("CHECK", &spec).expect_quiet();
        let mut gc = conf.clone();
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "c", "ifname": "eth0"}]);
        host.call("GC", "policy").conf(&gc).run().expect_quiet();
        b.call("CHECK", &spec).expect_error(104, &["policy is not recorded"]);
        c.call("CHECK", &spec).expect_quiet();
        gc["cni.dev/valid-attachments"] = json!([]);
        host.call("GC", "policy").conf(&gc).run().expect_quiet();
        assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
    });
}

#[test]
fn check_notices_what_others_did_to_the_rules() {
    sandbox::run(|host| {
        bridged!();
        let Some(_) = sandbox::nft_ruleset() else { skip!("needs nft") };
        let server = Wired::new(host, "server", 1, &[]);
        let spec = json!({"policyTypes": ["Ingress", "Egress"], "ingress": [{"from": [block("10.0.0.0/8")]}]});
        let chains = || -> Vec<String> {
            let rules = nft(&["list", "table", "inet", "picocni"]).expect("nft is there");
            let names = rules.lines().filter_map(|line| line.trim().strip_prefix("chain "));
            let names = names.filter_map(|name| name.strip_suffix(" {"));
            names.filter(|name| name.starts_with("in-") || name.starts_with("out-")).map(str::to_owned).collect()
        };
        server.call("ADD", &spec).expect_result();
        let names = chains();
        assert_eq!(names.len(), 2, "{names:?}");
        let [v4, _] = server.addresses();
        let harm: [Vec<&str>; 6] = [
            vec!["flush", "chain", "inet", "picocni", &names[0]],
            vec!["insert", "rule", "inet", "picocni", &names[1], "accept"],
            vec!["flush", "map", "inet", "picocni", "ingress4"],
            vec!["delete", "element", "inet", "picocni", "egress4", "{", &v4, "}"],
            vec!["flush", "chain", "inet", "picocni", "to-pods"],
            vec!["flush", "ruleset"],
        ];
        for words in harm {
            server.call("CHECK", &spec).expect_quiet();
            nft(&words);
            server.call("CHECK", &spec).expect_error(104, &["policy is not in force"]);
            if words[1] == "chain" && words[4] == "to-pods" {
                nft(&["delete", "table", "inet", "picocni"]);
            }
            server.call("ADD", &spec).expect_result();
        }
        server.call("CHECK", &spec).expect_quiet();
    });
}

/// What `nft list` prints can be loaded again, as a host's rules are kept.
#[test]
fn the_tables_can_be_listed_and_loaded_again() {
    sandbox::run(|host| {
        bridged!();
        let Some(_) = sandbox::nft_ruleset() else { skip!("needs nft") };
        let server = Wired::new(host, "server", 1, &[80]);
        let other = Wired::new(host, "other", 1, &[80]);
        let spec = json!({"policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "10.0.0.0/9", "except": ["10.1.3.0/24", "10.2.0.0/15"]}},
                          {"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:3::/49", "2001:db8:4::7/128"]}}],
                 "ports": [{"port": 80}, {"protocol": "UDP", "port": 80, "endPort": 90}, {"protocol": "SCTP"}]},
                {"ports": [{"protocol": "SCTP", "port": 7, "endPort": 65535}]}],
            "egress": [{"to": [block("0.0.0.0/0")]}, {"to": [block("::/0")], "ports": [{"port": 443}]}, {}]});
        server.call("ADD", &spec).expect_result();
        other.meets(&server, 80, true);
        for family in ["inet", "bridge"] {
            let Ok(output) = Command::new("nft").args(["list", "table", family, "picocni"]).output() else { continue };
            if !output.status.success() {
                assert_eq!(family, "bridge", "{}", String::from_utf8_lossy(&output.stderr));
                continue;
            }
            let listed = String::from_utf8_lossy(&output.stdout).into_owned();
            std::fs::write("/run/rules", &listed).expect("a file");
            nft(&["delete", "table", family, "picocni"]);
            nft(&["-f", "/run/rules"]);
            assert_eq!(nft(&["list", "table", family, "picocni"]), Some(listed));
            if family == "inet" {
                server.call("CHECK", &spec).expect_quiet();
                other.meets(&server, 80, true);
            }
            // On Linux 6.1 nft 1.0.6 loads the indexes of links with their bytes swapped, and lists them as before; CHECK
            // notices, so that a bridge's table is not what to restore.
        }
    });
}

#[test]
fn an_address_has_one_policy() {
    sandbox::run(|host| {
        bridged!();
        let spec = json!({"policyTypes": ["Ingress"]});
        let one = Wired::new(host, "one", 1, &[]);
        one.call("ADD", &spec).expect_result();
        let before = host.state();
        // Another attachment that says that it has the same addresses.
        let other = Pod::new(host, "other");
        let mut conf = bridge(2);
        conf["ipam"] = json!({"type": "static", "addresses": [{"address": format!("{}/24", one.addresses()[0])}]});
        let result = other.add(&conf).expect_result();
        let conf = policy(2, &spec);
        let call = other.call("ADD", &conf).conf_after(&conf, &result).run();
        call.expect_error(103, &["address has a policy of another attachment", "net1:one:eth0"]);
        other.call("DEL", &bridge(2)).run().expect_quiet();
        let left = kernel::difference(&before, &host.state());
        assert!(!left.iter().any(|line| line.contains("policy") || line.contains("nft")), "{left:#?}");
    });
}

/// A kernel that cannot judge frames between ports gets no policy that is not in force.
#[test]
fn what_cannot_be_enforced_is_refused() {
    sandbox::run(|host| {
        if LinkType::BridgeTracking.try_out().is_ok() {
            skip!("this kernel tracks connections on bridges");
        }
        let calls = Path::new("/proc/sys").join(CALLS[0]).exists();
        let spec = json!({"policyTypes": ["Ingress"]});
        let server = Wired::new(host, "server", 1, &[]);
        let before = host.state();
        for key in if calls { &CALLS[..] } else { &[] } {
            kernel::set_sysctl(key, "0");
            let said = server.call("ADD", &spec).expect_error(50, &["policy cannot be enforced"]);
            assert!(said.details.contains(key), "{said:?}");
            host.call("STATUS", "policy").conf(&policy(1, &spec)).run().expect_error(50, &["cannot be enforced"]);
            assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
            kernel::set_sysctl(key, "1");
        }
        if calls {
            host.call("STATUS", "policy").conf(&policy(1, &spec)).run().expect_quiet();
            server.call("ADD", &spec).expect_result();
            kernel::set_sysctl(CALLS[1], "0");
            server.call("CHECK", &spec).expect_error(104, &["policy cannot be enforced"]);
        }
    });
}

/// Where the kernel tracks connections on bridges, the switch of br_netfilter is of no account.
#[test]
fn the_switches_of_br_netfilter_change_nothing() {
    needs!(BridgeTracking);
    sandbox::run(|host| {
        let _ = Command::new("modprobe").arg("br_netfilter").status();
        if !Path::new("/proc/sys").join(CALLS[0]).exists() {
            skip!("no br_netfilter in this kernel");
        }
        let server = Wired::new(host, "server", 1, &[80]);
        let friend = Wired::new(host, "friend", 1, &[80]);
        let stranger = Wired::new(host, "stranger", 1, &[80]);
        server.call("ADD", &json!({"ingress": [{"from": friend.blocks()}]})).expect_result();
        for value in ["1", "0", "1"] {
            CALLS.iter().for_each(|key| kernel::set_sysctl(key, value));
            friend.meets(&server, 80, true);
            stranger.meets(&server, 80, false);
            server.meets(&stranger, 80, true);
        }
    });
}

#[test]
fn packets_that_pass_by_the_filter_are_refused() {
    needs!(Macvlan);
    sandbox::run(|host| {
        kernel::edit::veth("up0", "wire");
        kernel::edit::up("up0");
        let conf = json!({"cniVersion": "1.1.0", "name": "net1", "type": "macvlan", "master": "up0",
            "ipam": {"type": "static", "addresses": [{"address": "10.1.1.2/24"}]}});
        let pod = Pod::new(host, "pod");
        let result = pod.add(&conf).expect_result();
        let conf = policy(1, &json!({"policyTypes": ["Ingress"]}));
        let call = pod.call("ADD", &conf).conf_after(&conf, &result).run();
        call.expect_error(2, &["policy cannot be enforced", "eth0"]);
    });
}
