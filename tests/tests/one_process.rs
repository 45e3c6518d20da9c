//! A list in one process: the same on the host as its plugins one by one, and nothing after a failure.

use std::os::unix::fs::symlink;

use picocni_tests::kernel::Snapshot;
use picocni_tests::paths;
use picocni_tests::peer::Peer;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::tool::{Tool, asked, calls, fail, network, script};
use picocni_tests::{Pod, kernel};
use serde_json::{Value, json};

fn plugins() -> Vec<Value> {
    vec![
        json!({"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true,
            "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}}),
        json!({"type": "tuning", "mtu": 1400, "sysctl": {"net.ipv4.ip_unprivileged_port_start": "1000"}}),
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
    ]
}

fn in_one(plugins: &[Value]) -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "type": "picocni", "plugins": plugins,
        "capabilities": {"portMappings": true},
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}})
}

/// A host on which the program has its own name, too.
fn run(body: impl FnOnce(&Sandbox) + Send) {
    sandbox::run_with(Peer::picocni(), |host| {
        symlink(paths::binary(), host.plugin_dir().join("picocni")).expect("a link");
        body(host);
    });
}

/// What is there, apart from what the time of its making decides.
fn state(host: &Sandbox, pod: &Pod<'_>) -> Vec<String> {
    let mut lines = host.state();
    lines.extend(pod.netns().run(|| Snapshot::here().lines()));
    lines
}

#[test]
fn it_makes_what_its_plugins_make_one_by_one() {
    let one_by_one = run_and_look(|pod| {
        let mut result = Value::Null;
        for plugin in plugins() {
            let mut conf = plugin.clone();
            conf["cniVersion"] = "1.1.0".into();
            conf["name"] = "net".into();
            conf["runtimeConfig"] = in_one(&[])["runtimeConfig"].clone();
            let call = pod.call("ADD", &conf);
            let call = if result.is_null() { call } else { call.conf_after(&conf, &result) };
            result = call.run().expect_result();
        }
        result
    });
    let together = run_and_look(|pod| pod.add(&in_one(&plugins())).expect_result());
    assert_eq!(one_by_one, together);
}

/// Result and state of the host after `add` of one pod.
fn run_and_look(add: impl FnOnce(&Pod<'_>) -> Value + Send) -> (Value, Vec<String>) {
    sandbox::run_with(Peer::picocni(), |host| {
        symlink(paths::binary(), host.plugin_dir().join("picocni")).expect("a link");
        let pod = Pod::new(host, "pod");
        let result = add(&pod);
        let mut lines = state(host, &pod);
        // The namespace's number is another in each run.
        lines.retain(|line| !line.contains("/attachments/"));
        (result, lines)
    })
}

#[test]
fn del_leaves_what_was_there_before() {
    run(|host| {
        // The bridge, the table and ip_forward stay for the next pod.
        let first = Pod::new(host, "first");
        let conf = in_one(&plugins());
        first.add(&conf).expect_result();
        first.call("DEL", &conf).run().expect_quiet();
        let before = host.state();
        let pod = Pod::new(host, "pod");
        let result = pod.add(&conf).expect_result();
        pod.call("CHECK", &conf).conf_after(&conf, &result).run().expect_quiet();
        for _ in 0..2 {
            pod.call("DEL", &conf).conf_after(&conf, &result).run().expect_quiet();
        }
        let mut after = host.state();
        let lease = |line: &String| !line.contains("last_reserved_ip");
        after.retain(lease);
        assert_eq!(after, before.into_iter().filter(lease).collect::<Vec<_>>());
        pod.call("CHECK", &conf).conf_after(&conf, &result).run().expect_error(104, &["bridge"]);
    });
}

#[test]
fn a_failure_undoes_all_plugins_before_it_foreign_ones_too() {
    run(|host| {
        let result = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/pod"}],
            "ips": [{"address": "10.1.2.2/24", "interface": 0}]});
        script(host, "first", &result);
        script(host, "second", &result);
        let mut all = plugins();
        all.insert(1, json!({"type": "first", "key": "kept"}));
        all.push(json!({"type": "second"}));
        let conf = in_one(&all);
        let earlier = Pod::new(host, "earlier");
        earlier.add(&conf).expect_result();
        earlier.call("DEL", &conf).run().expect_quiet();
        assert_eq!(calls(&asked()), ["first ADD", "second ADD", "second DEL", "first DEL"]);
        let before = host.state();
        let pod = Pod::new(host, "pod");
        fail("second", "ADD", Some(r#"{"code": 123, "msg": "not today"}"#));
        pod.add(&conf).expect_error(123, &["not today"]);
        let asked = asked();
        assert_eq!(calls(&asked), ["first ADD", "second ADD", "second DEL", "first DEL"]);
        let undone = asked.last().expect("a call");
        assert_eq!(undone.request["key"], "kept", "its own config: {}", undone.request);
        assert!(kernel_has_only_lo(&pod), "the sandbox is as it was");
        let lease = |line: &String| !line.contains("last_reserved_ip");
        let after: Vec<String> = host.state().into_iter().filter(lease).collect();
        assert_eq!(after, before.into_iter().filter(lease).collect::<Vec<_>>());
    });
}

fn kernel_has_only_lo(pod: &Pod<'_>) -> bool {
    pod.inside().links.iter().all(|link| link.name == "lo")
}

#[test]
fn only_the_program_itself_need_be_installed() {
    run(|host| {
        for plugin in ["bridge", "host-local", "tuning", "portmap"] {
            std::fs::remove_file(host.plugin_dir().join(plugin)).expect("a link");
        }
        // Nor is a program of the same name in its way.
        script(host, "host-local", &json!({"cniVersion": "1.1.0"}));
        let pod = Pod::new(host, "pod");
        pod.add(&in_one(&plugins())).expect_result();
        pod.call("DEL", &in_one(&plugins())).run().expect_quiet();
        assert!(asked().is_empty());
    });
}

#[test]
fn a_network_in_one_process() {
    run(|host| {
        let mut entry = in_one(&plugins());
        let entry = entry.as_object_mut().expect("an object");
        ["cniVersion", "name", "runtimeConfig"].iter().for_each(|key| drop(entry.remove(*key)));
        network("10-net.conflist", &json!({"cniVersion": "1.1.0", "name": "net", "plugins": [entry]}));
        let pod = host.pod("pod");
        let tool = Tool::new(host)
            .env("CAP_ARGS", r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}"#);
        tool.run(&["status", "net", "/run/netns/pod"]).expect_success();
        tool.run(&["add", "net", "/run/netns/pod"]).expect_success();
        tool.run(&["check", "net", "/run/netns/pod"]).expect_success();
        let published = sandbox::nft_ruleset().is_none_or(|rules| rules.contains("8080"));
        assert!(published, "the capability reached portmap");
        // Without a list of what is valid nothing goes.
        tool.run(&["gc", "net", "/run/netns/pod"]).expect_success();
        tool.run(&["check", "net", "/run/netns/pod"]).expect_success();
        let mut conf = in_one(&plugins());
        conf["cni.dev/valid-attachments"] = json!([]);
        host.call("GC", "picocni").conf(&conf).run().expect_quiet();
        pod.run(|| assert!(kernel::Snapshot::here().links.iter().all(|link| link.name == "lo")));
        tool.run(&["del", "net", "/run/netns/pod"]).expect_success();
    });
}
