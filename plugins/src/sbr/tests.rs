//! `sbr` on a model of a host.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

use picocni_core::backend::Backend;
use picocni_core::name::{IfIndex, IfName, Mac};
use picocni_core::net::{Cidr, parse_ip};
use picocni_core::observe::{LinkKind, Ns, Route};
use picocni_core::op::{Change, LinkChange, LinkId, Removal, Undo};
use picocni_core::sim::SimBackend;

use super::Sbr;
use super::record::{Entry, RECORD, Record};
use crate::proof::{call, on_large_stack, prove, step};

const NETNS: &str = "/run/netns/a";
const RECORD_FILE: &str = "/run/cni/picocni/sbr/net:c1:eth0";

fn conf(extra: &str, ips: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"net","type":"sbr"{extra},"prevResult":{{"cniVersion":"1.1.0",
        "interfaces":[{{"name":"eth0","sandbox":"{NETNS}"}},{{"name":"net1","sandbox":"{NETNS}"}}],"ips":[{ips}]}}}}"#
    )
}

const V4: &str = r#"{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":0}"#;
const OTHER: &str = r#"{"address":"10.9.0.2/24","interface":1}"#;
const BOTH: &str = r#"{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":0},
    {"address":"fd00::2/64","gateway":"fd00::1","interface":0}"#;

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text).unwrap()
}

fn index_of(sim: &mut SimBackend, name: &str) -> IfIndex {
    sim.link(Ns::Sandbox, &IfName::of(name)).unwrap().unwrap().index
}

/// What the kernel has of a link with these addresses, and two routes that a plugin set.
fn link(sim: &mut SimBackend, name: &str, v4: &str, v6: Option<&str>) {
    let index = sim.add_link(Ns::Sandbox, name, LinkKind::Dummy, Mac([2, 0, 0, 0, 0, 7])).unwrap();
    let set = LinkChange { up: Some(true), ..LinkChange::NONE };
    let mut changes =
        Vec::from([Change::SetLink { ns: Ns::Sandbox, link: LinkId::Index(index), set, undo: Undo::WithLink }]);
    let mut route = |route| changes.push(Change::AddRoute { ns: Ns::Sandbox, index, route });
    for text in [Some(v4), v6].into_iter().flatten() {
        let cidr = cidr(text);
        let own = (!cidr.is_v6()).then_some(cidr.addr());
        let (scope, priority) = if cidr.is_v6() { (Some(0), 256) } else { (Some(253), 0) };
        let table = Some(254);
        let connected = Route { scope, src: own, priority, table, protocol: Some(2), ..Route::to(cidr.network()) };
        route(connected);
        if cidr.is_v6() {
            route(Route { dst: self::cidr("fe80::/64"), ..connected });
        }
        let v4_far = if name == "eth0" { "10.2.0.0/24" } else { "10.3.0.0/24" };
        let far = if cidr.is_v6() { "fd99::/64" } else { v4_far };
        let (gw, priority) = (Some(cidr.first_host()), if cidr.is_v6() { 1024 } else { 0 });
        route(Route { gw, priority, table, scope: Some(0), protocol: Some(3), ..Route::to(self::cidr(far)) });
    }
    for text in [Some(v4), v6].into_iter().flatten() {
        let add = Change::AddAddress { ns: Ns::Sandbox, index, cidr: cidr(text), dad: false, prefix_route: true };
        changes.insert(1, add);
    }
    sim.arrange(&changes).unwrap();
}

fn build(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    link(sim, "eth0", "10.0.0.2/24", Some("fd00::2/64"));
    link(sim, "net1", "192.168.1.2/24", None);
    sim.end_process();
}

fn host() -> Box<SimBackend> {
    let mut sim = on_large_stack(|| Box::new(SimBackend::new()));
    build(&mut sim);
    sim
}

/// `TABLE DST [via GW] [src SRC]` for each route of a link, sorted.
fn routes(sim: &mut SimBackend, name: &str) -> Vec<String> {
    sim.open_sandbox(NETNS).unwrap();
    let index = index_of(sim, name);
    let mut all = Vec::new();
    sim.routes(Ns::Sandbox, index, &mut |route| {
        let mut line = format!("{} {}/{}", route.table.unwrap(), route.dst.addr(), route.dst.prefix());
        for (word, addr) in [("via", route.gw), ("src", route.src)] {
            line += &addr.map_or(String::new(), |addr| format!(" {word} {addr}"));
        }
        all.push(line);
    })
    .unwrap();
    sim.end_process();
    all.sort();
    all
}

/// `SRC TABLE` for each rule, the last made first.
fn rules(sim: &mut SimBackend) -> Vec<String> {
    sim.open_sandbox(NETNS).unwrap();
    let mut all = Vec::new();
    sim.rules(Ns::Sandbox, &mut |rule| {
        all.push((rule.priority, format!("{} {}", rule.src.unwrap().addr(), rule.table)));
    })
    .unwrap();
    sim.end_process();
    all.sort();
    all.into_iter().map(|(_, line)| line).collect()
}

fn ask(sim: &mut SimBackend, command: &str, netns: &str, conf: &str) -> Result<String, String> {
    let reply = call(sim, &step(&Sbr, command, "c1", netns, conf));
    assert!(!sim.is_locked(), "{command} keeps the lock");
    sim.end_process();
    reply
}

const V4_IN_100: [&str; 3] =
    ["100 0.0.0.0/0 via 10.0.0.1", "100 10.0.0.0/24 src 10.0.0.2", "100 10.2.0.0/24 via 10.0.0.1"];
const V6_IN_101: [&str; 4] = ["101 ::/0 via fd00::1", "101 fd00::/64", "101 fd99::/64 via fd00::1", "101 fe80::/64"];

#[test]
fn routes_move_to_a_table_for_each_address() {
    let mut sim = host();
    let (conf, others) = (conf("", &format!("{BOTH},{OTHER}")), routes(&mut sim, "net1"));
    let before = routes(&mut sim, "eth0");
    let result = ask(&mut sim, "ADD", NETNS, &conf).unwrap();
    assert!(result.contains(r#""address":"10.9.0.2/24","interface":1"#), "prevResult is handed on: {result}");
    assert_eq!(rules(&mut sim), ["fd00::2 101", "10.0.0.2 100"]);
    // The kernel's own route to link-local neighbours stays in the main table.
    let all = [&V4_IN_100[..], &V6_IN_101[..], &["254 fe80::/64"][..]].concat();
    assert_eq!(routes(&mut sim, "eth0"), all);
    assert_eq!(routes(&mut sim, "net1"), others, "another link is left alone");
    ask(&mut sim, "CHECK", NETNS, &conf).unwrap();
    // Once more: everything is as it was.
    ask(&mut sim, "ADD", NETNS, &conf).unwrap();
    assert_eq!(rules(&mut sim), ["fd00::2 101", "10.0.0.2 100"]);
    assert_eq!(routes(&mut sim, "eth0"), all);
    for _ in 0..2 {
        assert_eq!(ask(&mut sim, "DEL", NETNS, &conf).unwrap(), "");
        assert_eq!(rules(&mut sim), [""; 0]);
        assert_eq!(routes(&mut sim, "eth0"), before, "they go back to the main table");
    }
    assert!(sim.file(RECORD_FILE).is_none());
}

#[test]
fn every_operation_fails_once_and_nothing_is_left() {
    for extra in ["", r#","addSourceHints":true"#, r#","table":5000"#, r#","gateways":["10.0.0.9"]"#] {
        let conf = conf(extra, BOTH);
        let add = step(&Sbr, "ADD", "c1", NETNS, &conf);
        assert!(prove(&build, &[], add, false) >= 3);
        assert!(prove(&build, &[], add, true) >= 5);
        // An ADD that is repeated leaves what the first one made.
        prove(&build, &[add], add, true);
        assert!(prove(&build, &[add], step(&Sbr, "DEL", "c1", NETNS, &conf), true) >= 4);
        let gc = conf.replacen('{', r#"{"cni.dev/valid-attachments":[],"#, 1);
        assert!(prove(&build, &[add], step(&Sbr, "GC", "", "", &gc), true) >= 4);
    }
}

/// An address came, another went: what is in use stays as it is.
#[test]
fn an_add_with_another_address() {
    let mut sim = host();
    ask(&mut sim, "ADD", NETNS, &conf("", V4)).unwrap();
    let more = conf("", BOTH);
    ask(&mut sim, "ADD", NETNS, &more).unwrap();
    assert_eq!(rules(&mut sim), ["fd00::2 101", "10.0.0.2 100"]);
    ask(&mut sim, "CHECK", NETNS, &more).unwrap();
    ask(&mut sim, "DEL", NETNS, &more).unwrap();
    assert!(rules(&mut sim).is_empty());
    let first = conf("", V4);
    let (add, again) = (step(&Sbr, "ADD", "c1", NETNS, &first), step(&Sbr, "ADD", "c1", NETNS, &more));
    // The record of the first is what its DEL needs, until the second has succeeded.
    assert!(prove_but_the_last(&add, again) >= 8);
}

/// As `prove`, without the two operations that replace the record at the end.
fn prove_but_the_last(add: &picocni_core::sim::Step<'_>, again: picocni_core::sim::Step<'_>) -> usize {
    let mut sim = host();
    call(&mut sim, add).unwrap();
    sim.end_process();
    let before = sim.snapshot();
    let mut at = 0;
    loop {
        let mut sim = host();
        call(&mut sim, add).unwrap();
        sim.end_process();
        let failed = on_large_stack(|| {
            use picocni_core::dispatch::{CallMemory, Reply};
            let mut faults = picocni_core::sim::FaultBackend::new(&mut *sim, picocni_core::sim::Faults::at(at));
            let (mut work, mut memory) =
                (Box::new(picocni_core::session::Workspace::new()), Box::new(CallMemory::new()));
            let mut out = std::vec![0u8; picocni_core::limits::REQUEST];
            let reply = picocni_core::sim::rollback::serve(
                &again,
                crate::REGISTRY,
                &mut faults,
                &mut work,
                &mut memory,
                &mut out,
            );
            matches!(reply, Reply::Failure(_)).then(|| faults.hit().unwrap())
        });
        sim.end_process();
        match failed {
            None => return at,
            Some("remove file" | "write file") if at > 3 => {}
            Some(hit) => assert_eq!(sim.snapshot(), before, "{hit} {at}"),
        }
        at += 1;
    }
}

#[test]
fn a_table_of_the_config_gets_rules_and_no_routes() {
    let mut sim = host();
    let before = routes(&mut sim, "eth0");
    let conf = conf(r#","table":5000"#, BOTH);
    ask(&mut sim, "ADD", NETNS, &conf).unwrap();
    assert_eq!(rules(&mut sim), ["fd00::2 5000", "10.0.0.2 5000"]);
    assert_eq!(routes(&mut sim, "eth0"), before);
    ask(&mut sim, "CHECK", NETNS, &conf).unwrap();
    // Others' rules of the same address are in another table.
    sim.open_sandbox(NETNS).unwrap();
    let (src, table) = (parse_ip("10.0.0.2").unwrap(), 77);
    sim.arrange(&[Change::AddRule { ns: Ns::Sandbox, src, table }]).unwrap();
    sim.end_process();
    ask(&mut sim, "DEL", NETNS, &conf).unwrap();
    assert_eq!(rules(&mut sim), ["10.0.0.2 77"]);
}

#[test]
fn gateways_of_the_config_win() {
    let mut sim = host();
    sim.open_sandbox(NETNS).unwrap();
    let index = index_of(&mut sim, "eth0");
    let gw = parse_ip("10.0.0.1");
    let default = Route { gw, table: Some(254), scope: Some(0), protocol: Some(3), ..Route::to(cidr("0.0.0.0/0")) };
    let metric = Route { priority: 50, gw: parse_ip("10.0.0.3"), ..default };
    let add = |route| Change::AddRoute { ns: Ns::Sandbox, index, route };
    sim.arrange(&[add(default), add(metric)]).unwrap();
    sim.end_process();
    let conf = conf(r#","gateways":["10.0.0.254","fd00::fe"]"#, BOTH);
    ask(&mut sim, "ADD", NETNS, &conf).unwrap();
    let defaults: Vec<String> = routes(&mut sim, "eth0").into_iter().filter(|route| route.contains("/0 ")).collect();
    let expected = ["100 0.0.0.0/0 via 10.0.0.254", "100 0.0.0.0/0 via 10.0.0.3", "101 ::/0 via fd00::fe"];
    assert_eq!(defaults, expected, "one with a metric stands beside it");
    ask(&mut sim, "CHECK", NETNS, &conf).unwrap();
}

#[test]
fn the_default_route_of_the_link_is_moved() {
    let mut sim = host();
    sim.open_sandbox(NETNS).unwrap();
    let index = index_of(&mut sim, "eth0");
    let gw = parse_ip("10.0.0.77");
    let route = Route { gw, table: Some(254), scope: Some(0), mtu: 1300, ..Route::to(cidr("0.0.0.0/0")) };
    sim.arrange(&[Change::AddRoute { ns: Ns::Sandbox, index, route }]).unwrap();
    sim.end_process();
    let conf = conf("", V4);
    ask(&mut sim, "ADD", NETNS, &conf).unwrap();
    assert_eq!(routes(&mut sim, "eth0")[0], "100 0.0.0.0/0 via 10.0.0.77");
    ask(&mut sim, "CHECK", NETNS, &conf).unwrap();
}

#[test]
fn hints_keep_the_neighbours_in_the_main_table() {
    let mut sim = host();
    let conf = conf(r#","addSourceHints":true"#, BOTH);
    for _ in 0..2 {
        ask(&mut sim, "ADD", NETNS, &conf).unwrap();
        let main: Vec<String> = routes(&mut sim, "eth0").into_iter().filter(|route| route.starts_with("254")).collect();
        assert_eq!(main, ["254 10.0.0.0/24 src 10.0.0.2", "254 fd00::/64 src fd00::2", "254 fe80::/64"]);
        let own: Vec<String> = routes(&mut sim, "eth0").into_iter().filter(|route| route.starts_with("10")).collect();
        assert_eq!(own, [&V4_IN_100[..], &V6_IN_101[..]].concat());
        ask(&mut sim, "CHECK", NETNS, &conf).unwrap();
    }
    ask(&mut sim, "DEL", NETNS, &conf).unwrap();
    let main = routes(&mut sim, "eth0");
    assert!(main.iter().all(|route| route.starts_with("254")), "{main:?}");
}

/// Tables that a rule of anybody names, or that have a route, are not chosen.
#[test]
fn tables_in_use_are_passed_over() {
    let mut sim = host();
    sim.open_sandbox(NETNS).unwrap();
    let index = index_of(&mut sim, "net1");
    let route = Route { table: Some(102), ..Route::to(cidr("192.168.9.0/24")) };
    let rule = |src, table| Change::AddRule { ns: Ns::Sandbox, src: parse_ip(src).unwrap(), table };
    sim.arrange(&[rule("192.0.2.1", 100), rule("10.0.0.2", 101), Change::AddRoute { ns: Ns::Sandbox, index, route }])
        .unwrap();
    sim.end_process();
    ask(&mut sim, "ADD", NETNS, &conf("", BOTH)).unwrap();
    assert_eq!(rules(&mut sim)[..2], ["fd00::2 104", "10.0.0.2 103"]);
}

#[test]
fn check_notices() {
    let conf = conf("", BOTH);
    type Damage = fn(IfIndex) -> Removal<'static>;
    let damages: [(&str, Damage); 2] = [
        ("rule is missing", |_| Removal::DeleteRule {
            ns: Ns::Sandbox,
            src: parse_ip("10.0.0.2").unwrap(),
            table: 100,
            priority: None,
        }),
        ("default route is missing", |index| Removal::DeleteRoute {
            ns: Ns::Sandbox,
            index,
            route: Route { gw: parse_ip("fd00::1"), table: Some(101), ..Route::to(cidr("::/0")) },
        }),
    ];
    for (phrase, damage) in damages {
        let mut sim = host();
        ask(&mut sim, "ADD", NETNS, &conf).unwrap();
        sim.open_sandbox(NETNS).unwrap();
        let index = index_of(&mut sim, "eth0");
        sim.remove(&[damage(index)], &mut |_, outcome| outcome.unwrap());
        sim.end_process();
        let error = ask(&mut sim, "CHECK", NETNS, &conf).unwrap_err();
        assert!(error.contains(phrase) && error.contains(r#""code":104"#), "{error}");
    }
    let mut sim = host();
    ask(&mut sim, "ADD", NETNS, &conf).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    let index = index_of(&mut sim, "eth0");
    let route = Route { table: Some(254), ..Route::to(cidr("10.7.0.0/16")) };
    sim.arrange(&[Change::AddRoute { ns: Ns::Sandbox, index, route }]).unwrap();
    sim.end_process();
    let error = ask(&mut sim, "CHECK", NETNS, &conf).unwrap_err();
    assert!(error.contains("route is in the main table"), "{error}");
}

/// What DEL has to go by: the record without addresses, the addresses without a record.
#[test]
fn del_finds_the_rules() {
    let bare = r#"{"cniVersion":"1.1.0","name":"net","type":"sbr"}"#;
    let mut sim = host();
    ask(&mut sim, "ADD", NETNS, &conf("", BOTH)).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    let gone = Removal::DeleteLink { ns: Ns::Sandbox, name: IfName::of("eth0") };
    sim.remove(&[gone], &mut |_, outcome| outcome.unwrap());
    ask(&mut sim, "DEL", NETNS, bare).unwrap();
    assert!(rules(&mut sim).is_empty());

    let mut sim = host();
    sim.open_sandbox(NETNS).unwrap();
    let src = parse_ip("fd00::2").unwrap();
    sim.arrange(&[Change::AddRule { ns: Ns::Sandbox, src, table: 100 }]).unwrap();
    ask(&mut sim, "DEL", NETNS, bare).unwrap();
    assert!(rules(&mut sim).is_empty(), "as the peer made it");

    let mut sim = host();
    ask(&mut sim, "ADD", NETNS, &conf("", BOTH)).unwrap();
    sim.remove_sandbox(NETNS);
    for netns in [NETNS, ""] {
        ask(&mut sim, "DEL", netns, bare).unwrap();
    }
    assert!(sim.file(RECORD_FILE).is_none());
    assert_eq!(
        ask(&mut host(), "DEL", NETNS, r#"{"cniVersion":"1.1.0","name":"net","type":"sbr","table":0}"#).unwrap(),
        ""
    );
}

/// A new sandbox of the same name has nothing to do with the record of the old one.
#[test]
fn a_record_of_another_sandbox() {
    let mut sim = host();
    ask(&mut sim, "ADD", NETNS, &conf("", V4)).unwrap();
    sim.remove_sandbox(NETNS);
    build(&mut sim);
    sim.open_sandbox(NETNS).unwrap();
    let src = parse_ip("192.0.2.1").unwrap();
    sim.arrange(&[Change::AddRule { ns: Ns::Sandbox, src, table: 100 }]).unwrap();
    ask(&mut sim, "ADD", NETNS, &conf("", V4)).unwrap();
    assert_eq!(rules(&mut sim), ["10.0.0.2 101", "192.0.2.1 100"]);
}

#[test]
fn gc_keeps_the_valid() {
    let mut sim = host();
    ask(&mut sim, "ADD", NETNS, &conf("", V4)).unwrap();
    let gc = |list: &str| {
        format!(r#"{{"cniVersion":"1.1.0","name":"net","type":"sbr","cni.dev/valid-attachments":[{list}]}}"#)
    };
    call(&mut sim, &step(&Sbr, "GC", "", "", &gc(r#"{"containerID":"c1","ifname":"eth0"}"#))).unwrap();
    assert_eq!(rules(&mut sim), ["10.0.0.2 100"]);
    call(&mut sim, &step(&Sbr, "GC", "", "", &gc(""))).unwrap();
    assert!(rules(&mut sim).is_empty() && sim.file(RECORD_FILE).is_none());
}

#[test]
fn refusals() {
    let mut sim = host();
    let before = on_large_stack(|| Box::new(sim.snapshot()));
    for (extra, ips, phrase) in [
        (r#","gateways":["10.0.0.1","10.0.0.2","fd00::1"]"#, V4, "cannot contain more than 2 entries"),
        (r#","gateways":["10.0.0.1","10.0.0.2"]"#, V4, "multiple IPv4 addresses"),
        (r#","gateways":["fd00::1","fd00::2"]"#, V4, "multiple IPv6 addresses"),
        (r#","gateways":["here"]"#, V4, "invalid static gateway IP address"),
        (r#","table":0"#, V4, "invalid table"),
        (r#","table":-1"#, V4, "invalid table"),
        (r#","table":4294967296"#, V4, "invalid table"),
        ("", "", "No IP addresses supplied on interface"),
        ("", OTHER, "No IP addresses supplied on interface"),
    ] {
        let error = ask(&mut sim, "ADD", NETNS, &conf(extra, ips)).unwrap_err();
        assert!(error.contains(phrase), "{extra} {ips}: {error}");
    }
    let bare = r#"{"cniVersion":"1.1.0","name":"net","type":"sbr"}"#;
    let error = ask(&mut sim, "ADD", NETNS, bare).unwrap_err();
    assert!(error.contains("must be called as chained plugin"), "{error}");
    assert_eq!(*before, sim.snapshot());
    call(&mut sim, &step(&Sbr, "STATUS", "", "", bare)).unwrap();
    sim.set_policy_routing(false);
    let error = call(&mut sim, &step(&Sbr, "STATUS", "", "", bare)).unwrap_err();
    assert!(error.contains(r#""code":50"#) && error.contains("policy routing"), "{error}");
}

#[test]
fn records_are_read_strictly() {
    let text = "netns 4:4026532 /run/netns/a\nchosen 10.0.0.2 100 10.0.0.1\ngiven fd00::2 5000\n";
    let record = Record::parse(text).unwrap();
    assert_eq!(record.text(), text);
    let ip = parse_ip("fd00::2").unwrap();
    assert_eq!(record.entries[1], Entry { ip, table: 5000, chosen: false, gateway: None });
    for torn in ["", "netns", "netns 4:1 /x", "net 4:1 /x\n"] {
        assert!(Record::parse(torn).is_none(), "{torn:?}");
    }
    let half =
        Record::parse("netns 4:1 /x\nchosen 10.0.0.2\nwhat 10.0.0.2 100\nchosen 10.0.0.2 100\nchosen fd").unwrap();
    assert_eq!(half.entries.len(), 1);
    let longest = 512 + 80 + 16 * (8 + 46 + 11 + 46);
    assert!(RECORD >= longest, "{longest}");
}
