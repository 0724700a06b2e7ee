//! [`TypedLog`]: a log of values of one type, over a [`Codec`].
//!
//! # When a type changes
//!
//! Records outlive the program that wrote them. So each begins with a byte, its **schema**, that is yours to count up
//! whenever the encoding of the type changes. A codec writes the newest and knows the older ones:
//!
//! ```
//! use duralog::typed::{Bincode, BoxError, Codec, UnknownSchema};
//! use duralog::{Error, TypedLog};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SignupV0 { user: String } // as it was: schema 0, which `Bincode` writes
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! struct Signup { user: String, country: Option<String> } // as it is: schema 1
//!
//! struct Signups;
//!
//! impl Codec<Signup> for Signups {
//!     fn schema(&self) -> u8 {
//!         1
//!     }
//!     fn encode(&self, value: &Signup, out: &mut Vec<u8>) -> Result<(), BoxError> {
//!         Bincode::write(value, out)
//!     }
//!     fn decode(&self, schema: u8, bytes: &[u8]) -> Result<Signup, BoxError> {
//!         match schema {
//!             0 => Bincode::read(bytes).map(|SignupV0 { user }| Signup { user, country: None }),
//!             1 => Bincode::read(bytes),
//!             newer => Err(UnknownSchema(newer).into()),
//!         }
//!     }
//! }
//!
//! # let dir = tempfile::tempdir()?;
//! let old: TypedLog<SignupV0> = TypedLog::open(dir.path())?; // last year's program
//! let first = old.append(&SignupV0 { user: "ann".into() })?;
//! old.close()?;
//!
//! let log = TypedLog::new(duralog::Log::open(dir.path())?, Signups); // this year's
//! log.append(&Signup { user: "bob".into(), country: Some("PT".into()) })?;
//! let all: Vec<Signup> = log.replay().map(|found| Ok(found?.1)).collect::<Result<_, Error>>()?;
//! assert_eq!(all[0], Signup { user: "ann".into(), country: None });
//! assert_eq!(all[1], Signup { user: "bob".into(), country: Some("PT".into()) });
//! log.close()?;
//!
//! // Last year's program on this year's log: an error for each record that it does not know, and no wrong value.
//! let old: TypedLog<SignupV0> = TypedLog::open(dir.path())?;
//! let mut replay = old.replay();
//! assert!(matches!(replay.next(), Some(Ok((lsn, _))) if lsn == first));
//! assert!(matches!(replay.next(), Some(Err(Error::Decode { schema: Some(1), .. }))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! JSON names its fields and often needs no new schema: `#[serde(default)]` is enough for one that is added.

mod bounded;
mod buffer;
mod checked;
mod codec;
#[cfg(feature = "json")]
mod lossless;
mod replay;
mod with_bincode;
#[cfg(feature = "json")]
mod with_json;

use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::path::Path;

pub use checked::Checked;
pub use codec::{BoxError, Codec, UnknownSchema};
pub use replay::TypedReplay;
pub use with_bincode::Bincode;
#[cfg(feature = "json")]
pub use with_json::Json;

use crate::error::{Error, Result};
use crate::log::Log;
use crate::lsn::Lsn;
use crate::options::Options;

/// A [`Log`] of values of one type. All that a log does, it does for a typed one too, by [`log`](TypedLog::log).
///
/// `Send` and `Sync` whatever the type is, if its codec is: a value is encoded by the thread that appends it, before the log's lock.
///
/// ```
/// use duralog::TypedLog;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Debug, PartialEq)]
/// enum Event {
///     Signup { user: String },
///     Purchase { user: String, item: u64 },
/// }
///
/// # let dir = tempfile::tempdir()?;
/// let log: TypedLog<Event> = TypedLog::open(dir.path())?;
/// let lsn = log.append(&Event::Signup { user: "ann".into() })?;
/// log.append_durable(&Event::Purchase { user: "ann".into(), item: 7 })?;
/// assert_eq!(log.read(lsn)?, Event::Signup { user: "ann".into() });
/// for event in &log {
///     let (lsn, event) = event?;
///     println!("{lsn}: {event:?}");
/// }
/// log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TypedLog<T, C = Bincode> {
    log: Log,
    codec: C,
    values: PhantomData<fn(&T) -> T>,
}

impl<T, C: Codec<T> + Default> TypedLog<T, C> {
    /// Opens the log in `dir` with the default [`Options`]; creates it if there is none. What its records hold is seen
    /// when they are read.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::TypedLog::<String>::open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(Options::new(), dir)
    }

    /// The same with these options.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    ///
    /// ```
    /// use duralog::{Options, TypedLog};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(1 << 20);
    /// let log: TypedLog<String> = TypedLog::open_with(options, dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_with(options: Options, dir: impl AsRef<Path>) -> Result<Self> {
        Ok(TypedLog::new(options.open(dir)?, C::default()))
    }
}

impl<T, C: Codec<T>> TypedLog<T, C> {
    /// A log that is open already, and any codec.
    ///
    /// ```
    /// use duralog::{Bincode, Log, TypedLog};
    /// # let dir = tempfile::tempdir()?;
    /// let log: TypedLog<String> = TypedLog::new(Log::open(dir.path())?, Bincode);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(log: Log, codec: C) -> Self {
        TypedLog { log, codec, values: PhantomData }
    }

    /// Appends a value: its LSN. Not durable yet, as [`Log::append`]. Allocates nothing, unless the value is larger than
    /// any that this thread appended before, or than 1 MiB.
    ///
    /// # Errors
    ///
    /// Nothing was appended: [`Error::Encode`], and those of [`Log::append`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<(u32, f64)>::open(dir.path())?;
    /// log.append(&(1, 21.5))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append(&self, value: &T) -> Result<Lsn> {
        self.encoded(value, |payload| self.log.append(payload))
    }

    /// Appends a value and waits until it is durable; shares the sync with other threads.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`], and those of [`Log::append_durable`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<(u32, f64)>::open(dir.path())?;
    /// let lsn = log.append_durable(&(1, 21.5))?;
    /// assert!(lsn < log.durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_durable(&self, value: &T) -> Result<Lsn> {
        self.encoded(value, |payload| self.log.append_durable(payload))
    }

    /// Appends values as one: after a crash all of them are there or none. Their LSNs. Not durable yet.
    ///
    /// # Errors
    ///
    /// Nothing was appended: [`Error::Encode`] of any of them, and those of [`Log::append_batch`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<(u32, f64)>::open(dir.path())?;
    /// let lsns = log.append_batch(&[(1, 21.5), (2, 22.0)])?;
    /// log.commit_to(lsns[1])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_batch<'v>(&self, values: impl IntoIterator<Item = &'v T>) -> Result<Vec<Lsn>>
    where
        T: 'v,
    {
        buffer::with(|buffer| {
            let mut ends = Vec::new();
            for value in values {
                self.encode(value, buffer)?;
                ends.push(buffer.len());
            }
            let mut rest = buffer.as_slice();
            let mut from = 0;
            let payloads = ends.iter().map(|end| {
                let (payload, behind) = rest.split_at_checked(end - from).unwrap_or_default();
                (rest, from) = (behind, *end);
                payload
            });
            let payloads: Vec<&[u8]> = payloads.collect();
            self.log.append_batch(&payloads)
        })
    }

    /// Waits until all that was appended before this call is durable; [`durable`](TypedLog::durable) after it.
    ///
    /// # Errors
    ///
    /// As [`Log::commit`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<u32>::open(dir.path())?;
    /// log.append(&1)?;
    /// assert_eq!(log.commit()?, log.durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit(&self) -> Result<Lsn> {
        self.log.commit()
    }

    /// Waits until the value at `lsn`, and all before it, is durable.
    ///
    /// # Errors
    ///
    /// As [`Log::commit_to`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<u32>::open(dir.path())?;
    /// log.commit_to(log.append(&1)?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit_to(&self, lsn: Lsn) -> Result<()> {
        self.log.commit_to(lsn)
    }

    /// Everything below survives a power cut.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<u32>::open(dir.path())?;
    /// assert!(log.durable() <= log.log().end());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.log.durable()
    }

    /// The value at `lsn`.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`], and those of [`Log::read`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<String>::open(dir.path())?;
    /// let lsn = log.append(&"one".into())?;
    /// assert_eq!(log.read(lsn)?, "one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(&self, lsn: Lsn) -> Result<T> {
        let record = self.log.read(lsn)?;
        self.decode(lsn, record.payload())
    }

    /// All values from the head to the end as of now, durable or not, each with its LSN.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<String>::open(dir.path())?;
    /// log.append(&"one".into())?;
    /// let values = log.replay().map(|found| Ok(found?.1)).collect::<duralog::Result<Vec<_>>>()?;
    /// assert_eq!(values, ["one"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay(&self) -> TypedReplay<'_, T, C> {
        TypedReplay::new(self.log.replay(), &self.codec)
    }

    /// The values from the first at or after `from` to the end as of now.
    ///
    /// # Errors
    ///
    /// As [`Log::replay_from`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<u32>::open(dir.path())?;
    /// log.append(&1)?;
    /// let two = log.append(&2)?;
    /// assert_eq!(log.replay_from(two)?.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay_from(&self, from: Lsn) -> Result<TypedReplay<'_, T, C>> {
        Ok(TypedReplay::new(self.log.replay_from(from)?, &self.codec))
    }

    /// The values whose LSN lies in `range`, for instance `..log.durable()`.
    ///
    /// # Errors
    ///
    /// As [`Log::replay_range`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<u32>::open(dir.path())?;
    /// log.append_durable(&1)?;
    /// log.append(&2)?;
    /// assert_eq!(log.replay_range(..log.durable())?.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay_range(&self, range: impl RangeBounds<Lsn>) -> Result<TypedReplay<'_, T, C>> {
        Ok(TypedReplay::new(self.log.replay_range(range)?, &self.codec))
    }

    /// The value of a record that came another way, for instance from [`Inspector`](crate::inspect::Inspector).
    ///
    /// # Errors
    ///
    /// [`Error::Decode`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<u32>::open(dir.path())?;
    /// log.append(&1)?;
    /// for record in log.log() {
    ///     let record = record?;
    ///     assert_eq!(log.decode(record.lsn(), record.payload())?, 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode(&self, lsn: Lsn, payload: &[u8]) -> Result<T> {
        replay::decode(&self.codec, lsn, payload)
    }

    /// The log below: checkpoints, cuts, statistics, records as bytes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::TypedLog::<u32>::open(dir.path())?;
    /// log.append_durable(&1)?;
    /// log.log().checkpoint(log.durable())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Commits everything and closes the log, as [`Log::close`]. Later calls are [`Error::Closed`].
    ///
    /// # Errors
    ///
    /// As [`Log::close`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::TypedLog::<u32>::open(dir.path())?;
    /// log.close()?;
    /// assert!(matches!(log.append(&1), Err(duralog::Error::Closed)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> Result<()> {
        self.log.close()
    }

    fn encoded<R>(&self, value: &T, append: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        buffer::with(|buffer| {
            self.encode(value, buffer)?;
            append(buffer)
        })
    }

    /// Schema and value, behind what is in the buffer.
    fn encode(&self, value: &T, buffer: &mut Vec<u8>) -> Result<()> {
        let (start, schema) = (buffer.len(), self.codec.schema());
        buffer.push(schema);
        self.codec.encode(value, buffer).map_err(|source| Error::Encode { source })?;
        // `*out = to_vec(value)` is easily written.
        if buffer.get(start) != Some(&schema) {
            return Err(Error::Encode {
                source: "the codec replaced what it was to append to".into(),
            });
        }
        Ok(())
    }
}

impl<'a, T, C: Codec<T>> IntoIterator for &'a TypedLog<T, C> {
    type Item = Result<(Lsn, T)>;
    type IntoIter = TypedReplay<'a, T, C>;

    fn into_iter(self) -> TypedReplay<'a, T, C> {
        self.replay()
    }
}
