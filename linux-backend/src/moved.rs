//! Links that go from the host to the sandbox and back, each way in one message:
//! the namespace, the name there, alias and state. The kernel takes the new name
//! where the old one is taken in the other namespace, and else renames after the
//! move; so whether the new one is free is looked up first.

use picocni_core::backend::Backend;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::name::IfName;
use picocni_core::observe::{Link, Ns};
use picocni_core::op::{Change, Removal};
use picocni_core::text::Put;
use rustix::fd::AsRawFd;

use crate::apply::{EEXIST, request};
use crate::errno;
use crate::host::Linux;
use crate::wire::link::{IFF_UP, SetLink, Target};
use crate::wire::operation;

fn refuse_taken(linux: &mut Linux<'_>, ns: Ns, name: IfName, own: Option<&Link>) -> Result<()> {
    let taken = linux.link(ns, &name)?.filter(|link| own.is_none_or(|own| own.index != link.index));
    if taken.is_some() {
        let place = if ns == Ns::Host { "on the host" } else { "in the sandbox" };
        let error = err!(CONFLICT, "name of a link is taken", "\"", name, "\" ", place, ": rename or remove that link");
        return Err(error.with_errno(EEXIST));
    }
    Ok(())
}

/// Carries out a [`Change::MoveLink`].
pub(crate) fn take(linux: &mut Linux<'_>, change: &Change<'_>) -> Result<Option<Removal<'static>>> {
    let Change::MoveLink { index, name, to, alias, was_up } = *change else { return Ok(None) };
    refuse_taken(linux, Ns::Sandbox, to, None)?;
    let set = SetLink {
        netns_fd: linux.sandbox.as_ref().and_then(|fd| u32::try_from(fd.as_raw_fd()).ok()),
        alias: Some(alias),
        ..SetLink::new(Target::Rename { index: index.0, to: to.as_str() })
    };
    send(linux, Ns::Host, change.verb(), change, &set)?;
    Ok(Some(Removal::ReturnLink { ns: Ns::Sandbox, name: to, to: name, up: was_up }))
}

/// Carries out a [`Removal::ReturnLink`].
pub(crate) fn give_back(linux: &mut Linux<'_>, removal: &Removal<'_>) -> Result<()> {
    let Removal::ReturnLink { ns, name, to, up } = *removal else { return Ok(()) };
    if ns == Ns::Sandbox && linux.sandbox.is_none() {
        return Ok(());
    }
    let Some(link) = linux.link(ns, &name)? else { return Ok(()) };
    refuse_taken(linux, Ns::Host, to, Some(&link).filter(|_| ns == Ns::Host))?;
    let netns_fd = match ns {
        Ns::Host => None,
        Ns::Sandbox => Some(linux.own_descriptor()?),
    };
    let set = SetLink {
        netns_fd,
        alias: Some(""),
        ..SetLink::new(Target::Rename { index: link.index.0, to: to.as_str() }).flag(IFF_UP, up)
    };
    send(linux, ns, removal.verb(), removal, &set)
}

/// Carries out a [`Removal::RestoreAddress`].
pub(crate) fn restore_address(linux: &mut Linux<'_>, removal: &Removal<'_>) -> Result<()> {
    let Removal::RestoreAddress { name, cidr } = *removal else { return Ok(()) };
    let Some(link) = linux.link(Ns::Host, &name)? else { return Ok(()) };
    let outcome = request(linux, Ns::Host, &|batch, seq| {
        operation::add_address(link.index, cidr, true, true, batch, seq);
    });
    match outcome {
        Err(refusal) if refusal.errno != EEXIST => {
            Err(errno::kernel(removal.verb(), removal, refusal.errno, &refusal.words))
        }
        _ => Ok(()),
    }
}

fn send(linux: &mut Linux<'_>, ns: Ns, verb: &'static str, object: &dyn Put, set: &SetLink<'_>) -> Result<()> {
    request(linux, ns, &|batch, seq| set.emit(batch, seq))
        .map_err(|refusal| errno::kernel(verb, object, refusal.errno, &refusal.words))
}
