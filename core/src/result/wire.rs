//! Results as they stand in JSON, read from canonical text.

use crate::err;
use crate::error::{Error, Result};
use crate::json::raw::{self, Elements};
use crate::json::{self, Key, Kind, Limit, Present, Str};
use crate::limits;
use crate::net::{Cidr, parse_ip};
use crate::observe::Route;

use super::AddResult;

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
#[derive(Debug, Default)]
struct Interface<'a> {
    name: Str<'a>,
    mac: Str<'a>,
    mtu: i64,
    sandbox: Str<'a>,
    socket_path: Str<'a>,
    pci_id: Str<'a>,
}

crate::fields!(Interface<'a> {
    "name" => name, "mac" => mac, "mtu" => mtu, "sandbox" => sandbox, "socketPath" => socket_path, "pciID" => pci_id,
});

/// Appends the interfaces of a canonical array.
pub(super) fn interfaces(array: &str, out: &mut AddResult) -> Result<()> {
    for element in Elements::new(array) {
        let wire: Interface<'_> = flat(element)?;
        out.add_interface(super::Interface::default())?;
        let Some(interface) = out.interfaces.last_mut() else { return Ok(()) };
        text(wire.name, "RESULT_NAME", &mut interface.name)?;
        text(wire.mac, "MAC_TEXT", &mut interface.mac)?;
        interface.mtu = number(wire.mtu);
        text(wire.sandbox, "SANDBOX", &mut interface.sandbox)?;
        text(wire.socket_path, "SOCKET_PATH", &mut interface.socket_path)?;
        text(wire.pci_id, "PCI_ID", &mut interface.pci_id)?;
    }
    Ok(())
}

/// An address on the wire, also as versions 0.1.0 and 0.2.0 have it.
#[derive(Debug, Default)]
struct Ip<'a> {
    interface: Option<i64>,
    address: Str<'a>,
    ip: Str<'a>,
    gateway: Str<'a>,
}

crate::fields!(Ip<'a> { "interface" => interface, "address" => address, "ip" => ip, "gateway" => gateway });

/// Appends the addresses of a canonical array.
pub(super) fn ips(array: &str, out: &mut AddResult) -> Result<()> {
    Elements::new(array).try_for_each(|element| {
        let wire: Ip<'_> = flat(element)?;
        push_ip(&wire, wire.address, "address", out)
    })
}

/// Appends the block of one family of versions 0.1.0 and 0.2.0; "" is no block.
pub(super) fn block_020(object: &str, out: &mut AddResult) -> Result<()> {
    if object.is_empty() {
        return Ok(());
    }
    let wire: Ip<'_> = flat(object)?;
    push_ip(&wire, wire.ip, "ip", out)?;
    routes(raw::at(object, &["routes"]), &mut out.routes)
}

fn push_ip(wire: &Ip<'_>, address: Str<'_>, key: &'static str, out: &mut AddResult) -> Result<()> {
    let config = super::IpConfig {
        interface: wire.interface.and_then(|index| i32::try_from(index).ok()),
        address: cidr(address, key)?,
        gateway: ip(wire.gateway, "gateway")?,
    };
    out.ips.push(config).map_err(|_| Error::limit("IPS", limits::IPS))
}

/// A route on the wire.
#[derive(Debug, Default)]
struct WireRoute<'a> {
    dst: Str<'a>,
    gw: Str<'a>,
    mtu: i64,
    advmss: i64,
    priority: i64,
    table: Option<i64>,
    scope: Option<i64>,
}

crate::fields!(WireRoute<'a> {
    "dst" => dst, "gw" => gw, "mtu" => mtu, "advmss" => advmss, "priority" => priority, "table" => table, "scope" => scope,
});

/// Appends the routes of a canonical array, checked.
///
/// # Errors
/// Code 7: not a network, not an address. Code 100: more than [`limits::ROUTES`].
pub fn routes(array: &str, out: &mut heapless::Vec<Route, { limits::ROUTES }>) -> Result<()> {
    for element in Elements::new(array) {
        let wire: WireRoute<'_> = flat(element)?;
        let route = Route {
            gw: ip(wire.gw, "gw")?,
            mtu: number(wire.mtu),
            advmss: number(wire.advmss),
            priority: number(wire.priority),
            table: wire.table.map(number),
            scope: wire.scope.and_then(|scope| u8::try_from(scope).ok()),
            ..Route::to(cidr(wire.dst, "dst")?)
        };
        out.push(route).map_err(|_| Error::limit("ROUTES", limits::ROUTES))?;
    }
    Ok(())
}

/// A flat object of canonical text.
fn flat<'a, T: json::Fields<'a> + Default>(text: &'a str) -> Result<T> {
    json::read(text).map_err(|_| err!(DECODE, "result does not fit"))
}

/// An unsigned number; the schema keeps it within 32 bits.
fn number(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// What is no list in a `dns` block, and whether the lists are there.
#[derive(Debug, Default)]
struct Dns<'a> {
    domain: Str<'a>,
    nameservers: Present,
    search: Present,
    options: Present,
}

crate::fields!(Dns<'a> { "domain" => domain, "nameservers" => nameservers, "search" => search, "options" => options });

impl Dns<'_> {
    fn is_present(&self) -> bool {
        self.nameservers.0 || self.search.0 || self.options.0 || !self.domain.is_empty()
    }
}

/// Whether a canonical `dns` block has any of its keys.
pub(crate) fn has_dns(object: &str) -> Result<bool> {
    Ok(!object.is_empty() && flat::<Dns<'_>>(object)?.is_present())
}

/// Reads a canonical `dns` block, its strings decoded, into `out`, which is
/// emptied first; "" is no block.
///
/// # Errors
/// Code 100: a name over its limit, or more than [`limits::DNS_ENTRIES`].
pub fn dns(object: &str, out: &mut super::Dns) -> Result<()> {
    out.clear();
    if object.is_empty() {
        return Ok(());
    }
    let wire: Dns<'_> = flat(object)?;
    text(wire.domain, "DNS_NAME", &mut out.domain)?;
    out.present = wire.is_present();
    names(raw::at(object, &["nameservers"]), "64-byte name server", &mut out.nameservers)?;
    names(raw::at(object, &["search"]), "DNS_NAME", &mut out.search)?;
    names(raw::at(object, &["options"]), "64-byte resolver option", &mut out.options)
}

fn names<const N: usize>(
    array: &str,
    limit: &'static str,
    out: &mut heapless::Vec<heapless::String<N>, { limits::DNS_ENTRIES }>,
) -> Result<()> {
    for element in Elements::new(array) {
        let name: Str<'_> = json::from_canonical(element).map_err(|_| err!(DECODE, "result does not fit"))?;
        out.push(heapless::String::new()).map_err(|_| Error::limit("DNS_ENTRIES", limits::DNS_ENTRIES))?;
        if let Some(slot) = out.last_mut() {
            text(name, limit, slot)?;
        }
    }
    Ok(())
}

/// An error object on the wire.
#[derive(Debug, Default, Clone, Copy)]
pub struct ErrorObject<'a> {
    /// Code.
    pub code: i64,
    /// Phrase.
    pub msg: Str<'a>,
    /// Details.
    pub details: Str<'a>,
}

crate::fields!(ErrorObject<'a> { "code" => code, "msg" => msg, "details" => details });

/// Keys of an error object.
pub const ERROR_KEYS: &[Key] = &[Key::uint("code", 0, u32::MAX as u64), Key::str("msg"), Key::str("details")];

fn text<const N: usize>(value: Str<'_>, limit: &'static str, out: &mut heapless::String<N>) -> Result<()> {
    value.decode_into(out).map_err(|_| Error::limit(limit, N))
}

pub(super) fn cidr(value: Str<'_>, key: &'static str) -> Result<Cidr> {
    value.plain().and_then(Cidr::parse).ok_or_else(|| {
        err!(
            CONFIG,
            "invalid CIDR address",
            "\"",
            key,
            "\" is \"",
            value.canonical(),
            "\", expected like 10.1.2.3/24 or fd00::1/64"
        )
    })
}

pub(super) fn ip(value: Str<'_>, key: &'static str) -> Result<Option<core::net::IpAddr>> {
    if value.is_empty() {
        return Ok(None);
    }
    value
        .plain()
        .and_then(parse_ip)
        .map(Some)
        .ok_or_else(|| err!(CONFIG, "invalid IP address", "\"", key, "\" is \"", value.canonical(), "\""))
}
