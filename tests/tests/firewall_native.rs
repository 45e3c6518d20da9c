//! firewall by nftables of our own: what is in the table, and when it is enough (row 140 of `parity.tsv`).

use std::path::Path;

use picocni_tests::guarded::{Guarded, run};
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::{Outcome, kernel, skip};
use serde_json::json;

#[test]
fn the_operators_chain_comes_first_and_is_kept() {
    sandbox::run(|host| {
        if sandbox::nft_ruleset().is_none() {
            skip!("nft has not been fetched");
        }
        let conf = json!({"backend": "nftables"});
        let one = Guarded::new(host, "one", ("cni1", 1), &conf);
        let two = Guarded::new(host, "two", ("cni2", 2), &conf);
        one.reaches(&two, true);
        run("nft", &["add rule inet picocni admin meta l4proto { tcp, udp } th dport 80 drop"]);
        one.reaches(&two, false);
        let three = Guarded::new(host, "three", ("cni3", 3), &conf);
        two.del();
        one.reaches(&three, false);
        assert!(sandbox::nft_ruleset().is_some_and(|rules| rules.contains("th dport 80 drop")));
        run("nft", &["flush chain inet picocni admin"]);
        one.reaches(&three, true);
    });
}

#[test]
fn a_pod_is_an_element_with_its_owner_and_packets_add_none() {
    sandbox::run(|host| {
        if sandbox::nft_ruleset().is_none() {
            skip!("nft has not been fetched");
        }
        let conf = json!({"backend": "nftables", "ingressPolicy": "isolated"});
        let one = Guarded::new(host, "one", ("cni1", 1), &conf);
        let before = host.state();
        let open = Guarded::new(host, "two", ("cni2", 2), &json!({"backend": "nftables"}));
        let rules = sandbox::nft_ruleset().expect("nft");
        for line in
            ["10.1.1.2 comment \"picocni:net-cni1:one:eth0\"", "2001:db8:2::2 comment \"picocni:net-cni2:two:eth0\""]
        {
            assert!(rules.contains(line), "{line} is not in {rules}");
        }
        // The rules are these, however many pods there are.
        for line in [
            "jump admin",
            "iifname . oifname @closed drop",
            "iifname @apart oifname @apart iifname . oifname != @own drop",
            "ip daddr @pods4 ct state established,related accept",
            "ip saddr @pods4 accept",
            "ip6 daddr @pods6 ct state established,related accept",
            "ip6 saddr @pods6 accept",
            "iif @isolated jump drop-ip",
            "oif @isolated jump drop-ip",
            "meta protocol ip drop",
            "meta protocol ip6 drop",
        ] {
            assert_eq!(rules.lines().filter(|l| l.trim() == line).count(), 1, "{line} in {rules}");
        }
        for _ in 0..3 {
            one.reaches(&open, true);
        }
        assert_eq!(sandbox::nft_ruleset().expect("nft"), rules, "packets change nothing");
        // What nft lists it can load again.
        std::fs::write("/run/rules", format!("flush ruleset\n{rules}")).expect("a file");
        run("nft", &["-f", "/run/rules"]);
        assert_eq!(sandbox::nft_ruleset().expect("nft"), rules);
        one.reaches(&open, true);
        open.del();
        let left: Vec<String> =
            kernel::difference(&before, &host.state()).into_iter().filter(|l| l.contains("nft ")).collect();
        assert_eq!(left, [""; 0], "DEL leaves nothing of the pod");
    });
}

/// What STATUS says of the automatic choice where no iptables can be executed.
fn choice_without_iptables(host: &Sandbox) -> Outcome {
    let conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "firewall"});
    // What `iptables` and the others are links to.
    let program = Path::new("/usr/sbin/xtables-nft-multi");
    sandbox::bind(Path::new("/dev/null"), program);
    let outcome = host.call("STATUS", "firewall").conf(&conf).run();
    sandbox::unmount(program);
    outcome
}

#[test]
fn whoever_may_drop_what_is_forwarded_is_found() {
    const FORWARD: &str = "type filter hook forward priority 0;";
    let base = |rules: &str| format!("{{ chain base {{ {FORWARD} {rules} }} }}");
    let cases = [
        ("table inet t { }".to_owned(), None),
        (format!("table ip t {}", base("policy drop;")), Some("table ip t, chain base (policy drop)")),
        (format!("table ip6 t {}", base("policy drop;")), Some("table ip6 t, chain base (policy drop)")),
        (format!("table inet t {}", base("policy accept; tcp dport 22 drop;")), Some("table inet t, chain base ")),
        (format!("table inet t {}", base("reject;")), Some("chain base")),
        (format!("table inet t {}", base("ct state vmap { invalid : drop };")), Some("chain base")),
        (format!("table inet t {}", base("counter accept; ip saddr 10.0.0.1 return;")), None),
        // Other hooks, other families, and rules that no forwarded packet comes to.
        ("table inet t { chain c { type filter hook input priority 0; policy drop; drop; } }".to_owned(), None),
        (format!("table bridge t {}", base("policy drop;")), None),
        ("table ip t { chain c { drop; } }".to_owned(), None),
        // By way of other chains, in a circle of two as well.
        (
            format!(
                "table ip t {{ chain c {{ drop; }} chain b {{ goto c; }} chain a {{ ip saddr 10.0.0.1 jump b; }}
                 chain base {{ {FORWARD} jump a; }} }}"
            ),
            Some("table ip t, chain c "),
        ),
        (
            format!(
                "table ip t {{ chain b {{ accept; }} chain a {{ jump b; jump b; }}
                 chain base {{ {FORWARD} jump a; jump b; }} }}"
            ),
            None,
        ),
        // More than can be followed.
        (
            format!(
                "table ip t {{ {} chain base {{ {FORWARD} {} }} }}",
                (0..99).map(|n| format!("chain c{n} {{ accept; }} ")).collect::<String>(),
                (0..99).map(|n| format!("jump c{n}; ")).collect::<String>()
            ),
            Some("and many more"),
        ),
        (
            format!("table ip {} {{ chain base {{ {FORWARD} accept; }} }}", "t".repeat(100)),
            Some("table ip with a long name"),
        ),
    ];
    sandbox::run(|host| {
        if sandbox::nft_ruleset().is_none() {
            skip!("nft has not been fetched");
        }
        choice_without_iptables(host).expect_quiet();
        // Our own table is no stranger.
        Guarded::new(host, "pod", ("cni1", 1), &json!({"backend": "nftables", "ingressPolicy": "isolated"}));
        for (rules, place) in cases {
            // nft wants a line to end where we write a brace.
            std::fs::write("/run/rules", rules.replace("} ", "}\n")).expect("a file");
            run("nft", &["-f", "/run/rules"]);
            let outcome = choice_without_iptables(host);
            match place {
                Some(place) => drop(outcome.expect_error(50, &[place, "\"backend\": \"nftables\""])),
                None => assert_eq!(outcome.code, Some(0), "{rules}: {outcome}"),
            }
            let (family, rest) = rules.strip_prefix("table ").and_then(|r| r.split_once(' ')).expect("a table");
            run("nft", &["delete", "table", family, rest.split(' ').next().expect("a name")]);
        }
        // By iptables: a policy, a REJECT (which is an expression of its own), and one that only accepts.
        for (iptables, words, place) in [
            ("iptables-nft", "-P FORWARD DROP", Some("table ip filter, chain FORWARD (policy drop)")),
            ("iptables-nft", "-P FORWARD ACCEPT", None),
            ("ip6tables-nft", "-A FORWARD -s 2001:db8::1 -j REJECT", Some("table ip6 filter, chain FORWARD")),
            ("ip6tables-nft", "-F FORWARD", None),
            ("iptables-nft", "-A FORWARD -m conntrack --ctstate INVALID -j DROP", Some("chain FORWARD")),
            ("iptables-nft", "-F FORWARD", None),
            ("iptables-nft", "-A FORWARD -s 10.0.0.1 -j ACCEPT", None),
            ("ip6tables-legacy", "-A FORWARD -j ACCEPT", Some("table filter of ip6tables-legacy")),
            ("iptables-legacy", "-A FORWARD -j ACCEPT", Some("table filter of iptables-legacy")),
        ] {
            run(iptables, &words.split(' ').collect::<Vec<&str>>());
            let outcome = choice_without_iptables(host);
            match place {
                Some(place) => drop(outcome.expect_error(50, &[place])),
                None => assert_eq!(outcome.code, Some(0), "{words}: {outcome}"),
            }
        }
    });
}
