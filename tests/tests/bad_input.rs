//! Hostile and broken input: a clear error each time, exit code 1, and a host that nothing has happened to.

use std::path::Path;

use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::{Outcome, kernel, skip};
use serde_json::{Value, json};

/// What containerd 1.6 sends to `bridge`, with every kind of value in it.
fn real_config() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "rtnet", "type": "bridge", "bridge": "rt0", "isGateway": true, "ipMasq": true,
        "hairpinMode": false, "mtu": 1400, "capabilities": {"ips": true, "mac": true}, "dns": {"nameservers": ["10.1.0.1"]},
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.88.0.0/16", "rangeStart": "10.88.0.10"}], [{"subnet": "2001:db8:4860::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "2001:db8:4860::1"}]
        },
        "runtimeConfig": {"mac": "02:11:22:33:44:55", "ips": []}
    })
}

/// Runs ADD with these bytes on stdin, and asserts that the host is as it was.
#[track_caller]
fn add(host: &Sandbox, plugin: &str, stdin: impl Into<Vec<u8>>) -> Outcome {
    let before = host.state();
    let outcome = host.call("ADD", plugin).netns(Path::new("/run/netns/pod")).stdin(stdin).run();
    assert_eq!(kernel::difference(&before, &host.state()), [""; 0], "{outcome}: the host has changed");
    outcome
}

#[test]
fn a_config_cut_anywhere_is_a_decode_error() {
    sandbox::run(|host| {
        let _pod = host.pod("pod");
        let whole = real_config().to_string();
        let before = host.state();
        for length in 0..whole.len() {
            let call = host.call("ADD", "bridge").netns(Path::new("/run/netns/pod"));
            let outcome = call.stdin(&whole.as_bytes()[..length]).run();
            assert_eq!(outcome.expect_failure().code, 6, "cut at byte {length}: {outcome}");
        }
        assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
    });
}

#[test]
fn a_config_of_more_than_64_kib_is_refused_by_name_of_the_limit() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the Go plugins read without a limit");
        }
        let _pod = host.pod("pod");
        for size in [64 * 1024 + 1, 1024 * 1024] {
            let mut conf = real_config();
            conf["padding"] = "x".repeat(size).into();
            let outcome = add(host, "bridge", conf.to_string());
            let error = outcome.expect_failure();
            assert!(outcome.stdin_taken, "stdin was not drained: a runtime would see EPIPE in place of {error:?}");
            let said = format!("{} {}", error.msg, error.details);
            assert!(said.contains(|c: char| c.is_ascii_digit()), "the limit is not named: {said}");
        }
    });
}

#[test]
fn ten_thousand_brackets_are_an_error_and_no_crash() {
    sandbox::run(|host| {
        let _pod = host.pod("pod");
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
            for text in [
                format!("{{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"type\":\"bridge\",\"x\":{deep}}}"),
                deep.clone(),
                open.repeat(10_000),
            ] {
                let outcome = add(host, "bridge", text);
                outcome.expect_failure();
            }
        }
    });
}

#[test]
fn bytes_that_are_not_json_are_decode_errors() {
    let cases: [&[u8]; 14] = [
        b"",
        b" ",
        b"\0",
        b"null",
        b"[]",
        b"5",
        b"\"text\"",
        b"{\"cniVersion\":\"1.0.0\",\0\"name\":\"net\"}",
        b"{\"cniVersion\":\"1.0.0\",\"name\":\"net\"}\0",
        b"{\"cniVersion\":\"1.0.0\",\"name\":\"net\"} {}",
        b"{\"cniVersion\":\"1.0.0\",\"name\":\"n\net\"}",
        b"{\"cniVersion\":\"1.0.0\",\"name\":\"net\",}",
        b"{'cniVersion':'1.0.0','name':'net'}",
        b"\xef\xbb\xbf{\"cniVersion\":\"1.0.0\",\"name\":\"net\"}",
    ];
    sandbox::run(|host| {
        let _pod = host.pod("pod");
        for plugin in picocni_tests::peer::plugins() {
            for stdin in cases {
                let code = add(host, plugin, stdin).expect_failure().code;
                // `null` decodes into an empty configuration, which then has no name.
                let expected = if stdin == b"null" && host.peer().is_go() { 7 } else { 6 };
                let name = String::from_utf8_lossy(stdin);
                assert!(code == expected || (stdin == b"null" && code == 7), "{plugin} {name:?}: code {code}");
            }
        }
    });
}

#[test]
fn invalid_utf8_is_an_error_even_in_keys_nobody_reads() {
    sandbox::run(|host| {
        let _pod = host.pod("pod");
        if host.peer().is_go() {
            skip!("Go replaces invalid UTF-8 by U+FFFD");
        }
        let around: (&[u8], &[u8]) =
            (b"{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"type\":\"bridge\",\"x\":\"", b"\"}");
        // A stray byte, a surrogate, an overlong slash, a sequence cut short, above U+10FFFF.
        for bad in [&b"\xff"[..], b"\xed\xa0\x80", b"\xc0\xaf", b"\xe2\x82", b"\xf4\x90\x80\x80"] {
            let stdin = [around.0, bad, around.1].concat();
            assert_eq!(add(host, "bridge", stdin).expect_failure().code, 6, "{bad:x?}");
        }
        for escape in ["\\ud800", "\\udc00\\ud800", "\\u12", "\\x"] {
            let stdin = [around.0, escape.as_bytes(), around.1].concat();
            assert_eq!(add(host, "bridge", stdin).expect_failure().code, 6, "{escape}");
        }
    });
}

#[test]
fn a_nul_in_a_name_never_cuts_it_short() {
    sandbox::run(|host| {
        let _pod = host.pod("pod");
        let mut conf = real_config();
        conf["name"] = "rt\0net".into();
        add(host, "bridge", conf.to_string()).expect_error(7, &["invalid characters found in network name"]);
        if host.peer().is_go() {
            skip!("Go makes a bridge called `rt` of `rt\\0x`");
        }
        let mut conf = real_config();
        conf["bridge"] = "rt\0x".into();
        add(host, "bridge", conf.to_string()).expect_failure();
    });
}

#[test]
fn values_of_a_wrong_type_are_refused_before_any_work() {
    let wrong: [(&str, &str, Value); 35] = [
        ("bridge", "/cniVersion", json!(1)),
        ("bridge", "/name", json!(["net"])),
        ("bridge", "/bridge", json!(5)),
        ("bridge", "/isGateway", json!("yes")),
        ("bridge", "/ipMasq", json!(1)),
        ("bridge", "/mtu", json!("1500")),
        ("bridge", "/mtu", json!(1.5)),
        ("bridge", "/mtu", json!(1e30)),
        ("bridge", "/vlan", json!("7")),
        ("bridge", "/capabilities", json!([true])),
        ("bridge", "/ipam", json!("host-local")),
        ("bridge", "/ipam/type", json!(5)),
        ("bridge", "/dns/nameservers", json!("10.1.0.1")),
        ("bridge", "/runtimeConfig/mac", json!(7)),
        ("host-local", "/ipam/ranges", json!({})),
        ("host-local", "/ipam/ranges/0/0/subnet", json!("10.88.0.0")),
        ("host-local", "/ipam/ranges/0/0/subnet", json!(10)),
        ("host-local", "/ipam/ranges/0/0/rangeStart", json!("10.88.0")),
        ("host-local", "/ipam/routes/0/dst", json!("everywhere")),
        ("host-local", "/ipam/routes/0", json!("0.0.0.0/0")),
        ("host-local", "/runtimeConfig/ips", json!(["10.88.0.300"])),
        ("tuning", "/sysctl", json!(["net.core.somaxconn"])),
        ("tuning", "/mtu", json!("1400")),
        ("sbr", "/table", json!("100")),
        ("sbr", "/table", json!(1.5)),
        ("sbr", "/prevResult", json!([])),
        ("vrf", "/vrfname", json!(7)),
        ("vrf", "/table", json!(-1)),
        ("bandwidth", "/ingressRate", json!("8000")),
        ("bandwidth", "/egressBurst", json!(-8)),
        ("bandwidth", "/runtimeConfig/bandwidth", json!({"ingressRate": 1.5})),
        ("firewall", "/ingressPolicy", json!(7)),
        ("firewall", "/firewalldZone", json!(5)),
        ("portmap", "/runtimeConfig/portMappings", json!({})),
        ("portmap", "/runtimeConfig/portMappings", json!([{"hostPort": "80", "containerPort": 80, "protocol": "tcp"}])),
    ];
    sandbox::run(|host| {
        let _pod = host.pod("pod");
        for (plugin, pointer, value) in wrong {
            let mut conf = real_config();
            conf["type"] = plugin.into();
            if matches!(plugin, "tuning" | "portmap" | "firewall" | "bandwidth" | "sbr" | "vrf") {
                conf["prevResult"] = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.88.0.9/16"}]});
                for key in ["mtu", "ipam"] {
                    conf.as_object_mut().expect("an object").remove(key);
                }
            }
            match conf.pointer_mut(pointer) {
                Some(place) => *place = value.clone(),
                None => match pointer.rsplit_once('/') {
                    Some(("", key)) => conf[key] = value.clone(),
                    Some((parent, key)) => conf.pointer_mut(parent).expect("a parent")[key] = value.clone(),
                    None => unreachable!("every pointer has a slash"),
                },
            }
            println!("{plugin} {pointer} = {value}");
            let outcome = add(host, plugin, conf.to_string());
            assert_eq!(outcome.code, Some(1), "{plugin} {pointer} = {value}: {outcome}");
            outcome.expect_failure();
        }
    });
}

#[test]
fn a_bad_mac_is_refused_before_any_work() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the Go plugin has made the bridge by then");
        }
        let _pod = host.pod("pod");
        for mac in ["not a mac", "02:00:00:00:00", "02:00:00:00:00:01:02", "02:00:00:00:00:zz"] {
            let mut conf = real_config();
            conf["runtimeConfig"]["mac"] = mac.into();
            add(host, "bridge", conf.to_string()).expect_phrases(&[mac]);
        }
    });
}

#[test]
fn plugin_types_never_become_paths() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        for name in ["../bin/true", "/bin/true", "a/b", "..", "."] {
            let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": {"type": name}});
            let outcome = host.call("ADD", "bridge").netns(pod.path()).conf(&conf).run();
            outcome.expect_failure();
        }
    });
}
