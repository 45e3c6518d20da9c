//! What pods share: bridges, and the host's end on one of a bridge's VLANs.
//! Made if missing, and left as it is if not.

use picocni_core::backend::Backend;
use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName};
use picocni_core::observe::Ns;
use picocni_core::op::{Change, LinkChange, LinkId};
use picocni_core::put;

use crate::apply::{EEXIST, refused, request};
use crate::host::Linux;
use crate::sysctl;
use crate::wire::bridge_vlan::{self, Range};
use crate::wire::link::{LinkKind, NewLink, VethPeer};
use crate::wire::nlmsg::Batch;
use crate::wire::operation;

/// Alias of links that we made for all pods.
const ALIAS: &str = "picocni:bridge";

fn refuse_ipv6(linux: &mut Linux<'_>, name: &IfName, settings: &[&str]) -> Result<()> {
    linux.be_in(Ns::Host)?;
    for setting in settings {
        let mut key = heapless::String::<{ limits::SYSCTL_KEY }>::new();
        put!(&mut key, "net/ipv6/conf/", *name, "/", *setting);
        let _ = sysctl::write(&key, "0");
    }
    Ok(())
}

fn set(linux: &mut Linux<'_>, change: &Change<'_>, name: IfName, set: &LinkChange<'_>) -> Result<()> {
    let id = LinkId::Name(name);
    request(linux, Ns::Host, &|batch, seq| operation::set_link(&id, set, batch, seq))
        .map_err(|refusal| refused(change, &refusal))
}

/// Created down, so that router advertisements are refused before they can come.
pub(crate) fn ensure_bridge(linux: &mut Linux<'_>, change: &Change<'_>) -> Result<()> {
    let Change::EnsureBridge { name, mac, mtu, promisc, vlan_filtering } = *change else { return Ok(()) };
    let kind = LinkKind::Bridge { vlan_filtering: vlan_filtering.then_some(true) };
    let link = NewLink { mac: Some(mac.0), mtu: (mtu > 0).then_some(mtu), ..NewLink::new(name.as_str(), kind) };
    let made = match request(linux, Ns::Host, &|batch, seq| link.emit(batch, seq)) {
        Ok(()) => true,
        Err(refusal) if refusal.errno == EEXIST => false,
        Err(refusal) => return Err(refused(change, &refusal)),
    };
    // A bridge of ours has a MAC that nobody else has: without duplicate address
    // detection its link-local address serves the first pod at once.
    refuse_ipv6(linux, &name, if made { &["accept_ra", "accept_dad"] } else { &["accept_ra"] })?;
    let up = LinkChange {
        up: Some(true),
        promisc: promisc.then_some(true),
        alias: made.then_some(ALIAS),
        ..LinkChange::NONE
    };
    set(linux, change, name, &up)
}

/// The pair is made whole before it is up; whoever finds it made leaves it alone.
pub(crate) fn ensure_vlan_port(linux: &mut Linux<'_>, change: &Change<'_>) -> Result<()> {
    let Change::EnsureVlanPort { bridge, name, port, mac, port_mac, mtu, vlan, keep_default } = *change else {
        return Ok(());
    };
    let mtu = Some(mtu).filter(|mtu| *mtu > 0);
    let peer = VethPeer { name: name.as_str(), mac: Some(mac.0), mtu, netns_fd: None };
    let link = NewLink {
        mac: Some(port_mac.0),
        mtu,
        master: Some(bridge.0),
        ..NewLink::new(port.as_str(), LinkKind::Veth { peer })
    };
    match request(linux, Ns::Host, &|batch, seq| link.emit(batch, seq)) {
        Err(refusal) if refusal.errno == EEXIST => return Ok(()),
        outcome => outcome.map_err(|refusal| refused(change, &refusal))?,
    }
    let index = linux.link(Ns::Host, &port)?.map_or(IfIndex(0), |link| link.index).0;
    let every = Range { first: 1, last: 4094, untagged: false };
    let own = Range { first: vlan, last: vlan, untagged: true };
    type Emit = fn(&mut Batch<'_>, u32, u32, core::iter::Once<Range>);
    let steps: [(Emit, Range); 2] = [(bridge_vlan::del, every), (bridge_vlan::add, own)];
    for (emit, range) in steps.into_iter().skip(usize::from(keep_default)) {
        request(linux, Ns::Host, &|batch, seq| emit(batch, seq, index, core::iter::once(range)))
            .map_err(|refusal| refused(change, &refusal))?;
    }
    for end in [name, port] {
        refuse_ipv6(linux, &end, &["accept_ra", "accept_dad"])?;
        set(linux, change, end, &LinkChange { up: Some(true), alias: Some(ALIAS), ..LinkChange::NONE })?;
    }
    Ok(())
}
