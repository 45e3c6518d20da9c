//! Rules in tables of others, written as nft writes them: what it lists and what
//! programs read there must look as if their owners had made it.

use core::net::IpAddr;

use picocni_core::net::Cidr;
use picocni_core::observe::Protocol;
use picocni_core::packet_filter::{self, Action, Hook, Rule, TableFamily};

use crate::wire::nftables::{
    Base, ChainKind, Cmp, Comment, Expr, Family, Hook as At, Meta, Nat, PayloadBase, Reg, Table, Transaction, Verdict,
    new_rule,
};

/// The table's name in this codec's terms.
#[must_use]
pub const fn table<'a>(table: &packet_filter::Table<'a>) -> Table<'a> {
    let family = match table.family {
        TableFamily::Ip => Family::Ipv4,
        TableFamily::Ip6 => Family::Ipv6,
        TableFamily::Inet => Family::Inet,
        TableFamily::Bridge => Family::Bridge,
    };
    Table { family, name: table.name }
}

/// How a chain hangs.
#[must_use]
pub const fn base(hook: Hook) -> Base {
    let (kind, hook, priority) = match hook {
        Hook::NatPrerouting => (ChainKind::Nat, At::Prerouting, -100),
        Hook::NatOutput => (ChainKind::Nat, At::Output, -100),
        Hook::NatPostrouting => (ChainKind::Nat, At::Postrouting, 100),
        Hook::FilterPrerouting => (ChainKind::Filter, At::Prerouting, -300),
    };
    Base { kind, hook, priority, drop_by_default: false }
}

/// At most: protocol of the packet, six conditions of up to three expressions
/// each, two registers of a target and the action.
type Exprs<'a> = heapless::Vec<Expr<'a>, 24>;

/// The bytes that a rule's expressions compare with.
struct Values {
    ifname: [u8; 16],
    mac: [u8; 6],
    from: Octets,
    to: Octets,
    mask: Octets,
    port: [u8; 2],
    target: Octets,
    target_port: [u8; 2],
}

/// An address or a mask.
#[derive(Clone, Copy)]
struct Octets {
    bytes: [u8; 16],
    len: usize,
}

impl Octets {
    const NONE: Self = Octets { bytes: [0; 16], len: 0 };

    fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Octets { bytes: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], len: 4 }
            }
            IpAddr::V6(v6) => Octets { bytes: v6.octets(), len: 16 },
        }
    }

    fn mask(net: Cidr) -> Self {
        let bits = u32::from(net.prefix());
        let mut mask = Octets::of(net.addr());
        for (at, byte) in (0u32..).zip(mask.bytes.iter_mut()) {
            let own = bits.saturating_sub(at.saturating_mul(8)).min(8);
            *byte = u8::try_from(0xff00u32 >> own & 0xff).unwrap_or(0);
        }
        mask
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

impl Values {
    fn new(rule: &Rule<'_>) -> Self {
        let mut ifname = [0u8; 16];
        if let Some(name) = &rule.input {
            for (to, from) in ifname.iter_mut().take(15).zip(name.as_str().bytes()) {
                *to = from;
            }
        }
        let (target, target_port) = match rule.action {
            Action::Dnat(to) => (Octets::of(to.ip()), to.port().to_be_bytes()),
            _ => (Octets::NONE, [0; 2]),
        };
        Values {
            ifname,
            mac: rule.source_mac.map_or([0; 6], |mac| mac.0),
            from: rule.from.map_or(Octets::NONE, Octets::of),
            to: rule.to.map_or(Octets::NONE, |(_, net)| Octets::of(net.network().addr())),
            mask: rule.to.map_or(Octets::NONE, |(_, net)| Octets::mask(net)),
            port: rule.port.map_or([0; 2], |(_, port)| port.to_be_bytes()),
            target,
            target_port,
        }
    }
}

const TCP: &[u8] = &[6];
const UDP: &[u8] = &[17];
const IS_LOCAL: &[u8] = &2u32.to_ne_bytes();

/// Appends a rule, in the order in which nft writes its conditions.
pub fn add_rule(tx: &mut Transaction<'_, '_>, chain: &packet_filter::Chain<'_>, rule: &Rule<'_>, comment: &str) {
    let values = Values::new(rule);
    let mut exprs = Exprs::new();
    conditions(chain.table.family, rule, &values, &mut exprs);
    act(rule, &values, &mut exprs);
    let comment = Comment::new(comment).ok().filter(|comment| !comment.text().is_empty());
    new_rule(tx, table(&chain.table), chain.name, &exprs, comment);
}

fn conditions<'v>(family: TableFamily, rule: &Rule<'v>, values: &'v Values, exprs: &mut Exprs<'v>) {
    let mut test = |load: Expr<'v>, cmp: Cmp, value: &'v [u8]| {
        let _ = exprs.push(load);
        let _ = exprs.push(Expr::Cmp(Reg::R1, cmp, value));
    };
    if rule.input.is_some() {
        test(Expr::Meta(Meta::IifName, Reg::R1), Cmp::Eq, &values.ifname);
    }
    if rule.source_mac.is_some() {
        test(Expr::Payload(PayloadBase::Link, 6, 6, Reg::R1), Cmp::Eq, &values.mac);
    }
    let v6 = rule.from.or(rule.to.map(|(_, net)| net.addr())).map(|ip| ip.is_ipv6());
    if let (TableFamily::Inet, Some(v6)) = (family, v6) {
        test(Expr::Meta(Meta::NfProto, Reg::R1), Cmp::Eq, if v6 { &[10] } else { &[2] });
    }
    let (source, destination, len) = if v6 == Some(true) { (8, 24, 16) } else { (12, 16, 4) };
    if rule.from.is_some() {
        test(Expr::Payload(PayloadBase::Network, source, len, Reg::R1), Cmp::Eq, values.from.get());
    }
    if let Some((within, net)) = rule.to {
        let cmp = if within { Cmp::Eq } else { Cmp::Neq };
        let bits = usize::from(net.prefix());
        let whole = bits >> 3;
        if bits & 7 == 0 && whole > 0 {
            // A prefix of whole bytes is compared as far as it goes.
            let short = u8::try_from(whole).unwrap_or(len);
            let load = Expr::Payload(PayloadBase::Network, destination, short, Reg::R1);
            test(load, cmp, values.to.get().get(..whole).unwrap_or(&[]));
        } else {
            let _ = exprs.push(Expr::Payload(PayloadBase::Network, destination, len, Reg::R1));
            let _ = exprs.push(Expr::And(Reg::R1, values.mask.get()));
            let _ = exprs.push(Expr::Cmp(Reg::R1, cmp, values.to.get()));
        }
    }
    let mut test = |load: Expr<'v>, value: &'v [u8]| {
        let _ = exprs.push(load);
        let _ = exprs.push(Expr::Cmp(Reg::R1, Cmp::Eq, value));
    };
    if rule.to_host {
        test(Expr::FibDaddrType(Reg::R1), IS_LOCAL);
    }
    if let Some((protocol, _)) = rule.port {
        let number = if protocol == Protocol::Tcp { TCP } else { UDP };
        test(Expr::Meta(Meta::L4Proto, Reg::R1), number);
        test(Expr::Payload(PayloadBase::Transport, 2, 2, Reg::R1), &values.port);
    }
}

fn act<'v>(rule: &Rule<'v>, values: &'v Values, exprs: &mut Exprs<'v>) {
    let last = match rule.action {
        Action::Jump(chain) => Expr::Verdict(Verdict::Jump(chain)),
        Action::Goto(chain) => Expr::Verdict(Verdict::Goto(chain)),
        Action::Return => Expr::Verdict(Verdict::Return),
        Action::Drop => Expr::Verdict(Verdict::Drop),
        Action::Masquerade => Expr::Masquerade,
        Action::Dnat(to) => {
            let _ = exprs.push(Expr::Immediate(Reg::R1, values.target.get()));
            let _ = exprs.push(Expr::Immediate(Reg::R2, &values.target_port));
            Expr::Nat(Nat::Dst, Family::of(to.ip()), Reg::R1, Reg::R2)
        }
    };
    let _ = exprs.push(last);
}

#[cfg(all(test, target_endian = "little"))]
mod tests;
