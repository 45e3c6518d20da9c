//! Flat structs read from canonical text, all by one piece of code.
//!
//! A derived `Deserialize` is compiled anew for every struct, and keeps every
//! field in an `Option` until the end: a third of the program was such code. A
//! struct with [`Fields`] only says where the value of a key goes; one visitor
//! of `serde-json-core`'s deserializer serves them all, and fills them in place.
//!
//! Lists are not read here. They stay text, and are walked one element at a
//! time with [`Elements`](super::raw::Elements).

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{DecodeError, Str};

/// Where the value of a key goes.
#[expect(missing_debug_implementations, reason = "borrows fields of any struct")]
pub enum Slot<'s, 'a> {
    /// Nowhere: the key is not this struct's.
    Skip,
    /// A string.
    Str(&'s mut Str<'a>),
    /// A boolean.
    Bool(&'s mut bool),
    /// A boolean that may be absent.
    MaybeBool(&'s mut Option<bool>),
    /// A signed integer. The schema has its bounds.
    Int(&'s mut i64),
    /// A signed integer that may be absent.
    MaybeInt(&'s mut Option<i64>),
    /// Set if the key is there, whatever its value.
    Present(&'s mut bool),
    /// Set if the value is a list with an element.
    AnyElement(&'s mut bool),
    /// A nested object.
    Object(&'s mut dyn Fields<'a>),
}

#[cfg(feature = "defmt")]
impl defmt::Format for Slot<'_, '_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        let kind = match self {
            Slot::Skip => "skip",
            Slot::Str(_) => "string",
            Slot::Bool(_) | Slot::MaybeBool(_) => "boolean",
            Slot::Int(_) | Slot::MaybeInt(_) => "integer",
            Slot::Present(_) => "presence",
            Slot::AnyElement(_) => "list",
            Slot::Object(_) => "object",
        };
        defmt::write!(f, "{=str}", kind);
    }
}

/// A struct that is read by key. Write it with [`fields!`](crate::fields).
pub trait Fields<'a> {
    /// Where the value of `key` goes.
    fn field(&mut self, key: &str) -> Slot<'_, 'a>;
}

/// The type of a field of such a struct.
pub trait Field<'a> {
    /// Where its value goes.
    fn slot(&mut self) -> Slot<'_, 'a>;
}

impl<'a> Field<'a> for Str<'a> {
    fn slot(&mut self) -> Slot<'_, 'a> {
        Slot::Str(self)
    }
}

impl<'a> Field<'a> for bool {
    fn slot(&mut self) -> Slot<'_, 'a> {
        Slot::Bool(self)
    }
}

impl<'a> Field<'a> for Option<bool> {
    fn slot(&mut self) -> Slot<'_, 'a> {
        Slot::MaybeBool(self)
    }
}

impl<'a> Field<'a> for i64 {
    fn slot(&mut self) -> Slot<'_, 'a> {
        Slot::Int(self)
    }
}

impl<'a> Field<'a> for Option<i64> {
    fn slot(&mut self) -> Slot<'_, 'a> {
        Slot::MaybeInt(self)
    }
}

impl<'a, T: Fields<'a> + Default> Field<'a> for Option<T> {
    fn slot(&mut self) -> Slot<'_, 'a> {
        Slot::Object(self.get_or_insert_default())
    }
}

/// Whether a key is there, whatever its value.
#[derive(Debug, Default, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Present(pub bool);

impl<'a> Field<'a> for Present {
    fn slot(&mut self) -> Slot<'_, 'a> {
        Slot::Present(&mut self.0)
    }
}

/// Whether a list has an element: templates write empty lists for "none".
#[derive(Debug, Default, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AnyElement(pub bool);

impl<'a> Field<'a> for AnyElement {
    fn slot(&mut self) -> Slot<'_, 'a> {
        Slot::AnyElement(&mut self.0)
    }
}

/// Says which field of a struct holds which key:
/// `fields!(Wire<'a> { "bridge" => bridge, "isGateway" => is_gateway });`
///
/// Field types are [`Str`], `bool`, `i64`, both also in an `Option`,
/// [`Present`], [`AnyElement`], and structs of this kind. A struct that borrows
/// nothing has no lifetime: `fields!(Wire { "isGateway" => is_gateway });`
#[macro_export]
macro_rules! fields {
    ($name:ident { $($key:literal => $field:ident),+ $(,)? }) => {
        impl<'a> $crate::json::Fields<'a> for $name {
            fn field(&mut self, key: &str) -> $crate::json::Slot<'_, 'a> {
                match key {
                    $($key => $crate::json::Field::slot(&mut self.$field),)+
                    _ => $crate::json::Slot::Skip,
                }
            }
        }
    };
    ($name:ident<$life:lifetime> { $($key:literal => $field:ident),+ $(,)? }) => {
        impl<$life> $crate::json::Fields<$life> for $name<$life> {
            fn field(&mut self, key: &str) -> $crate::json::Slot<'_, $life> {
                match key {
                    $($key => $crate::json::Field::slot(&mut self.$field),)+
                    _ => $crate::json::Slot::Skip,
                }
            }
        }

        impl<$life> $crate::json::Field<$life> for $name<$life> {
            fn slot(&mut self) -> $crate::json::Slot<'_, $life> {
                $crate::json::Slot::Object(self)
            }
        }
    };
}

/// Fills a struct from a canonical object; what the text does not have keeps its value.
///
/// # Errors
/// [`DecodeError`] where the text does not fit.
#[inline(never)]
pub fn fill<'a>(text: &'a str, into: &mut dyn Fields<'a>) -> Result<(), DecodeError> {
    let mut deserializer = serde_json_core::de::Deserializer::new(text.as_bytes(), None);
    Into(Slot::Object(into)).deserialize(&mut deserializer).map_err(|_| DecodeError)
}

/// [`fill`] from an empty struct.
///
/// # Errors
/// As [`fill`].
pub fn read<'a, T: Fields<'a> + Default>(text: &'a str) -> Result<T, DecodeError> {
    let mut value = T::default();
    fill(text, &mut value)?;
    Ok(value)
}

/// A slot as serde's seed.
struct Into<'s, 'a>(Slot<'s, 'a>);

impl<'de> DeserializeSeed<'de> for Into<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        use serde::Deserialize as _;
        match self.0 {
            Slot::Skip => IgnoredAny::deserialize(deserializer).map(|_| ()),
            Slot::Str(slot) => Str::deserialize(deserializer).map(|value| *slot = value),
            Slot::Bool(slot) => bool::deserialize(deserializer).map(|value| *slot = value),
            Slot::MaybeBool(slot) => bool::deserialize(deserializer).map(|value| *slot = Some(value)),
            Slot::Int(slot) => i64::deserialize(deserializer).map(|value| *slot = value),
            Slot::MaybeInt(slot) => i64::deserialize(deserializer).map(|value| *slot = Some(value)),
            Slot::Present(slot) => IgnoredAny::deserialize(deserializer).map(|_| *slot = true),
            Slot::AnyElement(slot) => deserializer.deserialize_seq(Elements(slot)),
            Slot::Object(fields) => deserializer.deserialize_map(Object(fields)),
        }
    }
}

struct Object<'s, 'a>(&'s mut dyn Fields<'a>);

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Str<'de>>()? {
            map.next_value_seed(Into(self.0.field(key.canonical())))?;
        }
        Ok(())
    }
}

struct Elements<'s>(&'s mut bool);

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {
            *self.0 = true;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Inner<'a> {
        name: Str<'a>,
    }
    fields!(Inner<'a> { "name" => name });

    #[derive(Debug, Default)]
    struct Outer<'a> {
        text: Str<'a>,
        on: bool,
        maybe: Option<bool>,
        number: i64,
        some: Option<i64>,
        there: Present,
        empty: AnyElement,
        full: AnyElement,
        inner: Inner<'a>,
        absent: Option<Inner<'a>>,
        given: Option<Inner<'a>>,
    }
    fields!(Outer<'a> {
        "text" => text, "on" => on, "maybe" => maybe, "number" => number, "some" => some, "there" => there,
        "empty" => empty, "full" => full, "inner" => inner, "absent" => absent, "given" => given,
    });

    #[test]
    fn every_slot_is_filled() {
        let text = concat!(
            r#"{"skipped":{"a":[1,{"b":"}"}]},"text":"a\"b","on":true,"maybe":false,"number":-7,"some":5,"there":[],"#,
            r#""empty":[],"full":["x"],"inner":{"name":"n","other":1},"given":{}}"#
        );
        let outer: Outer<'_> = read(text).unwrap();
        assert_eq!(outer.text.canonical(), r#"a\"b"#);
        assert!(outer.on && outer.there.0 && outer.full.0 && !outer.empty.0);
        assert_eq!((outer.maybe, outer.number, outer.some), (Some(false), -7, Some(5)));
        assert_eq!(outer.inner.name, "n");
        assert!(outer.absent.is_none() && outer.given.is_some());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for text in ["", "[]", "{\"on\":1}", "{\"number\":\"1\"}", "{\"inner\":[]}", "{\"text\":1", "{\"full\":{}}"] {
            assert!(read::<Outer<'_>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_absent_key_keeps_the_value() {
        let mut outer = Outer { number: 3, ..Outer::default() };
        fill(r#"{"on":true}"#, &mut outer).unwrap();
        assert_eq!((outer.number, outer.on), (3, true));
    }
}
