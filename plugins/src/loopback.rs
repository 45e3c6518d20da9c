//! `loopback`: sets `lo` of the sandbox up (whatever CNI_IFNAME says).

#[cfg(test)]
mod tests;

use picocni_core::conf::COMMON;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::json::Key;
use picocni_core::limits;
use picocni_core::name::IfName;
use picocni_core::observe::{Address, Link, Ns};
use picocni_core::op::{Change, LinkChange, LinkId, Plan, Removal, Undo};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::{AddResult, Interface, IpConfig};
use picocni_core::session::Session;

/// The plugin.
#[derive(Debug)]
pub struct Loopback;

const UP: LinkChange<'static> = LinkChange { up: Some(true), ..LinkChange::NONE };

fn lo(session: &mut Session<'_>) -> Result<Link> {
    session
        .backend
        .link(Ns::Sandbox, &IfName::of("lo"))?
        .ok_or_else(|| err!(KERNEL, "no loopback interface in the sandbox"))
}

impl Plugin for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn keys(&self) -> &'static [Key] {
        const { &COMMON }
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let link = lo(session)?;
        let mut plan = Plan::new();
        let id = LinkId::Index(link.index);
        plan.change(Change::SetLink { ns: Ns::Sandbox, link: id, set: UP, undo: Undo::Restore })?;
        session.apply(&plan)?;
        if let Some(prev) = call.prev {
            result.clone_from(prev);
            return Ok(());
        }
        result.add_interface(Interface::new(&link.name, link.mac, 0, call.env.netns))?;
        let (mut first_v4, mut first_v6, mut stranger) = (None::<Address>, None::<Address>, None::<Address>);
        session.backend.addresses(Ns::Sandbox, link.index, None, &mut |address| {
            let slot = if !address.cidr.addr().is_loopback() {
                &mut stranger
            } else if address.cidr.is_v6() {
                &mut first_v6
            } else {
                &mut first_v4
            };
            slot.get_or_insert(*address);
        })?;
        if let Some(stranger) = stranger {
            return Err(err!(CONFLICT, "loopback interface found with non-loopback address", stranger.cidr));
        }
        for address in [first_v4, first_v6].into_iter().flatten() {
            let ip = IpConfig { interface: Some(0), address: address.cidr, gateway: None };
            result.ips.push(ip).map_err(|_| Error::limit("IPS", limits::IPS))?;
        }
        Ok(())
    }

    fn check(&self, _call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        if lo(session)?.up { Ok(()) } else { Err(err!(CHANGED, "loopback interface is down")) }
    }

    fn del(&self, _call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        if !session.has_sandbox() {
            return Ok(());
        }
        let mut plan = Plan::new();
        let set = LinkChange { up: Some(false), ..UP };
        plan.remove(Removal::ResetLink { ns: Ns::Sandbox, link: LinkId::Name(IfName::of("lo")), set })?;
        session.remove(&plan)
    }
}
