//! [`Codec`]: how values become bytes, and the byte that says which schema they follow.

use std::fmt;

/// Any error of a codec.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Turns values into the bytes of a record and back: two functions for any format. [`Checked`](super::Checked) makes any codec
/// refuse what it would not give back.
///
/// The first byte of a typed record is its **schema**, a number that is yours: [`encode`](Codec::encode) writes the
/// newest, [`decode`](Codec::decode) is given the one that it finds. [`typed`](crate::typed) shows how a type changes
/// by it.
///
/// ```
/// use duralog::TypedLog;
/// use duralog::typed::{BoxError, Codec};
///
/// struct Postcard;
///
/// impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec<T> for Postcard {
///     fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
///         postcard::to_io(value, out)?;
///         Ok(())
///     }
///     fn decode(&self, _schema: u8, bytes: &[u8]) -> Result<T, BoxError> {
///         Ok(postcard::from_bytes(bytes)?)
///     }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// let log = TypedLog::new(duralog::Log::open(dir.path())?, Postcard);
/// let lsn = log.append(&(1u32, "one".to_string()))?;
/// assert_eq!(log.read(lsn)?, (1, "one".to_string()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// By hand, without any library:
///
/// ```
/// use duralog::typed::{BoxError, Codec, UnknownSchema};
///
/// struct Temperature { millikelvin: u32 }
/// struct FourBytes;
///
/// impl Codec<Temperature> for FourBytes {
///     fn encode(&self, value: &Temperature, out: &mut Vec<u8>) -> Result<(), BoxError> {
///         out.extend_from_slice(&value.millikelvin.to_le_bytes());
///         Ok(())
///     }
///     fn decode(&self, schema: u8, bytes: &[u8]) -> Result<Temperature, BoxError> {
///         if schema != 0 {
///             return Err(UnknownSchema(schema).into());
///         }
///         Ok(Temperature { millikelvin: u32::from_le_bytes(bytes.try_into()?) })
///     }
/// }
/// ```
pub trait Codec<T> {
    /// The schema of what [`encode`](Codec::encode) writes. Default: 0. It must not change while the log is open.
    fn schema(&self) -> u8 {
        0
    }

    /// Appends the bytes of `value` to `out`; what is in it stays.
    ///
    /// # Errors
    ///
    /// Whatever keeps the value from being written: [`Error::Encode`](crate::Error::Encode), and nothing is appended.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// The value of which `bytes`, all of them, are the encoding under `schema`. They lie in the mapping of the log.
    ///
    /// They are only as good as who wrote them. A log finds damage, not records of another type: an implementation
    /// must not panic on any bytes, nor allocate for a length that it only read.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the bytes, for instance [`UnknownSchema`]:
    /// [`Error::Decode`](crate::Error::Decode).
    fn decode(&self, schema: u8, bytes: &[u8]) -> Result<T, BoxError>;
}

/// The schema of a record is none that the codec knows: most likely a newer program wrote it.
///
/// ```
/// assert_eq!(duralog::typed::UnknownSchema(7).to_string(), "schema 7 is unknown");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSchema(
    /// The byte found.
    pub u8,
);

impl fmt::Display for UnknownSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schema {} is unknown", self.0)
    }
}

impl std::error::Error for UnknownSchema {}
