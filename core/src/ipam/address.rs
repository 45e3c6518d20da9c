//! Addresses as numbers, and their text.

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Address family. One type carries both, so that every rule is written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Family {
    /// IPv4, 32 bits.
    V4,
    /// IPv6, 128 bits.
    V6,
}

impl Family {
    /// Width of an address in bits: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// All bits below a prefix of `prefix` bits. A prefix over the width gives 0.
    pub(super) const fn host_mask(self, prefix: u8) -> u128 {
        let host_bits = self.bits().saturating_sub(prefix) as u32;
        match u128::MAX.checked_shl(host_bits) {
            Some(network) => !network,
            // Only a shift by 128 fails: every bit is a host bit.
            None => u128::MAX,
        }
    }
}

/// The address as a number, IPv4-mapped IPv6 as IPv4 (as the reference plugin
/// does with every address of a configuration).
pub(super) const fn to_number(address: IpAddr) -> (Family, u128) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (Family::V4, v4.to_bits() as u128),
        IpAddr::V6(v6) => (Family::V6, v6.to_bits()),
    }
}

/// The reverse of [`to_number`]. Bits above the family's width are dropped.
pub(super) fn from_number(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => {
            let low = u32::try_from(number & 0xffff_ffff).unwrap_or_default();
            IpAddr::V4(Ipv4Addr::from_bits(low))
        }
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

/// Shows an address in the text form that names a lease file: dotted IPv4, or
/// IPv6 after RFC 5952. IPv4-mapped IPv6 is shown as IPv4.
///
/// The standard library's `Display` of addresses does the same but keeps a
/// reference to the panic machinery in the linked program; this one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressText(
    /// The address to show.
    pub IpAddr,
);

impl fmt::Display for AddressText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_to(out)
    }
}

impl AddressText {
    /// Writes the text, 2 to 39 bytes of ASCII.
    ///
    /// # Errors
    /// Only what `out` returns, for example when its buffer is full.
    pub fn write_to(self, out: &mut impl Write) -> fmt::Result {
        match self.0.to_canonical() {
            IpAddr::V4(v4) => write_dotted(out, v4),
            IpAddr::V6(v6) => write_groups(out, &v6.segments()),
        }
    }
}

fn write_dotted(out: &mut impl Write, address: Ipv4Addr) -> fmt::Result {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            out.write_char('.')?;
        }
        write_decimal(out, octet)?;
    }
    Ok(())
}

/// Decimal without padding.
pub(super) fn write_decimal(out: &mut impl Write, value: u8) -> fmt::Result {
    let digit = |d: u8| char::from(b'0'.wrapping_add(d));
    if value >= 100 {
        out.write_char(digit(value / 100))?;
    }
    if value >= 10 {
        out.write_char(digit(value / 10 % 10))?;
    }
    out.write_char(digit(value % 10))
}

/// RFC 5952: the first longest run of two or more zero groups becomes `::`.
fn write_groups(out: &mut impl Write, groups: &[u16; 8]) -> fmt::Result {
    let (run_start, run_len) = longest_zero_run(groups);
    let run_end = run_start.saturating_add(run_len);
    let mut need_colon = false;
    for (index, &group) in groups.iter().enumerate() {
        if run_len >= 2 && index >= run_start && index < run_end {
            if index == run_start {
                out.write_str("::")?;
            }
            need_colon = false;
            continue;
        }
        if need_colon {
            out.write_char(':')?;
        }
        write_hex(out, group)?;
        need_colon = true;
    }
    Ok(())
}

fn longest_zero_run(groups: &[u16; 8]) -> (usize, usize) {
    let (mut best_start, mut best_len) = (0usize, 0usize);
    let mut len = 0usize;
    for (index, &group) in groups.iter().enumerate() {
        len = if group == 0 { len.saturating_add(1) } else { 0 };
        if len > best_len {
            best_len = len;
            best_start = index.saturating_add(1).saturating_sub(len);
        }
    }
    (best_start, best_len)
}

fn write_hex(out: &mut impl Write, group: u16) -> fmt::Result {
    let mut started = false;
    for shift in [12u32, 8, 4, 0] {
        let digit = (group >> shift) & 0xf;
        if digit != 0 || started || shift == 0 {
            started = true;
            out.write_char(crate::digest::hex_char(digit))?;
        }
    }
    Ok(())
}
