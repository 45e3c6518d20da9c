//! portmap with real packets on the nftables backend: who is reached at a host port, from where, and who is not (rows
//! 131, 135 to 138 of `parity.tsv`).

use picocni_tests::kernel::{self, Snapshot};
use picocni_tests::outside::Outside;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Client, PROTOCOLS, Protocol, Server, ask, who};
use picocni_tests::{Pod, skip};
use serde_json::{Value, json};

fn bridge() -> Value {
    json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]]}})
}

fn portmap(mappings: &Value) -> Value {
    json!({"cniVersion": "1.0.0", "name": "net", "type": "portmap", "backend": "nftables",
        "capabilities": {"portMappings": true}, "runtimeConfig": {"portMappings": mappings}})
}

fn mapping(protocol: Protocol, host: u16, container: u16) -> Value {
    json!({"hostPort": host, "containerPort": container, "protocol": protocol.name()})
}

/// Port 8080 of the host leads to port 80 of the pod, in both protocols.
fn web() -> Value {
    PROTOCOLS.iter().map(|protocol| mapping(*protocol, 8080, 80)).collect()
}

/// A pod on the bridge with published ports, which answers at port 80 with its name.
struct Published<'a> {
    pod: Pod<'a>,
    result: Value,
    conf: Value,
    _servers: [Server; 2],
}

impl<'a> Published<'a> {
    fn new(host: &'a Sandbox, name: &str, conf: &Value) -> Self {
        let pod = Pod::new(host, name);
        let result = pod.add(&bridge()).expect_result();
        pod.call("ADD", conf).conf_after(conf, &result).run().expect_result();
        let servers = pod.netns().run(|| Server::both(80, name));
        Self { pod, result, conf: conf.clone(), _servers: servers }
    }

    fn call(&self, command: &str) -> picocni_tests::Outcome {
        self.pod.call(command, &self.conf).conf_after(&self.conf, &self.result).run()
    }

    fn del(self) {
        self.call("DEL").expect_quiet();
        self.pod.call("DEL", &bridge()).conf_after(&bridge(), &self.result).run().expect_quiet();
    }

    /// Its IPv4 or IPv6 address.
    fn address(&self, v6: bool) -> String {
        let text = self.result["ips"][usize::from(v6)]["address"].as_str().expect("an address");
        text.split('/').next().expect("an address").to_owned()
    }
}

/// Whether the kernel or the tools of the plugins under test lack what the tests need.
fn lacking(host: &Sandbox) -> Option<&'static str> {
    (host.peer().is_go() && sandbox::nft_ruleset().is_none()).then_some("the Go plugins need nft")
}

#[test]
fn a_port_is_reached_from_everywhere_in_both_protocols_and_families() {
    sandbox::run(|host| {
        if let Some(what) = lacking(host) {
            skip!("{what}");
        }
        let outside = Outside::new(host);
        let pod = Published::new(host, "web", &portmap(&web()));
        let other = Published::new(host, "other", &portmap(&json!([])));
        for protocol in PROTOCOLS {
            for to in ["192.0.2.1:8080", "192.0.2.3:8080", "[2001:db8:9::1]:8080"] {
                // From another machine; the pod sees who asks.
                let answer = outside.client.run(|| ask(protocol, to)).unwrap_or_else(|e| panic!("from outside: {e}"));
                assert_eq!(answer.who, "web");
                let client = if to.starts_with('[') { "2001:db8:9::100" } else { "192.0.2.100" };
                assert_eq!(answer.seen_from.to_string(), client, "{protocol:?} {to}: the client's address is kept");
                // From the host by an address of its own, from another pod, and from the pod itself.
                assert_eq!(who(protocol, to), "web", "from the host");
                for from in [&other, &pod] {
                    let answer = from.pod.netns().run(|| ask(protocol, to));
                    assert_eq!(answer.map(|a| a.who), Ok("web".to_owned()), "hairpin {protocol:?} {to}");
                }
            }
            assert_eq!(who(protocol, "127.0.0.1:8080"), "web", "from the host by its loopback address");
        }
        pod.call("CHECK").expect_quiet();
        pod.del();
        for protocol in PROTOCOLS {
            assert!(outside.client.run(|| ask(protocol, "192.0.2.1:8080")).is_err(), "still published after DEL");
            assert!(ask(protocol, "127.0.0.1:8080").is_err(), "still published after DEL");
        }
        other.del();
    });
}

#[test]
fn only_packets_to_the_host_itself_match() {
    sandbox::run(|host| {
        if let Some(what) = lacking(host) {
            skip!("{what}");
        }
        let outside = Outside::new(host);
        let _far = outside.far.run(|| Server::both(8080, "far"));
        let _own = Server::both(8081, "host");
        let pod = Published::new(host, "web", &portmap(&web()));
        for protocol in PROTOCOLS {
            // The host only forwards these: the port is one of another machine.
            assert_eq!(outside.client.run(|| who(protocol, "203.0.113.2:8080")), "far");
            assert_eq!(who(protocol, "203.0.113.2:8080"), "far");
            assert_eq!(pod.pod.netns().run(|| who(protocol, "203.0.113.2:8080")), "far");
            // Another port of the host.
            assert_eq!(outside.client.run(|| who(protocol, "192.0.2.1:8081")), "host");
            // The pod's own port is no port of the host.
            assert!(outside.client.run(|| ask(protocol, "192.0.2.1:80")).is_err());
        }
    });
}

#[test]
fn host_ip_limits_a_port_to_one_address() {
    sandbox::run(|host| {
        if let Some(what) = lacking(host) {
            skip!("{what}");
        }
        let outside = Outside::new(host);
        let on = |ip: &str, port: u16| json!({"hostPort": port, "containerPort": 80, "protocol": "tcp", "hostIP": ip});
        let mappings = json!([on("192.0.2.3", 8080), on("2001:db8:9::1", 8080), on("127.0.0.1", 9090)]);
        let pod = Published::new(host, "web", &portmap(&mappings));
        let reached = |to: &str| outside.client.run(|| ask(Protocol::Tcp, to)).map(|a| a.who).ok();
        assert_eq!(reached("192.0.2.3:8080").as_deref(), Some("web"));
        assert_eq!(reached("[2001:db8:9::1]:8080").as_deref(), Some("web"));
        assert_eq!(reached("192.0.2.1:8080"), None, "another address of the host");
        assert_eq!(who(Protocol::Tcp, "192.0.2.3:8080"), "web", "from the host");
        assert!(ask(Protocol::Tcp, "192.0.2.1:8080").is_err());
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:9090"), "web");
        assert_eq!(reached("192.0.2.1:9090"), None, "a port of the loopback address");
        pod.call("CHECK").expect_quiet();
    });
}

#[test]
fn a_flow_follows_the_port_to_its_next_pod() {
    sandbox::run(|host| {
        if let Some(what) = lacking(host) {
            skip!("{what}");
        }
        let outside = Outside::new(host);
        let conf = portmap(&web());
        let first = Published::new(host, "first", &conf);
        for to in ["192.0.2.1:8080", "[2001:db8:9::1]:8080"] {
            let client = outside.client.run(|| Client::new(to.parse().expect("an address")));
            assert!(client.ask().is_ok_and(|answer| answer.starts_with("first ")), "{to}");
        }
        let clients = ["192.0.2.1:8080", "[2001:db8:9::1]:8080"].map(|to| {
            let client = outside.client.run(|| Client::new(to.parse().expect("an address")));
            client.ask().unwrap_or_else(|e| panic!("{to}: {e}"));
            client
        });
        first.del();
        // The same flow goes on while nobody has the port: it must not be remembered as one without a target.
        for client in &clients {
            assert!(client.ask().is_err(), "the pod is gone");
        }
        let second = Published::new(host, "second", &conf);
        assert_ne!(second.address(false), "10.1.2.2", "the second pod has an address of its own");
        for client in &clients {
            let answer = client.ask().unwrap_or_else(|e| panic!("the flow is stuck: {e}"));
            assert!(answer.starts_with("second "), "{answer}");
        }
    });
}

#[test]
fn snat_can_be_turned_off_and_be_turned_on_for_all() {
    sandbox::run(|host| {
        if let Some(what) = lacking(host) {
            skip!("{what}");
        }
        let outside = Outside::new(host);
        let with = |key: &str, value: bool| {
            let mut conf = portmap(&web());
            conf[key] = value.into();
            conf
        };
        let plain = Published::new(host, "plain", &with("snat", false));
        for to in ["192.0.2.1:8080", "[2001:db8:9::1]:8080"] {
            let answer = outside.client.run(|| ask(Protocol::Tcp, to)).expect("from outside");
            assert_eq!(answer.who, "plain");
        }
        // Without source translation the answer to 127.0.0.1 goes nowhere, and a pod does not reach itself.
        assert!(ask(Protocol::Tcp, "127.0.0.1:8080").is_err());
        assert!(plain.pod.netns().run(|| ask(Protocol::Tcp, "192.0.2.1:8080")).is_err());
        plain.call("CHECK").expect_quiet();
        plain.del();
        if host.peer().is_go() {
            // Version 1.9.1 keeps the client's address on the nftables backend.
            return;
        }
        let masked = Published::new(host, "masked", &with("masqAll", true));
        for (to, seen) in [("192.0.2.1:8080", "10.1.2.1"), ("[2001:db8:9::1]:8080", "2001:db8:1::1")] {
            let answer = outside.client.run(|| ask(Protocol::Tcp, to)).expect("from outside");
            assert_eq!((answer.who.as_str(), answer.seen_from.to_string().as_str()), ("masked", seen));
        }
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "masked");
        masked.call("CHECK").expect_quiet();
    });
}

#[test]
fn repeated_calls_change_nothing() {
    sandbox::run(|host| {
        if let Some(what) = lacking(host) {
            skip!("{what}");
        }
        let outside = Outside::new(host);
        let pod = Published::new(host, "web", &portmap(&web()));
        let state = host.state();
        if !host.peer().is_go() {
            // The Go plugin adds its rules once more.
            pod.call("ADD").expect_result();
            assert_eq!(kernel::difference(&state, &host.state()), [""; 0]);
        }
        assert_eq!(outside.client.run(|| who(Protocol::Tcp, "192.0.2.1:8080")), "web");
        pod.call("DEL").expect_quiet();
        let state = host.state();
        pod.call("DEL").expect_quiet();
        // As containerd repeats it: without mappings, and without a namespace.
        let bare = portmap(&json!([]));
        pod.pod.call("DEL", &bare).without("CNI_NETNS").run().expect_quiet();
        assert_eq!(kernel::difference(&state, &host.state()), [""; 0]);
        assert!(outside.client.run(|| ask(Protocol::Tcp, "192.0.2.1:8080")).is_err());
    });
}

#[test]
fn what_cannot_be_published_is_refused() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        let result = pod.add(&bridge()).expect_result();
        let before = host.state();
        let refused = |mappings: Value| {
            let conf = portmap(&mappings);
            pod.call("ADD", &conf).conf_after(&conf, &result).run().expect_failure()
        };
        refused(json!([{"hostPort": 0, "containerPort": 80, "protocol": "tcp"}]));
        refused(json!([{"hostPort": 80, "containerPort": 0, "protocol": "tcp"}]));
        refused(json!([{"hostPort": 80, "containerPort": -1, "protocol": "tcp"}]));
        // Without the result of an earlier plugin.
        pod.call("ADD", &portmap(&web())).run().expect_failure();
        assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
        // No mappings: nothing to do, and the result is handed on.
        let conf = portmap(&json!([]));
        let printed = pod.call("ADD", &conf).conf_after(&conf, &result).run().expect_result();
        assert_eq!(printed, result);
        assert!(Snapshot::here().find_link("cni0").is_some());
    });
}

/// The netfilter sockets are closed by the kernel, in its own time.
#[test]
fn no_socket_is_left() {
    sandbox::run(|host| {
        if let Some(what) = lacking(host) {
            skip!("{what}");
        }
        let sockets = || {
            ["netlink", "unix"].map(|family| {
                let path = format!("/proc/thread-self/net/{family}");
                std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")).lines().count()
            })
        };
        let before = sockets();
        for at in 0..10 {
            Published::new(host, &format!("web-{at}"), &portmap(&web())).del();
        }
        let started = std::time::Instant::now();
        while sockets() != before {
            assert!(started.elapsed().as_secs() < 5, "{:?} sockets are left of {before:?}", sockets());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    });
}
