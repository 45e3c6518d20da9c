//! The attachments that GC must keep (spec 1.1.0, GC).

use crate::error::{Error, Result};
use crate::fields;
use crate::json::raw::{self, Elements};
use crate::json::{self, Str};
use crate::limits;
use crate::name::IfName;
use crate::owner::{Owner, Tag};

/// One valid attachment of a GC call.
#[derive(Debug, Default, Clone, Copy)]
struct Attachment<'a> {
    container: Str<'a>,
    ifname: Str<'a>,
}

fields!(Attachment<'a> { "containerID" => container, "ifname" => ifname });

/// Both spellings of the list.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

// An entry has 16 bits for the place of its text.
const _: () = assert!(limits::REQUEST <= 1 << 16, "an attachment's place fits 16 bits");

/// The attachments that GC must keep. They stay in the text of the config; the
/// list holds for each where it stands and 16 bits of its container's hash, so
/// that a thousand leases are not held against a thousand attachments byte by byte.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ValidAttachments<'a> {
    text: &'a str,
    entries: heapless::Vec<u32, { limits::ATTACHMENTS }>,
}

impl<'a> ValidAttachments<'a> {
    /// Reads both spellings of the list. `None`: no list was given, and
    /// nothing may be removed (an absent list is not an empty list).
    ///
    /// # Errors
    /// Code 100: more than [`limits::ATTACHMENTS`].
    pub fn read(text: &'a str) -> Result<Option<Self>> {
        let lists = KEYS.map(|key| raw::at(text, &[key]));
        if lists.iter().all(|list| list.is_empty()) {
            return Ok(None);
        }
        let mut valid = ValidAttachments { text, entries: heapless::Vec::new() };
        for element in lists.into_iter().flat_map(Elements::new) {
            valid.add(element)?;
        }
        Ok(Some(valid))
    }

    /// Runtimes send both lists with the same attachments: each counts once.
    fn add(&mut self, element: &'a str) -> Result<()> {
        let limit = || Error::limit("ATTACHMENTS", limits::ATTACHMENTS);
        let one: Attachment<'a> = json::read(element).map_err(|_| limit())?;
        let hash = hash(one.container.chars());
        if self.of_hash(hash).any(|known| known.container == one.container && known.ifname == one.ifname) {
            return Ok(());
        }
        // The element is a part of the text, so this is where it stands in it.
        let place = element.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        let place = u16::try_from(place).map_err(|_| limit())?;
        self.entries.push(u32::from(hash) << 16 | u32::from(place)).map_err(|_| limit())
    }

    fn of_hash(&self, hash: u16) -> impl Iterator<Item = Attachment<'a>> {
        let text = self.text;
        self.entries.iter().filter(move |entry| **entry >> 16 == u32::from(hash)).filter_map(|entry| at(text, *entry))
    }

    /// Whether this attachment is in either list.
    #[must_use]
    pub fn contains(&self, container: &str, ifname: &str) -> bool {
        self.of_hash(hash(container.chars())).any(|a| a.container == *container && a.ifname == *ifname)
    }

    /// Whether any attachment of this container is in either list.
    #[must_use]
    pub fn contains_container(&self, container: &str) -> bool {
        self.of_hash(hash(container.chars())).any(|a| a.container == *container)
    }

    /// Whether `is_it` says so of the container and interface of one of them. An
    /// identity that is spelt with escapes is taken for a yes: it must not be lost.
    #[must_use]
    pub fn any(&self, is_it: &mut dyn FnMut(&str, &str) -> bool) -> bool {
        self.entries.iter().filter_map(|entry| at(self.text, *entry)).any(|a| {
            match (a.container.plain(), a.ifname.plain()) {
                (Some(container), Some(ifname)) => is_it(container, ifname),
                _ => true,
            }
        })
    }

    /// Whether a tag of `network` belongs to one of the listed attachments.
    #[must_use]
    pub fn keeps(&self, network: &str, tag: &Tag) -> bool {
        if let Some((_, container, ifname)) = tag.parts() {
            return self.contains(container, ifname);
        }
        self.entries.iter().filter_map(|entry| at(self.text, *entry)).any(|a| {
            let (Some(container), Some(ifname)) = (a.container.plain(), a.ifname.plain()) else { return false };
            Owner { network, container, ifname: IfName::of(ifname) }.tag() == *tag
        })
    }
}

/// The attachment an entry stands for.
fn at(text: &str, entry: u32) -> Option<Attachment<'_>> {
    let rest = text.get(usize::try_from(entry & 0xffff).ok()?..)?;
    json::read(raw::value(rest)?).ok()
}

/// FNV-1a, folded to 16 bits. A collision costs a look at the text, nothing else.
fn hash(chars: impl Iterator<Item = char>) -> u16 {
    let hash = chars.fold(0x811c_9dc5_u32, |hash, c| (hash ^ u32::from(c)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_le_bytes();
    u16::from_le_bytes([a ^ c, b ^ d])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    extern crate std;
    use core::fmt::Write as _;
    use std::string::String;

    use super::*;

    fn list(key: &str, range: core::ops::Range<u32>) -> String {
        let mut text = std::format!("\"{key}\":[");
        for at in range.clone() {
            let comma = if at > range.start { "," } else { "" };
            write!(text, "{comma}{{\"containerID\":\"c{at:05}\",\"ifname\":\"eth{}\"}}", at % 2).unwrap();
        }
        text.push(']');
        text
    }

    #[test]
    fn both_lists_count_and_an_absent_one_is_not_an_empty_one() {
        let text = std::format!("{{{},{}}}", list(KEYS[0], 0..600), list(KEYS[1], 300..1000));
        let valid = ValidAttachments::read(&text).unwrap().unwrap();
        for at in 0..1000 {
            let container = std::format!("c{at:05}");
            assert!(valid.contains(&container, &std::format!("eth{}", at % 2)));
            assert!(!valid.contains(&container, &std::format!("eth{}", (at + 1) % 2)));
            assert!(valid.contains_container(&container));
        }
        assert!(!valid.contains_container("c01000"));
        assert!(ValidAttachments::read("{\"name\":\"n\"}").unwrap().is_none());
        let none = ValidAttachments::read("{\"cni.dev/attachments\":[]}").unwrap().unwrap();
        assert!(!none.contains("c00000", "eth0"));
    }

    #[test]
    fn equal_ones_count_once_and_the_limit_has_a_name() {
        let text = std::format!("{{{},{}}}", list(KEYS[0], 0..1000), list(KEYS[1], 0..1000));
        assert_eq!(ValidAttachments::read(&text).unwrap().unwrap().entries.len(), 1000);
        let text = std::format!("{{{},{}}}", list(KEYS[0], 0..600), list(KEYS[1], 600..1200));
        let error = ValidAttachments::read(&text).unwrap_err();
        assert_eq!(error.code().0, 100);
        assert!(error.details().contains("ATTACHMENTS"));
    }

    #[test]
    fn a_digest_tag_is_kept_by_its_attachment() {
        let container = "c".repeat(120);
        let text =
            std::format!("{{\"cni.dev/attachments\":[{{\"containerID\":\"{container}\",\"ifname\":\"eth0\"}}]}}");
        let valid = ValidAttachments::read(&text).unwrap().unwrap();
        let owner = |ifname| Owner { network: "net", container: &container, ifname: IfName::of(ifname) }.tag();
        assert!(owner("eth0").parts().is_none());
        assert!(valid.keeps("net", &owner("eth0")));
        assert!(!valid.keeps("net", &owner("eth1")));
        assert!(!valid.keeps("other", &owner("eth0")));
    }
}
