//! Questions to nftables and transactions of it, one message exchange each.
//!
//! Look before you change: a transaction that succeeds takes microseconds, one
//! that the kernel refuses costs it a grace period (8 to 24 ms).

use picocni_core::error::Result;

use crate::errno;
use crate::host::{Memory, over_send};
use crate::socket::Socket;
use crate::wire::nftables::{Answers, Transaction};
use crate::wire::nlmsg::{Batch, Messages};

/// There is no such thing.
pub(crate) const ENOENT: i32 = 2;
/// It is in use.
pub(crate) const EBUSY: i32 = 16;
/// It is there already.
pub(crate) const EEXIST: i32 = 17;

/// Sequence numbers that one transaction may use: more than `SEND` has room for messages.
pub(crate) const SEQS: u32 = 4096;
/// Times a change is tried when others change the tables between look and act.
pub(crate) const TRIES: usize = 4;

/// Whether what a query asks for is there: not if the answer is one of the
/// `absent` error numbers.
pub(crate) fn exists(
    socket: &mut Socket,
    send: &mut [u8],
    receive: &mut [u8],
    absent: &[i32],
    emit: &mut dyn FnMut(&mut Batch<'_>, u32),
) -> Result<bool> {
    let seq = socket.take_seq(1);
    let mut batch = Batch::new(send);
    emit(&mut batch, seq);
    let request = batch.finish().map_err(|_| over_send())?;
    socket
        .get(request, seq, absent, receive, &mut |_| {})
        .map_err(|refusal| errno::kernel("look up", &"nftables object", refusal.errno, &refusal.words))
}

/// As [`exists`], with the backend's buffers and nothing but a missing object as absent.
pub(crate) fn has(socket: &mut Socket, memory: &mut Memory, emit: &mut dyn FnMut(&mut Batch<'_>, u32)) -> Result<bool> {
    exists(socket, &mut memory.send, &mut memory.receive, &[ENOENT], emit)
}

/// Sends one transaction; the error number of the first refusal.
pub(crate) fn transact(
    socket: &mut Socket,
    memory: &mut Memory,
    write: &mut dyn FnMut(&mut Transaction<'_, '_>),
) -> Result<Option<i32>> {
    send(socket, memory, write, |tx| tx.commit())
}

/// Asks whether the kernel would take a transaction, which is never closed and
/// leaves nothing; the error number of the first refusal.
pub(crate) fn try_out(
    socket: &mut Socket,
    memory: &mut Memory,
    write: &mut dyn FnMut(&mut Transaction<'_, '_>),
) -> Result<Option<i32>> {
    send(socket, memory, write, |tx| tx.try_out())
}

fn send(
    socket: &mut Socket,
    memory: &mut Memory,
    write: &mut dyn FnMut(&mut Transaction<'_, '_>),
    close: fn(Transaction<'_, '_>) -> Answers,
) -> Result<Option<i32>> {
    let first = socket.take_seq(SEQS);
    let mut batch = Batch::new(&mut memory.send);
    let mut tx = Transaction::begin(&mut batch, first);
    write(&mut tx);
    let answers = close(tx);
    Ok(send_and_wait(socket, answers, &mut batch, &mut memory.receive)?.map(|(_, errno)| errno))
}

/// Sends a written transaction; the sequence number and error of the first refusal.
pub(crate) fn send_and_wait(
    socket: &Socket,
    mut answers: Answers,
    batch: &mut Batch<'_>,
    receive: &mut [u8],
) -> Result<Option<(u32, i32)>> {
    let failed = |errno: rustix::io::Errno| errno::kernel("send to", &"nftables", errno.raw_os_error(), "");
    let bytes = batch.finish().map_err(|_| over_send())?;
    socket.send(bytes).map_err(failed)?;
    while !answers.is_complete() {
        let datagram = socket.receive(receive, true).map_err(failed)?;
        for message in Messages::new(datagram) {
            answers.feed(&message);
        }
    }
    Ok(answers.failure().map(|failure| (failure.seq, failure.errno)))
}
