//! Configs that ADD refuses, each with its code and phrase.

extern crate std;

use std::format;
use std::vec::Vec;

use super::{Host, WEB, config, v4};

#[test]
fn wrong_mappings() {
    let cases = [
        (r#"{"hostPort":0,"containerPort":80}"#, 7, "Invalid host port number"),
        (r#"{"hostPort":65536,"containerPort":80}"#, 7, "65536 (1 to 65535)"),
        (r#"{"hostPort":-1,"containerPort":80}"#, 7, "Invalid host port number"),
        (r#"{"hostPort":80,"containerPort":0}"#, 7, "Invalid container port number"),
        (r#"{"hostPort":80}"#, 7, "Invalid container port number"),
        (r#"{"hostPort":"80","containerPort":80}"#, 6, "hostPort"),
        (r#"{"hostPort":80,"containerPort":80,"protocol":"icmp"}"#, 7, "invalid protocol"),
        (r#"{"hostPort":80,"containerPort":80,"hostIP":"localhost"}"#, 7, "invalid host IP"),
        (r#"{"hostPort":80,"containerPort":80,"hostIP":"010.0.0.1"}"#, 7, "invalid host IP"),
        (r#"{"hostPort":80,"containerPort":80},{"hostPort":80,"containerPort":81}"#, 7, "host port is mapped twice"),
    ];
    for (mappings, code, phrase) in cases {
        let (got, text) = Host::new().call("ADD", 1, &v4(1, mappings)).unwrap_err();
        assert!(got == code && text.contains(phrase), "{mappings}: {text}");
    }
}

#[test]
fn keys_of_other_backends() {
    let cases = [
        (r#""backend":"ebpf","#, 7, "unrecognized backend"),
        (r#""externalSetMarkChain":"a\"b","#, 7, "invalid externalSetMarkChain"),
        (r#""externalSetMarkChain":"X","markMasqBit":1,"#, 7, "Cannot specify externalSetMarkChain and markMasqBit"),
        (r#""markMasqBit":32,"#, 7, "MasqMarkBit must be between 0 and 31"),
        (r#""markMasqBit":-1,"#, 7, "MasqMarkBit must be between 0 and 31"),
        (r#""conditionsV6":[["x"]],"#, 6, "conditionsV6"),
        (r#""backend":"iptables","conditionsV4":["-i","a\nb"],"#, 7, "invalid condition"),
    ];
    for (keys, code, phrase) in cases {
        let (got, text) = Host::new().call("ADD", 1, &config(1, &["10.88.0.1/16"], keys, WEB)).unwrap_err();
        assert!(got == code && text.contains(phrase), "{keys}: {text}");
    }
    // Options of one backend, and the other one asked for: in the words of the reference plugin.
    let iptables = "nftables backend was requested but configuration contains iptables-specific options";
    let nftables = "iptables backend was requested but configuration contains nftables-specific options";
    for (keys, phrase, options) in [
        (r#""backend":"nftables","externalSetMarkChain":"X","#, iptables, "[externalSetMarkChain]"),
        (
            r#""backend":"nftables","conditionsV4":["!","-s","1.2.3.4"],"conditionsV6":["-i","x"],"#,
            iptables,
            "[conditionsV4 conditionsV6]",
        ),
        (r#""backend":"iptables","conditionsV6":["ip6","saddr","::1"],"#, nftables, "[conditionsV6]"),
        (r#""conditionsV4":["ip","saddr","1.2.3.4"],"conditionsV6":["-i","x"],"#, nftables, "[conditionsV4]"),
        (r#""conditionsV4":["ip","saddr","1.2.3.4"],"externalSetMarkChain":"X","#, nftables, "[conditionsV4]"),
    ] {
        let (code, text) = Host::new().call("ADD", 1, &config(1, &["10.88.0.1/16"], keys, "")).unwrap_err();
        assert!(code == 7 && text.contains(phrase) && text.contains(options), "{keys}: {text}");
    }
    let fine =
        r#""backend":"nftables","markMasqBit":31,"conditionsV4":[],"conditionsV6":null,"externalSetMarkChain":"","#;
    Host::new().call("ADD", 1, &config(1, &["10.88.0.1/16"], fine, "")).unwrap();
}

#[test]
fn prev_result_is_needed() {
    let conf = r#"{"cniVersion":"1.1.0","name":"net","type":"portmap",
        "runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80}]}}"#;
    for command in ["ADD", "CHECK"] {
        let (code, text) = Host::new().call(command, 1, conf).unwrap_err();
        assert!(code == 7 && text.contains("Required prevResult missing"), "{text}");
    }
}

#[test]
fn an_endless_list_names_the_limit() {
    let list: Vec<_> = (1..=129).map(|n| format!(r#"{{"hostPort":{n},"containerPort":1}}"#)).collect();
    let (code, text) = Host::new().call("ADD", 1, &v4(1, &list.join(","))).unwrap_err();
    assert!(code == 100 && text.contains("PORT_MAPPINGS"), "{text}");
}
