//! Reading while others append: `read` one record, `replay` a range.

use std::fmt;
use std::sync::Arc;

use super::catalog::Slot;
use super::engine::Engine;
use super::fork::Handle;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::format::DATA_START;
use crate::format::frame::{Head, Kind};
use crate::segment::{Look, Segment};
use crate::sync::atomic::Ordering;

/// A record, straight out of the mapping of its segment, which it holds: as long as it lives, the file is
/// neither removed nor recycled.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let log = duralog::Log::open(dir.path())?;
/// let lsn = log.append(b"hello")?;
/// let record = log.read(lsn)?;
/// assert_eq!((record.lsn(), record.payload()), (lsn, &b"hello"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Record {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u64,
    pub(super) len: usize,
}

impl Record {
    /// Its position.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        Lsn::new(self.segment.base() + self.offset)
    }

    /// Its bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.segment.payload(self.offset, self.len)
    }
}

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        self.payload()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("lsn", &self.lsn()).field("len", &self.len).finish()
    }
}

/// The records of a range, oldest first: an iterator of `Result<Record>` that ends after an error.
///
/// The range is fixed when the iterator is made. It holds the segment that it stands in; a
/// checkpoint or a cut that passes it ends it at the next step: with [`Error::Gone`] if the segment that comes next
/// was in the log when the step began, else as if the range ended there.
#[derive(Debug)]
pub struct Replay<'a> {
    engine: &'a Handle,
    at: u64,
    to: u64,
    standing: Option<Standing>,
    done: bool,
}

#[derive(Debug)]
pub(super) struct Standing {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u64,
    /// Offset where its records, or the range, end.
    pub(super) limit: u64,
    /// Below this offset a touch cannot be a signal.
    pub(super) populated: u64,
}

impl Iterator for Replay<'_> {
    type Item = Result<Record>;

    #[inline]
    fn next(&mut self) -> Option<Result<Record>> {
        match self.advance() {
            Ok(None) => None,
            Ok(Some((offset, len))) => {
                let segment = Arc::clone(&self.standing.as_ref()?.segment);
                Some(Ok(Record { segment, offset, len }))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl std::iter::FusedIterator for Replay<'_> {}

impl<'a> Replay<'a> {
    pub(super) fn all(engine: &'a Handle) -> Replay<'a> {
        let (at, to) = (engine.head().get(), engine.end().get());
        Replay { engine, at, to, standing: None, done: false }
    }

    /// From the first record at or after `from` to the last one before `to`.
    pub(super) fn of(engine: &'a Handle, from: Option<Lsn>, to: Option<Lsn>) -> Result<Replay<'a>> {
        let (at, to) = engine.here()?.range(from, to)?;
        Ok(Replay { engine, at, to, standing: None, done: false })
    }

    /// The next record's LSN and payload, straight out of the mapping: None at the end of the range. It is faster than the
    /// iterator, which gives records that hold their segment; a payload is held only until the next call.
    ///
    /// # Errors
    ///
    /// As the iterator's; after an error there are no more records.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append_batch(&["one", "two"])?;
    /// let mut replay = log.replay();
    /// let mut bytes = 0;
    /// while let Some((_lsn, payload)) = replay.next_payload()? {
    ///     bytes += payload.len();
    /// }
    /// assert_eq!(bytes, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn next_payload(&mut self) -> Result<Option<(Lsn, &[u8])>> {
        let found = self.advance()?;
        let (Some((offset, len)), Some(standing)) = (found, &self.standing) else {
            return Ok(None);
        };
        let segment = &standing.segment;
        Ok(Some((Lsn::new(segment.base() + offset), segment.payload(offset, len))))
    }

    /// Goes to the next record: its offset in the segment stood in, and its length.
    #[inline]
    fn advance(&mut self) -> Result<Option<(u64, usize)>> {
        if self.done {
            return Ok(None);
        }
        let engine = self.engine.here().inspect_err(|_| self.done = true)?;
        loop {
            if let Some(standing) = &mut self.standing {
                while standing.offset < standing.limit {
                    let offset = standing.offset;
                    // Without a Result on the way of nearly every record: it is as large as an Error, and is copied.
                    let head = match standing.segment.look(offset, standing.populated) {
                        Look::Frame(head) => head,
                        _ => standing.frame().inspect_err(|_| self.done = true)?,
                    };
                    standing.offset = offset + head.frame_len();
                    if matches!(head.kind, Kind::Record | Kind::Part) {
                        return Ok(Some((offset, head.len as usize)));
                    }
                }
            }
            if !self.go_on(engine).inspect_err(|_| self.done = true)? {
                self.done = true;
                return Ok(None);
            }
        }
    }

    /// Leaves the segment that it stands in and goes into the next. False: the range ends here.
    #[cold]
    fn go_on(&mut self, engine: &Engine) -> Result<bool> {
        if let Some(standing) = self.standing.take() {
            let identity = standing.segment.identity();
            self.at = identity.base + identity.size;
        }
        self.standing = self.enter(engine)?;
        Ok(self.standing.is_some())
    }

    /// Goes into the segment at `at`, or the next one. None: the range ends before.
    fn enter(&self, engine: &Engine) -> Result<Option<Standing>> {
        if engine.health.is_closed() {
            return Err(Error::Closed);
        }
        if self.at >= self.to {
            return Ok(None);
        }
        let Some(slot) = engine.catalog.at_or_after(self.at) else { return Ok(None) };
        let head = engine.catalog.head();
        if head > self.at && slot.identity().base > self.at {
            return Err(Error::Gone { lsn: Lsn::new(self.at), head: Lsn::new(head) });
        }
        if slot.start() >= self.to {
            return Ok(None);
        }
        let segment = engine.pin(&slot)?;
        let end = slot.end().unwrap_or(u64::MAX).min(self.to);
        if end < slot.start() {
            // Cut away since the look.
            return Err(Error::Gone { lsn: Lsn::new(self.at), head: Lsn::new(head) });
        }
        let offset = self.at.max(slot.start()) - segment.base();
        let limit = end.saturating_sub(segment.base());
        Ok(Some(Standing { segment, offset, limit, populated: 0 }))
    }
}

impl Standing {
    /// The frame at `offset`, below `limit`, where there must be one.
    #[cold]
    fn frame(&mut self) -> Result<Head> {
        loop {
            match self.segment.look(self.offset, self.populated) {
                Look::Frame(head) => return Ok(head),
                Look::Beyond(end) => {
                    self.populated = self.segment.populate(self.offset, end - self.offset)?;
                }
                Look::Nothing => return Err(self.damage()),
            }
        }
    }

    #[cold]
    pub(super) fn damage(&self) -> Error {
        let until = self.segment.base() + self.limit;
        self.segment.damage(self.offset, until, MISSING)
    }
}

const MISSING: &str = "there is no valid frame where a committed one must be";

/// The frame at `offset`, if there is a valid one, populated so that its bytes can be read.
fn frame_at(segment: &Segment, offset: u64) -> Result<Option<Head>> {
    let mut populated = 0;
    loop {
        match segment.look(offset, populated) {
            Look::Frame(head) => return Ok(Some(head)),
            Look::Beyond(end) => populated = segment.populate_only(offset, end - offset)?,
            Look::Nothing => return Ok(None),
        }
    }
}

impl Engine {
    /// Opens the segment, or says where the log begins now that it is gone.
    fn pin(&self, slot: &Slot) -> Result<Arc<Segment>> {
        let pinned = slot.pin(&self.files);
        // Behind a close the file may be the next instance's, recycled already: one that it was to leave alone had
        // to be mapped before.
        if self.health.is_closed() {
            return Err(Error::Closed);
        }
        pinned.map_err(|error| match error {
            Error::Gone { lsn, .. } => Error::Gone { lsn, head: Lsn::new(self.catalog.head()) },
            other => other,
        })
    }

    /// The segment that holds a record, its offset there and its head.
    pub(crate) fn locate(&self, lsn: Lsn) -> Result<(Arc<Segment>, u64, Head)> {
        let (head, end) = (self.catalog.head(), self.end());
        if lsn.get() < head || lsn.get() >= end {
            return Err(Error::OutOfRange { lsn, head: Lsn::new(head), end: Lsn::new(end) });
        }
        let gone = || Error::Gone { lsn, head: Lsn::new(head) };
        let slot = self.catalog.find(lsn.get()).ok_or_else(gone)?;
        if lsn.get() < slot.start() {
            return Err(Error::NotARecord { lsn });
        }
        let live_end = slot.end().unwrap_or(end);
        if lsn.get() >= live_end {
            return Err(gone());
        }
        let segment = self.pin(&slot)?;
        let offset = lsn.get() - segment.base();
        match frame_at(&segment, offset)? {
            Some(head) if matches!(head.kind, Kind::Record | Kind::Part) => {
                Ok((segment, offset, head))
            }
            Some(_) => Err(Error::NotARecord { lsn }),
            // Between two records, or a damaged one: only a walk from the start can say.
            None => {
                let first = self.first_at_or_after(lsn.get(), &segment, live_end)?;
                if first == lsn.get() {
                    Err(segment.damage(offset, live_end, MISSING))
                } else {
                    Err(Error::NotARecord { lsn })
                }
            }
        }
    }

    /// Walks a segment from its start to the first frame at or after `lsn`.
    fn first_at_or_after(&self, lsn: u64, segment: &Arc<Segment>, end: u64) -> Result<u64> {
        let limit = end.saturating_sub(segment.base());
        let mut standing =
            Standing { segment: Arc::clone(segment), offset: DATA_START, limit, populated: 0 };
        while standing.offset < limit && segment.base() + standing.offset < lsn {
            standing.offset += standing.frame()?.frame_len();
        }
        Ok(segment.base() + standing.offset)
    }

    pub(crate) fn read(&self, lsn: Lsn) -> Result<Record> {
        if self.health.is_closed() {
            return Err(Error::Closed);
        }
        let (segment, offset, head) = self.locate(lsn)?;
        Ok(Record { segment, offset, len: head.len as usize })
    }

    /// Where a replay of a range begins and ends.
    fn range(&self, from: Option<Lsn>, to: Option<Lsn>) -> Result<(u64, u64)> {
        if self.health.is_closed() {
            return Err(Error::Closed);
        }
        let (at, to) = (
            from.map_or_else(|| Ok(self.catalog.head()), |from| self.from(from))?,
            to.map_or_else(|| Ok(self.end()), |to| self.from(to))?,
        );
        Ok((if from.is_some() { self.align(at)? } else { at }, to))
    }

    /// Where reading from `lsn` begins.
    pub(crate) fn from(&self, lsn: Lsn) -> Result<u64> {
        let end = self.end();
        // In this order: the checkpoint moves before the segments go.
        let head = self.catalog.head();
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        Extent { head, checkpoint, end }.begin(lsn)
    }

    /// The first frame at or after a position that may lie anywhere.
    pub(super) fn align(&self, at: u64) -> Result<u64> {
        let Some(slot) = self.catalog.find(at).filter(|slot| slot.start() < at) else {
            return Ok(at);
        };
        let end = slot.end().unwrap_or_else(|| self.end());
        if at >= end {
            return Ok(if slot.end().is_some() { slot.limit() } else { at });
        }
        let segment = self.pin(&slot)?;
        let offset = at - segment.base();
        if frame_at(&segment, offset)?.is_some() {
            Ok(at)
        } else {
            self.first_at_or_after(at, &segment, end)
        }
    }
}
