//! `picocni install DIR`: a link to this program for every plugin.

use picocni_core::err;
use picocni_core::error::{Error, Phrase, Result};
use picocni_core::limits;
use picocni_core::text::fits;
use rustix::fs::{AtFlags, CWD, Mode, mkdirat, readlinkat_raw, stat, statat, symlinkat};
use rustix::io::Errno;

use crate::terminal;
use crate::words::Words;

type Path = heapless::String<{ limits::PATH }>;

fn failed(what: Phrase, path: &str, errno: Errno) -> Error {
    err!(IO, what, path, ": errno ", errno.raw_os_error())
}

/// Makes the links; gives the exit code.
///
/// # Errors
/// Code 4: usage; code 103: another file has a plugin's name; code 5.
#[inline(never)]
pub(crate) fn run(arguments: Words) -> Result<i32> {
    let dir = arguments.get(2).trim_end_matches('/');
    if dir.is_empty() {
        return Err(err!(ENVIRONMENT, "missing DIR", "usage: picocni install DIR, for example /opt/cni/bin"));
    }
    let mut bytes = [core::mem::MaybeUninit::<u8>::uninit(); limits::PATH];
    let (own, _) = readlinkat_raw(CWD, "/proc/self/exe", &mut bytes)
        .map_err(|errno| failed(&"failed to find own file", "/proc/self/exe", errno))?;
    let own = core::str::from_utf8(own).map_err(|_| err!(IO, "own path is not UTF-8"))?;
    // A link beside the program survives a move of the directory.
    let target =
        own.strip_prefix(dir).and_then(|rest| rest.strip_prefix('/')).filter(|rest| !rest.contains('/')).unwrap_or(own);
    match mkdirat(CWD, dir, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(&"failed to make directory", dir, errno)),
    }
    // Looked at first: either every link is made or none.
    for plugin in picocni::REGISTRY {
        let path = link_path(dir, plugin.name())?;
        if !is_ours(&path)? {
            return Err(err!(
                CONFLICT,
                "another file is in the way",
                path,
                " is not a link to picocni; move it away first"
            ));
        }
    }
    for plugin in picocni::REGISTRY {
        let path = link_path(dir, plugin.name())?;
        match symlinkat(target, CWD, path.as_str()) {
            Ok(()) => terminal::out(&[&path, &" -> ", &target, &"\n"]),
            Err(Errno::EXIST) => terminal::out(&[&path, &" is there already\n"]),
            Err(errno) => return Err(failed(&"failed to make link", &path, errno)),
        }
    }
    Ok(0)
}

fn link_path(dir: &str, plugin: &str) -> Result<Path> {
    fits(&[&dir, &"/", &plugin]).ok_or_else(|| Error::limit("PATH", limits::PATH))
}

/// Missing, this very file, or a link that leads to it.
fn is_ours(path: &str) -> Result<bool> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => {}
        Err(Errno::NOENT) => return Ok(true),
        Err(errno) => return Err(failed(&"failed to look at", path, errno)),
    }
    match (stat(path), stat("/proc/self/exe")) {
        (Ok(there), Ok(own)) => Ok((there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)),
        _ => Ok(false),
    }
}
