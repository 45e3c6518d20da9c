//! What ADD keeps for DEL: the delegate's config, where the peer keeps it.
//!
//! | file of `dataDir` | whose |
//! |---|---|
//! | `CONTAINER` | the attachment `eth0`, which is what runtimes make; the peer's, for any interface |
//! | `CONTAINER:IFNAME` | another attachment of the container; no container ID has a colon |

use picocni_core::error::{Error, Result};
use picocni_core::json;
use picocni_core::json::raw;
use picocni_core::limits;
use picocni_core::op::{Plan, Removal};
use picocni_core::plugin::Call;
use picocni_core::put;
use picocni_core::session::Session;
use picocni_core::text::Put;

use super::conf::string;

/// A path below `dataDir`.
pub(super) type Path = heapless::String<{ limits::PATH }>;

/// A name in `dataDir`.
pub(super) type Name = heapless::String<{ limits::FILE_NAME }>;

/// How a config begins that we wrote.
const OURS: &str = "{\"name\":";

/// Makes `path` that of a file of the directory; `false` when no file can have that name.
#[inline(never)]
pub(super) fn path_of(dir: &str, name: &[&dyn Put], path: &mut Path) -> bool {
    path.clear();
    put!(path, dir, "/");
    let before = path.len();
    name.iter().for_each(|part| part.put(path));
    path.len() < limits::PATH && path.len().saturating_sub(before) <= limits::FILE_NAME
}

/// Makes `path` that of the config of this call's attachment; `false` when no
/// file can have such a name.
pub(super) fn place(call: &Call<'_>, dir: &str, path: &mut Path) -> bool {
    let parts: [&dyn Put; 3] = [&call.env.container_id, &":", &call.env.ifname];
    let used = if is_first(call) { 1 } else { parts.len() };
    path_of(dir, parts.get(..used).unwrap_or_default(), path)
}

fn is_first(call: &Call<'_>) -> bool {
    call.env.ifname.as_str() == "eth0"
}

/// Finds and reads what ADD saved for this call's attachment, by us or by the
/// peer: its path and length.
///
/// # Errors
/// Code 5; code 100: it is too long to be such a config.
#[inline(never)]
pub(super) fn find(
    call: &Call<'_>,
    session: &mut Session<'_>,
    dir: &str,
    path: &mut Path,
    out: &mut [u8],
) -> Result<Option<usize>> {
    if place(call, dir, path) {
        let found = read(session, path, out)?;
        if found.is_some() || is_first(call) {
            return Ok(found);
        }
    }
    if !path_of(dir, &[&call.env.container_id], path) {
        return Ok(None);
    }
    // That of `eth0`, or the peer's.
    let found = read(session, path, out)?;
    let saved = found.and_then(|length| Saved::parse(out.get(..length)?));
    let theirs = |saved: Saved<'_>| saved.network == call.conf.name && !saved.text.starts_with(OURS);
    Ok(found.filter(|_| saved.is_some_and(theirs)))
}

/// Forgets a config.
///
/// # Errors
/// Code 5.
#[inline(never)]
pub(super) fn forget(session: &mut Session<'_>, path: &str) -> Result<()> {
    let mut plan = Plan::new();
    plan.remove(Removal::RemoveFile { path })?;
    session.remove(&plan)
}

/// Reads a saved config; its length.
///
/// # Errors
/// Code 5; code 100.
#[inline(never)]
pub(super) fn read(session: &mut Session<'_>, path: &str, out: &mut [u8]) -> Result<Option<usize>> {
    let length = session.backend.read_file(path, out)?;
    if length.is_some_and(|length| length > out.len()) {
        return Err(Error::limit("STATE_FILE", limits::STATE_FILE).with(&" bytes: ").with(&path));
    }
    Ok(length)
}

/// A config that can be handed to its delegate.
#[derive(Debug)]
pub(super) struct Saved<'a> {
    /// All of it.
    pub(super) text: &'a str,
    /// The delegate's type.
    pub(super) kind: &'a str,
    /// The network's name.
    pub(super) network: &'a str,
}

impl<'a> Saved<'a> {
    /// Reads one; `None` if it is torn.
    #[inline(never)]
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = json::validate(bytes).ok()?;
        let member = |name| raw::member(text, name).and_then(string);
        Some(Saved { text, kind: member("type")?, network: member("name")? })
    }
}
