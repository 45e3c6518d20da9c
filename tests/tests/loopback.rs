//! loopback: up on ADD, down on DEL, nothing else (rows 101 to 103 of `parity.tsv`).

use picocni_tests::Call;
use picocni_tests::kernel::{Snapshot, edit};
use picocni_tests::netns::Netns;
use picocni_tests::sandbox::{self, Sandbox};
use serde_json::{Value, json};

fn conf() -> Value {
    json!({"cniVersion": "1.0.0", "name": "cni-loopback", "type": "loopback"})
}

fn call(host: &Sandbox, command: &str, pod: &Netns) -> Call {
    host.call(command, "loopback").ifname("lo").netns(pod.path()).conf(&conf())
}

fn is_up(pod: &Netns) -> bool {
    pod.run(|| Snapshot::here().link("lo").up)
}

#[test]
fn add_sets_lo_up_and_reports_its_addresses() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        assert!(!is_up(&pod));
        let result = call(host, "ADD", &pod).run().expect_result();
        assert!(is_up(&pod));
        assert_eq!(
            result,
            json!({
                "cniVersion": "1.0.0",
                "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": pod.path()}],
                "ips": [{"address": "127.0.0.1/8", "interface": 0}, {"address": "::1/128", "interface": 0}],
            })
        );
        // Whatever name the runtime has in mind, the device is lo; and twice is as good as once.
        assert_eq!(call(host, "ADD", &pod).ifname("eth7").run().expect_result(), result);
    });
}

#[test]
fn what_containerd_sends_is_enough() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        let conf = json!({"cniVersion": "0.3.1", "name": "cni-loopback"});
        let result = call(host, "ADD", &pod).conf(&conf).run().expect_result();
        assert_eq!(result["cniVersion"], "0.3.1");
        assert_eq!(result["interfaces"][0]["name"], "lo");
        assert!(is_up(&pod));
    });
}

#[test]
fn foreign_addresses_on_lo_are_refused() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        pod.run(|| {
            edit::up("lo");
            edit::address("lo", "192.0.2.1/32");
        });
        call(host, "ADD", &pod).run().expect_phrases(&["loopback interface found with non-loopback address"]);
    });
}

#[test]
fn check_wants_lo_up() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        call(host, "CHECK", &pod).run().expect_failure();
        let result = call(host, "ADD", &pod).run().expect_result();
        call(host, "CHECK", &pod).run().expect_quiet();
        call(host, "CHECK", &pod).conf_after(&conf(), &result).run().expect_quiet();
        pod.run(|| edit::down("lo"));
        call(host, "CHECK", &pod).conf_after(&conf(), &result).run().expect_failure();
    });
}

#[test]
fn an_earlier_plugins_result_is_passed_on() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        let earlier = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": pod.path()}],
            "ips": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 0}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}],
            "dns": {"nameservers": ["10.1.0.1"], "search": ["example.com"]},
        });
        let result = call(host, "ADD", &pod).conf_after(&conf(), &earlier).run().expect_result();
        assert_eq!(result, earlier);
        assert!(is_up(&pod));
    });
}

#[test]
fn del_sets_lo_down_and_never_fails() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        call(host, "ADD", &pod).run().expect_result();
        call(host, "DEL", &pod).run().expect_quiet();
        assert!(!is_up(&pod));
        call(host, "DEL", &pod).run().expect_quiet();
        call(host, "DEL", &pod).without("CNI_NETNS").run().expect_quiet();
        let path = pod.path().to_owned();
        pod.remove();
        host.call("DEL", "loopback").ifname("lo").netns(&path).conf(&conf()).run().expect_quiet();
    });
}

#[test]
fn a_missing_namespace_is_an_error_on_add() {
    sandbox::run(|host| {
        let pod = host.pod("pod");
        let path = pod.path().to_owned();
        pod.remove();
        let outcome = host.call("ADD", "loopback").ifname("lo").netns(&path).conf(&conf()).run();
        let error = outcome.expect_phrases(&["/run/netns/pod"]);
        if !host.peer().is_go() {
            assert_eq!(error.code, 8, "{outcome}");
        }
        // A plain file is no namespace.
        std::fs::write("/run/netns/file", "").expect("a file");
        let outcome = host.call("ADD", "loopback").ifname("lo").netns("/run/netns/file".as_ref()).conf(&conf()).run();
        outcome.expect_phrases(&["/run/netns/file"]);
    });
}
