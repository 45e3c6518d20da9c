//! What every plugin owes a runtime before it does anything: environment, verbs, versions, error objects
//! (CNI specification 1.1.0 sections 2 and 5; rows 1 to 12 of `parity.tsv`). Black box: only processes and bytes.

use std::path::Path;

use picocni_tests::Call;
use picocni_tests::kernel::{self, LinkType};
use picocni_tests::netns::Netns;
use picocni_tests::peer::plugins;
use picocni_tests::sandbox::{self, Sandbox};
use serde_json::{Value, json};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The versions that a plugin serves.
fn versions_of(plugin: &str) -> &'static [&'static str] {
    match plugin {
        "bandwidth" => &VERSIONS[2..],
        "vrf" => &VERSIONS[3..],
        "firewall" => &VERSIONS[4..],
        _ => &VERSIONS,
    }
}

/// A configuration that every plugin can read; none gets as far as acting on it in these tests.
fn conf(version: &str) -> Value {
    json!({"cniVersion": version, "name": "net", "type": "any"})
}

fn complete(host: &Sandbox, command: &str, plugin: &str) -> Call {
    host.call(command, plugin).netns(Path::new("/run/netns/none")).conf(&conf("1.1.0"))
}

#[test]
fn missing_variables_are_all_named() {
    const ATTACHMENT: [&str; 4] = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];
    let required: [(&str, &[&str]); 5] = [
        ("ADD", &ATTACHMENT),
        ("CHECK", &ATTACHMENT),
        ("DEL", &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"]),
        ("GC", &["CNI_PATH"]),
        ("STATUS", &["CNI_PATH"]),
    ];
    sandbox::run(|host| {
        for plugin in plugins() {
            for (command, variables) in required {
                let mut none = complete(host, command, plugin);
                for variable in variables {
                    let error = complete(host, command, plugin).without(variable).run();
                    let error = error.expect_error(4, &["required env variables", variable]);
                    for other in variables.iter().filter(|v| *v != variable) {
                        let said = format!("{} {}", error.msg, error.details);
                        assert!(!said.contains(other), "{command} {plugin}: {other} is set, yet: {said}");
                    }
                    // An empty value is a missing one.
                    complete(host, command, plugin).env(variable, "").run().expect_error(4, &[variable]);
                    none = none.without(variable);
                }
                none.run().expect_error(4, variables);
            }
        }
    });
}

#[test]
fn optional_variables_are_not_asked_for() {
    sandbox::run(|host| {
        // flannel's STATUS is about what its daemon wrote.
        std::fs::create_dir("/run/flannel").expect("a directory");
        let env = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        std::fs::write("/run/flannel/subnet.env", env).expect("a file");
        for plugin in plugins() {
            // GC and STATUS concern no attachment, VERSION not even the directory of plugins.
            for command in ["GC", "STATUS"] {
                if (plugin, command) == ("vrf", "STATUS") && LinkType::Vrf.try_out().is_err() {
                    // It says so; `tests/vrf.rs` asks.
                    continue;
                }
                let call = host.call(command, plugin).without("CNI_CONTAINERID").without("CNI_IFNAME");
                call.conf(&plugin_conf(plugin)).run().expect_quiet();
            }
            let call = host.call("VERSION", plugin).without("CNI_CONTAINERID").without("CNI_IFNAME");
            call.without("CNI_PATH").conf(&conf("1.1.0")).run().expect_result();
        }
    });
}

fn plugin_conf(plugin: &str) -> Value {
    let mut conf = conf("1.1.0");
    conf["type"] = plugin.into();
    if !matches!(
        plugin,
        "loopback" | "tuning" | "policy" | "portmap" | "bandwidth" | "firewall" | "flannel" | "sbr" | "vrf"
    ) {
        conf["ipam"] = json!({"type": "host-local", "subnet": "10.1.2.0/24"});
    }
    if matches!(plugin, "macvlan" | "ipvlan" | "vlan") {
        conf["master"] = "lo".into();
    }
    if plugin == "vrf" {
        conf["vrfname"] = "red".into();
    }
    if plugin == "host-device" {
        conf["device"] = "lo".into();
    }
    conf
}

#[test]
fn container_ids_are_validated() {
    let long = "x".repeat(200);
    let good = ["a", "0", "A-b_c.d", "9f86d081884c7d659a2feaa0c55ad015", long.as_str()];
    let bad = ["-a", ".a", "_a", "a/b", "a b", "a:b", "ä", "a\n", "a;b", "../x"];
    sandbox::run(|host| {
        for plugin in plugins() {
            for id in bad {
                complete(host, "ADD", plugin)
                    .id(id)
                    .run()
                    .expect_error(4, &["invalid characters in containerID", id.trim_end()]);
            }
            for id in good {
                // With no namespace at that path the call fails, but not for the ID.
                let outcome = complete(host, "DEL", plugin).id(id).conf(&plugin_conf(plugin)).run();
                if outcome.code != Some(0) {
                    assert_ne!(outcome.expect_failure().code, 4, "{outcome}");
                }
            }
        }
    });
}

#[test]
fn interface_names_are_validated() {
    let cases = [
        ("abcdefghijklmnop", "interface name is too long"),
        ("ääääääää", "interface name is too long"),
        (".", "interface name is . or .."),
        ("..", "interface name is . or .."),
        ("a/b", "contains / or : or whitespace"),
        ("a:b", "contains / or : or whitespace"),
        ("a b", "contains / or : or whitespace"),
        ("a\tb", "contains / or : or whitespace"),
        ("a\u{a0}b", "contains / or : or whitespace"),
        ("a\u{3000}b", "contains / or : or whitespace"),
    ];
    sandbox::run(|host| {
        for plugin in plugins() {
            for (name, phrase) in cases {
                complete(host, "ADD", plugin).ifname(name).run().expect_error(4, &[phrase]);
            }
            let fits = complete(host, "DEL", plugin).ifname("abcdefghijklmno").conf(&plugin_conf(plugin)).run();
            if fits.code != Some(0) {
                assert_ne!(fits.expect_failure().code, 4, "{fits}");
            }
        }
    });
}

#[test]
fn without_a_command_a_plugin_says_what_it_is() {
    sandbox::run(|host| {
        for plugin in plugins() {
            for call in [complete(host, "", plugin), complete(host, "", plugin).without("CNI_COMMAND")] {
                let outcome = call.run();
                assert_eq!(outcome.code, Some(0), "{outcome}");
                assert_eq!(outcome.text(), "", "{outcome}: the about text belongs on stderr");
                let about = format!("CNI {plugin} plugin ");
                assert!(outcome.stderr.lines().any(|l| l.starts_with(&about)), "{outcome}: expects {about:?}");
                let versions = format!("CNI protocol versions supported: {}", versions_of(plugin).join(", "));
                assert!(outcome.stderr.contains(&versions), "{outcome}");
            }
        }
    });
}

#[test]
fn unknown_commands_are_refused_after_the_config_is_read() {
    sandbox::run(|host| {
        for plugin in plugins() {
            for command in ["NOPE", "add", "ADD ", "INSTALL"] {
                complete(host, command, plugin).run().expect_error(4, &["unknown CNI_COMMAND", command.trim()]);
            }
            complete(host, "NOPE", plugin).stdin("{").run().expect_error(6, &[]);
            complete(host, "NOPE", plugin).conf(&json!({"cniVersion": "1.0.0"})).run().expect_error(7, &[]);
        }
    });
}

#[test]
fn version_answers_without_reading_stdin() {
    sandbox::run(|host| {
        for plugin in plugins() {
            let versions = versions_of(plugin).join("\",\"");
            let expected = format!("{{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"{versions}\"]}}\n");
            let outcome = host.call("VERSION", plugin).hold_stdin().run();
            assert_eq!(outcome.code, Some(0), "{outcome}");
            assert_eq!(outcome.text(), expected);
            // Whatever is on stdin changes nothing, and what podman sends is among it.
            for stdin in ["", "{", "{\"cniVersion\":\"1.0.0\"}", "{\"cniVersion\":\"9.9.9\"}"] {
                let outcome = host.call("VERSION", plugin).netns(Path::new("dummy")).stdin(stdin).run();
                assert_eq!(outcome.text(), expected, "{outcome}");
            }
        }
    });
}

#[test]
fn network_names_are_validated() {
    sandbox::run(|host| {
        for plugin in plugins() {
            for command in ["ADD", "CHECK", "DEL", "GC", "STATUS"] {
                let with_name = |name: Value| {
                    complete(host, command, plugin)
                        .conf(&json!({"cniVersion": "1.1.0", "name": name, "type": plugin}))
                        .run()
                };
                with_name(Value::Null).expect_error(7, &["missing network name"]);
                with_name("".into()).expect_error(7, &["missing network name"]);
                for name in ["-net", "a/b", "a b", "../etc", "nét", "a\u{0}b"] {
                    with_name(name.into()).expect_error(7, &["invalid characters found in network name"]);
                }
            }
            complete(host, "ADD", plugin).stdin("not json").run().expect_error(6, &[]);
        }
    });
}

#[test]
fn a_missing_version_means_0_1_0() {
    sandbox::run(|host| {
        for version in [None, Some("")] {
            let mut conf =
                json!({"name": "net", "type": "host-local", "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}});
            if let Some(version) = version {
                conf["cniVersion"] = version.into();
            }
            let pod = format!("c{}", version.is_some());
            let result =
                host.call("ADD", "host-local").id(&pod).netns(Path::new("/none")).conf(&conf).run().expect_result();
            assert!(result["ip4"]["ip"].as_str().is_some_and(|ip| ip.starts_with("10.1.2.")), "{result}");
            assert_eq!(result.get("ips"), None, "0.1.0 has no list of addresses: {result}");
            host.call("CHECK", "host-local")
                .id(&pod)
                .netns(Path::new("/none"))
                .conf(&conf)
                .run()
                .expect_error(1, &["config version does not allow CHECK"]);
        }
    });
}

#[test]
fn unsupported_versions_are_code_1() {
    sandbox::run(|host| {
        for plugin in plugins() {
            for version in ["9.8.7", "1.2.0", "0.5.0", "0.0.0"] {
                for command in ["ADD", "DEL"] {
                    let error = complete(host, command, plugin).conf(&conf(version)).run();
                    let error = error.expect_error(1, &["incompatible CNI versions", version]);
                    for supported in versions_of(plugin) {
                        assert!(error.details.contains(*supported), "{error:?} does not list {supported}");
                    }
                }
            }
            // CHECK, GC and STATUS are above the gate, but newer than the plugin; which of the two is said is free.
            for command in ["CHECK", "GC", "STATUS"] {
                complete(host, command, plugin).conf(&conf("9.8.7")).run().expect_error(1, &[]);
            }
        }
    });
}

#[test]
fn commands_need_the_version_that_brought_them() {
    sandbox::run(|host| {
        for plugin in plugins() {
            for (index, version) in VERSIONS.iter().enumerate() {
                for (command, first) in [("CHECK", 4), ("GC", 6), ("STATUS", 6)] {
                    let outcome = complete(host, command, plugin).conf(&conf(version)).run();
                    let phrase = format!("config version does not allow {command}");
                    if index < first {
                        outcome.expect_error(1, &[&phrase]);
                    } else {
                        assert!(!outcome.text().contains(&phrase), "{outcome}");
                    }
                }
            }
        }
    });
}

#[test]
fn versions_are_numbers_with_dots() {
    sandbox::run(|host| {
        for plugin in plugins() {
            for version in ["1.0.0.0", "abc", "1.x.0", "1..0", "v1.0.0"] {
                complete(host, "CHECK", plugin).conf(&conf(version)).run().expect_error(6, &[]);
                complete(host, "ADD", plugin)
                    .conf(&conf(version))
                    .run()
                    .expect_error(1, &["incompatible CNI versions"]);
            }
            // One and two numbers compare, but are on nobody's list.
            for version in ["1", "1.0", "0.4"] {
                complete(host, "CHECK", plugin)
                    .conf(&conf(version))
                    .run()
                    .expect_error(1, &["incompatible CNI versions"]);
            }
            for version in ["0", "0.3"] {
                complete(host, "CHECK", plugin)
                    .conf(&conf(version))
                    .run()
                    .expect_error(1, &["config version does not allow CHECK"]);
            }
        }
    });
}

#[test]
fn the_plugins_own_namespace_is_refused() {
    sandbox::run(|host| {
        let own = Netns::pin_current("/run/netns/host".into());
        let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "loopback"});
        for command in ["ADD", "DEL"] {
            kernel::edit::up("lo");
            let before = host.state();
            let call = host.call(command, "loopback").ifname("lo").netns(own.path()).conf(&conf);
            let outcome = call.run();
            if host.peer().is_go() {
                // It asks after the work, so an ADD prints its result first.
                assert_eq!(outcome.code, Some(1), "{outcome}");
                assert!(outcome.text().contains("\"code\": 8"), "{outcome}");
            } else {
                outcome.expect_error(8, &["should not be the same"]);
                assert_eq!(kernel::difference(&before, &host.state()), [""; 0], "the work was done all the same");
            }
            for value in ["true", "TRUE", "1"] {
                let outcome = call.clone().env("CNI_NETNS_OVERRIDE", value).run();
                assert_eq!(outcome.code, Some(0), "{outcome}");
            }
            let outcome = call.clone().env("CNI_NETNS_OVERRIDE", "yes").run();
            assert_eq!(outcome.code, Some(1), "{outcome}: only true and 1 override");
        }
    });
}

#[test]
fn errors_have_the_specified_shape() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        for plugin in plugins() {
            let error = complete(host, "ADD", plugin).netns(pod.path()).conf(&conf("1.2.3")).run().expect_failure();
            if !host.peer().is_go() {
                // Section 5 of the specification asks for it; the Go plugins leave it out.
                assert!(error.cni_version.is_some(), "{plugin}: {error:?} has no cniVersion");
            }
            let error = complete(host, "ADD", plugin).without("CNI_PATH").run().expect_failure();
            assert!(error.code < 100, "{plugin}: {error:?}");
        }
    });
}

#[test]
fn a_delegates_error_is_passed_on_unchanged() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        let error =
            r#"{"cniVersion":"1.0.0","code":11,"msg":"come back later","details":"the pool is being refilled"}"#;
        foreign_plugin(host, "fussy", &format!("echo '{error}'; exit 1"));
        let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": {"type": "fussy"}});
        let outcome = host.call("ADD", "bridge").netns(pod.path()).conf(&conf).run();
        let error = outcome.expect_error(11, &["the pool is being refilled"]);
        assert_eq!(error.msg, "come back later");
    });
}

#[test]
fn what_a_delegate_says_on_stderr_is_passed_on() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        let result = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}"#;
        foreign_plugin(
            host,
            "chatty",
            &format!("echo 'a word in passing' >&2; [ $CNI_COMMAND != ADD ] || echo '{result}'"),
        );
        let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": {"type": "chatty"}});
        for command in ["ADD", "DEL"] {
            let outcome = host.call(command, "bridge").netns(pod.path()).conf(&conf).run();
            assert_eq!(outcome.code, Some(0), "{outcome}");
            assert!(outcome.stderr.contains("a word in passing"), "{outcome}");
        }
    });
}

/// Adds a plugin of somebody else to the plugin directory: a shell script.
fn foreign_plugin(host: &Sandbox, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = host.plugin_dir().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script in the plugin directory");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("an executable script");
}
