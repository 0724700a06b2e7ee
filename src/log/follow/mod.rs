//! Following: the records as they come.
//!
//! A follower stands in a segment, which it holds, and walks it up to a limit that it learned once; only there does it
//! look at what all share: how far the log is, and where the segment ends.

mod advance;
mod wait;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use wait::Following;

use super::Log;
use super::catalog::Slot;
use super::engine::Engine;
use super::fork::Handle;
use super::read::{Record, Standing};
use super::waiters::{Key, Parker, What};
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::sync::Instant;
use crate::{Lsn, walk};

/// The records of a log from a position on, as they come: from [`Log::follow`].
///
/// It shows what is durable, or with [`published`](Follower::published) all that was appended; each record once, in
/// order, whole batches. Ask it ([`try_next`](Follower::try_next)), wait for a time
/// ([`next_timeout`](Follower::next_timeout)), or iterate (`for record in &mut follower`), which waits for as long as the log is open; with the feature
/// `stream` it is a `Stream` of the crate `futures-core`. It asks for no sync: what is durable is the policy's and the
/// committers' business.
///
/// It is owned and `Send`, and no thread stands behind it. It holds the segment that it stands in, so that it is never taken
/// away under it, and gives up its disk space when it goes on, ends with an error or is dropped.
///
/// # Errors
///
/// What each way of asking gives when there is no more to show:
/// - [`Error::Gone`]: a checkpoint passed it, and the segment that comes next is given back: it was too slow. Or the log
///   was cut back below its [`position`](Follower::position): what it showed last is not in the log. The error names the
///   position and where the log begins. It stays so; follow anew.
/// - [`Error::Poisoned`]: all is shown that was durable (or published) when a failure ended the log.
/// - [`Error::Closed`]: the log was closed or dropped. Behind a `close` all is durable, and is shown first as far as it
///   lies in segments that are open: the one stood in and those not yet sealed.
/// - [`Error::Corrupt`], [`Error::Io`]: what comes next cannot be read.
///
/// The iterator and the stream end after an error, and without one behind a `close` when all was shown.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let log = duralog::Log::open(dir.path())?;
/// let follower = log.follow(log.head())?;
/// let thread = std::thread::spawn(move || follower.into_iter().map(|r| r.map(|_| 1)).sum());
/// for event in ["one", "two", "three"] {
///     log.append_durable(event.as_bytes())?;
/// }
/// log.close()?;
/// let seen: Result<u32, duralog::Error> = thread.join().unwrap();
/// assert_eq!(seen?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Follower {
    engine: Handle,
    what: What,
    /// Where it goes on when it stands nowhere: a frame, or the base of a window.
    at: u64,
    /// The end of what it has shown, before it came to `place`; and the segment in which that lies.
    shown: u64,
    shown_in: Option<Arc<Slot>>,
    place: Option<Place>,
    /// How far the log was when it had nothing to show.
    bound: u64,
    parker: Option<Arc<Parker>>,
    key: Option<Key>,
    /// The iterator has ended.
    done: bool,
}

/// The segment that it stands in.
struct Place {
    slot: Arc<Slot>,
    standing: Standing,
    /// The end of the last record of it that was shown, as an offset; 0 before. The walk may have come further, past a
    /// mark, whose record was cut away then.
    shown: u64,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("position", &self.position())
            .field("what", &self.what)
            .finish()
    }
}

impl Log {
    /// Follows the log from the first record at or after `from`: [`head`](Log::head) for all that there is,
    /// [`durable`](Log::durable) for what comes, or the [`position`](Follower::position) of a follower before.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] beyond the end; [`Error::Gone`] where a checkpoint has passed `from` and its segment is given
    /// back, or the log was cut back before it; [`Error::Corrupt`] or [`Error::Io`] if the first record cannot be found;
    /// [`Error::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let mut follower = log.follow(log.head())?;
    /// log.append(b"one")?;
    /// assert!(follower.try_next()?.is_none()); // not durable yet
    /// log.commit()?;
    /// assert_eq!(follower.try_next()?.unwrap().payload(), b"one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follow(&self, from: Lsn) -> Result<Follower> {
        follow(&self.engine, from)
    }
}

pub(super) fn follow(handle: &Handle, from: Lsn) -> Result<Follower> {
    let engine = handle.here()?;
    if engine.health.is_closed() {
        return Err(Error::Closed);
    }
    let (at, end) = (from.get(), engine.end());
    if at > end {
        let head = Lsn::new(engine.catalog.head());
        return Err(Error::OutOfRange { lsn: from, head, end: Lsn::new(end) });
    }
    let shown_in = engine.catalog.find(at).filter(|slot| slot.start() < at);
    let follower = Follower {
        engine: handle.clone(),
        what: What::Durable,
        at: engine.align(at)?,
        shown: at,
        shown_in,
        place: None,
        bound: 0,
        parker: None,
        key: None,
        done: false,
    };
    follower.check_cut()?;
    if let Some(next) = engine.catalog.at_or_after(at) {
        follower.check_passed(&next)?;
        let before = engine.catalog.before(at);
        // Behind the first position of a window that is not there, a record was: it was cut away, or lost by a crash.
        let lost = |slot: &Slot| -> Result<bool> {
            Ok(at > slot.limit().saturating_add(DATA_START) || was_cut(engine, slot)?)
        };
        if next.identity().base > at && before.map_or(Ok(false), |slot| lost(&slot))? {
            follower.gone()?;
        }
    }
    Ok(follower)
}

/// Whether a cut took records of this segment: then it took the windows behind it too, and who stands where one of them began
/// was behind those records.
fn was_cut(engine: &Engine, slot: &Slot) -> Result<bool> {
    let Some(end) = slot.end() else { return Ok(false) };
    // So that the file is not put to another use meanwhile.
    let _held = match slot.pin(&engine.files) {
        // What a checkpoint has given up since, no one asks for.
        Err(Error::Gone { .. }) => return Ok(false),
        pinned => pinned?,
    };
    walk::was_cut(&*engine.files.directory, slot.identity(), end)
}

impl Follower {
    /// Shows all that was appended, durable or not: a power cut, and then a new life of the log, may take back what it has
    /// shown.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let mut follower = log.follow(log.head())?.published();
    /// log.append(b"one")?;
    /// assert_eq!(follower.try_next()?.unwrap().payload(), b"one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn published(mut self) -> Follower {
        self.unseat();
        self.what = What::Published;
        self
    }

    /// Where it goes on: the end of the last record that it showed, or where it began. All below has been shown: to be
    /// kept, and given to [`Log::follow`] in another life.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let mut follower = log.follow(log.head())?;
    /// log.append_batch(&["one", "two"])?;
    /// log.commit()?;
    /// follower.try_next()?;
    /// let mut next = log.follow(follower.position())?;
    /// assert_eq!(next.try_next()?.unwrap().payload(), b"two");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn position(&self) -> Lsn {
        match &self.place {
            Some(place) if place.shown > 0 => Lsn::new(place.standing.segment.base() + place.shown),
            _ => Lsn::new(self.shown),
        }
    }

    /// The next record, if there is one now. It holds its segment.
    ///
    /// # Errors
    ///
    /// Those of the [`Follower`]: there will be no more.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let mut follower = log.follow(log.durable())?;
    /// assert!(follower.try_next()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_next(&mut self) -> Result<Option<Record>> {
        let found = self.advance()?;
        Ok(found.and_then(|(offset, len)| self.record(offset, len)))
    }

    /// The LSN and the payload of the next record, if there is one now, straight out of the mapping: faster where there is
    /// much to catch up on, since no record is made that holds the segment. The payload is held until the next call.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Follower::try_next).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append_durable(b"one")?;
    /// let mut follower = log.follow(log.head())?;
    /// let mut bytes = 0;
    /// while let Some((_lsn, payload)) = follower.next_payload()? {
    ///     bytes += payload.len();
    /// }
    /// assert_eq!(bytes, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn next_payload(&mut self) -> Result<Option<(Lsn, &[u8])>> {
        let found = self.advance()?;
        let (Some((offset, len)), Some(place)) = (found, &self.place) else { return Ok(None) };
        let segment = &place.standing.segment;
        Ok(Some((Lsn::new(segment.base() + offset), segment.payload(offset, len))))
    }

    /// The next record; waits for it, but no longer than `timeout`. None: the time is over.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Follower::try_next).
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let mut follower = log.follow(log.durable())?;
    /// assert!(follower.next_timeout(Duration::from_millis(1))?.is_none());
    /// log.append_durable(b"one")?;
    /// assert!(follower.next_timeout(Duration::from_secs(1))?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Record>> {
        self.wait_next(Some((Instant::now(), timeout)))
    }

    fn record(&self, offset: u64, len: usize) -> Option<Record> {
        let segment = Arc::clone(&self.place.as_ref()?.standing.segment);
        Some(Record { segment, offset, len })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.unseat();
    }
}

const _: () = {
    const fn owned<T: Send + Unpin + 'static>() {}
    owned::<Follower>();
};
