//! One plugin's request: its object with the runtime's members put in (spec
//! 1.1.0, section 3, "Deriving execution configuration from plugin configuration").

use super::conflist::{Network, PluginConf};
use crate::err;
use crate::error::{Error, Result};
use crate::json::Writer;
use crate::json::raw::{Members, rewrite_object};
use crate::limits;
use crate::text::fits;

/// What the runtime puts into a plugin's object.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Injected<'a> {
    /// The result of the plugin before, or the cached one.
    pub(super) prev: Option<&'a str>,
    /// Capability arguments: an object, or "".
    pub(super) capability_args: &'a str,
    /// GC: the attachments to keep, an array.
    pub(super) valid: Option<&'a str>,
    /// GC: say it under the name that libcni 1.2 used by mistake too.
    pub(super) legacy_key: bool,
}

/// Writes the request to `out`. Members that are not the runtime's stay as they
/// were written; `capabilities` is left out, as the specification has it (libcni
/// leaves it in). `scratch` holds `runtimeConfig` meanwhile.
///
/// # Errors
/// Code 100: the request is over [`limits::REQUEST`].
pub(super) fn build<'r>(
    network: &Network<'_>,
    plugin: &PluginConf<'_>,
    injected: &Injected<'_>,
    scratch: &mut [u8],
    out: &'r mut [u8],
) -> Result<&'r [u8]> {
    let over = || Error::limit("REQUEST", limits::REQUEST).with(&" bytes for plugin ").with(&plugin.kind);
    let name = quoted::<{ limits::PATH }>(network.name)?;
    let version = quoted::<64>(network.version)?;
    let runtime_config = runtime_config(plugin, injected.capability_args, scratch).ok_or_else(over)?;
    let members = [
        Some(("name", name.as_str())),
        Some(("cniVersion", version.as_str())),
        injected.prev.map(|prev| ("prevResult", prev)),
        (!runtime_config.is_empty()).then_some(("runtimeConfig", runtime_config)),
        injected.valid.map(|valid| ("cni.dev/valid-attachments", valid)),
        injected.valid.filter(|_| injected.legacy_key).map(|valid| ("cni.dev/attachments", valid)),
    ];
    let mut set = heapless::Vec::<(&str, &str), 6>::new();
    for member in members.into_iter().flatten() {
        // As many as there are in the array.
        let _ = set.push(member);
    }
    let length = rewrite_object(plugin.object, &set, &["capabilities"], out).map_err(|_| over())?;
    Ok(out.get(..length).unwrap_or_default())
}

/// Names and versions were checked to need no escape.
fn quoted<const N: usize>(text: &str) -> Result<heapless::String<N>> {
    fits(&[&"\"", &text, &"\""]).ok_or_else(|| err!(CONFIG, "network name or cniVersion too long", text))
}

/// The arguments whose capability the plugin's configuration turns on; "" if
/// there is none. `None`: it does not fit.
fn runtime_config<'s>(plugin: &PluginConf<'_>, args: &str, scratch: &'s mut [u8]) -> Option<&'s str> {
    let mut writer = Writer::new(scratch);
    writer.begin_object();
    let mut any = false;
    for argument in Members::new(args) {
        if let Some(name) = plugin.capabilities().find(|name| argument.key == *name) {
            writer.key(name).compact(argument.value);
            any = true;
        }
    }
    writer.end_object();
    let length = writer.finish().ok()?;
    if !any {
        return Some("");
    }
    core::str::from_utf8(scratch.get(..length)?).ok()
}
