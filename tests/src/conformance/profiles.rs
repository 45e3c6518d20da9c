//! What a plugin needs to be called at all: a minimal valid configuration, and what has to be on the host before.

use std::fs::File;
use std::os::fd::AsRawFd;

use netlink_packet_route::link::LinkAttribute;
use serde_json::{Value, json};

use crate::kernel::{LinkType, Snapshot, edit};
use crate::netns::Netns;

/// What a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It makes or moves an interface.
    Interface,
    /// It sets up the loopback interface that is there anyway.
    Loopback,
    /// It gives addresses.
    Ipam,
    /// It follows another plugin.
    Chained,
}

impl Role {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Interface => "a plugin that makes an interface",
            Self::Loopback => "loopback",
            Self::Ipam => "an IPAM plugin",
            Self::Chained => "a chained plugin",
        }
    }
}

/// A plugin whose configuration is known.
#[derive(Debug)]
pub struct Profile {
    /// Its name.
    pub plugin: &'static str,
    /// What it is for.
    pub role: Role,
    /// It calls an IPAM plugin.
    pub delegates: bool,
    /// Its interface is on a link of the host named `up0`.
    pub has_master: bool,
    /// The smallest valid configuration, without `cniVersion`, `name`, `type` and `ipam` of a delegate.
    pub keys: fn() -> Value,
    /// Why it cannot work on this kernel.
    pub lacks: fn() -> Option<String>,
    /// Makes what has to be on the host.
    pub prepare: fn(),
    /// Makes what has to be in a sandbox.
    pub furnish: fn(&Netns),
}

const INTERFACE: Profile = Profile {
    plugin: "",
    role: Role::Interface,
    delegates: true,
    has_master: false,
    keys: || json!({}),
    lacks: || None,
    prepare: || {},
    furnish: |_| {},
};

const ON_MASTER: Profile =
    Profile { has_master: true, keys: || json!({"master": "up0"}), prepare: || pair("up0", "wire"), ..INTERFACE };

const IPAM: Profile = Profile { role: Role::Ipam, delegates: false, ..INTERFACE };

const CHAINED: Profile = Profile { role: Role::Chained, delegates: false, furnish: earlier_interface, ..INTERFACE };

static PROFILES: [Profile; 18] = [
    Profile { plugin: "bridge", keys: || json!({"bridge": "conf0", "isGateway": true}), ..INTERFACE },
    Profile { plugin: "ptp", ..INTERFACE },
    Profile { plugin: "macvlan", lacks: || kernel_without(LinkType::Macvlan), ..ON_MASTER },
    Profile { plugin: "ipvlan", lacks: || kernel_without(LinkType::Ipvlan), ..ON_MASTER },
    Profile {
        plugin: "vlan",
        keys: || json!({"master": "up0", "vlanId": 7}),
        lacks: || kernel_without(LinkType::Vlan),
        ..ON_MASTER
    },
    Profile {
        plugin: "host-device",
        keys: || json!({"device": "dev0"}),
        prepare: || edit::veth("dev0", "dev1"),
        ..INTERFACE
    },
    Profile { plugin: "dummy", lacks: || kernel_without(LinkType::Dummy), ..INTERFACE },
    // With an owner it needs no `ip` program.
    Profile { plugin: "tap", keys: || json!({"owner": 0, "group": 0}), lacks: no_tun, ..INTERFACE },
    Profile { plugin: "loopback", role: Role::Loopback, delegates: false, ..INTERFACE },
    Profile { plugin: "host-local", keys: || json!({"ipam": ipam("host-local")}), ..IPAM },
    Profile { plugin: "static", keys: || json!({"ipam": ipam("static")}), ..IPAM },
    Profile { plugin: "firewall", ..CHAINED },
    Profile { plugin: "tuning", keys: || json!({"sysctl": {"net.core.somaxconn": "512"}}), ..CHAINED },
    Profile { plugin: "sbr", ..CHAINED },
    Profile { plugin: "vrf", keys: || json!({"vrfname": "red"}), lacks: || kernel_without(LinkType::Vrf), ..CHAINED },
    // One direction: the other adds an interface to the result.
    Profile { plugin: "bandwidth", keys: || json!({"ingressRate": 8_000_000, "ingressBurst": 80_000}), ..CHAINED },
    Profile { plugin: "policy", keys: || json!({"policyTypes": ["Ingress"], "ingress": [{}]}), ..CHAINED },
    Profile {
        plugin: "portmap",
        keys: || {
            json!({"backend": "nftables", "capabilities": {"portMappings": true}, "runtimeConfig":
                {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}})
        },
        ..CHAINED
    },
];

/// The profile of a plugin, by its name.
pub(super) fn of(plugin: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|p| p.plugin == plugin)
}

/// An `ipam` section.
pub(super) fn ipam(plugin: &str) -> Value {
    let routes = json!([{"dst": "0.0.0.0/0"}]);
    match plugin {
        "host-local" => json!({"type": plugin, "subnet": "10.88.0.0/24", "routes": routes}),
        _ => json!({"type": plugin, "addresses": [{"address": "10.88.0.2/24", "gateway": "10.88.0.1"}],
            "routes": routes}),
    }
}

fn kernel_without(link_type: LinkType) -> Option<String> {
    link_type.try_out().err().map(|_| format!("the kernel has no links of kind {}", link_type.name()))
}

fn no_tun() -> Option<String> {
    std::fs::File::open("/dev/net/tun").err().map(|e| format!("/dev/net/tun: {e}"))
}

fn pair(one: &str, other: &str) {
    edit::veth(one, other);
    edit::up(one);
    edit::up(other);
}

/// What an earlier plugin leaves for a chained one: `eth0` in the sandbox, its other end on the host.
fn earlier_interface(netns: &Netns) {
    let host = Snapshot::here();
    let end =
        ["host0", "host1"].into_iter().find(|name| host.find_link(name).is_none()).expect("two containers at most");
    pair(end, "eth0");
    if end == "host0" {
        edit::address(end, "10.88.0.1/24");
    }
    let sandbox = File::open(netns.path()).expect("a namespace");
    edit::set("eth0", LinkAttribute::NetNsFd(sandbox.as_raw_fd()));
    netns.run(|| {
        edit::up("lo");
        edit::up("eth0");
        edit::address("eth0", "10.88.0.2/24");
        edit::route("0.0.0.0/0", "10.88.0.1");
    });
}
