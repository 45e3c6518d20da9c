//! Chains and rules of others: looked at, deleted by handle, and added.

use picocni_core::error::{Error, Result};
use picocni_core::op::{Change, Removal};
use picocni_core::packet_filter::{Chain, RuleView};

use crate::errno;
use crate::host::Memory;
use crate::socket::{SEND, Socket};
use crate::transaction::{self, EBUSY, ENOENT};
use crate::wire::netfilter::foreign;
use crate::wire::nftables::{self, Comment, Transaction};
use crate::wire::nlmsg::{Batch, Messages};

/// What a kernel without this part of the packet filter answers: there is no such chain.
const ABSENT: [i32; 4] = [ENOENT, 22, 95, 97];

/// Rules deleted in one transaction; what is more goes in the next.
const HANDLES: usize = 128;
/// Transactions of one call: a thousand rules, and a few for changes meanwhile.
const ROUNDS: usize = 16;

/// Whether a change is written here.
pub(crate) fn is_change(change: &Change<'_>) -> bool {
    matches!(change, Change::EnsureChain { .. } | Change::AppendRule { .. })
}

/// Whether a removal is carried out here.
pub(crate) fn is_removal(removal: &Removal<'_>) -> bool {
    matches!(removal, Removal::DropRules { .. } | Removal::DropChain { .. } | Removal::DropTable { .. })
}

/// Which of these chains are there: one message to the kernel, and an answer for each.
pub(crate) fn find_chains(socket: &mut Socket, memory: &mut Memory, chains: &[Chain<'_>]) -> Result<u32> {
    let count = u32::try_from(chains.len()).unwrap_or(u32::MAX).min(u32::BITS);
    let first = socket.take_seq(count);
    let mut batch = Batch::new(&mut memory.send);
    for (chain, at) in chains.iter().zip(0..count) {
        nftables::get_chain(&mut batch, first.wrapping_add(at), foreign::table(&chain.table), chain.name);
    }
    let failed = |errno: i32| errno::kernel("look up", &"chains", errno, "");
    let request = batch.finish().map_err(|_| Error::limit("SEND", SEND))?;
    socket.send(request).map_err(|errno| failed(errno.raw_os_error()))?;
    let (mut found, mut open) = (0u32, count);
    while open > 0 {
        let datagram = socket.receive(&mut memory.receive, true).map_err(|errno| failed(errno.raw_os_error()))?;
        for message in Messages::new(datagram) {
            let at = message.seq.wrapping_sub(first);
            if at >= count {
                continue;
            }
            open = open.saturating_sub(1);
            match message.ack() {
                None => found |= 1 << at,
                Some(ack) if ABSENT.contains(&ack.errno) => {}
                Some(ack) => return Err(failed(ack.errno)),
            }
        }
    }
    Ok(found)
}

fn exists(socket: &mut Socket, memory: &mut Memory, emit: &mut dyn FnMut(&mut Batch<'_>, u32)) -> Result<bool> {
    transaction::exists(socket, &mut memory.send, &mut memory.receive, &ABSENT, emit)
}

/// Takes a rule with its handle; `None` comes before a dump that starts again.
type Listed<'d> = dyn FnMut(Option<(u64, &RuleView<'_>)>) + 'd;

/// Hands over the rules of a chain with their handles.
fn dump(socket: &mut Socket, memory: &mut Memory, chain: &Chain<'_>, each: &mut Listed<'_>) -> Result<()> {
    let Memory { send, receive } = memory;
    let outcome = socket.dump(
        &mut |seq, buffer| {
            let mut batch = Batch::new(buffer);
            nftables::dump_rules(&mut batch, seq, foreign::table(&chain.table), chain.name);
            batch.finish().map_or(0, <[u8]>::len)
        },
        send,
        receive,
        &mut |message| {
            let Some(message) = message else { return each(None) };
            // A kernel that does not know the filter lists every chain.
            if let Some(rule) = nftables::RuleView::parse(message).filter(|rule| rule.chain == chain.name) {
                let view = RuleView { comment: rule.comment.unwrap_or(""), jumps_to: rule.jumps_to.unwrap_or("") };
                each(Some((rule.handle, &view)));
            }
        },
    );
    match outcome {
        Err(refusal) if !ABSENT.contains(&refusal.errno) => {
            Err(errno::kernel("list", chain, refusal.errno, &refusal.words))
        }
        _ => Ok(()),
    }
}

/// Hands over the rules of a chain. Those of a dump that was interrupted come again.
pub(crate) fn visit(
    socket: &mut Socket,
    memory: &mut Memory,
    chain: &Chain<'_>,
    each: &mut dyn FnMut(&RuleView<'_>),
) -> Result<()> {
    dump(socket, memory, chain, &mut |rule| {
        if let Some((_, view)) = rule {
            each(view);
        }
    })
}

/// Adds consecutive chains and rules in one transaction.
pub(crate) fn add(socket: &mut Socket, memory: &mut Memory, changes: &[Change<'_>]) -> Result<()> {
    // The comment of a table is written when it is made, and refused otherwise.
    let mut known: heapless::Vec<bool, { picocni_core::limits::PLAN }> = heapless::Vec::new();
    for change in changes {
        let there = match change {
            Change::EnsureChain { chain, .. } => exists(socket, memory, &mut |batch, seq| {
                nftables::get_table(batch, seq, foreign::table(&chain.table));
            })?,
            _ => true,
        };
        let _ = known.push(there);
    }
    let refused = transaction::transact(socket, memory, &mut |tx| {
        for (change, there) in changes.iter().zip(&known) {
            write(tx, change, *there);
        }
    })?;
    match refused {
        None => Ok(()),
        Some(errno) => Err(errno::kernel("add", &"chains and rules", errno, "")),
    }
}

fn write(tx: &mut Transaction<'_, '_>, change: &Change<'_>, table_there: bool) {
    match *change {
        Change::EnsureChain { chain, hook, table_comment, comment } => {
            let table = foreign::table(&chain.table);
            if !table_there {
                nftables::new_table(tx, table, written(table_comment), 0);
            }
            let base = hook.map(foreign::base);
            let made = nftables::Chain { table, name: chain.name, base, comment: written(comment) };
            nftables::new_chain(tx, &made, 0);
        }
        Change::AppendRule { chain, rule, comment } => foreign::add_rule(tx, &chain, rule, comment),
        _ => {}
    }
}

fn written(comment: &str) -> Option<Comment<'_>> {
    Comment::new(comment).ok().filter(|comment| !comment.text().is_empty())
}

/// Carries out consecutive removals in one transaction, after a look at what
/// there is of them: one that the kernel refuses costs it a grace period.
pub(crate) fn remove(
    socket: &mut Socket,
    memory: &mut Memory,
    removals: &[Removal<'_>],
    report: &mut dyn FnMut(usize, Result<()>),
) {
    let outcome = delete_all(socket, memory, removals);
    (0..removals.len()).for_each(|at| report(at, outcome.clone()));
}

fn delete_all(socket: &mut Socket, memory: &mut Memory, removals: &[Removal<'_>]) -> Result<()> {
    let mut last = 0;
    for _ in 0..ROUNDS {
        let found = look(socket, memory, removals)?;
        if found.is_empty() {
            return Ok(());
        }
        match delete(socket, memory, removals, &found)? {
            None => {}
            // Somebody else was faster, or made another jump.
            Some(errno @ (ENOENT | EBUSY)) => last = errno,
            Some(errno) => return Err(refused(removals, errno)),
        }
    }
    Err(refused(removals, last))
}

fn refused(removals: &[Removal<'_>], errno: i32) -> Error {
    match removals.first() {
        Some(removal) => errno::kernel(removal.verb(), removal, errno, ""),
        None => errno::kernel("delete", &"rules", errno, ""),
    }
}

/// What there is of some removals.
struct Found {
    /// Index of the removal and the handle of a rule.
    rules: heapless::Vec<(usize, u64), HANDLES>,
    /// There are more.
    more: bool,
    /// Indices of chains and tables.
    objects: heapless::Vec<usize, { picocni_core::limits::PLAN }>,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.objects.is_empty()
    }
}

fn look(socket: &mut Socket, memory: &mut Memory, removals: &[Removal<'_>]) -> Result<Found> {
    let mut found = Found { rules: heapless::Vec::new(), more: false, objects: heapless::Vec::new() };
    for (at, removal) in removals.iter().enumerate() {
        let there = match removal {
            Removal::DropRules { chain, which } => {
                let before = found.rules.len();
                dump(socket, memory, chain, &mut |rule| match rule {
                    None => found.rules.truncate(before),
                    Some((handle, view)) if view.is(*which) => found.more |= found.rules.push((at, handle)).is_err(),
                    Some(_) => {}
                })?;
                false
            }
            Removal::DropChain { chain } => find_chains(socket, memory, core::slice::from_ref(chain))? != 0,
            Removal::DropTable { table } => exists(socket, memory, &mut |batch, seq| {
                nftables::get_table(batch, seq, foreign::table(table));
            })?,
            _ => false,
        };
        if there {
            let _ = found.objects.push(at);
        }
    }
    if found.more {
        // Rules that jump to a chain go before it.
        found.objects.clear();
    }
    Ok(found)
}

fn delete(socket: &mut Socket, memory: &mut Memory, removals: &[Removal<'_>], found: &Found) -> Result<Option<i32>> {
    let objects = || found.objects.iter().filter_map(|at| removals.get(*at));
    transaction::transact(socket, memory, &mut |tx| {
        for (at, handle) in &found.rules {
            if let Some(Removal::DropRules { chain, .. }) = removals.get(*at) {
                nftables::del_rule(tx, foreign::table(&chain.table), chain.name, *handle);
            }
        }
        // A chain may jump to another one that goes too.
        for removal in objects() {
            if let Removal::DropChain { chain } = removal {
                nftables::flush_chain(tx, foreign::table(&chain.table), chain.name);
            }
        }
        for removal in objects() {
            match removal {
                Removal::DropChain { chain } => {
                    nftables::del_chain(tx, foreign::table(&chain.table), chain.name);
                }
                Removal::DropTable { table } => {
                    nftables::del_table(tx, foreign::table(table));
                }
                _ => {}
            }
        }
    })
}
