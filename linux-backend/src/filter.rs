//! Changes and removals of our nftables table, and connection tracking.

use core::net::{IpAddr, SocketAddr};

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::observe::{Protocol, PublishedPort};
use picocni_core::op::{Change, Removal};
use picocni_core::put;
use picocni_core::text::Put;

use crate::errno;
use crate::socket::{Refusal, Socket};
use crate::transaction::{EBUSY, EEXIST, ENOENT, SEQS, TRIES, exists, send_and_wait};
use crate::wire::conntrack;
use crate::wire::netfilter::layout::{self, Claim, Entry, HostPort, Network};
use crate::wire::nftables::{self, Comment, Transaction};
use crate::wire::nlmsg::Batch;

/// Whether a change is part of an nftables transaction.
pub(crate) fn is_filter(change: &Change<'_>) -> bool {
    matches!(change, Change::Publish { .. } | Change::PublishSource { .. } | Change::Masquerade { .. })
}

/// Whether a removal is part of an nftables transaction.
pub(crate) fn is_filter_removal(removal: &Removal<'_>) -> bool {
    matches!(removal, Removal::Unpublish { .. } | Removal::UnpublishSource { .. } | Removal::Unmasquerade { .. })
}

const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn host_port(port: &PublishedPort) -> Result<Entry> {
    HostPort::new(port.host_ip, number(port.protocol), port.host_port, SocketAddr::new(port.to, port.to_port))
        .map(Entry::Port)
        .map_err(|_| err!(INTERNAL, "host address and container address are of two families", *port))
}

type Entries = heapless::Vec<Entry, 4>;

/// The elements that let other sources than remote clients reach a port.
fn source_entries(to: IpAddr, via: u32, all: bool) -> Entries {
    let mut entries = Entries::new();
    let _ = entries.push(Entry::Hairpin { ifindex: via, addr: to });
    let _ = entries.push(Entry::Itself(to));
    if let IpAddr::V4(v4) = to {
        let _ = entries.push(Entry::Loopback(v4));
    }
    if all {
        let _ = entries.push(Entry::MasqueradeAll(to));
    }
    entries
}

fn entries_of(change: &Change<'_>) -> Result<Entries> {
    let mut entries = Entries::new();
    match *change {
        Change::Publish { port, .. } => {
            let _ = entries.push(host_port(&port)?);
        }
        Change::PublishSource { to, via, all, .. } => entries = source_entries(to, via.0, all),
        Change::Masquerade { ip, net, .. } => {
            let network = Network::new(net.addr(), net.prefix())
                .ok_or_else(|| err!(INTERNAL, "a network's prefix does not fit", net))?;
            let _ = entries.push(Entry::Masquerade { addr: ip, network });
        }
        _ => {}
    }
    Ok(entries)
}

fn entries_of_removal(removal: &Removal<'_>) -> Result<Entries> {
    let mut entries = Entries::new();
    match *removal {
        Removal::Unpublish { port } => {
            let _ = entries.push(host_port(&port)?);
        }
        Removal::UnpublishSource { to, via, all } => entries = source_entries(to, via.0, all),
        Removal::Unmasquerade { ip } => {
            // The key is the address alone.
            if let Some(network) = Network::new(ip, 0) {
                let _ = entries.push(Entry::Masquerade { addr: ip, network });
            }
        }
        _ => {}
    }
    Ok(entries)
}

fn tag_of<'a>(change: &Change<'a>) -> &'a str {
    match *change {
        Change::Publish { tag, .. } | Change::PublishSource { tag, .. } | Change::Masquerade { tag, .. } => tag,
        _ => "",
    }
}

/// What a batch needs besides its elements, found out before it is sent: a
/// transaction that the kernel refuses costs it a grace period (8 to 24 ms).
struct Needs {
    table: bool,
    networks: bool,
    /// Masquerade entries of an earlier life of an address are replaced.
    replace: [bool; limits::PLAN],
}

/// Where a transaction was refused.
struct Refused {
    /// Index of the change; `None`: the table or a chain.
    at: Option<usize>,
    errno: i32,
}

/// Applies consecutive filter changes as one transaction.
pub(crate) fn apply(socket: &mut Socket, send: &mut [u8], receive: &mut [u8], changes: &[Change<'_>]) -> Result<()> {
    for _ in 0..TRIES {
        let needs = look(socket, send, receive, changes)?;
        let refused = match transact(socket, send, receive, changes, &needs)? {
            None => return Ok(()),
            Some(refused) => refused,
        };
        match (refused.errno, refused.at.and_then(|at| changes.get(at))) {
            (EEXIST | EBUSY, Some(Change::Publish { port, .. })) => return Err(taken(socket, send, receive, port)),
            // Somebody else made or removed a thing between look and act.
            (ENOENT | EEXIST | EBUSY, _) => {}
            (errno, change) => return Err(refusal(change, errno)),
        }
    }
    Err(err!(TRY_AGAIN, "the packet filter kept changing", "nftables table inet picocni"))
}

fn look(socket: &mut Socket, send: &mut [u8], receive: &mut [u8], changes: &[Change<'_>]) -> Result<Needs> {
    let mut needs = Needs { table: false, networks: false, replace: [false; limits::PLAN] };
    needs.table =
        !exists(socket, send, receive, &[ENOENT], &mut |batch, seq| nftables::get_table(batch, seq, layout::TABLE))?;
    if needs.table {
        needs.networks = true;
        return Ok(needs);
    }
    let mut known: Option<Network> = None;
    for (change, replace) in changes.iter().zip(needs.replace.iter_mut()) {
        let Some(entry @ Entry::Masquerade { network, .. }) = entries_of(change)?.first().copied() else { continue };
        if known != Some(network) {
            let name = network.chain_name();
            needs.networks |= !exists(socket, send, receive, &[ENOENT], &mut |batch, seq| {
                nftables::get_chain(batch, seq, layout::TABLE, &name)
            })?;
            known = Some(network);
        }
        *replace = get_entry(socket, send, receive, &entry, &mut |_, _| {})?;
    }
    Ok(needs)
}

fn refusal(change: Option<&Change<'_>>, errno: i32) -> Error {
    match change {
        Some(change) => errno::kernel(change.verb(), change, errno, ""),
        None => errno::kernel("set up nftables table", &"inet picocni", errno, ""),
    }
}

fn taken(socket: &mut Socket, send: &mut [u8], receive: &mut [u8], port: &PublishedPort) -> Error {
    let error = err!(CONFLICT, "host port is taken", *port);
    let _ = look_up(socket, send, receive, port, &mut |_, holder| {
        put!(&mut error.more(), ": held by ", holder);
    });
    error
}

fn transact(
    socket: &mut Socket,
    send: &mut [u8],
    receive: &mut [u8],
    changes: &[Change<'_>],
    needs: &Needs,
) -> Result<Option<Refused>> {
    let first = socket.take_seq(SEQS);
    let mut starts: heapless::Vec<u32, { limits::PLAN }> = heapless::Vec::new();
    let mut batch = Batch::new(send);
    let mut tx = Transaction::begin(&mut batch, first);
    if needs.table {
        layout::ensure_table(&mut tx);
    }
    if needs.networks {
        for change in changes {
            if let Some(Entry::Masquerade { network, .. }) = entries_of(change)?.first() {
                layout::ensure_network(&mut tx, network);
            }
        }
    }
    for (at, change) in changes.iter().enumerate() {
        let _ = starts.push(tx.last_seq().wrapping_add(1));
        let owner = Comment::new(tag_of(change)).map_err(|_| Error::limit("TAG", limits::TAG))?;
        let claim = if matches!(change, Change::PublishSource { .. }) { Claim::Shared } else { Claim::Exclusive };
        for entry in &entries_of(change)? {
            if needs.replace.get(at).copied().unwrap_or(false) {
                layout::del(&mut tx, entry);
            }
            layout::add(&mut tx, entry, owner, claim);
        }
    }
    let answers = tx.commit();
    Ok(send_and_wait(socket, answers, &mut batch, receive)?.map(|(seq, errno)| Refused {
        at: starts.iter().rposition(|start| seq.wrapping_sub(first) >= start.wrapping_sub(first)),
        errno,
    }))
}

/// Removes consecutive filter entries in one transaction: those that are there
/// and say what is to be removed. Looking first spares a refusal's grace period.
pub(crate) fn remove(
    socket: &mut Socket,
    send: &mut [u8],
    receive: &mut [u8],
    removals: &[Removal<'_>],
    report: &mut dyn FnMut(usize, Result<()>),
) {
    let mut outcome = Ok(Some(0));
    for _ in 0..TRIES {
        outcome = delete(socket, send, receive, removals);
        if !matches!(outcome, Ok(Some(ENOENT))) {
            break;
        }
    }
    for (at, removal) in removals.iter().enumerate() {
        report(
            at,
            match &outcome {
                Ok(None) => Ok(()),
                Ok(Some(errno)) => Err(errno::kernel(removal.verb(), removal, *errno, "")),
                Err(error) => Err(error.clone()),
            },
        );
    }
}

fn delete(socket: &mut Socket, send: &mut [u8], receive: &mut [u8], removals: &[Removal<'_>]) -> Result<Option<i32>> {
    let mut present: heapless::Vec<Entry, { limits::PLAN * 4 }> = heapless::Vec::new();
    for removal in removals {
        for entry in &entries_of_removal(removal)? {
            let mut same = false;
            let masquerade = matches!(entry, Entry::Masquerade { .. });
            get_entry(socket, send, receive, entry, &mut |found, _| same |= masquerade || found == entry)?;
            if same {
                let _ = present.push(*entry);
            }
        }
    }
    if present.is_empty() {
        return Ok(None);
    }
    let first = socket.take_seq(SEQS);
    let mut batch = Batch::new(send);
    let mut tx = Transaction::begin(&mut batch, first);
    for entry in &present {
        layout::del(&mut tx, entry);
    }
    let answers = tx.commit();
    Ok(send_and_wait(socket, answers, &mut batch, receive)?.map(|(_, errno)| errno))
}

/// Hands over what a published port maps to and its holder's tag.
fn look_up(
    socket: &mut Socket,
    send: &mut [u8],
    receive: &mut [u8],
    port: &PublishedPort,
    each: &mut dyn FnMut(&Entry, &str),
) -> Result<bool> {
    get_entry(socket, send, receive, &host_port(port)?, each)
}

fn get_entry(
    socket: &mut Socket,
    send: &mut [u8],
    receive: &mut [u8],
    entry: &Entry,
    each: &mut dyn FnMut(&Entry, &str),
) -> Result<bool> {
    let seq = socket.take_seq(1);
    let mut batch = Batch::new(send);
    layout::get(&mut batch, seq, entry);
    let request = batch.finish().map_err(|_| Error::limit("SEND", crate::socket::SEND))?;
    let mut found = false;
    socket
        .get(request, seq, &[ENOENT], receive, &mut |message| {
            let Some(elements) = nftables::parse_elements(message) else { return };
            let set = elements.set;
            for element in elements {
                if let Some(entry) = layout::decode(set, &element) {
                    found = true;
                    each(&entry, element.comment.unwrap_or(""));
                }
            }
        })
        .map_err(|refusal| refused("look up", &"nftables element", &refusal))?;
    Ok(found)
}

fn refused(verb: &'static str, object: &dyn Put, refusal: &Refusal) -> Error {
    errno::kernel(verb, object, refusal.errno, &refusal.words)
}

/// Whether the port is published just so, for this holder.
pub(crate) fn is_published(
    socket: &mut Socket,
    send: &mut [u8],
    receive: &mut [u8],
    port: &PublishedPort,
    tag: &str,
) -> Result<bool> {
    let wanted = host_port(port)?;
    let mut same = false;
    look_up(socket, send, receive, port, &mut |entry, holder| same |= *entry == wanted && holder == tag)?;
    Ok(same)
}

/// Whether the address is masqueraded for this holder.
pub(crate) fn is_masqueraded(
    socket: &mut Socket,
    send: &mut [u8],
    receive: &mut [u8],
    ip: IpAddr,
    tag: &str,
) -> Result<bool> {
    let Some(network) = Network::new(ip, 0) else { return Ok(false) };
    let mut same = false;
    get_entry(socket, send, receive, &Entry::Masquerade { addr: ip, network }, &mut |_, holder| same |= holder == tag)?;
    Ok(same)
}

/// Whether the kernel has nftables at all.
pub(crate) fn probe(socket: &mut Socket, send: &mut [u8], receive: &mut [u8]) -> core::result::Result<(), Refusal> {
    let seq = socket.take_seq(1);
    let mut batch = Batch::new(send);
    nftables::get_table(&mut batch, seq, layout::TABLE);
    let request = batch.finish().unwrap_or_default();
    socket.get(request, seq, &[ENOENT], receive, &mut |_| {}).map(|_| ())
}

/// Forgets the connections whose original destination is a host port.
pub(crate) fn purge(
    socket: &mut Socket,
    send: &mut [u8],
    receive: &mut [u8],
    protocol: Protocol,
    host_port: u16,
    host_ip: Option<IpAddr>,
    v6: bool,
) -> Result<()> {
    let family = if v6 { nftables::Family::Ipv6 } else { nftables::Family::Ipv4 };
    let filter = conntrack::Filter { family, protocol: number(protocol), dst_port: host_port, dst: host_ip };
    // Found and deleted in slices, since a dump must end before the next request.
    loop {
        let mut found: heapless::Vec<conntrack::Entry, 64> = heapless::Vec::new();
        let mut more = false;
        let outcome = socket.dump(
            &mut |seq, buffer| {
                let mut batch = Batch::new(buffer);
                conntrack::dump(&mut batch, seq, &filter);
                batch.finish().map_or(0, <[u8]>::len)
            },
            send,
            receive,
            &mut |message| match message {
                None => {
                    found.clear();
                    more = false;
                }
                Some(message) => {
                    if let Some(entry) = conntrack::parse(message).filter(|entry| filter.matches(entry)) {
                        more |= found.push(entry).is_err();
                    }
                }
            },
        );
        if outcome.is_err() {
            // No connection tracking in this kernel: nothing to forget.
            return Ok(());
        }
        for entry in &found {
            let seq = socket.take_seq(1);
            let mut batch = Batch::new(send);
            conntrack::delete(&mut batch, seq, entry);
            let request = batch.finish().map_err(|_| Error::limit("SEND", crate::socket::SEND))?;
            socket
                .get(request, seq, &[ENOENT], receive, &mut |_| {})
                .map_err(|refusal| refused("purge connection to port", &host_port, &refusal))?;
        }
        if !more {
            return Ok(());
        }
    }
}
