//! Rules that iptables and nft made, as the kernel shows them (captured on 6.18),
//! and the same rule as written here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]

use super::*;
use crate::wire::nftables::RuleView;
use crate::wire::nlmsg::{Batch, Messages};
use picocni_core::packet_filter::{Chain, Table as Named};
extern crate std;
use std::vec::Vec;

const RULES_HEX: &str = include_str!("golden/rules.hex");

fn captured(begins: &str) -> Vec<u8> {
    let mut lines = RULES_HEX.lines().skip_while(|l| !l.strip_prefix("= ").is_some_and(|l| l.starts_with(begins)));
    let hex = lines.nth(1).unwrap();
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn read(bytes: &[u8]) -> Option<(u64, Option<&str>, Option<&str>)> {
    let rule = RuleView::parse(&Messages::new(bytes).next()?)?;
    Some((rule.handle, rule.comment, rule.jumps_to))
}

#[test]
fn comment_and_jump_of_iptables_are_read() {
    let bytes = captured("ip nat");
    let expected = (3, Some("name: \"net\" id: \"c1\""), Some("CNI-623e1c388032b20529218ecc"));
    assert_eq!(read(&bytes), Some(expected));
}

#[test]
fn comment_of_nft_is_read() {
    assert_eq!(read(&captured("inet t")), Some((2, Some("a-b, net: n"), None)));
}

#[test]
fn what_is_cut_or_changed_is_never_more_than_not_read() {
    for begins in ["ip nat", "inet t"] {
        let bytes = captured(begins);
        for end in 0..bytes.len() {
            let mut cut = bytes[..end].to_vec();
            read(&cut);
            if end >= 4 {
                cut[..4].copy_from_slice(&u32::try_from(end).unwrap().to_ne_bytes());
                read(&cut);
            }
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[end] = value;
                read(&changed);
            }
        }
    }
}

/// Takes the flag off nested attributes, which the kernel does not set.
fn plain(bytes: &mut [u8]) {
    let mut at = 0;
    while at + 4 <= bytes.len() {
        let len = usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        if bytes[at + 3] & 0x80 != 0 {
            bytes[at + 3] &= 0x7f;
            plain(&mut bytes[at + 4..at + len]);
        }
        at += (len + 3) & !3;
    }
}

#[test]
fn a_rule_is_written_as_nft_writes_it() {
    let chain = Chain { table: Named { family: TableFamily::Inet, name: "t" }, name: "c" };
    let rule = Rule {
        from: Some(IpAddr::from([10, 1, 2, 2])),
        to: Cidr::parse("10.1.2.0/24").map(|net| (false, net)),
        ..Rule::new(Action::Masquerade)
    };
    let mut buffer = [0xa5; 1024];
    let mut batch = Batch::new(&mut buffer);
    let mut tx = Transaction::begin(&mut batch, 1);
    add_rule(&mut tx, &chain, &rule, "a-b, net: n");
    let _ = tx.commit();
    let written = batch.finish().unwrap();
    let message = Messages::new(written).nth(1).unwrap();
    let shown = captured("inet t");
    let shown = Messages::new(&shown).next().unwrap();
    // Expressions and user data.
    for kind in [4, 7] {
        let mut own = message.attrs(4).find(kind).unwrap().to_vec();
        if kind == 4 {
            plain(&mut own);
        }
        assert_eq!(own, shown.attrs(4).find(kind).unwrap(), "{kind}");
    }
}

#[test]
fn masks_have_the_networks_bits() {
    let mask = |net: &str| Octets::mask(Cidr::parse(net).unwrap()).get().to_vec();
    assert_eq!(mask("10.0.0.0/9"), [255, 128, 0, 0]);
    assert_eq!(mask("224.0.0.0/4"), [0xf0, 0, 0, 0]);
    assert_eq!(mask("0.0.0.0/0"), [0; 4]);
    assert_eq!(mask("10.0.0.1/32"), [255; 4]);
    assert_eq!(mask("fd00::/7")[..2], [0xfe, 0]);
}
