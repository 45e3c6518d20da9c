//! `host-local`: gives addresses out of ranges and keeps leases in files.
//!
//! The directory is the reference plugin's, so that a node changes over with
//! live pods: `<dataDir>/<network>/<address>` holds `<container ID>\r\n<ifname>`.

mod allocate;
mod conf;
mod lease;
mod resolv;
#[cfg(test)]
mod tests;

use picocni_core::conf::ValidAttachments;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::json::Key;
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;

use lease::Store;

/// The plugin.
#[derive(Debug)]
pub struct HostLocal;

impl Plugin for HostLocal {
    fn name(&self) -> &'static str {
        "host-local"
    }

    fn keys(&self) -> &'static [Key] {
        conf::KEYS
    }

    fn is_ipam(&self) -> bool {
        true
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        result.clear();
        let mut conf = conf::Conf::new();
        conf.read(call, &mut result.routes)?;
        if let Some(path) = conf.resolv_conf {
            resolv::read(session, path, &mut result.dns)?;
        }
        let store = Store::open(session, conf.data_dir, call.conf.name)?;
        // A failure keeps the lock: the caller undoes under it, then unlocks.
        allocate::allocate(&conf, call, &store, session, result)?;
        session.backend.unlock();
        Ok(())
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let store = Store::open(session, conf::data_dir(call)?, call.conf.name)?;
        let held = store.held_by(session, &call.owner());
        session.backend.unlock();
        if held?.is_empty() {
            return Err(err!(CHANGED, "host-local: Failed to find address added by container", call.env.container_id));
        }
        Ok(())
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let store = Store::open(session, conf::data_dir(call)?, call.conf.name)?;
        let outcome = store.held_by(session, &call.owner()).and_then(|held| store.release(session, &held));
        session.backend.unlock();
        outcome
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let Some(valid) = ValidAttachments::read(call.text)? else { return Ok(()) };
        let store = Store::open(session, conf::data_dir(call)?, call.conf.name)?;
        let outcome = store.release_stale(session, &valid);
        session.backend.unlock();
        outcome
    }

    fn status(&self, call: &Call<'_>, _session: &mut Session<'_>) -> Result<()> {
        conf::Conf::new().read(call, &mut heapless::Vec::new())
    }
}
