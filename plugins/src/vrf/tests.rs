//! `vrf` on a model of a host.
#![allow(clippy::unwrap_used, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

use picocni_core::backend::Backend;
use picocni_core::name::{IfName, Mac};
use picocni_core::net::{Cidr, parse_ip};
use picocni_core::observe::{Link, LinkKind, Ns, Route};
use picocni_core::op::{Change, LinkChange, LinkId, Removal, Undo};
use picocni_core::sim::{SimBackend, Step};

use super::Vrf;
use crate::proof::{call, on_large_stack, prove, step};

const NETNS: &str = "/run/netns/a";

fn conf(name: &str, table: u32) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"net","type":"vrf","vrfname":"{name}","table":{table},
        "prevResult":{{"cniVersion":"1.1.0","interfaces":[{{"name":"eth0","sandbox":"{NETNS}"}}]}}}}"#
    )
}

fn build(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    for name in ["eth0", "net1"] {
        let index = sim.add_link(Ns::Sandbox, name, LinkKind::Dummy, Mac([2, 0, 0, 0, 0, 7])).unwrap();
        let set = LinkChange { up: Some(true), ..LinkChange::NONE };
        let cidr = |text: &str| Cidr::parse(text).unwrap();
        let address =
            |text| Change::AddAddress { ns: Ns::Sandbox, index, cidr: cidr(text), dad: false, prefix_route: true };
        let route = |route| Change::AddRoute { ns: Ns::Sandbox, index, route };
        let main = Route { table: Some(254), scope: Some(0), protocol: Some(3), ..Route::to(cidr("10.9.0.0/16")) };
        let by = |gw: &str, dst: &str| Route { gw: parse_ip(gw), dst: cidr(dst), ..main };
        sim.arrange(&[
            Change::SetLink { ns: Ns::Sandbox, link: LinkId::Index(index), set, undo: Undo::WithLink },
            address("10.0.0.2/24"),
            address("fd00::2/64"),
        ])
        .unwrap();
        if name == "eth0" {
            sim.arrange(&[route(main), route(by("10.9.0.1", "0.0.0.0/0")), route(by("fd00::1", "::/0"))]).unwrap();
        }
    }
    sim.end_process();
}

fn host() -> Box<SimBackend> {
    let mut sim = on_large_stack(|| Box::new(SimBackend::new()));
    build(&mut sim);
    sim
}

fn link(sim: &mut SimBackend, name: &str) -> Option<Link> {
    sim.open_sandbox(NETNS).unwrap();
    sim.link(Ns::Sandbox, &IfName::of(name)).unwrap()
}

fn table(sim: &mut SimBackend, name: &str) -> Option<u32> {
    super::table_of(&link(sim, name)?)
}

/// Tables of the routes of `eth0`.
fn tables(sim: &mut SimBackend) -> Vec<u32> {
    let index = link(sim, "eth0").unwrap().index;
    let mut all = Vec::new();
    sim.routes(Ns::Sandbox, index, &mut |route| all.push(route.table.unwrap())).unwrap();
    all
}

fn of<'a>(ifname: &'a str, command: &'a str, netns: &'a str, conf: &'a str) -> Step<'a> {
    let mut step = step(&Vrf, command, "c1", netns, conf);
    step.env.ifname = ifname;
    step
}

fn ask(sim: &mut SimBackend, command: &str, conf: &str) -> Result<String, String> {
    let reply = call(sim, &step(&Vrf, command, "c1", NETNS, conf));
    assert!(!sim.is_locked(), "{command} keeps the lock");
    sim.end_process();
    reply
}

#[test]
fn every_operation_fails_once_and_nothing_is_left() {
    let conf = conf("red", 0);
    let add = step(&Vrf, "ADD", "c1", NETNS, &conf);
    assert!(prove(&build, &[], add, false) >= 10);
    assert!(prove(&build, &[], add, true) >= 12);
    // Into a VRF that is there.
    prove(&build, &[of("net1", "ADD", NETNS, &conf)], add, true);
    assert!(prove(&build, &[add], step(&Vrf, "DEL", "c1", NETNS, &conf), true) >= 4);
}

#[test]
fn the_interface_takes_its_routes_along() {
    let mut sim = host();
    let conf = conf("red", 0);
    let result = ask(&mut sim, "ADD", &conf).unwrap();
    assert!(result.contains(r#""name":"eth0""#), "{result}");
    assert_eq!((table(&mut sim, "red"), tables(&mut sim)), (Some(1), Vec::from([1, 1, 1])));
    let red = link(&mut sim, "red").unwrap();
    assert!(red.up);
    let eth0 = link(&mut sim, "eth0").unwrap();
    assert_eq!(eth0.master, Some(red.index));
    let mut addresses = 0;
    sim.addresses(Ns::Sandbox, eth0.index, None, &mut |_| addresses += 1).unwrap();
    assert_eq!(addresses, 2);
    ask(&mut sim, "CHECK", &conf).unwrap();
    ask(&mut sim, "ADD", &conf).unwrap();
    assert_eq!(tables(&mut sim), [1, 1, 1], "once more changes nothing");
    for _ in 0..2 {
        assert_eq!(ask(&mut sim, "DEL", &conf).unwrap(), "");
        assert!(link(&mut sim, "red").is_none());
        assert_eq!(link(&mut sim, "eth0").unwrap().master, None);
        assert!(ask(&mut sim, "CHECK", &conf).unwrap_err().contains(r#""code":104"#));
    }
}

#[test]
fn the_last_port_takes_the_vrf_along() {
    let mut sim = host();
    let (red, blue) = (conf("red", 0), conf("blue", 0));
    ask(&mut sim, "ADD", &red).unwrap();
    call(&mut sim, &of("net1", "ADD", NETNS, &red)).unwrap();
    ask(&mut sim, "DEL", &red).unwrap();
    assert!(link(&mut sim, "red").is_some());
    assert_eq!(link(&mut sim, "eth0").unwrap().master, None);
    // Whose VRF it is no port of is left alone.
    ask(&mut sim, "ADD", &blue).unwrap();
    assert_eq!(table(&mut sim, "blue"), Some(2));
    ask(&mut sim, "DEL", &red).unwrap();
    assert!(link(&mut sim, "eth0").unwrap().master.is_some());
    // A port that is gone.
    let gone = Removal::DeleteLink { ns: Ns::Sandbox, name: IfName::of("net1") };
    sim.open_sandbox(NETNS).unwrap();
    sim.remove(&[gone], &mut |_, outcome| outcome.unwrap());
    call(&mut sim, &of("net1", "DEL", NETNS, &red)).unwrap();
    assert!(link(&mut sim, "red").is_none() && link(&mut sim, "blue").is_some());
}

/// The main table and its neighbours are nobody's.
#[test]
fn the_lowest_free_table() {
    let mut sim = host();
    sim.open_sandbox(NETNS).unwrap();
    let made = (1..=260u32).filter(|table| ![3, 253, 254, 255, 257].contains(table));
    for table in made.take(140) {
        let name = IfName::of(&format!("v{table}"));
        sim.arrange(&[Change::CreateLink {
            from: Ns::Sandbox,
            name,
            kind: LinkKind::Vrf(table),
            parent: None,
            mac: None,
            mtu: 0,
            broadcast_queue: 0,
        }])
        .unwrap();
    }
    sim.end_process();
    ask(&mut sim, "ADD", &conf("red", 0)).unwrap();
    assert_eq!(table(&mut sim, "red"), Some(3));
    let mut tables = crate::tables::Tables::from(1);
    super::add::KERNELS_TABLES.iter().chain(&(1..253).collect::<Vec<u32>>()).for_each(|table| tables.mark(*table));
    assert_eq!(tables.take().unwrap(), 256);
}

#[test]
fn refusals() {
    let mut sim = host();
    sim.open_sandbox(NETNS).unwrap();
    sim.add_link(Ns::Sandbox, "plain", LinkKind::Dummy, Mac([2, 0, 0, 0, 0, 8])).unwrap();
    ask(&mut sim, "ADD", &conf("red", 7)).unwrap();
    for (name, table, phrase) in [
        ("blue", 0, "interface has already a master set"),
        ("red", 8, "already exist with different routing table"),
        ("plain", 0, "not a VRF"),
        ("", 0, "expected to have a valid vrf name"),
        ("a/b", 0, "expected to have a valid vrf name"),
    ] {
        let error = ask(&mut sim, "ADD", &conf(name, table)).unwrap_err();
        assert!(error.contains(phrase), "{name}: {error}");
        assert!(link(&mut sim, "blue").is_none());
        assert_eq!(ask(&mut sim, "DEL", &conf(name, if name == "red" { 7 } else { table })).unwrap(), "");
        if name == "red" {
            ask(&mut sim, "ADD", &conf("red", 7)).unwrap();
        }
    }
    assert!(link(&mut sim, "plain").is_some());
    let error = call(&mut sim, &of("none0", "ADD", NETNS, &conf("red", 0))).unwrap_err();
    assert!(error.contains("could not get link by name"), "{error}");
    let bare = r#"{"cniVersion":"1.1.0","name":"net","type":"vrf","vrfname":"red"}"#;
    assert!(ask(&mut sim, "ADD", bare).unwrap_err().contains("prevResult"));
    assert_eq!(call(&mut sim, &of("eth0", "DEL", "", bare)).unwrap(), "");
    call(&mut sim, &step(&Vrf, "STATUS", "", "", bare)).unwrap();
    sim.set_vrf(false);
    let error = call(&mut sim, &step(&Vrf, "STATUS", "", "", bare)).unwrap_err();
    assert!(error.contains(r#""code":50"#), "{error}");
    let error = call(&mut sim, &of("eth0", "ADD", NETNS, &conf("other", 0))).unwrap_err();
    assert!(error.contains("master"), "{error}");
}
