//! firewall with real packets: those that must pass and those that must not (rows 139 to 141 of `parity.tsv`).

use std::process::Command;

use picocni_tests::kernel::{self, set_sysctl};
use picocni_tests::outside::Outside;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{PROTOCOLS, Protocol, Server, ask};
use picocni_tests::{Outcome, Pod, skip};
use serde_json::{Value, json};

fn bridge(name: &str, third: u8) -> Value {
    json!({"cniVersion": "1.0.0", "name": format!("net-{name}"), "type": "bridge", "bridge": name, "isDefaultGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": format!("10.1.{third}.0/24")}],
            [{"subnet": format!("2001:db8:{third}::/64")}]]}})
}

fn firewall(bridge: &str, extra: &Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": format!("net-{bridge}"), "type": "firewall"});
    conf.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    conf
}

/// A pod on a bridge that went through the firewall, and answers at port 80 with its name.
struct Guarded<'a> {
    pod: Pod<'a>,
    result: Value,
    bridge: Value,
    conf: Value,
    _servers: [Server; 2],
}

impl<'a> Guarded<'a> {
    fn new(host: &'a Sandbox, name: &str, on: (&str, u8), extra: &Value) -> Self {
        let pod = Pod::new(host, name);
        let (bridge, conf) = (bridge(on.0, on.1), firewall(on.0, extra));
        let result = pod.add(&bridge).expect_result();
        let printed = pod.call("ADD", &conf).conf_after(&conf, &result).run().expect_result();
        assert_eq!(printed, result, "the result is handed on");
        let servers = pod.netns().run(|| Server::both(80, name));
        Self { pod, result, bridge, conf, _servers: servers }
    }

    fn call(&self, command: &str) -> Outcome {
        self.pod.call(command, &self.conf).conf_after(&self.conf, &self.result).run()
    }

    fn del(&self) {
        self.call("DEL").expect_quiet();
        self.pod.call("DEL", &self.bridge).conf_after(&self.bridge, &self.result).run().expect_quiet();
    }

    /// Port 80 of its IPv4 and its IPv6 address.
    fn doors(&self) -> [String; 2] {
        [0, 1].map(|at| {
            let text = self.result["ips"][at]["address"].as_str().expect("an address");
            let ip = text.split('/').next().expect("an address");
            if ip.contains(':') { format!("[{ip}]:80") } else { format!("{ip}:80") }
        })
    }

    /// Asserts that `other` is reached from this pod, or is not.
    #[track_caller]
    fn reaches(&self, other: &Self, reached: bool) {
        let name = other.pod.netns().path().file_name().and_then(|n| n.to_str()).expect("a name");
        // All at once: what is dropped takes its time.
        let answers: Vec<_> = std::thread::scope(|scope| {
            let doors = other.doors();
            let questions = PROTOCOLS.into_iter().flat_map(|protocol| doors.clone().map(|door| (protocol, door)));
            let asked: Vec<_> = questions
                .map(|(protocol, door)| scope.spawn(move || self.pod.netns().run(|| ask(protocol, &door))))
                .collect();
            asked.into_iter().map(|thread| thread.join().expect("an answer or an error")).collect()
        });
        for answer in answers {
            let who = answer.as_ref().map(|answer| answer.who.as_str()).ok();
            assert_eq!(who, reached.then_some(name), "{answer:?}");
        }
    }
}

/// Whether frames between the ports of a bridge are handed to the IP layer's packet filter.
fn bridge_netfilter(on: bool) {
    for key in ["iptables", "ip6tables"] {
        set_sysctl(&format!("net/bridge/bridge-nf-call-{key}"), if on { "1" } else { "0" });
    }
}

fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn bridges_are_kept_apart_by_a_policy() {
    for netfilter in [false, true] {
        sandbox::run(|host| {
            let outside = Outside::new(host);
            bridge_netfilter(netfilter);
            let policy = json!({"backend": "nftables", "ingressPolicy": "same-bridge"});
            let one = Guarded::new(host, "one", ("cni1", 1), &policy);
            let mate = Guarded::new(host, "mate", ("cni1", 1), &policy);
            let two = Guarded::new(host, "two", ("cni2", 2), &policy);
            let open = Guarded::new(host, "open", ("cni3", 3), &json!({"backend": "nftables"}));
            one.reaches(&mate, true);
            one.reaches(&two, false);
            two.reaches(&one, false);
            one.reaches(&open, true);
            open.reaches(&one, true);
            assert_eq!(outside.client.run(|| ask(Protocol::Tcp, &one.doors()[0])).map(|a| a.who), Ok("one".into()));
            // The last but one of a bridge leaves it as it is, the last one opens it.
            mate.del();
            one.reaches(&two, false);
            one.call("CHECK").expect_quiet();
            two.del();
            let two = Guarded::new(host, "again", ("cni2", 2), &json!({"backend": "nftables"}));
            one.reaches(&two, true);
        });
    }
}

#[test]
fn pods_of_one_bridge_are_isolated_whatever_the_bridge_hands_on() {
    for netfilter in [false, true] {
        sandbox::run(|host| {
            let outside = Outside::new(host);
            bridge_netfilter(netfilter);
            let policy = json!({"backend": "nftables", "ingressPolicy": "isolated"});
            let one = Guarded::new(host, "one", ("cni1", 1), &policy);
            let mate = Guarded::new(host, "mate", ("cni1", 1), &policy);
            let two =
                Guarded::new(host, "two", ("cni2", 2), &json!({"backend": "nftables", "ingressPolicy": "same-bridge"}));
            let open = Guarded::new(host, "open", ("cni3", 3), &json!({"backend": "nftables"}));
            let _own = Server::both(81, "host");
            let _far = outside.far.run(|| Server::both(80, "far"));
            one.reaches(&mate, false);
            mate.reaches(&one, false);
            one.reaches(&two, false);
            two.reaches(&one, false);
            one.reaches(&open, true);
            // The host, its neighbours, and from there.
            let from_one = |to: &str| one.pod.netns().run(|| ask(Protocol::Tcp, to)).map(|a| a.who);
            assert_eq!(from_one("10.1.1.1:81"), Ok("host".into()));
            assert_eq!(from_one("[2001:db8:1::1]:81"), Ok("host".into()));
            assert_eq!(from_one("203.0.113.2:80"), Ok("far".into()));
            assert_eq!(outside.client.run(|| ask(Protocol::Udp, &one.doors()[1])).map(|a| a.who), Ok("one".into()));
            one.call("CHECK").expect_quiet();
            mate.del();
            one.call("CHECK").expect_quiet();
        });
    }
}

#[test]
fn the_operators_chain_comes_first_and_is_kept() {
    sandbox::run(|host| {
        if sandbox::nft_ruleset().is_none() {
            skip!("nft has not been fetched");
        }
        let conf = json!({"backend": "nftables"});
        let one = Guarded::new(host, "one", ("cni1", 1), &conf);
        let two = Guarded::new(host, "two", ("cni2", 2), &conf);
        one.reaches(&two, true);
        run("nft", &["add rule inet picocni admin meta l4proto { tcp, udp } th dport 80 drop"]);
        one.reaches(&two, false);
        let three = Guarded::new(host, "three", ("cni3", 3), &conf);
        two.del();
        one.reaches(&three, false);
        assert!(sandbox::nft_ruleset().is_some_and(|rules| rules.contains("th dport 80 drop")));
        run("nft", &["flush chain inet picocni admin"]);
        one.reaches(&three, true);
    });
}

#[test]
fn a_pod_is_an_element_with_its_owner_and_packets_add_none() {
    sandbox::run(|host| {
        if sandbox::nft_ruleset().is_none() {
            skip!("nft has not been fetched");
        }
        let conf = json!({"backend": "nftables", "ingressPolicy": "isolated"});
        let one = Guarded::new(host, "one", ("cni1", 1), &conf);
        let before = host.state();
        let open = Guarded::new(host, "two", ("cni2", 2), &json!({"backend": "nftables"}));
        let rules = sandbox::nft_ruleset().expect("nft");
        for line in
            ["10.1.1.2 comment \"picocni:net-cni1:one:eth0\"", "2001:db8:2::2 comment \"picocni:net-cni2:two:eth0\""]
        {
            assert!(rules.contains(line), "{line} is not in {rules}");
        }
        // The rules are these, however many pods there are.
        for line in [
            "jump admin",
            "iifname . oifname @closed drop",
            "iifname @apart oifname @apart iifname . oifname != @own drop",
            "ip daddr @pods4 ct state established,related accept",
            "ip saddr @pods4 accept",
            "ip6 daddr @pods6 ct state established,related accept",
            "ip6 saddr @pods6 accept",
            "iif @isolated jump drop-ip",
            "oif @isolated jump drop-ip",
            "meta protocol ip drop",
            "meta protocol ip6 drop",
        ] {
            assert_eq!(rules.lines().filter(|l| l.trim() == line).count(), 1, "{line} in {rules}");
        }
        for _ in 0..3 {
            one.reaches(&open, true);
        }
        assert_eq!(sandbox::nft_ruleset().expect("nft"), rules, "packets change nothing");
        // What nft lists it can load again.
        std::fs::write("/run/rules", format!("flush ruleset\n{rules}")).expect("a file");
        run("nft", &["-f", "/run/rules"]);
        assert_eq!(sandbox::nft_ruleset().expect("nft"), rules);
        one.reaches(&open, true);
        open.del();
        let left: Vec<String> =
            kernel::difference(&before, &host.state()).into_iter().filter(|l| l.contains("nft ")).collect();
        assert_eq!(left, [""; 0], "DEL leaves nothing of the pod");
    });
}

/// What STATUS says of the automatic choice where no iptables can be executed.
fn choice_without_iptables(host: &Sandbox) -> Outcome {
    let conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "firewall"});
    host.call("STATUS", "firewall").env("PATH", "/run/none").conf(&conf).run()
}

#[test]
fn whoever_may_drop_what_is_forwarded_is_found() {
    const FORWARD: &str = "type filter hook forward priority 0;";
    let base = |rules: &str| format!("{{ chain base {{ {FORWARD} {rules} }} }}");
    let cases = [
        ("table inet t { }".to_owned(), None),
        (format!("table ip t {}", base("policy drop;")), Some("table ip t, chain base (policy drop)")),
        (format!("table ip6 t {}", base("policy drop;")), Some("table ip6 t, chain base (policy drop)")),
        (format!("table inet t {}", base("policy accept; tcp dport 22 drop;")), Some("table inet t, chain base ")),
        (format!("table inet t {}", base("reject;")), Some("chain base")),
        (format!("table inet t {}", base("ct state vmap { invalid : drop };")), Some("chain base")),
        (format!("table inet t {}", base("counter accept; ip saddr 10.0.0.1 return;")), None),
        // Other hooks, other families, and rules that no forwarded packet comes to.
        ("table inet t { chain c { type filter hook input priority 0; policy drop; drop; } }".to_owned(), None),
        (format!("table bridge t {}", base("policy drop;")), None),
        ("table ip t { chain c { drop; } }".to_owned(), None),
        // By way of other chains, in a circle of two as well.
        (
            format!(
                "table ip t {{ chain c {{ drop; }} chain b {{ goto c; }} chain a {{ ip saddr 10.0.0.1 jump b; }}
                 chain base {{ {FORWARD} jump a; }} }}"
            ),
            Some("table ip t, chain c "),
        ),
        (
            format!(
                "table ip t {{ chain b {{ accept; }} chain a {{ jump b; jump b; }}
                 chain base {{ {FORWARD} jump a; jump b; }} }}"
            ),
            None,
        ),
        // More than can be followed.
        (
            format!(
                "table ip t {{ {} chain base {{ {FORWARD} {} }} }}",
                (0..99).map(|n| format!("chain c{n} {{ accept; }} ")).collect::<String>(),
                (0..99).map(|n| format!("jump c{n}; ")).collect::<String>()
            ),
            Some("and many more"),
        ),
        (
            format!("table ip {} {{ chain base {{ {FORWARD} accept; }} }}", "t".repeat(100)),
            Some("table ip with a long name"),
        ),
    ];
    sandbox::run(|host| {
        if sandbox::nft_ruleset().is_none() {
            skip!("nft has not been fetched");
        }
        choice_without_iptables(host).expect_quiet();
        // Our own table is no stranger.
        Guarded::new(host, "pod", ("cni1", 1), &json!({"backend": "nftables", "ingressPolicy": "isolated"}));
        for (rules, place) in cases {
            // nft wants a line to end where we write a brace.
            std::fs::write("/run/rules", rules.replace("} ", "}\n")).expect("a file");
            run("nft", &["-f", "/run/rules"]);
            let outcome = choice_without_iptables(host);
            match place {
                Some(place) => drop(outcome.expect_error(50, &[place, "\"backend\": \"nftables\""])),
                None => assert_eq!(outcome.code, Some(0), "{rules}: {outcome}"),
            }
            let (family, rest) = rules.strip_prefix("table ").and_then(|r| r.split_once(' ')).expect("a table");
            run("nft", &["delete", "table", family, rest.split(' ').next().expect("a name")]);
        }
        // By iptables: a policy, a REJECT (which is an expression of its own), and one that only accepts.
        for (iptables, words, place) in [
            ("iptables-nft", "-P FORWARD DROP", Some("table ip filter, chain FORWARD (policy drop)")),
            ("iptables-nft", "-P FORWARD ACCEPT", None),
            ("ip6tables-nft", "-A FORWARD -s 2001:db8::1 -j REJECT", Some("table ip6 filter, chain FORWARD")),
            ("ip6tables-nft", "-F FORWARD", None),
            ("iptables-nft", "-A FORWARD -m conntrack --ctstate INVALID -j DROP", Some("chain FORWARD")),
            ("iptables-nft", "-F FORWARD", None),
            ("iptables-nft", "-A FORWARD -s 10.0.0.1 -j ACCEPT", None),
            ("ip6tables-legacy", "-A FORWARD -j ACCEPT", Some("table filter of ip6tables-legacy")),
            ("iptables-legacy", "-A FORWARD -j ACCEPT", Some("table filter of iptables-legacy")),
        ] {
            run(iptables, &words.split(' ').collect::<Vec<&str>>());
            let outcome = choice_without_iptables(host);
            match place {
                Some(place) => drop(outcome.expect_error(50, &[place])),
                None => assert_eq!(outcome.code, Some(0), "{words}: {outcome}"),
            }
        }
    });
}
