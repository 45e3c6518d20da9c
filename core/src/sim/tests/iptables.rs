//! Rules as text: what the model refuses, and what it undoes.

use super::*;
use crate::error::Code;
use crate::iptables::{Lines, Script};
use crate::text::fits;

fn rules(sim: &mut SimBackend) -> heapless::Vec<heapless::String<128>, 16> {
    let mut all = heapless::Vec::new();
    sim.iptables_rules(false, "nat", &mut |line| {
        if !line.ends_with("ACCEPT [0:0]") {
            all.push(fits(&[&line]).unwrap()).unwrap();
        }
    })
    .unwrap();
    all
}

fn apply(sim: &mut SimBackend, change: Change<'_>) -> Result<bool> {
    reports(sim, &[change]).pop().unwrap()
}

fn ensure(sim: &mut SimBackend, write: &dyn Fn(&mut Script)) -> Result<()> {
    let mut script = Script::new("nat");
    write(&mut script);
    let text = script.finish().unwrap();
    apply(sim, Change::EnsureIptables { v6: false, text }).map(|_| ())
}

#[test]
fn a_chain_goes_with_the_jumps_to_it() {
    let mut sim = host();
    ensure(&mut sim, &|script| {
        script.shared_chain("SHARED");
        script.append("SHARED", &"-j RETURN");
    })
    .unwrap();
    let before = rules(&mut sim);
    for _ in 0..2 {
        let mut script = Script::new("nat");
        script.own_chain("OWN");
        script.append("OWN", &"-j ACCEPT");
        script.insert("SHARED", &"-p tcp -j OWN");
        let change = Change::Iptables { v6: false, table: "nat", chain: "OWN", text: script.finish().unwrap() };
        let mut inverse = None;
        sim.apply(&[change], &mut |_, outcome| inverse = Some(outcome.unwrap().is_some()));
        assert_eq!(inverse, Some(true));
        let now = rules(&mut sim);
        assert_eq!(now.get(1).map(|line| line.as_str()), Some("-A SHARED -p tcp -j OWN"), "{now:?}");
        let removal = Removal::IptablesChain { v6: false, table: "nat", chain: "OWN" };
        sim.remove(&[removal, removal], &mut |_, outcome| outcome.unwrap());
        assert_eq!(rules(&mut sim), before);
    }
}

#[test]
fn a_script_that_fails_changes_nothing() {
    let mut sim = host();
    for wrong in ["-A NONE -j ACCEPT", "-N TWICE", "-D TWICE -j ACCEPT", "-X TWICE", "-E A B"] {
        let outcome = ensure(&mut sim, &|script| {
            script.shared_chain("TWICE");
            script.append("TWICE", &"-j TWICE");
            script.line(&[&wrong]);
        });
        assert!(outcome.is_err(), "{wrong}");
        assert!(rules(&mut sim).is_empty(), "{wrong}");
    }
    sim.set_iptables_missing(true);
    assert_eq!(ensure(&mut sim, &|script| script.shared_chain("X")).unwrap_err().code(), Code::NOT_AVAILABLE);
}

#[test]
fn rules_among_others_go_alone() {
    let mut sim = host();
    ensure(&mut sim, &|script| script.append("FORWARD", &"-j ACCEPT")).unwrap();
    let before = rules(&mut sim);
    let lines: Lines = fits(&[&"FORWARD -s 10.1.1.2/32 -j ACCEPT\nFORWARD -d 10.1.1.2/32 -j ACCEPT\n"]).unwrap();
    let change = Change::IptablesRules { v6: false, table: "nat", rules: &lines };
    there_and_back(&mut sim, change);
    assert!(apply(&mut sim, change).unwrap());
    assert_eq!(rules(&mut sim).len(), 3);
    let removal = Removal::IptablesRules { v6: false, table: "nat", rules: &lines };
    sim.remove(&[removal, removal], &mut |_, outcome| outcome.unwrap());
    assert_eq!(rules(&mut sim), before);
}
