//! The same configuration on the same host, for picocni and for the Go plugins: same result, same links, addresses and
//! routes, same leases, apart from what is listed here with its reason.

use std::fs;

use picocni_tests::differential::Scenario;
use picocni_tests::kernel::{LinkType, difference, edit};
use picocni_tests::peer::Peer;
use picocni_tests::{skip, vm};
use serde_json::{Value, json};

/// A difference on purpose. `core/DESIGN.md` has the same list in "Where do we differ from the peer?".
struct Known {
    /// How the names of the scenarios begin that may show it; one of them has to.
    scenarios: &'static [&'static str],
    /// Words of a line, in this order. Lines begin with `-` if they are the Go plugins', with `+` if they are picocni's.
    words: &'static [&'static str],
    why: &'static str,
}

const fn known(scenarios: &'static [&'static str], words: &'static [&'static str], why: &'static str) -> Known {
    Known { scenarios, words, why }
}

/// Scenarios whose gateway address is on a VLAN of the bridge.
const VLAN: &[&str] = &["bridge vlan", "bridge trunk", "bridge both-vlans"];

const KNOWN: [Known; 16] = [
    known(&[""], &["+ result.interfaces[", ".mtu ="], "spec 1.1.0 has it"),
    known(&["bridge", "tuning", "ptp"], &["host link END alias"], "a tag, by which DEL and GC know their links"),
    known(&["bridge", "tuning"], &["host link br0 alias"], "a bridge that was made has a tag"),
    known(VLAN, &["host link br0.7 alias"], "as the bridge"),
    known(VLAN, &["host link PORT alias"], "as the bridge"),
    known(VLAN, &["host link PORT txqlen"], "as the host's end of a pod"),
    known(
        &["bridge", "tuning", "ptp"],
        &["host link END txqlen"],
        "their netlink library sends 0 where nothing is asked for; the kernel's own value is as good",
    ),
    known(
        &["bridge", "ptp", "macvlan", "ipvlan", "vlan", "dummy"],
        &["sandbox sysctl ipv6/conf/eth0/ndisc_notify"],
        "set with IPv6 addresses for every kind of link; they set it for some kinds, whatever the addresses",
    ),
    known(
        &["ptp", "vlan", "dummy", "host-device"],
        &["sandbox sysctl ipv4/conf/eth0/arp_notify"],
        "as for every other kind of link",
    ),
    known(
        &["ptp", "dummy", "tap"],
        &["sandbox sysctl ipv6/conf/eth0/accept_dad"],
        "no pod waits for duplicate address detection where nobody else can have the address",
    ),
    known(&["bridge", "ptp dual"], &["host address 2001:db8:1::1/", "duplicate detection"], "the host does not wait"),
    known(&["bridge l2", "bridge down"], &["CHECK \"bridge\""], "CHECK needs no IPAM plugin where ADD needs none"),
    known(&["bridge routes"], &["CHECK \"bridge\""], "CHECK looks into the table that the route asks for"),
    known(&["bridge routes"], &["+ sandbox route", "mtu Some(1300) advmss Some(1200)"], "what is asked for is set"),
    known(&["bridge routes"], &["- sandbox route 192.0.2.0/24", "mtu None advmss None"], "they report it only"),
    known(&["loopback 0.4.0"], &["+ result.ips[", ".version ="], "the shape of the version"),
];

/// Scenarios whose ADD is an error.
const REFUSED: [&str; 3] = ["bridge other-address", "host-local busy", "static wrong"];

impl Known {
    fn concerns(&self, scenario: &str) -> bool {
        self.scenarios.iter().any(|start| scenario.starts_with(start))
    }

    fn matches(&self, line: &str) -> bool {
        let mut rest = Some(line);
        for word in self.words {
            rest = rest.and_then(|text| text.split_once(word)).map(|(_, after)| after);
        }
        rest.is_some()
    }
}

fn conf(plugin: &str, version: &str, extra: Value) -> Value {
    let mut conf = json!({"cniVersion": version, "name": "net", "type": plugin});
    conf.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    conf
}

fn one(name: &'static str, plugin: &str, extra: Value) -> Scenario {
    Scenario::new(name, vec![conf(plugin, "1.1.0", extra)])
}

fn v4() -> Value {
    json!({"type": "host-local", "subnet": "10.1.2.0/24", "routes": [{"dst": "192.0.2.0/24"}]})
}

fn dual() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]})
}

fn bridges() -> Vec<Scenario> {
    let tuned_routes = json!({"type": "host-local", "subnet": "10.1.2.0/24", "routes": [
        {"dst": "192.0.2.0/24", "gw": "10.1.2.9", "mtu": 1300, "advmss": 1200}, {"dst": "198.51.100.0/24", "priority": 50},
        {"dst": "203.0.113.0/24", "table": 100}, {"dst": "10.9.0.0/16", "scope": 200}]});
    let version = |name, version, extra| Scenario::new(name, vec![conf("bridge", version, extra)]);
    vec![
        one("bridge l2", "bridge", json!({"bridge": "br0"})),
        one("bridge plain", "bridge", json!({"bridge": "br0", "ipam": v4()})),
        one("bridge gateway", "bridge", json!({"bridge": "br0", "isGateway": true, "ipam": v4()})),
        one("bridge default-gateway", "bridge", json!({"bridge": "br0", "isDefaultGateway": true, "ipam": v4()})),
        one("bridge dual", "bridge", json!({"bridge": "br0", "isGateway": true, "ipam": dual()})),
        one("bridge dad", "bridge", json!({"bridge": "br0", "enabledad": true, "ipam": dual()})),
        one("bridge hairpin", "bridge", json!({"bridge": "br0", "hairpinMode": true, "ipam": v4()})),
        one("bridge promisc", "bridge", json!({"bridge": "br0", "promiscMode": true, "ipam": v4()})),
        one("bridge mtu", "bridge", json!({"bridge": "br0", "mtu": 1400, "ipam": v4()})),
        one(
            "bridge mac",
            "bridge",
            json!({"bridge": "br0", "runtimeConfig": {"mac": "02:00:00:00:00:77"}, "ipam": v4()}),
        ),
        one("bridge down", "bridge", json!({"bridge": "br0", "disableContainerInterface": true})),
        one("bridge dns", "bridge", json!({"bridge": "br0", "ipam": v4(), "dns": {"nameservers": ["192.0.2.53"]}})),
        one("bridge routes", "bridge", json!({"bridge": "br0", "ipam": tuned_routes})),
        one(
            "bridge existing",
            "bridge",
            json!({"bridge": "br0", "isGateway": true, "forceAddress": true, "ipam": v4()}),
        )
        .before(|| {
            edit::bridge("br0");
            edit::address("br0", "10.7.0.1/24");
            edit::mtu("br0", 1450);
        }),
        one("bridge other-address", "bridge", json!({"bridge": "br0", "isGateway": true, "ipam": v4()})).before(|| {
            edit::bridge("br0");
            edit::address("br0", "10.7.0.1/24");
        }),
        version("bridge 0.2.0", "0.2.0", json!({"bridge": "br0", "isGateway": true, "ipam": dual()})),
        version("bridge 0.3.1", "0.3.1", json!({"bridge": "br0", "isGateway": true, "ipam": dual()})),
        version("bridge 0.4.0", "0.4.0", json!({"bridge": "br0", "isGateway": true, "ipam": dual()})),
        version("bridge 1.0.0", "1.0.0", json!({"bridge": "br0", "isGateway": true, "ipam": dual()})),
    ]
}

fn ipam() -> Vec<Scenario> {
    let named = |name, extra: Value| {
        let mut ipam = v4();
        ipam.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        one(name, "host-local", json!({"ipam": ipam}))
    };
    let resolv_conf = "/etc/cni/resolv.conf";
    vec![
        named("host-local plain", json!({})),
        named("host-local range", json!({"rangeStart": "10.1.2.40", "rangeEnd": "10.1.2.50", "gateway": "10.1.2.99"})),
        one("host-local dual", "host-local", json!({"ipam": dual()})),
        named("host-local resolv", json!({"resolvConf": resolv_conf})).before(|| {
            fs::create_dir_all("/etc/cni").expect("a private /etc");
            let text = "nameserver 192.0.2.53\nsearch a.example b.example\noptions ndots:2 # so\ndomain a.example\n";
            fs::write("/etc/cni/resolv.conf", text).expect("a private /etc");
        }),
        named("host-local taken", json!({})).before(|| {
            let dir = "/var/lib/cni/networks/net";
            fs::create_dir_all(dir).expect("a private /var/lib");
            fs::write(format!("{dir}/10.1.2.2"), "other\r\neth0").expect("a lease");
            fs::write(format!("{dir}/10.1.2.4"), "other\r\neth1").expect("a lease");
            fs::write(format!("{dir}/last_reserved_ip.0"), "10.1.2.3").expect("where the search goes on");
        }),
        one("host-local requested", "host-local", json!({"ipam": v4(), "args": {"cni": {"ips": ["10.1.2.77"]}}})),
        one("host-local busy", "host-local", json!({"ipam": v4(), "runtimeConfig": {"ips": ["10.1.2.1"]}})),
    ]
}

fn other_plugins() -> Vec<Scenario> {
    let chain = |name, extra| {
        let bridge = conf("bridge", "1.1.0", json!({"bridge": "br0", "ipam": v4()}));
        Scenario::new(name, vec![bridge, conf("tuning", "1.1.0", extra)])
    };
    vec![
        one("loopback", "loopback", json!({})),
        Scenario::new("loopback 0.4.0", vec![conf("loopback", "0.4.0", json!({}))]),
        chain(
            "tuning sysctl",
            json!({"sysctl": {"net.core.somaxconn": "512", "net.ipv4.conf.IFNAME.arp_filter": "1"}}),
        ),
        chain("tuning link", json!({"mtu": 1300, "promisc": true, "allmulti": true, "txQLen": 77})),
        chain("tuning mac", json!({"mac": "02:00:00:00:00:78"})),
        one("ptp plain", "ptp", json!({"ipam": v4()})),
        one("ptp dual", "ptp", json!({"mtu": 1400, "ipam": dual()})),
        one("ptp dns", "ptp", json!({"ipam": v4(), "dns": {"domain": "example.org"}})),
        one("dummy", "dummy", json!({"ipam": dual()})).needs(LinkType::Dummy),
        one("host-device", "host-device", json!({"device": "dev0", "ipam": v4()})).before(device),
        one("host-device l2", "host-device", json!({"device": "dev0"})).before(device),
        one("host-device mac", "host-device", json!({"hwaddr": "02:00:00:00:00:7a", "ipam": v4()})).before(device),
        one("tap", "tap", json!({"owner": 0, "group": 0, "ipam": v4()})).needs(LinkType::Tun),
        one("tap queues", "tap", json!({"owner": 1, "group": 2, "multiQueue": true})).needs(LinkType::Tun),
    ]
}

/// A device that is down and has no address, so that the peer gives it back as it was.
fn device() {
    edit::veth("dev0", "dev1");
    edit::mac("dev0", "02:00:00:00:00:7a");
    edit::up("dev1");
}

fn static_addresses() -> Vec<Scenario> {
    let fixed = || {
        json!({"type": "static", "addresses": [{"address": "10.1.2.7/24", "gateway": "10.1.2.1"},
            {"address": "2001:db8:1::7/64"}], "routes": [{"dst": "0.0.0.0/0"}], "dns": {"domain": "example.org"}})
    };
    vec![
        one("static alone", "static", json!({"ipam": fixed()})),
        one("bridge static", "bridge", json!({"bridge": "br0", "isGateway": true, "ipam": fixed()})),
        one("static args", "static", json!({"ipam": fixed(), "args": {"cni": {"ips": ["10.1.2.8/24"]}}})),
        one("static runtime", "static", json!({"ipam": fixed(), "runtimeConfig": {"ips": ["10.1.2.9/24"]}})),
        one("static wrong", "static", json!({"ipam": {"type": "static", "addresses": [{"address": "10.1.2.7"}]}})),
    ]
}

fn ports() -> Vec<Scenario> {
    let port = |name, extra: Value| {
        let mut keys = json!({"bridge": "br0", "isGateway": true, "ipam": v4()});
        keys.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        one(name, "bridge", keys)
    };
    vec![
        port("bridge isolated", json!({"portIsolation": true})),
        port("bridge vlan", json!({"vlan": 7})).needs(LinkType::VlanFiltering),
        port("bridge trunk", json!({"vlan": 7, "vlanTrunk": [{"id": 9}, {"minID": 20, "maxID": 30}]}))
            .needs(LinkType::VlanFiltering),
        port("bridge both-vlans", json!({"vlan": 7, "preserveDefaultVlan": true})).needs(LinkType::VlanFiltering),
    ]
}

/// Plugins on a link of the host's.
fn on_a_master() -> Vec<Scenario> {
    let on = |name, plugin: &str, extra: Value| {
        let mut conf = conf(plugin, "1.1.0", extra);
        conf["master"] = "up0".into();
        let kind = match plugin {
            "macvlan" => LinkType::Macvlan,
            "ipvlan" => LinkType::Ipvlan,
            _ => LinkType::Vlan,
        };
        Scenario::new(name, vec![conf]).needs(kind).before(|| {
            edit::veth("up0", "wire");
            edit::up("up0");
            edit::up("wire");
        })
    };
    vec![
        on("macvlan bridge", "macvlan", json!({"ipam": dual()})),
        on("macvlan private", "macvlan", json!({"mode": "private", "ipam": v4()})),
        on("macvlan vepa", "macvlan", json!({"mode": "vepa", "mtu": 1400, "ipam": v4()})),
        on("macvlan passthru", "macvlan", json!({"mode": "passthru", "ipam": v4()})),
        on("macvlan mac", "macvlan", json!({"mac": "02:00:00:00:00:79", "ipam": v4()})),
        on("macvlan l2", "macvlan", json!({"dns": {"nameservers": ["192.0.2.53"]}})),
        on("ipvlan l2", "ipvlan", json!({"ipam": dual()})),
        on("ipvlan l3", "ipvlan", json!({"mode": "l3", "mtu": 1400, "ipam": v4()})),
        on("vlan", "vlan", json!({"vlanId": 7, "ipam": dual()})),
        on("vlan mtu", "vlan", json!({"vlanId": 8, "mtu": 1400, "ipam": v4()})),
    ]
}

#[test]
fn picocni_and_the_go_plugins_do_the_same() {
    let Some(go) = Peer::go() else { skip!("the Go plugins have not been fetched") };
    let scenarios = [bridges(), ports(), ipam(), static_addresses(), other_plugins(), on_a_master()].concat();
    let (mut unexplained, mut shown) = (Vec::new(), vec![Vec::new(); KNOWN.len()]);
    // In the virtual machine, what the host's kernel may not be able to do; the rest was compared there.
    let wanted = |s: &&Scenario| s.is_possible() && (!vm::is_here() || s.needs_a_link_type());
    let possible: Vec<&Scenario> = scenarios.iter().filter(wanted).collect();
    for scenario in &possible {
        let (theirs, ours) = (scenario.observe(go.clone()), scenario.observe(Peer::picocni()));
        if (theirs.len() == 1) != REFUSED.contains(&scenario.name) {
            unexplained.push(format!("{}: {}", scenario.name, theirs.join(", ")));
        }
        for line in difference(&theirs, &ours) {
            let mut explained = false;
            for (known, shown) in KNOWN.iter().zip(&mut shown) {
                if known.concerns(scenario.name) && known.matches(&line) {
                    shown.push(scenario.name);
                    explained = true;
                }
            }
            if !explained {
                unexplained.push(format!("{}: {line}", scenario.name));
            }
        }
    }
    assert!(
        unexplained.is_empty(),
        "{} differences that are not listed:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    for (known, shown) in KNOWN.iter().zip(&shown) {
        let possible = !vm::is_here() && possible.iter().any(|s| known.concerns(s.name));
        assert!(!shown.is_empty() || !possible, "listed, and does not show: {:?} ({})", known.words, known.why);
    }
    println!("{} of {} scenarios compared", possible.len(), scenarios.len());
}
