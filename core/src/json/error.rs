//! What was wrong with a JSON text, and where.

use core::fmt;

/// The sort of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is not JSON (RFC 8259).
    Syntax,
    /// The text ends too early. Empty input is this too.
    Truncated,
    /// Something other than white space follows the top value.
    Trailing,
    /// A byte below 0x20 stands in a string.
    ControlCharacter,
    /// A backslash is followed by something JSON does not know.
    Escape,
    /// A `\u` escape is half of a surrogate pair.
    LoneSurrogate,
    /// The text is not UTF-8.
    Utf8,
    /// Valid JSON, but not of the type this key has.
    WrongType,
    /// An integer outside the bounds of this key.
    OutOfRange,
    /// A capacity of ours is too small for the text.
    Limit {
        /// Name of the constant, as in `limits.rs` or this module.
        name: &'static str,
        /// Its value.
        max: usize,
    },
}

/// What would have been right, in words for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Expected {
    /// A phrase such as `a string` or `',' or '}'`.
    Text(&'static str),
    /// A signed integer within bounds, both included.
    Int {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// An unsigned integer within bounds, both included.
    Uint {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Text(text) => f.write_str(text),
            Self::Int { min: i64::MIN, max: i64::MAX } => f.write_str("an integer"),
            Self::Int { min, max } => write!(f, "an integer {min}..{max}"),
            Self::Uint { min, max } => write!(f, "an integer {min}..{max}"),
        }
    }
}

/// A fault in a JSON text.
///
/// Displays as `line 3, column 14: expected an integer 0..4094 for "vlan"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct JsonError {
    /// Byte offset into the raw text, 0-based.
    pub offset: usize,
    /// Line, 1-based.
    pub line: u32,
    /// Column in bytes, 1-based.
    pub column: u32,
    /// The sort of fault.
    pub kind: ErrorKind,
    /// What would have been right there.
    pub expected: Expected,
    /// The innermost declared key in whose value the fault lies.
    pub key: Option<&'static str>,
}

impl JsonError {
    /// Finds line and column of `fault`. Only done once there is an error, so
    /// that the pass itself counts no lines.
    pub(super) fn locate(text: &[u8], fault: Fault) -> Self {
        let mut line: u32 = 1;
        let mut column: u32 = 1;
        for &byte in text.iter().take(fault.offset) {
            if byte == b'\n' {
                line = line.saturating_add(1);
                column = 1;
            } else {
                column = column.saturating_add(1);
            }
        }
        Self { offset: fault.offset, line, column, kind: fault.kind, expected: fault.expected, key: fault.key }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        match self.kind {
            ErrorKind::Limit { name, max } => {
                write!(f, "more than {max} {} (limit {name})", self.expected)?;
            }
            kind => {
                f.write_str(phrase(kind))?;
                write!(f, "{}", self.expected)?;
            }
        }
        match self.key {
            Some(key) => write!(f, " for \"{key}\""),
            None => Ok(()),
        }
    }
}

/// The words before what was expected.
fn phrase(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Truncated => "text ends, expected ",
        ErrorKind::Trailing => "text after the end, expected ",
        ErrorKind::ControlCharacter => "raw control character, expected ",
        ErrorKind::Escape => "unknown escape, expected ",
        ErrorKind::LoneSurrogate => "lone surrogate, expected ",
        ErrorKind::Utf8 => "invalid UTF-8, expected ",
        _ => "expected ",
    }
}

/// A fault before its line and column are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) kind: ErrorKind,
    pub(super) expected: Expected,
    pub(super) key: Option<&'static str>,
}

/// The pass has stopped; the fault is kept in the scanner.
///
/// A zero-sized error keeps the many `?` of the scanner small in code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop;
