//! Who holds a host port: a directory per port, a link per host address.
//!
//! The packet filter refuses the same key twice, but a port on every address
//! and the same port on one address are different keys. So claims are compared
//! here, under the lock of [`LOCK`], before any is made.
//!
//! A container that is attached to several networks asks for the same ports
//! each time. The first attachment holds them, the others wait: beside the
//! claims lies a mark of each, by which DEL of the holder finds who is next.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::net::parse_ip;
use picocni_core::observe::PublishedPort;
use picocni_core::op::{Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::put;
use picocni_core::session::Session;

use super::del::{self, Then};
use super::record::{Buffer, Record};

/// Held while ports are claimed, published or given back.
pub(crate) const LOCK: &str = "/run/cni/picocni/portmap/lock";

/// Digits of a tag's digest in its mark.
const WAITING_DIGITS: usize = 32;

const DIR: &str = "/run/cni/picocni/portmap/ports";

/// `any4`, an address (39 bytes at most), or the mark of who waits.
pub(super) type Key = heapless::String<48>;

/// Begins the name of a mark; no address does.
pub(super) const WAITING: &str = "wait-";

/// Claims looked at in one round.
pub(super) const ROUND: usize = 16;

/// Where the claim of a port lies.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// Directory of the port.
    pub(super) dir: heapless::String<64>,
    /// Name in it.
    pub(super) key: Key,
}

impl Claim {
    /// The claim of `port`.
    pub(crate) fn of(port: &PublishedPort) -> Self {
        let mut claim = Claim { dir: heapless::String::new(), key: Key::new() };
        put!(&mut claim.dir, DIR, "/", port.protocol.as_str(), "-", port.host_port);
        match port.host_ip {
            Some(ip) => put!(&mut claim.key, ip),
            None => put!(&mut claim.key, wildcard(port.to.is_ipv6())),
        }
        claim
    }

    /// The mark that `tag` waits for `port`: one for all host addresses of it.
    pub(crate) fn waiting(port: &PublishedPort, tag: &Tag) -> Self {
        let mut claim = Claim::of(port);
        claim.key.clear();
        put!(&mut claim.key, WAITING);
        let _ = picocni_core::digest::hex_of(&[tag.as_str().as_bytes()], &mut claim.key, WAITING_DIGITS);
        claim
    }

    /// Whether `tag` holds it.
    ///
    /// # Errors
    /// Code 5.
    pub(super) fn is_held_by(&self, session: &mut Session<'_>, tag: &Tag) -> Result<bool> {
        let mut holder = heapless::String::new();
        Ok(session.backend.read_link(&self.dir, &self.key, &mut holder)? && holder == tag.as_str())
    }

    /// Gives it back, whoever holds it.
    ///
    /// # Errors
    /// Code 5.
    pub(crate) fn give_back(&self, session: &mut Session<'_>) -> Result<()> {
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
/// left is taken back, a live holder is an error. Says whether the port has to
/// wait, since another attachment of the same container holds it.
///
/// # Errors
/// Code 103 `host port is taken` names the holder; code 5.
pub(super) fn make_way(
    session: &mut Session<'_>,
    port: &PublishedPort,
    own: &Tag,
    buffer: &mut Buffer,
) -> Result<bool> {
    let mut claim = Claim::of(port);
    let v6 = port.to.is_ipv6();
    if port.host_ip.is_some() {
        let waits = settle(session, port, &claim, own, buffer)?;
        claim.key.clear();
        put!(&mut claim.key, wildcard(v6));
        return Ok(settle(session, port, &claim, own, buffer)? || waits);
    }
    // Every round gives something back, or is the last; the bound is for a
    // directory that does not change however often a claim is removed.
    for _ in 0..limits::PORT_MAPPINGS {
        let mut keys: heapless::Vec<Key, ROUND> = heapless::Vec::new();
        session.backend.list(&claim.dir, &mut |name| {
            if let Some(key) = picocni_core::text::fits(&[&name]).filter(|_| is_of_family(name, v6)) {
                let _ = keys.push(key);
            }
        })?;
        let mut stay = 0usize;
        for key in &keys {
            claim.key.clone_from(key);
            stay = stay.saturating_add(usize::from(settle(session, port, &claim, own, buffer)?));
        }
        if stay == keys.len() {
            return Ok(stay > 0);
        }
    }
    Err(err!(CONFLICT, "host port is taken", "claims in ", claim.dir, " cannot be removed; remove the directory"))
}

/// Whether a claim of anybody but `own` stands against one of `port`.
///
/// # Errors
/// Code 5.
pub(super) fn is_blocked(session: &mut Session<'_>, port: &PublishedPort, own: &Tag) -> Result<bool> {
    let claim = Claim::of(port);
    let v6 = port.to.is_ipv6();
    let mut keys: heapless::Vec<Key, ROUND> = heapless::Vec::new();
    session.backend.list(&claim.dir, &mut |name| {
        let clashes = port.host_ip.is_none() || name == claim.key || name == wildcard(v6);
        if let Some(key) = picocni_core::text::fits(&[&name]).filter(|_| clashes && is_of_family(name, v6)) {
            let _ = keys.push(key);
        }
    })?;
    for key in &keys {
        let mut holder = heapless::String::new();
        if session.backend.read_link(&claim.dir, key, &mut holder)? && holder != own.as_str() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One claim that stands in the way of `port`; whether it stays, since it is
/// another attachment's of the same container.
fn settle(
    session: &mut Session<'_>,
    port: &PublishedPort,
    claim: &Claim,
    own: &Tag,
    buffer: &mut Buffer,
) -> Result<bool> {
    let mut holder = heapless::String::<{ limits::TAG }>::new();
    if !session.backend.read_link(&claim.dir, &claim.key, &mut holder)? {
        return Ok(false);
    }
    if let Some(tag) = Tag::read(&holder).filter(|tag| tag != own) {
        if let Some(record) = Record::read(session, &tag, buffer)?.filter(|record| record.lives(session)) {
            return if is_of_this_container(session, record, &tag, own) {
                Ok(true)
            } else {
                Err(taken(port, claim, &tag))
            };
        }
        // Its sandbox is gone, or nothing is known of it: as its DEL would.
        del::take_back(session, &tag, buffer, Then::Keep)?;
    }
    // A holder without a record, or one that did not name this port.
    claim.give_back(session).map(|()| false)
}

/// The same sandbox and, where the tags tell, the same container ID.
fn is_of_this_container(session: &mut Session<'_>, record: Record<'_>, holder: &Tag, own: &Tag) -> bool {
    let mut identity = heapless::String::new();
    session.backend.sandbox_identity(&mut identity);
    let same_id = match (holder.parts(), own.parts()) {
        (Some((_, holder, _)), Some((_, own, _))) => holder == own,
        _ => true,
    };
    same_id && record.is_of_sandbox(&identity)
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
