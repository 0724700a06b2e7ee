//! [`Checked`]: a codec that reads back what it wrote.

use super::codec::{BoxError, Codec};

/// Decodes each value that it encodes, before it goes in: what would not come back equal is
/// [`Error::Encode`](crate::Error::Encode), and nothing is appended. The records are those of the codec inside, so a log can
/// be opened with either.
///
/// For types of which you do not know that a codec gives them back: `#[serde(untagged)]`, `#[serde(skip)]`,
/// `Serialize` written by hand. An append costs a decode more. A value that is not equal to itself, such as NaN, is refused.
///
/// ```
/// use duralog::typed::Checked;
/// use duralog::{Error, Json, TypedLog};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq)]
/// #[serde(untagged)]
/// enum Id { Name(String), Email(String) } // nothing in the JSON says which
///
/// # let dir = tempfile::tempdir()?;
/// let log: TypedLog<Id, Checked<Json>> = TypedLog::open(dir.path())?;
/// log.append(&Id::Name("ann".into()))?;
/// assert!(matches!(log.append(&Id::Email("ann".into())), Err(Error::Encode { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked<C>(
    /// The codec.
    pub C,
);

impl<T: PartialEq, C: Codec<T>> Codec<T> for Checked<C> {
    fn schema(&self) -> u8 {
        self.0.schema()
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let start = out.len();
        self.0.encode(value, out)?;
        let bytes = out.get(start..).unwrap_or_default();
        match self.0.decode(self.0.schema(), bytes) {
            Ok(same) if same == *value => Ok(()),
            Ok(_) => Err("it would come back as another value".into()),
            Err(error) => Err(format!("it could not be decoded again: {error}").into()),
        }
    }

    fn decode(&self, schema: u8, bytes: &[u8]) -> Result<T, BoxError> {
        self.0.decode(schema, bytes)
    }
}
