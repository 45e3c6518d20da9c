//! Golden bytes: our requests against those of iproute2, our readers against
//! what the kernel answered. Captured on a little-endian machine.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod compare;
mod framing;
mod iproute;
mod kernel;
mod link_requests;
mod net_requests;
mod replies;
mod tc;

extern crate std;

use super::nlmsg::{Batch, Message, Messages};
use std::vec::Vec;

/// Bytes of hexadecimal text.
fn hex(text: &str) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes: Vec<u8> = text
        .as_bytes()
        .as_chunks::<2>()
        .0
        .iter()
        .filter_map(|[high, low]| Some((digit(*high)? << 4) | digit(*low)?))
        .collect();
    assert_eq!(text.len(), bytes.len().saturating_mul(2), "not hexadecimal");
    bytes
}

/// The only message of a datagram.
fn only(bytes: &[u8]) -> Message<'_> {
    let mut messages = Messages::new(bytes);
    let message = messages.next();
    assert_eq!(messages.next(), None, "more than one message");
    assert!(!messages.truncated(), "trailing bytes");
    message.unwrap_or_else(|| std::panic!("no message"))
}

/// What `emit` writes.
fn written(emit: impl FnOnce(&mut Batch<'_>)) -> Vec<u8> {
    // Not zero, so that padding that is not written shows.
    let mut buf = [0xa5; 512];
    let mut batch = Batch::new(&mut buf);
    emit(&mut batch);
    assert_eq!(batch.message_count(), 1);
    match batch.finish() {
        Ok(bytes) => bytes.to_vec(),
        Err(overflow) => std::panic!("{overflow:?}"),
    }
}

/// Feeds every shorter version of a captured message to a reader, first with
/// the header corrected to the new length (so that the payload is what is cut),
/// then as it is, then with each byte changed. None may panic.
fn hurt<T>(bytes: &[u8], parse: impl Fn(&Message<'_>) -> T) {
    let feed = |bytes: &[u8]| {
        for message in Messages::new(bytes) {
            parse(&message);
        }
    };
    for end in 0..bytes.len() {
        let mut cut = bytes.get(..end).unwrap_or(&[]).to_vec();
        feed(&cut);
        let len = u32::try_from(end).unwrap_or(0).to_ne_bytes();
        for (to, from) in cut.iter_mut().zip(len) {
            *to = from;
        }
        feed(&cut);
        for value in [0, 1, 3, 0x7f, 0xff] {
            let mut changed = bytes.to_vec();
            if let Some(byte) = changed.get_mut(end) {
                *byte = value;
            }
            feed(&changed);
        }
    }
}
