//! `portmap` on a model of a host.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::expect_used,
    reason = "tests"
)]

extern crate std;

mod faults;
mod handover;
mod holders;
mod iptables;
mod refusals;
mod watched;

use core::net::IpAddr;
use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use picocni_core::backend::Backend;
use picocni_core::dispatch::{CallMemory, Reply, serve};
use picocni_core::env::Environment;
use picocni_core::limits;
use picocni_core::name::{IfName, Mac};
use picocni_core::net::{Cidr, parse_ip};
use picocni_core::observe::{Ns, Protocol, PublishedPort, Route};
use picocni_core::op::{Change, Removal};
use picocni_core::plugin::Plugin;
use picocni_core::session::{Session, Workspace};
use picocni_core::sim::SimBackend;

use super::Portmap;
pub(super) use crate::proof::on_large_stack;
use watched::Watched;

pub(super) const REGISTRY: &[&dyn Plugin] = &[&Portmap];

/// A host whose bridge leads to every container: 10.88.0.0/16 and fd00:88::/64.
pub(super) fn arrange(sim: &mut SimBackend) {
    let name = IfName::of("cni0");
    sim.arrange(&[Change::EnsureBridge {
        name,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        mtu: 0,
        promisc: false,
        vlan_filtering: false,
    }])
    .unwrap();
    let index = sim.link(Ns::Host, &name).unwrap().unwrap().index;
    for (gateway, net) in [("10.88.0.1/16", "10.88.0.0/16"), ("fd00:88::1/64", "fd00:88::/64")] {
        let route = Route::to(Cidr::parse(net).unwrap());
        sim.arrange(&[
            Change::EnsureAddress { index, cidr: Cidr::parse(gateway).unwrap() },
            Change::AddRoute { ns: Ns::Host, index, route },
        ])
        .unwrap();
    }
    for number in 1..=3 {
        sim.add_sandbox(&netns(number)).unwrap();
    }
}

fn netns(container: u8) -> String {
    format!("/run/netns/c{container}")
}

/// One call of container `cN` with this config, as a process of its own: it
/// knows nothing of the last one.
pub(super) fn run<B: Backend + Send>(
    backend: &mut B,
    command: &str,
    container: u8,
    conf: &str,
) -> Result<String, (u32, String)> {
    let (id, netns) = (format!("c{container}"), netns(container));
    let env = Environment {
        command,
        container_id: &id,
        netns: if command == "DEL" { "" } else { &netns },
        ifname: "eth0",
        path: "/opt/cni/bin",
        ..Environment::default()
    };
    on_large_stack(|| {
        let mut work = Box::new(Workspace::new());
        let mut memory = Box::new(CallMemory::new());
        let mut out = vec![0u8; limits::REQUEST];
        let mut session = Session::new(backend, REGISTRY, &mut work);
        let reply = serve(&Portmap, &env, &mut || Ok(conf.as_bytes()), &mut session, &mut memory, &mut out);
        match reply {
            Reply::Success(length) | Reply::About(length) => Ok(String::from_utf8(out[..length].to_vec()).unwrap()),
            Reply::Failure(length) => {
                let text = String::from_utf8(out[..length].to_vec()).unwrap();
                let code = text.split("\"code\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
                Err((code, text))
            }
        }
    })
}

pub(super) struct Host {
    pub(super) sim: Box<SimBackend>,
}

impl Host {
    pub(super) fn new() -> Self {
        on_large_stack(|| {
            let mut sim = Box::new(SimBackend::new());
            arrange(&mut sim);
            Host { sim }
        })
    }

    pub(super) fn call(&mut self, command: &str, container: u8, conf: &str) -> Result<String, (u32, String)> {
        let reply = run(&mut *self.sim, command, container, conf);
        assert!(!self.sim.is_locked(), "{command} kept the lock");
        assert_eq!(self.sim.lock_faults(), 0);
        self.sim.end_process();
        reply
    }

    fn publishes(&mut self, container: u8, port: &PublishedPort) -> bool {
        self.sim.is_published(port, &format!("picocni:net:c{container}:eth0")).unwrap()
    }

    fn record(&self, container: u8) -> Option<String> {
        let path = format!("/run/cni/picocni/portmap/attachments/net:c{container}:eth0");
        self.sim.file(&path).map(|content| String::from_utf8(content.to_vec()).unwrap())
    }

    fn remove(&mut self, removal: Removal<'_>) {
        self.sim.remove(&[removal], &mut |_, outcome| outcome.unwrap());
    }
}

/// Config of container `cN`: 10.88.0.N and fd00:88::N.
pub(super) fn dual(container: u8, mappings: &str) -> String {
    config(container, &["10.88.0.{}/16", "fd00:88::{}/64"], "", mappings)
}

pub(super) fn v4(container: u8, mappings: &str) -> String {
    config(container, &["10.88.0.{}/16"], "", mappings)
}

fn config(container: u8, ips: &[&str], more: &str, mappings: &str) -> String {
    let ips: Vec<String> = ips
        .iter()
        .map(|ip| format!(r#"{{"interface":2,"address":"{}"}}"#, ip.replace("{}", &container.to_string())))
        .collect();
    format!(
        r#"{{"cniVersion":"1.1.0","name":"net","type":"portmap",{more}"runtimeConfig":{{"portMappings":[{mappings}]}},
        "prevResult":{{"cniVersion":"1.1.0","interfaces":[{{"name":"cni0"}},{{"name":"veth0"}},
        {{"name":"eth0","sandbox":"{}"}}],"ips":[{}]}}}}"#,
        netns(container),
        ips.join(",")
    )
}

fn published(protocol: Protocol, host: &str, host_port: u16, to: &str, to_port: u16) -> PublishedPort {
    PublishedPort { protocol, host_ip: parse_ip(host), host_port, to: to.parse::<IpAddr>().unwrap(), to_port }
}

const WEB: &str = r#"{"hostPort":8080,"containerPort":80,"protocol":"tcp"}"#;
const DNS: &str = r#"{"hostPort":53,"containerPort":5353,"protocol":"UDP","hostIP":"192.0.2.1"}"#;

#[test]
fn both_families_are_published_and_recorded() {
    let mut host = Host::new();
    let result = host.call("ADD", 1, &dual(1, &format!("{WEB},{DNS}"))).unwrap();
    assert!(result.contains("10.88.0.1/16") && result.contains("fd00:88::1/64"), "{result}");
    assert!(host.publishes(1, &published(Protocol::Tcp, "", 8080, "10.88.0.1", 80)));
    assert!(host.publishes(1, &published(Protocol::Tcp, "", 8080, "fd00:88::1", 80)));
    assert!(host.publishes(1, &published(Protocol::Udp, "192.0.2.1", 53, "10.88.0.1", 5353)));
    let index = host.sim.link(Ns::Host, &IfName::of("cni0")).unwrap().unwrap().index.0;
    let record = host.record(1).unwrap();
    let (first, rest) = record.split_once('\n').unwrap();
    assert!(first.starts_with("netns ") && first.ends_with(" /run/netns/c1"), "{first}");
    assert_eq!(
        rest,
        format!(
            "tcp any 8080 10.88.0.1 80\nudp 192.0.2.1 53 10.88.0.1 5353\ntcp any 8080 fd00:88::1 80\n\
        snat 10.88.0.1 {index} false\nsnat fd00:88::1 {index} false\n"
        )
    );
    for claim in ["tcp-8080/any4", "tcp-8080/any6", "udp-53/192.0.2.1"] {
        let path = format!("/run/cni/picocni/portmap/ports/{claim}");
        assert_eq!(host.sim.file(&path), Some(b"picocni:net:c1:eth0".as_slice()), "{claim}");
    }
    let mut value = heapless::String::new();
    assert!(host.sim.sysctl(Ns::Host, "net/ipv4/conf/cni0/route_localnet", &mut value).unwrap());
    assert_eq!(value, "1");
    assert_eq!(host.sim.purges(), 1);
    // A sysctl that is right already is not written again.
    host.sim.set_read_only_sysctls(true);
    host.call("ADD", 2, &v4(2, r#"{"hostPort":81,"containerPort":80}"#)).unwrap();
    host.call("CHECK", 1, &dual(1, &format!("{WEB},{DNS}"))).unwrap();
}

#[test]
fn containerd_spelling_and_repeated_mappings() {
    let mut host = Host::new();
    let twice = r#"{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":""},{"hostPort":8080,"containerPort":80},
        {"hostPort":8080,"containerPort":80,"hostIP":"0.0.0.0"}"#;
    host.call("ADD", 1, &v4(1, twice)).unwrap();
    assert_eq!(host.record(1).unwrap().matches("8080").count(), 1);
}

#[test]
fn source_translation_follows_the_config() {
    let mut host = Host::new();
    host.call("ADD", 1, &config(1, &["10.88.0.{}/16"], r#""snat":false,"#, WEB)).unwrap();
    assert!(!host.record(1).unwrap().contains("snat"));
    let mut value = heapless::String::new();
    host.sim.sysctl(Ns::Host, "net/ipv4/conf/cni0/route_localnet", &mut value).unwrap();
    assert_eq!(value, "0");
    let all = config(2, &["10.88.0.{}/16"], r#""masqAll":true,"#, r#"{"hostPort":81,"containerPort":80}"#);
    host.call("ADD", 2, &all).unwrap();
    assert!(host.record(2).unwrap().ends_with(" true\n"));
    host.call("CHECK", 2, &all).unwrap();
    // The same attachment without masqAll is another one than was made.
    let other = config(2, &["10.88.0.{}/16"], "", r#"{"hostPort":81,"containerPort":80}"#);
    assert_eq!(host.call("CHECK", 2, &other).unwrap_err().0, 104);
}

#[test]
fn foreign_interface_addresses_are_not_the_containers() {
    let mut host = Host::new();
    let mut conf = v4(1, WEB).replace(r#""interface":2"#, r#""interface":0"#);
    host.call("ADD", 1, &conf).unwrap();
    assert_eq!(host.record(1), None);
    // Nor is an interface of that name on the host.
    conf = conf.replace(r#""name":"cni0""#, r#""name":"eth0""#);
    host.call("ADD", 1, &conf).unwrap();
    assert_eq!(host.record(1), None);
    conf = conf.replace(r#""interface":0"#, r#""interface":7"#);
    host.call("ADD", 1, &conf).unwrap();
    assert!(host.record(1).is_some());
}

#[test]
fn repeated_add_replaces_what_was_there() {
    let mut host = Host::new();
    host.call("ADD", 1, &dual(1, &format!("{WEB},{DNS}"))).unwrap();
    host.call("ADD", 1, &v4(1, r#"{"hostPort":8080,"containerPort":81}"#)).unwrap();
    assert!(host.publishes(1, &published(Protocol::Tcp, "", 8080, "10.88.0.1", 81)));
    assert!(!host.publishes(1, &published(Protocol::Udp, "192.0.2.1", 53, "10.88.0.1", 5353)));
    assert_eq!(host.sim.file("/run/cni/picocni/portmap/ports/tcp-8080/any6"), None);
}

#[test]
fn del_needs_nothing_and_leaves_nothing() {
    let mut host = Host::new();
    let before = Box::new(host.sim.snapshot().without_shared());
    host.call("ADD", 1, &dual(1, &format!("{WEB},{DNS}"))).unwrap();
    host.sim.remove_sandbox("/run/netns/c1");
    // No mappings, no prevResult, keys that ADD would refuse.
    let bare = r#"{"cniVersion":"1.1.0","name":"net","type":"portmap","backend":"iptables"}"#;
    host.call("DEL", 1, bare).unwrap();
    host.call("DEL", 1, bare).unwrap();
    assert_eq!(host.sim.purges(), 2);
    host.sim.add_sandbox("/run/netns/c1").unwrap();
    assert_eq!(*before, host.sim.snapshot().without_shared());
}

#[test]
fn del_leaves_what_somebody_else_holds() {
    let mut host = Host::new();
    host.call("ADD", 2, &v4(2, WEB)).unwrap();
    // An ADD of c1 was killed after its record and before its claims.
    let record = "netns 1 /run/netns/c1\ntcp any 8080 10.88.0.1 80\ntcp any 9 10.88.0.1 9\n";
    host.sim.set_file("/run/cni/picocni/portmap/attachments/net:c1:eth0", record.as_bytes()).unwrap();
    host.call("DEL", 1, &v4(1, WEB)).unwrap();
    assert_eq!(host.record(1), None);
    host.call("CHECK", 2, &v4(2, WEB)).unwrap();
}

#[test]
fn more_ports_than_one_plan_holds() {
    let mut host = Host::new();
    let list: Vec<String> = (1..=100).map(|n| format!(r#"{{"hostPort":{n},"containerPort":{n}}}"#)).collect();
    let list = list.join(",");
    let before = Box::new(host.sim.snapshot().without_shared());
    host.call("ADD", 1, &v4(1, &list)).unwrap();
    for n in 1..=100 {
        assert!(host.publishes(1, &published(Protocol::Tcp, "", n, "10.88.0.1", n)), "{n}");
    }
    host.call("CHECK", 1, &v4(1, &list)).unwrap();
    host.call("DEL", 1, &v4(1, "")).unwrap();
    assert_eq!(*before, host.sim.snapshot().without_shared());
    // A conflict in the last one leaves nothing of the first ones.
    host.call("ADD", 2, &v4(2, r#"{"hostPort":100,"containerPort":1}"#)).unwrap();
    let before = Box::new(host.sim.snapshot().without_shared());
    assert_eq!(host.call("ADD", 1, &v4(1, &list)).unwrap_err().0, 103);
    assert_eq!(*before, host.sim.snapshot().without_shared());
}

#[test]
fn check_finds_every_part_missing() {
    let port = published(Protocol::Tcp, "", 8080, "10.88.0.1", 80);
    let conf = v4(1, WEB);
    let parts = [
        ("port is not published", Removal::Unpublish { port }),
        ("port is not claimed", Removal::Unclaim { dir: "/run/cni/picocni/portmap/ports/tcp-8080", key: "any4" }),
        (
            "port mappings are not recorded",
            Removal::RemoveFile { path: "/run/cni/picocni/portmap/attachments/net:c1:eth0" },
        ),
    ];
    for (phrase, removal) in parts {
        let mut host = Host::new();
        host.call("ADD", 1, &conf).unwrap();
        host.call("CHECK", 1, &conf).unwrap();
        host.remove(removal);
        let (code, text) = host.call("CHECK", 1, &conf).unwrap_err();
        assert!(code == 104 && text.contains(phrase), "{text}");
    }
    let mut host = Host::new();
    host.call("ADD", 1, &conf).unwrap();
    let (code, text) = host.call("CHECK", 1, &v4(1, r#"{"hostPort":8081,"containerPort":80}"#)).unwrap_err();
    assert!(code == 104 && text.contains("port is not recorded"), "{text}");
}

#[test]
fn gc_removes_what_no_valid_attachment_has() {
    let mut host = Host::new();
    host.call("ADD", 1, &v4(1, WEB)).unwrap();
    host.call("ADD", 2, &v4(2, r#"{"hostPort":81,"containerPort":80}"#)).unwrap();
    let gc =
        |list: &str, network: &str| format!(r#"{{"cniVersion":"1.1.0","name":"{network}","type":"portmap"{list}}}"#);
    host.call("GC", 0, &gc("", "net")).unwrap();
    host.call("GC", 0, &gc(r#","cni.dev/valid-attachments":[]"#, "other")).unwrap();
    assert!(host.record(1).is_some() && host.record(2).is_some());
    let keep = r#","cni.dev/valid-attachments":[{"containerID":"c2","ifname":"eth0"}]"#;
    host.call("GC", 0, &gc(keep, "net")).unwrap();
    assert_eq!(host.record(1), None);
    host.call("CHECK", 2, &v4(2, r#"{"hostPort":81,"containerPort":80}"#)).unwrap();
    assert!(!host.publishes(1, &published(Protocol::Tcp, "", 8080, "10.88.0.1", 80)));
}

#[test]
fn status_asks_the_packet_filter() {
    let mut host = Host::new();
    let conf = r#"{"cniVersion":"1.1.0","name":"net","type":"portmap"}"#;
    let asks = |backend: &str| conf.replace("\"portmap\"", &format!(r#""portmap","backend":"{backend}""#));
    host.call("STATUS", 0, conf).unwrap();
    host.sim.set_filter_missing(true);
    host.call("STATUS", 0, conf).unwrap();
    host.call("STATUS", 0, &asks("iptables")).unwrap();
    assert_eq!(host.call("STATUS", 0, &asks("nftables")).unwrap_err().0, 50);
    host.sim.set_iptables_missing(true);
    assert_eq!(host.call("STATUS", 0, &asks("iptables")).unwrap_err().0, 50);
    let (code, text) = host.call("STATUS", 0, conf).unwrap_err();
    assert!(code == 50 && text.contains("nf_tables") && text.contains("iptables"), "{text}");
}

#[test]
fn without_ports_nothing_is_touched() {
    let mut host = Host::new();
    let mut watched = Watched::new(&mut host.sim);
    let result = run(&mut watched, "ADD", 1, &v4(1, "")).unwrap();
    assert!(result.contains("10.88.0.1/16"));
    run(&mut watched, "CHECK", 1, &v4(1, "")).unwrap();
    assert_eq!(watched.calls, [""; 0]);
    // DEL cannot know: it looks for one file and, without it, for the chains of others.
    run(&mut watched, "DEL", 1, &v4(1, WEB)).unwrap();
    assert_eq!(watched.calls, ["read_file", "find_chains", "remove"]);
    // And the watch does see.
    run(&mut watched, "ADD", 1, &v4(1, WEB)).unwrap();
    assert!(watched.calls.contains(&"lock") && watched.calls.contains(&"apply"));
}
