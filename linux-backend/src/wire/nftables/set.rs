//! Sets, maps and verdict maps, and their elements.

use super::{
    Comment, DATA_VALUE, DATA_VERDICT, LIST_ELEM, Table, Transaction, Verdict, comment_of, msg, open, put_comment,
    put_value, put_verdict, query,
};
use crate::wire::attr::{Attrs, str_of};
use crate::wire::nlmsg::{Batch, Message, NLM_F_CREATE, NLM_F_DUMP};

/// `NFTA_SET_TABLE`.
const TABLE: u16 = 1;
/// `NFTA_SET_NAME`.
const NAME: u16 = 2;
/// `NFTA_SET_FLAGS`.
const FLAGS: u16 = 3;
/// `NFTA_SET_KEY_TYPE`.
const KEY_TYPE: u16 = 4;
/// `NFTA_SET_KEY_LEN`.
const KEY_LEN: u16 = 5;
/// `NFTA_SET_DATA_TYPE`.
const DATA_TYPE: u16 = 6;
/// `NFTA_SET_DATA_LEN`.
const DATA_LEN: u16 = 7;
/// `NFTA_SET_ID`.
const ID: u16 = 10;
/// `NFTA_SET_USERDATA`.
const USERDATA: u16 = 13;
/// `NFT_SET_MAP`.
const F_MAP: u32 = 8;
/// `NFT_DATA_VERDICT`.
const VERDICT_TYPE: u32 = 0xffff_ff00;

/// `NFTA_SET_ELEM_LIST_TABLE`.
const LIST_TABLE: u16 = 1;
/// `NFTA_SET_ELEM_LIST_SET`.
const LIST_SET: u16 = 2;
/// `NFTA_SET_ELEM_LIST_ELEMENTS`.
const LIST_ELEMENTS: u16 = 3;
/// `NFTA_SET_ELEM_KEY`.
const ELEM_KEY: u16 = 1;
/// `NFTA_SET_ELEM_DATA`.
const ELEM_DATA: u16 = 2;
/// `NFTA_SET_ELEM_USERDATA`.
const ELEM_USERDATA: u16 = 6;

/// What a key or its data is, for `nft list` alone: the kernel keeps the
/// number and does not read it (`enum datatypes` of nft).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DataType {
    /// Interface index: 4 bytes in host order. nft prints the name.
    IfIndex = 20,
    /// `ifname`: 16 bytes, the rest of them zeros.
    IfName = 41,
    /// `ipv4_addr`: 4 bytes.
    Ipv4 = 7,
    /// `ipv6_addr`: 16 bytes.
    Ipv6 = 8,
    /// `ether_addr`: 6 bytes, 8 in a concatenation.
    Ether = 9,
    /// `inet_proto`: one byte, 4 in a concatenation.
    Proto = 12,
    /// `inet_service`: a port in network order, 2 bytes, 4 in a concatenation.
    Service = 13,
}

/// The number of a concatenation: 6 bits for each part, the first on top.
/// In the key each part is padded to 4 bytes.
#[must_use]
pub const fn concat(parts: &[DataType]) -> u32 {
    let mut rest = parts;
    let mut number = 0u32;
    while let [first, tail @ ..] = rest {
        number = (number << 6) | *first as u32;
        rest = tail;
    }
    number
}

/// What a map gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetData {
    /// Bytes: their type, see [`concat()`], and how many.
    Value {
        /// As [`concat()`] gives it.
        kind: u32,
        /// Bytes.
        len: u32,
    },
    /// A verdict.
    Verdict,
}

/// A set or map to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set<'a> {
    /// The table it is in.
    pub table: Table<'a>,
    /// Its name, at most 255 bytes.
    pub name: &'a str,
    /// Any number that no other new set of the transaction has.
    pub id: u32,
    /// As [`concat()`] gives it.
    pub key_type: u32,
    /// Bytes of a key.
    pub key_len: u32,
    /// `None` for a set.
    pub data: Option<SetData>,
}

/// Creates a set. Without `NLM_F_EXCL` in `flags` an existing one of the same
/// kind is success and keeps its elements.
pub fn new_set(tx: &mut Transaction<'_, '_>, set: &Set<'_>, flags: u16) -> u32 {
    let seq = tx.message(msg::NEWSET, set.table.family, flags | NLM_F_CREATE);
    let batch = tx.attrs();
    batch.attr_str0(TABLE, set.table.name);
    batch.attr_str0(NAME, set.name);
    batch.attr_be32(FLAGS, if set.data.is_some() { F_MAP } else { 0 });
    batch.attr_be32(KEY_TYPE, set.key_type);
    batch.attr_be32(KEY_LEN, set.key_len);
    if let Some(data) = set.data {
        let (kind, len) = match data {
            SetData::Value { kind, len } => (kind, len),
            // The kernel knows the length of a verdict.
            SetData::Verdict => (VERDICT_TYPE, 0),
        };
        batch.attr_be32(DATA_TYPE, kind);
        batch.attr_be32(DATA_LEN, len);
    }
    batch.attr_be32(ID, set.id);
    if set.key_type == DataType::IfIndex as u32 || set.key_type == DataType::IfName as u32 {
        // NFTNL_UDATA_SET_KEYBYTEORDER of libnftnl: host order. nft takes a key for one in network order without it.
        let [a, b, c, d] = 1u32.to_ne_bytes();
        batch.attr(USERDATA, &[0, 4, a, b, c, d]);
    }
    seq
}

/// What an element of a map gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    /// Bytes.
    Value(&'a [u8]),
    /// A verdict.
    Verdict(Verdict<'a>),
}

/// An element to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The key, each part padded to 4 bytes.
    pub key: &'a [u8],
    /// `None` in a set.
    pub data: Option<Data<'a>>,
    /// Shown by `nft list`.
    pub comment: Option<Comment<'a>>,
}

/// Adds an element.
///
/// An element with this key already there is `EEXIST` (17) with `NLM_F_EXCL`
/// in `flags`. Without it that is success if its data is the same (its comment
/// stays), and `EBUSY` (16) or, on newer kernels, `EEXIST` if not. A jump to a
/// chain that is missing is `ENOENT` (2), like a missing set or table.
pub fn add_element(
    tx: &mut Transaction<'_, '_>,
    table: Table<'_>,
    set: &str,
    element: &Element<'_>,
    flags: u16,
) -> u32 {
    let seq = tx.message(msg::NEWSETELEM, table.family, flags | NLM_F_CREATE);
    put_element(tx.attrs(), table, set, element);
    seq
}

/// Deletes an element. `ENOENT` (2) if it is missing.
pub fn del_element(tx: &mut Transaction<'_, '_>, table: Table<'_>, set: &str, key: &[u8]) -> u32 {
    let seq = tx.message(msg::DELSETELEM, table.family, 0);
    put_element(tx.attrs(), table, set, &key_only(key));
    seq
}

/// Asks for one element; the reply is an [`Elements`] of one, or `ENOENT` (2).
pub fn get_element(batch: &mut Batch<'_>, seq: u32, table: Table<'_>, set: &str, key: &[u8]) {
    query(batch, msg::GETSETELEM, table.family, 0, seq);
    put_element(batch, table, set, &key_only(key));
    batch.end();
}

/// Asks for all elements; the replies are [`Elements`] up to `NLMSG_DONE`.
pub fn dump_elements(batch: &mut Batch<'_>, seq: u32, table: Table<'_>, set: &str) {
    query(batch, msg::GETSETELEM, table.family, NLM_F_DUMP, seq);
    batch.attr_str0(LIST_TABLE, table.name);
    batch.attr_str0(LIST_SET, set);
    batch.end();
}

const fn key_only(key: &[u8]) -> Element<'_> {
    Element { key, data: None, comment: None }
}

fn put_element(batch: &mut Batch<'_>, table: Table<'_>, set: &str, element: &Element<'_>) {
    batch.attr_str0(LIST_TABLE, table.name);
    batch.attr_str0(LIST_SET, set);
    let list = batch.nest_begin(LIST_ELEMENTS);
    let elem = batch.nest_begin(LIST_ELEM);
    put_value(batch, ELEM_KEY, element.key);
    match element.data {
        Some(Data::Value(value)) => put_value(batch, ELEM_DATA, value),
        Some(Data::Verdict(verdict)) => put_verdict(batch, ELEM_DATA, verdict),
        None => {}
    }
    if let Some(comment) = element.comment {
        put_comment(batch, ELEM_USERDATA, comment);
    }
    batch.nest_end(elem);
    batch.nest_end(list);
}

/// An element as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elem<'a> {
    /// The key, each part padded to 4 bytes.
    pub key: &'a [u8],
    /// `None` in a set.
    pub data: Option<Data<'a>>,
    /// Its comment.
    pub comment: Option<&'a str>,
}

/// Some elements of one set; iterates over them.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a> {
    /// The table's name.
    pub table: &'a str,
    /// The set's name.
    pub set: &'a str,
    list: Attrs<'a>,
}

/// Reads a reply to [`get_element`] or [`dump_elements`]. In a dump one
/// message may hold many elements.
#[must_use]
pub fn parse_elements<'a>(message: &Message<'a>) -> Option<Elements<'a>> {
    let attrs = open(message, msg::NEWSETELEM)?;
    Some(Elements {
        table: attrs.find(LIST_TABLE).and_then(str_of)?,
        set: attrs.find(LIST_SET).and_then(str_of)?,
        list: attrs.nested(LIST_ELEMENTS),
    })
}

impl<'a> Iterator for Elements<'a> {
    type Item = Elem<'a>;

    fn next(&mut self) -> Option<Elem<'a>> {
        // An element without a key (a catch-all) is not one of ours.
        self.list.find_map(|(kind, payload)| if kind == LIST_ELEM { parse_elem(Attrs::new(payload)) } else { None })
    }
}

fn parse_elem(attrs: Attrs<'_>) -> Option<Elem<'_>> {
    let data = attrs.nested(ELEM_DATA);
    let verdict = data.find(DATA_VERDICT).map(Attrs::new);
    Some(Elem {
        key: attrs.nested(ELEM_KEY).find(DATA_VALUE)?,
        data: match verdict {
            Some(verdict) => Verdict::parse(verdict).map(Data::Verdict),
            None => data.find(DATA_VALUE).map(Data::Value),
        },
        comment: attrs.find(ELEM_USERDATA).and_then(comment_of),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenations_are_nfts_numbers() {
        // `type ipv4_addr . inet_proto . inet_service` is 0x730d in nft 1.0.6.
        assert_eq!(concat(&[DataType::Ipv4, DataType::Proto, DataType::Service]), 0x730d);
        assert_eq!(concat(&[DataType::IfIndex, DataType::Ipv6]), 0x508);
    }
}
