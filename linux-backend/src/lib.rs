//! The Linux side of picocni, without libc and without an allocator.
//!
//! | layer | modules |
//! |---|---|
//! | bytes, and operations as messages; no I/O | [`wire`] |
//! | one system facility each | [`socket`], [`sys`], `netns`, `sysctl`, `files`, `exec`, `wait`, `tap`, `bus`, `transaction`, `transport` |
//! | operations → facilities | `apply`, `remove`, `shared`, `moved`, `shape`, `group`, `observe` |
//! | … of the packet filter | `filter`, `guard`, `firewall`, `policy`, `rules`, `forward`, `iptables`, `firewalld`, `parting` |
//! | the whole | [`host`], `backend` |
//!
//! No decision is made here: nothing branches on a config value.
#![no_std]
#![allow(clippy::result_large_err, reason = "an error carries its details inline: there is no heap, and it is cold")]

mod apply;
mod backend;
mod bus;
mod errno;
mod exec;
mod files;
mod filter;
mod firewall;
mod firewalld;
mod forward;
mod group;
mod guard;
pub mod host;
mod iptables;
mod moved;
mod netns;
mod observe;
mod parting;
mod policy;
mod remove;
mod rules;
mod shape;
mod shared;
pub mod socket;
pub mod sys;
mod sysctl;
pub mod tap;
mod transaction;
mod transport;
mod wait;
pub mod wire;
