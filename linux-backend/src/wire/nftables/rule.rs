//! Rules.

use super::{Comment, Expr, Table, Transaction, msg, put_comment};
use crate::wire::nlmsg::{NLM_F_APPEND, NLM_F_CREATE};

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
    let seq = tx.message(msg::NEWRULE, table.family, NLM_F_CREATE | NLM_F_APPEND);
    let batch = tx.attrs();
    batch.attr_str0(TABLE, table.name);
    batch.attr_str0(CHAIN, chain);
    let nest = batch.nest_begin(EXPRESSIONS);
    for expr in exprs {
        expr.emit(batch);
    }
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
