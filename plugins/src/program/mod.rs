//! A program that is called as a plugin: the CNI protocol on environment, stdin
//! and stdout. A freestanding program calls [`serve`]; one with std has
//! `main`, with the feature `std`.

#[cfg(feature = "std")]
mod with_std;

#[cfg(feature = "std")]
pub use with_std::main;

use picocni_core::dispatch::{self, CallMemory, Reply};
use picocni_core::env::Environment;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::plugin::Plugin;
use picocni_core::session::{Session, Workspace};
use rustix::fd::BorrowedFd;
use rustix::io::{Errno, read, write};

use picocni_linux::host::{self, Linux};
use picocni_linux::sys::{self, Environ};

/// Every buffer of a plugin program, in one value that is meant to be static:
/// pages that a call does not touch are never resident.
#[derive(Debug)]
pub struct Memory {
    /// The backend's.
    pub linux: host::Memory,
    /// The session's.
    pub session: Workspace,
    /// The call's.
    pub call: CallMemory,
    /// One byte more than a request may have, to see that it is too long.
    stdin: [u8; limits::REQUEST + 1],
    stdout: [u8; limits::REQUEST],
}

impl Memory {
    /// Empty memory.
    #[must_use]
    pub const fn new() -> Self {
        Memory {
            linux: host::Memory::new(),
            session: Workspace::new(),
            call: CallMemory::new(),
            stdin: [0; limits::REQUEST + 1],
            stdout: [0; limits::REQUEST],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The plugin that a program is called as: the one whose name the last part of
/// `called` (argv\[0\]) is.
#[must_use]
pub fn called_as(registry: &[&'static dyn Plugin], called: &str) -> Option<&'static dyn Plugin> {
    let name = called.rsplit('/').next().unwrap_or(called);
    registry.iter().copied().find(|plugin| plugin.name() == name)
}

/// The CNI variables of the process.
#[must_use]
pub fn environment(environ: Environ) -> Environment<'static> {
    let mut env = Environment::default();
    for entry in environ.iter().filter_map(|entry| entry.to_str().ok()) {
        let Some((key, value)) = entry.split_once('=') else { continue };
        match key {
            "CNI_COMMAND" => env.command = value,
            "CNI_CONTAINERID" => env.container_id = value,
            "CNI_NETNS" => env.netns = value,
            "CNI_IFNAME" => env.ifname = value,
            "CNI_ARGS" => env.args = value,
            "CNI_PATH" => env.path = value,
            "CNI_NETNS_OVERRIDE" => env.netns_override = value,
            _ => {}
        }
    }
    env
}

/// Serves one call of `plugin`, which may delegate to those of `registry`;
/// gives the exit code.
#[inline(never)]
pub fn serve(
    plugin: &'static dyn Plugin,
    registry: &'static [&'static dyn Plugin],
    environ: Environ,
    memory: &'static mut Memory,
) -> i32 {
    let Memory { linux, session, call, stdin, stdout } = memory;
    // Never dropped: the kernel closes everything at exit, in fewer calls.
    let mut backend = core::mem::ManuallyDrop::new(Linux::new(linux, environ));
    let mut session = Session::new(&mut *backend, registry, session);
    let env = environment(environ);
    let mut input = Some(stdin);
    let mut read_stdin = || match input.take() {
        Some(buffer) => read_all(buffer),
        None => Ok(&[][..]),
    };
    let reply = dispatch::serve(plugin, &env, &mut read_stdin, &mut session, call, stdout);
    backend.part();
    match reply {
        Reply::Success(length) => {
            print(sys::stdout(), stdout.get(..length).unwrap_or_default());
            0
        }
        Reply::About(length) => {
            print(sys::stderr(), stdout.get(..length).unwrap_or_default());
            0
        }
        Reply::Failure(length) => {
            print(sys::stdout(), stdout.get(..length).unwrap_or_default());
            1
        }
    }
}

/// Reads stdin to its end. What is over the limit is read too and dropped: a
/// runtime that still writes must get our answer and not `EPIPE`.
fn read_all(buffer: &'static mut [u8; limits::REQUEST + 1]) -> Result<&'static [u8]> {
    let stdin = sys::stdin();
    let mut length = 0usize;
    let mut dropped = false;
    loop {
        let mut rest = [0u8; 512];
        let space = buffer.get_mut(length..).filter(|space| !space.is_empty());
        let full = space.is_none();
        match read(stdin, space.unwrap_or(&mut rest)) {
            Ok(0) => break,
            Ok(more) if full => dropped |= more > 0,
            Ok(more) => length = length.saturating_add(more),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(err!(IO, "error reading from stdin", "errno ", errno.raw_os_error())),
        }
    }
    if dropped || length > limits::REQUEST {
        return Err(Error::limit("REQUEST", limits::REQUEST).with(&" bytes on stdin"));
    }
    Ok(buffer.get(..length).unwrap_or_default())
}

/// Writes everything, or gives up where nobody listens.
pub fn print(fd: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(0) => return,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
