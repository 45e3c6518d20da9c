//! nftables: tables, chains, rules, sets and their elements.
//!
//! Changes are written into a [`Transaction`]; queries are single messages in
//! a [`Batch`]. Nothing here is newer than Linux 5.8, except the comments of
//! tables and chains, which kernels before 5.10 ignore.
//!
//! Source: `include/uapi/linux/netfilter/nf_tables.h`,
//! `net/netfilter/nf_tables_api.c`, and what nft 1.0.6 sends.

mod chain;
mod expr;
mod rule;
mod set;
mod table;

pub use super::nfnetlink::{Answers, Failure, Family, Transaction};
pub use chain::{Base, Chain, ChainKind, ChainView, Hook, del_chain, dump_chains, get_chain, new_chain};
pub use expr::{Cmp, Ct, Expr, Meta, Nat, PayloadBase, Reg, ct_state, ct_status};
pub use rule::{Effect, Exprs, RuleView, del_rule, dump_rules, effects, flush_chain, new_rule, write_rule};
pub use set::{
    Data, DataType, Elem, Element, Elements, Set, SetData, add_element, concat, del_element, dump_elements,
    get_element, new_set, parse_elements,
};
pub use table::{TableView, del_table, get_generation, get_table, new_table, parse_generation, parse_table};

use super::attr::{Attrs, be32_of, str_of};
use super::nfnetlink::{self, NFNL_SUBSYS_NFTABLES};
use super::nlmsg::{Batch, Message};

/// `enum nf_tables_msg_types`.
mod msg {
    pub(super) const NEWTABLE: u8 = 0;
    pub(super) const GETTABLE: u8 = 1;
    pub(super) const DELTABLE: u8 = 2;
    pub(super) const NEWCHAIN: u8 = 3;
    pub(super) const GETCHAIN: u8 = 4;
    pub(super) const DELCHAIN: u8 = 5;
    pub(super) const NEWRULE: u8 = 6;
    pub(super) const GETRULE: u8 = 7;
    pub(super) const DELRULE: u8 = 8;
    pub(super) const NEWSET: u8 = 9;
    pub(super) const NEWSETELEM: u8 = 12;
    pub(super) const GETSETELEM: u8 = 13;
    pub(super) const DELSETELEM: u8 = 14;
    pub(super) const NEWGEN: u8 = 15;
    pub(super) const GETGEN: u8 = 16;
}

/// `NFTA_LIST_ELEM`.
const LIST_ELEM: u16 = 1;
/// `NFTA_DATA_VALUE`.
const DATA_VALUE: u16 = 1;
/// `NFTA_DATA_VERDICT`.
const DATA_VERDICT: u16 = 2;
/// `NFTA_VERDICT_CODE`.
const VERDICT_CODE: u16 = 1;
/// `NFTA_VERDICT_CHAIN`.
const VERDICT_CHAIN: u16 = 2;
/// The comment's type in the user data of tables, chains, rules and elements
/// (`NFTNL_UDATA_*_COMMENT` of libnftnl). All four happen to be 0.
const UDATA_COMMENT: u8 = 0;

/// Longest comment in bytes (`NFTNL_UDATA_COMMENT_MAXLEN` of libnftnl).
pub const COMMENT_MAX: usize = 128;

/// A table of one family, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table<'a> {
    /// Its family.
    pub family: Family,
    /// Its name, at most 255 bytes.
    pub name: &'a str,
}

/// A comment that `nft list` shows and can read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comment<'a>(&'a str);

/// A comment is longer than [`COMMENT_MAX`], or holds a quote or a control
/// character, which would break the text that `nft list` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadComment;

impl<'a> Comment<'a> {
    /// Checks a comment.
    ///
    /// # Errors
    /// [`BadComment`], see there.
    pub const fn new(text: &'a str) -> Result<Self, BadComment> {
        let mut rest = text.as_bytes();
        if rest.len() > COMMENT_MAX {
            return Err(BadComment);
        }
        while let [first, tail @ ..] = rest {
            if *first < b' ' || *first == b'"' || *first == 0x7f {
                return Err(BadComment);
            }
            rest = tail;
        }
        Ok(Self(text))
    }

    /// Its text.
    #[must_use]
    pub const fn text(self) -> &'a str {
        self.0
    }
}

/// What happens to a packet (`enum nft_verdicts`, `NF_*` in
/// `include/uapi/linux/netfilter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is gone.
    Drop,
    /// This base chain is done with it; others still see it.
    Accept,
    /// Go on with the next rule.
    Continue,
    /// Evaluate a chain, then go on after this rule.
    Jump(&'a str),
    /// Evaluate a chain and do not come back.
    Goto(&'a str),
    /// Back to the calling chain; in a base chain its policy applies.
    Return,
}

impl<'a> Verdict<'a> {
    fn code(self) -> (i32, Option<&'a str>) {
        match self {
            Self::Drop => (0, None),
            Self::Accept => (1, None),
            Self::Continue => (-1, None),
            Self::Jump(chain) => (-3, Some(chain)),
            Self::Goto(chain) => (-4, Some(chain)),
            Self::Return => (-5, None),
        }
    }

    fn parse(attrs: Attrs<'a>) -> Option<Self> {
        let chain = attrs.find(VERDICT_CHAIN).and_then(str_of);
        match be32_of(attrs.find(VERDICT_CODE)?)?.cast_signed() {
            0 => Some(Self::Drop),
            1 => Some(Self::Accept),
            -1 => Some(Self::Continue),
            -3 => Some(Self::Jump(chain?)),
            -4 => Some(Self::Goto(chain?)),
            -5 => Some(Self::Return),
            _ => None,
        }
    }
}

/// Starts a query outside any transaction.
fn query(batch: &mut Batch<'_>, msg: u8, family: Family, flags: u16, seq: u32) {
    nfnetlink::begin(batch, NFNL_SUBSYS_NFTABLES, msg, family, flags, seq);
}

/// The attributes of a received nftables message of one kind.
fn open<'a>(message: &Message<'a>, want: u8) -> Option<Attrs<'a>> {
    let (msg, _, attrs) = nfnetlink::open(message, NFNL_SUBSYS_NFTABLES)?;
    (msg == want).then_some(attrs)
}

/// Writes a value as `nft_data_attributes` nested in `kind`.
fn put_value(batch: &mut Batch<'_>, kind: u16, value: &[u8]) {
    let nest = batch.nest_begin(kind);
    batch.attr(DATA_VALUE, value);
    batch.nest_end(nest);
}

/// Writes a verdict as `nft_data_attributes` nested in `kind`.
fn put_verdict(batch: &mut Batch<'_>, kind: u16, verdict: Verdict<'_>) {
    let (code, chain) = verdict.code();
    let data = batch.nest_begin(kind);
    let nest = batch.nest_begin(DATA_VERDICT);
    batch.attr_be32(VERDICT_CODE, code.cast_unsigned());
    if let Some(chain) = chain {
        batch.attr_str0(VERDICT_CHAIN, chain);
    }
    batch.nest_end(nest);
    batch.nest_end(data);
}

/// Writes a comment as user data: type, length with NUL, text, NUL.
fn put_comment(batch: &mut Batch<'_>, kind: u16, comment: Comment<'_>) {
    let mut tlv = [0u8; COMMENT_MAX + 3];
    let text = comment.0.as_bytes();
    let len = text.len().saturating_add(1);
    // COMMENT_MAX + 1 fits a byte; the fallback is never taken.
    let head = [UDATA_COMMENT, u8::try_from(len).unwrap_or(0)];
    for (to, from) in tlv.iter_mut().zip(head.iter().chain(text)) {
        *to = *from;
    }
    batch.attr(kind, tlv.get(..len.saturating_add(2)).unwrap_or(&[]));
}

/// The comment in user data, if there is one that is UTF-8.
fn comment_of(userdata: &[u8]) -> Option<&str> {
    let mut rest = userdata;
    while let [kind, len, tail @ ..] = rest {
        let (value, next) = tail.split_at_checked(usize::from(*len))?;
        if *kind == UDATA_COMMENT {
            return str_of(value);
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]
    use super::*;
    extern crate std;
    use std::string::String;

    #[test]
    fn comments_are_checked() {
        assert!(Comment::new(&"x".repeat(128)).is_ok());
        assert_eq!(Comment::new(&"x".repeat(129)), Err(BadComment));
        for bad in ["a\"b", "a\0", "a\nb", "\x7f"] {
            assert_eq!(Comment::new(bad), Err(BadComment), "{bad:?}");
        }
        assert_eq!(Comment::new("é ~").map(Comment::text), Ok("é ~"));
    }

    #[test]
    fn longest_comment_round_trips() {
        let mut buf = [0u8; 256];
        let text: String = "o".repeat(COMMENT_MAX);
        let mut batch = Batch::new(&mut buf);
        batch.begin(1, 0, 0);
        put_comment(&mut batch, 6, Comment::new(&text).unwrap());
        let bytes = batch.finish().unwrap();
        let udata = Attrs::new(&bytes[16..]).find(6).unwrap();
        assert_eq!(udata.len(), 131);
        assert_eq!(comment_of(udata), Some(text.as_str()));
        for n in 0..udata.len() {
            let _ = comment_of(&udata[..n]);
        }
    }

    #[test]
    fn comment_is_found_behind_other_user_data() {
        assert_eq!(comment_of(&[2, 1, 9, 0, 3, b'a', b'b', 0, 1, 0]), Some("ab"));
        assert_eq!(comment_of(&[2, 200, 9]), None);
        assert_eq!(comment_of(&[]), None);
    }
}
