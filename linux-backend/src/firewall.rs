//! Entries of the native firewall in the kernel's packet filter.

use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::observe::FirewallEntry;

use crate::errno;
use crate::host::Memory;
use crate::socket::Socket;
use crate::transaction::{EBUSY, EEXIST, ENOENT, TRIES, has, transact, try_out};
use crate::wire::netfilter::{firewall, guard};
use crate::wire::nftables::{Comment, Table, get_chain, get_table, parse_elements};
use crate::wire::nlmsg::Batch;

const EOPNOTSUPP: i32 = 95;
const EAFNOSUPPORT: i32 = 97;

/// Whether an entry is there, and whether its owner is `tag`.
enum Known {
    Missing,
    Own,
    Strange,
}

fn look(socket: &mut Socket, memory: &mut Memory, entry: &FirewallEntry, tag: &str) -> Result<Known> {
    let seq = socket.take_seq(1);
    let mut batch = Batch::new(&mut memory.send);
    firewall::get(&mut batch, seq, entry);
    let request = batch.finish().map_err(|_| Error::limit("SEND", crate::socket::SEND))?;
    let mut known = Known::Missing;
    socket
        .get(request, seq, &[ENOENT], &mut memory.receive, &mut |message| {
            let owner =
                parse_elements(message).and_then(|mut elements| elements.next()).map(|e| e.comment.unwrap_or(""));
            known = owner.map_or(Known::Missing, |owner| if owner == tag { Known::Own } else { Known::Strange });
        })
        .map_err(|refusal| errno::kernel("look up", &"firewall entry", refusal.errno, &refusal.words))?;
    Ok(known)
}

fn has_chains(socket: &mut Socket, memory: &mut Memory, table: Table<'_>) -> Result<bool> {
    has(socket, memory, &mut |batch, seq| {
        get_chain(batch, seq, table, firewall::CHAIN);
    })
}

fn has_table(socket: &mut Socket, memory: &mut Memory, table: Table<'_>) -> Result<bool> {
    has(socket, memory, &mut |batch, seq| get_table(batch, seq, table))
}

/// Makes an entry, and before the first the chains; `false` if it was there.
pub(crate) fn enter(socket: &mut Socket, memory: &mut Memory, entry: &FirewallEntry, tag: &str) -> Result<bool> {
    let owner = match tag {
        "" => None,
        tag => Some(Comment::new(tag).map_err(|_| Error::limit("TAG", limits::TAG))?),
    };
    let table = firewall::table_of(entry);
    let mut refused = None;
    for _ in 0..TRIES {
        let known = look(socket, memory, entry, tag)?;
        if matches!(known, Known::Own) {
            return Ok(false);
        }
        let chains = matches!(known, Known::Missing) && !has_chains(socket, memory, table)?;
        let fresh = chains && !has_table(socket, memory, table)?;
        refused = transact(socket, memory, &mut |tx| {
            if fresh {
                firewall::ensure_table(tx, table);
            }
            if chains {
                firewall::ensure_chains(tx, table);
            }
            if matches!(known, Known::Strange) {
                firewall::del(tx, entry);
            }
            firewall::add(tx, entry, owner);
        })?;
        match refused {
            None => return Ok(true),
            Some(ENOENT | EEXIST | EBUSY) => {}
            Some(_) => break,
        }
    }
    Err(errno::kernel("enter in firewall", entry, refused.unwrap_or(0), ""))
}

/// Removes an entry of this owner; none is success.
pub(crate) fn erase(socket: &mut Socket, memory: &mut Memory, entry: &FirewallEntry, tag: &str) -> Result<()> {
    if !is_entered(socket, memory, entry, tag)? {
        return Ok(());
    }
    match transact(socket, memory, &mut |tx| firewall::del(tx, entry))? {
        None | Some(ENOENT) => Ok(()),
        Some(errno) => Err(errno::kernel("erase from firewall", entry, errno, "")),
    }
}

/// Whether the entry is there for this owner.
pub(crate) fn is_entered(socket: &mut Socket, memory: &mut Memory, entry: &FirewallEntry, tag: &str) -> Result<bool> {
    look(socket, memory, entry, tag).map(|known| matches!(known, Known::Own))
}

/// Whether the kernel has chains of the bridge family. Where ours is not there
/// yet, a transaction that is never closed tells.
pub(crate) fn filters_frames(socket: &mut Socket, memory: &mut Memory) -> Result<bool> {
    let table = guard::TABLE;
    if has_chains(socket, memory, table)? {
        return Ok(true);
    }
    let fresh = !has_table(socket, memory, table)?;
    let refused = try_out(socket, memory, &mut |tx| {
        if fresh {
            firewall::ensure_table(tx, table);
        }
        firewall::ensure_chains(tx, table);
    })?;
    match refused {
        // Somebody has just made it.
        None | Some(EEXIST) => Ok(true),
        Some(ENOENT | EOPNOTSUPP | EAFNOSUPPORT) => Ok(false),
        Some(errno) => Err(errno::kernel("try out", &"nftables of the bridge family", errno, "")),
    }
}
