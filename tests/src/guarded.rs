//! Pods on bridges that went through `firewall`, and who reaches whom.

use std::process::Command;

use serde_json::{Value, json};

use crate::kernel::set_sysctl;
use crate::traffic::{PROTOCOLS, Server, ask};
use crate::{Outcome, Pod, Sandbox};

/// A bridge whose pods have addresses of 10.1.N.0/24 and 2001:db8:N::/64.
pub fn bridge(name: &str, third: u8) -> Value {
    json!({"cniVersion": "1.0.0", "name": format!("net-{name}"), "type": "bridge", "bridge": name, "isDefaultGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": format!("10.1.{third}.0/24")}],
            [{"subnet": format!("2001:db8:{third}::/64")}]]}})
}

/// The plugin behind [`bridge`], with more keys.
///
/// # Panics
/// When they are no object.
pub fn firewall(bridge: &str, extra: &Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": format!("net-{bridge}"), "type": "firewall"});
    conf.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    conf
}

/// A pod on a bridge that went through the firewall, and answers at port 80 with its name.
#[derive(Debug)]
pub struct Guarded<'a> {
    /// The pod.
    pub pod: Pod<'a>,
    /// What ADD of the bridge printed, and of the firewall.
    pub result: Value,
    bridge: Value,
    conf: Value,
    _servers: [Server; 2],
}

impl<'a> Guarded<'a> {
    /// Runs ADD of both; `on` is the bridge's name and the number of its network.
    ///
    /// # Panics
    /// When one fails.
    #[track_caller]
    pub fn new(host: &'a Sandbox, name: &str, on: (&str, u8), extra: &Value) -> Self {
        let pod = Pod::new(host, name);
        let (bridge, conf) = (bridge(on.0, on.1), firewall(on.0, extra));
        let result = pod.add(&bridge).expect_result();
        let printed = pod.call("ADD", &conf).conf_after(&conf, &result).run().expect_result();
        assert_eq!(printed, result, "the result is handed on");
        let servers = pod.netns().run(|| Server::both(80, name));
        Self { pod, result, bridge, conf, _servers: servers }
    }

    /// Calls the firewall again.
    pub fn call(&self, command: &str) -> Outcome {
        self.pod.call(command, &self.conf).conf_after(&self.conf, &self.result).run()
    }

    /// Runs DEL of both.
    #[track_caller]
    pub fn del(&self) {
        self.call("DEL").expect_quiet();
        self.pod.call("DEL", &self.bridge).conf_after(&self.bridge, &self.result).run().expect_quiet();
    }

    /// Port 80 of its IPv4 and its IPv6 address.
    ///
    /// # Panics
    /// When it has not both.
    pub fn doors(&self) -> [String; 2] {
        [0, 1].map(|at| {
            let text = self.result["ips"][at]["address"].as_str().expect("an address");
            let ip = text.split('/').next().expect("an address");
            if ip.contains(':') { format!("[{ip}]:80") } else { format!("{ip}:80") }
        })
    }

    /// Asserts that `other` is reached from this pod, or is not.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn reaches(&self, other: &Self, reached: bool) {
        let name = other.pod.netns().path().file_name().and_then(|n| n.to_str()).expect("a name");
        // All at once: what is dropped takes its time.
        let answers: Vec<_> = std::thread::scope(|scope| {
            let doors = other.doors();
            let questions = PROTOCOLS.into_iter().flat_map(|protocol| doors.clone().map(|door| (protocol, door)));
            let asked: Vec<_> = questions
                .map(|(protocol, door)| scope.spawn(move || self.pod.netns().run(|| ask(protocol, &door))))
                .collect();
            asked.into_iter().map(|thread| thread.join().expect("an answer or an error")).collect()
        });
        for answer in answers {
            let who = answer.as_ref().map(|answer| answer.who.as_str()).ok();
            assert_eq!(who, reached.then_some(name), "{answer:?}");
        }
    }
}

/// Whether frames between the ports of a bridge are handed to the IP layer's packet filter.
pub fn bridge_netfilter(on: bool) {
    for key in ["iptables", "ip6tables"] {
        set_sysctl(&format!("net/bridge/bridge-nf-call-{key}"), if on { "1" } else { "0" });
    }
}

/// Runs a program of the sandbox; what it printed.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
