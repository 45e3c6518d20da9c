//! nfnetlink: the family header, transactions and how they are answered.
//!
//! Source: `include/uapi/linux/netfilter/nfnetlink.h`,
//! `net/netfilter/nfnetlink.c`.

use super::attr::Attrs;
use super::nlmsg::{Batch, Message, NLM_F_ACK, NLM_F_REQUEST};

/// Bytes of `struct nfgenmsg`.
pub const HEADER_LEN: usize = 4;
/// Connection tracking (`NFNL_SUBSYS_CTNETLINK`).
pub const NFNL_SUBSYS_CTNETLINK: u8 = 1;
/// nftables (`NFNL_SUBSYS_NFTABLES`).
pub const NFNL_SUBSYS_NFTABLES: u8 = 10;

/// `NFNL_MSG_BATCH_BEGIN`.
const BATCH_BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`.
const BATCH_END: u16 = 0x11;
/// `NFNL_BATCH_GENID`: the generation that the transaction was planned on.
const BATCH_GENID: u16 = 1;

/// The address family of a table or a query (`enum nfproto` in
/// `include/uapi/linux/netfilter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// Any (`NFPROTO_UNSPEC`).
    Unspec = 0,
    /// IPv4 and IPv6 together (`NFPROTO_INET`).
    Inet = 1,
    /// `NFPROTO_IPV4`, also `AF_INET`.
    Ipv4 = 2,
    /// `NFPROTO_BRIDGE`.
    Bridge = 7,
    /// `NFPROTO_IPV6`, also `AF_INET6`.
    Ipv6 = 10,
}

impl Family {
    /// The family with this number, if it has chains that see forwarded IP packets.
    #[must_use]
    pub const fn forwarding(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Inet,
            2 => Self::Ipv4,
            10 => Self::Ipv6,
            _ => return None,
        })
    }

    /// As `nft` names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspec => "any",
            Self::Inet => "inet",
            Self::Ipv4 => "ip",
            Self::Bridge => "bridge",
            Self::Ipv6 => "ip6",
        }
    }

    /// The family of an address.
    #[must_use]
    pub const fn of(addr: core::net::IpAddr) -> Self {
        match addr {
            core::net::IpAddr::V4(_) => Self::Ipv4,
            core::net::IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

/// `nlmsg_type` of message `msg` of a subsystem.
#[must_use]
pub const fn message_type(subsystem: u8, msg: u8) -> u16 {
    u16::from_be_bytes([subsystem, msg])
}

/// Starts a message of a subsystem: both headers, no attribute yet.
pub fn begin(batch: &mut Batch<'_>, subsystem: u8, msg: u8, family: Family, flags: u16, seq: u32) {
    batch.begin(message_type(subsystem, msg), flags | NLM_F_REQUEST, seq);
    // version NFNETLINK_V0, res_id 0.
    batch.put_header(&[family as u8, 0, 0, 0]);
}

/// The number within its subsystem, the family byte and the attributes of a
/// received message; `None` if it is another subsystem's or too short.
#[must_use]
pub fn open<'a>(message: &Message<'a>, subsystem: u8) -> Option<(u8, u8, Attrs<'a>)> {
    let [sub, msg] = message.kind.to_be_bytes();
    if sub != subsystem || message.payload.len() < HEADER_LEN {
        return None;
    }
    let family = message.payload.first().copied()?;
    Some((msg, family, message.attrs(HEADER_LEN)))
}

/// An atomic list of nftables changes that is being written into a batch.
///
/// Each message asks for its own acknowledgement, under consecutive sequence
/// numbers, unless [`Transaction::acknowledge`] says otherwise; a refusal comes
/// in any case. [`Transaction::commit`] gives the [`Answers`] that knows when all
/// have come. Either every change is made or none.
#[derive(Debug)]
#[must_use = "a transaction without commit is refused by the kernel"]
pub struct Transaction<'t, 'b> {
    batch: &'t mut Batch<'b>,
    first: u32,
    last: u32,
    ack: u16,
}

impl<'t, 'b> Transaction<'t, 'b> {
    /// Opens a transaction; `seq` is the number of its opening message.
    pub fn begin(batch: &'t mut Batch<'b>, seq: u32) -> Self {
        Self::open(batch, seq, None)
    }

    /// Like [`Transaction::begin`], but the kernel refuses everything with
    /// `ERESTART` (85) if the rule set is no longer at this generation (see
    /// [`super::nftables::get_generation`]). It turns "look, then change" into
    /// one atomic step.
    pub fn begin_at(batch: &'t mut Batch<'b>, seq: u32, generation: u32) -> Self {
        Self::open(batch, seq, Some(generation))
    }

    fn open(batch: &'t mut Batch<'b>, seq: u32, generation: Option<u32>) -> Self {
        batch.begin(BATCH_BEGIN, NLM_F_REQUEST, seq);
        // Here res_id names the subsystem, in network order.
        batch.put_header(&[0, 0, 0, NFNL_SUBSYS_NFTABLES]);
        if let Some(generation) = generation {
            batch.attr_be32(BATCH_GENID, generation);
        }
        batch.end();
        Self { batch, first: seq, last: seq, ack: NLM_F_ACK }
    }

    /// Starts the next nftables message and returns its sequence number. The
    /// message stays open for attributes until the next one starts.
    pub fn message(&mut self, msg: u8, family: Family, flags: u16) -> u32 {
        self.last = self.last.wrapping_add(1);
        let flags = flags | self.ack;
        begin(self.batch, NFNL_SUBSYS_NFTABLES, msg, family, flags, self.last);
        self.last
    }

    /// Whether the messages that follow ask for an acknowledgement; the last of a
    /// transaction must. A socket has room for some 270 of them, and they are all
    /// queued before the first can be read.
    pub const fn acknowledge(&mut self, each: bool) {
        self.ack = if each { NLM_F_ACK } else { 0 };
    }

    /// Where the attributes of the open message go.
    pub fn attrs(&mut self) -> &mut Batch<'b> {
        self.batch
    }

    /// Sequence number of the latest message, or of the opening one if there
    /// is no other.
    #[must_use]
    pub const fn last_seq(&self) -> u32 {
        self.last
    }

    /// Leaves the transaction open. Sending the batch tells whether the changes
    /// could be made, and makes none.
    pub fn try_out(self) -> Answers {
        self.batch.end();
        Answers { first: self.first, last: self.last, complete: false, failure: None }
    }

    /// Closes the transaction. Sending the batch makes the changes.
    ///
    /// The closing message takes a sequence number too, so the next free one
    /// is `last_seq() + 2`.
    pub fn commit(self) -> Answers {
        self.batch.begin(BATCH_END, NLM_F_REQUEST, self.last.wrapping_add(1));
        self.batch.put_header(&[0, 0, 0, NFNL_SUBSYS_NFTABLES]);
        self.batch.end();
        Answers { first: self.first, last: self.last, complete: false, failure: None }
    }
}

/// Which message of a transaction the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Sequence number of the refused message; that of the opening message
    /// when the transaction as a whole was refused.
    pub seq: u32,
    /// The errno, positive.
    pub errno: i32,
}

/// Collects the acknowledgements of one transaction.
///
/// The kernel goes on after a refused message to report every error, then
/// drops all changes. Everything is queued on the socket before `sendmsg`
/// returns. A refusal of the whole (`EPERM`, `ERESTART`, out of memory) comes
/// under the opening message's number, sometimes with nothing after it, so
/// reading may stop there; leftovers carry old sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    first: u32,
    last: u32,
    complete: bool,
    failure: Option<Failure>,
}

impl Answers {
    /// Takes one received message; those that do not belong are ignored.
    /// Returns true when nothing more needs to be read.
    pub fn feed(&mut self, message: &Message<'_>) -> bool {
        let Some(ack) = message.ack() else {
            return self.complete;
        };
        let offset = ack.seq.wrapping_sub(self.first);
        if offset > self.last.wrapping_sub(self.first) {
            return self.complete;
        }
        if ack.errno != 0 && self.failure.is_none() {
            self.failure = Some(Failure { seq: ack.seq, errno: ack.errno });
        }
        self.complete |= ack.seq == self.last || (ack.seq == self.first && ack.errno != 0);
        self.complete
    }

    /// True when nothing more needs to be read.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The first refusal. `None` after [`Answers::is_complete`] means that all
    /// changes are made.
    #[must_use]
    pub const fn failure(&self) -> Option<Failure> {
        self.failure
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]
    use super::*;
    use crate::wire::nlmsg::{Messages, NLMSG_ERROR};

    fn answer(answers: &mut Answers, seq: u32, errno: i32) -> bool {
        let mut payload = [0u8; 20];
        payload[..4].copy_from_slice(&(-errno).to_ne_bytes());
        answers.feed(&Message { kind: NLMSG_ERROR, flags: 0, seq, pid: 0, payload: &payload })
    }

    fn three(buf: &mut [u8]) -> Answers {
        let mut batch = Batch::new(buf);
        let mut tx = Transaction::begin(&mut batch, u32::MAX);
        assert_eq!(tx.message(0, Family::Inet, 0), 0, "numbers wrap");
        assert_eq!(tx.message(3, Family::Inet, 0), 1);
        assert_eq!(tx.message(6, Family::Inet, 0), 2);
        tx.commit()
    }

    #[test]
    fn framing_is_what_nft_sends() {
        let mut buf = [0xaa; 256];
        three(&mut buf);
        let mut kinds = [(0u16, 0u16, 0u32); 5];
        // The batch of 5 messages is 5 * 20 bytes.
        for (slot, m) in kinds.iter_mut().zip(Messages::new(&buf[..100])) {
            *slot = (m.kind, m.flags, m.seq);
            let outer = m.kind == BATCH_BEGIN || m.kind == BATCH_END;
            let want: &[u8] = if outer { &[0, 0, 0, 10] } else { &[1, 0, 0, 0] };
            assert_eq!(m.payload, want);
        }
        assert_eq!(kinds, [(0x10, 1, u32::MAX), (0xa00, 5, 0), (0xa03, 5, 1), (0xa06, 5, 2), (0x11, 1, 3)]);
    }

    #[test]
    fn generation_goes_in_network_order() {
        let mut buf = [0; 64];
        let mut batch = Batch::new(&mut buf);
        let _ = Transaction::begin_at(&mut batch, 1, 0x0102_0304).commit();
        let bytes = batch.finish().unwrap();
        assert_eq!(bytes[20..28], [8, 0, 1, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn success_is_complete_with_the_last_number() {
        let mut a = three(&mut [0; 256]);
        assert!(!answer(&mut a, 0, 0));
        assert!(!answer(&mut a, 1, 0));
        assert!(!answer(&mut a, 77, 13), "a stranger's");
        assert!(answer(&mut a, 2, 0));
        assert_eq!(a.failure(), None);
    }

    #[test]
    fn first_failure_is_kept_and_the_rest_is_awaited() {
        let mut a = three(&mut [0; 256]);
        assert!(!answer(&mut a, 0, 17));
        assert!(!answer(&mut a, 1, 2));
        assert!(answer(&mut a, 2, 0));
        assert_eq!(a.failure(), Some(Failure { seq: 0, errno: 17 }));
    }

    #[test]
    fn a_refused_whole_is_complete() {
        let mut a = three(&mut [0; 256]);
        assert!(answer(&mut a, u32::MAX, 1));
        assert_eq!(a.failure(), Some(Failure { seq: u32::MAX, errno: 1 }));
    }
}
