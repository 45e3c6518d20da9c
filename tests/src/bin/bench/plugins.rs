//! The ADD of every plugin that makes an interface, beside that of its Go peer.

use std::time::Duration;

use netlink_packet_route::link::LinkAttribute;
use picocni_tests::budgets::Budgets;
use picocni_tests::kernel::{LinkType, edit};
use picocni_tests::peer::Peer;
use picocni_tests::sandbox::{self, Sandbox};
use serde_json::{Value, json};

use crate::{Contender, median, well};

/// Pairs of calls that a median is taken of, at most.
pub(crate) const RUNS: usize = 25;

struct Subject {
    plugin: &'static str,
    needs: Option<LinkType>,
    keys: Value,
}

fn subjects() -> Vec<Subject> {
    let subject = |plugin, needs, keys| Subject { plugin, needs, keys };
    vec![
        subject("ptp", None, json!({})),
        subject("macvlan", Some(LinkType::Macvlan), json!({"master": "up0"})),
        subject("ipvlan", Some(LinkType::Ipvlan), json!({"master": "up0"})),
        subject("vlan", Some(LinkType::Vlan), json!({"master": "up0", "vlanId": 7})),
        subject("dummy", Some(LinkType::Dummy), json!({})),
        subject("host-device", None, json!({"device": "dev0"})),
        subject("tap", Some(LinkType::Tun), json!({"owner": 0, "group": 0})),
    ]
}

/// Prints the table; whether every ratio is kept. Without the Go plugins there is nothing to compare.
pub(crate) fn compare(runs: usize) -> bool {
    let Some(go) = Peer::go() else { return true };
    println!("\nADD of one plugin with host-local, medians of {runs} pairs, milliseconds; DEL is not counted");
    println!("{:<12} {:>9} {:>9} {:>7}", "", "picocni", "go", "ratio");
    let budgets = Budgets::read();
    let mut kept = true;
    for subject in subjects() {
        if subject.needs.is_some_and(|link_type| link_type.try_out().is_err()) {
            println!("{:<12} this kernel has no such links", subject.plugin);
            continue;
        }
        let [ours, theirs] = sandbox::run(|host| measure(host, &subject, &go, runs));
        let ratio = median(&theirs) / median(&ours);
        // Most of a device's move is the kernel's.
        let key = if subject.plugin == "host-device" { "go_move_to_move_min" } else { "go_plugin_add_to_add_min" };
        let budget = budgets.budget("ratio", key);
        let missed = if ratio >= budget.limit { "" } else { "  MISSED" };
        println!("{:<12} {:>9.3} {:>9.3} {ratio:>7.2}{missed}", subject.plugin, median(&ours), median(&theirs));
        kept &= missed.is_empty();
    }
    kept
}

fn measure(host: &Sandbox, subject: &Subject, go: &Peer, runs: usize) -> [Vec<Duration>; 2] {
    edit::veth("up0", "up1");
    edit::up("up0");
    edit::up("up1");
    let contenders = [Contender::new("picocni", "ours", &Peer::picocni()), Contender::new("go", "go", go)];
    let mut times = [Vec::new(), Vec::new()];
    // The first pair warms caches.
    for round in 0..=runs {
        for (contender, times) in contenders.iter().zip(&mut times) {
            let id = format!("{}-{round}", contender.network);
            let pod = host.pod(&id);
            if subject.plugin == "host-device" {
                edit::veth("dev0", "dev1");
                edit::set("dev0", LinkAttribute::Mtu(1500));
            }
            let mut conf = json!({"cniVersion": "1.0.0", "name": contender.network, "type": subject.plugin,
                "ipam": {"type": "host-local", "subnet": "10.97.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}});
            conf.as_object_mut().expect("an object").extend(subject.keys.as_object().expect("an object").clone());
            let run = well(contender.call("ADD", subject.plugin, &id, &pod, &conf).run(), subject.plugin);
            if round > 0 {
                times.push(run.elapsed);
            }
            well(contender.call("DEL", subject.plugin, &id, &pod, &conf).run(), subject.plugin);
            if subject.plugin == "host-device" {
                edit::delete("dev0");
            }
        }
    }
    times
}
