//! [`Json`]: values of any shape, which name their fields.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{BoxError, Codec, UnknownSchema};
use super::lossless;

/// Any type with serde's traits as JSON, `serde_json::Value` too: records of any shape, that other programs can read. Needs
/// the feature `json`. Schema 0.
///
/// A type can gain fields (with `#[serde(default)]`) and lose some without a new schema. A value that JSON would not give back is
/// [`Error::Encode`](crate::Error::Encode) (see [`write`](Json::write)); numbers come back bit by bit. What the type itself
/// loses (`#[serde(skip)]`, `#[serde(untagged)]`) [`Checked`](super::Checked) finds.
///
/// ```
/// use duralog::{Json, TypedLog};
/// use serde_json::{Value, json};
/// # let dir = tempfile::tempdir()?;
/// let log: TypedLog<Value, Json> = TypedLog::open(dir.path())?;
/// log.append(&json!({"event": "user_signup", "user_id": "user-123"}))?;
/// log.append(&json!("or only a text"))?;
/// for event in &log {
///     let (_lsn, event) = event?;
///     println!("{event}");
/// }
/// log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl Json {
    /// Appends `value` to `out`: for a codec with schemas of its own.
    ///
    /// # Errors
    ///
    /// What JSON cannot say (a map whose keys are no strings) or would not give back: NaN and the infinities, a `Some` that is
    /// `null` in JSON (`Some(None)`, `Some(())`), more than 127 levels of arrays and objects.
    ///
    /// ```
    /// # use duralog::Json;
    /// let mut out = Vec::new();
    /// Json::write(&("one", 2), &mut out)?;
    /// assert_eq!(out, br#"["one",2]"#);
    /// # Ok::<(), duralog::typed::BoxError>(())
    /// ```
    pub fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        lossless::check(value)?;
        Ok(serde_json::to_writer(out, value)?)
    }

    /// The value that `bytes`, all of them, say.
    ///
    /// # Errors
    ///
    /// They are no JSON, or not that of a `T`.
    ///
    /// ```
    /// # use duralog::Json;
    /// let pair: (String, u8) = Json::read(br#"["one",2]"#)?;
    /// assert_eq!(pair, ("one".to_string(), 2));
    /// # Ok::<(), duralog::typed::BoxError>(())
    /// ```
    pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Json::write(value, out)
    }

    fn decode(&self, schema: u8, bytes: &[u8]) -> Result<T, BoxError> {
        match schema {
            0 => Json::read(bytes),
            other => Err(UnknownSchema(other).into()),
        }
    }
}
