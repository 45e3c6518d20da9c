//! One open bracket.

use crate::json::schema::{Key, Kind, Limit};

/// What stands in the bracket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// An object with declared keys.
    Keys(&'static [Key]),
    /// An object with free keys of one type.
    Map(&'static Kind, &'static Limit),
    /// An array of one type.
    List(&'static Kind, &'static Limit),
    /// An object nobody declared: copied or left out.
    Object { write: bool },
    /// An array nobody declared: copied or left out.
    Array { write: bool },
}

impl Shape {
    pub(super) fn is_object(self) -> bool {
        matches!(self, Self::Keys(_) | Self::Map(..) | Self::Object { .. })
    }

    pub(super) fn writes(self) -> bool {
        !matches!(self, Self::Object { write: false } | Self::Array { write: false })
    }
}

/// One open bracket of the raw text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) shape: Shape,
    /// Nothing was read in it yet.
    pub(super) first: bool,
    /// Entries in the canonical text.
    pub(super) written: usize,
    /// One bit for each declared key that was given a value.
    pub(super) seen: u64,
    /// Canonical offset after the opening bracket.
    pub(super) body: usize,
    /// Raw offset of the opening bracket.
    pub(super) raw: usize,
    /// Raw start of the span that ends with this bracket.
    pub(super) span: Option<usize>,
    /// The innermost declared key around it.
    pub(super) key: Option<&'static str>,
}
