//! The chain of one policy for one direction.

use core::net::IpAddr;

use picocni_core::digest;
use picocni_core::net::Cidr;
use picocni_core::op::{Direction, Policy, PortRange};

use super::Place;
use super::base::{is_family, offset};
use crate::wire::nftables::{
    Chain, Cmp, Comment, Expr, Exprs, Meta, PayloadBase, Reg, Transaction, Verdict, flush_chain, new_chain, write_rule,
};

/// A name: `in-` or `out-` and 32 hexadecimal digits.
pub type ChainName = heapless::String<36>;

/// Hexadecimal digits of a name: 128 bits of SHA-512, so that no two owners have
/// the same.
const NAME_DIGITS: usize = 32;

/// The name of an owner's chain.
#[must_use]
pub fn chain_name(tag: &str, direction: Direction) -> ChainName {
    let mut name = ChainName::new();
    // `out-` and the digits are 36 bytes.
    let _ = name.push_str(super::prefix_of(direction));
    let _ = digest::hex_of(&[tag.as_bytes()], &mut name, NAME_DIGITS);
    name
}

/// The comment of a policy's rules.
#[must_use]
pub fn digest_text(policy: &Policy<'_>) -> heapless::String<16> {
    picocni_core::text::fits(&[&picocni_core::text::Hex(policy.digest())]).unwrap_or_default()
}

/// How many rules its chain has.
#[must_use]
pub fn rules(policy: &Policy<'_>, direction: Direction) -> usize {
    policy.allowed(direction).count().saturating_add(1)
}

/// Makes the chain, or makes it right if it exists: new, flushed and filled in
/// one transaction, so no packet sees it half done. Its rules are not
/// acknowledged, see [`Transaction::acknowledge`].
pub fn write(
    tx: &mut Transaction<'_, '_>,
    place: Place,
    policy: &Policy<'_>,
    direction: Direction,
    owner: Comment<'_>,
    digest: Comment<'_>,
) {
    let (table, name) = (place.table(), chain_name(policy.tag, direction));
    new_chain(tx, &Chain { table, name: &name, base: None, comment: Some(owner) }, 0);
    flush_chain(tx, table, &name);
    tx.acknowledge(false);
    for (peer, ports, except) in policy.allowed(direction) {
        write_rule(tx, table, &name, Some(digest), &mut |rule| {
            if let Some(peer) = peer {
                let [load, is_family] = is_family(place, peer.is_v6());
                rule.push(&load);
                rule.push(&is_family);
                push_network(rule, direction, peer, Cmp::Eq);
                for part in except.clone() {
                    push_network(rule, direction, part, Cmp::Neq);
                }
            }
            if let Some(ports) = &ports {
                push_ports(rule, ports);
            }
            rule.push(&Expr::Counter);
            rule.push(&Expr::Verdict(Verdict::Accept));
        });
    }
    write_rule(tx, table, &name, Some(digest), &mut |rule| {
        rule.push(&Expr::Counter);
        rule.push(&Expr::Verdict(Verdict::Drop));
    });
    tx.acknowledge(true);
}

/// The other end's address is in a network, or is not. Whole bytes are compared
/// directly, as nft does; other prefixes need a mask.
fn push_network(rule: &mut Exprs<'_, '_>, direction: Direction, cidr: Cidr, op: Cmp) {
    let (mut bytes, mut mask) = ([0u8; 16], [0u8; 16]);
    let len = match cidr.network().addr() {
        IpAddr::V4(v4) => copy(&mut bytes, &v4.octets()),
        IpAddr::V6(v6) => copy(&mut bytes, &v6.octets()),
    };
    let prefix = cidr.prefix();
    if prefix == 0 {
        // Every address; as an exception it would have been refused before.
        return;
    }
    let at = offset(cidr.is_v6(), direction == Direction::Egress);
    let whole = prefix & 7 == 0;
    let len = if whole { prefix >> 3 } else { len };
    rule.push(&Expr::Payload(PayloadBase::Network, at, len, Reg::R1));
    if !whole {
        let ones = u128::MAX.checked_shl(128u32.saturating_sub(u32::from(prefix))).unwrap_or(u128::MAX);
        copy(&mut mask, &ones.to_be_bytes());
        rule.push(&Expr::And(Reg::R1, mask.get(..usize::from(len)).unwrap_or_default()));
    }
    rule.push(&Expr::Cmp(Reg::R1, op, bytes.get(..usize::from(len)).unwrap_or_default()));
}

/// The number of bytes, 4 or 16.
fn copy(to: &mut [u8; 16], from: &[u8]) -> u8 {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    u8::try_from(from.len()).unwrap_or(16)
}

/// TCP, UDP and SCTP have the destination port at the same place.
fn push_ports(rule: &mut Exprs<'_, '_>, ports: &PortRange) {
    rule.push(&Expr::Meta(Meta::L4Proto, Reg::R1));
    rule.push(&Expr::Cmp(Reg::R1, Cmp::Eq, &[ports.protocol]));
    if (ports.first, ports.last) == (0, u16::MAX) {
        return;
    }
    let (first, last) = (ports.first.to_be_bytes(), ports.last.to_be_bytes());
    rule.push(&Expr::Payload(PayloadBase::Transport, 2, 2, Reg::R1));
    if first == last {
        rule.push(&Expr::Cmp(Reg::R1, Cmp::Eq, &first));
    } else {
        rule.push(&Expr::Cmp(Reg::R1, Cmp::Gte, &first));
        rule.push(&Expr::Cmp(Reg::R1, Cmp::Lte, &last));
    }
}
