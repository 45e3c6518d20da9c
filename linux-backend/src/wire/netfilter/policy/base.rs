//! Maps and base chains: how a packet gets to the chain of a policy.

use core::net::IpAddr;

use picocni_core::op::Direction;

use super::Place;
use crate::wire::nftables::{
    Base, Chain, ChainKind, Cmp, Comment, Ct, Data, DataType, Elem, Element, Expr, Family, Hook, Meta, PayloadBase,
    Reg, Set, SetData, Transaction, Verdict, add_element, concat, ct_state, del_element, get_element, new_chain,
    new_rule, new_set,
};
use crate::wire::nlmsg::{Batch, NLM_F_EXCL};

/// The base chains, in the order of the directions that they judge:
/// [`Direction::ALL`] has ingress first.
pub const BASE_CHAINS: [&str; 2] = ["to-pods", "from-pods"];

const fn base_chain(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "to-pods",
        Direction::Egress => "from-pods",
    }
}

/// By what a packet is known to be an attachment's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Its address, where it is routed.
    Address(IpAddr),
    /// The index of its bridge port, on the bridge.
    Port(u32),
}

impl Key {
    /// Where it is looked up.
    #[must_use]
    pub const fn place(self) -> Place {
        match self {
            Self::Address(_) => Place::Routed,
            Self::Port(_) => Place::Bridged,
        }
    }

    const fn map(self, direction: Direction) -> &'static str {
        match (self, direction) {
            (Self::Address(IpAddr::V4(_)), Direction::Ingress) => "ingress4",
            (Self::Address(IpAddr::V6(_)), Direction::Ingress) => "ingress6",
            (Self::Address(IpAddr::V4(_)), Direction::Egress) => "egress4",
            (Self::Address(IpAddr::V6(_)), Direction::Egress) => "egress6",
            (Self::Port(_), Direction::Ingress) => "ingress-ports",
            (Self::Port(_), Direction::Egress) => "egress-ports",
        }
    }

    fn with_bytes<T>(self, act: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Address(IpAddr::V4(v4)) => act(&v4.octets()),
            Self::Address(IpAddr::V6(v6)) => act(&v6.octets()),
            Self::Port(index) => act(&index.to_ne_bytes()),
        }
    }
}

/// Leads the packets of a key to a chain. `EEXIST` (17) if they are led to one already.
pub fn add(tx: &mut Transaction<'_, '_>, key: Key, direction: Direction, chain: &str, owner: Comment<'_>) {
    key.with_bytes(|bytes| {
        let data = Some(Data::Verdict(Verdict::Goto(chain)));
        let element = Element { key: bytes, data, comment: Some(owner) };
        add_element(tx, key.place().table(), key.map(direction), &element, NLM_F_EXCL);
    });
}

/// Leads them nowhere; `ENOENT` (2) if they were not led.
pub fn del(tx: &mut Transaction<'_, '_>, key: Key, direction: Direction) {
    key.with_bytes(|bytes| {
        del_element(tx, key.place().table(), key.map(direction), bytes);
    });
}

/// Asks where they are led.
pub fn get(batch: &mut Batch<'_>, seq: u32, key: Key, direction: Direction) {
    key.with_bytes(|bytes| get_element(batch, seq, key.place().table(), key.map(direction), bytes));
}

/// The chain that an element leads to, and its owner.
#[must_use]
pub fn decode<'a>(element: &Elem<'a>) -> Option<(&'a str, &'a str)> {
    match element.data? {
        Data::Verdict(Verdict::Goto(chain)) => Some((chain, element.comment.unwrap_or(""))),
        _ => None,
    }
}

/// `ETH_P_IP` and `ETH_P_IPV6` (linux/if_ether.h).
pub(super) const ETHERTYPE4: [u8; 2] = 0x0800u16.to_be_bytes();
pub(super) const ETHERTYPE6: [u8; 2] = 0x86ddu16.to_be_bytes();

/// Whether the packet is of an IP family; the bridge's own family says nothing of that.
pub(super) const fn is_family(place: Place, v6: bool) -> [Expr<'static>; 2] {
    match (place, v6) {
        (Place::Routed, false) => [NFPROTO, Expr::Cmp(Reg::R1, Cmp::Eq, &[Family::Ipv4 as u8])],
        (Place::Routed, true) => [NFPROTO, Expr::Cmp(Reg::R1, Cmp::Eq, &[Family::Ipv6 as u8])],
        (Place::Bridged, false) => [PROTOCOL, Expr::Cmp(Reg::R1, Cmp::Eq, &ETHERTYPE4)],
        (Place::Bridged, true) => [PROTOCOL, Expr::Cmp(Reg::R1, Cmp::Eq, &ETHERTYPE6)],
    }
}

const NFPROTO: Expr<'static> = Expr::Meta(Meta::NfProto, Reg::R1);
const PROTOCOL: Expr<'static> = Expr::Meta(Meta::Protocol, Reg::R1);
const ACCEPT: Expr<'static> = Expr::Verdict(Verdict::Accept);

const SEEN: [u8; 4] = (ct_state::ESTABLISHED | ct_state::RELATED).to_ne_bytes();
/// `IPPROTO_ICMPV6`.
const ICMPV6: [u8; 1] = [58];
/// ICMPv6 types: listener query, report and done, router solicitation and
/// advertisement, neighbour solicitation and advertisement, redirect (RFC 2710,
/// RFC 4861).
const FIRST_NEIGHBOUR: [u8; 1] = [130];
const LAST_NEIGHBOUR: [u8; 1] = [137];
/// Version 2 listener report (RFC 3810).
const LISTENER_REPORT: [u8; 1] = [143];

/// Offsets in `struct iphdr` and `struct ipv6hdr` of source and destination.
pub(super) const fn offset(v6: bool, destination: bool) -> u8 {
    match (v6, destination) {
        (false, false) => 12,
        (false, true) => 16,
        (true, false) => 8,
        (true, true) => 24,
    }
}

/// How many rules a base chain has.
#[must_use]
pub const fn base_rules(place: Place) -> usize {
    match place {
        Place::Routed => 5,
        Place::Bridged => 5,
    }
}

/// Makes the maps and base chains of one table, which exists. What is there
/// already is `EEXIST` (17): somebody else has just made them.
pub fn ensure(tx: &mut Transaction<'_, '_>, place: Place) {
    let table = place.table();
    for (at, direction) in Direction::ALL.into_iter().enumerate() {
        let maps: &[(Key, DataType, u32)] = match place {
            Place::Routed => &[
                (Key::Address(IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED)), DataType::Ipv4, 4),
                (Key::Address(IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED)), DataType::Ipv6, 16),
            ],
            Place::Bridged => &[(Key::Port(0), DataType::IfIndex, 4)],
        };
        for (offset, (key, kind, key_len)) in maps.iter().enumerate() {
            // Numbers that neither the tables' other sets have, nor the other place's.
            let id = match place {
                Place::Routed => 100,
                Place::Bridged => 200,
            };
            let id = u32::try_from(at.saturating_mul(2).saturating_add(offset)).unwrap_or(0).saturating_add(id);
            let data = Some(SetData::Verdict);
            let set = Set { table, name: key.map(direction), id, key_type: concat(&[*kind]), key_len: *key_len, data };
            new_set(tx, &set, 0);
        }
        let priority = match (place, direction) {
            (Place::Routed, Direction::Egress) => 0,
            (Place::Routed, Direction::Ingress) => 1,
            (Place::Bridged, Direction::Egress) => -200,
            (Place::Bridged, Direction::Ingress) => -199,
        };
        let base = Some(Base { kind: ChainKind::Filter, hook: Hook::Forward, priority, drop_by_default: false });
        new_chain(tx, &Chain { table, name: base_chain(direction), base, comment: None }, NLM_F_EXCL);
        write_rules(tx, place, direction);
    }
}

fn write_rules(tx: &mut Transaction<'_, '_>, place: Place, direction: Direction) {
    let (table, chain) = (place.table(), base_chain(direction));
    // ct state established,related accept
    let seen = [Expr::Ct(Ct::State, Reg::R1), Expr::And(Reg::R1, &SEEN), Expr::Cmp(Reg::R1, Cmp::Neq, &[0; 4]), ACCEPT];
    new_rule(tx, table, chain, &seen, None);
    let [load, is_v6] = is_family(place, true);
    let [l4proto, is_icmp] = [Expr::Meta(Meta::L4Proto, Reg::R1), Expr::Cmp(Reg::R1, Cmp::Eq, &ICMPV6)];
    let kind = Expr::Payload(PayloadBase::Transport, 0, 1, Reg::R1);
    // icmpv6 type 130-137 accept
    let (first, last) = (Expr::Cmp(Reg::R1, Cmp::Gte, &FIRST_NEIGHBOUR), Expr::Cmp(Reg::R1, Cmp::Lte, &LAST_NEIGHBOUR));
    new_rule(tx, table, chain, &[load, is_v6, l4proto, is_icmp, kind, first, last, ACCEPT], None);
    // icmpv6 type 143 accept
    let report = Expr::Cmp(Reg::R1, Cmp::Eq, &LISTENER_REPORT);
    new_rule(tx, table, chain, &[load, is_v6, l4proto, is_icmp, kind, report, ACCEPT], None);
    match place {
        // ip saddr vmap @egress4, ip6 saddr vmap @egress6, or daddr and ingress
        Place::Routed => {
            for (v6, len) in [(false, 4), (true, 16)] {
                let [load, is_family] = is_family(place, v6);
                let address =
                    Expr::Payload(PayloadBase::Network, offset(v6, direction == Direction::Ingress), len, Reg::R1);
                let key = match v6 {
                    false => Key::Address(IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED)),
                    true => Key::Address(IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED)),
                };
                let look_up = Expr::LookupMap(key.map(direction), Reg::R1, Reg::VERDICT);
                new_rule(tx, table, chain, &[load, is_family, address, look_up], None);
            }
        }
        Place::Bridged => {
            // meta protocol != ip meta protocol != ip6 accept
            let not = |bytes| Expr::Cmp(Reg::R1, Cmp::Neq, bytes);
            new_rule(tx, table, chain, &[PROTOCOL, not(&ETHERTYPE4), PROTOCOL, not(&ETHERTYPE6), ACCEPT], None);
            // iif vmap @egress-ports, oif vmap @ingress-ports
            let link = match direction {
                Direction::Ingress => Meta::Oif,
                Direction::Egress => Meta::Iif,
            };
            let look_up = Expr::LookupMap(Key::Port(0).map(direction), Reg::R1, Reg::VERDICT);
            new_rule(tx, table, chain, &[Expr::Meta(link, Reg::R1), look_up], None);
        }
    }
}
