//! CHECK of `portmap`.

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::observe::PublishedPort;
use picocni_core::plugin::Call;
use picocni_core::session::Session;

use super::add;
use super::claims::{self, Claim};
use super::conf::Conf;
use super::iptables;
use super::record::Record;
use crate::predecessor::{self, portmap::Expected};

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
    let Some(record) = Record::read(session, &tag, &mut buffer)? else {
        return check_predecessor(&conf, call, session, &wanted.ports);
    };
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

/// Without a record, whoever made the attachment publishes as much as it asks for.
fn check_predecessor(conf: &Conf, call: &Call<'_>, session: &mut Session<'_>, ports: &[PublishedPort]) -> Result<()> {
    for v6 in [false, true] {
        let own = ports.iter().filter(|port| port.to.is_ipv6() == v6).count();
        // From the container's network, and from the host's own loopback address.
        let sources = if !conf.snat {
            0
        } else if v6 || conf.masq_all {
            1
        } else {
            2
        };
        let expected = Expected { v6, ports: own, sources };
        if own > 0 && !predecessor::portmap::is_there(session, &call.owner(), &expected)? {
            return Err(err!(
                CHANGED,
                "port mappings are not recorded",
                call.owner().tag(),
                " has no record, and no rules of the plugins before"
            ));
        }
    }
    Ok(())
}
