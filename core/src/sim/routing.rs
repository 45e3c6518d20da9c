//! Routing between tables: rules, routes that are taken and come back, VRFs.

use core::net::IpAddr;

use super::apply::Inverse;
use super::network::{Network, NsId, SimRoute, SimRule};
use super::{EHOSTUNREACH, ENETUNREACH, EOPNOTSUPP, SimBackend, keep, refused};
use crate::err;
use crate::error::Result;
use crate::limits;
use crate::name::IfIndex;
use crate::net::Cidr;
use crate::observe::{LinkKind, Route, Rule};
use crate::op::{Change, Removal};
use crate::text::fits;

/// ESRCH.
const ESRCH: i32 = 3;

impl Network {
    /// A route as it was before it was taken; of a link that is gone none comes back.
    pub(crate) fn restore_route(&mut self, ns: NsId, index: IfIndex, route: Route) -> Result<()> {
        let present = |known: &SimRoute| known.ns == ns && known.index == index && known.route == route;
        if self.indexed(ns, index).is_none() || self.routes.iter().any(present) {
            return Ok(());
        }
        match self.add_route(ns, index, route) {
            Err(error) if matches!(error.errno(), ENETUNREACH | EHOSTUNREACH) => Ok(()),
            outcome => outcome,
        }
    }

    /// A rule before all others, as the kernel places one without a priority.
    pub(crate) fn add_rule(&mut self, ns: NsId, src: IpAddr, table: u32) -> Result<()> {
        if !self.policy {
            return Err(refused(EOPNOTSUPP, "rule"));
        }
        // The main table's rule has 32766.
        let first = self.rules.iter().filter(|known| known.ns == ns).map(|known| known.rule.priority).min();
        let priority = first.unwrap_or(32_766).saturating_sub(1);
        let rule = Rule { src: Some(Cidr::host(src)), table, priority };
        keep(&mut self.rules, SimRule { ns, rule }, "RULES")
    }

    /// Removes the first rule that matches.
    pub(crate) fn delete_rule(&mut self, ns: NsId, src: IpAddr, table: u32, priority: Option<u32>) {
        let matches = |known: &SimRule| {
            known.ns == ns
                && known.rule.src == Some(Cidr::host(src))
                && known.rule.table == table
                && priority.is_none_or(|priority| priority == known.rule.priority)
        };
        let first = self.rules.iter().filter(|known| matches(known)).map(|known| known.rule.priority).min();
        self.rules.retain(|known| !matches(known) || Some(known.rule.priority) != first);
    }

    /// The kernel sets a link down and up when it enters or leaves a VRF: its
    /// routes go, and its IPv6 addresses unless they are kept.
    pub(crate) fn change_domain(&mut self, ns: NsId, index: IfIndex, was: Option<IfIndex>, keeps: bool) {
        let Some(link) = self.indexed(ns, index).filter(|link| link.up && link.master != was) else { return };
        let is_vrf = |master: Option<IfIndex>| {
            master.and_then(|index| self.indexed(ns, index)).is_some_and(|link| matches!(link.kind, LinkKind::Vrf(_)))
        };
        if !is_vrf(link.master) && !is_vrf(was) {
            return;
        }
        self.routes.retain(|known| known.ns != ns || known.index != index);
        if !keeps {
            self.addresses.retain(|known| known.ns != ns || known.index != index || !known.address.cidr.is_v6());
        }
    }
}

impl SimBackend {
    pub(super) fn apply_routing<'o>(&mut self, change: &Change<'o>) -> Inverse<'o> {
        match *change {
            Change::TakeRoute { ns, index, route } => {
                let space = self.space(ns)?;
                let there = |known: &SimRoute| known.ns == space && known.index == index && known.route == route;
                if !self.net.routes.iter().any(there) {
                    return Err(refused(ESRCH, "no such route"));
                }
                self.net.delete_route(space, index, &route);
                Ok(Some(Removal::RestoreRoute { ns, index, route }))
            }
            Change::AddRule { ns, src, table } => {
                let space = self.space(ns)?;
                self.net.add_rule(space, src, table)?;
                Ok(Some(Removal::DeleteRule { ns, src, table, priority: None }))
            }
            _ => Err(err!(INTERNAL, "change in the wrong batch", change.verb())),
        }
    }

    /// After a change of master from `was`.
    pub(super) fn cross_domains(&mut self, space: NsId, index: IfIndex, was: Option<IfIndex>) {
        let Some(name) = self.net.indexed(space, index).map(|link| link.name) else { return };
        let key: heapless::String<{ limits::SYSCTL_KEY }> =
            fits(&[&"net/ipv6/conf/", &name, &"/keep_addr_on_down"]).unwrap_or_default();
        let keeps = self.sysctls.get(&self.net, space, &key).is_some_and(|value| value == "1");
        self.net.change_domain(space, index, was, keeps);
    }
}
