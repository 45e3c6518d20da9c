//! The MAC that a config, CNI_ARGS or a runtime asks for.

use picocni_core::env::Args;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::fields;
use picocni_core::json::{Key, Str};
use picocni_core::name::Mac;
use picocni_core::plugin::Call;

/// Key of `runtimeConfig`, for plugins that read no other of it.
pub const RUNTIME_CONFIG: Key = Key::object("runtimeConfig", &[Key::str("mac")]);

/// An object with a `mac`.
#[derive(Debug, Default)]
pub struct MacConf<'a> {
    /// As text.
    pub mac: Str<'a>,
}

fields!(MacConf<'a> { "mac" => mac });

/// The first of `strongest` that is set, else CNI_ARGS `MAC`, else `weakest`.
///
/// # Errors
/// Code 7: not the MAC of one station. CNI_ARGS as [`Args::parse`].
pub fn requested(call: &Call<'_>, strongest: &[Str<'_>], weakest: Str<'_>) -> Result<Option<Mac>> {
    let args = Args::parse(call.env.args, &["MAC"])?;
    let text = match strongest.iter().find(|mac| !mac.is_empty()) {
        Some(mac) => mac.plain().unwrap_or("\\"),
        None => args.get("MAC").filter(|mac| !mac.is_empty()).unwrap_or(weakest.plain().unwrap_or("\\")),
    };
    if text.is_empty() {
        return Ok(None);
    }
    Mac::parse(text).filter(|mac| mac.is_unicast()).map(Some).ok_or_else(|| {
        err!(CONFIG, "invalid MAC address", "\"", text, "\", expected a unicast address like 02:00:00:00:00:01")
    })
}
