//! ADD of `bandwidth`.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::name::IfName;
use picocni_core::observe::{Link, Ns};
use picocni_core::op::{Change, LinkChange, LinkId, Plan, Removal, Undo};
use picocni_core::plugin::Call;
use picocni_core::result::{AddResult, Interface};
use picocni_core::session::Session;
use picocni_core::shaping::{Ingress, Queue, Root};

use super::conf::Conf;
use super::{Ifb, ifb, ifb_name, reported_host_end};
use crate::{link, veth};

/// `ENOENT`: the kernel knows no qdisc, classifier or action of that name.
const ENOENT: i32 = 2;

/// Without limits the result of the plugins before is handed on; as the peer
/// has it, but also where there is none.
pub(super) fn add(call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
    let conf = Conf::read(call)?;
    if conf.is_empty() {
        if let Some(prev) = call.prev {
            result.clone_from(prev);
        }
        return Ok(());
    }
    let prev = call.required_prev()?;
    let host = reported_host_end(call, session, prev)?;
    if conf.queue != Queue::Fifo {
        session.backend.probe_shaping(true)?;
    }
    make_room(&conf, &host, call, session)?;
    let made = shape(&conf, &host, call, session).map_err(|error| explained(error, session))?;
    result.clone_from(prev);
    match made {
        Some(ifb) => result.add_interface(Interface::new(&ifb.name, ifb.mac, 0, "")),
        None => Ok(()),
    }
}

/// The kernel's refusal names no module; what it lacks does.
#[cold]
fn explained(error: Error, session: &mut Session<'_>) -> Error {
    if error.errno() != ENOENT {
        return error;
    }
    match session.backend.probe_shaping(false) {
        Err(missing) => missing,
        Ok(()) => error.with(&" (it may have no sch_ingress or cls_u32)"),
    }
}

/// Takes away what an ADD left that was killed, and what an earlier one of this
/// attachment made. Anything of somebody else's is an error before any change.
fn make_room(conf: &Conf, host: &Link, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let ifb = if conf.egress.is_some() { ifb(call, session)? } else { Ifb::Missing };
    if let Ifb::Other(link) = &ifb {
        return Err(err!(
            CONFLICT,
            "ifb belongs to another",
            link.name,
            " has the alias \"",
            link.alias,
            "\": one interface of a container can be shaped on a network"
        ));
    }
    let shaping = session.backend.shaping(host.index)?;
    let mut plan = Plan::new();
    match shaping.root {
        Root::Other if conf.ingress.is_some() => return Err(taken(&host.name, "another queue at its root")),
        Root::Bucket(..) if conf.ingress.is_some() => plan.remove(Removal::Unshape { link: host.index })?,
        _ => {}
    }
    if conf.egress.is_some() {
        let own = |to| matches!(&ifb, Ifb::Own(link) if link.index == to);
        match shaping.ingress {
            Ingress::None => {}
            Ingress::Redirect(to) if to.0 != 0 && !own(to) => {
                return Err(taken(&host.name, "a filter that redirects to another link"));
            }
            Ingress::Other => return Err(taken(&host.name, "filters of its own for what it receives")),
            Ingress::Empty | Ingress::Redirect(_) => plan.remove(Removal::ReleaseIngress { link: host.index })?,
        }
    }
    if let Ifb::Own(link) = ifb {
        plan.remove(Removal::DeleteLink { ns: Ns::Host, name: link.name })?;
    }
    session.remove(&plan)
}

#[cold]
fn taken(host: &IfName, what: &'static str) -> Error {
    err!(CONFLICT, "host interface is shaped by another", *host, " has ", what, "; see `tc qdisc show dev ", *host, "`")
}

/// The redirection comes last: nothing is sent to an ifb that does not shape yet.
fn shape(conf: &Conf, host: &Link, call: &Call<'_>, session: &mut Session<'_>) -> Result<Option<Link>> {
    let tag = call.owner().tag();
    let ifb = match conf.egress {
        Some(_) => Some(create_ifb(host, call, session)?),
        None => None,
    };
    let mut plan = Plan::new();
    if let Some(bucket) = conf.ingress {
        plan.change(Change::Shape { link: host.index, bucket, queue: conf.queue })?;
    }
    if let (Some(ifb), Some(bucket)) = (&ifb, conf.egress) {
        let set = LinkChange { up: Some(true), alias: Some(tag.as_str()), ..LinkChange::NONE };
        plan.change(Change::SetLink { ns: Ns::Host, link: LinkId::Index(ifb.index), set, undo: Undo::WithLink })?;
        plan.change(Change::Shape { link: ifb.index, bucket, queue: conf.queue })?;
        plan.change(Change::RedirectIngress { link: host.index, to: ifb.index })?;
    }
    session.apply(&plan)?;
    Ok(ifb)
}

/// In a plan of its own, since qdiscs are asked for by index.
fn create_ifb(host: &Link, call: &Call<'_>, session: &mut Session<'_>) -> Result<Link> {
    let name = ifb_name(call);
    let machine = session.backend.machine();
    let mac = veth::derived_mac(machine, &[b"ifb", &call.owner().hash().to_le_bytes()]);
    session.change(Change::CreateIfb { name, mac, mtu: host.mtu })?;
    link::made(session, Ns::Host, &name)
}
