//! Packet filtering: what picocni keeps in the kernel's tables.
//!
//! Pure data and codecs; sending it is the transport's work.

pub mod firewall;
pub mod foreign;
pub mod guard;
pub mod layout;
pub mod policy;
