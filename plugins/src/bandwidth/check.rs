//! CHECK of `bandwidth`.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::name::IfName;
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::shaping::{Bucket, Ingress, Queue, Root};
use picocni_core::text::Put;

use super::conf::Conf;
use super::{Ifb, ifb, ifb_name, reported_host_end};

/// Each direction that has a limit has its bucket, with the numbers of the
/// config; what the pod sends is redirected to the ifb.
pub(super) fn check(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let conf = Conf::read(call)?;
    let prev = call.required_prev()?;
    if conf.is_empty() {
        return Ok(());
    }
    let host = reported_host_end(call, session, prev)?;
    let shaping = session.backend.shaping(host.index)?;
    if let Some(wanted) = conf.ingress {
        same(&host.name, shaping.root, &wanted, conf.queue)?;
    }
    let Some(wanted) = conf.egress else { return Ok(()) };
    let Ifb::Own(ifb) = ifb(call, session)? else {
        return Err(err!(CHANGED, "ifb is missing", ifb_name(call), " of ", call.owner().tag()));
    };
    if shaping.ingress != Ingress::Redirect(ifb.index) {
        return Err(err!(
            CHANGED,
            "ingress is not redirected",
            host.name,
            " does not send what it receives to ",
            ifb.name
        ));
    }
    if !ifb.up {
        return Err(err!(CHANGED, "ifb is down", ifb.name));
    }
    let root = session.backend.shaping(ifb.index)?.root;
    same(&ifb.name, root, &wanted, conf.queue)
}

fn same(name: &IfName, root: Root, wanted: &Bucket, queue: Queue) -> Result<()> {
    let Root::Bucket(found, fq_codel) = root else {
        return Err(err!(CHANGED, "Failed to find qdisc", *name, " has no token bucket"));
    };
    if found.rate != wanted.rate {
        return Err(differs(&"Rate doesn't match", name, &found, wanted));
    }
    if found.limit != wanted.limit {
        return Err(differs(&"Limit doesn't match", name, &found, wanted));
    }
    if found.buffer != wanted.buffer {
        return Err(differs(&"Buffer doesn't match", name, &found, wanted));
    }
    if fq_codel != (queue != Queue::Fifo) {
        let behind = if fq_codel { "fq_codel stands" } else { "no fq_codel stands" };
        return Err(err!(CHANGED, "queue has changed", behind, " behind the token bucket of ", *name));
    }
    Ok(())
}

#[cold]
fn differs(phrase: picocni_core::error::Phrase, name: &IfName, found: &dyn Put, wanted: &dyn Put) -> Error {
    err!(CHANGED, phrase, *name, " has ").with(found).with(&", configured is ").with(wanted)
}
