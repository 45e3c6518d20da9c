//! CHECK of `firewall`.

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::observe::FirewallEntry;
use picocni_core::plugin::Call;
use picocni_core::session::Session;

use super::conf::{Backend, Conf};
use super::record::{Isolation, Record};
use super::{iptables, isolation};

/// Without a record, whoever made the attachment let its addresses through by
/// firewalld or by iptables.
fn check_predecessor(conf: &Conf<'_>, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let mut pods = heapless::Vec::<_, { limits::IPS }>::new();
    let mut bound = session.backend.has_firewalld()?;
    for ip in &call.required_prev()?.ips {
        let _ = pods.push(ip.address.addr());
        bound = bound && session.backend.is_bound(conf.zone, ip.address.addr())?;
    }
    if bound || iptables::check(session, conf.admin_chain, &pods).is_ok() {
        return Ok(());
    }
    Err(err!(
        CHANGED,
        "firewall entries are not recorded",
        call.owner().tag(),
        " has no record, and no rules of the plugins before"
    ))
}

/// Every address of prevResult is let through as ADD recorded it, and the bridge is kept apart as configured.
pub(super) fn check(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let conf = Conf::read(call)?;
    let prev = call.required_prev()?;
    let tag = call.owner().tag();
    let Some(record) = Record::read(session, &tag)? else {
        return check_predecessor(&conf, call, session);
    };
    if conf.backend.is_some_and(|backend| backend != record.backend) {
        return Err(err!(CHANGED, "another backend was used", "ADD used ", record.backend.as_str()));
    }
    for ip in &prev.ips {
        let ip = ip.address.addr();
        let passes = match record.backend {
            Backend::Nftables => session.backend.is_entered(&FirewallEntry::Pod(ip), tag.as_str())?,
            Backend::Firewalld => session.backend.is_bound(&record.zone, ip)?,
            // All of them at once, below.
            Backend::Iptables => true,
        };
        if !passes || !record.pods.contains(&ip) {
            return Err(err!(CHANGED, "address is not let through", ip, " is missing in ", record.backend.as_str()));
        }
    }
    if record.backend == Backend::Iptables {
        iptables::check(session, conf.admin_chain, &record.pods)?;
    }
    if !Isolation::is(record.isolation.as_ref(), conf.policy) {
        return Err(err!(CHANGED, "isolation is not as configured", "ADD had another \"ingressPolicy\""));
    }
    record.isolation.as_ref().map_or(Ok(()), |isolation| isolation::check(session, &tag, isolation))
}
