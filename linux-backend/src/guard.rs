//! Bridge ports whose source address is guarded, in the kernel's packet filter.

use picocni_core::error::{Error, Result};
use picocni_core::limits;

use crate::errno;
use crate::filter::{exists, send_and_wait};
use crate::host::Memory;
use crate::socket::Socket;
use crate::wire::netfilter::guard;
use crate::wire::nftables::{Comment, Transaction, get_table};
use crate::wire::nlmsg::Batch;

const ENOENT: i32 = 2;
const EEXIST: i32 = 17;

/// Sequence numbers that one transaction may use.
const SEQS: u32 = 128;
/// Times it is tried when others make or remove the table between look and act.
const TRIES: usize = 4;

/// Sends one transaction; the error number of the first refusal.
pub(crate) fn transact(
    socket: &mut Socket,
    memory: &mut Memory,
    write: &mut dyn FnMut(&mut Transaction<'_, '_>),
) -> Result<Option<i32>> {
    let first = socket.take_seq(SEQS);
    let mut batch = Batch::new(&mut memory.send);
    let mut tx = Transaction::begin(&mut batch, first);
    write(&mut tx);
    let answers = tx.commit();
    Ok(send_and_wait(socket, answers, &mut batch, &mut memory.receive)?.map(|(_, errno)| errno))
}

/// Guards a port.
pub(crate) fn add(socket: &mut Socket, memory: &mut Memory, port: u32, mac: [u8; 6], tag: &str) -> Result<()> {
    let owner = Comment::new(tag).map_err(|_| Error::limit("TAG", limits::TAG))?;
    let mut refused = None;
    for _ in 0..TRIES {
        let missing = !exists(socket, &mut memory.send, &mut memory.receive, &mut |batch, seq| {
            get_table(batch, seq, guard::TABLE);
        })?;
        refused = transact(socket, memory, &mut |tx| {
            if missing {
                guard::ensure_table(tx);
            }
            guard::add(tx, port, mac, owner);
        })?;
        match refused {
            None => return Ok(()),
            Some(ENOENT | EEXIST) => {}
            Some(_) => break,
        }
    }
    Err(errno::kernel("guard", &"source address of a bridge port", refused.unwrap_or(0), ""))
}

/// Whether a port is guarded.
pub(crate) fn is_guarded(socket: &mut Socket, memory: &mut Memory, port: u32, mac: [u8; 6]) -> Result<bool> {
    exists(socket, &mut memory.send, &mut memory.receive, &mut |batch, seq| {
        guard::get(batch, seq, port, mac);
    })
}

/// Stops guarding a port; one that is not guarded is success.
pub(crate) fn remove(socket: &mut Socket, memory: &mut Memory, port: u32, mac: [u8; 6]) -> Result<()> {
    if !is_guarded(socket, memory, port, mac)? {
        return Ok(());
    }
    let refused = transact(socket, memory, &mut |tx| guard::del(tx, port, mac))?;
    match refused {
        None | Some(ENOENT) => Ok(()),
        Some(errno) => Err(errno::kernel("stop guarding", &"source address of a bridge port", errno, "")),
    }
}
