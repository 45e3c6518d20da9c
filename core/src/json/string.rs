//! Strings of canonical text, which may still hold an escape.

use core::fmt;

use super::lex;

/// A string of canonical text.
///
/// It borrows the text between the quotes, where `\"`, `\\` and control
/// characters are still escaped. It is never a bare `&str`, so that no escaped
/// text is taken for the value by mistake.
///
/// Two of them are equal if their values are: canonical text has one spelling
/// for each value.
///
/// A field of this type needs `#[serde(borrow)]`, and mostly `default`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Str<'a>(&'a str);

/// A decoded string is longer than the buffer it should go into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StrTooLong;

impl<'a> Str<'a> {
    /// Takes a value that needs no escape; `None` if it does.
    #[must_use]
    pub fn from_plain(value: &'a str) -> Option<Self> {
        let clean = value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
        clean.then_some(Self(value))
    }

    /// Takes what stands between the quotes of a string of canonical text, as
    /// the walkers of [`raw`](super::raw) give keys.
    #[must_use]
    pub const fn from_canonical(text: &'a str) -> Self {
        Self(text)
    }

    /// The value, if it holds no escape. Names, addresses and paths never do
    /// unless somebody tries something.
    #[must_use]
    pub fn plain(self) -> Option<&'a str> {
        (!self.0.as_bytes().contains(&b'\\')).then_some(self.0)
    }

    /// The text as it stands between the quotes of the canonical text.
    #[must_use]
    pub fn canonical(self) -> &'a str {
        self.0
    }

    /// Whether the value is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The characters of the value, escapes decoded.
    #[must_use]
    pub fn chars(self) -> Chars<'a> {
        Chars::new(self.0)
    }

    /// Appends the value to `out`.
    ///
    /// # Errors
    /// [`StrTooLong`] if it does not fit; `out` is then unchanged.
    pub fn decode_into<const N: usize>(self, out: &mut heapless::String<N>) -> Result<(), StrTooLong> {
        self.decode_into_view(out.as_mut_view())
    }

    /// [`Str::decode_into`] for strings of every capacity.
    #[inline(never)]
    fn decode_into_view(self, out: &mut heapless::string::StringView) -> Result<(), StrTooLong> {
        if let Some(plain) = self.plain() {
            return out.push_str(plain).map_err(|_| StrTooLong);
        }
        let before = out.len();
        for c in self.chars() {
            if out.push(c).is_err() {
                // Popping is free of the panic that `truncate` may raise.
                while out.len() > before {
                    out.pop();
                }
                return Err(StrTooLong);
            }
        }
        Ok(())
    }
}

impl PartialEq<str> for Str<'_> {
    fn eq(&self, other: &str) -> bool {
        match self.plain() {
            Some(plain) => plain == other,
            None => self.chars().eq(other.chars()),
        }
    }
}

impl PartialEq<&str> for Str<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Display for Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plain) = self.plain() {
            return f.write_str(plain);
        }
        for c in self.chars() {
            fmt::Write::write_char(f, c)?;
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Str<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Str(text))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl serde::Serialize for Str<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.plain() {
            Some(plain) => serializer.serialize_str(plain),
            None => serializer.collect_str(self),
        }
    }
}

/// The characters of a valid JSON string, escapes decoded.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Chars<'a> {
    text: &'a str,
    pos: usize,
}

impl<'a> Chars<'a> {
    /// `text` is what stands between the quotes.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, pos: 0 }
    }
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let c = self.text.get(self.pos..)?.chars().next()?;
        if c == '\\' {
            let (decoded, after) = lex::escape(self.text.as_bytes(), self.pos).ok()?;
            self.pos = after;
            return Some(decoded);
        }
        self.pos = self.pos.wrapping_add(c.len_utf8());
        Some(c)
    }
}

/// Whether `raw`, what stands between the quotes of a valid string, spells
/// `name` in any ASCII case once its escapes are decoded.
pub(super) fn spells_escaped(raw: &str, name: &str) -> bool {
    Chars::new(raw).map(|c| c.to_ascii_lowercase()).eq(name.chars().map(|c| c.to_ascii_lowercase()))
}
