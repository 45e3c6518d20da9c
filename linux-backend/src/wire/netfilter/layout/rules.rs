//! The fixed part of the table, as data.

use super::{LAYOUT_COMMENT, TABLE};
use crate::wire::nftables::{
    Base, Chain, ChainKind, Cmp, Ct, DataType, Expr, Family, Hook, Meta, Nat, PayloadBase, Reg, Set, SetData,
    Transaction, Verdict, concat, ct_status, new_chain, new_rule, new_set, new_table,
};
use crate::wire::nlmsg::NLM_F_EXCL;

pub(super) const HOSTIP4: &str = "hostip4";
pub(super) const HOSTIP6: &str = "hostip6";
pub(super) const ANY4: &str = "any4";
pub(super) const ANY6: &str = "any6";
pub(super) const HAIRPIN4: &str = "hairpin4";
pub(super) const HAIRPIN6: &str = "hairpin6";
pub(super) const SELF4: &str = "self4";
pub(super) const SELF6: &str = "self6";
pub(super) const LOOPBACK4: &str = "loopback4";
pub(super) const MASQALL4: &str = "masqall4";
pub(super) const MASQALL6: &str = "masqall6";
pub(super) const MASQ4: &str = "masq4";
pub(super) const MASQ6: &str = "masq6";

/// Every set and map of the table, in the order they are made.
pub const SET_NAMES: [&str; 13] =
    [HOSTIP4, ANY4, HOSTIP6, ANY6, HAIRPIN4, HAIRPIN6, SELF4, SELF6, LOOPBACK4, MASQALL4, MASQALL6, MASQ4, MASQ6];

use DataType::{IfIndex, Ipv4, Ipv6, Proto, Service};

/// Key type and length, and data, of each of [`SET_NAMES`].
const SETS: [(u32, u32, Option<SetData>); 13] = [
    (concat(&[Ipv4, Proto, Service]), 12, Some(TARGET4)),
    (concat(&[Proto, Service]), 8, Some(TARGET4)),
    (concat(&[Ipv6, Proto, Service]), 24, Some(TARGET6)),
    (concat(&[Proto, Service]), 8, Some(TARGET6)),
    (concat(&[IfIndex, Ipv4]), 8, None),
    (concat(&[IfIndex, Ipv6]), 20, None),
    (concat(&[Ipv4, Ipv4]), 8, None),
    (concat(&[Ipv6, Ipv6]), 32, None),
    (concat(&[Ipv4]), 4, None),
    (concat(&[Ipv4]), 4, None),
    (concat(&[Ipv6]), 16, None),
    (concat(&[Ipv4]), 4, Some(SetData::Verdict)),
    (concat(&[Ipv6]), 16, Some(SetData::Verdict)),
];

const TARGET4: SetData = SetData::Value { kind: concat(&[Ipv4, Service]), len: 8 };
const TARGET6: SetData = SetData::Value { kind: concat(&[Ipv6, Service]), len: 20 };

const HOSTPORTS: &str = "hostports";
const PREROUTING: &str = "prerouting";
const OUTPUT: &str = "output";
const MARTIANS: &str = "martians";
const POSTROUTING: &str = "postrouting";

const fn base(kind: ChainKind, hook: Hook, priority: i32) -> Option<Base> {
    Some(Base { kind, hook, priority, drop_by_default: false })
}

const CHAINS: [(&str, Option<Base>); 5] = [
    (HOSTPORTS, None),
    (PREROUTING, base(ChainKind::Nat, Hook::Prerouting, -90)),
    (OUTPUT, base(ChainKind::Nat, Hook::Output, -90)),
    (MARTIANS, base(ChainKind::Filter, Hook::Prerouting, -300)),
    (POSTROUTING, base(ChainKind::Nat, Hook::Postrouting, 110)),
];

pub(super) const NFPROTO: Expr<'static> = Expr::Meta(Meta::NfProto, Reg::R1);
pub(super) const IS_V4: Expr<'static> = Expr::Cmp(Reg::R1, Cmp::Eq, &[Family::Ipv4 as u8]);
pub(super) const IS_V6: Expr<'static> = Expr::Cmp(Reg::R1, Cmp::Eq, &[Family::Ipv6 as u8]);

const fn net(offset: u8, len: u8, reg: Reg) -> Expr<'static> {
    Expr::Payload(PayloadBase::Network, offset, len, reg)
}

/// Offsets in `struct iphdr` and `struct ipv6hdr`.
pub(super) const SADDR4: u8 = 12;
pub(super) const DADDR4: u8 = 16;
pub(super) const SADDR6: u8 = 8;
pub(super) const DADDR6: u8 = 24;

/// `th dport`: TCP, UDP, SCTP and DCCP have it at the same place.
const fn dport(reg: Reg) -> Expr<'static> {
    Expr::Payload(PayloadBase::Transport, 2, 2, reg)
}

const fn l4proto(reg: Reg) -> Expr<'static> {
    Expr::Meta(Meta::L4Proto, reg)
}

/// `include/uapi/linux/rtnetlink.h`; 4 bytes in host order.
const RTN_LOCAL: [u8; 4] = 2u32.to_ne_bytes();
/// lo has index 1 in every network namespace (`LOOPBACK_IFINDEX`).
const LO: [u8; 4] = 1u32.to_ne_bytes();
const DST_NAT: [u8; 4] = ct_status::DST_NAT.to_ne_bytes();

const CT_STATUS: Expr<'static> = Expr::Ct(Ct::Status, Reg::R1);
const AND_DST_NAT: Expr<'static> = Expr::And(Reg::R1, &DST_NAT);
const NOT_ZERO: Expr<'static> = Expr::Cmp(Reg::R1, Cmp::Neq, &[0; 4]);
const FIB: Expr<'static> = Expr::FibDaddrType(Reg::R1);
const IS_LOCAL: Expr<'static> = Expr::Cmp(Reg::R1, Cmp::Eq, &RTN_LOCAL);
const TO_HOSTPORTS: Expr<'static> = Expr::Verdict(Verdict::Jump(HOSTPORTS));
const IIF: Expr<'static> = Expr::Meta(Meta::Iif, Reg::R1);
const NOT_LO: Expr<'static> = Expr::Cmp(Reg::R1, Cmp::Neq, &LO);
/// The first byte of 127.0.0.0/8.
const IS_127: Expr<'static> = Expr::Cmp(Reg::R1, Cmp::Eq, &[127]);
const DROP: Expr<'static> = Expr::Verdict(Verdict::Drop);

/// One rule a line group, in nft's words.
const RULES: [(&str, &[Expr<'static>]); 17] = [
    // dnat ip to ip daddr . meta l4proto . th dport map @hostip4
    (
        HOSTPORTS,
        &[
            NFPROTO,
            IS_V4,
            net(DADDR4, 4, Reg::R1),
            l4proto(Reg::W1),
            dport(Reg::W2),
            Expr::LookupMap(HOSTIP4, Reg::R1, Reg::R1),
            Expr::Nat(Nat::Dst, Family::Ipv4, Reg::R1, Reg::W1),
        ],
    ),
    // meta nfproto ipv4 dnat ip to meta l4proto . th dport map @any4
    (
        HOSTPORTS,
        &[
            NFPROTO,
            IS_V4,
            l4proto(Reg::R1),
            dport(Reg::W1),
            Expr::LookupMap(ANY4, Reg::R1, Reg::R1),
            Expr::Nat(Nat::Dst, Family::Ipv4, Reg::R1, Reg::W1),
        ],
    ),
    // dnat ip6 to ip6 daddr . meta l4proto . th dport map @hostip6
    (
        HOSTPORTS,
        &[
            NFPROTO,
            IS_V6,
            net(DADDR6, 16, Reg::R1),
            l4proto(Reg::R2),
            dport(Reg::W5),
            Expr::LookupMap(HOSTIP6, Reg::R1, Reg::R1),
            Expr::Nat(Nat::Dst, Family::Ipv6, Reg::R1, Reg::R2),
        ],
    ),
    // meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @any6
    (
        HOSTPORTS,
        &[
            NFPROTO,
            IS_V6,
            l4proto(Reg::R1),
            dport(Reg::W1),
            Expr::LookupMap(ANY6, Reg::R1, Reg::R1),
            Expr::Nat(Nat::Dst, Family::Ipv6, Reg::R1, Reg::R2),
        ],
    ),
    // fib daddr type local jump hostports
    (PREROUTING, &[FIB, IS_LOCAL, TO_HOSTPORTS]),
    (OUTPUT, &[FIB, IS_LOCAL, TO_HOSTPORTS]),
    // iif != "lo" ip daddr 127.0.0.0/8 drop
    (MARTIANS, &[IIF, NOT_LO, NFPROTO, IS_V4, net(DADDR4, 1, Reg::R1), IS_127, DROP]),
    // iif != "lo" ip saddr 127.0.0.0/8 drop
    (MARTIANS, &[IIF, NOT_LO, NFPROTO, IS_V4, net(SADDR4, 1, Reg::R1), IS_127, DROP]),
    // ct status dnat iif . ip daddr @hairpin4 masquerade
    // Two pods of one bridge: the answer would go straight back over the
    // bridge, and the client would get it from the pod, not from the host.
    (
        POSTROUTING,
        &[
            CT_STATUS,
            AND_DST_NAT,
            NOT_ZERO,
            NFPROTO,
            IS_V4,
            IIF,
            net(DADDR4, 4, Reg::W1),
            Expr::Lookup(HAIRPIN4, Reg::R1),
            Expr::Masquerade,
        ],
    ),
    // ct status dnat iif . ip6 daddr @hairpin6 masquerade
    (
        POSTROUTING,
        &[
            CT_STATUS,
            AND_DST_NAT,
            NOT_ZERO,
            NFPROTO,
            IS_V6,
            IIF,
            net(DADDR6, 16, Reg::W1),
            Expr::Lookup(HAIRPIN6, Reg::R1),
            Expr::Masquerade,
        ],
    ),
    // ct status dnat ip saddr . ip daddr @self4 masquerade
    // A pod that calls itself through the host. With
    // bridge-nf-call-iptables the frame never leaves the bridge, postrouting
    // sees no incoming interface, and `hairpin4` cannot match.
    (
        POSTROUTING,
        &[
            CT_STATUS,
            AND_DST_NAT,
            NOT_ZERO,
            NFPROTO,
            IS_V4,
            net(SADDR4, 4, Reg::R1),
            net(DADDR4, 4, Reg::W1),
            Expr::Lookup(SELF4, Reg::R1),
            Expr::Masquerade,
        ],
    ),
    // ct status dnat ip6 saddr . ip6 daddr @self6 masquerade
    (
        POSTROUTING,
        &[
            CT_STATUS,
            AND_DST_NAT,
            NOT_ZERO,
            NFPROTO,
            IS_V6,
            net(SADDR6, 16, Reg::R1),
            net(DADDR6, 16, Reg::R2),
            Expr::Lookup(SELF6, Reg::R1),
            Expr::Masquerade,
        ],
    ),
    // ip saddr 127.0.0.0/8 ip daddr @loopback4 masquerade
    (
        POSTROUTING,
        &[
            NFPROTO,
            IS_V4,
            net(SADDR4, 1, Reg::R1),
            IS_127,
            net(DADDR4, 4, Reg::R1),
            Expr::Lookup(LOOPBACK4, Reg::R1),
            Expr::Masquerade,
        ],
    ),
    // ct status dnat ip daddr @masqall4 masquerade
    (
        POSTROUTING,
        &[
            CT_STATUS,
            AND_DST_NAT,
            NOT_ZERO,
            NFPROTO,
            IS_V4,
            net(DADDR4, 4, Reg::R1),
            Expr::Lookup(MASQALL4, Reg::R1),
            Expr::Masquerade,
        ],
    ),
    // ct status dnat ip6 daddr @masqall6 masquerade
    (
        POSTROUTING,
        &[
            CT_STATUS,
            AND_DST_NAT,
            NOT_ZERO,
            NFPROTO,
            IS_V6,
            net(DADDR6, 16, Reg::R1),
            Expr::Lookup(MASQALL6, Reg::R1),
            Expr::Masquerade,
        ],
    ),
    // ip saddr vmap @masq4
    (POSTROUTING, &[NFPROTO, IS_V4, net(SADDR4, 4, Reg::R1), Expr::LookupMap(MASQ4, Reg::R1, Reg::VERDICT)]),
    // ip6 saddr vmap @masq6
    (POSTROUTING, &[NFPROTO, IS_V6, net(SADDR6, 16, Reg::R1), Expr::LookupMap(MASQ6, Reg::R1, Reg::VERDICT)]),
];

/// Writes the whole table: chains, sets and rules, without elements.
///
/// Needs 8 KiB of the batch. If the table exists, everything in the
/// transaction is refused and the first failure is `EEXIST` (17) at the
/// returned sequence number: somebody else has just made it, and elements can
/// be added.
pub fn ensure_table(tx: &mut Transaction<'_, '_>) -> u32 {
    let seq = new_table(tx, TABLE, LAYOUT_COMMENT, NLM_F_EXCL);
    for (name, base) in CHAINS {
        let chain = Chain { table: TABLE, name, base, comment: None };
        new_chain(tx, &chain, 0);
    }
    for (id, (name, (key_type, key_len, data))) in (1u32..).zip(SET_NAMES.into_iter().zip(SETS)) {
        let set = Set { table: TABLE, name, id, key_type, key_len, data };
        new_set(tx, &set, 0);
    }
    for (chain, exprs) in &RULES {
        new_rule(tx, TABLE, chain, exprs, None);
    }
    seq
}
