//! What picocni writes, compared with what nft sends for the same thing.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "tests"
)]

mod replies;

use super::*;
use crate::wire::attr::Attrs;
use crate::wire::nftables::{Data, Elem, Transaction, Verdict, parse_elements};
use crate::wire::nlmsg::{Batch, Messages, NLM_F_EXCL};
extern crate std;
use std::string::{String, ToString};
use std::vec::Vec;

const TABLE_HEX: &str = include_str!("../golden/table.hex");
const NETWORKS_HEX: &str = include_str!("../golden/networks.hex");
const ELEMENTS_HEX: &str = include_str!("../golden/elements.hex");
const DELETES_HEX: &str = include_str!("../golden/deletes.hex");

const CREATE_OR_APPEND: u16 = 0xc00;
const OWNER: &str = "net/id/eth0";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// One message in a comparable form: type, flags and every attribute with the
/// path to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flat {
    pub(crate) kind: u16,
    flags: u16,
    header: Vec<u8>,
    pub(crate) attrs: Vec<(Vec<u16>, Vec<u8>)>,
}

impl Flat {
    /// Whether an attribute is this text.
    pub(crate) fn has_text(&self, text: &str) -> bool {
        self.attrs.iter().any(|(_, value)| value.strip_suffix(&[0]) == Some(text.as_bytes()))
    }
}

fn flatten(kind: u16, flags: u16, payload: &[u8]) -> Flat {
    let mut attrs = Vec::new();
    walk(kind, &payload[4..], &mut Vec::new(), &mut attrs);
    // nft leaves NLM_F_CREATE out for a table, where the kernel ignores it.
    let flags = if kind == 0x0a00 { 0 } else { flags & CREATE_OR_APPEND };
    Flat { kind, flags, header: payload[..4].to_vec(), attrs }
}

fn walk(kind: u16, list: &[u8], path: &mut Vec<u16>, out: &mut Vec<(Vec<u16>, Vec<u8>)>) {
    let mut rest = list;
    let mut in_lookup = false;
    while rest.len() >= 4 {
        let len = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let raw = u16::from_ne_bytes([rest[2], rest[3]]);
        let payload = &rest[4..len];
        rest = rest.get((len + 3) & !3..).unwrap_or(&[]);
        path.push(raw & 0x3fff);
        // What nft adds for itself (the user data of sets) or because it names
        // sets twice (their number within the transaction).
        let set_userdata = kind == 0x0a09 && path[..] == [13];
        let set_id = matches!(kind, 0x0a0c | 0x0a0e) && path[..] == [4];
        if path[..] == [4, 1, 1] {
            in_lookup = payload == b"lookup\0";
        }
        if set_userdata || set_id {
        } else if raw & 0x8000 == 0 {
            out.push((path.clone(), payload.to_vec()));
        } else if in_lookup && path[..] == [4, 1, 2] {
            out.push((path.clone(), Vec::new()));
            walk_lookup(payload, path, out);
        } else {
            out.push((path.clone(), Vec::new()));
            walk(kind, payload, path, out);
        }
        path.pop();
    }
}

/// The attributes of a lookup without `NFTA_LOOKUP_SET_ID`.
fn walk_lookup(list: &[u8], path: &mut Vec<u16>, out: &mut Vec<(Vec<u16>, Vec<u8>)>) {
    for (kind, payload) in Attrs::new(list) {
        if kind != 4 {
            path.push(kind);
            out.push((path.clone(), payload.to_vec()));
            path.pop();
        }
    }
}

/// The messages of a golden file between batch begin and end.
pub(crate) fn golden(text: &str) -> Vec<Flat> {
    let mut all: Vec<Flat> = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| {
            let mut words = l.split(' ');
            let mut number = || u16::from_str_radix(words.next().unwrap(), 16).unwrap();
            let (kind, flags) = (number(), number());
            flatten(kind, flags, &bytes(words.next().unwrap()))
        })
        .collect();
    assert_eq!(all.remove(0).kind, 0x10);
    assert_eq!(all.pop().unwrap().kind, 0x11);
    all
}

fn sent(write: impl FnOnce(&mut Transaction<'_, '_>)) -> Vec<u8> {
    let mut buf = std::vec![0xaa; 1 << 16];
    let mut batch = Batch::new(&mut buf);
    let mut tx = Transaction::begin(&mut batch, 1);
    write(&mut tx);
    let _ = tx.commit();
    batch.finish().unwrap().to_vec()
}

pub(crate) fn ours(write: impl FnOnce(&mut Transaction<'_, '_>)) -> Vec<Flat> {
    let raw = sent(write);
    let mut all: Vec<Flat> = Messages::new(&raw).map(|m| flatten(m.kind, m.flags, m.payload)).collect();
    all.remove(0);
    all.pop();
    all
}

fn assert_same(ours: &[Flat], nft: &[Flat]) {
    assert!(!nft.is_empty());
    for (i, (o, n)) in ours.iter().zip(nft).enumerate() {
        assert_eq!(o, n, "message {i}");
    }
    assert_eq!(ours.len(), nft.len());
}

fn network(text: &str) -> Network {
    let (addr, prefix) = text.split_once('/').unwrap();
    Network::new(addr.parse().unwrap(), prefix.parse().unwrap()).unwrap()
}

fn port(host: &str, protocol: u8, port: u16, target: &str) -> Entry {
    let host = (!host.is_empty()).then(|| host.parse().unwrap());
    Entry::Port(HostPort::new(host, protocol, port, target.parse().unwrap()).unwrap())
}

/// One entry for each of the sets, in the order of `golden/elements.hex`.
fn entries() -> [Entry; 13] {
    let [v4, v6] = ["10.88.0.5", "fd88::5"].map(|a| a.parse().unwrap());
    [
        port("", 6, 8080, "10.88.0.5:80"),
        port("", 17, 8053, "[fd88::5]:53"),
        port("192.0.2.11", 6, 8081, "10.88.0.6:80"),
        port("2001:db8::11", 132, 8081, "[fd88::6]:80"),
        Entry::Hairpin { ifindex: 1, addr: v4 },
        Entry::Hairpin { ifindex: 1, addr: v6 },
        Entry::Itself(v4),
        Entry::Itself(v6),
        Entry::Loopback("10.88.0.5".parse().unwrap()),
        Entry::MasqueradeAll(v4),
        Entry::MasqueradeAll(v6),
        Entry::Masquerade { addr: v4, network: network("10.88.0.0/24") },
        Entry::Masquerade { addr: v6, network: network("fd88::/64") },
    ]
}

fn owner() -> Comment<'static> {
    Comment::new(OWNER).unwrap()
}

#[test]
fn table_is_what_nft_makes_of_its_listing() {
    let written = ours(|tx| {
        assert_eq!(ensure_table(tx), 2);
    });
    assert_same(&written, &golden(TABLE_HEX));
}

#[test]
fn table_is_exclusive_and_small() {
    let raw = sent(|tx| {
        ensure_table(tx);
    });
    assert!(raw.len() <= 8 * 1024, "{} bytes", raw.len());
    let exclusive: Vec<u16> = Messages::new(&raw).filter(|m| m.flags & NLM_F_EXCL != 0).map(|m| m.kind).collect();
    assert_eq!(exclusive, [0x0a00]);
}

#[test]
fn network_chains_are_what_nft_makes() {
    let written = ours(|tx| {
        for net in ["10.88.0.0/24", "10.89.16.0/20", "fd88::/64", "fd80::/60"] {
            ensure_network(tx, &network(net));
        }
    });
    assert_same(&written, &golden(NETWORKS_HEX));
}

#[test]
fn elements_are_what_nft_makes() {
    let written = ours(|tx| {
        for entry in entries() {
            add(tx, &entry, owner(), Claim::Shared);
        }
    });
    assert_same(&written, &golden(ELEMENTS_HEX));
}

#[test]
fn deletes_are_what_nft_makes() {
    let all = entries();
    let written = ours(|tx| {
        for i in [0, 3, 7, 11, 12] {
            del(tx, &all[i]);
        }
        del_network(tx, &network("10.88.0.0/24"));
    });
    assert_same(&written, &golden(DELETES_HEX));
}

#[test]
fn only_an_exclusive_claim_is_exclusive() {
    let raw = sent(|tx| {
        add(tx, &entries()[0], owner(), Claim::Exclusive);
        add(tx, &entries()[0], owner(), Claim::Shared);
    });
    let flags: Vec<bool> =
        Messages::new(&raw).filter(|m| m.kind == 0x0a0c).map(|m| m.flags & NLM_F_EXCL != 0).collect();
    assert_eq!(flags, [true, false]);
}

#[test]
fn what_is_added_reads_back() {
    let raw = sent(|tx| {
        for entry in entries() {
            add(tx, &entry, owner(), Claim::Exclusive);
        }
    });
    let mut seen = Vec::new();
    let mut sets: Vec<String> = Vec::new();
    for elements in Messages::new(&raw).filter_map(|m| parse_elements(&m)) {
        assert_eq!(elements.table, "picocni");
        for elem in elements {
            assert_eq!(elem.comment, Some(OWNER));
            seen.extend(decode(elements.set, &elem));
            sets.push(elements.set.to_string());
        }
    }
    assert_eq!(seen, entries());
    sets.sort();
    let mut all = SET_NAMES.map(String::from);
    all.sort();
    assert_eq!(sets, all, "one entry for each set");
}

#[test]
fn foreign_elements_do_not_decode() {
    let elem = |key, data| Elem { key, data, comment: None };
    let target = Some(Data::Value(&[10, 88, 0, 5, 0, 80, 0, 0][..]));
    let key = &[6, 0, 0, 0, 0x1f, 0x90, 0, 0][..];
    assert!(decode(SET_NAMES[1], &elem(key, target)).is_some());
    let jump = |chain| Some(Data::Verdict(Verdict::Jump(chain)));
    let addr = &[10, 88, 0, 5][..];
    assert!(decode("masq4", &elem(addr, jump("net-10.88.0.0-24"))).is_some());
    for (set, key, data) in [
        ("any6", key, target),
        ("any4", key, None),
        ("any4", &key[..7], target),
        ("any4", &[6, 1, 0, 0, 0x1f, 0x90, 0, 0][..], target),
        ("hostip4", key, target),
        ("self4", &[10, 0, 0, 1, 10, 0, 0, 2][..], None),
        ("hairpin6", key, None),
        ("masq4", addr, jump("other")),
        ("masq4", addr, Some(Data::Verdict(Verdict::Goto("net-10.88.0.0-24")))),
        ("masq6", addr, jump("net-10.88.0.0-24")),
        ("masqall4", &[][..], None),
        ("strange", addr, None),
    ] {
        assert_eq!(decode(set, &elem(key, data)), None, "{set} {key:?}");
    }
}

#[test]
fn host_ports_have_one_family() {
    let target = "10.88.0.5:80".parse().unwrap();
    let new = |host: &str| HostPort::new(Some(host.parse().unwrap()), 6, 1, target);
    assert_eq!(new("::1"), Err(FamilyMismatch));
    assert_eq!(new("::"), Err(FamilyMismatch));
    assert_eq!(new("0.0.0.0"), HostPort::new(None, 6, 1, target));
    assert_eq!(new("127.0.0.1").unwrap().host(), Some("127.0.0.1".parse().unwrap()));
}

#[test]
fn chain_names_round_trip() {
    for (net, name) in [
        ("10.88.0.0/24", "net-10.88.0.0-24"),
        ("255.255.255.255/32", "net-255.255.255.255-32"),
        ("0.0.0.0/0", "net-0.0.0.0-0"),
        ("100.9.10.0/23", "net-100.9.10.0-23"),
        ("fd00::/8", "net-fd00.0.0.0.0.0.0.0-8"),
        ("fd00:ff:0:a0::/64", "net-fd00.ff.0.a0.0.0.0.0-64"),
    ] {
        assert_eq!(network(net).chain_name(), name);
        assert_eq!(Network::from_chain_name(name), Some(network(net)));
    }
    let longest = "net-ffff.ffff.ffff.ffff.ffff.ffff.ffff.ffff-128";
    let all_ones = core::net::Ipv6Addr::from_bits(u128::MAX);
    assert_eq!(Network::new(all_ones.into(), 128).unwrap().chain_name(), longest);
    for bad in [
        "hostports",
        "net-10.88.0.0",
        "net-10.88.0.1-24",
        "net-10.88.0-24",
        "net-10.88.00.0-24",
        "net-10.88.0.0-33",
        "net-10.88.0.256-32",
        "net-fd00.0.0.0.0.0.0.0.0-64",
        "net-fd00.0.0.0.0.0.0-64",
        "net--24",
    ] {
        assert_eq!(Network::from_chain_name(bad), None, "{bad}");
    }
}

#[test]
fn networks_lose_their_host_bits() {
    assert_eq!(network("10.88.0.77/24"), network("10.88.0.0/24"));
    assert_eq!(network("fd88::77/60"), network("fd88::/60"));
    assert_eq!(network("10.1.2.3/0").addr(), core::net::Ipv4Addr::UNSPECIFIED);
    assert_eq!(Network::new("10.0.0.0".parse().unwrap(), 33), None);
    assert_eq!(Network::new("fd00::".parse().unwrap(), 129), None);
}

#[test]
fn requests_for_one_entry_hold_its_key() {
    let mut buf = [0; 256];
    let mut batch = Batch::new(&mut buf);
    get(&mut batch, 7, &entries()[0]);
    let want = "44000000 0d0a 0100 07000000 00000000 01000000\
        0c000100 7069636f636e6900 09000200 616e793400000000\
        18000380 14000180 10000180 0c000100 06000000 1f900000";
    assert_eq!(batch.finish().unwrap(), bytes(&want.replace(' ', "")));
}
