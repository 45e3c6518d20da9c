//! NETNS on the command line: a path, `pid:N`, or `new:NAME`.
#![allow(unsafe_code, reason = "unshare of this process's own namespace")]

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::text::{fits, parse_u32};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Where named namespaces are pinned, as ip-netns(8) has it.
const DIR: &str = "/run/netns";

/// A path as the kernel takes it.
pub(crate) type Path = heapless::String<{ limits::SANDBOX }>;

/// A namespace as the operator names it.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) path: Path,
    /// Made by add and removed by del.
    pub(crate) is_new: bool,
}

fn too_long() -> Error {
    Error::limit("SANDBOX", limits::SANDBOX)
}

impl Namespace {
    /// Reads a word of the command line.
    ///
    /// # Errors
    /// Code 4: neither a path nor one of the forms.
    pub(crate) fn read(word: &str) -> Result<Self> {
        if word.is_empty() {
            return Err(err!(ENVIRONMENT, "missing NETNS", "a path, pid:N or new:NAME"));
        }
        if let Some(pid) = word.strip_prefix("pid:") {
            parse_u32(pid)
                .ok_or_else(|| err!(ENVIRONMENT, "invalid NETNS", "\"", word, "\": N of pid:N is a process ID"))?;
            let path = fits(&[&"/proc/", &pid, &"/ns/net"]).ok_or_else(too_long)?;
            return Ok(Namespace { path, is_new: false });
        }
        if let Some(name) = word.strip_prefix("new:") {
            return Ok(Namespace { path: named(name)?, is_new: true });
        }
        let path = if word.starts_with('/') { fits(&[&word]).ok_or_else(too_long)? } else { absolute(word)? };
        Ok(Namespace { path, is_new: false })
    }

    /// Makes and pins the namespace of `new:NAME`; one that exists is used as it is.
    ///
    /// # Errors
    /// Code 8.
    pub(crate) fn make(&self) -> Result<()> {
        if !self.is_new || rustix::fs::access(self.path.as_str(), rustix::fs::Access::EXISTS).is_ok() {
            return Ok(());
        }
        pin(&self.path).map_err(|errno| {
            let _ = self.remove();
            err!(
                NETNS,
                "failed to make a network namespace",
                self.path,
                ": errno ",
                errno.raw_os_error(),
                " (run as root)"
            )
        })
    }

    /// Removes the namespace of `new:NAME`; a missing one is success.
    ///
    /// # Errors
    /// Code 8.
    pub(crate) fn remove(&self) -> Result<()> {
        let _ = unmount(self.path.as_str(), UnmountFlags::DETACH);
        match unlinkat(CWD, self.path.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => {
                Err(err!(NETNS, "failed to remove a network namespace", self.path, ": errno ", errno.raw_os_error()))
            }
        }
    }
}

/// The path of a pinned namespace.
///
/// # Errors
/// Code 4: not a name.
pub(crate) fn named(name: &str) -> Result<Path> {
    if !picocni_core::name::is_identifier(name) {
        return Err(err!(ENVIRONMENT, "invalid namespace name", "\"", name, "\" (letters, digits, '_', '.', '-')"));
    }
    fits(&[&DIR, &"/", &name]).ok_or_else(too_long)
}

fn absolute(word: &str) -> Result<Path> {
    let mut bytes = [core::mem::MaybeUninit::<u8>::uninit(); limits::SANDBOX];
    let (cwd, _) = rustix::fs::readlinkat_raw(CWD, "/proc/self/cwd", &mut bytes)
        .map_err(|_| err!(IO, "failed to read the working directory"))?;
    let cwd = core::str::from_utf8(cwd).map_err(|_| err!(IO, "the working directory is not UTF-8"))?;
    fits(&[&cwd.trim_end_matches('/'), &"/", &word]).ok_or_else(too_long)
}

/// A descriptor of this process's own network namespace.
pub(crate) fn own() -> core::result::Result<OwnedFd, Errno> {
    openat(CWD, "/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Moves this process into a network namespace.
pub(crate) fn enter(fd: impl AsFd) -> core::result::Result<(), Errno> {
    move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network))
}

/// Moves this process into new namespaces.
pub(crate) fn unshare(flags: UnshareFlags) -> core::result::Result<(), Errno> {
    // SAFETY: one thread, and no descriptor table is shared.
    unsafe { unshare_unsafe(flags) }
}

/// A new namespace, kept alive by a bind mount; this process stays where it was.
fn pin(path: &str) -> core::result::Result<(), Errno> {
    for dir in ["/run", DIR] {
        match rustix::fs::mkdirat(CWD, dir, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    openat(CWD, path, OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty())?;
    let home = own()?;
    unshare(UnshareFlags::NEWNET)?;
    let mounted = mount_bind("/proc/self/ns/net", path);
    enter(&home)?;
    mounted
}
