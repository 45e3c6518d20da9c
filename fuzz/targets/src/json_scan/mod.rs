//! The JSON scanner against serde_json: what is accepted, the canonical text,
//! raw spans, raw walking and rewriting.

mod model;
mod text;

use model::{Model, Verdict};
use picocni_core::json::raw::{Elements, Members, rewrite_object};
use picocni_core::json::{DEPTH, ErrorKind, Key, Kind, Limit, scan, validate};

const THREE: Limit = Limit::new("THREE", 3);
const FIVE: Limit = Limit::new("FIVE", 5);
const PORT: &[Key] = &[Key::int("hostPort", 1, 65_535), Key::int("containerPort", 1, 65_535), Key::str("protocol")];
const RANGE: &[Key] = &[Key::str("subnet"), Key::str("gateway")];
const PLUGIN: &[Key] =
    &[Key::str("type"), Key::raw("conf"), Key::spanned("ports", &Kind::Array(&Kind::Object(PORT), &THREE))];

/// One of everything a plugin may declare.
pub const SCHEMA: &[Key] = &[
    Key::str("cniVersion"),
    Key::str("name"),
    Key::bool("isGateway"),
    Key::int("vlan", 0, 4094),
    Key::new("rate", Kind::U64),
    Key::new("index", Kind::I64),
    Key::uint("burst", 1, 1000),
    Key::new("disableCheck", Kind::BoolOrStr),
    Key::object("ipam", RANGE),
    Key::array("ranges", &Kind::Array(&Kind::Object(RANGE), &THREE), &FIVE),
    Key::map("capabilities", &Kind::Bool, &THREE),
    Key::map("sysctl", &Kind::Str, &FIVE),
    Key::map("limits", &Kind::Int { min: 1, max: 9 }, &FIVE),
    Key::array("flags", &Kind::Bool, &FIVE),
    Key::array("numbers", &Kind::U32, &FIVE),
    Key::array("plugins", &Kind::Object(PLUGIN), &THREE),
    Key::any("args"),
    Key::raw("opaque"),
    Key::spanned("prevResult", &Kind::Object(RANGE)),
    Key::spanned("runtimeConfig", &Kind::Map(&Kind::Any, &FIVE)),
];

/// Takes `data` as a text, and as the choices that make one.
pub fn run(data: &[u8]) {
    check(data);
    check(&near_schema(data));
}

/// A text near the schema, made from any bytes.
#[must_use]
pub fn near_schema(choices: &[u8]) -> Vec<u8> {
    near(SCHEMA, choices)
}

/// A text near these keys, made from any bytes.
#[must_use]
pub fn near(keys: &'static [Key], choices: &[u8]) -> Vec<u8> {
    let mut out = String::new();
    text::document(keys, &mut text::Choices::new(choices), &mut out);
    out.into_bytes()
}

/// Whether the scanner takes `data`; panics where it and the oracle disagree.
pub fn check(data: &[u8]) -> bool {
    let mut out = vec![0; data.len() * 2 + 16];
    let ours = scan(data, SCHEMA, &mut out);
    let valid = validate(data);
    let oracle = match serde_json::from_slice::<Model>(data) {
        Ok(oracle) => oracle,
        Err(error) => {
            let message = error.to_string();
            // serde_json has no value for 1e999, and a cap on depth of its own.
            if message.contains("number out of range") {
                return false;
            }
            assert!(ours.is_err() && valid.is_err(), "taken, but: {message}");
            return false;
        }
    };
    if oracle.depth() > DEPTH {
        let depth = ErrorKind::Limit { name: "json::DEPTH", max: DEPTH };
        assert_eq!(valid.expect_err("too deep").kind, depth);
        assert!(ours.is_err());
        return false;
    }
    let source = valid.expect("valid JSON");
    walk(source, &oracle);
    let expected = match model::typed(&Kind::Object(SCHEMA), &oracle) {
        Err(Verdict::Unknown) => return false,
        Err(Verdict::Refused) => {
            let error = ours.expect_err("the schema refuses this");
            assert!(error.offset <= data.len() && error.line >= 1 && error.column >= 1);
            return false;
        }
        Ok(expected) => expected.expect("objects are written"),
    };
    let document = ours.expect("the schema takes this");
    let canonical = document.canonical();
    let reread: Model = serde_json::from_str(canonical).expect("canonical text is JSON");
    assert_eq!(reread, expected, "{canonical}");
    if expected.is_exact() {
        let mut exact = String::new();
        expected.write(&mut exact);
        assert_eq!(canonical, exact);
    }
    assert!(canonical.len() <= data.len() + canonical.matches("false").count());
    for name in ["opaque", "prevResult", "runtimeConfig"] {
        let raw = document.raw(name).map(|raw| serde_json::from_str::<Model>(raw).expect("a raw value is JSON"));
        assert_eq!(raw.as_ref(), recorded(SCHEMA, &oracle, name), "{name}");
    }
    let plugins = match recorded(SCHEMA, &oracle, "plugins") {
        Some(Model::List(plugins)) => plugins.as_slice(),
        _ => &[],
    };
    for name in ["conf", "ports"] {
        let ours: Vec<Model> = document
            .spans()
            .filter(|span| span.depth == 3 && span.name == name)
            .map(|span| serde_json::from_str(span.text).expect("a raw value is JSON"))
            .collect();
        let theirs: Vec<Model> = plugins.iter().filter_map(|plugin| recorded(PLUGIN, plugin, name).cloned()).collect();
        assert_eq!(ours, theirs, "{name}");
    }
    let mut again = vec![0; canonical.len()];
    let second = scan(canonical.as_bytes(), SCHEMA, &mut again).expect("canonical text is taken");
    assert_eq!(second.canonical(), canonical, "canonical text is a fixed point");
    assert_eq!(second.repeated_map_key(), None);
    true
}

/// The value whose span must be there.
fn recorded<'m>(keys: &[Key], top: &'m Model, name: &str) -> Option<&'m Model> {
    let Model::Object(members) = top else {
        return None;
    };
    let key = keys.iter().find(|key| key.name == name)?;
    let mut found = None;
    for (spelling, value) in members {
        if !spelling.eq_ignore_ascii_case(name) {
            continue;
        }
        match value {
            Model::Null if model::keeps_on_null(&key.kind) => {}
            Model::Null => found = None,
            value => found = Some(value),
        }
    }
    found
}

/// The raw iterators see what the oracle sees, and a rewrite changes nothing else.
fn walk(source: &str, oracle: &Model) {
    match oracle {
        Model::Object(members) => {
            let seen: Vec<_> = Members::new(source).collect();
            assert_eq!(seen.len(), members.len());
            for (member, (key, value)) in seen.iter().zip(members) {
                assert!(member.is(key), "{} is not {key}", member.key);
                walk(member.value, value);
            }
            let mut out = vec![0; source.len() + 32];
            let length = rewrite_object(source, &[("name", "[1]")], &["args"], &mut out).expect("it has room");
            let mut expected: Vec<_> = members.clone();
            expected.retain(|(key, _)| !key.eq_ignore_ascii_case("name") && !key.eq_ignore_ascii_case("args"));
            expected.push(("name".to_string(), Model::List(vec![Model::Unsigned(1)])));
            let written: Model = serde_json::from_slice(&out[..length]).expect("it is JSON");
            assert_eq!(written, Model::Object(expected));
        }
        Model::List(list) => {
            let seen: Vec<_> = Elements::new(source).collect();
            assert_eq!(seen.len(), list.len());
            for (element, value) in seen.iter().zip(list) {
                walk(element, value);
            }
        }
        _ => {}
    }
}
