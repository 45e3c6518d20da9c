//! Expressions: what a rule is made of.
//!
//! A rule is a list of them as plain data. Each loads a register, tests one,
//! or acts on the packet; a failed test ends the rule.

use super::{LIST_ELEM, Verdict, put_value, put_verdict};
use crate::wire::nfnetlink::Family;
use crate::wire::nlmsg::Batch;

/// `NFTA_EXPR_NAME`.
pub(super) const EXPR_NAME: u16 = 1;
/// `NFTA_EXPR_DATA`.
pub(super) const EXPR_DATA: u16 = 2;

/// A register, in the kernel's numbering (`enum nft_registers`): the 64 bytes
/// of register space are four of 16 bytes and, at the same place, sixteen of 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reg(u32);

impl Reg {
    /// The verdict register (`NFT_REG_VERDICT`).
    pub const VERDICT: Self = Self(0);
    /// Bytes 0 to 15 (`NFT_REG_1`).
    pub const R1: Self = Self(1);
    /// Bytes 16 to 31 (`NFT_REG_2`), right after a 16-byte address in
    /// [`Reg::R1`].
    pub const R2: Self = Self(2);
    /// Bytes 4 to 7 (`NFT_REG32_01`), right after 4 bytes in [`Reg::R1`].
    pub const W1: Self = Self(9);
    /// Bytes 8 to 11 (`NFT_REG32_02`).
    pub const W2: Self = Self(10);
    /// Bytes 20 to 23 (`NFT_REG32_05`).
    pub const W5: Self = Self(13);

    /// Whether the kernel gives it this number.
    pub(super) const fn is(self, number: u32) -> bool {
        self.0 == number
    }
}

/// What [`Expr::Meta`] loads (`enum nft_meta_keys`), 4 bytes in host order
/// unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Meta {
    /// 2 bytes in network order: the EtherType, without a VLAN tag.
    Protocol = 1,
    /// The packet's mark.
    Mark = 3,
    /// Index of the interface it came in by; also in postrouting since Linux
    /// 5.8, 0 there for the host's own packets.
    Iif = 4,
    /// Index of the interface it goes out by.
    Oif = 5,
    /// 16 bytes: the name of the interface it came in by.
    IifName = 6,
    /// 16 bytes: the name of the interface it goes out by.
    OifName = 7,
    /// One byte: a [`Family`].
    NfProto = 15,
    /// One byte: the IP protocol.
    L4Proto = 16,
}

/// Where [`Expr::Payload`] counts from (`enum nft_payload_bases`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PayloadBase {
    /// The Ethernet header.
    Link = 0,
    /// The IP header.
    Network = 1,
    /// The TCP, UDP or other header after it.
    Transport = 2,
}

/// A comparison (`enum nft_cmp_ops`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cmp {
    /// Equal.
    Eq = 0,
    /// Not equal.
    Neq = 1,
    /// At most, as a number in network order.
    Lte = 3,
    /// At least, as a number in network order.
    Gte = 5,
}

/// What [`Expr::Ct`] loads (`enum nft_ct_keys`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ct {
    /// 4 bytes, see [`ct_state`].
    State = 0,
    /// One byte: 0 original, 1 reply.
    Direction = 1,
    /// 4 bytes, see [`ct_status`].
    Status = 2,
}

/// Bits of [`Ct::State`] (`NF_CT_STATE_BIT` in
/// `include/uapi/linux/netfilter/nf_conntrack_common.h`).
pub mod ct_state {
    /// Cannot be tracked.
    pub const INVALID: u32 = 1;
    /// Of a connection seen in both directions.
    pub const ESTABLISHED: u32 = 2;
    /// First of a connection that another one announced.
    pub const RELATED: u32 = 4;
    /// First of a connection.
    pub const NEW: u32 = 8;
}

/// Bits of [`Ct::Status`] (`enum ip_conntrack_status`).
pub mod ct_status {
    /// The source was rewritten.
    pub const SRC_NAT: u32 = 1 << 4;
    /// The destination was rewritten.
    pub const DST_NAT: u32 = 1 << 5;
}

/// Which address [`Expr::Nat`] rewrites (`enum nft_nat_types`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Nat {
    /// The source.
    Src = 0,
    /// The destination.
    Dst = 1,
}

/// One expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expr<'a> {
    /// Loads something known about the packet.
    Meta(Meta, Reg),
    /// Sets the packet's mark from a register.
    SetMark(Reg),
    /// Loads `len` bytes of the packet at `offset`.
    Payload(PayloadBase, u8, u8, Reg),
    /// Loads something known about the connection.
    Ct(Ct, Reg),
    /// Loads the type of the destination address, `RTN_LOCAL` = 2 and so on,
    /// 4 bytes in host order.
    FibDaddrType(Reg),
    /// Ends the rule unless the register compares to these bytes.
    Cmp(Reg, Cmp, &'a [u8]),
    /// Ands a register with a mask.
    And(Reg, &'a [u8]),
    /// Ends the rule unless the set holds the key that starts at the register.
    Lookup(&'a str, Reg),
    /// Ends the rule if the set holds the key that starts at the register.
    NoLookup(&'a str, Reg),
    /// Looks the key up in a map and loads its data, or its verdict with
    /// [`Reg::VERDICT`]. Ends the rule if it is not there.
    LookupMap(&'a str, Reg, Reg),
    /// Loads bytes.
    Immediate(Reg, &'a [u8]),
    /// Decides about the packet.
    Verdict(Verdict<'a>),
    /// Rewrites address and port from two registers.
    Nat(Nat, Family, Reg, Reg),
    /// Rewrites the source to the address of the outgoing interface.
    Masquerade,
    /// Counts packets and bytes.
    Counter,
}

impl Expr<'_> {
    /// Writes it as one element of a rule's expression list.
    pub(super) fn emit(&self, batch: &mut Batch<'_>) {
        let elem = batch.nest_begin(LIST_ELEM);
        batch.attr_str0(EXPR_NAME, self.name());
        let data = batch.nest_begin(EXPR_DATA);
        self.emit_data(batch);
        batch.nest_end(data);
        batch.nest_end(elem);
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Meta(..) | Self::SetMark(_) => "meta",
            Self::Payload(..) => "payload",
            Self::Ct(..) => "ct",
            Self::FibDaddrType(_) => "fib",
            Self::Cmp(..) => "cmp",
            Self::And(..) => "bitwise",
            Self::Lookup(..) | Self::NoLookup(..) | Self::LookupMap(..) => "lookup",
            Self::Immediate(..) | Self::Verdict(_) => "immediate",
            Self::Nat(..) => "nat",
            Self::Masquerade => "masq",
            Self::Counter => "counter",
        }
    }

    /// The attribute numbers are those of `NFTA_<NAME>_*`, in nft's order.
    fn emit_data(&self, batch: &mut Batch<'_>) {
        match *self {
            Self::Meta(key, dreg) => {
                batch.attr_be32(2, u32::from(key as u8));
                batch.attr_be32(1, dreg.0);
            }
            Self::SetMark(sreg) => {
                batch.attr_be32(2, u32::from(Meta::Mark as u8));
                batch.attr_be32(3, sreg.0);
            }
            Self::Payload(base, offset, len, dreg) => {
                batch.attr_be32(1, dreg.0);
                batch.attr_be32(2, u32::from(base as u8));
                batch.attr_be32(3, u32::from(offset));
                batch.attr_be32(4, u32::from(len));
            }
            Self::Ct(key, dreg) => {
                batch.attr_be32(2, u32::from(key as u8));
                batch.attr_be32(1, dreg.0);
            }
            Self::FibDaddrType(dreg) => {
                // NFTA_FIB_F_DADDR and NFT_FIB_RESULT_ADDRTYPE.
                batch.attr_be32(3, 1 << 1);
                batch.attr_be32(2, 3);
                batch.attr_be32(1, dreg.0);
            }
            Self::Cmp(sreg, op, value) => {
                batch.attr_be32(1, sreg.0);
                batch.attr_be32(2, u32::from(op as u8));
                put_value(batch, 3, value);
            }
            Self::And(reg, mask) => emit_and(batch, reg, mask),
            Self::Lookup(set, sreg) => {
                batch.attr_be32(2, sreg.0);
                batch.attr_str0(1, set);
            }
            Self::NoLookup(set, sreg) => {
                batch.attr_be32(2, sreg.0);
                batch.attr_str0(1, set);
                // NFT_LOOKUP_F_INV.
                batch.attr_be32(5, 1);
            }
            Self::LookupMap(map, sreg, dreg) => {
                batch.attr_be32(2, sreg.0);
                batch.attr_be32(3, dreg.0);
                batch.attr_str0(1, map);
            }
            Self::Immediate(dreg, value) => {
                batch.attr_be32(1, dreg.0);
                put_value(batch, 2, value);
            }
            Self::Verdict(verdict) => {
                batch.attr_be32(1, Reg::VERDICT.0);
                put_verdict(batch, 2, verdict);
            }
            Self::Nat(kind, family, addr, port) => {
                batch.attr_be32(1, u32::from(kind as u8));
                batch.attr_be32(2, u32::from(family as u8));
                batch.attr_be32(3, addr.0);
                batch.attr_be32(5, port.0);
            }
            Self::Masquerade | Self::Counter => {}
        }
    }
}

/// `bitwise` knows `(x & mask) ^ xor`: an and has an xor of zeros. A register
/// file is 64 bytes, so no mask is longer than 16 here.
fn emit_and(batch: &mut Batch<'_>, reg: Reg, mask: &[u8]) {
    const ZEROS: [u8; 16] = [0; 16];
    let mask = mask.get(..16).unwrap_or(mask);
    // At most 16: the fallback is never taken.
    let len = u32::try_from(mask.len()).unwrap_or(0);
    batch.attr_be32(1, reg.0);
    batch.attr_be32(2, reg.0);
    batch.attr_be32(3, len);
    put_value(batch, 4, mask);
    put_value(batch, 5, ZEROS.get(..mask.len()).unwrap_or(&[]));
}
