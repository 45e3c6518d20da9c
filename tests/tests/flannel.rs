//! flannel as k3s uses it: what its delegate gets, what is kept for DEL, and what it says while flanneld is not there
//! (rows 163 to 166 of `parity.tsv`).

use std::fs;
use std::path::{Path, PathBuf};

use picocni_tests::kernel::{self, Snapshot};
use picocni_tests::sandbox;
use picocni_tests::tool::{Tool, asked, calls, fail, network, script};
use picocni_tests::traffic::{Protocol, Server, ask, who};
use picocni_tests::{Pod, Sandbox};
use serde_json::{Value, json};

const SINGLE: &str =
    "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
const V6: &str = "FLANNEL_IPV6_NETWORK=fd42::/48\nFLANNEL_IPV6_SUBNET=fd42:0:0:3::1/64\n";

/// Writes what flanneld writes.
fn flanneld(text: &str) {
    fs::create_dir_all("/run/flannel").expect("a directory");
    fs::write("/run/flannel/subnet.env", text).expect("subnet.env");
}

/// The delegate that k3s asks for.
fn k3s() -> Value {
    json!({"type": "flannel", "delegate": {"hairpinMode": true, "forceAddress": true, "isDefaultGateway": true}})
}

fn conf(version: &str) -> Value {
    let mut conf = k3s();
    conf["cniVersion"] = version.into();
    conf["name"] = "cbr0".into();
    conf
}

fn saved(id: &str) -> PathBuf {
    Path::new("/var/lib/cni/flannel").join(id)
}

fn saved_json(id: &str) -> Value {
    serde_json::from_slice(&fs::read(saved(id)).expect("a saved config")).expect("JSON")
}

fn via(text: &str) -> Option<std::net::IpAddr> {
    Some(text.parse().expect("an address"))
}

/// Without what stays for all pods, and what names the next address.
fn state(host: &Sandbox) -> Vec<String> {
    let marks = ["last_reserved_ip", "/lock ", "/run/cni/picocni/", "/etc/cni/net.d"];
    host.state().into_iter().filter(|l| !marks.iter().any(|m| l.contains(m))).collect()
}

#[test]
fn a_pod_gets_an_address_of_the_nodes_subnet() {
    sandbox::run(|host| {
        flanneld(SINGLE);
        let pod = Pod::new(host, "c1");
        let result = pod.add(&conf("1.0.0")).expect_result();
        assert_eq!(result["ips"][0]["address"], "10.42.3.2/24", "{result}");
        assert_eq!(
            saved_json("c1"),
            json!({
                "cniVersion": "1.0.0", "name": "cbr0", "type": "bridge", "mtu": 1450, "ipMasq": false, "isGateway": true,
                "hairpinMode": true, "forceAddress": true, "isDefaultGateway": true,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.42.3.0/24"}]], "routes": [{"dst": "10.42.0.0/16"}]},
            })
        );
        let inside = pod.inside();
        assert_eq!(inside.addresses_of("eth0"), ["10.42.3.2/24"]);
        assert_eq!(inside.link("eth0").mtu, 1450);
        assert!(inside.has_route("10.42.0.0/16", via("10.42.3.1")), "{:?}", inside.routes);
        assert!(inside.has_route("0.0.0.0/0", via("10.42.3.1")), "{:?}", inside.routes);
        let on_host = Snapshot::here();
        assert_eq!(on_host.addresses_of("cni0"), ["10.42.3.1/24"]);
        assert_eq!((on_host.link("cni0").mtu, pod.host_end().hairpin), (1450, Some(true)));
        pod.call("CHECK", &conf("1.0.0")).conf_after(&conf("1.0.0"), &result).run().expect_quiet();
        for _ in 0..2 {
            pod.call("DEL", &conf("1.0.0")).run().expect_quiet();
            assert!(pod.inside().find_link("eth0").is_none());
            assert!(!saved("c1").exists());
            assert!(!Path::new("/var/lib/cni/networks/cbr0/10.42.3.2").exists());
        }
    });
}

#[test]
fn both_families_and_more_than_one_network() {
    sandbox::run(|host| {
        flanneld(&(SINGLE.replace("/16", "/16,10.43.0.0/16,10.42.0.0/16").replace("true", "false") + V6));
        let pod = Pod::new(host, "c1");
        let result = pod.add(&conf("1.1.0")).expect_result();
        let ips: Vec<&Value> = result["ips"].as_array().expect("a list").iter().map(|ip| &ip["address"]).collect();
        assert_eq!(ips, ["10.42.3.2/24", "fd42:0:0:3::2/64"]);
        assert_eq!(
            saved_json("c1")["ipam"],
            json!({
                "type": "host-local",
                "ranges": [[{"subnet": "10.42.3.0/24"}], [{"subnet": "fd42:0:0:3::/64"}]],
                "routes": [{"dst": "10.42.0.0/16"}, {"dst": "10.43.0.0/16"}, {"dst": "fd42::/48"}],
            })
        );
        // flannel does not translate, so the bridge does.
        assert_eq!(saved_json("c1")["ipMasq"], true);
        let inside = pod.inside();
        assert_eq!(inside.addresses_of("eth0"), ["10.42.3.2/24", "fd42:0:0:3::2/64"]);
        for (route, gateway) in
            [("10.43.0.0/16", "10.42.3.1"), ("fd42::/48", "fd42:0:0:3::1"), ("::/0", "fd42:0:0:3::1")]
        {
            assert!(inside.has_route(route, via(gateway)), "{route}: {:?}", inside.routes);
        }
        assert_eq!(Snapshot::here().addresses_of("cni0"), ["10.42.3.1/24", "fd42:0:0:3::1/64"]);
        pod.call("DEL", &conf("1.1.0")).run().expect_quiet();
        // IPv6 alone, with files elsewhere, and in the oldest version.
        fs::create_dir_all("/run/other").expect("a directory");
        fs::write("/run/other/env", format!("{V6}FLANNEL_MTU=1400\nFLANNEL_IPMASQ=true\n")).expect("a file");
        let mut alone = conf("");
        alone["subnetFile"] = "/run/other/env".into();
        alone["dataDir"] = "/run/other/saved".into();
        let result = pod.add(&alone).expect_result();
        assert_eq!(result["ip6"]["ip"], "fd42:0:0:3::2/64", "{result}");
        assert!(Path::new("/run/other/saved/c1").exists() && !saved("c1").exists());
        pod.call("DEL", &alone).run().expect_quiet();
        assert!(!Path::new("/run/other/saved/c1").exists());
    });
}

#[test]
fn before_flanneld_has_written_its_file_the_reason_is_said() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        let before = host.state();
        let missing = ["failed to load flannel 'subnet.env' file", "/run/flannel/subnet.env", "flanneld"];
        pod.add(&conf("1.1.0")).expect_error(11, &missing);
        pod.call("STATUS", &conf("1.1.0")).run().expect_error(50, &missing);
        for (text, phrase) in [
            (
                "FLANNEL_SUBNET=10.42.3.1/24\n",
                "is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_MTU, FLANNEL_IPMASQ",
            ),
            (&SINGLE.replace("/24", ""), "FLANNEL_SUBNET is \"10.42.3.1\""),
        ] {
            flanneld(text);
            pod.add(&conf("1.1.0")).expect_error(7, &[missing[0], phrase]);
            pod.call("STATUS", &conf("1.1.0")).run().expect_error(50, &[missing[0], phrase]);
        }
        assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
        flanneld(SINGLE);
        pod.call("STATUS", &conf("1.1.0")).run().expect_quiet();
        pod.add(&conf("1.1.0")).expect_result();
        // DEL and GC need it no more.
        fs::remove_file("/run/flannel/subnet.env").expect("a file");
        let mut keep = conf("1.1.0");
        keep["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
        host.call("GC", "flannel").conf(&keep).run().expect_quiet();
        assert!(saved("c1").exists() && pod.inside().find_link("eth0").is_some());
        pod.call("DEL", &conf("1.1.0")).run().expect_quiet();
        assert!(!saved("c1").exists() && pod.inside().find_link("eth0").is_none());
    });
}

#[test]
fn gc_removes_what_belongs_to_no_attachment() {
    sandbox::run(|host| {
        flanneld(SINGLE);
        let (stale, live) = (Pod::new(host, "stale"), Pod::new(host, "live"));
        stale.add(&conf("1.1.0")).expect_result();
        live.add(&conf("1.1.0")).expect_result();
        stale.remove();
        let mut gc = conf("1.1.0");
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "live", "ifname": "eth0"}]);
        host.call("GC", "flannel").conf(&gc).run().expect_quiet();
        assert!(saved("live").exists() && !saved("stale").exists());
        assert!(!Path::new("/var/lib/cni/networks/cbr0/10.42.3.2").exists());
        assert!(Path::new("/var/lib/cni/networks/cbr0/10.42.3.3").exists());
        assert!(live.inside().find_link("eth0").is_some());
    });
}

#[test]
fn a_foreign_delegate_gets_the_whole_config_and_keeps_it_until_it_has_deleted() {
    sandbox::run(|host| {
        flanneld(SINGLE);
        script(host, "theirs", &json!({"cniVersion": "1.0.0", "ips": [{"address": "10.42.3.9/24"}]}));
        let mut conf = conf("1.0.0");
        conf["delegate"] = json!({"type": "theirs", "some": {"key": [1, 2]}});
        conf["ipam"] =
            json!({"type": "their-ipam", "unknown": "x", "routes": [{"dst": "10.96.0.0/12", "gw": "10.42.3.4"}]});
        conf["runtimeConfig"] = json!({"ips": ["10.42.3.9"]});
        let pod = Pod::new(host, "c1");
        let result = pod.add(&conf).expect_result();
        assert_eq!(result, json!({"cniVersion": "1.0.0", "ips": [{"address": "10.42.3.9/24"}]}));
        let seen = asked();
        assert_eq!(calls(&seen), ["theirs ADD"]);
        assert_eq!(
            seen[0].request,
            json!({
                "cniVersion": "1.0.0", "name": "cbr0", "type": "theirs", "some": {"key": [1, 2]}, "mtu": 1450,
                "ipMasq": false, "runtimeConfig": {"ips": ["10.42.3.9"]},
                "ipam": {
                    "type": "their-ipam", "unknown": "x", "ranges": [[{"subnet": "10.42.3.0/24"}]],
                    "routes": [{"dst": "10.96.0.0/12", "gw": "10.42.3.4"}, {"dst": "10.42.0.0/16"}],
                },
            })
        );
        assert_eq!(saved_json("c1"), seen[0].request);
        fail("theirs", "DEL", Some(r#"{"code":111,"msg":"not now"}"#));
        pod.call("DEL", &conf).run().expect_error(111, &["not now"]);
        assert!(saved("c1").exists(), "the delegate needs it again");
        fail("theirs", "DEL", None);
        asked();
        // What was saved counts, not what the config says by now.
        let mut changed = conf.clone();
        changed["delegate"] = json!({"type": "bridge"});
        pod.call("DEL", &changed).run().expect_quiet();
        let deleted = asked();
        assert_eq!(calls(&deleted), ["theirs DEL"]);
        assert_eq!(deleted[0].request, seen[0].request);
        assert!(!saved("c1").exists());
        pod.call("DEL", &changed).run().expect_quiet();
        // A delegate that fails is undone with the same config, and nothing is kept.
        let before = host.state();
        fail("theirs", "ADD", Some(r#"{"code":112,"msg":"no luck"}"#));
        pod.add(&conf).expect_error(112, &["no luck"]);
        let seen = asked();
        assert_eq!(calls(&seen), ["theirs ADD", "theirs DEL"]);
        assert_eq!(seen[0].request, seen[1].request);
        assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
    });
}

#[test]
fn configs_that_make_no_sense_are_refused() {
    sandbox::run(|host| {
        flanneld(SINGLE);
        let pod = Pod::new(host, "c1");
        let before = host.state();
        for (delegate, phrase) in [
            (json!({"name": "x"}), "'delegate' dictionary must not have 'name' field"),
            (json!({"ipam": {}}), "'delegate' dictionary must not have 'ipam' field"),
            (json!({"type": 5}), "'delegate' dictionary, if present, must have (string) 'type' field"),
            (json!({"type": "missing"}), "failed to find plugin"),
            (json!({"type": "flannel"}), "flannel cannot be its own delegate"),
            (json!([]), "delegate"),
        ] {
            let mut conf = conf("1.0.0");
            conf["delegate"] = delegate;
            pod.add(&conf).expect_phrases(&[phrase]);
            assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
        }
    });
}

#[test]
fn the_list_that_k3s_writes_publishes_ports() {
    sandbox::run(|host| {
        flanneld(SINGLE);
        let tool = Tool::new(host)
            .env("CAP_ARGS", r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}"#);
        let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
        network("10-flannel.conflist", &json!({"name": "cbr0", "cniVersion": "1.0.0", "plugins": [k3s(), portmap]}));
        // Bridge, table and forwarding stay for all pods.
        tool.run(&["add", "cbr0", "new:first"]).expect_json();
        tool.run(&["del", "cbr0", "new:first"]).expect_success();
        let before = state(host);
        let pod = host.pod("p");
        let netns = pod.path().to_str().expect("UTF-8");
        let _server = pod.run(|| Server::start(Protocol::Tcp, "0.0.0.0:80", "pod"));
        let said = tool.run(&["add", "cbr0", netns]);
        let result = said.expect_json();
        assert_eq!(said.err, "", "nothing is dumped on stderr");
        assert_eq!(result["ips"][0]["address"], "10.42.3.3/24", "{result}");
        assert_eq!(who(Protocol::Tcp, "127.0.0.1:8080"), "pod");
        tool.run(&["check", "cbr0", netns]).expect_success();
        for _ in 0..2 {
            tool.run(&["del", "cbr0", netns]).expect_success();
            assert!(ask(Protocol::Tcp, "127.0.0.1:8080").is_err());
            assert_eq!(kernel::difference(&before, &state(host)), [""; 0]);
        }
    });
}
