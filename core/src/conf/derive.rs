//! What one plugin of a list gets on stdin: its object with the runtime's
//! members put in (spec 1.1.0, section 3, "Deriving execution configuration
//! from plugin configuration").

use crate::error::{Error, Result};
use crate::json::Writer;
use crate::json::raw::{Members, member};
use crate::limits;

/// The parts of one plugin's configuration. Names and versions were checked to
/// need no escape.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Derived<'a> {
    /// The plugin's type, for error messages.
    pub kind: &'a str,
    /// Its object in the list, as it was written.
    pub object: &'a str,
    /// The network's name.
    pub name: &'a str,
    /// The list's `cniVersion`.
    pub version: &'a str,
    /// The result of the plugin before, or the cached one.
    pub prev: Option<&'a str>,
    /// Capability arguments: an object, or "".
    pub capability_args: &'a str,
    /// `args` of the list that the plugin is in, if it has none of its own.
    pub args: Option<&'a str>,
    /// GC: the attachments to keep, an array.
    pub valid: Option<&'a str>,
    /// The same under the name that libcni 1.2 used by mistake.
    pub valid_legacy: Option<&'a str>,
}

/// Members that are the runtime's. `capabilities` is left out, as the
/// specification has it (libcni leaves it in).
const DERIVED: [&str; 7] = [
    "name",
    "cniVersion",
    "prevResult",
    "runtimeConfig",
    "capabilities",
    "cni.dev/valid-attachments",
    "cni.dev/attachments",
];

impl Derived<'_> {
    /// Writes the request; gives its length. What is not the runtime's stays as it was written; a
    /// member that the runtime has nothing for stays too, apart from `capabilities`.
    ///
    /// # Errors
    /// Code 100: the request is over [`limits::REQUEST`].
    pub fn write(&self, out: &mut [u8]) -> Result<usize> {
        let any = self.arguments().next().is_some();
        let replaced = [true, true, self.prev.is_some(), any, true, self.valid.is_some(), self.valid_legacy.is_some()];
        let mut writer = Writer::new(out);
        writer.begin_object();
        for member in Members::new(self.object) {
            if !DERIVED.iter().zip(replaced).any(|(key, replaced)| replaced && member.is(key)) {
                writer.raw_key(member.key).compact(member.value);
            }
        }
        writer.key("name").str(self.name).key("cniVersion").str(self.version);
        if let Some(args) = self.args.filter(|_| member(self.object, "args").is_none()) {
            writer.key("args").compact(args);
        }
        if let Some(prev) = self.prev {
            writer.key("prevResult").compact(prev);
        }
        if any {
            writer.key("runtimeConfig").begin_object();
            for (key, value) in self.arguments() {
                writer.raw_key(key).compact(value);
            }
            writer.end_object();
        }
        for (key, valid) in [("cni.dev/valid-attachments", self.valid), ("cni.dev/attachments", self.valid_legacy)] {
            if let Some(valid) = valid {
                writer.key(key).compact(valid);
            }
        }
        writer.end_object();
        writer
            .finish()
            .map_err(|_| Error::limit("REQUEST", limits::REQUEST).with(&" bytes for plugin ").with(&self.kind))
    }

    /// The arguments whose capability the plugin turns on. A name that needs an
    /// escape names no capability of any runtime.
    fn arguments(&self) -> impl Iterator<Item = (&str, &str)> {
        let capabilities = member(self.object, "capabilities").unwrap_or_default();
        Members::new(self.capability_args)
            .filter(move |argument| {
                !argument.key.contains('\\')
                    && Members::new(capabilities)
                        .filter(|capability| capability.key == argument.key)
                        .last()
                        .is_some_and(|capability| capability.value == "true")
            })
            .map(|argument| (argument.key, argument.value))
    }
}
