//! Reading while others append: `read` one record, `replay` a range.

use std::fmt;
use std::sync::Arc;

use super::catalog::Slot;
use super::engine::Engine;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::{HEADER_LEN, Kind};
use crate::segment::Segment;

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
    segment: Arc<Segment>,
    offset: u64,
    len: usize,
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
    engine: &'a Engine,
    at: u64,
    to: u64,
    standing: Option<Standing>,
    done: bool,
}

#[derive(Debug)]
struct Standing {
    segment: Arc<Segment>,
    offset: u64,
    /// Offset where its records, or the range, end.
    limit: u64,
    /// Below this offset a touch cannot be a signal.
    populated: u64,
}

impl Iterator for Replay<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        if self.done {
            return None;
        }
        let next = self.step().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

impl std::iter::FusedIterator for Replay<'_> {}

impl Replay<'_> {
    fn step(&mut self) -> Result<Option<Record>> {
        loop {
            if self.standing.is_none() {
                self.standing = self.enter()?;
            }
            let Some(standing) = &mut self.standing else { return Ok(None) };
            while standing.offset < standing.limit {
                let offset = standing.offset;
                let (kind, len) = standing.segment_frame(offset)?;
                standing.offset = offset + crate::format::frame::frame_len(len);
                if matches!(kind, Kind::Record | Kind::Part) {
                    let segment = Arc::clone(&standing.segment);
                    return Ok(Some(Record { segment, offset, len }));
                }
            }
            let identity = standing.segment.identity();
            self.at = identity.base + identity.size;
            self.standing = None;
        }
    }

    /// Goes into the segment at `at`, or the next one. None: the range ends before.
    fn enter(&self) -> Result<Option<Standing>> {
        if self.engine.health.is_closed() {
            return Err(Error::Closed);
        }
        if self.at >= self.to {
            return Ok(None);
        }
        let Some(slot) = self.engine.catalog.at_or_after(self.at) else { return Ok(None) };
        let head = self.engine.catalog.head();
        if head > self.at && slot.identity().base > self.at {
            return Err(Error::Gone { lsn: Lsn::new(self.at), head: Lsn::new(head) });
        }
        if slot.start() >= self.to {
            return Ok(None);
        }
        let segment = self.engine.pin(&slot)?;
        let end = slot.end().unwrap_or(u64::MAX).min(self.to);
        let offset = self.at.max(slot.start()) - segment.base();
        let limit = end.saturating_sub(segment.base());
        Ok(Some(Standing { segment, offset, limit, populated: 0 }))
    }
}

impl Standing {
    /// The frame at `offset`, below `limit`, where there must be one.
    fn segment_frame(&mut self, offset: u64) -> Result<(Kind, usize)> {
        if offset + HEADER_LEN > self.populated {
            self.populated = self.segment.populate(offset, HEADER_LEN)?;
        }
        let len = self.segment.frame_len_at(offset).unwrap_or(HEADER_LEN);
        if offset + len > self.populated {
            self.populated = self.segment.populate(offset, len)?;
        }
        match self.segment.frame(offset) {
            Some((head, _)) => Ok((head.kind, head.len as usize)),
            None => {
                let until = self.segment.base() + self.limit;
                Err(self.segment.damage(
                    offset,
                    until,
                    "there is no valid frame where a committed one must be",
                ))
            }
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

    /// The segment and offset of a position in the log.
    pub(crate) fn locate(&self, lsn: Lsn) -> Result<(Arc<Segment>, u64)> {
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
        let populated = segment.populate(offset, HEADER_LEN)?;
        let len = segment.frame_len_at(offset).unwrap_or(HEADER_LEN);
        if offset + len > populated {
            segment.populate(offset, len)?;
        }
        match segment.frame(offset) {
            Some((head, _)) if matches!(head.kind, Kind::Record | Kind::Part) => {
                Ok((segment, offset))
            }
            Some(_) => Err(Error::NotARecord { lsn }),
            // Between two records, or a damaged one: only a walk from the start can say.
            None => {
                let first = self.first_at_or_after(lsn.get(), &segment, live_end)?;
                if first == lsn.get() {
                    Err(segment.damage(
                        offset,
                        live_end,
                        "there is no valid frame where a committed one must be",
                    ))
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
            let (_, len) = standing.segment_frame(standing.offset)?;
            standing.offset += crate::format::frame::frame_len(len);
        }
        Ok(segment.base() + standing.offset)
    }

    pub(crate) fn read(&self, lsn: Lsn) -> Result<Record> {
        if self.health.is_closed() {
            return Err(Error::Closed);
        }
        let (segment, offset) = self.locate(lsn)?;
        let len = segment.frame(offset).map_or(0, |(head, _)| head.len as usize);
        Ok(Record { segment, offset, len })
    }

    pub(crate) fn replay_all(&self) -> Replay<'_> {
        let (at, to) = (self.catalog.head(), self.end());
        Replay { engine: self, at, to, standing: None, done: false }
    }

    /// From the first record at or after `from` to the last one before `to`.
    pub(crate) fn replay(&self, from: Option<Lsn>, to: Option<Lsn>) -> Result<Replay<'_>> {
        if self.health.is_closed() {
            return Err(Error::Closed);
        }
        let (head, end) = (self.catalog.head(), self.end());
        let (at, to) = (from.map_or(head, Lsn::get), to.map_or(end, Lsn::get));
        for position in [at, to] {
            if position < head || position > end {
                let lsn = Lsn::new(position);
                return Err(Error::OutOfRange { lsn, head: Lsn::new(head), end: Lsn::new(end) });
            }
        }
        let at = if from.is_some() { self.align(at)? } else { at };
        Ok(Replay { engine: self, at, to, standing: None, done: false })
    }

    /// The first frame at or after a position that may lie anywhere.
    fn align(&self, at: u64) -> Result<u64> {
        let Some(slot) = self.catalog.find(at).filter(|slot| slot.start() < at) else {
            return Ok(at);
        };
        let end = slot.end().unwrap_or_else(|| self.end());
        if at >= end {
            return Ok(if slot.end().is_some() { slot.limit() } else { at });
        }
        let segment = self.pin(&slot)?;
        let offset = at - segment.base();
        segment.populate(offset, HEADER_LEN)?;
        let len = segment.frame_len_at(offset).unwrap_or(HEADER_LEN);
        segment.populate(offset, len)?;
        if segment.frame(offset).is_some() {
            Ok(at)
        } else {
            self.first_at_or_after(at, &segment, end)
        }
    }
}
