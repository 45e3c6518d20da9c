//! After a flush of the packet filter: CHECK notices, `picocni reconcile` puts back what live attachments should have, and
//! touches nothing that is right.

use std::process::Command;

use picocni_tests::outside::Outside;
use picocni_tests::peer::Peer;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::tool::{Tool, network};
use picocni_tests::traffic::{Protocol, Server, ask, who};
use picocni_tests::{kernel, skip};
use serde_json::{Value, json};

fn plugins() -> Value {
    json!([
        {"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true,
            "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}},
        {"type": "policy", "ingress": [{"ports": [{"port": 80}]}]},
        {"type": "portmap", "capabilities": {"portMappings": true}}
    ])
}

fn one_by_one() -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "plugins": plugins()})
}

fn in_one_process() -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "plugins": [
        {"type": "picocni", "capabilities": {"portMappings": true}, "plugins": plugins()}]})
}

/// Adds a pod that answers at port `port` of the host.
fn pod(host: &Sandbox, name: &str, port: u16) -> (Tool, Server, String) {
    let netns = host.pod(name);
    let path = netns.path().display().to_string();
    let mapping = format!(r#"{{"portMappings":[{{"hostPort":{port},"containerPort":80,"protocol":"tcp"}}]}}"#);
    let tool = Tool::new(host).env("CAP_ARGS", &mapping);
    tool.run(&["add", "net", &path]).expect_success();
    let server = netns.run(|| Server::start(Protocol::Tcp, "0.0.0.0:80", name));
    (tool, server, path)
}

fn nft(words: &[&str]) -> String {
    let output = Command::new("nft").args(words).output().expect("nft");
    assert!(output.status.success(), "nft {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Without the handles, which are new after a flush.
fn rules() -> String {
    nft(&["list", "ruleset"])
}

#[test]
fn a_flushed_packet_filter_is_as_it_was() {
    for conf in [one_by_one(), in_one_process()] {
        sandbox::run_with(Peer::picocni(), |host| {
            if sandbox::nft_ruleset().is_none() {
                skip!("nft is not here: run `tests/run` once");
            }
            let outside = Outside::new(host);
            // A kernel without connection tracking on bridges enforces policies by these.
            for key in ["iptables", "ip6tables"] {
                kernel::set_sysctl(&format!("net/bridge/bridge-nf-call-{key}"), "1");
            }
            network("10-net.conflist", &conf);
            let (web, _web, web_path) = pod(host, "web", 8080);
            let (other, _other, other_path) = pod(host, "other", 8081);
            let reach = |port: u16| outside.client.run(|| ask(Protocol::Tcp, &format!("192.0.2.1:{port}")));
            assert_eq!(reach(8080).map(|answer| answer.who), Ok("web".to_owned()));
            let before = rules();
            let said = web.run(&["reconcile"]);
            assert_eq!(said.expect_success(), "2 right, 0 put back, 0 failed\n");

            nft(&["flush", "ruleset"]);
            web.run(&["check", "net", &web_path]).expect_failure(&["not masqueraded"]);
            assert!(reach(8080).is_err(), "nothing publishes the port");
            let dry = web.run(&["reconcile", "--dry-run"]);
            assert!(dry.expect_success().ends_with("0 right, 2 with something missing, 0 failed\n"), "{dry:?}");
            assert_eq!(rules(), "", "a dry run changes nothing");
            let said = web.run(&["reconcile"]);
            let out = said.expect_success();
            for what in [
                "published ports of portmap",
                "masquerade of bridge",
                "source guard of bridge",
                "network policy of policy",
            ] {
                assert_eq!(out.matches(what).count(), 2, "{out}");
            }
            assert!(out.ends_with("0 right, 2 put back, 0 failed\n"), "{out}");
            web.run(&["check", "net", &web_path]).expect_success();
            assert_eq!(who(Protocol::Tcp, "192.0.2.1:8080"), "web");
            assert_eq!(reach(8081).map(|answer| answer.who), Ok("other".to_owned()));
            assert_eq!(sorted(&rules()), sorted(&before));

            // One attachment's port alone: the other's is not touched.
            nft(&["flush", "map", "inet", "picocni", "any4"]);
            let said = web.run(&["reconcile", "net"]);
            assert!(said.expect_success().ends_with("0 right, 2 put back, 0 failed\n"), "{said:?}");
            assert_eq!(sorted(&rules()), sorted(&before));
            let handles = nft(&["-a", "list", "ruleset"]);
            web.run(&["reconcile"]).expect_success();
            assert_eq!(nft(&["-a", "list", "ruleset"]), handles, "what is right is left alone");

            web.run(&["del", "net", &web_path]).expect_success();
            other.run(&["del", "net", &other_path]).expect_success();
            assert_eq!(web.run(&["reconcile"]).expect_success(), "0 right, 0 put back, 0 failed\n");
        });
    }
}

/// Lines and elements in any order: sets are.
fn sorted(rules: &str) -> Vec<String> {
    let mut parts: Vec<String> = rules.split([',', '\n', '{', '}']).map(|part| part.trim().to_owned()).collect();
    parts.sort();
    parts
}

#[test]
fn what_cannot_be_live_is_skipped() {
    sandbox::run_with(Peer::picocni(), |host| {
        network("10-net.conflist", &one_by_one());
        let netns = host.pod("gone");
        let path = netns.path().display().to_string();
        let tool = Tool::new(host);
        tool.run(&["add", "net", &path]).expect_success();
        netns.remove();
        std::fs::write("/var/lib/cni/results/net-torn-eth0", "{\"kind\":\"cniCa").expect("a file");
        std::fs::write("/var/lib/cni/results/net-empty-eth0", "").expect("a file");
        // The kernel takes the pod's links away in its own time.
        let files = || host.state().into_iter().filter(|line| line.starts_with("file ")).collect::<Vec<_>>();
        let before = files();
        let said = tool.run(&["reconcile"]);
        let out = said.expect_success();
        assert_eq!(out.matches("no cache file of an attachment").count(), 2, "{out}");
        assert_eq!(out.matches("its sandbox is gone").count(), 1, "{out}");
        assert!(files() == before, "no file is touched");
        tool.run(&["reconcile", "--all"]).expect_failure(&["unknown option"]);
        tool.run(&["reconcile", "a/b"]).expect_failure(&["invalid argument"]);
    });
}
