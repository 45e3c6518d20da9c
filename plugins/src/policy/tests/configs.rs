//! What a config says.

use std::vec;
use std::vec::Vec;

use picocni_core::limits;
use picocni_core::op::PolicyLine;
use picocni_core::text::fits;

use super::*;
use crate::policy::conf::{Conf, KEYS};

/// The error object that ADD prints.
fn error(keys: &str) -> String {
    let mut text = String::new();
    on_host(|sim| text = call(sim, &step(&Policy, "ADD", "c1", NETNS, &config(keys))).unwrap_err());
    text
}

#[test]
fn errors_name_the_place_and_what_is_allowed() {
    for (keys, words) in [
        (r#""policyTypes":["ingress"],"#, ["policyTypes[0]", "Ingress"]),
        (r#""policyTypes":"Ingress","#, ["policyTypes", "a list"]),
        (r#""policyTypes":["Egress"],"ingress":[{}],"#, ["ingress has rules", "policyTypes does not name it"]),
        (r#""ingress":{},"#, ["ingress is {}", "a list"]),
        (r#""ingress":[{"form":[]}],"#, ["ingress[0]", "form"]),
        (r#""ingress":[{"to":[]}],"#, ["ingress[0]", "served are from ports"]),
        (r#""egress":[{"from":[]}],"#, ["egress[0]", "served are to ports"]),
        (r#""ingress":[{},{"from":[{}]}],"#, ["ingress[1].from[0]", "ipBlock"]),
        (r#""ingress":[{"from":[{"podSelector":{}}]}],"#, ["ingress[0].from[0].podSelector", "labels"]),
        (r#""ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0"}}]}],"#, ["from[0].ipBlock.cidr", "10.0.0.0"]),
        (r#""ingress":[{"from":[{"ipBlock":{"except":[]}}]}],"#, ["ipBlock.cidr is missing", "ADDRESS/PREFIX"]),
        (
            r#""ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16","11.0.0.0/16"]}}]}],"#,
            ["ipBlock.except[1]", "no part of 10.0.0.0/8"],
        ),
        (
            r#""ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.0.0.0/8"]}}]}],"#,
            ["except[0]", "no part of"],
        ),
        (
            r#""ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["fd00::/16"]}}]}],"#,
            ["except[0]", "no part of"],
        ),
        (r#""ingress":[{"ports":[{"port":0}]}],"#, ["ingress[0].ports[0].port is 0", "1 to 65535"]),
        (r#""ingress":[{"ports":[{"port":65536}]}],"#, ["ports[0].port", "1 to 65535"]),
        (r#""ingress":[{"ports":[{"port":"http"}]}],"#, ["ports[0].port", "is a name"]),
        (r#""ingress":[{"ports":[{"port":80,"endPort":79}]}],"#, ["ports[0].endPort is 79", "port to 65535"]),
        (r#""ingress":[{"ports":[{"endPort":79}]}],"#, ["ports[0].endPort", "where the range begins"]),
        (r#""ingress":[{"ports":[{"protocol":"ICMP"}]}],"#, ["ports[0].protocol", "SCTP"]),
        (r#""runtimeConfig":{"policy":{"ingres":[]}},"#, ["runtimeConfig.policy", "ingres"]),
        (
            r#""runtimeConfig":{"policy":{"egress":[{"ports":[{"port":-1}]}]}},"#,
            ["runtimeConfig.policy.egress[0]", "-1"],
        ),
        (r#""runtimeConfig":{"policy":[]},"#, ["runtimeConfig.policy is []", "an object"]),
        // The config's own is checked even if the runtime's stands for it.
        (r#""ingress":[{"form":[]}],"runtimeConfig":{"policy":{}},"#, ["ingress[0]", "form"]),
    ] {
        let error = error(keys);
        for word in words {
            assert!(error.contains(word), "{keys}: {word}: {error}");
        }
    }
}

/// What a config isolates, and its lines.
fn read(keys: &str) -> Option<(bool, bool, Vec<String>)> {
    let text = format!(r#"{{{keys}"name":"net"}}"#);
    let mut canonical = vec![0u8; 65536];
    let document = picocni_core::json::scan(text.as_bytes(), KEYS, &mut canonical).unwrap();
    let conf = Conf::read(document.canonical()).unwrap()?;
    let line = |line: &PolicyLine| fits::<96>(&[line]).unwrap().as_str().into();
    Some((conf.ingress, conf.egress, conf.lines.iter().map(line).collect()))
}

#[test]
fn directions_are_named_or_follow_from_the_rules() {
    for (keys, isolated) in [
        ("", None),
        (r#""policyTypes":null,"egress":null,"runtimeConfig":{"policy":null},"#, None),
        (r#""policyTypes":[],"#, Some((true, false))),
        (r#""ingress":[],"#, Some((true, false))),
        (r#""egress":[],"#, Some((true, true))),
        (r#""policyTypes":["Egress"],"#, Some((false, true))),
        (r#""policyTypes":["Egress"],"ingress":[],"#, Some((false, true))),
        (r#""policyTypes":["Ingress","Egress"],"#, Some((true, true))),
        // A runtime's takes the place of the whole.
        (r#""policyTypes":["Egress"],"runtimeConfig":{"policy":{}},"#, Some((true, false))),
        (r#""runtimeConfig":{"policy":{"policyTypes":["Egress"]}},"#, Some((false, true))),
    ] {
        assert_eq!(read(keys).map(|(ingress, egress, _)| (ingress, egress)), isolated, "{keys}");
    }
}

#[test]
fn a_rule_is_every_pair_of_a_peer_and_a_port() {
    let keys = r#""ingress":[
        {"from":[{"ipBlock":{"cidr":"10.1.2.3/8","except":["10.1.0.0/16","10.2.0.0/16"]}},{"ipBlock":{"cidr":"::/0"}}],
         "ports":[{"port":80,"endPort":90},{"protocol":"udp","port":53}]},
        {"from":null,"ports":[{"protocol":"SCTP"}]},{}],"egress":[{"to":[{"ipBlock":{"cidr":"0.0.0.0/0"}}],"ports":[]}],"#;
    let (_, _, lines) = read(keys).unwrap();
    assert_eq!(
        lines,
        [
            "ingress 10.0.0.0/8 protocol 6 ports 80-90",
            "except 10.1.0.0/16",
            "except 10.2.0.0/16",
            "ingress 10.0.0.0/8 protocol 17 ports 53-53",
            "except 10.1.0.0/16",
            "except 10.2.0.0/16",
            "ingress ::/0 protocol 6 ports 80-90",
            "ingress ::/0 protocol 17 ports 53-53",
            "ingress any protocol 132 ports 0-65535",
            "ingress any",
            "egress 0.0.0.0/0",
        ]
    );
}

#[test]
fn a_policy_over_the_limit_is_refused() {
    let blocks = vec![r#"{"ipBlock":{"cidr":"10.0.0.0/8"}}"#; limits::POLICY_LINES].join(",");
    let (_, _, lines) = read(&format!(r#""ingress":[{{"from":[{blocks}]}}],"#)).unwrap();
    assert_eq!(lines.len(), limits::POLICY_LINES);
    for keys in [
        format!(r#""ingress":[{{"from":[{blocks}]}},{{}}],"#),
        format!(r#""ingress":[{{"from":[{blocks}],"ports":[{{}},{{"port":1}}]}}],"#),
        format!(r#""egress":[{{"ports":[{}]}}],"#, vec!["{}"; limits::POLICY_LINES + 1].join(",")),
    ] {
        let error = error(&keys);
        assert!(error.contains("\"code\":100,") && error.contains("POLICY_LINES"), "{error}");
    }
}
