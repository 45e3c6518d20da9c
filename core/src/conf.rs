//! The network configuration: keys that every plugin shares (spec 1.1.0, section 1).

mod attachments;
mod derive;

pub use attachments::ValidAttachments;
pub use derive::Derived;

use crate::err;
use crate::error::{Error, Phrase, Result};
use crate::json::{self, Document, Expected, JsonError, Key, Kind, Limit, Str};
use crate::limits;
use crate::name::is_identifier;
use crate::put;
use crate::result::wire::{self, RESULT_KEYS};
use crate::text::{Put, Sink};

const CAPABILITY_LIMIT: Limit = Limit::new("CAPABILITIES", limits::CAPABILITIES);
const ATTACHMENT_LIMIT: Limit = Limit::new("ATTACHMENTS", limits::ATTACHMENTS);
const ATTACHMENT: Kind = Kind::Object(&[Key::str("containerID"), Key::str("ifname")]);
const IPAM_TYPE: &[Key] = &[Key::str("type")];

/// Number of keys in [`COMMON`].
pub const COMMON_LEN: usize = 8;

/// Keys of every plugin's config apart from `ipam`, which each declares by what it reads of it.
pub const COMMON: [Key; COMMON_LEN] = [
    Key::str("cniVersion"),
    Key::str("name"),
    Key::str("type"),
    Key::object("dns", wire::DNS_KEYS),
    Key::spanned("prevResult", &Kind::Object(RESULT_KEYS)),
    Key::array("cni.dev/valid-attachments", &ATTACHMENT, &ATTACHMENT_LIMIT),
    Key::array("cni.dev/attachments", &ATTACHMENT, &ATTACHMENT_LIMIT),
    Key::map("capabilities", &Kind::Bool, &CAPABILITY_LIMIT),
];

/// The `ipam` key for plugins that only delegate.
pub const IPAM: Key = Key::object("ipam", IPAM_TYPE);

/// Every key of a plugin: the common ones and its own,
/// `config_keys![IPAM, Key::bool("isGateway")]`.
#[macro_export]
macro_rules! config_keys {
    ($($key:expr),+ $(,)?) => {{
        const OWN: usize = [$($crate::conf::one(&$key)),+].len();
        const ALL: [$crate::json::Key; OWN + $crate::conf::COMMON_LEN] = $crate::conf::with_common([$($key),+]);
        &ALL
    }};
}

/// Counts a key for [`config_keys!`](crate::config_keys).
#[doc(hidden)]
pub const fn one(_key: &Key) {}

/// Puts a plugin's own keys behind the common ones; [`config_keys!`](crate::config_keys) counts them.
#[must_use]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated at compile time, where a wrong index is an error"
)]
pub const fn with_common<const OWN: usize, const ALL: usize>(own: [Key; OWN]) -> [Key; ALL] {
    assert!(ALL == OWN + COMMON_LEN, "one slot for each key");
    let mut all = [Key::str(""); ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < COMMON_LEN { COMMON[at] } else { own[at - COMMON_LEN] };
        at += 1;
    }
    all
}

/// What every plugin reads of its config.
#[derive(Debug, Default)]
struct Wire<'a> {
    cni_version: Str<'a>,
    name: Str<'a>,
    kind: Str<'a>,
    ipam: WireIpam<'a>,
}

crate::fields!(Wire<'a> { "cniVersion" => cni_version, "name" => name, "type" => kind, "ipam" => ipam });

#[derive(Debug, Default)]
struct WireIpam<'a> {
    kind: Str<'a>,
}

crate::fields!(WireIpam<'a> { "type" => kind });

/// The common part of a network configuration, checked.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NetConf<'a> {
    /// `cniVersion` as it stands there; "" if absent.
    pub cni_version: &'a str,
    /// Network name.
    pub name: &'a str,
    /// Plugin type.
    pub kind: &'a str,
    ipam: &'a str,
}

impl<'a> NetConf<'a> {
    /// Reads the common keys of canonical text and checks the network's name.
    ///
    /// # Errors
    /// Code 7: name missing or not `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`.
    pub fn read(text: &'a str) -> Result<Self> {
        let wire: Wire<'a> = json::read(text).map_err(|_| err!(DECODE, "error unmarshall network config"))?;
        if wire.name.is_empty() {
            return Err(err!(CONFIG, "missing network name", "set \"name\" in the network configuration"));
        }
        let name = wire
            .name
            .plain()
            .filter(|name| is_identifier(name))
            .ok_or_else(|| err!(CONFIG, "invalid characters found in network name", wire.name.canonical()))?;
        let plain = |value: Str<'a>, key: &'static str| {
            value.plain().ok_or_else(|| err!(CONFIG, "invalid value", "\"", key, "\" is \"", value.canonical(), "\""))
        };
        Ok(NetConf {
            cni_version: plain(wire.cni_version, "cniVersion")?,
            name,
            kind: plain(wire.kind, "type")?,
            ipam: plain(wire.ipam.kind, "ipam.type")?,
        })
    }

    /// The IPAM plugin, "" for none.
    #[must_use]
    pub fn ipam_type(&self) -> &'a str {
        self.ipam
    }

    /// Whether addresses are delegated.
    #[must_use]
    pub fn has_ipam(&self) -> bool {
        !self.ipam.is_empty()
    }
}

/// Validates raw text by `keys` and writes the canonical text.
///
/// # Errors
/// Code 6 with line, column and what was expected; code 100 over a capacity.
pub fn scan<'i, 'o>(raw: &'i [u8], keys: &'static [Key], out: &'o mut [u8]) -> Result<Document<'i, 'o>> {
    json::scan(raw, keys, out).map_err(|error| decode_error(&"error unmarshall network config", &error))
}

/// A JSON fault as a CNI error.
#[must_use]
pub fn decode_error(msg: Phrase, fault: &JsonError) -> Error {
    let error = match fault.kind {
        json::ErrorKind::Limit { .. } => err!(LIMIT, msg),
        _ => err!(DECODE, msg),
    };
    put!(&mut error.more(), *fault);
    error
}

impl Put for JsonError {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, "line ", self.line, ", column ", self.column, ": ");
        match self.kind {
            json::ErrorKind::Limit { name, max } => put!(out, name, " allows ", max),
            json::ErrorKind::Truncated => put!(out, "the text ends here, expected ", self.expected),
            json::ErrorKind::LoneSurrogate => put!(out, "half of a surrogate pair"),
            json::ErrorKind::Utf8 => put!(out, "not UTF-8"),
            json::ErrorKind::ControlCharacter => put!(out, "a control character in a string, expected an escape"),
            _ => put!(out, "expected ", self.expected),
        }
        if let Some(key) = self.key {
            put!(out, " for \"", key, "\"");
        }
    }
}

impl Put for Expected {
    fn put(&self, out: &mut dyn Sink) {
        match *self {
            Expected::Text(text) => out.text(text),
            Expected::Int { min, max } => put!(out, "an integer ", min, "..", max),
            Expected::Uint { min, max } => put!(out, "an integer ", min, "..", max),
        }
    }
}

/// The config's own `dns` block, which replaces that of an IPAM result if any
/// of its keys is set: `out` is left alone if none is.
///
/// # Errors
/// Code 100: over a capacity.
pub fn dns(text: &str, out: &mut crate::result::Dns) -> Result<()> {
    let block = json::raw::at(text, &["dns"]);
    if wire::has_dns(block)? { wire::dns(block, out) } else { Ok(()) }
}

/// Reads `prevResult` into `out`; `false` if there is none.
///
/// # Errors
/// Code 6: not a result of the config's family.
pub fn prev_result(text: &str, conf: &NetConf<'_>, out: &mut crate::result::AddResult) -> Result<bool> {
    let prev = json::raw::at(text, &["prevResult"]);
    if prev.is_empty() {
        return Ok(false);
    }
    crate::result::decode::prev(prev, conf.cni_version, out)?;
    Ok(true)
}
