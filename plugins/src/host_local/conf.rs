//! Configuration of `host-local`.

use core::net::IpAddr;

use picocni_core::conf::{COMMON_LEN, with_common};
use picocni_core::env::Args;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::ipam::{Range, RangeSet, RangeSpec, check_sets};
use picocni_core::json::{Key, Kind, Limit, Str};
use picocni_core::limits::{self, RANGE_SETS, RANGES, REQUESTED_IPS};
use picocni_core::net::{Cidr, parse_ip};
use picocni_core::observe::Route;
use picocni_core::plugin::Call;
use picocni_core::result::wire::{ROUTES, WireRoute};
use picocni_core::version::Version;

const SET_LIMIT: Limit = Limit::new("RANGE_SETS", RANGE_SETS);
const RANGE_LIMIT: Limit = Limit::new("RANGES", RANGES);
const IPS_LIMIT: Limit = Limit::new("REQUESTED_IPS", REQUESTED_IPS);

const RANGE: Kind = Kind::Object(&[Key::str("subnet"), Key::str("rangeStart"), Key::str("rangeEnd"), Key::str("gateway")]);
const SET: Kind = Kind::Array(&RANGE, &RANGE_LIMIT);
const IPS_KEY: Key = Key::array("ips", &Kind::Str, &IPS_LIMIT);

const IPAM: &[Key] = &[
    Key::str("type"),
    Key::str("subnet"),
    Key::str("rangeStart"),
    Key::str("rangeEnd"),
    Key::str("gateway"),
    Key::array("ranges", &SET, &SET_LIMIT),
    ROUTES,
    Key::str("dataDir"),
    Key::str("resolvConf"),
];

const OWN: [Key; 3] = [
    Key::object("ipam", IPAM),
    Key::object("runtimeConfig", &[Key::array("ipRanges", &SET, &SET_LIMIT), IPS_KEY]),
    Key::object("args", &[Key::object("cni", &[IPS_KEY])]),
];

/// Every key that `host-local` reads.
pub(super) const KEYS: &[Key] = &with_common::<3, { 3 + COMMON_LEN }>(OWN);

/// Where leases are if the configuration does not say.
const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

type WireSet<'a> = heapless::Vec<WireRange<'a>, RANGES>;

#[derive(Debug, Default, Clone, Copy, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireRange<'a> {
    #[serde(borrow)]
    subnet: Str<'a>,
    #[serde(borrow)]
    range_start: Str<'a>,
    #[serde(borrow)]
    range_end: Str<'a>,
    #[serde(borrow)]
    gateway: Str<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Wire<'a> {
    #[serde(borrow)]
    ipam: Option<WireIpam<'a>>,
    #[serde(borrow, rename = "runtimeConfig")]
    runtime: WireRuntime<'a>,
    #[serde(borrow)]
    args: WireArgs<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireIpam<'a> {
    #[serde(borrow)]
    subnet: Str<'a>,
    #[serde(borrow)]
    range_start: Str<'a>,
    #[serde(borrow)]
    range_end: Str<'a>,
    #[serde(borrow)]
    gateway: Str<'a>,
    #[serde(borrow)]
    ranges: heapless::Vec<WireSet<'a>, RANGE_SETS>,
    #[serde(borrow)]
    routes: heapless::Vec<WireRoute<'a>, { limits::ROUTES }>,
    #[serde(borrow)]
    data_dir: Str<'a>,
    #[serde(borrow)]
    resolv_conf: Str<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireRuntime<'a> {
    #[serde(borrow)]
    ip_ranges: heapless::Vec<WireSet<'a>, RANGE_SETS>,
    #[serde(borrow)]
    ips: heapless::Vec<Str<'a>, REQUESTED_IPS>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct WireArgs<'a> {
    #[serde(borrow)]
    cni: WireArgsCni<'a>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct WireArgsCni<'a> {
    #[serde(borrow)]
    ips: heapless::Vec<Str<'a>, REQUESTED_IPS>,
}

type Set = heapless::Vec<Range, RANGES>;

/// The configuration, checked and canonical.
#[derive(Debug)]
pub(super) struct Conf<'a> {
    pub(super) sets: heapless::Vec<Set, RANGE_SETS>,
    pub(super) routes: heapless::Vec<Route, { limits::ROUTES }>,
    pub(super) data_dir: &'a str,
    pub(super) resolv_conf: Option<&'a str>,
    pub(super) requested: heapless::Vec<IpAddr, REQUESTED_IPS>,
}

impl<'a> Conf<'a> {
    /// Reads and checks the configuration of a call.
    ///
    /// # Errors
    /// Code 7 with the reference plugin's phrases in the details.
    pub(super) fn read(call: &Call<'a>) -> Result<Self> {
        let wire: Wire<'a> = call.config()?;
        let ipam = wire.ipam.as_ref().ok_or_else(missing_ipam)?;
        let mut conf = Conf {
            sets: heapless::Vec::new(),
            routes: heapless::Vec::new(),
            data_dir: path(ipam.data_dir, "dataDir")?.unwrap_or(DEFAULT_DATA_DIR),
            resolv_conf: path(ipam.resolv_conf, "resolvConf")?,
            requested: heapless::Vec::new(),
        };
        conf.read_requests(call, &wire)?;
        for set in &wire.runtime.ip_ranges {
            conf.add_set(set)?;
        }
        if !ipam.subnet.is_empty() {
            let WireIpam { subnet, range_start, range_end, gateway, .. } = *ipam;
            conf.add_set(&[WireRange { subnet, range_start, range_end, gateway }])?;
        }
        for set in &ipam.ranges {
            conf.add_set(set)?;
        }
        conf.check_sets(call.version)?;
        for route in &ipam.routes {
            conf.routes.push(route.read()?).map_err(|_| Error::limit("ROUTES", limits::ROUTES))?;
        }
        Ok(conf)
    }

    /// CNI_ARGS first, then `args.cni.ips`, then `runtimeConfig.ips`. A prefix
    /// length is allowed and ignored.
    fn read_requests(&mut self, call: &Call<'_>, wire: &Wire<'_>) -> Result<()> {
        let args = Args::parse(call.env.args, &["IP"])?;
        let listed = wire.args.cni.ips.iter().chain(&wire.runtime.ips).map(|ip| ip.plain().unwrap_or("\\"));
        for text in args.get("IP").into_iter().filter(|ip| !ip.is_empty()).chain(listed) {
            let ip = Cidr::parse(text).map(Cidr::addr).or_else(|| parse_ip(text)).ok_or_else(|| {
                err!(CONFIG, "invalid IP address", "requested IP \"", text, "\"")
            })?;
            self.requested.push(ip).map_err(|_| Error::limit("REQUESTED_IPS", REQUESTED_IPS))?;
        }
        Ok(())
    }

    fn add_set(&mut self, wire: &[WireRange<'_>]) -> Result<()> {
        let mut set = Set::new();
        for range in wire {
            let spec = range.spec()?;
            let range = Range::new(&spec).map_err(|error| err!(CONFIG, "invalid range set", error))?;
            set.push(range).map_err(|_| Error::limit("RANGES", RANGES))?;
        }
        RangeSet::new(&set).map_err(|error| err!(CONFIG, "invalid range set", error))?;
        self.sets.push(set).map_err(|_| Error::limit("RANGE_SETS", RANGE_SETS))
    }

    fn check_sets(&self, version: Version) -> Result<()> {
        if self.sets.is_empty() {
            return Err(err!(CONFIG, "no IP ranges specified", "set \"subnet\" or \"ranges\" in \"ipam\""));
        }
        let mut views: heapless::Vec<RangeSet<'_>, RANGE_SETS> = heapless::Vec::new();
        for set in &self.sets {
            if let Ok(view) = RangeSet::new(set) {
                let _ = views.push(view);
            }
        }
        check_sets(&views).map_err(|overlap| err!(CONFIG, "range sets overlap", overlap))?;
        let of_family = |v6: bool| self.sets.iter().filter(|s| s.first().is_some_and(|r| r.start().is_ipv6() == v6)).count();
        if version < Version::V0_3_0 && (of_family(false) > 1 || of_family(true) > 1) {
            return Err(err!(CONFIG, "too many addresses per family", "CNI version ", version, " does not support more than 1 address per family"));
        }
        Ok(())
    }
}

impl WireRange<'_> {
    fn spec(&self) -> Result<RangeSpec> {
        let ip = |text: Str<'_>, key: &'static str| -> Result<Option<IpAddr>> {
            if text.is_empty() {
                return Ok(None);
            }
            text.plain().and_then(parse_ip).map(Some)
                .ok_or_else(|| err!(CONFIG, "invalid IP address", "\"", key, "\" is \"", text.canonical(), "\""))
        };
        let subnet = if self.subnet.is_empty() {
            None
        } else {
            let cidr = self.subnet.plain().and_then(Cidr::parse).ok_or_else(|| {
                err!(CONFIG, "invalid CIDR address", "\"subnet\" is \"", self.subnet.canonical(), "\", expected like 10.1.0.0/16 or fd00:1::/64")
            })?;
            Some((cidr.addr(), cidr.prefix()))
        };
        Ok(RangeSpec {
            subnet,
            start: ip(self.range_start, "rangeStart")?,
            end: ip(self.range_end, "rangeEnd")?,
            gateway: ip(self.gateway, "gateway")?,
        })
    }
}

fn missing_ipam() -> Error {
    err!(CONFIG, "IPAM config missing 'ipam' key")
}

fn path<'a>(text: Str<'a>, key: &'static str) -> Result<Option<&'a str>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.plain().filter(|p| p.starts_with('/')).map(Some)
        .ok_or_else(|| err!(CONFIG, "invalid path", "\"", key, "\" is \"", text.canonical(), "\", expected an absolute path"))
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct WireDir<'a> {
    #[serde(borrow)]
    ipam: Option<WireDirIpam<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct WireDirIpam<'a> {
    #[serde(borrow, rename = "dataDir")]
    data_dir: Str<'a>,
}

/// All that DEL, CHECK and GC need: a wrong range must not keep a lease.
///
/// # Errors
/// Code 7: no `ipam`, or a path that is none.
pub(super) fn data_dir<'a>(call: &Call<'a>) -> Result<&'a str> {
    let wire: WireDir<'a> = call.config()?;
    let ipam = wire.ipam.ok_or_else(missing_ipam)?;
    Ok(path(ipam.data_dir, "dataDir")?.unwrap_or(DEFAULT_DATA_DIR))
}
