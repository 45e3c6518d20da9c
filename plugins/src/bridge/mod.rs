//! `bridge`: a veth pair between the sandbox and a bridge of the host.

mod add;
mod check;
mod conf;
mod del;
pub(crate) mod macspoof;
#[cfg(test)]
mod tests;
mod vlan;

use picocni_core::error::Result;
use picocni_core::json::Key;
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::version::Command;

/// The plugin.
#[derive(Debug)]
pub struct Bridge;

impl Plugin for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn keys(&self) -> &'static [Key] {
        conf::KEYS
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        add::add(call, session, result)
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        check::check(call, session)
    }

    fn reconcile(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        check::reconcile(call, session)
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        del::del(call, session)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        del::gc(call, session)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        crate::masquerade::status(call, session)?;
        crate::link::forward(call, session, Command::Status)
    }
}
