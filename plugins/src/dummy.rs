//! `dummy`: an interface without a cable, for addresses that a pod only has.

use picocni_core::conf::IPAM;
use picocni_core::config_keys;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::json::Key;
use picocni_core::observe::LinkKind;
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::version::Command;

use crate::interface::Options;
use crate::link;

/// The plugin.
#[derive(Debug)]
pub struct Dummy;

impl Plugin for Dummy {
    fn name(&self) -> &'static str {
        "dummy"
    }

    fn keys(&self) -> &'static [Key] {
        config_keys![IPAM]
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        link::needs_ipam(call)?;
        let mac = Some(link::derived_mac(call, session));
        let request = link::Request { kind: LinkKind::Dummy, parent: None, mac, mtu: 0, broadcast_queue: 0 };
        let made = link::create(call, session, &request)?;
        link::attach(call, session, &made, result, Options::default())
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::needs_ipam(call)?;
        let link = link::check(call, session, LinkKind::Dummy)?;
        if link.up { Ok(()) } else { Err(err!(CHANGED, "container interface is down", link.name)) }
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::del(call, session)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::forward(call, session, Command::Gc)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::needs_ipam(call)?;
        link::forward(call, session, Command::Status)
    }
}
