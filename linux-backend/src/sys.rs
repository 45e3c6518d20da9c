//! System calls that rustix has no public function for, and the raw
//! environment. One of the few files with unsafe code.
#![allow(unsafe_code, reason = "makes system calls")]

use core::ffi::CStr;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

#[cfg(target_arch = "x86_64")]
mod nr {
    pub(super) const SETSOCKOPT: usize = 54;
    pub(super) const CLONE: usize = 56;
    pub(super) const EXECVE: usize = 59;
    pub(super) const EXIT_GROUP: usize = 231;
    pub(super) const RT_SIGACTION: usize = 13;
    pub(super) const PRCTL: usize = 157;
    pub(super) const IOCTL: usize = 16;
}

#[cfg(target_arch = "aarch64")]
mod nr {
    pub(super) const SETSOCKOPT: usize = 208;
    pub(super) const CLONE: usize = 220;
    pub(super) const EXECVE: usize = 221;
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const RT_SIGACTION: usize = 134;
    pub(super) const PRCTL: usize = 167;
    pub(super) const IOCTL: usize = 29;
}

/// # Safety
/// As the system call: pointers must be valid for what the kernel does with them.
#[cfg(target_arch = "x86_64")]
unsafe fn syscall(number: usize, args: [usize; 5]) -> isize {
    let [a, b, c, d, e] = args;
    let result: isize;
    // SAFETY: the x86_64 Linux calling convention; the caller answers for the arguments.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// # Safety
/// As the system call: pointers must be valid for what the kernel does with them.
#[cfg(target_arch = "aarch64")]
unsafe fn syscall(number: usize, args: [usize; 5]) -> isize {
    let [a, b, c, d, e] = args;
    let result: isize;
    // SAFETY: the AArch64 Linux calling convention; the caller answers for the arguments.
    unsafe {
        core::arch::asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c,
            in("x3") d, in("x4") e, options(nostack));
    }
    result
}

fn check(result: isize) -> Result<usize, Errno> {
    // The kernel returns -4095..-1 for errors.
    usize::try_from(result).map_err(|_| Errno::from_raw_os_error(i32::try_from(result.wrapping_neg()).unwrap_or(5)))
}

/// Ends the process.
pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: exit_group takes no pointer.
        unsafe { syscall(nr::EXIT_GROUP, [code as usize, 0, 0, 0, 0]) };
    }
}

/// Standard input.
#[must_use]
#[allow(unused_unsafe, reason = "a safe function where a program with std links rustix")]
pub fn stdin() -> BorrowedFd<'static> {
    // SAFETY: this program never closes its standard descriptors.
    unsafe { rustix::stdio::stdin() }
}

/// Standard output.
#[must_use]
#[allow(unused_unsafe, reason = "a safe function where a program with std links rustix")]
pub fn stdout() -> BorrowedFd<'static> {
    // SAFETY: this program never closes its standard descriptors.
    unsafe { rustix::stdio::stdout() }
}

/// Standard error.
#[must_use]
#[allow(unused_unsafe, reason = "a safe function where a program with std links rustix")]
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: this program never closes its standard descriptors.
    unsafe { rustix::stdio::stderr() }
}

/// Sets a socket option whose value is a C int.
///
/// # Errors
/// As setsockopt(2).
pub fn set_socket_option(fd: BorrowedFd<'_>, level: u32, name: u32, value: u32) -> Result<(), Errno> {
    let value = value.to_ne_bytes();
    let fd = usize::try_from(fd.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let args = [fd, level as usize, name as usize, value.as_ptr() as usize, value.len()];
    // SAFETY: the kernel reads `value.len()` bytes at `value`, which lives until after the call.
    check(unsafe { syscall(nr::SETSOCKOPT, args) }).map(|_| ())
}

/// An ioctl whose argument is a number, and not a pointer to one.
///
/// # Errors
/// As ioctl(2).
pub fn ioctl_number(fd: BorrowedFd<'_>, request: u32, value: u32) -> Result<(), Errno> {
    let fd = usize::try_from(fd.as_raw_fd()).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel takes the argument of these requests (TUNSET*) as a number.
    check(unsafe { syscall(nr::IOCTL, [fd, request as usize, value as usize, 0, 0]) }).map(|_| ())
}

/// An ioctl that reads and writes a `struct ifreq`.
///
/// # Errors
/// As ioctl(2).
pub fn ioctl_ifreq(fd: BorrowedFd<'_>, request: u32, ifreq: &mut [u8; 40]) -> Result<(), Errno> {
    let fd = usize::try_from(fd.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let args = [fd, request as usize, ifreq.as_mut_ptr() as usize, 0, 0];
    // SAFETY: the kernel reads and writes one ifreq, 40 bytes, which lives until after the call.
    check(unsafe { syscall(nr::IOCTL, args) }).map(|_| ())
}

const SIGPIPE: usize = 13;

/// `struct sigaction` of the kernel (not libc's): handler, flags, restorer, mask.
fn set_sigpipe(handler: usize) {
    let action: [usize; 4] = [handler, 0, 0, 0];
    let args = [SIGPIPE, action.as_ptr() as usize, 0, 8, 0];
    // SAFETY: the kernel reads one sigaction at `action`; SIG_DFL and SIG_IGN run no code of ours.
    unsafe { syscall(nr::RT_SIGACTION, args) };
}

/// Writing to a closed pipe is an error, not a signal.
pub fn ignore_sigpipe() {
    set_sigpipe(1);
}

/// Writing to a closed pipe is a signal again, as a child expects.
pub fn default_sigpipe() {
    set_sigpipe(0);
}

/// The child dies with its parent (`PR_SET_PDEATHSIG`, SIGKILL).
pub fn die_with_parent() {
    // SAFETY: prctl(PR_SET_PDEATHSIG) takes no pointer.
    unsafe { syscall(nr::PRCTL, [1, 9, 0, 0, 0]) };
}

/// A new process with a copy of this one's memory: `None` in the child, its
/// process ID in the parent. This program has one thread and few pages.
///
/// # Errors
/// As fork(2).
pub fn fork() -> Result<Option<rustix::process::Pid>, Errno> {
    const SIGCHLD: usize = 17;
    // SAFETY: no pointer; a copied address space and no thread but this one.
    let pid = check(unsafe { syscall(nr::CLONE, [SIGCHLD, 0, 0, 0, 0]) })?;
    let pid = i32::try_from(pid).map_err(|_| Errno::INVAL)?;
    Ok(rustix::process::Pid::from_raw(pid))
}

/// Strings for [`execve`]: pointers with a null at the end.
#[derive(Debug)]
pub struct Pointers<'a, const N: usize> {
    list: heapless::Vec<*const u8, N>,
    strings: core::marker::PhantomData<&'a CStr>,
}

impl<'a, const N: usize> Default for Pointers<'a, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, const N: usize> Pointers<'a, N> {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Pointers { list: heapless::Vec::new(), strings: core::marker::PhantomData }
    }

    /// Appends a string; room for the null at the end is kept.
    ///
    /// # Errors
    /// `E2BIG`: the list is full.
    pub fn push(&mut self, string: &'a CStr) -> Result<(), Errno> {
        if self.list.len().saturating_add(1) >= N {
            return Err(Errno::TOOBIG);
        }
        self.list.push(string.as_ptr().cast()).map_err(|_| Errno::TOOBIG)
    }
}

/// Replaces this process; returns only on failure.
pub fn execve<const A: usize, const E: usize>(
    path: &CStr,
    argv: &mut Pointers<'_, A>,
    envp: &mut Pointers<'_, E>,
) -> Errno {
    // `push` keeps a place for each null.
    if argv.list.push(core::ptr::null()).is_err() || envp.list.push(core::ptr::null()).is_err() {
        return Errno::TOOBIG;
    }
    let args = [path.as_ptr() as usize, argv.list.as_ptr() as usize, envp.list.as_ptr() as usize, 0, 0];
    // SAFETY: three NUL- or null-terminated lists that outlive the call.
    match check(unsafe { syscall(nr::EXECVE, args) }) {
        Ok(_) => Errno::INVAL,
        Err(errno) => errno,
    }
}

/// The environment block of this process, as the kernel laid it out.
#[derive(Debug, Clone, Copy)]
pub struct Environ(*const *const core::ffi::c_char);

impl Environ {
    /// An environment without variables.
    pub const EMPTY: Environ = Environ(core::ptr::null());

    /// # Safety
    /// `block` is null, or a null-terminated array of NUL-terminated strings
    /// that lives and does not change as long as the process.
    #[must_use]
    pub const unsafe fn from_raw(block: *const *const core::ffi::c_char) -> Self {
        Environ(block)
    }

    /// The `KEY=VALUE` strings of a list.
    #[must_use]
    pub fn of<const N: usize>(list: &'static mut Pointers<'static, N>) -> Self {
        // `push` keeps a place for it.
        match list.list.push(core::ptr::null()) {
            Ok(()) => Environ(list.list.as_ptr().cast()),
            Err(_) => Environ::EMPTY,
        }
    }

    /// The `KEY=VALUE` strings.
    pub fn iter(self) -> impl Iterator<Item = &'static CStr> {
        let mut at = self.0;
        core::iter::from_fn(move || {
            if at.is_null() {
                return None;
            }
            // SAFETY: within the array: the walk stops at its null.
            let string = unsafe { *at };
            if string.is_null() {
                return None;
            }
            // SAFETY: the null was not reached, so one more element exists.
            at = unsafe { at.add(1) };
            // SAFETY: NUL-terminated and lives as long as the process (`from_raw`).
            Some(unsafe { CStr::from_ptr(string) })
        })
    }

    /// The value of a variable; "" if it is missing or no UTF-8.
    #[must_use]
    pub fn get(self, key: &str) -> &'static str {
        self.iter()
            .filter_map(|entry| entry.to_str().ok())
            .find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or("")
    }
}
