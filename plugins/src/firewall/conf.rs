//! Configuration of `firewall`.

use picocni_core::config_keys;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::fields;
use picocni_core::json::{Key, Str};
use picocni_core::limits;
use picocni_core::plugin::Call;

/// Every key that `firewall` reads.
pub(super) const KEYS: &[Key] = config_keys![
    Key::str("backend"),
    Key::str("iptablesAdminChainName"),
    Key::str("firewalldZone"),
    Key::str("ingressPolicy"),
];

/// Longest name of a zone that is taken; firewalld allows 17.
pub(super) const ZONE: usize = 64;

const DEFAULT_ZONE: &str = "trusted";

#[derive(Debug, Default)]
struct Wire<'a> {
    backend: Str<'a>,
    admin_chain: Str<'a>,
    zone: Str<'a>,
    policy: Str<'a>,
}

fields!(Wire<'a> {
    "backend" => backend,
    "iptablesAdminChainName" => admin_chain,
    "firewalldZone" => zone,
    "ingressPolicy" => policy,
});

/// Who lets the pods' traffic through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Nftables,
    Firewalld,
    Iptables,
}

impl Backend {
    pub(super) const ALL: [Self; 3] = [Self::Nftables, Self::Firewalld, Self::Iptables];

    /// As configs write it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Backend::Nftables => "nftables",
            Backend::Firewalld => "firewalld",
            Backend::Iptables => "iptables",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.as_str() == name)
    }
}

/// Which traffic between pods is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// None.
    Open,
    /// That between two bridges with a policy.
    SameBridge,
    /// That too, and all within the bridge.
    Isolated,
}

/// The configuration, checked.
#[derive(Debug)]
pub(super) struct Conf<'a> {
    /// What the config asks for; the peer takes any other word for "choose".
    pub(super) backend: Option<Backend>,
    /// The operator's own chain.
    pub(super) admin_chain: &'a str,
    /// firewalld's zone.
    pub(super) zone: &'a str,
    pub(super) policy: Policy,
}

impl<'a> Conf<'a> {
    /// Reads and checks the configuration of a call. DEL and GC go by the record instead.
    ///
    /// # Errors
    /// Code 7.
    pub(super) fn read(call: &Call<'a>) -> Result<Self> {
        let wire: Wire<'a> = call.fields()?;
        Ok(Conf {
            backend: wire.backend.plain().and_then(Backend::of),
            admin_chain: word(wire.admin_chain, "iptablesAdminChainName", limits::IPTABLES_CHAIN, "CNI-ADMIN")?,
            zone: word(wire.zone, "firewalldZone", ZONE, DEFAULT_ZONE)?,
            policy: policy(wire.policy)?,
        })
    }
}

/// The zone that DEL goes by without a record: a wrong config must not keep it.
pub(super) fn zone<'a>(call: &Call<'a>) -> &'a str {
    let wire = call.fields::<Wire<'a>>().unwrap_or_default();
    word(wire.zone, "firewalldZone", ZONE, DEFAULT_ZONE).unwrap_or(DEFAULT_ZONE)
}

fn policy(text: Str<'_>) -> Result<Policy> {
    Ok(match text.plain() {
        Some("" | "open") => Policy::Open,
        Some("same-bridge") => Policy::SameBridge,
        Some("isolated") => Policy::Isolated,
        _ => {
            return Err(err!(
                CONFIG,
                "unknown ingress policy",
                "\"",
                text.canonical(),
                "\" (open, same-bridge, isolated)"
            ));
        }
    })
}

/// One that iptables, D-Bus and a record take as it is.
fn word<'a>(text: Str<'a>, key: &'static str, longest: usize, default: &'static str) -> Result<&'a str> {
    if text.is_empty() {
        return Ok(default);
    }
    let fits = |text: &&str| {
        text.len() <= longest
            && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
            && !text.starts_with(['-', '!'])
    };
    text.plain().filter(fits).ok_or_else(|| {
        err!(
            CONFIG,
            "invalid name",
            "\"",
            key,
            "\" is \"",
            text.canonical(),
            "\", expected up to ",
            longest,
            " printable characters, no space, none of - and ! in front"
        )
    })
}
