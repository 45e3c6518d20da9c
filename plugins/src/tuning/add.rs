//! ADD of `tuning`.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::observe::{Link, Ns};
use picocni_core::op::{Change, LinkId, OnFailure, Plan, Removal, Undo};
use picocni_core::plugin::Call;
use picocni_core::put;
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::version::Version;

use super::backup::{self, Found};
use super::conf::Conf;
use super::{single_attributes, sysctl};

/// Everything that can be refused is looked at before the first change.
pub(super) fn add(call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
    let conf = Conf::read(call)?;
    sysctl::check_allowed(&conf.sysctls, session)?;
    let prev = call.required_prev()?;
    for (key, value) in &conf.sysctls {
        sysctl::path(*key, &call.env.ifname)?;
        sysctl::value(*value)?;
    }
    let link = if conf.changes_link() { Some(container_link(call, session)?) } else { None };
    write_sysctls(&conf, call, session)?;
    if let Some(link) = &link {
        set_link(&conf, link, call, session)?;
    }
    result.clone_from(prev);
    report(&conf, call, result);
    Ok(())
}

fn container_link(call: &Call<'_>, session: &mut Session<'_>) -> Result<Link> {
    let ifname = call.env.ifname;
    session
        .backend
        .link(Ns::Sandbox, &ifname)?
        .ok_or_else(|| err!(KERNEL, "container interface is missing", ifname, " is not in ", call.env.netns))
}

fn write_sysctls(conf: &Conf<'_>, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    for (key, value) in &conf.sysctls {
        let key = sysctl::path(*key, &call.env.ifname)?;
        let value = sysctl::value(*value)?;
        let mut plan = Plan::new();
        plan.change(Change::WriteSysctl {
            ns: Ns::Sandbox,
            key: &key,
            value: &value,
            undo: Undo::Restore,
            on_failure: OnFailure::Fail,
        })?;
        session.apply(&plan)?;
    }
    Ok(())
}

/// The backup is there before the first attribute is changed.
fn set_link(conf: &Conf<'_>, link: &Link, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let owner = call.owner();
    let path = backup::path(conf.data_dir, &owner).ok_or_else(|| Error::limit("PATH", limits::PATH))?;
    let mut content = [0u8; backup::FILE];
    let mut plan = Plan::new();
    if needs_backup(&path, call, session)? {
        let length = backup::write(link, &conf.set, &owner.tag(), &mut content)?;
        let content = content.get(..length).unwrap_or_default();
        plan.change(Change::WriteFile { path: &path, content })?;
    }
    for set in single_attributes(&conf.set) {
        plan.change(Change::SetLink { ns: Ns::Sandbox, link: LinkId::Index(link.index), set, undo: Undo::Restore })?;
    }
    session.apply(&plan)
}

/// A backup that this attachment has already holds the true originals: an ADD
/// that is repeated would only save what the first one set.
fn needs_backup(path: &str, call: &Call<'_>, session: &mut Session<'_>) -> Result<bool> {
    match backup::read(session, path)? {
        Found::Missing => Ok(true),
        Found::Backup(backup) if backup.is_of(&call.owner()) => Ok(false),
        Found::Backup(_) => Err(err!(
            CONFLICT,
            "backup belongs to another attachment",
            path,
            " (DEL of that attachment removes it; or set another \"dataDir\")"
        )),
        Found::Torn => {
            let mut plan = Plan::new();
            plan.remove(Removal::RemoveFile { path })?;
            session.remove(&plan).map(|()| true)
        }
    }
}

/// The address as it was configured goes to every interface of that name, as
/// the reference plugin has it; the MTU, which only spec 1.1.0 reports, to the
/// container's.
fn report(conf: &Conf<'_>, call: &Call<'_>, result: &mut AddResult) {
    for interface in result.interfaces.iter_mut().filter(|i| i.name == call.env.ifname.as_str()) {
        if !conf.mac_text.is_empty() {
            interface.mac.clear();
            put!(&mut interface.mac, conf.mac_text);
        }
        if let Some(mtu) = conf.set.mtu
            && call.version >= Version::V1_1_0
            && interface.sandbox == call.env.netns
        {
            interface.mtu = mtu;
        }
    }
}
