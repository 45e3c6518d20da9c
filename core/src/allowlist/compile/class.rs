//! Character classes.

use super::reader::{Escape, Reader};
use super::{Class, Unsupported};

/// `.`: Go's dot does not match a line feed.
pub(super) const ANY_BUT_NEWLINE: Class = Class { ascii: !(1 << 10), others: true };

const DIGIT: u128 = span(b'0', b'9');
const LOWER: u128 = span(b'a', b'z');
const UPPER: u128 = span(b'A', b'Z');
const ALNUM: u128 = DIGIT | LOWER | UPPER;
const WORD: u128 = ALNUM | span(b'_', b'_');
/// Go's `\s` has no vertical tab; `[:space:]` has.
const SPACE: u128 = span(b'\t', b'\n') | span(0x0c, b'\r') | span(b' ', b' ');
const GRAPH: u128 = span(b'!', b'~');

/// The bits `first..=last`; both are ASCII and in order.
const fn span(first: u8, last: u8) -> u128 {
    let width = last.wrapping_sub(first).wrapping_add(1);
    let low = match 1u128.checked_shl(width as u32) {
        Some(bit) => bit.wrapping_sub(1),
        None => u128::MAX,
    };
    low.wrapping_shl(first as u32)
}

impl Class {
    const fn only(ascii: u128) -> Self {
        Self { ascii, others: false }
    }

    const fn negated(self) -> Self {
        Self { ascii: !self.ascii, others: !self.others }
    }

    const fn with(self, more: Self) -> Self {
        Self { ascii: self.ascii | more.ascii, others: self.others || more.others }
    }
}

/// The class of `\d`, `\D`, `\w`, `\W`, `\s`, `\S`.
pub(super) const fn of_escape(byte: u8) -> Option<Class> {
    let class = match byte.to_ascii_lowercase() {
        b'd' => Class::only(DIGIT),
        b'w' => Class::only(WORD),
        b's' => Class::only(SPACE),
        _ => return None,
    };
    Some(if byte.is_ascii_uppercase() { class.negated() } else { class })
}

/// The class of `[:name:]`.
fn of_name(name: &[u8]) -> Option<u128> {
    Some(match name {
        b"alnum" => ALNUM,
        b"alpha" => LOWER | UPPER,
        b"ascii" => u128::MAX,
        b"blank" => span(b'\t', b'\t') | span(b' ', b' '),
        b"cntrl" => span(0, 0x1f) | span(0x7f, 0x7f),
        b"digit" => DIGIT,
        b"graph" => GRAPH,
        b"lower" => LOWER,
        b"print" => GRAPH | span(b' ', b' '),
        b"punct" => GRAPH & !ALNUM,
        b"space" => SPACE | span(0x0b, 0x0b),
        b"upper" => UPPER,
        b"word" => WORD,
        b"xdigit" => DIGIT | span(b'a', b'f') | span(b'A', b'F'),
        _ => return None,
    })
}

/// Reads a class whose `[` was taken.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Class, Unsupported> {
    let negated = reader.take_if(b'^');
    let mut class = Class::only(0);
    let mut first = true;
    loop {
        let Some(byte) = reader.take() else {
            return reader.error("missing ]");
        };
        // A `]` that comes first is a character.
        if byte == b']' && !first {
            break;
        }
        first = false;
        if byte == b'[' && reader.peek() == Some(b':') {
            class = class.with(named(reader)?);
            continue;
        }
        match item(reader, byte)? {
            Escape::Byte(from) => {
                let to = range_end(reader, from)?;
                class.ascii |= span(from, to);
            }
            Escape::Class(more) => class = class.with(more),
            Escape::Place(_) => return reader.error_before("escape not supported in a class"),
        }
    }
    Ok(if negated { class.negated() } else { class })
}

/// One character or escape of a class, whose first byte was taken.
fn item(reader: &mut Reader<'_>, byte: u8) -> Result<Escape, Unsupported> {
    match byte {
        b'\\' => reader.escape(),
        // Characters in Go, operators elsewhere: refused, to be unmistakable.
        b'[' => reader.error_before("[ in a class (write \\[ for the character)"),
        b'&' | b'~' | b'-' if reader.peek() == Some(byte) => reader.error_before("doubled &, ~ or - in a class"),
        _ if byte.is_ascii() => Ok(Escape::Byte(byte)),
        _ => reader.error_before("character outside ASCII"),
    }
}

/// The end of a range `from-to`; `from` itself if there is no range.
fn range_end(reader: &mut Reader<'_>, from: u8) -> Result<u8, Unsupported> {
    // A `-` before the closing bracket is a character.
    if reader.peek() != Some(b'-') || reader.peek_second() == Some(b']') {
        return Ok(from);
    }
    reader.take();
    let Some(byte) = reader.take() else {
        return reader.error("missing ]");
    };
    if byte == b'-' {
        return reader.error_before("doubled &, ~ or - in a class");
    }
    match item(reader, byte)? {
        Escape::Byte(to) if to >= from => Ok(to),
        _ => reader.error_before("bad range in a class"),
    }
}

/// Reads `[:name:]` or `[:^name:]`, whose `[` was taken.
fn named(reader: &mut Reader<'_>) -> Result<Class, Unsupported> {
    reader.take_if(b':');
    let negated = reader.take_if(b'^');
    let rest = reader.rest;
    let mut len = 0usize;
    while reader.peek().is_some_and(|b| b.is_ascii_lowercase()) {
        reader.take();
        len = len.saturating_add(1);
    }
    let name = rest.get(..len).unwrap_or_default();
    let closed = reader.take_if(b':') && reader.take_if(b']');
    match of_name(name) {
        Some(ascii) if closed => {
            let class = Class::only(ascii);
            Ok(if negated { class.negated() } else { class })
        }
        _ => reader.error_before("unknown class name"),
    }
}
