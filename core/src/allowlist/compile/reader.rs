//! Reading a line byte by byte.

use super::super::{Class, Place};
use super::{Unsupported, class};

/// Go's limit for the numbers of a repetition.
const MAX_REPEAT: u16 = 1000;

/// What an escape stands for.
pub(super) enum Escape {
    Byte(u8),
    Class(Class),
    Place(Place),
}

/// Reads the line byte by byte; columns are for errors.
pub(super) struct Reader<'t> {
    pub(super) rest: &'t [u8],
    pub(super) column: usize,
}

impl Reader<'_> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn peek_second(&self) -> Option<u8> {
        self.rest.get(1).copied()
    }

    pub(super) fn take(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.column = self.column.saturating_add(1);
        Some(byte)
    }

    pub(super) fn take_if(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.take();
        }
        found
    }

    /// The error at the byte that comes next.
    pub(super) const fn error<T>(&self, what: &'static str) -> Result<T, Unsupported> {
        Err(Unsupported { column: self.column, what })
    }

    /// The error at the byte just taken.
    pub(super) fn error_before<T>(&self, what: &'static str) -> Result<T, Unsupported> {
        Err(Unsupported { column: self.column.saturating_sub(1), what })
    }

    /// A decimal number of at most [`MAX_REPEAT`], without sign or leading zero.
    pub(super) fn number(&mut self) -> Result<Option<u16>, Unsupported> {
        let mut value: Option<u16> = None;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            if value == Some(0) {
                return self.error("number with a leading zero");
            }
            let digit = u16::from(digit).saturating_sub(u16::from(b'0'));
            let next = value.unwrap_or(0).saturating_mul(10).saturating_add(digit);
            if next > MAX_REPEAT {
                return self.error("repetition over 1000");
            }
            value = Some(next);
            self.take();
        }
        Ok(value)
    }

    /// What stands after a backslash that was taken.
    pub(super) fn escape(&mut self) -> Result<Escape, Unsupported> {
        let Some(byte) = self.take() else {
            return self.error_before("backslash at the end of the line");
        };
        if let Some(class) = class::of_escape(byte) {
            return Ok(Escape::Class(class));
        }
        Ok(match byte {
            b'b' => Escape::Place(Place::WordEdge),
            b'B' => Escape::Place(Place::NotWordEdge),
            b'A' => Escape::Place(Place::Start),
            b'z' => Escape::Place(Place::End),
            b'a' => Escape::Byte(0x07),
            b'f' => Escape::Byte(0x0c),
            b't' => Escape::Byte(b'\t'),
            b'n' => Escape::Byte(b'\n'),
            b'r' => Escape::Byte(b'\r'),
            b'v' => Escape::Byte(0x0b),
            b'x' => Escape::Byte(self.hex_escape()?),
            // Literals in Go, word boundaries elsewhere.
            b'<' | b'>' => return self.error_before("escape not supported"),
            _ if byte.is_ascii_punctuation() || byte == b' ' => Escape::Byte(byte),
            _ => return self.error_before("escape not supported"),
        })
    }

    fn hex_escape(&mut self) -> Result<u8, Unsupported> {
        let mut value = 0u32;
        for _ in 0..2 {
            let digit = self.peek().and_then(hex_digit);
            let Some(digit) = digit else {
                return self.error("\\x needs two hex digits");
            };
            value = value.wrapping_mul(16).wrapping_add(digit);
            self.take();
        }
        match u8::try_from(value) {
            Ok(byte) if byte.is_ascii() => Ok(byte),
            _ => self.error_before("character outside ASCII"),
        }
    }
}

/// The value of a hex digit. (`char::to_digit` would bring a panic for its radix.)
const fn hex_digit(byte: u8) -> Option<u32> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0') as u32),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10) as u32),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10) as u32),
        _ => None,
    }
}
