//! Real packets between the demo's namespaces, all from one process: a socket
//! stays in the namespace it was made in.

use core::net::{IpAddr, SocketAddr};

use picocni_core::err;
use picocni_core::error::{Error, Phrase, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read, write};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, connect, ipproto,
    listen, recv, sendto, socket_with,
};

use crate::namespace::{enter, own};

/// Milliseconds a packet may take before the demo gives up on it.
const PATIENCE_MS: i64 = 1000;

const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 19\r\n\r\nhello from pod web\n";

/// The namespaces of the demo.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) host: OwnedFd,
    pub(super) web: OwnedFd,
    pub(super) client: OwnedFd,
}

fn failed(what: Phrase, errno: Errno) -> Error {
    err!(KERNEL, what, "errno ", errno.raw_os_error())
}

impl Places {
    pub(super) fn open(web: &str, client: &str) -> Result<Self> {
        let open = |path: &str| {
            openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| failed(&"failed to open a namespace", errno))
        };
        let host = own().map_err(|errno| failed(&"failed to open the demo's own namespace", errno))?;
        Ok(Places { host, web: open(web)?, client: open(client)? })
    }

    /// Makes a socket in `place`; this process is back on the host afterwards.
    fn socket(
        &self,
        place: &OwnedFd,
        v6: bool,
        kind: SocketType,
        protocol: Option<Protocol>,
    ) -> core::result::Result<OwnedFd, Errno> {
        enter(place)?;
        let family = if v6 { AddressFamily::INET6 } else { AddressFamily::INET };
        let made = socket_with(family, kind, SocketFlags::CLOEXEC, protocol);
        enter(&self.host)?;
        made
    }
}

/// Sets `lo` of the current namespace up, with the backend's own codec.
pub(super) fn set_up_loopback() -> core::result::Result<(), Errno> {
    use picocni_linux::socket::{NetlinkFamily, Socket};
    use picocni_linux::wire::link::{IFF_UP, SetLink, Target};
    use picocni_linux::wire::nlmsg::Batch;
    let mut socket = Socket::open(NetlinkFamily::Route)?;
    let (mut send, mut receive) = ([0u8; 256], [0u8; 1024]);
    let seq = socket.take_seq(1);
    let mut batch = Batch::new(&mut send);
    SetLink::new(Target::Name("lo")).flag(IFF_UP, true).emit(&mut batch, seq);
    let bytes = batch.finish().map_err(|_| Errno::MSGSIZE)?;
    let mut outcome = Ok(());
    socket.acknowledge(bytes, seq, 1, &mut receive, &mut |_, ack| {
        outcome = ack.map_err(|refusal| Errno::from_raw_os_error(refusal.errno));
    })?;
    outcome
}

fn wait(fd: &OwnedFd, what: Phrase) -> Result<()> {
    let patience = Timespec { tv_sec: PATIENCE_MS / 1000, tv_nsec: (PATIENCE_MS % 1000).saturating_mul(1_000_000) };
    match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&patience)) {
        Ok(0) => Err(err!(KERNEL, what, "no answer within ", PATIENCE_MS, " ms")),
        Ok(_) => Ok(()),
        Err(errno) => Err(failed(what, errno)),
    }
}

/// One ICMP echo and its reply.
pub(super) fn ping(places: &Places, from: &OwnedFd, to: IpAddr) -> Result<()> {
    const WHAT: Phrase = &"ping failed";
    let v6 = to.is_ipv6();
    let protocol = if v6 { ipproto::ICMPV6 } else { ipproto::ICMP };
    let socket = places.socket(from, v6, SocketType::RAW, Some(protocol)).map_err(|errno| failed(WHAT, errno))?;
    let (ask, answer) = if v6 { (128u8, 129u8) } else { (8, 0) };
    let mut packet = *b"\0\0\0\0picocni ping";
    if let Some(kind) = packet.first_mut() {
        *kind = ask;
    }
    // The kernel fills in ICMPv6 checksums, not ICMPv4 ones (RFC 1071).
    if !v6 {
        let sum = checksum(&packet).to_be_bytes();
        for (slot, byte) in packet.iter_mut().skip(2).zip(sum) {
            *slot = byte;
        }
    }
    sendto(&socket, &packet, SendFlags::empty(), &SocketAddr::new(to, 0)).map_err(|errno| failed(WHAT, errno))?;
    // A raw socket hears everything of its protocol: at most this many others.
    for _ in 0..64 {
        wait(&socket, WHAT)?;
        let mut buffer = [0u8; 256];
        let (_, length) = recv(&socket, &mut buffer[..], RecvFlags::empty()).map_err(|errno| failed(WHAT, errno))?;
        let header = if v6 { 0usize } else { 20 };
        let message = buffer.get(header..length).unwrap_or_default();
        if message.first() == Some(&answer) && message.get(4..) == packet.get(4..) {
            return Ok(());
        }
    }
    Err(err!(KERNEL, WHAT, "only other packets came"))
}

fn checksum(packet: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in packet.chunks(2) {
        let high = u32::from(pair.first().copied().unwrap_or(0));
        let low = u32::from(pair.get(1).copied().unwrap_or(0));
        sum = sum.wrapping_add((high << 8) | low);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff).wrapping_add(sum >> 16);
    }
    !(u16::try_from(sum).unwrap_or(0))
}

/// A request to the published port, answered by a server in pod `web`.
pub(super) fn exchange(places: &Places, from: &OwnedFd, to: (IpAddr, u16), port: u16) -> Result<()> {
    const WHAT: Phrase = &"exchange through the published port failed";
    let io = |errno| failed(WHAT, errno);
    let v6 = to.0.is_ipv6();
    let server = places.socket(&places.web, v6, SocketType::STREAM, None).map_err(io)?;
    rustix::net::sockopt::set_socket_reuseaddr(&server, true).map_err(io)?;
    let any = if v6 { IpAddr::from([0u16; 8]) } else { IpAddr::from([0u8; 4]) };
    bind(&server, &SocketAddr::new(any, port)).map_err(io)?;
    listen(&server, 1).map_err(io)?;
    let client = places.socket(from, v6, SocketType::STREAM, None).map_err(io)?;
    rustix::fs::fcntl_setfl(&client, OFlags::NONBLOCK).map_err(io)?;
    match connect(&client, &SocketAddr::new(to.0, to.1)) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(io(errno)),
    }
    wait(&server, WHAT)?;
    let peer = accept_with(&server, SocketFlags::CLOEXEC).map_err(io)?;
    say(&client, REQUEST).map_err(io)?;
    hear(&peer, REQUEST, WHAT)?;
    say(&peer, RESPONSE).map_err(io)?;
    hear(&client, RESPONSE, WHAT)
}

fn say(fd: &OwnedFd, text: &[u8]) -> core::result::Result<(), Errno> {
    write(fd.as_fd(), text).map(|_| ())
}

/// Reads until exactly `expected` has come.
fn hear(fd: &OwnedFd, expected: &[u8], what: Phrase) -> Result<()> {
    let mut buffer = [0u8; 128];
    let mut length = 0usize;
    while length < expected.len() {
        wait(fd, what)?;
        let space = buffer.get_mut(length..).unwrap_or_default();
        match read(fd, space) {
            Ok(0) => break,
            Ok(more) => length = length.saturating_add(more),
            Err(errno) => return Err(failed(what, errno)),
        }
    }
    if buffer.get(..length) == Some(expected) {
        Ok(())
    } else {
        Err(err!(KERNEL, what, "other bytes came than were sent"))
    }
}
