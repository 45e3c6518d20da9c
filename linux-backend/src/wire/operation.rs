//! Changes and removals as rtnetlink messages: which socket carries one, its
//! bytes, its inverse, and which refusals mean that it is done already.

use core::net::IpAddr;

use picocni_core::error::Error;
use picocni_core::name::{IfIndex, Mac};
use picocni_core::net::{Cidr, Family};
use picocni_core::observe::{self, IpvlanMode, MacvlanMode, Ns, Route};
use picocni_core::op::{Change, LinkChange, LinkId, Removal, Undo};

use super::addr::{DelAddr, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, NewAddr};
use super::bridge_vlan::{self, Range};
use super::link::{
    BridgePort, DelLink, IFF_ALLMULTI, IFF_PROMISC, IFF_UP, LinkKind, NewLink, SetLink, Target, VethPeer,
};
use super::neigh::NeighKey;
use super::nlmsg::{Batch, Mode};
use super::route::{DelRoute, NewRoute, RT_TABLE_MAIN, RTNH_F_ONLINK, RTPROT_BOOT};
use super::rule::SourceRule;
use super::tc;

const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const EADDRNOTAVAIL: i32 = 99;
const ENETUNREACH: i32 = 101;
const EHOSTUNREACH: i32 = 113;

/// The namespace whose socket carries a change; `None` if it is not a single
/// rtnetlink message that can be sent without looking first.
pub(crate) fn socket_of(change: &Change<'_>) -> Option<Ns> {
    match change {
        Change::CreateVeth { .. } | Change::CreateIfb { .. } => Some(Ns::Host),
        Change::CreateLink { from, .. } => Some(*from),
        Change::ClearPortVlans { .. } | Change::AddPortVlans { .. } | Change::TakeAddress { .. } => Some(Ns::Host),
        Change::SetLink { ns, undo: Undo::WithLink, .. }
        | Change::AddAddress { ns, .. }
        | Change::AddRoute { ns, .. }
        | Change::TakeRoute { ns, .. }
        | Change::AddRule { ns, .. } => Some(*ns),
        Change::Announce { .. } => Some(Ns::Sandbox),
        _ => None,
    }
}

/// As [`socket_of`], for removals.
pub(crate) fn socket_of_removal(removal: &Removal<'_>) -> Option<Ns> {
    match removal {
        Removal::DeleteLink { ns, .. }
        | Removal::ResetLink { ns, .. }
        | Removal::DeleteAddress { ns, .. }
        | Removal::DeleteRoute { ns, .. }
        | Removal::RestoreRoute { ns, .. }
        | Removal::DeleteRule { ns, .. } => Some(*ns),
        Removal::DeleteNeighbour { .. } | Removal::Unshape { .. } | Removal::ReleaseIngress { .. } => Some(Ns::Host),
        _ => None,
    }
}

/// Writes a change of [`socket_of`]; `sandbox` is the open namespace's descriptor.
pub(crate) fn emit(change: &Change<'_>, sandbox: Option<u32>, batch: &mut Batch<'_>, seq: u32) {
    match *change {
        Change::CreateVeth { host, host_mac, peer, peer_mac, mtu, master } => {
            let mtu = (mtu > 0).then_some(mtu);
            let peer = VethPeer { name: peer.as_str(), mac: Some(peer_mac.0), mtu, netns_fd: sandbox };
            let mut link = NewLink::new(host.as_str(), LinkKind::Veth { peer });
            link.mac = Some(host_mac.0);
            link.mtu = mtu;
            link.master = master.map(|index| index.0);
            link.emit(batch, seq);
        }
        Change::CreateLink { from, name, kind, parent, mac, mtu, broadcast_queue } => {
            let mut link = NewLink::new(name.as_str(), new_kind(kind, broadcast_queue));
            link.mac = mac.map(|mac| mac.0);
            link.mtu = positive(mtu);
            link.link = parent.map(|index| index.0);
            link.netns_fd = sandbox.filter(|_| from == Ns::Host);
            link.emit(batch, seq);
        }
        Change::CreateIfb { name, mac, mtu } => {
            let link = NewLink::new(name.as_str(), LinkKind::Ifb);
            NewLink { mac: Some(mac.0), mtu: Some(mtu), txqlen: Some(0), ..link }.emit(batch, seq);
        }
        Change::TakeAddress { index, cidr, .. } => {
            DelAddr { index: index.0, address: cidr.addr(), prefix: cidr.prefix() }.emit(batch, seq);
        }
        Change::ClearPortVlans { port } => {
            let every = Range { first: 1, last: 4094, untagged: false };
            bridge_vlan::del(batch, seq, port.0, core::iter::once(every));
        }
        Change::AddPortVlans { port, vlans } => {
            let ranges = vlans.iter().map(|r| Range { first: r.first, last: r.last, untagged: r.untagged });
            bridge_vlan::add(batch, seq, port.0, ranges);
        }
        Change::SetLink { link, set, .. } => set_link(&link, &set, batch, seq),
        Change::AddAddress { index, cidr, dad, prefix_route, .. } => {
            add_address(index, cidr, dad, prefix_route, batch, seq);
        }
        Change::AddRoute { index, route, .. } => add_route(index, &route, batch, seq),
        Change::TakeRoute { index, route, .. } => {
            let exact =
                DelRoute { prefsrc: route.src, protocol: route.protocol.unwrap_or(0), ..del_route(index, &route) };
            exact.emit(batch, seq);
        }
        Change::AddRule { src, table, .. } => source_rule(src, table, None).emit_new(batch, Mode::Exclusive, seq),
        // The kernel announces a link's addresses when it is given a MAC (with
        // arp_notify and ndisc_notify set), also the one that it has.
        Change::Announce { index, mac } => announce(index, mac, batch, seq),
        _ => {}
    }
}

/// How the kernel is told of a kind that plans make with one end.
fn new_kind(kind: observe::LinkKind, broadcast_queue: u32) -> LinkKind<'static> {
    match kind {
        observe::LinkKind::Macvlan(mode) => {
            let mode = match mode {
                MacvlanMode::Private => 1,
                MacvlanMode::Vepa => 2,
                MacvlanMode::Bridge => 4,
                MacvlanMode::Passthru => 8,
            };
            LinkKind::Macvlan { mode, broadcast_queue: positive(broadcast_queue) }
        }
        observe::LinkKind::Ipvlan(mode) => LinkKind::Ipvlan {
            mode: match mode {
                IpvlanMode::L2 => 0,
                IpvlanMode::L3 => 1,
                IpvlanMode::L3s => 2,
            },
        },
        observe::LinkKind::Vlan(id) => LinkKind::Vlan { id },
        observe::LinkKind::Vrf(table) => LinkKind::Vrf { table },
        _ => LinkKind::Dummy,
    }
}

fn announce(index: IfIndex, mac: Mac, batch: &mut Batch<'_>, seq: u32) {
    let mut request = SetLink::new(Target::Index(index.0));
    request.mac = Some(mac.0);
    request.emit(batch, seq);
}

/// Writes `set` for one link.
pub(crate) fn set_link(link: &LinkId, set: &LinkChange<'_>, batch: &mut Batch<'_>, seq: u32) {
    let target = match link {
        LinkId::Name(name) => Target::Name(name.as_str()),
        LinkId::Index(index) => Target::Index(index.0),
    };
    let mut request = SetLink::new(target);
    for (bit, on) in [(IFF_UP, set.up), (IFF_PROMISC, set.promisc), (IFF_ALLMULTI, set.allmulti)] {
        if let Some(on) = on {
            request = request.flag(bit, on);
        }
    }
    request.mac = set.mac.map(|mac| mac.0);
    request.mtu = set.mtu;
    request.txqlen = set.txqlen;
    request.alias = set.alias;
    request.master = set.master.map(|index| index.0);
    if set.hairpin.is_some() || set.isolated.is_some() {
        request.port = Some(BridgePort { hairpin: set.hairpin, isolated: set.isolated });
    }
    request.arp_notify = set.arp_notify;
    request.emit(batch, seq);
}

/// Writes an address; IPv6 waits for duplicate address detection only if asked.
pub(crate) fn add_address(index: IfIndex, cidr: Cidr, dad: bool, prefix_route: bool, batch: &mut Batch<'_>, seq: u32) {
    let detect = if cidr.is_v6() && !dad { IFA_F_NODAD } else { 0 };
    let flags = if prefix_route { detect } else { detect | IFA_F_NOPREFIXROUTE };
    NewAddr { index: index.0, address: cidr.addr(), prefix: cidr.prefix(), flags, scope: 0 }.emit(
        batch,
        Mode::Exclusive,
        seq,
    );
}

fn table(route: &Route) -> u32 {
    route.table.filter(|table| *table != 0).unwrap_or(RT_TABLE_MAIN)
}

fn positive(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

fn add_route(index: IfIndex, route: &Route, batch: &mut Batch<'_>, seq: u32) {
    // The kernel refuses host bits in a destination.
    let dst = route.dst.network();
    let mut request = NewRoute::new(dst.addr(), dst.prefix());
    request.gateway = route.gw;
    request.oif = Some(index.0);
    request.priority = positive(route.priority);
    request.table = table(route);
    request.scope = route.scope.unwrap_or(0);
    request.mtu = positive(route.mtu);
    request.advmss = positive(route.advmss);
    request.prefsrc = route.src;
    request.protocol = route.protocol.unwrap_or(RTPROT_BOOT);
    request.flags = if route.onlink { RTNH_F_ONLINK } else { 0 };
    // Not exclusive: one destination through several gateways is ECMP.
    request.emit(batch, if dst.is_v6() { Mode::Append } else { Mode::Create }, seq);
}

/// Writes a removal of [`socket_of_removal`].
pub(crate) fn emit_removal(removal: &Removal<'_>, batch: &mut Batch<'_>, seq: u32) {
    match *removal {
        Removal::DeleteLink { name, .. } => DelLink::Name(name.as_str()).emit(batch, seq),
        Removal::ResetLink { link, set, .. } => set_link(&link, &set, batch, seq),
        Removal::DeleteAddress { index, cidr, .. } => {
            DelAddr { index: index.0, address: cidr.addr(), prefix: cidr.prefix() }.emit(batch, seq);
        }
        Removal::DeleteRoute { index, route, .. } => del_route(index, &route).emit(batch, seq),
        Removal::RestoreRoute { index, route, .. } => add_route(index, &route, batch, seq),
        Removal::DeleteRule { src, table, priority, .. } => source_rule(src, table, priority).emit_del(batch, seq),
        Removal::Unshape { link } => tc::delete(batch, seq, link.0, tc::BUCKET_HANDLE, tc::ROOT),
        Removal::ReleaseIngress { link } => tc::delete(batch, seq, link.0, tc::INGRESS_HANDLE, tc::INGRESS),
        Removal::DeleteNeighbour { index, ip } => delete_neighbour(index, ip, batch, seq),
        _ => {}
    }
}

fn del_route(index: IfIndex, route: &Route) -> DelRoute {
    let dst = route.dst.network();
    DelRoute {
        table: table(route),
        gateway: route.gw,
        oif: Some(index.0),
        priority: positive(route.priority),
        ..DelRoute::new(dst.addr(), dst.prefix())
    }
}

fn source_rule(src: IpAddr, table: u32, priority: Option<u32>) -> SourceRule {
    SourceRule { src, prefix: Family::of(src).bits(), table, priority }
}

fn delete_neighbour(index: IfIndex, ip: IpAddr, batch: &mut Batch<'_>, seq: u32) {
    NeighKey { index: index.0, dst: ip }.emit_del(batch, seq);
}

/// Whether a refusal means that it is done already.
pub(crate) fn is_gone(removal: &Removal<'_>, errno: i32) -> bool {
    let absent: &[i32] = match removal {
        Removal::DeleteLink { .. } | Removal::ResetLink { .. } => &[ENODEV],
        Removal::DeleteAddress { .. } => &[ENODEV, EADDRNOTAVAIL],
        Removal::DeleteRoute { .. } => &[ENODEV, ESRCH],
        // There already, or without its link, its source address or the network of its next hop.
        Removal::RestoreRoute { .. } => &[ENODEV, EEXIST, EINVAL, ENETUNREACH, EHOSTUNREACH],
        Removal::DeleteRule { .. } => &[ENOENT],
        Removal::DeleteNeighbour { .. } | Removal::ReleaseIngress { .. } => &[ENODEV, ENOENT],
        // The root has another handle: that of the kernel's own, or of somebody else's.
        Removal::Unshape { .. } => &[ENODEV, ENOENT, EINVAL],
        _ => &[],
    };
    absent.contains(&errno)
}

/// The inverse of an applied change of [`socket_of`].
pub(crate) fn inverse(change: &Change<'_>) -> Option<Removal<'static>> {
    match *change {
        Change::CreateIfb { name, .. } => Some(Removal::DeleteLink { ns: Ns::Host, name }),
        Change::CreateVeth { host, .. } => Some(Removal::DeleteLink { ns: Ns::Host, name: host }),
        Change::TakeAddress { name, cidr, .. } => Some(Removal::RestoreAddress { name, cidr }),
        Change::CreateLink { name, .. } => Some(Removal::DeleteLink { ns: Ns::Sandbox, name }),
        Change::AddAddress { ns, index, cidr, .. } => Some(Removal::DeleteAddress { ns, index, cidr }),
        Change::AddRoute { ns, index, route } => Some(Removal::DeleteRoute { ns, index, route }),
        Change::TakeRoute { ns, index, route } => Some(Removal::RestoreRoute { ns, index, route }),
        Change::AddRule { ns, src, table } => Some(Removal::DeleteRule { ns, src, table, priority: None }),
        _ => None,
    }
}

/// A change that was not tried because an earlier one failed.
pub(crate) fn not_applied() -> Error {
    picocni_core::err!(INTERNAL, "not applied", "an earlier step failed")
}
