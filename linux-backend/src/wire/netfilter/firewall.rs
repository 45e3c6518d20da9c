//! The native firewall: chains and sets of the tables `inet picocni` and
//! `bridge picocni` that are made when the first attachment needs them.
//!
//! An attachment is elements of sets, never a rule, so that a packet costs the
//! same however many pods there are.
//!
//! `inet picocni`, chain `forward` (filter, 0):
//!
//! ```text
//! jump admin                                                 the operator's rules, never touched
//! iifname . oifname @closed drop                             no traffic within these bridges
//! iifname @apart oifname @apart iifname . oifname != @own drop   none from one of these to another
//! ip daddr @pods4 ct state established,related accept
//! ip saddr @pods4 accept
//! ```
//!
//! and the last two for IPv6. Bridges are matched by name, as the peer matches
//! them: a bridge that is made again is the same one.
//!
//! `bridge picocni`, chain `forward` (filter, -200): IPv4 and IPv6 frames that
//! come from a port of `isolated` or go to one are dropped. The frames between
//! two ports pass this hook always; the one above they pass only where
//! `bridge-nf-call-iptables` is on. Ports and not bridges, because `meta
//! ibrname` needs a kernel module more (NFT_BRIDGE_META), which small kernels
//! leave out.

use core::net::IpAddr;

use picocni_core::name::IfName;
use picocni_core::observe::FirewallEntry;

use super::{guard, layout};
use crate::wire::nftables::{
    Base, Chain, ChainKind, Cmp, Comment, Ct, DataType, Element, Expr, Hook, Meta, PayloadBase, Reg, Set, Table,
    Transaction, Verdict, add_element, concat, ct_state, del_element, get_element, new_chain, new_rule, new_set,
};
use crate::wire::nlmsg::{Batch, NLM_F_EXCL};

/// The base chain of both tables.
pub const CHAIN: &str = "forward";
/// The operator's chain.
pub const ADMIN: &str = "admin";

const PODS4: &str = "pods4";
const PODS6: &str = "pods6";
const APART: &str = "apart";
const OWN: &str = "own";
const CLOSED: &str = "closed";
const ISOLATED: &str = "isolated";
/// The plain chain of the bridge table that drops IP.
const DROP_IP: &str = "drop-ip";

use DataType::{IfIndex, Ipv4, Ipv6};

/// Sets of the IP table: name, key type, bytes of a key.
const SETS: [(&str, u32, u32); 5] = [
    (PODS4, concat(&[Ipv4]), 4),
    (PODS6, concat(&[Ipv6]), 16),
    (APART, concat(&[DataType::IfName]), 16),
    (OWN, concat(&[DataType::IfName, DataType::IfName]), 32),
    (CLOSED, concat(&[DataType::IfName, DataType::IfName]), 32),
];

const IN: Expr<'static> = Expr::Meta(Meta::IifName, Reg::R1);
const OUT: Expr<'static> = Expr::Meta(Meta::OifName, Reg::R1);
const OUT_NEXT: Expr<'static> = Expr::Meta(Meta::OifName, Reg::R2);
const DROP: Expr<'static> = Expr::Verdict(Verdict::Drop);
const ACCEPT: Expr<'static> = Expr::Verdict(Verdict::Accept);
const NFPROTO: Expr<'static> = Expr::Meta(Meta::NfProto, Reg::R1);
const V4: Expr<'static> = Expr::Cmp(Reg::R1, Cmp::Eq, &[2]);
const V6: Expr<'static> = Expr::Cmp(Reg::R1, Cmp::Eq, &[10]);
const STATE: Expr<'static> = Expr::Ct(Ct::State, Reg::R1);
const ANSWERS: [u8; 4] = (ct_state::ESTABLISHED | ct_state::RELATED).to_ne_bytes();
const AND_ANSWERS: Expr<'static> = Expr::And(Reg::R1, &ANSWERS);
const NOT_ZERO: Expr<'static> = Expr::Cmp(Reg::R1, Cmp::Neq, &[0; 4]);

const fn address(offset: u8, len: u8) -> Expr<'static> {
    Expr::Payload(PayloadBase::Network, offset, len, Reg::R1)
}

/// The rules of the IP table; offsets in `struct iphdr` and `struct ipv6hdr`.
const RULES: [&[Expr<'static>]; 7] = [
    &[Expr::Verdict(Verdict::Jump(ADMIN))],
    &[IN, OUT_NEXT, Expr::Lookup(CLOSED, Reg::R1), DROP],
    &[
        IN,
        Expr::Lookup(APART, Reg::R1),
        OUT,
        Expr::Lookup(APART, Reg::R1),
        IN,
        OUT_NEXT,
        Expr::NoLookup(OWN, Reg::R1),
        DROP,
    ],
    &[NFPROTO, V4, address(16, 4), Expr::Lookup(PODS4, Reg::R1), STATE, AND_ANSWERS, NOT_ZERO, ACCEPT],
    &[NFPROTO, V4, address(12, 4), Expr::Lookup(PODS4, Reg::R1), ACCEPT],
    &[NFPROTO, V6, address(24, 16), Expr::Lookup(PODS6, Reg::R1), STATE, AND_ANSWERS, NOT_ZERO, ACCEPT],
    &[NFPROTO, V6, address(8, 16), Expr::Lookup(PODS6, Reg::R1), ACCEPT],
];

const ETHERTYPE: Expr<'static> = Expr::Meta(Meta::Protocol, Reg::R1);
const TO_DROP_IP: Expr<'static> = Expr::Verdict(Verdict::Jump(DROP_IP));

const FRAME_RULES: [(&str, &[Expr<'static>]); 4] = [
    (DROP_IP, &[ETHERTYPE, Expr::Cmp(Reg::R1, Cmp::Eq, &[0x08, 0x00]), DROP]),
    (DROP_IP, &[ETHERTYPE, Expr::Cmp(Reg::R1, Cmp::Eq, &[0x86, 0xdd]), DROP]),
    (CHAIN, &[Expr::Meta(Meta::Iif, Reg::R1), Expr::Lookup(ISOLATED, Reg::R1), TO_DROP_IP]),
    (CHAIN, &[Expr::Meta(Meta::Oif, Reg::R1), Expr::Lookup(ISOLATED, Reg::R1), TO_DROP_IP]),
];

/// The table that an entry is in.
#[must_use]
pub const fn table_of(entry: &FirewallEntry) -> Table<'static> {
    if matches!(entry, FirewallEntry::Port(_)) { guard::TABLE } else { layout::TABLE }
}

/// Writes a table with what it has for other plugins.
pub fn ensure_table(tx: &mut Transaction<'_, '_>, table: Table<'_>) {
    if table == guard::TABLE {
        guard::ensure_table(tx);
    } else {
        layout::ensure_table(tx);
    }
}

/// Writes the chains, sets and rules of one of the two tables, which must be
/// there. If they are there already, everything in the transaction is refused
/// with `EEXIST`.
pub fn ensure_chains(tx: &mut Transaction<'_, '_>, table: Table<'_>) {
    let frames = table == guard::TABLE;
    // As ebtables' filter and as iptables'.
    let priority = if frames { -200 } else { 0 };
    let base = Some(Base { kind: ChainKind::Filter, hook: Hook::Forward, priority, drop_by_default: false });
    new_chain(tx, &Chain { table, name: CHAIN, base, comment: None }, NLM_F_EXCL);
    let plain = if frames { DROP_IP } else { ADMIN };
    new_chain(tx, &Chain { table, name: plain, base: None, comment: None }, 0);
    // Sets of one transaction have numbers; those of the tables have 1 to 13.
    if frames {
        new_set(tx, &Set { table, name: ISOLATED, id: 20, key_type: concat(&[IfIndex]), key_len: 4, data: None }, 0);
        for (chain, rule) in FRAME_RULES {
            new_rule(tx, table, chain, rule, None);
        }
        return;
    }
    for (id, (name, key_type, key_len)) in (20u32..).zip(SETS) {
        new_set(tx, &Set { table, name, id, key_type, key_len, data: None }, 0);
    }
    for rule in RULES {
        new_rule(tx, table, CHAIN, rule, None);
    }
}

/// The keys of an entry: at most two elements, each of a set.
fn keys(entry: &FirewallEntry, each: &mut dyn FnMut(&'static str, &[u8])) {
    match entry {
        FirewallEntry::Pod(IpAddr::V4(ip)) => each(PODS4, &ip.octets()),
        FirewallEntry::Pod(IpAddr::V6(ip)) => each(PODS6, &ip.octets()),
        FirewallEntry::Apart(bridge) => {
            let pair = twice(bridge);
            each(APART, pair.first_chunk::<16>().unwrap_or(&[0; 16]));
            each(OWN, &pair);
        }
        FirewallEntry::Closed(bridge) => each(CLOSED, &twice(bridge)),
        FirewallEntry::Port(port) => each(ISOLATED, &port.0.to_ne_bytes()),
    }
}

/// A name and the same name, 16 bytes each.
fn twice(name: &IfName) -> [u8; 32] {
    let mut key = [0u8; 32];
    for start in [0usize, 16] {
        // At most 15 bytes.
        for (slot, byte) in key.iter_mut().skip(start).zip(name.as_str().bytes()) {
            *slot = byte;
        }
    }
    key
}

/// Adds an entry; one that is there is success, and its owner stays.
pub fn add(tx: &mut Transaction<'_, '_>, entry: &FirewallEntry, owner: Option<Comment<'_>>) {
    let table = table_of(entry);
    keys(entry, &mut |set, key| {
        add_element(tx, table, set, &Element { key, data: None, comment: owner }, 0);
    });
}

/// Deletes an entry, whether all of it is there or not; the table must be.
pub fn del(tx: &mut Transaction<'_, '_>, entry: &FirewallEntry) {
    let table = table_of(entry);
    keys(entry, &mut |set, key| {
        add_element(tx, table, set, &Element { key, data: None, comment: None }, 0);
        del_element(tx, table, set, key);
    });
}

/// Asks for the last element of an entry.
pub fn get(batch: &mut Batch<'_>, seq: u32, entry: &FirewallEntry) {
    let table = table_of(entry);
    let mut last: Option<(&'static str, [u8; 32], usize)> = None;
    keys(entry, &mut |set, key| {
        let mut bytes = [0u8; 32];
        for (slot, byte) in bytes.iter_mut().zip(key) {
            *slot = *byte;
        }
        last = Some((set, bytes, key.len()));
    });
    if let Some((set, bytes, length)) = last {
        get_element(batch, seq, table, set, bytes.get(..length).unwrap_or_default());
    }
}
