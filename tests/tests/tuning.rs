//! tuning behind bridge: sysctls and attributes of the pod's interface, their backup, and what is refused (rows 147 to
//! 152 of `parity.tsv`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use netlink_packet_route::link::LinkAttribute;
use picocni_tests::kernel::{self, Link, edit};
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::{Outcome, Pod};
use serde_json::{Value, json};

const MAC: &str = "02:11:22:33:44:55";
const BACKUP: &str = "/run/cni/tuning/c1_eth0.json";

fn bridge(version: &str) -> Value {
    json!({"cniVersion": version, "name": "net", "type": "bridge", "bridge": "br0",
        "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}})
}

fn tuning(version: &str, extra: Value) -> Value {
    let mut conf = json!({"cniVersion": version, "name": "net", "type": "tuning"});
    let extra = extra.as_object().expect("an object");
    conf.as_object_mut().expect("an object").extend(extra.clone());
    conf
}

/// A pod that bridge has wired, and calls of tuning after it.
struct Wired<'a> {
    pod: Pod<'a>,
    result: Value,
}

impl<'a> Wired<'a> {
    fn new(host: &'a Sandbox, version: &str) -> Self {
        let pod = Pod::new(host, "c1");
        let result = pod.add(&bridge(version)).expect_result();
        Self { pod, result }
    }

    fn call(&self, command: &str, conf: &Value) -> Outcome {
        self.pod.call(command, conf).conf_after(conf, &self.result).run()
    }

    /// The interface, without the state that follows its other end by itself.
    fn eth0(&self) -> Link {
        Link { oper_state: String::new(), ..self.pod.inside().link("eth0").clone() }
    }

    fn sysctl(&self, key: &str) -> String {
        self.pod.netns().run(|| kernel::sysctl(key))
    }
}

#[test]
fn the_result_of_the_plugin_before_is_handed_on() {
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        sandbox::run(|host| {
            let wired = Wired::new(host, version);
            let conf = tuning(version, json!({"sysctl": {"net.core.somaxconn": "500"}}));
            let printed = wired.call("ADD", &conf).expect_result();
            assert_eq!(printed, wired.result);
            assert_eq!(wired.sysctl("net.core.somaxconn"), "500");
            // Without anything to do nothing is done.
            let (inside, state) = (wired.pod.inside(), host.state());
            assert_eq!(wired.call("ADD", &tuning(version, json!({}))).expect_result(), wired.result);
            assert_eq!(inside.difference(&wired.pod.inside()), [""; 0]);
            assert_eq!(kernel::difference(&state, &host.state()), [""; 0]);
            let alone = wired.pod.call("ADD", &tuning(version, json!({})));
            alone.conf(&tuning(version, json!({}))).run().expect_phrases(&["prevResult"]);
        });
    }
}

/// Everything at once; the values a veth takes.
fn all() -> Value {
    json!({"mac": MAC, "promisc": true, "mtu": 1400, "allmulti": true, "txQLen": 555})
}

#[test]
fn attributes_are_set_checked_and_restored() {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        sandbox::run(|host| {
            let wired = Wired::new(host, version);
            let before = wired.eth0();
            let conf = tuning(version, all());
            let printed = wired.call("ADD", &conf).expect_result();
            let after = wired.eth0();
            assert_eq!((after.mac.as_str(), after.mtu, after.tx_queue_len), (MAC, 1400, 555), "{after:?}");
            assert!(after.promiscuous && after.all_multicast, "{after:?}");
            let named = printed["interfaces"].as_array().expect("a list").iter().find(|i| i["name"] == "eth0");
            assert_eq!(named.expect("eth0 is in the result")["mac"], MAC);
            let checked = wired.pod.call("CHECK", &conf).conf_after(&conf, &printed);
            checked.run().expect_quiet();
            check_notices(&wired, &conf, &printed);
            wired.call("DEL", &conf).expect_quiet();
            let restored = wired.eth0();
            assert_eq!(restored, before, "DEL restores what was there");
            assert!(!Path::new(BACKUP).exists());
            wired.call("DEL", &conf).expect_quiet();
        });
    }
}

fn check_notices(wired: &Wired, conf: &Value, printed: &Value) {
    type Damage = (fn(), fn());
    let damages: [(&str, Damage); 3] = [
        (
            "mac",
            (
                || set(LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9])),
                || {
                    set(LinkAttribute::Address(vec![2, 0x11, 0x22, 0x33, 0x44, 0x55]));
                },
            ),
        ),
        ("mtu", (|| edit::mtu("eth0", 1300), || edit::mtu("eth0", 1400))),
        ("queue", (|| set(LinkAttribute::TxQueueLen(7)), || set(LinkAttribute::TxQueueLen(555)))),
    ];
    let check = || wired.pod.call("CHECK", conf).conf_after(conf, printed).run();
    for (what, (damage, repair)) in damages {
        wired.pod.netns().run(damage);
        let outcome = check();
        assert_eq!(outcome.code, Some(1), "CHECK has not missed the {what}: {outcome}");
        wired.pod.netns().run(repair);
        check().expect_quiet();
    }
}

fn set(attribute: LinkAttribute) {
    edit::set("eth0", attribute);
}

#[test]
fn the_mac_has_four_sources_in_order() {
    let sources = [
        (json!({"mac": "02:00:00:00:00:01"}), "", "02:00:00:00:00:01"),
        (json!({"mac": "02:00:00:00:00:01"}), "IgnoreUnknown=1;MAC=02:00:00:00:00:02", "02:00:00:00:00:02"),
        (
            json!({"mac": "02:00:00:00:00:01", "capabilities": {"mac": true},
                "runtimeConfig": {"mac": "02:00:00:00:00:03"}}),
            "IgnoreUnknown=1;MAC=02:00:00:00:00:02",
            "02:00:00:00:00:03",
        ),
        (
            json!({"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02:00:00:00:00:03"},
                "args": {"cni": {"mac": "02:00:00:00:00:04"}}}),
            "IgnoreUnknown=1;MAC=02:00:00:00:00:02",
            "02:00:00:00:00:04",
        ),
    ];
    for (extra, args, mac) in sources {
        sandbox::run(|host| {
            let wired = Wired::new(host, "1.0.0");
            let conf = tuning("1.0.0", extra);
            let call = wired.pod.call("ADD", &conf).conf_after(&conf, &wired.result);
            let result = if args.is_empty() { call.run() } else { call.args(args).run() }.expect_result();
            assert_eq!(wired.eth0().mac, mac);
            assert!(result.to_string().contains(mac), "{result}");
        });
    }
}

#[test]
fn arguments_of_the_runtime_win_over_the_config() {
    sandbox::run(|host| {
        let wired = Wired::new(host, "1.0.0");
        let conf = tuning(
            "1.0.0",
            json!({"mtu": 1400, "txQLen": 5, "sysctl": {"net.core.somaxconn": "400"},
            "args": {"cni": {"mtu": 1350, "txQLen": 7, "promisc": true, "allmulti": true,
                "sysctl": {"net.core.somaxconn": "600", "net.ipv4.conf.IFNAME.log_martians": "1"}}}}),
        );
        wired.call("ADD", &conf).expect_result();
        let eth0 = wired.eth0();
        assert_eq!((eth0.mtu, eth0.tx_queue_len, eth0.promiscuous, eth0.all_multicast), (1350, 7, true, true));
        assert_eq!(wired.sysctl("net.core.somaxconn"), "600");
        assert_eq!(wired.sysctl("net.ipv4.conf.eth0.log_martians"), "1");
    });
}

#[test]
fn the_backup_is_a_private_file_in_the_configured_directory() {
    sandbox::run(|host| {
        let wired = Wired::new(host, "1.0.0");
        let before = wired.eth0();
        let dir = "/run/elsewhere/tuning";
        let conf = tuning("1.0.0", json!({"mac": MAC, "mtu": 1400, "dataDir": dir}));
        if host.peer().is_go() {
            // It makes one directory only, and without the right to enter it.
            fs::create_dir_all(dir).expect("a directory");
        }
        wired.call("ADD", &conf).expect_result();
        let path = Path::new(dir).join("c1_eth0.json");
        let backup: Value = serde_json::from_slice(&fs::read(&path).expect("the backup")).expect("JSON");
        assert_eq!((&backup["mac"], &backup["mtu"]), (&json!(before.mac), &json!(before.mtu)), "{backup}");
        let mode = fs::metadata(&path).expect("the backup").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // A second ADD finds changed values, and must not take them for the originals.
        if !host.peer().is_go() {
            wired.call("ADD", &conf).expect_result();
        }
        wired.call("DEL", &conf).expect_quiet();
        assert_eq!(wired.eth0(), before);
        assert!(!path.exists());
    });
}

#[test]
fn del_needs_neither_backup_nor_interface_nor_namespace() {
    for content in [None, Some(""), Some("{\"mtu\": 14"), Some("\u{0}\u{0}")] {
        sandbox::run(|host| {
            let wired = Wired::new(host, "1.0.0");
            let conf = tuning("1.0.0", all());
            wired.call("ADD", &conf).expect_result();
            match content {
                None => fs::remove_file(BACKUP).expect("the backup"),
                Some(text) => fs::write(BACKUP, text).expect("the backup"),
            }
            wired.call("DEL", &conf).expect_quiet();
        });
    }
    sandbox::run(|host| {
        let wired = Wired::new(host, "1.0.0");
        let conf = tuning("1.0.0", all());
        wired.call("ADD", &conf).expect_result();
        wired.pod.netns().run(|| edit::delete("eth0"));
        wired.call("DEL", &conf).expect_quiet();
        let path = wired.pod.remove();
        host.call("DEL", "tuning").netns(&path).conf(&conf).run().expect_quiet();
        host.call("DEL", "tuning").without("CNI_NETNS").conf(&conf).run().expect_quiet();
        if !host.peer().is_go() {
            assert!(!Path::new(BACKUP).exists(), "nobody will ever need it");
        }
    });
}

#[test]
fn the_allowlist_decides_which_sysctls_may_be_set() {
    let cases = [
        ("^net.core.somaxconn$\n", "net.core.somaxconn", true),
        ("^net.core.somaxconn$\n", "net.ipv4.conf.IFNAME.log_martians", false),
        ("^net\\.ipv4\\.conf\\.(all|IFNAME)\\..*$\n^net.core\n", "net.ipv4.conf.IFNAME.log_martians", true),
        // Unanchored, as the peer reads it.
        ("somax\n", "net.core.somaxconn", true),
        ("", "net.core.somaxconn", false),
    ];
    for (list, key, allowed) in cases {
        sandbox::run(|host| {
            fs::create_dir_all("/etc/cni/tuning").expect("a directory");
            fs::write("/etc/cni/tuning/allowlist.conf", list).expect("the allowlist");
            let wired = Wired::new(host, "1.0.0");
            let conf = tuning("1.0.0", json!({"sysctl": {key: "1"}}));
            let real = key.replace("IFNAME", "eth0");
            let before = wired.sysctl(&real);
            let outcome = wired.call("ADD", &conf);
            if allowed {
                outcome.expect_result();
                assert_eq!(wired.sysctl(&real), "1");
            } else {
                outcome.expect_phrases(&["not allowed"]);
                assert_eq!(wired.sysctl(&real), before);
            }
        });
    }
}

#[test]
fn only_sysctls_below_net_can_be_named() {
    sandbox::run(|host| {
        let wired = Wired::new(host, "1.0.0");
        for key in ["kernel.hostname", "kernel/../net/core", "vm.swappiness", "", "net"] {
            let conf = tuning("1.0.0", json!({"sysctl": {key: "1"}}));
            wired.call("ADD", &conf).expect_phrases(&["invalid net sysctl key"]);
        }
        // Dots become slashes before anything else, so this names a file below net that is not there.
        let conf = tuning("1.0.0", json!({"sysctl": {"net/../kernel/hostname": "1"}}));
        wired.call("ADD", &conf).expect_failure();
        let twice = r#"{"cniVersion": "1.0.0", "name": "net", "type": "tuning",
            "sysctl": {"net.core.somaxconn": "1", "net.core.somaxconn": "2"}}"#;
        let call = wired.pod.call("ADD", &tuning("1.0.0", json!({})));
        call.stdin(twice).run().expect_phrases(&["duplicated sysctl keys are not allowed"]);
        // With slashes, and with a name that has a dot in it: the dots around IFNAME are separators, its own is not.
        wired.pod.netns().run(|| edit::veth("a.b", "peer"));
        let conf = tuning(
            "1.0.0",
            json!({"sysctl": {
                "net/core/somaxconn": "300", "net.ipv4.conf.IFNAME.log_martians": "1",
            }}),
        );
        let call = wired.pod.call("ADD", &conf).ifname("a.b").conf_after(&conf, &wired.result);
        call.run().expect_result();
        assert_eq!(wired.sysctl("net.core.somaxconn"), "300");
        assert_eq!(wired.sysctl("net/ipv4/conf/a.b/log_martians"), "1");
    });
}

#[test]
fn check_reads_sysctls_back() {
    sandbox::run(|host| {
        let wired = Wired::new(host, "1.0.0");
        let conf = tuning("1.0.0", json!({"sysctl": {"net.core.somaxconn": "300"}}));
        wired.call("ADD", &conf).expect_result();
        wired.call("CHECK", &conf).expect_quiet();
        wired.pod.netns().run(|| kernel::set_sysctl("net.core.somaxconn", "301"));
        wired.call("CHECK", &conf).expect_failure();
        wired.pod.call("CHECK", &conf).run().expect_phrases(&["prevResult"]);
    });
}

#[test]
fn gc_removes_backups_of_stale_attachments() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            return;
        }
        let wired = Wired::new(host, "1.1.0");
        wired.call("ADD", &tuning("1.1.0", all())).expect_result();
        let foreign = "/run/cni/tuning/other_eth0.json";
        fs::write(foreign, "{\"mtu\": 1400}").expect("a backup of somebody else's");
        let gc = |valid: Value| {
            let conf = tuning("1.1.0", json!({"cni.dev/valid-attachments": valid}));
            host.call("GC", "tuning").conf(&conf).run().expect_quiet();
        };
        gc(json!([{"containerID": "c1", "ifname": "eth0"}]));
        assert!(Path::new(BACKUP).exists());
        gc(json!([]));
        assert!(!Path::new(BACKUP).exists());
        assert!(Path::new(foreign).exists(), "it does not say whose it is");
    });
}
