//! Called as a plugin: the CNI protocol on environment, stdin and stdout.

use picocni_core::dispatch::{self, Reply};
use picocni_core::env::Environment;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::plugin::Plugin;
use picocni_core::session::Session;
use picocni_linux::host::Linux;
use picocni_linux::sys::{self, Environ};
use rustix::fd::BorrowedFd;
use rustix::io::{Errno, read, write};

use crate::memory::Memory;

/// The CNI variables of the process.
pub(crate) fn environment(environ: Environ) -> Environment<'static> {
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

/// Serves one call; gives the exit code.
#[inline(never)]
pub(crate) fn serve(plugin: &'static dyn Plugin, environ: Environ, memory: &'static mut Memory) -> i32 {
    let Memory { linux, session, call, stdin, stdout, .. } = memory;
    // Never dropped: the kernel closes everything at exit, in fewer calls.
    let mut backend = core::mem::ManuallyDrop::new(Linux::new(linux, environ));
    let mut session = Session::new(&mut *backend, picocni::REGISTRY, session);
    let env = environment(environ);
    let mut input = Some(stdin);
    let mut read_stdin = || match input.take() {
        Some(buffer) => read_all(buffer),
        None => Ok(&[][..]),
    };
    match dispatch::serve(plugin, &env, &mut read_stdin, &mut session, call, stdout) {
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
pub(crate) fn print(fd: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(0) => return,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
