//! `macvlan`: the pod is a station of its own on the host's network.

use picocni_core::conf::IPAM;
use picocni_core::error::Result;
use picocni_core::json::{Key, Str};
use picocni_core::name::Mac;
use picocni_core::observe::{LinkKind, MacvlanMode, Ns};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::version::Command;
use picocni_core::{config_keys, err, fields};

use crate::interface::{self, Dad, Options};
use crate::link::{self, Parent};
use crate::mac::{self, MacConf};

/// The plugin.
#[derive(Debug)]
pub struct Macvlan;

#[derive(Debug, Default)]
struct Wire<'a> {
    master: Str<'a>,
    mode: Str<'a>,
    mtu: i64,
    mac: Str<'a>,
    link_in_container: bool,
    bcqueuelen: i64,
    runtime_config: MacConf<'a>,
}

fields!(Wire<'a> {
    "master" => master,
    "mode" => mode,
    "mtu" => mtu,
    "mac" => mac,
    "linkInContainer" => link_in_container,
    "bcqueuelen" => bcqueuelen,
    "runtimeConfig" => runtime_config,
});

/// The configuration, checked as far as the host is not needed.
struct Conf<'a> {
    wire: Wire<'a>,
    mode: MacvlanMode,
    mac: Option<Mac>,
    ns: Ns,
}

impl<'a> Conf<'a> {
    fn read(call: &Call<'a>) -> Result<Self> {
        let wire: Wire<'a> = call.fields()?;
        let mode = match wire.mode.plain() {
            Some("" | "bridge") => MacvlanMode::Bridge,
            Some("private") => MacvlanMode::Private,
            Some("vepa") => MacvlanMode::Vepa,
            Some("passthru") => MacvlanMode::Passthru,
            _ => {
                let seen = wire.mode.canonical();
                return Err(err!(CONFIG, "unknown macvlan mode", "\"", seen, "\" (bridge, private, vepa or passthru)"));
            }
        };
        let mac = mac::requested(call, &[wire.runtime_config.mac], wire.mac)?;
        let ns = if wire.link_in_container { Ns::Sandbox } else { Ns::Host };
        Ok(Conf { wire, mode, mac, ns })
    }
}

impl Plugin for Macvlan {
    fn name(&self) -> &'static str {
        "macvlan"
    }

    fn keys(&self) -> &'static [Key] {
        config_keys![
            IPAM,
            Key::str("master"),
            Key::str("mode"),
            interface::MTU,
            Key::str("mac"),
            Key::bool("linkInContainer"),
            Key::int("bcqueuelen", 0, u32::MAX as i64),
            mac::RUNTIME_CONFIG,
        ]
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let conf = Conf::read(call)?;
        let parent = Parent::find(session, conf.wire.master, conf.ns)?;
        let request = link::Request {
            kind: LinkKind::Macvlan(conf.mode),
            mtu: parent.mtu(conf.wire.mtu)?,
            parent: Some(&parent),
            // One that has the parent for itself has the parent's address.
            mac: conf.mac.or_else(|| (conf.mode != MacvlanMode::Passthru).then(|| link::derived_mac(call, session))),
            broadcast_queue: u32::try_from(conf.wire.bcqueuelen).unwrap_or(0),
        };
        let made = link::create(call, session, &request)?;
        let options = Options { dad: Dad::Kernel, announce: true, ..Options::default() };
        link::attach(call, session, &made, result, options)?;
        link::own_dns(call, result)
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let conf = Conf::read(call)?;
        Parent::find(session, conf.wire.master, conf.ns)?;
        link::check(call, session, LinkKind::Macvlan(conf.mode)).map(|_| ())
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
