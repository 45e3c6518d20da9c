//! TAP devices, by ioctls on /dev/net/tun (linux/if_tun.h): rtnetlink makes none.

use core::ffi::CStr;

use picocni_core::limits;
use picocni_core::name::IfName;
use picocni_core::put;
use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, write};
use rustix::process::{WaitOptions, waitpid};

use crate::sys::{self, Pointers};

/// `_IOW('T', n, int)`.
const TUNSETIFF: u32 = 0x4004_54ca;
const TUNSETPERSIST: u32 = 0x4004_54cb;
const TUNSETOWNER: u32 = 0x4004_54cc;
const TUNSETGROUP: u32 = 0x4004_54ce;

const IFF_TAP: u16 = 0x0002;
const IFF_MULTI_QUEUE: u16 = 0x0100;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
/// Fail where a link has the name, instead of opening it.
const IFF_TUN_EXCL: u16 = 0x8000;

/// A device to make.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    /// Its name.
    pub name: IfName,
    /// Programs may open several queues of it.
    pub multi_queue: bool,
    /// User that may open it.
    pub owner: Option<u32>,
    /// Group that may open it.
    pub group: Option<u32>,
}

impl Device {
    /// Makes it in the namespace of the calling thread, under an SELinux context
    /// if one is given: the device has the context of the program that makes it,
    /// and a program gets one when it is executed.
    ///
    /// # Errors
    /// The kernel's; `EINVAL` or `ENOENT` where it has no SELinux.
    pub fn make(&self, selinux: &str) -> Result<(), Errno> {
        if selinux.is_empty() { self.make_here() } else { self.make_as(selinux) }
    }

    /// Makes it under the context of this program.
    ///
    /// # Errors
    /// The kernel's.
    pub fn make_here(&self) -> Result<(), Errno> {
        let tun = openat(CWD, c"/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let queues = if self.multi_queue { IFF_MULTI_QUEUE | IFF_NO_PI } else { 0 };
        let flags = IFF_TAP | IFF_VNET_HDR | IFF_TUN_EXCL | queues;
        // struct ifreq: a name of 16 bytes, then the flags.
        let mut ifreq = [0u8; 40];
        for (slot, byte) in ifreq.iter_mut().zip(self.name.as_str().bytes()) {
            *slot = byte;
        }
        for (slot, byte) in ifreq.iter_mut().skip(16).zip(flags.to_ne_bytes()) {
            *slot = byte;
        }
        sys::ioctl_ifreq(tun.as_fd(), TUNSETIFF, &mut ifreq)?;
        for (request, id) in [(TUNSETOWNER, self.owner), (TUNSETGROUP, self.group)] {
            if let Some(id) = id {
                sys::ioctl_number(tun.as_fd(), request, id)?;
            }
        }
        // Last: without it the device goes when the file is closed.
        sys::ioctl_number(tun.as_fd(), TUNSETPERSIST, 1)
    }

    /// Executes this program as `tap-device`, under the context.
    fn make_as(&self, context: &str) -> Result<(), Errno> {
        // It is this thread's next exec that gets it, and that of a process forked from it.
        set_exec_context(context.as_bytes())?;
        let Some(child) = sys::fork()? else {
            let errno = self.become_device_maker();
            sys::exit(errno.raw_os_error())
        };
        set_exec_context(b"")?;
        let status = waitpid(Some(child), WaitOptions::empty())?.and_then(|(_, status)| status.exit_status());
        match status {
            Some(0) => Ok(()),
            Some(errno) => Err(Errno::from_raw_os_error(errno)),
            None => Err(Errno::CHILD),
        }
    }

    fn become_device_maker(&self) -> Errno {
        let number = |id: Option<u32>| {
            let mut text = heapless::String::<12>::new();
            if let Some(id) = id {
                put!(&mut text, id);
            }
            let _ = text.push('\0');
            text
        };
        let mut name = heapless::String::<{ limits::IFNAME + 1 }>::new();
        put!(&mut name, self.name, "\0");
        let (owner, group) = (number(self.owner), number(self.group));
        let queues = if self.multi_queue { c"multi" } else { c"single" };
        let mut arguments = Pointers::<8>::new();
        for word in [c"picocni", c"tap-device", queues] {
            let _ = arguments.push(word);
        }
        for word in [&*name, &*owner, &*group] {
            let _ = arguments.push(CStr::from_bytes_with_nul(word.as_bytes()).unwrap_or(c""));
        }
        sys::execve(c"/proc/self/exe", &mut arguments, &mut Pointers::<2>::new())
    }
}

fn set_exec_context(context: &[u8]) -> Result<(), Errno> {
    let file = openat(CWD, c"/proc/thread-self/attr/exec", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(&file, context).map(|_| ())
}
