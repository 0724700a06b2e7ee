//! What JSON would write and not give back. `serde_json` takes all of it without an error.

use serde::ser::{self, Error as _, Serialize, Serializer};

type Result<T> = std::result::Result<T, serde_json::Error>;

/// An error if JSON cannot give `value` back.
pub(super) fn check<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    value.serialize(Probe { levels: DEEPEST }).map(|_| ())
}

/// Levels of arrays and objects that `serde_json` reads.
const DEEPEST: u8 = 127;

/// Writes nothing: it only walks through the value.
#[derive(Clone, Copy)]
struct Probe {
    levels: u8,
}

/// What JSON has for a value.
#[derive(PartialEq, Eq)]
enum Said {
    Null,
    Something,
}

impl Probe {
    fn deeper(self, by: u8) -> Result<Probe> {
        match self.levels.checked_sub(by) {
            Some(levels) => Ok(Probe { levels }),
            None => Err(serde_json::Error::custom(format_args!(
                "it is nested deeper than the {DEEPEST} levels that are decoded"
            ))),
        }
    }

    fn float(value: f64) -> Result<Said> {
        match value.is_finite() {
            true => Ok(Said::Something),
            false => Err(serde_json::Error::custom(format_args!("JSON has no number {value}"))),
        }
    }
}

macro_rules! something {
    ($($method:ident($type:ty))*) => {
        $(fn $method(self, _: $type) -> Result<Said> {
            Ok(Said::Something)
        })*
    };
}

impl Serializer for Probe {
    type Ok = Said;
    type Error = serde_json::Error;
    type SerializeSeq = Probe;
    type SerializeTuple = Probe;
    type SerializeTupleStruct = Probe;
    type SerializeTupleVariant = Probe;
    type SerializeMap = Probe;
    type SerializeStruct = Probe;
    type SerializeStructVariant = Probe;

    something! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
    }

    fn serialize_f32(self, value: f32) -> Result<Said> {
        Probe::float(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Said> {
        Probe::float(value)
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Said> {
        self.deeper(1).map(|_| Said::Something)
    }

    fn serialize_none(self) -> Result<Said> {
        Ok(Said::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Said> {
        match value.serialize(self)? {
            Said::Null => Err(serde_json::Error::custom(
                "JSON writes null for a Some, and would give None back",
            )),
            Said::Something => Ok(Said::Something),
        }
    }

    fn serialize_unit(self) -> Result<Said> {
        Ok(Said::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Said> {
        Ok(Said::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Said> {
        Ok(Said::Something)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Said> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Said> {
        value.serialize(self.deeper(1)?).map(|_| Said::Something)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Probe> {
        self.deeper(1)
    }

    fn serialize_tuple(self, _: usize) -> Result<Probe> {
        self.deeper(1)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Probe> {
        self.deeper(1)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Probe> {
        self.deeper(2)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Probe> {
        self.deeper(1)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Probe> {
        self.deeper(1)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Probe> {
        self.deeper(2)
    }
}

macro_rules! each {
    ($($trait:ident::$method:ident($($key:ident)?))*) => {
        $(impl ser::$trait for Probe {
            type Ok = Said;
            type Error = serde_json::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Result<()> {
                value.serialize(*self).map(|_| ())
            }

            fn end(self) -> Result<Said> {
                Ok(Said::Something)
            }
        })*
    };
}

each! {
    SerializeSeq::serialize_element()
    SerializeTuple::serialize_element()
    SerializeTupleStruct::serialize_field()
    SerializeTupleVariant::serialize_field()
    SerializeStruct::serialize_field(_key)
    SerializeStructVariant::serialize_field(_key)
}

impl ser::SerializeMap for Probe {
    type Ok = Said;
    type Error = serde_json::Error;

    /// A key is a string, or `serde_json` refuses it.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<()> {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(*self).map(|_| ())
    }

    fn end(self) -> Result<Said> {
        Ok(Said::Something)
    }
}
