//! Ports published by iptables.

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use picocni_core::backend::Backend;
use picocni_core::sim::SimBackend;

use super::faults::{prove, step};
use super::watched::Watched;
use super::{DNS, Host, WEB, config, run};

const BACKEND: &str = r#""backend":"iptables","#;

fn dual(container: u8, more: &str, mappings: &str) -> String {
    config(container, &["10.88.0.{}/16", "fd00:88::{}/64"], &format!("{BACKEND}{more}"), mappings)
}

/// The rules of a family, without the chains that a kernel has from the start.
fn rules(sim: &mut SimBackend, v6: bool) -> Vec<String> {
    let mut all = Vec::new();
    sim.iptables_rules(v6, "nat", &mut |line| all.push(line.to_string())).unwrap();
    all.retain(|line| !line.contains("ACCEPT ["));
    all
}

/// The chain of the only attachment.
fn own_chain(sim: &mut SimBackend) -> String {
    let line = rules(sim, false).into_iter().find(|line| line.starts_with(":CNI-DN-")).unwrap();
    line[1..].split(' ').next().unwrap().to_string()
}

#[test]
fn the_rules_are_those_of_the_reference_plugin() {
    let mut host = Host::new();
    host.call("ADD", 1, &dual(1, "", &format!("{WEB},{DNS}"))).unwrap();
    let chain = own_chain(&mut host.sim);
    let v4 = [
        ":CNI-HOSTPORT-DNAT - [0:0]",
        ":CNI-HOSTPORT-SETMARK - [0:0]",
        ":CNI-HOSTPORT-MASQ - [0:0]",
        r#"-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000"#,
        "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
        r#"-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ"#,
        "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        ":X - [0:0]",
        "-A X -s 10.88.0.0/16 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
        "-A X -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
        "-A X -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.88.0.1:80",
        "-A X -s 10.88.0.0/16 -d 192.0.2.1/32 -p udp -m udp --dport 53 -j CNI-HOSTPORT-SETMARK",
        "-A X -s 127.0.0.1/32 -d 192.0.2.1/32 -p udp -m udp --dport 53 -j CNI-HOSTPORT-SETMARK",
        "-A X -d 192.0.2.1/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.88.0.1:5353",
        r#"-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"net\" id: \"c1\"" -m multiport --dports 8080 -j X"#,
        r#"-A CNI-HOSTPORT-DNAT -p udp -m comment --comment "dnat name: \"net\" id: \"c1\"" -m multiport --dports 53 -j X"#,
    ];
    let now: Vec<String> = rules(&mut host.sim, false).iter().map(|line| line.replace(&chain, "X")).collect();
    assert_eq!(now, v4);
    let v6: Vec<String> = rules(&mut host.sim, true).iter().map(|line| line.replace(&chain, "X")).collect();
    assert_eq!(v6[9], "-A X -s fd00:88::/64 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK");
    assert_eq!(v6[10], "-A X -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00:88::1]:80");
    // A mapping for an address of the other family is named in the jump all the same.
    assert_eq!(v6.len(), 13);
    assert!(host.sim.snapshot().lines().any(|line| line.contains("cni0/route_localnet = 1")));
}

#[test]
fn marks_are_as_asked() {
    let line = |more: &str, wanted: &str| {
        let mut host = Host::new();
        host.call("ADD", 1, &dual(1, more, WEB)).unwrap();
        let all = rules(&mut host.sim, false);
        assert!(all.iter().any(|line| line.contains(wanted)), "{more}: {all:#?}");
        all.len()
    };
    assert_eq!(line("", "0x2000/0x2000"), 13);
    assert_eq!(line(r#""markMasqBit":31,"#, "--set-xmark 0x80000000/0x80000000"), 13);
    // Anybody, and nobody twice.
    assert_eq!(line(r#""masqAll":true,"#, " -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK"), 12);
    assert_eq!(line(r#""snat":false,"#, "-j DNAT"), 6);
    let (code, text) =
        Host::new().call("ADD", 1, &dual(1, r#""externalSetMarkChain":"KUBE-MARK-MASQ","#, WEB)).unwrap_err();
    assert!(code == 101, "the chain is somebody else's, and not there: {text}");
}

#[test]
fn twenty_ports_are_two_jumps_and_conditions_are_words() {
    let mut host = Host::new();
    let list: Vec<String> = (1..=20).map(|n| format!(r#"{{"hostPort":{n},"containerPort":{n}}}"#)).collect();
    host.call("ADD", 1, &dual(1, r#""conditionsV4":["!","-s","192.0.2.0/24"],"#, &list.join(","))).unwrap();
    let jumps: Vec<String> = rules(&mut host.sim, false).into_iter().filter(|line| line.contains("--dports")).collect();
    assert_eq!(jumps.len(), 2, "{jumps:?}");
    assert!(jumps[0].contains(r#"--dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15 "!" -s "192.0.2.0/24" -j"#), "{jumps:?}");
    assert!(!rules(&mut host.sim, true).iter().any(|line| line.contains("192.0.2.0")));
}

#[test]
fn repeated_calls_leave_one_set_of_rules_and_del_leaves_what_pods_share() {
    let mut host = Host::new();
    let conf = dual(1, "", &format!("{WEB},{DNS}"));
    let before = Box::new(host.sim.snapshot().without_shared());
    host.call("ADD", 1, &conf).unwrap();
    let added = Box::new(host.sim.snapshot());
    host.call("CHECK", 1, &conf).unwrap();
    host.call("ADD", 1, &conf).unwrap();
    assert_eq!(*added, host.sim.snapshot());
    // Nothing is known of it any more: the chain itself tells.
    host.sim.remove(
        &[picocni_core::op::Removal::RemoveFile { path: "/run/cni/picocni/portmap/attachments/net:c1:eth0" }],
        &mut |_, outcome| outcome.unwrap(),
    );
    host.call("ADD", 1, &conf).unwrap();
    assert_eq!(*added, host.sim.snapshot());
    for _ in 0..2 {
        host.call("DEL", 1, r#"{"cniVersion":"1.1.0","name":"net","type":"portmap"}"#).unwrap();
        assert_eq!(*before, host.sim.snapshot().without_shared());
    }
    assert_eq!(rules(&mut host.sim, false).len(), 8);
}

#[test]
fn check_tells_what_is_missing() {
    let conf = dual(1, "", &format!("{WEB},{DNS}"));
    for missing in ["-j DNAT", "--dports 53", "127.0.0.1/32", ""] {
        let mut host = Host::new();
        host.call("ADD", 1, &conf).unwrap();
        let line = rules(&mut host.sim, false).into_iter().find(|line| line.contains(missing) && !missing.is_empty());
        let mut script = picocni_core::iptables::Script::new("nat");
        if let Some(line) = &line {
            script.line(&[&"-D ", &line.strip_prefix("-A ").unwrap()]);
        }
        let text = script.finish().unwrap();
        host.sim.arrange(&[picocni_core::op::Change::EnsureIptables { v6: false, text }]).unwrap();
        let outcome = host.call("CHECK", 1, &conf);
        // Another mark is left in the place of one: it is told only when none is.
        assert_eq!(outcome.is_err(), line.is_some() && missing != "127.0.0.1/32", "{missing} {outcome:?}");
    }
}

#[test]
fn a_port_is_one_attachments_whoever_publishes_it() {
    let mut host = Host::new();
    host.call("ADD", 1, &dual(1, "", WEB)).unwrap();
    let (code, text) = host.call("ADD", 2, &super::dual(2, WEB)).unwrap_err();
    assert!(code == 103 && text.contains("container c1"), "{text}");
    host.call("DEL", 1, &dual(1, "", WEB)).unwrap();
    host.call("ADD", 2, &super::dual(2, WEB)).unwrap();
    assert_eq!(host.call("ADD", 1, &dual(1, "", WEB)).unwrap_err().0, 103);
}

#[test]
fn who_waits_has_rules_and_gets_the_claim() {
    let mut host = Host::new();
    let second =
        dual(1, "", WEB).replace("\"name\":\"net\"", "\"name\":\"second\"").replace("10.88.0.1/", "10.88.9.1/");
    let before = Box::new(host.sim.snapshot().without_shared());
    host.call("ADD", 1, &dual(1, "", WEB)).unwrap();
    host.call("ADD", 1, &second).unwrap();
    let jumps = |host: &mut Host| {
        let all = rules(&mut host.sim, false);
        all.into_iter().filter(|line| line.contains("--dports")).collect::<Vec<String>>()
    };
    let both = jumps(&mut host);
    assert!(both.len() == 2 && both[0].contains(r#"name: \"net\""#), "the first comes first: {both:?}");
    host.call("DEL", 1, &dual(1, "", WEB)).unwrap();
    assert_eq!(jumps(&mut host), both[1..]);
    host.call("CHECK", 1, &second).unwrap();
    assert_eq!(host.call("ADD", 2, &dual(2, "", WEB)).unwrap_err().0, 103);
    host.call("DEL", 1, &second).unwrap();
    assert_eq!(*before, host.sim.snapshot().without_shared());
}

#[test]
fn without_nf_tables_iptables_is_taken_unasked() {
    let mut host = Host::new();
    host.sim.set_filter_missing(true);
    let plain = config(1, &["10.88.0.{}/16"], "", WEB);
    host.call("ADD", 1, &plain).unwrap();
    assert_eq!(rules(&mut host.sim, false).len(), 13);
    host.call("CHECK", 1, &plain).unwrap();
    host.call("DEL", 1, &plain).unwrap();
    // Options that only iptables has decide where both are there; a bit does not.
    let mut host = Host::new();
    for (more, by_iptables) in
        [(r#""conditionsV4":["-i","eth9"],"#, true), (r#""markMasqBit":3,"#, false), (r#""conditionsV4":[],"#, false)]
    {
        let conf = config(1, &["10.88.0.{}/16"], more, WEB);
        host.call("ADD", 1, &conf).unwrap();
        let record = host.record(1).unwrap();
        assert_eq!(record.contains("iptables 4 CNI-DN-"), by_iptables, "{more}: {record}");
        host.call("DEL", 1, &conf).unwrap();
    }
}

#[test]
fn every_operation_fails_once() {
    let conf = dual(1, "", &format!("{WEB},{DNS}"));
    // Two chains of iptables-legacy in each family, that the plugins before may have left; record, three claims, shared
    // and own rules of two families, the sysctl, one purge.
    assert_eq!(prove(&[], step("ADD", "c1", "/run/netns/c1", &conf), false), 4 + 10);
    assert!(prove(&[], step("ADD", "c1", "/run/netns/c1", &conf), true) >= 15);
    let before = [step("ADD", "c1", "/run/netns/c1", &conf)];
    // Two chains, one purge, three claims, the record.
    assert_eq!(prove(&before, step("DEL", "c1", "", &conf), false), 7);
    assert!(prove(&before, step("DEL", "c1", "", &conf), true) > 10);
    let gc = r#"{"cniVersion":"1.1.0","name":"net","type":"portmap","cni.dev/valid-attachments":[]}"#;
    assert_eq!(prove(&before, step("GC", "", "", gc), false), 7);
}

#[test]
fn killed_anywhere() {
    let conf = dual(1, "", &format!("{WEB},{DNS}"));
    let mut host = Host::new();
    let before = Box::new(host.sim.snapshot().without_shared());
    for lasts in 0.. {
        let mut dying = Watched::new(&mut host.sim);
        dying.lasts = lasts;
        let ended = run(&mut dying, "ADD", 1, &conf).is_ok();
        host.sim.end_process();
        host.call("DEL", 1, &conf).unwrap();
        assert_eq!(*before, host.sim.snapshot().without_shared(), "killed after {lasts} operations");
        if ended {
            // What pods share was made before.
            assert_eq!(lasts, 4 + 8);
            break;
        }
    }
}
