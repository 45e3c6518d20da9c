//! Rules.

use super::{
    Comment, DATA_VERDICT, Expr, LIST_ELEM, Reg, Table, Transaction, Verdict, expr, msg, open, put_comment, query,
};
use crate::wire::attr::{Attrs, be32_of, str_of};
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

/// Asks for the rules of one chain; the replies are for [`effects`], up to `NLMSG_DONE`.
pub fn dump_rules(batch: &mut Batch<'_>, seq: u32, table: Table<'_>, chain: &str) {
    query(batch, msg::GETRULE, table.family, NLM_F_DUMP, seq);
    batch.attr_str0(TABLE, table.name);
    batch.attr_str0(CHAIN, chain);
    batch.end();
}

/// What an expression of a rule may do to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<'a> {
    /// It may be dropped: here, by a verdict map, or by a program that it is queued for.
    Drop,
    /// It goes on in this chain of the same table.
    To(&'a str),
}

/// What the expressions of a rule may do; anything but a reply to
/// [`dump_rules`] does nothing.
pub fn effects<'a>(message: &Message<'a>, each: &mut dyn FnMut(Effect<'a>)) {
    let Some(attrs) = open(message, msg::NEWRULE) else { return };
    for (_, payload) in attrs.nested(EXPRESSIONS).filter(|(kind, _)| *kind == LIST_ELEM) {
        let expression = Attrs::new(payload);
        let name = expression.find(expr::EXPR_NAME).and_then(str_of).unwrap_or("");
        if let Some(effect) = effect(name, expression.nested(expr::EXPR_DATA)) {
            each(effect);
        }
    }
}

/// The attribute numbers are those of `NFTA_<NAME>_*`. A verdict that is not
/// known (a queue's number is in it) counts as a drop.
fn effect<'a>(name: &str, data: Attrs<'a>) -> Option<Effect<'a>> {
    let is_verdict = |register| data.find(register).and_then(be32_of).is_some_and(|number| Reg::VERDICT.is(number));
    match name {
        "immediate" if is_verdict(1) => match Verdict::parse(data.nested(2).nested(DATA_VERDICT)) {
            Some(Verdict::Jump(chain) | Verdict::Goto(chain)) => Some(Effect::To(chain)),
            Some(Verdict::Accept | Verdict::Continue | Verdict::Return) => None,
            Some(Verdict::Drop) | None => Some(Effect::Drop),
        },
        "lookup" if is_verdict(3) => Some(Effect::Drop),
        "reject" | "queue" => Some(Effect::Drop),
        // iptables' own; its DROP is a verdict.
        "target" => matches!(data.find(1).and_then(str_of), Some("REJECT" | "NFQUEUE")).then_some(Effect::Drop),
        _ => None,
    }
}

/// Deletes all rules of a chain. An empty chain is success, a missing one
/// `ENOENT` (2).
pub fn flush_chain(tx: &mut Transaction<'_, '_>, table: Table<'_>, chain: &str) -> u32 {
    let seq = tx.message(msg::DELRULE, table.family, 0);
    tx.attrs().attr_str0(TABLE, table.name);
    tx.attrs().attr_str0(CHAIN, chain);
    seq
}
