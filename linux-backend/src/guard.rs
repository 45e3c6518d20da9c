//! Bridge ports whose source address is guarded, in the kernel's packet filter.

use picocni_core::error::{Error, Result};
use picocni_core::limits;

use crate::errno;
use crate::host::Memory;
use crate::socket::Socket;
use crate::transaction::{EEXIST, ENOENT, TRIES, has, transact};
use crate::wire::netfilter::guard;
use crate::wire::nftables::{Comment, get_table};

/// Guards a port.
pub(crate) fn add(socket: &mut Socket, memory: &mut Memory, port: u32, mac: [u8; 6], tag: &str) -> Result<()> {
    let owner = Comment::new(tag).map_err(|_| Error::limit("TAG", limits::TAG))?;
    let mut refused = None;
    for _ in 0..TRIES {
        let missing = !has(socket, memory, &mut |batch, seq| {
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
    has(socket, memory, &mut |batch, seq| {
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
