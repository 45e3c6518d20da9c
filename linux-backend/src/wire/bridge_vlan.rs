//! VLANs of a bridge port (linux/if_bridge.h): `RTM_SETLINK` and `RTM_DELLINK`
//! of the family `AF_BRIDGE`.

use super::link::{IFLA_AF_SPEC, RTM_DELLINK, RTM_SETLINK};
use super::nlmsg::{Batch, NLM_F_ACK, NLM_F_REQUEST};

/// `AF_BRIDGE` (linux/socket.h).
const AF_BRIDGE: u8 = 7;
/// An attribute of `IFLA_AF_SPEC`: `struct bridge_vlan_info`.
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;

/// `BRIDGE_VLAN_INFO_*`: what comes in without a tag is of this VLAN, it goes
/// out without, and the ends of a range.
const PVID: u16 = 2;
const UNTAGGED: u16 = 4;
const RANGE_BEGIN: u16 = 8;
const RANGE_END: u16 = 16;

/// VLAN IDs, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First ID, from 1.
    pub first: u16,
    /// Last ID, to 4094.
    pub last: u16,
    /// Both ways without a tag; of one ID only.
    pub untagged: bool,
}

/// The port joins VLANs.
pub fn add(batch: &mut Batch<'_>, seq: u32, port: u32, ranges: impl Iterator<Item = Range>) {
    emit(batch, RTM_SETLINK, seq, port, ranges);
}

/// The port leaves VLANs; it need not be in them.
pub fn del(batch: &mut Batch<'_>, seq: u32, port: u32, ranges: impl Iterator<Item = Range>) {
    emit(batch, RTM_DELLINK, seq, port, ranges);
}

fn emit(batch: &mut Batch<'_>, kind: u16, seq: u32, port: u32, ranges: impl Iterator<Item = Range>) {
    batch.begin(kind, NLM_F_REQUEST | NLM_F_ACK, seq);
    // struct ifinfomsg.
    let [a, b, c, d] = port.to_ne_bytes();
    batch.put_header(&[AF_BRIDGE, 0, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]);
    let spec = batch.nest_begin(IFLA_AF_SPEC);
    for range in ranges {
        let flags = if range.untagged { PVID | UNTAGGED } else { 0 };
        if range.first == range.last {
            put(batch, flags, range.first);
        } else {
            put(batch, flags | RANGE_BEGIN, range.first);
            put(batch, flags | RANGE_END, range.last);
        }
    }
    batch.nest_end(spec);
    batch.end();
}

fn put(batch: &mut Batch<'_>, flags: u16, vid: u16) {
    let ([a, b], [c, d]) = (flags.to_ne_bytes(), vid.to_ne_bytes());
    batch.attr(IFLA_BRIDGE_VLAN_INFO, &[a, b, c, d]);
}
