//! The private namespaces of the demo.

use picocni_core::err;
use picocni_core::error::{Error, Phrase, Result};
use picocni_core::limits;
use picocni_core::text::fits;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::{Errno, write};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{geteuid, getgid, getuid};
use rustix::thread::UnshareFlags;

use crate::namespace::unshare;

fn failed(what: Phrase, errno: Errno) -> Error {
    err!(NETNS, what, "errno ", errno.raw_os_error())
}

/// Enters a new mount and network namespace, and as an ordinary user a new user
/// namespace in which it is root; /run and /var/lib are empty there.
///
/// # Errors
/// Code 8: the kernel does not let this user make namespaces.
pub(super) fn enter() -> Result<()> {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let plain = UnshareFlags::NEWNS | UnshareFlags::NEWNET;
    if geteuid().is_root() && unshare(plain).is_ok() {
        return furnish();
    }
    unshare(plain | UnshareFlags::NEWUSER).map_err(|errno| {
        err!(NETNS, "this kernel does not let an ordinary user make namespaces",
            "run it as root, or allow it with: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 \
             kernel.apparmor_restrict_unprivileged_userns=0 (errno ", errno.raw_os_error(), ")")
    })?;
    // Without this the kernel refuses a group map (user_namespaces(7)).
    let _ = put("/proc/self/setgroups", "deny");
    let map = |id: u32| fits::<32>(&[&"0 ", &id, &" 1"]).unwrap_or_default();
    put("/proc/self/uid_map", &map(uid))
        .map_err(|errno| failed(&"failed to become root of a user namespace", errno))?;
    put("/proc/self/gid_map", &map(gid))
        .map_err(|errno| failed(&"failed to become root of a user namespace", errno))?;
    furnish()
}

fn put(path: &str, text: &str) -> core::result::Result<(), Errno> {
    let fd = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(&fd, text.as_bytes()).map(|_| ())
}

fn furnish() -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|errno| failed(&"failed to make mounts private", errno))?;
    for dir in ["/run", "/var/lib"] {
        mount("picocni-demo", dir, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755,size=4m")
            .map_err(|errno| failed(&"failed to mount a private tmpfs", errno))?;
    }
    crate::demo::traffic::set_up_loopback().map_err(|errno| failed(&"failed to set the loopback interface up", errno))
}

/// Writes the demo's network configuration.
///
/// # Errors
/// Code 5.
pub(super) fn write_conflist(dir: &str, text: &str) -> Result<()> {
    let io = |errno: Errno| err!(IO, "failed to write the demo's network", "errno ", errno.raw_os_error());
    mkdirat(CWD, dir, Mode::from_raw_mode(0o755)).map_err(io)?;
    let path: heapless::String<{ limits::PATH }> =
        fits(&[&dir, &"/demo.conflist"]).ok_or_else(crate::command::path_limit)?;
    let fd = openat(CWD, path.as_str(), OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))
        .map_err(io)?;
    write(&fd, text.as_bytes()).map(|_| ()).map_err(io)
}
