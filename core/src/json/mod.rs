//! JSON, one law: no two parsers that may disagree.
//!
//! [`scan`] makes one pass over the raw text. It validates the text strictly,
//! checks types against a static schema ([`Key`], [`Kind`]), and writes
//! *canonical* JSON into the caller's buffer. `serde-json-core` then reads only
//! that canonical text ([`read`], [`from_canonical`]), and writes every result
//! ([`to_slice`]).
//!
//! Canonical text has
//! - declared keys only, in their declared spelling (Go folds case, so
//!   containerd may send `HostPort` where the specification says `hostPort`);
//! - the last of several members with one key;
//! - no `null` members (the field keeps its default);
//! - every escape decoded, apart from `\"`, `\\` and the control characters,
//!   which JSON does not allow to stand for themselves;
//! - no white space.
//!
//! Strings may thus still hold a backslash. [`Str`] is the type for them.
//!
//! # What is accepted
//! What Go's `encoding/json` accepts into the matching struct, with these
//! listed differences:
//! - invalid UTF-8 and lone surrogates are errors (Go writes U+FFFD);
//! - more than [`DEPTH`] open brackets are an error (Go: 10,000);
//! - keys fold in ASCII only (Go also takes `ſ` for `s` and `K` for `k`);
//! - of two objects under one key the last is kept (Go merges their fields);
//! - after a repeated key, `null` leaves an earlier scalar or object and drops
//!   an earlier array or map (Go also drops it behind a pointer field);
//! - `null` as the whole document is an error (Go: an empty configuration);
//! - integer bounds of the schema are checked here, with the position.

mod error;
mod fields;
mod lex;
pub mod raw;
mod scan;
mod schema;
mod string;
pub mod write;

#[cfg(test)]
mod tests;

pub use error::{ErrorKind, Expected, JsonError};
pub use fields::{AnyElement, Field, Fields, Present, Slot, fill, read};
pub use scan::{Document, SpanView, scan, validate};
pub use schema::{Key, Kind, Limit};
pub use string::{Chars, Str, StrTooLong};
pub use write::{Overflow, Writer, to_slice};

/// How many brackets may be open at once in any JSON we read.
///
/// The deepest text of the specification (`plugins[].ipam.ranges[][]`, a
/// `prevResult` in a cached list) needs 8. The cap is what keeps the recursion
/// of `serde-json-core` within a small stack.
pub const DEPTH: usize = 32;

/// How many raw spans one document may record ([`Kind::Raw`], [`Kind::Spanned`]).
pub const SPANS: usize = 16;

/// How many keys one declared object may have: one bit each in a `u64`.
pub const KEYS: usize = 64;

/// The canonical text does not fit the type it is read into.
///
/// With a schema that matches the type this means a list or string longer than
/// its `heapless` capacity, or an unknown value of an enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DecodeError;

/// Reads a typed value from canonical text ([`Document::canonical`]).
///
/// # Errors
/// [`DecodeError`] where the text does not fit `T`.
pub fn from_canonical<'a, T>(text: &'a str) -> Result<T, DecodeError>
where
    T: serde::Deserialize<'a>,
{
    match serde_json_core::from_slice(text.as_bytes()) {
        Ok((value, _)) => Ok(value),
        Err(_) => Err(DecodeError),
    }
}
