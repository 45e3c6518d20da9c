//! `ipMasq`: traffic that leaves a pod's network gets the host's address.
//!
//! What an attachment masquerades is recorded in [`DIR`] before the packet
//! filter is told, so that DEL needs neither the interface nor a prevResult, nor
//! what the config says of the backend by then.

#[cfg(test)]
mod tests;

use core::net::IpAddr;

use picocni_core::conf::ValidAttachments;
use picocni_core::err;
use picocni_core::error::{Error, Failures, Result};
use picocni_core::iptables::{self, Comment, Script};
use picocni_core::json::Str;
use picocni_core::limits;
use picocni_core::net::{Cidr, parse_ip};
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::Call;
use picocni_core::put;
use picocni_core::result::AddResult;
use picocni_core::session::Session;

use crate::backend::Backend;
use crate::{predecessor, record};

/// Records, one file per attachment, named by its tag.
pub const DIR: &str = "/run/cni/picocni/masq";

/// A line `ADDRESS NETWORK` per address, or `iptables FAMILY CHAIN` per family.
const RECORD: usize = limits::IPS * 96;

const TABLE: &str = "nat";

/// `ipMasqBackend`.
///
/// # Errors
/// Code 7.
pub fn backend(name: Str<'_>) -> Result<Backend> {
    match name.plain() {
        Some("") => Ok(Backend::Any),
        Some("nftables") => Ok(Backend::Native),
        Some("iptables") => Ok(Backend::Iptables),
        _ => Err(err!(CONFIG, "unknown ipmasq backend", "\"", name.canonical(), "\" (nftables, iptables)")),
    }
}

/// STATUS: what the config's `ipMasq` needs is there.
///
/// # Errors
/// Code 50 names what is missing.
pub fn status(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    if call.at(&["ipMasq"]) != "true" {
        return Ok(());
    }
    let name = call.at(&["ipMasqBackend"]);
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    backend(Str::from_canonical(name))?.probe(session)
}

/// Masquerades every address of the result.
///
/// # Errors
/// Code 101.
pub fn add(backend: Backend, call: &Call<'_>, session: &mut Session<'_>, tag: &Tag, result: &AddResult) -> Result<()> {
    // Something may be left of an earlier life of the same attachment.
    del(call, session)?;
    let by_iptables = backend.is_iptables(session);
    let chain = iptables::chain_of("CNI-", &call.owner());
    let mut text = heapless::String::<RECORD>::new();
    if by_iptables {
        for v6 in families(result) {
            put!(&mut text, "iptables ", if v6 { "6 " } else { "4 " }, chain, "\n");
        }
    } else {
        for ip in &result.ips {
            put!(&mut text, ip.address.addr(), " ", ip.address.network(), "\n");
        }
    }
    let path = record::path(DIR, tag)?;
    let mut plan = Plan::new();
    plan.change(Change::WriteFile { path: &path, content: text.as_bytes() })?;
    if by_iptables {
        session.apply(&plan)?;
        return families(result).try_for_each(|v6| add_chain(call, session, result, &chain, v6));
    }
    for ip in &result.ips {
        plan.change(Change::Masquerade { ip: ip.address.addr(), net: ip.address.network(), tag: tag.as_str() })?;
    }
    session.apply(&plan)
}

/// The families that have an address.
fn families(result: &AddResult) -> impl Iterator<Item = bool> {
    [false, true].into_iter().filter(|v6| result.ips.iter().any(|ip| ip.address.is_v6() == *v6))
}

/// The chain and rules of the reference plugins, which have an address's network
/// behind the rule that takes everything if an attachment has several addresses.
///
/// By itself, since its text would be part of the stack of every ADD.
#[inline(never)]
fn add_chain(call: &Call<'_>, session: &mut Session<'_>, result: &AddResult, chain: &str, v6: bool) -> Result<()> {
    // Of an ADD whose record was lost, or of the plugin before.
    session.removal(Removal::IptablesChain { v6, table: TABLE, chain })?;
    let ips = || result.ips.iter().map(|ip| ip.address).filter(|address| address.is_v6() == v6);
    let text = iptables::owner_comment("", call.conf.name, call.env.container_id);
    let comment = Comment(&text);
    let mut script = Script::new(TABLE);
    script.own_chain(chain);
    for address in ips() {
        script.line(&[&"-A ", &chain, &" -d ", &address.network(), &" ", &comment, &" -j ACCEPT"]);
    }
    script.line(&[&"-A ", &chain, &" ! -d ", &multicast(v6), &" ", &comment, &" -j MASQUERADE"]);
    for address in ips() {
        let address = Cidr::host(address.addr());
        script.line(&[&"-A POSTROUTING -s ", &address, &" ", &comment, &" -j ", &chain]);
    }
    session.change(Change::Iptables { v6, table: TABLE, chain, text: script.finish()? })
}

const fn multicast(v6: bool) -> &'static str {
    if v6 { "ff00::/8" } else { "224.0.0.0/4" }
}

/// Every address of prevResult is masqueraded, by us or by who made the attachment.
///
/// # Errors
/// Code 104.
pub fn check(call: &Call<'_>, session: &mut Session<'_>, prev: &AddResult) -> Result<()> {
    let tag = call.owner().tag();
    let mut bytes = [0u8; RECORD];
    let text = read(session, &tag, &mut bytes)?.unwrap_or_default();
    let mut by_iptables = false;
    for (v6, chain) in text.lines().filter_map(chain) {
        by_iptables = true;
        check_chain(session, prev, chain, v6)?;
    }
    if by_iptables {
        return Ok(());
    }
    for ip in &prev.ips {
        if !session.backend.is_masqueraded(ip.address.addr(), tag.as_str())?
            && !predecessor::masquerade::is_there(session, &call.owner(), prev)?
        {
            return Err(missing(ip.address));
        }
    }
    Ok(())
}

fn missing(address: Cidr) -> Error {
    err!(CHANGED, "address is not masqueraded", address.addr(), " is missing in the packet filter")
}

/// Each address has its jump, and the chain masquerades.
fn check_chain(session: &mut Session<'_>, prev: &AddResult, chain: &str, v6: bool) -> Result<()> {
    let ips = || prev.ips.iter().map(|ip| ip.address).filter(|address| address.is_v6() == v6);
    let mut jumps = [false; limits::IPS];
    let mut masquerades = false;
    session.backend.iptables_rules(v6, TABLE, &mut |line| {
        let Some((of, rule)) = iptables::rule(line) else { return };
        masquerades |= of == chain && iptables::jumps_to(rule, "MASQUERADE");
        if of == "POSTROUTING" && iptables::jumps_to(rule, chain) {
            for (address, jump) in ips().zip(&mut jumps) {
                *jump |= iptables::has(rule, "-s", &Cidr::host(address.addr()));
            }
        }
    })?;
    match ips().zip(jumps).find(|(_, jump)| !jump || !masquerades) {
        Some((address, _)) => Err(missing(address)),
        None => Ok(()),
    }
}

/// What the attachment's record says, if there is one.
fn read<'b>(session: &mut Session<'_>, tag: &Tag, bytes: &'b mut [u8; RECORD]) -> Result<Option<&'b str>> {
    let path = record::path(DIR, tag)?;
    let Some(length) = session.backend.read_file(&path, bytes)? else { return Ok(None) };
    Ok(Some(bytes.get(..length).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or("")))
}

/// Masquerades the addresses of prevResult again if one of them is not.
///
/// # Errors
/// Code 101.
pub fn reconcile(backend: Backend, call: &Call<'_>, session: &mut Session<'_>, prev: &AddResult) -> Result<()> {
    let checked = check(call, session, prev);
    session.repair(call, "masquerade", checked, |session| add(backend, call, session, &call.owner().tag(), prev))
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
/// which it is not masqueraded. One that iptables serves has none.
///
/// # Errors
/// Code 5.
pub(crate) fn recorded(session: &mut Session<'_>, tag: &Tag) -> Result<heapless::Vec<(IpAddr, Cidr), { limits::IPS }>> {
    let mut bytes = [0u8; RECORD];
    let text = read(session, tag, &mut bytes)?.unwrap_or_default();
    let mut addresses = heapless::Vec::new();
    for entry in text.lines().filter_map(entry).take(limits::IPS) {
        let _ = addresses.push(entry);
    }
    Ok(addresses)
}

/// Whether there was a record.
fn take_back(session: &mut Session<'_>, tag: &Tag) -> Result<bool> {
    let mut bytes = [0u8; RECORD];
    let Some(text) = read(session, tag, &mut bytes)? else { return Ok(false) };
    let mut plan = Plan::new();
    for (ip, _) in text.lines().filter_map(entry) {
        plan.remove(Removal::Unmasquerade { ip })?;
    }
    for (v6, chain) in text.lines().filter_map(chain) {
        plan.remove(Removal::IptablesChain { v6, table: TABLE, chain })?;
    }
    session.remove(&plan)?;
    // The record goes last: it is what a repeated DEL needs.
    let path = record::path(DIR, tag)?;
    session.removal(Removal::RemoveFile { path: &path })?;
    Ok(true)
}

fn chain(line: &str) -> Option<(bool, &str)> {
    match line.strip_prefix("iptables ")?.split_once(' ')? {
        ("4", chain) => Some((false, chain)),
        ("6", chain) => Some((true, chain)),
        _ => None,
    }
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
