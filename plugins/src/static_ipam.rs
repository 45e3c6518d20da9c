//! `static`: gives the addresses that the configuration or the runtime names,
//! and keeps nothing.

#[cfg(test)]
mod tests;

use core::net::IpAddr;

use picocni_core::config_keys;
use picocni_core::env::Args;
use picocni_core::err;
use picocni_core::error::{Error, Phrase, Result};
use picocni_core::fields;
use picocni_core::json::raw::Elements;
use picocni_core::json::{self, Key, Kind, Limit, Str};
use picocni_core::limits;
use picocni_core::net::{Cidr, parse_ip};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::put;
use picocni_core::result::wire::{self, DNS_KEYS, ROUTES};
use picocni_core::result::{AddResult, IpConfig};
use picocni_core::session::Session;
use picocni_core::version::Version;

const ADDRESS_LIMIT: Limit = Limit::new("IPS", limits::IPS);
const ADDRESS: Kind = Kind::Object(&[Key::str("address"), Key::str("gateway")]);
const IPS: &[Key] = &[Key::array("ips", &Kind::Str, &ADDRESS_LIMIT)];
const IPAM: &[Key] =
    &[Key::str("type"), Key::array("addresses", &ADDRESS, &ADDRESS_LIMIT), ROUTES, Key::object("dns", DNS_KEYS)];

const KEYS: &[Key] = config_keys![
    Key::object("ipam", IPAM),
    Key::object("runtimeConfig", IPS),
    Key::object("args", &[Key::object("cni", IPS)])
];

/// An entry of `ipam.addresses`.
#[derive(Debug, Default)]
struct Wire<'a> {
    address: Str<'a>,
    gateway: Str<'a>,
}

fields!(Wire<'a> { "address" => address, "gateway" => gateway });

type Ips = heapless::Vec<IpConfig, { limits::IPS }>;

/// The plugin.
#[derive(Debug)]
pub struct Static;

impl Plugin for Static {
    fn name(&self) -> &'static str {
        "static"
    }

    fn keys(&self) -> &'static [Key] {
        KEYS
    }

    fn is_ipam(&self) -> bool {
        true
    }

    fn add(&self, call: &Call<'_>, _session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        result.clear();
        addresses(call, &mut result.ips)?;
        wire::routes(call.at(&["ipam", "routes"]), &mut result.routes)?;
        wire::dns(call.at(&["ipam", "dns"]), &mut result.dns)
    }

    /// An address of prevResult has the prefix and the gateway that are
    /// configured for it. One that is in prevResult no more is no fault: a
    /// runtime may give `ips` at ADD only.
    fn check(&self, call: &Call<'_>, _session: &mut Session<'_>) -> Result<()> {
        let mut ips = Ips::new();
        addresses(call, &mut ips)?;
        let prev = call.required_prev()?;
        for ip in &ips {
            let Some(given) = prev.ips.iter().find(|given| given.address.addr() == ip.address.addr()) else { continue };
            let gateway = ip.gateway.is_none() || ip.gateway == given.gateway;
            if !gateway || ip.address != given.address {
                return Err(changed(call, ip, given));
            }
        }
        Ok(())
    }

    fn del(&self, _call: &Call<'_>, _session: &mut Session<'_>) -> Result<()> {
        Ok(())
    }

    fn status(&self, call: &Call<'_>, _session: &mut Session<'_>) -> Result<()> {
        addresses(call, &mut Ips::new())
    }
}

/// `ipam.addresses` and behind them those of CNI_ARGS. `args.cni.ips` replaces
/// all of these, and `runtimeConfig.ips` replaces those.
///
/// # Errors
/// Code 7: no address, or more than the version has room for. Code 4: CNI_ARGS.
fn addresses(call: &Call<'_>, out: &mut Ips) -> Result<()> {
    if call.at(&["ipam"]).is_empty() {
        return Err(err!(CONFIG, "IPAM config missing 'ipam' key"));
    }
    let replacing = [call.at(&["args", "cni", "ips"]), call.at(&["runtimeConfig", "ips"])];
    let is_replaced = replacing.iter().any(|list| Elements::new(list).next().is_some());
    // As in the peer, what is replaced need not be right.
    let configured = if is_replaced { "" } else { call.at(&["ipam", "addresses"]) };
    for element in Elements::new(configured) {
        let wire: Wire<'_> = json::read(element).map_err(|_| err!(CONFIG, "config does not fit"))?;
        push(
            wire.address.plain(),
            wire.address.canonical(),
            &"the 'address' field is expected to be in CIDR notation",
            out,
        )?;
        if let Some(ip) = out.last_mut().filter(|_| !wire.gateway.is_empty()) {
            ip.gateway = Some(gateway(wire.gateway.plain().unwrap_or("\\"))?);
        }
    }
    from_environment(call.env.args, out)?;
    for list in replacing {
        for (at, element) in Elements::new(list).enumerate() {
            if at == 0 {
                out.clear();
            }
            let text: Str<'_> = json::from_canonical(element).unwrap_or_default();
            push(text.plain(), text.canonical(), &"an entry in the 'ips' field is NOT in CIDR notation", out)?;
        }
    }
    check_families(call.version, out)
}

/// CNI_ARGS: `IP=cidr,cidr` and `GATEWAY=address,address`. As in the peer, a
/// gateway is for the addresses that come with it.
fn from_environment(args: &str, out: &mut Ips) -> Result<()> {
    let args = Args::parse(args, &["IP", "GATEWAY"])?;
    let before = out.len();
    for item in items(args.get("IP")) {
        push(Some(item), item, &"the 'ip' field is expected to be in CIDR notation", out)?;
    }
    for item in items(args.get("GATEWAY")) {
        let gateway = gateway(item)?;
        for ip in out.iter_mut().skip(before).filter(|ip| ip.address.contains(gateway)) {
            ip.gateway = Some(gateway);
        }
    }
    Ok(())
}

fn items(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.filter(|list| !list.is_empty()).into_iter().flat_map(|list| list.split(is_comma)).map(str::trim)
}

fn is_comma(c: char) -> bool {
    c == ','
}

/// Appends an address. `text` is what it should be parsed from, `shown` what an error shows.
fn push(text: Option<&str>, shown: &str, phrase: Phrase, out: &mut Ips) -> Result<()> {
    let address = text
        .and_then(Cidr::parse)
        .ok_or_else(|| err!(CONFIG, phrase, "got: '", shown, "' (like 10.1.2.3/24 or fd00::1/64)"))?;
    out.push(IpConfig { interface: None, address, gateway: None }).map_err(|_| Error::limit("IPS", limits::IPS))
}

fn gateway(text: &str) -> Result<IpAddr> {
    parse_ip(text).ok_or_else(|| err!(CONFIG, "invalid gateway address", "'", text, "' (like 10.1.2.1 or fd00::1)"))
}

/// Versions before 0.3.0 have room for one address of each family.
fn check_families(version: Version, ips: &Ips) -> Result<()> {
    let many = |v6: bool| ips.iter().filter(|ip| ip.address.is_v6() == v6).nth(1).is_some();
    if version < Version::V0_3_0 && (many(false) || many(true)) {
        return Err(err!(
            CONFIG,
            "too many addresses per family",
            "CNI version ",
            version,
            " does not support more than 1 address per family"
        ));
    }
    Ok(())
}

#[cold]
fn changed(call: &Call<'_>, wanted: &IpConfig, given: &IpConfig) -> Error {
    let error = err!(CHANGED, "static: Failed to match addr", wanted.address, " on interface ", call.env.ifname);
    if let Some(gateway) = wanted.gateway {
        put!(&mut error.more(), " with gateway ", gateway);
    }
    put!(&mut error.more(), ": prevResult says ", given.address);
    if let Some(gateway) = given.gateway {
        put!(&mut error.more(), " with gateway ", gateway);
    }
    error
}
