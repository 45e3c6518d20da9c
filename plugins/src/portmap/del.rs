//! DEL and GC of `portmap`: what the record says is taken back.

use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Failures, Result};
use picocni_core::limits;
use picocni_core::observe::Protocol;
use picocni_core::op::{Plan, Removal};
use picocni_core::owner::{Tag, stale_records};
use picocni_core::plugin::Call;
use picocni_core::session::Session;

use super::claims::{Claim, LOCK};
use super::handover;
use super::record::{self, Buffer, Record};
use crate::predecessor;

/// Needs neither mappings, nor a sandbox, nor a prevResult; without a record
/// there is nothing of ours, no lock is taken, and what the plugins before us may
/// have left is looked for.
pub(super) fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let owner = call.owner();
    let tag = owner.tag();
    if session.backend.read_file(&record::path(&tag)?, &mut [])?.is_none() {
        return predecessor::portmap::take_back(session, &owner);
    }
    session.backend.lock(LOCK)?;
    let outcome = take_back(session, &tag, &mut [0u8; limits::STATE_FILE], Then::HandOver);
    session.backend.unlock();
    outcome
}

/// Records of this network that belong to no valid attachment.
pub(super) fn gc(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let Some(valid) = ValidAttachments::read(call.text)? else { return Ok(()) };
    let mut failures = Failures::new();
    failures.note(gc_records(call, session, &valid));
    failures.note(predecessor::portmap::gc(session, call.conf.name, &valid));
    failures.into_result()
}

fn gc_records(call: &Call<'_>, session: &mut Session<'_>, valid: &ValidAttachments<'_>) -> Result<()> {
    if stale_records(session.backend, record::DIR, call.conf.name, valid)?.is_empty() {
        return Ok(());
    }
    session.backend.lock(LOCK)?;
    let mut buffer = [0u8; limits::STATE_FILE];
    let take_back = &mut |session: &mut Session<'_>, tag: &Tag| take_back(session, tag, &mut buffer, Then::HandOver);
    let outcome = crate::record::take_back_stale(session, record::DIR, call.conf.name, valid, take_back);
    session.backend.unlock();
    outcome
}

/// What becomes of ports that were given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Whoever waits for them gets them.
    HandOver,
    /// ADD takes them.
    Keep,
}

/// Takes back what the record of `tag` says, and the record last: it is what a
/// repeated DEL needs. No record is success. Call it under the lock.
///
/// A port is touched only if the claim is the attachment's own: an ADD that was
/// killed may have left a record of ports that somebody else publishes by now.
/// Claims therefore go after the rules, and only if these are gone.
///
/// # Errors
/// The first failure, after everything of its stage was tried.
pub(super) fn take_back(session: &mut Session<'_>, tag: &Tag, buffer: &mut Buffer, then: Then) -> Result<()> {
    let Some(record) = Record::read(session, tag, buffer)? else { return Ok(()) };
    unpublish(session, tag, record)?;
    let mut failures = Failures::new();
    for port in record.ports() {
        let claim = Claim::of(&port);
        let outcome = match claim.is_held_by(session, tag) {
            Ok(true) => claim.give_back(session),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        failures.note(outcome);
    }
    for port in record.waiting() {
        failures.note(Claim::waiting(&port, tag).give_back(session));
    }
    failures.into_result()?;
    if then == Then::HandOver {
        handover::hand_over(session, record)?;
    }
    let path = record::path(tag)?;
    let mut plan = Plan::new();
    plan.remove(Removal::RemoveFile { path: &path })?;
    session.remove(&plan)
}

/// Rules first, then the connections that follow them, or a packet in between
/// would bring the old connection back.
fn unpublish(session: &mut Session<'_>, tag: &Tag, record: Record<'_>) -> Result<()> {
    for (v6, chain) in record.chains() {
        session.removal(Removal::IptablesChain { v6, table: "nat", chain })?;
    }
    let native = record.chains().next().is_none();
    let mut removals = Removals::new();
    let (mut held_v4, mut held_v6) = (false, false);
    for port in record.ports() {
        if Claim::of(&port).is_held_by(session, tag)? {
            held_v4 |= port.to.is_ipv4();
            held_v6 |= port.to.is_ipv6();
            if native {
                removals.push(session, Removal::Unpublish { port });
            }
        }
    }
    if !held_v4 && !held_v6 {
        return Ok(());
    }
    // Where no port was held, the address may be another container's by now.
    for source in record.sources().filter(|source| if source.to.is_ipv6() { held_v6 } else { held_v4 }) {
        removals.push(session, Removal::UnpublishSource { to: source.to, via: source.via, all: source.all });
    }
    for port in record.ports().filter(|port| port.protocol == Protocol::Udp) {
        if Claim::of(&port).is_held_by(session, tag)? {
            removals.push(session, purge(&port));
        }
    }
    removals.finish(session)
}

/// Forgets the connections to a port.
pub(super) fn purge(port: &picocni_core::observe::PublishedPort) -> Removal<'static> {
    Removal::PurgeConnections {
        protocol: port.protocol,
        host_port: port.host_port,
        host_ip: port.host_ip,
        v6: port.to.is_ipv6(),
    }
}

/// Any number of removals, carried out in plans of [`limits::PLAN`], all of them.
#[derive(Debug)]
pub(super) struct Removals {
    plan: Plan<'static>,
    failures: Failures,
}

impl Removals {
    pub(super) const fn new() -> Self {
        Removals { plan: Plan::new(), failures: Failures::new() }
    }

    pub(super) fn push(&mut self, session: &mut Session<'_>, removal: Removal<'static>) {
        if self.plan.removals().len() >= limits::PLAN {
            self.failures.note(session.remove(&self.plan));
            self.plan = Plan::new();
        }
        self.failures.note(self.plan.remove(removal));
    }

    /// # Errors
    /// The first failure of all plans.
    pub(super) fn finish(mut self, session: &mut Session<'_>) -> Result<()> {
        self.failures.note(session.remove(&self.plan));
        self.failures.into_result()
    }
}
