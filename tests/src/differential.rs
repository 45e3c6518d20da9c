//! The same call on two sets of plugins: what each printed and left, in words that do not depend on chance, one line for
//! each property, so that a difference is a few lines.
//!
//! Names and MACs that a plugin makes up are replaced by whose they are; those that the configuration asks for stay.

use std::path::Path;

use serde_json::Value;

use crate::Pod;
use crate::kernel::{self, Link, LinkType, Route, Snapshot};
use crate::peer::Peer;
use crate::sandbox::{self, Sandbox};

/// A call to compare: the host before, and one plugin or a chain.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// For messages and for the list of differences.
    pub name: &'static str,
    /// The configurations of a chain, each with its `type`.
    pub chain: Vec<Value>,
    /// Kind of link that the kernel has to have.
    pub needs: Option<LinkType>,
    /// Makes what is on the host before.
    pub before: fn(),
}

impl Scenario {
    /// Of a chain, on a host with nothing on it.
    pub fn new(name: &'static str, chain: Vec<Value>) -> Self {
        Self { name, chain, needs: None, before: || {} }
    }

    /// On a host that was prepared.
    pub fn before(self, before: fn()) -> Self {
        Self { before, ..self }
    }

    /// Only where the kernel has links of a kind.
    pub fn needs(self, link_type: LinkType) -> Self {
        Self { needs: Some(link_type), ..self }
    }

    /// Whether it needs links of a kind that not every kernel has.
    pub fn needs_a_link_type(&self) -> bool {
        self.needs.is_some()
    }

    /// Whether it can be asked on this kernel.
    pub fn is_possible(&self) -> bool {
        self.needs.is_none_or(|link_type| link_type.try_out().is_ok())
    }

    /// Runs ADD, CHECK and DEL with the plugins of `peer`, and says what was printed and what was there.
    pub fn observe(&self, peer: Peer) -> Vec<String> {
        sandbox::run_with(peer, |host| self.observe_on(host))
    }

    fn observe_on(&self, host: &Sandbox) -> Vec<String> {
        (self.before)();
        let pod = Pod::new(host, "pod");
        let (mut lines, mut previous) = (Vec::new(), None);
        for conf in &self.chain {
            let conf = after(conf, previous.as_ref());
            let outcome = pod.add(&conf);
            lines.push(format!("ADD {} ended with {:?}", conf["type"], outcome.code));
            if outcome.code != Some(0) {
                return lines;
            }
            previous = Some(outcome.expect_result());
        }
        let result = previous.unwrap_or_default();
        let asked = Value::from(self.chain.clone()).to_string();
        let view = View::new(&pod, &asked);
        view.result("result", &result, &mut lines);
        view.kernel(&mut lines);
        lines.extend(files(host).into_iter().map(|line| format!("ADD {line}")));
        for command in ["CHECK", "DEL"] {
            let in_order: Vec<&Value> = match command {
                "DEL" => self.chain.iter().rev().collect(),
                _ => self.chain.iter().collect(),
            };
            for conf in in_order {
                let outcome = pod.call(command, &after(conf, Some(&result))).run();
                lines.push(format!("{command} {} ended with {:?}", conf["type"], outcome.code));
            }
        }
        View::new(&pod, &asked).kernel_after(&mut lines);
        lines.extend(files(host).into_iter().map(|line| format!("DEL {line}")));
        lines
    }
}

fn after(conf: &Value, previous: Option<&Value>) -> Value {
    let mut conf = conf.clone();
    if let Some(previous) = previous {
        conf["prevResult"] = previous.clone();
    }
    conf
}

/// Leases, locks, and where the search goes on.
fn files(host: &Sandbox) -> Vec<String> {
    host.state().into_iter().filter(|line| line.starts_with("file /var/lib/cni")).collect()
}

/// Host and sandbox after a call, and what the configuration asked for by name.
struct View<'a> {
    pod: &'a Pod<'a>,
    host: Snapshot,
    inside: Snapshot,
    /// The host's end of `eth0`.
    end: Option<String>,
    asked: &'a str,
}

impl<'a> View<'a> {
    fn new(pod: &'a Pod<'a>, asked: &'a str) -> Self {
        let (host, inside) = (Snapshot::here(), pod.inside());
        let eth0 = inside.find_link("eth0").filter(|l| l.kind == "veth");
        let index = eth0.and_then(|l| l.peer_index);
        let end = host.links.iter().find(|l| Some(l.index) == index).map(|l| l.name.clone());
        Self { pod, host, inside, end, asked }
    }

    /// A name as it is, or whose it is if a plugin made it up.
    fn role(&self, name: &str) -> String {
        let digits = name.strip_prefix("veth").filter(|rest| rest.len() == 8);
        match digits {
            _ if Some(name) == self.end.as_deref() => "END".to_owned(),
            // The port of a bridge's end on one of its VLANs.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => "PORT".to_owned(),
            _ => name.to_owned(),
        }
    }

    /// A MAC as it is if it was asked for, else whether it is what the link has.
    fn mac(&self, mac: &str, link: Option<&Link>) -> String {
        match link {
            _ if mac == "00:00:00:00:00:00" || self.asked.contains(mac) => mac.to_owned(),
            Some(link) if link.mac == mac => "its own".to_owned(),
            _ => format!("not its own: {mac}"),
        }
    }

    /// A result, one line for each value in it.
    fn result(&self, path: &str, value: &Value, lines: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                for (key, inner) in object {
                    let normal = match (key.as_str(), inner.as_str()) {
                        ("mac", Some(mac)) => Some(self.mac(mac, self.link_of(value))),
                        ("name", Some(name)) => Some(self.role(name)),
                        _ => None,
                    };
                    let inner = normal.map_or_else(|| inner.clone(), Value::from);
                    self.result(&format!("{path}.{key}"), &inner, lines);
                }
            }
            Value::Array(list) => {
                lines.push(format!("{path} has {}", list.len()));
                list.iter().enumerate().for_each(|(at, inner)| self.result(&format!("{path}[{at}]"), inner, lines));
            }
            plain => lines.push(format!("{path} = {plain}")),
        }
    }

    /// The link that an interface of a result stands for.
    fn link_of(&self, interface: &Value) -> Option<&Link> {
        let name = interface["name"].as_str()?;
        let inside = interface["sandbox"].as_str().is_some_and(|s| !s.is_empty());
        if inside { self.inside.find_link(name) } else { self.host.find_link(name) }
    }

    fn kernel(&self, lines: &mut Vec<String>) {
        self.snapshot("host", &self.host, lines);
        self.snapshot("sandbox", &self.inside, lines);
        lines.extend(forwarding("ADD"));
        if let Some(end) = &self.end {
            lines.extend(sysctls("host", end, "END", &["ipv6/conf/IF/accept_ra"]));
        }
        let keys = [
            "ipv6/conf/IF/accept_dad",
            "ipv6/conf/IF/disable_ipv6",
            "ipv6/conf/IF/keep_addr_on_down",
            "ipv6/conf/IF/enhanced_dad",
            "ipv6/conf/IF/ndisc_notify",
            "ipv4/conf/IF/arp_notify",
        ];
        lines.extend(self.pod.netns().run(|| sysctls("sandbox", "eth0", "eth0", &keys)));
    }

    /// After DEL: all that is still there.
    fn kernel_after(&self, lines: &mut Vec<String>) {
        self.snapshot("after DEL, host", &self.host, lines);
        self.snapshot("after DEL, sandbox", &self.inside, lines);
        lines.extend(forwarding("after DEL"));
    }

    fn snapshot(&self, place: &str, snapshot: &Snapshot, lines: &mut Vec<String>) {
        for link in &snapshot.links {
            let of = format!("{place} link {}", self.role(&link.name));
            lines.push(format!("{of} kind {} mtu {} up {}", link.kind, link.mtu, link.up));
            lines.push(format!("{of} master {:?}", link.master));
            lines.push(format!("{of} alias {}", if link.alias.is_empty() { "none" } else { "a note" }));
            lines.push(format!("{of} promiscuous {} allmulti {}", link.promiscuous, link.all_multicast));
            lines.push(format!("{of} txqlen {}", link.tx_queue_len));
            lines.push(format!("{of} hairpin {:?} isolated {:?}", link.hairpin, link.isolated));
            if self.asked.contains(&link.mac) && !link.mac.is_empty() {
                lines.push(format!("{of} mac {}", link.mac));
            }
        }
        for address in snapshot.addresses.iter().filter(|a| !a.is_link_local()) {
            let of = format!("{place} address {}/{} of {}", address.ip, address.prefix, self.role(&address.dev));
            lines.push(format!("{of} scope {} broadcast {:?}", address.scope, address.broadcast));
            lines.push(format!("{of} without duplicate detection {}", address.no_dad));
        }
        let own = snapshot.routes.iter().filter(|r| !r.follows_an_address());
        lines.extend(own.map(|route| format!("{place} {}", self.route(route))));
    }

    fn route(&self, route: &Route) -> String {
        let Route { table, destination, via, protocol, scope, kind, priority, source, mtu, advmss, dev } = route;
        format!(
            "route {destination} via {via:?} dev {} table {table} proto {protocol} scope {scope} type {kind} metric \
             {priority} src {source:?} mtu {mtu:?} advmss {advmss:?}",
            self.role(dev)
        )
    }
}

fn forwarding(when: &str) -> Vec<String> {
    let keys = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
    keys.iter().map(|key| format!("{when} {key} = {}", kernel::sysctl(key))).collect()
}

fn sysctls(place: &str, link: &str, role: &str, keys: &[&str]) -> Vec<String> {
    let read = |key: &&str| {
        let full = format!("net/{}", key.replace("IF", link));
        let there = Path::new("/proc/sys").join(&full).exists();
        there.then(|| format!("{place} sysctl {} = {}", key.replace("IF", role), kernel::sysctl(&full)))
    };
    keys.iter().filter_map(read).collect()
}
