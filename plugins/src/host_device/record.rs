//! What a device was on the host: its name, state, alias and addresses, kept
//! until they are given back.

use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::name::{IfName, Mac};
use picocni_core::net::Cidr;
use picocni_core::owner::Tag;
use picocni_core::put;
use picocni_core::session::Session;

/// Records, one file per attachment, named by its tag.
pub(crate) const DIR: &str = "/run/cni/picocni/host-device";

/// Addresses of a device that are kept.
const ADDRESSES: usize = limits::IPS;
/// Bytes of a record.
pub(super) const RECORD: usize = 512 + ADDRESSES * 48;

/// A device as it was.
#[derive(Debug, Clone)]
pub(super) struct Device {
    /// Name on the host.
    pub(super) name: IfName,
    /// Its address: by it the device is known when its sandbox went before it.
    pub(super) mac: Mac,
    /// It was up.
    pub(super) up: bool,
    /// Addresses, in the order in which they are to come back.
    pub(super) addresses: heapless::Vec<Cidr, ADDRESSES>,
}

impl Device {
    /// The record as text: a line `name MAC up|down`, then an address a line.
    pub(super) fn text(&self) -> heapless::String<RECORD> {
        let mut text = heapless::String::new();
        put!(&mut text, self.name, " ", self.mac, " ", if self.up { "up" } else { "down" }, "\n");
        for cidr in &self.addresses {
            put!(&mut text, *cidr, "\n");
        }
        text
    }

    /// Reads a record; what is torn or of somebody else counts for nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('\n')?;
        let mut words = first.split(' ');
        let name = IfName::new(words.next()?).ok()?;
        let mac = Mac::parse(words.next()?)?;
        let up = words.next()? == "up";
        let mut addresses = heapless::Vec::new();
        for cidr in rest.lines().map_while(Cidr::parse) {
            let _ = addresses.push(cidr);
        }
        Some(Device { name, mac, up, addresses })
    }

    /// The record of an attachment, if there is one.
    ///
    /// # Errors
    /// Code 5.
    pub(super) fn load(session: &mut Session<'_>, tag: &Tag) -> Result<Option<Self>> {
        let mut bytes = [0u8; RECORD];
        let Some(length) = session.backend.read_file(&crate::record::path(DIR, tag)?, &mut bytes)? else {
            return Ok(None);
        };
        let text = bytes.get(..length).and_then(|bytes| core::str::from_utf8(bytes).ok());
        Ok(text.and_then(Self::parse))
    }
}
