//! Chains.

use super::{Comment, Family, Table, Transaction, comment_of, msg, open, put_comment, query};
use crate::wire::attr::{be32_of, str_of};
use crate::wire::nlmsg::{Batch, Message, NLM_F_CREATE, NLM_F_DUMP};

/// `NFTA_CHAIN_TABLE`.
const TABLE: u16 = 1;
/// `NFTA_CHAIN_NAME`.
const NAME: u16 = 3;
/// `NFTA_CHAIN_HOOK`.
const HOOK: u16 = 4;
/// `NFTA_CHAIN_POLICY`.
const POLICY: u16 = 5;
/// `NFTA_CHAIN_USE`.
const USE: u16 = 6;
/// `NFTA_CHAIN_TYPE`.
const TYPE: u16 = 7;
/// `NFTA_CHAIN_USERDATA`, since Linux 5.10.
const USERDATA: u16 = 12;
/// `NFTA_HOOK_HOOKNUM`.
const HOOK_NUM: u16 = 1;
/// `NFTA_HOOK_PRIORITY`.
const HOOK_PRIORITY: u16 = 2;

/// What a base chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Sees every packet.
    Filter,
    /// Sees the first packet of each connection.
    Nat,
}

/// Where in the packet's path a base chain sits (`enum nf_inet_hooks`; the
/// bridge family uses the same numbers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Hook {
    /// Every arriving packet, before routing.
    Prerouting = 0,
    /// To a local socket.
    Input = 1,
    /// From one interface to another.
    Forward = 2,
    /// From a local socket.
    Output = 3,
    /// Every leaving packet, after routing.
    Postrouting = 4,
}

/// How a base chain is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Its kind.
    pub kind: ChainKind,
    /// Its hook.
    pub hook: Hook,
    /// Lower runs earlier.
    pub priority: i32,
    /// True: packets that no rule decides are dropped. False: accepted.
    pub drop_by_default: bool,
}

/// A chain to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    /// The table it is in.
    pub table: Table<'a>,
    /// Its name, at most 127 bytes.
    pub name: &'a str,
    /// `None` for a chain that is only jumped to.
    pub base: Option<Base>,
    /// Shown by `nft list`.
    pub comment: Option<Comment<'a>>,
}

/// Creates a chain. Without `NLM_F_EXCL` in `flags` an existing one of the
/// same kind is success and keeps its rules.
pub fn new_chain(tx: &mut Transaction<'_, '_>, chain: &Chain<'_>, flags: u16) -> u32 {
    let seq = tx.message(msg::NEWCHAIN, chain.table.family, flags | NLM_F_CREATE);
    let batch = tx.attrs();
    batch.attr_str0(TABLE, chain.table.name);
    batch.attr_str0(NAME, chain.name);
    if let Some(base) = chain.base {
        let kind = match base.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        };
        batch.attr_str0(TYPE, kind);
        batch.attr_be32(POLICY, u32::from(!base.drop_by_default));
        let nest = batch.nest_begin(HOOK);
        batch.attr_be32(HOOK_NUM, u32::from(base.hook as u8));
        batch.attr_be32(HOOK_PRIORITY, base.priority.cast_unsigned());
        batch.nest_end(nest);
    }
    if let Some(comment) = chain.comment {
        put_comment(batch, USERDATA, comment);
    }
    seq
}

/// Deletes a chain and its rules. `ENOENT` (2) if it is missing, `EBUSY` (16)
/// if a rule or a map element still jumps to it.
pub fn del_chain(tx: &mut Transaction<'_, '_>, table: Table<'_>, name: &str) -> u32 {
    let seq = tx.message(msg::DELCHAIN, table.family, 0);
    tx.attrs().attr_str0(TABLE, table.name);
    tx.attrs().attr_str0(NAME, name);
    seq
}

/// Asks for one chain; the reply is a [`ChainView`] or `ENOENT` (2).
pub fn get_chain(batch: &mut Batch<'_>, seq: u32, table: Table<'_>, name: &str) {
    query(batch, msg::GETCHAIN, table.family, 0, seq);
    batch.attr_str0(TABLE, table.name);
    batch.attr_str0(NAME, name);
    batch.end();
}

/// Asks for every chain of every family; the replies are [`ChainView`]s up to
/// `NLMSG_DONE`.
pub fn dump_chains(batch: &mut Batch<'_>, seq: u32) {
    query(batch, msg::GETCHAIN, Family::Unspec, NLM_F_DUMP, seq);
    batch.end();
}

/// A chain as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainView<'a> {
    /// Its table's family, as the kernel numbers it.
    pub family: u8,
    /// Its table's name.
    pub table: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How many rules it holds and how many jump to it, together.
    pub used: u32,
    /// Number of its hook and its priority; `None` for a plain chain.
    pub hook: Option<(u32, i32)>,
    /// A base chain that drops what no rule decides.
    pub drops_by_default: bool,
    /// Its comment; kernels before 5.10 keep none.
    pub comment: Option<&'a str>,
}

impl<'a> ChainView<'a> {
    /// Reads a reply to [`get_chain`] or [`dump_chains`].
    #[must_use]
    pub fn parse(message: &Message<'a>) -> Option<Self> {
        let attrs = open(message, msg::NEWCHAIN)?;
        let family = message.payload.first().copied()?;
        let hook = attrs.nested(HOOK);
        let num = hook.find(HOOK_NUM).and_then(be32_of);
        let priority = hook.find(HOOK_PRIORITY).and_then(be32_of);
        Some(Self {
            family,
            drops_by_default: attrs.find(POLICY).and_then(be32_of) == Some(0),
            table: attrs.find(TABLE).and_then(str_of)?,
            name: attrs.find(NAME).and_then(str_of)?,
            used: attrs.find(USE).and_then(be32_of).unwrap_or(0),
            hook: num.zip(priority.map(u32::cast_signed)),
            comment: attrs.find(USERDATA).and_then(comment_of),
        })
    }
}
