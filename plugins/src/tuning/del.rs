//! DEL and GC of `tuning`.

use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Failures, Result};
use picocni_core::observe::Ns;
use picocni_core::op::{LinkId, Plan, Removal};
use picocni_core::plugin::Call;
use picocni_core::session::Session;

use super::backup::{self, Backup, Found};
use super::{conf, single_attributes};

/// File names looked at in one go by GC.
const SLICE: usize = 16;

type Name = heapless::String<{ backup::FILE_NAME }>;

/// Sets the link back as it was; a link or sandbox that is gone needs nothing.
/// The backup stays until all of it succeeded. Sysctls go with the sandbox.
pub(super) fn del(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let owner = call.owner();
    let Some(path) = backup::path(conf::data_dir(call)?, &owner) else {
        return Ok(());
    };
    match backup::read(session, &path)? {
        Found::Missing => return Ok(()),
        Found::Torn => {}
        Found::Backup(backup) if backup.is_of(&owner) => {
            if session.has_sandbox() {
                restore(&backup, call, session)?;
            }
        }
        Found::Backup(_) => return Ok(()),
    }
    remove_file(session, &path)
}

fn restore(backup: &Backup, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let mut plan = Plan::new();
    for set in single_attributes(&backup.saved) {
        plan.remove(Removal::ResetLink { ns: Ns::Sandbox, link: LinkId::Name(call.env.ifname), set })?;
    }
    session.remove(&plan)
}

fn remove_file(session: &mut Session<'_>, path: &str) -> Result<()> {
    let mut plan = Plan::new();
    plan.remove(Removal::RemoveFile { path })?;
    session.remove(&plan)
}

/// Backups with this network's tag that belong to no valid attachment. Those
/// of the reference plugin carry no tag and stay.
pub(super) fn gc(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let Some(valid) = ValidAttachments::read(call.text)? else {
        return Ok(());
    };
    let dir = conf::data_dir(call)?;
    let mut failures = Failures::new();
    let mut after = Name::new();
    loop {
        let names = names_after(session, dir, &after)?;
        let Some(last) = names.last() else {
            return failures.into_result();
        };
        after.clone_from(last);
        for name in &names {
            failures.note(remove_if_stale(call.conf.name, &valid, dir, name, session));
        }
    }
}

/// The first names of backups that sort after `after`. By order and not by
/// position: what stays is seen once, whatever is removed meanwhile.
fn names_after(session: &mut Session<'_>, dir: &str, after: &str) -> Result<heapless::Vec<Name, SLICE>> {
    let mut first: heapless::Vec<Name, SLICE> = heapless::Vec::new();
    session.backend.list(dir, &mut |name| {
        if name <= after || !name.ends_with(backup::SUFFIX) {
            return;
        }
        let Some(mut held) = picocni_core::text::fits(&[&name]) else {
            return;
        };
        // A sorted insertion: what falls out at the end waits for the next slice.
        for slot in &mut first {
            if held < *slot {
                core::mem::swap(slot, &mut held);
            }
        }
        let _ = first.push(held);
    })?;
    Ok(first)
}

fn remove_if_stale(
    network: &str,
    valid: &ValidAttachments<'_>,
    dir: &str,
    name: &str,
    session: &mut Session<'_>,
) -> Result<()> {
    let Some(path) = backup::path_of(dir, name) else {
        return Ok(());
    };
    let Found::Backup(Backup { tag: Some(tag), .. }) = backup::read(session, &path)? else {
        return Ok(());
    };
    if !tag.is_of_network(network) || valid.keeps(network, &tag) {
        return Ok(());
    }
    remove_file(session, &path)
}
