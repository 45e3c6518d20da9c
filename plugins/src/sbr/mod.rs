//! `sbr`: packets leave by the interface of their source address. Each address
//! has a rule and a table; the link's routes move there from the main table.

mod add;
mod check;
mod conf;
mod del;
mod record;
mod routes;
#[cfg(test)]
mod tests;

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::json::Key;
use picocni_core::observe::Ns;
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;

/// The plugin.
#[derive(Debug)]
pub struct Sbr;

impl Plugin for Sbr {
    fn name(&self) -> &'static str {
        "sbr"
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

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        conf::Conf::read(call)?;
        session.backend.rules(Ns::Host, &mut |_| {}).map_err(|error| {
            err!(NOT_AVAILABLE, "kernel has no policy routing", error, "; needs CONFIG_IP_MULTIPLE_TABLES")
        })
    }
}
