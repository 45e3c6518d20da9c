//! Closing a netfilter socket without waiting for the kernel.
//!
//! Whoever closes one waits until everything that was ever deleted from the
//! packet filter is freed (`nft_rcv_nl_event` in the kernel's nf_tables_api.c):
//! an RCU grace period, 6 to 15 ms of a DEL whose work takes less than one. So
//! the last reference is left to the kernel: the socket waits inside a pair of
//! Unix sockets that nobody can reach any more, and the kernel's collector of
//! such pairs closes it, in a thread of its own since 6.10. Before, it closes
//! it here, as close(2) would.

use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::IoSlice;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};

use crate::socket::Socket;

/// Two descriptors.
const SPACE: usize = rustix::cmsg_space!(ScmRights(2));

/// Closes `socket` without waiting where the kernel can; a failure means that
/// the closing waits.
pub(crate) fn close(socket: Socket) {
    let pair = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    let Ok((outer, inner)) = pair else { return };
    // The inner end's queue holds the inner end itself: a ring.
    let _ = hand_over(outer.as_fd(), &[socket.as_fd(), inner.as_fd()]);
    drop(socket);
    drop(inner);
    // The kernel looks for rings when a Unix socket is closed.
    drop(outer);
}

fn hand_over(to: BorrowedFd<'_>, fds: &[BorrowedFd<'_>; 2]) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(fds));
    sendmsg(to, &[IoSlice::new(&[0])], &mut control, SendFlags::empty())
}
