//! Whether a network can work, before anything is done.

use super::chain::{Chain, ChainMemory};
use super::conflist::Network;
use super::words::unquoted;
use super::{Event, PluginCall};
use crate::conf::decode_error;
use crate::err;
use crate::error::{Code, Result};
use crate::json::raw::{Elements, member};
use crate::json::{self, Key, Kind, Limit};
use crate::limits;
use crate::plugin::Plugin;
use crate::put;
use crate::result::decode;
use crate::session::Buffers;
use crate::session::Program;
use crate::version::Command;

const VERSION_LIMIT: Limit = Limit::new("CNI_VERSIONS", limits::CNI_VERSIONS);
const VERSION_KEYS: &[Key] = &[Key::str("cniVersion"), Key::array("supportedVersions", &Kind::Str, &VERSION_LIMIT)];

/// Refuses a list that begins with one of our chained plugins. Plugins that we
/// do not know, and two that make interfaces, are allowed everywhere.
///
/// # Errors
/// Code 7; the details give the order that works.
pub fn check_order(network: &Network<'_>, registry: &[&'static dyn Plugin]) -> Result<()> {
    let is_chained = |kind: &str| registry.iter().any(|plugin| plugin.name() == kind && plugin.is_chained());
    let Some(first) = network.plugins().first().filter(|first| is_chained(first.kind)) else {
        return Ok(());
    };
    let error = err!(
        CONFIG,
        "wrong order of plugins",
        "\"",
        first.kind,
        "\" works on the interface of a plugin before it; right order: "
    );
    let mains = network.plugins().iter().filter(|plugin| !is_chained(plugin.kind));
    if mains.clone().next().is_none() {
        put!(&mut error.more(), "one that makes an interface, such as bridge or ptp");
    }
    let chained = network.plugins().iter().filter(|plugin| is_chained(plugin.kind));
    let mut separator = if mains.clone().next().is_none() { ", " } else { "" };
    for plugin in mains.chain(chained) {
        put!(&mut error.more(), separator, plugin.kind);
        separator = ", ";
    }
    Err(error)
}

impl Chain<'_, '_> {
    /// Checks the plugins of the network; see [`validate`](super::validate).
    ///
    /// # Errors
    /// See [`validate`](super::validate).
    pub fn validate(&mut self, memory: &mut ChainMemory) -> Result<()> {
        check_order(self.network, self.session.registry)?;
        let total = self.network.plugins().len();
        for (index, plugin) in self.network.plugins().iter().enumerate() {
            let call = PluginCall { kind: plugin.kind, command: Command::Version, index, total };
            self.observe(Event::Began(call));
            let outcome = self.supports(plugin.kind, &mut memory.calls.call.text);
            self.observe(Event::Ended { call, ok: outcome.is_ok() });
            outcome?;
        }
        Ok(())
    }

    /// Whether a plugin is there and supports the network's version.
    fn supports(&mut self, kind: &str, text: &mut [u8]) -> Result<()> {
        let version = if self.network.version.is_empty() { "0.1.0" } else { self.network.version };
        let supported = match self.session.program(kind, self.attachment.cni_path)? {
            Program::InProcess(plugin) => plugin.versions().iter().any(|known| known.as_str() == version),
            Program::Foreign(path) => self.foreign_supports(kind, &path, version, text)?,
        };
        if supported {
            return Ok(());
        }
        Err(err!(
            VERSION,
            "incompatible CNI versions",
            "plugin \"",
            kind,
            "\" does not support config version \"",
            version,
            "\""
        ))
    }

    /// Asks a foreign plugin for its versions.
    fn foreign_supports(&mut self, kind: &str, path: &str, version: &str, text: &mut [u8]) -> Result<bool> {
        let env = self.attachment.environment(Command::Version);
        let asked = self.session.exec(kind, path, &env, br#"{"cniVersion":"1.1.0"}"#);
        let Buffers { foreign_raw, foreign_error, .. } = self.session.work();
        let length = match asked {
            Ok(length) => length,
            // Plugins of 0.1.0 had no VERSION.
            Err(error) if error.foreign => {
                return match decode::error_object(foreign_error, text) {
                    Some((_, msg, _)) if msg == "unknown CNI_COMMAND: VERSION" => Ok(version == "0.1.0"),
                    _ => Err(error.own().as_code(Code::DELEGATE).with(&" does not answer VERSION")),
                };
            }
            Err(error) => return Err(error),
        };
        let raw = foreign_raw.get(..length).unwrap_or_default();
        let document = json::scan(raw, VERSION_KEYS, text)
            .map_err(|fault| decode_error(&"plugin's VERSION reply unreadable", &fault))?;
        let reply = document.canonical();
        let is = |value: &str, wanted: &str| unquoted(value) == Some(wanted);
        Ok(match member(reply, "supportedVersions") {
            Some(list) => Elements::new(list).any(|element| is(element, version)),
            None if member(reply, "cniVersion").is_some_and(|value| is(value, "0.2.0")) => {
                matches!(version, "0.1.0" | "0.2.0")
            }
            None => false,
        })
    }
}
