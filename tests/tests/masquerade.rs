//! ipMasq with real packets: who leaves a pod's network has the host's address, who stays keeps its own (rows 48 and 70
//! of `parity.tsv`).

use picocni_tests::kernel;
use picocni_tests::outside::Outside;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Answer, PROTOCOLS, Protocol, Server, ask};
use picocni_tests::{Pod, skip};
use serde_json::{Value, json};

fn conf(masquerade: bool) -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
        "ipMasq": masquerade, "ipMasqBackend": "nftables",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]]}})
}

/// As whom `pod` is seen at `to`.
fn seen(pod: &Pod, protocol: Protocol, to: &str) -> String {
    let answer: Result<Answer, String> = pod.netns().run(|| ask(protocol, to));
    answer.unwrap_or_else(|e| panic!("{e}")).seen_from.to_string()
}

fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().expect("ips").iter();
    ips.map(|ip| ip["address"].as_str().expect("an address").split('/').next().expect("an address").to_owned())
        .collect()
}

/// Rules and records of this attachment.
fn traces(host: &Sandbox, id: &str, address: &str) -> Vec<String> {
    let about = |l: &String| {
        (l.starts_with("nft") || l.contains("/masq/")) && (l.contains(id) || l.contains(&format!("{address} ")))
    };
    host.state().into_iter().filter(about).collect()
}

#[test]
fn packets_that_leave_the_network_get_the_hosts_address() {
    sandbox::run(|host| {
        if host.peer().is_go() && sandbox::nft_ruleset().is_none() {
            skip!("the Go plugins need nft");
        }
        let outside = Outside::new(host);
        let _client = outside.client.run(|| Server::both(7, "client"));
        let _far = outside.far.run(|| Server::both(7, "far"));
        let (pod, neighbour) = (Pod::new(host, "pod"), Pod::new(host, "neighbour"));
        let own = addresses(&pod.add(&conf(true)).expect_result());
        let other = addresses(&neighbour.add(&conf(true)).expect_result());
        let _neighbour = neighbour.netns().run(|| Server::both(7, "neighbour"));
        let _host = Server::both(7, "host");
        for protocol in PROTOCOLS {
            assert_eq!(seen(&pod, protocol, "192.0.2.100:7"), "192.0.2.1");
            assert_eq!(seen(&pod, protocol, "203.0.113.2:7"), "203.0.113.1");
            assert_eq!(seen(&pod, protocol, "[2001:db8:9::100]:7"), "2001:db8:9::1");
            // Inside the network, and at the host, a pod is who it is.
            assert_eq!(seen(&pod, protocol, &format!("{}:7", other[0])), own[0]);
            assert_eq!(seen(&pod, protocol, &format!("[{}]:7", other[1])), own[1]);
            assert_eq!(seen(&pod, protocol, "10.1.2.1:7"), own[0]);
        }
    });
}

#[test]
fn without_it_nothing_is_translated() {
    sandbox::run(|host| {
        let outside = Outside::new(host);
        let _client = outside.client.run(|| Server::both(7, "client"));
        let pod = Pod::new(host, "pod");
        let own = addresses(&pod.add(&conf(false)).expect_result());
        assert_eq!(seen(&pod, Protocol::Tcp, "192.0.2.100:7"), own[0]);
        assert_eq!(seen(&pod, Protocol::Tcp, "[2001:db8:9::100]:7"), own[1]);
        if host.peer().is_go() {
            return;
        }
        assert_eq!(traces(host, "pod", &own[0]), [""; 0]);
    });
}

#[test]
fn check_and_del_know_their_rules() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            // Its comments and its GC are of another kind.
            return;
        }
        let pod = Pod::new(host, "c1");
        let result = pod.add(&conf(true)).expect_result();
        let address = &addresses(&result)[0];
        let call = |command: &str| pod.call(command, &conf(true)).conf_after(&conf(true), &result).run();
        call("CHECK").expect_quiet();
        assert_ne!(traces(host, "c1", address), [""; 0]);
        // Without a namespace and without a result, as after a crash: the record is enough.
        pod.call("DEL", &conf(true)).without("CNI_NETNS").run().expect_quiet();
        assert_eq!(traces(host, "c1", address), [""; 0]);
        let state = host.state();
        pod.call("DEL", &conf(true)).run().expect_quiet();
        let left: Vec<String> =
            kernel::difference(&state, &host.state()).into_iter().filter(|l| l.starts_with('+')).collect();
        assert_eq!(left, [""; 0]);
    });
}

#[test]
fn gc_removes_the_rules_of_stale_attachments() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            return;
        }
        let (stale, valid) = (Pod::new(host, "stale"), Pod::new(host, "valid"));
        let gone = addresses(&stale.add(&conf(true)).expect_result())[0].clone();
        let kept = addresses(&valid.add(&conf(true)).expect_result())[0].clone();
        let mut gc = conf(true);
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "valid", "ifname": "eth0"}]);
        host.call("GC", "bridge").conf(&gc).run().expect_quiet();
        assert_eq!(traces(host, "stale", &gone), [""; 0]);
        assert_ne!(traces(host, "valid", &kept), [""; 0]);
    });
}
