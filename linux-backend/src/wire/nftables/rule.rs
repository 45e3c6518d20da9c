//! Rules.

use super::{
    Comment, DATA_VERDICT, Expr, LIST_ELEM, Reg, Table, Transaction, Verdict, comment_of, expr, msg, open, put_comment,
    query,
};
use crate::wire::attr::{Attrs, be32_of, be64_of, str_of};
use crate::wire::nlmsg::{Batch, Message, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP};

/// `NFTA_RULE_TABLE`.
const TABLE: u16 = 1;
/// `NFTA_RULE_CHAIN`.
const CHAIN: u16 = 2;
/// `NFTA_RULE_HANDLE`.
const HANDLE: u16 = 3;
/// `NFTA_RULE_EXPRESSIONS`.
const EXPRESSIONS: u16 = 4;
/// `NFTA_RULE_USERDATA`.
const USERDATA: u16 = 7;
/// `NFTA_EXPR_NAME`.
const EXPR_NAME: u16 = 1;
/// `NFTA_EXPR_DATA`.
const EXPR_DATA: u16 = 2;
/// `NFTA_IMMEDIATE_DATA`.
const IMMEDIATE_DATA: u16 = 2;
/// `NFTA_MATCH_NAME`.
const MATCH_NAME: u16 = 1;
/// `NFTA_MATCH_INFO`.
const MATCH_INFO: u16 = 3;

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

/// Deletes the rule with this handle. `ENOENT` (2) if it is missing.
pub fn del_rule(tx: &mut Transaction<'_, '_>, table: Table<'_>, chain: &str, handle: u64) -> u32 {
    let seq = tx.message(msg::DELRULE, table.family, 0);
    tx.attrs().attr_str0(TABLE, table.name);
    tx.attrs().attr_str0(CHAIN, chain);
    tx.attrs().attr_be64(HANDLE, handle);
    seq
}

/// Asks for all rules of a chain; the replies are [`RuleView`]s, or for [`effects`],
/// up to `NLMSG_DONE`; none if the chain is missing.
pub fn dump_rules(batch: &mut Batch<'_>, seq: u32, table: Table<'_>, chain: &str) {
    query(batch, msg::GETRULE, table.family, NLM_F_DUMP, seq);
    batch.attr_str0(TABLE, table.name);
    batch.attr_str0(CHAIN, chain);
    batch.end();
}

/// A rule as the kernel shows it, as far as it tells whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleView<'a> {
    /// The name of its chain.
    pub chain: &'a str,
    /// Its number within the table.
    pub handle: u64,
    /// Its comment: nft's in the user data, or that of iptables, which is a
    /// match of its own.
    pub comment: Option<&'a str>,
    /// The chain that it jumps or goes to.
    pub jumps_to: Option<&'a str>,
}

impl<'a> RuleView<'a> {
    /// Reads a reply to [`dump_rules`].
    #[must_use]
    pub fn parse(message: &Message<'a>) -> Option<Self> {
        let attrs = open(message, msg::NEWRULE)?;
        let mut rule = Self {
            chain: attrs.find(CHAIN).and_then(str_of)?,
            handle: attrs.find(HANDLE).and_then(be64_of)?,
            comment: attrs.find(USERDATA).and_then(comment_of),
            jumps_to: None,
        };
        for (kind, expr) in attrs.nested(EXPRESSIONS) {
            if kind == LIST_ELEM {
                rule.learn(Attrs::new(expr));
            }
        }
        Some(rule)
    }

    fn learn(&mut self, expr: Attrs<'a>) {
        let data = expr.nested(EXPR_DATA);
        match expr.find(EXPR_NAME).and_then(str_of) {
            Some("immediate") => {
                let verdict = data.nested(IMMEDIATE_DATA).find(DATA_VERDICT).map(Attrs::new).and_then(Verdict::parse);
                if let Some(Verdict::Jump(chain) | Verdict::Goto(chain)) = verdict {
                    self.jumps_to = Some(chain);
                }
            }
            Some("match") if data.find(MATCH_NAME).and_then(str_of) == Some("comment") => {
                self.comment = self.comment.or_else(|| data.find(MATCH_INFO).and_then(str_of));
            }
            _ => {}
        }
    }
}
