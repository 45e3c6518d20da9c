//! `vrf`: the interface becomes a port of a VRF in the sandbox, which has a
//! routing table of its own.

mod add;
#[cfg(test)]
mod tests;

use picocni_core::error::{Failures, Result};
use picocni_core::json::{Key, Str};
use picocni_core::name::{IfIndex, IfName};
use picocni_core::observe::{Link, LinkKind, Ns};
use picocni_core::op::{LinkChange, LinkId, Removal};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::version::Version;
use picocni_core::{config_keys, err, fields};

/// As the peer: those that know chained plugins.
const VERSIONS: &[Version] = &[Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];

/// The plugin.
#[derive(Debug)]
pub struct Vrf;

#[derive(Debug, Default)]
struct Wire<'a> {
    vrfname: Str<'a>,
    table: i64,
}

fields!(Wire<'a> { "vrfname" => vrfname, "table" => table });

/// The configuration, checked.
#[derive(Debug)]
struct Conf {
    name: IfName,
    /// The VRF's table; `None`: whatever it has, or a free one.
    table: Option<u32>,
}

impl Conf {
    /// # Errors
    /// Code 7: no name of a link.
    fn read(call: &Call<'_>) -> Result<Self> {
        let wire: Wire<'_> = call.fields()?;
        let name = IfName::new(wire.vrfname.plain().unwrap_or("/")).map_err(|error| {
            let seen = wire.vrfname.canonical();
            err!(
                CONFIG,
                "configuration is expected to have a valid vrf name",
                "\"vrfname\" is \"",
                seen,
                "\": ",
                error.msg()
            )
        })?;
        // The schema has the bounds.
        let table = u32::try_from(wire.table).ok().filter(|table| *table != 0);
        Ok(Conf { name, table })
    }
}

/// The table of a VRF.
const fn table_of(link: &Link) -> Option<u32> {
    match link.kind {
        LinkKind::Vrf(table) => Some(table),
        _ => None,
    }
}

impl Plugin for Vrf {
    fn name(&self) -> &'static str {
        "vrf"
    }

    fn keys(&self) -> &'static [Key] {
        config_keys![Key::str("vrfname"), Key::int("table", 0, u32::MAX as i64)]
    }

    fn versions(&self) -> &'static [Version] {
        VERSIONS
    }

    fn is_chained(&self) -> bool {
        true
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let conf = Conf::read(call)?;
        let prev = call.required_prev()?;
        session.backend.lock_sandbox()?;
        // A failure keeps the lock: the caller undoes under it, then unlocks.
        add::add(call, session, &conf)?;
        session.backend.unlock();
        result.clone_from(prev);
        Ok(())
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let conf = Conf::read(call)?;
        call.required_prev()?;
        let ifname = call.env.ifname;
        let vrf = session.backend.link(Ns::Sandbox, &conf.name)?;
        let Some((vrf, table)) = vrf.and_then(|vrf| table_of(&vrf).map(|table| (vrf, table))) else {
            return Err(err!(CHANGED, "VRF is missing", conf.name));
        };
        if let Some(wanted) = conf.table.filter(|wanted| *wanted != table) {
            return Err(err!(CHANGED, "VRF has another table", conf.name, " has ", table, ", configured is ", wanted));
        }
        if !vrf.up {
            return Err(err!(CHANGED, "VRF is down", conf.name));
        }
        let link = session.backend.link(Ns::Sandbox, &ifname)?;
        if link.and_then(|link| link.master) != Some(vrf.index) {
            return Err(err!(
                CHANGED,
                "failed to find interface associated to vrf",
                ifname,
                " is no port of ",
                conf.name
            ));
        }
        Ok(())
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        // A config that ADD refuses made nothing.
        let Ok(conf) = Conf::read(call) else { return Ok(()) };
        if !session.has_sandbox() {
            return Ok(());
        }
        session.backend.lock_sandbox()?;
        let outcome = leave(call, session, &conf);
        session.backend.unlock();
        outcome
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        Conf::read(call)?;
        session.backend.probe_vrf()
    }
}

/// Takes the interface out of its VRF, and the VRF away when nobody else is in it.
fn leave(call: &Call<'_>, session: &mut Session<'_>, conf: &Conf) -> Result<()> {
    let vrf = session.backend.link(Ns::Sandbox, &conf.name)?;
    let Some(vrf) = vrf.filter(|vrf| table_of(vrf).is_some()) else { return Ok(()) };
    let mut failures = Failures::new();
    let link = session.backend.link(Ns::Sandbox, &call.env.ifname)?;
    if let Some(link) = link.filter(|link| link.master == Some(vrf.index)) {
        let set = LinkChange { master: Some(IfIndex(0)), ..LinkChange::NONE };
        failures.note(session.removal(Removal::ResetLink { ns: Ns::Sandbox, link: LinkId::Index(link.index), set }));
    }
    let mut used = false;
    session.backend.links(Ns::Sandbox, &mut |link| used |= link.master == Some(vrf.index))?;
    if !used {
        failures.note(session.removal(Removal::DeleteLink { ns: Ns::Sandbox, name: conf.name }));
    }
    failures.into_result()
}
