//! Network namespaces by path.

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::put;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FlockOperation, FsWord, Mode, OFlags, flock, fstat, fstatfs, openat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::errno::{self, Reason};
use crate::files::with_path;
use crate::socket::retry;

/// File systems that a namespace file can be on (linux/magic.h).
const NSFS_MAGIC: FsWord = 0x6e73_6673;
const PROC_SUPER_MAGIC: FsWord = 0x9fa0;

/// The namespace this thread is in: of a program that embeds us, other threads may be elsewhere.
///
/// # Errors
/// Code 8: /proc is not there.
pub(crate) fn own() -> Result<OwnedFd> {
    openat(CWD, "/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        err!(NETNS, "own netns is unreadable", "/proc/thread-self/ns/net: ", Reason(errno.raw_os_error()))
    })
}

/// Opens a namespace; `None` if the path does not exist.
///
/// # Errors
/// Code 8: unreadable, or no namespace.
pub(crate) fn open(path: &str) -> Result<Option<OwnedFd>> {
    let opened = with_path(path, |path| openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()));
    let fd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => {
            return Err(err!(NETNS, "failed to open netns", "\"", path, "\": ", Reason(errno.raw_os_error())));
        }
    };
    let kind = fstatfs(&fd).map_or(0, |stat| stat.f_type);
    if kind != NSFS_MAGIC && kind != PROC_SUPER_MAGIC {
        return Err(err!(NETNS, "path is not a network namespace", "\"", path, "\" is a file on another file system"));
    }
    Ok(Some(fd))
}

/// Device and inode, which name a namespace as long as it exists.
pub(crate) fn identity(fd: impl AsFd, out: &mut heapless::String<64>) {
    if let Ok(stat) = fstat(fd) {
        put!(out, stat.st_dev, ":", stat.st_ino);
    }
}

/// Takes the exclusive lock on a namespace, which is the same by whatever path it
/// is opened, or gives it back.
///
/// # Errors
/// Code 5.
pub(crate) fn lock(sandbox: &OwnedFd, operation: FlockOperation) -> Result<()> {
    retry(|| flock(sandbox, operation)).map_err(|errno| errno::file(&"failed to lock", "the network namespace", errno))
}

/// Moves this process into a namespace.
///
/// # Errors
/// Code 8: not a network namespace, or no permission.
pub(crate) fn enter(fd: &OwnedFd) -> Result<()> {
    move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|errno| err!(NETNS, "failed to enter netns", Reason(errno.raw_os_error())))
}
