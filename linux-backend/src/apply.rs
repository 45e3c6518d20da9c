//! Applies changes: consecutive ones of one kind leave together.

use picocni_core::backend::{Applied, Backend};
use picocni_core::err;
use picocni_core::error::{Error, Phrase, Result};
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName};
use picocni_core::net::Cidr;
use picocni_core::observe::Ns;
use picocni_core::op::{Change, LinkChange, LinkId, OnFailure, Removal, Undo};
use picocni_core::put;
use picocni_core::text::fits;
use rustix::fd::AsRawFd;
use rustix::io::Errno;

use crate::errno;
use crate::files;
use crate::filter;
use crate::firewall;
use crate::firewalld;
use crate::guard;
use crate::host::{Linux, Memory, over_send};
use crate::iptables;
use crate::moved;
use crate::policy;
use crate::rules;
use crate::shape;
use crate::shared;
use crate::socket::Refusal;
use crate::sysctl;
use crate::tap;
use crate::wait;
use crate::wire::link::{SetLink, Target};
use crate::wire::nlmsg::Batch;
use crate::wire::operation;

const EACCES: i32 = 13;
pub(crate) const EEXIST: i32 = 17;

/// Applies changes in order, batch by batch; after a batch that failed the
/// following ones are not tried.
pub(crate) fn changes(linux: &mut Linux<'_>, changes: &[Change<'_>], report: &mut Applied<'_>) {
    let mut at = 0usize;
    let mut failed = false;
    while let Some(rest) = changes.get(at..).filter(|rest| !rest.is_empty()) {
        let length = batch_length(rest);
        let (batch, _) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        if failed {
            for offset in 0..batch.len() {
                report(at.saturating_add(offset), Err(operation::not_applied()));
            }
        } else {
            failed = apply_batch(linux, batch, &mut |offset, outcome| report(at.saturating_add(offset), outcome));
        }
        at = at.saturating_add(length);
    }
}

/// How many of the next changes leave together.
fn batch_length(changes: &[Change<'_>]) -> usize {
    let Some(first) = changes.first() else { return 0 };
    let alike = changes.iter().take_while(|change| match operation::socket_of(first) {
        Some(ns) => operation::socket_of(change) == Some(ns),
        None if rules::is_change(first) => rules::is_change(change),
        None => filter::is_filter(first) && filter::is_filter(change),
    });
    alike.count().clamp(1, limits::PLAN)
}

/// `true` if something failed.
fn apply_batch(linux: &mut Linux<'_>, batch: &[Change<'_>], report: &mut Applied<'_>) -> bool {
    let Some(first) = batch.first() else { return false };
    if let Some(ns) = operation::socket_of(first) {
        return apply_route(linux, ns, batch, report);
    }
    if filter::is_filter(first) {
        return apply_filter(linux, batch, report);
    }
    if rules::is_change(first) {
        let outcome = linux.filter_parts().and_then(|(socket, memory)| rules::add(socket, memory, batch));
        (0..batch.len()).for_each(|at| report(at, outcome.clone().map(|()| None)));
        return outcome.is_err();
    }
    let mut old = heapless::String::new();
    let outcome = apply_one(linux, first, &mut old);
    let failed = outcome.is_err();
    report(0, outcome);
    failed
}

fn apply_route(linux: &mut Linux<'_>, ns: Ns, batch: &[Change<'_>], report: &mut Applied<'_>) -> bool {
    let mut failed = false;
    let mut seen = [false; limits::PLAN];
    let sent = send_route(linux, ns, batch, &mut |at, outcome| {
        if let Some(seen) = seen.get_mut(at) {
            *seen = true;
        }
        let Some(change) = batch.get(at) else { return };
        failed |= outcome.is_err();
        report(
            at,
            match outcome {
                Ok(()) => Ok(operation::inverse(change)),
                Err(refusal) => Err(errno::kernel(change.verb(), change, refusal.errno, &refusal.words)),
            },
        );
    });
    if let Err(error) = sent {
        failed = true;
        for (at, _) in seen.iter().enumerate().take(batch.len()).filter(|(_, seen)| !**seen) {
            report(at, Err(error.clone()));
        }
    }
    failed
}

fn send_route(
    linux: &mut Linux<'_>,
    ns: Ns,
    batch: &[Change<'_>],
    each: &mut dyn FnMut(usize, core::result::Result<(), Refusal>),
) -> Result<()> {
    let sandbox = linux.sandbox.as_ref().and_then(|fd| u32::try_from(fd.as_raw_fd()).ok());
    let (socket, Memory { send, receive }) = linux.route_parts(ns)?;
    let count = u32::try_from(batch.len()).unwrap_or(0);
    let first = socket.take_seq(count);
    let mut messages = Batch::new(send);
    for (change, offset) in batch.iter().zip(0u32..) {
        operation::emit(change, sandbox, &mut messages, first.wrapping_add(offset));
    }
    let bytes = messages.finish().map_err(|_| over_send())?;
    socket
        .acknowledge(bytes, first, count, receive, &mut |at, outcome| each(at as usize, outcome))
        .map_err(|errno| errno::kernel("send to", &"rtnetlink", errno.raw_os_error(), ""))
}

/// One rtnetlink request outside a batch.
pub(crate) fn request(
    linux: &mut Linux<'_>,
    ns: Ns,
    emit: &dyn Fn(&mut Batch<'_>, u32),
) -> core::result::Result<(), Refusal> {
    let (socket, Memory { send, receive }) = linux.route_parts(ns).map_err(|_| Refusal::from(Errno::IO))?;
    let seq = socket.take_seq(1);
    let mut batch = Batch::new(send);
    emit(&mut batch, seq);
    let bytes = batch.finish().map_err(|_| Refusal::from(Errno::MSGSIZE))?;
    let mut answer = Ok(());
    socket.acknowledge(bytes, seq, 1, receive, &mut |_, outcome| answer = outcome)?;
    answer
}

fn apply_filter(linux: &mut Linux<'_>, batch: &[Change<'_>], report: &mut Applied<'_>) -> bool {
    let outcome = linux
        .filter_parts()
        .and_then(|(socket, memory)| filter::apply(socket, &mut memory.send, &mut memory.receive, batch));
    for (at, change) in batch.iter().enumerate() {
        report(
            at,
            match &outcome {
                Ok(()) => Ok(inverse_of_filter(change)),
                Err(error) => Err(error.clone()),
            },
        );
    }
    outcome.is_err()
}

fn inverse_of_filter(change: &Change<'_>) -> Option<Removal<'static>> {
    match *change {
        Change::Publish { port, .. } => Some(Removal::Unpublish { port }),
        Change::PublishSource { to, via, all, .. } => Some(Removal::UnpublishSource { to, via, all }),
        Change::Masquerade { ip, .. } => Some(Removal::Unmasquerade { ip }),
        _ => None,
    }
}

type Old = heapless::String<{ limits::SYSCTL_VALUE }>;

fn apply_one<'c>(linux: &mut Linux<'_>, change: &Change<'c>, old: &'c mut Old) -> Result<Option<Removal<'c>>> {
    match *change {
        Change::EnsureBridge { .. } => shared::ensure_bridge(linux, change).map(|()| None),
        Change::EnsureVlanPort { .. } => shared::ensure_vlan_port(linux, change).map(|()| None),
        Change::GuardSource { port, mac, tag } => {
            let (socket, memory) = linux.filter_parts()?;
            guard::add(socket, memory, port.0, mac.0, tag)?;
            Ok(Some(Removal::UnguardSource { port, mac }))
        }
        Change::Enforce { policy: wanted } => {
            let (socket, memory) = linux.filter_parts()?;
            policy::enforce(socket, memory, &wanted)?;
            Ok(Some(Removal::LiftPolicy { tag: wanted.tag, addresses: wanted.addresses, port: wanted.port }))
        }
        Change::BindSource { zone, ip } => {
            let bound = firewalld::add(linux, zone, ip)?;
            Ok(bound.then_some(Removal::UnbindSource { zone, ip }))
        }
        Change::Enter { entry, tag } => {
            let (socket, memory) = linux.filter_parts()?;
            let made = firewall::enter(socket, memory, &entry, tag)?;
            Ok(made.then_some(Removal::Erase { entry, tag }))
        }
        Change::EnsureAddress { index, cidr } => ensure_address(linux, change, index, cidr).map(|()| None),
        Change::EnsureSysctl { key, value, on_failure } => {
            linux.be_in(Ns::Host)?;
            unless_ignored(sysctl::write(key, value), on_failure).map(|_| None)
        }
        Change::WriteSysctl { ns, key, value, undo, on_failure } => {
            write_sysctl(linux, ns, key, value, undo, on_failure, old)
        }
        Change::Shape { .. } => shape::add(linux, change),
        Change::RedirectIngress { .. } => shape::redirect(linux, change),
        Change::MoveLink { .. } => moved::take(linux, change),
        Change::CreateTap { name, multi_queue, owner, group, selinux } => {
            linux.be_in(Ns::Sandbox)?;
            let device = tap::Device { name, multi_queue, owner, group };
            device.make(selinux).map_err(|errno| errno::kernel(change.verb(), change, errno.raw_os_error(), ""))?;
            Ok(Some(Removal::DeleteLink { ns: Ns::Sandbox, name }))
        }
        Change::RenameLink { ns, from, to } => rename(linux, change, ns, from, to).map(Some),
        Change::SetLink { ns, link, set, .. } => set_link(linux, change, ns, link, &set),
        Change::EnsureIptables { .. } | Change::Iptables { .. } | Change::IptablesRules { .. } => {
            linux.be_in(Ns::Host)?;
            iptables::apply(linux.environ, change)
        }
        Change::AwaitForwarding { host } => wait::forwarding(linux, host).map(|()| None),
        Change::AwaitAddresses { ns, index } => wait::addresses(linux, ns, index).map(|()| None),
        Change::ReserveLease { dir, ip, container, ifname } => {
            let mut path = heapless::String::<{ limits::PATH }>::new();
            put!(&mut path, dir, "/", ip);
            let content: heapless::String<{ limits::PATH }> =
                fits(&[&container, &"\r\n", &ifname]).ok_or_else(|| Error::limit("PATH", limits::PATH))?;
            files::create(&path, content.as_bytes(), 0o755).map_err(|errno| exists(&"lease exists", &path, errno))?;
            Ok(Some(Removal::ReleaseLease { dir, ip }))
        }
        Change::NoteLastLease { dir, set, ip } => {
            let mut path = heapless::String::<{ limits::PATH }>::new();
            put!(&mut path, dir, "/last_reserved_ip.", set);
            let mut text = heapless::String::<64>::new();
            put!(&mut text, ip);
            files::overwrite(&path, text.as_bytes())
                .map_err(|errno| errno::file(&"failed to write a file", &path, errno))?;
            Ok(None)
        }
        Change::WriteFile { path, content } => {
            files::create(path, content, 0o700).map_err(|errno| exists(&"file exists", path, errno))?;
            Ok(Some(Removal::RemoveFile { path }))
        }
        Change::Claim { dir, key, holder } => {
            files::claim(dir, key, holder).map_err(|errno| exists(&"port is claimed", key, errno))?;
            Ok(Some(Removal::Unclaim { dir, key }))
        }
        _ => Err(err!(INTERNAL, "change has no handler", change.verb())),
    }
}

/// `EEXIST` is a conflict, anything else a file error.
fn exists(what: Phrase, path: &str, errno: Errno) -> Error {
    if errno == Errno::EXIST {
        return err!(CONFLICT, what, path).with_errno(EEXIST);
    }
    errno::file(&"failed to write a file", path, errno)
}

fn unless_ignored(outcome: Result<()>, on_failure: OnFailure) -> Result<bool> {
    match (outcome, on_failure) {
        (Ok(()), _) => Ok(true),
        (Err(_), OnFailure::Ignore) => Ok(false),
        (Err(error), OnFailure::Fail) => Err(error),
    }
}

fn write_sysctl<'c>(
    linux: &mut Linux<'_>,
    ns: Ns,
    key: &'c str,
    value: &str,
    undo: Undo,
    on_failure: OnFailure,
    old: &'c mut Old,
) -> Result<Option<Removal<'c>>> {
    linux.be_in(ns)?;
    if undo == Undo::WithLink {
        unless_ignored(sysctl::write(key, value), on_failure)?;
        return Ok(None);
    }
    match sysctl::read(key, old) {
        // A write-only one (net.ipv4.route.flush) is an act without an inverse.
        Err(error) if error.errno() == EACCES => {
            unless_ignored(sysctl::write(key, value), on_failure)?;
            return Ok(None);
        }
        read => {
            if !unless_ignored(read.map(|_| ()), on_failure)? {
                return Ok(None);
            }
        }
    }
    let written = unless_ignored(sysctl::write(key, value), on_failure)?;
    Ok(written.then_some(Removal::ResetSysctl { ns, key, value: old }))
}

pub(crate) fn refused(change: &Change<'_>, refusal: &Refusal) -> Error {
    errno::kernel(change.verb(), change, refusal.errno, &refusal.words)
}

fn ensure_address(linux: &mut Linux<'_>, change: &Change<'_>, index: IfIndex, cidr: Cidr) -> Result<()> {
    match request(linux, Ns::Host, &|batch, seq| operation::add_address(index, cidr, false, true, batch, seq)) {
        Err(refusal) if refusal.errno != EEXIST => Err(refused(change, &refusal)),
        _ => Ok(()),
    }
}

/// The kernel renames by index alone.
fn rename<'c>(linux: &mut Linux<'_>, change: &Change<'_>, ns: Ns, from: IfName, to: IfName) -> Result<Removal<'c>> {
    let index = linux.link(ns, &from)?.ok_or_else(|| err!(KERNEL, "link does not exist", from))?.index.0;
    let set = SetLink::new(Target::Rename { index, to: to.as_str() });
    request(linux, ns, &|batch, seq| set.emit(batch, seq)).map_err(|refusal| refused(change, &refusal))?;
    Ok(Removal::DeleteLink { ns, name: to })
}

/// Reads the old attributes first: they are the inverse.
fn set_link<'c>(
    linux: &mut Linux<'_>,
    change: &Change<'_>,
    ns: Ns,
    link: LinkId,
    set: &LinkChange<'_>,
) -> Result<Option<Removal<'c>>> {
    let old = match link {
        LinkId::Name(name) => linux.link(ns, &name)?,
        LinkId::Index(index) => linux.link_at(ns, index)?,
    };
    let old = old.ok_or_else(|| err!(KERNEL, "link does not exist", link))?;
    request(linux, ns, &|batch, seq| operation::set_link(&link, set, batch, seq))
        .map_err(|refusal| refused(change, &refusal))?;
    let back = LinkChange {
        up: set.up.map(|_| old.up),
        mtu: set.mtu.map(|_| old.mtu),
        mac: set.mac.map(|_| old.mac),
        promisc: set.promisc.map(|_| old.promisc),
        allmulti: set.allmulti.map(|_| old.allmulti),
        txqlen: set.txqlen.map(|_| old.txqlen),
        alias: None,
        // No master is index 0.
        master: set.master.map(|_| old.master.unwrap_or(IfIndex(0))),
        hairpin: set.hairpin.map(|_| old.hairpin),
        isolated: set.isolated.map(|_| old.isolated),
        arp_notify: None,
    };
    Ok(Some(Removal::ResetLink { ns, link: LinkId::Index(old.index), set: back }))
}
