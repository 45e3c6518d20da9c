//! The result cache, in libcni's format (`cniCacheV1`), so that either runtime
//! removes what the other made.

use super::conflist::Network;
use super::files::{Path, in_file, join};
use super::words::{key_and_value, pairs, plain};
use super::{Attachment, base64};
use crate::backend::Backend;
use crate::conf::decode_error;
use crate::dispatch::CallMemory;
use crate::err;
use crate::error::{Error, Result};
use crate::json::raw::{Elements, member};
use crate::json::{self, Key, Kind, Limit, Str, Writer};
use crate::limits;
use crate::op::Removal;
use crate::result::{decode, encode};
use crate::text::fits;
use crate::version::Version;

/// Where libcni keeps its cache.
pub const DEFAULT_DIR: &str = "/var/lib/cni";

const KIND: &str = "cniCacheV1";

const PAIR_LIMIT: Limit = Limit::new("CNI_ARGS key and value", 2);
const PAIRS_LIMIT: Limit = Limit::new("CNI_ARGS_PAIRS", limits::CNI_ARGS_PAIRS);
const PAIR: Kind = Kind::Array(&Kind::Str, &PAIR_LIMIT);

/// Keys of a cache file. DEL is called with the list of today, not with `config`.
const CACHE_KEYS: &[Key] = &[
    Key::str("kind"),
    Key::str("containerId"),
    Key::str("ifName"),
    Key::str("networkName"),
    Key::str("netns"),
    Key::array("cniArgs", &PAIR, &PAIRS_LIMIT),
    Key::raw("capabilityArgs"),
    Key::raw("result"),
    Key::raw("config"),
];

/// The directory of the cache files.
///
/// # Errors
/// Code 100.
pub(super) fn dir(cache_dir: &str) -> Result<Path> {
    join(if cache_dir.is_empty() { DEFAULT_DIR } else { cache_dir }, "results")
}

/// The cache file of an attachment. Its parts were checked: none holds a slash.
///
/// # Errors
/// Code 100.
pub(super) fn path(attachment: &Attachment<'_>) -> Result<Path> {
    let dir = dir(attachment.cache_dir)?;
    fits(&[&dir, &"/", &attachment.network, &"-", &attachment.container_id, &"-", &attachment.ifname])
        .ok_or_else(|| Error::limit("PATH", limits::PATH).with(&" bytes for a result cache file"))
}

/// What a cache file holds.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack; there is no heap to box it")]
pub(super) enum Content<'c> {
    /// There is no file, or it cannot be read.
    Missing,
    /// An attachment.
    Info(Info<'c>),
    /// Something else: a bare result of an older libcni, or rubbish.
    Legacy(&'c [u8]),
}

/// A cached attachment. Texts that a DEL must outlive are copies.
pub(super) struct Info<'c> {
    pub(super) network: heapless::String<{ limits::FILE_NAME }>,
    pub(super) container_id: heapless::String<{ limits::FILE_NAME }>,
    pub(super) ifname: heapless::String<{ limits::IFNAME }>,
    pub(super) netns: heapless::String<{ limits::SANDBOX }>,
    /// `K=V;K=V`.
    pub(super) cni_args: heapless::String<{ limits::CNI_ARGS }>,
    /// Raw object, or "".
    pub(super) capability_args: &'c str,
    /// Raw result, if there is one.
    pub(super) result: Option<&'c str>,
    /// The list that ADD ran: base64, or "".
    pub(super) config: &'c str,
}

impl Info<'_> {
    /// The attachment, with the places of `of`.
    pub(super) fn attachment<'a>(&'a self, of: &Attachment<'a>) -> Attachment<'a> {
        Attachment {
            network: &self.network,
            container_id: &self.container_id,
            netns: &self.netns,
            ifname: &self.ifname,
            cni_args: &self.cni_args,
            capability_args: self.capability_args,
            ..*of
        }
    }
}

/// Reads a cache file. A cache that cannot be read is none: it is a
/// convenience, and what it stood for is in the kernel.
pub(super) fn read<'c>(backend: &mut dyn Backend, path: &str, raw: &'c mut [u8], text: &mut [u8]) -> Content<'c> {
    let Ok(Some(length)) = backend.read_file(path, raw) else {
        return Content::Missing;
    };
    // A file over the limit is none of ours, and is cut: rubbish.
    let raw = raw.get(..length).unwrap_or_default();
    info(raw, text).map_or(Content::Legacy(raw), Content::Info)
}

fn info<'c>(raw: &'c [u8], text: &mut [u8]) -> Option<Info<'c>> {
    let document = json::scan(raw, CACHE_KEYS, text).ok()?;
    let canonical = document.canonical();
    if string(canonical, "kind")? != *KIND {
        return None;
    }
    let mut cni_args = heapless::String::new();
    for pair in Elements::new(member(canonical, "cniArgs").unwrap_or_default()) {
        let mut parts = Elements::new(pair);
        let (key, value) = (parts.next()?, parts.next()?);
        cni_args.push_str(if cni_args.is_empty() { "" } else { ";" }).ok()?;
        json::from_canonical::<Str<'_>>(key).ok()?.decode_into(&mut cni_args).ok()?;
        cni_args.push('=').ok()?;
        json::from_canonical::<Str<'_>>(value).ok()?.decode_into(&mut cni_args).ok()?;
    }
    Some(Info {
        network: copied(canonical, "networkName")?,
        container_id: copied(canonical, "containerId")?,
        ifname: copied(canonical, "ifName")?,
        netns: copied(canonical, "netns")?,
        cni_args,
        capability_args: document.raw("capabilityArgs").unwrap_or_default(),
        result: document.raw("result"),
        config: document.raw("config").and_then(|text| text.strip_prefix('"')?.strip_suffix('"')).unwrap_or_default(),
    })
}

fn string<'t>(canonical: &'t str, key: &str) -> Option<Str<'t>> {
    member(canonical, key).map_or(Some(Str::default()), |value| json::from_canonical(value).ok())
}

fn copied<const N: usize>(canonical: &str, key: &str) -> Option<heapless::String<N>> {
    let mut out = heapless::String::new();
    string(canonical, key)?.decode_into(&mut out).ok()?;
    Some(out)
}

/// Puts the cached result into `out` in the list's version; `None` if there is
/// no cache file, or none with a result.
///
/// # Errors
/// Code 6, 7: it is no result, or cannot be converted.
pub(super) fn result(
    content: &Content<'_>,
    network: &Network<'_>,
    call: &mut CallMemory,
    out: &mut [u8],
) -> Result<Option<usize>> {
    let raw = match content {
        Content::Missing => return Ok(None),
        Content::Info(info) => match info.result {
            Some(result) => result.as_bytes(),
            None => return Ok(None),
        },
        Content::Legacy(raw) => raw,
    };
    in_version(raw, network, call, out).map(Some)
}

/// Copies a result to `out`: as it is if it has the list's version, converted
/// to that if it has another (its unknown members are lost then). An absent
/// version is 0.1.0.
///
/// # Errors
/// Code 6, 7: it is no result, or cannot be converted.
fn in_version(raw: &[u8], network: &Network<'_>, call: &mut CallMemory, out: &mut [u8]) -> Result<usize> {
    let unreadable = &"cached result unreadable";
    let text = json::validate(raw).map_err(|fault| decode_error(unreadable, &fault))?;
    let own = plain(text, "cniVersion").unwrap_or_default();
    if own == network.version && !own.is_empty() {
        let mut writer = Writer::new(out);
        writer.compact(text);
        return writer.finish().map_err(|_| Error::limit("REQUEST", limits::REQUEST));
    }
    let to = Version::exact(network.version)
        .ok_or_else(|| err!(VERSION, "incompatible CNI versions", "no result of version \"", network.version, "\""))?;
    convert(raw, Version::V0_1_0, to, call, out)
}

/// Reads a result by its own version, or `absent` if it has none, and writes it in `to`.
///
/// # Errors
/// Code 6, 7, 100.
pub(super) fn convert(
    raw: &[u8],
    absent: Version,
    to: Version,
    call: &mut CallMemory,
    out: &mut [u8],
) -> Result<usize> {
    decode::foreign(raw, absent, &mut call.text, &mut call.result)?;
    encode::to_json(&call.result, to, out)
}

/// Writes the cache file of an attachment.
///
/// # Errors
/// Code 5; code 100: it is over [`limits::CACHE_FILE`].
pub(super) fn write(
    backend: &mut dyn Backend,
    network: &Network<'_>,
    attachment: &Attachment<'_>,
    result: &str,
    buffer: &mut [u8],
) -> Result<()> {
    let path = path(attachment)?;
    let length = content(network, attachment, result, buffer)
        .ok_or_else(|| in_file(Error::limit("CACHE_FILE", limits::CACHE_FILE), &path))?;
    backend.write_file(&path, buffer.get(..length).unwrap_or_default()).map_err(|error| in_file(error, &path))
}

/// The file's content; members in libcni's order.
fn content(network: &Network<'_>, attachment: &Attachment<'_>, result: &str, out: &mut [u8]) -> Option<usize> {
    let mut head = Writer::new(out);
    head.begin_object().key("kind").str(KIND).key("containerId").str(attachment.container_id).key("config");
    let head = head.finish().ok()?;
    let config = head.checked_add(1)?;
    *out.get_mut(head)? = b'"';
    let quote = config.checked_add(base64::encode(network.source.as_bytes(), out.get_mut(config..)?)?)?;
    *out.get_mut(quote)? = b'"';
    // The rest is written as an object of its own, whose brace becomes the comma.
    let comma = quote.checked_add(1)?;
    let mut rest = Writer::new(out.get_mut(comma..)?);
    rest.begin_object().key("ifName").str(attachment.ifname).key("networkName").str(attachment.network);
    if !attachment.netns.is_empty() {
        rest.key("netns").str(attachment.netns);
    }
    if !attachment.cni_args.is_empty() {
        rest.key("cniArgs").begin_array();
        for (key, value) in pairs(attachment.cni_args).filter_map(key_and_value) {
            rest.begin_array().str(key).str(value).end_array();
        }
        rest.end_array();
    }
    if !attachment.capability_args.is_empty() {
        rest.key("capabilityArgs").compact(attachment.capability_args);
    }
    rest.key("result").compact(result).end_object();
    let rest = rest.finish().ok()?;
    *out.get_mut(comma)? = b',';
    comma.checked_add(rest)
}

/// Removes a cache file.
///
/// # Errors
/// Code 5.
pub(super) fn remove(backend: &mut dyn Backend, path: &str) -> Result<()> {
    let mut outcome = Ok(());
    backend.remove(&[Removal::RemoveFile { path }], &mut |_, removed| outcome = removed);
    outcome
}

/// Whether a file name may be that of an attachment of `network`; what it
/// holds decides, since both names and IDs may have dashes.
pub(super) fn may_belong(file_name: &str, network: &str) -> bool {
    file_name.strip_prefix(network).is_some_and(|rest| rest.starts_with('-'))
}
