//! Which file a network's name leads to, and what is read of it (rows 25 to 28 and 34 of `parity.tsv`).

use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::tool::{Tool, asked, calls, network, script};
use serde_json::{Value, json};

/// A foreign plugin `name`, which prints an address, and its configuration.
fn plugin(host: &Sandbox, name: &str) -> Value {
    script(host, name, &json!({"cniVersion": "1.0.0", "ips": [{"address": "10.9.9.9/32"}]}));
    json!({"type": name})
}

fn list(name: &str, plugins: &[Value]) -> Value {
    json!({"cniVersion": "1.0.0", "name": name, "plugins": plugins})
}

/// The plugins that ADD of `net` calls.
fn added(tool: &Tool) -> Vec<String> {
    tool.run(&["add", "net", "new:p"]).expect_json();
    let seen = asked();
    tool.run(&["del", "net", "new:p"]).expect_success();
    asked();
    calls(&seen).iter().map(|call| call.trim_end_matches(" ADD").to_owned()).collect()
}

#[test]
fn lists_come_before_single_files_and_both_in_name_order() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| plugin(host, name));
        let add = || tool.run(&["add", "net", "new:p"]);
        add().expect_failure(&["no net configurations found in /etc/cni/net.d"]);
        network("50-other.conflist", &list("other", std::slice::from_ref(&a)));
        add().expect_failure(&["no net configuration with name \"net\" in /etc/cni/net.d"]);
        let single = |plugin: &Value| {
            let mut single = plugin.clone();
            single["name"] = "net".into();
            single["cniVersion"] = "1.0.0".into();
            single
        };
        network("90-net.json", &single(&d));
        assert_eq!(added(&tool), ["d"]);
        network("80-net.conf", &single(&c));
        assert_eq!(added(&tool), ["c"]);
        network("70-net.conflist", &list("net", &[b]));
        assert_eq!(added(&tool), ["b"]);
        network("60-net.conflist", &list("net", &[a]));
        assert_eq!(added(&tool), ["a"]);
        // Files of other kinds count for nothing; a broken one before the right one ends the search.
        std::fs::write("/etc/cni/net.d/10-net.conflist.bak", "{").expect("a file");
        assert_eq!(added(&tool), ["a"]);
        std::fs::write("/etc/cni/net.d/55-broken.conflist", "{\n  \"name\": \"net\",\n").expect("a file");
        add().expect_failure(&["55-broken.conflist", "line 3"]);
    });
}

#[test]
fn another_directory_can_be_named() {
    sandbox::run(|host| {
        let tool = Tool::new(host).env("NETCONFPATH", "/run/networks");
        network("10-net.conflist", &list("net", &[plugin(host, "a")]));
        tool.run(&["add", "net", "new:p"]).expect_failure(&["/run/networks"]);
        std::fs::create_dir("/run/networks").expect("a directory");
        std::fs::copy("/etc/cni/net.d/10-net.conflist", "/run/networks/10-net.conflist").expect("a file");
        assert_eq!(added(&tool), ["a"]);
    });
}

#[test]
fn plugins_beside_the_list_are_appended_unless_it_says_no() {
    let cases: [(Option<Value>, &[&str]); 5] = [
        (None, &["a", "b", "c"]),
        (Some(json!(false)), &["a", "b", "c"]),
        (Some(json!("FALSE")), &["a", "b", "c"]),
        (Some(json!(true)), &["a"]),
        (Some(json!("True")), &["a"]),
    ];
    for (only, expected) in cases {
        sandbox::run(|host| {
            let tool = Tool::new(host);
            let mut conf = list("net", &[plugin(host, "a")]);
            if let Some(only) = &only {
                conf["loadOnlyInlinedPlugins"] = only.clone();
            }
            network("10-net.conflist", &conf);
            network("net/20-c.conf", &plugin(host, "c"));
            network("net/10-b.conf", &plugin(host, "b"));
            network("net/30-d.json", &plugin(host, "d"));
            assert_eq!(added(&tool), expected, "{only:?}");
            // Without inlined plugins.
            conf.as_object_mut().expect("an object").remove("plugins");
            network("10-net.conflist", &conf);
            if expected.len() > 1 {
                assert_eq!(added(&tool), expected[1..], "{only:?}");
            } else {
                tool.run(&["add", "net", "new:p"]).expect_failure(&["no plugin configs found"]);
            }
        });
    }
}

#[test]
fn a_list_without_plugins_or_types_is_refused() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        let refused = |plugins: Value, phrase: &str| {
            network("10-net.conflist", &json!({"cniVersion": "1.0.0", "name": "net", "plugins": plugins}));
            tool.run(&["add", "net", "new:p"]).expect_failure(&[phrase]);
        };
        refused(json!([]), "no plugin");
        refused(json!([{"bridge": "br0"}]), "missing 'type'");
        refused(json!([{"type": "not-installed"}]), "failed to find plugin \"not-installed\"");
        refused(json!([{"type": "../../bin/sh"}]), "type");
        network("10-net.conflist", &json!({"cniVersion": "1.0.0", "name": "net"}));
        tool.run(&["add", "net", "new:p"]).expect_failure(&["no plugin configs found"]);
    });
}

#[test]
fn the_highest_known_version_is_chosen() {
    let cases = [
        (json!({"cniVersion": "1.0.0"}), "1.0.0"),
        (json!({"cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0", "0.4.0"]}), "1.0.0"),
        (json!({"cniVersion": "1.1.0", "cniVersions": ["0.4.0"]}), "1.1.0"),
        (json!({"cniVersion": "0.4.0", "cniVersions": ["1.0.0", "9.9.9"]}), "1.0.0"),
        (json!({"cniVersion": "1.0.0", "cniVersions": []}), "1.0.0"),
        (json!({"cniVersions": ["0.4.0", "1.0.0"]}), "1.0.0"),
    ];
    sandbox::run(|host| {
        let tool = Tool::new(host);
        let a = plugin(host, "a");
        for (versions, chosen) in cases {
            let mut conf = json!({"name": "net", "plugins": [a]});
            conf.as_object_mut().expect("an object").extend(versions.as_object().expect("an object").clone());
            network("10-net.conflist", &conf);
            let result = tool.run(&["add", "net", "new:p"]).expect_json();
            assert_eq!(asked()[0].request["cniVersion"], chosen, "{versions}");
            assert!(result["ips"].is_array(), "{result}");
            tool.run(&["del", "net", "new:p"]).expect_success();
            asked();
        }
        let conf = json!({"name": "net", "cniVersion": "1.0.0", "cniVersions": ["1.0.0", "one"], "plugins": [a]});
        network("10-net.conflist", &conf);
        tool.run(&["add", "net", "new:p"]).expect_failure(&["one"]);
    });
}

#[test]
fn check_can_be_turned_off() {
    for (value, called) in [(json!(false), true), (json!("false"), true), (json!(true), false), (json!("TRUE"), false)]
    {
        sandbox::run(|host| {
            let tool = Tool::new(host);
            let mut conf = list("net", &[plugin(host, "a")]);
            conf["disableCheck"] = value.clone();
            network("10-net.conflist", &conf);
            tool.run(&["add", "net", "new:p"]).expect_json();
            asked();
            tool.run(&["check", "net", "new:p"]).expect_success();
            assert_eq!(calls(&asked()) == ["a CHECK"], called, "{value}");
        });
    }
}
