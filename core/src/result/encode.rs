//! The result in memory → JSON of any version.
//!
//! Shapes and key order follow parity with the reference implementation:
//! 1.x is alphabetical and drops an empty `dns`; 0.3–0.4 always carry `dns`;
//! 0.1–0.2 have one block per family.

use core::net::IpAddr;

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use super::{AddResult, Dns, Interface, IpConfig};
use crate::err;
use crate::error::{Error, Result};
use crate::json;
use crate::net::Cidr;
use crate::observe::Route;
use crate::text::{Put, fits};
use crate::version::{Family, Version};

/// Writes `result` in `version`; gives the length.
///
/// # Errors
/// Code 7 `cannot convert: no valid IP addresses` (0.1.0 and 0.2.0 have no
/// shape for a result without addresses). Code 100: `out` is too small.
pub fn to_json(result: &AddResult, version: Version, out: &mut [u8]) -> Result<usize> {
    let length = match version.family() {
        Family::F100 => json::to_slice(&View100::new(result, version), out),
        Family::F040 => json::to_slice(&View040::new(result, version), out),
        Family::F020 => {
            let view = View020::new(result, version);
            if view.ip4.is_none() && view.ip6.is_none() {
                return Err(err!(CONFIG, "cannot convert: no valid IP addresses", "cniVersion ", version,
                    " has no result without addresses; use 0.3.0 or newer"));
            }
            json::to_slice(&view, out)
        }
    };
    length.map_err(|_| Error::limit("REQUEST", crate::limits::REQUEST))
}

/// Text of a value as a JSON string.
struct Text<T>(T);

impl<T: Put> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        // The longest address with a prefix has 49 bytes (RFC 4291 mapped form: 45 + 4).
        let text = fits::<64>(&[&self.0]).unwrap_or_default();
        serializer.serialize_str(&text)
    }
}

/// A list written element by element.
struct List<'a, T, V>(&'a [T], fn(&'a T) -> V);

impl<T, V: Serialize> Serialize for List<'_, T, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for element in self.0 {
            list.serialize_element(&(self.1)(element))?;
        }
        list.end()
    }
}

impl<T, V> List<'_, T, V> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[derive(Serialize)]
struct View100<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<DnsView<'a>>,
    #[serde(skip_serializing_if = "List::is_empty")]
    interfaces: List<'a, Interface, Interface100<'a>>,
    #[serde(skip_serializing_if = "List::is_empty")]
    ips: List<'a, IpConfig, Ip100>,
    #[serde(skip_serializing_if = "List::is_empty")]
    routes: List<'a, Route, RouteView>,
}

impl<'a> View100<'a> {
    fn new(result: &'a AddResult, version: Version) -> Self {
        View100 {
            cni_version: version.as_str(),
            dns: (!result.dns.is_empty()).then(|| DnsView::new(&result.dns)),
            interfaces: List(&result.interfaces, Interface100::new),
            ips: List(&result.ips, Ip100::new),
            routes: List(&result.routes, RouteView::new),
        }
    }
}

#[derive(Serialize)]
struct Interface100<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: u32,
    name: &'a str,
    #[serde(rename = "pciID", skip_serializing_if = "str::is_empty")]
    pci_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
    #[serde(rename = "socketPath", skip_serializing_if = "str::is_empty")]
    socket_path: &'a str,
}

impl<'a> Interface100<'a> {
    fn new(interface: &'a Interface) -> Self {
        Interface100 {
            mac: &interface.mac,
            mtu: interface.mtu,
            name: &interface.name,
            pci_id: &interface.pci_id,
            sandbox: &interface.sandbox,
            socket_path: &interface.socket_path,
        }
    }
}

#[derive(Serialize)]
struct Ip100 {
    address: Text<Cidr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<Text<IpAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<i32>,
}

impl Ip100 {
    fn new(ip: &IpConfig) -> Self {
        Ip100 { address: Text(ip.address), gateway: ip.gateway.map(Text), interface: ip.interface }
    }
}

#[derive(Serialize)]
struct RouteView {
    #[serde(skip_serializing_if = "is_zero")]
    advmss: u32,
    dst: Text<Cidr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<Text<IpAddr>>,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: u32,
    #[serde(skip_serializing_if = "is_zero")]
    priority: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
}

impl RouteView {
    fn new(route: &Route) -> Self {
        RouteView {
            advmss: route.advmss,
            dst: Text(route.dst),
            gw: route.gw.map(Text),
            mtu: route.mtu,
            priority: route.priority,
            scope: route.scope,
            table: route.table,
        }
    }

    /// Versions 0.1.0 and 0.2.0 know destination and gateway only.
    fn plain(route: &Route) -> Self {
        RouteView { dst: Text(route.dst), gw: route.gw.map(Text), advmss: 0, mtu: 0, priority: 0, scope: None, table: None }
    }
}

#[derive(Serialize)]
struct DnsView<'a> {
    #[serde(skip_serializing_if = "List::is_empty")]
    nameservers: List<'a, heapless::String<64>, &'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    #[serde(skip_serializing_if = "List::is_empty")]
    search: List<'a, heapless::String<{ crate::limits::DNS_NAME }>, &'a str>,
    #[serde(skip_serializing_if = "List::is_empty")]
    options: List<'a, heapless::String<64>, &'a str>,
}

impl<'a> DnsView<'a> {
    fn new(dns: &'a Dns) -> Self {
        DnsView {
            nameservers: List(&dns.nameservers, |name| name.as_str()),
            domain: &dns.domain,
            search: List(&dns.search, |name| name.as_str()),
            options: List(&dns.options, |name| name.as_str()),
        }
    }
}

#[derive(Serialize)]
struct View040<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(skip_serializing_if = "List::is_empty")]
    interfaces: List<'a, Interface, Interface040<'a>>,
    #[serde(skip_serializing_if = "List::is_empty")]
    ips: List<'a, IpConfig, Ip040>,
    #[serde(skip_serializing_if = "List::is_empty")]
    routes: List<'a, Route, RouteView>,
    dns: DnsView<'a>,
}

impl<'a> View040<'a> {
    fn new(result: &'a AddResult, version: Version) -> Self {
        View040 {
            cni_version: version.as_str(),
            interfaces: List(&result.interfaces, Interface040::new),
            ips: List(&result.ips, Ip040::new),
            routes: List(&result.routes, RouteView::new),
            dns: DnsView::new(&result.dns),
        }
    }
}

#[derive(Serialize)]
struct Interface040<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
}

impl<'a> Interface040<'a> {
    fn new(interface: &'a Interface) -> Self {
        Interface040 { name: &interface.name, mac: &interface.mac, sandbox: &interface.sandbox }
    }
}

#[derive(Serialize)]
struct Ip040 {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<i32>,
    address: Text<Cidr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<Text<IpAddr>>,
}

impl Ip040 {
    fn new(ip: &IpConfig) -> Self {
        Ip040 {
            version: if ip.address.is_v6() { "6" } else { "4" },
            interface: ip.interface,
            address: Text(ip.address),
            gateway: ip.gateway.map(Text),
        }
    }
}

#[derive(Serialize)]
struct View020<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<Block020<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<Block020<'a>>,
    dns: DnsView<'a>,
}

impl<'a> View020<'a> {
    fn new(result: &'a AddResult, version: Version) -> Self {
        View020 {
            cni_version: version.as_str(),
            ip4: Block020::new(result, false),
            ip6: Block020::new(result, true),
            dns: DnsView::new(&result.dns),
        }
    }
}

#[derive(Serialize)]
struct Block020<'a> {
    ip: Text<Cidr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<Text<IpAddr>>,
    #[serde(skip_serializing_if = "FamilyRoutes::is_empty")]
    routes: FamilyRoutes<'a>,
}

impl<'a> Block020<'a> {
    /// The first address of the family, with the family's routes.
    fn new(result: &'a AddResult, v6: bool) -> Option<Self> {
        let first = result.ips.iter().find(|ip| ip.address.is_v6() == v6)?;
        Some(Block020 {
            ip: Text(first.address),
            gateway: first.gateway.map(Text),
            routes: FamilyRoutes { routes: &result.routes, v6 },
        })
    }
}

struct FamilyRoutes<'a> {
    routes: &'a [Route],
    v6: bool,
}

impl FamilyRoutes<'_> {
    fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(|route| route.dst.is_v6() == self.v6)
    }

    fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl Serialize for FamilyRoutes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for route in self.iter() {
            list.serialize_element(&RouteView::plain(route))?;
        }
        list.end()
    }
}
