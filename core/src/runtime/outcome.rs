//! What a foreign plugin printed: a result for the next plugin, or an error for the caller.

use super::cache;
use super::chain::Chain;
use super::conflist::PluginConf;
use super::words::plain;
use crate::conf::decode_error;
use crate::dispatch::CallMemory;
use crate::err;
use crate::error::{Code, Error, Result};
use crate::json::raw::rewrite_object;
use crate::json::{self, Str, Writer};
use crate::limits;
use crate::put;
use crate::result::decode;
use crate::session::Buffers;
use crate::text::Sink;
use crate::version::{Command, Version};

impl Chain<'_, '_> {
    /// Takes over what a foreign plugin printed on ADD: as it is, with the
    /// network's version if it has none, converted if the next plugin could not
    /// read it.
    pub(super) fn take_result(&mut self, length: usize, call: &mut CallMemory, out: &mut [u8]) -> Result<usize> {
        let raw = json::raw::trim_space(self.session.work().foreign_raw.get(..length).unwrap_or_default());
        if raw.is_empty() {
            return Err(err!(DECODE, "plugin printed no result", "expected a JSON object on stdout"));
        }
        let unreadable = &"plugin's result unreadable";
        let text = json::validate(raw).map_err(|fault| decode_error(unreadable, &fault))?;
        let text = if text == "null" { "{}" } else { text };
        if !text.starts_with('{') {
            return Err(err!(DECODE, unreadable, "expected a JSON object on stdout"));
        }
        let over = |_| Error::limit("REQUEST", limits::REQUEST).with(&" bytes in a result");
        let own = plain(text, "cniVersion").unwrap_or_default();
        if own.is_empty() {
            let mut version = heapless::String::<64>::new();
            put!(&mut version, "\"", self.network.version, "\"");
            return rewrite_object(text, &[("cniVersion", version.as_str())], &[], out).map_err(over);
        }
        match (Version::exact(own), Version::exact(self.network.version)) {
            (Some(own), Some(ours)) if own.family() != ours.family() => cache::convert(raw, own, ours, call, out),
            _ => {
                let mut writer = Writer::new(out);
                writer.compact(text);
                writer.finish().map_err(over)
            }
        }
    }

    /// Says which plugin failed, in libcni's words; the code stays the plugin's.
    pub(super) fn explain(&mut self, error: Error, plugin: &PluginConf<'_>, command: Command) -> Error {
        let word = match command {
            Command::Add => "add",
            Command::Check => "check",
            Command::Del => "delete",
            Command::Gc => "gc",
            Command::Status => "status",
            Command::Version => "version",
        };
        let name = self.network.name;
        let kind = plugin.kind;
        let mut named =
            err!(INTERNAL, "plugin failed", "plugin type=\"", kind, "\" name=\"", name, "\" failed (", word, "): ")
                .as_code(error.code())
                .with_errno(error.errno());
        let Buffers { foreign_error, foreign_text, .. } = self.session.work();
        match decode::error_object(foreign_error, foreign_text) {
            Some((code, msg, details)) if error.foreign => {
                named = named.as_code(Code(code));
                put_str(msg, &mut named.more());
                if !details.is_empty() {
                    put!(&mut named.more(), "; ");
                    put_str(details, &mut named.more());
                }
            }
            _ => put!(&mut named.more(), error),
        }
        named
    }
}

fn put_str(text: Str<'_>, out: &mut dyn Sink) {
    for character in text.chars() {
        let mut bytes = [0u8; 4];
        out.text(character.encode_utf8(&mut bytes));
    }
}
