//! What takes time on a real host, and is decided at once here: ports that come
//! to forward, addresses that turn out to be unique, announcements.

use super::network::HOST;
use super::{ENODEV, ETIMEDOUT, SIM_PATH, SimBackend, keep, refused};
use crate::err;
use crate::error::Result;
use crate::name::{IfIndex, IfName, Mac};
use crate::observe::Ns;
use crate::put;
use crate::sim::events::Announcement;

impl SimBackend {
    pub(super) fn await_forwarding(&self, host: IfName) -> Result<()> {
        let port = self.net.links.iter().find(|known| known.ns == HOST && known.link.name == host);
        let port = port.ok_or_else(|| refused(ENODEV, "no such link").with(&" ").with(&host))?;
        let link = self.net.seen(port);
        if link.forwarding || (link.master.is_none() && link.running) {
            Ok(())
        } else {
            Err(refused(ETIMEDOUT, "bridge port does not forward").with(&" ").with(&host))
        }
    }

    pub(super) fn await_addresses(&mut self, ns: Ns, index: IfIndex) -> Result<()> {
        let space = self.space(ns)?;
        self.net.need(space, index)?;
        let mut failed = None;
        for known in self.net.addresses.iter_mut().filter(|known| known.ns == space && known.index == index) {
            let address = &mut known.address;
            if address.tentative && self.events.duplicates.contains(&address.cidr.addr()) {
                address.dad_failed = true;
                failed = Some(address.cidr);
            }
            address.tentative &= address.dad_failed;
        }
        failed.map_or(Ok(()), |cidr| Err(err!(CONFLICT, "duplicate address", cidr)))
    }

    pub(super) fn announce(&mut self, index: IfIndex, mac: Mac) -> Result<()> {
        let space = self.space(Ns::Sandbox)?;
        let ifname = self.net.need(space, index)?.name;
        let mut sandbox = heapless::String::<SIM_PATH>::new();
        put!(&mut sandbox, self.net.space_name(space));
        keep(&mut self.events.announced, Announcement { sandbox, ifname, mac }, "EVENTS")
    }
}
