//! Finding a network's file by the network's name, in libcni's order.

use super::arena::Arena;
use super::conflist::{SINGLE_KEYS, read_list};
use super::files::{FileName, Path, in_file, join, next_name, read};
use super::words::plain;
use crate::backend::Backend;
use crate::err;
use crate::error::{Error, Result};
use crate::limits;
use crate::name::check_plugin_type;

/// Where the network was found.
pub(super) struct File {
    pub(super) path: Path,
    pub(super) length: usize,
    /// One plugin's configuration, not a list.
    pub(super) single: bool,
}

/// Finds the file; its content is then at the start of `raw`.
pub(super) fn find(backend: &mut dyn Backend, dir: &str, name: &str, raw: &mut [u8], text: &mut [u8]) -> Result<File> {
    let mut seen = 0usize;
    for (single, suffixes) in [(false, &[".conflist"][..]), (true, &[".conf", ".json"][..])] {
        let mut last = FileName::new();
        while next_name(backend, dir, &|name| suffixes.iter().any(|suffix| name.ends_with(suffix)), &mut last)? {
            let path = join(dir, &last)?;
            let Some(length) = read(backend, &path, raw, "CONFLIST", limits::CONFLIST)? else {
                continue;
            };
            seen = seen.saturating_add(1);
            if seen > limits::CONF_FILES {
                return Err(Error::limit("CONF_FILES", limits::CONF_FILES).with(&" in ").with(&dir));
            }
            let matches = is_named(name, raw.get(..length).unwrap_or_default(), text, single);
            if matches.map_err(|error| in_file(error, &path))? {
                return Ok(File { path, length, single });
            }
        }
    }
    if seen == 0 {
        return Err(err!(CONFIG, "no net configurations found", "no net configurations found in ", dir));
    }
    Err(err!(CONFIG, "no net configuration found", "no net configuration with name \"", name, "\" in ", dir))
}

/// Whether a file configures the network `name`. The whole file is checked: a
/// malformed one ends the search, whatever its name.
fn is_named(name: &str, raw: &[u8], text: &mut [u8], single: bool) -> Result<bool> {
    let mut arena = Arena { raw: &mut [], text };
    if !single {
        return Ok(read_list(raw, &mut arena)?.name == name);
    }
    let (_, text) = arena.scan(raw, SINGLE_KEYS)?;
    let kind = plain(text, "type").unwrap_or_default();
    if kind.is_empty() {
        return Err(err!(CONFIG, "missing 'type'", "error parsing configuration: missing 'type'"));
    }
    check_plugin_type(kind)?;
    Ok(plain(text, "name") == Some(name))
}
