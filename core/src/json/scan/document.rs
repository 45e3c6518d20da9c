//! What the pass leaves behind.

use crate::json::SPANS;
use crate::json::error::JsonError;
use crate::json::{DecodeError, from_canonical};

/// Raw text recorded for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Span {
    pub(super) name: &'static str,
    /// Open brackets around the member: 1 for the members of the top object.
    pub(super) depth: usize,
    /// Raw offset of the first byte of the value.
    pub(super) start: usize,
    /// Raw offset after the value.
    pub(super) end: usize,
    /// Canonical offset of the member, to drop the span with it.
    pub(super) at: usize,
}

/// The raw text of a recorded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SpanView<'i> {
    /// The declared key.
    pub name: &'static str,
    /// Open brackets around the member: 1 for the members of the top object.
    pub depth: usize,
    /// Byte offset of the value in the raw text.
    pub offset: usize,
    /// The value as it was sent, white space and all.
    pub text: &'i str,
}

/// A validated text: its canonical form, and the raw values that were asked for.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Document<'i, 'o> {
    source: &'i str,
    canonical: &'o str,
    spans: heapless::Vec<Span, SPANS>,
    repeated_map_key: Option<usize>,
}

impl<'i, 'o> Document<'i, 'o> {
    pub(super) fn new(
        source: &'i str,
        canonical: &'o str,
        spans: heapless::Vec<Span, SPANS>,
        repeated_map_key: Option<usize>,
    ) -> Self {
        Self { source, canonical, spans, repeated_map_key }
    }

    /// The raw text, as it was sent.
    #[must_use]
    pub fn source(&self) -> &'i str {
        self.source
    }

    /// The canonical text. It borrows only the caller's buffer.
    #[must_use]
    pub fn canonical(&self) -> &'o str {
        self.canonical
    }

    /// Reads the canonical text into a typed value.
    ///
    /// # Errors
    /// [`DecodeError`] where the schema and the type do not agree, or the type
    /// has a smaller capacity.
    pub fn decode<T: serde::Deserialize<'o>>(&self) -> Result<T, DecodeError> {
        from_canonical(self.canonical)
    }

    /// The raw value of a recorded key of the top object, if it was there and
    /// not `null`.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'i str> {
        self.spans().find(|span| span.depth == 1 && span.name == name).map(|span| span.text)
    }

    /// Every recorded value, in the order of the raw text.
    pub fn spans(&self) -> impl Iterator<Item = SpanView<'i>> + '_ {
        self.spans.iter().filter_map(|span| {
            Some(SpanView {
                name: span.name,
                depth: span.depth,
                offset: span.start,
                text: self.source.get(span.start..span.end)?,
            })
        })
    }

    /// Raw offset of the first key of a [`Kind::Map`](crate::json::Kind::Map)
    /// that had stood there before (tuning refuses repeated sysctls).
    #[must_use]
    pub fn repeated_map_key(&self) -> Option<usize> {
        self.repeated_map_key
    }

    /// A fault found later on, in a value that was valid JSON of the right type:
    /// its line and column.
    #[must_use]
    pub fn error_at(&self, offset: usize, expected: &'static str, key: Option<&'static str>) -> JsonError {
        JsonError::locate(
            self.source.as_bytes(),
            crate::json::error::Fault {
                offset,
                kind: crate::json::ErrorKind::OutOfRange,
                expected: crate::json::Expected::Text(expected),
                key,
            },
        )
    }
}
