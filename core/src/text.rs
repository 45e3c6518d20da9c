//! Text without `core::fmt`: parts are appended to a bounded buffer.
//!
//! `core::fmt` brings panicking paths and several KiB; this brings neither.
//! A full buffer drops the rest of the part that did not fit (messages may be
//! cut; identifiers are built where the caller checks [`fits`]).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where text goes.
pub trait Sink {
    /// Appends `text`; what does not fit is dropped at a character boundary.
    fn text(&mut self, text: &str);
}

impl<const N: usize> Sink for heapless::String<N> {
    fn text(&mut self, text: &str) {
        if self.push_str(text).is_ok() {
            return;
        }
        for c in text.chars() {
            if self.push(c).is_err() {
                return;
            }
        }
    }
}

/// Something that can be appended to a [`Sink`].
pub trait Put {
    /// Appends this value.
    fn put(&self, out: &mut dyn Sink);
}

/// Appends each part: `put!(&mut out, "port ", port, " is taken")`.
///
/// Literals are joined while compiling: a call passes one text with a
/// [`MARK`] where a value goes, and the values. See [`put_template`].
#[macro_export]
macro_rules! put {
    ($out:expr, $($part:tt)+) => { $crate::template!([$crate::text::put_template; $out] [] [] $($part)+,) };
}

/// Splits parts into a text of literals and the values between them, then calls
/// `[function, arguments before; arguments after]` with both. For [`put!`](crate::put) and
/// [`err!`](crate::err).
#[doc(hidden)]
#[macro_export]
macro_rules! template {
    ([$call:path $(, $before:expr)* $(; $after:expr)?] [$($text:literal)*] [$($value:expr,)*] $(,)?) => {
        $call($($before,)* concat!($($text),*), &[$(&$value as &dyn $crate::text::Put),*] $(, $after)?)
    };
    ($call:tt [$($text:literal)*] $values:tt $part:literal, $($rest:tt)*) => {
        $crate::template!($call [$($text)* $part] $values $($rest)*)
    };
    ($call:tt [$($text:literal)*] [$($value:expr,)*] $part:expr, $($rest:tt)*) => {
        $crate::template!($call [$($text)* "\u{1}"] [$($value,)* $part,] $($rest)*)
    };
}

/// Stands for a value in a template; no literal of ours has it.
pub const MARK: u8 = 1;

/// Appends `template` with each [`MARK`] replaced by the next of `values`. One
/// function for every call of [`put!`](crate::put): a call site is a text and a
/// list of pointers.
#[inline(never)]
pub fn put_template(template: &str, values: &[&dyn Put], out: &mut dyn Sink) {
    let mut literals = template.split(is_mark);
    out.text(literals.next().unwrap_or(""));
    for (literal, value) in literals.zip(values) {
        value.put(out);
        out.text(literal);
    }
}

fn is_mark(c: char) -> bool {
    c == char::from(MARK)
}

impl<const N: usize> Put for heapless::String<N> {
    fn put(&self, out: &mut dyn Sink) {
        out.text(self.as_str());
    }
}

impl<T: Put + ?Sized> Put for &T {
    fn put(&self, out: &mut dyn Sink) {
        (**self).put(out);
    }
}

impl Put for str {
    fn put(&self, out: &mut dyn Sink) {
        out.text(self);
    }
}

impl Put for u64 {
    fn put(&self, out: &mut dyn Sink) {
        // 20 digits hold u64::MAX.
        let mut digits = [0u8; 20];
        let mut rest = *self;
        let mut at = digits.len();
        for slot in digits.iter_mut().rev() {
            *slot = b'0'.wrapping_add((rest % 10) as u8);
            rest /= 10;
            at = at.wrapping_sub(1);
            if rest == 0 {
                break;
            }
        }
        let text = digits.get(at..).and_then(|d| core::str::from_utf8(d).ok());
        out.text(text.unwrap_or(""));
    }
}

macro_rules! put_unsigned {
    ($($t:ty),+) => { $( impl Put for $t { fn put(&self, out: &mut dyn Sink) { (*self as u64).put(out); } } )+ };
}
put_unsigned!(u8, u16, u32, usize);

impl Put for i64 {
    fn put(&self, out: &mut dyn Sink) {
        if *self < 0 {
            out.text("-");
        }
        self.unsigned_abs().put(out);
    }
}

impl Put for i32 {
    fn put(&self, out: &mut dyn Sink) {
        i64::from(*self).put(out);
    }
}

impl Put for bool {
    fn put(&self, out: &mut dyn Sink) {
        out.text(if *self { "true" } else { "false" });
    }
}

impl Put for Ipv4Addr {
    fn put(&self, out: &mut dyn Sink) {
        let [a, b, c, d] = self.octets();
        put!(out, a, ".", b, ".", c, ".", d);
    }
}

impl Put for Ipv6Addr {
    /// RFC 5952: lower case, the longest run of two or more zero groups is `::`.
    fn put(&self, out: &mut dyn Sink) {
        if let Some(v4) = self.to_ipv4_mapped() {
            put!(out, "::ffff:", v4);
            return;
        }
        let groups = self.segments();
        let (skip_at, skip_len) = longest_zero_run(&groups);
        let mut at = 0usize;
        while at < groups.len() {
            if at == skip_at && skip_len > 1 {
                out.text("::");
                at = at.saturating_add(skip_len);
                continue;
            }
            if at > 0 && at != skip_at.saturating_add(if skip_len > 1 { skip_len } else { 99 }) {
                out.text(":");
            }
            let group = groups.get(at).copied().unwrap_or(0);
            Hex(u64::from(group)).put(out);
            at = at.saturating_add(1);
        }
    }
}

fn longest_zero_run(groups: &[u16; 8]) -> (usize, usize) {
    let (mut best_at, mut best) = (8usize, 0usize);
    let (mut run_at, mut run) = (0usize, 0usize);
    for (at, group) in groups.iter().enumerate() {
        if *group != 0 {
            run = 0;
            continue;
        }
        if run == 0 {
            run_at = at;
        }
        run = run.saturating_add(1);
        if run > best {
            (best_at, best) = (run_at, run);
        }
    }
    (best_at, best)
}

impl Put for IpAddr {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            IpAddr::V4(v4) => v4.put(out),
            IpAddr::V6(v6) => v6.put(out),
        }
    }
}

/// A number in lower-case hexadecimal without leading zeros.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hex(pub u64);

impl Put for Hex {
    fn put(&self, out: &mut dyn Sink) {
        let mut started = false;
        for shift in (0..16u32).rev() {
            let nibble = (self.0 >> (shift << 2)) & 0xf;
            started |= nibble != 0 || shift == 0;
            if started {
                out.text(hex_digit(nibble));
            }
        }
    }
}

/// A byte as two hexadecimal digits.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HexByte(pub u8);

impl Put for HexByte {
    fn put(&self, out: &mut dyn Sink) {
        out.text(hex_digit(u64::from(self.0 >> 4)));
        out.text(hex_digit(u64::from(self.0)));
    }
}

fn hex_digit(nibble: u64) -> &'static str {
    let at = (nibble & 0xf) as usize;
    "0123456789abcdef".get(at..at.saturating_add(1)).unwrap_or("0")
}

/// Collects parts into a bounded string; `None` when they do not fit.
#[must_use]
pub fn fits<const N: usize>(parts: &[&dyn Put]) -> Option<heapless::String<N>> {
    let mut counted = Exact::<N>::new();
    for part in parts {
        part.put(&mut counted);
    }
    counted.finish()
}

/// A bounded string that tells whether everything fitted.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Exact<const N: usize> {
    string: heapless::String<N>,
    overflow: bool,
}

impl<const N: usize> Default for Exact<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Exact<N> {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Exact { string: heapless::String::new(), overflow: false }
    }

    /// The text; `None` when something did not fit.
    #[must_use]
    pub fn finish(self) -> Option<heapless::String<N>> {
        (!self.overflow).then_some(self.string)
    }
}

impl<const N: usize> Sink for Exact<N> {
    fn text(&mut self, text: &str) {
        self.overflow |= self.string.push_str(text).is_err();
    }
}

/// Parses decimal digits; `None` on anything else or overflow.
#[must_use]
pub fn parse_u32(text: &str) -> Option<u32> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    text.bytes().try_fold(0u32, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn text(part: &dyn Put) -> heapless::String<64> {
        fits(&[part]).unwrap()
    }

    #[test]
    fn numbers() {
        assert_eq!(text(&0u64).as_str(), "0");
        assert_eq!(text(&u64::MAX).as_str(), "18446744073709551615");
        assert_eq!(text(&i64::MIN).as_str(), "-9223372036854775808");
        assert_eq!(text(&Hex(0)).as_str(), "0");
        assert_eq!(text(&Hex(0xbeef)).as_str(), "beef");
        assert_eq!(parse_u32("4294967295"), Some(u32::MAX));
        assert_eq!(parse_u32("4294967296"), None);
        assert_eq!(parse_u32(""), None);
        assert_eq!(parse_u32("1a"), None);
    }

    #[test]
    fn addresses_print_as_core_prints_them() {
        extern crate std;
        use std::string::ToString;
        for seed in 0u32..4096 {
            let mut groups = [0u16; 8];
            for (at, group) in groups.iter_mut().enumerate() {
                if seed & (1 << at) != 0 {
                    *group = 0x0a << (seed % 11);
                }
            }
            let v6 = Ipv6Addr::from(groups);
            if v6.to_ipv4().is_none() {
                assert_eq!(text(&v6).as_str(), v6.to_string());
            }
        }
        for special in ["::", "::1", "fe80::1", "2001:db8::", "::ffff:10.1.2.3", "1:0:0:2::3"] {
            let v6: Ipv6Addr = special.parse().unwrap();
            assert_eq!(text(&v6).as_str(), v6.to_string());
        }
        assert_eq!(text(&Ipv4Addr::new(10, 0, 255, 1)).as_str(), "10.0.255.1");
    }

    #[test]
    fn overflow_is_seen() {
        assert!(fits::<4>(&[&"abcde"]).is_none());
        let mut cut = heapless::String::<4>::new();
        put!(&mut cut, "abc", "é".trim(), "z");
        assert_eq!(cut.as_str(), "abcz");
        let mut cut = heapless::String::<4>::new();
        put!(&mut cut, "abc", "é", "z");
        assert_eq!(cut.as_str(), "abc", "literals are one text");
    }

    #[test]
    fn a_template_keeps_the_order_of_its_parts() {
        let (name, port) = ("web", 80u16);
        let mut line = heapless::String::<64>::new();
        put!(&mut line, "port ", port, " of ", name, 7, "!",);
        put!(&mut line, name);
        put!(&mut line, "", name, "");
        assert_eq!(line.as_str(), "port 80 of web7!webweb");
    }
}
