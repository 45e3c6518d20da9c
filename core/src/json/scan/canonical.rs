//! Writing the canonical text, and taking members out of it again.

use super::{Expected, Frame, Kind, Scanner, Stop, StringToken};
use crate::json::error::ErrorKind;
use crate::json::raw::BodySpans;
use crate::json::schema::Limit;
use crate::json::string::Chars;
use crate::json::write::escape_of;

impl Scanner<'_, '_> {
    /// Appends bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let end = self.len.wrapping_add(bytes.len());
        let Some(free) = self.out.get_mut(self.len..end) else {
            let kind = ErrorKind::Limit { name: "canonical buffer", max: self.out.len() };
            let expected = Expected::Text("bytes of canonical text");
            return self.stop_with(self.pos, kind, expected);
        };
        for (to, from) in free.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.len = end;
        Ok(())
    }

    /// Appends a comma unless the entry is the first of its bracket, and counts
    /// the entry: the new number of entries.
    pub(super) fn separator(&mut self) -> Result<usize, Stop> {
        let mut count = 1;
        if let Some(top) = self.stack.last_mut() {
            top.written = top.written.saturating_add(1);
            count = top.written;
        }
        if count > 1 {
            self.put(b",")?;
        }
        Ok(count)
    }

    /// Appends a string with its quotes, decoding every escape that is not needed.
    pub(super) fn put_string(&mut self, token: StringToken) -> Result<(), Stop> {
        let text = self.text;
        let source = self.source;
        self.put(b"\"")?;
        if token.escaped {
            let raw = source.get(token.start..token.end).unwrap_or_default();
            let mut utf8 = [0_u8; 4];
            for c in Chars::new(raw) {
                match escape_of(c) {
                    Some(escape) => self.put(escape.as_bytes())?,
                    None => self.put(c.encode_utf8(&mut utf8).as_bytes())?,
                }
            }
        } else {
            self.put(text.get(token.start..token.end).unwrap_or_default())?;
        }
        self.put(b"\"")
    }

    /// A member of an object nobody declared.
    pub(super) fn free_member(&mut self, token: StringToken, write: bool) -> Result<(), Stop> {
        if !write {
            return self.value(Kind::Raw);
        }
        self.separator()?;
        self.put_string(token)?;
        self.put(b":")?;
        self.value(Kind::Any)
    }

    /// A member of a map: its key is free, and an earlier one of that key goes.
    pub(super) fn map_member(
        &mut self,
        frame: Frame,
        token: StringToken,
        of: Kind,
        limit: &'static Limit,
    ) -> Result<(), Stop> {
        let before = self.len;
        let mut count = self.separator()?;
        let key_at = self.len;
        self.put_string(token)?;
        let key_end = self.len;
        self.put(b":")?;
        let body = self.out.get(frame.body..before).unwrap_or_default();
        let key = self.out.get(key_at.wrapping_add(1)..key_end.wrapping_sub(1)).unwrap_or_default();
        let earlier = BodySpans::new(body).find(|member| member.key(body) == Some(key));
        if let Some(member) = earlier {
            let start = frame.body.wrapping_add(member.start);
            let end = frame.body.wrapping_add(member.end);
            if self.repeated_map_key.is_none() {
                self.repeated_map_key = Some(token.start.wrapping_sub(1));
            }
            self.cut(start, end.wrapping_add(1));
            count = count.wrapping_sub(1);
        }
        if count > limit.max {
            let at = token.start.wrapping_sub(1);
            return self.stop_with(at, limit.error(), Expected::Text("entries"));
        }
        self.element(of.nameless())
    }

    /// Drops an earlier member with this declared key: its canonical text, which
    /// ends before `end`, and its span.
    pub(super) fn drop_declared(&mut self, frame: Frame, name: &'static str, end: usize) {
        let depth = self.stack.len();
        self.spans.retain(|span| span.depth != depth || span.name != name || span.start < frame.raw);
        let body = self.out.get(frame.body..end).unwrap_or_default();
        let found = BodySpans::new(body).find(|m| m.key(body) == Some(name.as_bytes()));
        let Some(member) = found else {
            return;
        };
        let start = frame.body.wrapping_add(member.start);
        let stop = frame.body.wrapping_add(member.end);
        if stop < self.len {
            // Another member follows, with a comma between.
            self.cut(start, stop.wrapping_add(1));
        } else if start > frame.body {
            self.cut(start.wrapping_sub(1), stop);
        } else {
            self.cut(start, stop);
        }
    }

    /// Takes `start..end`, one entry of the innermost bracket, out of the
    /// canonical text, with the spans in it.
    fn cut(&mut self, start: usize, end: usize) {
        let gap = end.wrapping_sub(start);
        for at in end..self.len {
            let byte = self.out.get(at).copied().unwrap_or_default();
            if let Some(to) = self.out.get_mut(at.wrapping_sub(gap)) {
                *to = byte;
            }
        }
        self.len = self.len.wrapping_sub(gap);
        // Spans of this object itself stay: a raw member without canonical text
        // may sit where its neighbour ends.
        let depth = self.stack.len();
        self.spans.retain(|span| span.depth <= depth || span.at < start || span.at >= end);
        for span in &mut self.spans {
            if span.at > start {
                span.at = span.at.saturating_sub(gap).max(start);
            }
        }
        if let Some(top) = self.stack.last_mut() {
            top.written = top.written.wrapping_sub(1);
        }
    }
}
