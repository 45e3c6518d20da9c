//! Traffic shaping: token buckets in the kernel's units, and what is set on a link.
//!
//! The arithmetic is that of the reference plugins, so that each side's CHECK
//! agrees with the other's ADD; where theirs runs over 32 bits, ours stays at
//! the largest number.

use crate::name::IfIndex;
use crate::put;
use crate::text::{Put, Sink};

/// Kernel ticks in eight microseconds: one is 64 ns (PSCHED_SHIFT in
/// net/pkt_sched.h, the same since Linux 2.6.31; /proc/net/psched shows it).
const TICKS_IN_8_US: u64 = 125;

/// A token bucket (tc-tbf(8)) as the kernel keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bucket {
    /// Bytes a second, never 0.
    pub rate: u64,
    /// How long a full bucket lasts at that rate, in ticks of 64 ns.
    pub buffer: u32,
    /// Bytes that may wait, the bucket included.
    pub limit: u32,
}

impl Bucket {
    /// A bucket for `rate` bits a second that `burst` bits fill, whose queue is
    /// `latency_ms` long. `None`: the kernel would refuse it, since not one byte
    /// goes into it.
    #[must_use]
    pub fn new(rate: u64, burst: u64, latency_ms: u32) -> Option<Self> {
        let (rate, burst) = (rate >> 3, burst >> 3);
        let us = burst.saturating_mul(1_000_000).checked_div(rate)?;
        let buffer = saturated(us.saturating_mul(TICKS_IN_8_US) >> 3);
        let waiting = rate.saturating_mul(latency_ms.into()).saturating_div(1000);
        let limit = saturated(waiting).saturating_add(saturated(burst));
        let bucket = Bucket { rate, buffer, limit };
        (bucket.bytes() > 0).then_some(bucket)
    }

    /// Bytes that a full bucket holds, rounded down as the kernel rounds them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (u64::from(self.buffer) << 6).saturating_mul(self.rate).saturating_div(1_000_000_000)
    }
}

fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// How packets wait for tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Queue {
    /// In the bucket's own queue, first in, first out.
    #[default]
    Fifo,
    /// In a queue for each flow, shortened before they wait long (tc-fq_codel(8)).
    FqCodel {
        /// Microseconds that a packet may wait for long, 0 for the kernel's 5000.
        target_us: u32,
        /// Microseconds after which that is long, 0 for the kernel's 100000.
        interval_us: u32,
    },
}

/// What a link sends through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Root {
    /// The queue that the kernel gave it.
    Default,
    /// A token bucket with the handle that plugins give theirs, and whether
    /// fq_codel stands behind it.
    Bucket(Bucket, bool),
    /// Somebody else's.
    Other,
}

/// What becomes of the packets that a link receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Ingress {
    /// They are not classified.
    None,
    /// They could be, but there is no filter.
    Empty,
    /// All of them go to this link first; 0 if it is gone.
    Redirect(IfIndex),
    /// Somebody else's filters decide.
    Other,
}

/// How a link is shaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shaping {
    /// What it sends through.
    pub root: Root,
    /// What becomes of what it receives.
    pub ingress: Ingress,
}

impl Shaping {
    /// A link that nobody has shaped.
    pub const NONE: Self = Shaping { root: Root::Default, ingress: Ingress::None };
}

impl Put for Bucket {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, "rate ", self.rate, " B/s, buffer ", self.buffer, ", limit ", self.limit, " B");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_the_reference_plugins() {
        // 10 Mbit/s with 800 kbit: 81920 µs · 15.625, and 25 ms of 1.25 MB/s.
        let bucket = Bucket::new(10_000_000, 819_200, 25).unwrap();
        assert_eq!(bucket, Bucket { rate: 1_250_000, buffer: 1_280_000, limit: 31_250 + 102_400 });
        // Both divisions round down: 3 B at 7 B/s are 428571 µs and 6696421.875 ticks.
        assert_eq!(Bucket::new(56, 24, 25), Some(Bucket { rate: 7, buffer: 6_696_421, limit: 3 }));
        assert_eq!(Bucket::new(8, 8, 25), Some(Bucket { rate: 1, buffer: 15_625_000, limit: 1 }));
        assert_eq!(Bucket::new(8_000_000, 80_000, 100).unwrap().limit, 110_000);
    }

    #[test]
    fn large_numbers_stay_at_the_largest() {
        // containerd sends this burst; 10 Mbit/s would take 429 s to fill it.
        let burst = u64::from(u32::MAX);
        let slow = Bucket::new(10_000_000, burst, 25).unwrap();
        assert_eq!(slow, Bucket { rate: 1_250_000, buffer: u32::MAX, limit: 31_250 + 536_870_911 });
        let fast = Bucket::new(100_000_000, burst, 25).unwrap();
        assert_eq!(fast.buffer, 671_088_625);
        let most = Bucket::new(1 << 40, (u64::from(u32::MAX) - 1) * 8, 25).unwrap();
        assert_eq!(most.limit, u32::MAX);
    }

    #[test]
    fn a_bucket_without_a_byte_is_none() {
        for (rate, burst) in [(0, 8), (7, 8), (8, 0), (8, 7), (u64::MAX, 8)] {
            assert_eq!(Bucket::new(rate, burst, 25), None, "{rate} {burst}");
        }
    }
}
