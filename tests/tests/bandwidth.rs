//! bandwidth behind bridge: token buckets, the ifb and the redirection as another implementation reads them back, and
//! what is refused (rows 142 to 145 of `parity.tsv`). Measured throughput is in `bandwidth_traffic.rs`.

use netlink_packet_route::link::InfoKind;
use picocni_tests::kernel::{Bucket, Snapshot, difference, edit};
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::{Outcome, Pod, needs, skip};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

fn bridge(version: &str) -> Value {
    json!({"cniVersion": version, "name": "net", "type": "bridge", "bridge": "br0", "mtu": 1400,
        "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}})
}

fn bandwidth(version: &str, extra: &Value) -> Value {
    let mut conf = json!({"cniVersion": version, "name": "net", "type": "bandwidth"});
    conf.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    conf
}

/// 10 Mbit/s in, 20 Mbit/s out, 100 KiB each at once.
fn both() -> Value {
    json!({"ingressRate": 10_000_000, "ingressBurst": 819_200, "egressRate": 20_000_000, "egressBurst": 819_200})
}

/// The name that the container's ifb has: network and container ID, digested together.
fn ifb(id: &str) -> String {
    let digest = Sha512::digest(format!("net{id}"));
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("bwp{hex}")
}

/// A pod that bridge has wired, and calls of bandwidth after it.
struct Wired<'a> {
    pod: Pod<'a>,
    result: Value,
}

impl<'a> Wired<'a> {
    fn new(host: &'a Sandbox, id: &str, version: &str) -> Self {
        let pod = Pod::new(host, id);
        let result = pod.add(&bridge(version)).expect_result();
        Self { pod, result }
    }

    fn call(&self, command: &str, conf: &Value) -> Outcome {
        self.pod.call(command, conf).conf_after(conf, &self.result).run()
    }

    fn end(&self) -> String {
        self.pod.host_end().name
    }
}

#[test]
fn both_directions_are_shaped() {
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        sandbox::run(|host| {
            let wired = Wired::new(host, "c1", version);
            let (end, ifb, before) = (wired.end(), ifb("c1"), host.state());
            let conf = bandwidth(version, &both());
            let printed = wired.call("ADD", &conf).expect_result();
            let here = Snapshot::here();
            assert_eq!(here.qdiscs_of(&end), ["tbf 1:", "ingress ffff:"]);
            assert_eq!(here.bucket(&end), Some(Bucket { rate: 1_250_000, buffer: 1_280_000, limit: 133_650 }));
            assert_eq!(here.qdiscs_of(&ifb), ["tbf 1:"]);
            assert_eq!(here.bucket(&ifb), Some(Bucket { rate: 2_500_000, buffer: 640_000, limit: 164_900 }));
            assert_eq!(here.redirection(&end), Some(ifb.as_str()));
            let link = here.link(&ifb);
            assert_eq!((link.kind.as_str(), link.mtu, link.tx_queue_len, link.up), ("ifb", 1400, 0, true));
            let mut expected = wired.result.clone();
            let interface = json!({"name": ifb, "mac": link.mac});
            expected["interfaces"].as_array_mut().expect("a list").push(interface);
            assert_eq!(printed, expected);
            if version >= "0.4.0" {
                wired.pod.call("CHECK", &conf).conf_after(&conf, &printed).run().expect_quiet();
            }
            for _ in 0..2 {
                wired.call("DEL", &conf).expect_quiet();
                assert!(Snapshot::here().find_link(&ifb).is_none());
            }
            if !host.peer().is_go() {
                assert_eq!(difference(&before, &host.state()), [""; 0], "DEL on its own lifts all of it");
            }
            wired.call("DEL", &bridge(version)).expect_quiet();
            assert!(Snapshot::here().find_link(&end).is_none());
        });
    }
}

#[test]
fn one_direction_or_none() {
    sandbox::run(|host| {
        for (number, extra) in [
            json!({"ingressRate": 8, "ingressBurst": 8, "egressRate": 0, "egressBurst": 0}),
            json!({"egressRate": 8, "egressBurst": 8}),
            json!({}),
            json!({"ingressRate": 0, "ingressBurst": 0}),
            json!({"runtimeConfig": {"bandwidth": {}}}),
        ]
        .iter()
        .enumerate()
        {
            let id = format!("c{number}");
            let wired = Wired::new(host, &id, "1.0.0");
            let conf = bandwidth("1.0.0", extra);
            let printed = wired.call("ADD", &conf).expect_result();
            let (here, end, ifb) = (Snapshot::here(), wired.end(), ifb(&id));
            let slow = Bucket { rate: 1, buffer: 15_625_000, limit: 1 };
            assert_eq!(here.bucket(&end), (number == 0).then_some(slow), "{extra}");
            assert_eq!(here.redirection(&end), (number == 1).then_some(ifb.as_str()), "{extra}");
            assert_eq!(here.find_link(&ifb).is_some(), number == 1, "{extra}");
            if number == 1 {
                assert_eq!(here.bucket(&ifb), Some(slow));
            } else {
                assert_eq!(printed["interfaces"], wired.result["interfaces"]);
            }
            wired.pod.call("CHECK", &conf).conf_after(&conf, &printed).run().expect_quiet();
            wired.call("DEL", &conf).expect_quiet();
            wired.call("DEL", &bridge("1.0.0")).expect_quiet();
        }
    });
}

#[test]
fn the_runtime_says_it_in_its_own_spelling_and_the_config_wins() {
    let runtime = json!({"bandwidth": {"IngressRate": 10_000_000, "IngressBurst": 4_294_967_295_u64,
        "EgressRate": 100_000_000, "EgressBurst": 4_294_967_295_u64}});
    sandbox::run(|host| {
        let wired = Wired::new(host, "c1", "1.0.0");
        let conf = json!({"capabilities": {"bandwidth": true}, "runtimeConfig": runtime});
        wired.call("ADD", &bandwidth("1.0.0", &conf)).expect_result();
        let here = Snapshot::here();
        let slow = here.bucket(&wired.end()).expect("a token bucket");
        assert_eq!((slow.rate, slow.limit), (1_250_000, 31_250 + 536_870_911));
        if !host.peer().is_go() {
            // 429 s of that rate, where the kernel counts 274 s; the peer's number runs over and is 154 s.
            assert_eq!(slow.buffer, u32::MAX);
        }
        let fast = Bucket { rate: 12_500_000, buffer: 671_088_625, limit: 312_500 + 536_870_911 };
        assert_eq!(here.bucket(&ifb("c1")), Some(fast));
        wired.call("DEL", &bandwidth("1.0.0", &conf)).expect_quiet();

        // One key of the config takes the place of all that the runtime says.
        let wired = Wired::new(host, "c2", "1.0.0");
        let conf = json!({"IngressRate": 8000, "ingressBurst": 8000, "runtimeConfig": runtime});
        wired.call("ADD", &bandwidth("1.0.0", &conf)).expect_result();
        let here = Snapshot::here();
        assert_eq!(here.bucket(&wired.end()).map(|bucket| bucket.rate), Some(1000));
        assert!(here.find_link(&ifb("c2")).is_none());
    });
}

#[test]
fn wrong_limits_are_refused() {
    let cases = [
        (json!({"ingressRate": 123}), "if rate is set, burst must also be set"),
        (json!({"egressBurst": 123}), "if burst is set, rate must also be set"),
        (json!({"runtimeConfig": {"bandwidth": {"egressRate": 123}}}), "if rate is set, burst must also be set"),
        (json!({"egressRate": 123, "egressBurst": 34_359_738_360_u64}), "burst cannot be more than 4GB"),
    ];
    sandbox::run(|host| {
        let wired = Wired::new(host, "c1", "1.0.0");
        let before = host.state();
        for (extra, phrase) in cases {
            wired.call("ADD", &bandwidth("1.0.0", &extra)).expect_phrases(&[phrase]);
        }
        assert_eq!(difference(&before, &host.state()), [""; 0]);
        let most = json!({"egressRate": 8_000_000_000_u64, "egressBurst": 34_359_738_352_u64});
        wired.call("ADD", &bandwidth("1.0.0", &most)).expect_result();
        let bucket = Snapshot::here().bucket(&ifb("c1")).expect("a token bucket");
        assert_eq!((bucket.rate, bucket.buffer), (1_000_000_000, 67_108_859));
    });
}

#[test]
fn a_rate_over_32_bits() {
    sandbox::run(|host| {
        let wired = Wired::new(host, "c1", "1.0.0");
        let conf = bandwidth("1.0.0", &json!({"ingressRate": 40_000_000_000_u64, "ingressBurst": 80_000_000}));
        wired.call("ADD", &conf).expect_result();
        let bucket = Snapshot::here().bucket(&wired.end());
        assert_eq!(bucket, Some(Bucket { rate: 5_000_000_000, buffer: 31_250, limit: 135_000_000 }));
        wired.call("CHECK", &conf).expect_quiet();
    });
}

#[test]
fn the_hosts_end_is_found_or_the_error_says_why() {
    sandbox::run(|host| {
        let wired = Wired::new(host, "c1", "1.0.0");
        let conf = bandwidth("1.0.0", &both());
        let with = |change: &dyn Fn(&mut Value)| {
            let mut result = wired.result.clone();
            change(&mut result);
            wired.pod.call("ADD", &conf).conf_after(&conf, &result).run()
        };
        let before = host.state();
        with(&|r| r["interfaces"] = json!([])).expect_phrases(&["no interfaces provided"]);
        let missing = "no veth peer of container interface found in host ns";
        with(&|r| r["interfaces"][1]["name"] = "another".into()).expect_phrases(&[missing]);
        with(&|r| r["interfaces"][1]["sandbox"] = "/run/netns/x".into()).expect_phrases(&[missing]);
        let alone = wired.pod.call("ADD", &conf).conf(&conf).run();
        alone.expect_phrases(&["must be called as chained plugin"]);
        assert_eq!(difference(&before, &host.state()), [""; 0]);
        wired.pod.netns().run(|| {
            edit::delete("eth0");
            edit::bridge("eth0");
        });
        with(&|_| {}).expect_phrases(&["container interface eth0 has no veth peer"]);
        assert!(Snapshot::here().find_link(&ifb("c1")).is_none());
    });
}

#[test]
fn check_notices_what_has_changed() {
    sandbox::run(|host| {
        let go = host.peer().is_go();
        type Damage = fn(&str, &str);
        let damages: [(&str, Damage, bool); 4] = [
            ("bucket of the host's end", |end, _| edit::delete_root(end), false),
            // What the kernel puts in its place, or has not yet, decides what the reference plugin says.
            ("bucket of the ifb", |_, ifb| edit::delete_root(ifb), false),
            ("redirection", |end, _| edit::delete_ingress(end), false),
            ("ifb", |_, ifb| edit::delete(ifb), true),
        ];
        for (number, (what, damage, known_to_go)) in damages.into_iter().enumerate() {
            if go && !known_to_go {
                continue;
            }
            let id = format!("c{number}");
            let wired = Wired::new(host, &id, "1.0.0");
            let conf = bandwidth("1.0.0", &both());
            let printed = wired.call("ADD", &conf).expect_result();
            let check = |conf: &Value| wired.pod.call("CHECK", conf).conf_after(conf, &printed).run();
            check(&conf).expect_quiet();
            for key in ["ingressRate", "egressRate", "ingressBurst", "egressBurst"] {
                let mut other = conf.clone();
                other[key] = 4_000_000.into();
                check(&other).expect_failure();
            }
            damage(&wired.end(), &ifb(&id));
            assert_eq!(check(&conf).code, Some(1), "CHECK has not missed the {what}");
        }
    });
}

#[test]
fn del_needs_nothing() {
    sandbox::run(|host| {
        let gone = Wired::new(host, "c1", "1.0.0");
        let conf = bandwidth("1.0.0", &both());
        gone.call("ADD", &conf).expect_result();
        let path = gone.pod.remove();
        let call = host.call("DEL", "bandwidth").id("c1").netns(&path);
        call.conf(&conf).run().expect_quiet();
        assert!(Snapshot::here().find_link(&ifb("c1")).is_none());
        // The reference plugin's ifb has no mark; and a config without limits.
        edit::plain(&ifb("c2"), InfoKind::Ifb);
        let call = host.call("DEL", "bandwidth").id("c2");
        call.conf(&bandwidth("1.0.0", &json!({}))).run().expect_quiet();
        assert!(Snapshot::here().find_link(&ifb("c2")).is_none());
    });
}

#[test]
fn a_second_add_replaces_what_a_killed_one_left() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the Go plugin refuses an ifb that is there");
        }
        let wired = Wired::new(host, "c1", "1.0.0");
        let conf = bandwidth("1.0.0", &both());
        let printed = wired.call("ADD", &conf).expect_result();
        let (whole, end, name) = (host.state(), wired.end(), ifb("c1"));
        let damages: [&dyn Fn(); 5] =
            [&|| {}, &|| edit::delete_ingress(&end), &|| edit::delete_root(&name), &|| edit::delete(&name), &|| {
                edit::alias(&name, "")
            }];
        for damage in damages {
            damage();
            assert_eq!(wired.call("ADD", &conf).expect_result(), printed);
            assert_eq!(difference(&whole, &host.state()), [""; 0]);
        }
        // Another interface of the same container, and a stranger, keep theirs.
        for alias in ["picocni:net:c1:net1", "precious"] {
            edit::alias(&name, alias);
            let state = host.state();
            wired.call("ADD", &conf).expect_error(103, &[&name, alias]);
            wired.call("DEL", &bandwidth("1.0.0", &json!({}))).expect_quiet();
            assert_eq!(difference(&state, &host.state()), [""; 0]);
        }
    });
}

#[test]
fn gc_takes_the_ifbs_of_stale_attachments() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the Go plugin has no GC");
        }
        let pods: Vec<Wired<'_>> = (0..4).map(|at| Wired::new(host, &format!("c{at}"), "1.1.0")).collect();
        for wired in &pods {
            wired.call("ADD", &bandwidth("1.1.0", &both())).expect_result();
        }
        edit::plain("bwp000000000000", InfoKind::Ifb);
        let gc = |extra: &Value| host.call("GC", "bandwidth").conf(&bandwidth("1.1.0", extra)).run().expect_quiet();
        let left = || (0..4).filter(|at| Snapshot::here().find_link(&ifb(&format!("c{at}"))).is_some()).count();
        gc(&json!({}));
        gc(&json!({"name": "another", "cni.dev/valid-attachments": []}));
        assert_eq!(left(), 4);
        gc(&json!({"cni.dev/valid-attachments": [{"containerID": "c2", "ifname": "eth0"}]}));
        assert_eq!(left(), 1);
        assert!(Snapshot::here().find_link(&ifb("c2")).is_some());
        gc(&json!({"cni.dev/valid-attachments": []}));
        assert_eq!(left(), 0);
        assert!(Snapshot::here().find_link("bwp000000000000").is_some(), "a stranger's stays");
    });
}

#[test]
fn status_asks_without_a_trace() {
    sandbox::run(|host| {
        let before = host.state();
        for extra in [json!({}), both()] {
            host.call("STATUS", "bandwidth").conf(&bandwidth("1.1.0", &extra)).run().expect_quiet();
        }
        assert_eq!(difference(&before, &host.state()), [""; 0]);
        if !host.peer().is_go() {
            let wrong = bandwidth("1.1.0", &json!({"queue": "sfq"}));
            host.call("STATUS", "bandwidth").conf(&wrong).run().expect_error(7, &["unknown queue", "fq_codel"]);
        }
    });
}

fn fair(extra: &Value) -> Value {
    let mut conf = bandwidth("1.0.0", extra);
    conf["queue"] = "fq_codel".into();
    conf
}

#[test]
fn fq_codel_stands_behind_the_buckets() {
    needs!(FqCodel);
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("a key of ours");
        }
        let wired = Wired::new(host, "c1", "1.0.0");
        let mut conf = fair(&both());
        conf["latencyMs"] = 50.into();
        let printed = wired.call("ADD", &conf).expect_result();
        let here = Snapshot::here();
        for dev in [wired.end(), ifb("c1")] {
            let own: Vec<_> = here.qdiscs.iter().filter(|q| q.dev == dev && q.kind == "fq_codel").collect();
            assert_eq!(own.len(), 1, "{dev}: {:?}", here.qdiscs);
            // 50 ms and twenty times that, as near as the kernel keeps it.
            let times = |name: &str| own[0].fq_codel.iter().any(|option| option.starts_with(name));
            assert!(times("Target(49999)") && times("Interval(999999)"), "{:?}", own[0].fq_codel);
        }
        wired.pod.call("CHECK", &conf).conf_after(&conf, &printed).run().expect_quiet();
        let mut plain = conf.clone();
        plain["queue"] = "tbf".into();
        wired.pod.call("CHECK", &plain).conf_after(&plain, &printed).run().expect_error(104, &["queue has changed"]);
        host.call("STATUS", "bandwidth").conf(&fair(&json!({"cniVersion": "1.1.0"}))).run().expect_quiet();
        wired.call("DEL", &conf).expect_quiet();
        assert!(Snapshot::here().qdiscs.iter().all(|q| q.dev != wired.end() || q.handle == 0));
    });
}

#[test]
fn a_kernel_without_fq_codel_is_named() {
    sandbox::run(|host| {
        if host.peer().is_go() || picocni_tests::kernel::LinkType::FqCodel.try_out().is_ok() {
            skip!("a key of ours, and a kernel that lacks it");
        }
        let wired = Wired::new(host, "c1", "1.0.0");
        let before = host.state();
        wired.call("ADD", &fair(&both())).expect_error(50, &["sch_fq_codel"]);
        let status = host.call("STATUS", "bandwidth").conf(&fair(&json!({"cniVersion": "1.1.0"}))).run();
        status.expect_error(50, &["sch_fq_codel"]);
        assert_eq!(difference(&before, &host.state()), [""; 0]);
    });
}
