//! The oracle: serde_json's view of a text with repeated keys and their order
//! kept, and what a schema leaves of it, written anew in the plainest way.

use std::fmt;

use picocni_core::json::{Key, Kind};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    /// A fraction, an exponent, `-0`, or an integer beyond 64 bits.
    Float(f64),
    Text(String),
    List(Vec<Model>),
    Object(Vec<(String, Model)>),
}

/// Why a text cannot be judged or has no typed value.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// The schema refuses it.
    Refused,
    /// `-0` and `-0.0` look the same here: one is an integer, one is not.
    Unknown,
}

impl Model {
    /// Open brackets at the deepest point.
    pub fn depth(&self) -> usize {
        match self {
            Self::List(list) => 1 + list.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(members) => 1 + members.iter().map(|(_, v)| v.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether the number texts are all known from their values.
    pub fn is_exact(&self) -> bool {
        match self {
            Self::Float(_) => false,
            Self::List(list) => list.iter().all(Self::is_exact),
            Self::Object(members) => members.iter().all(|(_, v)| v.is_exact()),
            _ => true,
        }
    }

    /// Compact text. Only for values that are [exact](Self::is_exact).
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(&value.to_string()),
            Self::Signed(value) => out.push_str(&value.to_string()),
            Self::Unsigned(value) => out.push_str(&value.to_string()),
            Self::Float(value) => out.push_str(&value.to_string()),
            Self::Text(value) => out.push_str(&quoted(value)),
            Self::List(list) => {
                out.push('[');
                for (at, value) in list.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    value.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    out.push_str(&quoted(key));
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is serialisable")
}

/// What `kind` makes of a value: `None` if it is not written.
pub fn typed(kind: &Kind, value: &Model) -> Result<Option<Model>, Verdict> {
    let fits = |fits: bool| if fits { Ok(()) } else { Err(Verdict::Refused) };
    match (kind, value) {
        (Kind::Spanned(inner), value) => return typed(inner, value),
        (Kind::Raw, _) => return Ok(None),
        (Kind::Any, _) | (Kind::Str, Model::Text(_)) => {}
        (Kind::Bool | Kind::BoolOrStr, Model::Bool(_)) => {}
        (Kind::BoolOrStr, Model::Text(text)) => {
            let truth = text.eq_ignore_ascii_case("true");
            fits(truth || text.eq_ignore_ascii_case("false"))?;
            return Ok(Some(Model::Bool(truth)));
        }
        (Kind::Int { min, max }, Model::Signed(value)) => fits(min <= value && value <= max)?,
        (Kind::Int { min, max }, Model::Unsigned(value)) => {
            fits(i64::try_from(*value).is_ok_and(|v| *min <= v && v <= *max))?;
        }
        (Kind::Int { .. }, Model::Float(value)) if *value == 0.0 => return Err(Verdict::Unknown),
        (Kind::Uint { min, max }, Model::Unsigned(value)) => fits(min <= value && value <= max)?,
        (Kind::Object(keys), Model::Object(members)) => return object(keys, members).map(Some),
        (Kind::Map(of, limit), Model::Object(members)) => {
            let mut out: Vec<(String, Model)> = Vec::new();
            for (key, value) in members {
                out.retain(|(known, _)| known != key);
                fits(out.len() < limit.max)?;
                out.push((key.clone(), element(of, value)?));
            }
            return Ok(Some(Model::Object(out)));
        }
        (Kind::Array(of, limit), Model::List(list)) => {
            fits(list.len() <= limit.max)?;
            let list: Result<Vec<_>, _> = list.iter().map(|value| element(of, value)).collect();
            return Ok(Some(Model::List(list?)));
        }
        _ => return Err(Verdict::Refused),
    }
    Ok(Some(value.clone()))
}

fn object(keys: &[Key], members: &[(String, Model)]) -> Result<Model, Verdict> {
    let mut out: Vec<(String, Model)> = Vec::new();
    for (spelling, value) in members {
        let Some(key) = keys.iter().find(|key| key.name.eq_ignore_ascii_case(spelling)) else {
            continue;
        };
        let new = match value {
            Model::Null if keeps_on_null(&key.kind) => continue,
            Model::Null => None,
            value => typed(&key.kind, value)?,
        };
        out.retain(|(known, _)| known != key.name);
        out.extend(new.map(|new| (key.name.to_string(), new)));
    }
    Ok(Model::Object(out))
}

/// Whether `null` leaves an earlier value of the same key.
pub fn keeps_on_null(kind: &Kind) -> bool {
    match kind {
        Kind::Spanned(inner) => keeps_on_null(inner),
        Kind::Array(..) | Kind::Map(..) | Kind::Any | Kind::Raw => false,
        _ => true,
    }
}

fn element(kind: &Kind, value: &Model) -> Result<Model, Verdict> {
    if *value != Model::Null {
        let kind = if matches!(kind, Kind::Raw) { &Kind::Any } else { kind };
        return Ok(typed(kind, value)?.unwrap_or(Model::Null));
    }
    match kind {
        Kind::Str => Ok(Model::Text(String::new())),
        Kind::Bool | Kind::BoolOrStr => Ok(Model::Bool(false)),
        Kind::Int { min, max } if (*min..=*max).contains(&0) => Ok(Model::Unsigned(0)),
        Kind::Uint { min: 0, .. } => Ok(Model::Unsigned(0)),
        Kind::Object(_) | Kind::Map(..) => Ok(Model::Object(Vec::new())),
        Kind::Array(..) => Ok(Model::List(Vec::new())),
        Kind::Any | Kind::Raw => Ok(Model::Null),
        Kind::Spanned(inner) => element(inner, value),
        Kind::Int { .. } | Kind::Uint { .. } => Err(Verdict::Refused),
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModelVisitor)
    }
}

struct ModelVisitor;

impl<'de> Visitor<'de> for ModelVisitor {
    type Value = Model;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Model, E> {
        Ok(Model::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Model, E> {
        Ok(Model::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Model, E> {
        Ok(u64::try_from(value).map_or(Model::Signed(value), Model::Unsigned))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Model, E> {
        Ok(Model::Unsigned(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Model, E> {
        Ok(Model::Float(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Model, E> {
        Ok(Model::Text(value.to_string()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Model, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Model::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Model, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Model::Object(members))
    }
}
