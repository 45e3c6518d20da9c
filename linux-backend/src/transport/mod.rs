//! The raw netlink socket below [`Socket`](crate::socket::Socket): open, send,
//! receive, and a descriptor to poll. Two crates make it, one is compiled in:
//!
//! | feature | module | for |
//! |---|---|---|
//! | none | `rustix` | the freestanding program: no libc, no allocation |
//! | `netlink-sys` | `netlink_sys` | programs with std that have that crate already |
//!
//! Both have a type `Raw` with the same five functions: `open`, `join`, `send`,
//! `receive` and `as_fd`. Which bytes are sent, and what an answer means, is
//! decided above them, once.

#[cfg(feature = "netlink-sys")]
mod netlink_sys;
#[cfg(not(feature = "netlink-sys"))]
mod rustix;

#[cfg(feature = "netlink-sys")]
pub(crate) use netlink_sys::Raw;
#[cfg(not(feature = "netlink-sys"))]
pub(crate) use rustix::Raw;
