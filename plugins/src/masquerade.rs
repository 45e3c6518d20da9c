//! `ipMasq`: traffic that leaves a pod's network gets the host's address.
//!
//! What an attachment masquerades is recorded in [`DIR`] before the packet
//! filter is told, so that DEL needs neither the interface nor a prevResult.

use core::net::IpAddr;

use picocni_core::conf::ValidAttachments;
use picocni_core::err;
use picocni_core::error::{Failures, Result};
use picocni_core::json::Str;
use picocni_core::limits;
use picocni_core::net::{Cidr, parse_ip};
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::Call;
use picocni_core::put;
use picocni_core::result::AddResult;
use picocni_core::session::Session;

use crate::{predecessor, record};

/// Records, one file per attachment, named by its tag.
pub const DIR: &str = "/run/cni/picocni/masq";

/// A line `ADDRESS NETWORK` per address.
const RECORD: usize = limits::IPS * 96;

/// `ipMasqBackend`: absent and `nftables` are served natively.
///
/// # Errors
/// Code 2 for `iptables`, which this release does not serve; code 7 otherwise.
pub fn check_backend(backend: Str<'_>) -> Result<()> {
    match backend.plain() {
        Some("" | "nftables") => Ok(()),
        Some("iptables") => Err(err!(
            UNSUPPORTED,
            "unsupported ipMasqBackend",
            "\"iptables\" is not served by this release; leave it out or say \"nftables\""
        )),
        _ => Err(err!(CONFIG, "unknown ipmasq backend", "\"", backend.canonical(), "\" (nftables)")),
    }
}

/// Masquerades every address of the result.
///
/// # Errors
/// Code 101.
pub fn add(call: &Call<'_>, session: &mut Session<'_>, tag: &Tag, result: &AddResult) -> Result<()> {
    // Something may be left of an earlier life of the same attachment.
    del(call, session)?;
    let mut text = heapless::String::<RECORD>::new();
    for ip in &result.ips {
        put!(&mut text, ip.address.addr(), " ", ip.address.network(), "\n");
    }
    let path = record::path(DIR, tag)?;
    let mut plan = Plan::new();
    plan.change(Change::WriteFile { path: &path, content: text.as_bytes() })?;
    for ip in &result.ips {
        plan.change(Change::Masquerade { ip: ip.address.addr(), net: ip.address.network(), tag: tag.as_str() })?;
    }
    session.apply(&plan)
}

/// Every address of prevResult is masqueraded, by us or by who made the attachment.
///
/// # Errors
/// Code 104.
pub fn check(call: &Call<'_>, session: &mut Session<'_>, prev: &AddResult) -> Result<()> {
    let tag = call.owner().tag();
    for ip in &prev.ips {
        if !session.backend.is_masqueraded(ip.address.addr(), tag.as_str())?
            && !predecessor::masquerade::is_there(session, &call.owner(), prev)?
        {
            return Err(err!(
                CHANGED,
                "address is not masqueraded",
                ip.address.addr(),
                " is missing in the packet filter"
            ));
        }
    }
    Ok(())
}

/// Masquerades the addresses of prevResult again if one of them is not.
///
/// # Errors
/// Code 101.
pub fn reconcile(call: &Call<'_>, session: &mut Session<'_>, prev: &AddResult) -> Result<()> {
    let checked = check(call, session, prev);
    session.repair(call, "masquerade", checked, |session| add(call, session, &call.owner().tag(), prev))
}

/// Takes back what the attachment's record says. Without one, what the plugins
/// before us may have left; where nothing is masqueraded, there is no word to
/// the packet filter.
///
/// # Errors
/// Code 101.
pub fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let owner = call.owner();
    if take_back(session, &owner.tag())? || call.at(&["ipMasq"]) != "true" {
        return Ok(());
    }
    predecessor::masquerade::take_back(session, &owner)
}

/// Addresses that an attachment's record names, each with the network within
/// which it is not masqueraded.
///
/// # Errors
/// Code 5.
pub(crate) fn recorded(session: &mut Session<'_>, tag: &Tag) -> Result<heapless::Vec<(IpAddr, Cidr), { limits::IPS }>> {
    let mut addresses = heapless::Vec::new();
    let mut bytes = [0u8; RECORD];
    if let Some(length) = session.backend.read_file(&record::path(DIR, tag)?, &mut bytes)? {
        let text = bytes.get(..length).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or("");
        addresses.extend(text.lines().filter_map(entry).take(limits::IPS));
    }
    Ok(addresses)
}

/// Whether there was a record.
fn take_back(session: &mut Session<'_>, tag: &Tag) -> Result<bool> {
    let path = record::path(DIR, tag)?;
    if session.backend.read_file(&path, &mut [])?.is_none() {
        return Ok(false);
    }
    let mut plan = Plan::new();
    for (ip, _) in recorded(session, tag)? {
        plan.remove(Removal::Unmasquerade { ip })?;
    }
    session.remove(&plan)?;
    // The record goes last: it is what a repeated DEL needs.
    session.removal(Removal::RemoveFile { path: &path })?;
    Ok(true)
}

fn entry(line: &str) -> Option<(IpAddr, Cidr)> {
    let (ip, net) = line.split_once(' ')?;
    Some((parse_ip(ip)?, Cidr::parse(net)?))
}

/// Takes back what belongs to no valid attachment of `network`.
///
/// # Errors
/// Code 101.
pub fn gc(session: &mut Session<'_>, network: &str, valid: &ValidAttachments<'_>) -> Result<()> {
    let mut failures = Failures::new();
    let take_back = &mut |session: &mut Session<'_>, tag: &Tag| take_back(session, tag).map(|_| ());
    failures.note(record::take_back_stale(session, DIR, network, valid, take_back));
    failures.note(predecessor::masquerade::gc(session, network, valid));
    failures.into_result()
}
