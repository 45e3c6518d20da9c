//! What is written for policies, compared with what nft sends for the same thing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use core::net::IpAddr;

use picocni_core::limits;
use picocni_core::net::Cidr;
use picocni_core::op::{Policy, PolicyLine, PortRange};

use super::*;
use crate::socket::SEND;
use crate::wire::netfilter::layout::tests::{Flat, golden, ours};
use crate::wire::nftables::{Comment, Transaction};
use crate::wire::nlmsg::Batch;
extern crate std;
use std::vec::Vec;

const TAG: &str = "picocni:net:c1:eth0";
const NEWCHAIN: u16 = 0x0a03;
const NEWTABLE: u16 = 0x0a00;
const NEWSET: u16 = 0x0a09;
const NEWRULE: u16 = 0x0a06;

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text).unwrap()
}

fn lines() -> [PolicyLine; 7] {
    let allow = |peer, protocol, first, last| PolicyLine::Allow {
        direction: Direction::Ingress,
        peer,
        ports: Some(PortRange { protocol, first, last }),
    };
    [
        allow(Some(cidr("10.0.0.0/9")), 6, 80, 90),
        PolicyLine::Except(cidr("10.1.0.0/16")),
        PolicyLine::Except(cidr("10.2.0.0/15")),
        allow(Some(cidr("2001:db8::/33")), 132, 0, u16::MAX),
        PolicyLine::Except(cidr("2001:db8:3::/48")),
        allow(None, 17, 53, 53),
        PolicyLine::Allow { direction: Direction::Egress, peer: None, ports: None },
    ]
}

/// nft makes its table first, gives chains no comment here, and sends the kinds in another order.
fn comparable(all: Vec<Flat>) -> Vec<Flat> {
    let mut kept: Vec<Flat> = all.into_iter().filter(|message| message.kind != NEWTABLE).collect();
    kept.sort_by_key(|message| message.kind);
    for message in &mut kept {
        // NFTA_CHAIN_USERDATA, and NFTA_SET_ID, which is any number.
        let left_out = match message.kind {
            NEWCHAIN => 12,
            NEWSET => 10,
            _ => 0,
        };
        message.attrs.retain(|(path, _)| path[0] != left_out);
    }
    kept
}

fn assert_same(ours: Vec<Flat>, text: &str) {
    let (ours, nft) = (comparable(ours), comparable(golden(text)));
    assert!(!nft.is_empty());
    for (at, (our, their)) in ours.iter().zip(&nft).enumerate() {
        assert_eq!(our, their, "message {at}");
    }
    assert_eq!(ours.len(), nft.len());
}

#[test]
fn base_chains_are_what_nft_makes() {
    assert_same(ours(|tx| ensure(tx, Place::Routed)), include_str!("golden/base.hex"));
}

#[test]
fn a_chain_is_what_nft_makes() {
    let lines = lines();
    let policy = Policy { tag: TAG, addresses: &[], port: None, ingress: true, egress: false, lines: &lines };
    let (owner, digest) = (Comment::new(TAG).unwrap(), Comment::new("DIGEST").unwrap());
    let name = chain_name(TAG, Direction::Ingress);
    let address: IpAddr = "10.1.2.3".parse().unwrap();
    let made = ours(|tx| {
        write(tx, Place::Routed, &policy, Direction::Ingress, owner, digest);
        add(tx, Key::Address(address), Direction::Ingress, &name, owner);
    });
    // The flush is what nft has no part in here.
    let made = made.into_iter().filter(|message| message.kind != 0x0a08).collect();
    assert_same(made, include_str!("golden/chain.hex"));
    assert_eq!(rules(&policy, Direction::Ingress), 4);
}

/// CHECK counts them.
#[test]
fn base_chains_have_as_many_rules_as_is_said() {
    for place in Place::ALL {
        let made = ours(|tx| ensure(tx, place));
        let count = made.iter().filter(|message| message.kind == NEWRULE).count();
        assert_eq!(count, base_rules(place) * BASE_CHAINS.len(), "{place:?}");
        for name in BASE_CHAINS {
            assert!(made.iter().any(|message| message.kind == NEWCHAIN && message.has_text(name)), "{name}");
        }
    }
}

/// The largest policy of the largest attachment, in both tables, which have to be made.
#[test]
fn the_largest_policy_fits_into_one_batch() {
    let peer = Some(cidr("2001:db8::/33"));
    let ports = Some(PortRange { protocol: 17, first: 1, last: 2 });
    let lines = [PolicyLine::Allow { direction: Direction::Egress, peer, ports }; limits::POLICY_LINES];
    let tag = "t".repeat(limits::TAG);
    let policy = Policy { tag: &tag, addresses: &[], port: None, ingress: true, egress: true, lines: &lines };
    let (owner, digest) = (Comment::new(&tag).unwrap(), Comment::new("0123456789abcdef").unwrap());
    let address: IpAddr = "2001:db8::1".parse().unwrap();
    let mut buffer = std::vec![0u8; crate::socket::SEND];
    let mut batch = Batch::new(&mut buffer);
    let mut tx = Transaction::begin(&mut batch, 1);
    crate::wire::netfilter::layout::ensure_table(&mut tx);
    crate::wire::netfilter::guard::ensure_table(&mut tx);
    for place in Place::ALL {
        ensure(&mut tx, place);
        for direction in Direction::ALL {
            write(&mut tx, place, &policy, direction, owner, digest);
        }
    }
    for direction in Direction::ALL {
        for _ in 0..=limits::POLICY_ADDRESSES {
            let key = Key::Address(address);
            del(&mut tx, key, direction);
            add(&mut tx, key, direction, &chain_name(&tag, direction), owner);
        }
    }
    let _ = tx.commit();
    std::println!("{} of {SEND} bytes", batch.finish().expect("it fits").len());
}

#[test]
fn chains_have_names_of_their_own() {
    let name = chain_name(TAG, Direction::Ingress);
    assert_eq!(name, "in-ecc85dfe7f84d5e880c126457c86db18");
    assert_eq!(chain_name(TAG, Direction::Egress), "out-ecc85dfe7f84d5e880c126457c86db18");
    assert_ne!(chain_name("picocni:net:c2:eth0", Direction::Ingress), name);
}
