//! Configuration of `flannel`, and the one it makes for its delegate.

use picocni_core::config_keys;
use picocni_core::err;
use picocni_core::error::{Error, Phrase, Result};
use picocni_core::json::raw::{self, Elements, Members};
use picocni_core::json::{Key, Kind, Limit, Writer};
use picocni_core::limits;
use picocni_core::plugin::Call;
use picocni_core::put;

use super::subnet::Subnet;

const MEMBERS: Limit = Limit::new("DELEGATE_KEYS", limits::DELEGATE_KEYS);

/// Every key that `flannel` reads.
pub(super) const KEYS: &[Key] = config_keys![
    Key::map("ipam", &Kind::Any, &MEMBERS),
    Key::map("delegate", &Kind::Any, &MEMBERS),
    Key::map("runtimeConfig", &Kind::Any, &MEMBERS),
    Key::str("subnetFile"),
    Key::str("dataDir"),
];

/// What `delegate` may not have, with the peer's phrases.
const TAKEN: [(&str, &str); 2] = [
    ("name", "'delegate' dictionary must not have 'name' field, it'll be set by flannel"),
    ("ipam", "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel"),
];

const EMPTY: &str = "\"\"";

/// Text made here: the defaults of a delegate, or a network.
type Piece = heapless::String<128>;

/// The path under a key.
///
/// # Errors
/// Code 7: not an absolute one.
#[inline(never)]
pub(super) fn path<'a>(call: &Call<'a>, key: &str, default: &'static str) -> Result<&'a str> {
    let value = call.at(&[key]);
    if value.is_empty() || value == EMPTY {
        return Ok(default);
    }
    string(value)
        .filter(|path| path.starts_with('/'))
        .ok_or_else(|| err!(CONFIG, "invalid path", "\"", key, "\" is ", value, ", expected an absolute path"))
}

/// What stands in the quotes of a string that needs no escape.
pub(super) fn string(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.as_bytes().contains(&b'\\'))
}

/// The delegate's type.
///
/// # Errors
/// Code 7: what `delegate` may not have, with the peer's phrases.
fn delegate_type(delegate: &str) -> Result<&str> {
    for (key, phrase) in &TAKEN {
        if raw::member(delegate, key).is_some() {
            let phrase: Phrase = phrase;
            return Err(err!(CONFIG, phrase, "put \"", *key, "\" beside \"delegate\""));
        }
    }
    let value = raw::member(delegate, "type").unwrap_or("\"bridge\"");
    string(value).ok_or_else(|| {
        err!(CONFIG, "'delegate' dictionary, if present, must have (string) 'type' field", "\"type\" is ", value)
    })
}

/// Copies the members of an object that `but` does not have.
#[inline(never)]
pub(super) fn copy(writer: &mut Writer<'_>, object: &str, but: &str) {
    for member in Members::new(object) {
        if !Members::new(but).any(|other| member.is(other.key)) {
            writer.raw_key(member.key).raw(member.value);
        }
    }
}

/// Writes the delegate's config: the members of `delegate`, and what flannel
/// knows where they do not say it. Gives the length.
///
/// # Errors
/// Code 7 as [`delegate_type`]; code 100: it does not fit.
pub(super) fn compose(call: &Call<'_>, subnet: Subnet<'_>, out: &mut [u8]) -> Result<usize> {
    let delegate = call.at(&["delegate"]);
    let kind = delegate_type(delegate)?;
    let mut writer = Writer::new(out);
    writer.begin_object();
    // The name comes first, which shows who wrote it: the peer sorts its keys.
    for key in &["name", "cniVersion", "runtimeConfig"] {
        let mut value = call.at(&[key]);
        if value.is_empty() || value == EMPTY {
            value = raw::at(delegate, &[key]);
        }
        if !value.is_empty() {
            writer.key(key).raw(value);
        }
    }
    copy(&mut writer, delegate, r#"{"cniVersion":0,"runtimeConfig":0}"#);
    // If flannel does not translate what leaves the cluster, the delegate has to.
    let (masq, mtu) = (!subnet.ip_masq(), subnet.mtu()?);
    let gateway = if kind == "bridge" { ",\"isGateway\":true}" } else { "}" };
    let mut defaults = Piece::new();
    put!(&mut defaults, "{\"type\":\"bridge\",\"ipMasq\":", masq, ",\"mtu\":", mtu, gateway);
    copy(&mut writer, &defaults, delegate);
    compose_ipam(call.at(&["ipam"]), subnet, &mut writer)?;
    writer.end_object();
    writer.finish().map_err(|_| Error::limit("STATE_FILE", limits::STATE_FILE))
}

/// The members of `ipam`, with the node's subnets and a route to every network.
fn compose_ipam(ipam: &str, subnet: Subnet<'_>, writer: &mut Writer<'_>) -> Result<()> {
    let routes = raw::member(ipam, "routes").unwrap_or("[]");
    if !routes.starts_with('[') {
        return Err(err!(CONFIG, "failed to parse ipam.routes", "expected a list, got ", routes));
    }
    writer.key("ipam").begin_object();
    copy(writer, ipam, r#"{"ranges":0,"routes":0}"#);
    copy(writer, r#"{"type":"host-local"}"#, ipam);
    writer.key("ranges").begin_array();
    let piece = |before: &str, network: &dyn picocni_core::text::Put, after: &str, writer: &mut Writer<'_>| {
        let mut text = Piece::new();
        put!(&mut text, before, network, after);
        writer.raw(&text);
    };
    subnet.subnets(&mut |subnet| piece("[{\"subnet\":\"", &subnet, "\"}]", writer))?;
    writer.end_array().key("routes").begin_array();
    for route in Elements::new(routes) {
        writer.raw(route);
    }
    subnet.networks(&mut |network| piece("{\"dst\":\"", &network, "\"}", writer))?;
    writer.end_array().end_object();
    Ok(())
}
