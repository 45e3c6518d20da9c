//! The buffers of a network while it is read: what is kept is cut off their fronts.

use super::conflist::SINGLE_KEYS;
use crate::conf;
use crate::error::{Error, Result};
use crate::json::raw::member;
use crate::json::{Key, Writer};
use crate::limits;

/// What a scan leaves besides the canonical text.
pub(super) struct Scanned<'m> {
    pub(super) source: &'m str,
    pub(super) plugins: Option<&'m str>,
}

/// What is left of the buffers; what is kept is cut off their fronts.
pub(super) struct Arena<'m> {
    pub(super) raw: &'m mut [u8],
    pub(super) text: &'m mut [u8],
}

impl<'m> Arena<'m> {
    /// Keeps the first `length` bytes of the raw buffer.
    pub(super) fn keep_raw(&mut self, length: usize) -> Result<&'m [u8]> {
        cut(&mut self.raw, length)
    }

    /// Scans by `keys` and keeps the canonical text.
    pub(super) fn scan(&mut self, raw: &'m [u8], keys: &'static [Key]) -> Result<(Scanned<'m>, &'m str)> {
        let document =
            conf::scan(raw, keys, self.text).map_err(|error| error.as_phrase(&"error parsing configuration"))?;
        let scanned = Scanned { source: document.source(), plugins: document.raw("plugins") };
        let length = document.canonical().len();
        let text = core::str::from_utf8(cut(&mut self.text, length)?).unwrap_or_default();
        Ok((scanned, text))
    }

    /// Wraps one plugin's configuration into a list, as libcni does.
    pub(super) fn upconvert(&mut self, raw: &'m [u8]) -> Result<&'m [u8]> {
        let (single, text) = self.scan(raw, SINGLE_KEYS)?;
        let mut writer = Writer::new(self.raw);
        writer.begin_object().key("cniVersion").raw(member(text, "cniVersion").unwrap_or("\"\""));
        writer.key("name").raw(member(text, "name").unwrap_or("\"\""));
        writer.key("plugins").begin_array().compact(single.source).end_array().end_object();
        let length = writer.finish().map_err(|_| Error::limit("CONFLIST", limits::CONFLIST))?;
        self.keep_raw(length)
    }
}

/// Cuts `length` bytes off the front of what is left.
fn cut<'m>(rest: &mut &'m mut [u8], length: usize) -> Result<&'m [u8]> {
    let all = core::mem::take(rest);
    let (head, tail) = all.split_at_mut_checked(length).ok_or_else(|| Error::limit("CONFLIST", limits::CONFLIST))?;
    *rest = tail;
    Ok(head)
}
