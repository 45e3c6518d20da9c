//! Calls over the system message bus, each within a time limit.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with};
use rustix::process::geteuid;
use rustix::time::{ClockId, clock_gettime};

use crate::errno;
use crate::files::with_path;
use crate::host::Memory;
use crate::socket::retry;
use crate::sys::Environ;
use crate::wire::dbus::{self, Answer, MethodCall, Place};

/// Where the system bus listens unless `DBUS_SYSTEM_BUS_ADDRESS` says otherwise.
const DEFAULT: &str = "unix:path=/run/dbus/system_bus_socket";
/// Seconds that one call may take. firewalld applies its rules before it answers.
const LIMIT_S: i64 = 10;
/// Messages that are looked through for the answer: signals come in between.
const MESSAGES: usize = 64;
/// Bytes of a line of the authentication.
const LINE: usize = 128;

/// The bus itself.
pub(crate) const BUS: MethodCall<'static> = MethodCall {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "",
    arguments: &[],
};

/// A connection that has said who it is.
#[derive(Debug)]
pub(crate) struct Bus {
    fd: OwnedFd,
    serial: u32,
}

#[cold]
fn failed(what: &'static str, errno: Errno) -> Error {
    errno::kernel(what, &"system message bus", errno.raw_os_error(), "")
}

#[cold]
fn nonsense() -> Error {
    err!(KERNEL, "message bus does not speak D-Bus")
}

/// When a call has taken too long.
struct Deadline(i64);

impl Deadline {
    fn new() -> Self {
        Deadline(Self::now().saturating_add(LIMIT_S.saturating_mul(1000)))
    }

    /// Milliseconds of a clock that only runs forward.
    fn now() -> i64 {
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000)
    }

    /// Waits until there is something to read.
    fn wait(&self, fd: &OwnedFd) -> Result<()> {
        let left = self.0.saturating_sub(Self::now()).max(0);
        let (seconds, rest) = (left / 1000, left % 1000);
        let limit = Timespec { tv_sec: seconds, tv_nsec: rest.saturating_mul(1_000_000) };
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        let [one] = &mut fds;
        match retry(|| poll(core::slice::from_mut(one), Some(&limit))) {
            Ok(0) => Err(err!(TRY_AGAIN, "message bus timed out", "no answer within ", LIMIT_S, " s")),
            Ok(_) => Ok(()),
            Err(errno) => Err(failed("wait for", errno)),
        }
    }
}

impl Bus {
    /// Connects; `None` if nobody listens.
    pub(crate) fn connect(environ: Environ, memory: &mut Memory) -> Result<Option<Self>> {
        let own = environ.iter().find_map(|entry| entry.to_str().ok()?.strip_prefix("DBUS_SYSTEM_BUS_ADDRESS="));
        let address = match dbus::place(own.unwrap_or(DEFAULT)) {
            Some(Place::Path(path)) => with_path(&path, |path| SocketAddrUnix::new(path)),
            Some(Place::Abstract(name)) => SocketAddrUnix::new_abstract_name(&name),
            None => return Err(err!(ENVIRONMENT, "invalid DBUS_SYSTEM_BUS_ADDRESS", own.unwrap_or(""))),
        };
        let address = address.map_err(|errno| failed("address", errno))?;
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|errno| failed("open a socket to", errno))?;
        match retry(|| connect(&fd, &address)) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(failed("connect to", errno)),
        }
        let mut bus = Bus { fd, serial: 0 };
        let deadline = Deadline::new();
        bus.send(dbus::hello(geteuid().as_raw()).as_bytes())?;
        let mut line = heapless::Vec::<u8, LINE>::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0u8; 1];
            bus.fill(&mut byte, &deadline)?;
            line.extend_from_slice(&byte).map_err(|_| nonsense())?;
        }
        if !line.starts_with(b"OK ") {
            return Err(err!(KERNEL, "message bus refused this user"));
        }
        bus.send(b"BEGIN\r\n")?;
        match bus.call(&MethodCall { member: "Hello", ..BUS }, memory)? {
            Answer::Return { .. } => Ok(Some(bus)),
            Answer::Error { name, text } => Err(refused("Hello", name, text)),
        }
    }

    fn send(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let sent = retry(|| send(&self.fd, bytes, SendFlags::NOSIGNAL)).map_err(|e| failed("send to", e))?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads until the buffer is full.
    fn fill(&self, buffer: &mut [u8], deadline: &Deadline) -> Result<()> {
        let mut have = 0usize;
        while let Some(rest) = buffer.get_mut(have..).filter(|rest| !rest.is_empty()) {
            deadline.wait(&self.fd)?;
            match retry(|| read(&self.fd, &mut *rest)) {
                Ok(0) => return Err(err!(KERNEL, "message bus closed the connection")),
                Ok(more) => have = have.saturating_add(more),
                Err(errno) => return Err(failed("receive from", errno)),
            }
        }
        Ok(())
    }

    /// Makes a call and waits for its answer.
    pub(crate) fn call<'m>(&mut self, call: &MethodCall<'_>, memory: &'m mut Memory) -> Result<Answer<'m>> {
        self.serial = self.serial.wrapping_add(1);
        let deadline = Deadline::new();
        let length =
            call.emit(self.serial, &mut memory.send).ok_or_else(|| Error::limit("SEND", crate::socket::SEND))?;
        self.send(memory.send.get(..length).unwrap_or_default())?;
        let mut length = 0usize;
        for _ in 0..MESSAGES {
            length = self.receive(&mut memory.receive, &deadline)?;
            let message = memory.receive.get(..length).unwrap_or_default();
            if dbus::answer(message, self.serial).is_some() {
                break;
            }
        }
        let message = memory.receive.get(..length).unwrap_or_default();
        dbus::answer(message, self.serial).ok_or_else(nonsense)
    }

    /// Reads one message; its length.
    fn receive(&self, buffer: &mut [u8], deadline: &Deadline) -> Result<usize> {
        let (prefix, rest) = buffer.split_at_mut_checked(dbus::PREFIX).ok_or_else(nonsense)?;
        self.fill(prefix, deadline)?;
        let length = dbus::length(prefix).ok_or_else(nonsense)?;
        let after = length.checked_sub(dbus::PREFIX).and_then(|after| rest.get_mut(..after));
        let after = after.ok_or_else(|| Error::limit("RECEIVE", crate::socket::RECEIVE))?;
        self.fill(after, deadline)?;
        Ok(length)
    }
}

/// An error that a service answered with.
#[cold]
pub(crate) fn refused(member: &'static str, name: &str, text: &str) -> Error {
    err!(KERNEL, "service refused a call", member, ": ", text, " (", name, ")")
}
