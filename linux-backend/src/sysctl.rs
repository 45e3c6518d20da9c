//! Sysctls of the namespace this process is in.

use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::text::fits;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::errno;
use crate::files::{read_all, with_path, write_all};

type Path = heapless::String<{ limits::SYSCTL_KEY + 16 }>;

fn path(key: &str) -> Result<Path> {
    fits(&[&"/proc/sys/", &key]).ok_or_else(|| Error::limit("SYSCTL_KEY", limits::SYSCTL_KEY))
}

fn open(path: &str, flags: OFlags) -> core::result::Result<rustix::fd::OwnedFd, Errno> {
    with_path(path, |path| openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()))
}

/// Reads a value without its newline; `false` if the key does not exist.
pub(crate) fn read(key: &str, out: &mut heapless::String<{ limits::SYSCTL_VALUE }>) -> Result<bool> {
    let path = path(key)?;
    let failed = |errno| errno::file(&"failed to read a sysctl", &path, errno);
    let fd = match open(&path, OFlags::RDONLY) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(errno) => return Err(failed(errno)),
    };
    let mut bytes = [0u8; limits::SYSCTL_VALUE + 2];
    let length = read_all(&fd, &mut bytes).map_err(failed)?;
    let value = bytes.get(..length).unwrap_or_default();
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    out.clear();
    let text = core::str::from_utf8(value).map_err(|_| failed(Errno::ILSEQ))?;
    out.push_str(text).map_err(|_| Error::limit("SYSCTL_VALUE", limits::SYSCTL_VALUE))?;
    Ok(true)
}

/// Writes a value.
pub(crate) fn write(key: &str, value: &str) -> Result<()> {
    let path = path(key)?;
    open(&path, OFlags::WRONLY)
        .and_then(|fd| write_all(&fd, value.as_bytes()))
        .map_err(|errno| errno::file(&"failed to write a sysctl", &path, errno))
}
