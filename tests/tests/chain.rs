//! A whole network through `picocni add|check|del|gc|status`: built-in and foreign plugins in one list, what each is
//! asked, what is cached, and what a failure leaves (rows 29 to 37, 41, 167 and 169 of `parity.tsv`).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use picocni_tests::netns::Netns;
use picocni_tests::peer::Peer;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::tool::{self, Tool, asked, calls, network, script};
use picocni_tests::traffic::{Protocol, Server, ask, who};
use picocni_tests::{kernel, skip};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

fn bridge() -> Value {
    json!({"type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}})
}

fn list(version: &str, plugins: &[Value]) -> Value {
    json!({"cniVersion": version, "name": "net", "plugins": plugins})
}

/// bridge, a foreign plugin, tuning, another foreign plugin.
fn mixed(host: &Sandbox, version: &str) -> Value {
    let result = json!({"cniVersion": version, "ips": [{"address": "10.1.2.2/24", "gateway": "10.1.2.1"}],
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/p"}]});
    script(host, "first", &result);
    let mut other = result;
    other["ips"][0]["address"] = "10.1.2.99/24".into();
    script(host, "second", &other);
    list(
        version,
        &[
            bridge(),
            json!({"type": "first", "some": {"key": [1, 2]}, "capabilities": {"portMappings": true, "mac": false, "io.x": true}}),
            json!({"type": "tuning", "mtu": 1400}),
            json!({"type": "second"}),
        ],
    )
}

fn path_of(netns: &Netns) -> &str {
    netns.path().to_str().expect("UTF-8")
}

/// As cnitool derives it.
fn container_id(netns: &str) -> String {
    let digest = Sha512::digest(netns.as_bytes());
    format!("cnitool-{}", digest[..10].iter().map(|b| format!("{b:02x}")).collect::<String>())
}

fn cache(netns: &str) -> PathBuf {
    Path::new("/var/lib/cni/results").join(format!("net-{}-eth0", container_id(netns)))
}

fn base64(text: &str) -> Vec<u8> {
    let digit =
        |c: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|d| *d == c);
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let digits = group.iter().fold(0usize, |n, c| n << 6 | digit(*c).expect("base64")) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&digits.to_be_bytes()[5..5 + group.len() - 1]);
    }
    bytes
}

/// Without the test's own files, what stays for all pods, and what names the next address.
fn state(host: &Sandbox) -> Vec<String> {
    let marks = ["last_reserved_ip", "/lock ", "/run/cni/picocni/", "/etc/cni/net.d"];
    host.state().into_iter().filter(|l| !marks.iter().any(|m| l.contains(m))).collect()
}

/// Makes what pods share, by one pod that comes and goes.
fn settle(host: &Sandbox, tool: &Tool) {
    let pod = host.pod("settle");
    tool.run(&["add", "net", path_of(&pod)]).expect_json();
    tool.run(&["del", "net", path_of(&pod)]).expect_success();
}

#[test]
fn a_pod_comes_and_goes() {
    sandbox::run(|host| {
        let tool = Tool::new(host)
            .env("CAP_ARGS", r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}"#);
        let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
        network("10-net.conflist", &list("1.1.0", &[bridge(), json!({"type": "tuning", "mtu": 1400}), portmap]));
        settle(host, &tool);
        let before = state(host);
        let pod = host.pod("p");
        let netns = path_of(&pod);
        let _server = pod.run(|| Server::start(Protocol::Tcp, "0.0.0.0:80", "pod"));
        let result = tool.run(&["add", "net", netns]).expect_json();
        assert_eq!(result["ips"][0]["address"].as_str().map(|a| a.starts_with("10.1.2.")), Some(true), "{result}");
        assert_eq!(pod.run(|| kernel::Snapshot::here().link("eth0").mtu), 1400);
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "pod");
        assert_eq!(tool.run(&["check", "net", netns]).expect_success(), "");
        assert_eq!(tool.run(&["status", "net", netns]).expect_success(), "");
        pod.run(|| kernel::edit::mtu("eth0", 1300));
        tool.run(&["check", "net", netns]).expect_failure(&["plugin type=\"tuning\" name=\"net\" failed (check)"]);
        for _ in 0..2 {
            assert_eq!(tool.run(&["del", "net", netns]).expect_success(), "");
            assert!(ask(Protocol::Tcp, "127.0.0.1:8080").is_err());
            assert_eq!(kernel::difference(&before, &state(host)), [""; 0]);
        }
    });
}

#[test]
fn every_plugin_is_asked_what_libcni_asks() {
    sandbox::run(|host| {
        let capabilities = r#"{"portMappings":[{"hostPort":1}],"mac":"02:00:00:00:00:09","io.x":{"a":1},"other":1}"#;
        let tool = Tool::new(host).env("CAP_ARGS", capabilities).env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web");
        network("10-net.conflist", &mixed(host, "1.1.0"));
        let pod = host.pod("p");
        let printed = tool.run(&["add", "net", path_of(&pod)]).expect_json();
        let seen = asked();
        assert_eq!(calls(&seen), ["first ADD", "second ADD"]);
        let request = &seen[0].request;
        assert_eq!((&request["name"], &request["cniVersion"]), (&json!("net"), &json!("1.1.0")));
        assert_eq!(request["some"], json!({"key": [1, 2]}));
        assert_eq!(request["runtimeConfig"], json!({"portMappings": [{"hostPort": 1}], "io.x": {"a": 1}}));
        let bridge = request["prevResult"]["interfaces"].as_array().expect("bridge's result");
        assert_eq!(bridge.iter().map(|i| i["name"].clone()).filter(|n| n == "cni0" || n == "eth0").count(), 2);
        // tuning came between: its result, from that of the first, is what the second gets.
        assert_eq!(seen[1].request["prevResult"]["ips"][0]["address"], "10.1.2.2/24");
        assert_eq!(seen[1].request.get("runtimeConfig"), None);
        assert_eq!(printed["ips"][0]["address"], "10.1.2.99/24", "the last one's result is the network's");
        for one in &seen {
            let env = |key: &str| one.env.get(key).map(String::as_str);
            assert_eq!(env("CNI_CONTAINERID"), Some(container_id(path_of(&pod)).as_str()));
            assert_eq!((env("CNI_NETNS"), env("CNI_IFNAME")), (Some(path_of(&pod)), Some("eth0")));
            assert_eq!(env("CNI_ARGS"), Some("IgnoreUnknown=1;K8S_POD_NAME=web"));
            assert_eq!(env("CNI_PATH"), host.plugin_dir().to_str());
        }
        // CHECK in order and DEL in reverse, both with the network's result.
        tool.run(&["check", "net", path_of(&pod)]);
        tool.run(&["del", "net", path_of(&pod)]).expect_success();
        let seen = asked();
        assert_eq!(calls(&seen).last_chunk(), Some(&["second DEL", "first DEL"]));
        assert!(seen.iter().all(|one| one.request["prevResult"] == printed), "{seen:#?}");
    });
}

#[test]
fn the_cache_is_one_that_libcni_reads() {
    sandbox::run(|host| {
        let capabilities = r#"{"portMappings":[{"hostPort":1,"containerPort":2,"protocol":"tcp"}]}"#;
        let tool = Tool::new(host).env("CAP_ARGS", capabilities).env("CNI_ARGS", "IgnoreUnknown=1;A=b");
        network("10-net.conflist", &list("1.0.0", &[bridge()]));
        let pod = host.pod("p");
        let netns = path_of(&pod);
        let result = tool.run(&["add", "net", netns]).expect_json();
        let file = cache(netns);
        let cached: Value = serde_json::from_slice(&fs::read(&file).expect("the cache file")).expect("JSON");
        let list = fs::read("/etc/cni/net.d/10-net.conflist").expect("the list");
        assert_eq!(base64(cached["config"].as_str().expect("text")), list);
        let mut rest = cached;
        rest.as_object_mut().expect("an object").remove("config");
        assert_eq!(
            rest,
            json!({
                "kind": "cniCacheV1", "containerId": container_id(netns), "ifName": "eth0", "networkName": "net",
                "netns": netns, "cniArgs": [["IgnoreUnknown", "1"], ["A", "b"]],
                "capabilityArgs": serde_json::from_str::<Value>(capabilities).expect("JSON"), "result": result,
            })
        );
        assert_eq!(fs::metadata(&file).expect("the cache file").permissions().mode() & 0o777, 0o600);
        // One file for each attachment.
        tool.run(&["add", "net", netns, "-i", "eth1"]).expect_json();
        assert_eq!(fs::read_dir("/var/lib/cni/results").expect("a directory").count(), 2);
        tool.run(&["del", "net", netns]).expect_success();
        assert!(!file.exists());
        tool.run(&["del", "net", netns, "--ifname=eth1"]).expect_success();
        assert_eq!(fs::read_dir("/var/lib/cni/results").expect("a directory").count(), 0);
    });
}

#[test]
fn a_failing_chain_leaves_nothing() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        network("10-net.conflist", &mixed(host, "1.0.0"));
        settle(host, &tool);
        asked();
        let pod = host.pod("p");
        let (before, fresh) = (state(host), pod.run(kernel::Snapshot::here));
        let error = r#"{"cniVersion":"1.0.0","code":117,"msg":"no luck","details":"not today"}"#;
        tool::fail("second", "ADD", Some(error));
        let said = tool.run(&["add", "net", path_of(&pod)]);
        said.expect_failure(&["plugin type=\"second\" name=\"net\" failed (add)", "no luck", "not today"]);
        assert_eq!(calls(&asked()), ["first ADD", "second ADD", "second DEL", "first DEL"]);
        assert_eq!(kernel::difference(&before, &state(host)), [""; 0]);
        assert_eq!(fresh.difference(&pod.run(kernel::Snapshot::here)), [""; 0]);
        assert!(!cache(path_of(&pod)).exists());
        // A built-in plugin that fails behind a foreign one.
        tool::fail("second", "ADD", None);
        let mut list = mixed(host, "1.0.0");
        list["plugins"][2]["sysctl"] = json!({"net.there.is.no.such": "1"});
        network("10-net.conflist", &list);
        tool.run(&["add", "net", path_of(&pod)]).expect_failure(&["plugin type=\"tuning\"", "net/there/is/no/such"]);
        assert_eq!(calls(&asked()), ["first ADD", "first DEL"]);
        assert_eq!(kernel::difference(&before, &state(host)), [""; 0]);
        assert_eq!(fresh.difference(&pod.run(kernel::Snapshot::here)), [""; 0]);
    });
}

#[test]
fn a_chained_plugin_cannot_come_first() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
        network("10-net.conflist", &list("1.0.0", &[portmap, bridge()]));
        let (pod, before) = (host.pod("p"), host.state());
        tool.run(&["add", "net", path_of(&pod)])
            .expect_failure(&["wrong order of plugins", "right order: bridge, portmap"]);
        assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
    });
}

#[test]
fn a_foreign_ipam_plugin_is_undone_when_it_fails() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        let result = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.7/24", "gateway": "10.1.2.1"}]});
        script(host, "their-ipam", &result);
        let mut bridge = bridge();
        bridge["ipam"] = json!({"type": "their-ipam", "pool": "x"});
        network("10-net.conflist", &list("1.0.0", &[bridge]));
        settle(host, &tool);
        let seen = asked();
        assert_eq!(calls(&seen), ["their-ipam ADD", "their-ipam DEL"]);
        assert_eq!(seen[0].request["ipam"], json!({"type": "their-ipam", "pool": "x"}));
        let (pod, before) = (host.pod("p"), state(host));
        tool::fail("their-ipam", "ADD", Some(r#"{"code":121,"msg":"pool is dry","details":"ask for more"}"#));
        let said = tool.run(&["add", "net", path_of(&pod)]);
        said.expect_failure(&["failed (add)", "pool is dry", "ask for more"]);
        let seen = asked();
        assert_eq!(calls(&seen)[..2], ["their-ipam ADD", "their-ipam DEL"]);
        assert_eq!(kernel::difference(&before, &state(host)), [""; 0]);
    });
}

#[test]
fn a_plugin_of_the_go_project_fits_in_the_middle() {
    let Some(Peer::Go { dir }) = Peer::go() else { skip!("the Go plugins are not here: run `tests/run` once") };
    sandbox::run(|host| {
        for name in ["tuning", "host-local"] {
            symlink(dir.join(name), host.plugin_dir().join(format!("go-{name}"))).expect("a link");
        }
        let tool = Tool::new(host)
            .env("CAP_ARGS", r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}"#);
        let mut bridge = bridge();
        bridge["ipam"]["type"] = "go-host-local".into();
        let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
        network("10-net.conflist", &list("1.0.0", &[bridge, json!({"type": "go-tuning", "mtu": 1350}), portmap]));
        settle(host, &tool);
        let (pod, before) = (host.pod("p"), state(host));
        let _server = pod.run(|| Server::start(Protocol::Tcp, "0.0.0.0:80", "pod"));
        tool.run(&["add", "net", path_of(&pod)]).expect_json();
        assert_eq!(pod.run(|| kernel::Snapshot::here().link("eth0").mtu), 1350);
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "pod");
        tool.run(&["check", "net", path_of(&pod)]).expect_success();
        tool.run(&["del", "net", path_of(&pod)]).expect_success();
        assert_eq!(kernel::difference(&before, &state(host)), [""; 0]);
    });
}

#[test]
fn stale_attachments_are_collected() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        network("10-net.conflist", &mixed(host, "1.1.0"));
        let (stale, live) = (host.pod("stale"), host.pod("live"));
        tool.run(&["add", "net", path_of(&stale)]).expect_json();
        tool.run(&["add", "net", path_of(&live)]).expect_json();
        let (gone, kept) = (cache(path_of(&stale)), cache(path_of(&live)));
        let path = stale.path().to_owned();
        stale.remove();
        asked();
        tool.run(&["gc", "net", path_of(&live)]).expect_success();
        let seen = asked();
        assert_eq!(calls(&seen), ["second DEL", "first DEL", "first GC", "second GC"]);
        assert_eq!(seen[0].env.get("CNI_NETNS").map(Path::new), Some(path.as_path()));
        let valid = json!([{"containerID": container_id(path_of(&live)), "ifname": "eth0"}]);
        assert_eq!(seen[2].request["cni.dev/valid-attachments"], valid);
        assert_eq!(seen[2].request["cni.dev/attachments"], valid, "as libcni spelled it first");
        assert!(!gone.exists() && kept.exists());
        let leases = || {
            fs::read_dir("/var/lib/cni/networks/net")
                .expect("leases")
                .filter(|e| e.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().starts_with("10.")))
                .count()
        };
        assert_eq!(leases(), 1);
        // What is in use stays.
        assert!(live.run(|| kernel::Snapshot::here().find_link("eth0").is_some()));
        let mut list = mixed(host, "1.1.0");
        list["disableGC"] = true.into();
        network("10-net.conflist", &list);
        tool.run(&["gc", "net", path_of(&live)]).expect_success();
        assert_eq!(calls(&asked()), [""; 0]);
    });
}

#[test]
fn status_is_that_of_the_first_plugin_that_is_not_ready() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        network("10-net.conflist", &mixed(host, "1.1.0"));
        tool.run(&["status", "net", "/run/netns/none"]).expect_success();
        assert_eq!(calls(&asked()), ["first STATUS", "second STATUS"]);
        tool::fail("first", "STATUS", Some(r#"{"code":50,"msg":"not yet"}"#));
        tool.run(&["status", "net", "/run/netns/none"]).expect_failure(&["50", "not yet"]);
        assert_eq!(calls(&asked()), ["first STATUS"]);
        network("10-net.conflist", &mixed(host, "1.0.0"));
        tool.run(&["status", "net", "/run/netns/none"]).expect_success();
        assert_eq!(calls(&asked()), [""; 0], "no such command in 1.0.0");
    });
}

#[test]
fn old_versions_have_neither_check_nor_a_result_at_del() {
    sandbox::run(|host| {
        let tool = Tool::new(host);
        network("10-net.conflist", &mixed(host, "0.3.1"));
        // Their results are of that version too.
        let old = json!({"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.1.2.2/24"}]});
        script(host, "first", &old);
        script(host, "second", &old);
        let pod = host.pod("p");
        tool.run(&["add", "net", path_of(&pod)]).expect_json();
        tool.run(&["check", "net", path_of(&pod)]).expect_failure(&["does not support the CHECK command"]);
        asked();
        tool.run(&["del", "net", path_of(&pod)]).expect_success();
        let seen = asked();
        assert_eq!(calls(&seen), ["second DEL", "first DEL"]);
        assert!(seen.iter().all(|one| one.request.get("prevResult").is_none()), "{seen:?}");
    });
}

#[test]
fn a_cache_file_of_rubbish_keeps_nothing_from_being_deleted() {
    for rubbish in ["", "{", "{\"kind\":\"cniCacheV1\",\"result\":7}", "\u{0}\u{0}\u{0}"] {
        sandbox::run(|host| {
            let tool = Tool::new(host);
            network("10-net.conflist", &list("1.0.0", &[bridge()]));
            settle(host, &tool);
            let (pod, before) = (host.pod("p"), state(host));
            tool.run(&["add", "net", path_of(&pod)]).expect_json();
            fs::write(cache(path_of(&pod)), rubbish).expect("the cache file");
            tool.run(&["del", "net", path_of(&pod)]).expect_success();
            assert_eq!(kernel::difference(&before, &state(host)), [""; 0], "{rubbish:?}");
        });
    }
}
