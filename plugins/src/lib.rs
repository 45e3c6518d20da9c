//! The CNI plugins, one file or folder each: its config, and what it plans.
//!
//! | step that several plugins take | module |
//! |---|---|
//! | make a veth pair with a deterministic name | [`veth`] |
//! | the host forwards | [`forwarding`] |
//! | addresses, routes and sysctls of the interface in the sandbox | [`interface`] |
//! | a link with one end in the sandbox, from creation to DEL | [`link`] |
//! | the MAC that somebody asks for | [`mac`] |
//! | files that say what an attachment holds | [`record`] |
//! | more changes than a plan holds | [`steps`] |
//! | which routing table is free | [`tables`] |
//! | nf_tables, or the programs of iptables | [`backend`] |
//! | masquerade what leaves a pod's network (`ipMasq`) | [`masquerade`] |
//! | what the plugins before us left in the packet filter | [`predecessor`] |
//! | the protocol on stdin and stdout, for programs | [`program`] |
#![no_std]
#![forbid(unsafe_code)]
#![allow(clippy::result_large_err, reason = "an error carries its details inline: there is no heap, and it is cold")]

pub mod backend;
pub mod bandwidth;
pub mod bridge;
pub mod dummy;
pub mod firewall;
pub mod flannel;
pub mod forwarding;
pub mod host_device;
pub mod host_local;
pub mod interface;
pub mod ipvlan;
pub mod link;
pub mod loopback;
pub mod mac;
pub mod macvlan;
pub mod masquerade;
pub mod one_process;
pub mod policy;
pub mod portmap;
pub mod predecessor;
pub mod program;
#[cfg(test)]
mod proof;
pub mod ptp;
pub mod record;
pub mod sbr;
pub mod static_ipam;
pub mod steps;
pub mod tables;
pub mod tap;
pub mod tuning;
pub mod veth;
pub mod vlan;
pub mod vrf;

use picocni_core::plugin::Plugin;

/// Every plugin of this program, by the name it is called by.
pub const REGISTRY: &[&dyn Plugin] = &[
    &bandwidth::Bandwidth,
    &bridge::Bridge,
    &dummy::Dummy,
    &firewall::Firewall,
    &flannel::Flannel,
    &host_device::HostDevice,
    &host_local::HostLocal,
    &ipvlan::Ipvlan,
    &loopback::Loopback,
    &macvlan::Macvlan,
    &one_process::OneProcess,
    &policy::Policy,
    &portmap::Portmap,
    &ptp::Ptp,
    &sbr::Sbr,
    &static_ipam::Static,
    &tap::Tap,
    &tuning::Tuning,
    &vlan::Vlan,
    &vrf::Vrf,
];

/// The plugin called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Plugin> {
    REGISTRY.iter().copied().find(|plugin| plugin.name() == name)
}
