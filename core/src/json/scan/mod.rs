//! The one pass over a raw text.

mod canonical;
mod document;
mod frame;
mod value;

pub use document::{Document, SpanView};

use super::error::{ErrorKind, Expected, Fault, JsonError, Stop};
use super::lex::{self, LexError, StringToken};
use super::schema::{Key, Kind};
use super::string::spells_escaped;
use super::{DEPTH, SPANS};
use document::Span;
use frame::{Frame, Shape};

/// Validates `text`, an object with these `keys`, and writes its canonical form
/// to the start of `out`.
///
/// The canonical text is never longer than the raw text, unless an array holds
/// `null` where it should hold `false`.
///
/// # Errors
/// The first fault, with its position. `out` then holds nothing of use.
pub fn scan<'i, 'o>(text: &'i [u8], keys: &'static [Key], out: &'o mut [u8]) -> Result<Document<'i, 'o>, JsonError> {
    let source = utf8(text)?;
    let mut scanner = Scanner::new(source, out);
    match scanner.run(Kind::Object(keys)) {
        Ok(()) => scanner.finish(),
        Err(Stop) => Err(JsonError::locate(text, scanner.fault)),
    }
}

/// Validates any JSON text, under the same rules. What passes may be read with
/// [`raw`](super::raw).
///
/// # Errors
/// The first fault, with its position.
pub fn validate(text: &[u8]) -> Result<&str, JsonError> {
    let source = utf8(text)?;
    let mut scanner = Scanner::new(source, &mut []);
    match scanner.run(Kind::Raw) {
        Ok(()) => Ok(source),
        Err(Stop) => Err(JsonError::locate(text, scanner.fault)),
    }
}

fn utf8(text: &[u8]) -> Result<&str, JsonError> {
    core::str::from_utf8(text).map_err(|error| {
        let fault = Fault {
            offset: error.valid_up_to(),
            kind: ErrorKind::Utf8,
            expected: Expected::Text("UTF-8 text"),
            key: None,
        };
        JsonError::locate(text, fault)
    })
}

/// The state of the pass.
struct Scanner<'i, 'o> {
    source: &'i str,
    text: &'i [u8],
    /// Offset of the next raw byte.
    pos: usize,
    out: &'o mut [u8],
    /// Length of the canonical text so far.
    len: usize,
    /// Open brackets, outermost first.
    stack: heapless::Vec<Frame, DEPTH>,
    spans: heapless::Vec<Span, SPANS>,
    repeated_map_key: Option<usize>,
    /// The innermost declared key whose value we are in.
    key: Option<&'static str>,
    fault: Fault,
}

impl<'i, 'o> Scanner<'i, 'o> {
    fn new(source: &'i str, out: &'o mut [u8]) -> Self {
        Self {
            source,
            text: source.as_bytes(),
            pos: 0,
            out,
            len: 0,
            stack: heapless::Vec::new(),
            spans: heapless::Vec::new(),
            repeated_map_key: None,
            key: None,
            fault: Fault { offset: 0, kind: ErrorKind::Syntax, expected: Expected::Text("a value"), key: None },
        }
    }

    fn finish(self) -> Result<Document<'i, 'o>, JsonError> {
        let written: &'o [u8] = self.out;
        let bytes = written.get(..self.len).unwrap_or_default();
        // Every byte was copied from valid UTF-8 or encoded from a char; the
        // check is the price of having no unsafe code.
        match core::str::from_utf8(bytes) {
            Ok(canonical) => Ok(Document::new(self.source, canonical, self.spans, self.repeated_map_key)),
            Err(_) => Err(JsonError::locate(self.text, self.fault)),
        }
    }

    /// Reads the top value, then whatever its brackets hold, then the end.
    fn run(&mut self, kind: Kind) -> Result<(), Stop> {
        self.space();
        self.value(kind)?;
        while let Some(&frame) = self.stack.last() {
            self.step(frame)?;
        }
        self.space();
        if self.pos < self.text.len() {
            return self.stop(self.pos, ErrorKind::Trailing, "the end of the text");
        }
        Ok(())
    }

    /// Goes on inside the innermost bracket: its end, or one more entry.
    fn step(&mut self, frame: Frame) -> Result<(), Stop> {
        self.key = frame.key;
        self.space();
        let close = if frame.shape.is_object() { b'}' } else { b']' };
        if self.peek() == Some(close) {
            return self.close(frame, close);
        }
        if !frame.first {
            if self.peek() != Some(b',') {
                let expected = if frame.shape.is_object() { "',' or '}'" } else { "',' or ']'" };
                return self.unexpected(expected);
            }
            self.advance(1);
            self.space();
        }
        if let Some(top) = self.stack.last_mut() {
            top.first = false;
        }
        match frame.shape {
            Shape::Keys(keys) => self.declared_member(frame, keys),
            Shape::Map(of, limit) => {
                let token = self.member_key("a key in quotes")?;
                self.map_member(frame, token, *of, limit)
            }
            Shape::Object { write } => {
                let token = self.member_key("a key in quotes")?;
                self.free_member(token, write)
            }
            Shape::List(of, limit) => {
                let count = self.separator()?;
                if count > limit.max {
                    return self.stop_with(self.pos, limit.error(), Expected::Text("entries"));
                }
                self.element(of.nameless())
            }
            Shape::Array { write: true } => {
                self.separator()?;
                self.value(Kind::Any)
            }
            Shape::Array { write: false } => self.value(Kind::Raw),
        }
    }

    /// Takes the closing bracket.
    fn close(&mut self, frame: Frame, bracket: u8) -> Result<(), Stop> {
        self.advance(1);
        if frame.shape.writes() {
            self.put(&[bracket])?;
        }
        if let Some(span) = frame.span {
            self.end_span(span);
        }
        self.stack.pop();
        Ok(())
    }

    /// Takes `"key" :` and the white space around it.
    fn member_key(&mut self, expected: &'static str) -> Result<StringToken, Stop> {
        if self.peek() != Some(b'"') {
            return self.unexpected(expected);
        }
        let token = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return self.unexpected("':'");
        }
        self.advance(1);
        self.space();
        Ok(token)
    }

    /// A member of an object with declared keys.
    fn declared_member(&mut self, frame: Frame, keys: &'static [Key]) -> Result<(), Stop> {
        let token = self.member_key("a key in quotes")?;
        let Some((index, key)) = self.find_key(token, keys) else {
            return self.value(Kind::Raw);
        };
        // More than KEYS declared keys: the rest share no bit, so a repeat of
        // them is looked for each time. Correct, and only slower.
        let bit = 1_u64.checked_shl(index).unwrap_or(0);
        let repeated = bit == 0 || frame.seen & bit != 0;
        self.key = Some(key.name);
        let kind = key.kind.inner();
        if lex::word(self.text, self.pos, b"null") {
            if repeated && kind.null_clears() {
                self.drop_declared(frame, key.name, self.len);
            }
            self.advance(4);
            return Ok(());
        }
        if let Some(top) = self.stack.last_mut() {
            top.seen |= bit;
        }
        let before = self.len;
        if !matches!(kind, Kind::Raw) {
            self.separator()?;
        }
        let key_at = self.len;
        if !matches!(kind, Kind::Raw) {
            self.put(b"\"")?;
            self.put(key.name.as_bytes())?;
            self.put(b"\":")?;
        }
        let key_length = self.len.wrapping_sub(key_at);
        if repeated {
            self.drop_declared(frame, key.name, before);
        }
        if key.kind.is_recorded() {
            self.recorded(key, kind, self.len.wrapping_sub(key_length))
        } else {
            self.value(kind)
        }
    }

    /// A value whose raw span is recorded. `at` is where its member starts in
    /// the canonical text.
    fn recorded(&mut self, key: &'static Key, kind: Kind, at: usize) -> Result<(), Stop> {
        let depth = self.stack.len();
        let span = Span { name: key.name, depth, start: self.pos, end: self.pos, at };
        if self.spans.push(span).is_err() {
            let kind = ErrorKind::Limit { name: "json::SPANS", max: SPANS };
            return self.stop_with(self.pos, kind, Expected::Text("raw values"));
        }
        // A span is told by where it starts: its place in the list may change
        // when an earlier one is dropped.
        let start = self.pos;
        self.value(kind)?;
        if self.stack.len() > depth {
            if let Some(top) = self.stack.last_mut() {
                top.span = Some(start);
            }
        } else {
            self.end_span(start);
        }
        Ok(())
    }

    fn end_span(&mut self, start: usize) {
        for span in self.spans.iter_mut().rev() {
            if span.start == start {
                span.end = self.pos;
                return;
            }
        }
    }

    /// The declared key that `token` spells, in any case.
    fn find_key(&self, token: StringToken, keys: &'static [Key]) -> Option<(u32, &'static Key)> {
        (0_u32..).zip(keys).find(|(_, key)| self.spells(token, key.name))
    }

    /// Whether `token` spells `name`, escaped or not, in any ASCII case.
    fn spells(&self, token: StringToken, name: &str) -> bool {
        let raw = self.source.get(token.start..token.end).unwrap_or_default();
        if token.escaped { spells_escaped(raw, name) } else { raw.eq_ignore_ascii_case(name) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    fn advance(&mut self, bytes: usize) {
        self.pos = self.pos.wrapping_add(bytes);
    }

    fn space(&mut self) {
        self.pos = lex::skip_space(self.text, self.pos);
    }

    fn string(&mut self) -> Result<StringToken, Stop> {
        match lex::string(self.text, self.pos) {
            Ok(token) => {
                self.pos = token.after();
                Ok(token)
            }
            Err(error) => self.lexical(error),
        }
    }

    fn lexical<T>(&mut self, (offset, kind, expected): LexError) -> Result<T, Stop> {
        self.stop(offset, kind, expected)
    }

    /// The next byte is not what the grammar asks for, or there is none.
    fn unexpected<T>(&mut self, expected: &'static str) -> Result<T, Stop> {
        let kind = match self.peek() {
            Some(_) => ErrorKind::Syntax,
            None => ErrorKind::Truncated,
        };
        self.stop(self.pos, kind, expected)
    }

    fn stop<T>(&mut self, offset: usize, kind: ErrorKind, text: &'static str) -> Result<T, Stop> {
        self.stop_with(offset, kind, Expected::Text(text))
    }

    fn stop_with<T>(&mut self, offset: usize, kind: ErrorKind, expected: Expected) -> Result<T, Stop> {
        self.fault = Fault { offset, kind, expected, key: self.key };
        Err(Stop)
    }
}
