//! CHECK of `tuning`: what was set is still set. Attributes that the config
//! does not name are nobody's promise.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::observe::{Link, Ns};
use picocni_core::op::LinkChange;
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::text::Put;

use super::conf::Conf;
use super::sysctl;

pub(super) fn check(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let conf = Conf::read(call)?;
    call.required_prev()?;
    for (key, value) in &conf.sysctls {
        let key = sysctl::path(*key, &call.env.ifname)?;
        let wanted = sysctl::value(*value)?;
        let mut found = heapless::String::new();
        if !session.backend.sysctl(Ns::Sandbox, &key, &mut found)? {
            return Err(err!(CHANGED, "tuned sysctl is missing", key));
        }
        if !sysctl::is_same(&found, &wanted) {
            return Err(err!(
                CHANGED,
                "tuned sysctl has changed",
                key,
                " is \"",
                found,
                "\", configured is \"",
                wanted,
                "\""
            ));
        }
    }
    let ifname = call.env.ifname;
    let link = session
        .backend
        .link(Ns::Sandbox, &ifname)?
        .ok_or_else(|| err!(CHANGED, "container interface is missing", ifname))?;
    check_link(&link, &conf.set)
}

fn check_link(link: &Link, set: &LinkChange<'_>) -> Result<()> {
    same("mac", &link.mac, set.mac.as_ref())?;
    same("promisc", &link.promisc, set.promisc.as_ref())?;
    same("mtu", &link.mtu, set.mtu.as_ref())?;
    same("allmulti", &link.allmulti, set.allmulti.as_ref())?;
    same("txQLen", &link.txqlen, set.txqlen.as_ref())
}

fn same<T: Put + PartialEq>(key: &'static str, found: &T, wanted: Option<&T>) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != found => Err(differs(key, found, wanted)),
        _ => Ok(()),
    }
}

#[cold]
fn differs(key: &'static str, found: &dyn Put, wanted: &dyn Put) -> Error {
    err!(CHANGED, "tuned attribute has changed", key, " is ").with(found).with(&", configured is ").with(wanted)
}
