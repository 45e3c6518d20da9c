//! Namespaces with their links, addresses, routes and neighbours.

use core::net::IpAddr;

use super::shaped::Shaped;
use super::{
    ADDRESSES, EEXIST, EHOSTUNREACH, EINVAL, ENETDOWN, ENETUNREACH, ENODEV, EOPNOTSUPP, LINKS, NEIGHBOURS, ROUTES,
    RULES, SANDBOXES, SIM_PATH, keep, refused,
};
use crate::error::Result;
use crate::name::{IfIndex, IfName, Mac};
use crate::net::Cidr;
use crate::observe::{Address, Link, LinkKind, Route, Rule};
use crate::op::{LinkChange, LinkId};

/// Number of a namespace; never given twice, as its inode on Linux for as long as it lives.
pub(crate) type NsId = u32;

/// The namespace that plugins are started in.
pub(crate) const HOST: NsId = 0;

/// Host scope (rtnetlink(7), RT_SCOPE_HOST).
pub(crate) const SCOPE_HOST: u8 = 254;

const LO: IfIndex = IfIndex(1);

#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) id: NsId,
    pub(crate) path: heapless::String<SIM_PATH>,
    /// The path is a namespace and not some other file.
    pub(crate) genuine: bool,
}

#[derive(Debug)]
pub(crate) struct SimLink {
    pub(crate) ns: NsId,
    pub(crate) link: Link,
}

#[derive(Debug)]
pub(crate) struct SimAddress {
    pub(crate) ns: NsId,
    pub(crate) index: IfIndex,
    pub(crate) address: Address,
}

#[derive(Debug)]
pub(crate) struct SimRoute {
    pub(crate) ns: NsId,
    pub(crate) index: IfIndex,
    pub(crate) route: Route,
}

#[derive(Debug)]
pub(crate) struct SimRule {
    pub(crate) ns: NsId,
    pub(crate) rule: Rule,
}

#[derive(Debug)]
pub(crate) struct Neighbour {
    pub(crate) index: IfIndex,
    pub(crate) ip: IpAddr,
    pub(crate) mac: Mac,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) spaces: heapless::Vec<Space, SANDBOXES>,
    pub(crate) links: heapless::Vec<SimLink, LINKS>,
    pub(crate) addresses: heapless::Vec<SimAddress, ADDRESSES>,
    pub(crate) routes: heapless::Vec<SimRoute, ROUTES>,
    pub(crate) rules: heapless::Vec<SimRule, RULES>,
    pub(crate) neighbours: heapless::Vec<Neighbour, NEIGHBOURS>,
    pub(crate) shaped: Shaped,
    next_index: u32,
    next_space: NsId,
    /// The kernel has IPv6.
    pub(crate) ipv6: bool,
    /// The kernel has routing rules.
    pub(crate) policy: bool,
    /// The kernel has VRFs.
    pub(crate) vrf: bool,
}

impl Network {
    pub(crate) const fn new() -> Self {
        Network {
            spaces: heapless::Vec::new(),
            links: heapless::Vec::new(),
            addresses: heapless::Vec::new(),
            routes: heapless::Vec::new(),
            rules: heapless::Vec::new(),
            neighbours: heapless::Vec::new(),
            shaped: Shaped::new(),
            next_index: 2,
            next_space: 1,
            ipv6: true,
            policy: true,
            vrf: true,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.spaces.clear();
        self.links.clear();
        self.addresses.clear();
        self.routes.clear();
        self.rules.clear();
        self.neighbours.clear();
        self.shaped.clear();
        self.next_index = 2;
        self.next_space = 1;
        self.ipv6 = true;
        self.policy = true;
        self.vrf = true;
        let _ = self.add_lo(HOST);
    }

    fn add_lo(&mut self, ns: NsId) -> Result<()> {
        let mut lo = plain_link(LO, IfName::of("lo"), Mac([0; 6]), LinkKind::Loopback);
        lo.mtu = 65_536;
        keep(&mut self.links, SimLink { ns, link: lo }, "LINKS")
    }

    pub(crate) fn add_space(&mut self, path: heapless::String<SIM_PATH>, genuine: bool) -> Result<NsId> {
        if self.space_at(&path).is_some() {
            return Err(refused(EEXIST, "sandbox"));
        }
        let id = self.next_space;
        keep(&mut self.spaces, Space { id, path, genuine }, "SANDBOXES")?;
        self.next_space = id.wrapping_add(1);
        if genuine {
            self.add_lo(id)?;
        }
        Ok(id)
    }

    pub(crate) fn space_at(&self, path: &str) -> Option<&Space> {
        self.spaces.iter().find(|space| space.path == path)
    }

    /// The path of a sandbox, or `host`.
    pub(crate) fn space_name(&self, ns: NsId) -> &str {
        self.spaces.iter().find(|space| space.id == ns).map_or("host", |space| space.path.as_str())
    }

    /// A new link, down.
    pub(crate) fn add_link(&mut self, ns: NsId, name: IfName, mac: Mac, kind: LinkKind) -> Result<IfIndex> {
        if self.named(ns, &name).is_some() {
            return Err(refused(EEXIST, "link").with(&" ").with(&name));
        }
        let index = IfIndex(self.next_index);
        keep(&mut self.links, SimLink { ns, link: plain_link(index, name, mac, kind) }, "LINKS")?;
        self.next_index = self.next_index.wrapping_add(1);
        Ok(index)
    }

    pub(crate) fn named(&self, ns: NsId, name: &IfName) -> Option<&Link> {
        self.links.iter().find(|known| known.ns == ns && known.link.name == *name).map(|known| &known.link)
    }

    pub(crate) fn indexed(&self, ns: NsId, index: IfIndex) -> Option<&Link> {
        self.links.iter().find(|known| known.ns == ns && known.link.index == index).map(|known| &known.link)
    }

    pub(crate) fn find(&self, ns: NsId, id: LinkId) -> Option<&Link> {
        match id {
            LinkId::Name(name) => self.named(ns, &name),
            LinkId::Index(index) => self.indexed(ns, index),
        }
    }

    pub(crate) fn link_mut(&mut self, ns: NsId, index: IfIndex) -> Option<&mut Link> {
        self.links.iter_mut().find(|known| known.ns == ns && known.link.index == index).map(|known| &mut known.link)
    }

    pub(crate) fn need(&self, ns: NsId, index: IfIndex) -> Result<&Link> {
        self.indexed(ns, index).ok_or_else(|| refused(ENODEV, "no such link"))
    }

    /// The other end of a veth pair. Indexes other than `lo`'s are given once in the whole model.
    pub(crate) fn peer(&self, link: &Link) -> Option<&SimLink> {
        let peer = link.peer?;
        self.links.iter().find(|known| known.link.index == peer && peer != LO)
    }

    /// The link as an observer sees it: carrier and port state follow from the links around it.
    pub(crate) fn seen(&self, known: &SimLink) -> Link {
        let mut link = known.link.clone();
        link.running = match link.kind {
            LinkKind::Veth => link.up && self.peer(&link).is_some_and(|peer| peer.link.up),
            LinkKind::Bridge => {
                link.up
                    && self
                        .links
                        .iter()
                        .any(|port| port.link.master == Some(link.index) && self.has_carrier(&port.link))
            }
            _ => link.up,
        };
        link.forwarding = link.running
            && link.master.and_then(|master| self.indexed(known.ns, master)).is_some_and(|master| master.up);
        link
    }

    fn has_carrier(&self, link: &Link) -> bool {
        link.up && (link.kind != LinkKind::Veth || self.peer(link).is_some_and(|peer| peer.link.up))
    }

    /// Removes a link with all that hangs on it, and its peer.
    pub(crate) fn delete_link(&mut self, ns: NsId, index: IfIndex, gone: &mut dyn FnMut(NsId, &IfName)) {
        let Some(link) = self.indexed(ns, index).cloned() else { return };
        let peer = self.peer(&link).map(|peer| (peer.ns, peer.link.index, peer.link.name));
        gone(ns, &link.name);
        self.strip(ns, index);
        if let Some((peer_ns, peer_index, name)) = peer.filter(|_| link.kind == LinkKind::Veth) {
            gone(peer_ns, &name);
            self.strip(peer_ns, peer_index);
        }
    }

    fn strip(&mut self, ns: NsId, index: IfIndex) {
        self.links.retain(|known| known.ns != ns || known.link.index != index);
        self.addresses.retain(|known| known.ns != ns || known.index != index);
        self.routes.retain(|known| known.ns != ns || known.index != index);
        if ns == HOST {
            self.neighbours.retain(|known| known.index != index);
            self.shaped.link_gone(index);
        }
        for port in self.links.iter_mut().filter(|known| known.ns == ns && known.link.master == Some(index)) {
            port.link.master = None;
            port.link.hairpin = false;
            port.link.isolated = false;
        }
    }

    /// Moves a link; its index stays, since indexes are given once in the whole model.
    pub(crate) fn change_space(&mut self, from: (NsId, IfIndex), to: NsId, name: IfName) -> Result<()> {
        let known = self.links.iter_mut().find(|known| (known.ns, known.link.index) == from);
        let known = known.ok_or_else(|| refused(ENODEV, "no such link"))?;
        known.ns = to;
        known.link.name = name;
        known.link.master = None;
        self.addresses.retain(|known| (known.ns, known.index) != from);
        self.routes.retain(|known| (known.ns, known.index) != from);
        Ok(())
    }

    /// A namespace ends: its links go, and the peers of its veth ends.
    pub(crate) fn remove_space(&mut self, ns: NsId, gone: &mut dyn FnMut(NsId, &IfName)) {
        while let Some(index) = self.links.iter().find(|known| known.ns == ns).map(|known| known.link.index) {
            self.delete_link(ns, index, gone);
        }
        self.spaces.retain(|space| space.id != ns);
        self.rules.retain(|known| known.ns != ns);
    }

    pub(crate) fn has_address(&self, ns: NsId, index: IfIndex, cidr: Cidr) -> bool {
        self.addresses.iter().any(|known| known.ns == ns && known.index == index && known.address.cidr == cidr)
    }

    pub(crate) fn add_address(&mut self, ns: NsId, index: IfIndex, address: Address) -> Result<()> {
        self.need(ns, index)?;
        if address.cidr.is_v6() && !self.ipv6 {
            return Err(refused(EOPNOTSUPP, "address: no IPv6"));
        }
        // The kernel compares IPv6 addresses without their prefix (inet6_addr_add).
        let same = |known: &SimAddress| {
            known.ns == ns
                && known.index == index
                && known.address.cidr.addr() == address.cidr.addr()
                && (address.cidr.is_v6() || known.address.cidr.prefix() == address.cidr.prefix())
        };
        if self.addresses.iter().any(same) {
            return Err(refused(EEXIST, "address").with(&" ").with(&address.cidr));
        }
        keep(&mut self.addresses, SimAddress { ns, index, address }, "ADDRESSES")
    }

    pub(crate) fn delete_address(&mut self, ns: NsId, index: IfIndex, cidr: Cidr) {
        self.addresses.retain(|known| known.ns != ns || known.index != index || known.address.cidr != cidr);
    }

    pub(crate) fn add_route(&mut self, ns: NsId, index: IfIndex, route: Route) -> Result<()> {
        if !self.need(ns, index)?.up {
            return Err(refused(ENETDOWN, "route: link is down").with(&" ").with(&route.dst));
        }
        if route.dst.is_v6() && !self.ipv6 {
            return Err(refused(EOPNOTSUPP, "route: no IPv6"));
        }
        if route.gw.is_some_and(|gw| !self.is_on_link(ns, index, gw)) {
            let errno = if route.dst.is_v6() { EHOSTUNREACH } else { ENETUNREACH };
            return Err(refused(errno, "route: next hop is not on the link").with(&" ").with(&route.dst));
        }
        if self.routes.iter().any(|known| known.ns == ns && collide(known, index, &route)) {
            return Err(refused(EEXIST, "route").with(&" ").with(&route.dst));
        }
        keep(&mut self.routes, SimRoute { ns, index, route }, "ROUTES")
    }

    /// Whether the kernel takes `gw` as a next hop out of this link.
    fn is_on_link(&self, ns: NsId, index: IfIndex, gw: IpAddr) -> bool {
        let link_local = matches!(gw, IpAddr::V6(v6) if v6.is_unicast_link_local());
        link_local
            || self
                .addresses
                .iter()
                .any(|known| known.ns == ns && known.index == index && known.address.cidr.contains(gw))
            || self.routes.iter().any(|known| {
                known.ns == ns && known.index == index && known.route.gw.is_none() && known.route.dst.contains(gw)
            })
    }

    /// The kernel finds a route to delete by what the message names.
    pub(crate) fn delete_route(&mut self, ns: NsId, index: IfIndex, route: &Route) {
        self.routes.retain(|known| {
            known.ns != ns
                || known.index != index
                || !same_destination(&known.route, route)
                || known.route.gw != route.gw
                || known.route.priority != route.priority
        });
    }

    /// Sets attributes; nothing is set when one is refused.
    pub(crate) fn set_link(&mut self, ns: NsId, index: IfIndex, set: &LinkChange<'_>) -> Result<()> {
        let ipv6 = self.ipv6;
        let Some(link) = self.link_mut(ns, index) else { return Err(refused(ENODEV, "no such link")) };
        if set.mtu.is_some_and(|mtu| mtu < 68 || (mtu > 65_535 && link.kind != LinkKind::Loopback)) {
            return Err(refused(EINVAL, "mtu"));
        }
        if (set.hairpin.is_some() || set.isolated.is_some()) && link.master.is_none() {
            return Err(refused(EINVAL, "the link is no bridge port"));
        }
        if let Some(alias) = set.alias {
            link.alias = crate::text::fits(&[&alias]).ok_or_else(|| refused(EINVAL, "alias is too long"))?;
        }
        link.mtu = set.mtu.unwrap_or(link.mtu);
        link.mac = set.mac.unwrap_or(link.mac);
        link.promisc = set.promisc.unwrap_or(link.promisc);
        link.allmulti = set.allmulti.unwrap_or(link.allmulti);
        link.txqlen = set.txqlen.unwrap_or(link.txqlen);
        let master = set.master.map_or(link.master, |master| Some(master).filter(|master| master.0 != 0));
        link.master = master;
        link.hairpin = set.hairpin.unwrap_or(link.hairpin);
        link.isolated = set.isolated.unwrap_or(link.isolated);
        let was = link.up;
        link.up = set.up.unwrap_or(was);
        let (up, loopback) = (link.up, link.kind == LinkKind::Loopback);
        if was && !up {
            self.routes.retain(|known| known.ns != ns || known.index != index);
            self.addresses.retain(|known| known.ns != ns || known.index != index || !known.address.cidr.is_v6());
        }
        if up && !was && loopback {
            self.loopback_addresses(ns, ipv6);
        }
        Ok(())
    }

    /// What the kernel gives `lo` when it comes up.
    fn loopback_addresses(&mut self, ns: NsId, ipv6: bool) {
        let own = [
            Cidr::new(IpAddr::from([127, 0, 0, 1]), 8),
            ipv6.then(|| Cidr::host(IpAddr::from([0u16, 0, 0, 0, 0, 0, 0, 1]))),
        ];
        for cidr in
            own.into_iter().flatten().filter(|cidr| !self.has_address(ns, LO, *cidr)).collect::<heapless::Vec<_, 2>>()
        {
            let address = Address { cidr, scope: SCOPE_HOST, tentative: false, dad_failed: false };
            let _ = self.add_address(ns, LO, address);
        }
    }
}

/// The values that `set` would overwrite; `None` when it changes nothing.
pub(crate) fn old_values<'l>(link: &'l Link, set: &LinkChange<'_>) -> Option<LinkChange<'l>> {
    // No master is index 0.
    let of = |master: Option<IfIndex>| master.unwrap_or(IfIndex(0));
    let old = LinkChange {
        up: set.up.filter(|new| *new != link.up).map(|_| link.up),
        mtu: set.mtu.filter(|new| *new != link.mtu).map(|_| link.mtu),
        mac: set.mac.filter(|new| *new != link.mac).map(|_| link.mac),
        promisc: set.promisc.filter(|new| *new != link.promisc).map(|_| link.promisc),
        allmulti: set.allmulti.filter(|new| *new != link.allmulti).map(|_| link.allmulti),
        txqlen: set.txqlen.filter(|new| *new != link.txqlen).map(|_| link.txqlen),
        alias: set.alias.filter(|new| *new != link.alias).map(|_| link.alias.as_str()),
        master: set.master.filter(|new| *new != of(link.master)).map(|_| of(link.master)),
        hairpin: set.hairpin.filter(|new| *new != link.hairpin).map(|_| link.hairpin),
        isolated: set.isolated.filter(|new| *new != link.isolated).map(|_| link.isolated),
        arp_notify: None,
    };
    (old != LinkChange::NONE).then_some(old)
}

fn plain_link(index: IfIndex, name: IfName, mac: Mac, kind: LinkKind) -> Link {
    Link {
        index,
        name,
        mac,
        mtu: 1_500,
        txqlen: 1_000,
        up: false,
        running: false,
        promisc: false,
        allmulti: false,
        kind,
        master: None,
        peer: None,
        forwarding: false,
        hairpin: false,
        isolated: false,
        alias: heapless::String::new(),
    }
}

fn same_destination(a: &Route, b: &Route) -> bool {
    // 254 is the main table (linux/rtnetlink.h, RT_TABLE_MAIN).
    a.dst.network() == b.dst.network() && a.table.unwrap_or(254) == b.table.unwrap_or(254)
}

/// Whether the kernel refuses `new` beside `known` (NLM_F_EXCL). IPv4: one
/// route per destination, metric and table, by whatever link. IPv6: another
/// link or next hop is another route.
fn collide(known: &SimRoute, index: IfIndex, new: &Route) -> bool {
    same_destination(&known.route, new)
        && known.route.priority == new.priority
        && (!new.dst.is_v6() || (known.index == index && known.route.gw == new.gw))
}
