//! portmap by iptables, in both flavours of it: the rules of the Go plugin, and real packets (rows 49, 53, 55, 131 to 138
//! of `parity.tsv`).

use std::time::Instant;

use picocni_tests::iptables::{FLAVOURS, Flavour};
use picocni_tests::kernel;
use picocni_tests::outside::Outside;
use picocni_tests::peer::Peer;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Client, PROTOCOLS, Protocol, Server, ask, who};
use picocni_tests::{Call, Pod, skip};
use serde_json::{Value, json};

fn bridge() -> Value {
    json!({"cniVersion": "1.0.0", "name": "my.net", "type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
        "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]]}})
}

fn portmap(mappings: &Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": "my.net", "type": "portmap", "backend": "iptables",
        "capabilities": {"portMappings": true}, "runtimeConfig": {"portMappings": mappings}})
}

/// A config with one more key.
fn with(mut conf: Value, key: &str, value: Value) -> Value {
    conf[key] = value;
    conf
}

fn mapping(protocol: &str, host: u16, container: u16) -> Value {
    json!({"hostPort": host, "containerPort": container, "protocol": protocol})
}

/// Port 8080 of the host leads to port 80 of the pod, in both protocols.
fn web() -> Value {
    PROTOCOLS.iter().map(|protocol| mapping(protocol.name(), 8080, 80)).collect()
}

/// Runs `body` on a host of its own for each flavour.
fn with_each(body: impl Fn(&Sandbox, Flavour) + Sync) {
    for flavour in FLAVOURS {
        sandbox::run(|host| {
            if !flavour.works() {
                skip!("no {flavour:?} iptables");
            }
            body(host, flavour);
        });
    }
}

/// A pod on the bridge with published ports, which answers at port 80 with its name.
struct Published<'a> {
    pod: Pod<'a>,
    result: Value,
    conf: Value,
    flavour: Flavour,
    _servers: [Server; 2],
}

impl<'a> Published<'a> {
    fn new(host: &'a Sandbox, flavour: Flavour, name: &str, conf: &Value) -> Self {
        let pod = Pod::new(host, name);
        let result = pod.add(&bridge()).expect_result();
        let servers = pod.netns().run(|| Server::both(80, name));
        let published = Self { pod, result, conf: conf.clone(), flavour, _servers: servers };
        published.call("ADD").run().expect_result();
        published
    }

    fn call(&self, command: &str) -> Call {
        self.pod.call(command, &self.conf).conf_after(&self.conf, &self.result).env("PATH", &self.flavour.path())
    }

    fn del(&self) {
        self.call("DEL").run().expect_quiet();
    }
}

#[test]
fn a_port_is_reached_from_everywhere_in_both_protocols_and_families() {
    with_each(|host, flavour| {
        let outside = Outside::new(host);
        let pod = Published::new(host, flavour, "web", &portmap(&web()));
        let other = Published::new(host, flavour, "other", &portmap(&json!([])));
        for protocol in PROTOCOLS {
            for to in ["192.0.2.1:8080", "192.0.2.3:8080", "[2001:db8:9::1]:8080"] {
                let answer = outside.client.run(|| ask(protocol, to)).unwrap_or_else(|e| panic!("from outside: {e}"));
                assert_eq!(answer.who, "web");
                let client = if to.starts_with('[') { "2001:db8:9::100" } else { "192.0.2.100" };
                assert_eq!(answer.seen_from.to_string(), client, "{protocol:?} {to}: the client's address is kept");
                assert_eq!(who(protocol, to), "web", "from the host");
                for from in [&other, &pod] {
                    let answer = from.pod.netns().run(|| ask(protocol, to));
                    assert_eq!(answer.map(|a| a.who), Ok("web".to_owned()), "hairpin {protocol:?} {to}");
                }
            }
            assert_eq!(who(protocol, "127.0.0.1:8080"), "web", "from the host by its loopback address");
        }
        pod.call("CHECK").run().expect_quiet();
        pod.del();
        for protocol in PROTOCOLS {
            assert!(outside.client.run(|| ask(protocol, "192.0.2.1:8080")).is_err(), "still published after DEL");
            assert!(ask(protocol, "127.0.0.1:8080").is_err(), "still published after DEL");
        }
    });
}

#[test]
fn host_ip_limits_a_port_to_one_address() {
    with_each(|host, flavour| {
        let outside = Outside::new(host);
        let on = |ip: &str, port: u16| json!({"hostPort": port, "containerPort": 80, "protocol": "tcp", "hostIP": ip});
        let mappings = json!([on("192.0.2.3", 8080), on("2001:db8:9::1", 8080), on("127.0.0.1", 9090)]);
        let pod = Published::new(host, flavour, "web", &portmap(&mappings));
        let reached = |to: &str| outside.client.run(|| ask(Protocol::Tcp, to)).map(|a| a.who).ok();
        assert_eq!(reached("192.0.2.3:8080").as_deref(), Some("web"));
        assert_eq!(reached("[2001:db8:9::1]:8080").as_deref(), Some("web"));
        assert_eq!(reached("192.0.2.1:8080"), None, "another address of the host");
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:9090"), "web");
        assert_eq!(reached("192.0.2.1:9090"), None, "a port of the loopback address");
        pod.call("CHECK").run().expect_quiet();
    });
}

#[test]
fn a_flow_follows_the_port_to_its_next_pod() {
    with_each(|host, flavour| {
        let outside = Outside::new(host);
        let conf = portmap(&web());
        let first = Published::new(host, flavour, "first", &conf);
        let clients = ["192.0.2.1:8080", "[2001:db8:9::1]:8080"].map(|to| {
            let client = outside.client.run(|| Client::new(to.parse().expect("an address")));
            client.ask().unwrap_or_else(|e| panic!("{to}: {e}"));
            client
        });
        first.del();
        let _second = Published::new(host, flavour, "second", &conf);
        for client in &clients {
            let answer = client.ask().unwrap_or_else(|e| panic!("the flow is stuck: {e}"));
            assert!(answer.starts_with("second "), "{answer}");
        }
    });
}

#[test]
fn snat_can_be_turned_off_and_be_turned_on_for_all() {
    with_each(|host, flavour| {
        let outside = Outside::new(host);
        let plain = Published::new(host, flavour, "plain", &with(portmap(&web()), "snat", json!(false)));
        for to in ["192.0.2.1:8080", "[2001:db8:9::1]:8080"] {
            assert_eq!(outside.client.run(|| who(Protocol::Tcp, to)), "plain");
        }
        assert!(plain.pod.netns().run(|| ask(Protocol::Tcp, "192.0.2.1:8080")).is_err());
        plain.call("CHECK").run().expect_quiet();
        plain.del();
        let masked = Published::new(host, flavour, "masked", &with(portmap(&web()), "masqAll", json!(true)));
        for (to, seen) in [("192.0.2.1:8080", "10.1.2.1"), ("[2001:db8:9::1]:8080", "2001:db8:1::1")] {
            let answer = outside.client.run(|| ask(Protocol::Tcp, to)).expect("from outside");
            assert_eq!((answer.who.as_str(), answer.seen_from.to_string().as_str()), ("masked", seen));
        }
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "masked");
        masked.call("CHECK").run().expect_quiet();
    });
}

#[test]
fn conditions_keep_some_clients_out() {
    with_each(|host, flavour| {
        let outside = Outside::new(host);
        let conf = with(portmap(&web()), "conditionsV4", json!(["!", "-s", "192.0.2.100"]));
        let pod = Published::new(host, flavour, "web", &conf);
        assert!(outside.client.run(|| ask(Protocol::Tcp, "192.0.2.1:8080")).is_err(), "it is shut out");
        assert_eq!(who(Protocol::Tcp, "192.0.2.1:8080"), "web");
        assert_eq!(outside.client.run(|| who(Protocol::Tcp, "[2001:db8:9::1]:8080")), "web", "IPv6 has no condition");
        pod.call("CHECK").run().expect_quiet();
        pod.del();
    });
}

#[test]
fn repeated_calls_leave_one_set_of_rules() {
    with_each(|host, flavour| {
        let pod = Published::new(host, flavour, "web", &portmap(&web()));
        let saved = || [false, true].map(|v6| flavour.saved(v6, "nat"));
        let added = saved();
        pod.call("ADD").run().expect_result();
        assert_eq!(saved(), added);
        let neighbour = Published::new(host, flavour, "neighbour", &portmap(&json!([mapping("tcp", 9090, 80)])));
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:9090"), "neighbour");
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "web");
        pod.del();
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:9090"), "neighbour");
        neighbour.del();
        let left = saved();
        assert!(left.iter().flatten().all(|line| !line.contains("CNI-DN-")), "{left:#?}");
        let state = host.state();
        for _ in 0..2 {
            pod.del();
        }
        assert_eq!(saved(), left);
        assert_eq!(kernel::difference(&state, &host.state()), [""; 0]);
    });
}

/// The chain of `eth0` has the name that the reference plugins give to every interface of the container.
#[test]
fn a_del_of_another_interface_leaves_the_chain() {
    sandbox::run_with(Peer::picocni(), |host| {
        let flavour = Flavour::Nft;
        if !flavour.works() {
            skip!("no {flavour:?} iptables");
        }
        let pod = Published::new(host, flavour, "web", &portmap(&web()));
        let before = flavour.saved(false, "nat");
        assert!(before.iter().any(|line| line.starts_with(":CNI-DN-")), "{before:#?}");
        for conf in [portmap(&json!([])), with(bridge(), "ipMasq", true.into())] {
            pod.pod.call("DEL", &conf).ifname("eth1").env("PATH", &flavour.path()).run().expect_quiet();
        }
        assert_eq!(flavour.saved(false, "nat"), before);
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "web");
        pod.call("CHECK").run().expect_quiet();
    });
}

#[test]
fn many_pods_at_once_have_each_their_rules() {
    with_each(|host, flavour| {
        if host.peer().is_go() {
            // Now and then one of theirs finds a shared chain half made, and fails.
            return;
        }
        let confs: Vec<Value> = (0..8).map(|n| portmap(&json!([mapping("tcp", 9000 + n, 80)]))).collect();
        let pods: Vec<Pod> = (0..8).map(|n| Pod::new(host, &format!("pod-{n}"))).collect();
        let results: Vec<Value> = pods.iter().map(|pod| pod.add(&bridge()).expect_result()).collect();
        for command in ["ADD", "DEL"] {
            let all = || pods.iter().zip(&confs).zip(&results);
            std::thread::scope(|scope| {
                for ((pod, conf), result) in all() {
                    let call = pod.call(command, conf).conf_after(conf, result).env("PATH", &flavour.path());
                    scope.spawn(move || assert_eq!(call.run().code, Some(0), "{call}"));
                }
            });
            for v6 in [false, true] {
                let saved = flavour.saved(v6, "nat");
                let jumps = saved.iter().filter(|line| line.contains("--dports")).count();
                assert_eq!(jumps, if command == "ADD" { 8 } else { 0 }, "{saved:#?}");
                let shared = saved.iter().filter(|line| line.contains("--dst-type LOCAL")).count();
                // The Go plugins race for the jumps that pods share, and make some several times.
                assert!(shared == 2 || host.peer().is_go(), "{saved:#?}");
            }
        }
    });
}

#[test]
fn check_fails_when_rules_are_gone() {
    with_each(|host, flavour| {
        let pod = Published::new(host, flavour, "web", &portmap(&web()));
        pod.call("CHECK").run().expect_quiet();
        flavour.run(true, &["-t", "nat", "-F", "CNI-HOSTPORT-DNAT"]);
        pod.call("CHECK").run().expect_failure();
        pod.call("ADD").run().expect_result();
        pod.call("CHECK").run().expect_quiet();
    });
}

#[test]
fn another_backend_than_its_options_are_for_is_refused() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        let result = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}],
            "ips": [{"address": "10.1.2.3/24", "interface": 0}]});
        for (backend, key, value, said) in [
            (
                "nftables",
                "externalSetMarkChain",
                json!("X"),
                "contains iptables-specific options [externalSetMarkChain]",
            ),
            ("nftables", "conditionsV6", json!(["-i", "x"]), "contains iptables-specific options [conditionsV6]"),
            (
                "iptables",
                "conditionsV4",
                json!(["ip", "saddr", "::"]),
                "contains nftables-specific options [conditionsV4]",
            ),
        ] {
            let conf = with(with(portmap(&web()), "backend", json!(backend)), key, value);
            let error = pod.call("ADD", &conf).conf_after(&conf, &result).run().expect_failure();
            let text = format!("{} {}", error.msg, error.details);
            assert!(text.contains(&format!("{backend} backend was requested")), "{text}");
            assert!(text.contains(said), "{text}");
        }
    });
}

/// The configs whose rules are compared.
fn configs() -> Vec<Value> {
    let on = |ip: &str, port: u16| json!({"hostPort": port, "containerPort": 80, "protocol": "tcp", "hostIP": ip});
    let various = json!([
        mapping("tcp", 8080, 80),
        mapping("udp", 53, 5353),
        mapping("sctp", 38412, 38412),
        on("192.0.2.1", 8081),
        on("0.0.0.0", 8082),
        on("::", 8083),
        on("2001:db8:9::1", 8084)
    ]);
    let many: Value = (1..=40).map(|n| mapping("tcp", 9000 + n, n)).collect();
    vec![
        portmap(&various),
        portmap(&many),
        with(portmap(&web()), "masqAll", json!(true)),
        with(portmap(&various), "snat", json!(false)),
        with(portmap(&web()), "markMasqBit", json!(31)),
        with(portmap(&web()), "externalSetMarkChain", json!("KUBE-MARK-MASQ")),
        with(portmap(&web()), "conditionsV4", json!(["!", "-s", "192.0.2.0/24", "-i", "up0"])),
        with(portmap(&web()), "conditionsV6", json!(["-m", "comment", "--comment", "it's \"so\""])),
        with(portmap(&web()), "name", json!(format!("n{}", "x".repeat(240)))),
    ]
}

/// The rules of each config after ADD and after DEL, by the plugins of `peer`.
fn rules_by(peer: Peer, flavour: Flavour) -> Vec<Vec<String>> {
    sandbox::run_with(peer, |host| {
        let pod = Pod::new(host, "c1");
        let result = pod.add(&bridge()).expect_result();
        for v6 in [false, true] {
            flavour.run(v6, &["-t", "nat", "-N", "KUBE-MARK-MASQ"]);
        }
        let mut all = Vec::new();
        for conf in configs() {
            for command in ["ADD", "DEL"] {
                let call = pod.call(command, &conf).conf_after(&conf, &result).env("PATH", &flavour.path());
                let outcome = call.run();
                assert_eq!(outcome.code, Some(0), "{outcome} {conf}");
                let mut saved = flavour.saved(false, "nat");
                // `ip6tables-legacy -C` takes rules that differ in a port or a mark alone for equal (version 1.8.9), and
                // the Go plugin does not make what it takes for made.
                let mut of_v6 = flavour.saved(true, "nat");
                of_v6.retain(|line| flavour == Flavour::Nft || (command == "DEL" && line.contains("CNI-DN-")));
                saved.append(&mut of_v6);
                saved.retain(|line| !line.starts_with(':'));
                saved.push(format!("after {command} of {conf}"));
                all.push(saved);
            }
        }
        all
    })
}

#[test]
fn the_rules_are_the_go_plugins_one_by_one() {
    if Peer::under_test().is_go() {
        return;
    }
    let Some(go) = Peer::go() else {
        skip!("the Go plugins have not been fetched");
    };
    for flavour in FLAVOURS {
        if !sandbox::run(|_| flavour.works()) {
            skip!("no {flavour:?} iptables");
        }
        let (ours, theirs) = (rules_by(Peer::picocni(), flavour), rules_by(go.clone(), flavour));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(by_chain(ours), by_chain(theirs), "{flavour:?}");
        }
    }
}

/// Rules of one chain stay in their order. The order of chains is that of their making in one flavour, of their names in
/// the other.
fn by_chain(rules: &[String]) -> Vec<String> {
    let mut sorted = rules.to_vec();
    let chain = |line: &String| line.split(' ').nth(1).unwrap_or_default().to_owned();
    sorted.sort_by_key(chain);
    sorted
}

#[test]
fn gc_removes_what_belongs_to_nobody() {
    with_each(|host, flavour| {
        if host.peer().is_go() {
            return;
        }
        let stale = Published::new(host, flavour, "stale", &portmap(&web()));
        let valid = Published::new(host, flavour, "valid", &portmap(&json!([mapping("tcp", 9090, 80)])));
        let mut gc = with(portmap(&json!([])), "cniVersion", json!("1.1.0"));
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "valid", "ifname": "eth0"}]);
        host.call("GC", "portmap").conf(&gc).env("PATH", &flavour.path()).run().expect_quiet();
        valid.call("CHECK").run().expect_quiet();
        stale.call("CHECK").run().expect_failure();
        let saved = flavour.saved(false, "nat");
        assert_eq!(saved.iter().filter(|line| line.starts_with(":CNI-DN-")).count(), 1, "{saved:#?}");
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:9090"), "valid");
        assert!(ask(Protocol::Tcp, "127.0.0.1:8080").is_err());
    });
}

#[test]
fn what_iptables_refuses_leaves_nothing() {
    with_each(|host, flavour| {
        if host.peer().is_go() {
            return;
        }
        let pod = Pod::new(host, "c1");
        let result = pod.add(&bridge()).expect_result();
        let shared = |line: &&String| !line.contains("CNI-HOSTPORT");
        let before = host.state();
        for (key, value) in [
            ("externalSetMarkChain", json!("NOT-THERE")),
            ("conditionsV4", json!(["--no-such-option"])),
            ("conditionsV6", json!(["-s", "192.0.2.1"])),
        ] {
            let conf = with(portmap(&web()), key, value);
            let call = pod.call("ADD", &conf).conf_after(&conf, &result).env("PATH", &flavour.path());
            call.run().expect_error(101, &["iptables refused rules"]);
            let saved = [flavour.saved(false, "nat"), flavour.saved(true, "nat")].concat();
            assert!(!saved.iter().filter(shared).any(|line| line.contains("CNI-DN-")), "{saved:#?}");
            let left: Vec<String> =
                kernel::difference(&before, &host.state()).into_iter().filter(|l| l.contains("file ")).collect();
            assert!(left.iter().all(|line| line.contains("portmap/lock")), "{left:#?}");
        }
    });
}

#[test]
fn without_iptables_only_who_asks_for_it_fails() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            return;
        }
        let pod = Pod::new(host, "c1");
        let result = pod.add(&bridge()).expect_result();
        for dir in ["/usr/sbin", "/usr/local/sbin"] {
            sandbox::hide(dir);
        }
        let conf = portmap(&web());
        let add = |conf: &Value| pod.call("ADD", conf).conf_after(conf, &result).run();
        add(&conf).expect_error(50, &["iptables is not installed", "iptables-restore"]);
        let status = with(conf.clone(), "cniVersion", json!("1.1.0"));
        host.call("STATUS", "portmap").conf(&status).run().expect_error(50, &["iptables is not installed"]);
        let native = with(conf, "backend", json!("nftables"));
        add(&native).expect_result();
        assert_eq!(pod.netns().run(|| Server::both(80, "web")).len(), 2);
    });
}

#[test]
fn a_port_of_sctp_has_its_rules_natively_too() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        let result = pod.add(&bridge()).expect_result();
        let conf = with(portmap(&json!([mapping("sctp", 38412, 38413)])), "backend", json!("nftables"));
        let call = |command: &str| pod.call(command, &conf).conf_after(&conf, &result).run();
        call("ADD").expect_result();
        let rules = || sandbox::nft_ruleset().unwrap_or_default();
        if rules().is_empty() {
            skip!("no nft");
        }
        let line = rules().lines().find(|line| line.contains("38413")).map(str::to_owned);
        assert!(line.as_ref().is_some_and(|line| line.contains("sctp") && line.contains("38412")), "{line:?}");
        call("CHECK").expect_quiet();
        call("DEL").expect_quiet();
        assert!(!rules().contains("38412"), "{}", rules());
    });
}

/// A thousand rules of others are no reason to wait.
#[test]
fn many_rules_of_others_are_read_in_passing() {
    with_each(|host, flavour| {
        let mut text = "*nat\n:OTHERS - [0:0]\n".to_owned();
        for n in 0..1000 {
            text += &format!(
                "-A OTHERS -s 10.{}.{}.1/32 -p tcp -m comment --comment \"rule {n}\" -j RETURN\n",
                n / 250,
                n % 250
            );
        }
        flavour.restore(false, &(text + "COMMIT\n"));
        let started = Instant::now();
        let pod = Published::new(host, flavour, "web", &portmap(&web()));
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "web");
        pod.del();
        assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
        assert_eq!(flavour.saved(false, "nat").iter().filter(|line| line.contains("OTHERS")).count(), 1001);
    });
}
