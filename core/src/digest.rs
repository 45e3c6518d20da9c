//! Names and MAC addresses derived from identities.
//!
//! Two functions with two purposes: SHA-512 where the reference plugins use it
//! and the result must be the same (iptables chains, `cnitool`'s container ID),
//! and a small 64-bit hash for names of our own.

use heapless::String;
use sha2::{Digest, Sha512};

/// Hex digits of a whole SHA-512 value.
pub const SHA512_HEX_CHARS: usize = 128;

/// Hex digits of `cnitool`'s container ID: the first 10 bytes of SHA-512 of the
/// network namespace's path, after `cnitool-`.
pub const CNITOOL_ID_HEX_CHARS: usize = 20;

/// The text does not fit: more than [`SHA512_HEX_CHARS`] digits were asked for,
/// or the string's capacity is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DoesNotFit;

impl core::fmt::Display for DoesNotFit {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str("derived name does not fit")
    }
}

impl core::error::Error for DoesNotFit {}

/// Appends the first `hex_chars` lower-case hex digits of SHA-512 over the
/// parts, one after the other without separator (as the reference plugins join
/// network name and container ID).
///
/// What `out` holds already stays, so a prefix can be written first.
///
/// # Errors
/// [`DoesNotFit`]; `out` is then unchanged.
pub fn hex_of<const N: usize>(parts: &[&[u8]], out: &mut String<N>, hex_chars: usize) -> Result<(), DoesNotFit> {
    let room = N.saturating_sub(out.len());
    if hex_chars > SHA512_HEX_CHARS || hex_chars > room {
        return Err(DoesNotFit);
    }
    let mut hasher = Sha512::new();
    for part in parts {
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    for digit in digits.take(hex_chars) {
        out.push(hex_char(u16::from(digit))).map_err(|_| DoesNotFit)?;
    }
    Ok(())
}

/// The lower-case hex digit of the low four bits. (`char::from_digit` would
/// bring a panic for its radix.)
pub(crate) fn hex_char(value: u16) -> char {
    let digit = u8::try_from(value & 0xf).unwrap_or(0);
    let base = if digit < 10 { b'0' } else { b'a'.wrapping_sub(10) };
    char::from(base.wrapping_add(digit))
}

/// FNV-1a, 64 bits, continued from `state`.
const fn fnv1a(mut state: u64, mut bytes: &[u8]) -> u64 {
    while let Some((&byte, rest)) = bytes.split_first() {
        state = (state ^ byte as u64).wrapping_mul(FNV_PRIME);
        bytes = rest;
    }
    state
}

/// FNV-1a's offset basis and prime (draft-eastlake-fnv, section 5).
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The same 64-bit number for the same parts, on every machine and in every
/// version: names and MAC addresses are derived from it.
///
/// FNV-1a over each part followed by its length (so that `["ab", "c"]` and
/// `["a", "bc"]` differ), then a finaliser, because FNV's high bits depend
/// little on the last bytes and names use few bits.
///
/// Not a security measure: collisions can be made at will. Whoever uses the
/// number must store the full identity beside it and compare that.
#[must_use]
pub const fn hash64(parts: &[&[u8]]) -> u64 {
    let mut state = FNV_BASIS;
    let mut left = parts;
    while let Some((part, rest)) = left.split_first() {
        state = fnv1a(state, part);
        state = fnv1a(state, &(part.len() as u64).to_le_bytes());
        left = rest;
    }
    finalise(state)
}

/// Every input bit changes about half of the output bits (the 64-bit finaliser
/// of MurmurHash3, public domain).
const fn finalise(mut state: u64) -> u64 {
    state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    state = (state ^ (state >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    state ^ (state >> 33)
}

/// A MAC address from the low 48 bits of a hash: locally administered and
/// unicast (IEEE 802, the two low bits of the first byte are `10`), so 46 bits
/// of the hash are used.
#[must_use]
pub const fn mac_from(hash: u64) -> [u8; 6] {
    let [_, _, a, b, c, d, e, f] = hash.to_be_bytes();
    [(a & 0xfc) | 0x02, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn hex(parts: &[&[u8]], chars: usize) -> String<128> {
        let mut out = String::new();
        hex_of(parts, &mut out, chars).unwrap();
        out
    }

    // FIPS 180-4 example values for SHA-512.
    const ABC: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                       2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
    const TWO_BLOCKS: &str = "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018\
                              501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909";

    #[test]
    fn sha512_matches_the_standards_examples() {
        assert_eq!(hex(&[b"abc"], 128), ABC);
        let long: &[u8] = b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn\
                            hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
        assert_eq!(hex(&[long], 128), TWO_BLOCKS);
        assert_eq!(&hex(&[], 16), "cf83e1357eefb8bd");
    }

    #[test]
    fn parts_are_joined_and_text_is_cut_and_appended() {
        assert_eq!(hex(&[b"a", b"", b"bc"], 128), ABC);
        assert_eq!(hex(&[b"abc"], 5), "ddaf3");
        let mut out = String::<10>::new();
        out.push_str("CNI-").unwrap();
        hex_of(&[b"abc"], &mut out, 6).unwrap();
        assert_eq!(out, "CNI-ddaf35");
    }

    #[test]
    fn what_does_not_fit_leaves_the_text_alone() {
        let mut out = String::<10>::new();
        out.push_str("CNI-").unwrap();
        assert_eq!(hex_of(&[b"abc"], &mut out, 7), Err(DoesNotFit));
        assert_eq!(out, "CNI-");
        let mut large = String::<200>::new();
        assert_eq!(hex_of(&[b"abc"], &mut large, 129), Err(DoesNotFit));
        assert_eq!(large, "");
    }

    #[test]
    fn fnv1a_matches_the_drafts_vectors() {
        // draft-eastlake-fnv, appendix C: "", "a", "foobar".
        assert_eq!(fnv1a(FNV_BASIS, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(FNV_BASIS, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(FNV_BASIS, b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn hash_is_stable_and_keeps_parts_apart() {
        // Names on live hosts depend on these: they must never change.
        assert_eq!(hash64(&[]), 0xefd0_1f60_ba99_2926);
        assert_eq!(hash64(&[b"net", b"cid", b"eth0"]), 0xaf0d_002a_ae57_8688);
        assert_ne!(hash64(&[b"ab", b"c"]), hash64(&[b"a", b"bc"]));
        assert_ne!(hash64(&[b"ab"]), hash64(&[b"ab", b""]));
    }

    #[test]
    fn one_input_bit_changes_many_output_bits() {
        for bit in 0..32u32 {
            let plain = 0x1234_5678u32;
            let flipped = plain ^ (1 << bit);
            let a = hash64(&[&plain.to_le_bytes()]);
            let b = hash64(&[&flipped.to_le_bytes()]);
            let changed = (a ^ b).count_ones();
            assert!((12..=52).contains(&changed), "bit {bit}: {changed}");
        }
    }

    #[test]
    fn macs_are_local_unicast() {
        assert_eq!(mac_from(0), [2, 0, 0, 0, 0, 0]);
        assert_eq!(mac_from(u64::MAX), [0xfe, 255, 255, 255, 255, 255]);
        assert_eq!(mac_from(0xaabb_1122_3344_5566), [0x12, 0x22, 0x33, 0x44, 0x55, 0x66]);
        for n in 0..4096u64 {
            let [first, ..] = mac_from(hash64(&[&n.to_le_bytes()]));
            assert_eq!(first & 3, 2);
        }
    }
}
