//! Who owns what: the tag that every link, rule, element and file of ours carries.

use crate::limits;
use crate::name::IfName;
use crate::put;
use crate::text::{Put, Sink};

/// One attachment: a network, a container and the interface in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Owner<'a> {
    /// Network name.
    pub network: &'a str,
    /// Container ID.
    pub container: &'a str,
    /// Interface name in the sandbox.
    pub ifname: IfName,
}

/// An owner as text: `picocni:NETWORK:CONTAINER:IFNAME`. None of the three may
/// hold a colon, so the parts can be read back. Identities over
/// [`limits::TAG`] bytes become `picocni:#<digest>` with the network's and the
/// attachment's digest apart, so that a network's tags are still recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Tag(heapless::String<{ limits::TAG }>);

const PREFIX: &str = "picocni:";

impl Owner<'_> {
    /// The tag of this attachment.
    #[must_use]
    pub fn tag(&self) -> Tag {
        let plain = crate::text::fits(&[&PREFIX, &self.network, &":", &self.container, &":", &self.ifname]);
        Tag(plain.unwrap_or_else(|| {
            let mut digest = heapless::String::new();
            put!(&mut digest, PREFIX, NetworkDigest(self.network), ":");
            let _ = crate::digest::hex_of(
                &[self.container.as_bytes(), b":", self.ifname.as_str().as_bytes()],
                &mut digest,
                64,
            );
            digest
        }))
    }

    /// A stable 64-bit number of the identity, for names and MACs.
    #[must_use]
    pub fn hash(&self) -> u64 {
        crate::digest::hash64(&[
            self.network.as_bytes(),
            b":",
            self.container.as_bytes(),
            b":",
            self.ifname.as_str().as_bytes(),
        ])
    }
}

struct NetworkDigest<'a>(&'a str);

impl Put for NetworkDigest<'_> {
    fn put(&self, out: &mut dyn Sink) {
        let mut hex = heapless::String::<16>::new();
        let _ = crate::digest::hex_of(&[self.0.as_bytes()], &mut hex, 16);
        put!(out, "#", hex);
    }
}

impl Tag {
    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A tag that was read from the kernel or a file; `None` if it is not ours.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if !text.starts_with(PREFIX) {
            return None;
        }
        crate::text::fits(&[&text]).map(Tag)
    }

    /// The tag without the program's prefix, used as a file name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or(&self.0)
    }

    /// The tag of a file that is named by it; `None` if the name is too long for one.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        crate::text::fits(&[&PREFIX, &name]).map(Tag)
    }

    /// Whether an attachment of `network` carries this tag.
    #[must_use]
    pub fn is_of_network(&self, network: &str) -> bool {
        self.parts().is_some_and(|(own, _, _)| own == network)
            || self.file_name().split_once(':').is_some_and(|(own, _)| {
                crate::text::fits::<17>(&[&NetworkDigest(network)]).is_some_and(|digest| digest == own)
            })
    }

    /// Network, container and interface, unless the tag is a digest.
    #[must_use]
    pub fn parts(&self) -> Option<(&str, &str, &str)> {
        let mut parts = self.file_name().split(':');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(network), Some(container), Some(ifname), None) => Some((network, container, ifname)),
            _ => None,
        }
    }
}

impl Put for Tag {
    fn put(&self, out: &mut dyn Sink) {
        out.text(self.as_str());
    }
}

/// Tags of `network` whose record lies in `dir` and that belong to no valid
/// attachment; a slice of them, so ask until none is left.
///
/// # Errors
/// Code 5.
pub fn stale_records(
    backend: &mut dyn crate::backend::Backend,
    dir: &str,
    network: &str,
    valid: &crate::conf::ValidAttachments<'_>,
) -> crate::error::Result<heapless::Vec<Tag, 16>> {
    let mut stale = heapless::Vec::new();
    backend.list(dir, &mut |name| {
        let tag = crate::text::fits(&[&PREFIX, &name]).map(Tag);
        if let Some(tag) = tag.filter(|tag| tag.is_of_network(network) && !valid.keeps(network, tag)) {
            let _ = stale.push(tag);
        }
    })?;
    Ok(stale)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_back() {
        let owner = Owner { network: "net", container: "c1", ifname: IfName::of("eth0") };
        let tag = owner.tag();
        assert_eq!(tag.as_str(), "picocni:net:c1:eth0");
        assert_eq!(tag.file_name(), "net:c1:eth0");
        assert_eq!(tag.parts(), Some(("net", "c1", "eth0")));
        assert!(tag.is_of_network("net"));
        assert!(!tag.is_of_network("ne"));
        assert!(Tag::read("something else").is_none());
        assert_eq!(Tag::read(tag.as_str()), Some(tag));
    }

    #[test]
    fn long_identities_keep_their_network() {
        extern crate std;
        let long = "c".repeat(200);
        let owner = Owner { network: "net", container: &long, ifname: IfName::of("eth0") };
        let tag = owner.tag();
        assert!(tag.as_str().len() <= limits::TAG);
        assert!(tag.is_of_network("net"));
        assert!(!tag.is_of_network("other"));
        assert!(tag.parts().is_none());
        let other = Owner { ifname: IfName::of("eth1"), ..owner };
        assert_ne!(other.tag(), tag);
    }
}
