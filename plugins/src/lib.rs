//! The CNI plugins, one file or folder each: its config, and what it plans.
//!
//! | step that several plugins take | module |
//! |---|---|
//! | make a veth pair with a deterministic name | [`veth`] |
//! | addresses, routes and sysctls of the interface in the sandbox | [`interface`] |
//! | masquerade what leaves a pod's network (`ipMasq`) | [`masquerade`] |
//! | the protocol on stdin and stdout, for programs | [`program`] |
#![no_std]
#![forbid(unsafe_code)]
#![allow(clippy::result_large_err, reason = "an error carries its details inline: there is no heap, and it is cold")]

pub mod bridge;
pub mod host_local;
pub mod interface;
pub mod loopback;
pub mod masquerade;
pub mod portmap;
pub mod program;
#[cfg(test)]
mod proof;
pub mod tuning;
pub mod veth;

use picocni_core::plugin::Plugin;

/// Every plugin of this program, by the name it is called by.
pub const REGISTRY: &[&dyn Plugin] =
    &[&bridge::Bridge, &host_local::HostLocal, &loopback::Loopback, &portmap::Portmap, &tuning::Tuning];

/// The plugin called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Plugin> {
    REGISTRY.iter().copied().find(|plugin| plugin.name() == name)
}
