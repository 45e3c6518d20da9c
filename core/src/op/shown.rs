//! Operations as people read them: a verb for logs, and a line of a plan.

use super::{Change, Removal};
use crate::put;
use crate::text::{Put, Sink};

impl Change<'_> {
    /// Short name for logs.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Change::EnsureBridge { .. } => "ensure bridge",
            Change::EnsureAddress { .. } => "ensure address",
            Change::EnsureSysctl { .. } => "ensure sysctl",
            Change::CreateVeth { .. } => "create veth",
            Change::EnsureVlanPort { .. } => "ensure VLAN port",
            Change::ClearPortVlans { .. } => "clear port VLANs",
            Change::AddPortVlans { .. } => "add port VLANs",
            Change::GuardSource { .. } => "guard source",
            Change::CreateIfb { .. } => "create ifb",
            Change::Shape { .. } => "shape",
            Change::RedirectIngress { .. } => "redirect ingress",
            Change::MoveLink { .. } => "move link",
            Change::TakeAddress { .. } => "take address",
            Change::CreateLink { .. } => "create link",
            Change::CreateTap { .. } => "create tap",
            Change::RenameLink { .. } => "rename link",
            Change::SetLink { .. } => "set link",
            Change::AddAddress { .. } => "add address",
            Change::AddRoute { .. } => "add route",
            Change::TakeRoute { .. } => "take route",
            Change::AddRule { .. } => "add rule",
            Change::WriteSysctl { .. } => "write sysctl",
            Change::AwaitForwarding { .. } => "await forwarding",
            Change::AwaitAddresses { .. } => "await addresses",
            Change::Announce { .. } => "announce",
            Change::ReserveLease { .. } => "reserve lease",
            Change::NoteLastLease { .. } => "note last lease",
            Change::WriteFile { .. } => "write file",
            Change::Claim { .. } => "claim port",
            Change::Publish { .. } => "publish port",
            Change::PublishSource { .. } => "translate source",
            Change::Masquerade { .. } => "masquerade",
            Change::EnsureChain { .. } => "ensure chain",
            Change::AppendRule { .. } => "append rule",
            Change::Enforce { .. } => "enforce policy",
            Change::BindSource { .. } => "bind to zone",
            Change::Enter { .. } => "enter in firewall",
            Change::EnsureIptables { .. } => "ensure iptables chains",
            Change::Iptables { .. } => "make iptables chain",
            Change::IptablesRules { .. } => "add iptables rules",
        }
    }
}

impl Put for Change<'_> {
    /// One line of a plan, without the verb of [`Change::verb`].
    fn put(&self, out: &mut dyn Sink) {
        match self {
            Change::EnsureBridge { name, .. } => put!(out, *name),
            Change::EnsureAddress { cidr, .. } => put!(out, *cidr),
            Change::EnsureSysctl { key, value, .. } | Change::WriteSysctl { key, value, .. } => {
                put!(out, *key, " = ", *value)
            }
            Change::CreateVeth { host, peer, .. } => put!(out, *host, " - ", *peer),
            Change::CreateLink { name, .. }
            | Change::CreateTap { name, .. }
            | Change::CreateIfb { name, .. }
            | Change::EnsureVlanPort { name, .. } => put!(out, *name),
            Change::Shape { link, bucket, .. } => put!(out, "link ", link.0, " ", *bucket),
            Change::RedirectIngress { link, to } => put!(out, "link ", link.0, " to ", to.0),
            Change::ClearPortVlans { port } => put!(out, "link ", port.0),
            Change::AddPortVlans { port, vlans } => {
                put!(out, "link ", port.0);
                for range in *vlans {
                    put!(out, " ", range.first, "-", range.last);
                }
            }
            Change::GuardSource { port, mac, .. } => put!(out, "link ", port.0, " ", mac),
            Change::RenameLink { from, to, .. } => put!(out, *from, " to ", *to),
            Change::MoveLink { name, to, .. } => put!(out, *name, " to ", *to),
            Change::TakeAddress { name, cidr, .. } => put!(out, *cidr, " of ", *name),
            Change::SetLink { link, set, .. } => put!(out, *link, *set),
            Change::AddAddress { cidr, .. } => put!(out, *cidr),
            Change::AddRule { src, table, .. } => put!(out, "from ", *src, " lookup ", *table),
            Change::AddRoute { route, .. } | Change::TakeRoute { route, .. } => {
                put!(out, route.dst);
                if let Some(gw) = route.gw {
                    put!(out, " via ", gw);
                }
            }
            Change::AwaitForwarding { host } => put!(out, *host),
            Change::AwaitAddresses { index, .. } | Change::Announce { index, .. } => put!(out, "link ", index.0),
            Change::ReserveLease { ip, .. } | Change::NoteLastLease { ip, .. } => put!(out, *ip),
            Change::WriteFile { path, .. } => put!(out, *path),
            Change::Claim { key, .. } => put!(out, *key),
            Change::Publish { port, .. } => put!(out, *port),
            Change::PublishSource { to, .. } => put!(out, *to),
            Change::Masquerade { ip, net, .. } => put!(out, *ip, " out of ", *net),
            Change::EnsureChain { chain, .. } => put!(out, *chain),
            Change::AppendRule { chain, rule, .. } => put!(out, *chain, ": ", **rule),
            Change::Enforce { policy } => put!(out, policy.tag),
            Change::BindSource { zone, ip } => put!(out, *ip, " to ", *zone),
            Change::Enter { entry, .. } => put!(out, *entry),
            Change::EnsureIptables { v6, .. } => out.text(family(*v6)),
            Change::Iptables { v6, table, chain, .. } => put!(out, *chain, " in ", *table, " of ", family(*v6)),
            Change::IptablesRules { v6, table, .. } => put!(out, *table, " of ", family(*v6)),
        }
    }
}

impl Removal<'_> {
    /// Short name for logs.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Removal::DeleteLink { .. } => "delete link",
            Removal::ResetLink { .. } => "reset link",
            Removal::ResetSysctl { .. } => "reset sysctl",
            Removal::DeleteAddress { .. } => "delete address",
            Removal::DeleteRoute { .. } => "delete route",
            Removal::RestoreRoute { .. } => "restore route",
            Removal::DeleteRule { .. } => "delete rule",
            Removal::DeleteNeighbour { .. } => "delete neighbour",
            Removal::ReturnLink { .. } => "return link",
            Removal::RestoreAddress { .. } => "restore address",
            Removal::Unshape { .. } => "stop shaping",
            Removal::ReleaseIngress { .. } => "release ingress",
            Removal::UnguardSource { .. } => "stop guarding source",
            Removal::ReleaseLease { .. } => "release lease",
            Removal::RemoveFile { .. } => "remove file",
            Removal::Unclaim { .. } => "unclaim port",
            Removal::Unpublish { .. } => "unpublish port",
            Removal::UnpublishSource { .. } => "stop translating",
            Removal::Unmasquerade { .. } => "stop masquerade",
            Removal::LiftPolicy { .. } => "lift policy",
            Removal::PurgeConnections { .. } => "purge connections",
            Removal::DropRules { .. } => "delete rules",
            Removal::DropChain { .. } => "delete chain",
            Removal::DropTable { .. } => "delete table",
            Removal::UnbindSource { .. } => "take from zone",
            Removal::Erase { .. } => "erase from firewall",
            Removal::IptablesChain { .. } => "delete iptables chain",
            Removal::DropLegacyChain { .. } => "delete legacy chain",
            Removal::IptablesRules { .. } => "delete iptables rules",
        }
    }
}

impl Put for Removal<'_> {
    /// One line of a plan, without the verb of [`Removal::verb`].
    fn put(&self, out: &mut dyn Sink) {
        match self {
            Removal::DeleteLink { name, .. } => put!(out, *name),
            Removal::ResetLink { link, set, .. } => put!(out, *link, *set),
            Removal::ResetSysctl { key, value, .. } => put!(out, *key, " = ", *value),
            Removal::DeleteAddress { cidr, .. } => put!(out, *cidr),
            Removal::DeleteRoute { route, .. } | Removal::RestoreRoute { route, .. } => put!(out, route.dst),
            Removal::DeleteRule { src, table, .. } => put!(out, "from ", *src, " lookup ", *table),
            Removal::DeleteNeighbour { ip, .. } | Removal::ReleaseLease { ip, .. } | Removal::Unmasquerade { ip } => {
                put!(out, *ip)
            }
            Removal::ReturnLink { name, to, .. } => put!(out, *name, " to ", *to),
            Removal::RestoreAddress { name, cidr } => put!(out, *cidr, " of ", *name),
            Removal::Unshape { link } | Removal::ReleaseIngress { link } => put!(out, "link ", link.0),
            Removal::UnguardSource { port, mac } => put!(out, "link ", port.0, " ", mac),
            Removal::RemoveFile { path } => put!(out, *path),
            Removal::Unclaim { key, .. } => put!(out, *key),
            Removal::Unpublish { port } => put!(out, *port),
            Removal::UnpublishSource { to, .. } => put!(out, *to),
            Removal::LiftPolicy { tag, .. } => put!(out, *tag),
            Removal::PurgeConnections { protocol, host_port, .. } => put!(out, protocol.as_str(), " port ", *host_port),
            Removal::DropRules { chain, .. } | Removal::DropChain { chain } => put!(out, *chain),
            Removal::DropTable { table } => put!(out, *table),
            Removal::UnbindSource { zone, ip } => put!(out, *ip, " of ", *zone),
            Removal::Erase { entry, .. } => put!(out, *entry),
            Removal::IptablesChain { v6, table, chain } | Removal::DropLegacyChain { v6, table, chain } => {
                put!(out, *chain, " in ", *table, " of ", family(*v6))
            }
            Removal::IptablesRules { v6, table, .. } => put!(out, *table, " of ", family(*v6)),
        }
    }
}

/// Whose table it is.
const fn family(v6: bool) -> &'static str {
    if v6 { "IPv6" } else { "IPv4" }
}
