//! host-local: which addresses it gives, what it writes, what it refuses (rows 109 to 120 of `parity.tsv`).

use std::fs;
use std::path::{Path, PathBuf};

use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::{Call, Outcome};
use serde_json::{Value, json};

const STORE: &str = "/var/lib/cni/networks/net";

fn conf(ipam: &Value) -> Value {
    let mut ipam = ipam.clone();
    ipam["type"] = "host-local".into();
    json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": ipam})
}

fn subnet(cidr: &str) -> Value {
    conf(&json!({"ranges": [[{"subnet": cidr}]]}))
}

fn call(host: &Sandbox, command: &str, id: &str, conf: &Value) -> Call {
    host.call(command, "host-local").id(id).netns(Path::new("/run/netns/any")).conf(conf)
}

fn add(host: &Sandbox, id: &str, conf: &Value) -> Outcome {
    call(host, "ADD", id, conf).run()
}

/// The addresses of a result, as printed.
fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().unwrap_or_else(|| panic!("no ips in {result}"));
    ips.iter().map(|ip| ip["address"].as_str().expect("an address").to_owned()).collect()
}

#[track_caller]
fn given(host: &Sandbox, id: &str, conf: &Value) -> Vec<String> {
    addresses(&add(host, id, conf).expect_result())
}

fn leases() -> Vec<String> {
    let entries = fs::read_dir(STORE).expect("the store");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.retain(|n| n.parse::<std::net::IpAddr>().is_ok());
    names.sort();
    names
}

#[test]
fn allocates_and_releases_both_families() {
    sandbox::run(|host| {
        let resolv = PathBuf::from("/etc/resolv.test");
        fs::write(&resolv, "nameserver 192.0.2.3\n").expect("a file in the private /etc");
        let conf = conf(&json!({
            "ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "10.2.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "192.168.0.0/16", "gw": "1.1.1.1"}],
            "resolvConf": resolv,
        }));
        let result = add(host, "c1", &conf).expect_result();
        assert_eq!(
            result,
            json!({
                "cniVersion": "1.0.0",
                "ips": [
                    {"address": "10.1.2.2/24", "gateway": "10.1.2.1"},
                    {"address": "2001:db8:1::2/64", "gateway": "2001:db8:1::1"},
                ],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "192.168.0.0/16", "gw": "1.1.1.1"}],
                "dns": {"nameservers": ["192.0.2.3"]},
            })
        );
        // What is on disk is shared with the Go plugin, so that nodes upgrade and roll back with live pods.
        assert_eq!(leases(), ["10.1.2.2", "2001:db8:1::2"]);
        for file in ["10.1.2.2", "2001:db8:1::2"] {
            assert_eq!(fs::read(Path::new(STORE).join(file)).expect("a lease"), b"c1\r\neth0");
        }
        assert_eq!(fs::read_to_string(format!("{STORE}/last_reserved_ip.0")).expect("the mark"), "10.1.2.2");
        assert_eq!(fs::read_to_string(format!("{STORE}/last_reserved_ip.1")).expect("the mark"), "2001:db8:1::2");
        call(host, "DEL", "c1", &conf).run().expect_quiet();
        assert_eq!(leases(), [""; 0]);
        call(host, "DEL", "c1", &conf).run().expect_quiet();
    });
}

#[test]
fn one_container_may_have_two_interfaces_but_no_interface_two_leases() {
    sandbox::run(|host| {
        let conf = subnet("10.1.2.0/24");
        assert_eq!(given(host, "c1", &conf), ["10.1.2.2/24"]);
        assert_eq!(addresses(&call(host, "ADD", "c1", &conf).ifname("net1").run().expect_result()), ["10.1.2.3/24"]);
        add(host, "c1", &conf).expect_phrases(&["10.1.2.2", "c1", "duplicate allocation is not allowed"]);
        call(host, "DEL", "c1", &conf).run().expect_quiet();
        assert_eq!(leases(), ["10.1.2.3"], "DEL of eth0 releases only its own lease");
    });
}

#[test]
fn releases_leases_of_old_formats() {
    sandbox::run(|host| {
        fs::create_dir_all(STORE).expect("the store");
        // Before interface names were stored; with white space around; of somebody else.
        for (ip, content) in [("10.1.2.7", "c1"), ("10.1.2.8", " c1\r\neth0 \n"), ("10.1.2.9", "c2\r\neth0")] {
            fs::write(Path::new(STORE).join(ip), content).expect("a lease");
        }
        let conf = subnet("10.1.2.0/24");
        call(host, "DEL", "c1", &conf).run().expect_quiet();
        call(host, "DEL", "c1", &conf).run().expect_quiet();
        assert_eq!(leases(), ["10.1.2.9"]);
    });
}

#[test]
fn releasing_what_was_never_given_succeeds() {
    sandbox::run(|host| {
        call(host, "DEL", "never", &subnet("10.1.2.0/24")).run().expect_quiet();
        call(host, "DEL", "never", &subnet("10.1.2.0/24")).without("CNI_NETNS").run().expect_quiet();
    });
}

#[test]
fn requested_addresses_are_given_or_refused() {
    sandbox::run(|host| {
        let conf = conf(&json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]]}));
        let ask = |id: &str, args: &str| call(host, "ADD", id, &conf).args(args).run();
        assert_eq!(addresses(&ask("c1", "IP=10.1.2.88").expect_result()), ["10.1.2.88/24", "2001:db8:1::2/64"]);
        let mut both = conf.clone();
        both["runtimeConfig"] = json!({"ips": ["10.1.2.99/24", "2001:db8:1::999"]});
        assert_eq!(given(host, "c2", &both), ["10.1.2.99/24", "2001:db8:1::999/64"]);
        let mut args = conf.clone();
        args["args"] = json!({"cni": {"ips": ["10.1.2.77"]}});
        assert_eq!(given(host, "c3", &args), ["10.1.2.77/24", "2001:db8:1::99a/64"], "the mark follows requests too");
        ask("c4", "IP=10.1.2.88").expect_phrases(&["10.1.2.88", "not available"]);
        ask("c4", "IP=10.1.2.1").expect_phrases(&["10.1.2.1", "gateway"]);
        ask("c4", "IP=192.0.2.1").expect_phrases(&["failed to allocate all requested IPs", "192.0.2.1"]);
        ask("c4", "IP=nonsense").expect_failure();
        ask("c4", "NOPE=1").expect_failure();
        assert_eq!(leases().len(), 6, "a refused ADD keeps no lease: {:?}", leases());
        assert!(addresses(&ask("c4", "IgnoreUnknown=1;NOPE=1").expect_result())[0].starts_with("10.1.2."));
    });
}

#[test]
fn resolv_conf_is_read_as_resolvers_read_it() {
    sandbox::run(|host| {
        let text = "# a comment\n; another\nnameserver 192.0.2.1\nnameserver\t192.0.2.2\ndomain example.com\n\
                    search a.example.com b.example.com\nsearch c.example.com\noptions ndots:2 rotate\noptions debug\n\n";
        fs::write("/etc/resolv.test", text).expect("a file in the private /etc");
        let conf = conf(&json!({"ranges": [[{"subnet": "10.1.2.0/24"}]], "resolvConf": "/etc/resolv.test"}));
        assert_eq!(
            add(host, "c1", &conf).expect_result()["dns"],
            json!({
                "nameservers": ["192.0.2.1", "192.0.2.2"],
                "domain": "example.com",
                "search": ["a.example.com", "b.example.com", "c.example.com"],
                "options": ["ndots:2", "rotate", "debug"],
            })
        );
    });
}

#[test]
fn impossible_ranges_are_refused() {
    let cases: [(Value, &[&str]); 12] = [
        (json!({"ranges": [[{"subnet": "10.1.2.0/31"}]]}), &["too small to allocate from"]),
        (json!({"ranges": [[{"subnet": "2001:db8::/127"}]]}), &["too small to allocate from"]),
        (json!({"ranges": [[{"subnet": "10.1.2.5/24"}]]}), &["host bits"]),
        (json!({"ranges": [[{"subnet": "10.1.2.0/24", "rangeStart": "10.1.3.1"}]]}), &["10.1.3.1", "not in network"]),
        (json!({"ranges": [[{"subnet": "10.1.2.0/24", "rangeEnd": "10.1.1.9"}]]}), &["10.1.1.9", "not in network"]),
        (json!({"ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "2001:db8::/64"}]]}), &["mixed address families"]),
        (json!({"ranges": [[{"subnet": "10.1.0.0/16"}, {"subnet": "10.1.2.0/24"}]]}), &["overlap"]),
        (json!({"ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "10.1.2.0/24"}]]}), &["overlap"]),
        (json!({"ranges": [[]]}), &[]),
        (json!({"ranges": [[{"gateway": "10.1.2.1"}]]}), &[]),
        (json!({}), &["no IP ranges specified"]),
        (json!({"ranges": [[{"subnet": "10.1.2.0/33"}]]}), &[]),
    ];
    sandbox::run(|host| {
        for (ipam, phrases) in cases {
            add(host, "c1", &conf(&ipam)).expect_phrases(phrases);
            assert!(!Path::new(STORE).exists() || leases().is_empty(), "{ipam} left a lease");
        }
        let no_ipam = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge"});
        add(host, "c1", &no_ipam).expect_phrases(&["ipam"]);
    });
}

#[test]
fn old_and_new_spellings_of_the_config_add_up() {
    sandbox::run(|host| {
        // The first form, before `ranges` existed, is the first range set.
        let old = json!({
            "subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.20", "gateway": "10.1.2.30",
            "ranges": [[{"subnet": "2001:db8:1::/64"}]],
        });
        let result = add(host, "c1", &conf(&old)).expect_result();
        assert_eq!(addresses(&result), ["10.1.2.9/24", "2001:db8:1::2/64"]);
        assert_eq!(result["ips"][0]["gateway"], "10.1.2.30");
        // Ranges a runtime passes come before those of the file.
        let mut with_runtime = conf(&json!({"ranges": [[{"subnet": "2001:db8:1::/64"}]]}));
        with_runtime["runtimeConfig"] = json!({"ipRanges": [[{"subnet": "10.9.0.0/24"}]]});
        assert_eq!(given(host, "c2", &with_runtime), ["10.9.0.2/24", "2001:db8:1::3/64"]);
        // Versions before 0.3.0 have room for one address of each family.
        let mut two = conf(&json!({"ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "10.5.0.0/24"}]]}));
        two["cniVersion"] = "0.2.0".into();
        add(host, "c3", &two).expect_phrases(&["more than 1 address per family"]);
        two["cniVersion"] = "0.3.0".into();
        assert_eq!(given(host, "c3", &two).len(), 2);
        // Another directory for leases.
        let elsewhere = conf(&json!({"subnet": "10.1.2.0/24", "dataDir": "/run/leases"}));
        given(host, "c4", &elsewhere);
        assert!(Path::new("/run/leases/net/10.1.2.2").is_file());
    });
}

#[test]
fn goes_round_and_skips_what_is_not_for_pods() {
    sandbox::run(|host| {
        // .1 is the gateway, .7 the broadcast address: five addresses are left.
        let conf = subnet("10.1.2.0/29");
        let mut seen = Vec::new();
        for pod in 0..5 {
            seen.extend(given(host, &format!("c{pod}"), &conf));
        }
        assert_eq!(seen, ["10.1.2.2/29", "10.1.2.3/29", "10.1.2.4/29", "10.1.2.5/29", "10.1.2.6/29"]);
        add(host, "c5", &conf).expect_phrases(&["no IP addresses available in range set", "10.1.2.1-10.1.2.6"]);
        // The next address is the one after the last given, not the lowest free one.
        call(host, "DEL", "c1", &conf).run().expect_quiet();
        call(host, "DEL", "c3", &conf).run().expect_quiet();
        assert_eq!(given(host, "c6", &conf), ["10.1.2.3/29"]);
        call(host, "DEL", "c0", &conf).run().expect_quiet();
        assert_eq!(given(host, "c7", &conf), ["10.1.2.5/29"]);
        assert_eq!(given(host, "c8", &conf), ["10.1.2.2/29"]);
    });
}

#[test]
fn a_range_within_the_subnet_is_kept_to() {
    sandbox::run(|host| {
        let conf = conf(&json!({"ranges": [
            [{"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.10", "rangeEnd": "10.1.2.11", "gateway": "10.1.2.10"},
             {"subnet": "10.1.3.0/24", "rangeStart": "10.1.3.5", "rangeEnd": "10.1.3.5"}],
        ]}));
        assert_eq!(given(host, "c1", &conf), ["10.1.2.11/24"]);
        let second = add(host, "c2", &conf).expect_result();
        assert_eq!(addresses(&second), ["10.1.3.5/24"]);
        assert_eq!(second["ips"][0]["gateway"], "10.1.3.1");
        add(host, "c3", &conf).expect_phrases(&["no IP addresses available"]);
    });
}

#[test]
fn a_failed_set_releases_the_sets_before_it() {
    sandbox::run(|host| {
        let conf = conf(&json!({"ranges": [
            [{"subnet": "10.1.2.0/24"}],
            [{"subnet": "10.1.3.0/24", "rangeStart": "10.1.3.5", "rangeEnd": "10.1.3.5"}],
        ]}));
        given(host, "c1", &conf);
        add(host, "c2", &conf).expect_phrases(&["no IP addresses available"]);
        assert_eq!(leases(), ["10.1.2.2", "10.1.3.5"]);
    });
}

#[test]
fn parallel_calls_never_share_an_address() {
    sandbox::run(|host| {
        let conf = subnet("10.1.2.0/24");
        let results: Vec<String> = std::thread::scope(|scope| {
            let (host, conf) = (&host, &conf);
            let threads: Vec<_> = (0..8)
                .map(|t| {
                    scope.spawn(move || {
                        (0..10).flat_map(|i| given(host, &format!("c{t}-{i}"), conf)).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|t| t.join().expect("a thread")).collect()
        });
        let distinct: std::collections::BTreeSet<&String> = results.iter().collect();
        assert_eq!((results.len(), distinct.len()), (80, 80));
        assert_eq!(leases().len(), 80);
    });
}

#[test]
fn waits_for_the_lock_of_the_store() {
    sandbox::run(|host| {
        fs::create_dir_all(STORE).expect("the store");
        let lock = fs::File::create(Path::new(STORE).join("lock")).expect("the lock file");
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("a free lock");
        std::thread::scope(|scope| {
            let conf = subnet("10.1.2.0/24");
            let waiting = scope.spawn(move || add(host, "c1", &conf));
            std::thread::sleep(std::time::Duration::from_millis(200));
            assert!(!waiting.is_finished(), "an address was given while another process held the lock");
            assert_eq!(leases(), [""; 0]);
            drop(lock);
            waiting.join().expect("a thread").expect_result();
        });
    });
}

#[test]
fn check_finds_the_lease_or_says_whose_is_missing() {
    sandbox::run(|host| {
        let conf = subnet("10.1.2.0/24");
        let result = add(host, "c1", &conf).expect_result();
        let check = |id: &str| call(host, "CHECK", id, &conf).conf_after(&conf, &result).run();
        check("c1").expect_quiet();
        check("c2").expect_phrases(&["Failed to find address added by container", "c2"]);
        call(host, "DEL", "c1", &conf).run().expect_quiet();
        check("c1").expect_phrases(&["c1"]);
    });
}
