//! [`TypedReplay`]: values straight out of the mapping.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;

use super::codec::{BoxError, Codec};
use crate::error::{Error, Result};
use crate::log::Replay;
use crate::lsn::Lsn;

/// The values of a range, oldest first: an iterator of `Result<(Lsn, T)>`.
///
/// It goes on behind a record that cannot be decoded ([`Error::Decode`], which names it), and ends after any other error,
/// as [`Replay`] does.
///
/// ```
/// use duralog::{Error, TypedLog};
/// # let dir = tempfile::tempdir()?;
/// let log: TypedLog<bool> = TypedLog::open(dir.path())?;
/// log.append(&true)?;
/// let odd = log.log().append(b"something else")?;
/// log.append(&false)?;
/// let mut values = Vec::new();
/// for found in &log {
///     match found {
///         Ok((_lsn, value)) => values.push(value),
///         Err(Error::Decode { lsn, .. }) => assert_eq!(lsn, odd),
///         Err(error) => return Err(error.into()),
///     }
/// }
/// assert_eq!(values, [true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TypedReplay<'a, T, C> {
    replay: Replay<'a>,
    codec: &'a C,
    values: PhantomData<fn() -> T>,
}

impl<'a, T, C: Codec<T>> TypedReplay<'a, T, C> {
    pub(super) fn new(replay: Replay<'a>, codec: &'a C) -> Self {
        TypedReplay { replay, codec, values: PhantomData }
    }
}

impl<T, C: Codec<T>> Iterator for TypedReplay<'_, T, C> {
    type Item = Result<(Lsn, T)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (lsn, payload) = match self.replay.next_payload() {
            Ok(found) => found?,
            Err(error) => return Some(Err(error)),
        };
        Some(decode(self.codec, lsn, payload).map(|value| (lsn, value)))
    }
}

impl<T, C: Codec<T>> FusedIterator for TypedReplay<'_, T, C> {}

impl<T, C> fmt::Debug for TypedReplay<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedReplay").field("replay", &self.replay).finish_non_exhaustive()
    }
}

pub(super) fn decode<T>(codec: &impl Codec<T>, lsn: Lsn, payload: &[u8]) -> Result<T> {
    let failed = |schema, source: BoxError| Error::Decode { lsn, schema, source };
    let Some((schema, bytes)) = payload.split_first() else {
        return Err(failed(None, "an empty record has no schema".into()));
    };
    codec.decode(*schema, bytes).map_err(|source| failed(Some(*schema), source))
}
