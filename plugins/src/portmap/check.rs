//! CHECK of `portmap`.

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::plugin::Call;
use picocni_core::session::Session;

use super::add;
use super::claims::{self, Claim};
use super::conf::Conf;
use super::iptables;
use super::record::Record;

/// Every port of the config is recorded, claimed by this attachment, and
/// published for it; source translation is recorded as configured. A port that
/// another attachment of the container holds is only recorded.
pub(super) fn check(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let conf = Conf::read(call)?;
    let wanted = add::wanted(&conf, call, call.required_prev()?)?;
    if wanted.ports.is_empty() {
        return Ok(());
    }
    let tag = call.owner().tag();
    let mut buffer = [0u8; limits::STATE_FILE];
    let record = Record::read(session, &tag, &mut buffer)?
        .ok_or_else(|| err!(CHANGED, "port mappings are not recorded", tag, " has no record"))?;
    for (v6, chain) in record.chains() {
        iptables::check(&conf, session, &wanted, chain, v6)?;
    }
    let native = record.chains().next().is_none();
    for port in &wanted.ports {
        if !record.ports().any(|recorded| recorded == *port) {
            return Err(err!(CHANGED, "port is not recorded", *port));
        }
        if !Claim::of(port).is_held_by(session, &tag)? {
            if record.waiting().any(|waiting| waiting == *port) && claims::is_blocked(session, port, &tag)? {
                continue;
            }
            return Err(err!(CHANGED, "port is not claimed", *port, " is not held by ", tag));
        }
        if !native {
            continue;
        }
        if !session.backend.is_published(port, tag.as_str())? {
            return Err(err!(CHANGED, "port is not published", *port, " is missing in the packet filter"));
        }
        let translated = record.sources().any(|source| source.to == port.to && source.all == conf.masq_all);
        if conf.snat && !translated {
            return Err(err!(CHANGED, "source translation is not recorded", port.to));
        }
    }
    Ok(())
}
