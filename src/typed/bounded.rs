//! A decoder around bincode's that asks for no memory, time or stack that the bytes do not justify.
//!
//! Bincode alone makes a `String` as long as its bytes claim before it looks whether they are there, goes through
//! 2^64 elements that take no bytes, and as deep as they say. Its own limit is a constant of the type; a record's length is
//! not. So: strings and bytes are asked for as borrowed ones, which are looked for first and then copied; the hint at
//! how many elements come is cut to the number of bytes; elements and depth are counted.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// As deep as JSON may be nested: some KiB of stack each, where nothing is optimized.
const MAX_DEPTH: usize = 128;

/// Elements, of all sequences together, beyond one for each byte: an element that takes no bytes is rare but allowed.
const EMPTY_ELEMENTS: usize = 1 << 20;

/// What is left to one record.
pub(super) struct Bounds {
    len: usize,
    elements: Cell<usize>,
    depth: Cell<usize>,
}

impl Bounds {
    pub(super) fn of(bytes: &[u8]) -> Bounds {
        let elements = Cell::new(bytes.len() + EMPTY_ELEMENTS);
        Bounds { len: bytes.len(), elements, depth: Cell::new(MAX_DEPTH) }
    }

    /// To decode a `T` within them.
    pub(super) fn seed<T>(&self) -> Bounded<'_, PhantomData<T>> {
        self.hold(PhantomData)
    }

    fn hold<X>(&self, inner: X) -> Bounded<'_, X> {
        Bounded { inner, bounds: self, counted: false }
    }

    fn element<E: Error>(&self) -> Result<(), E> {
        let Some(left) = self.elements.get().checked_sub(1) else {
            return Err(E::custom("more elements than the record can hold"));
        };
        self.elements.set(left);
        Ok(())
    }

    /// One level deeper, for as long as `f` takes.
    fn deeper<R, E: Error>(&self, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let Some(left) = self.depth.get().checked_sub(1) else {
            return Err(E::custom("nested too deep"));
        };
        self.depth.set(left);
        let done = f();
        self.depth.set(left + 1);
        done
    }
}

/// Something of serde's, and what it may use.
pub(super) struct Bounded<'b, X> {
    inner: X,
    bounds: &'b Bounds,
    counted: bool,
}

impl<X> Bounded<'_, X> {
    /// Takes note of one more element, where they are counted.
    #[inline]
    fn element<E: Error>(&self) -> Result<(), E> {
        if self.counted { self.bounds.element() } else { Ok(()) }
    }

    fn hint(&self, hint: Option<usize>) -> Option<usize> {
        hint.map(|count| count.min(self.bounds.len))
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Bounded<'_, PhantomData<T>> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        T::deserialize(self.bounds.hold(from))
    }
}

macro_rules! pass {
    ($($method:ident)*) => { $(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )* };
}

/// As `pass`, for what may hold others; a sequence is counted, the fields of a type are what they are.
macro_rules! descend {
    ($($method:ident ($($arg:ident: $type:ty),*), counted: $counted:literal;)*) => { $(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let Bounded { inner, bounds, .. } = self;
            let visitor = Bounded { inner: visitor, bounds, counted: $counted };
            bounds.deeper(|| inner.$method($($arg,)* visitor))
        }
    )* };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    pass! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_bytes
        deserialize_unit deserialize_identifier deserialize_ignored_any deserialize_any
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    descend! {
        deserialize_option(), counted: false;
        deserialize_newtype_struct(name: &'static str), counted: false;
        deserialize_seq(), counted: true;
        deserialize_map(), counted: true;
        deserialize_tuple(len: usize), counted: false;
        deserialize_tuple_struct(name: &'static str, len: usize), counted: false;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]), counted: false;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]), counted: false;
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Bincode calls no other methods of a visitor of these types.
impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(self.bounds.hold(from))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(self.bounds.hold(from))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        let Bounded { inner, bounds, counted } = self;
        inner.visit_seq(Bounded { inner: from, bounds, counted })
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        let Bounded { inner, bounds, counted } = self;
        inner.visit_map(Bounded { inner: from, bounds, counted })
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(self.bounds.hold(from))
    }
}

/// A seed of the caller's type, of which the decoder is held within the bounds.
struct Seed<'b, S> {
    inner: S,
    bounds: &'b Bounds,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(self.bounds.hold(from))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.element()?;
        self.inner.next_element_seed(Seed { inner: seed, bounds: self.bounds })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.element()?;
        self.inner.next_key_seed(Seed { inner: seed, bounds: self.bounds })
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Seed { inner: seed, bounds: self.bounds })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint(self.inner.size_hint())
    }
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, self.bounds.hold(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Seed { inner: seed, bounds: self.bounds })
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, self.bounds.hold(visitor))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, self.bounds.hold(visitor))
    }
}
