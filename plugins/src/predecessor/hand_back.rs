//! The way back: port mappings, masquerade and guards of live attachments, known
//! from our records, are written in the form of the plugins before us, by which
//! these delete them.
//!
//! Theirs are made first and ours deleted then, so that at no time a packet finds
//! neither; a connection that is translated stays so. What fails on the way is
//! taken back by its names.

use core::ops::ControlFlow;

use picocni_core::err;
use picocni_core::error::{Error, Phrase, Result};
use picocni_core::limits;
use picocni_core::name::IfName;
use picocni_core::observe::Ns;
use picocni_core::op::Removal;
use picocni_core::owner::{Owner, Tag};
use picocni_core::packet_filter::{Table, TableFamily};
use picocni_core::put;
use picocni_core::session::Session;

use super::{macspoof, masquerade, portmap};
use crate::bridge::macspoof as guards;
use crate::firewall::record as firewall;
use crate::host_device;
use crate::masquerade as masqueraded;
use crate::policy::record as policy;
use crate::portmap::claims::{Claim, LOCK};
use crate::portmap::record::{self as ports, Record};
use crate::record;

/// What attachments hold, and where it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Ports,
    Masquerade,
    Guard,
    Firewall,
    Policy,
}

/// What a guard is called; the other two have a backend that a config chooses.
pub const GUARD: &str = "source guard";

const SUBJECTS: [Subject; 5] =
    [Subject::Ports, Subject::Masquerade, Subject::Guard, Subject::Firewall, Subject::Policy];

/// Our tables.
const TABLES: [Table<'static>; 2] =
    [Table { family: TableFamily::Inet, name: "picocni" }, Table { family: TableFamily::Bridge, name: "picocni" }];

impl Subject {
    const fn dir(self) -> &'static str {
        match self {
            Subject::Ports => ports::DIR,
            Subject::Masquerade => masqueraded::DIR,
            Subject::Guard => guards::DIR,
            Subject::Firewall => firewall::DIR,
            Subject::Policy => policy::DIR,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Subject::Ports => "published ports",
            Subject::Masquerade => "masquerade",
            Subject::Guard => GUARD,
            Subject::Firewall => "isolation",
            Subject::Policy => "network policy",
        }
    }
}

/// What is said of an attachment: what it holds, whose it is, and why it cannot
/// be handed back, if it cannot.
pub type Tell<'t> = dyn FnMut(&'static str, &Tag, Option<Phrase>) + 't;

/// Goes through the attachments of a subject.
fn each(session: &mut Session<'_>, dir: &str, act: &mut dyn FnMut(&mut Session<'_>, &Tag) -> Result<()>) -> Result<()> {
    record::each(session, dir, &mut |session, tag| act(session, tag).map(ControlFlow::Continue))
}

fn owner(tag: &Tag) -> Option<Owner<'_>> {
    let (network, container, ifname) = tag.parts()?;
    Some(Owner { network, container, ifname: IfName::new(ifname).ok()? })
}

/// Says what there is to hand back.
///
/// # Errors
/// Code 103: something of it cannot be; it was said of what. Code 5.
pub fn examine(session: &mut Session<'_>, tell: &mut Tell<'_>) -> Result<()> {
    let mut refused = 0u32;
    for subject in SUBJECTS {
        each(session, subject.dir(), &mut |session, tag| {
            let why = obstacle(session, subject, tag)?;
            if why.is_none() && has_their_form(session, subject, tag)? {
                return Ok(());
            }
            refused = refused.saturating_add(u32::from(why.is_some()));
            tell(subject.name(), tag, why);
            Ok(())
        })?;
    }
    if refused > 0 {
        return Err(err!(
            CONFLICT,
            "attachments cannot be handed back",
            refused,
            " are named above; end these containers first. Nothing was changed"
        ));
    }
    Ok(())
}

/// Why the plugins before us have no form for what an attachment holds.
fn obstacle(session: &mut Session<'_>, subject: Subject, tag: &Tag) -> Result<Option<Phrase>> {
    let Some(Owner { container, .. }) = owner(tag) else {
        return Ok(Some(&"its identity is recorded as a digest only"));
    };
    match subject {
        Subject::Ports => {}
        Subject::Masquerade | Subject::Guard => return Ok(None),
        Subject::Firewall => {
            let isolated = firewall::isolates(session, tag)?;
            return Ok(isolated.then_some(&"they keep bridges apart at an ADD alone, and by iptables"));
        }
        Subject::Policy => return Ok(Some(&"they have no network policies")),
    }
    let mut buffer = [0u8; limits::STATE_FILE];
    if Record::read(session, tag, &mut buffer)?.is_some_and(|record| record.waiting().next().is_some()) {
        return Ok(Some(&"a port of it waits for another attachment of the container"));
    }
    let mut several = false;
    session.backend.list(ports::DIR, &mut |name| {
        let other = Tag::of_file_name(name).filter(|other| other != tag);
        several |= other.is_some_and(|other| other.parts().is_some_and(|(_, id, _)| id == container));
    })?;
    Ok(several.then_some(&"ports of another attachment of the container have the same rules"))
}

/// Whether it is there in their form already, or needs none: what iptables
/// serves, and that a pod is let through where nobody drops.
fn has_their_form(session: &mut Session<'_>, subject: Subject, tag: &Tag) -> Result<bool> {
    match subject {
        Subject::Ports => {
            let mut buffer = [0u8; limits::STATE_FILE];
            Ok(Record::read(session, tag, &mut buffer)?.is_some_and(|record| record.chains().next().is_some()))
        }
        Subject::Masquerade => Ok(masqueraded::recorded(session, tag)?.is_empty()),
        Subject::Guard => Ok(false),
        Subject::Firewall | Subject::Policy => Ok(true),
    }
}

/// Hands everything back that [`examine`] found no obstacle for, and forgets it.
///
/// # Errors
/// Code 101; what was written is taken back.
pub fn run(session: &mut Session<'_>) -> Result<()> {
    // No port changes hands meanwhile.
    session.backend.lock(LOCK)?;
    let outcome = write_all(session);
    if let Err(error) = outcome {
        return Err(take_back_all(session, error));
    }
    for table in TABLES {
        session.removal(Removal::DropTable { table })?;
    }
    forget_all(session)?;
    session.backend.unlock();
    session.removal(Removal::RemoveFile { path: LOCK })
}

fn write_all(session: &mut Session<'_>) -> Result<()> {
    for subject in SUBJECTS {
        each(session, subject.dir(), &mut |session, tag| write(session, subject, tag))?;
    }
    Ok(())
}

fn write(session: &mut Session<'_>, subject: Subject, tag: &Tag) -> Result<()> {
    let Some(owner) = owner(tag) else { return Ok(()) };
    if has_their_form(session, subject, tag)? {
        return Ok(());
    }
    match subject {
        Subject::Ports => {
            let mut buffer = [0u8; limits::STATE_FILE];
            let Some(record) = Record::read(session, tag, &mut buffer)? else { return Ok(()) };
            for port in record.ports() {
                portmap::publish(session, &owner, &port)?;
            }
            for source in record.sources() {
                portmap::publish_source(session, &owner, source.to, source.all)?;
            }
        }
        Subject::Masquerade => {
            for (ip, net) in &masqueraded::recorded(session, tag)? {
                masquerade::masquerade(session, &owner, *ip, *net)?;
            }
        }
        Subject::Guard => {
            let Some(Some((port, mac))) = guards::recorded(session, tag)? else { return Ok(()) };
            // Without its port there is nothing to guard.
            if let Some(link) = session.backend.link_at(Ns::Host, port)? {
                macspoof::guard(session, &owner, link.name, mac)?;
            }
        }
        Subject::Firewall | Subject::Policy => {}
    }
    Ok(())
}

/// What was written goes by its names; what cannot go is added to `cause`.
fn take_back_all(session: &mut Session<'_>, cause: Error) -> Error {
    for subject in SUBJECTS {
        let outcome = each(session, subject.dir(), &mut |session, tag| {
            let Some(owner) = owner(tag) else { return Ok(()) };
            if has_their_form(session, subject, tag)? {
                return Ok(());
            }
            match subject {
                Subject::Ports => portmap::take_back(session, &owner),
                Subject::Masquerade => masquerade::take_back(session, &owner),
                Subject::Guard => macspoof::take_back(session, &owner),
                Subject::Firewall | Subject::Policy => Ok(()),
            }
        });
        if let Err(error) = outcome {
            put!(&mut cause.more(), "; not undone: ", error);
        }
    }
    session.backend.unlock();
    cause
}

/// Claims and records.
fn forget_all(session: &mut Session<'_>) -> Result<()> {
    each(session, ports::DIR, &mut |session, tag| {
        let mut buffer = [0u8; limits::STATE_FILE];
        let Some(record) = Record::read(session, tag, &mut buffer)? else { return Ok(()) };
        for port in record.ports() {
            Claim::of(&port).give_back(session)?;
        }
        Ok(())
    })?;
    for dir in [ports::DIR, masqueraded::DIR, guards::DIR, host_device::record::DIR, firewall::DIR] {
        each(session, dir, &mut |session, tag| {
            session.removal(Removal::RemoveFile { path: &record::path(dir, tag)? })
        })?;
    }
    Ok(())
}
