//! The result in memory → JSON of any version.
//!
//! Shapes and key order follow parity with the reference implementation:
//! 1.x is alphabetical and drops an empty `dns`; 0.3–0.4 always carry `dns`;
//! 0.1–0.2 have one block per family.
//!
//! Everything that a result may hold is one type, `Value`, so that
//! `serde-json-core`'s serializer is compiled once and not for every shape.

use core::net::IpAddr;

use serde::Serialize;
use serde::ser::{SerializeSeq, SerializeStruct, Serializer};

use super::{AddResult, Dns, Interface, IpConfig};
use crate::err;
use crate::error::{Error, Result};
use crate::json;
use crate::limits;
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
    if version.family() == Family::F020 && result.ips.is_empty() {
        return Err(err!(
            CONFIG,
            "cannot convert: no valid IP addresses",
            "cniVersion ",
            version,
            " has no result without addresses; use 0.3.0 or newer"
        ));
    }
    json::to_slice(&Value::Result(result, version), out).map_err(|_| Error::limit("REQUEST", limits::REQUEST))
}

/// Anything in a result.
#[derive(Clone, Copy)]
enum Value<'a> {
    /// Not written.
    Absent,
    Text(&'a str),
    Number(i64),
    Cidr(Cidr),
    Ip(IpAddr),
    List(List<'a>),
    Result(&'a AddResult, Version),
    Interface(&'a Interface, Family),
    Config(&'a IpConfig, Family),
    Route(&'a Route, Family),
    Dns(&'a Dns),
    /// The first address of a family with the family's routes (0.1.0, 0.2.0).
    Block(&'a IpConfig, &'a [Route]),
}

/// Anything in a result that is a list; an empty one is not written.
#[derive(Clone, Copy)]
enum List<'a> {
    Interfaces(&'a [Interface], Family),
    Ips(&'a [IpConfig], Family),
    Routes(&'a [Route], Family),
    /// Those of one family of addresses: IPv6 or not.
    RoutesOf(&'a [Route], bool),
    Words(&'a [heapless::String<64>]),
    Names(&'a [heapless::String<{ limits::DNS_NAME }>]),
}

impl<'a> List<'a> {
    fn get(self, at: usize) -> Option<Value<'a>> {
        match self {
            List::Interfaces(list, family) => list.get(at).map(|interface| Value::Interface(interface, family)),
            List::Ips(list, family) => list.get(at).map(|ip| Value::Config(ip, family)),
            List::Routes(list, family) => list.get(at).map(|route| Value::Route(route, family)),
            List::RoutesOf(list, v6) => list
                .iter()
                .filter(|route| route.dst.is_v6() == v6)
                .nth(at)
                .map(|route| Value::Route(route, Family::F020)),
            List::Words(list) => list.get(at).map(|word| Value::Text(word)),
            List::Names(list) => list.get(at).map(|name| Value::Text(name)),
        }
    }
}

impl<'a> Value<'a> {
    fn of_text(text: &'a str) -> Self {
        if text.is_empty() { Value::Absent } else { Value::Text(text) }
    }

    /// A number that is left out if it is 0.
    fn positive(number: u32) -> Self {
        if number == 0 { Value::Absent } else { Value::Number(i64::from(number)) }
    }

    fn of_number(number: Option<impl Into<i64>>) -> Self {
        number.map_or(Value::Absent, |number| Value::Number(number.into()))
    }

    fn of_ip(ip: Option<IpAddr>) -> Self {
        ip.map_or(Value::Absent, Value::Ip)
    }

    fn is_absent(self) -> bool {
        match self {
            Value::Absent => true,
            Value::List(list) => list.get(0).is_none(),
            _ => false,
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        match *self {
            Value::Absent => serializer.serialize_none(),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Number(number) => serializer.serialize_i64(number),
            Value::Cidr(cidr) => serializer.serialize_str(&shown(&cidr)),
            Value::Ip(ip) => serializer.serialize_str(&shown(&ip)),
            Value::List(list) => {
                let mut out = serializer.serialize_seq(None)?;
                let mut at = 0usize;
                while let Some(element) = list.get(at) {
                    out.serialize_element(&element)?;
                    at = at.saturating_add(1);
                }
                out.end()
            }
            object => {
                let mut out = serializer.serialize_struct("", 0)?;
                let mut written = Ok(());
                object.members(&mut |key, value| {
                    if written.is_ok() && !value.is_absent() {
                        written = out.serialize_field(key, &value);
                    }
                });
                written?;
                out.end()
            }
        }
    }
}

/// The longest address with a prefix has 49 bytes (RFC 4291 mapped form: 45 + 4).
#[inline(never)]
fn shown(address: &dyn Put) -> heapless::String<64> {
    fits(&[address]).unwrap_or_default()
}

/// Takes the members of an object in their order.
type Members<'p, 'a> = &'p mut dyn FnMut(&'static str, Value<'a>);

impl<'a> Value<'a> {
    /// Hands out the members of what is an object.
    fn members(self, member: Members<'_, 'a>) {
        match self {
            Value::Result(result, version) => result_members(result, version, member),
            Value::Interface(interface, Family::F100) => {
                member("mac", Value::of_text(&interface.mac));
                member("mtu", Value::positive(interface.mtu));
                member("name", Value::Text(&interface.name));
                member("pciID", Value::of_text(&interface.pci_id));
                member("sandbox", Value::of_text(&interface.sandbox));
                member("socketPath", Value::of_text(&interface.socket_path));
            }
            Value::Interface(interface, _) => {
                member("name", Value::Text(&interface.name));
                member("mac", Value::of_text(&interface.mac));
                member("sandbox", Value::of_text(&interface.sandbox));
            }
            Value::Config(ip, family) => config_members(ip, family, member),
            Value::Route(route, family) => route_members(route, family, member),
            Value::Dns(dns) => {
                member("nameservers", Value::List(List::Words(&dns.nameservers)));
                member("domain", Value::of_text(&dns.domain));
                member("search", Value::List(List::Names(&dns.search)));
                member("options", Value::List(List::Words(&dns.options)));
            }
            Value::Block(ip, routes) => {
                member("ip", Value::Cidr(ip.address));
                member("gateway", Value::of_ip(ip.gateway));
                member("routes", Value::List(List::RoutesOf(routes, ip.address.is_v6())));
            }
            // Not objects.
            Value::Absent | Value::Text(_) | Value::Number(_) | Value::Cidr(_) | Value::Ip(_) | Value::List(_) => {}
        }
    }
}

fn result_members<'a>(result: &'a AddResult, version: Version, member: Members<'_, 'a>) {
    let family = version.family();
    member("cniVersion", Value::Text(version.as_str()));
    if family == Family::F100 && !result.dns.is_empty() {
        member("dns", Value::Dns(&result.dns));
    }
    if family == Family::F020 {
        for (key, v6) in [("ip4", false), ("ip6", true)] {
            if let Some(ip) = result.ips.iter().find(|ip| ip.address.is_v6() == v6) {
                member(key, Value::Block(ip, &result.routes));
            }
        }
    } else {
        member("interfaces", Value::List(List::Interfaces(&result.interfaces, family)));
        member("ips", Value::List(List::Ips(&result.ips, family)));
        member("routes", Value::List(List::Routes(&result.routes, family)));
    }
    if family != Family::F100 {
        member("dns", Value::Dns(&result.dns));
    }
}

fn config_members<'a>(ip: &IpConfig, family: Family, member: Members<'_, 'a>) {
    let interface = Value::of_number(ip.interface);
    if family != Family::F100 {
        member("version", Value::Text(if ip.address.is_v6() { "6" } else { "4" }));
        member("interface", interface);
    }
    member("address", Value::Cidr(ip.address));
    member("gateway", Value::of_ip(ip.gateway));
    if family == Family::F100 {
        member("interface", interface);
    }
}

/// Versions 0.1.0 and 0.2.0 know destination and gateway only.
fn route_members<'a>(route: &Route, family: Family, member: Members<'_, 'a>) {
    let full = family != Family::F020;
    if full {
        member("advmss", Value::positive(route.advmss));
    }
    member("dst", Value::Cidr(route.dst));
    member("gw", Value::of_ip(route.gw));
    if full {
        member("mtu", Value::positive(route.mtu));
        member("priority", Value::positive(route.priority));
        member("scope", Value::of_number(route.scope));
        member("table", Value::of_number(route.table));
    }
}
