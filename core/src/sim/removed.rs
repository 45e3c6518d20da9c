//! Removals: all of them, a missing target is success.

use super::SimBackend;
use super::apply::path_in;
use super::network::HOST;
use super::sysctl::Layer;
use crate::error::Result;
use crate::limits;
use crate::name::IfName;
use crate::observe::{Address, LinkKind, Ns};
use crate::op::{LinkChange, LinkId, Removal};
use crate::packet_filter::TableFamily;
use crate::sim::{EOPNOTSUPP, refused};
use crate::text::fits;

impl SimBackend {
    #[allow(clippy::too_many_lines, reason = "a table: one line or two for each operation")]
    pub(super) fn remove_one(&mut self, removal: &Removal<'_>) -> Result<()> {
        match *removal {
            Removal::DeleteLink { ns, name } => self.delete_link(ns, &name),
            Removal::ResetLink { ns, link, set } => self.reset_link(ns, link, &set),
            Removal::ResetSysctl { ns, key, value } => self.reset_sysctl(ns, key, value),
            Removal::DeleteAddress { ns, index, cidr } => {
                if let Ok(space) = self.space(ns) {
                    self.net.delete_address(space, index, cidr);
                }
                Ok(())
            }
            Removal::DeleteRoute { ns, index, route } => {
                if let Ok(space) = self.space(ns) {
                    self.net.delete_route(space, index, &route);
                }
                Ok(())
            }
            Removal::RestoreRoute { ns, index, route } => match self.space(ns) {
                Ok(space) => self.net.restore_route(space, index, route),
                Err(_) => Ok(()),
            },
            Removal::DeleteRule { ns, src, table, priority } => {
                if let Ok(space) = self.space(ns) {
                    self.net.delete_rule(space, src, table, priority);
                }
                Ok(())
            }
            Removal::DeleteNeighbour { index, ip } => {
                self.net.neighbours.retain(|known| known.index != index || known.ip != ip);
                Ok(())
            }
            Removal::ReleaseLease { dir, ip } => path_in(dir, &ip).map(|path| self.forget(&path)),
            Removal::RemoveFile { path } => {
                self.forget(path);
                Ok(())
            }
            Removal::Unclaim { dir, key } => path_in(dir, &key).map(|path| self.forget(&path)),
            Removal::ReturnLink { ns, name, to, up } => {
                let Ok(space) = self.space(ns) else { return Ok(()) };
                let Some(index) = self.net.named(space, &name).map(|link| link.index) else { return Ok(()) };
                let set = LinkChange { up: Some(up), alias: Some(""), ..LinkChange::NONE };
                self.move_link((space, index), HOST, to, &set)
            }
            Removal::RestoreAddress { name, cidr } => {
                let Some(index) = self.net.named(HOST, &name).map(|link| link.index) else { return Ok(()) };
                if self.net.has_address(HOST, index, cidr) {
                    return Ok(());
                }
                let address = Address { cidr, scope: 0, tentative: false, dad_failed: false };
                self.net.add_address(HOST, index, address)
            }
            Removal::Unshape { link } => self.unshape(link),
            Removal::ReleaseIngress { link } => self.release_ingress(link),
            Removal::UnguardSource { port, mac } => {
                self.filter.guarded.retain(|known| (known.port, known.mac) != (port, mac));
                Ok(())
            }
            Removal::LiftPolicy { tag, .. } => {
                self.filter.policies.retain(|known| known.tag != tag);
                Ok(())
            }
            Removal::Unpublish { port } => {
                self.filter.unpublish(&port);
                Ok(())
            }
            Removal::UnpublishSource { to, via, all } => {
                self.filter.unpublish_source(to, via, all);
                Ok(())
            }
            Removal::Unmasquerade { ip } => {
                self.filter.unmasquerade(ip);
                Ok(())
            }
            Removal::DropRules { chain, which } => {
                self.chains.drop_rules(&chain, which);
                Ok(())
            }
            Removal::DropChain { chain } => self.chains.drop_chain(&chain),
            Removal::DropTable { table } => {
                self.chains.drop_table(&table);
                match (table.family, table.name) {
                    (TableFamily::Inet, "picocni") => self.filter.clear_table(),
                    (TableFamily::Bridge, "picocni") => self.filter.guarded.clear(),
                    _ => {}
                }
                Ok(())
            }
            Removal::UnbindSource { zone, ip } => {
                if let Some(zones) = &mut self.filter.zones {
                    zones.retain(|known| known.0 != ip || known.1 != zone);
                }
                Ok(())
            }
            Removal::Erase { entry, tag } => {
                self.filter.entered.retain(|known| known.entry != entry || known.tag != tag);
                Ok(())
            }
            Removal::IptablesChain { .. } | Removal::IptablesRules { .. } | Removal::DropLegacyChain { .. } => {
                self.remove_iptables(removal)
            }
            Removal::PurgeConnections { .. } => {
                self.events.purges = self.events.purges.saturating_add(1);
                Ok(())
            }
        }
    }

    fn forget(&mut self, path: &str) {
        self.store.remove(path);
    }

    fn delete_link(&mut self, ns: Ns, name: &IfName) -> Result<()> {
        let Ok(space) = self.space(ns) else { return Ok(()) };
        let Some((index, kind)) = self.net.named(space, name).map(|link| (link.index, link.kind)) else {
            return Ok(());
        };
        if kind == LinkKind::Loopback {
            return Err(refused(EOPNOTSUPP, "lo cannot be deleted"));
        }
        let sysctls = &mut self.sysctls;
        self.net.delete_link(space, index, &mut |ns, name| sysctls.link_gone(ns, name.as_str()));
        Ok(())
    }

    fn reset_link(&mut self, ns: Ns, link: LinkId, set: &LinkChange<'_>) -> Result<()> {
        let Ok(space) = self.space(ns) else { return Ok(()) };
        let Some((index, was)) = self.net.find(space, link).map(|link| (link.index, link.master)) else {
            return Ok(());
        };
        // A port that left its bridge has no port attributes to reset.
        let port = self.net.indexed(HOST, index).is_some_and(|link| link.master.is_some());
        let set = LinkChange { hairpin: set.hairpin.filter(|_| port), isolated: set.isolated.filter(|_| port), ..*set };
        self.net.set_link(space, index, &set)?;
        self.cross_domains(space, index, was);
        Ok(())
    }

    fn reset_sysctl(&mut self, ns: Ns, key: &str, value: &str) -> Result<()> {
        let Ok(space) = self.space(ns) else { return Ok(()) };
        let key: heapless::String<{ limits::SYSCTL_KEY }> = fits(&[&key]).unwrap_or_default();
        if self.sysctls.get(&self.net, space, &key).is_none() {
            return Ok(());
        }
        self.write_sysctl(space, Layer::Written, &key, value)
    }
}
