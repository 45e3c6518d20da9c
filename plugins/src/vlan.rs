//! `vlan`: the pod is on an 802.1Q VLAN of one of the host's links.

use picocni_core::conf::IPAM;
use picocni_core::error::Result;
use picocni_core::json::{Key, Str};
use picocni_core::observe::{LinkKind, Ns};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::version::Command;
use picocni_core::{config_keys, err, fields};

use crate::interface::{self, Dad, Options};
use crate::link::{self, Parent};

/// The plugin.
#[derive(Debug)]
pub struct Vlan;

#[derive(Debug, Default)]
struct Wire<'a> {
    master: Str<'a>,
    vlan_id: i64,
    mtu: i64,
    link_in_container: bool,
}

fields!(Wire<'a> { "master" => master, "vlanId" => vlan_id, "mtu" => mtu, "linkInContainer" => link_in_container });

struct Conf<'a> {
    wire: Wire<'a>,
    id: u16,
    ns: Ns,
}

impl<'a> Conf<'a> {
    fn read(call: &Call<'a>) -> Result<Self> {
        let wire: Wire<'a> = call.fields()?;
        if wire.master.is_empty() {
            return Err(err!(CONFIG, "\"master\" field is required", "it is the link that carries the VLAN"));
        }
        let id = u16::try_from(wire.vlan_id).ok().filter(|id| *id <= 4094);
        let id = id.ok_or_else(|| err!(CONFIG, "invalid VLAN ID", wire.vlan_id, " (must be between 0 and 4094)"))?;
        let ns = if wire.link_in_container { Ns::Sandbox } else { Ns::Host };
        Ok(Conf { wire, id, ns })
    }
}

impl Plugin for Vlan {
    fn name(&self) -> &'static str {
        "vlan"
    }

    fn keys(&self) -> &'static [Key] {
        config_keys![
            IPAM,
            Key::str("master"),
            Key::int("vlanId", i32::MIN as i64, i32::MAX as i64),
            interface::MTU,
            Key::bool("linkInContainer"),
        ]
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let conf = Conf::read(call)?;
        let parent = Parent::find(session, conf.wire.master, conf.ns)?;
        let request = link::Request {
            kind: LinkKind::Vlan(conf.id),
            mtu: parent.mtu(conf.wire.mtu)?,
            parent: Some(&parent),
            mac: None,
            broadcast_queue: 0,
        };
        link::needs_ipam(call)?;
        let made = link::create(call, session, &request)?;
        let options = Options { dad: Dad::Kernel, announce: true, ..Options::default() };
        link::attach(call, session, &made, result, options)?;
        link::own_dns(call, result)
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let conf = Conf::read(call)?;
        Parent::find(session, conf.wire.master, conf.ns)?;
        let link = link::check(call, session, LinkKind::Vlan(conf.id))?;
        let wanted = conf.wire.mtu;
        if wanted != 0 && i64::from(link.mtu) != wanted {
            return Err(err!(CHANGED, "container interface has another MTU", link.mtu, ", not ", wanted));
        }
        Ok(())
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::del(call, session)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::forward(call, session, Command::Gc)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let conf = Conf::read(call)?;
        Parent::status(session, conf.wire.master, conf.ns)?;
        link::forward(call, session, Command::Status)
    }
}
