//! `tap`: a device in the sandbox whose other end a program opens, as a virtual
//! machine does.

use picocni_core::conf::IPAM;
use picocni_core::error::Result;
use picocni_core::json::{Key, Str};
use picocni_core::name::{IfIndex, IfName, Mac};
use picocni_core::observe::{LinkKind, Ns};
use picocni_core::op::{Change, LinkChange, LinkId, Plan, Undo};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::version::Command;
use picocni_core::{config_keys, err, fields};

use crate::interface::{self, Options};
use crate::mac::{self, MacConf};
use crate::{link, veth};

/// The plugin.
#[derive(Debug)]
pub struct Tap;

#[derive(Debug, Default)]
struct Wire<'a> {
    multi_queue: bool,
    mtu: i64,
    mac: Str<'a>,
    owner: Option<i64>,
    group: Option<i64>,
    selinux_context: Str<'a>,
    bridge: Str<'a>,
    runtime_config: MacConf<'a>,
}

fields!(Wire<'a> {
    "multiQueue" => multi_queue,
    "mtu" => mtu,
    "mac" => mac,
    "owner" => owner,
    "group" => group,
    "selinuxContext" => selinux_context,
    "bridge" => bridge,
    "runtimeConfig" => runtime_config,
});

struct Conf<'a> {
    multi_queue: bool,
    mtu: u32,
    mac: Option<Mac>,
    owner: Option<u32>,
    group: Option<u32>,
    selinux: &'a str,
    bridge: Option<IfName>,
}

impl<'a> Conf<'a> {
    fn read(call: &Call<'a>) -> Result<Self> {
        let wire: Wire<'a> = call.fields()?;
        let bridge = if wire.bridge.is_empty() {
            None
        } else {
            let name = IfName::new(wire.bridge.plain().unwrap_or("/"));
            let seen = wire.bridge.canonical();
            Some(name.map_err(|error| err!(CONFIG, "invalid bridge name", "\"", seen, "\": ", error.msg()))?)
        };
        let selinux = wire.selinux_context.plain();
        Ok(Conf {
            multi_queue: wire.multi_queue,
            mtu: interface::mtu(wire.mtu)?,
            mac: mac::requested(call, &[wire.runtime_config.mac], wire.mac)?,
            // The schema keeps them within 32 bits.
            owner: wire.owner.and_then(|id| u32::try_from(id).ok()),
            group: wire.group.and_then(|id| u32::try_from(id).ok()),
            selinux: selinux.ok_or_else(|| err!(CONFIG, "invalid selinuxContext", wire.selinux_context.canonical()))?,
            bridge,
        })
    }

    /// The bridge, which is in the sandbox.
    fn master(&self, session: &mut Session<'_>) -> Result<Option<IfIndex>> {
        let Some(name) = self.bridge else { return Ok(None) };
        let bridge = session.backend.link(Ns::Sandbox, &name)?;
        let bridge = bridge.ok_or_else(|| err!(CONFIG, "bridge not found", "no link \"", name, "\" in the sandbox"))?;
        if bridge.kind != LinkKind::Bridge {
            return Err(err!(CONFIG, "link exists but is not a bridge", name));
        }
        Ok(Some(bridge.index))
    }
}

impl Plugin for Tap {
    fn name(&self) -> &'static str {
        "tap"
    }

    fn keys(&self) -> &'static [Key] {
        config_keys![
            IPAM,
            Key::bool("multiQueue"),
            interface::MTU,
            Key::str("mac"),
            Key::int("owner", 0, u32::MAX as i64),
            Key::int("group", 0, u32::MAX as i64),
            Key::str("selinuxContext"),
            Key::str("bridge"),
            mac::RUNTIME_CONFIG,
        ]
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let conf = Conf::read(call)?;
        let name = call.env.ifname;
        if session.backend.link(Ns::Sandbox, &name)?.is_some() {
            return Err(veth::exists(call));
        }
        let master = conf.master(session)?;
        let mac = conf.mac.unwrap_or_else(|| link::derived_mac(call, session));
        let Conf { multi_queue, owner, group, selinux, .. } = conf;
        let mut plan = Plan::new();
        plan.change(Change::CreateTap { name, multi_queue, owner, group, selinux })?;
        let mtu = Some(conf.mtu).filter(|mtu| *mtu > 0);
        let set = LinkChange { mac: Some(mac), mtu, master, ..LinkChange::NONE };
        plan.change(Change::SetLink { ns: Ns::Sandbox, link: LinkId::Name(name), set, undo: Undo::WithLink })?;
        session.apply(&plan)?;
        let made = link::made(session, Ns::Sandbox, &name)?;
        link::attach(call, session, &made, result, Options::default())?;
        link::own_dns(call, result)
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        Conf::read(call)?;
        link::check(call, session, LinkKind::Tun).map(|_| ())
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::del(call, session)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::forward(call, session, Command::Gc)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        Conf::read(call)?;
        link::forward(call, session, Command::Status)
    }
}
