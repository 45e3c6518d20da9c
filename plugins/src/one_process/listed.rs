//! The plugins of a list in one process, and what each of them gets.

use picocni_core::conf::Derived;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::json::raw::{Elements, member};
use picocni_core::limits;
use picocni_core::name::check_plugin_type;
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::version;

/// One plugin of the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed<'a> {
    /// Its type.
    pub(super) kind: &'a str,
    /// Its object as it was written.
    object: &'a str,
}

/// The list, in order.
#[derive(Debug)]
pub(super) struct List<'a> {
    plugins: heapless::Vec<Listed<'a>, { limits::PLUGINS }>,
}

/// The call's config as it was written: validated when the call was read.
fn source<'a>(call: &Call<'a>) -> &'a str {
    core::str::from_utf8(call.raw).unwrap_or_default()
}

impl<'a> List<'a> {
    /// Reads `plugins`.
    ///
    /// # Errors
    /// Code 7: it is missing or empty, or a plugin has no type that could be a file's name.
    pub(super) fn read(call: &Call<'a>) -> Result<Self> {
        let mut plugins = heapless::Vec::new();
        for object in Elements::new(member(source(call), "plugins").unwrap_or_default()) {
            let kind = member(object, "type").and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
            let kind = kind.unwrap_or_default();
            if kind.is_empty() {
                return Err(err!(
                    CONFIG,
                    "missing 'type'",
                    "plugin ",
                    plugins.len(),
                    " of \"plugins\" has no \"type\""
                ));
            }
            check_plugin_type(kind)?;
            plugins.push(Listed { kind, object }).map_err(|_| Error::limit("PLUGINS", limits::PLUGINS))?;
        }
        if plugins.is_empty() {
            return Err(err!(CONFIG, "no plugin configs found", "\"plugins\" of a \"picocni\" entry lists none"));
        }
        Ok(List { plugins })
    }

    pub(super) fn plugins(&self) -> &[Listed<'a>] {
        &self.plugins
    }

    /// A plugin of this program that does not know the list's version is found
    /// out before anything is done; a foreign one says so itself.
    ///
    /// # Errors
    /// Code 1.
    pub(super) fn check_versions(&self, call: &Call<'_>, session: &Session<'_>) -> Result<()> {
        for plugin in &self.plugins {
            if let Some(own) = session.registry.iter().find(|own| own.name() == plugin.kind) {
                version::gate(call.conf.cni_version, call.env.command, own.versions())?;
            }
        }
        Ok(())
    }
}

impl Listed<'_> {
    /// The request for this plugin; `prev` is its prevResult.
    ///
    /// # Errors
    /// Code 100.
    pub(super) fn request<'r>(&self, call: &Call<'_>, prev: Option<&str>, out: &'r mut [u8]) -> Result<&'r [u8]> {
        let source = source(call);
        let derived = Derived {
            kind: self.kind,
            object: self.object,
            name: call.conf.name,
            version: call.conf.cni_version,
            prev,
            capability_args: member(source, "runtimeConfig").unwrap_or_default(),
            args: member(source, "args"),
            valid: member(source, "cni.dev/valid-attachments"),
            valid_legacy: member(source, "cni.dev/attachments"),
        };
        let length = derived.write(out)?;
        Ok(out.get(..length).unwrap_or_default())
    }

    /// The prevResult that the list got, if any.
    pub(super) fn outer_prev<'a>(&self, call: &Call<'a>) -> Option<&'a str> {
        member(source(call), "prevResult")
    }
}
