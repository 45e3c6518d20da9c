//! `policy`: who may connect to a pod, and whom it may connect to, in the words
//! of a Kubernetes NetworkPolicy.
//!
//! A chained plugin that stands behind the one that makes the interface. What it
//! is told to isolate is closed except for what it is told to let through;
//! replies pass. The peer has no such plugin. Where the host could not enforce a
//! policy, ADD fails and STATUS says so: there is none that is not in force.
//!
//! | part | file |
//! |---|---|
//! | config keys | `conf` |
//! | whose packets are judged | `target` |
//! | what DEL needs to know | `record` |

mod conf;
pub(crate) mod record;
mod target;
#[cfg(test)]
mod tests;

use picocni_core::conf::ValidAttachments;
use picocni_core::err;
use picocni_core::error::{Code, Result};
use picocni_core::json::Key;
use picocni_core::op::{Change, Plan, Policy as Enforced};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;

use self::conf::Conf;
use self::target::Target;
use crate::record as records;

/// The plugin.
#[derive(Debug)]
pub struct Policy;

impl Plugin for Policy {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn keys(&self) -> &'static [Key] {
        conf::KEYS
    }

    fn is_chained(&self) -> bool {
        true
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        enforce(call, session)?;
        result.clone_from(call.required_prev()?);
        Ok(())
    }

    /// Every chain and element is as ADD set it, and the host still enforces.
    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let Some(conf) = Conf::read(call.text)? else { return Ok(()) };
        let target =
            target::find(call, session, call.required_prev()?).map_err(|error| error.as_code(Code::CHANGED))?;
        let tag = call.owner().tag();
        if record::read(session, &tag)?.is_none() {
            return Err(err!(CHANGED, "policy is not recorded", tag, " has no record"));
        }
        match session.backend.lacks_policy(&enforced(&conf, &target, tag.as_str()))? {
            None => Ok(()),
            Some(what) => Err(err!(CHANGED, "policy is not in force", what, " differs in the packet filter")),
        }
    }

    fn reconcile(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let checked = self.check(call, session);
        session.repair(call, "network policy", checked, |session| enforce(call, session))
    }

    /// Goes by the record alone.
    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        record::take_back(session, &call.owner().tag())
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let Some(valid) = ValidAttachments::read(call.text)? else { return Ok(()) };
        records::take_back_stale(session, record::DIR, call.conf.name, &valid, &mut record::take_back)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        Conf::read(call.text)?;
        session.backend.probe_filter()?;
        if session.backend.tracks_bridges().map_err(|error| error.as_code(Code::NOT_AVAILABLE))? {
            return Ok(());
        }
        target::bridge_calls(session)
    }
}

/// Sets the policy of the config. An earlier one of the attachment is replaced
/// in one step, unless its addresses are others by now: then it was one of an
/// earlier life.
fn enforce(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let conf = Conf::read(call.text)?;
    let prev = call.required_prev()?;
    let tag = call.owner().tag();
    let found = match &conf {
        Some(_) => Some(target::find(call, session, prev)?),
        None => None,
    };
    let text = found.as_ref().map(record::text);
    let old = record::read(session, &tag)?;
    if old.is_some() && old != text {
        record::take_back(session, &tag)?;
    }
    if let (Some(conf), Some(target), Some(text)) = (&conf, &found, &text) {
        let path = records::path(record::DIR, &tag)?;
        let mut plan = Plan::new();
        if old.as_ref() != Some(text) {
            plan.change(Change::WriteFile { path: &path, content: text.as_bytes() })?;
        }
        plan.change(Change::Enforce { policy: enforced(conf, target, tag.as_str()) })?;
        session.apply(&plan)?;
    }
    Ok(())
}

fn enforced<'a>(conf: &'a Conf, target: &'a Target, tag: &'a str) -> Enforced<'a> {
    Enforced {
        tag,
        addresses: &target.addresses,
        port: target.port,
        ingress: conf.ingress,
        egress: conf.egress,
        lines: &conf.lines,
    }
}
