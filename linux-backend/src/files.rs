//! Files: state, leases, claims, locks.

use core::ffi::CStr;
use core::net::IpAddr;

use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::net::parse_ip;
use picocni_core::text::fits;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RawDir, flock, fstat, mkdirat, openat, readlinkat_raw, renameat,
    symlinkat, unlinkat,
};
use rustix::io::{Errno, read, write};

use crate::errno;
use crate::socket::retry;

/// Bytes of a lease file that matter.
const LEASE: usize = 512;

/// Calls `act` with the path as a C string, on the stack.
pub(crate) fn with_path<T>(
    path: &str,
    act: impl FnOnce(&CStr) -> core::result::Result<T, Errno>,
) -> core::result::Result<T, Errno> {
    let mut bytes = [0u8; limits::PATH + 1];
    for (slot, byte) in bytes.iter_mut().take(limits::PATH).zip(path.bytes()) {
        *slot = byte;
    }
    if path.len() > limits::PATH {
        return Err(Errno::NAMETOOLONG);
    }
    let path = bytes.get(..=path.len()).ok_or(Errno::NAMETOOLONG)?;
    act(CStr::from_bytes_with_nul(path).map_err(|_| Errno::INVAL)?)
}

fn open(path: &str, flags: OFlags, mode: u32) -> core::result::Result<OwnedFd, Errno> {
    with_path(path, |path| retry(|| openat(CWD, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))))
}

/// Opens a file for writing; makes its directories when they are missing.
fn open_new(path: &str, flags: OFlags, mode: u32, dir_mode: u32) -> core::result::Result<OwnedFd, Errno> {
    match open(path, flags, mode) {
        Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => {
            if let Some((dir, _)) = path.rsplit_once('/') {
                make_dirs(dir, dir_mode)?;
            }
            open(path, flags, mode)
        }
        other => other,
    }
}

/// Makes a directory and those above it.
pub(crate) fn make_dirs(dir: &str, mode: u32) -> core::result::Result<(), Errno> {
    let mut end = 0usize;
    for part in dir.split_inclusive('/') {
        end = end.saturating_add(part.len());
        let Some(prefix) = dir.get(..end).filter(|p| p.len() > 1) else { continue };
        let made = with_path(prefix.trim_end_matches('/'), |path| mkdirat(CWD, path, Mode::from_raw_mode(mode)));
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends: a file (not a pipe) reads
/// short only at its end.
pub(crate) fn read_all(fd: impl AsFd, out: &mut [u8]) -> core::result::Result<usize, Errno> {
    let mut length = 0usize;
    while let Some(rest) = out.get_mut(length..).filter(|rest| !rest.is_empty()) {
        let room = rest.len();
        let more = retry(|| read(&fd, &mut *rest))?;
        length = length.saturating_add(more);
        if more < room {
            break;
        }
    }
    Ok(length)
}

/// Writes everything.
pub(crate) fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> core::result::Result<(), Errno> {
    while !bytes.is_empty() {
        let written = retry(|| write(&fd, bytes))?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Reads a file; see [`Backend::read_file`](picocni_core::backend::Backend::read_file).
pub(crate) fn read_file(path: &str, out: &mut [u8]) -> Result<Option<usize>> {
    let fd = match open(path, OFlags::RDONLY, 0) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno::file(&"failed to read a file", path, errno)),
    };
    let length = read_all(&fd, out).map_err(|errno| errno::file(&"failed to read a file", path, errno))?;
    if length < out.len() {
        return Ok(Some(length));
    }
    let size = fstat(&fd).map_err(|errno| errno::file(&"failed to read a file", path, errno))?.st_size;
    Ok(Some(usize::try_from(size).unwrap_or(usize::MAX).max(length)))
}

/// Creates a file that must not exist, mode 0600; a failed write leaves none.
pub(crate) fn create(path: &str, content: &[u8], dir_mode: u32) -> core::result::Result<(), Errno> {
    let fd = open_new(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, 0o600, dir_mode)?;
    write_all(&fd, content).inspect_err(|_| {
        let _ = remove(path);
    })
}

/// Replaces a file: written beside it and renamed.
pub(crate) fn replace(path: &str, content: &[u8], mode: u32, dir_mode: u32) -> core::result::Result<(), Errno> {
    let beside: heapless::String<{ limits::PATH }> = fits(&[&path, &".new"]).ok_or(Errno::NAMETOOLONG)?;
    let fd = open_new(&beside, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, mode, dir_mode)?;
    let moved = write_all(&fd, content)
        .and_then(|()| with_path(&beside, |from| with_path(path, |to| renameat(CWD, from, CWD, to))));
    moved.inspect_err(|_| {
        let _ = remove(&beside);
    })
}

/// Writes a short file in place, as the reference plugins write `last_reserved_ip`.
pub(crate) fn overwrite(path: &str, content: &[u8]) -> core::result::Result<(), Errno> {
    let fd = open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC, 0o600)?;
    write_all(&fd, content)
}

/// Removes a file; a missing one is success.
pub(crate) fn remove(path: &str) -> core::result::Result<(), Errno> {
    match with_path(path, |path| unlinkat(CWD, path, AtFlags::empty())) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        other => other,
    }
}

/// Claims `dir/key` for a holder by a symbolic link, which is created at once
/// or not at all.
pub(crate) fn claim(dir: &str, key: &str, holder: &str) -> core::result::Result<(), Errno> {
    let path: heapless::String<{ limits::PATH }> = fits(&[&dir, &"/", &key]).ok_or(Errno::NAMETOOLONG)?;
    let link = || with_path(holder, |target| with_path(&path, |path| symlinkat(target, CWD, path)));
    match link() {
        Err(Errno::NOENT) => {
            make_dirs(dir, 0o700)?;
            link()
        }
        other => other,
    }
}

/// Gives a claim back and removes the directory if that leaves it empty.
pub(crate) fn unclaim(dir: &str, key: &str) -> core::result::Result<(), Errno> {
    let path: heapless::String<{ limits::PATH }> = fits(&[&dir, &"/", &key]).ok_or(Errno::NAMETOOLONG)?;
    remove(&path)?;
    match with_path(dir, |path| unlinkat(CWD, path, AtFlags::REMOVEDIR)) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(()),
        other => other,
    }
}

/// The text of a symbolic link: who holds a claim, what drives a device.
pub(crate) fn read_link(dir: &str, key: &str, out: &mut heapless::String<{ limits::TAG }>) -> Result<bool> {
    let path: heapless::String<{ limits::PATH }> =
        fits(&[&dir, &"/", &key]).ok_or_else(|| Error::limit("PATH", limits::PATH))?;
    let mut bytes = [0u8; limits::TAG];
    let read = with_path(&path, |path| readlinkat_raw(CWD, path, &mut bytes[..]));
    match read {
        Ok(length) => {
            let text = bytes.get(..length).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or("");
            out.clear();
            let _ = out.push_str(text);
            Ok(true)
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(errno::file(&"failed to read a link", &path, errno)),
    }
}

/// Names in a directory.
pub(crate) fn list(dir: &str, each: &mut dyn FnMut(&str)) -> Result<bool> {
    visit(dir, &mut |_, name| {
        each(name);
        Ok(())
    })
}

/// Lease files with their content.
pub(crate) fn leases(dir: &str, each: &mut dyn FnMut(IpAddr, &[u8])) -> Result<bool> {
    visit(dir, &mut |fd, name| {
        let Some(ip) = parse_ip(name) else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut content = [0u8; LEASE];
        let read = with_path(name, |name| openat(fd, name, flags, Mode::empty()))
            .and_then(|file| read_all(file, &mut content));
        match read {
            Ok(length) => each(ip, content.get(..length).unwrap_or_default()),
            // Released meanwhile.
            Err(Errno::NOENT) => {}
            // It is a name all the same, so the address is taken.
            Err(_) => each(ip, b"?"),
        }
        Ok(())
    })
}

fn visit(dir: &str, each: &mut dyn FnMut(&OwnedFd, &str) -> core::result::Result<(), Errno>) -> Result<bool> {
    let failed = |errno| errno::file(&"failed to read a directory", dir, errno);
    let fd = match open(dir, OFlags::RDONLY | OFlags::DIRECTORY, 0) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(errno) => return Err(failed(errno)),
    };
    let mut buffer = [const { core::mem::MaybeUninit::<u8>::uninit() }; 4096];
    let mut entries = RawDir::new(&fd, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().to_str()
            && name != "."
            && name != ".."
        {
            each(&fd, name).map_err(failed)?;
        }
    }
    Ok(true)
}

/// Takes the exclusive lock on a file, which is made as the reference plugins
/// make it; it is held until the descriptor is closed.
pub(crate) fn lock(path: &str) -> Result<OwnedFd> {
    let failed = |errno| errno::file(&"failed to lock", path, errno);
    let fd = open_new(path, OFlags::RDONLY | OFlags::CREATE, 0o600, 0o755).map_err(failed)?;
    retry(|| flock(&fd, FlockOperation::LockExclusive)).map_err(failed)?;
    Ok(fd)
}

/// Looks a plugin up in a colon-separated path: the first regular file counts,
/// links are followed (the reference implementation does not test the exec bit).
pub(crate) fn find(plugin: &str, path: &str) -> Result<Option<(heapless::String<{ limits::PATH }>, u64, u64)>> {
    for dir in path.split(':').filter(|dir| !dir.is_empty()) {
        let file: heapless::String<{ limits::PATH }> =
            fits(&[&dir, &"/", &plugin]).ok_or_else(|| Error::limit("PATH", limits::PATH))?;
        let stat = with_path(&file, |path| rustix::fs::statat(CWD, path, AtFlags::empty()));
        if let Ok(stat) = stat
            && rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
        {
            return Ok(Some((file, stat.st_dev, stat.st_ino)));
        }
    }
    Ok(None)
}
