#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod pieces;
mod rejects;
mod scans;
mod types;

use super::{Document, JsonError, Key, Kind, Limit, scan};

const WORDS: Limit = Limit::new("WORDS", 3);
const RANGES: Limit = Limit::new("RANGES", 8);
const ENTRIES: Limit = Limit::new("ENTRIES", 4);

const RANGE: &[Key] = &[Key::str("subnet"), Key::str("rangeStart"), Key::str("rangeEnd"), Key::str("gateway")];
const ROUTE: &[Key] = &[Key::str("dst"), Key::str("gw"), Key::int("mtu", 0, 65_535)];
const IPAM: &[Key] = &[
    Key::str("type"),
    Key::array("routes", &Kind::Object(ROUTE), &RANGES),
    Key::array("ranges", &Kind::Array(&Kind::Object(RANGE), &RANGES), &RANGES),
];
const PORT: &[Key] =
    &[Key::int("hostPort", 1, 65_535), Key::int("containerPort", 1, 65_535), Key::str("protocol"), Key::str("hostIP")];
const RUNTIME: &[Key] = &[Key::array("portMappings", &Kind::Object(PORT), &RANGES)];
const PREV: &[Key] = &[Key::str("cniVersion"), Key::array("ips", &Kind::Any, &RANGES)];

/// A bit of every plugin.
const CONF: &[Key] = &[
    Key::str("cniVersion"),
    Key::str("name"),
    Key::str("type"),
    Key::str("bridge"),
    Key::bool("isGateway"),
    Key::bool("ipMasq"),
    Key::int("vlan", 0, 4094),
    Key::new("rate", Kind::U64),
    Key::new("index", Kind::I64),
    Key::object("ipam", IPAM),
    Key::map("capabilities", &Kind::Bool, &ENTRIES),
    Key::map("sysctl", &Kind::Str, &ENTRIES),
    Key::object("runtimeConfig", RUNTIME),
    Key::array("words", &Kind::Str, &WORDS),
    Key::any("args"),
    Key::new("disableCheck", Kind::BoolOrStr),
    Key::raw("opaque"),
    Key::spanned("prevResult", &Kind::Object(PREV)),
];

/// What podman and containerd send, in spirit: white space, case, escapes.
const REAL: &str = r#" {
  "cniVersion": "1.0.0", "name": "net\u0041", "type": "bridge",
  "bridge": "cni-podman1", "isGateway": true, "ipMasq": true, "vlan": 7,
  "hairpinMode": true,
  "ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0", "mtu": 1400}],
    "ranges": [[{"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}], []]},
  "capabilities": {"portMappings": true, "ips": false},
  "runtimeConfig": {"portMappings": [
    {"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""}]},
  "prevResult": {"ips": [ {"address": "10.89.0.2/24", "x": 1.5e3} ], "CniVersion": "1.0.0"}
}
"#;

const REAL_CANONICAL: &str = concat!(
    r#"{"cniVersion":"1.0.0","name":"netA","type":"bridge","bridge":"cni-podman1","#,
    r#""isGateway":true,"ipMasq":true,"vlan":7,"ipam":{"type":"host-local","#,
    r#""routes":[{"dst":"0.0.0.0/0","mtu":1400}],"ranges":[[{"subnet":"10.89.0.0/24","#,
    r#""gateway":"10.89.0.1"}],[]]},"capabilities":{"portMappings":true,"ips":false},"#,
    r#""runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"#,
    r#""protocol":"tcp","hostIP":""}]},"prevResult":{"ips":[{"address":"10.89.0.2/24","#,
    r#""x":1.5e3}],"cniVersion":"1.0.0"}}"#
);

fn with<R>(text: &str, f: impl FnOnce(Document<'_, '_>) -> R) -> R {
    let mut out = [0; 4096];
    match scan(text.as_bytes(), CONF, &mut out) {
        Ok(document) => f(document),
        Err(error) => panic!("{text}: {error}"),
    }
}

fn canonical(text: &str) -> heapless::String<4096> {
    with(text, |document| document.canonical().try_into().unwrap())
}

fn error(text: impl AsRef<[u8]>) -> JsonError {
    let mut out = [0; 4096];
    scan(text.as_ref(), CONF, &mut out).expect_err("must be refused")
}

fn message(text: impl AsRef<[u8]>) -> heapless::String<200> {
    let mut out = heapless::String::new();
    core::fmt::write(&mut out, format_args!("{}", error(text))).unwrap();
    out
}
