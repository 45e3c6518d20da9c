//! Carries out removals: all of them, whatever fails; what is gone is success.

use picocni_core::backend::Removed;
use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::observe::Ns;
use picocni_core::op::Removal;
use picocni_core::put;

use crate::errno;
use crate::files;
use crate::filter;
use crate::firewall;
use crate::firewalld;
use crate::group;
use crate::guard;
use crate::host::{Linux, Memory, over_send};
use crate::iptables;
use crate::moved;
use crate::policy;
use crate::rules;
use crate::sysctl;
use crate::wire::nlmsg::Batch;
use crate::wire::operation;

/// Carries out removals in order; consecutive ones of one kind leave together.
pub(crate) fn removals(linux: &mut Linux<'_>, removals: &[Removal<'_>], report: &mut Removed<'_>) {
    let mut at = 0usize;
    while let Some(rest) = removals.get(at..).filter(|rest| !rest.is_empty()) {
        let together = group::length(rest);
        if together > 0 {
            let (links, _) = rest.split_at_checked(together).unwrap_or((rest, &[]));
            remove_links(linux, links, &mut |offset, outcome| report(at.saturating_add(offset), outcome));
            at = at.saturating_add(together);
            continue;
        }
        let length = batch_length(rest);
        let (batch, _) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        remove_batch(linux, batch, &mut |offset, outcome| report(at.saturating_add(offset), outcome));
        at = at.saturating_add(length);
    }
}

fn batch_length(removals: &[Removal<'_>]) -> usize {
    let Some(first) = removals.first() else { return 0 };
    let alike = removals.iter().take_while(|removal| match operation::socket_of_removal(first) {
        Some(ns) => operation::socket_of_removal(removal) == Some(ns),
        None if rules::is_removal(first) => rules::is_removal(removal),
        None => filter::is_filter_removal(first) && filter::is_filter_removal(removal),
    });
    // Links that go together are a batch of their own.
    let count = alike.count();
    let before = (1..count).find(|at| removals.get(*at..).is_some_and(|rest| group::length(rest) > 0));
    before.unwrap_or(count).clamp(1, limits::PLAN)
}

/// Links of one namespace at once, where the kernel takes them so.
fn remove_links(linux: &mut Linux<'_>, links: &[Removal<'_>], report: &mut Removed<'_>) {
    if matches!(links.first(), Some(Removal::DeleteLink { ns: Ns::Sandbox, .. })) && linux.sandbox.is_none() {
        return (0..links.len()).for_each(|at| report(at, Ok(())));
    }
    let left = group::delete(linux, links, report);
    for (at, removal) in links.iter().enumerate().filter(|(at, _)| left.get(*at) == Some(&true)) {
        remove_batch(linux, core::slice::from_ref(removal), &mut |_, outcome| report(at, outcome));
    }
}

fn remove_batch(linux: &mut Linux<'_>, batch: &[Removal<'_>], report: &mut Removed<'_>) {
    let Some(first) = batch.first() else { return };
    if let Some(ns) = operation::socket_of_removal(first) {
        return remove_route(linux, ns, batch, report);
    }
    if filter::is_filter_removal(first) {
        return match linux.filter_parts() {
            Ok((socket, memory)) => filter::remove(socket, &mut memory.send, &mut memory.receive, batch, report),
            Err(error) => (0..batch.len()).for_each(|at| report(at, Err(error.clone()))),
        };
    }
    if rules::is_removal(first) {
        return match linux.filter_parts() {
            Ok((socket, memory)) => rules::remove(socket, memory, batch, report),
            Err(error) => (0..batch.len()).for_each(|at| report(at, Err(error.clone()))),
        };
    }
    report(0, remove_one(linux, first));
}

fn remove_route(linux: &mut Linux<'_>, ns: Ns, batch: &[Removal<'_>], report: &mut Removed<'_>) {
    // A sandbox that is gone took its links with it.
    if ns == Ns::Sandbox && linux.sandbox.is_none() {
        return (0..batch.len()).for_each(|at| report(at, Ok(())));
    }
    let mut seen = [false; limits::PLAN];
    let sent = send_route(linux, ns, batch, &mut |at, outcome| {
        if let Some(seen) = seen.get_mut(at) {
            *seen = true;
        }
        report(at, outcome);
    });
    if let Err(error) = sent {
        for (at, _) in seen.iter().enumerate().take(batch.len()).filter(|(_, seen)| !**seen) {
            report(at, Err(error.clone()));
        }
    }
}

fn send_route(linux: &mut Linux<'_>, ns: Ns, batch: &[Removal<'_>], report: &mut Removed<'_>) -> Result<()> {
    let (socket, Memory { send, receive }) = linux.route_parts(ns)?;
    let count = u32::try_from(batch.len()).unwrap_or(0);
    let first = socket.take_seq(count);
    let mut messages = Batch::new(send);
    for (removal, offset) in batch.iter().zip(0u32..) {
        operation::emit_removal(removal, &mut messages, first.wrapping_add(offset));
    }
    let bytes = messages.finish().map_err(|_| over_send())?;
    let sent = socket.acknowledge(bytes, first, count, receive, &mut |at, outcome| {
        let Some(removal) = batch.get(at as usize) else { return };
        report(
            at as usize,
            match outcome {
                Err(refusal) if !operation::is_gone(removal, refusal.errno) => {
                    Err(errno::kernel(removal.verb(), removal, refusal.errno, &refusal.words))
                }
                _ => Ok(()),
            },
        );
    });
    sent.map_err(|errno| errno::kernel("send to", &"rtnetlink", errno.raw_os_error(), ""))
}

fn remove_one(linux: &mut Linux<'_>, removal: &Removal<'_>) -> Result<()> {
    match *removal {
        Removal::ResetSysctl { ns, key, value } => {
            if ns == Ns::Sandbox && linux.sandbox.is_none() {
                return Ok(());
            }
            linux.be_in(ns)?;
            sysctl::write(key, value)
        }
        Removal::ReleaseLease { dir, ip } => {
            let mut path = heapless::String::<{ limits::PATH }>::new();
            put!(&mut path, dir, "/", ip);
            files::remove(&path).map_err(|errno| errno::file(&"failed to release a lease", &path, errno))
        }
        Removal::RemoveFile { path } => {
            files::remove(path).map_err(|errno| errno::file(&"failed to remove a file", path, errno))
        }
        Removal::Unclaim { dir, key } => {
            files::unclaim(dir, key).map_err(|errno| errno::file(&"failed to give a port back", key, errno))
        }
        Removal::PurgeConnections { protocol, host_port, host_ip, v6 } => {
            let (socket, memory) = linux.filter_parts()?;
            filter::purge(socket, &mut memory.send, &mut memory.receive, protocol, host_port, host_ip, v6)
        }
        Removal::IptablesChain { .. } | Removal::IptablesRules { .. } | Removal::DropLegacyChain { .. } => {
            linux.be_in(Ns::Host)?;
            iptables::remove(linux.environ, removal)
        }
        Removal::ReturnLink { .. } => moved::give_back(linux, removal),
        Removal::RestoreAddress { .. } => moved::restore_address(linux, removal),
        Removal::UnguardSource { port, mac } => {
            let (socket, memory) = linux.filter_parts()?;
            guard::remove(socket, memory, port.0, mac.0)
        }
        Removal::LiftPolicy { tag, addresses, port } => {
            let (socket, memory) = linux.filter_parts()?;
            policy::lift(socket, memory, tag, addresses, port)
        }
        Removal::UnbindSource { zone, ip } => firewalld::remove(linux, zone, ip),
        Removal::Erase { entry, tag } => {
            let (socket, memory) = linux.filter_parts()?;
            firewall::erase(socket, memory, &entry, tag)
        }
        // Sent in batches.
        Removal::DeleteLink { .. }
        | Removal::ResetLink { .. }
        | Removal::DeleteAddress { .. }
        | Removal::DeleteRoute { .. }
        | Removal::RestoreRoute { .. }
        | Removal::DeleteRule { .. }
        | Removal::DeleteNeighbour { .. }
        | Removal::Unshape { .. }
        | Removal::ReleaseIngress { .. }
        | Removal::Unpublish { .. }
        | Removal::UnpublishSource { .. }
        | Removal::Unmasquerade { .. }
        | Removal::DropRules { .. }
        | Removal::DropChain { .. }
        | Removal::DropTable { .. } => Ok(()),
    }
}
