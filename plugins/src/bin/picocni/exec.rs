//! `picocni exec NETNS -- COMMAND`: a program in a network namespace.

use core::ffi::CStr;

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::text::fits;
use picocni_linux::sys::{self, Environ, Pointers};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::namespace;
use crate::words::Words;

/// Arguments of the command.
const ARGUMENTS: usize = 256;
/// Variables of its environment.
const VARIABLES: usize = 1024;

/// Replaces this process; returns only on failure.
///
/// # Errors
/// Code 4: usage; code 8: no such namespace; code 5: no such program.
#[inline(never)]
pub(crate) fn run(arguments: Words, environ: Environ) -> Result<i32> {
    let word = arguments.get(2);
    let dashes = usize::from(arguments.get(3) == "--");
    let first = 3usize.saturating_add(dashes);
    if word.is_empty() || arguments.get(first).is_empty() {
        return Err(err!(ENVIRONMENT, "missing arguments", "usage: picocni exec NETNS -- COMMAND [ARGUMENT ...]"));
    }
    let plain_name = !word.contains('/') && !word.contains(':');
    let path = if plain_name { namespace::named(word)? } else { namespace::Namespace::read(word)?.path };
    enter(&path)?;
    replace(arguments, first, environ)
}

/// Moves this process into the namespace at `path`.
///
/// # Errors
/// Code 8.
pub(crate) fn enter(path: &str) -> Result<()> {
    let failed = |errno: Errno| err!(NETNS, "failed to enter netns", path, ": errno ", errno.raw_os_error());
    let fd = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    namespace::enter(&fd).map_err(failed)
}

fn replace(arguments: Words, first: usize, environ: Environ) -> Result<i32> {
    let program = arguments.get(first);
    let mut words = Pointers::<ARGUMENTS>::new();
    for word in arguments.from(first) {
        words.push(word).map_err(|_| Error::limit("ARGUMENTS", ARGUMENTS))?;
    }
    Err(become_program(program, &mut words, environ))
}

/// Executes `program`, looked up in PATH if it has no slash.
pub(crate) fn become_program(program: &str, words: &mut Pointers<'_, ARGUMENTS>, environ: Environ) -> Error {
    sys::default_sigpipe();
    let mut variables = Pointers::<VARIABLES>::new();
    for variable in environ.iter() {
        if variables.push(variable).is_err() {
            return Error::limit("VARIABLES", VARIABLES);
        }
    }
    let path = environ.get("PATH");
    let path = if path.is_empty() { "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" } else { path };
    for dir in path.split(':') {
        let file: Option<heapless::String<{ limits::PATH }>> =
            if program.contains('/') { fits(&[&program, &"\0"]) } else { fits(&[&dir, &"/", &program, &"\0"]) };
        let Some(file) = file else { continue };
        let Ok(file) = CStr::from_bytes_with_nul(file.as_bytes()) else { continue };
        if rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() {
            let errno = sys::execve(file, words, &mut variables);
            return err!(IO, "failed to run", program, ": errno ", errno.raw_os_error());
        }
    }
    err!(IO, "no such program", program)
}
