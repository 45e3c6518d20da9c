//! Whether a thousand published ports make the next one, or a connection through one, dearer.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use picocni_tests::budgets::Budgets;
use picocni_tests::netns::Netns;
use picocni_tests::outside::Outside;
use picocni_tests::peer::Peer;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Protocol, Server};
use serde_json::{Value, json};

use crate::{Contender, median, result, well};

/// Attachments that fill the packet filter, and ports of each.
const FULL: (u8, u16) = (8, 125);
/// Times it is filled and emptied; connections in each state of each round.
const ROUNDS: usize = 4;
const CONNECTIONS: usize = 60;
/// ADD and DEL of one port in each state of each round.
const CALLS: usize = 12;

#[derive(Default)]
struct Times {
    add: Vec<Duration>,
    del: Vec<Duration>,
    connect: Vec<Duration>,
}

struct Stage {
    contender: Contender,
    outside: Outside,
    pod: Netns,
    previous: Value,
}

/// Prints the table; whether every ratio is kept.
pub(crate) fn compare() -> bool {
    let [few, many] = sandbox::run(measure);
    let all = u32::from(FULL.0) * u32::from(FULL.1);
    println!("\none port, alone and beside {all} others: medians, milliseconds");
    println!("{:<12} {:>9} {:>9} {:>7}", "", "1", format!("{}", all + 1), "ratio");
    let budget = Budgets::read().budget("ratio", "many_ports_to_one_max");
    let mut kept = true;
    for (what, few, many) in
        [("ADD", &few.add, &many.add), ("DEL", &few.del, &many.del), ("connection", &few.connect, &many.connect)]
    {
        let ratio = median(many) / median(few);
        let missed = if budget.allows(ratio) { "" } else { "  MISSED" };
        println!("{what:<12} {:>9.3} {:>9.3} {ratio:>7.2}  {}{missed}", median(few), median(many), budget.tell(ratio));
        kept &= missed.is_empty();
    }
    kept
}

fn measure(host: &Sandbox) -> [Times; 2] {
    let contender = Contender::new("picocni", "ours", &Peer::picocni());
    let outside = Outside::new(host);
    let pod = host.pod("measured");
    let bridge = contender.conf();
    let previous = result(&well(contender.call("ADD", "bridge", "measured", &pod, &bridge).run(), "bridge"));
    let stage = Stage { contender, outside, pod, previous };
    let _server = stage.pod.run(|| Server::start(Protocol::Tcp, "0.0.0.0:80", "measured"));
    let mut times = [Times::default(), Times::default()];
    for _ in 0..ROUNDS {
        stage.look(&mut times[0]);
        (0..FULL.0).for_each(|at| stage.fill("ADD", at));
        stage.look(&mut times[1]);
        (0..FULL.0).for_each(|at| stage.fill("DEL", at));
    }
    times
}

impl Stage {
    fn conf(&self, mappings: &Value, previous: &Value) -> Value {
        json!({"cniVersion": "1.0.0", "name": self.contender.network, "type": "portmap", "prevResult": previous,
            "runtimeConfig": {"portMappings": mappings}})
    }

    /// ADD, connections and DEL with what is published at the moment.
    fn look(&self, times: &mut Times) {
        let mapping = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
        let conf = self.conf(&mapping, &self.previous);
        let call = |command| well(self.contender.call(command, "portmap", "measured", &self.pod, &conf).run(), command);
        for at in 0..CALLS {
            let added = call("ADD");
            if at == 0 {
                self.outside.client.run(|| connect(&mut times.connect));
            } else {
                times.add.push(added.elapsed);
            }
            let deleted = call("DEL");
            if at > 0 {
                times.del.push(deleted.elapsed);
            }
        }
    }

    /// Publishes, or takes back, the ports of another attachment.
    fn fill(&self, command: &str, at: u8) {
        let first = 10_000 + u16::from(at) * FULL.1;
        let mappings: Vec<Value> = (first..first + FULL.1)
            .map(|port| json!({"hostPort": port, "containerPort": 80, "protocol": "tcp"}))
            .collect();
        let mut previous = self.previous.clone();
        previous["ips"][0]["address"] = format!("10.97.9.{at}/16").into();
        let conf = self.conf(&mappings.into(), &previous);
        well(self.contender.call(command, "portmap", &format!("other-{at}"), &self.pod, &conf).run(), command);
    }
}

/// New connections through the published port; the first finds the way.
fn connect(times: &mut Vec<Duration>) {
    let to: SocketAddr = "192.0.2.1:8080".parse().expect("an address");
    for at in 0..=CONNECTIONS {
        let started = Instant::now();
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(1)).expect("a connection through the port");
        let elapsed = started.elapsed();
        drop(stream);
        if at > 0 {
            times.push(elapsed);
        }
    }
}
