//! Names that cannot be wrong once they exist.

use crate::err;
use crate::error::Result;
use crate::limits;
use crate::text::{Put, Sink};

/// A Linux interface name: 1 to 15 bytes, no `/`, `:` or white space, not `.` or `..`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IfName {
    bytes: [u8; limits::IFNAME],
    len: u8,
}

impl IfName {
    /// Checks and copies `text` (spec 1.1.0, CNI_IFNAME; dev_valid_name() in the kernel).
    ///
    /// # Errors
    /// Code 4 with the peer's phrase.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(err!(ENVIRONMENT, "interface name is empty"));
        }
        if text == "." || text == ".." {
            return Err(err!(ENVIRONMENT, "interface name is . or .."));
        }
        if text.len() > limits::IFNAME {
            return Err(err!(
                ENVIRONMENT,
                "interface name is too long",
                "interface name should be less than 16 characters: ",
                text
            ));
        }
        if text.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c == '\0') {
            return Err(err!(ENVIRONMENT, "interface name contains / or : or whitespace characters", text));
        }
        Ok(Self::of(text))
    }

    /// Copies a name the kernel gave; longer text is cut (the kernel never gives it).
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut name = IfName { bytes: [0; limits::IFNAME], len: 0 };
        for (slot, byte) in name.bytes.iter_mut().zip(text.bytes()) {
            *slot = byte;
            name.len = name.len.saturating_add(1);
        }
        name
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or("")
    }
}

impl core::fmt::Debug for IfName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for IfName {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_str());
    }
}

impl Put for IfName {
    fn put(&self, out: &mut dyn Sink) {
        out.text(self.as_str());
    }
}

/// Whether `text` is `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, the alphabet that the
/// spec gives to container IDs and network names.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Whether `text` can name a plugin: an identifier is never a path.
///
/// # Errors
/// Code 7; CVE-2021-20206 is what a path in `type` does.
pub fn check_plugin_type(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(err!(CONFIG, "no plugin name provided"));
    }
    if text.contains('/') || text.contains('\0') || text == "." || text == ".." {
        return Err(err!(CONFIG, "invalid plugin name", text, " (a type is a file name, never a path)"));
    }
    Ok(())
}

/// A network interface index (positive, linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IfIndex(pub u32);

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether a link may have it: not a group address, not zero
    /// (is_valid_ether_addr() in the kernel).
    #[must_use]
    pub fn is_unicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && self.0 != [0; 6]
    }

    /// Parses `aa:bb:cc:dd:ee:ff` or `aa-bb-…` (as Go's net.ParseMAC for EUI-48).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 17 {
            return None;
        }
        let separator = *bytes.get(2)?;
        if separator != b':' && separator != b'-' {
            return None;
        }
        let mut mac = [0u8; 6];
        for (slot, group) in mac.iter_mut().zip(bytes.chunks(3)) {
            let [high, low, rest @ ..] = group else { return None };
            if rest.first().is_some_and(|c| *c != separator) {
                return None;
            }
            let high = char::from(*high).to_digit(16)?;
            let low = char::from(*low).to_digit(16)?;
            *slot = u8::try_from((high << 4) | low).ok()?;
        }
        Some(Mac(mac))
    }
}

impl Put for Mac {
    fn put(&self, out: &mut dyn Sink) {
        for (at, byte) in self.0.iter().enumerate() {
            if at > 0 {
                out.text(":");
            }
            crate::text::HexByte(*byte).put(out);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn interface_names() {
        assert_eq!(IfName::new("eth0").unwrap().as_str(), "eth0");
        assert_eq!(IfName::new("123456789012345").unwrap().as_str(), "123456789012345");
        for bad in ["", ".", "..", "1234567890123456", "a/b", "a:b", "a b", "a\tb", "a\u{2003}b"] {
            assert!(IfName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identifiers() {
        assert!(is_identifier("a"));
        assert!(is_identifier("0a_.-Z"));
        for bad in ["", "_a", ".a", "-a", "a/b", "a b", "é"] {
            assert!(!is_identifier(bad), "{bad:?}");
        }
    }

    #[test]
    fn macs() {
        assert_eq!(Mac::parse("02:aB:00:ff:10:01"), Some(Mac([2, 0xab, 0, 255, 16, 1])));
        assert_eq!(Mac::parse("02-ab-00-ff-10-01"), Some(Mac([2, 0xab, 0, 255, 16, 1])));
        for bad in ["", "02:ab:00:ff:10", "02:ab:00:ff:10:0g", "02:ab-00:ff:10:01", "02:ab:00:ff:10:011"] {
            assert_eq!(Mac::parse(bad), None, "{bad}");
        }
    }
}
