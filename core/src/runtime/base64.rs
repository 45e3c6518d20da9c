//! Base64 of RFC 4648, section 4, as Go writes a `[]byte` in JSON.
//!
//! By hand, because the `base64` crate indexes slices in ways the optimiser
//! cannot prove, and a panic path is not allowed in the binary.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes `bytes`, with padding, to the start of `out`; gives the length, or
/// `None` if it does not fit.
pub(super) fn encode(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut slots = out.iter_mut();
    let mut written = 0usize;
    for group in bytes.chunks(3) {
        let mut octets = [0u8; 3];
        for (slot, byte) in octets.iter_mut().zip(group) {
            *slot = *byte;
        }
        let [a, b, c] = octets;
        let sextets = [a >> 2, (a << 4) | (b >> 4), (b << 2) | (c >> 6), c];
        // One byte fills two characters, two fill three; the rest is padding.
        let used = group.len().wrapping_add(1);
        for (at, sextet) in sextets.into_iter().enumerate() {
            let character = ALPHABET.get(usize::from(sextet & 0x3f)).copied();
            *slots.next()? = if at < used { character? } else { b'=' };
            written = written.wrapping_add(1);
        }
    }
    Some(written)
}

/// Decodes padded text to the start of `out`; gives the length, or `None` if it
/// is no base64 or does not fit.
pub(super) fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut slots = out.iter_mut();
    let mut written = 0usize;
    for group in text.chunks(4) {
        let [a, b, c, d] = *group else { return None };
        let padding = usize::from(c == b'=').wrapping_add(usize::from(d == b'='));
        let mut bits = 0u32;
        for (at, character) in [a, b, c, d].into_iter().enumerate() {
            let sextet = match character {
                b'=' if at >= 4usize.wrapping_sub(padding) => 0,
                _ => ALPHABET.iter().position(|known| *known == character)?,
            };
            bits = (bits << 6) | u32::try_from(sextet).ok()?;
        }
        let [_, octets @ ..] = bits.to_be_bytes();
        for octet in octets.into_iter().take(3usize.wrapping_sub(padding)) {
            *slots.next()? = octet;
            written = written.wrapping_add(1);
        }
    }
    Some(written)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = [0u8; 8];
            let length = encode(plain.as_bytes(), &mut out).unwrap();
            assert_eq!(&out[..length], coded.as_bytes(), "{plain}");
            let mut back = [0u8; 6];
            let length = decode(coded.as_bytes(), &mut back).unwrap();
            assert_eq!(&back[..length], plain.as_bytes(), "{coded}");
        }
        let mut out = [0u8; 4];
        assert_eq!(encode(&[0xfb, 0xff, 0xbf], &mut out), Some(4));
        assert_eq!(&out, b"+/+/");
    }

    #[test]
    fn a_short_buffer_is_refused() {
        assert_eq!(encode(b"foo", &mut [0; 3]), None);
        assert_eq!(encode(b"f", &mut [0; 4]), Some(4));
        assert_eq!(decode(b"Zm9v", &mut [0; 2]), None);
        for rubbish in ["Zg=", "Z===", "Zg==Zg==x", "=g==", "Z!9v", "Zm9\u{e4}"] {
            assert_eq!(decode(rubbish.as_bytes(), &mut [0; 8]), None, "{rubbish}");
        }
    }
}
