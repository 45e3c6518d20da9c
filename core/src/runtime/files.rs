//! Directories and files as the runtime side reads them.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::limits;
use crate::text::fits;

/// A path built here.
pub(super) type Path = heapless::String<{ limits::PATH }>;

/// A name in a directory.
pub(super) type FileName = heapless::String<{ limits::FILE_NAME }>;

/// Steps from `last` to the next larger name that `wanted` takes, in byte
/// order; `false` after the largest, and if the directory does not exist.
///
/// One listing per step: a directory of networks has a handful of files, and
/// sorting would need a buffer for the largest directory there may be.
///
/// # Errors
/// Code 5.
pub(super) fn next_name(
    backend: &mut dyn Backend,
    dir: &str,
    wanted: &dyn Fn(&str) -> bool,
    last: &mut FileName,
) -> Result<bool> {
    let mut best = FileName::new();
    backend.list(dir, &mut |name| {
        let nearer = best.is_empty() || name < best.as_str();
        if nearer && name > last.as_str() && wanted(name) {
            best.clear();
            // A name over NAME_MAX cannot exist.
            let _ = best.push_str(name);
        }
    })?;
    if best.is_empty() {
        return Ok(false);
    }
    *last = best;
    Ok(true)
}

/// `dir/name`.
///
/// # Errors
/// Code 100.
pub(super) fn join(dir: &str, name: &str) -> Result<Path> {
    let slash = if dir.ends_with('/') { "" } else { "/" };
    fits(&[&dir, &slash, &name]).ok_or_else(|| Error::limit("PATH", limits::PATH).with(&" bytes for ").with(&name))
}

/// Reads a whole file; `None` if it does not exist or is a directory.
///
/// # Errors
/// Code 5; code 100 if the file is larger than `out`, which `limit` names.
pub(super) fn read(
    backend: &mut dyn Backend,
    path: &str,
    out: &mut [u8],
    limit: &'static str,
    max: usize,
) -> Result<Option<usize>> {
    match backend.read_file(path, out) {
        Ok(Some(length)) if length > out.len() => Err(in_file(Error::limit(limit, max).with(&" bytes"), path)),
        Ok(length) => Ok(length),
        Err(error) => {
            // What can be listed is a directory, which has no place here.
            if matches!(backend.list(path, &mut |_| {}), Ok(true)) {
                return Ok(None);
            }
            Err(in_file(error, path))
        }
    }
}

/// Puts the file's path before the details of an error.
pub(super) fn in_file(error: Error, path: &str) -> Error {
    let details = error.details();
    let between = if details.is_empty() { "" } else { ": " };
    error.with_details(&[&path, &between, &details])
}
