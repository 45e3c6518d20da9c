//! `macspoofchk`: what a port sends under another address than its own is dropped.
//!
//! As in [`crate::masquerade`], what is guarded is recorded before the packet
//! filter is told, so that DEL needs neither link nor prevResult.

use picocni_core::conf::ValidAttachments;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::name::{IfIndex, Mac};
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::text::fits;

use crate::{predecessor, record};

/// Records, one file per attachment, named by its tag: `INDEX MAC`.
pub(crate) const DIR: &str = "/run/cni/picocni/macspoof";

/// Guards the host's end of a pair.
///
/// # Errors
/// Code 101.
pub(super) fn add(call: &Call<'_>, session: &mut Session<'_>, tag: &Tag, port: IfIndex, mac: Mac) -> Result<()> {
    // Something may be left of an earlier life of the same attachment.
    del(call, session)?;
    let path = record::path(DIR, tag)?;
    let text: heapless::String<64> = fits(&[&port.0, &" ", &mac]).unwrap_or_default();
    let mut plan = Plan::new();
    plan.change(Change::WriteFile { path: &path, content: text.as_bytes() })?;
    plan.change(Change::GuardSource { port, mac, tag: tag.as_str() })?;
    session.apply(&plan)
}

/// The host's end of the pair is guarded, by us or by who made the attachment.
///
/// # Errors
/// Code 104.
pub(super) fn check(call: &Call<'_>, session: &mut Session<'_>, port: IfIndex, mac: Mac) -> Result<()> {
    if session.backend.is_guarded(port, mac)? || predecessor::macspoof::is_there(session, &call.owner())? {
        return Ok(());
    }
    Err(err!(CHANGED, "source address is not guarded", mac, " is missing in the packet filter"))
}

/// Takes back what the attachment's record says; without one, what the plugins
/// before us may have left.
///
/// # Errors
/// Code 101.
pub(super) fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let owner = call.owner();
    if take_back(session, &owner.tag())? || call.at(&["macspoofchk"]) != "true" {
        return Ok(());
    }
    predecessor::macspoof::take_back(session, &owner)
}

/// The port and the address that an attachment's record names. The first
/// `None`: there is no record; the second: it is torn.
///
/// # Errors
/// Code 5.
pub(crate) fn recorded(session: &mut Session<'_>, tag: &Tag) -> Result<Option<Option<(IfIndex, Mac)>>> {
    let mut bytes = [0u8; 64];
    let Some(length) = session.backend.read_file(&record::path(DIR, tag)?, &mut bytes)? else { return Ok(None) };
    let text = bytes.get(..length).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("");
    let parts = text.split_once(' ').map(|(index, mac)| (index.parse(), Mac::parse(mac)));
    Ok(Some(match parts {
        Some((Ok(index), Some(mac))) => Some((IfIndex(index), mac)),
        _ => None,
    }))
}

/// Whether there was a record.
fn take_back(session: &mut Session<'_>, tag: &Tag) -> Result<bool> {
    let path = record::path(DIR, tag)?;
    let Some(guarded) = recorded(session, tag)? else { return Ok(false) };
    if let Some((port, mac)) = guarded {
        session.removal(Removal::UnguardSource { port, mac })?;
    }
    // The record goes last: it is what a repeated DEL needs.
    session.removal(Removal::RemoveFile { path: &path })?;
    Ok(true)
}

/// Takes back what belongs to no valid attachment of `network`.
///
/// # Errors
/// Code 101.
pub(super) fn gc(session: &mut Session<'_>, network: &str, valid: &ValidAttachments<'_>) -> Result<()> {
    let take_back = &mut |session: &mut Session<'_>, tag: &Tag| take_back(session, tag).map(|_| ());
    record::take_back_stale(session, DIR, network, valid, take_back)
}
