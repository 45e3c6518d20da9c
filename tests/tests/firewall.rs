//! firewall with real packets: those that must pass and those that must not, alone on a host and beside the rules of
//! others (rows 139 and 141 of `parity.tsv`). The Go plugin uses iptables in all of them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use picocni_tests::guarded::{Guarded, bridge, bridge_netfilter, firewall, run};
use picocni_tests::kernel::edit;
use picocni_tests::outside::Outside;
use picocni_tests::peer::Peer;
use picocni_tests::traffic::{Protocol, Server, ask};
use picocni_tests::{Pod, paths, sandbox, skip};
use serde_json::json;

#[test]
fn bridges_are_kept_apart_by_a_policy() {
    for netfilter in [false, true] {
        sandbox::run(|host| {
            let outside = Outside::new(host);
            bridge_netfilter(netfilter);
            let policy = json!({"backend": "nftables", "ingressPolicy": "same-bridge"});
            let one = Guarded::new(host, "one", ("cni1", 1), &policy);
            let mate = Guarded::new(host, "mate", ("cni1", 1), &policy);
            let two = Guarded::new(host, "two", ("cni2", 2), &policy);
            let open = Guarded::new(host, "open", ("cni3", 3), &json!({"backend": "nftables"}));
            one.reaches(&mate, true);
            one.reaches(&two, false);
            two.reaches(&one, false);
            one.reaches(&open, true);
            open.reaches(&one, true);
            assert_eq!(outside.client.run(|| ask(Protocol::Tcp, &one.doors()[0])).map(|a| a.who), Ok("one".into()));
            // The last but one of a bridge leaves it as it is, the last one opens it.
            mate.del();
            one.reaches(&two, false);
            one.call("CHECK").expect_quiet();
            two.del();
            if host.peer().is_go() {
                // Version 1.9.1 keeps a bridge apart for ever.
                return;
            }
            let two = Guarded::new(host, "again", ("cni2", 2), &json!({"backend": "nftables"}));
            one.reaches(&two, true);
        });
    }
}

#[test]
fn pods_of_one_bridge_are_isolated_whatever_the_bridge_hands_on() {
    for netfilter in [false, true] {
        sandbox::run(|host| {
            let outside = Outside::new(host);
            if host.peer().is_go() && !netfilter {
                // Version 1.9.1 does not see frames that stay on the bridge.
                return;
            }
            bridge_netfilter(netfilter);
            let policy = json!({"backend": "nftables", "ingressPolicy": "isolated"});
            let one = Guarded::new(host, "one", ("cni1", 1), &policy);
            let mate = Guarded::new(host, "mate", ("cni1", 1), &policy);
            let two =
                Guarded::new(host, "two", ("cni2", 2), &json!({"backend": "nftables", "ingressPolicy": "same-bridge"}));
            let open = Guarded::new(host, "open", ("cni3", 3), &json!({"backend": "nftables"}));
            let _own = Server::both(81, "host");
            let _far = outside.far.run(|| Server::both(80, "far"));
            one.reaches(&mate, false);
            mate.reaches(&one, false);
            one.reaches(&two, false);
            two.reaches(&one, false);
            one.reaches(&open, true);
            // The host, its neighbours, and from there.
            let from_one = |to: &str| one.pod.netns().run(|| ask(Protocol::Tcp, to)).map(|a| a.who);
            assert_eq!(from_one("10.1.1.1:81"), Ok("host".into()));
            assert_eq!(from_one("[2001:db8:1::1]:81"), Ok("host".into()));
            assert_eq!(from_one("203.0.113.2:80"), Ok("far".into()));
            assert_eq!(outside.client.run(|| ask(Protocol::Udp, &one.doors()[1])).map(|a| a.who), Ok("one".into()));
            one.call("CHECK").expect_quiet();
            mate.del();
            one.call("CHECK").expect_quiet();
        });
    }
}

/// A rule set of `tests/rulesets`.
fn ruleset(file: &str) -> String {
    std::fs::read_to_string(paths::root().join("tests/rulesets").join(file)).expect("a rule set")
}

fn feed(program: &str, words: &[&str], text: &str) {
    let mut command = Command::new(program);
    let mut child = command.args(words).stdin(Stdio::piped()).spawn().unwrap_or_else(|e| panic!("{program}: {e}"));
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success(), "{program} takes the rules");
}

/// The filter tables without what changes from one look to the next.
fn filter_tables() -> Vec<String> {
    let mut lines = Vec::new();
    for program in ["iptables-save", "ip6tables-save"] {
        let text = run(program, &["-t", "filter"]);
        lines.extend(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
    }
    // Packet counts of policies.
    lines.iter().map(|line| line.split(" [").next().unwrap_or_default().to_owned()).collect()
}

/// Makes the programs of iptables that the plugins find those of one flavour.
fn default_iptables(flavour: &str) {
    std::fs::create_dir_all("/run/iptables").expect("a private /run");
    for name in ["iptables", "ip6tables", "iptables-save", "ip6tables-save", "iptables-restore", "ip6tables-restore"] {
        let link = Path::new("/run/iptables").join(name);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(format!("/usr/sbin/xtables-{flavour}-multi"), link).expect("a link");
    }
}

#[test]
fn where_docker_drops_pods_are_let_through_by_iptables() {
    for flavour in ["nft", "legacy"] {
        sandbox::run(|host| {
            if sandbox::nft_ruleset().is_none() {
                skip!("iptables has not been fetched");
            }
            let outside = Outside::new(host);
            bridge_netfilter(true);
            let _far = outside.far.run(|| Server::both(80, "far"));
            default_iptables(flavour);
            feed(&format!("iptables-{flavour}-restore"), &[], &ruleset("docker.iptables"));
            let save = || run(&format!("iptables-{flavour}-save"), &["-t", "filter"]);
            let (pod, bridge, conf) = (Pod::new(host, "pod"), bridge("cni1", 1), firewall("cni1", &json!({})));
            let result = pod.add(&bridge).expect_result();
            let _servers = pod.netns().run(|| Server::both(80, "pod"));
            let far = || pod.netns().run(|| ask(Protocol::Tcp, "203.0.113.2:80")).map(|a| a.who);
            let back = || outside.client.run(|| ask(Protocol::Udp, "10.1.1.2:80")).map(|a| a.who);
            assert!(far().is_err() && back().is_err(), "Docker drops what it does not know");
            let path = "/run/iptables:/usr/sbin:/usr/bin:/sbin:/bin";
            let call = |command: &str| pod.call(command, &conf).env("PATH", path).conf_after(&conf, &result).run();
            call("ADD").expect_result();
            assert_eq!(far(), Ok("far".into()), "{flavour}");
            // The peer lets out what pods send, and the answers in.
            assert!(back().is_err());
            call("CHECK").expect_quiet();
            let rules = save();
            for line in [
                "-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD",
                "-A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides\" -j CNI-ADMIN",
                "-A CNI-FORWARD -d 10.1.1.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "-A CNI-FORWARD -s 10.1.1.2/32 -j ACCEPT",
                "-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT",
            ] {
                assert_eq!(rules.lines().filter(|l| *l == line).count(), 1, "{line} in {rules}");
            }
            let first = rules.lines().find(|l| l.starts_with("-A FORWARD")).expect("rules");
            assert!(first.ends_with("-j CNI-FORWARD"), "before Docker's: {rules}");
            // The operator's own chain comes before the pods.
            run(&format!("iptables-{flavour}"), &["-A", "CNI-ADMIN", "-d", "203.0.113.2", "-j", "DROP"]);
            assert!(far().is_err());
            run(&format!("iptables-{flavour}"), &["-F", "CNI-ADMIN"]);
            assert_eq!(far(), Ok("far".into()));
            if !host.peer().is_go() {
                run(&format!("iptables-{flavour}"), &["-D", "CNI-FORWARD", "-s", "10.1.1.2", "-j", "ACCEPT"]);
                call("CHECK").expect_error(104, &["10.1.1.2"]);
            }
            call("DEL").expect_quiet();
            assert!(far().is_err(), "still let through after DEL");
            call("DEL").expect_quiet();
            assert!(!save().contains("10.1.1.2"), "{}", save());
        });
    }
}

#[test]
fn beside_kube_proxy_pods_services_and_ports_work() {
    for file in ["kube-proxy.iptables", "kube-proxy.nft"] {
        sandbox::run(|host| {
            if sandbox::nft_ruleset().is_none() {
                skip!("nft has not been fetched");
            }
            let outside = Outside::new(host);
            bridge_netfilter(true);
            let _far = outside.far.run(|| Server::both(80, "far"));
            // A node has a default route, without which a Service is unreachable before it is translated.
            edit::route("0.0.0.0/0", "192.0.2.100");
            match file.ends_with(".nft") {
                true => feed("nft", &["-f", "-"], &ruleset(file)),
                false => feed("iptables-nft-restore", &[], &ruleset(file)),
            }
            let web = Guarded::new(host, "web", ("cni1", 1), &json!({}));
            let other = Guarded::new(host, "other", ("cni1", 1), &json!({}));
            let portmap = json!({"cniVersion": "1.0.0", "name": "net-cni1", "type": "portmap", "backend": "nftables",
                "capabilities": {"portMappings": true}, "runtimeConfig":
                    {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}});
            web.pod.call("ADD", &portmap).conf_after(&portmap, &web.result).run().expect_result();
            other.reaches(&web, true);
            let from = |pod: &Guarded<'_>, to: &str| pod.pod.netns().run(|| ask(Protocol::Tcp, to)).map(|a| a.who);
            assert_eq!(from(&other, "203.0.113.2:80"), Ok("far".into()), "{file}");
            // The Service, from a pod, from the host, and from its own endpoint.
            assert_eq!(from(&other, "10.96.0.10:80"), Ok("web".into()), "{file}");
            assert_eq!(ask(Protocol::Tcp, "10.96.0.10:80").map(|a| a.who), Ok("web".into()), "{file}");
            assert!(from(&other, "10.96.0.20:80").is_err(), "a Service without endpoints");
            // The published port.
            assert_eq!(outside.client.run(|| ask(Protocol::Tcp, "192.0.2.1:8080")).map(|a| a.who), Ok("web".into()));
            assert_eq!(from(&other, "192.0.2.1:8080"), Ok("web".into()), "{file}");
            for pod in [&web, &other] {
                pod.call("CHECK").expect_quiet();
                pod.del();
            }
        });
    }
}

/// The filter tables after each step of the life of two pods.
fn life_of_two_pods(peer: Peer) -> Vec<Vec<String>> {
    sandbox::run_with(peer, |host| {
        let extra = json!({"backend": "iptables", "iptablesAdminChainName": "MY-ADMIN"});
        let mut steps = vec![filter_tables()];
        let one = Guarded::new(host, "one", ("cni1", 1), &extra);
        steps.push(filter_tables());
        run("iptables", &["-I", "FORWARD", "1", "-s", "192.0.2.7", "-j", "ACCEPT"]);
        run("iptables", &["-A", "MY-ADMIN", "-s", "192.0.2.8", "-j", "ACCEPT"]);
        let two = Guarded::new(host, "two", ("cni2", 2), &extra);
        steps.push(filter_tables());
        one.call("CHECK").expect_quiet();
        one.call("DEL").expect_quiet();
        steps.push(filter_tables());
        two.call("DEL").expect_quiet();
        two.call("DEL").expect_quiet();
        steps.push(filter_tables());
        steps
    })
}

#[test]
fn rules_of_iptables_are_the_peers() {
    let Some(go) = Peer::go() else { skip!("the Go plugins have not been fetched") };
    let (theirs, ours) = (life_of_two_pods(go), life_of_two_pods(Peer::picocni()));
    assert_eq!(theirs.len(), ours.len());
    for (at, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        assert_eq!(theirs, ours, "step {at}");
    }
    assert!(ours[2].iter().filter(|line| line.contains("-j ACCEPT")).count() == 10, "{:#?}", ours[2]);
}

#[test]
fn what_the_peer_left_is_taken_back_by_address_unless_another_has_it() {
    let Some(go) = Peer::go() else { skip!("the Go plugins have not been fetched") };
    sandbox::run_with(Peer::picocni(), |host| {
        let conf = firewall("cni1", &json!({"backend": "iptables"}));
        let (pod, bridge) = (Pod::new(host, "pod"), bridge("cni1", 1));
        let result = pod.add(&bridge).expect_result();
        std::fs::create_dir_all("/run/go").expect("a private /run");
        go.link_into(Path::new("/run/go"));
        let theirs = picocni_tests::Call::new(Path::new("/run/go"), "ADD", "firewall").id("pod");
        let before = || filter_tables().iter().filter(|line| line.contains("-A CNI-FORWARD")).count();
        theirs.netns(pod.netns().path()).conf_after(&conf, &result).run().expect_result();
        assert_eq!(before(), 6, "two families, each with a jump and two rules");
        // Another pod of ours has got the address.
        let other = Pod::new(host, "other");
        other.call("ADD", &conf).conf_after(&conf, &result).run().expect_result();
        pod.call("DEL", &conf).conf_after(&conf, &result).run().expect_quiet();
        assert_eq!(before(), 6, "the other's rules");
        other.call("CHECK", &conf).conf_after(&conf, &result).run().expect_quiet();
        other.call("DEL", &conf).conf_after(&conf, &result).run().expect_quiet();
        assert_eq!(before(), 2);
        let again = picocni_tests::Call::new(Path::new("/run/go"), "ADD", "firewall").id("pod");
        again.netns(pod.netns().path()).conf_after(&conf, &result).run().expect_result();
        assert_eq!(before(), 6);
        pod.call("DEL", &conf).conf_after(&conf, &result).run().expect_quiet();
        assert_eq!(before(), 2, "the jumps stay");
    });
}
