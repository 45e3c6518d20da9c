//! A serde serializer that drives the [`Writer`].

use core::fmt::Display;

use serde::Serialize;
use serde::ser::{
    Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, SerializeTupleStruct,
    Serializer,
};

use crate::json::write::{Overflow, Writer};

impl serde::ser::StdError for Overflow {}

impl Display for Overflow {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the text does not fit the buffer")
    }
}

impl serde::ser::Error for Overflow {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

type Result<T> = core::result::Result<T, Overflow>;

macro_rules! scalars {
    ($($method:ident $type:ty => $call:ident as $wide:ty),* $(,)?) => {$(
        fn $method(self, value: $type) -> Result<()> {
            self.$call(<$wide>::from(value));
            Ok(())
        }
    )*};
}

impl<'w, 'b> Serializer for &'w mut Writer<'b> {
    type Ok = ();
    type Error = Overflow;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Impossible<(), Overflow>;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Impossible<(), Overflow>;

    scalars!(
        serialize_bool bool => bool as bool,
        serialize_i8 i8 => int as i64,
        serialize_i16 i16 => int as i64,
        serialize_i32 i32 => int as i64,
        serialize_i64 i64 => int as i64,
        serialize_u8 u8 => uint as u64,
        serialize_u16 u16 => uint as u64,
        serialize_u32 u32 => uint as u64,
        serialize_u64 u64 => uint as u64,
    );

    fn serialize_f32(self, _: f32) -> Result<()> {
        Err(Overflow)
    }

    fn serialize_f64(self, _: f64) -> Result<()> {
        Err(Overflow)
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.str(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        self.str(value);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<()> {
        Err(Overflow)
    }

    fn serialize_none(self) -> Result<()> {
        self.null();
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<()> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<()> {
        self.begin_object().key(name);
        value.serialize(&mut *self)?;
        self.end_object();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self> {
        Ok(self.begin_array())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self> {
        Ok(self.begin_array())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self> {
        Ok(self.begin_array())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        Err(Overflow)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self> {
        Ok(self.begin_object())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self> {
        Ok(self.begin_object())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant> {
        Err(Overflow)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<()> {
        self.display(value);
        Ok(())
    }
}

macro_rules! elements {
    ($($trait:ident $method:ident),*) => {$(
        impl $trait for &mut Writer<'_> {
            type Ok = ();
            type Error = Overflow;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<()> {
                self.end_array();
                Ok(())
            }
        }
    )*};
}

elements!(SerializeSeq serialize_element, SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field);

impl SerializeStruct for &mut Writer<'_> {
    type Ok = ();
    type Error = Overflow;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<()> {
        self.key(name);
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<()> {
        self.end_object();
        Ok(())
    }
}

impl SerializeMap for &mut Writer<'_> {
    type Ok = ();
    type Error = Overflow;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        let start = self.begin_key();
        key.serialize(&mut **self)?;
        self.end_key(start)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<()> {
        self.end_object();
        Ok(())
    }
}
