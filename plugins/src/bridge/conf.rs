//! Configuration of `bridge`.

use picocni_core::conf::IPAM;
use picocni_core::config_keys;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::fields;
use picocni_core::json::{Key, Str};
use picocni_core::name::{IfName, Mac};
use picocni_core::plugin::Call;

use crate::backend::Backend;
use crate::interface;
use crate::mac::{self, MacConf};

use super::vlan::{TRUNK, TRUNK_LIMIT, Vlans};

const MAC_KEYS: &[Key] = &[Key::str("mac")];
const ARGS_KEYS: &[Key] = &[Key::object("cni", MAC_KEYS)];

/// Every key that `bridge` reads.
pub(super) const KEYS: &[Key] = config_keys![
    IPAM,
    Key::str("bridge"),
    Key::bool("isGateway"),
    Key::bool("isDefaultGateway"),
    Key::bool("forceAddress"),
    Key::bool("ipMasq"),
    Key::str("ipMasqBackend"),
    interface::MTU,
    Key::bool("hairpinMode"),
    Key::bool("promiscMode"),
    Key::int("vlan", i32::MIN as i64, i32::MAX as i64),
    Key::array("vlanTrunk", &TRUNK, &TRUNK_LIMIT),
    Key::bool("preserveDefaultVlan"),
    Key::bool("macspoofchk"),
    Key::bool("enabledad"),
    Key::bool("disableContainerInterface"),
    Key::bool("portIsolation"),
    Key::object("runtimeConfig", MAC_KEYS),
    Key::object("args", ARGS_KEYS),
    Key::str("mac"),
];

#[derive(Debug, Default)]
struct Wire<'a> {
    bridge: Str<'a>,
    is_gateway: bool,
    is_default_gateway: bool,
    force_address: bool,
    ip_masq: bool,
    ip_masq_backend: Str<'a>,
    mtu: i64,
    hairpin_mode: bool,
    promisc_mode: bool,
    vlan: i64,
    preserve_default_vlan: bool,
    enabledad: bool,
    disable_container_interface: bool,
    macspoofchk: bool,
    port_isolation: bool,
    runtime_config: MacConf<'a>,
    args: ArgsConf<'a>,
}

fields!(Wire<'a> {
    "bridge" => bridge,
    "isGateway" => is_gateway,
    "isDefaultGateway" => is_default_gateway,
    "forceAddress" => force_address,
    "ipMasq" => ip_masq,
    "ipMasqBackend" => ip_masq_backend,
    "mtu" => mtu,
    "hairpinMode" => hairpin_mode,
    "promiscMode" => promisc_mode,
    "vlan" => vlan,
    "preserveDefaultVlan" => preserve_default_vlan,
    "enabledad" => enabledad,
    "disableContainerInterface" => disable_container_interface,
    "macspoofchk" => macspoofchk,
    "portIsolation" => port_isolation,
    "runtimeConfig" => runtime_config,
    "args" => args,
});

#[derive(Debug, Default)]
struct ArgsConf<'a> {
    cni: MacConf<'a>,
}

fields!(ArgsConf<'a> { "cni" => cni });

/// The configuration, checked.
#[derive(Debug, Clone)]
pub(super) struct Conf {
    pub(super) bridge: IfName,
    pub(super) is_gateway: bool,
    pub(super) is_default_gateway: bool,
    pub(super) force_address: bool,
    pub(super) ip_masq: Option<Backend>,
    pub(super) mtu: u32,
    pub(super) hairpin: bool,
    pub(super) promisc: bool,
    pub(super) enable_dad: bool,
    pub(super) container_interface: bool,
    pub(super) mac: Option<Mac>,
    pub(super) isolated: bool,
    pub(super) guard_source: bool,
    pub(super) vlans: Option<Vlans>,
}

impl Conf {
    /// Reads and checks the configuration of a call.
    ///
    /// # Errors
    /// Code 7 for contradictions and values out of range.
    pub(super) fn read(call: &Call<'_>) -> Result<Self> {
        let wire: Wire<'_> = call.fields()?;
        wire.check(call)?;
        let ip_masq = wire.ip_masq.then(|| crate::masquerade::backend(wire.ip_masq_backend)).transpose()?;
        let bridge = if wire.bridge.is_empty() {
            IfName::of("cni0")
        } else {
            let text = wire.bridge.plain().unwrap_or("/");
            IfName::new(text).map_err(|error| {
                err!(CONFIG, "invalid bridge name", "\"", wire.bridge.canonical(), "\": ", error.msg())
            })?
        };
        Ok(Conf {
            bridge,
            is_gateway: wire.is_gateway || wire.is_default_gateway,
            is_default_gateway: wire.is_default_gateway,
            force_address: wire.force_address,
            ip_masq: ip_masq.filter(|_| call.conf.has_ipam()),
            mtu: interface::mtu(wire.mtu)?,
            hairpin: wire.hairpin_mode,
            promisc: wire.promisc_mode,
            enable_dad: wire.enabledad,
            container_interface: !wire.disable_container_interface,
            mac: mac::requested(call, &[wire.runtime_config.mac, wire.args.cni.mac], Str::default())?,
            isolated: wire.port_isolation,
            guard_source: wire.macspoofchk,
            vlans: Vlans::read(call, wire.vlan, wire.preserve_default_vlan)?,
        })
    }
}

impl Wire<'_> {
    fn check(&self, call: &Call<'_>) -> Result<()> {
        if self.hairpin_mode && self.promisc_mode {
            return Err(err!(CONFIG, "cannot set hairpin mode and promiscuous mode at the same time"));
        }
        if self.disable_container_interface && call.conf.has_ipam() {
            return Err(err!(CONFIG, "cannot use IPAM when DisableContainerInterface flag is set"));
        }
        Ok(())
    }
}
