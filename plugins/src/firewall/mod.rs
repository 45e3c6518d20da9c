//! `firewall`: what pods send is let through, and bridges are kept apart.
//!
//! | `backend` | who lets the pods' traffic through |
//! |---|---|
//! | `nftables` | our own table: sets of the pods' addresses |
//! | `firewalld` | its zone, asked for over D-Bus |
//! | `iptables` | the peer's chains |
//!
//! Without one of these the choice is made here, see `choice`. Isolation
//! (`ingressPolicy`) is our own table's in any case: a drop holds whatever
//! others accept, so no other backend is needed for it.
//!
//! | part | file |
//! |---|---|
//! | config keys | `conf` |
//! | which backend | `choice` |
//! | what DEL needs to know | `record` |
//! | the peer's chains | `iptables` |
//! | bridges kept apart | `isolation` |

mod add;
mod check;
mod choice;
mod conf;
mod del;
mod iptables;
mod isolation;
pub(crate) mod record;
#[cfg(test)]
mod tests;

use picocni_core::error::Result;
use picocni_core::json::Key;
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::version::Version;

/// The plugin.
#[derive(Debug)]
pub struct Firewall;

impl Plugin for Firewall {
    fn name(&self) -> &'static str {
        "firewall"
    }

    fn keys(&self) -> &'static [Key] {
        conf::KEYS
    }

    fn versions(&self) -> &'static [Version] {
        &[Version::V0_4_0, Version::V1_0_0, Version::V1_1_0]
    }

    fn is_chained(&self) -> bool {
        true
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        add::let_through(call, session)?;
        result.clone_from(call.required_prev()?);
        Ok(())
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        check::check(call, session)
    }

    fn reconcile(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let checked = check::check(call, session);
        session.repair(call, "firewall entries", checked, |session| add::let_through(call, session))
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        del::del(call, session)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        del::gc(call, session)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let conf = conf::Conf::read(call)?;
        choice::choose(&conf, session)?;
        isolation::probe(conf.policy, session)
    }
}
