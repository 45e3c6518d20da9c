//! GC of `flannel`: the delegate's own, and saved configs that nobody needs.

use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Failures, Result};
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::text::fits;
use picocni_core::version::Command;

use super::saved::{self, Name, Path, Saved};
use super::{Paths, ask, compose_without, halves};

pub(super) fn gc(call: &Call<'_>, session: &mut Session<'_>, paths: &Paths<'_>, buffer: &mut [u8]) -> Result<()> {
    let mut failures = Failures::new();
    let length = compose_without(call, session, paths, buffer)?;
    failures.note(ask(call, session, buffer, length, Command::Gc));
    if let Some(valid) = ValidAttachments::read(call.text)? {
        let mut last = Name::new();
        while next_stale(session, &valid, paths.data_dir, &mut last)? {
            failures.note(remove(call, session, paths.data_dir, &last, buffer));
        }
    }
    failures.into_result()
}

/// Steps to the first name after `last` that no valid attachment has. By order
/// and not by position: what stays is seen once.
fn next_stale(session: &mut Session<'_>, valid: &ValidAttachments<'_>, dir: &str, last: &mut Name) -> Result<bool> {
    let mut next = Name::new();
    session.backend.list(dir, &mut |name| {
        let is_next = name > last.as_str() && (next.is_empty() || name < next.as_str());
        let is_valid = match name.split_once(|c| c == ':') {
            Some((container, ifname)) => valid.contains(container, ifname),
            None => valid.contains_container(name),
        };
        if is_next && !is_valid {
            next = fits(&[&name]).unwrap_or_default();
        }
    })?;
    core::mem::swap(last, &mut next);
    Ok(!last.is_empty())
}

/// Removes a saved config of this network. A delegate in process removes first
/// what it made by it. A foreign one may have no GC, and needs the file at DEL.
fn remove(call: &Call<'_>, session: &mut Session<'_>, dir: &str, name: &str, buffer: &mut [u8]) -> Result<()> {
    let mut path = Path::new();
    if !saved::path_of(dir, &[&name], &mut path) {
        return Ok(());
    }
    let Some(length) = saved::read(session, &path, halves(buffer).0)? else { return Ok(()) };
    let Some(saved) = buffer.get(..length).and_then(Saved::parse) else { return Ok(()) };
    if saved.network != call.conf.name || !session.is_built_in(saved.kind, call.env.path)? {
        return Ok(());
    }
    ask(call, session, buffer, length, Command::Gc)?;
    saved::forget(session, &path)
}
