//! Token buckets and redirected ingress of the host's links.

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::name::IfIndex;
use picocni_core::observe::Ns;
use picocni_core::op::{Change, Removal};
use picocni_core::put;
use picocni_core::shaping::{Ingress, Queue, Root, Shaping};

use crate::apply::{refused, request};
use crate::errno::{self, Reason};
use crate::host::{Linux, Memory, over_send};
use crate::wire::link::{LinkKind, NewLink};
use crate::wire::nlmsg::Batch;
use crate::wire::operation;
use crate::wire::tc::{self, Qdisc, Redirect};

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;

/// The loopback's index in every namespace (LOOPBACK_IFINDEX, net/flow.h).
const LO: u32 = 1;

/// Writes one message with this sequence number.
type Emit<'e> = dyn Fn(&mut Batch<'_>, u32) + 'e;

/// Sends the messages one after another; when one is refused, `back` takes away
/// what those before it made.
fn all_or_nothing(
    linux: &mut Linux<'_>,
    change: &Change<'_>,
    messages: &[&Emit<'_>],
    back: Removal<'static>,
) -> Result<Option<Removal<'static>>> {
    for (at, emit) in messages.iter().enumerate() {
        let Err(refusal) = request(linux, Ns::Host, *emit) else { continue };
        if at > 0 {
            let _ = request(linux, Ns::Host, &|batch, seq| operation::emit_removal(&back, batch, seq));
        }
        return Err(refused(change, &refusal));
    }
    Ok(Some(back))
}

/// Carries out a [`Change::Shape`].
pub(crate) fn add(linux: &mut Linux<'_>, change: &Change<'_>) -> Result<Option<Removal<'static>>> {
    let Change::Shape { link, ref bucket, queue } = *change else { return Ok(None) };
    let tokens: &Emit<'_> = &|batch, seq| tc::add_bucket(batch, seq, link.0, bucket);
    let back = Removal::Unshape { link };
    match queue {
        Queue::Fifo => all_or_nothing(linux, change, &[tokens], back),
        Queue::FqCodel { target_us, interval_us } => {
            let flows = |batch: &mut Batch<'_>, seq| tc::add_fq_codel(batch, seq, link.0, target_us, interval_us);
            all_or_nothing(linux, change, &[tokens, &flows], back)
        }
    }
}

/// Carries out a [`Change::RedirectIngress`].
pub(crate) fn redirect(linux: &mut Linux<'_>, change: &Change<'_>) -> Result<Option<Removal<'static>>> {
    let Change::RedirectIngress { link, to } = *change else { return Ok(None) };
    let qdisc = |batch: &mut Batch<'_>, seq| tc::add_ingress(batch, seq, link.0);
    let filter = |batch: &mut Batch<'_>, seq| tc::add_redirect(batch, seq, link.0, to.0);
    all_or_nothing(linux, change, &[&qdisc, &filter], Removal::ReleaseIngress { link })
}

/// The qdisc of a link with this parent; one that the kernel does not show, or
/// that is not there, is its own.
fn qdisc(linux: &mut Linux<'_>, link: u32, parent: u32) -> Result<Qdisc> {
    let (socket, Memory { send, receive }) = linux.route_parts(Ns::Host)?;
    let seq = socket.take_seq(1);
    let mut batch = Batch::new(send);
    tc::get(&mut batch, seq, link, parent);
    let bytes = batch.finish().map_err(|_| over_send())?;
    let mut found = Qdisc::Default;
    socket
        .get(bytes, seq, &[ENOENT, ENODEV, EINVAL], receive, &mut |message| {
            found = Qdisc::parse(message).unwrap_or(Qdisc::Other);
        })
        .map_err(|refusal| errno::kernel("look up", &"qdisc", refusal.errno, &refusal.words))?;
    Ok(found)
}

/// Where the filters send what a link receives. More than one is somebody's.
fn redirection(linux: &mut Linux<'_>, link: u32) -> Result<Ingress> {
    let (socket, Memory { send, receive }) = linux.route_parts(Ns::Host)?;
    let mut found = Ingress::Empty;
    let outcome = socket.dump(
        &mut |seq, buffer| {
            let mut batch = Batch::new(buffer);
            tc::dump_filters(&mut batch, seq, link);
            batch.finish().map_or(0, <[u8]>::len)
        },
        send,
        receive,
        &mut |message| match (message, found) {
            (None, _) => found = Ingress::Empty,
            (Some(message), before) => match (Redirect::parse(message), before) {
                (Some(Redirect::All(to)), Ingress::Empty) => found = Ingress::Redirect(IfIndex(to)),
                (Some(_), _) => found = Ingress::Other,
                (None, _) => {}
            },
        },
    );
    outcome.map_err(|refusal| errno::kernel("list", &"filters", refusal.errno, &refusal.words))?;
    Ok(found)
}

/// How a link is shaped.
pub(crate) fn observe(linux: &mut Linux<'_>, index: IfIndex) -> Result<Shaping> {
    let link = index.0;
    let root = match qdisc(linux, link, tc::ROOT)? {
        Qdisc::Default => Root::Default,
        Qdisc::Bucket(bucket) => Root::Bucket(bucket, qdisc(linux, link, tc::BUCKET_CLASS)? == Qdisc::FqCodel),
        _ => Root::Other,
    };
    let ingress = match qdisc(linux, link, tc::INGRESS)? {
        Qdisc::Default => Ingress::None,
        Qdisc::Ingress => redirection(linux, link)?,
        _ => Ingress::Other,
    };
    Ok(Shaping { root, ingress })
}

/// A question whose answer is always a refusal: this one if the kernel lacks `part`.
struct Question<'q> {
    part: &'static str,
    emit: &'q Emit<'q>,
    lacking: i32,
}

/// Asks for things that no kernel makes. cls_u32 cannot be asked for so: the
/// kernel looks for the qdisc of a filter first.
pub(crate) fn probe(linux: &mut Linux<'_>, fq_codel: bool) -> Result<()> {
    // A group address, which no link may have.
    let ifb = NewLink { mac: Some([1, 0, 0, 0, 0, 0]), ..NewLink::new("bwp", LinkKind::Ifb) };
    let questions = [
        Question { part: "sch_tbf", emit: &|batch, seq| tc::probe_qdisc(batch, seq, LO, "tbf"), lacking: ENOENT },
        Question { part: "ifb", emit: &|batch, seq| ifb.emit(batch, seq), lacking: EOPNOTSUPP },
        Question { part: "act_mirred", emit: &|batch, seq| tc::probe_action(batch, seq, "mirred"), lacking: ENOENT },
        Question {
            part: "sch_fq_codel",
            emit: &|batch, seq| tc::probe_qdisc(batch, seq, LO, "fq_codel"),
            lacking: ENOENT,
        },
    ];
    let asked = if fq_codel { 4 } else { 3 };
    for Question { part, emit, lacking } in questions.iter().take(asked) {
        let Err(refusal) = request(linux, Ns::Host, *emit) else { continue };
        if refusal.errno == *lacking {
            let error = err!(NOT_AVAILABLE, "kernel cannot shape traffic", "it has no ", *part);
            put!(&mut error.more(), " (load or build that module)");
            return Err(error);
        }
        if refusal.errno == EPERM {
            return Err(err!(NOT_AVAILABLE, "kernel cannot be asked", *part, ": ", Reason(EPERM)));
        }
    }
    Ok(())
}
