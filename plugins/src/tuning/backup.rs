//! What a link was like before: `<dataDir>/<containerID>_<ifname>.json`, in the
//! reference plugin's format with our owner's tag added.

use picocni_core::conf;
use picocni_core::error::{Error, Result};
use picocni_core::fields;
use picocni_core::json::{self, Key, Str, Writer};
use picocni_core::limits;
use picocni_core::name::Mac;
use picocni_core::observe::Link;
use picocni_core::op::LinkChange;
use picocni_core::owner::{Owner, Tag};
use picocni_core::session::Session;
use picocni_core::text::{Put, fits};

/// Bytes of a backup: every key with its longest value and the tag take 270.
pub(super) const FILE: usize = 512;

/// Bytes of a file name (NAME_MAX, linux/limits.h).
pub(super) const FILE_NAME: usize = 255;

/// How the names of backups end.
pub(super) const SUFFIX: &str = ".json";

/// A backup's path.
pub(super) type Path = heapless::String<{ limits::PATH }>;

const KEYS: &[Key] = &[
    Key::str("mac"),
    Key::bool("promisc"),
    Key::int("mtu", i64::MIN, i64::MAX),
    Key::bool("allmulti"),
    Key::int("txQLen", i64::MIN, i64::MAX),
    Key::str("picocni"),
];

#[derive(Debug, Default)]
struct Wire<'a> {
    mac: Str<'a>,
    promisc: Option<bool>,
    mtu: i64,
    allmulti: Option<bool>,
    txqlen: Option<i64>,
    picocni: Str<'a>,
}

fields!(Wire<'a> {
    "mac" => mac, "promisc" => promisc, "mtu" => mtu, "allmulti" => allmulti, "txQLen" => txqlen, "picocni" => picocni,
});

/// A backup that could be read.
#[derive(Debug)]
pub(super) struct Backup {
    /// The attributes that were changed, as they were before.
    pub(super) saved: LinkChange<'static>,
    /// Whose it is; absent in files of the reference plugin.
    pub(super) tag: Option<Tag>,
}

/// What lies at a backup's path.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing.
    Missing,
    /// A file that is no backup: empty or torn by a power cut.
    Torn,
    /// A backup.
    Backup(Backup),
}

impl Backup {
    /// Whether it is this attachment's. The network's name does not count: a
    /// sandbox has one interface of a name, whatever network made it.
    pub(super) fn is_of(&self, owner: &Owner<'_>) -> bool {
        let Some(tag) = &self.tag else { return true };
        match tag.parts() {
            Some((_, container, ifname)) => container == owner.container && ifname == owner.ifname.as_str(),
            None => *tag == owner.tag(),
        }
    }
}

/// The path of an attachment's backup; `None` when no file can have such a name.
pub(super) fn path(dir: &str, owner: &Owner<'_>) -> Option<Path> {
    let name: heapless::String<FILE_NAME> = fits(&[&owner.container, &"_", &owner.ifname, &SUFFIX])?;
    path_of(dir, &name)
}

/// The path of a file of the directory.
pub(super) fn path_of(dir: &str, name: &str) -> Option<Path> {
    fits(&[&dir.trim_end_matches(|c| c == '/'), &"/", &name])
}

/// Reads what lies at `path`.
///
/// # Errors
/// Code 5.
pub(super) fn read(session: &mut Session<'_>, path: &str) -> Result<Found> {
    let mut bytes = [0u8; FILE];
    let Some(length) = session.backend.read_file(path, &mut bytes)? else {
        return Ok(Found::Missing);
    };
    let backup = bytes.get(..length).and_then(parse);
    Ok(backup.map_or(Found::Torn, Found::Backup))
}

fn parse(raw: &[u8]) -> Option<Backup> {
    let mut text = [0u8; FILE];
    let document = conf::scan(raw, KEYS, &mut text).ok()?;
    let wire: Wire<'_> = json::read(document.canonical()).ok()?;
    Some(Backup {
        saved: LinkChange {
            mac: wire.mac.plain().and_then(Mac::parse),
            promisc: wire.promisc,
            mtu: u32::try_from(wire.mtu).ok().filter(|mtu| *mtu > 0),
            allmulti: wire.allmulti,
            txqlen: wire.txqlen.and_then(|length| u32::try_from(length).ok()),
            ..LinkChange::NONE
        },
        tag: wire.picocni.plain().and_then(Tag::read),
    })
}

/// Writes what `link` has of the attributes that `set` changes; gives the length.
///
/// # Errors
/// Code 100.
pub(super) fn write(link: &Link, set: &LinkChange<'_>, tag: &Tag, out: &mut [u8; FILE]) -> Result<usize> {
    let mut writer = Writer::new(out);
    writer.begin_object();
    if set.mac.is_some() {
        let mac: heapless::String<{ limits::MAC_TEXT }> = fits(&[&link.mac as &dyn Put]).unwrap_or_default();
        writer.key("mac").str(&mac);
    }
    if set.promisc.is_some() {
        writer.key("promisc").bool(link.promisc);
    }
    if set.mtu.is_some() {
        writer.key("mtu").uint(u64::from(link.mtu));
    }
    if set.allmulti.is_some() {
        writer.key("allmulti").bool(link.allmulti);
    }
    if set.txqlen.is_some() {
        writer.key("txQLen").uint(u64::from(link.txqlen));
    }
    writer.key("picocni").str(tag.as_str()).end_object();
    writer.finish().map_err(|_| Error::limit("STATE_FILE", FILE))
}
