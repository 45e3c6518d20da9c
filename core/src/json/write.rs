//! Writing JSON: typed values through serde, and text piece by piece.

use core::fmt;

use super::string::Str;

/// The text does not fit the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Overflow;

/// Writes a typed value. Returns the number of bytes.
///
/// # Errors
/// [`Overflow`] if `out` is too small.
pub fn to_slice<T: serde::Serialize + ?Sized>(value: &T, out: &mut [u8]) -> Result<usize, Overflow> {
    serde_json_core::to_slice(value, out).map_err(|_| Overflow)
}

/// Writes JSON piece by piece where a serde struct is a poor fit.
///
/// Commas come by themselves; brackets and the pairing of keys with values are
/// the caller's. An overflow is remembered and told by [`Writer::finish`].
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
    overflow: bool,
    /// A value stands before, so that the next one needs a comma.
    comma: bool,
}

impl<'b> Writer<'b> {
    /// Writes to the start of `out`.
    #[must_use]
    pub fn new(out: &'b mut [u8]) -> Self {
        Self { out, len: 0, overflow: false, comma: false }
    }

    /// The number of bytes written.
    ///
    /// # Errors
    /// [`Overflow`] if not all of it fitted.
    pub fn finish(self) -> Result<usize, Overflow> {
        if self.overflow { Err(Overflow) } else { Ok(self.len) }
    }

    /// `{`
    pub fn begin_object(&mut self) -> &mut Self {
        self.open(b"{")
    }

    /// `}`
    pub fn end_object(&mut self) -> &mut Self {
        self.close(b"}")
    }

    /// `[`
    pub fn begin_array(&mut self) -> &mut Self {
        self.open(b"[")
    }

    /// `]`
    pub fn end_array(&mut self) -> &mut Self {
        self.close(b"]")
    }

    /// A key; its value follows.
    pub fn key(&mut self, name: &str) -> &mut Self {
        self.separator();
        self.quoted(name);
        self.put(b":");
        self.comma = false;
        self
    }

    /// A key that is escaped already, as raw text has it.
    pub fn raw_key(&mut self, key: &str) -> &mut Self {
        self.separator();
        self.put(b"\"");
        self.put(key.as_bytes());
        self.put(b"\":");
        self.comma = false;
        self
    }

    /// A string; escaped as needed.
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.separator();
        self.quoted(value);
        self.comma = true;
        self
    }

    /// A string of canonical text.
    pub fn canonical(&mut self, value: Str<'_>) -> &mut Self {
        self.separator();
        self.put(b"\"");
        self.put(value.canonical().as_bytes());
        self.put(b"\"");
        self.comma = true;
        self
    }

    /// A signed integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        self.separator();
        if value < 0 {
            self.put(b"-");
        }
        self.digits(value.unsigned_abs());
        self.comma = true;
        self
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.separator();
        self.digits(value);
        self.comma = true;
        self
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(if value { "true" } else { "false" })
    }

    /// `null`
    pub fn null(&mut self) -> &mut Self {
        self.raw("null")
    }

    /// A value that is valid JSON already, as it is.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.separator();
        self.put(json.as_bytes());
        self.comma = true;
        self
    }

    /// A value that is valid JSON already, without its white space.
    pub fn compact(&mut self, json: &str) -> &mut Self {
        self.separator();
        let mut in_string = false;
        let mut escaped = false;
        for &byte in json.as_bytes() {
            if in_string {
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                continue;
            } else {
                in_string = byte == b'"';
            }
            self.put(&[byte]);
        }
        self.comma = true;
        self
    }

    /// A string of what a value displays as; escaped as needed.
    pub fn display<T: fmt::Display + ?Sized>(&mut self, value: &T) -> &mut Self {
        self.separator();
        self.put(b"\"");
        // An error of the value itself leaves its text incomplete.
        if fmt::write(&mut Escaping(self), format_args!("{value}")).is_err() {
            self.overflow = true;
        }
        self.put(b"\"");
        self.comma = true;
        self
    }

    fn open(&mut self, bracket: &[u8]) -> &mut Self {
        self.separator();
        self.put(bracket);
        self.comma = false;
        self
    }

    fn close(&mut self, bracket: &[u8]) -> &mut Self {
        self.put(bracket);
        self.comma = true;
        self
    }

    fn separator(&mut self) {
        if self.comma {
            self.put(b",");
        }
    }

    fn quoted(&mut self, value: &str) {
        self.put(b"\"");
        self.inside(value);
        self.put(b"\"");
    }

    /// Text inside the quotes. What needs an escape is ASCII, so bytes will do.
    fn inside(&mut self, value: &str) {
        for &byte in value.as_bytes() {
            match escape_of(char::from(byte)) {
                Some(escape) => self.put(escape.as_bytes()),
                None => self.put(&[byte]),
            }
        }
    }

    fn digits(&mut self, mut value: u64) {
        // u64::MAX has 20 digits.
        let mut text = [b'0'; 20];
        let mut used: usize = 0;
        for slot in text.iter_mut().rev() {
            // The remainder of a division by ten is below ten.
            *slot = b'0' | value.wrapping_rem(10).to_le_bytes()[0];
            value = value.wrapping_div(10);
            used = used.wrapping_add(1);
            if value == 0 {
                break;
            }
        }
        let start = text.len().wrapping_sub(used);
        self.put(text.get(start..).unwrap_or_default());
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.len.wrapping_add(bytes.len());
        match self.out.get_mut(self.len..end) {
            Some(free) if !self.overflow => {
                for (to, from) in free.iter_mut().zip(bytes) {
                    *to = *from;
                }
                self.len = end;
            }
            _ => self.overflow = true,
        }
    }
}

/// Text on its way into the quotes of a string.
struct Escaping<'w, 'b>(&'w mut Writer<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.inside(text);
        Ok(())
    }
}

/// An escape that JSON cannot do without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Escape {
    text: [u8; 6],
    len: usize,
}

impl Escape {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
}

/// The escape of `c`, if it cannot stand for itself in a string.
pub(super) fn escape_of(c: char) -> Option<Escape> {
    let short = match c {
        '"' => b'"',
        '\\' => b'\\',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\0'..='\u{1f}' => {
            let code = u32::from(c);
            let high = if code >= 0x10 { b'1' } else { b'0' };
            let [nibble, ..] = (code & 0xf).to_le_bytes();
            let low = nibble.wrapping_add(if nibble < 10 { b'0' } else { b'a'.wrapping_sub(10) });
            return Some(Escape { text: [b'\\', b'u', b'0', b'0', high, low], len: 6 });
        }
        _ => return None,
    };
    Some(Escape { text: [b'\\', short, 0, 0, 0, 0], len: 2 })
}
