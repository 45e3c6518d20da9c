//! Rules and phrases. The arithmetic is checked against a model in the
//! `ipam_oracle` test of the `tests` workspace.
#![allow(clippy::unwrap_used, reason = "tests")]

use core::net::IpAddr;

use super::{AllocationError, Range, RangeError, RangeSet, RangeSpec, Search, SetsOverlap, check_sets};
use crate::net::Family;

use crate::text::{Put, fits};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn text(value: impl Put) -> heapless::String<256> {
    fits(&[&value]).unwrap()
}

fn spec(subnet: &str, prefix: u8) -> RangeSpec {
    RangeSpec { subnet: Some((ip(subnet), prefix)), ..RangeSpec::default() }
}

fn edges(subnet: &str, prefix: u8, start: &str, end: &str) -> RangeSpec {
    let edge = |t: &str| (!t.is_empty()).then(|| ip(t));
    RangeSpec { start: edge(start), end: edge(end), ..spec(subnet, prefix) }
}

fn refused(spec: &RangeSpec) -> heapless::String<256> {
    text(Range::new(spec).unwrap_err())
}

#[test]
fn defaults() {
    let v4 = Range::new(&spec("10.1.2.0", 24)).unwrap();
    assert_eq!((v4.start(), v4.end()), (ip("10.1.2.1"), ip("10.1.2.254")));
    assert_eq!((v4.gateway(), v4.len(), v4.family()), (ip("10.1.2.1"), 254, Family::V4));
    assert_eq!(text(v4), "10.1.2.1-10.1.2.254");
    let v6 = Range::new(&spec("2001:db8:1::", 64)).unwrap();
    assert_eq!(v6.end(), ip("2001:db8:1::ffff:ffff:ffff:ffff"));
    assert_eq!((v6.gateway(), v6.len()), (ip("2001:db8:1::1"), (1 << 64) - 1));
    let least = Range::new(&spec("10.0.0.4", 30)).unwrap();
    assert_eq!((least.start(), least.end()), (ip("10.0.0.5"), ip("10.0.0.6")));
    assert!(Range::new(&spec("::", 126)).is_ok());
    let all = Range::new(&spec("0.0.0.0", 0)).unwrap();
    assert_eq!((all.start(), all.end()), (ip("0.0.0.1"), ip("255.255.255.254")));
}

#[test]
fn mapped_addresses_are_ipv4() {
    let range = Range::new(&edges("10.1.2.0", 24, "::ffff:10.1.2.7", "10.1.2.9")).unwrap();
    assert_eq!(range.start(), ip("10.1.2.7"));
    assert!(range.contains(ip("::ffff:10.1.2.8")));
    let with_gateway = RangeSpec { gateway: Some(ip("::ffff:10.1.2.3")), ..spec("10.1.2.0", 24) };
    assert_eq!(Range::new(&with_gateway).unwrap().gateway(), ip("10.1.2.3"));
}

#[test]
fn the_peers_phrases() {
    assert_eq!(refused(&RangeSpec::default()), "subnet is required");
    assert_eq!(refused(&spec("10.1.2.0", 31)), "Network 10.1.2.0/31 too small to allocate from");
    assert_eq!(refused(&spec("10.1.2.0", 255)), "Network 10.1.2.0/255 too small to allocate from");
    assert_eq!(refused(&spec("fd00::", 127)), "Network fd00::/127 too small to allocate from");
    assert_eq!(
        refused(&spec("10.1.2.3", 24)),
        "Network has host bits set. For a subnet mask of length 24 the network address is 10.1.2.0"
    );
    assert_eq!(refused(&spec("::ffff:10.1.2.0", 120)), "IPNet IP and Mask version mismatch");
    let outside = "RangeStart 10.1.3.0 not in network 10.1.2.0/24";
    assert_eq!(refused(&edges("10.1.2.0", 24, "10.1.3.0", "")), outside);
    assert_eq!(refused(&edges("10.1.2.0", 24, "", "10.1.1.255")), "RangeEnd 10.1.1.255 not in network 10.1.2.0/24");
    // The default start is the network address plus one.
    assert_eq!(refused(&edges("10.1.2.0", 24, "", "10.1.2.0")), "RangeEnd 10.1.2.0 not in network 10.1.2.0/24");
    // Start after end is reported at the start.
    assert_eq!(
        refused(&edges("10.1.2.0", 24, "10.1.2.9", "10.1.2.8")),
        "RangeStart 10.1.2.9 not in network 10.1.2.0/24"
    );
    assert_eq!(refused(&edges("10.1.2.0", 24, "10.1.2.9", "fd00::1")), "RangeEnd fd00::1 not in network 10.1.2.0/24");
    assert_eq!(
        refused(&edges("10.1.2.0", 24, "10.1.2.255", "")),
        "RangeStart 10.1.2.255 is after the range's end 10.1.2.254"
    );
    // Given, the broadcast address is an end like any other.
    assert!(Range::new(&edges("10.1.2.0", 24, "10.1.2.255", "10.1.2.255")).is_ok());
}

#[test]
fn sets() {
    let a = Range::new(&edges("10.1.2.0", 24, "10.1.2.10", "10.1.2.19")).unwrap();
    let b = Range::new(&edges("10.1.2.0", 24, "10.1.2.20", "10.1.2.29")).unwrap();
    let c = Range::new(&edges("10.1.2.0", 24, "10.1.2.29", "10.1.2.40")).unwrap();
    let v6 = Range::new(&spec("fd00::", 64)).unwrap();
    assert_eq!(RangeSet::new(&[]), Err(RangeError::EmptySet));
    assert_eq!(RangeSet::new(&[a, v6]), Err(RangeError::MixedFamilies));
    assert_eq!(
        text(RangeSet::new(&[a, b, c]).unwrap_err()),
        "subnets 10.1.2.20-10.1.2.29 and 10.1.2.29-10.1.2.40 overlap"
    );
    let (ab, vs, cs) = ([a, b], [v6], [c]);
    let ab = RangeSet::new(&ab).unwrap();
    let v6 = RangeSet::new(&vs).unwrap();
    let c = RangeSet::new(&cs).unwrap();
    assert_eq!(check_sets(&[ab, v6]), Ok(()));
    assert_eq!(check_sets(&[v6, ab, c]), Err(SetsOverlap { first: 1, second: 2 }));
    assert_eq!(text(SetsOverlap { first: 0, second: 12 }), "range set 0 overlaps with 12");
}

#[test]
fn requests() {
    let gateway = RangeSpec { gateway: Some(ip("10.1.2.12")), ..edges("10.1.2.0", 24, "10.1.2.10", "10.1.2.19") };
    let ranges = [Range::new(&gateway).unwrap(), Range::new(&edges("10.1.3.0", 25, "", "")).unwrap()];
    let set = RangeSet::new(&ranges).unwrap();
    let found = set.request(ip("::ffff:10.1.3.5")).unwrap();
    assert_eq!((found.address, found.prefix, found.position), (ip("10.1.3.5"), 25, 14));
    assert_eq!(found.gateway, ip("10.1.3.1"));
    let name = "10.1.2.10-10.1.2.19,10.1.3.1-10.1.3.126";
    let mut wanted = text("10.1.2.9 not in range set ");
    wanted.push_str(name).unwrap();
    assert_eq!(text(set.request(ip("10.1.2.9")).unwrap_err()), wanted);
    assert_eq!(text(set.request(ip("10.1.2.12")).unwrap_err()), "requested ip 10.1.2.12 is subnet's gateway");
    let mut wanted = text("requested IP address 10.1.2.13 is not available in range set ");
    wanted.push_str(name).unwrap();
    assert_eq!(text(AllocationError::NotAvailable(ip("10.1.2.13"), set)), wanted);
    let mut wanted = text("no IP addresses available in range set: ");
    wanted.push_str(name).unwrap();
    assert_eq!(text(AllocationError::Exhausted(set)), wanted);
}

#[test]
fn a_search_without_words_is_not_an_exhausted_set() {
    let ranges = [Range::new(&spec("10.1.2.0", 24)).unwrap()];
    let set = RangeSet::new(&ranges).unwrap();
    assert!(Search::new(set, None, &mut []).is_none());
}

#[test]
fn address_texts() {
    // RFC 5952 section 4: shortest run, first of equal runs, no `::` for one group.
    for shown in [
        "::",
        "::1",
        "1::",
        "2001:db8::1",
        "2001:db8:0:1:1:1:1:1",
        "2001:0:0:1::1",
        "1:2:3:4:5:6::",
        "::2:3:4:5:6:7",
        "fe80::abcd:ef01:20:3",
        "0.0.0.0",
        "255.10.9.100",
    ] {
        assert_eq!(text(ip(shown)), shown);
    }
    assert_eq!(text(ip("2001:db8:0:0:1:0:0:1")), "2001:db8::1:0:0:1");
}
