//! Results of every version → the one in memory.

use super::AddResult;
use super::wire::{ERROR_KEYS, Ip020, PrevResult, RESULT_KEYS, cidr, ip};
use crate::conf::decode_error;
use crate::err;
use crate::error::{Error, Result};
use crate::json::{self, Str};
use crate::limits;
use crate::version::{Family, Version};

/// prevResult: read by the family of the config's version, which a missing
/// version of its own is filled in from.
///
/// # Errors
/// Code 6: its version is of another family. Code 7, 100: a value is wrong or too long.
pub fn prev(wire: &PrevResult<'_>, config_version: &str, out: &mut AddResult) -> Result<()> {
    let expected = Version::exact(config_version)
        .ok_or_else(|| err!(DECODE, "could not parse prevResult", "config version is \"", config_version, "\""))?;
    let own = if wire.cni_version.is_empty() { Some(expected) } else { wire.cni_version.plain().and_then(Version::exact) };
    match own {
        Some(own) if own.family() == expected.family() => read(wire, expected.family(), out),
        _ => Err(err!(DECODE, "could not parse prevResult", "result type supports the family of ", expected,
            " but unmarshalled CNIVersion is \"", wire.cni_version.canonical(), "\"")),
    }
}

/// A foreign plugin's output: read by its own version, or the config's if it has none.
///
/// # Errors
/// Code 6: no JSON, unknown version. Code 7, 100: a value is wrong or too long.
pub fn foreign(raw: &[u8], config_version: Version, text: &mut [u8], out: &mut AddResult) -> Result<()> {
    out.clear();
    if raw.trim_ascii() == b"null" {
        return Ok(());
    }
    let document = json::scan(raw, RESULT_KEYS, text)
        .map_err(|fault| decode_error(&"delegated plugin's result is no JSON", &fault))?;
    let wire: PrevResult<'_> = document.decode().map_err(|_| Error::limit("IPS", limits::IPS))?;
    let version = if wire.cni_version.is_empty() {
        config_version
    } else {
        wire.cni_version.plain().and_then(Version::exact).ok_or_else(|| {
            err!(DECODE, "delegated plugin's result has an unknown version", wire.cni_version.canonical())
        })?
    };
    read(&wire, version.family(), out)
}

/// Whether `raw` is a CNI error object (`code` or `msg` set).
#[must_use]
pub fn is_error_object(raw: &[u8], text: &mut [u8]) -> bool {
    json::scan(raw, ERROR_KEYS, text)
        .ok()
        .and_then(|document| document.decode::<super::wire::ErrorObject<'_>>().ok())
        .is_some_and(|error| error.code != 0 || !error.msg.is_empty())
}

fn read(wire: &PrevResult<'_>, family: Family, out: &mut AddResult) -> Result<()> {
    out.clear();
    out.dns = wire.dns.read()?;
    if family == Family::F020 {
        for block in [&wire.ip4, &wire.ip6].into_iter().flatten() {
            read_020(block, out)?;
        }
        return Ok(());
    }
    for interface in &wire.interfaces {
        out.add_interface(interface.read()?)?;
    }
    for address in &wire.ips {
        out.ips.push(address.read()?).map_err(|_| Error::limit("IPS", limits::IPS))?;
    }
    for route in &wire.routes {
        out.routes.push(route.read()?).map_err(|_| Error::limit("ROUTES", limits::ROUTES))?;
    }
    Ok(())
}

fn read_020(block: &Ip020<'_>, out: &mut AddResult) -> Result<()> {
    let config = super::IpConfig { interface: None, address: cidr(block.ip, "ip")?, gateway: ip(block.gateway, "gateway")? };
    out.ips.push(config).map_err(|_| Error::limit("IPS", limits::IPS))?;
    for route in &block.routes {
        out.routes.push(route.read()?).map_err(|_| Error::limit("ROUTES", limits::ROUTES))?;
    }
    Ok(())
}

/// Code, phrase and details of an error object that a foreign plugin printed;
/// `None` if it is none.
pub fn error_object<'t>(raw: &[u8], text: &'t mut [u8]) -> Option<(u32, Str<'t>, Str<'t>)> {
    let document = json::scan(raw, ERROR_KEYS, text).ok()?;
    let error: super::wire::ErrorObject<'_> = json::from_canonical(document.canonical()).ok()?;
    Some((error.code, error.msg, error.details))
}
