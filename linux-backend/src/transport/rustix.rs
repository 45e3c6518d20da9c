//! Netlink by system calls of rustix.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with};

use crate::socket::NetlinkFamily;
use crate::sys;

/// Level and options of linux/netlink.h.
const SOL_NETLINK: u32 = 270;
const NETLINK_CAP_ACK: u32 = 10;
const NETLINK_EXT_ACK: u32 = 11;
const NETLINK_GET_STRICT_CHK: u32 = 12;

/// A netlink socket in the namespace it was made in.
#[derive(Debug)]
pub(crate) struct Raw(OwnedFd);

impl Raw {
    /// Opens a socket in the current network namespace: closed on exec, short
    /// acknowledgements with the kernel's words, strict checks of requests.
    pub(crate) fn open(family: NetlinkFamily) -> Result<Self, Errno> {
        let protocol = match family {
            NetlinkFamily::Route => None,
            NetlinkFamily::Netfilter => Some(NETFILTER),
        };
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        // Old kernels lack some of these; the codec copes without.
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK] {
            let _ = sys::set_socket_option(fd.as_fd(), SOL_NETLINK, option, 1);
        }
        Ok(Raw(fd))
    }

    /// Joins multicast groups, a bit each.
    pub(crate) fn join(&mut self, groups: u32) -> Result<(), Errno> {
        bind(&self.0, &SocketAddrNetlink::new(0, groups))
    }

    /// Sends one datagram to the kernel; gives how many bytes went.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        send(&self.0, bytes, SendFlags::empty())
    }

    /// Receives one datagram; gives its full length, which may be over the buffer's.
    pub(crate) fn receive(&self, buffer: &mut [u8], wait: bool) -> Result<usize, Errno> {
        let flags = if wait { RecvFlags::TRUNC } else { RecvFlags::TRUNC | RecvFlags::DONTWAIT };
        recv(&self.0, buffer, flags).map(|(_, length)| length)
    }

    /// The descriptor, for poll(2).
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
