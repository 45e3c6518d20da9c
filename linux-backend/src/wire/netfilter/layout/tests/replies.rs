//! What the kernel answers, read back.

use super::{bytes, entries, port};
use crate::wire::netfilter::layout::{LAYOUT, TABLE, decode};
use crate::wire::nftables::{ChainView, parse_elements, parse_generation, parse_table};
use crate::wire::nlmsg::{Message, Messages};
extern crate std;
use std::vec::Vec;

const REPLIES_HEX: &str = include_str!("../golden/replies.hex");

/// The datagram that the kernel sent under this heading of `replies.hex`.
fn reply(heading: &str) -> Vec<u8> {
    let mut lines = REPLIES_HEX.lines().skip_while(|l| l.strip_prefix("= ") != Some(heading));
    bytes(lines.nth(1).unwrap())
}

#[test]
fn kernel_shows_table_chains_and_generation() {
    let raw = reply("get table");
    let table = parse_table(&Messages::new(&raw).next().unwrap()).unwrap();
    assert_eq!(table.name, TABLE.name);
    assert_eq!(table.comment, Some(LAYOUT));
    assert_eq!(table.objects, 20, "7 chains and 13 sets");

    let raw = reply("get chain postrouting");
    let chain = ChainView::parse(&Messages::new(&raw).next().unwrap()).unwrap();
    assert_eq!((chain.table, chain.name), ("picocni", "postrouting"));
    assert_eq!((chain.hook, chain.used), (Some((4, 110)), 9));

    let raw = reply("get chain net-10.88.0.0-24");
    let chain = ChainView::parse(&Messages::new(&raw).next().unwrap()).unwrap();
    assert_eq!((chain.hook, chain.used, chain.comment), (None, 3, None));

    let raw = reply("get generation");
    let message = Messages::new(&raw).next().unwrap();
    assert_eq!(parse_generation(&message), Some(2));
    assert!(parse_table(&message).is_none());
}

#[test]
fn kernel_shows_elements() {
    let raw = reply("dump any4");
    let mut messages = Messages::new(&raw);
    let elements = parse_elements(&messages.next().unwrap()).unwrap();
    assert_eq!(elements.set, "any4");
    let found: Vec<_> = elements.filter_map(|e| decode("any4", &e)).collect();
    let want = [port("", 17, 53, "10.88.0.6:53"), port("", 6, 8080, "10.88.0.5:80")];
    assert_eq!(found, want);
    assert_eq!(parse_elements(&messages.next().unwrap()).unwrap().count(), 0);
    assert_eq!(messages.next().unwrap().done().unwrap().errno, 0);

    let raw = reply("get masq6 fd88::5");
    let mut elements = parse_elements(&Messages::new(&raw).next().unwrap()).unwrap();
    let elem = elements.next().unwrap();
    assert_eq!(elem.comment, Some("net/0123456789abcdef/eth0"));
    assert_eq!(decode(elements.set, &elem), Some(entries()[12]));

    let raw = reply("get a missing port");
    let ack = Messages::new(&raw).next().unwrap().ack().unwrap();
    assert_eq!(ack.errno, 2);
}

#[test]
fn cut_replies_do_no_harm() {
    let mut whole = 0;
    for line in REPLIES_HEX.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_hexdigit())) {
        let raw = bytes(line);
        for message in Messages::new(&raw) {
            for n in 0..=message.payload.len() {
                let cut = Message { payload: &message.payload[..n], ..message };
                let table = parse_table(&cut).is_some();
                let chain = ChainView::parse(&cut).is_some();
                let generation = parse_generation(&cut).is_some();
                let mut entries = 0;
                if let Some(elements) = parse_elements(&cut) {
                    entries += elements.filter_map(|e| decode(elements.set, &e)).count();
                }
                if n == message.payload.len() {
                    whole += usize::from(table || chain || generation) + entries;
                }
            }
        }
    }
    assert_eq!(whole, 4 + 5, "views and entries in the file");
}
