//! The packet filter: published ports, source translation, masquerade.

use core::net::IpAddr;

use super::{POLICIES, PUBLISHED, TRANSLATED, keep, taken};
use crate::err;
use crate::error::{Error, Result};
use crate::limits;
use crate::name::{IfIndex, Mac};
use crate::net::Cidr;
use crate::observe::{FirewallEntry, PublishedPort};
use crate::op::{Change, Policy, Removal};
use crate::text::fits;

type Text = heapless::String<{ limits::TAG }>;

#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) port: PublishedPort,
    pub(crate) tag: Text,
}

#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) to: IpAddr,
    pub(crate) via: IfIndex,
    pub(crate) all: bool,
    pub(crate) tag: Text,
}

#[derive(Debug)]
pub(crate) struct Masqueraded {
    pub(crate) ip: IpAddr,
    pub(crate) net: Cidr,
    pub(crate) tag: Text,
}

#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) port: IfIndex,
    pub(crate) mac: Mac,
    pub(crate) tag: Text,
}

#[derive(Debug)]
pub(crate) struct Enforced {
    pub(crate) tag: Text,
    pub(crate) addresses: heapless::Vec<IpAddr, { limits::POLICY_ADDRESSES }>,
    pub(crate) port: Option<IfIndex>,
    pub(crate) digest: u64,
}

#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) entry: FirewallEntry,
    pub(crate) tag: Text,
}

#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) published: heapless::Vec<Published, PUBLISHED>,
    pub(crate) sources: heapless::Vec<Source, TRANSLATED>,
    pub(crate) masqueraded: heapless::Vec<Masqueraded, TRANSLATED>,
    pub(crate) guarded: heapless::Vec<Guarded, TRANSLATED>,
    pub(crate) policies: heapless::Vec<Enforced, POLICIES>,
    pub(crate) entered: heapless::Vec<Entered, TRANSLATED>,
    /// Addresses in firewalld's zones, if it runs.
    pub(crate) zones: Option<heapless::Vec<(IpAddr, heapless::String<64>), TRANSLATED>>,
    /// Frames between bridge ports cannot be filtered.
    pub(crate) no_frames: bool,
    /// What else may drop forwarded packets, "" for nothing.
    pub(crate) forward_drop: &'static str,
    /// The kernel has no packet filter.
    pub(crate) missing: bool,
    /// It does not track connections on bridges.
    pub(crate) bridges_untracked: bool,
}

/// How full the lists were: what a failed batch goes back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize, usize, usize);

/// Whether two mappings want the same packets.
fn same_port(a: &PublishedPort, b: &PublishedPort) -> bool {
    a.protocol == b.protocol && a.host_ip == b.host_ip && a.host_port == b.host_port && a.to.is_ipv6() == b.to.is_ipv6()
}

fn text(tag: &str) -> Result<Text> {
    fits(&[&tag]).ok_or_else(|| Error::limit("TAG", limits::TAG))
}

impl Filter {
    pub(crate) const fn new() -> Self {
        Filter {
            published: heapless::Vec::new(),
            sources: heapless::Vec::new(),
            masqueraded: heapless::Vec::new(),
            guarded: heapless::Vec::new(),
            policies: heapless::Vec::new(),
            entered: heapless::Vec::new(),
            zones: None,
            no_frames: false,
            forward_drop: "",
            missing: false,
            bridges_untracked: false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.published.clear();
        self.sources.clear();
        self.masqueraded.clear();
        self.guarded.clear();
        self.policies.clear();
        self.entered.clear();
        self.zones = None;
        self.no_frames = false;
        self.forward_drop = "";
        self.missing = false;
        self.bridges_untracked = false;
    }

    /// What the table of published ports and masquerade holds is gone with it.
    pub(crate) fn clear_table(&mut self) {
        self.published.clear();
        self.sources.clear();
        self.masqueraded.clear();
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.published.len(), self.sources.len(), self.masqueraded.len())
    }

    pub(crate) fn back_to(&mut self, mark: Mark) {
        self.published.truncate(mark.0);
        self.sources.truncate(mark.1);
        self.masqueraded.truncate(mark.2);
    }

    pub(crate) fn probe(&self) -> Result<()> {
        if self.missing {
            Err(err!(NOT_AVAILABLE, "packet filter not available", "the kernel has no nf_tables"))
        } else {
            Ok(())
        }
    }

    pub(crate) fn guard(&mut self, port: IfIndex, mac: Mac, tag: &str) -> Result<Removal<'static>> {
        self.probe().map_err(|error| error.as_code(crate::error::Code::KERNEL))?;
        if self.guarded.iter().any(|known| known.port == port) {
            return Err(taken("guarded port"));
        }
        keep(&mut self.guarded, Guarded { port, mac, tag: text(tag)? }, "TRANSLATED")?;
        Ok(Removal::UnguardSource { port, mac })
    }

    /// In the place of an earlier policy of the same owner.
    pub(crate) fn enforce<'p>(&mut self, policy: &Policy<'p>) -> Result<Removal<'p>> {
        self.probe().map_err(|error| error.as_code(crate::error::Code::KERNEL))?;
        let others = || self.policies.iter().filter(|known| known.tag != policy.tag);
        if others().any(|known| policy.addresses.iter().any(|ip| known.addresses.contains(ip))) {
            return Err(taken("address of a policy"));
        }
        let addresses = heapless::Vec::from_slice(policy.addresses)
            .map_err(|_| Error::limit("POLICY_ADDRESSES", limits::POLICY_ADDRESSES))?;
        self.policies.retain(|known| known.tag != policy.tag);
        let enforced = Enforced { tag: text(policy.tag)?, addresses, port: policy.port, digest: policy.digest() };
        keep(&mut self.policies, enforced, "POLICIES")?;
        Ok(Removal::LiftPolicy { tag: policy.tag, addresses: policy.addresses, port: policy.port })
    }

    pub(crate) fn lacks(&self, policy: &Policy<'_>) -> Option<&'static str> {
        match self.policies.iter().find(|known| known.tag == policy.tag) {
            None => Some("rules"),
            Some(known) if known.digest != policy.digest() => Some("rules"),
            Some(known) if policy.addresses.iter().any(|ip| !known.addresses.contains(ip)) => Some("an address"),
            Some(known) if policy.port.is_some() && known.port != policy.port => Some("the bridge port"),
            Some(_) => None,
        }
    }

    /// Binds an address to a zone; its inverse, or none if it was bound.
    pub(crate) fn bind<'z>(&mut self, zone: &'z str, ip: IpAddr) -> Result<Option<Removal<'z>>> {
        let zones = self.zones.as_mut().ok_or_else(|| err!(KERNEL, "firewalld does not run"))?;
        if zones.iter().any(|known| known.0 == ip && known.1 == zone) {
            return Ok(None);
        }
        let name = fits(&[&zone]).ok_or_else(|| Error::limit("zone", 64))?;
        keep(zones, (ip, name), "TRANSLATED")?;
        Ok(Some(Removal::UnbindSource { zone, ip }))
    }

    /// Enters it; its inverse, or none if it was there already.
    pub(crate) fn enter<'t>(&mut self, entry: FirewallEntry, tag: &'t str) -> Result<Option<Removal<'t>>> {
        self.probe().map_err(|error| error.as_code(crate::error::Code::KERNEL))?;
        if let Some(known) = self.entered.iter_mut().find(|known| known.entry == entry) {
            if known.tag == tag {
                return Ok(None);
            }
            known.tag = text(tag)?;
        } else {
            keep(&mut self.entered, Entered { entry, tag: text(tag)? }, "TRANSLATED")?;
        }
        Ok(Some(Removal::Erase { entry, tag }))
    }

    /// Adds one element; its inverse, or none if it was there already.
    pub(crate) fn add(&mut self, change: &Change<'_>) -> Result<Option<Removal<'static>>> {
        self.probe().map_err(|error| error.as_code(crate::error::Code::KERNEL))?;
        match *change {
            Change::Publish { port, tag } => {
                if self.published.iter().any(|known| same_port(&known.port, &port)) {
                    return Err(taken("published port").with(&" ").with(&port));
                }
                keep(&mut self.published, Published { port, tag: text(tag)? }, "PUBLISHED")?;
                Ok(Some(Removal::Unpublish { port }))
            }
            Change::PublishSource { to, via, all, tag } => {
                if let Some(known) =
                    self.sources.iter().find(|known| known.to == to && known.via == via && known.all == all)
                {
                    return if known.tag == tag { Ok(None) } else { Err(taken("source translation")) };
                }
                keep(&mut self.sources, Source { to, via, all, tag: text(tag)? }, "TRANSLATED")?;
                Ok(Some(Removal::UnpublishSource { to, via, all }))
            }
            Change::Masquerade { ip, net, tag } => {
                if let Some(known) = self.masqueraded.iter().find(|known| known.ip == ip) {
                    return if known.tag == tag && known.net == net {
                        Ok(None)
                    } else {
                        Err(taken("masqueraded address"))
                    };
                }
                keep(&mut self.masqueraded, Masqueraded { ip, net, tag: text(tag)? }, "TRANSLATED")?;
                Ok(Some(Removal::Unmasquerade { ip }))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn unpublish(&mut self, port: &PublishedPort) {
        self.published.retain(|known| known.port != *port);
    }

    pub(crate) fn unpublish_source(&mut self, to: IpAddr, via: IfIndex, all: bool) {
        self.sources.retain(|known| known.to != to || known.via != via || known.all != all);
    }

    pub(crate) fn unmasquerade(&mut self, ip: IpAddr) {
        self.masqueraded.retain(|known| known.ip != ip);
    }
}
