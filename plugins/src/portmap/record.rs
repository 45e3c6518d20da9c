//! What an attachment publishes, written down before it is done.
//!
//! DEL is called again without mappings and without a sandbox; the record is
//! all it has. One file per attachment, named by its tag, one line per fact:
//!
//! ```text
//! netns IDENTITY /var/run/netns/x
//! tcp any 8080 10.88.0.2 80
//! wait udp 192.0.2.1 53 10.88.0.2 5353
//! snat 10.88.0.2 7 false
//! iptables 4 CNI-DN-0123456789abcdef01234
//! ```
//!
//! A port that is waited for was held by another attachment of the container
//! when this one was added. The record stays as it is when the port is handed
//! over: who holds it, the claims say.

use core::net::IpAddr;

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::IfIndex;
use picocni_core::net::parse_ip;
use picocni_core::observe::{Protocol, PublishedPort};
use picocni_core::owner::Tag;
use picocni_core::session::Session;
use picocni_core::text::{Put, fits, parse_u32};

/// One file per attachment.
pub(crate) const DIR: &str = "/run/cni/picocni/portmap/attachments";

/// Begins the line of a port that somebody else holds.
const WAITING: &str = "wait ";

/// Room for a record that is read.
pub(crate) type Buffer = [u8; limits::STATE_FILE];

/// Source translation of one container address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    /// Container's address.
    pub(crate) to: IpAddr,
    /// Link that led to it when it was published; 0, which no link has, if none did.
    pub(crate) via: IfIndex,
    /// Every source, not only local and same-link ones.
    pub(crate) all: bool,
}

/// The file of an attachment.
pub(crate) fn path(tag: &Tag) -> Result<heapless::String<{ limits::PATH }>> {
    crate::record::path(DIR, tag)
}

/// A record as it was read. Lines that are no record of ours, and a last line
/// without its end, count for nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'b> {
    text: &'b str,
}

impl<'b> Record<'b> {
    /// Reads the record of `tag`, if there is one.
    ///
    /// # Errors
    /// Code 5.
    pub(crate) fn read(session: &mut Session<'_>, tag: &Tag, buffer: &'b mut Buffer) -> Result<Option<Self>> {
        let path = path(tag)?;
        let Some(length) = session.backend.read_file(&path, buffer)? else { return Ok(None) };
        let bytes = buffer.get(..length.min(limits::STATE_FILE)).unwrap_or_default();
        let text = match core::str::from_utf8(bytes) {
            Ok(text) => text,
            // What stands before the damage still has to be taken back.
            Err(error) => bytes.get(..error.valid_up_to()).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or(""),
        };
        Ok(Some(Record { text }))
    }

    fn lines(self) -> impl Iterator<Item = &'b str> {
        self.text.split_inclusive(is_line_end).filter_map(|line| line.strip_suffix('\n'))
    }

    fn sandbox(self) -> Option<(&'b str, &'b str)> {
        self.lines().next().and_then(|line| line.strip_prefix("netns ")).and_then(split_sandbox)
    }

    /// Whether the sandbox this was written for is still there. A record that
    /// names no sandbox belongs to nobody.
    pub(super) fn lives(self, session: &mut Session<'_>) -> bool {
        self.sandbox().is_some_and(|(identity, path)| session.backend.sandbox_lives(path, identity))
    }

    /// Whether this was written for a sandbox of that identity.
    pub(super) fn is_of_sandbox(self, identity: &str) -> bool {
        self.sandbox().is_some_and(|(own, _)| own == identity)
    }

    /// Ports that are published or waited for.
    pub(crate) fn ports(self) -> impl Iterator<Item = PublishedPort> + 'b {
        self.lines().filter_map(|line| read_port(line.strip_prefix(WAITING).unwrap_or(line)))
    }

    /// Ports that were held by another attachment of the container.
    pub(crate) fn waiting(self) -> impl Iterator<Item = PublishedPort> + 'b {
        self.lines().filter_map(|line| read_port(line.strip_prefix(WAITING)?))
    }

    /// Chains of iptables, with whether they are for IPv6; none if the kernel was
    /// asked directly.
    pub(crate) fn chains(self) -> impl Iterator<Item = (bool, &'b str)> {
        self.lines().filter_map(|line| match line.strip_prefix("iptables ")?.split_once(is_space)? {
            ("4", chain) => Some((false, chain)),
            ("6", chain) => Some((true, chain)),
            _ => None,
        })
    }

    /// Source translations.
    pub(crate) fn sources(self) -> impl Iterator<Item = Source> + 'b {
        self.lines().filter_map(read_source)
    }
}

/// The identity is the backend's and may hold a space; the path is absolute as
/// a rule, and else has none.
fn split_sandbox(text: &str) -> Option<(&str, &str)> {
    let slash = text.as_bytes().windows(2).position(|pair| pair == b" /");
    match slash {
        Some(at) => Some((text.get(..at)?, text.get(at.checked_add(1)?..)?)),
        None => text.rsplit_once(is_space),
    }
}

/// Searching for a character would bring in memchr, which can panic as far as
/// the compiler sees; a function is compared character by character.
fn is_space(c: char) -> bool {
    c == ' '
}

fn is_line_end(c: char) -> bool {
    c == '\n'
}

fn read_port(line: &str) -> Option<PublishedPort> {
    let mut words = line.split(is_space);
    let protocol = match words.next()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    let host_ip = match words.next()? {
        "any" => None,
        text => Some(parse_ip(text)?),
    };
    let host_port = read_number(words.next()?)?;
    let to = parse_ip(words.next()?)?;
    let to_port = read_number(words.next()?)?;
    let same_family = host_ip.is_none_or(|ip| ip.is_ipv6() == to.is_ipv6());
    (words.next().is_none() && same_family).then_some(PublishedPort { protocol, host_ip, host_port, to, to_port })
}

fn read_number(text: &str) -> Option<u16> {
    u16::try_from(parse_u32(text)?).ok().filter(|port| *port > 0)
}

fn read_source(line: &str) -> Option<Source> {
    let mut words = line.strip_prefix("snat ")?.split(is_space);
    let to = parse_ip(words.next()?)?;
    let via = IfIndex(parse_u32(words.next()?)?);
    let all = match words.next()? {
        "true" => true,
        "false" => false,
        _ => return None,
    };
    words.next().is_none().then_some(Source { to, via, all })
}

/// A record that is being composed.
#[derive(Debug)]
pub(super) struct Draft {
    text: heapless::String<{ limits::STATE_FILE }>,
}

impl Draft {
    /// Begins the record of an attachment in the open sandbox.
    ///
    /// # Errors
    /// Code 4: a path that is no single line.
    pub(super) fn new(session: &mut Session<'_>, netns: &str) -> Result<Self> {
        if netns.contains(|c: char| c.is_control()) {
            return Err(err!(ENVIRONMENT, "invalid CNI_NETNS", "the path holds a control character"));
        }
        let mut identity = heapless::String::new();
        session.backend.sandbox_identity(&mut identity);
        let mut draft = Draft { text: heapless::String::new() };
        draft.line(&[&"netns ", &identity, &" ", &netns])?;
        Ok(draft)
    }

    fn line(&mut self, parts: &[&dyn Put]) -> Result<()> {
        // The longest line names a sandbox: its path and identity.
        let line: Option<heapless::String<{ limits::SANDBOX + 96 }>> = fits(parts);
        let written = line.is_some_and(|line| self.text.push_str(&line).is_ok() && self.text.push('\n').is_ok());
        if written {
            Ok(())
        } else {
            Err(Error::limit("STATE_FILE", limits::STATE_FILE).with(&" bytes in the record of port mappings"))
        }
    }

    /// Adds a port, published or waited for.
    ///
    /// # Errors
    /// Code 100.
    pub(super) fn port(&mut self, port: &PublishedPort, waits: bool) -> Result<()> {
        let begin = if waits { WAITING } else { "" };
        let host: &dyn Put = port.host_ip.as_ref().map_or(&"any", |ip| ip);
        self.line(&[
            &begin,
            &port.protocol.as_str(),
            &" ",
            host,
            &" ",
            &port.host_port,
            &" ",
            &port.to,
            &" ",
            &port.to_port,
        ])
    }

    /// Adds a source translation.
    ///
    /// # Errors
    /// Code 100.
    pub(super) fn source(&mut self, source: &Source) -> Result<()> {
        self.line(&[&"snat ", &source.to, &" ", &source.via.0, &" ", &source.all])
    }

    /// Adds a chain of iptables.
    ///
    /// # Errors
    /// Code 100.
    pub(super) fn chain(&mut self, v6: bool, chain: &str) -> Result<()> {
        self.line(&[&if v6 { "iptables 6 " } else { "iptables 4 " }, &chain])
    }

    /// The content of the file.
    pub(super) fn content(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_strictly() {
        let port = read_port("tcp 192.0.2.1 8080 10.88.0.2 80").unwrap();
        assert_eq!((port.host_ip, port.host_port, port.to_port), (parse_ip("192.0.2.1"), 8080, 80));
        assert_eq!(read_port("udp any 53 fd00::2 5353").unwrap().host_ip, None);
        for bad in [
            "",
            "tcp",
            "dccp any 1 10.88.0.2 1",
            "tcp any 0 10.88.0.2 1",
            "tcp any 1 10.88.0.2 65536",
            "tcp any 1 10.88.0.2",
            "tcp any 1 10.88.0.2 1 1",
            "tcp any  1 10.88.0.2 1",
            "tcp ::1 1 10.88.0.2 1",
            "tcp any 1 10.88.0.300 1",
        ] {
            assert_eq!(read_port(bad), None, "{bad:?}");
        }
        let source = Source { to: parse_ip("10.88.0.2").unwrap(), via: IfIndex(7), all: true };
        assert_eq!(read_source("snat 10.88.0.2 7 true"), Some(source));
        for bad in
            ["snat 10.88.0.2 7", "snat 10.88.0.2 7 yes", "snat 10.88.0.2 -7 true", "snat x 7 true", "10.88.0.2 7 true"]
        {
            assert_eq!(read_source(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn waiting_ports_are_ports_too() {
        let record = Record { text: "netns 4 /run/x\ntcp any 80 10.88.0.2 80\nwait tcp any 81 10.88.0.2 81\n" };
        assert_eq!(record.ports().map(|port| port.host_port).collect::<heapless::Vec<u16, 4>>(), [80, 81]);
        assert_eq!(record.waiting().map(|port| port.host_port).collect::<heapless::Vec<u16, 4>>(), [81]);
        assert!(record.is_of_sandbox("4") && !record.is_of_sandbox("5") && !record.is_of_sandbox(""));
    }

    #[test]
    fn a_torn_line_counts_for_nothing() {
        let record = Record { text: "netns 4 77 /run/x y\ntcp any 80 10.88.0.2 80\ntcp any 81 10.88.0.2 8" };
        assert_eq!(record.ports().count(), 1);
        assert_eq!(record.sources().count(), 0);
    }

    #[test]
    fn a_sandbox_has_an_identity_and_a_path() {
        assert_eq!(split_sandbox("4 77 /run/x y"), Some(("4 77", "/run/x y")));
        assert_eq!(split_sandbox("4:77 proc/self/ns/net"), Some(("4:77", "proc/self/ns/net")));
        assert_eq!(split_sandbox("4:77"), None);
    }
}
