//! `portmap`: ports of the host lead to ports of the container.
//!
//! A port is published for this host's own addresses only, or for the one in
//! `hostIP`. No two attachments hold the same host port: the second is refused
//! with the name of the first. Attachments of one container do not compete: the
//! port stays where it is, and goes to the next one when the first is deleted.
//! Without mappings nothing is asked of the packet
//! filter, and no file is touched.
//!
//! | part | file |
//! |---|---|
//! | config keys, mappings | `conf` |
//! | who publishes | `backend` |
//! | rules of iptables | `iptables` |
//! | who holds which host port | `claims` |
//! | what DEL needs to know | `record` |
//! | a port goes to who waits for it | `handover` |

mod add;
mod backend;
mod check;
pub(crate) mod claims;
mod conf;
mod del;
mod handover;
mod iptables;
pub(crate) mod record;
#[cfg(test)]
mod tests;

use picocni_core::error::Result;
use picocni_core::json::Key;
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;

/// The plugin.
#[derive(Debug)]
pub struct Portmap;

impl Plugin for Portmap {
    fn name(&self) -> &'static str {
        "portmap"
    }

    fn keys(&self) -> &'static [Key] {
        conf::KEYS
    }

    fn is_chained(&self) -> bool {
        true
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        add::publish_all(call, session)?;
        result.clone_from(call.required_prev()?);
        Ok(())
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        check::check(call, session)
    }

    fn reconcile(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let checked = check::check(call, session);
        session.repair(call, "published ports", checked, |session| add::publish_all(call, session))
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        del::del(call, session)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        del::gc(call, session)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let conf = conf::Conf::read(call)?;
        conf.backend.probe(session)
    }
}
