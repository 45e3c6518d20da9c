//! Netlink messages: a builder for several in one buffer ([`Batch`]), and a
//! reader ([`Messages`]).
//!
//! Source: `include/uapi/linux/netlink.h`, netlink(7).

mod batch;

pub use batch::{Batch, Nest, Overflow};

use super::attr::{Attrs, align, i32_of, u16_of, u32_of};
use super::extack::Extack;

/// Bytes of `struct nlmsghdr`.
pub const HEADER_LEN: usize = 16;

/// It is a request (`NLM_F_REQUEST`).
pub const NLM_F_REQUEST: u16 = 0x01;
/// Part of a multipart reply, ended by `NLMSG_DONE` (`NLM_F_MULTI`).
pub const NLM_F_MULTI: u16 = 0x02;
/// Reply with an acknowledgement, errno or zero (`NLM_F_ACK`).
pub const NLM_F_ACK: u16 = 0x04;
/// Send the resulting notification back to the sender too (`NLM_F_ECHO`).
pub const NLM_F_ECHO: u16 = 0x08;
/// The dump is not consistent: something changed while it ran
/// (`NLM_F_DUMP_INTR`).
pub const NLM_F_DUMP_INTR: u16 = 0x10;
/// The dump was filtered as asked (`NLM_F_DUMP_FILTERED`).
pub const NLM_F_DUMP_FILTERED: u16 = 0x20;
/// All of a table (`NLM_F_DUMP` = `NLM_F_ROOT | NLM_F_MATCH`).
pub const NLM_F_DUMP: u16 = 0x300;
/// Replace what exists (`NLM_F_REPLACE`).
pub const NLM_F_REPLACE: u16 = 0x100;
/// Fail with `EEXIST` if it exists (`NLM_F_EXCL`).
pub const NLM_F_EXCL: u16 = 0x200;
/// Create it if it does not exist (`NLM_F_CREATE`).
pub const NLM_F_CREATE: u16 = 0x400;
/// Add to the end of the list (`NLM_F_APPEND`).
pub const NLM_F_APPEND: u16 = 0x800;
/// On an acknowledgement: the request was not echoed whole (`NLM_F_CAPPED`).
pub const NLM_F_CAPPED: u16 = 0x100;
/// On an acknowledgement: extended attributes follow (`NLM_F_ACK_TLVS`).
pub const NLM_F_ACK_TLVS: u16 = 0x200;

/// To be skipped (`NLMSG_NOOP`).
pub const NLMSG_NOOP: u16 = 1;
/// An acknowledgement (`NLMSG_ERROR`).
pub const NLMSG_ERROR: u16 = 2;
/// End of a multipart reply (`NLMSG_DONE`).
pub const NLMSG_DONE: u16 = 3;
/// Data was lost (`NLMSG_OVERRUN`).
pub const NLMSG_OVERRUN: u16 = 4;

/// How a "new" request treats what exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `CREATE | EXCL`: fails with `EEXIST`.
    Exclusive,
    /// `CREATE | REPLACE`: overwrites.
    Replace,
    /// `CREATE | APPEND`: adds one more (IPv4 routes), or one more next hop
    /// (IPv6 routes).
    Append,
    /// `CREATE` alone; for IPv4 routes that is "put in front".
    Create,
}

impl Mode {
    /// The header flags of an acknowledged request in this mode.
    #[must_use]
    pub const fn flags(self) -> u16 {
        NLM_F_REQUEST
            | NLM_F_ACK
            | NLM_F_CREATE
            | match self {
                Self::Exclusive => NLM_F_EXCL,
                Self::Replace => NLM_F_REPLACE,
                Self::Append => NLM_F_APPEND,
                Self::Create => 0,
            }
    }
}

/// One received message, borrowed from the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq` of the request that this answers.
    pub seq: u32,
    /// `nlmsg_pid`: the port of the socket it is for, not a process.
    pub pid: u32,
    /// Everything after `struct nlmsghdr`.
    pub payload: &'a [u8],
}

/// The kernel's answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// `nlmsg_seq` of the request.
    pub seq: u32,
    /// 0 is success, otherwise the errno, positive.
    pub errno: i32,
    /// `nlmsg_type` of the request; 0 when it was not echoed.
    pub request_kind: u16,
    /// The kernel's words about it.
    pub extack: Extack<'a>,
}

impl<'a> Message<'a> {
    /// The attributes after a family header of `header_len` bytes.
    #[must_use]
    pub fn attrs(&self, header_len: usize) -> Attrs<'a> {
        Attrs::new(self.payload.get(align(header_len)..).unwrap_or(&[]))
    }

    /// The acknowledgement, if this is one (`NLMSG_ERROR`).
    ///
    /// One too short to hold its errno reads as `EIO` (5): an answer that
    /// cannot be read is not a success.
    #[must_use]
    pub fn ack(&self) -> Option<Ack<'a>> {
        if self.kind != NLMSG_ERROR {
            return None;
        }
        Some(Ack {
            seq: self.seq,
            errno: positive_errno(self.payload),
            request_kind: self.payload.get(8..).and_then(u16_of).unwrap_or(0),
            extack: Extack::of_error(self.flags, self.payload),
        })
    }

    /// The end of a dump, if this is it (`NLMSG_DONE`): errno 0 or the reason
    /// why the dump was given up.
    #[must_use]
    pub fn done(&self) -> Option<Ack<'a>> {
        if self.kind != NLMSG_DONE {
            return None;
        }
        let tlvs = if self.flags & NLM_F_ACK_TLVS == 0 { &[][..] } else { self.payload.get(4..).unwrap_or(&[]) };
        let errno = if self.payload.is_empty() {
            // Some families end a dump with an empty message.
            0
        } else {
            positive_errno(self.payload)
        };
        Some(Ack { seq: self.seq, errno, request_kind: 0, extack: Extack::parse(tlvs) })
    }

    /// True if data was lost (`NLMSG_OVERRUN`).
    #[must_use]
    pub const fn is_overrun(&self) -> bool {
        self.kind == NLMSG_OVERRUN
    }

    /// True if the dump that this belongs to must be repeated
    /// (`NLM_F_DUMP_INTR`). The flag has no meaning on an acknowledgement.
    #[must_use]
    pub const fn dump_interrupted(&self) -> bool {
        self.kind != NLMSG_ERROR && self.flags & NLM_F_DUMP_INTR != 0
    }

    /// True if more messages of the same reply follow, up to `NLMSG_DONE`.
    #[must_use]
    pub const fn is_multipart(&self) -> bool {
        self.flags & NLM_F_MULTI != 0
    }
}

fn positive_errno(payload: &[u8]) -> i32 {
    const EIO: i32 = 5;
    i32_of(payload).map_or(EIO, i32::saturating_abs)
}

/// Iterates over the messages of one datagram.
///
/// A length that cannot be true ends the iteration, see
/// [`Messages::truncated`].
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    rest: &'a [u8],
    truncated: bool,
}

impl<'a> Messages<'a> {
    /// Reads one received datagram.
    #[must_use]
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram, truncated: false }
    }

    /// True once the iteration met a message that is cut off or lies about
    /// its length.
    #[must_use]
    pub const fn truncated(&self) -> bool {
        self.truncated
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some((message, rest)) = split_message(self.rest) {
            self.rest = rest;
            return Some(message);
        }
        self.rest = &[];
        self.truncated = true;
        None
    }
}

fn split_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let (header, _) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let len = usize::try_from(u32_of(header)?).ok()?;
    let message = Message {
        kind: u16_of(header.get(4..)?)?,
        flags: u16_of(header.get(6..)?)?,
        seq: u32_of(header.get(8..)?)?,
        pid: u32_of(header.get(12..)?)?,
        payload: bytes.get(HEADER_LEN..len)?,
    };
    Some((message, bytes.get(align(len)..).unwrap_or(&[])))
}
