//! `loopback`: sets `lo` of the sandbox up (whatever CNI_IFNAME says).

#[cfg(test)]
mod tests;

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::name::IfName;
use picocni_core::observe::{Address, Link, Ns};
use picocni_core::op::{Change, LinkChange, LinkId, Removal, Undo};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::{AddResult, Interface};
use picocni_core::session::Session;

/// The plugin.
#[derive(Debug)]
pub struct Loopback;

fn lo(session: &mut Session<'_>) -> Result<Link> {
    let found = session.backend.link(Ns::Sandbox, &IfName::of("lo"))?;
    found.ok_or_else(|| err!(KERNEL, "no loopback interface in the sandbox"))
}

impl Plugin for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let (link, set) = (lo(session)?, LinkChange { up: Some(true), ..LinkChange::NONE });
        let id = LinkId::Index(link.index);
        session.change(Change::SetLink { ns: Ns::Sandbox, link: id, set, undo: Undo::Restore })?;
        if let Some(prev) = call.prev {
            result.clone_from(prev);
            return Ok(());
        }
        result.add_interface(Interface::new(&link.name, link.mac, 0, call.env.netns))?;
        // A stranger, the first of IPv4, the first of IPv6.
        let mut found: [Option<Address>; 3] = [None; 3];
        session.backend.addresses(Ns::Sandbox, link.index, None, &mut |address| {
            let [stranger, v4, v6] = &mut found;
            let own = if address.cidr.is_v6() { v6 } else { v4 };
            (if address.cidr.addr().is_loopback() { own } else { stranger }).get_or_insert(*address);
        })?;
        let [stranger, v4, v6] = found.map(|address| address.map(|address| address.cidr));
        if let Some(stranger) = stranger {
            return Err(err!(CONFLICT, "loopback interface found with non-loopback address", stranger));
        }
        [v4, v6].into_iter().flatten().try_for_each(|cidr| result.add_ip(0, cidr, None))
    }

    fn check(&self, _call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        if lo(session)?.up { Ok(()) } else { Err(err!(CHANGED, "loopback interface is down")) }
    }

    fn del(&self, _call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let set = LinkChange { up: Some(false), ..LinkChange::NONE };
        session.removal(Removal::ResetLink { ns: Ns::Sandbox, link: LinkId::Name(IfName::of("lo")), set })
    }
}
