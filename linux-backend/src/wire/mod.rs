//! Wire codecs of netlink, and of the message bus: bytes in, typed values out, and the way back.
//!
//! Nothing here opens a socket or makes a system call. Requests are written
//! into a caller's buffer through [`nlmsg::Batch`]; replies are read in place
//! from the datagram that the caller received. Header fields and attribute
//! payloads are in host byte order unless their type says otherwise, as
//! netlink(7) has it.

#![forbid(unsafe_code)]

pub mod addr;
pub mod attr;
pub mod bridge_vlan;
pub mod conntrack;
pub mod dbus;
pub mod extack;
pub mod link;
pub mod neigh;
pub mod netfilter;
pub mod nfnetlink;
pub mod nftables;
pub mod nlmsg;
pub(crate) mod operation;
pub mod route;
pub mod rule;
pub mod tc;

// The captured bytes are those of a little-endian machine.
#[cfg(all(test, target_endian = "little"))]
mod golden;
