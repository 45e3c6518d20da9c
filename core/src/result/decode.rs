//! Results of every version → the one in memory.
//!
//! The lists of a result are walked in its canonical text, one element at a
//! time; only the result in memory is as large as its limits.

use super::AddResult;
use super::wire::{self, ERROR_KEYS, ErrorObject, RESULT_KEYS};
use crate::conf::decode_error;
use crate::err;
use crate::error::Result;
use crate::json::{self, Str, raw};
use crate::version::{Family, Version};

/// What tells how a result is to be read.
#[derive(Debug, Default)]
struct Head<'a> {
    cni_version: Str<'a>,
}

crate::fields!(Head<'a> { "cniVersion" => cni_version });

/// prevResult, a canonical object: read by the family of the config's version,
/// which a missing version of its own is filled in from.
///
/// # Errors
/// Code 6: its version is of another family. Code 7, 100: a value is wrong or too long.
pub fn prev(text: &str, config_version: &str, out: &mut AddResult) -> Result<()> {
    let head: Head<'_> = json::read(text).map_err(|_| err!(DECODE, "could not parse prevResult"))?;
    let expected = Version::exact(config_version)
        .ok_or_else(|| err!(DECODE, "could not parse prevResult", "config version is \"", config_version, "\""))?;
    let own =
        if head.cni_version.is_empty() { Some(expected) } else { head.cni_version.plain().and_then(Version::exact) };
    match own {
        Some(own) if own.family() == expected.family() => read(text, expected.family(), out),
        _ => Err(err!(
            DECODE,
            "could not parse prevResult",
            "result type supports the family of ",
            expected,
            " but unmarshalled CNIVersion is \"",
            head.cni_version.canonical(),
            "\""
        )),
    }
}

/// A foreign plugin's output: read by its own version, or the config's if it has none.
///
/// # Errors
/// Code 6: no JSON, unknown version. Code 7, 100: a value is wrong or too long.
pub fn foreign(raw: &[u8], config_version: Version, text: &mut [u8], out: &mut AddResult) -> Result<()> {
    out.clear();
    if json::raw::trim_space(raw) == b"null" {
        return Ok(());
    }
    let document = json::scan(raw, RESULT_KEYS, text)
        .map_err(|fault| decode_error(&"delegated plugin's result is no JSON", &fault))?;
    let head: Head<'_> =
        json::read(document.canonical()).map_err(|_| err!(DECODE, "delegated plugin's result is no JSON"))?;
    let version = if head.cni_version.is_empty() {
        config_version
    } else {
        head.cni_version.plain().and_then(Version::exact).ok_or_else(|| {
            err!(DECODE, "delegated plugin's result has an unknown version", head.cni_version.canonical())
        })?
    };
    read(document.canonical(), version.family(), out)
}

/// Whether `raw` is a CNI error object (`code` or `msg` set).
#[must_use]
pub fn is_error_object(raw: &[u8], text: &mut [u8]) -> bool {
    error_object(raw, text).is_some_and(|(code, msg, _)| code != 0 || !msg.is_empty())
}

fn read(text: &str, family: Family, out: &mut AddResult) -> Result<()> {
    out.clear();
    let at = |key: &str| raw::at(text, &[key]);
    wire::dns(at("dns"), &mut out.dns)?;
    if family == Family::F020 {
        wire::block_020(at("ip4"), out)?;
        return wire::block_020(at("ip6"), out);
    }
    wire::interfaces(at("interfaces"), out)?;
    wire::ips(at("ips"), out)?;
    wire::routes(at("routes"), &mut out.routes)
}

/// Code, phrase and details of an error object that a foreign plugin printed;
/// `None` if it is none.
pub fn error_object<'t>(raw: &[u8], text: &'t mut [u8]) -> Option<(u32, Str<'t>, Str<'t>)> {
    let document = json::scan(raw, ERROR_KEYS, text).ok()?;
    let error: ErrorObject<'_> = json::read(document.canonical()).ok()?;
    Some((u32::try_from(error.code).ok()?, error.msg, error.details))
}
