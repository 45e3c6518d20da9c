//! Who holds a host port: a directory per port, a link per host address.
//!
//! The packet filter refuses the same key twice, but a port on every address
//! and the same port on one address are different keys. So claims are compared
//! here, under the lock of [`LOCK`], before any is made.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::net::parse_ip;
use picocni_core::observe::PublishedPort;
use picocni_core::op::{Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::put;
use picocni_core::session::Session;

use super::del;
use super::record::{Buffer, Record};

/// Held while ports are claimed, published or given back.
pub(super) const LOCK: &str = "/run/cni/picocni/portmap/lock";

const DIR: &str = "/run/cni/picocni/portmap/ports";

/// `any4`, or an address (39 bytes at most).
type Key = heapless::String<48>;

/// Claims looked at in one round.
const ROUND: usize = 16;

/// Where the claim of a port lies.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// Directory of the port.
    pub(super) dir: heapless::String<64>,
    /// Name in it.
    pub(super) key: Key,
}

impl Claim {
    /// The claim of `port`.
    pub(super) fn of(port: &PublishedPort) -> Self {
        let mut claim = Claim { dir: heapless::String::new(), key: Key::new() };
        put!(&mut claim.dir, DIR, "/", port.protocol.as_str(), "-", port.host_port);
        match port.host_ip {
            Some(ip) => put!(&mut claim.key, ip),
            None => put!(&mut claim.key, wildcard(port.to.is_ipv6())),
        }
        claim
    }

    /// Whether `tag` holds it.
    ///
    /// # Errors
    /// Code 5.
    pub(super) fn is_held_by(&self, session: &mut Session<'_>, tag: &Tag) -> Result<bool> {
        let mut holder = heapless::String::new();
        Ok(session.backend.claim_holder(&self.dir, &self.key, &mut holder)? && holder == tag.as_str())
    }

    /// Gives it back, whoever holds it.
    ///
    /// # Errors
    /// Code 5.
    pub(super) fn give_back(&self, session: &mut Session<'_>) -> Result<()> {
        let mut plan = Plan::new();
        plan.remove(Removal::Unclaim { dir: &self.dir, key: &self.key })?;
        session.remove(&plan)
    }
}

const fn wildcard(v6: bool) -> &'static str {
    if v6 { "any6" } else { "any4" }
}

fn is_of_family(key: &str, v6: bool) -> bool {
    key == wildcard(v6) || parse_ip(key).is_some_and(|ip| ip.is_ipv6() == v6)
}

/// Sees to it that nothing stands against a claim of `port`: what dead holders
/// left is taken back, a live holder is an error.
///
/// # Errors
/// Code 103 `host port is taken` names the holder; code 5.
pub(super) fn make_way(session: &mut Session<'_>, port: &PublishedPort, own: &Tag, buffer: &mut Buffer) -> Result<()> {
    let mut claim = Claim::of(port);
    let v6 = port.to.is_ipv6();
    if port.host_ip.is_some() {
        settle(session, port, &claim, own, buffer)?;
        claim.key.clear();
        put!(&mut claim.key, wildcard(v6));
        return settle(session, port, &claim, own, buffer);
    }
    // Every round gives back what it saw, or fails; the bound is for a
    // directory that does not change however often a claim is removed.
    for _ in 0..limits::PORT_MAPPINGS {
        let mut keys: heapless::Vec<Key, ROUND> = heapless::Vec::new();
        session.backend.list(&claim.dir, &mut |name| {
            if let Some(key) = picocni_core::text::fits(&[&name]).filter(|_| is_of_family(name, v6)) {
                let _ = keys.push(key);
            }
        })?;
        if keys.is_empty() {
            return Ok(());
        }
        for key in &keys {
            claim.key.clone_from(key);
            settle(session, port, &claim, own, buffer)?;
        }
    }
    Err(err!(CONFLICT, "host port is taken", "claims in ", claim.dir, " cannot be removed; remove the directory"))
}

/// One claim that stands in the way of `port`.
fn settle(session: &mut Session<'_>, port: &PublishedPort, claim: &Claim, own: &Tag, buffer: &mut Buffer) -> Result<()> {
    let mut holder = heapless::String::<{ limits::TAG }>::new();
    if !session.backend.claim_holder(&claim.dir, &claim.key, &mut holder)? {
        return Ok(());
    }
    if let Some(tag) = Tag::read(&holder).filter(|tag| tag != own) {
        if Record::read(session, &tag, buffer)?.is_some_and(|record| record.lives(session)) {
            return Err(taken(port, claim, &tag));
        }
        // Its sandbox is gone, or nothing is known of it: as its DEL would.
        del::take_back(session, &tag, buffer)?;
    }
    // A holder without a record, or one that did not name this port.
    claim.give_back(session)
}

fn taken(port: &PublishedPort, claim: &Claim, holder: &Tag) -> Error {
    let error = err!(CONFLICT, "host port is taken", port.protocol.as_str(), " port ", port.host_port);
    match claim.key.as_str() {
        "any4" => put!(&mut error.more(), " on every IPv4 address"),
        "any6" => put!(&mut error.more(), " on every IPv6 address"),
        address => put!(&mut error.more(), " on ", address),
    }
    match holder.parts() {
        Some((network, container, ifname)) => {
            put!(&mut error.more(), " is held by container ", container, ", network ", network, ", interface ", ifname);
        }
        None => put!(&mut error.more(), " is held by ", *holder),
    }
    error.with(&"; choose another hostPort or hostIP, or remove that container")
}
