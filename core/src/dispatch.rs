//! From environment and stdin to a plugin's answer (spec 1.1.0, section 2).
//!
//! The order of validation is the reference implementation's, so that the same
//! bad call gives the same error; only the namespace is tested before the work
//! and not after it.

use crate::backend::Sandbox;
use crate::conf::{self, NetConf};
use crate::env::{Environment, Invocation};
use crate::err;
use crate::error::{Error, Result};
use crate::limits;
use crate::plugin::{Call, Plugin};
use crate::put;
use crate::result::{AddResult, encode};
use crate::session::Session;
use crate::version::{self, Command, Version};

/// What one call of one plugin needs besides the session.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CallMemory {
    /// The config as canonical text.
    pub text: [u8; limits::REQUEST],
    /// prevResult.
    pub prev: AddResult,
    /// The result being built.
    pub result: AddResult,
}

impl CallMemory {
    /// Empty memory; `const`, so that it can be static.
    #[must_use]
    pub const fn new() -> Self {
        CallMemory { text: [0; limits::REQUEST], prev: AddResult::new(), result: AddResult::new() }
    }
}

impl Default for CallMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// What the entry point has to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reply {
    /// This many bytes of `out` go to stdout, exit 0.
    Success(usize),
    /// This many bytes of `out` go to stderr, exit 0.
    About(usize),
    /// This many bytes of `out` go to stdout, exit 1.
    Failure(usize),
}

/// Serves one call: validates, runs, encodes the answer into `out`.
///
/// `read` fills the buffer with stdin and gives its length; it is not called
/// for VERSION, whose caller may leave stdin open.
pub fn serve<'m>(
    plugin: &'static dyn Plugin,
    env: &Environment<'_>,
    read: &mut dyn FnMut() -> Result<&'m [u8]>,
    session: &mut Session<'_>,
    memory: &mut CallMemory,
    out: &mut [u8],
) -> Reply {
    let mut answer = version::CURRENT;
    let outcome = answer_call(plugin, env, read, session, memory, out, &mut answer);
    match outcome {
        Ok(reply) => reply,
        Err(error) if error.foreign => Reply::Failure(copy(&session.work().foreign_error, out)),
        Err(error) => Reply::Failure(error_json(&error, answer, out)),
    }
}

fn answer_call<'m>(
    plugin: &'static dyn Plugin,
    env: &Environment<'_>,
    read: &mut dyn FnMut() -> Result<&'m [u8]>,
    session: &mut Session<'_>,
    memory: &mut CallMemory,
    out: &mut [u8],
    answer: &mut Version,
) -> Result<Reply> {
    let invocation = match env.validate() {
        Err(_) if env.command.is_empty() => return Ok(Reply::About(about(plugin, out))),
        other => other?,
    };
    if invocation.is_some_and(|i| i.command == Command::Version) {
        return Ok(Reply::Success(version_json(plugin, out)?));
    }
    let raw = read()?;
    let Some(invocation) = invocation else {
        let document = conf::scan(raw, plugin.keys(), &mut memory.text)?;
        NetConf::read(document.canonical())?;
        return Err(err!(ENVIRONMENT, "unknown CNI_COMMAND", env.command, " (ADD, CHECK, DEL, GC, STATUS or VERSION)"));
    };
    perform(plugin, &invocation, raw, session, memory, out, answer).map(Reply::Success)
}

/// Runs one command of one plugin on a raw config. ADD leaves its result in
/// `memory.result`, encoded in `out` in the config's version; gives the length.
/// A failed ADD is undone.
///
/// # Errors
/// Any CNI error. `answer` is the version to print it in.
pub fn perform(
    plugin: &'static dyn Plugin,
    invocation: &Invocation<'_>,
    raw: &[u8],
    session: &mut Session<'_>,
    memory: &mut CallMemory,
    out: &mut [u8],
    answer: &mut Version,
) -> Result<usize> {
    let CallMemory { text, prev, result } = memory;
    let document = conf::scan(raw, plugin.keys(), text)?;
    let conf = NetConf::read(document.canonical())?;
    if let Some(known) = Version::exact(conf.cni_version) {
        *answer = known;
    }
    let command = invocation.command;
    let version = version::gate(conf.cni_version, command, plugin.versions())?;
    let has_prev = document.raw("prevResult").is_some() && conf::prev_result(document.canonical(), &conf, prev)?;
    let call = Call {
        env: invocation,
        conf: &conf,
        text: document.canonical(),
        raw,
        version,
        prev: has_prev.then_some(&*prev),
        repeated_key: document.repeated_map_key(),
    };
    open_sandbox(plugin, &call, session)?;
    session.as_plugin(plugin.name(), command, |session| run(plugin, &call, session, result, out))
}

fn run(
    plugin: &'static dyn Plugin,
    call: &Call<'_>,
    session: &mut Session<'_>,
    result: &mut AddResult,
    out: &mut [u8],
) -> Result<usize> {
    match call.env.command {
        Command::Add => {
            let mark = session.mark();
            result.clear();
            let added = plugin.add(call, session, result).and_then(|()| encode::to_json(result, call.version, out));
            // A plugin that fails keeps its lock until its work is undone.
            let added = added.map_err(|cause| session.undo_to(mark, call, cause));
            session.backend.unlock();
            added
        }
        Command::Check => session.check_or_reconcile(plugin, call).map(|()| 0),
        Command::Del => plugin.del(call, session).map(|()| 0),
        Command::Gc => plugin.gc(call, session).map(|()| 0),
        Command::Status => plugin.status(call, session).map(|()| 0),
        Command::Version => version_json(plugin, out),
    }
}

/// Opens the namespace and refuses the plugin's own before anything is done.
fn open_sandbox(plugin: &dyn Plugin, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let command = call.env.command;
    if !matches!(command, Command::Add | Command::Check | Command::Del) {
        return Ok(());
    }
    let opened = session.open_sandbox(call.env.netns);
    match opened {
        Ok(Sandbox::Open) => {
            if !call.env.same_netns_allowed && command != Command::Check && session.backend.sandbox_is_own()? {
                return Err(err!(
                    NETNS,
                    "plugin's netns and netns from CNI_NETNS should not be the same",
                    call.env.netns,
                    " (CNI_NETNS_OVERRIDE=1 allows it)"
                ));
            }
            Ok(())
        }
        // An IPAM plugin does not touch the sandbox; DEL must not need it.
        _ if plugin.is_ipam() => Ok(()),
        Ok(Sandbox::Missing) if command == Command::Del => Ok(()),
        Ok(Sandbox::Missing) => Err(err!(NETNS, "failed to open netns", "\"", call.env.netns, "\" does not exist")),
        Err(error) => Err(error),
    }
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let mut copied = 0usize;
    for (slot, byte) in to.iter_mut().zip(from) {
        *slot = *byte;
        copied = copied.saturating_add(1);
    }
    copied
}

/// What a plugin says when it is called without CNI_COMMAND.
fn about(plugin: &dyn Plugin, out: &mut [u8]) -> usize {
    let mut text = heapless::String::<256>::new();
    put!(
        &mut text,
        "CNI ",
        plugin.name(),
        " plugin picocni ",
        env!("CARGO_PKG_VERSION"),
        "\nCNI protocol versions supported: "
    );
    for (at, version) in plugin.versions().iter().enumerate() {
        put!(&mut text, if at > 0 { ", " } else { "" }, *version);
    }
    put!(&mut text, "\n");
    copy(text.as_bytes(), out)
}

#[derive(serde::Serialize)]
struct VersionReply {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(rename = "supportedVersions")]
    supported: heapless::Vec<&'static str, 8>,
}

fn version_json(plugin: &dyn Plugin, out: &mut [u8]) -> Result<usize> {
    let mut reply = VersionReply { cni_version: version::CURRENT.as_str(), supported: heapless::Vec::new() };
    for version in plugin.versions() {
        // There are seven.
        let _ = reply.supported.push(version.as_str());
    }
    let length = crate::json::to_slice(&reply, out).map_err(|_| Error::limit("REQUEST", limits::REQUEST))?;
    if let Some(end) = out.get_mut(length) {
        *end = b'\n';
    }
    Ok(length.saturating_add(1))
}

/// Writes an error object (spec 1.1.0, "Error"); gives its length.
pub fn error_json(error: &Error, version: Version, out: &mut [u8]) -> usize {
    #[derive(serde::Serialize)]
    struct Object<'a> {
        #[serde(rename = "cniVersion")]
        cni_version: &'static str,
        code: u32,
        msg: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        details: &'a str,
    }
    let details = error.details();
    let object = Object { cni_version: version.as_str(), code: error.code().0, msg: error.msg(), details: &details };
    crate::json::to_slice(&object, out).unwrap_or(0)
}
