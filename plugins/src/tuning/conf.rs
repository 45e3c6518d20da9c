//! Configuration of `tuning`.

use picocni_core::config_keys;
use picocni_core::env::Args;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::fields;
use picocni_core::json::{Key, Kind, Limit, Str};
use picocni_core::limits;
use picocni_core::name::Mac;
use picocni_core::op::LinkChange;
use picocni_core::plugin::Call;

use super::sysctl::Sysctls;

const SYSCTL_LIMIT: Limit = Limit::new("SYSCTLS", limits::SYSCTLS);

/// Where backups lie unless `dataDir` says otherwise, as the reference plugin has it.
const DEFAULT_DATA_DIR: &str = "/run/cni/tuning";

const SYSCTL: Key = Key::map("sysctl", &Kind::Str, &SYSCTL_LIMIT);
const MAC: Key = Key::str("mac");
const PROMISC: Key = Key::bool("promisc");
const MTU: Key = Key::int("mtu", i32::MIN as i64, i32::MAX as i64);
const TXQLEN: Key = Key::int("txQLen", i32::MIN as i64, i32::MAX as i64);
const ALLMULTI: Key = Key::bool("allmulti");
const ARGS_KEYS: &[Key] = &[Key::object("cni", &[SYSCTL, MAC, PROMISC, MTU, TXQLEN, ALLMULTI])];

/// Every key that `tuning` reads.
pub(super) const KEYS: &[Key] = config_keys![
    SYSCTL,
    MAC,
    PROMISC,
    MTU,
    TXQLEN,
    ALLMULTI,
    Key::str("dataDir"),
    Key::object("runtimeConfig", &[MAC]),
    Key::object("args", ARGS_KEYS),
];

/// Keys of the config. `runtimeConfig` and `args.cni` are read by the same code;
/// what [`KEYS`] does not declare there is not in the canonical text.
#[derive(Debug, Default)]
struct Wire<'a> {
    mac: Str<'a>,
    promisc: Option<bool>,
    mtu: Option<i64>,
    txqlen: Option<i64>,
    allmulti: Option<bool>,
    data_dir: Str<'a>,
}

fields!(Wire<'a> {
    "mac" => mac,
    "promisc" => promisc,
    "mtu" => mtu,
    "txQLen" => txqlen,
    "allmulti" => allmulti,
    "dataDir" => data_dir,
});

/// What overrides the config's own keys.
#[derive(Debug, Default)]
struct Overrides<'a> {
    runtime_config: Wire<'a>,
    args: CniArgs<'a>,
}

fields!(Overrides<'a> { "runtimeConfig" => runtime_config, "args" => args });

#[derive(Debug, Default)]
struct CniArgs<'a> {
    cni: Wire<'a>,
}

fields!(CniArgs<'a> { "cni" => cni });

/// The configuration, checked.
#[derive(Debug)]
pub(super) struct Conf<'a> {
    /// Sysctls in the order they are written.
    pub(super) sysctls: Sysctls<'a>,
    /// Attributes of the link to set.
    pub(super) set: LinkChange<'static>,
    /// The address as it was configured, for the result; "" for none.
    pub(super) mac_text: &'a str,
    /// Directory of the backups.
    pub(super) data_dir: &'a str,
}

impl<'a> Conf<'a> {
    /// Reads and checks the configuration of a call.
    ///
    /// # Errors
    /// Code 7 for a repeated sysctl, an address or a number that is none; code
    /// 4 for CNI_ARGS; code 100.
    pub(super) fn read(call: &Call<'a>) -> Result<Self> {
        if let Some(at) = call.repeated_key {
            return Err(err!(
                CONFIG,
                "duplicated sysctl keys are not allowed",
                "a key stands twice, again at byte ",
                at
            ));
        }
        let own: Wire<'a> = call.fields()?;
        let Overrides { runtime_config: runtime, args: CniArgs { cni: args } } = call.fields()?;
        let mac_text = mac_text(call, &[own.mac, runtime.mac, args.mac])?;
        let mut sysctls = Sysctls::default();
        sysctls.read(call.at(&["sysctl"]))?;
        sysctls.read(call.at(&["args", "cni", "sysctl"]))?;
        Ok(Conf {
            sysctls,
            set: LinkChange {
                mac: mac(mac_text)?,
                // Off is how links are made, and may be somebody else's wish: only "on" is one of ours.
                promisc: args.promisc.or(own.promisc).filter(|on| *on),
                mtu: number("mtu", args.mtu.or(own.mtu))?.filter(|mtu| *mtu > 0),
                txqlen: number("txQLen", args.txqlen.or(own.txqlen))?,
                allmulti: args.allmulti.or(own.allmulti),
                ..LinkChange::NONE
            },
            mac_text,
            data_dir: checked_dir(own.data_dir)?,
        })
    }

    /// Whether any attribute of the link is to be set.
    pub(super) fn changes_link(&self) -> bool {
        self.set != LinkChange::NONE
    }
}

/// All that DEL and GC need: a wrong number must not keep a backup.
///
/// # Errors
/// Code 7: no absolute path.
pub(super) fn data_dir<'a>(call: &Call<'a>) -> Result<&'a str> {
    let wire: Wire<'a> = call.fields()?;
    checked_dir(wire.data_dir)
}

fn checked_dir(dir: Str<'_>) -> Result<&str> {
    if dir.is_empty() {
        return Ok(DEFAULT_DATA_DIR);
    }
    dir.plain().filter(|dir| dir.starts_with('/')).ok_or_else(|| {
        err!(CONFIG, "invalid path", "\"dataDir\" is \"", dir.canonical(), "\", expected an absolute path")
    })
}

/// Weakest first: config, CNI_ARGS, `runtimeConfig`, `args.cni`.
fn mac_text<'a>(call: &Call<'a>, [config, runtime, args]: &[Str<'a>; 3]) -> Result<&'a str> {
    let env = Args::parse(call.env.args, &["MAC"])?.get("MAC").unwrap_or("");
    let strongest = [args, runtime].into_iter().find(|mac| !mac.is_empty());
    let text = match strongest {
        None if !env.is_empty() => return Ok(env),
        other => other.unwrap_or(config),
    };
    text.plain().ok_or_else(|| invalid_mac(text.canonical()))
}

fn mac(text: &str) -> Result<Option<Mac>> {
    if text.is_empty() {
        return Ok(None);
    }
    Mac::parse(text).filter(|mac| mac.is_unicast()).map(Some).ok_or_else(|| invalid_mac(text))
}

#[cold]
fn invalid_mac(text: &str) -> Error {
    err!(CONFIG, "invalid MAC address", "\"", text, "\", expected like 02:00:00:00:00:01")
}

fn number(key: &'static str, value: Option<i64>) -> Result<Option<u32>> {
    let Some(value) = value else { return Ok(None) };
    u32::try_from(value)
        .map(Some)
        .map_err(|_| err!(CONFIG, "invalid number", "\"", key, "\" is ", value, ", expected 0 or more"))
}
