//! Rules, routes that come back, VRFs.

extern crate std;

use std::vec::Vec;

use super::{cidr, code, host, index, ip, link, remove, reports, set, there_and_back, up, veth};
use crate::backend::Backend;
use crate::name::{IfIndex, IfName};
use crate::observe::{LinkKind, Ns, Route, Rule};
use crate::op::{Change, LinkChange, LinkId, OnFailure, Removal, Undo};
use crate::sim::{EOPNOTSUPP, SimBackend};

fn rules(sim: &mut SimBackend) -> Vec<Rule> {
    let mut all = Vec::new();
    sim.rules(Ns::Sandbox, &mut |rule| all.push(*rule)).unwrap();
    all
}

fn routes(sim: &mut SimBackend, index: IfIndex) -> Vec<Route> {
    let mut all = Vec::new();
    sim.routes(Ns::Sandbox, index, &mut |route| all.push(*route)).unwrap();
    all
}

/// `eth0` in the sandbox, up, with an address of each family and a route by a next hop.
fn wired(sim: &mut SimBackend) -> IfIndex {
    sim.arrange(&[veth(), set(Ns::Sandbox, "eth0", up())]).unwrap();
    let index = index(sim, Ns::Sandbox, "eth0");
    let address =
        |text: &str| Change::AddAddress { ns: Ns::Sandbox, index, cidr: cidr(text), dad: false, prefix_route: true };
    let route = Route { gw: Some(ip("10.0.0.1")), protocol: Some(4), ..Route::to(cidr("0.0.0.0/0")) };
    let route = Change::AddRoute { ns: Ns::Sandbox, index, route };
    sim.arrange(&[address("10.0.0.2/24"), address("fd00::2/64"), route]).unwrap();
    index
}

#[test]
fn a_rule_comes_before_the_others() {
    let mut sim = host();
    let rule = |src, table| Change::AddRule { ns: Ns::Sandbox, src: ip(src), table };
    there_and_back(&mut sim, rule("10.0.0.2", 100));
    sim.arrange(&[rule("10.0.0.2", 100), rule("fd00::2", 101), rule("10.0.0.2", 100)]).unwrap();
    let all: Vec<_> = rules(&mut sim).iter().map(|rule| (rule.src.unwrap(), rule.table, rule.priority)).collect();
    let (v4, v6) = (cidr("10.0.0.2/32"), cidr("fd00::2/128"));
    assert_eq!(all, [(v4, 100, 32_765), (v6, 101, 32_764), (v4, 100, 32_763)]);
    let delete = |table, priority| Removal::DeleteRule { ns: Ns::Sandbox, src: ip("10.0.0.2"), table, priority };
    remove(&mut *sim, delete(100, None)).unwrap();
    assert_eq!(rules(&mut sim).last().unwrap().priority, 32_764, "the first that matches");
    for gone in [delete(101, None), delete(100, Some(1)), delete(100, Some(32_765)), delete(100, None)] {
        remove(&mut *sim, gone).unwrap();
    }
    assert_eq!(rules(&mut sim).len(), 1);
    sim.set_policy_routing(false);
    assert_eq!(code(&sim.arrange(&[rule("10.0.0.2", 100)]).unwrap_err()), (101, EOPNOTSUPP));
    assert!(sim.rules(Ns::Sandbox, &mut |_| {}).is_err());
}

#[test]
fn a_route_that_is_taken_comes_back_as_it_was() {
    let mut sim = host();
    let index = wired(&mut sim);
    let [route] = routes(&mut sim, index)[..] else { panic!("one route") };
    there_and_back(&mut sim, Change::TakeRoute { ns: Ns::Sandbox, index, route });
    let absent = Change::TakeRoute { ns: Ns::Sandbox, index, route: Route { protocol: None, ..route } };
    assert_eq!(code(&sim.arrange(&[absent]).unwrap_err()), (101, 3));
    let restore = Removal::RestoreRoute { ns: Ns::Sandbox, index, route };
    remove(&mut *sim, restore).unwrap();
    remove(&mut *sim, Removal::DeleteLink { ns: Ns::Sandbox, name: IfName::of("eth0") }).unwrap();
    remove(&mut *sim, restore).unwrap();
}

fn vrf(table: u32) -> Change<'static> {
    Change::CreateLink {
        from: Ns::Sandbox,
        name: IfName::of("red"),
        kind: LinkKind::Vrf(table),
        parent: None,
        mac: None,
        mtu: 0,
        broadcast_queue: 0,
    }
}

#[test]
fn a_link_that_enters_a_vrf_loses_its_routes() {
    let mut sim = host();
    let eth0 = wired(&mut sim);
    there_and_back(&mut sim, vrf(7));
    sim.arrange(&[vrf(7)]).unwrap();
    let red = link(&mut sim, Ns::Sandbox, "red").unwrap();
    assert_eq!(red.kind, LinkKind::Vrf(7));
    let key = "net/ipv6/conf/eth0/keep_addr_on_down";
    let (undo, on_failure) = (Undo::Restore, OnFailure::Fail);
    let keep = Change::WriteSysctl { ns: Ns::Sandbox, key, value: "1", undo, on_failure };
    let enter = |master: IfIndex| {
        let set = LinkChange { master: Some(master), ..LinkChange::NONE };
        Change::SetLink { ns: Ns::Sandbox, link: LinkId::Index(eth0), set, undo }
    };
    let addresses = |sim: &mut SimBackend| super::addresses(sim, Ns::Sandbox, eth0).len();
    assert_eq!(reports(&mut *sim, &[keep, enter(red.index)]), [Ok(true), Ok(true)]);
    assert_eq!((routes(&mut sim, eth0).len(), addresses(&mut sim)), (0, 2));
    assert_eq!(link(&mut sim, Ns::Sandbox, "eth0").unwrap().master, Some(red.index));
    assert_eq!(reports(&mut *sim, &[enter(red.index)]), [Ok(false)], "nothing to undo");
    // Down and up again without the setting.
    let forget = Change::WriteSysctl { ns: Ns::Sandbox, key, value: "0", undo, on_failure };
    assert_eq!(reports(&mut *sim, &[forget, enter(IfIndex(0))]), [Ok(true), Ok(true)]);
    assert_eq!((link(&mut sim, Ns::Sandbox, "eth0").unwrap().master, addresses(&mut sim)), (None, 1));
    sim.set_vrf(false);
    assert_eq!(sim.probe_vrf().unwrap_err().code().0, 50);
    remove(&mut *sim, Removal::DeleteLink { ns: Ns::Sandbox, name: IfName::of("red") }).unwrap();
    assert_eq!(code(&sim.arrange(&[vrf(7)]).unwrap_err()), (101, EOPNOTSUPP));
}
