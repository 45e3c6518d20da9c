//! Results as they stand in JSON, read from canonical text.

use crate::err;
use crate::error::{Error, Result};
use crate::json::{Key, Kind, Limit, Str};
use crate::limits;
use crate::net::{Cidr, parse_ip};
use crate::observe::Route;

const INTERFACE_LIMIT: Limit = Limit::new("INTERFACES", limits::INTERFACES);
const IP_LIMIT: Limit = Limit::new("IPS", limits::IPS);
const ROUTE_LIMIT: Limit = Limit::new("ROUTES", limits::ROUTES);
const DNS_LIMIT: Limit = Limit::new("DNS_ENTRIES", limits::DNS_ENTRIES);

/// Keys of a `dns` block.
pub const DNS_KEYS: &[Key] = &[
    Key::array("nameservers", &Kind::Str, &DNS_LIMIT),
    Key::str("domain"),
    Key::array("search", &Kind::Str, &DNS_LIMIT),
    Key::array("options", &Kind::Str, &DNS_LIMIT),
];

/// Keys of a route, in results and in IPAM configs.
pub const ROUTE_KEYS: &[Key] = &[
    Key::str("dst"),
    Key::str("gw"),
    Key::uint("mtu", 0, u32::MAX as u64),
    Key::uint("advmss", 0, u32::MAX as u64),
    Key::uint("priority", 0, u32::MAX as u64),
    Key::uint("table", 0, u32::MAX as u64),
    Key::uint("scope", 0, 255),
];

/// A list of routes under the key `routes`.
pub const ROUTES: Key = Key::array("routes", &Kind::Object(ROUTE_KEYS), &ROUTE_LIMIT);

const INTERFACE: Kind = Kind::Object(&[
    Key::str("name"),
    Key::str("mac"),
    Key::uint("mtu", 0, u32::MAX as u64),
    Key::str("sandbox"),
    Key::str("socketPath"),
    Key::str("pciID"),
]);

const IP: Kind = Kind::Object(&[
    Key::int("interface", i32::MIN as i64, i32::MAX as i64),
    Key::str("address"),
    Key::str("gateway"),
    Key::str("version"),
]);

const IP_020: &[Key] = &[Key::str("ip"), Key::str("gateway"), ROUTES];

/// Keys of a result of any version.
pub const RESULT_KEYS: &[Key] = &[
    Key::str("cniVersion"),
    Key::array("interfaces", &INTERFACE, &INTERFACE_LIMIT),
    Key::array("ips", &IP, &IP_LIMIT),
    ROUTES,
    Key::object("ip4", IP_020),
    Key::object("ip6", IP_020),
    Key::object("dns", DNS_KEYS),
];

/// An interface on the wire.
#[derive(Debug, Default, Clone, Copy, serde::Deserialize)]
#[serde(default)]
pub struct Interface<'a> {
    #[serde(borrow)]
    name: Str<'a>,
    #[serde(borrow)]
    mac: Str<'a>,
    mtu: u32,
    #[serde(borrow)]
    sandbox: Str<'a>,
    #[serde(borrow, rename = "socketPath")]
    socket_path: Str<'a>,
    #[serde(borrow, rename = "pciID")]
    pci_id: Str<'a>,
}

impl Interface<'_> {
    pub(super) fn read(&self) -> Result<super::Interface> {
        Ok(super::Interface {
            name: text(self.name, "RESULT_NAME")?,
            mac: text(self.mac, "MAC_TEXT")?,
            mtu: self.mtu,
            sandbox: text(self.sandbox, "SANDBOX")?,
            socket_path: text(self.socket_path, "SOCKET_PATH")?,
            pci_id: text(self.pci_id, "PCI_ID")?,
        })
    }
}

/// An address on the wire.
#[derive(Debug, Default, Clone, Copy, serde::Deserialize)]
#[serde(default)]
pub struct Ip<'a> {
    interface: Option<i32>,
    #[serde(borrow)]
    address: Str<'a>,
    #[serde(borrow)]
    gateway: Str<'a>,
}

impl Ip<'_> {
    pub(super) fn read(&self) -> Result<super::IpConfig> {
        Ok(super::IpConfig {
            interface: self.interface,
            address: cidr(self.address, "address")?,
            gateway: ip(self.gateway, "gateway")?,
        })
    }
}

/// An address block of versions 0.1.0 and 0.2.0.
#[derive(Debug, Default, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Ip020<'a> {
    #[serde(borrow)]
    pub(super) ip: Str<'a>,
    #[serde(borrow)]
    pub(super) gateway: Str<'a>,
    #[serde(borrow)]
    pub(super) routes: heapless::Vec<WireRoute<'a>, { limits::ROUTES }>,
}

/// A route on the wire.
#[derive(Debug, Default, Clone, Copy, serde::Deserialize)]
#[serde(default)]
pub struct WireRoute<'a> {
    #[serde(borrow)]
    dst: Str<'a>,
    #[serde(borrow)]
    gw: Str<'a>,
    mtu: u32,
    advmss: u32,
    priority: u32,
    table: Option<u32>,
    scope: Option<u8>,
}

impl WireRoute<'_> {
    /// The route, checked.
    ///
    /// # Errors
    /// Code 7: not a network, not an address.
    pub fn read(&self) -> Result<Route> {
        Ok(Route {
            dst: cidr(self.dst, "dst")?,
            gw: ip(self.gw, "gw")?,
            mtu: self.mtu,
            advmss: self.advmss,
            priority: self.priority,
            table: self.table,
            scope: self.scope,
        })
    }
}

/// A `dns` block on the wire.
#[derive(Debug, Default, Clone, serde::Deserialize)]
#[serde(default)]
pub struct Dns<'a> {
    #[serde(borrow)]
    nameservers: Option<heapless::Vec<Str<'a>, { limits::DNS_ENTRIES }>>,
    #[serde(borrow)]
    domain: Str<'a>,
    #[serde(borrow)]
    search: Option<heapless::Vec<Str<'a>, { limits::DNS_ENTRIES }>>,
    #[serde(borrow)]
    options: Option<heapless::Vec<Str<'a>, { limits::DNS_ENTRIES }>>,
}

impl Dns<'_> {
    /// The block with its strings decoded.
    ///
    /// # Errors
    /// Code 100: a name over its limit.
    pub fn read(&self) -> Result<super::Dns> {
        let mut dns = super::Dns {
            domain: text(self.domain, "DNS_NAME")?,
            present: self.nameservers.is_some() || self.search.is_some() || self.options.is_some() || !self.domain.is_empty(),
            ..super::Dns::default()
        };
        for name in self.nameservers.iter().flatten() {
            push(&mut dns.nameservers, text(*name, "64-byte name server")?)?;
        }
        for name in self.search.iter().flatten() {
            push(&mut dns.search, text(*name, "DNS_NAME")?)?;
        }
        for name in self.options.iter().flatten() {
            push(&mut dns.options, text(*name, "64-byte resolver option")?)?;
        }
        Ok(dns)
    }
}

fn push<T, const N: usize>(list: &mut heapless::Vec<T, N>, value: T) -> Result<()> {
    list.push(value).map_err(|_| Error::limit("DNS_ENTRIES", limits::DNS_ENTRIES))
}

/// A result of any version on the wire.
#[derive(Debug, Default, Clone, serde::Deserialize)]
#[serde(default)]
pub struct PrevResult<'a> {
    #[serde(borrow, rename = "cniVersion")]
    pub(super) cni_version: Str<'a>,
    #[serde(borrow)]
    pub(super) interfaces: heapless::Vec<Interface<'a>, { limits::INTERFACES }>,
    #[serde(borrow)]
    pub(super) ips: heapless::Vec<Ip<'a>, { limits::IPS }>,
    #[serde(borrow)]
    pub(super) routes: heapless::Vec<WireRoute<'a>, { limits::ROUTES }>,
    #[serde(borrow)]
    pub(super) ip4: Option<Ip020<'a>>,
    #[serde(borrow)]
    pub(super) ip6: Option<Ip020<'a>>,
    #[serde(borrow)]
    pub(super) dns: Dns<'a>,
}

/// An error object on the wire.
#[derive(Debug, Default, Clone, Copy, serde::Deserialize)]
#[serde(default)]
pub struct ErrorObject<'a> {
    /// Code.
    pub code: u32,
    /// Phrase.
    #[serde(borrow)]
    pub msg: Str<'a>,
    /// Details.
    #[serde(borrow)]
    pub details: Str<'a>,
}

/// Keys of an error object.
pub const ERROR_KEYS: &[Key] = &[Key::uint("code", 0, u32::MAX as u64), Key::str("msg"), Key::str("details")];

pub(super) fn text<const N: usize>(value: Str<'_>, limit: &'static str) -> Result<heapless::String<N>> {
    let mut out = heapless::String::new();
    value.decode_into(&mut out).map_err(|_| Error::limit(limit, N))?;
    Ok(out)
}

pub(super) fn cidr(value: Str<'_>, key: &'static str) -> Result<Cidr> {
    value.plain().and_then(Cidr::parse).ok_or_else(|| {
        err!(CONFIG, "invalid CIDR address", "\"", key, "\" is \"", value.canonical(), "\", expected like 10.1.2.3/24 or fd00::1/64")
    })
}

pub(super) fn ip(value: Str<'_>, key: &'static str) -> Result<Option<core::net::IpAddr>> {
    if value.is_empty() {
        return Ok(None);
    }
    value.plain().and_then(parse_ip).map(Some).ok_or_else(|| {
        err!(CONFIG, "invalid IP address", "\"", key, "\" is \"", value.canonical(), "\"")
    })
}
