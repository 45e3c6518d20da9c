//! ptp: the pod's cable to the host, which is its router (rows 78 to 81 of `parity.tsv`).

use picocni_tests::kernel::{self, Snapshot};
use picocni_tests::outside::Outside;
use picocni_tests::sandbox;
use picocni_tests::traffic::{Protocol, Server, ask, who};
use picocni_tests::{Pod, skip};
use serde_json::{Value, json};

fn conf(extra: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "ptp", "mtu": 1400, "ipam": {"type": "host-local",
        "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}});
    conf.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    conf
}

fn ip(text: &str) -> Option<std::net::IpAddr> {
    Some(text.parse().expect("an address"))
}

#[test]
fn wires_pod_and_host_in_both_families() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "pod");
        let result = pod.add(&conf(json!({}))).expect_result();
        let (inside, end, outside) = (pod.inside(), pod.host_end(), Snapshot::here());
        assert_eq!(result["interfaces"][0]["name"], end.name.as_str());
        assert_eq!(result["interfaces"][0]["mac"], end.mac.as_str());
        assert_eq!(result["interfaces"][1]["name"], "eth0");
        assert_eq!(result["interfaces"][1]["mac"], inside.link("eth0").mac.as_str());
        assert!(result["ips"].as_array().expect("ips").iter().all(|ip| ip["interface"] == 1), "{result}");
        assert_eq!((inside.link("eth0").mtu, end.mtu), (1400, 1400));
        assert_eq!(inside.addresses_of("eth0"), ["10.1.2.2/24", "2001:db8:1::2/64"]);
        assert_eq!(outside.addresses_of(&end.name), ["10.1.2.1/32", "2001:db8:1::1/128"]);
        for (network, gateway, address) in
            [("10.1.2.0/24", "10.1.2.1", "10.1.2.2"), ("2001:db8:1::/64", "2001:db8:1::1", "2001:db8:1::2")]
        {
            assert!(inside.has_route(network, ip(gateway)), "{:?}", inside.routes);
            assert!(!inside.has_route(network, None), "no neighbour but the host: {:?}", inside.routes);
            let bits = if network.contains(':') { 128 } else { 32 };
            assert!(inside.has_route(&format!("{gateway}/{bits}"), None), "{:?}", inside.routes);
            assert!(outside.has_route(&format!("{address}/{bits}"), None), "{:?}", outside.routes);
        }
        assert!(inside.has_route("0.0.0.0/0", ip("10.1.2.1")) && inside.has_route("::/0", ip("2001:db8:1::1")));
        assert_eq!(kernel::sysctl("net.ipv4.ip_forward"), "1");
        assert_eq!(kernel::sysctl("net.ipv6.conf.all.forwarding"), "1");
        assert_eq!(kernel::sysctl(&format!("net/ipv6/conf/{}/accept_ra", end.name)), "0");
    });
}

#[test]
fn pods_reach_each_other_and_the_host() {
    sandbox::run(|host| {
        let pods = ["one", "two"].map(|name| Pod::new(host, name));
        pods.iter().for_each(|pod| drop(pod.add(&conf(json!({}))).expect_result()));
        let _server = pods[1].netns().run(|| Server::both(80, "two"));
        if host.peer().is_go() {
            // The host's ends solicit no neighbours before their link-local addresses are through the detection of duplicates.
            std::thread::sleep(std::time::Duration::from_secs(3));
        }
        for to in ["10.1.2.3:80", "[2001:db8:1::3]:80"] {
            assert_eq!(pods[0].netns().run(|| who(Protocol::Tcp, to)), "two");
            assert_eq!(who(Protocol::Tcp, to), "two");
        }
    });
}

#[test]
fn check_del_and_what_is_left() {
    sandbox::run(|host| {
        let conf = conf(json!({}));
        Pod::new(host, "settle").add(&conf).expect_result();
        let before = host.state();
        let pod = Pod::new(host, "pod");
        let mut with_prev = conf.clone();
        with_prev["prevResult"] = pod.add(&conf).expect_result();
        pod.call("CHECK", &with_prev).run().expect_quiet();
        for _ in 0..2 {
            pod.call("DEL", &with_prev).run().expect_quiet();
        }
        pod.call("CHECK", &with_prev).run().expect_failure();
        let mut left = kernel::difference(&before, &host.state());
        left.retain(|line| !line.contains("last_reserved_ip"));
        assert_eq!(left, [""; 0]);
    });
}

#[test]
fn dns_of_the_config_replaces_that_of_ipam() {
    sandbox::run(|host| {
        std::fs::write("/etc/cni/resolv.conf", "nameserver 192.0.2.1\n")
            .or_else(|_| {
                std::fs::create_dir_all("/etc/cni")?;
                std::fs::write("/etc/cni/resolv.conf", "nameserver 192.0.2.1\n")
            })
            .expect("a file");
        let dns = |name: &str, extra: Value| {
            let mut conf = conf(extra);
            conf["ipam"]["resolvConf"] = "/etc/cni/resolv.conf".into();
            Pod::new(host, name).add(&conf).expect_result().get("dns").cloned().unwrap_or_default()
        };
        assert_eq!(dns("kept", json!({}))["nameservers"], json!(["192.0.2.1"]));
        assert_eq!(dns("other", json!({"dns": {"nameservers": ["192.0.2.2"]}}))["nameservers"], json!(["192.0.2.2"]));
        assert_eq!(dns("none", json!({"dns": {"nameservers": []}})), Value::Null);
    });
}

#[test]
fn needs_addresses() {
    sandbox::run(|host| {
        let mut conf = conf(json!({}));
        conf.as_object_mut().expect("an object").remove("ipam");
        let before = host.state();
        Pod::new(host, "pod").add(&conf).expect_failure();
        if !host.peer().is_go() {
            assert_eq!(kernel::difference(&before, &host.state()), [""; 0]);
        }
    });
}

#[test]
fn leaves_by_the_hosts_address() {
    sandbox::run(|host| {
        if host.peer().is_go() && sandbox::nft_ruleset().is_none() {
            skip!("the Go plugins need nft");
        }
        let outside = Outside::new(host);
        let _client = outside.client.run(|| Server::both(7, "client"));
        let pod = Pod::new(host, "pod");
        let conf = conf(json!({"ipMasq": true, "ipMasqBackend": "nftables"}));
        let result = pod.add(&conf).expect_result();
        for (to, host_address) in [("192.0.2.100:7", "192.0.2.1"), ("[2001:db8:9::100]:7", "2001:db8:9::1")] {
            let answer = pod.netns().run(|| ask(Protocol::Tcp, to)).expect(to);
            assert_eq!(Some(answer.seen_from), ip(host_address));
        }
        let mut with_prev = conf.clone();
        with_prev["prevResult"] = result;
        pod.call("CHECK", &with_prev).run().expect_quiet();
        if host.peer().is_go() {
            // Its DEL fails beside this release of iptables.
            return;
        }
        for _ in 0..2 {
            pod.call("DEL", &with_prev).run().expect_quiet();
        }
        let left: Vec<String> =
            host.state().into_iter().filter(|l| l.contains("/masq/") || l.contains("10.1.2.2 ")).collect();
        assert_eq!(left, [""; 0]);
        let mut other = conf.clone();
        other["ipMasqBackend"] = "x".into();
        Pod::new(host, "x").add(&other).expect_failure();
    });
}
