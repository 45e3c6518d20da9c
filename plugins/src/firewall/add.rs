//! ADD of `firewall`.

use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::observe::FirewallEntry;
use picocni_core::op::{Change, Plan};
use picocni_core::plugin::Call;
use picocni_core::put;
use picocni_core::session::Session;

use super::conf::{Backend, Conf};
use super::record::Record;
use super::{choice, del, iptables, isolation};

/// Everything that can be refused is looked at before the first change.
pub(super) fn let_through(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let conf = Conf::read(call)?;
    let prev = call.required_prev()?;
    let mut record = Record::new(choice::choose(&conf, session)?);
    record.isolation = isolation::wanted(conf.policy, call, prev, session)?;
    if record.backend == Backend::Firewalld {
        put!(&mut record.zone, conf.zone);
    }
    for ip in &prev.ips {
        record.pods.push(ip.address.addr()).map_err(|_| Error::limit("IPS", limits::IPS))?;
    }
    let tag = call.owner().tag();
    // A record may be left of an earlier life of the same attachment.
    del::take_back(session, &tag)?;
    if record.isolation.is_some() {
        // It is given back when the call ends, after a rollback if there is one.
        session.backend.lock(isolation::LOCK)?;
    }
    let path = Record::path(&tag)?;
    let text = record.text()?;
    session.change(Change::WriteFile { path: &path, content: text.as_bytes() })?;
    if let Some(isolation) = &record.isolation {
        isolation::add(session, &tag, isolation)?;
    }
    if record.backend == Backend::Iptables {
        iptables::add(session, conf.admin_chain, &record.pods)?;
    }
    let mut plan = Plan::new();
    for ip in &record.pods {
        match record.backend {
            Backend::Nftables => plan.change(Change::Enter { entry: FirewallEntry::Pod(*ip), tag: tag.as_str() })?,
            Backend::Firewalld => plan.change(Change::BindSource { zone: &record.zone, ip: *ip })?,
            // Made together, above.
            Backend::Iptables => {}
        }
    }
    session.apply(&plan)
}
