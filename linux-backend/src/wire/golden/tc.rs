//! Traffic control: requests compared with those of iproute2 6.1, and answers of
//! Linux 6.18, from one fresh network namespace in which `vh` is link 3 and
//! `bwp0` link 4, on a little-endian machine.
#![allow(clippy::indexing_slicing, reason = "tests")]

extern crate std;

use picocni_core::shaping::Bucket;

use super::super::link::{LinkKind, NewLink};
use super::super::nlmsg::Message;
use super::super::tc::{self, Qdisc, Redirect, TCMSG_LEN};
use super::compare::{Flat, identical, parts, same, same_link};
use super::{hex, hurt, only, written};

/// Sent by `ip link add bwp0 address 02:00:00:00:00:01 mtu 1400 txqueuelen 0 type ifb`.
const IFB_NEW: &str = "\
    54000000100005068b0f066b00000000000000000000000000000000000000000a00010002000000\
    00010000080004007805000008000d00000000000900030062777030000000000c00120007000100\
    69666200";
/// Sent by `tc qdisc add dev vh root handle 1: tbf rate 10mbit burst 100kb latency 25ms`, without the table of 1024
/// bytes (attribute 2 of the options).
const TBF: &str = "\
    60000000240005068c0f066b00000000000000000300000000000100ffffffff0000000008000100\
    74626600340002002800010003010000ffff0000d0121300000000000000000000000000120a0200\
    00881300000000000800060000900100";
/// Sent by `tc qdisc add dev bwp0 root handle 1: tbf rate 5gibps burst 1mb limit 140mb`, without the table.
const TBF64: &str = "\
    6c000000240005068c0f066b00000000000000000400000000000100ffffffff0000000008000100\
    74626600400002002800010003010000ffff0000ffffffff0000000000000000000000000000c008\
    e40e00000000000008000600000010000c0004000000004001000000";
/// Sent by `tc qdisc add dev vh parent 1:1 fq_codel target 25ms interval 500ms`.
const FQ_CODEL: &str = "\
    48000000240005068c0f066b0000000000000000030000000000000001000100000000000d000100\
    66715f636f64656c00000000140002000800030020a1070008000100a8610000";
/// Sent by `tc qdisc add dev vh handle ffff: ingress`.
const INGRESS: &str = "\
    30000000240005068c0f066b0000000000000000030000000000fffff1ffffff000000000c000100\
    696e677265737300";
/// Sent by `tc filter add dev vh parent ffff: protocol all prio 1 u32 match u32 0 0 classid 1:1 action mirred egress redirect dev bwp0`.
const REDIRECT: &str = "\
    940000002c0005068c0f066b000000000000000003000000000000000000ffff0003010008000100\
    7533320068000200080001000100010038000700340001000b0001006d6972726564000024000280\
    20000200000000000000000004000000000000000000000001000000040000002400050001000100\
    00000000000000000000000000000000000000000000000000000000";
/// Sent by `tc qdisc del dev vh root handle 1:`.
const DEL_ROOT: &str = "\
    24000000250005008c0f066b00000000000000000300000000000100ffffffff00000000";
/// Sent by `tc qdisc del dev vh ingress`.
const DEL_INGRESS: &str = "\
    30000000250005008c0f066b0000000000000000030000000000fffff1ffffff000000000c000100\
    696e677265737300";
/// Sent by `tc filter show dev vh parent ffff:`.
const SHOW_FILTERS: &str = "\
    240000002e0001038c0f066b000000000000000003000000000000000000ffff00000000";
/// Answered to `tc qdisc show`: the one of vp.
const NOQUEUE: &str = "\
    94000000240002008c0f066bd45b0000000000000200000000000000ffffffff020000000c000100\
    6e6f71756575650005000c0000000000300007001400010000000000000000000000000000000000\
    1800030000000000000000000000000000000000000000002c000300000000000000000000000000\
    00000000000000000000000000000000000000000000000000000000";
/// Answered to `tc qdisc show`: the one of vh.
const TBF_THERE: &str = "\
    bc000000240002008c0f066bd45b0000000000000300000000000100ffffffff0300000008000100\
    746266002c000200280001000001000000000000d0121300000000000000000000000000120a0200\
    008813000000000005000c0000000000300007001400010000000000000000000000000000000000\
    1800030000000000000000000000000000000000000000002c000300000000000000000000000000\
    00000000000000000000000000000000000000000000000000000000";
/// Answered to `tc qdisc show`: the other one of vh.
const INGRESS_THERE: &str = "\
    98000000240002008c0f066bd45b000000000000030000000000fffff1ffffff010000000c000100\
    696e6772657373000400020005000c00000000003000070014000100000000000000000000000000\
    000000001800030000000000000000000000000000000000000000002c0003000000000000000000\
    0000000000000000000000000000000000000000000000000000000000000000";
/// Answered to `tc qdisc show`: the one of bwp0.
const TBF64_THERE: &str = "\
    c8000000240002008c0f066bd45b0000000000000400000000000100ffffffff0200000008000100\
    7462660038000200280001000001000000000000ffffffff0000000000000000000000000000c008\
    eb0b0000000000000c000400000000400100000005000c0000000000300007001400010000000000\
    0000000000000000000000001800030000000000000000000000000000000000000000002c000300\
    00000000000000000000000000000000000000000000000000000000000000000000000000000000";
/// Answered to `tc filter show dev vh parent ffff:`: the classifier.
const U32_HEAD: &str = "\
    340000002c0002008c0f066bd05b00000000000003000000000000000000ffff0003010008000100\
    7533320008000b0000000000";
/// Answered to `tc filter show dev vh parent ffff:`: its hash table.
const U32_TABLE: &str = "\
    400000002c0002008c0f066bd05b00000000000003000000000000800000ffff0003010008000100\
    7533320008000b00000000000c0002000800040001000000";
/// Answered to `tc filter show dev vh parent ffff:`: the filter.
const U32_RULE: &str = "\
    1c0100002c0002008c0f066bd05b00000000000003000000000800800000ffff0003010008000100\
    7533320008000b0000000000e8000200240005000100010000000000000000000000000000000000\
    0000000000000000000000000800020000000080080001000100010008000b0008000000a8000700\
    a40001000b0001006d69727265640000440004001400010000000000000000000000000000000000\
    14000700000000000000000000000000000000001800030000000000000000000000000000000000\
    0000000008000a000000000048000200200002000100000000000000040000000100000001000000\
    01000000040000002400010000000000000000000000000000000000000000000000000000000000\
    00000000";

const SLOW: Bucket = Bucket { rate: 1_250_000, buffer: 1_280_000, limit: 133_650 };

/// `TCA_OPTIONS`, and for u32 its actions, the first of them, and its options.
fn nests(path: &[u16]) -> Option<usize> {
    matches!(path, [2] | [2, 7] | [2, 7, 1] | [2, 7, 1, 2]).then_some(0)
}

fn parsed(bytes: &[u8]) -> (u16, u16, std::vec::Vec<u8>, Flat) {
    parts(bytes, TCMSG_LEN, nests)
}

#[test]
fn ifb() {
    let link = NewLink::new("bwp0", LinkKind::Ifb);
    let link = NewLink { mac: Some([2, 0, 0, 0, 0, 1]), mtu: Some(1400), txqlen: Some(0), ..link };
    same_link(|b| link.emit(b, 1), IFB_NEW);
}

/// iproute2 also sends a table of rates, which kernels since 3.8 compute by
/// themselves, with its cell size and alignment; and the burst in bytes, from
/// which the kernel computes the buffer anew.
#[test]
fn token_bucket() {
    for (link, bucket, theirs) in
        [(3, SLOW, TBF), (4, Bucket { rate: 5 << 30, buffer: 3812, limit: 146_800_640 }, TBF64)]
    {
        let ours = parsed(&written(|b| tc::add_bucket(b, 1, link, &bucket)));
        let mut theirs = parsed(&hex(theirs));
        theirs.3.retain(|(path, _)| path.as_slice() != [2, 6]);
        for (path, params) in &mut theirs.3 {
            if path.as_slice() == [2, 1] {
                params[0] = 0;
                params[4..6].fill(0);
            }
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn fair_queue() {
    let ours = parsed(&written(|b| tc::add_fq_codel(b, 1, 3, 25_000, 500_000)));
    let mut theirs = parsed(&hex(FQ_CODEL));
    // Not exclusive: the token bucket's own queue is replaced by it.
    assert_eq!((ours.1, theirs.1), (0x405, 0x605));
    theirs.1 = ours.1;
    assert_eq!(ours, theirs);
    // Times that are the kernel's are not sent.
    let plain = parsed(&written(|b| tc::add_fq_codel(b, 1, 3, 0, 0)));
    assert!(plain.3.iter().all(|(path, _)| path.len() == 1));
}

#[test]
fn ingress_and_its_redirection() {
    identical(|b| tc::add_ingress(b, 1, 3), INGRESS);
    same(|b| tc::add_redirect(b, 1, 3, 4), REDIRECT, TCMSG_LEN, nests);
    identical(|b| tc::dump_filters(b, 1, 3), SHOW_FILTERS);
}

#[test]
fn deletions() {
    identical(|b| tc::delete(b, 1, 3, tc::BUCKET_HANDLE, tc::ROOT), DEL_ROOT);
    // iproute2 names the kind too.
    let ours = parsed(&written(|b| tc::delete(b, 1, 3, tc::INGRESS_HANDLE, tc::INGRESS)));
    let mut theirs = parsed(&hex(DEL_INGRESS));
    assert_eq!(theirs.3.len(), 1);
    theirs.3.clear();
    assert_eq!(ours, theirs);
}

fn check<T: PartialEq + core::fmt::Debug>(captured: &str, parse: fn(&Message<'_>) -> Option<T>, expected: T) {
    let bytes = hex(captured);
    assert_eq!(parse(&only(&bytes)), Some(expected));
    hurt(&bytes, parse);
}

#[test]
fn qdiscs_that_are_there() {
    check(NOQUEUE, Qdisc::parse, Qdisc::Default);
    check(TBF_THERE, Qdisc::parse, Qdisc::Bucket(SLOW));
    check(INGRESS_THERE, Qdisc::parse, Qdisc::Ingress);
    // By the burst in bytes that iproute2 sends too.
    check(TBF64_THERE, Qdisc::parse, Qdisc::Bucket(Bucket { rate: 5 << 30, buffer: 3051, limit: 146_800_640 }));
    // Another handle: somebody else's.
    let mut other = hex(TBF_THERE);
    other[26] = 2;
    assert_eq!(Qdisc::parse(&only(&other)), Some(Qdisc::Other));
    // A clsact has the handle of an ingress qdisc.
    let mut clsact = hex(INGRESS_THERE);
    clsact[40..47].copy_from_slice(b"clsact\0");
    assert_eq!(Qdisc::parse(&only(&clsact)), Some(Qdisc::Other));
    assert_eq!(Qdisc::parse(&only(&hex(U32_RULE))), None);
}

#[test]
fn filters_that_are_there() {
    check(U32_RULE, Redirect::parse, Redirect::All(4));
    for part in [U32_HEAD, U32_TABLE, TBF_THERE] {
        assert_eq!(Redirect::parse(&only(&hex(part))), None);
    }
    // One that catches some, mirrors, or does something else entirely.
    let rule = hex(U32_RULE);
    let at = |what: &[u8]| rule.windows(what.len()).position(|window| window == what).unwrap_or(0);
    let kind = at(b"u32\0");
    let mask = at(&[0x24, 0, 5, 0]) + 4 + 16;
    let action = at(b"mirred\0");
    let verdict = at(&[4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0]) + 12;
    for (place, byte) in [(kind, b'v'), (mask, 0xff), (action, b'p'), (verdict, 2)] {
        let mut other = rule.clone();
        other[place] = byte;
        assert_eq!(Redirect::parse(&only(&other)), Some(Redirect::Other), "byte {place}");
    }
    // Its link is gone.
    let mut gone = rule.clone();
    gone[verdict + 4] = 0;
    assert_eq!(Redirect::parse(&only(&gone)), Some(Redirect::All(0)));
}
