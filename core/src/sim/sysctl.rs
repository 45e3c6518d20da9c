//! Sysctls: a table of defaults, and what was set over it.

use super::network::{Network, NsId};
use super::{SYSCTLS, keep};
use crate::error::{Error, Result};
use crate::limits;
use crate::text::fits;

/// Bytes of a value: more than [`limits::SYSCTL_VALUE`], so that the limit can be tested.
pub(crate) const VALUE: usize = limits::SYSCTL_VALUE + 32;

/// Who set a value. The last layer that has one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// The host's own configuration.
    Base,
    /// An ensure operation: shared.
    Ensured,
    /// A plugin's write.
    Written,
}

#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) ns: NsId,
    pub(crate) layer: Layer,
    pub(crate) key: heapless::String<{ limits::SYSCTL_KEY }>,
    pub(crate) value: heapless::String<VALUE>,
}

#[derive(Debug)]
pub(crate) struct Sysctls {
    pub(crate) settings: heapless::Vec<Setting, SYSCTLS>,
    /// /proc/sys is mounted read-only.
    pub(crate) read_only: bool,
}

/// Keys outside `conf/<if>/`, as a fresh kernel has them.
const GLOBAL: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/ip_unprivileged_port_start", "1024"),
    ("net/ipv4/ip_local_port_range", "32768\t60999"),
    ("net/ipv4/ping_group_range", "1\t0"),
    ("net/ipv4/tcp_syncookies", "1"),
    ("net/ipv4/tcp_keepalive_time", "7200"),
    ("net/ipv4/tcp_rmem", "4096\t131072\t6291456"),
    ("net/core/somaxconn", "4096"),
    ("net/bridge/bridge-nf-call-iptables", "1"),
    ("net/bridge/bridge-nf-call-ip6tables", "1"),
];

/// Keys of `net/ipv4/conf/<if>/`.
const IPV4_CONF: &[(&str, &str)] = &[
    ("forwarding", "0"),
    ("route_localnet", "0"),
    ("rp_filter", "0"),
    ("arp_notify", "0"),
    ("arp_ignore", "0"),
    ("arp_announce", "0"),
    ("proxy_arp", "0"),
    ("proxy_arp_pvlan", "0"),
    ("accept_local", "0"),
    ("accept_redirects", "1"),
    ("send_redirects", "1"),
    ("promote_secondaries", "0"),
];

/// Keys of `net/ipv6/conf/<if>/`.
const IPV6_CONF: &[(&str, &str)] = &[
    ("forwarding", "0"),
    ("disable_ipv6", "0"),
    ("accept_ra", "1"),
    ("accept_dad", "1"),
    ("autoconf", "1"),
    ("dad_transmits", "1"),
    ("enhanced_dad", "1"),
    ("addr_gen_mode", "0"),
    ("ndisc_notify", "0"),
    ("proxy_ndp", "0"),
    ("keep_addr_on_down", "0"),
    ("accept_redirects", "1"),
];

fn lookup(table: &[(&str, &'static str)], key: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
}

/// A fresh kernel's value; keys of a link exist while the link does.
fn default_value(net: &Network, ns: NsId, key: &str) -> Option<&'static str> {
    if key.starts_with("net/ipv6/") && !net.ipv6 {
        return None;
    }
    let (table, rest) = match (key.strip_prefix("net/ipv4/conf/"), key.strip_prefix("net/ipv6/conf/")) {
        (Some(rest), _) => (IPV4_CONF, rest),
        (_, Some(rest)) => (IPV6_CONF, rest),
        (None, None) => return lookup(GLOBAL, key),
    };
    let (name, leaf) = rest.split_once('/')?;
    let exists = name == "all"
        || name == "default"
        || net.links.iter().any(|known| known.ns == ns && known.link.name.as_str() == name);
    if exists { lookup(table, leaf) } else { None }
}

/// The link of a `conf/<if>/` key.
fn link_of(key: &str) -> Option<&str> {
    let rest = key.strip_prefix("net/ipv4/conf/").or_else(|| key.strip_prefix("net/ipv6/conf/"))?;
    rest.split_once('/').map(|(name, _)| name)
}

impl Sysctls {
    pub(crate) const fn new() -> Self {
        Sysctls { settings: heapless::Vec::new(), read_only: false }
    }

    pub(crate) fn clear(&mut self) {
        self.settings.clear();
        self.read_only = false;
    }

    pub(crate) fn get<'s>(&'s self, net: &Network, ns: NsId, key: &str) -> Option<&'s str> {
        if key.starts_with("net/ipv6/") && !net.ipv6 {
            return None;
        }
        self.below(net, ns, key, None)
    }

    /// The value without the layers from `limit` on.
    fn below<'s>(&'s self, net: &Network, ns: NsId, key: &str, limit: Option<Layer>) -> Option<&'s str> {
        self.settings
            .iter()
            .filter(|set| set.ns == ns && set.key == key && limit.is_none_or(|limit| set.layer < limit))
            .max_by_key(|set| set.layer)
            .map(|set| set.value.as_str())
            .or_else(|| default_value(net, ns, key))
    }

    /// Sets one layer; what lay over it is gone, since a sysctl has one value.
    /// A plugin's write of the value beneath leaves no trace.
    pub(crate) fn set(&mut self, net: &Network, ns: NsId, layer: Layer, key: &str, value: &str) -> Result<()> {
        let key: heapless::String<{ limits::SYSCTL_KEY }> =
            fits(&[&key]).ok_or_else(|| Error::limit("SYSCTL_KEY", limits::SYSCTL_KEY))?;
        let value: heapless::String<VALUE> =
            fits(&[&value]).ok_or_else(|| Error::limit("SYSCTL_VALUE", limits::SYSCTL_VALUE))?;
        self.settings.retain(|set| set.ns != ns || set.key != key || set.layer < layer);
        if layer == Layer::Written && self.below(net, ns, &key, Some(layer)) == Some(value.as_str()) {
            return Ok(());
        }
        keep(&mut self.settings, Setting { ns, layer, key, value }, "SYSCTLS")
    }

    /// The keys of a link go with it.
    pub(crate) fn link_gone(&mut self, ns: NsId, name: &str) {
        self.settings.retain(|set| set.ns != ns || link_of(&set.key) != Some(name));
    }

    pub(crate) fn link_renamed(&mut self, ns: NsId, from: &str, to: &str) {
        for set in self.settings.iter_mut().filter(|set| set.ns == ns && link_of(&set.key) == Some(from)) {
            let mut key = heapless::String::new();
            for (at, part) in set.key.split('/').enumerate() {
                let slash = if at > 0 { "/" } else { "" };
                crate::put!(&mut key, slash, if part == from { to } else { part });
            }
            set.key = key;
        }
    }

    pub(crate) fn space_gone(&mut self, ns: NsId) {
        self.settings.retain(|set| set.ns != ns);
    }
}
