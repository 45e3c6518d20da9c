//! Policy routing rules: `RTM_NEWRULE`, `RTM_DELRULE`, `RTM_GETRULE`.
//!
//! Source: `include/uapi/linux/fib_rules.h`.

use super::addr::family_of;
use super::attr::{ip_of, text_of, u32_of};
use super::link::put_u32;
use super::nlmsg::{Batch, Message, Mode, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use core::net::IpAddr;

/// Add a rule; also the kind of every rule in a reply (`RTM_NEWRULE`).
pub const RTM_NEWRULE: u16 = 32;
/// Remove a rule (`RTM_DELRULE`).
pub const RTM_DELRULE: u16 = 33;
/// Ask for rules (`RTM_GETRULE`).
pub const RTM_GETRULE: u16 = 34;

/// Look the route up in a table (`FR_ACT_TO_TBL`).
pub const FR_ACT_TO_TBL: u8 = 1;

const FIB_RULE_HDR_LEN: usize = 12;
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FLOW: u16 = 11;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_PAD: u16 = 18;
const FRA_PROTOCOL: u16 = 21;

/// `from SRC/PREFIX lookup TABLE`, to be added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRule {
    /// Source address.
    pub src: IpAddr,
    /// Prefix length in bits; 0 is `from all`.
    pub prefix: u8,
    /// Table; 0 matches any when removing.
    pub table: u32,
    /// Smaller is tried first. When adding, `None` lets the kernel take one
    /// below the smallest but the local table's; when removing, any matches.
    pub priority: Option<u32>,
}

impl SourceRule {
    /// Writes a request that adds it, with [`Mode::Exclusive`] only if no
    /// equal one exists (`EEXIST`). Give a priority then: without one the
    /// kernel takes a free one first, and finds no equal.
    pub fn emit_new(&self, batch: &mut Batch<'_>, mode: Mode, seq: u32) {
        self.emit(batch, RTM_NEWRULE, mode.flags(), seq);
    }

    /// Writes a request that removes the first match; `ENOENT` if there is
    /// none.
    pub fn emit_del(&self, batch: &mut Batch<'_>, seq: u32) {
        self.emit(batch, RTM_DELRULE, NLM_F_REQUEST | NLM_F_ACK, seq);
    }

    fn emit(&self, batch: &mut Batch<'_>, msg_type: u16, flags: u16, seq: u32) {
        // A number above 255 does not fit the header and goes into FRA_TABLE.
        let table = u8::try_from(self.table);
        batch.begin(msg_type, flags, seq);
        batch.put_header(&[
            family_of(self.src),
            0,
            self.prefix,
            0,
            table.unwrap_or(0),
            0,
            0,
            FR_ACT_TO_TBL,
            0,
            0,
            0,
            0,
        ]);
        if table.is_err() {
            batch.attr_u32(FRA_TABLE, self.table);
        }
        if self.prefix != 0 {
            batch.attr_ip(FRA_SRC, self.src);
        }
        put_u32(batch, FRA_PRIORITY, self.priority);
        batch.end();
    }
}

/// Ask for all rules of a family; the kernel has no filter for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpRules {
    /// `AF_INET`, `AF_INET6`, or `AF_UNSPEC` for both.
    pub family: u8,
}

impl DumpRules {
    /// Writes the request.
    pub fn emit(&self, batch: &mut Batch<'_>, seq: u32) {
        batch.begin(RTM_GETRULE, NLM_F_REQUEST | NLM_F_DUMP, seq);
        let mut header = [0; FIB_RULE_HDR_LEN];
        if let Some(family) = header.first_mut() {
            *family = self.family;
        }
        batch.put_header(&header);
        batch.end();
    }
}

/// What a rule without any other condition than the source is told with.
const SAYS_NOTHING_MORE: [u16; 7] =
    [FRA_SRC, FRA_PRIORITY, FRA_FLOW, FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_PAD, FRA_PROTOCOL];

/// A rule as the kernel describes it (`RTM_NEWRULE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// Source address and prefix length in bits; `None` is any.
    pub src: Option<(IpAddr, u8)>,
    /// Destination address and prefix length in bits; `None` is any.
    pub dst: Option<(IpAddr, u8)>,
    /// Incoming interface; empty is any.
    pub iif: heapless::String<15>,
    /// Table.
    pub table: u32,
    /// `FR_ACT_*`.
    pub action: u8,
    /// Smaller is tried first; the kernel leaves 0 out.
    pub priority: u32,
    /// `FIB_RULE_*` bits, such as 2 for "not".
    pub flags: u32,
    /// It asks for more than the source: a destination, an interface, a mark or
    /// whatever a later kernel knows.
    pub narrowed: bool,
}

impl Rule {
    /// Reads a rule; `None` if the message is of another kind or damaged.
    #[must_use]
    pub fn parse(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWRULE {
            return None;
        }
        let header = message.payload.first_chunk::<FIB_RULE_HDR_LEN>()?;
        let [family, dst_len, src_len, tos, table, _, _, action, flags @ ..] = *header;
        let mut rule = Self {
            family,
            src: None,
            dst: None,
            iif: heapless::String::new(),
            table: table.into(),
            action,
            priority: 0,
            flags: u32::from_ne_bytes(flags),
            narrowed: tos != 0,
        };
        let mut attrs = message.attrs(FIB_RULE_HDR_LEN);
        for (kind, payload) in attrs.by_ref() {
            rule.narrowed |= !SAYS_NOTHING_MORE.contains(&kind);
            match kind {
                FRA_SRC => rule.src = Some((ip_of(payload)?, src_len)),
                FRA_DST => rule.dst = Some((ip_of(payload)?, dst_len)),
                FRA_IIFNAME => rule.iif = text_of(payload)?,
                FRA_PRIORITY => rule.priority = u32_of(payload)?,
                FRA_TABLE => rule.table = u32_of(payload)?,
                _ => {}
            }
        }
        (!attrs.malformed()).then_some(rule)
    }
}
