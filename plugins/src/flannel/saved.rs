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
use picocni_core::text::fits;

use super::conf::string;

/// A path below `dataDir`.
pub(super) type Path = heapless::String<{ limits::PATH }>;

/// A name in `dataDir`.
pub(super) type Name = heapless::String<{ limits::FILE_NAME }>;

/// How a config begins that we wrote.
const OURS: &str = "{\"name\":";

/// The path of a file of the directory; `None` when no file can have that name.
#[inline(never)]
pub(super) fn path(dir: &str, name: &str) -> Option<Path> {
    fits(&[&dir, &"/", &name]).filter(|_| name.len() <= limits::FILE_NAME)
}

/// Where the config of this call's attachment is saved.
#[inline(never)]
pub(super) fn place(call: &Call<'_>, dir: &str) -> Option<Path> {
    let mut name = Path::new();
    put!(&mut name, call.env.container_id);
    if !is_first(call) {
        put!(&mut name, ":", call.env.ifname);
    }
    path(dir, &name)
}

fn is_first(call: &Call<'_>) -> bool {
    call.env.ifname.as_str() == "eth0"
}

/// Finds and reads what ADD saved for this call's attachment, by us or by the
/// peer: its path and length.
///
/// # Errors
/// Code 5; code 100: it is too long to be such a config.
pub(super) fn find(
    call: &Call<'_>,
    session: &mut Session<'_>,
    dir: &str,
    out: &mut [u8],
) -> Result<Option<(Path, usize)>> {
    for path in [place(call, dir), path(dir, call.env.container_id).filter(|_| !is_first(call))] {
        let Some(path) = path else { continue };
        let Some(length) = read(session, &path, out)? else { continue };
        // The second is that of `eth0`, or the peer's.
        let theirs = |saved: Saved<'_>| saved.network == call.conf.name && !saved.text.starts_with(OURS);
        if place(call, dir).as_ref() == Some(&path) || out.get(..length).and_then(Saved::parse).is_some_and(theirs) {
            return Ok(Some((path, length)));
        }
    }
    Ok(None)
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
