//! CNI without `std` and without an allocator.
//!
//! **Goals.** The whole protocol of spec 1.1.0; plans as data; one place that
//! applies them, one that undoes them; every buffer owned by the caller.
//! **Not goals.** System calls, threads, a heap, serving as a general JSON library.
//!
//! | layer | modules |
//! |---|---|
//! | text in, text out | [`json`], [`text`], [`error`] |
//! | the spec's words | [`version`], [`env`](mod@env), [`name`], [`net`], [`conf`], [`result`] |
//! | what is done | [`op`], [`journal`], [`observe`], [`packet_filter`], [`shaping`], [`backend`], [`sim`] |
//! | who does it | [`plugin`], [`session`], [`dispatch`], [`check`] |
//! | networks as a runtime sees them | [`runtime`] |
//! | arithmetic | [`ipam`], [`allowlist`], [`digest`] |
//! | another program's text | [`iptables`] |
//!
//! Nothing here panics on any input, recurses on input, or allocates. A
//! capacity that is exceeded is an error that names a constant of [`limits`].
#![no_std]
#![forbid(unsafe_code)]
#![allow(clippy::missing_errors_doc, reason = "private functions; public ones say it")]
#![allow(clippy::result_large_err, reason = "an error carries its details inline: there is no heap, and it is cold")]

pub use heapless;

pub mod allowlist;
pub mod backend;
pub mod check;
pub mod conf;
pub mod digest;
pub mod dispatch;
pub mod env;
pub mod error;
pub mod ipam;
pub mod iptables;
pub mod journal;
pub mod json;
pub mod limits;
pub mod name;
pub mod net;
pub mod observe;
pub mod op;
pub mod owner;
pub mod packet_filter;
pub mod plugin;
pub mod result;
pub mod runtime;
pub mod session;
pub mod shaping;
pub mod sim;
pub mod text;
pub mod version;
