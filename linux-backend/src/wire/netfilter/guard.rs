//! The nftables table `bridge picocni`: a guarded bridge port sends under its
//! own address only (`macspoofchk`).
//!
//! Two rules for all ports: a pair of port and address that is known passes,
//! whatever else comes from a known port is dropped. As in [`super::layout`], an
//! attachment is an element and not a rule, with its owner as comment.

use crate::wire::nftables::{
    Base, Chain, ChainKind, Comment, DataType, Element, Expr, Family, Hook, Meta, PayloadBase, Reg, Set, Table,
    Transaction, Verdict, add_element, concat, del_element, get_element, new_chain, new_rule, new_set, new_table,
};
use crate::wire::nlmsg::{Batch, NLM_F_EXCL};

/// The table.
pub const TABLE: Table<'static> = Table { family: Family::Bridge, name: "picocni" };

const PORTS: &str = "guarded";
const SOURCES: &str = "sources";
const CHAIN: &str = "prerouting";

/// Index of the port in host order, then the address, padded to 4 bytes.
fn source_key(port: u32, mac: [u8; 6]) -> [u8; 12] {
    let ([a, b, c, d], [m, n, o, p, q, r]) = (port.to_ne_bytes(), mac);
    [a, b, c, d, m, n, o, p, q, r, 0, 0]
}

/// Writes the table with its sets and rules. If it exists, everything in the
/// transaction is refused with `EEXIST`.
pub fn ensure_table(tx: &mut Transaction<'_, '_>) {
    new_table(tx, TABLE, None, NLM_F_EXCL);
    // Before everything else on the bridge, as the peer's.
    let base = Some(Base { kind: ChainKind::Filter, hook: Hook::Prerouting, priority: -300, drop_by_default: false });
    new_chain(tx, &Chain { table: TABLE, name: CHAIN, base, comment: None }, 0);
    let (ports, sources) = (concat(&[DataType::IfIndex]), concat(&[DataType::IfIndex, DataType::Ether]));
    for (id, name, key_type, key_len) in [(1, SOURCES, sources, 12), (2, PORTS, ports, 4)] {
        new_set(tx, &Set { table: TABLE, name, id, key_type, key_len, data: None }, 0);
    }
    // The source address is 6 bytes into the Ethernet header.
    let port = Expr::Meta(Meta::Iif, Reg::R1);
    let known = [
        port,
        Expr::Payload(PayloadBase::Link, 6, 6, Reg::W1),
        Expr::Lookup(SOURCES, Reg::R1),
        Expr::Verdict(Verdict::Accept),
    ];
    new_rule(tx, TABLE, CHAIN, &known, None);
    new_rule(tx, TABLE, CHAIN, &[port, Expr::Lookup(PORTS, Reg::R1), Expr::Verdict(Verdict::Drop)], None);
}

/// Guards a port. What is there already is success.
pub fn add(tx: &mut Transaction<'_, '_>, port: u32, mac: [u8; 6], owner: Comment<'_>) {
    let (key, source) = (port.to_ne_bytes(), source_key(port, mac));
    for (set, key) in [(SOURCES, &source[..]), (PORTS, &key[..])] {
        add_element(tx, TABLE, set, &Element { key, data: None, comment: Some(owner) }, 0);
    }
}

/// Stops guarding a port; `ENOENT` if it is not guarded.
pub fn del(tx: &mut Transaction<'_, '_>, port: u32, mac: [u8; 6]) {
    del_element(tx, TABLE, PORTS, &port.to_ne_bytes());
    del_element(tx, TABLE, SOURCES, &source_key(port, mac));
}

/// Asks for the pair of a port and its address.
pub fn get(batch: &mut Batch<'_>, seq: u32, port: u32, mac: [u8; 6]) {
    get_element(batch, seq, TABLE, SOURCES, &source_key(port, mac));
}
