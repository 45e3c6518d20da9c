//! `ipMasq` by iptables, by way of `ptp`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use picocni_core::backend::Backend;
use picocni_core::iptables::Script;
use picocni_core::op::Change;
use picocni_core::sim::SimBackend;

use crate::proof::{call, on_large_stack, prove, step};
use crate::ptp::Ptp;

const NETNS: &str = "/run/netns/a";
const CONF: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"ptp","ipMasq":true,"ipMasqBackend":"iptables",
    "ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00:1::/64"}]]}}"#;

fn build(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
}

fn host() -> Box<SimBackend> {
    let mut sim = on_large_stack(|| Box::new(SimBackend::new()));
    build(&mut sim);
    sim
}

fn rules(sim: &mut SimBackend, v6: bool) -> Vec<String> {
    let mut all = Vec::new();
    sim.iptables_rules(v6, "nat", &mut |line| all.push(line.to_string())).unwrap();
    all.retain(|line| !line.contains("ACCEPT ["));
    all
}

#[test]
fn every_operation_fails_once_and_nothing_is_left() {
    let add = step(&Ptp, "ADD", "c1", NETNS, CONF);
    assert!(prove(&build, &[], add, true) >= 30);
    assert!(prove(&build, &[add], step(&Ptp, "DEL", "c1", "", CONF), true) >= 6);
    let gc = CONF.replacen('{', r#"{"cni.dev/valid-attachments":[],"#, 1);
    assert!(prove(&build, &[add], step(&Ptp, "GC", "", "", &gc), false) >= 6);
}

#[test]
fn rules_are_made_checked_and_removed() {
    let mut sim = host();
    let result = call(&mut sim, &step(&Ptp, "ADD", "c1", NETNS, CONF)).unwrap();
    let lines = rules(&mut sim, false);
    let chain = lines[0][1..].split(' ').next().unwrap().to_string();
    assert!(chain.starts_with("CNI-") && chain.len() == 28, "{chain}");
    let named = r#"-m comment --comment "name: \"net\" id: \"c1\"""#;
    assert_eq!(
        lines[1..],
        [
            format!("-A {chain} -d 10.1.0.0/24 {named} -j ACCEPT"),
            format!("-A {chain} ! -d 224.0.0.0/4 {named} -j MASQUERADE"),
            format!("-A POSTROUTING -s 10.1.0.2/32 {named} -j {chain}"),
        ]
    );
    assert_eq!(rules(&mut sim, true)[2], format!("-A {chain} ! -d ff00::/8 {named} -j MASQUERADE"));
    let with_prev = CONF.replacen('{', &format!(r#"{{"prevResult":{result},"#), 1);
    // What the config says of the backend by then does not matter: the record knows.
    let other = with_prev.replace(r#""iptables""#, r#""nftables""#);
    for conf in [&with_prev, &other] {
        call(&mut sim, &step(&Ptp, "CHECK", "c1", NETNS, conf)).unwrap();
    }
    for line in &lines[2..] {
        let mut script = Script::new("nat");
        script.line(&[&"-D ", &line.strip_prefix("-A ").unwrap()]);
        let text = script.finish().unwrap();
        sim.arrange(&[Change::EnsureIptables { v6: false, text }]).unwrap();
        let error = call(&mut sim, &step(&Ptp, "CHECK", "c1", NETNS, &with_prev)).unwrap_err();
        assert!(error.contains("address is not masqueraded"), "{line}: {error}");
        let mut script = Script::new("nat");
        script.line(&[&line.as_str()]);
        let text = script.finish().unwrap();
        sim.arrange(&[Change::EnsureIptables { v6: false, text }]).unwrap();
        call(&mut sim, &step(&Ptp, "CHECK", "c1", NETNS, &with_prev)).unwrap();
    }
    call(&mut sim, &step(&Ptp, "DEL", "c1", NETNS, &other)).unwrap();
    assert!(rules(&mut sim, false).is_empty() && rules(&mut sim, true).is_empty());
}

#[test]
fn the_backend_is_chosen_by_what_there_is() {
    let any = CONF.replace(r#""ipMasqBackend":"iptables","#, "");
    let mut sim = host();
    call(&mut sim, &step(&Ptp, "ADD", "c1", NETNS, &any)).unwrap();
    assert!(rules(&mut sim, false).is_empty());
    let mut sim = host();
    sim.set_filter_missing(true);
    call(&mut sim, &step(&Ptp, "STATUS", "", "", &any)).unwrap();
    call(&mut sim, &step(&Ptp, "ADD", "c1", NETNS, &any)).unwrap();
    assert_eq!(rules(&mut sim, false).len(), 4);
    let native = CONF.replace(r#""iptables""#, r#""nftables""#);
    let error = call(&mut sim, &step(&Ptp, "STATUS", "", "", &native)).unwrap_err();
    assert!(error.contains(r#""code":50"#), "{error}");
    sim.set_iptables_missing(true);
    for conf in [CONF, &any] {
        let error = call(&mut sim, &step(&Ptp, "STATUS", "", "", conf)).unwrap_err();
        assert!(error.contains(r#""code":50"#) && error.contains("iptables is not installed"), "{error}");
    }
    let without = any.replace(r#""ipMasq":true"#, r#""ipMasq":false"#);
    call(&mut sim, &step(&Ptp, "STATUS", "", "", &without)).unwrap();
}
