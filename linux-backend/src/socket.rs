//! A netlink socket: batches in one `sendmsg`, acknowledgements by sequence
//! number, dumps that are restarted when the kernel says they were interrupted.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::transport::Raw;
use crate::wire::nlmsg::{Message, Messages};

/// Bytes of one batch: a network policy of [`POLICY_LINES`](picocni_core::limits::POLICY_LINES) lines in both tables,
/// which is more than 64 operations of the longest kind. The kernel's own limit
/// of a socket is 208 KiB as a rule.
pub const SEND: usize = 160 * 1024;
/// Bytes of one reply: the kernel's dumps come in pieces of at most 32 KiB.
pub const RECEIVE: usize = 32 * 1024;
/// Bytes of the kernel's own explanation that are kept.
pub const WORDS: usize = 120;

/// Times a dump is tried when links come and go meanwhile.
const DUMP_TRIES: u32 = 5;

/// Which netlink family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetlinkFamily {
    /// Links, addresses, routes, neighbours, rules.
    Route,
    /// nftables and conntrack.
    Netfilter,
}

/// A refusal by the kernel.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Error number.
    pub errno: i32,
    /// The kernel's own explanation (extended ACK), or "".
    pub words: heapless::String<WORDS>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Refusal { errno: errno.raw_os_error(), words: heapless::String::new() }
    }
}

impl Refusal {
    fn of(ack: &crate::wire::nlmsg::Ack<'_>) -> Self {
        let mut words = heapless::String::new();
        for c in ack.extack.message.unwrap_or("").chars() {
            if words.push(c).is_err() {
                break;
            }
        }
        Refusal { errno: ack.errno, words }
    }
}

/// A socket in the namespace it was made in.
#[derive(Debug)]
pub struct Socket {
    raw: Raw,
    seq: u32,
}

impl Socket {
    /// Opens a socket in the current network namespace.
    ///
    /// # Errors
    /// As socket(2).
    pub fn open(family: NetlinkFamily) -> Result<Self, Errno> {
        Ok(Socket { raw: Raw::open(family)?, seq: 1 })
    }

    /// Joins multicast groups (a bit each), to be told of changes.
    ///
    /// # Errors
    /// As bind(2).
    pub fn join(&mut self, groups: u32) -> Result<(), Errno> {
        self.raw.join(groups)
    }

    /// The descriptor, for poll(2).
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }

    /// Takes `count` sequence numbers; gives the first.
    pub fn take_seq(&mut self, count: u32) -> u32 {
        let first = self.seq;
        self.seq = self.seq.wrapping_add(count);
        first
    }

    /// Sends a whole batch.
    ///
    /// # Errors
    /// As sendmsg(2).
    pub fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        let sent = retry(|| self.raw.send(bytes))?;
        if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
    }

    /// Receives one datagram.
    ///
    /// # Errors
    /// As recvmsg(2); `EMSGSIZE` if it did not fit.
    pub fn receive<'b>(&self, buffer: &'b mut [u8], wait: bool) -> Result<&'b [u8], Errno> {
        let length = retry(|| self.raw.receive(buffer, wait))?;
        buffer.get(..length).ok_or(Errno::MSGSIZE)
    }

    /// Sends a batch of requests with sequence numbers `first..first + count`
    /// that each ask for an acknowledgement, and reports each outcome once.
    ///
    /// # Errors
    /// The socket failed: outcomes that were not reported are unknown.
    pub fn acknowledge(
        &self,
        batch: &[u8],
        first: u32,
        count: u32,
        buffer: &mut [u8],
        each: &mut dyn FnMut(u32, Result<(), Refusal>),
    ) -> Result<(), Errno> {
        self.send(batch)?;
        let mut left = count;
        while left > 0 {
            let datagram = self.receive(buffer, true)?;
            for message in Messages::new(datagram) {
                let Some(ack) = message.ack() else { continue };
                let at = ack.seq.wrapping_sub(first);
                if at >= count {
                    continue;
                }
                left = left.saturating_sub(1);
                each(at, if ack.errno == 0 { Ok(()) } else { Err(Refusal::of(&ack)) });
            }
        }
        Ok(())
    }

    /// Sends one request that is answered by one message and hands it over;
    /// `false` if the kernel answered with one of the `absent` error numbers.
    ///
    /// # Errors
    /// Any other refusal.
    pub fn get(
        &self,
        request: &[u8],
        seq: u32,
        absent: &[i32],
        buffer: &mut [u8],
        each: &mut dyn FnMut(&Message<'_>),
    ) -> Result<bool, Refusal> {
        self.send(request)?;
        loop {
            let datagram = self.receive(buffer, true)?;
            let Some(message) = Messages::new(datagram).find(|message| message.seq == seq) else { continue };
            return match message.ack() {
                Some(ack) if absent.contains(&ack.errno) => Ok(false),
                Some(ack) if ack.errno != 0 => Err(Refusal::of(&ack)),
                Some(_) => Ok(true),
                None => {
                    each(&message);
                    Ok(true)
                }
            };
        }
    }

    /// Sends a dump request and hands over every message. A dump that was
    /// interrupted starts again: `None` is handed over before each start, so
    /// that what was collected can be dropped.
    ///
    /// # Errors
    /// A refusal; `EAGAIN` when it was interrupted every time.
    pub fn dump(
        &mut self,
        emit: &mut dyn FnMut(u32, &mut [u8]) -> usize,
        send_buffer: &mut [u8],
        buffer: &mut [u8],
        each: &mut dyn FnMut(Option<&Message<'_>>),
    ) -> Result<(), Refusal> {
        for _ in 0..DUMP_TRIES {
            each(None);
            let seq = self.take_seq(1);
            let length = emit(seq, send_buffer);
            self.send(send_buffer.get(..length).unwrap_or_default())?;
            if self.collect(seq, buffer, each)? {
                return Ok(());
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Reads one dump to its end; `false` if it was interrupted.
    fn collect(
        &self,
        seq: u32,
        buffer: &mut [u8],
        each: &mut dyn FnMut(Option<&Message<'_>>),
    ) -> Result<bool, Refusal> {
        let mut whole = true;
        loop {
            let datagram = self.receive(buffer, true)?;
            for message in Messages::new(datagram).filter(|m| m.seq == seq) {
                whole &= !message.dump_interrupted();
                // Both ends of a dump may carry an error.
                if let Some(end) = message.done().or_else(|| message.ack()) {
                    return if end.errno == 0 { Ok(whole) } else { Err(Refusal::of(&end)) };
                }
                each(Some(&message));
            }
        }
    }
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}
