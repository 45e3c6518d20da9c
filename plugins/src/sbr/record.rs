//! Which rules an attachment has, written down before they are made: DEL goes by
//! it when the addresses are gone from the link.
//!
//! ```text
//! netns IDENTITY /var/run/netns/x
//! chosen 10.88.0.2 100 10.88.0.1
//! given 10.88.0.3 5000
//! ```
//!
//! A chosen table was free, so its routes are the attachment's: those of the main
//! table, where they go back to, and if a gateway follows a default route by it.
//! A given table is that of the config.

use core::net::IpAddr;

use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::net::parse_ip;
use picocni_core::owner::Tag;
use picocni_core::put;
use picocni_core::session::Session;
use picocni_core::text::{fits, parse_u32};

/// One file per attachment, named by its tag.
pub(super) const DIR: &str = "/run/cni/picocni/sbr";

/// Bytes of a record: a path, and a line for each address.
pub(super) const RECORD: usize = limits::PATH + 80 + limits::IPS * 112;

/// A rule of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The source address.
    pub(super) ip: IpAddr,
    /// The table.
    pub(super) table: u32,
    /// The table was free when it was taken.
    pub(super) chosen: bool,
    /// Gateway of a default route that came from no other table.
    pub(super) gateway: Option<IpAddr>,
}

/// Rules of an attachment.
pub(super) type Entries = heapless::Vec<Entry, { limits::IPS }>;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Which namespace it was written for.
    pub(super) identity: heapless::String<64>,
    /// Its path.
    pub(super) netns: heapless::String<{ limits::PATH }>,
    /// The rules.
    pub(super) entries: Entries,
}

impl Record {
    /// An empty one for the open sandbox.
    ///
    /// # Errors
    /// Code 100.
    pub(super) fn new(session: &mut Session<'_>, netns: &str) -> Result<Self> {
        let mut identity = heapless::String::new();
        session.backend.sandbox_identity(&mut identity);
        let netns = fits(&[&netns]).ok_or_else(|| Error::limit("PATH", limits::PATH))?;
        Ok(Record { identity, netns, entries: Entries::new() })
    }

    /// As text.
    pub(super) fn text(&self) -> heapless::String<RECORD> {
        let mut text = heapless::String::new();
        put!(&mut text, "netns ", self.identity, " ", self.netns, "\n");
        for entry in &self.entries {
            put!(&mut text, if entry.chosen { "chosen " } else { "given " }, entry.ip, " ", entry.table);
            if let Some(gateway) = entry.gateway {
                put!(&mut text, " ", gateway);
            }
            put!(&mut text, "\n");
        }
        text
    }

    /// Reads a record; lines that are torn count for nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('\n')?;
        let (identity, netns) = first.strip_prefix("netns ")?.split_once(' ')?;
        let mut record = Record { identity: fits(&[&identity])?, netns: fits(&[&netns])?, entries: Entries::new() };
        for line in rest.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            if let Some(entry) = entry(line) {
                let _ = record.entries.push(entry);
            }
        }
        Some(record)
    }

    /// The record of an attachment, if there is one.
    ///
    /// # Errors
    /// Code 5.
    pub(super) fn load(session: &mut Session<'_>, tag: &Tag) -> Result<Option<Self>> {
        let mut bytes = [0u8; RECORD];
        let path = crate::record::path(DIR, tag)?;
        let Some(length) = session.backend.read_file(&path, &mut bytes)? else { return Ok(None) };
        let text = bytes.get(..length).and_then(|bytes| core::str::from_utf8(bytes).ok());
        Ok(text.and_then(Self::parse))
    }

    /// Whether it was written for the open sandbox.
    pub(super) fn is_of_sandbox(&self, session: &mut Session<'_>) -> bool {
        let mut now = heapless::String::new();
        session.backend.sandbox_identity(&mut now);
        now == self.identity
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let chosen = match words.next()? {
        "chosen" => true,
        "given" => false,
        _ => return None,
    };
    let (ip, table) = (parse_ip(words.next()?)?, parse_u32(words.next()?)?);
    Some(Entry { ip, table, chosen, gateway: words.next().and_then(parse_ip) })
}
