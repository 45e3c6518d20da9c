//! Changes, batch by batch.

use super::network::{HOST, NsId, old_values};
use super::store::Kind;
use super::sysctl::{Layer, VALUE};
use super::{Batch, EACCES, EEXIST, EINVAL, ENODEV, EOPNOTSUPP, EROFS, SimBackend, keep, not_applied, refused, taken};
use crate::backend::Applied;
use crate::err;
use crate::error::{Error, Result};
use crate::limits;
use crate::name::{IfIndex, IfName, Mac};
use crate::net::Cidr;
use crate::observe::{Address, LinkKind, Ns};
use crate::op::{Change, LinkChange, LinkId, OnFailure, Removal, Undo};
use crate::put;
use crate::text::fits;

/// EADDRNOTAVAIL.
const EADDRNOTAVAIL: i32 = 99;
/// ENOENT.
const ENOENT: i32 = 2;

/// Old text that an inverse borrows.
#[derive(Default)]
struct Old {
    alias: heapless::String<{ limits::TAG }>,
    value: heapless::String<VALUE>,
}

pub(super) type Inverse<'o> = Result<Option<Removal<'o>>>;

/// The path of a file in a directory.
pub(super) fn path_in(dir: &str, name: &dyn crate::text::Put) -> Result<heapless::String<{ limits::PATH }>> {
    fits(&[&dir.trim_end_matches('/'), &"/", name]).ok_or_else(|| Error::limit("PATH", limits::PATH))
}

impl SimBackend {
    pub(super) fn apply_all(&mut self, changes: &[Change<'_>], report: &mut Applied<'_>) {
        let mut rest = changes;
        let mut at = 0usize;
        let mut going = true;
        while let Some((batch, after)) =
            rest.split_at_checked(Batch::first_of(rest)).filter(|(batch, _)| !batch.is_empty())
        {
            going = if !going {
                for offset in 0..batch.len() {
                    report(at.saturating_add(offset), Err(not_applied()));
                }
                false
            } else if batch.first().map(Batch::of) == Some(Batch::Nfnetlink) {
                self.apply_filter(batch, at, report)
            } else {
                self.apply_each(batch, at, report)
            };
            at = at.saturating_add(batch.len());
            rest = after;
        }
    }

    fn apply_each(&mut self, batch: &[Change<'_>], at: usize, report: &mut Applied<'_>) -> bool {
        let mut good = true;
        for (offset, change) in batch.iter().enumerate() {
            let mut old = Old::default();
            let outcome = self.apply_one(change, &mut old);
            good &= outcome.is_ok();
            report(at.saturating_add(offset), outcome);
        }
        good
    }

    fn apply_filter(&mut self, batch: &[Change<'_>], at: usize, report: &mut Applied<'_>) -> bool {
        let mark = self.filter.mark();
        let mut inverses = heapless::Vec::<Option<Removal<'static>>, { limits::PLAN }>::new();
        let mut all = Ok(());
        for change in batch {
            all = self.filter.add(change).and_then(|inverse| keep(&mut inverses, inverse, "PLAN"));
            if all.is_err() {
                self.filter.back_to(mark);
                break;
            }
        }
        for offset in 0..batch.len() {
            let inverse = inverses.get(offset).copied().flatten();
            report(at.saturating_add(offset), all.clone().map(|()| inverse));
        }
        all.is_ok()
    }

    #[allow(clippy::too_many_lines, reason = "a table: one line or two for each operation")]
    fn apply_one<'o>(&mut self, change: &Change<'o>, old: &'o mut Old) -> Inverse<'o> {
        match *change {
            Change::EnsureBridge { name, mac, mtu, promisc, .. } => {
                self.ensure_bridge(name, mac, mtu, promisc).map(|()| None)
            }
            Change::EnsureAddress { index, cidr } => {
                if self.net.has_address(HOST, index, cidr) {
                    return Ok(None);
                }
                self.net.add_address(HOST, index, plain(cidr)).map(|()| None)
            }
            Change::EnsureSysctl { key, value, on_failure } => {
                tolerate(self.write_sysctl(HOST, Layer::Ensured, key, value), on_failure).map(|_| None)
            }
            Change::CreateVeth { host, host_mac, peer, peer_mac, mtu, master } => {
                self.create_veth((host, host_mac), (peer, peer_mac), mtu, master)
            }
            Change::CreateLink { from, name, kind, parent, mac, mtu, .. } => {
                self.create_link(from, name, kind, parent, mac, mtu)
            }
            Change::EnsureVlanPort { bridge, name, port, mac, port_mac, .. } => {
                self.ensure_vlan_port(bridge, (name, mac), (port, port_mac)).map(|()| None)
            }
            // VLANs of ports are not modelled.
            Change::ClearPortVlans { port } | Change::AddPortVlans { port, .. } => {
                self.net.need(HOST, port).map(|_| None)
            }
            Change::Enforce { policy } => self.filter.enforce(&policy).map(Some),
            Change::GuardSource { port, mac, tag } => {
                self.net.need(HOST, port)?;
                self.filter.guard(port, mac, tag).map(Some)
            }
            Change::BindSource { zone, ip } => self.filter.bind(zone, ip),
            Change::Enter { entry, tag } => self.filter.enter(entry, tag),
            Change::MoveLink { index, name, to, alias, was_up } => {
                let sandbox = self.space(Ns::Sandbox)?;
                let set = LinkChange { up: Some(false), alias: Some(alias), ..LinkChange::NONE };
                self.move_link((HOST, index), sandbox, to, &set)?;
                Ok(Some(Removal::ReturnLink { ns: Ns::Sandbox, name: to, to: name, up: was_up }))
            }
            Change::TakeAddress { index, name, cidr } => {
                if !self.net.has_address(HOST, index, cidr) {
                    return Err(refused(EADDRNOTAVAIL, "no such address"));
                }
                self.net.delete_address(HOST, index, cidr);
                Ok(Some(Removal::RestoreAddress { name, cidr }))
            }
            Change::CreateTap { name, .. } => {
                let sandbox = self.space(Ns::Sandbox)?;
                self.net.add_link(sandbox, name, Mac([2, 0, 0, 0, 0xee, 2]), LinkKind::Tun)?;
                Ok(Some(Removal::DeleteLink { ns: Ns::Sandbox, name }))
            }
            Change::CreateIfb { name, mac, mtu } => self.create_ifb(name, mac, mtu),
            Change::Shape { link, bucket, queue } => self.shape(link, bucket, queue),
            Change::RedirectIngress { link, to } => self.redirect(link, to),
            Change::RenameLink { ns, from, to } => self.rename_link(ns, from, to),
            Change::SetLink { ns, link, set, undo } => self.set_link(ns, link, set, undo, &mut old.alias),
            Change::AddAddress { ns, index, cidr, dad, .. } => self.add_address(ns, index, cidr, dad),
            Change::AddRoute { ns, index, route } => {
                let space = self.space(ns)?;
                self.net.add_route(space, index, route)?;
                Ok(Some(Removal::DeleteRoute { ns, index, route }))
            }
            Change::WriteSysctl { ns, key, value, undo, on_failure } => {
                let space = self.space(ns)?;
                if let Some(was) = self.sysctls.get(&self.net, space, key) {
                    old.value = fits(&[&was]).unwrap_or_default();
                }
                if undo == Undo::Restore && old.value.len() > limits::SYSCTL_VALUE {
                    return Err(Error::limit("SYSCTL_VALUE", limits::SYSCTL_VALUE));
                }
                let wrote = tolerate(self.write_sysctl(space, Layer::Written, key, value), on_failure)?;
                let back = wrote && undo == Undo::Restore && old.value != value;
                Ok(back.then_some(Removal::ResetSysctl { ns, key, value: &old.value }))
            }
            Change::EnsureChain { chain, .. } => self.chains.ensure(&chain).map(|()| None),
            Change::AppendRule { chain, rule, comment } => self.chains.add(&chain, rule, comment).map(|()| None),
            Change::AwaitForwarding { host } => self.await_forwarding(host).map(|()| None),
            Change::AwaitAddresses { ns, index } => self.await_addresses(ns, index).map(|()| None),
            Change::Announce { index, mac } => self.announce(index, mac).map(|()| None),
            Change::TakeRoute { .. } | Change::AddRule { .. } => self.apply_routing(change),
            Change::EnsureIptables { .. } | Change::Iptables { .. } | Change::IptablesRules { .. } => {
                self.apply_iptables(change)
            }
            _ => self.apply_stored(change),
        }
    }

    /// Files, leases and claims.
    fn apply_stored<'o>(&mut self, change: &Change<'o>) -> Inverse<'o> {
        match *change {
            Change::ReserveLease { dir, ip, container, ifname } => {
                let path = path_in(dir, &ip)?;
                let content: heapless::String<512> =
                    fits(&[&container, &"\r\n", &ifname]).ok_or_else(|| Error::limit("lease", 512))?;
                self.create(Kind::File, &path, content.as_bytes(), "lease")?;
                Ok(Some(Removal::ReleaseLease { dir, ip }))
            }
            Change::NoteLastLease { dir, set, ip } => {
                let name: heapless::String<40> = fits(&[&"last_reserved_ip.", &set]).unwrap_or_default();
                let text: heapless::String<46> = fits(&[&ip]).unwrap_or_default();
                self.store.put(Kind::Hint, &path_in(dir, &name)?, text.as_bytes()).map(|()| None)
            }
            Change::WriteFile { path, content } => {
                // No removal can bring old content back.
                let fresh = self.store.get(path).is_none();
                self.store.put(Kind::File, path, content)?;
                Ok(fresh.then_some(Removal::RemoveFile { path }))
            }
            Change::Claim { dir, key, holder } => {
                self.create(Kind::Claim, &path_in(dir, &key)?, holder.as_bytes(), "claim")?;
                Ok(Some(Removal::Unclaim { dir, key }))
            }
            _ => Err(err!(INTERNAL, "change in the wrong batch", change.verb())),
        }
    }

    fn create(&mut self, kind: Kind, path: &str, content: &[u8], what: &'static str) -> Result<()> {
        if self.store.get(path).is_some() {
            return Err(taken(what).with(&" ").with(&path));
        }
        self.store.put(kind, path, content)
    }

    fn ensure_bridge(&mut self, name: IfName, mac: Mac, mtu: u32, promisc: bool) -> Result<()> {
        let known = self.net.named(HOST, &name).map(|link| (link.index, link.kind));
        let index = match known {
            Some((index, LinkKind::Bridge)) => index,
            Some(_) => return Err(taken("link is no bridge").with(&" ").with(&name)),
            None => {
                let index = self.net.add_link(HOST, name, mac, LinkKind::Bridge)?;
                self.net.set_link(HOST, index, &LinkChange { mtu: (mtu > 0).then_some(mtu), ..LinkChange::NONE })?;
                index
            }
        };
        let accept_ra: heapless::String<{ limits::SYSCTL_KEY }> =
            fits(&[&"net/ipv6/conf/", &name, &"/accept_ra"]).unwrap_or_default();
        // A kernel without IPv6 has no such key.
        tolerate(self.write_sysctl(HOST, Layer::Ensured, &accept_ra, "0"), OnFailure::Ignore)?;
        self.net.set_link(
            HOST,
            index,
            &LinkChange { up: Some(true), promisc: promisc.then_some(true), ..LinkChange::NONE },
        )
    }

    fn ensure_vlan_port(&mut self, bridge: IfIndex, own: (IfName, Mac), port: (IfName, Mac)) -> Result<()> {
        self.net.need(HOST, bridge)?;
        if self.net.named(HOST, &own.0).is_some() {
            return Ok(());
        }
        let first = self.net.add_link(HOST, own.0, own.1, LinkKind::Veth)?;
        let second = self.net.add_link(HOST, port.0, port.1, LinkKind::Veth)?;
        for (index, other, master) in [(first, second, None), (second, first, Some(bridge))] {
            let set = LinkChange { up: Some(true), alias: Some(super::SHARED_ALIAS), ..LinkChange::NONE };
            self.net.set_link(HOST, index, &set)?;
            if let Some(link) = self.net.link_mut(HOST, index) {
                link.peer = Some(other);
                link.master = master;
            }
        }
        Ok(())
    }

    fn create_veth(
        &mut self,
        host: (IfName, Mac),
        peer: (IfName, Mac),
        mtu: u32,
        master: Option<IfIndex>,
    ) -> Inverse<'static> {
        let sandbox = self.space(Ns::Sandbox)?;
        if let Some(master) = master
            && self.net.need(HOST, master)?.kind != LinkKind::Bridge
        {
            return Err(refused(EINVAL, "master is no bridge"));
        }
        if self.net.named(sandbox, &peer.0).is_some() {
            return Err(refused(EEXIST, "link").with(&" ").with(&peer.0));
        }
        if mtu > 0 && !(68..=65_535).contains(&mtu) {
            return Err(refused(EINVAL, "mtu"));
        }
        let host_index = self.net.add_link(HOST, host.0, host.1, LinkKind::Veth)?;
        let peer_index = self.net.add_link(sandbox, peer.0, peer.1, LinkKind::Veth).inspect_err(|_| {
            self.net.delete_link(HOST, host_index, &mut |_, _| {});
        })?;
        for (ns, index, other) in [(HOST, host_index, peer_index), (sandbox, peer_index, host_index)] {
            if let Some(link) = self.net.link_mut(ns, index) {
                link.peer = Some(other);
                link.mtu = if mtu > 0 { mtu } else { link.mtu };
                link.master = master.filter(|_| ns == HOST);
            }
        }
        Ok(Some(Removal::DeleteLink { ns: Ns::Host, name: host.0 }))
    }

    /// In the sandbox; the kernel looks for the name in the namespace it is asked in as well.
    fn create_link(
        &mut self,
        from: Ns,
        name: IfName,
        kind: LinkKind,
        parent: Option<IfIndex>,
        mac: Option<Mac>,
        mtu: u32,
    ) -> Inverse<'static> {
        let (asked, sandbox) = (self.space(from)?, self.space(Ns::Sandbox)?);
        if matches!(kind, LinkKind::Vrf(_)) && !self.net.vrf {
            return Err(refused(EOPNOTSUPP, "unknown device type"));
        }
        if self.net.named(asked, &name).is_some() {
            return Err(refused(EEXIST, "link").with(&" ").with(&name));
        }
        let below = match parent {
            Some(parent) => Some(self.net.need(asked, parent)?.clone()),
            None => None,
        };
        let inherited = below.as_ref().filter(|_| matches!(kind, LinkKind::Ipvlan(_) | LinkKind::Vlan(_)));
        let mac = mac.or(inherited.map(|link| link.mac)).unwrap_or(Mac([2, 0, 0, 0, 0xee, 1]));
        let ceiling = below.as_ref().map_or(65_535, |link| link.mtu);
        if mtu > 0 && !(68..=ceiling).contains(&mtu) {
            return Err(refused(EINVAL, "mtu"));
        }
        let index = self.net.add_link(sandbox, name, mac, kind)?;
        if let Some(link) = self.net.link_mut(sandbox, index) {
            link.peer = parent;
            link.mtu = if mtu > 0 { mtu } else { below.map_or(link.mtu, |link| link.mtu) };
        }
        Ok(Some(Removal::DeleteLink { ns: Ns::Sandbox, name }))
    }

    /// Without its addresses and routes, as the kernel moves it.
    pub(super) fn move_link(
        &mut self,
        from: (NsId, IfIndex),
        to: NsId,
        name: IfName,
        set: &LinkChange<'_>,
    ) -> Result<()> {
        if self.net.named(to, &name).is_some_and(|known| (to, known.index) != from) {
            return Err(refused(EEXIST, "link").with(&" ").with(&name));
        }
        let old = self.net.need(from.0, from.1)?.name;
        self.sysctls.link_gone(from.0, old.as_str());
        self.net.change_space(from, to, name)?;
        self.net.set_link(to, from.1, set)
    }

    fn rename_link(&mut self, ns: Ns, from: IfName, to: IfName) -> Inverse<'static> {
        let space = self.space(ns)?;
        if self.net.named(space, &to).is_some() {
            return Err(refused(EEXIST, "link").with(&" ").with(&to));
        }
        let index = self.net.named(space, &from).ok_or_else(|| refused(ENODEV, "no such link"))?.index;
        if let Some(link) = self.net.link_mut(space, index) {
            link.name = to;
        }
        self.sysctls.link_renamed(space, from.as_str(), to.as_str());
        Ok(Some(Removal::DeleteLink { ns, name: to }))
    }

    fn set_link<'o>(
        &mut self,
        ns: Ns,
        link: LinkId,
        set: LinkChange<'_>,
        undo: Undo,
        alias: &'o mut heapless::String<{ limits::TAG }>,
    ) -> Inverse<'o> {
        let space = self.space(ns)?;
        let found = self.net.find(space, link).ok_or_else(|| refused(ENODEV, "no such link"))?;
        let (index, name, was) = (found.index, found.name, found.master);
        alias.clone_from(&found.alias);
        let old = old_values(found, &set).map(|old| LinkChange {
            alias: old.alias.map(|_| ""),
            up: old.up,
            mtu: old.mtu,
            mac: old.mac,
            promisc: old.promisc,
            allmulti: old.allmulti,
            txqlen: old.txqlen,
            master: old.master,
            hairpin: old.hairpin,
            isolated: old.isolated,
            arp_notify: None,
        });
        self.net.set_link(space, index, &set)?;
        self.cross_domains(space, index, was);
        if let Some(on) = set.arp_notify {
            let mut key = heapless::String::<{ limits::SYSCTL_KEY }>::new();
            put!(&mut key, "net/ipv4/conf/", name, "/arp_notify");
            self.write_sysctl(space, Layer::Written, &key, if on { "1" } else { "0" })?;
        }
        let alias: &'o str = alias;
        let old = old.filter(|_| undo == Undo::Restore);
        Ok(old.map(|old| Removal::ResetLink { ns, link, set: LinkChange { alias: old.alias.map(|_| alias), ..old } }))
    }

    fn add_address(&mut self, ns: Ns, index: IfIndex, cidr: Cidr, dad: bool) -> Inverse<'static> {
        let space = self.space(ns)?;
        let name = self.net.need(space, index)?.name;
        let v6 = |leaf: &str| -> Option<&str> {
            let key: heapless::String<{ limits::SYSCTL_KEY }> = fits(&[&"net/ipv6/conf/", &name, &"/", &leaf])?;
            self.sysctls.get(&self.net, space, &key)
        };
        if cidr.is_v6() && v6("disable_ipv6").is_some_and(|value| value != "0") {
            return Err(refused(EACCES, "address: IPv6 is disabled on the link"));
        }
        let tentative = dad && cidr.is_v6() && v6("accept_dad").is_some_and(|value| value != "0");
        self.net.add_address(space, index, Address { tentative, ..plain(cidr) })?;
        Ok(Some(Removal::DeleteAddress { ns, index, cidr }))
    }

    /// As the kernel's files: unknown keys cannot be created.
    pub(super) fn write_sysctl(&mut self, ns: NsId, layer: Layer, key: &str, value: &str) -> Result<()> {
        if self.sysctls.get(&self.net, ns, key).is_none() {
            return Err(refused(ENOENT, "no such sysctl").with(&" ").with(&key));
        }
        if self.sysctls.read_only {
            return Err(refused(EROFS, "sysctl is read-only").with(&" ").with(&key));
        }
        self.sysctls.set(&self.net, ns, layer, key, value)
    }
}

/// A global address whose uniqueness is known.
const fn plain(cidr: Cidr) -> Address {
    Address { cidr, scope: 0, tentative: false, dad_failed: false }
}

/// Whether it was written; a failure that may be ignored is `false`.
fn tolerate(outcome: Result<()>, on_failure: OnFailure) -> Result<bool> {
    match (outcome, on_failure) {
        (Ok(()), _) => Ok(true),
        (Err(_), OnFailure::Ignore) => Ok(false),
        (Err(error), OnFailure::Fail) => Err(error),
    }
}
