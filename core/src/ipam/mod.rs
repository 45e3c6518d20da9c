//! Which address next: ranges, range sets, and the bitmaps behind them.
//!
//! Everything here is a pure function over values and over the caller's
//! `&mut [u64]`. Where leases are kept (files, flash, a table) is the caller's
//! business: it tells a [`Search`] which addresses are taken, and the search
//! says which one comes next.
//!
//! * [`Range`] is one line of a `host-local` configuration, made canonical with
//!   the reference plugin's rules and error phrases.
//! * [`RangeSet`] is what one address is taken from. It numbers its addresses
//!   `0..len`, range after range, and knows the round-robin order.
//! * [`Search`] walks that order through a bitmap of any size. A set larger
//!   than the bitmap is seen through a moving window.
//! * [`bitmap`] has the word arithmetic, for callers that keep an index of
//!   their own.
//!
//! Source of the rules: the `host-local` plugin's documentation and its
//! observable behaviour (version 1.9.1).

mod address;
pub mod bitmap;
mod range;
mod range_set;
mod search;

#[cfg(test)]
mod tests;

pub use range::{Range, RangeError, RangeSpec};
pub use range_set::{AllocationError, Candidate, RangeSet, RoundRobin, SetsOverlap, check_sets};
pub use search::Search;
