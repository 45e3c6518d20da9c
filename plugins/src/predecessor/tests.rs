//! Leftovers of the plugins before us on a modelled host, and the way back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use picocni_core::name::{IfName, Mac};
use picocni_core::net::Cidr;
use picocni_core::observe::{LinkKind, Ns};
use picocni_core::op::Change;
use picocni_core::owner::Owner;
use picocni_core::packet_filter::{Action, Chain, Rule, Table, TableFamily};
use picocni_core::session::{Session, Workspace};
use picocni_core::sim::{FaultBackend, Faults, SimBackend, Step};

use super::{chain_name, hand_back, masquerade, portmap};
use crate::bridge::Bridge;
use crate::portmap::Portmap;
use crate::proof::{call, on_large_stack, prove, step};

const NETNS: &str = "/run/netns/c1";
const BRIDGE: &str = r#""name":"net","type":"bridge","ipMasq":true,"macspoofchk":true,"isGateway":true,
    "ipam":{"type":"static","addresses":[{"address":"10.88.0.2/16"},{"address":"fd00:88::2/64"}]}"#;
const PORTMAP: &str = r#""name":"net","type":"portmap","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80},
    {"hostPort":53,"containerPort":53,"protocol":"udp"}]}"#;
const PREV: &str = r#""prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/c1"}],
    "ips":[{"interface":0,"address":"10.88.0.2/16"},{"interface":0,"address":"fd00:88::2/64"}]}"#;

fn config(keys: &str) -> String {
    format!(r#"{{"cniVersion":"1.1.0",{keys}}}"#)
}

fn owner(container: &str) -> Owner<'_> {
    Owner { network: "net", container, ifname: IfName::of("eth0") }
}

fn nat(v6: bool) -> Table<'static> {
    Table { family: TableFamily::of(v6), name: "nat" }
}

/// As iptables makes a chain: rules in it, and one of `entry` that leads to it.
fn iptables(sim: &mut SimBackend, entry: &'static str, name: &str, comment: &str, rules: usize) {
    for v6 in [false, true] {
        let (chain, entry) = (nat(v6).chain(name), nat(v6).chain(entry));
        for chain in [chain, entry] {
            sim.arrange(&[Change::EnsureChain { chain, hook: None, table_comment: "", comment: "" }]).unwrap();
        }
        let plain = Rule::new(Action::Masquerade);
        for _ in 0..rules {
            sim.arrange(&[Change::AppendRule { chain, rule: &plain, comment }]).unwrap();
        }
        let jump = Rule::new(Action::Jump(name));
        sim.arrange(&[Change::AppendRule { chain: entry, rule: &jump, comment }]).unwrap();
    }
}

fn by_iptables(sim: &mut SimBackend, container: &str) {
    let identity = format!("name: \"net\" id: \"{container}\"");
    iptables(sim, "POSTROUTING", &chain_name("CNI-", "net", container), &identity, 2);
    let identity = format!("dnat {identity}");
    iptables(sim, "CNI-HOSTPORT-DNAT", &chain_name("CNI-DN-", "net", container), &identity, 6);
    iptables(sim, "CNI-HOSTPORT-SNAT", &chain_name("CNI-SN-", "net", container), &identity, 1);
}

/// Runs `act` in a session of its own.
fn session<T: Send>(sim: &mut SimBackend, act: impl FnOnce(&mut Session<'_>) -> T + Send) -> T {
    on_large_stack(|| {
        let mut work = Box::new(Workspace::new());
        act(&mut Session::new(sim, crate::REGISTRY, &mut work))
    })
}

fn by_nftables(sim: &mut SimBackend, container: &str) {
    session(sim, |session| {
        let owner = owner(container);
        for (ip, net) in [("10.88.0.2", "10.88.0.0/16"), ("fd00:88::2", "fd00:88::/64")] {
            let to = ip.parse().unwrap();
            masquerade::masquerade(session, &owner, to, Cidr::parse(net).unwrap()).unwrap();
            for host_port in [8080, 53] {
                let protocol = picocni_core::observe::Protocol::Tcp;
                let port = picocni_core::observe::PublishedPort { protocol, host_ip: None, host_port, to, to_port: 80 };
                portmap::publish(session, &owner, &port).unwrap();
            }
            portmap::publish_source(session, &owner, to, false).unwrap();
        }
        super::macspoof::guard(session, &owner, IfName::of("vethx"), Mac([2, 0, 0, 0, 0, 1])).unwrap();
    });
}

type Arrange = fn(&mut SimBackend, &str);
const FORMS: [Arrange; 2] = [by_iptables, by_nftables];

/// Rules that carry a container's ID or lead to a chain of its own.
fn traces(sim: &SimBackend, container: &str) -> Vec<String> {
    let own: Vec<String> = ["CNI-", "CNI-DN-", "CNI-SN-"]
        .map(|prefix| chain_name(prefix, "net", container).to_string())
        .into_iter()
        .chain([container.to_string()])
        .collect();
    let snapshot = Box::new(sim.snapshot());
    let mut lines = Vec::new();
    let empty = Box::new(picocni_core::sim::Snapshot::new());
    empty.differences(&snapshot, &mut |line| {
        let mut text = heapless::String::<1024>::new();
        picocni_core::put!(&mut text, line);
        let about = text.contains("rule ") || text.contains("chain ");
        if about && own.iter().any(|name| text.contains(name.as_str())) {
            lines.push(text.to_string());
        }
    });
    lines
}

fn host() -> Box<SimBackend> {
    on_large_stack(|| {
        let mut sim = Box::new(SimBackend::new());
        sim.add_sandbox(NETNS).unwrap();
        sim
    })
}

fn dels() -> [Step<'static>; 2] {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let (bridge, portmap) = (leak(config(BRIDGE)), leak(config(PORTMAP)));
    [step(&Portmap, "DEL", "c1", NETNS, portmap), step(&Bridge, "DEL", "c1", NETNS, bridge)]
}

#[test]
fn del_leaves_nothing_of_this_container_and_all_of_the_others() {
    for form in FORMS {
        let mut sim = host();
        form(&mut sim, "c1");
        form(&mut sim, "c2");
        let (own, other) = (traces(&sim, "c1"), traces(&sim, "c2"));
        assert!(own.len() > 5 && own.len() == other.len(), "{own:#?}");
        for del in dels() {
            call(&mut sim, &del).unwrap();
            call(&mut sim, &del).unwrap();
        }
        assert_eq!(traces(&sim, "c1"), [""; 0]);
        assert_eq!(traces(&sim, "c2"), other);
    }
}

#[test]
fn del_goes_on_past_every_failure() {
    for form in FORMS {
        let build = move |sim: &mut SimBackend| {
            sim.add_sandbox(NETNS).unwrap();
            form(sim, "c1");
            form(sim, "c2");
        };
        for del in dels() {
            assert!(prove(&build, &[], del, false) > 0);
            assert!(prove(&build, &[], del, true) > 0);
        }
    }
}

#[test]
fn a_pod_that_masquerades_nothing_is_not_looked_for() {
    let mut sim = host();
    by_iptables(&mut sim, "c1");
    let plain = config(&BRIDGE.replace("true", "false"));
    call(&mut sim, &step(&Bridge, "DEL", "c1", NETNS, &plain)).unwrap();
    assert_ne!(traces(&sim, "c1"), [""; 0]);
}

#[test]
fn gc_takes_what_names_its_network_and_no_valid_container() {
    for (form, left) in [(by_iptables as Arrange, false), (by_nftables, true)] {
        let mut sim = host();
        form(&mut sim, "c1");
        form(&mut sim, "c2");
        let other = traces(&sim, "c2");
        let valid = r#""cni.dev/valid-attachments":[{"containerID":"c2","ifname":"eth0"}]"#;
        let elsewhere = BRIDGE.replace(r#""name":"net""#, r#""name":"ne""#);
        let before = traces(&sim, "c1");
        call(&mut sim, &step(&Bridge, "GC", "", "", &config(&format!("{elsewhere},{valid}")))).unwrap();
        call(&mut sim, &step(&Bridge, "GC", "", "", &config(BRIDGE))).unwrap();
        assert_eq!(traces(&sim, "c1"), before, "another network, and no list");
        for (plugin, keys) in [(&Bridge as &'static dyn picocni_core::plugin::Plugin, BRIDGE), (&Portmap, PORTMAP)] {
            call(&mut sim, &step(plugin, "GC", "", "", &config(&format!("{keys},{valid}")))).unwrap();
        }
        let lines = traces(&sim, "c1");
        // Rules of published ports and guards do not name the network.
        let words = ["cni_hostport", "bridge nat", "CNI-SN-"];
        assert!(lines.iter().all(|line| words.iter().any(|word| line.contains(word))), "{lines:#?}");
        assert_eq!(lines.iter().any(|line| line.contains("cni_hostport")), left);
        assert_eq!(traces(&sim, "c2"), other);
    }
}

#[test]
fn a_comment_that_was_cut_is_known_by_its_digest() {
    let long = "c".repeat(100);
    let mut sim = host();
    by_nftables(&mut sim, "c1");
    session(&mut sim, |session| {
        let net = Cidr::parse("10.88.0.0/16").unwrap();
        masquerade::masquerade(session, &owner(&long), "10.88.0.9".parse().unwrap(), net).unwrap();
    });
    let gc = |id: &str| {
        config(&format!(r#"{BRIDGE},"cni.dev/valid-attachments":[{{"containerID":"{id}","ifname":"eth0"}}]"#))
    };
    let rules = |sim: &mut SimBackend| session(sim, |session| super::count(session, &MASQ, None).unwrap());
    assert_eq!(rules(&mut sim), 3);
    call(&mut sim, &step(&Bridge, "GC", "", "", &gc(&long))).unwrap();
    assert_eq!(rules(&mut sim), 1);
    call(&mut sim, &step(&Bridge, "GC", "", "", &gc("x"))).unwrap();
    assert_eq!(rules(&mut sim), 0);
}

const MASQ: Chain<'static> = Table { family: TableFamily::Inet, name: "cni_plugins_masquerade" }.chain("masq_checks");

#[test]
fn check_wants_as_many_rules_as_they_make() {
    for form in FORMS {
        let mut sim = host();
        form(&mut sim, "c1");
        let check = config(&format!("{PORTMAP},{PREV}"));
        let check = step(&Portmap, "CHECK", "c1", NETNS, &check);
        call(&mut sim, &check).unwrap();
        let more = config(&format!(
            "{},{PREV}",
            PORTMAP.replace("[{\"hostPort\"", "[{\"hostPort\":1,\"containerPort\":1},{\"hostPort\"")
        ));
        assert!(call(&mut sim, &step(&Portmap, "CHECK", "c1", NETNS, &more)).unwrap_err().contains("104"));
        call(&mut sim, &dels()[0]).unwrap();
        assert!(call(&mut sim, &check).unwrap_err().contains("port mappings are not recorded"));
    }
}

#[test]
fn add_begins_without_leftovers_of_the_same_container() {
    for form in FORMS {
        let mut sim = host();
        form(&mut sim, "c1");
        call(&mut sim, &step(&Bridge, "ADD", "c1", NETNS, &config(BRIDGE))).unwrap();
        call(&mut sim, &step(&Portmap, "ADD", "c1", NETNS, &config(&format!("{PORTMAP},{PREV}")))).unwrap();
        assert_eq!(traces(&sim, "c1"), [""; 0]);
    }
}

/// A host with one attachment of ours.
fn ours(sim: &mut SimBackend) {
    call(sim, &step(&Bridge, "ADD", "c1", NETNS, &config(BRIDGE))).unwrap();
    call(sim, &step(&Portmap, "ADD", "c1", NETNS, &config(&format!("{PORTMAP},{PREV}")))).unwrap();
}

#[test]
fn what_is_handed_back_is_deleted_by_its_names() {
    let mut sim = host();
    let before = Box::new(sim.snapshot());
    ours(&mut sim);
    let mut said = Vec::new();
    session(&mut sim, |session| {
        hand_back::examine(session, &mut |what, tag, why| {
            said.push(format!("{what} {} {}", tag.as_str(), why.is_some()))
        })
        .unwrap();
        hand_back::run(session).unwrap();
    });
    let tag = "picocni:net:c1:eth0 false";
    assert_eq!(said, [format!("published ports {tag}"), format!("masquerade {tag}"), format!("source guard {tag}")]);
    // Two ports and two families; three sources; two addresses; four rules of a guard.
    let rules = traces(&sim, "c1").iter().filter(|line| line.contains("rule ")).count();
    assert_eq!(rules, 4 + 3 + 2 + 4);
    let files = ["portmap/attachments", "portmap/ports/tcp-8080/any4", "portmap/lock", "masq", "macspoof"];
    for file in files {
        let path = format!("/run/cni/picocni/{file}");
        assert_eq!(sim.file(&path).or_else(|| sim.file(&format!("{path}/net:c1:eth0"))), None, "{path}");
    }
    for del in dels() {
        call(&mut sim, &del).unwrap();
    }
    let after = Box::new(sim.snapshot());
    let left: Vec<String> = lines(&before, &after).into_iter().filter(|line| line.contains("c1")).collect();
    assert_eq!(left, [""; 0]);
}

fn lines(before: &picocni_core::sim::Snapshot, after: &picocni_core::sim::Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    before.differences(after, &mut |line| {
        let mut text = heapless::String::<1024>::new();
        picocni_core::put!(&mut text, line);
        lines.push(text.to_string());
    });
    lines
}

#[test]
fn what_has_no_form_is_refused_by_name() {
    let mut sim = host();
    ours(&mut sim);
    sim.add_link(Ns::Host, "up0", LinkKind::Dummy, Mac([2, 0, 0, 0, 0, 9])).unwrap();
    let dir = "/run/cni/picocni/portmap/attachments";
    sim.set_file(&format!("{dir}/net:c2:eth0"), b"netns 1 /x\nwait tcp any 80 10.88.0.3 80\n").unwrap();
    sim.set_file(&format!("{dir}/other:c1:eth1"), b"netns 1 /x\ntcp any 81 10.89.0.3 80\n").unwrap();
    sim.set_file("/run/cni/picocni/masq/#0123456789abcdef:0123", b"10.88.0.9 10.88.0.0/16\n").unwrap();
    let before = Box::new(sim.snapshot());
    let mut refused = Vec::new();
    let error = session(&mut sim, |session| {
        hand_back::examine(session, &mut |_, tag, why| {
            if let Some(why) = why {
                let mut text = heapless::String::<256>::new();
                picocni_core::put!(&mut text, tag.file_name(), " ", why);
                refused.push(text.to_string());
            }
        })
        .unwrap_err()
    });
    assert_eq!(error.code().0, 103);
    refused.sort();
    assert_eq!(refused.len(), 4, "{refused:#?}");
    for (line, words) in refused.iter().zip(["digest", "another attachment", "waits", "another attachment"]) {
        assert!(line.contains(words), "{line}");
    }
    assert_eq!(*before, sim.snapshot());
}

#[test]
fn a_failure_on_the_way_back_changes_nothing() {
    let mut at = 0;
    loop {
        let mut sim = host();
        ours(&mut sim);
        let before = Box::new(sim.snapshot().without_shared());
        let (outcome, hit) = on_large_stack(|| {
            let mut work = Box::new(Workspace::new());
            let mut faulty = FaultBackend::new(&mut *sim, Faults::at(at));
            let outcome = hand_back::run(&mut Session::new(&mut faulty, crate::REGISTRY, &mut work));
            (outcome, faulty.hit())
        });
        sim.end_process();
        if outcome.is_ok() {
            assert!(at > 20, "only {at} operations");
            return;
        }
        // From the first deletion of ours on there is no way back; calling again finishes.
        if hit.is_some_and(|verb| verb.contains("rule") || verb.contains("chain")) {
            assert_eq!(lines(&before, &Box::new(sim.snapshot().without_shared())), [""; 0], "{at}: {hit:?}");
        }
        session(&mut sim, |session| hand_back::run(session).unwrap());
        at += 1;
    }
}
