//! Netlink by the crate netlink-sys, which needs std and libc.

extern crate std;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::socket::NetlinkFamily;

/// A netlink socket in the namespace it was made in.
#[derive(Debug)]
pub(crate) struct Raw(Socket);

/// The error number of an I/O error; `EIO` where it has none.
fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

impl Raw {
    /// Opens a socket in the current network namespace: closed on exec, short
    /// acknowledgements with the kernel's words, strict checks of requests.
    pub(crate) fn open(family: NetlinkFamily) -> Result<Self, Errno> {
        let protocol = match family {
            NetlinkFamily::Route => NETLINK_ROUTE,
            NetlinkFamily::Netfilter => NETLINK_NETFILTER,
        };
        let socket = Socket::new(protocol).map_err(errno)?;
        // Old kernels lack some of these; the codec copes without.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Raw(socket))
    }

    /// Joins multicast groups, a bit each.
    pub(crate) fn join(&mut self, groups: u32) -> Result<(), Errno> {
        self.0.bind(&SocketAddr::new(0, groups)).map_err(errno)
    }

    /// Sends one datagram to the kernel; gives how many bytes went.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.0.send(bytes, 0).map_err(errno)
    }

    /// Receives one datagram; gives its full length, which may be over the buffer's.
    pub(crate) fn receive(&self, mut buffer: &mut [u8], wait: bool) -> Result<usize, Errno> {
        let flags = if wait { RecvFlags::TRUNC } else { RecvFlags::TRUNC | RecvFlags::DONTWAIT };
        self.0.recv(&mut buffer, flags.bits().cast_signed()).map_err(errno)
    }

    /// The descriptor, for poll(2).
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
