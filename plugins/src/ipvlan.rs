//! `ipvlan`: the pod is on the host's network with the host's MAC.

use picocni_core::conf::IPAM;
use picocni_core::error::Result;
use picocni_core::json::{Key, Str};
use picocni_core::observe::{IpvlanMode, LinkKind, Ns};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::version::Command;
use picocni_core::{config_keys, err, fields};

use crate::interface::{self, Dad, Options};
use crate::link::{self, Parent};

/// The plugin.
#[derive(Debug)]
pub struct Ipvlan;

#[derive(Debug, Default)]
struct Wire<'a> {
    master: Str<'a>,
    mode: Str<'a>,
    mtu: i64,
    link_in_container: bool,
}

fields!(Wire<'a> { "master" => master, "mode" => mode, "mtu" => mtu, "linkInContainer" => link_in_container });

struct Conf<'a> {
    wire: Wire<'a>,
    mode: IpvlanMode,
    ns: Ns,
}

impl<'a> Conf<'a> {
    fn read(call: &Call<'a>) -> Result<Self> {
        let wire: Wire<'a> = call.fields()?;
        let mode = match wire.mode.plain() {
            Some("" | "l2") => IpvlanMode::L2,
            Some("l3") => IpvlanMode::L3,
            Some("l3s") => IpvlanMode::L3s,
            _ => {
                let seen = wire.mode.canonical();
                return Err(err!(CONFIG, "unknown ipvlan mode", "\"", seen, "\" (l2, l3 or l3s)"));
            }
        };
        let ns = if wire.link_in_container { Ns::Sandbox } else { Ns::Host };
        Ok(Conf { wire, mode, ns })
    }

    /// The master: as configured, else the only interface of prevResult, else
    /// the link of the default route.
    fn parent(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<Parent> {
        let Some(prev) = call.prev.filter(|_| self.wire.master.is_empty()) else {
            return Parent::find(session, self.wire.master, self.ns);
        };
        match prev.interfaces.as_slice() {
            [only] if !only.name.is_empty() => {
                Parent::find(session, Str::from_plain(&only.name).unwrap_or_default(), self.ns)
            }
            all => Err(err!(
                CONFIG,
                "chained master failure. PrevResult lacks a single named interface",
                all.len(),
                " interfaces; set \"master\""
            )),
        }
    }
}

impl Plugin for Ipvlan {
    fn name(&self) -> &'static str {
        "ipvlan"
    }

    fn keys(&self) -> &'static [Key] {
        config_keys![IPAM, Key::str("master"), Key::str("mode"), interface::MTU, Key::bool("linkInContainer"),]
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let conf = Conf::read(call)?;
        let parent = conf.parent(call, session)?;
        let request = link::Request {
            kind: LinkKind::Ipvlan(conf.mode),
            mtu: parent.mtu(conf.wire.mtu)?,
            parent: Some(&parent),
            mac: None,
            broadcast_queue: 0,
        };
        let made = link::create(call, session, &request)?;
        if let Some(prev) = call.prev.filter(|_| !call.conf.has_ipam()) {
            result.clone_from(prev);
        }
        let options = Options { dad: Dad::Kernel, announce: true, ..Options::default() };
        link::attach(call, session, &made, result, options)?;
        link::own_dns(call, result)
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let conf = Conf::read(call)?;
        // prevResult is now this plugin's own result: it does not name the master.
        if !conf.wire.master.is_empty() {
            Parent::find(session, conf.wire.master, conf.ns)?;
        }
        link::check(call, session, LinkKind::Ipvlan(conf.mode)).map(|_| ())
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::del(call, session)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::forward(call, session, Command::Gc)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let conf = Conf::read(call)?;
        // Without a name it may come from the plugin before.
        if !conf.wire.master.is_empty() {
            Parent::status(session, conf.wire.master, conf.ns)?;
        }
        link::forward(call, session, Command::Status)
    }
}
