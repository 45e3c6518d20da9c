//! `macvlan`, `ipvlan`, `vlan`, `dummy` and `tap` on a model of a host.
#![allow(clippy::unwrap_used, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::String;

use picocni_core::backend::Backend;
use picocni_core::name::{IfName, Mac};
use picocni_core::net::Cidr;
use picocni_core::observe::{LinkKind, Ns, Route};
use picocni_core::op::{Change, LinkChange, LinkId, Undo};
use picocni_core::plugin::Plugin;
use picocni_core::sim::SimBackend;

use crate::dummy::Dummy;
use crate::ipvlan::Ipvlan;
use crate::macvlan::Macvlan;
use crate::proof::{call, on_large_stack, prove, step};
use crate::tap::Tap;
use crate::vlan::Vlan;

const NETNS: &str = "/run/netns/a";

const ALL: [&dyn Plugin; 5] = [&Macvlan, &Ipvlan, &Vlan, &Dummy, &Tap];

/// A host with a link `br0` that has the default route, and an `eth0` as most hosts.
fn build(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
    for (name, last) in [("br0", 1), ("eth0", 2)] {
        let name = IfName::of(name);
        sim.arrange(&[Change::EnsureBridge {
            name,
            mac: Mac([2, 0, 0, 0, 9, last]),
            mtu: 1400,
            promisc: false,
            vlan_filtering: false,
        }])
        .unwrap();
    }
    let index = sim.link(Ns::Host, &IfName::of("br0")).unwrap().unwrap().index;
    sim.arrange(&[
        Change::EnsureAddress { index, cidr: Cidr::parse("192.0.2.2/24").unwrap() },
        Change::AddRoute {
            ns: Ns::Host,
            index,
            route: Route { gw: Some([192, 0, 2, 1].into()), ..Route::to(Cidr::parse("0.0.0.0/0").unwrap()) },
        },
    ])
    .unwrap();
}

fn host() -> Box<SimBackend> {
    let mut sim = on_large_stack(|| Box::new(SimBackend::new()));
    build(&mut sim);
    sim
}

fn conf(plugin: &dyn Plugin, extra: &str) -> String {
    let name = plugin.name();
    format!(
        r#"{{"cniVersion":"1.1.0","name":"net","type":"{name}","master":"br0"{extra},"ipam":{{"type":"host-local",
        "ranges":[[{{"subnet":"10.1.0.0/24"}}],[{{"subnet":"fd00:1::/64"}}]],"routes":[{{"dst":"0.0.0.0/0"}}]}}}}"#
    )
}

#[test]
fn every_operation_fails_once_and_nothing_is_left() {
    for plugin in ALL {
        let conf = conf(plugin, "");
        let add = step(plugin, "ADD", "c1", NETNS, &conf);
        assert!(prove(&build, &[], add, false) >= 10, "{plugin:?}");
        assert!(prove(&build, &[], add, true) >= 12, "{plugin:?}");
        assert!(prove(&build, &[add], step(plugin, "DEL", "c1", NETNS, &conf), false) >= 3, "{plugin:?}");
    }
}

#[test]
fn add_check_del() {
    for (plugin, kind) in ALL.into_iter().zip([
        LinkKind::Macvlan(Default::default()),
        LinkKind::Ipvlan(Default::default()),
        LinkKind::Vlan(7),
        LinkKind::Dummy,
        LinkKind::Tun,
    ]) {
        let mut sim = host();
        let conf = conf(plugin, if plugin.name() == "vlan" { r#","vlanId":7"# } else { "" });
        let result = call(&mut sim, &step(plugin, "ADD", "c1", NETNS, &conf)).unwrap();
        let mtu = if matches!(plugin.name(), "dummy" | "tap") { 1500 } else { 1400 };
        assert!(result.contains(&format!(r#""mtu":{mtu},"name":"eth0","sandbox":"{NETNS}""#)), "{result}");
        assert!(result.contains(r#""address":"10.1.0.2/24","gateway":"10.1.0.1","interface":0"#), "{result}");
        sim.open_sandbox(NETNS).unwrap();
        let link = sim.link(Ns::Sandbox, &IfName::of("eth0")).unwrap().unwrap();
        assert_eq!((link.kind, link.up), (kind, true));
        let with_prev = conf.replacen('{', &format!(r#"{{"prevResult":{result},"#), 1);
        call(&mut sim, &step(plugin, "CHECK", "c1", NETNS, &with_prev)).unwrap();
        // Another kind under the same name.
        let other = ALL.into_iter().find(|other| other.name() != plugin.name()).unwrap();
        let error = call(&mut sim, &step(other, "CHECK", "c1", NETNS, &with_prev)).unwrap_err();
        assert!(error.contains("another kind or mode"), "{error}");
        for netns in [NETNS, NETNS, "/run/netns/gone", ""] {
            assert_eq!(call(&mut sim, &step(plugin, "DEL", "c1", netns, &conf)).unwrap(), "");
        }
        let error = call(&mut sim, &step(plugin, "CHECK", "c1", NETNS, &with_prev)).unwrap_err();
        assert!(error.contains("104"), "{error}");
    }
}

/// A process that was killed between creation and renaming.
#[test]
fn del_finds_a_link_under_its_first_name() {
    let mut sim = host();
    let conf = conf(&Macvlan, "");
    sim.open_sandbox(NETNS).unwrap();
    let owner = picocni_core::owner::Owner { network: "net", container: "c1", ifname: IfName::of("eth0") };
    let first = crate::veth::host_name(&owner, picocni_core::limits::VETH_CANDIDATES);
    let parent = Some(sim.link(Ns::Host, &IfName::of("br0")).unwrap().unwrap().index);
    let kind = LinkKind::Macvlan(Default::default());
    sim.arrange(&[Change::CreateLink {
        from: Ns::Host,
        name: first,
        kind,
        parent,
        mac: None,
        mtu: 0,
        broadcast_queue: 0,
    }])
    .unwrap();
    call(&mut sim, &step(&Macvlan, "DEL", "c1", NETNS, &conf)).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    assert!(sim.link(Ns::Sandbox, &first).unwrap().is_none());
}

#[test]
fn the_master_is_the_default_routes_or_that_of_the_sandbox() {
    let mut sim = host();
    let without = conf(&Macvlan, "").replace(r#""master":"br0","#, "");
    call(&mut sim, &step(&Macvlan, "ADD", "c1", NETNS, &without)).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    let parent = sim.link(Ns::Host, &IfName::of("br0")).unwrap().unwrap().index;
    assert_eq!(sim.link(Ns::Sandbox, &IfName::of("eth0")).unwrap().unwrap().peer, Some(parent));
    call(&mut sim, &step(&Macvlan, "DEL", "c1", NETNS, &without)).unwrap();
    let inside = conf(&Macvlan, r#","linkInContainer":true"#).replace("br0", "lo");
    call(&mut sim, &step(&Macvlan, "ADD", "c1", NETNS, &inside)).unwrap();
    call(&mut sim, &step(&Macvlan, "DEL", "c1", NETNS, &inside)).unwrap();
    let inside = without.replacen('{', r#"{"linkInContainer":true,"#, 1);
    let error = call(&mut sim, &step(&Macvlan, "ADD", "c2", NETNS, &inside)).unwrap_err();
    assert!(error.contains("no default route interface found"), "{error}");
}

#[test]
fn refusals_leave_nothing() {
    let mut sim = host();
    for (plugin, extra, phrase) in [
        (&Macvlan as &'static dyn Plugin, r#","mode":"x""#, "unknown macvlan mode"),
        (&Macvlan, r#","mtu":1401"#, "invalid MTU"),
        (&Macvlan, r#","mtu":-1"#, "invalid MTU"),
        (&Macvlan, r#","mac":"01:00:00:00:00:01""#, "invalid MAC address"),
        (&Macvlan, r#","master":"gone0""#, "master interface not found"),
        (&Ipvlan, r#","mode":"l4""#, "unknown ipvlan mode"),
        (&Vlan, r#","vlanId":4095"#, "invalid VLAN ID"),
        (&Vlan, r#","mtu":1401"#, "invalid MTU"),
        (&Vlan, r#","master":"""#, "field is required"),
    ] {
        let conf = conf(plugin, extra);
        let error = call(&mut sim, &step(plugin, "ADD", "c1", NETNS, &conf)).unwrap_err();
        assert!(error.contains(phrase), "{extra}: {error}");
        assert_eq!(call(&mut sim, &step(plugin, "DEL", "c1", NETNS, &conf)).unwrap(), "", "DEL reads none of it");
    }
    let conf = conf(&Macvlan, "");
    assert!(call(&mut sim, &step(&Macvlan, "ADD", "c1", NETNS, &conf)).is_ok());
    let error = call(&mut sim, &step(&Macvlan, "ADD", "c1", NETNS, &conf)).unwrap_err();
    assert!(error.contains("container interface exists already"), "{error}");
}

#[test]
fn status_is_50_without_the_master() {
    let mut sim = host();
    for plugin in [&Macvlan as &'static dyn Plugin, &Ipvlan, &Vlan] {
        call(&mut sim, &step(plugin, "STATUS", "", "", &conf(plugin, ""))).unwrap();
        let gone = conf(plugin, "").replace("br0", "gone0");
        let error = call(&mut sim, &step(plugin, "STATUS", "", "", &gone)).unwrap_err();
        assert!(error.contains(r#""code":50"#) && error.contains("gone0"), "{error}");
    }
}

#[test]
fn ipvlan_takes_master_and_addresses_from_prev_result() {
    let mut sim = host();
    let conf = r#"{"cniVersion":"1.0.0","name":"net","type":"ipvlan","prevResult":{"cniVersion":"1.0.0",
        "interfaces":[{"name":"br0"}],"ips":[{"address":"10.1.0.9/24","interface":0}],"dns":{"domain":"x"}}}"#;
    let result = call(&mut sim, &step(&Ipvlan, "ADD", "c1", NETNS, conf)).unwrap();
    assert!(result.contains(r#""address":"10.1.0.9/24""#) && result.contains(r#""name":"eth0""#), "{result}");
    assert!(!result.contains("br0") && !result.contains("domain"), "{result}");
    let two = conf.replace(r#"{"name":"br0"}"#, r#"{"name":"br0"},{"name":"eth0"}"#);
    let error = call(&mut sim, &step(&Ipvlan, "ADD", "c2", NETNS, &two)).unwrap_err();
    assert!(error.contains("PrevResult lacks a single named interface"), "{error}");
}

#[test]
fn dummy_that_is_down_fails_check() {
    let mut sim = host();
    let conf = conf(&Dummy, "");
    let result = call(&mut sim, &step(&Dummy, "ADD", "c1", NETNS, &conf)).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    let set = LinkChange { up: Some(false), ..LinkChange::NONE };
    let link = LinkId::Name(IfName::of("eth0"));
    sim.arrange(&[Change::SetLink { ns: Ns::Sandbox, link, set, undo: Undo::WithLink }]).unwrap();
    let with_prev = conf
        .replacen('{', &format!(r#"{{"prevResult":{result},"#), 1)
        .replace(r#""routes":[{"dst":"0.0.0.0/0"#, r#""routes":[{"dst":"10.1.0.0/24"#);
    assert!(call(&mut sim, &step(&Dummy, "CHECK", "c1", NETNS, &with_prev)).is_err());
}
