//! The batch builder and the message reader, without any family.
#![allow(clippy::indexing_slicing, reason = "tests")]

extern crate std;

use super::super::extack::Extack;
use super::super::nlmsg::{Ack, Batch, Messages, NLM_F_ACK_TLVS, Overflow};
use super::{hex, hurt, kernel, only};
use std::vec::Vec;

fn fill(batch: &mut Batch<'_>) {
    batch.begin(16, 5, 1);
    batch.put_header(&[1, 2, 3]);
    batch.attr_u8(7, 0xff);
    let nest = batch.nest_begin(18);
    batch.attr_str0(1, "ab");
    batch.nest_end(nest);
    batch.end();
    batch.begin(17, 1, 2);
    batch.attr_be16(2, 0x0102);
}

#[test]
fn layout() {
    let mut buf = [0xa5; 128];
    let mut batch = Batch::new(&mut buf);
    fill(&mut batch);
    assert_eq!(batch.message_count(), 2);
    let bytes = batch.finish().map(<[u8]>::to_vec).unwrap_or_default();
    #[rustfmt::skip]
    let expected: Vec<u8> = [
        40, 0, 0, 0, 16, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        1, 2, 3, 0,
        5, 0, 7, 0, 0xff, 0, 0, 0,
        12, 0, 18, 0x80, 7, 0, 1, 0, b'a', b'b', 0, 0,
        24, 0, 0, 0, 17, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        6, 0, 2, 0, 1, 2, 0, 0,
    ].to_vec();
    assert_eq!(bytes, expected);
    let kinds: Vec<_> = Messages::new(&bytes).map(|m| (m.kind, m.seq)).collect();
    assert_eq!(kinds, [(16, 1), (17, 2)]);
}

#[test]
fn overflow_sticks_at_every_size() {
    for size in 0..64 {
        let mut buf = [0xa5; 80];
        let mut batch = Batch::new(&mut buf[..size]);
        fill(&mut batch);
        // A small thing after the overflow must not slip in.
        let len = batch.len();
        batch.attr(1, &[]);
        assert_eq!(batch.len(), len, "size {size}");
        assert!(batch.overflowed(), "size {size}");
        assert_eq!(batch.finish(), Err(Overflow), "size {size}");
        batch.clear();
        assert_eq!(batch.finish(), Ok(&[][..]), "size {size}");
        assert!(buf[size..].iter().all(|b| *b == 0xa5), "size {size}");
    }
    let mut buf = [0; 64];
    let mut batch = Batch::new(&mut buf);
    fill(&mut batch);
    assert_eq!(batch.finish().map(<[u8]>::len), Ok(64));
}

#[test]
fn attribute_longer_than_its_length_field() {
    let mut buf = std::vec![0; 200_000];
    let payload = std::vec![0; 65_532];
    let mut batch = Batch::new(&mut buf);
    batch.begin(1, 1, 1);
    batch.attr(1, &payload[..65_531]);
    assert!(!batch.overflowed());
    batch.attr(1, &payload);
    assert!(batch.overflowed());
    batch.clear();
    batch.begin(1, 1, 1);
    let nest = batch.nest_begin(1);
    batch.attr(1, &payload[..40_000]);
    batch.attr(1, &payload[..40_000]);
    batch.nest_end(nest);
    assert!(batch.overflowed());
}

#[test]
fn lying_lengths_are_reported() {
    let bytes = hex(kernel::DONE);
    for lie in [0u32, 1, 15, 21, 0x7fff_ffff, u32::MAX] {
        let mut bad = bytes.clone();
        bad[..4].copy_from_slice(&lie.to_ne_bytes());
        let mut messages = Messages::new(&bad);
        assert_eq!(messages.next(), None, "length {lie}");
        assert!(messages.truncated(), "length {lie}");
    }
    for end in 1..bytes.len() {
        let mut messages = Messages::new(&bytes[..end]);
        assert_eq!(messages.next(), None);
        assert!(messages.truncated());
    }
    assert!(Messages::new(&[]).next().is_none());
}

#[test]
fn acknowledgements() {
    let bytes = hex(kernel::ACK);
    let ack = only(&bytes).ack();
    assert_eq!(ack.map(|a| (a.errno, a.request_kind)), Some((0, 16)));
    assert_eq!(ack.map(|a| a.extack), Some(Extack::default()));

    // Echoed whole, without words: EEXIST.
    let bytes = hex(kernel::ERROR_PLAIN);
    let ack = only(&bytes).ack();
    assert_eq!(ack.map(|a| (a.errno, a.request_kind)), Some((17, 16)));
    assert_eq!(ack.map(|a| a.extack), Some(Extack::default()));

    // Echoed whole, with words: ENETUNREACH.
    let bytes = hex(kernel::ERROR_TEXT);
    let message = only(&bytes);
    let expected = Ack {
        seq: message.seq,
        errno: 101,
        request_kind: 24,
        extack: Extack { message: Some("Nexthop has invalid gateway"), offset: None, missing_kind: None },
    };
    assert_eq!(message.ack(), Some(expected));
    assert_eq!(message.done(), None);
    for bytes in [kernel::ACK, kernel::ERROR_PLAIN, kernel::ERROR_TEXT, kernel::DONE] {
        hurt(&hex(bytes), |m| (m.ack().is_some(), m.done().is_some()));
    }
}

/// Short of an errno is not a success.
#[test]
fn acknowledgement_cut_short() {
    let mut buf = [0; 32];
    let mut batch = Batch::new(&mut buf);
    batch.begin(2, 0, 9);
    let bytes = batch.finish().unwrap_or_default();
    assert_eq!(only(bytes).ack().map(|a| a.errno), Some(5));
}

/// Built by the description in `netlink.h`: capped to the request's header,
/// with an offset and a missing attribute.
#[test]
fn capped_acknowledgement() {
    let mut buf = [0; 128];
    let mut batch = Batch::new(&mut buf);
    batch.begin(2, NLM_F_ACK_TLVS | 0x100, 9);
    batch.put_header(&(-22i32).to_ne_bytes());
    // The request's header, which tells of more bytes than are here.
    batch.put_header(&[200, 0, 0, 0, 24, 0, 5, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    batch.attr_str0(1, "no");
    batch.attr_u32(2, 36);
    batch.attr_u32(5, 4);
    let bytes = batch.finish().unwrap_or_default().to_vec();
    let expected = Ack {
        seq: 9,
        errno: 22,
        request_kind: 24,
        extack: Extack { message: Some("no"), offset: Some(36), missing_kind: Some(4) },
    };
    assert_eq!(only(&bytes).ack(), Some(expected));
    // Not capped, the same bytes hold no attributes where the header says.
    let mut whole = bytes;
    whole[7] &= !1;
    assert_eq!(only(&whole).ack().map(|a| a.extack), Some(Extack::default()));
}

#[test]
fn end_of_a_dump() {
    let bytes = hex(kernel::DONE);
    let message = only(&bytes);
    assert_eq!(message.done().map(|d| d.errno), Some(0));
    assert!(message.is_multipart());
    assert!(!message.dump_interrupted());
    assert!(!message.is_overrun());
    let mut failed = bytes.clone();
    failed[6] |= 0x10;
    failed[16..20].copy_from_slice(&(-2i32).to_ne_bytes());
    let message = only(&failed);
    assert_eq!(message.done().map(|d| d.errno), Some(2));
    assert!(message.dump_interrupted());
}
