//! Tables, and the generation of the whole rule set.

use super::{Comment, Family, Table, Transaction, comment_of, msg, open, put_comment, query};
use crate::wire::attr::{be32_of, str_of};
use crate::wire::nlmsg::{Batch, Message, NLM_F_CREATE};

/// `NFTA_TABLE_NAME`.
const NAME: u16 = 1;
/// `NFTA_TABLE_FLAGS`.
const FLAGS: u16 = 2;
/// `NFTA_TABLE_USE`.
const USE: u16 = 3;
/// `NFTA_TABLE_USERDATA`, since Linux 5.10.
const USERDATA: u16 = 6;
/// `NFTA_GEN_ID`.
const GEN_ID: u16 = 1;

/// Creates a table. With `NLM_F_EXCL` in `flags` an existing one is `EEXIST`
/// (17), without it that is success and its comment stays.
pub fn new_table(tx: &mut Transaction<'_, '_>, table: Table<'_>, comment: Option<Comment<'_>>, flags: u16) -> u32 {
    let seq = tx.message(msg::NEWTABLE, table.family, flags | NLM_F_CREATE);
    tx.attrs().attr_str0(NAME, table.name);
    tx.attrs().attr_be32(FLAGS, 0);
    if let Some(comment) = comment {
        put_comment(tx.attrs(), USERDATA, comment);
    }
    seq
}

/// Deletes a table and everything in it. `ENOENT` (2) if it is missing.
pub fn del_table(tx: &mut Transaction<'_, '_>, table: Table<'_>) -> u32 {
    let seq = tx.message(msg::DELTABLE, table.family, 0);
    tx.attrs().attr_str0(NAME, table.name);
    seq
}

/// Asks for one table; the reply is a [`TableView`] or `ENOENT` (2).
pub fn get_table(batch: &mut Batch<'_>, seq: u32, table: Table<'_>) {
    query(batch, msg::GETTABLE, table.family, 0, seq);
    batch.attr_str0(NAME, table.name);
    batch.end();
}

/// A table as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableView<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many chains, sets and other objects it holds.
    pub objects: u32,
    /// Its comment; kernels before 5.10 keep none.
    pub comment: Option<&'a str>,
}

/// Reads a reply to [`get_table`].
#[must_use]
pub fn parse_table<'a>(message: &Message<'a>) -> Option<TableView<'a>> {
    let attrs = open(message, msg::NEWTABLE)?;
    Some(TableView {
        name: attrs.find(NAME).and_then(str_of)?,
        objects: attrs.find(USE).and_then(be32_of).unwrap_or(0),
        comment: attrs.find(USERDATA).and_then(comment_of),
    })
}

/// Asks for the generation of this namespace's rule set, which every committed
/// transaction of anyone raises.
pub fn get_generation(batch: &mut Batch<'_>, seq: u32) {
    query(batch, msg::GETGEN, Family::Unspec, 0, seq);
    batch.end();
}

/// Reads a reply to [`get_generation`].
#[must_use]
pub fn parse_generation(message: &Message<'_>) -> Option<u32> {
    open(message, msg::NEWGEN)?.find(GEN_ID).and_then(be32_of)
}
