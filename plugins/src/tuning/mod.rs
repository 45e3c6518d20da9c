//! `tuning`: sysctls and link attributes of an interface that an earlier plugin
//! of the list made.

mod add;
mod backup;
mod check;
mod conf;
mod del;
mod sysctl;
#[cfg(test)]
mod tests;

use picocni_core::error::Result;
use picocni_core::json::Key;
use picocni_core::op::LinkChange;
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;

/// The plugin.
#[derive(Debug)]
pub struct Tuning;

impl Plugin for Tuning {
    fn name(&self) -> &'static str {
        "tuning"
    }

    fn keys(&self) -> &'static [Key] {
        conf::KEYS
    }

    fn is_chained(&self) -> bool {
        true
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        add::add(call, session, result)
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        check::check(call, session)
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        del::del(call, session)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        del::gc(call, session)
    }

    fn status(&self, call: &Call<'_>, _session: &mut Session<'_>) -> Result<()> {
        conf::Conf::read(call).map(|_| ())
    }
}

/// A change for every attribute of `set`. The kernel sets the attributes of one
/// message one after another (do_setlink() in net/core/rtnetlink.c) and keeps
/// those before a refused one, so only single ones can be undone exactly.
fn single_attributes(set: &LinkChange<'_>) -> impl Iterator<Item = LinkChange<'static>> {
    let none = LinkChange::NONE;
    [
        set.mac.map(|mac| LinkChange { mac: Some(mac), ..none }),
        set.promisc.map(|promisc| LinkChange { promisc: Some(promisc), ..none }),
        set.mtu.map(|mtu| LinkChange { mtu: Some(mtu), ..none }),
        set.allmulti.map(|allmulti| LinkChange { allmulti: Some(allmulti), ..none }),
        set.txqlen.map(|txqlen| LinkChange { txqlen: Some(txqlen), ..none }),
    ]
    .into_iter()
    .flatten()
}
