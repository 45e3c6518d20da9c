//! portmap where picocni differs from the Go plugin: a host port has one holder, the dead give way, one container on two
//! networks is no conflict, and the host is not opened by the way (rows 131 to 136 of `parity.tsv`).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use picocni_tests::kernel;
use picocni_tests::outside::Outside;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Protocol, Server, ask, who};
use picocni_tests::{Outcome, Pod, skip};
use serde_json::{Value, json};

fn bridge(network: &str, subnet: &str) -> Value {
    json!({"cniVersion": "1.1.0", "name": network, "type": "bridge", "bridge": format!("br-{network}"),
        "isDefaultGateway": true, "ipam": {"type": "host-local", "subnet": subnet}})
}

fn portmap(network: &str, mappings: &Value) -> Value {
    json!({"cniVersion": "1.1.0", "name": network, "type": "portmap", "capabilities": {"portMappings": true},
        "runtimeConfig": {"portMappings": mappings}})
}

fn web() -> Value {
    json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}])
}

/// One attachment of a pod; it answers at port 80 of all its addresses.
struct Attached<'a> {
    pod: &'a Pod<'a>,
    ifname: &'static str,
    bridge: Value,
    portmap: Value,
    result: Value,
}

impl<'a> Attached<'a> {
    fn wire(pod: &'a Pod<'a>, ifname: &'static str, network: &str, subnet: &str, mappings: &Value) -> Self {
        let bridge = bridge(network, subnet);
        let result = pod.call("ADD", &bridge).ifname(ifname).run().expect_result();
        Self { pod, ifname, bridge, portmap: portmap(network, mappings), result }
    }

    fn new(pod: &'a Pod<'a>, mappings: &Value) -> Self {
        Self::wire(pod, "eth0", "net", "10.1.2.0/24", mappings)
    }

    fn portmap(&self, command: &str) -> Outcome {
        self.pod.call(command, &self.portmap).ifname(self.ifname).conf_after(&self.portmap, &self.result).run()
    }

    fn del(&self) {
        self.portmap("DEL").expect_quiet();
        let call = self.pod.call("DEL", &self.bridge).ifname(self.ifname);
        call.conf_after(&self.bridge, &self.result).run().expect_quiet();
    }
}

/// Files and rules of port mappings.
fn traces(host: &Sandbox) -> Vec<String> {
    let about = |l: &String| l.contains("/portmap/") && !l.contains("/lock ") || l.contains("8080");
    host.state().into_iter().filter(about).collect()
}

#[test]
fn a_host_port_has_one_holder_who_is_named() {
    sandbox::run(|host| {
        let (first, second) = (Pod::new(host, "first"), Pod::new(host, "second"));
        let _server = first.netns().run(|| Server::both(80, "first"));
        let (first, second) = (Attached::new(&first, &web()), Attached::new(&second, &web()));
        first.portmap("ADD").expect_result();
        let before = host.state();
        second
            .portmap("ADD")
            .expect_error(103, &["host port is taken", "tcp port 8080", "container first", "network net"]);
        assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "first");
        // DEL of who has nothing takes nothing.
        second.portmap("DEL").expect_quiet();
        first.portmap("CHECK").expect_quiet();
        first.portmap("DEL").expect_quiet();
        second.portmap("ADD").expect_result();
        second.portmap("CHECK").expect_quiet();
    });
}

#[test]
fn a_dead_holder_gives_way() {
    sandbox::run(|host| {
        let (first, second) = (Pod::new(host, "first"), Pod::new(host, "second"));
        Attached::new(&first, &web()).portmap("ADD").expect_result();
        let _server = second.netns().run(|| Server::both(80, "second"));
        let second = Attached::new(&second, &web());
        second.portmap("ADD").expect_error(103, &["container first"]);
        // The sandbox ends without a DEL, as after a crash of the runtime.
        let path = first.remove();
        second.portmap("ADD").expect_result();
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "second");
        // The DEL that comes late takes nothing from the new holder.
        let late = portmap("net", &web());
        host.call("DEL", "portmap").id("first").netns(&path).conf(&late).run().expect_quiet();
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "second");
        second.portmap("CHECK").expect_quiet();
    });
}

#[test]
fn two_networks_of_one_container_share_a_port() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "web");
        let _server = pod.netns().run(|| Server::both(80, "web"));
        let first = Attached::wire(&pod, "eth0", "one", "10.1.2.0/24", &web());
        first.portmap("ADD").expect_result();
        let second = Attached::wire(&pod, "eth1", "two", "10.1.3.0/24", &web());
        second.portmap("ADD").expect_result();
        for attached in [&first, &second] {
            attached.portmap("CHECK").expect_quiet();
        }
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "web");
        // `podman network disconnect one web`: the port goes to what is left.
        first.del();
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "web");
        second.portmap("CHECK").expect_quiet();
        second.del();
        assert!(ask(Protocol::Tcp, "127.0.0.1:8080").is_err());
        assert_eq!(traces(host), [""; 0]);
    });
}

#[test]
fn gc_takes_back_what_belongs_to_nobody() {
    sandbox::run(|host| {
        let (gone, kept) = (Pod::new(host, "gone"), Pod::new(host, "kept"));
        let _server = kept.netns().run(|| Server::both(80, "kept"));
        Attached::new(&gone, &web()).portmap("ADD").expect_result();
        let kept = Attached::new(&kept, &json!([{"hostPort": 9090, "containerPort": 80, "protocol": "tcp"}]));
        kept.portmap("ADD").expect_result();
        let gc = |list: Option<Value>| {
            let mut conf = portmap("net", &json!([]));
            if let Some(list) = list {
                conf["cni.dev/valid-attachments"] = list;
            }
            host.call("GC", "portmap").conf(&conf).run().expect_quiet();
        };
        gc(None);
        assert_ne!(traces(host), [""; 0], "no list is not an empty list");
        gc(Some(json!([{"containerID": "kept", "ifname": "eth0"}])));
        let left: Vec<String> = traces(host).into_iter().filter(|l| l.contains("8080") || l.contains("gone")).collect();
        assert_eq!(left, [""; 0]);
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:9090"), "kept");
    });
}

#[test]
fn without_ports_there_is_no_table_and_no_file() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        let attached = Attached::new(&pod, &json!([]));
        let before = host.state();
        attached.portmap("ADD").expect_result();
        attached.portmap("CHECK").expect_quiet();
        attached.portmap("DEL").expect_quiet();
        assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
        assert!(!Path::new("/run/cni/picocni/portmap").exists());
        // And with ports there is.
        let attached = Attached { portmap: portmap("net", &web()), ..attached };
        attached.portmap("ADD").expect_result();
        assert_ne!(kernel::difference(&before, &host.state()), [""; 0]);
    });
}

#[test]
fn the_hosts_loopback_stays_closed_to_pods() {
    sandbox::run(|host| {
        let (pod, attacker) = (Pod::new(host, "web"), Pod::new(host, "attacker"));
        let attached = Attached::new(&pod, &web());
        Attached::new(&attacker, &json!([]));
        let _secret = Server::start(Protocol::Tcp, "127.0.0.1:8081", "secret");
        // A pod whose own loopback is down sends such packets to its gateway.
        attacker.netns().run(|| kernel::set_sysctl("net/ipv4/conf/eth0/route_localnet", "1"));
        let reach = || attacker.netns().run(|| ask(Protocol::Tcp, "127.0.0.1:8081"));
        kernel::set_sysctl("net/ipv4/conf/br-net/route_localnet", "1");
        assert!(reach().is_ok(), "the attack is real");
        attached.portmap("ADD").expect_result();
        assert_eq!(kernel::sysctl("net/ipv4/conf/br-net/route_localnet"), "1");
        assert!(reach().is_err(), "the host's loopback is open to pods");
    });
}

/// Loads rules, if `nft` is here.
fn nft(rules: &str) -> bool {
    let Ok(mut child) = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn() else { return false };
    child.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success(), "{rules}");
    true
}

#[test]
fn a_service_of_kube_proxy_comes_first() {
    sandbox::run(|host| {
        if sandbox::nft_ruleset().is_none() {
            skip!("needs nft to make the rules of a kube-proxy");
        }
        let outside = Outside::new(host);
        let (web, service) = (Pod::new(host, "web"), Pod::new(host, "service"));
        let servers =
            [(&web, "web"), (&service, "service")].map(|(pod, who)| pod.netns().run(|| Server::both(80, who)));
        let attached = Attached::new(&web, &self::web());
        let backend = Attached::new(&service, &json!([]));
        let address = backend.result["ips"][0]["address"].as_str().expect("an address").trim_end_matches("/24");
        let rules = format!(
            "table ip kube-proxy {{
                chain nat-prerouting {{ type nat hook prerouting priority -100; tcp dport 8080 dnat to {address}:80; }}
                chain nat-output {{ type nat hook output priority -100; tcp dport 8080 dnat to {address}:80; }}
            }}"
        );
        attached.portmap("ADD").expect_result();
        let reached = || outside.client.run(|| who(Protocol::Tcp, "192.0.2.1:8080"));
        assert_eq!(reached(), "web");
        assert!(nft(&rules));
        assert_eq!((reached().as_str(), who(Protocol::Tcp, "192.0.2.1:8080").as_str()), ("service", "service"));
        assert!(nft("delete table ip kube-proxy"));
        assert_eq!(reached(), "web");
        drop(servers);
    });
}

#[test]
fn check_notices_what_is_missing_in_the_kernel() {
    sandbox::run(|host| {
        if sandbox::nft_ruleset().is_none() {
            skip!("needs nft to remove an element");
        }
        let pod = Pod::new(host, "web");
        let attached = Attached::new(&pod, &web());
        attached.portmap("ADD").expect_result();
        attached.portmap("CHECK").expect_quiet();
        let rules = sandbox::nft_ruleset().expect("nft is here");
        let published = rules.lines().find(|l| l.contains("tcp . 8080")).expect("the port is in a map");
        assert!(published.contains("picocni:net:web:eth0"), "an element says whose it is: {published}");
        assert!(nft("flush map inet picocni any4"));
        attached.portmap("CHECK").expect_error(104, &["port is not published", "8080"]);
        // DEL does not stumble over it.
        attached.portmap("DEL").expect_quiet();
        assert_eq!(traces(host), [""; 0]);
    });
}
