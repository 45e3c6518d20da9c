//! Network configuration lists: finding one by name, and reading it (spec
//! 1.1.0, section 1; libcni's search order).

use super::arena::Arena;
use super::base64;
use super::files::{FileName, in_file, join, next_name, read};
use super::search::find;
use super::words::{plain, unquoted};
use crate::backend::Backend;
use crate::err;
use crate::error::{Error, Result};
use crate::json::raw::{Elements, member};
use crate::json::{Key, Kind, Limit};
use crate::limits;
use crate::name::{check_plugin_type, is_identifier};
use crate::version;

const PLUGIN_LIMIT: Limit = Limit::new("PLUGINS", limits::PLUGINS);
const CAPABILITY_LIMIT: Limit = Limit::new("CAPABILITIES", limits::CAPABILITIES);
const VERSION_LIMIT: Limit = Limit::new("CNI_VERSIONS", limits::CNI_VERSIONS);

/// What the runtime side reads of a plugin's object.
const PLUGIN_KEYS: &[Key] = &[Key::str("type"), Key::map("capabilities", &Kind::Bool, &CAPABILITY_LIMIT)];

/// A list. Its plugins are kept as raw text too: they are handed on as they were written.
const LIST_KEYS: &[Key] = &[
    Key::str("name"),
    Key::str("cniVersion"),
    Key::array("cniVersions", &Kind::Str, &VERSION_LIMIT),
    Key::new("disableCheck", Kind::BoolOrStr),
    Key::new("disableGC", Kind::BoolOrStr),
    Key::new("loadOnlyInlinedPlugins", Kind::BoolOrStr),
    Key::spanned("plugins", &Kind::Array(&Kind::Object(PLUGIN_KEYS), &PLUGIN_LIMIT)),
];

/// A single plugin's configuration file, as it was before there were lists.
pub(super) const SINGLE_KEYS: &[Key] = &[
    Key::str("name"),
    Key::str("cniVersion"),
    Key::str("type"),
    Key::map("capabilities", &Kind::Bool, &CAPABILITY_LIMIT),
];

/// The text of one loaded network, owned by the caller.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ListMemory {
    /// Files as they were read.
    raw: [u8; limits::CONFLIST],
    /// What we read of them, as canonical text.
    text: [u8; limits::CONFLIST],
}

impl ListMemory {
    /// Empty memory; `const`, so that it can be static.
    #[must_use]
    pub const fn new() -> Self {
        ListMemory { raw: [0; limits::CONFLIST], text: [0; limits::CONFLIST] }
    }
}

impl Default for ListMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// One plugin of a network.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PluginConf<'m> {
    /// Its `type`: a file name, never a path.
    pub kind: &'m str,
    /// Its object as it was written.
    pub object: &'m str,
}

/// A network configuration list, read and checked.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Network<'m> {
    /// Network name.
    pub name: &'m str,
    /// `cniVersion`, or the highest of `cniVersions` that we know; "" means 0.1.0.
    pub version: &'m str,
    /// CHECK succeeds without calling a plugin.
    pub disable_check: bool,
    /// GC succeeds without calling a plugin.
    pub disable_gc: bool,
    /// The list as it was written; a single plugin's file became a list first.
    pub source: &'m str,
    plugins: heapless::Vec<PluginConf<'m>, { limits::PLUGINS }>,
    only_inlined: bool,
}

impl<'m> Network<'m> {
    /// Looks `name` up in `dir` as libcni does: `*.conflist` in name order, then
    /// `*.conf` and `*.json` in name order as lists of one plugin. Unless the
    /// list says `loadOnlyInlinedPlugins`, the plugins of `dir/<name>/*.conf`
    /// come after those of the list.
    ///
    /// # Errors
    /// Code 7: no such network, no plugin, or a plugin without a proper `type`.
    /// Code 6: a file that comes before the one looked for, or that one, is
    /// malformed; the details name file, line and column. Code 5, 100.
    pub fn load(backend: &mut dyn Backend, dir: &str, name: &str, memory: &'m mut ListMemory) -> Result<Self> {
        if name.is_empty() {
            return Err(err!(CONFIG, "missing network name"));
        }
        // The name becomes part of paths.
        if !is_identifier(name) {
            return Err(err!(CONFIG, "invalid characters found in network name", name));
        }
        let ListMemory { raw, text } = memory;
        let file = find(backend, dir, name, raw, text)?;
        let mut arena = Arena { raw, text };
        let written = arena.keep_raw(file.length)?;
        let source = if file.single { arena.upconvert(written)? } else { written };
        let mut network = read_list(source, &mut arena).map_err(|error| in_file(error, &file.path))?;
        if !file.single && !network.only_inlined {
            network.append_files(backend, dir, &mut arena)?;
        }
        if network.plugins.is_empty() {
            return Err(err!(
                CONFIG,
                "no plugin configs found",
                file.path,
                " has no \"plugins\", and there is no .conf file in ",
                dir,
                "/",
                name
            ));
        }
        Ok(network)
    }

    /// Reads the list that a cache file holds in base64.
    ///
    /// # Errors
    /// Code 6, 7: it is none.
    pub(super) fn from_cache(config: &str, memory: &'m mut ListMemory) -> Result<Self> {
        let ListMemory { raw, text } = memory;
        let length = base64::decode(config.as_bytes(), raw)
            .ok_or_else(|| err!(DECODE, "cached list unreadable", "it is no base64, or over CONFLIST"))?;
        let mut arena = Arena { raw, text };
        let source = arena.keep_raw(length)?;
        read_list(source, &mut arena)
    }

    /// Its plugins in order.
    #[must_use]
    pub fn plugins(&self) -> &[PluginConf<'m>] {
        &self.plugins
    }

    /// Whether the list's version is at least this one.
    ///
    /// # Errors
    /// Code 6: the version is not like 1.1.0.
    pub fn is_at_least(&self, least: (u32, u32, u32)) -> Result<bool> {
        Ok(version::parse(self.version)? >= least)
    }

    fn push(&mut self, object: &'m str, text: &'m str) -> Result<()> {
        let kind = plain(text, "type").unwrap_or_default();
        if kind.is_empty() {
            return Err(err!(
                CONFIG,
                "missing 'type'",
                "failed to parse plugin config ",
                self.plugins.len(),
                ": error parsing configuration: missing 'type'"
            ));
        }
        check_plugin_type(kind)?;
        self.plugins.push(PluginConf { kind, object }).map_err(|_| Error::limit("PLUGINS", limits::PLUGINS))
    }

    /// Adds the plugins of the directory that has the network's name.
    fn append_files(&mut self, backend: &mut dyn Backend, dir: &str, arena: &mut Arena<'m>) -> Result<()> {
        let dir = join(dir, self.name)?;
        let mut last = FileName::new();
        while next_name(backend, &dir, &|name| name.ends_with(".conf"), &mut last)? {
            let path = join(&dir, &last)?;
            let Some(length) = read(backend, &path, arena.raw, "CONFLIST", limits::CONFLIST)? else {
                continue;
            };
            let raw = arena.keep_raw(length)?;
            let added = arena.scan(raw, PLUGIN_KEYS).and_then(|(object, text)| self.push(object.source, text));
            added.map_err(|error| in_file(error, &path))?;
        }
        Ok(())
    }
}

/// Reads a list without the files beside it.
pub(super) fn read_list<'m>(raw: &'m [u8], arena: &mut Arena<'m>) -> Result<Network<'m>> {
    let (document, text) = arena.scan(raw, LIST_KEYS)?;
    let name = member(text, "name").ok_or_else(|| err!(CONFIG, "missing network name", "a list needs a \"name\""))?;
    let mut network = Network {
        // A name with an escape in it is that of no network.
        name: unquoted(name).unwrap_or_default(),
        version: select_version(text)?,
        disable_check: member(text, "disableCheck") == Some("true"),
        disable_gc: member(text, "disableGC") == Some("true"),
        only_inlined: member(text, "loadOnlyInlinedPlugins") == Some("true"),
        source: document.source,
        plugins: heapless::Vec::new(),
    };
    let Some(objects) = document.plugins else {
        if network.only_inlined {
            return Err(err!(
                CONFIG,
                "no plugin configs found",
                "\"loadOnlyInlinedPlugins\" is true, and there is no \"plugins\""
            ));
        }
        return Ok(network);
    };
    let mut texts = Elements::new(member(text, "plugins").unwrap_or_default());
    for object in Elements::new(objects) {
        network.push(object, texts.next().unwrap_or_default())?;
    }
    if network.plugins.is_empty() {
        return Err(err!(CONFIG, "no plugin configs found", "no plugins in list"));
    }
    Ok(network)
}

/// The highest of `cniVersions` and `cniVersion` that we know; `cniVersion`
/// alone is taken as it is, and each plugin judges it.
fn select_version(text: &str) -> Result<&str> {
    let own = match member(text, "cniVersion") {
        None => "",
        Some(value) => unquoted(value).ok_or_else(|| err!(DECODE, "invalid cniVersion", value))?,
    };
    let Some(list) = member(text, "cniVersions") else {
        return Ok(own);
    };
    let current = version::parse(version::CURRENT.as_str())?;
    let mut best = None;
    let entries = Elements::new(list).map(|entry| unquoted(entry).unwrap_or(entry));
    for entry in entries.chain(Some(own).filter(|own| !own.is_empty())) {
        let numbers = version::parse(entry).map_err(|error| error.with(&" in \"cniVersions\""))?;
        if numbers <= current && best.is_none_or(|(highest, _)| numbers >= highest) {
            best = Some((numbers, entry));
        }
    }
    Ok(best.map_or(own, |(_, entry)| entry))
}
