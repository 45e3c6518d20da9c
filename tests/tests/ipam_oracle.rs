//! `core::ipam` against a naive model: every pool up to 12 bits, every place to
//! resume from, random histories, windows of several sizes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::expect_used,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::net::IpAddr;

use picocni_core::ipam::{Candidate, Range, RangeSet, RangeSpec, Search, bitmap};
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn plus(base: IpAddr, n: u32) -> IpAddr {
    match base {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) + n).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) + u128::from(n)).into()),
    }
}

/// One range of the model: plain lists of addresses.
struct NaiveRange {
    addresses: Vec<IpAddr>,
    gateway: IpAddr,
}

/// The reference plugin's iterator, step by step: a cursor that advances before
/// each answer, and a start that ends the loop when it is met again.
fn naive_order(ranges: &[NaiveRange], last: Option<IpAddr>) -> Vec<IpAddr> {
    let mut out = Vec::new();
    let found = last.and_then(|last| {
        ranges.iter().enumerate().find_map(|(r, range)| range.addresses.iter().position(|a| *a == last).map(|i| (r, i)))
    });
    let mut cursor = found;
    let mut start = None;
    loop {
        let next = match cursor {
            None => (0, 0),
            Some((r, i)) if i + 1 == ranges[r].addresses.len() => ((r + 1) % ranges.len(), 0),
            Some((r, i)) => (r, i + 1),
        };
        cursor = Some(next);
        if start == Some(next) {
            return out;
        }
        start.get_or_insert(next);
        let address = ranges[next.0].addresses[next.1];
        if address != ranges[next.0].gateway {
            out.push(address);
        }
    }
}

/// A range over `first..=last` offsets of a subnet, in both forms.
fn both(base: IpAddr, prefix: u8, first: u32, last: u32, gateway: u32) -> (Range, NaiveRange) {
    let spec = RangeSpec {
        subnet: Some((base, prefix)),
        start: Some(plus(base, first)),
        end: Some(plus(base, last)),
        gateway: Some(plus(base, gateway)),
    };
    let naive = NaiveRange { addresses: (first..=last).map(|n| plus(base, n)).collect(), gateway: plus(base, gateway) };
    (Range::new(&spec).unwrap(), naive)
}

fn bases() -> [(IpAddr, u8); 2] {
    [(ip("10.16.0.0"), 32), (ip("fd00:1:2:3::f000"), 128)]
}

/// What a search finds, driven as its documentation says.
fn search(
    set: RangeSet<'_>,
    last: Option<IpAddr>,
    words: &mut [u64],
    taken: &BTreeSet<IpAddr>,
) -> (Option<Candidate>, u128) {
    // Dirt from an earlier use must not matter.
    words.fill(0xdead_beef_dead_beef);
    let mut search = Search::new(set, last, words).unwrap();
    let (mut passes, mut marked) = (1, 0);
    loop {
        for address in taken {
            marked += usize::from(search.mark(*address));
        }
        if let Some(candidate) = search.next_free() {
            assert!(passes <= search.passes());
            return (Some(candidate), passes);
        }
        if !search.advance() {
            assert_eq!(passes, search.passes());
            // Windows do not overlap: each address belonged to exactly one.
            assert_eq!(marked, taken.iter().filter(|a| set.position(**a).is_some()).count());
            return (None, passes);
        }
        passes += 1;
    }
}

/// A cheap deterministic source of occupancy patterns.
fn mixed(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Checks order, position and number of one set from every place to resume.
fn every_resume_point(ranges: &[Range], naive: &[NaiveRange]) {
    let set = RangeSet::new(ranges).unwrap();
    let all: Vec<IpAddr> = naive.iter().flat_map(|r| r.addresses.clone()).collect();
    assert_eq!(set.len(), all.len() as u128);
    for (index, address) in all.iter().enumerate() {
        assert_eq!(set.position(*address), Some(index as u128));
        assert_eq!(set.at(index as u128).unwrap().address, *address);
    }
    assert_eq!(set.at(all.len() as u128), None);

    let stranger = ip("192.0.2.1");
    let lasts = all.iter().copied().map(Some).chain([None, Some(stranger)]);
    for last in lasts {
        let wanted = naive_order(naive, last);
        let ours: Vec<IpAddr> = set.round_robin(last).map(|c| c.address).collect();
        assert_eq!(ours, wanted, "last {last:?}");
    }
}

#[test]
fn default_ranges_of_every_small_prefix_in_both_families() {
    for (base, width) in bases() {
        for host_bits in 2..=12u8 {
            let size = 1u32 << host_bits;
            let spec = RangeSpec { subnet: Some((base, width - host_bits)), ..Default::default() };
            let range = Range::new(&spec).unwrap();
            let last = if base.is_ipv4() { size - 2 } else { size - 1 };
            assert_eq!((range.start(), range.end()), (plus(base, 1), plus(base, last)));
            assert_eq!(range.gateway(), plus(base, 1));
            let naive = NaiveRange { addresses: (1..=last).map(|n| plus(base, n)).collect(), gateway: plus(base, 1) };
            every_resume_point(&[range], &[naive]);
        }
    }
}

#[test]
fn every_start_end_and_gateway_of_a_small_subnet() {
    let base = ip("10.1.2.0");
    for first in 0..16 {
        for last in first..16 {
            for gateway in 0..16 {
                let (range, naive) = both(base, 28, first, last, gateway);
                every_resume_point(&[range], &[naive]);
            }
        }
    }
}

#[test]
fn ranges_follow_each_other_in_the_order_of_the_configuration() {
    // Later addresses first, two ranges of one subnet, each with a gateway of
    // its own inside, outside, or inside the other range.
    let base = ip("10.1.0.0");
    for gateway in [0, 1, 40, 60, 200] {
        let (a, na) = both(base, 24, 50, 99, gateway);
        let (b, nb) = both(base, 24, 10, 49, 1);
        let (c, nc) = both(ip("10.9.0.0"), 30, 1, 1, 1);
        every_resume_point(&[a, b, c], &[na, nb, nc]);
    }
}

#[test]
fn search_equals_trying_in_turn_for_every_resume_point_and_window() {
    for (base, width) in bases() {
        for host_bits in 2..=12u8 {
            let top = (1u32 << host_bits) - 2;
            let (range, naive) = both(base, width - host_bits, 1, top, 1);
            let (ranges, naive) = ([range], [naive]);
            let set = RangeSet::new(&ranges).unwrap();
            // One window of a 12-bit pool holds everything; one word needs many.
            // Small windows on large pools are cubic: only some places there.
            for (words, every) in [(64usize, 1usize), (3, 7), (1, 61)] {
                let mut words = vec![0u64; words];
                let every = if host_bits <= 7 { 1 } else { every };
                let every = if host_bits >= 10 { every * 4 + 1 } else { every };
                for index in (0..naive[0].addresses.len()).step_by(every) {
                    let last = Some(naive[0].addresses[index]);
                    let order = naive_order(&naive, last);
                    // Everything before a random place is taken, and half after it.
                    let cut = mixed(index as u64) as usize % (order.len() + 1);
                    let taken: BTreeSet<IpAddr> = order
                        .iter()
                        .enumerate()
                        .filter(|(n, _)| *n < cut || mixed(*n as u64) & 1 == 0)
                        .map(|(_, address)| *address)
                        .collect();
                    let wanted = order.iter().find(|address| !taken.contains(address));
                    let (found, _) = search(set, last, &mut words, &taken);
                    assert_eq!(found.map(|c| c.address).as_ref(), wanted);
                }
            }
        }
    }
}

#[test]
fn a_lone_free_address_is_found_from_everywhere() {
    let (range, naive) = both(ip("10.1.2.0"), 24, 3, 202, 7);
    let (ranges, naive) = ([range], [naive]);
    let set = RangeSet::new(&ranges).unwrap();
    let order = naive_order(&naive, None);
    let mut words = [0u64; 1];
    for free in order.iter().step_by(3) {
        let taken: BTreeSet<IpAddr> = order.iter().copied().filter(|a| a != free).collect();
        for last in order.iter().step_by(5) {
            let (found, passes) = search(set, Some(*last), &mut words, &taken);
            assert_eq!(found.map(|c| c.address), Some(*free));
            let distance = naive[0].addresses.len() - 1;
            assert!(passes as usize <= distance / 64 + 1);
        }
    }
    let full: BTreeSet<IpAddr> = order.iter().copied().collect();
    assert_eq!(search(set, Some(order[9]), &mut words, &full), (None, 4));
}

#[test]
fn huge_sets_are_searched_from_the_resume_point() {
    let spec = RangeSpec { subnet: Some((ip("fd00::"), 64)), ..Default::default() };
    let ranges = [Range::new(&spec).unwrap()];
    let set = RangeSet::new(&ranges).unwrap();
    assert_eq!(set.len(), u128::from(u64::MAX));
    let mut words = [0u64; 4];
    // Near the end: the order goes on at the start, without the gateway ::1.
    let last = ip("fd00::ffff:ffff:ffff:fffd");
    let taken: BTreeSet<IpAddr> =
        ["fd00::ffff:ffff:ffff:fffe", "fd00::ffff:ffff:ffff:ffff", "fd00::2", "fd00::4"].map(ip).into();
    let (found, passes) = search(set, Some(last), &mut words, &taken);
    assert_eq!((found.unwrap().address, passes), (ip("fd00::3"), 1));

    // The whole of IPv6, numbering at its limits.
    let spec = RangeSpec { subnet: Some((ip("::"), 0)), ..Default::default() };
    let ranges = [Range::new(&spec).unwrap()];
    let set = RangeSet::new(&ranges).unwrap();
    assert_eq!(set.len(), u128::MAX);
    let end = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert_eq!(set.position(end), Some(u128::MAX - 1));
    let (found, _) = search(set, Some(end), &mut words, &BTreeSet::new());
    assert_eq!(found.unwrap().address, ip("::2"));
    let before = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe");
    let (found, _) = search(set, Some(before), &mut words, &[end].into());
    assert_eq!(found.unwrap().address, ip("::2"));
}

#[test]
fn bitmap_functions_equal_a_set_at_every_length() {
    for len in 0..=200usize {
        let mut words = [0u64; 3];
        let mut model = BTreeSet::new();
        for step in 0..120u64 {
            let random = mixed(step.wrapping_mul(1009) ^ len as u64);
            let n = (random >> 8) as usize % 210;
            if random & 3 == 0 {
                assert_eq!(bitmap::release(&mut words, n), model.remove(&n));
            } else {
                let fits = n < 192;
                assert_eq!(bitmap::reserve(&mut words, n), fits && model.insert(n));
            }
            let free = |n: &usize| *n < 192 && *n < len && !model.contains(n);
            let wanted = (n..len).find(|n| free(n));
            assert_eq!(bitmap::next_free(&words, n, len), wanted, "len {len} from {n}");
            let from = if n < len { n } else { 0 };
            let round = (from..len).chain(0..from).find(|n| free(n));
            assert_eq!(bitmap::next_free_round(&words, n, len), round);
            assert_eq!(bitmap::count_taken(&words, len), model.range(..len).count());
            assert_eq!(bitmap::is_taken(&words, n), n >= 192 || model.contains(&n));
        }
    }
}

proptest! {
    /// A life of allocations and releases: the address is always the one that
    /// trying in turn would give.
    #[test]
    fn histories(
        first in 0u32..80, len in 1u32..300, gateway in 0u32..512, words in 1usize..6,
        second in 1u32..60, events in prop::collection::vec(any::<u16>(), 1..400),
    ) {
        let (a, na) = both(ip("10.0.0.0"), 23, first, first + len, gateway);
        let (b, nb) = both(ip("10.0.2.0"), 24, 1, second, 1);
        let (ranges, naive) = ([a, b], [na, nb]);
        let set = RangeSet::new(&ranges).unwrap();
        let mut words = vec![0u64; words];
        let mut held: Vec<IpAddr> = Vec::new();
        let mut taken = BTreeSet::new();
        let mut last = None;
        for event in events {
            if event & 7 == 0 && !held.is_empty() {
                let victim = held.swap_remove(usize::from(event >> 3) % held.len());
                taken.remove(&victim);
                continue;
            }
            let wanted = naive_order(&naive, last).into_iter().find(|a| !taken.contains(a));
            let (found, _) = search(set, last, &mut words, &taken);
            prop_assert_eq!(found.map(|c| c.address), wanted);
            if let Some(c) = found {
                prop_assert_eq!(set.request(c.address), Ok(c));
                taken.insert(c.address);
                held.push(c.address);
                last = Some(c.address);
            }
        }
    }

    /// Whatever a configuration says: an error, or a range that keeps its promises.
    #[test]
    fn any_spec_is_refused_or_canonical(
        subnet in prop::option::of((any_ip(), any::<u8>())),
        start in prop::option::of(any_ip()), end in prop::option::of(any_ip()),
        gateway in prop::option::of(any_ip()), near in any::<bool>(), bits in 0u8..30,
    ) {
        // Half of the cases: everything close to the subnet, else hardly any is valid.
        let pull = |a: Option<IpAddr>| match (near, subnet, a) {
            (true, Some((IpAddr::V4(n), _)), Some(IpAddr::V4(a))) => {
                let mask = u32::MAX >> (bits.min(31));
                Some(IpAddr::V4(((u32::from(n) & !mask) | (u32::from(a) & mask)).into()))
            }
            (_, _, a) => a,
        };
        let subnet = match (near, subnet) {
            (true, Some((IpAddr::V4(n), _))) => {
                let mask = u32::MAX >> (bits.min(31));
                Some((IpAddr::V4((u32::from(n) & !mask).into()), bits))
            }
            (_, s) => s,
        };
        let spec = RangeSpec { subnet, start: pull(start), end: pull(end), gateway };
        match Range::new(&spec) {
            Ok(range) => {
                prop_assert!(range.contains(range.start()) && range.contains(range.end()));
                prop_assert!(!range.is_empty() && range.start() <= range.end());
                for (given, made) in [(spec.start, range.start()), (spec.end, range.end())] {
                    prop_assert!(given.is_none_or(|g| g.to_canonical() == made));
                }
                // Canonical again gives the same.
                let again = RangeSpec {
                    subnet: Some(range.subnet()), start: Some(range.start()),
                    end: Some(range.end()), gateway: Some(range.gateway()),
                };
                prop_assert_eq!(Range::new(&again), Ok(range));
            }
            Err(error) => prop_assert!(!text(&error).is_empty()),
        }
    }

    /// Our text of addresses is the standard library's.
    #[test]
    fn address_text(address in any_ip(), mask in any::<u128>()) {
        let sparse = match address {
            // Runs of zero groups are what the text form is about.
            IpAddr::V6(a) => IpAddr::V6((u128::from(a) & spread(mask)).into()),
            v4 => v4,
        };
        for a in [address, sparse] {
            prop_assert_eq!(text(&a), a.to_string());
        }
    }
}

fn text(value: &dyn picocni_core::text::Put) -> String {
    picocni_core::text::fits::<256>(&[value]).expect("fits").to_string()
}

/// Every bit of the lowest byte becomes a group of all zeros or all ones.
fn spread(mask: u128) -> u128 {
    (0..8).filter(|n| mask >> n & 1 == 1).map(|n| 0xffffu128 << (16 * n)).sum()
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|n| IpAddr::V4(n.into())),
        any::<u128>().prop_map(|n| IpAddr::V6(n.into())),
        any::<u32>().prop_map(|n| IpAddr::V6((0xffff_0000_0000 | u128::from(n)).into())),
    ]
}
