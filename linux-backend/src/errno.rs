//! Error numbers → CNI errors.

use picocni_core::err;
use picocni_core::error::{Error, Phrase};
use picocni_core::put;
use picocni_core::text::{Put, Sink};
use rustix::io::Errno;

/// An error number as text: its name where it is one that plugins meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason(pub(crate) i32);

impl Put for Reason {
    fn put(&self, out: &mut dyn Sink) {
        let text = match self.0 {
            1 => "operation not permitted (run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN)",
            2 => "no such file or directory",
            3 => "no such process or route",
            4 => "interrupted",
            5 => "input/output error",
            6 => "no such device or address",
            11 => "resource temporarily unavailable",
            12 => "out of memory",
            13 => "permission denied",
            16 => "device or resource busy",
            17 => "file exists",
            19 => "no such device",
            20 => "not a directory",
            21 => "is a directory",
            22 => "invalid argument",
            26 => "text file busy",
            28 => "no space left on device",
            30 => "read-only file system",
            36 => "file name too long",
            93 => "protocol not supported",
            95 => "operation not supported (does the kernel have this feature?)",
            97 => "address family not supported",
            99 => "cannot assign requested address",
            100 => "network is down",
            101 => "network is unreachable",
            105 => "no buffer space available",
            110 => "timed out",
            113 => "no route to host",
            _ => "errno",
        };
        put!(out, text, " (", self.0, ")");
    }
}

/// A failed file operation (code 5).
#[cold]
#[inline(never)]
pub(crate) fn file(what: Phrase, path: &str, errno: Errno) -> Error {
    let errno = errno.raw_os_error();
    err!(IO, what, path, ": ", Reason(errno)).with_errno(errno)
}

/// A failed kernel operation (code 101), with the kernel's own words if it had any.
#[cold]
#[inline(never)]
pub(crate) fn kernel(verb: &'static str, object: &dyn Put, errno: i32, words: &str) -> Error {
    let between = if words.is_empty() { "" } else { ": " };
    err!(KERNEL, "kernel refused an operation", verb, " ", object, ": ", Reason(errno), between, words)
        .with_errno(errno)
}
