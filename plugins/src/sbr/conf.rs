//! Configuration of `sbr`.

use core::net::IpAddr;

use picocni_core::error::{Error, Result};
use picocni_core::json::raw::Elements;
use picocni_core::json::{self, Key, Kind, Limit, Str};
use picocni_core::limits;
use picocni_core::net::parse_ip;
use picocni_core::plugin::Call;
use picocni_core::result::{AddResult, IpConfig};
use picocni_core::{config_keys, err, fields};

/// Entries of `gateways` that are read, so that more than two are refused by name.
const GATEWAYS: Limit = Limit::new("GATEWAYS", 16);

/// Every key that `sbr` reads.
pub(super) const KEYS: &[Key] = config_keys![
    Key::int("table", i64::MIN, i64::MAX),
    Key::array("gateways", &Kind::Str, &GATEWAYS),
    Key::bool("addSourceHints"),
];

#[derive(Debug, Default)]
struct Wire {
    table: Option<i64>,
    source_hints: bool,
}

fields!(Wire { "table" => table, "addSourceHints" => source_hints });

/// The configuration, checked.
#[derive(Debug)]
pub(super) struct Conf {
    /// The one table of every address; its routes are somebody else's.
    pub(super) table: Option<u32>,
    /// Gateways in place of those of prevResult.
    gateways: heapless::Vec<IpAddr, 2>,
    /// Routes to the networks of the link stay in the main table, with the
    /// link's address as their source.
    pub(super) source_hints: bool,
}

impl Conf {
    /// Reads and checks the configuration of a call.
    ///
    /// # Errors
    /// Code 7: no table, no address, two gateways of a family.
    pub(super) fn read(call: &Call<'_>) -> Result<Self> {
        let wire: Wire = call.fields()?;
        let table = match wire.table {
            None => None,
            Some(number) => Some(table(number).ok_or_else(|| {
                err!(
                    CONFIG,
                    "invalid table",
                    "\"table\" is ",
                    number,
                    ", expected 1 to 4294967295 (without it one is chosen)"
                )
            })?),
        };
        Ok(Conf { table, gateways: gateways(call.at(&["gateways"]))?, source_hints: wire.source_hints })
    }

    /// The next hop of the default route for an address.
    pub(super) fn gateway(&self, ip: &IpConfig) -> Option<IpAddr> {
        self.fixed_gateway(ip).or(ip.gateway)
    }

    /// The one that the config has for the address's family.
    pub(super) fn fixed_gateway(&self, ip: &IpConfig) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|gateway| gateway.is_ipv6() == ip.address.is_v6())
    }
}

/// The table that DEL keeps to: a number that ADD would refuse names none.
///
/// # Errors
/// Code 7.
pub(super) fn table_of(call: &Call<'_>) -> Result<Option<u32>> {
    let wire: Wire = call.fields()?;
    Ok(wire.table.and_then(table))
}

fn table(number: i64) -> Option<u32> {
    u32::try_from(number).ok().filter(|table| *table > 0)
}

fn gateways(list: &str) -> Result<heapless::Vec<IpAddr, 2>> {
    let mut found: heapless::Vec<IpAddr, 2> = heapless::Vec::new();
    let count = Elements::new(list).count();
    if count > 2 {
        return Err(err!(
            CONFIG,
            "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)",
            "it has ",
            count
        ));
    }
    for element in Elements::new(list) {
        let text: Str<'_> = json::from_canonical(element).unwrap_or_default();
        let ip = text
            .plain()
            .and_then(parse_ip)
            .ok_or_else(|| err!(CONFIG, "invalid static gateway IP address", "\"", text.canonical(), "\""))?;
        if let Some(other) = found.iter().find(|other| other.is_ipv6() == ip.is_ipv6()) {
            return Err(two_of_a_family(*other, ip));
        }
        let _ = found.push(ip);
    }
    Ok(found)
}

#[cold]
fn two_of_a_family(one: IpAddr, other: IpAddr) -> Error {
    if one.is_ipv6() {
        return err!(CONFIG, "gateways list contains multiple IPv6 addresses", one, " and ", other);
    }
    err!(CONFIG, "gateways list contains multiple IPv4 addresses", one, " and ", other)
}

/// Addresses of an attachment.
pub(super) type Ips = heapless::Vec<IpConfig, { limits::IPS }>;

/// The addresses of prevResult that are on CNI_IFNAME: those that name no
/// interface, none of the list, or one of that name.
///
/// # Errors
/// Code 7: there are none.
pub(super) fn own_ips(call: &Call<'_>, prev: &AddResult) -> Result<Ips> {
    let ifname = call.env.ifname;
    let mut ips = Ips::new();
    for ip in &prev.ips {
        if prev.interface_of(ip).is_none_or(|interface| interface.name == ifname.as_str()) {
            let _ = ips.push(*ip);
        }
    }
    if ips.is_empty() {
        return Err(err!(CONFIG, "No IP addresses supplied on interface", ifname, " has no address in prevResult"));
    }
    Ok(ips)
}
