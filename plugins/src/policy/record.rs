//! What DEL needs to know: by what the packet filter knows the attachment.

use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::IfIndex;
use picocni_core::net::parse_ip;
use picocni_core::op::Removal;
use picocni_core::owner::Tag;
use picocni_core::put;
use picocni_core::session::Session;
use picocni_core::text::{fits, parse_u32};

use super::target::{Addresses, Target};
use crate::record;

/// Records, one file per attachment, named by its tag: lines `port INDEX` and
/// `address ADDRESS`.
pub(crate) const DIR: &str = "/run/cni/picocni/policy";

/// The longest address has 39 bytes.
const RECORD: usize = (limits::POLICY_ADDRESSES + 1) * 56;

pub(super) type Text = heapless::String<RECORD>;

/// What is written for a target.
pub(super) fn text(target: &Target) -> Text {
    let mut text = Text::new();
    if let Some(port) = target.port {
        put!(&mut text, "port ", port.0, "\n");
    }
    for ip in &target.addresses {
        put!(&mut text, "address ", *ip, "\n");
    }
    text
}

/// The record of an attachment, if there is one; "" if it is not one of ours.
pub(super) fn read(session: &mut Session<'_>, tag: &Tag) -> Result<Option<Text>> {
    let mut bytes = [0u8; RECORD];
    let Some(length) = session.backend.read_file(&record::path(DIR, tag)?, &mut bytes)? else { return Ok(None) };
    let text = bytes.get(..length).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("");
    fits(&[&text]).map(Some).ok_or_else(|| Error::limit("POLICY_ADDRESSES", limits::POLICY_ADDRESSES))
}

/// Takes back what a record says, and the record last: it is what a repeated DEL needs.
pub(super) fn take_back(session: &mut Session<'_>, tag: &Tag) -> Result<()> {
    let Some(text) = read(session, tag)? else { return Ok(()) };
    let (mut addresses, mut port) = (Addresses::new(), None);
    for line in text.lines() {
        if let Some(ip) = line.strip_prefix("address ").and_then(parse_ip) {
            let _ = addresses.push(ip);
        } else if let Some(index) = line.strip_prefix("port ").and_then(parse_u32) {
            port = Some(IfIndex(index));
        }
    }
    session.removal(Removal::LiftPolicy { tag: tag.as_str(), addresses: &addresses, port })?;
    session.removal(Removal::RemoveFile { path: &record::path(DIR, tag)? })
}
