//! Following: the records as they come.
//!
//! A follower stands in a segment, which it holds, and walks it up to a limit that it learned once; only there does it
//! look at what all share: how far the log is, and where the segment ends.

use std::borrow::BorrowMut;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::Log;
use super::catalog::Slot;
use super::engine::Engine;
use super::read::{Record, Standing};
use super::waiters::{Key, Parker, Waiter, What};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::{Head, Kind};
use crate::segment::{Look, Segment};
use crate::sync::atomic::Ordering;
use crate::sync::{Instant, thread};

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
    engine: Arc<Engine>,
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
        let what = format_args!("{:?}", self.what);
        f.debug_struct("Follower").field("position", &self.position()).field("what", &what).finish()
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

pub(super) fn follow(engine: &Arc<Engine>, from: Lsn) -> Result<Follower> {
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
        engine: Arc::clone(engine),
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
        let slots = engine.catalog.snapshot();
        let before = slots.iter().map(|slot| slot.limit()).rfind(|limit| *limit <= at);
        // Behind the first position of a window that is not there, a record was: it was cut away, or lost by a crash.
        let lost = next.identity().base > at
            && before.is_some_and(|limit| at > limit.saturating_add(DATA_START));
        if lost {
            follower.gone()?;
        }
    }
    Ok(follower)
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

    fn wait_next(&mut self, limit: Option<(Instant, Duration)>) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.try_next()? {
                return Ok(Some(record));
            }
            if !self.wait(limit) {
                // What came at the last moment is not left for the next call.
                return self.try_next();
            }
        }
    }

    /// Waits until there may be more than at the last look. False: the time is over.
    fn wait(&mut self, limit: Option<(Instant, Duration)>) -> bool {
        // Under load more comes at once, and to sleep and be woken costs both sides more than that.
        for _ in 0..YIELDS {
            if self.has_moved() {
                return true;
            }
            thread::yield_now();
        }
        let parker = Arc::clone(self.parker.get_or_insert_default());
        self.seat(Waker::from(Arc::clone(&parker)));
        let woken = self.has_moved() || parker.park(limit);
        self.unseat();
        woken
    }

    fn reach(&self) -> u64 {
        match self.what {
            What::Durable => self.engine.durable(),
            What::Published => self.engine.end(),
        }
    }

    fn has_moved(&self) -> bool {
        self.reach() > self.bound || self.engine.health.ended().is_some()
    }

    /// Has `waker` woken when the log goes beyond `bound`, or ends. The caller looks again afterwards.
    fn seat(&mut self, waker: Waker) {
        self.unseat();
        // Without anyone to tell of a failure it would be told when the log is dropped.
        drop(self.engine.health.syncer.ask(&self.engine, 0));
        let need = self.bound.saturating_add(1);
        self.key = Some(self.engine.enter(self.what, None, need, Waiter::Task(waker)));
    }

    fn unseat(&mut self) {
        if let Some(key) = self.key.take() {
            drop(self.engine.leave(self.what, key));
        }
    }

    /// Goes to the next record: its offset in the segment stood in, and its length. None: there is none yet.
    #[inline]
    fn advance(&mut self) -> Result<Option<(u64, usize)>> {
        loop {
            if let Some(Place { slot, standing, shown }) = &mut self.place {
                let until = standing.segment.base() + standing.limit;
                // What was cut away is not shown any more, though the limit was learned before.
                while standing.offset < standing.limit && slot.reaches(until) {
                    let offset = standing.offset;
                    let head = match standing.segment.look(offset, standing.populated) {
                        Look::Frame(head) => head,
                        _ => frame(&self.engine, standing)?,
                    };
                    standing.offset = offset + head.frame_len();
                    if matches!(head.kind, Kind::Record | Kind::Part) {
                        *shown = standing.offset;
                        return Ok(Some((offset, head.len as usize)));
                    }
                }
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// Learns how far it may go, in this segment or the next. False: not further, yet.
    ///
    /// The order of the looks is what makes it right. How the log ended comes first: what was durable by then is seen by
    /// the look after it. Then how far the log is, and only then where the segment ends: a roll and a cut store that end
    /// before the log goes beyond it, so that whoever finds the log beyond finds the end too. The other way round, a
    /// segment would seem to grow, and the limit would lie behind its last record.
    #[cold]
    fn more(&mut self) -> Result<bool> {
        loop {
            let ended = self.engine.health.ended();
            let bound = self.reach();
            self.check_cut()?;
            if let Some(Place { slot, standing, .. }) = &mut self.place {
                let (base, end) = (standing.segment.base(), slot.end());
                let limit = bound.min(end.unwrap_or(u64::MAX)).saturating_sub(base);
                if standing.offset < limit {
                    standing.limit = limit;
                    return Ok(true);
                }
                if end.is_none_or(|end| base + standing.offset < end) {
                    return self.nothing(ended, bound);
                }
                let limit = slot.limit();
                self.let_go();
                self.at = limit;
            }
            if !self.go_in(bound)? {
                return self.nothing(ended, bound);
            }
        }
    }

    fn nothing(&mut self, ended: Option<Error>, bound: u64) -> Result<bool> {
        self.bound = bound;
        ended.map_or(Ok(false), Err)
    }

    /// Stands nowhere, but knows where it was.
    fn let_go(&mut self) {
        let shown = self.position().get();
        if let Some(place) = self.place.take() {
            self.at = place.standing.segment.base() + place.standing.offset;
            if place.shown > 0 {
                (self.shown, self.shown_in) = (shown, Some(place.slot));
            }
        }
    }

    /// Goes into the segment at `at`, or the next one, if it has something to show. False: there is none.
    fn go_in(&mut self, bound: u64) -> Result<bool> {
        loop {
            let Some(slot) = self.engine.catalog.at_or_after(self.at) else { return Ok(false) };
            self.check_passed(&slot)?;
            if slot.start().max(self.at) >= bound {
                return Ok(false);
            }
            let segment = match self.pin(&slot) {
                // It went since the look, and the catalog knows.
                Err(Error::Gone { .. }) => continue,
                // A cut that came before the end of the instance comes first.
                Err(error) => return self.check_cut().and(Err(error)),
                Ok(segment) => segment,
            };
            let offset = self.at.max(slot.start()) - segment.base();
            let standing = Standing { segment, offset, limit: 0, populated: 0 };
            self.place = Some(Place { slot, standing, shown: 0 });
            return Ok(true);
        }
    }

    fn pin(&self, slot: &Slot) -> Result<Arc<Segment>> {
        if let Some(segment) = slot.joined() {
            return Ok(segment);
        }
        let pinned = slot.pin(&self.engine.files);
        // Behind the end of this instance the file may be the next one's, recycled already: that one leaves alone
        // what had been mapped before.
        if self.engine.health.is_over() { Err(Error::Closed) } else { pinned }
    }

    /// A cut below what was shown: that must not be passed over in silence.
    fn check_cut(&self) -> Result<()> {
        let position = self.position();
        let slot = match &self.place {
            Some(place) if place.shown > 0 => Some(&place.slot),
            _ => self.shown_in.as_ref(),
        };
        if slot.is_none_or(|slot| slot.reaches(position.get())) { Ok(()) } else { self.gone() }
    }

    /// `next` comes next. If the window in which it goes on is not there, a checkpoint may have taken records away.
    /// Its position moves before the segments go.
    fn check_passed(&self, next: &Slot) -> Result<()> {
        let passed = || self.engine.checkpoint.load(Ordering::Acquire) > self.shown;
        if next.identity().base > self.at && passed() { self.gone() } else { Ok(()) }
    }

    #[cold]
    fn gone(&self) -> Result<()> {
        Err(Error::Gone { lsn: self.position(), head: Lsn::new(self.engine.catalog.head()) })
    }

    /// Whether the iterator ends as it should: closed, and all was shown.
    fn is_through(&self, error: &Error) -> bool {
        let health = &self.engine.health;
        matches!(error, Error::Closed) && health.is_whole() && self.bound >= self.reach()
    }

    /// What an iterator makes of it: it ends after an error.
    fn item(&mut self, next: Result<Record>) -> Option<Result<Record>> {
        let Err(error) = &next else { return Some(next) };
        self.done = true;
        let through = self.is_through(error);
        self.let_go();
        (!through).then_some(next)
    }
}

/// How often a thread that waits lets others go first before it sleeps.
const YIELDS: u32 = 8;

/// The frame where there must be one.
#[cold]
fn frame(engine: &Engine, standing: &mut Standing) -> Result<Head> {
    loop {
        match standing.segment.look(standing.offset, standing.populated) {
            Look::Frame(head) => return Ok(head),
            Look::Beyond(end) => {
                // What is published later is not read in by this.
                let published = standing.segment.published().next_multiple_of(DATA_START);
                let read = standing.segment.populate(standing.offset, end - standing.offset)?;
                standing.populated = read.min(published).max(end);
            }
            // Behind the end of this instance another process may have put the file to use.
            Look::Nothing if engine.health.is_over() => return Err(Error::Closed),
            Look::Nothing => return Err(standing.damage()),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.unseat();
    }
}

/// The iterator of a [`Follower`], or of one that is borrowed: it waits for each record.
///
/// A type of its own, since `next` of a follower is that of its `Stream`.
#[derive(Debug)]
pub struct Following<F>(F);

impl<F: BorrowMut<Follower>> Iterator for Following<F> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        let follower = self.0.borrow_mut();
        loop {
            if follower.done {
                return None;
            }
            // Without a limit there is none only where it was woken for nothing.
            if let Some(next) = follower.wait_next(None).transpose() {
                return follower.item(next);
            }
        }
    }
}

impl<F: BorrowMut<Follower>> FusedIterator for Following<F> {}

impl IntoIterator for Follower {
    type Item = Result<Record>;
    type IntoIter = Following<Follower>;

    fn into_iter(self) -> Following<Follower> {
        Following(self)
    }
}

impl<'a> IntoIterator for &'a mut Follower {
    type Item = Result<Record>;
    type IntoIter = Following<&'a mut Follower>;

    fn into_iter(self) -> Following<&'a mut Follower> {
        Following(self)
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Follower {
    type Item = Result<Record>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Record>>> {
        use std::task::Poll;
        let this = self.get_mut();
        loop {
            if this.done {
                return Poll::Ready(None);
            }
            if let Some(next) = this.try_next().transpose() {
                return Poll::Ready(this.item(next));
            }
            this.seat(context.waker().clone());
            if !this.has_moved() {
                return Poll::Pending;
            }
        }
    }
}

const _: () = {
    const fn owned<T: Send + Unpin + 'static>() {}
    owned::<Follower>();
};
