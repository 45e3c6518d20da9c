//! The chain that a node runs, one process for each plugin and one for all, beside that of the Go peer.

use std::time::Duration;

use picocni_tests::budgets::Budgets;
use picocni_tests::netns::Netns;
use picocni_tests::peer::Peer;
use picocni_tests::sandbox::{self, Sandbox};
use serde_json::{Value, json};

use crate::{Contender, median, result, well};

/// Rounds that a median is taken of, at most.
pub(crate) const RUNS: usize = 25;

/// Sums of a chain's ADDs and DELs.
#[derive(Default)]
struct Times {
    add: Vec<Duration>,
    del: Vec<Duration>,
}

fn plugins(bridge: Value) -> Vec<Value> {
    vec![
        bridge,
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
        json!({"type": "firewall"}),
        json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}),
        json!({"type": "tuning", "sysctl": {"net.ipv4.ip_unprivileged_port_start": "1000"}}),
    ]
}

/// What containerd passes for a pod with a port and with bandwidth annotations.
fn arguments() -> Value {
    json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 100_000_000, "ingressBurst": u32::MAX, "egressRate": 100_000_000, "egressBurst": u32::MAX}})
}

/// Prints the table; whether every ratio is kept. Without the Go plugins there is nothing to compare.
pub(crate) fn compare(runs: usize) -> bool {
    let Some(go) = Peer::go() else { return true };
    let [theirs, ours, one] = sandbox::run(|host| measure(host, &go, runs));
    println!("\nbridge, portmap, firewall, bandwidth, tuning: medians of {runs} rounds, milliseconds");
    println!("{:<22} {:>9} {:>9}", "", "ADD", "DEL");
    for (what, times) in [("go", &theirs), ("picocni", &ours), ("picocni, one process", &one)] {
        println!("{what:<22} {:>9.3} {:>9.3}", median(&times.add), median(&times.del));
    }
    let budgets = Budgets::read();
    let mut kept = true;
    for (what, theirs, ours, key) in [
        ("Go ADD / ADD", &theirs.add, &ours.add, "go_node_chain_add_min"),
        ("Go ADD / ADD in one process", &theirs.add, &one.add, "go_one_process_add_min"),
        ("Go DEL / DEL", &theirs.del, &ours.del, "go_node_chain_del_min"),
        ("Go DEL / DEL in one process", &theirs.del, &one.del, "go_one_process_del_min"),
    ] {
        let (ratio, budget) = (median(theirs) / median(ours), budgets.budget("ratio", key));
        let missed = if ratio >= budget.limit { "" } else { "  MISSED" };
        println!("{what:<44} {ratio:>9.2}  {}{missed}", budget.tell(ratio));
        kept &= missed.is_empty();
    }
    kept
}

fn measure(host: &Sandbox, go: &Peer, runs: usize) -> [Times; 3] {
    let contenders = [
        (Contender::new("go", "go", go), false),
        (Contender::new("picocni", "ours", &Peer::picocni()), false),
        (Contender::new("picocni", "one", &Peer::picocni()), true),
    ];
    let mut times = [(); 3].map(|()| Times::default());
    // The first rounds make bridges and warm caches.
    for round in 0..runs + 2 {
        for ((contender, together), times) in contenders.iter().zip(&mut times) {
            let id = format!("{}-{round}", contender.network);
            let pod = host.pod(&id);
            let list = if *together { one_process(contender) } else { plugins(bridge(contender)) };
            let (add, del) = chain(contender, &id, &pod, &list);
            if round >= 2 {
                times.add.push(add);
                times.del.push(del);
            }
        }
    }
    times
}

fn bridge(contender: &Contender) -> Value {
    let mut bridge = contender.conf();
    bridge["ipMasq"] = true.into();
    bridge["ipam"]["subnet"] = match contender.network {
        "go" => "10.98.0.0/16",
        "one" => "10.96.0.0/16",
        _ => "10.97.0.0/16",
    }
    .into();
    bridge
}

fn one_process(contender: &Contender) -> Vec<Value> {
    let capabilities = json!({"portMappings": true, "bandwidth": true});
    vec![json!({"type": "picocni", "capabilities": capabilities, "plugins": plugins(bridge(contender))})]
}

/// A chain as a runtime calls it; the sums of the processes of ADD and of DEL.
fn chain(contender: &Contender, id: &str, pod: &Netns, list: &[Value]) -> (Duration, Duration) {
    let (mut add, mut del, mut previous) = (Duration::ZERO, Duration::ZERO, Value::Null);
    let call = |command: &str, plugin: &Value, previous: &Value| {
        let mut conf = plugin.clone();
        conf["cniVersion"] = "1.0.0".into();
        conf["name"] = contender.network.into();
        if plugin.get("capabilities").is_some() {
            conf["runtimeConfig"] = arguments();
        }
        if !previous.is_null() {
            conf["prevResult"] = previous.clone();
        }
        let kind = plugin["type"].as_str().expect("a type");
        well(contender.call(command, kind, id, pod, &conf).run(), kind)
    };
    for plugin in list {
        let run = call("ADD", plugin, &previous);
        add += run.elapsed;
        previous = result(&run);
    }
    for plugin in list.iter().rev() {
        del += call("DEL", plugin, &previous).elapsed;
    }
    (add, del)
}
