//! Configuration of `host-local`.

use core::net::IpAddr;

use picocni_core::config_keys;
use picocni_core::env::Args;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::fields;
use picocni_core::ipam::{Range, RangeSet, RangeSpec, check_sets};
use picocni_core::json::raw::Elements;
use picocni_core::json::{self, Key, Kind, Limit, Str};
use picocni_core::limits::{self, RANGE_SETS, RANGES, REQUESTED_IPS};
use picocni_core::net::{Cidr, parse_ip};
use picocni_core::observe::Route;
use picocni_core::plugin::Call;
use picocni_core::result::wire::{self, ROUTES};
use picocni_core::version::Version;

const SET_LIMIT: Limit = Limit::new("RANGE_SETS", RANGE_SETS);
const RANGE_LIMIT: Limit = Limit::new("RANGES", RANGES);
const IPS_LIMIT: Limit = Limit::new("REQUESTED_IPS", REQUESTED_IPS);

const RANGE: Kind =
    Kind::Object(&[Key::str("subnet"), Key::str("rangeStart"), Key::str("rangeEnd"), Key::str("gateway")]);
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

/// Every key that `host-local` reads.
pub(super) const KEYS: &[Key] = config_keys![
    Key::object("ipam", IPAM),
    Key::object("runtimeConfig", &[Key::array("ipRanges", &SET, &SET_LIMIT), IPS_KEY]),
    Key::object("args", &[Key::object("cni", &[IPS_KEY])]),
];

/// Where leases are if the configuration does not say.
const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

/// A range, also as the keys of `ipam` itself give one.
#[derive(Debug, Default)]
struct WireRange<'a> {
    subnet: Str<'a>,
    range_start: Str<'a>,
    range_end: Str<'a>,
    gateway: Str<'a>,
}

fields!(WireRange<'a> {
    "subnet" => subnet, "rangeStart" => range_start, "rangeEnd" => range_end, "gateway" => gateway,
});

#[derive(Debug, Default)]
struct Wire<'a> {
    ipam: Option<WireIpam<'a>>,
}

fields!(Wire<'a> { "ipam" => ipam });

#[derive(Debug, Default)]
struct WireIpam<'a> {
    subnet: Str<'a>,
    data_dir: Str<'a>,
    resolv_conf: Str<'a>,
}

fields!(WireIpam<'a> { "subnet" => subnet, "dataDir" => data_dir, "resolvConf" => resolv_conf });

type Set = heapless::Vec<Range, RANGES>;

/// Routes of a result.
type Routes = heapless::Vec<Route, { limits::ROUTES }>;

/// The configuration, checked and canonical. Its routes go straight to the result.
#[derive(Debug)]
pub(super) struct Conf<'a> {
    pub(super) sets: heapless::Vec<Set, RANGE_SETS>,
    pub(super) data_dir: &'a str,
    pub(super) resolv_conf: Option<&'a str>,
    pub(super) requested: heapless::Vec<IpAddr, REQUESTED_IPS>,
}

impl<'a> Conf<'a> {
    /// An empty one, to be [`read`](Conf::read) into.
    pub(super) const fn new() -> Self {
        Conf { sets: heapless::Vec::new(), data_dir: "", resolv_conf: None, requested: heapless::Vec::new() }
    }

    /// Reads and checks the configuration of a call; its routes into `routes`.
    /// In place, because with its eight sets it is too large to be moved.
    ///
    /// # Errors
    /// Code 7 with the reference plugin's phrases in the details.
    pub(super) fn read(&mut self, call: &Call<'a>, routes: &mut Routes) -> Result<()> {
        let wire: Wire<'a> = call.fields()?;
        let ipam = wire.ipam.ok_or_else(missing_ipam)?;
        self.data_dir = path(ipam.data_dir, "dataDir")?.unwrap_or(DEFAULT_DATA_DIR);
        self.resolv_conf = path(ipam.resolv_conf, "resolvConf")?;
        self.read_requests(call)?;
        for set in Elements::new(call.at(&["runtimeConfig", "ipRanges"])) {
            self.add_set(Elements::new(set))?;
        }
        if !ipam.subnet.is_empty() {
            self.add_set(core::iter::once(call.at(&["ipam"])))?;
        }
        for set in Elements::new(call.at(&["ipam", "ranges"])) {
            self.add_set(Elements::new(set))?;
        }
        self.check_sets(call.version)?;
        wire::routes(call.at(&["ipam", "routes"]), routes)
    }

    /// CNI_ARGS first, then `args.cni.ips`, then `runtimeConfig.ips`. A prefix
    /// length is allowed and ignored.
    fn read_requests(&mut self, call: &Call<'a>) -> Result<()> {
        let args = Args::parse(call.env.args, &["IP"])?;
        if let Some(ip) = args.get("IP").filter(|ip| !ip.is_empty()) {
            self.request(ip)?;
        }
        for list in [call.at(&["args", "cni", "ips"]), call.at(&["runtimeConfig", "ips"])] {
            for element in Elements::new(list) {
                let ip: Str<'a> = json::from_canonical(element).unwrap_or_default();
                self.request(ip.plain().unwrap_or("\\"))?;
            }
        }
        Ok(())
    }

    fn request(&mut self, text: &str) -> Result<()> {
        let ip = Cidr::parse(text)
            .map(Cidr::addr)
            .or_else(|| parse_ip(text))
            .ok_or_else(|| err!(CONFIG, "invalid IP address", "requested IP \"", text, "\""))?;
        self.requested.push(ip).map_err(|_| Error::limit("REQUESTED_IPS", REQUESTED_IPS))
    }

    /// A set of the ranges that these canonical objects say.
    fn add_set<'t>(&mut self, ranges: impl Iterator<Item = &'t str>) -> Result<()> {
        self.sets.push(Set::new()).map_err(|_| Error::limit("RANGE_SETS", RANGE_SETS))?;
        let Some(set) = self.sets.last_mut() else { return Ok(()) };
        for range in ranges {
            add_range(set, range)?;
        }
        RangeSet::new(set).map(|_| ()).map_err(|error| err!(CONFIG, "invalid range set", error))
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
        let of_family =
            |v6: bool| self.sets.iter().filter(|s| s.first().is_some_and(|r| r.start().is_ipv6() == v6)).count();
        if version < Version::V0_3_0 && (of_family(false) > 1 || of_family(true) > 1) {
            return Err(err!(
                CONFIG,
                "too many addresses per family",
                "CNI version ",
                version,
                " does not support more than 1 address per family"
            ));
        }
        Ok(())
    }
}

#[inline(never)]
fn add_range(set: &mut Set, object: &str) -> Result<()> {
    let wire: WireRange<'_> = json::read(object).map_err(|_| err!(CONFIG, "config does not fit"))?;
    let range = Range::new(&wire.spec()?).map_err(|error| err!(CONFIG, "invalid range set", error))?;
    set.push(range).map_err(|_| Error::limit("RANGES", RANGES))
}

impl WireRange<'_> {
    fn spec(&self) -> Result<RangeSpec> {
        let ip = |text: Str<'_>, key: &'static str| -> Result<Option<IpAddr>> {
            if text.is_empty() {
                return Ok(None);
            }
            text.plain()
                .and_then(parse_ip)
                .map(Some)
                .ok_or_else(|| err!(CONFIG, "invalid IP address", "\"", key, "\" is \"", text.canonical(), "\""))
        };
        let subnet = if self.subnet.is_empty() {
            None
        } else {
            let cidr = self.subnet.plain().and_then(Cidr::parse).ok_or_else(|| {
                err!(
                    CONFIG,
                    "invalid CIDR address",
                    "\"subnet\" is \"",
                    self.subnet.canonical(),
                    "\", expected like 10.1.0.0/16 or fd00:1::/64"
                )
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
    text.plain().filter(|p| p.starts_with('/')).map(Some).ok_or_else(|| {
        err!(CONFIG, "invalid path", "\"", key, "\" is \"", text.canonical(), "\", expected an absolute path")
    })
}

/// All that DEL, CHECK and GC need: a wrong range must not keep a lease.
///
/// # Errors
/// Code 7: no `ipam`, or a path that is none.
pub(super) fn data_dir<'a>(call: &Call<'a>) -> Result<&'a str> {
    let wire: Wire<'a> = call.fields()?;
    let ipam = wire.ipam.ok_or_else(missing_ipam)?;
    Ok(path(ipam.data_dir, "dataDir")?.unwrap_or(DEFAULT_DATA_DIR))
}
