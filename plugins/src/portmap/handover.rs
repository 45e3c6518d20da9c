//! A port that was given back goes to the attachment that waits for it.
//!
//! Everything here may be done again: a DEL that was killed or failed in the
//! middle keeps its record, and its repetition finds the same marks.

use picocni_core::error::{Failures, Result};
use picocni_core::limits;
use picocni_core::observe::{Ns, Protocol, PublishedPort};
use picocni_core::op::{Change, Plan};
use picocni_core::owner::Tag;
use picocni_core::session::Session;

use super::add::{self, Rules};
use super::claims::{self, Claim, Key, ROUND, WAITING};
use super::del::{self, Removals};
use super::record::{Record, Source};

/// Offers every port of `record`, which nobody holds now, to who waits for it.
///
/// # Errors
/// The first failure, after every port was tried.
pub(super) fn hand_over(session: &mut Session<'_>, record: Record<'_>) -> Result<()> {
    let mut failures = Failures::new();
    for port in record.ports() {
        let outcome = offer(session, &port);
        failures.note(outcome);
    }
    // Nothing of it is undone: the ports stay with their new holders.
    session.work().journal.commit();
    failures.into_result()
}

/// The waiting attachments are asked in the order of their marks, so that it is
/// the same one each time.
fn offer(session: &mut Session<'_>, port: &PublishedPort) -> Result<()> {
    let dir = Claim::of(port).dir;
    let mut marks: heapless::Vec<Key, ROUND> = heapless::Vec::new();
    session.backend.list(&dir, &mut |name| {
        if let Some(mark) = picocni_core::text::fits(&[&name]).filter(|_| name.starts_with(WAITING)) {
            let _ = marks.push(mark);
        }
    })?;
    let mut last = Key::new();
    while let Some(mark) = marks.iter().filter(|mark| **mark > last).min() {
        let mut holder = heapless::String::<{ limits::TAG }>::new();
        session.backend.read_link(&dir, mark, &mut holder)?;
        if let Some(heir) = Tag::read(&holder) {
            offer_to(session, port, &heir)?;
        }
        last.clone_from(mark);
    }
    Ok(())
}

/// What `heir` waits for at this port number, if its sandbox is still there.
#[inline(never)]
fn offer_to(session: &mut Session<'_>, port: &PublishedPort, heir: &Tag) -> Result<()> {
    let mut buffer = [0u8; limits::STATE_FILE];
    let Some(record) = Record::read(session, heir, &mut buffer)? else { return Ok(()) };
    if !record.lives(session) {
        return Ok(());
    }
    for wanted in record.waiting().filter(|wanted| same_number(wanted, port)) {
        let source = record.sources().find(|source| source.to == wanted.to);
        // By iptables it has rules already, behind those of the one that held the port.
        let native = record.chains().next().is_none();
        take_over(session, &wanted, source, native, heir)?;
    }
    Ok(())
}

fn same_number(a: &PublishedPort, b: &PublishedPort) -> bool {
    a.protocol == b.protocol && a.host_port == b.host_port && a.to.is_ipv6() == b.to.is_ipv6()
}

fn take_over(
    session: &mut Session<'_>,
    port: &PublishedPort,
    source: Option<Source>,
    native: bool,
    heir: &Tag,
) -> Result<()> {
    let claim = Claim::of(port);
    if !claim.is_held_by(session, heir)? {
        if claims::is_blocked(session, port, heir)? {
            return Ok(());
        }
        let mut plan = Plan::new();
        plan.change(Change::Claim { dir: &claim.dir, key: &claim.key, holder: heir.as_str() })?;
        session.apply(&plan)?;
    }
    if !native {
        return Ok(());
    }
    if let Some(source) = source.filter(|source| source.to.is_ipv4())
        && let Some(link) = session.backend.link_at(Ns::Host, source.via)?
    {
        add::allow_localhost(session, &link.name)?;
    }
    if !session.backend.is_published(port, heir.as_str())? {
        let mut rules = Rules::new();
        rules.push(session, Change::Publish { port: *port, tag: heir.as_str() })?;
        if let Some(Source { to, via, all }) = source {
            rules.push(session, Change::PublishSource { to, via, all, tag: heir.as_str() })?;
        }
        rules.apply(session)?;
    }
    let mut purges = Removals::new();
    if port.protocol == Protocol::Udp {
        purges.push(session, del::purge(port));
    }
    purges.finish(session)
}
