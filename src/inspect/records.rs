//! The walk over the records of a log that someone else may be writing.

use std::collections::VecDeque;

use super::Inspector;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::Kind;
use crate::format::manifest::State;
use crate::log::Tail;
use crate::segment::scan::{Scan, Step, Stop};
use crate::segment::verdict::{Says, Verdict, cut_of};
use crate::storage::{Access, Directory};
use crate::{Lsn, manifest, walk};

/// A record, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// Its position.
    pub lsn: Lsn,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// An iterator over copied records; ends after an error. Only whole batches come out.
#[derive(Debug)]
pub struct Records<'a> {
    inspector: &'a Inspector,
    from: u64,
    /// Index of the next segment to go into.
    next: usize,
    scan: Option<Scan>,
    /// Records of a batch whose end has not been seen, and of one whose has.
    batch: Vec<OwnedRecord>,
    ready: VecDeque<OwnedRecord>,
    end: u64,
    tail: Option<Tail>,
    done: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(inspector: &'a Inspector, from: u64) -> Records<'a> {
        let segments = &inspector.manifest.segments;
        let next = segments.partition_point(|entry| entry.base + entry.size <= from);
        Records {
            inspector,
            from,
            next,
            scan: None,
            batch: Vec::new(),
            ready: VecDeque::new(),
            end: from,
            tail: None,
            done: false,
        }
    }

    /// How the log ends; none before the iterator has come there.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// let inspector = duralog::inspect::Inspector::open(dir.path())?;
    /// let mut records = inspector.records();
    /// assert_eq!(records.by_ref().count(), 1);
    /// assert!(matches!(records.tail(), Some(duralog::Tail::Unclean { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tail(&self) -> Option<Tail> {
        self.tail
    }

    /// Where the walk stands.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    fn step(&mut self) -> Result<Option<OwnedRecord>> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            if self.done {
                return Ok(None);
            }
            self.advance()?;
        }
    }

    /// One frame further, or into the next segment, or to the end.
    fn advance(&mut self) -> Result<()> {
        let manifest = &self.inspector.manifest;
        let Some(mut scan) = self.scan.take() else {
            if self.next >= manifest.segments.len() {
                // Nothing to append to is no clean end: a recovery, or the making of the log, was
                // interrupted between its two manifests.
                self.end = manifest.segments.last().map_or(manifest.next_base, |last| last.end);
                self.finish(Tail::Unclean { at: Lsn::new(self.end) });
                return Ok(());
            }
            let opened = walk::scan(&self.inspector.disk, manifest, self.next, Access::Read);
            self.scan = Some(opened.map_err(|e| self.gone_or(e))?);
            self.next += 1;
            return Ok(());
        };
        let index = self.next - 1;
        let Some(entry) = manifest.segments.get(index) else { return Ok(()) };
        let read = |e| Error::io("pread", walk::path_of(&self.inspector.disk, entry), e);
        match scan.step().map_err(read)? {
            Step::Frame { offset, head } => {
                self.end = entry.base + offset + head.frame_len();
                if matches!(head.kind, Kind::Record | Kind::Part) {
                    let payload = scan.payload(offset, head).map_err(read)?.to_vec();
                    let lsn = Lsn::new(entry.base + offset);
                    self.batch.push(OwnedRecord { lsn, payload });
                }
                if head.kind == Kind::Record {
                    let from = Lsn::new(self.from);
                    self.ready.extend(self.batch.drain(..).filter(|record| record.lsn >= from));
                }
                self.scan = Some(scan);
            }
            Step::Stopped(stop) => self.stopped(index, scan, &stop)?,
        }
        Ok(())
    }

    fn stopped(&mut self, index: usize, mut scan: Scan, stop: &Stop) -> Result<()> {
        let (disk, manifest) = (&self.inspector.disk, &self.inspector.manifest);
        let judged = walk::judge(disk, manifest, index, &mut scan, stop, Access::Read);
        let base = manifest.segments.get(index).map_or(0, |entry| entry.base);
        self.end = base + cut_of(stop);
        match judged {
            // A running writer may have written this frame, and marks beyond it, since it was
            // read: it is damage only if it still is when read again.
            Err(error)
                if error.is_corrupt()
                    && matches!(walk::says(manifest, index).0, Says::Open { .. }) =>
            {
                scan.look_again();
                match scan.step().map_err(|e| Error::io("pread", disk.path(), e))? {
                    Step::Stopped(again) if again == *stop => {
                        // A newer manifest may name the segment that an end frame leads to. What
                        // this view can see ends here; damage will be there for the next one too.
                        let now = manifest::load(disk).ok().flatten();
                        if now.is_none_or(|now| now.generation == manifest.generation) {
                            return Err(self.gone_or(error));
                        }
                        self.finish(Tail::Unclean { at: Lsn::new(self.end) });
                        Ok(())
                    }
                    Step::Frame { .. } | Step::Stopped(_) => {
                        self.restart(index);
                        Ok(())
                    }
                }
            }
            Err(error) => Err(self.gone_or(error)),
            Ok(Verdict::Ends { at, torn }) => {
                let at = Lsn::new(base + at);
                self.finish(if torn { Tail::Torn { at } } else { Tail::Unclean { at } });
                Ok(())
            }
            Ok(Verdict::Whole | Verdict::Follow { .. } | Verdict::Damage { .. }) => {
                // With a clean end the ready segments behind the active one hold nothing.
                let closed = manifest.clean_end.is_some();
                if closed && manifest.segments.get(index).is_some_and(|e| e.state == State::Active)
                {
                    self.finish(Tail::Clean);
                }
                Ok(())
            }
        }
    }

    /// Walks segment `index` anew, past what was already given out.
    fn restart(&mut self, index: usize) {
        self.batch.clear();
        self.from = self.from.max(self.end);
        self.next = index;
        self.scan = None;
    }

    fn finish(&mut self, tail: Tail) {
        // What is left of a batch that never ended is no part of the log.
        self.batch.clear();
        self.tail = Some(tail);
        self.done = true;
    }

    /// A failure on a segment that the present manifest does not name any more is no damage.
    fn gone_or(&self, error: Error) -> Error {
        let (disk, index) = (&self.inspector.disk, self.next.saturating_sub(1));
        let here = self.inspector.manifest.segments.get(index);
        let now = manifest::load(disk).ok().flatten();
        match (here, now) {
            (Some(here), Some(now))
                if !now.segments.iter().any(|e| e.id == here.id && e.salt == here.salt) =>
            {
                let head =
                    now.segments.first().map_or(now.next_base, |entry| entry.base + DATA_START);
                Error::Gone { lsn: Lsn::new(here.base + DATA_START), head: Lsn::new(head) }
            }
            _ => error,
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Result<OwnedRecord>> {
        let next = self.step().transpose();
        if matches!(next, Some(Err(_))) {
            self.finish(Tail::Clean);
            self.tail = None;
            self.ready.clear();
        }
        next
    }
}

impl std::iter::FusedIterator for Records<'_> {}
