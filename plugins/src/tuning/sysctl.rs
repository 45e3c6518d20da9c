//! Sysctls: keys, values and who may set them.

use picocni_core::allowlist;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::json::raw::Members;
use picocni_core::json::{self, Str};
use picocni_core::limits;
use picocni_core::name::IfName;
use picocni_core::put;
use picocni_core::session::Session;
use picocni_core::text::fits;

/// One regular expression a line; the node's owner writes it.
pub(super) const ALLOWLIST: &str = "/etc/cni/tuning/allowlist.conf";

/// Stands for the interface's name in a key.
const IFNAME: &str = "IFNAME";

/// A path below /proc/sys.
pub(super) type Path = heapless::String<{ limits::SYSCTL_KEY }>;

/// Keys and values as the config has them, in its order.
#[derive(Debug, Default)]
pub(super) struct Sysctls<'a>(heapless::Vec<(Str<'a>, Str<'a>), { limits::SYSCTLS }>);

impl<'a> Sysctls<'a> {
    /// Sets what a canonical map has: a known key anew, others behind it.
    ///
    /// # Errors
    /// Code 100.
    pub(super) fn read(&mut self, map: &'a str) -> Result<()> {
        let limit = || Error::limit("SYSCTLS", limits::SYSCTLS);
        for member in Members::new(map) {
            let key = Str::from_canonical(member.key);
            let value: Str<'a> = json::from_canonical(member.value).map_err(|_| limit())?;
            match self.0.iter_mut().find(|(known, _)| *known == key) {
                Some(entry) => entry.1 = value,
                None => self.0.push((key, value)).map_err(|_| limit())?,
            }
        }
        Ok(())
    }
}

impl<'s, 'a> IntoIterator for &'s Sysctls<'a> {
    type Item = &'s (Str<'a>, Str<'a>);
    type IntoIter = core::slice::Iter<'s, (Str<'a>, Str<'a>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The path below /proc/sys that a key names: every dot becomes a slash, then
/// the first `IFNAME` the interface's name (which may hold dots itself).
///
/// # Errors
/// Code 7 `invalid net sysctl key`: not below net/. Code 100.
pub(super) fn path(key: Str<'_>, ifname: &IfName) -> Result<Path> {
    let too_long = || Error::limit("SYSCTL_KEY", limits::SYSCTL_KEY);
    let mut slashed = Path::new();
    for c in key.chars() {
        slashed.push(if c == '.' { '/' } else { c }).map_err(|_| too_long())?;
    }
    let mut named = Path::new();
    match around_ifname(&slashed) {
        Some((before, after)) => named = fits(&[&before, ifname, &after]).ok_or_else(too_long)?,
        None => put!(&mut named, slashed),
    }
    let mut clean = Path::new();
    let mut is_valid = !named.bytes().any(|byte| byte.is_ascii_control());
    // Nothing here can be longer than `named`.
    let mut between = "";
    for part in named.split(is_slash).filter(|part| !part.is_empty() && *part != ".") {
        is_valid &= part != "..";
        put!(&mut clean, between, part);
        between = "/";
    }
    if is_valid && clean.starts_with("net/") {
        return Ok(clean);
    }
    Err(err!(CONFIG, "invalid net sysctl key", "\"", key.canonical(), "\" is not below /proc/sys/net"))
}

// By function: splitting at a `char` keeps a slice panic in small builds.
const fn is_slash(c: char) -> bool {
    c == '/'
}

const fn is_line_feed(c: char) -> bool {
    c == '\n'
}

/// The text before and after the first `IFNAME`.
fn around_ifname(text: &str) -> Option<(&str, &str)> {
    text.char_indices().find_map(|(at, _)| {
        let (before, rest) = text.split_at_checked(at)?;
        rest.strip_prefix(IFNAME).map(|after| (before, after))
    })
}

/// A configured value, escapes decoded.
///
/// # Errors
/// Code 100.
pub(super) fn value(text: Str<'_>) -> Result<heapless::String<{ limits::SYSCTL_VALUE }>> {
    let mut value = heapless::String::new();
    text.decode_into(&mut value).map_err(|_| Error::limit("SYSCTL_VALUE", limits::SYSCTL_VALUE))?;
    Ok(value)
}

/// Whether the kernel's value is the configured one. The kernel writes lists
/// with tabs where spaces were written, so runs of white space are one.
pub(super) fn is_same(left: &str, right: &str) -> bool {
    left.split_ascii_whitespace().eq(right.split_ascii_whitespace())
}

/// Every key, as the config spells it, matches a line of the node's allowlist,
/// if the node has one.
///
/// # Errors
/// Code 7: a key is not allowed, or a line is not understood. Code 100: the
/// file is over [`limits::STATE_FILE`]. Code 5.
pub(super) fn check_allowed(sysctls: &Sysctls<'_>, session: &mut Session<'_>) -> Result<()> {
    if sysctls.0.is_empty() {
        return Ok(());
    }
    let mut bytes = [0u8; limits::STATE_FILE];
    let Some(length) = session.backend.read_file(ALLOWLIST, &mut bytes)? else {
        return Ok(());
    };
    let bytes = bytes
        .get(..length)
        .ok_or_else(|| Error::limit("STATE_FILE", limits::STATE_FILE).with(&" bytes of ").with(&ALLOWLIST))?;
    let text = core::str::from_utf8(bytes)
        .map_err(|_| err!(CONFIG, "invalid sysctl allowlist", ALLOWLIST, " is not UTF-8"))?;
    for (key, _) in sysctls {
        let mut spelt = Path::new();
        key.decode_into(&mut spelt).map_err(|_| Error::limit("SYSCTL_KEY", limits::SYSCTL_KEY))?;
        match allowlist::check(text, &spelt) {
            Ok(true) => {}
            Ok(false) => return Err(not_allowed(&spelt, text)),
            Err(fault) => {
                return Err(err!(
                    CONFIG,
                    "invalid sysctl allowlist",
                    ALLOWLIST,
                    ":",
                    fault.line,
                    ":",
                    fault.column,
                    ": ",
                    fault.what
                ));
            }
        }
    }
    Ok(())
}

#[cold]
fn not_allowed(key: &str, text: &str) -> Error {
    let error = err!(
        CONFIG,
        "sysctl is not allowed",
        "Sysctl ",
        key,
        " is not allowed. Only the following sysctls are allowed: ["
    );
    let mut between = "";
    for line in text.split(is_line_feed).map(str::trim_ascii).filter(|line| !line.is_empty()) {
        put!(&mut error.more(), between, line);
        between = " ";
    }
    error.with(&"]")
}
