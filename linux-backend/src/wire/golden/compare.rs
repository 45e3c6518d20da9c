//! Compares a request of ours with one of iproute2.
//!
//! `ip` writes attributes in the order of its arguments, so the two are
//! compared as header plus sorted attributes, nests taken apart.
#![allow(clippy::indexing_slicing, reason = "tests")]

extern crate std;

use super::super::attr::Attrs;
use super::super::nlmsg::Batch;
use super::{hex, only, written};
use core::net::IpAddr;
use std::vec::Vec;

pub(super) type Flat = Vec<(Vec<u16>, Vec<u8>)>;

pub(super) const LINK_HEADER: usize = 16;

pub(super) fn ip(text: &str) -> IpAddr {
    match text.parse() {
        Ok(ip) => ip,
        Err(error) => std::panic!("{text}: {error}"),
    }
}

/// The attributes below `path`, each with its path, nests taken apart.
/// `nested` tells for a path whether it holds attributes, and after how many
/// bytes of header.
pub(super) fn flatten(bytes: &[u8], path: &[u16], nested: fn(&[u16]) -> Option<usize>, out: &mut Flat) {
    let mut attrs = Attrs::new(bytes);
    for (kind, payload) in attrs.by_ref() {
        let mut here = path.to_vec();
        here.push(kind);
        match nested(&here) {
            Some(header) => {
                out.push((here.clone(), payload[..header].to_vec()));
                flatten(&payload[header..], &here, nested, out);
            }
            None => out.push((here, payload.to_vec())),
        }
    }
    assert!(!attrs.malformed());
}

pub(super) fn link_nests(path: &[u16]) -> Option<usize> {
    match path {
        // IFLA_LINKINFO, its INFO_DATA and INFO_SLAVE_DATA.
        [18] | [18, 2 | 5] => Some(0),
        // VETH_INFO_PEER starts with an ifinfomsg.
        [18, 2, 1] => Some(LINK_HEADER),
        _ => None,
    }
}

pub(super) fn route_nests(path: &[u16]) -> Option<usize> {
    (path == [8]).then_some(0)
}

pub(super) fn parts(bytes: &[u8], header: usize, nested: fn(&[u16]) -> Option<usize>) -> (u16, u16, Vec<u8>, Flat) {
    let message = only(bytes);
    let mut flat = Flat::new();
    flatten(&message.payload[header..], &[], nested, &mut flat);
    flat.sort();
    (message.kind, message.flags, message.payload[..header].to_vec(), flat)
}

/// Asserts that the two are the same but for order, padding and sequence.
pub(super) fn same(
    emit: impl FnOnce(&mut Batch<'_>),
    theirs: &str,
    header: usize,
    nested: fn(&[u16]) -> Option<usize>,
) {
    let (ours, theirs) = (written(emit), hex(theirs));
    assert_eq!(parts(&ours, header, nested), parts(&theirs, header, nested));
}

pub(super) fn same_link(emit: impl FnOnce(&mut Batch<'_>), theirs: &str) {
    same(emit, theirs, LINK_HEADER, link_nests);
}

pub(super) fn same_route(emit: impl FnOnce(&mut Batch<'_>), theirs: &str) {
    same(emit, theirs, 12, route_nests);
}

/// Asserts that the two are the same to the byte, sequence number apart.
pub(super) fn identical(emit: impl FnOnce(&mut Batch<'_>), theirs: &str) {
    let (mut ours, mut theirs) = (written(emit), hex(theirs));
    ours[8..12].fill(0);
    theirs[8..12].fill(0);
    assert_eq!(ours, theirs);
}
