//! What a JSON text may hold: static trees that the plugins write down.

use super::Expected;
use super::error::ErrorKind;

/// A named capacity. Running over it is an error that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limit {
    /// Name of the constant, as in `limits.rs`.
    pub name: &'static str,
    /// How many entries fit.
    pub max: usize,
}

impl Limit {
    /// Names a capacity.
    #[must_use]
    pub const fn new(name: &'static str, max: usize) -> Self {
        Self { name, max }
    }

    pub(super) fn error(&self) -> ErrorKind {
        ErrorKind::Limit { name: self.name, max: self.max }
    }
}

/// The type of a JSON value, and what becomes of it in the canonical text.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string. Read it as [`Str`](super::Str).
    Str,
    /// `true` or `false`.
    Bool,
    /// A boolean, or the strings `"true"` and `"false"` in any case; written as
    /// a boolean (libcni reads `disableCheck` so).
    BoolOrStr,
    /// A signed integer within bounds, both included. As in Go, `1.0` and `1e3`
    /// are not integers.
    Int {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// An unsigned integer within bounds, both included. As in Go, `-0` is not one.
    Uint {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// An object with these keys. Others are validated and left out.
    Object(&'static [Key]),
    /// An array of one type, with its capacity.
    Array(&'static Self, &'static Limit),
    /// An object with free keys, kept as they are, and its capacity. The last of
    /// equal keys is kept; [`Document::repeated_map_key`](super::Document::repeated_map_key)
    /// tells that there was one.
    Map(&'static Self, &'static Limit),
    /// Any value, copied without white space. Repeated keys inside it are kept.
    Any,
    /// Any value, not written; its raw text is recorded under the key's name.
    /// Only for the value of a declared key: elsewhere it is [`Kind::Any`].
    Raw,
    /// As the inner type, and its raw text is recorded under the key's name too.
    /// Only for the value of a declared key: elsewhere nothing is recorded.
    Spanned(&'static Self),
}

// The derive cannot see through the recursion of the tree.
#[cfg(feature = "defmt")]
impl defmt::Format for Kind {
    fn format(&self, f: defmt::Formatter<'_>) {
        self.expected().format(f);
    }
}

impl Kind {
    /// Any `i64`.
    pub const I64: Self = Self::Int { min: i64::MIN, max: i64::MAX };
    /// Any `u64`.
    pub const U64: Self = Self::Uint { min: 0, max: u64::MAX };
    /// Any `u32`.
    pub const U32: Self = Self::Uint { min: 0, max: u32::MAX as u64 };

    /// Without [`Kind::Spanned`] around it.
    pub(super) fn inner(self) -> Self {
        let mut kind = self;
        while let Self::Spanned(inner) = kind {
            kind = *inner;
        }
        kind
    }

    /// As the value of an array element or a map entry, which have no name to
    /// record a span under.
    pub(super) fn nameless(self) -> Self {
        match self.inner() {
            Self::Raw => Self::Any,
            kind => kind,
        }
    }

    /// Whether the raw text is recorded.
    pub(super) fn is_recorded(self) -> bool {
        matches!(self, Self::Raw | Self::Spanned(_))
    }

    /// Whether `null` takes away an earlier value of the same key, as it does in
    /// Go for slices, maps and interfaces, and does not for scalars and structs.
    pub(super) fn null_clears(self) -> bool {
        matches!(self, Self::Array(..) | Self::Map(..) | Self::Any | Self::Raw)
    }

    /// The words for an error.
    pub(super) fn expected(self) -> Expected {
        match self.inner() {
            Self::Str => Expected::Text("a string"),
            Self::Bool => Expected::Text("true or false"),
            Self::BoolOrStr => Expected::Text("true, false, \"true\" or \"false\""),
            Self::Int { min, max } => Expected::Int { min, max },
            Self::Uint { min, max } => Expected::Uint { min, max },
            Self::Object(_) | Self::Map(..) => Expected::Text("an object"),
            Self::Array(..) => Expected::Text("an array"),
            Self::Any | Self::Raw | Self::Spanned(_) => Expected::Text("a value"),
        }
    }
}

/// A declared key of an object.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Key {
    /// The spelling in the canonical text: ASCII without quotes, backslashes or
    /// control characters. The raw text may have it in any case, or escaped.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
}

impl Key {
    /// A key of any type.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }

    /// A string.
    #[must_use]
    pub const fn str(name: &'static str) -> Self {
        Self::new(name, Kind::Str)
    }

    /// A boolean.
    #[must_use]
    pub const fn bool(name: &'static str) -> Self {
        Self::new(name, Kind::Bool)
    }

    /// A signed integer, both bounds included.
    #[must_use]
    pub const fn int(name: &'static str, min: i64, max: i64) -> Self {
        Self::new(name, Kind::Int { min, max })
    }

    /// An unsigned integer, both bounds included.
    #[must_use]
    pub const fn uint(name: &'static str, min: u64, max: u64) -> Self {
        Self::new(name, Kind::Uint { min, max })
    }

    /// An object with declared keys, at most [`KEYS`](super::KEYS).
    #[must_use]
    pub const fn object(name: &'static str, keys: &'static [Self]) -> Self {
        Self::new(name, Kind::Object(keys))
    }

    /// An array.
    #[must_use]
    pub const fn array(name: &'static str, of: &'static Kind, limit: &'static Limit) -> Self {
        Self::new(name, Kind::Array(of, limit))
    }

    /// An object with free keys.
    #[must_use]
    pub const fn map(name: &'static str, of: &'static Kind, limit: &'static Limit) -> Self {
        Self::new(name, Kind::Map(of, limit))
    }

    /// Any value, copied.
    #[must_use]
    pub const fn any(name: &'static str) -> Self {
        Self::new(name, Kind::Any)
    }

    /// Any value, recorded as raw text and not written.
    #[must_use]
    pub const fn raw(name: &'static str) -> Self {
        Self::new(name, Kind::Raw)
    }

    /// A typed value that is recorded as raw text too.
    #[must_use]
    pub const fn spanned(name: &'static str, kind: &'static Kind) -> Self {
        Self::new(name, Kind::Spanned(kind))
    }
}
