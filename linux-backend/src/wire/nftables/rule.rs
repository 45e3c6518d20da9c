//! Rules.

use super::{Comment, Expr, Table, Transaction, comment_of, msg, open, put_comment, query};
use crate::wire::attr::str_of;
use crate::wire::nlmsg::{Batch, Message, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP};

/// `NFTA_RULE_TABLE`.
const TABLE: u16 = 1;
/// `NFTA_RULE_CHAIN`.
const CHAIN: u16 = 2;
/// `NFTA_RULE_EXPRESSIONS`.
const EXPRESSIONS: u16 = 4;
/// `NFTA_RULE_USERDATA`.
const USERDATA: u16 = 7;

/// Appends a rule to a chain.
pub fn new_rule(
    tx: &mut Transaction<'_, '_>,
    table: Table<'_>,
    chain: &str,
    exprs: &[Expr<'_>],
    comment: Option<Comment<'_>>,
) -> u32 {
    write_rule(tx, table, chain, comment, &mut |rule| exprs.iter().for_each(|expr| rule.push(expr)))
}

/// The expressions of a rule that is being written.
#[derive(Debug)]
pub struct Exprs<'r, 'b> {
    batch: &'r mut Batch<'b>,
}

impl Exprs<'_, '_> {
    /// Appends one.
    pub fn push(&mut self, expr: &Expr<'_>) {
        expr.emit(self.batch);
    }
}

/// [`new_rule`] for expressions that are made one after the other.
pub fn write_rule(
    tx: &mut Transaction<'_, '_>,
    table: Table<'_>,
    chain: &str,
    comment: Option<Comment<'_>>,
    write: &mut dyn FnMut(&mut Exprs<'_, '_>),
) -> u32 {
    let seq = tx.message(msg::NEWRULE, table.family, NLM_F_CREATE | NLM_F_APPEND);
    let batch = tx.attrs();
    batch.attr_str0(TABLE, table.name);
    batch.attr_str0(CHAIN, chain);
    let nest = batch.nest_begin(EXPRESSIONS);
    write(&mut Exprs { batch });
    batch.nest_end(nest);
    if let Some(comment) = comment {
        put_comment(batch, USERDATA, comment);
    }
    seq
}

/// Deletes all rules of a chain. An empty chain is success, a missing one
/// `ENOENT` (2).
pub fn flush_chain(tx: &mut Transaction<'_, '_>, table: Table<'_>, chain: &str) -> u32 {
    let seq = tx.message(msg::DELRULE, table.family, 0);
    tx.attrs().attr_str0(TABLE, table.name);
    tx.attrs().attr_str0(CHAIN, chain);
    seq
}

/// Asks for the rules of one chain, in order; each reply is a [`RuleView`]. Of a
/// chain that is missing there are none.
pub fn dump_rules(batch: &mut Batch<'_>, seq: u32, table: Table<'_>, chain: &str) {
    query(batch, msg::GETRULE, table.family, NLM_F_DUMP, seq);
    batch.attr_str0(TABLE, table.name);
    batch.attr_str0(CHAIN, chain);
    batch.end();
}

/// A rule as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleView<'a> {
    /// Its chain's name.
    pub chain: &'a str,
    /// Its comment.
    pub comment: Option<&'a str>,
}

impl<'a> RuleView<'a> {
    /// Reads a reply to [`dump_rules`].
    #[must_use]
    pub fn parse(message: &Message<'a>) -> Option<Self> {
        let attrs = open(message, msg::NEWRULE)?;
        Some(Self { chain: attrs.find(CHAIN).and_then(str_of)?, comment: attrs.find(USERDATA).and_then(comment_of) })
    }
}
