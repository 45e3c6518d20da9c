//! Tokens of RFC 8259: where a string or number ends, and whether it is valid.

use super::error::ErrorKind;

/// A lexical fault: where, what, and what was expected.
pub(super) type LexError = (usize, ErrorKind, &'static str);

/// The text between the quotes of a valid string.
#[derive(Clone, Copy, Debug)]
pub(super) struct StringToken {
    /// Offset of the first byte after the opening quote.
    pub(super) start: usize,
    /// Offset of the closing quote.
    pub(super) end: usize,
    /// Whether it holds a backslash.
    pub(super) escaped: bool,
}

impl StringToken {
    /// Offset of the first byte after the closing quote.
    pub(super) fn after(self) -> usize {
        self.end.wrapping_add(1)
    }
}

/// Offset of the first byte at or after `pos` that is not white space.
pub(super) fn skip_space(text: &[u8], mut pos: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = text.get(pos) {
        pos = pos.wrapping_add(1);
    }
    pos
}

/// Validates the string whose opening quote is at `quote`.
pub(super) fn string(text: &[u8], quote: usize) -> Result<StringToken, LexError> {
    let start = quote.wrapping_add(1);
    let mut pos = start;
    let mut escaped = false;
    loop {
        let rest = text.get(pos..).unwrap_or_default();
        let run = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20);
        pos = match run {
            Some(run) => pos.wrapping_add(run),
            None => return Err((text.len(), ErrorKind::Truncated, "'\"'")),
        };
        match text.get(pos) {
            Some(b'"') => {
                return Ok(StringToken { start, end: pos, escaped });
            }
            Some(b'\\') => {
                escaped = true;
                pos = escape(text, pos)?.1;
            }
            _ => return Err((pos, ErrorKind::ControlCharacter, "an escape such as \\n")),
        }
    }
}

/// Decodes the escape whose backslash is at `pos`: the character, and the
/// offset after it. Surrogate pairs are one escape.
pub(super) fn escape(text: &[u8], pos: usize) -> Result<(char, usize), LexError> {
    const KNOWN: &str = "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u";
    let letter = pos.wrapping_add(1);
    let plain = match text.get(letter) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(text, pos),
        Some(_) => return Err((pos, ErrorKind::Escape, KNOWN)),
        None => return Err((text.len(), ErrorKind::Truncated, KNOWN)),
    };
    Ok((plain, pos.wrapping_add(2)))
}

/// Decodes `\uXXXX` or a pair of them, with the first backslash at `pos`.
fn unicode_escape(text: &[u8], pos: usize) -> Result<(char, usize), LexError> {
    const LONE: &str = "a surrogate pair";
    let unit = hex4(text, pos.wrapping_add(2))?;
    let after = pos.wrapping_add(6);
    let (scalar, after) = if (0xd800..0xdc00).contains(&unit) {
        if text.get(after) != Some(&b'\\') || text.get(after.wrapping_add(1)) != Some(&b'u') {
            return Err((pos, ErrorKind::LoneSurrogate, LONE));
        }
        let low = hex4(text, after.wrapping_add(2))?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err((pos, ErrorKind::LoneSurrogate, LONE));
        }
        let high = (unit & 0x3ff) << 10;
        let scalar = (high | (low & 0x3ff)).wrapping_add(0x1_0000);
        (scalar, after.wrapping_add(6))
    } else {
        (unit, after)
    };
    match char::from_u32(scalar) {
        Some(c) => Ok((c, after)),
        None => Err((pos, ErrorKind::LoneSurrogate, LONE)),
    }
}

/// By hand: `char::to_digit` asserts its radix, and keeps that panic in the binary.
fn hex_digit(byte: u8) -> Option<u32> {
    let first = match byte {
        b'0'..=b'9' => b'0',
        b'a'..=b'f' => b'a'.wrapping_sub(10),
        b'A'..=b'F' => b'A'.wrapping_sub(10),
        _ => return None,
    };
    Some(u32::from(byte.wrapping_sub(first)))
}

/// Reads four hexadecimal digits at `pos`.
fn hex4(text: &[u8], pos: usize) -> Result<u32, LexError> {
    const DIGITS: &str = "four hexadecimal digits";
    let mut value: u32 = 0;
    for at in pos..pos.wrapping_add(4) {
        let digit = match text.get(at) {
            Some(&byte) => hex_digit(byte),
            None => return Err((text.len(), ErrorKind::Truncated, DIGITS)),
        };
        match digit {
            Some(digit) => value = (value << 4) | digit,
            None => return Err((at, ErrorKind::Escape, DIGITS)),
        }
    }
    Ok(value)
}

/// Validates the number at `pos`: the offset after it, and whether it has
/// neither fraction nor exponent.
pub(super) fn number(text: &[u8], mut pos: usize) -> Result<(usize, bool), LexError> {
    if text.get(pos) == Some(&b'-') {
        pos = pos.wrapping_add(1);
    }
    pos = match text.get(pos) {
        // No digit may follow a leading zero; what follows is judged by the caller.
        Some(b'0') => pos.wrapping_add(1),
        _ => digits(text, pos)?,
    };
    let mut integer = true;
    if text.get(pos) == Some(&b'.') {
        integer = false;
        pos = digits(text, pos.wrapping_add(1))?;
    }
    if let Some(b'e' | b'E') = text.get(pos) {
        integer = false;
        pos = pos.wrapping_add(1);
        if let Some(b'+' | b'-') = text.get(pos) {
            pos = pos.wrapping_add(1);
        }
        pos = digits(text, pos)?;
    }
    Ok((pos, integer))
}

/// Skips one digit or more.
fn digits(text: &[u8], start: usize) -> Result<usize, LexError> {
    let mut pos = start;
    while let Some(b'0'..=b'9') = text.get(pos) {
        pos = pos.wrapping_add(1);
    }
    if pos != start {
        Ok(pos)
    } else if text.get(pos).is_none() {
        Err((pos, ErrorKind::Truncated, "a digit"))
    } else {
        Err((pos, ErrorKind::Syntax, "a digit"))
    }
}

/// Whether `word` stands at `pos`.
pub(super) fn word(text: &[u8], pos: usize, word: &[u8]) -> bool {
    text.get(pos..).is_some_and(|rest| rest.starts_with(word))
}

/// Offset after the value at `pos` of a *validated* text. No recursion: only
/// the number of open brackets matters there.
pub(super) fn skip_value(text: &[u8], mut pos: usize) -> Option<usize> {
    let mut open: usize = 0;
    loop {
        match text.get(pos)? {
            b'"' => pos = string(text, pos).ok()?.after(),
            b'{' | b'[' => {
                open = open.checked_add(1)?;
                pos = pos.wrapping_add(1);
            }
            b'}' | b']' => {
                open = open.checked_sub(1)?;
                pos = pos.wrapping_add(1);
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                // Outside brackets a value never starts or goes on with these.
                if open == 0 {
                    return None;
                }
                pos = pos.wrapping_add(1);
                continue;
            }
            _ => pos = skip_bare(text, pos),
        }
        if open == 0 {
            return Some(pos);
        }
    }
}

/// Offset after a number or a literal.
fn skip_bare(text: &[u8], mut pos: usize) -> usize {
    while let Some(&byte) = text.get(pos) {
        if matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b',' | b':') || byte <= b' ' {
            break;
        }
        pos = pos.wrapping_add(1);
    }
    pos
}
