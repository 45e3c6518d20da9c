//! Configuration of `portmap`.

use core::net::IpAddr;

use picocni_core::config_keys;
use picocni_core::err;
use picocni_core::error::{Error, Phrase, Result};
use picocni_core::fields;
use picocni_core::json::raw::Elements;
use picocni_core::json::{self, Key, Kind, Limit, Str};
use picocni_core::limits;
use picocni_core::net::parse_ip;
use picocni_core::observe::Protocol;
use picocni_core::plugin::Call;

use super::backend::{self, Conditions, Mark};
use crate::backend::Backend;

const MAPPING_LIMIT: Limit = Limit::new("PORT_MAPPINGS", limits::PORT_MAPPINGS);
const CONDITION_LIMIT: Limit = Limit::new("CONDITIONS", limits::CONDITIONS);
const MAPPING: Kind = Kind::Object(&[
    Key::new("hostPort", Kind::I64),
    Key::new("containerPort", Kind::I64),
    Key::str("protocol"),
    Key::str("hostIP"),
]);
const RUNTIME: &[Key] = &[Key::array("portMappings", &MAPPING, &MAPPING_LIMIT)];

/// Every key that `portmap` reads.
pub(super) const KEYS: &[Key] = config_keys![
    Key::str("backend"),
    Key::bool("snat"),
    Key::bool("masqAll"),
    Key::new("markMasqBit", Kind::I64),
    Key::str("externalSetMarkChain"),
    Key::array("conditionsV4", &Kind::Str, &CONDITION_LIMIT),
    Key::array("conditionsV6", &Kind::Str, &CONDITION_LIMIT),
    Key::object("runtimeConfig", RUNTIME),
];

#[derive(Debug, Default)]
struct Wire<'a> {
    backend: Str<'a>,
    snat: Option<bool>,
    masq_all: bool,
    mark_masq_bit: Option<i64>,
    external_set_mark_chain: Str<'a>,
}

fields!(Wire<'a> {
    "backend" => backend,
    "snat" => snat,
    "masqAll" => masq_all,
    "markMasqBit" => mark_masq_bit,
    "externalSetMarkChain" => external_set_mark_chain,
});

#[derive(Debug, Default)]
struct WireMapping<'a> {
    host_port: i64,
    container_port: i64,
    protocol: Str<'a>,
    host_ip: Str<'a>,
}

fields!(WireMapping<'a> {
    "hostPort" => host_port, "containerPort" => container_port, "protocol" => protocol, "hostIP" => host_ip,
});

/// Which addresses of the host a port is published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostAddress {
    /// Every address of both families.
    Any,
    /// Every IPv4 address.
    AnyV4,
    /// Every IPv6 address.
    AnyV6,
    /// This one.
    One(IpAddr),
}

impl HostAddress {
    /// Absent, or an address; an unspecified address stands for all of its family.
    fn read(text: Str<'_>) -> Result<Self> {
        if text.is_empty() {
            return Ok(HostAddress::Any);
        }
        let ip = text.plain().and_then(parse_ip).ok_or_else(|| {
            err!(
                CONFIG,
                "invalid host IP",
                "\"hostIP\" is \"",
                text.canonical(),
                "\", expected an IPv4 or IPv6 address"
            )
        })?;
        Ok(match ip {
            IpAddr::V4(v4) if v4.is_unspecified() => HostAddress::AnyV4,
            IpAddr::V6(v6) if v6.is_unspecified() => HostAddress::AnyV6,
            ip => HostAddress::One(ip),
        })
    }

    /// The address to match for containers of a family; `None`: the mapping is
    /// not for that family.
    pub(super) fn of_family(self, v6: bool) -> Option<Option<IpAddr>> {
        match self {
            HostAddress::Any => Some(None),
            HostAddress::AnyV4 => (!v6).then_some(None),
            HostAddress::AnyV6 => v6.then_some(None),
            HostAddress::One(ip) => (ip.is_ipv6() == v6).then_some(Some(ip)),
        }
    }
}

/// A checked entry of `portMappings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) protocol: Protocol,
    pub(super) host: HostAddress,
    pub(super) host_port: u16,
    pub(super) container_port: u16,
}

/// The configuration, checked.
#[derive(Debug)]
pub(super) struct Conf<'a> {
    /// Whose rules publish.
    pub(super) backend: Backend,
    /// How iptables marks what is to be masqueraded.
    pub(super) mark: Mark<'a>,
    /// What else a packet must match, IPv4 and IPv6.
    pub(super) conditions: [Conditions<'a>; 2],
    /// Translate the source of connections that could not come back otherwise.
    pub(super) snat: bool,
    /// Translate every source.
    pub(super) masq_all: bool,
    pub(super) mappings: heapless::Vec<Mapping, { limits::PORT_MAPPINGS }>,
}

impl<'a> Conf<'a> {
    /// Reads and checks the configuration of a call. Identical mappings count once.
    ///
    /// # Errors
    /// Code 7 for wrong values, code 2 for what is not served.
    pub(super) fn read(call: &Call<'a>) -> Result<Self> {
        let wire: Wire<'a> = call.fields()?;
        let conditions = [call.at(&["conditionsV4"]), call.at(&["conditionsV6"])].map(Conditions::new);
        let mark = Mark::read(wire.external_set_mark_chain, wire.mark_masq_bit)?;
        let mut conf = Conf {
            backend: backend::read(wire.backend, &mark, &conditions)?,
            mark,
            conditions,
            snat: wire.snat.unwrap_or(true),
            masq_all: wire.masq_all,
            mappings: heapless::Vec::new(),
        };
        for entry in Elements::new(call.at(&["runtimeConfig", "portMappings"])) {
            let entry: WireMapping<'_> = json::read(entry).map_err(|_| err!(CONFIG, "config does not fit"))?;
            let mapping = entry.read()?;
            if !conf.mappings.contains(&mapping) {
                conf.mappings.push(mapping).map_err(|_| Error::limit("PORT_MAPPINGS", limits::PORT_MAPPINGS))?;
            }
        }
        Ok(conf)
    }
}

impl WireMapping<'_> {
    fn read(&self) -> Result<Mapping> {
        Ok(Mapping {
            container_port: port(self.container_port, &"Invalid container port number")?,
            host_port: port(self.host_port, &"Invalid host port number")?,
            protocol: protocol(self.protocol)?,
            host: HostAddress::read(self.host_ip)?,
        })
    }
}

fn port(number: i64, msg: Phrase) -> Result<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| err!(CONFIG, msg, number, " (1 to 65535)"))
}

/// An absent protocol is TCP, which every runtime means by it.
fn protocol(text: Str<'_>) -> Result<Protocol> {
    let name = text.plain().unwrap_or("\\");
    if name.is_empty() || name.eq_ignore_ascii_case("tcp") {
        Ok(Protocol::Tcp)
    } else if name.eq_ignore_ascii_case("udp") {
        Ok(Protocol::Udp)
    } else if name.eq_ignore_ascii_case("sctp") {
        Ok(Protocol::Sctp)
    } else {
        Err(err!(CONFIG, "invalid protocol", "\"", text.canonical(), "\" (tcp, udp, sctp)"))
    }
}
