//! Walking over raw text that was validated before, and rewriting it.
//!
//! The runtime side hands a plugin's object on as it was written, with a few
//! members replaced. Nothing here recurses. On text that was never validated
//! the iterators end early; they never panic.

use super::lex;
use super::string::spells_escaped;
use super::write::{Overflow, Writer};

/// One member of a raw object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Member<'a> {
    /// The text between the quotes of the key, escapes as they are.
    pub key: &'a str,
    /// The text of the value.
    pub value: &'a str,
}

impl Member<'_> {
    /// Whether the key spells `name`: escapes decoded, ASCII case folded.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        spells_escaped(self.key, name)
    }
}

/// The members of a raw object, in order, repeated keys and all.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Members<'a> {
    text: &'a str,
    spans: BodySpans<'a>,
}

impl<'a> Members<'a> {
    /// Walks `object`, braces included. Anything else has no members.
    #[must_use]
    pub fn new(object: &'a str) -> Self {
        let text = body(object, '{');
        Self { text, spans: BodySpans::new(text.as_bytes()) }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let span = self.spans.next()?;
        Some(Member {
            key: self.text.get(span.start.wrapping_add(1)..span.key_end)?,
            value: self.text.get(span.value..span.end)?,
        })
    }
}

/// The elements of a raw array, in order.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Elements<'a> {
    text: &'a str,
    pos: usize,
}

impl<'a> Elements<'a> {
    /// Walks `array`, brackets included. Anything else has no elements.
    #[must_use]
    pub fn new(array: &'a str) -> Self {
        Self { text: body(array, '['), pos: 0 }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let start = skip_comma(bytes, self.pos);
        let end = lex::skip_value(bytes, start)?;
        self.pos = end;
        self.text.get(start..end)
    }
}

/// The value of the last member that spells `name`, as Go takes it.
#[must_use]
pub fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    Members::new(object).filter(|member| member.is(name)).last().map(|member| member.value)
}

/// The value at a path of keys; "" if there is none, which has no members and no elements.
#[must_use]
pub fn at<'a>(object: &'a str, path: &[&str]) -> &'a str {
    path.iter().try_fold(object, |object, name| member(object, name)).unwrap_or_default()
}

/// Without the white space of JSON (RFC 8259) around it, which is less than
/// that of ASCII: a form feed is none.
#[must_use]
pub const fn trim_space(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] | [rest @ .., b' ' | b'\t' | b'\n' | b'\r'] = text {
        text = rest;
    }
    text
}

/// The value that `text` begins with.
#[must_use]
pub fn value(text: &str) -> Option<&str> {
    text.get(..lex::skip_value(text.as_bytes(), 0)?)
}

/// Copies an object without white space: `drop` members left out, `set` members
/// (key and raw JSON value) put in the place of what spells their key, at the
/// end, all others as they are. Returns the number of bytes written.
///
/// `set` and `drop` match in any ASCII case and however a key is escaped. Keys
/// of `set` are plain text; their values must be valid JSON.
///
/// # Errors
/// [`Overflow`] if `out` is too small.
pub fn rewrite_object(object: &str, set: &[(&str, &str)], drop: &[&str], out: &mut [u8]) -> Result<usize, Overflow> {
    let mut writer = Writer::new(out);
    writer.begin_object();
    for member in Members::new(object) {
        let replaced = set.iter().any(|(key, _)| member.is(key));
        if replaced || drop.iter().any(|key| member.is(key)) {
            continue;
        }
        writer.raw_key(member.key).compact(member.value);
    }
    for (key, value) in set {
        writer.key(key).compact(value);
    }
    writer.end_object();
    writer.finish()
}

/// What follows the opening bracket; empty if the text is of another type.
fn body(text: &str, open: char) -> &str {
    text.trim_ascii_start().strip_prefix(open).unwrap_or_default()
}

/// Where a member of an object's body lies.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct BodySpan {
    /// Offset of the opening quote of the key.
    pub(super) start: usize,
    /// Offset of the closing quote of the key.
    pub(super) key_end: usize,
    /// Offset of the value.
    pub(super) value: usize,
    /// Offset after the value.
    pub(super) end: usize,
}

impl BodySpan {
    /// The bytes of the key in `body`.
    pub(super) fn key(self, body: &[u8]) -> Option<&[u8]> {
        body.get(self.start.wrapping_add(1)..self.key_end)
    }
}

/// Walks the body of an object: what stands between the braces, closed or not.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct BodySpans<'a> {
    text: &'a [u8],
    pos: usize,
}

impl<'a> BodySpans<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, pos: 0 }
    }
}

impl Iterator for BodySpans<'_> {
    type Item = BodySpan;

    fn next(&mut self) -> Option<BodySpan> {
        let start = skip_comma(self.text, self.pos);
        if self.text.get(start) != Some(&b'"') {
            return None;
        }
        let key = lex::string(self.text, start).ok()?;
        let colon = lex::skip_space(self.text, key.after());
        if self.text.get(colon) != Some(&b':') {
            return None;
        }
        let value = lex::skip_space(self.text, colon.wrapping_add(1));
        let end = lex::skip_value(self.text, value)?;
        self.pos = end;
        Some(BodySpan { start, key_end: key.end, value, end })
    }
}

fn skip_comma(text: &[u8], pos: usize) -> usize {
    let pos = lex::skip_space(text, pos);
    if text.get(pos) == Some(&b',') { lex::skip_space(text, pos.wrapping_add(1)) } else { pos }
}
