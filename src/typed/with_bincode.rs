//! [`Bincode`]: the codec that needs no choice.

use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bounded::Bounds;
use super::codec::{BoxError, Codec, UnknownSchema};

/// Any type with serde's traits as [bincode](https://docs.rs/bincode) 2 (little-endian, variable-length integers): small
/// and fast. Its bytes do not name their fields: a type that changes needs a new
/// [schema](crate::typed#when-a-type-changes), or old records are errors at best. Schema 0.
///
/// Any bytes decode to a value or an error, without more memory than they justify. The price: a
/// value nested deeper than 128 levels, or with more than a million elements that take no bytes, can be appended but not
/// decoded. Nor can what does not describe itself: `serde_json::Value`, `#[serde(untagged)]`, `#[serde(flatten)]`,
/// `#[serde(skip_serializing_if)]`. [`Checked`](super::Checked) refuses such values before they are appended.
///
/// ```
/// use duralog::TypedLog;
/// # let dir = tempfile::tempdir()?;
/// let log: TypedLog<(u64, String)> = TypedLog::open(dir.path())?;
/// log.append(&(7, "seven".into()))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bincode;

impl Bincode {
    /// Appends the bytes of `value` to `out`: for a codec with schemas of its own.
    ///
    /// # Errors
    ///
    /// What the type's `Serialize` refuses.
    ///
    /// ```
    /// # use duralog::typed::Bincode;
    /// let mut out = Vec::new();
    /// Bincode::write(&("one", 2u8), &mut out)?;
    /// assert_eq!(out, b"\x03one\x02");
    /// # Ok::<(), duralog::typed::BoxError>(())
    /// ```
    pub fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(bincode::serde::encode_into_writer(value, Append(out), config())?)
    }

    /// The value of which `bytes`, all of them, are the encoding.
    ///
    /// # Errors
    ///
    /// They are not that of a `T`, or there are more.
    ///
    /// ```
    /// # use duralog::typed::Bincode;
    /// let pair: (String, u8) = Bincode::read(b"\x03one\x02")?;
    /// assert_eq!(pair, ("one".to_string(), 2));
    /// # Ok::<(), duralog::typed::BoxError>(())
    /// ```
    pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BoxError> {
        let bounds = Bounds::of(bytes);
        let (value, read) = bincode::serde::seed_decode_from_slice(bounds.seed(), bytes, config())?;
        if read == bytes.len() { Ok(value) } else { Err("there are bytes behind the value".into()) }
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Bincode {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Bincode::write(value, out)
    }

    fn decode(&self, schema: u8, bytes: &[u8]) -> Result<T, BoxError> {
        match schema {
            0 => Bincode::read(bytes),
            other => Err(UnknownSchema(other).into()),
        }
    }
}

/// It is on the disks of users: it must never change.
fn config() -> impl bincode::config::Config {
    bincode::config::standard()
}

struct Append<'a>(&'a mut Vec<u8>);

impl Writer for Append<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
