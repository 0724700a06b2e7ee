//! The walk over the records of a log that someone else may be writing.
//!
//! Frames prove themselves: a valid one is of this segment's life, whatever became of the file. All else that a
//! walk can find (damage, a file that is not there, the end) is believed only if the newest manifest, loaded
//! after the look, bears it out (`view`). Else the walk goes on by that one, from where it stands.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Inspector, view};
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::{Head, Kind};
use crate::format::manifest::{Manifest, State};
use crate::log::Tail;
use crate::progress::Gauge;
use crate::segment::scan::{Scan, Step, Stop, Why};
use crate::segment::verdict::{Says, Verdict, cut_of};
use crate::storage::{Access, Directory};
use crate::{Lsn, walk};

/// How often a walk looks again without coming further, and how often it runs after a writer that goes on.
const RETRIES: usize = 16;

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
///
/// It is lazy, and a writer may go on meanwhile: the walk then sees what it has not come to as it is now. If
/// what it stands in or has shown is no longer in the log, it ends with [`Error::Gone`].
#[derive(Debug)]
pub struct Records<'a> {
    inspector: &'a Inspector,
    /// The manifest that it goes by: the newest one, each time that there was a doubt.
    view: Arc<Manifest>,
    from: u64,
    /// Index in `view` of the segment that it stands in or goes into next.
    index: usize,
    scan: Option<Scan>,
    /// Records of a batch whose end has not been seen, and of one whose has.
    batch: Vec<OwnedRecord>,
    ready: VecDeque<OwnedRecord>,
    /// The end of the last frame that is in no unfinished batch; 0 before the first.
    end: u64,
    /// Where it began to read the file: all that it holds in memory is of that moment or later.
    begun: u64,
    /// The last record passed.
    last: Option<u64>,
    /// Looks since `end` last moved, and times that the writer was found to have gone on.
    looks: usize,
    chases: usize,
    /// Such times that are enough.
    enough: usize,
    tail: Option<Tail>,
    done: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(inspector: &'a Inspector, view: Arc<Manifest>, from: u64) -> Records<'a> {
        // Into what is not sealed the walk goes by the frames alone: what lies there behind a hole is not in the log.
        let sealed = view.segments.partition_point(|entry| entry.state == State::Sealed);
        let index = view.segments.partition_point(|entry| entry.base + entry.size <= from);
        let index = index.min(sealed);
        Records {
            inspector,
            view,
            from,
            index,
            scan: None,
            batch: Vec::new(),
            ready: VecDeque::new(),
            end: 0,
            begun: 0,
            last: None,
            looks: 0,
            chases: 0,
            enough: usize::MAX,
            tail: None,
            done: false,
        }
    }

    /// Ends at some moment of the log, however fast a writer goes on.
    pub(super) fn bounded(self) -> Records<'a> {
        Records { enough: RETRIES, ..self }
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

    /// The manifest that it goes by.
    pub(super) fn view(&self) -> &Arc<Manifest> {
        &self.view
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
        let Some(mut scan) = self.scan.take() else { return self.enter() };
        let base = view::base(&self.view, self.index);
        let stepped = match scan.step() {
            Ok(Step::Frame { offset, head }) => self.pass(&mut scan, base, offset, head),
            Ok(Step::Stopped(stop)) => return self.stopped(scan, &stop),
            Err(e) => Err(e),
        };
        match stepped {
            Ok(()) => self.scan = Some(scan),
            Err(e) => return self.fail(Error::io("pread", self.path(), e)),
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        let disk = &self.inspector.disk;
        let entry = self.view.segments.get(self.index);
        entry.map_or_else(|| disk.path().to_owned(), |entry| walk::path_of(disk, entry))
    }

    fn pass(&mut self, scan: &mut Scan, base: u64, offset: u64, head: Head) -> std::io::Result<()> {
        if matches!(head.kind, Kind::Record | Kind::Part) {
            let payload = scan.payload(offset, head)?.to_vec();
            self.batch.push(OwnedRecord { lsn: Lsn::new(base + offset), payload });
        }
        if head.kind == Kind::Record {
            self.last = Some(base + offset);
            let from = Lsn::new(self.from);
            self.ready.extend(self.batch.drain(..).filter(|record| record.lsn >= from));
        }
        if head.kind != Kind::Part {
            self.end = base + offset + head.frame_len();
            self.looks = 0;
        }
        Ok(())
    }

    /// Goes into the segment at `index`, where the walk left off if it has been in it.
    fn enter(&mut self) -> Result<()> {
        let Some(entry) = self.view.segments.get(self.index) else {
            // Nothing to append to is no clean end: a recovery, or the making of the log, was
            // interrupted between its two manifests.
            self.end = self.view.segments.last().map_or(self.view.next_base, |last| last.end);
            return self.settle(Tail::Unclean { at: Lsn::new(self.end) });
        };
        let been = self.end > entry.base && self.end < entry.base + entry.size;
        let at = if been { self.end - entry.base } else { DATA_START };
        let (_, bound) = walk::says(&self.view, self.index);
        if bound.is_some_and(|bound| at > bound) {
            // A cut between the last record and a mark that the walk has passed.
            return self.go_on();
        }
        match walk::scan(&self.inspector.disk, &self.view, self.index, Access::Read) {
            Ok(mut scan) => {
                self.begun = entry.base + at;
                scan.go_to(at);
                self.scan = Some(scan);
                Ok(())
            }
            Err(error) => self.fail(error),
        }
    }

    fn stopped(&mut self, mut scan: Scan, stop: &Stop) -> Result<()> {
        let (disk, index) = (&self.inspector.disk, self.index);
        self.end = view::base(&self.view, index) + cut_of(stop);
        match walk::judge(
            disk,
            &self.view,
            index,
            &mut scan,
            stop,
            Access::Read,
            &mut Gauge::silent(),
        ) {
            Ok(Verdict::Ends { torn, .. }) => self.ends(scan, stop, torn),
            Ok(_) => self.go_on(),
            // A running writer may have written this frame, and what vouches for it, since it was read:
            // it is damage only if it still is when read after that.
            Err(error) if error.is_corrupt() && self.is_open() && has_gone_on(&mut scan, stop) => {
                self.chase(view::newest(disk)?)
            }
            Err(error) => self.fail(error),
        }
    }

    fn is_open(&self) -> bool {
        matches!(walk::says(&self.view, self.index).0, Says::Open { .. })
    }

    /// This segment is read to its end.
    fn go_on(&mut self) -> Result<()> {
        let active = self.view.segments.get(self.index).is_some_and(|e| e.state == State::Active);
        if active && self.view.clean_end.is_some() {
            // The ready segments behind the active one hold nothing.
            return self.settle(Tail::Clean);
        }
        self.index += 1;
        Ok(())
    }

    /// Nothing vouched for what lies behind `end`, when it was looked at.
    fn ends(&mut self, mut scan: Scan, stop: &Stop, torn: bool) -> Result<()> {
        let now = view::newest(&self.inspector.disk)?;
        let at = Lsn::new(self.end);
        let same = view::ends_the_same(&self.view, &now, self.index) && now.durable <= self.end;
        // Of what was read before the walk came here a part may be as it was then.
        if same && self.begun == self.end {
            self.finish(if torn { Tail::Torn { at } } else { Tail::Unclean { at } });
            return Ok(());
        }
        if has_gone_on(&mut scan, stop) { self.chase(now) } else { self.adopt(now) }
    }

    /// The log goes on from `end`, where it ended a moment ago. So that a fast writer does not keep the walk
    /// for ever, at some time that moment is the one to show.
    fn chase(&mut self, now: Arc<Manifest>) -> Result<()> {
        self.adopt(now)?;
        self.chases += 1;
        if self.chases > self.enough {
            self.finish(Tail::Unclean { at: Lsn::new(self.end) });
        }
        Ok(())
    }

    /// An end that the manifest says, if the newest says it too.
    fn settle(&mut self, tail: Tail) -> Result<()> {
        let now = view::newest(&self.inspector.disk)?;
        if view::ends_the_same(&self.view, &now, self.index) {
            self.finish(tail);
            return Ok(());
        }
        self.adopt(now)
    }

    /// A failure is one only if the newest manifest says the same of this segment.
    fn fail(&mut self, error: Error) -> Result<()> {
        let now = view::newest(&self.inspector.disk)?;
        if view::says_the_same(&self.view, &now, self.index) { Err(error) } else { self.adopt(now) }
    }

    /// Goes on by a newer manifest, where the walk stands.
    fn adopt(&mut self, now: Arc<Manifest>) -> Result<()> {
        self.looks += 1;
        if self.looks > RETRIES {
            let what = "the log changes faster than it can be read";
            let busy = std::io::Error::new(std::io::ErrorKind::ResourceBusy, what);
            return Err(Error::io("read", self.path(), busy));
        }
        let base = view::base(&self.view, self.index);
        let head = view::head(&now);
        let gone = |lsn| Err(Error::Gone { lsn: Lsn::new(lsn), head: Lsn::new(head) });
        // A checkpoint has passed the segment that comes next.
        if now.log_id != self.view.log_id || view::base(&now, 0) > base {
            return gone(self.end.max(base + DATA_START));
        }
        // The log was cut, or recovered to less.
        if let Some(last) = self.last.filter(|last| *last >= head && !view::holds(&now, *last)) {
            return gone(last);
        }
        self.index = view::index_of(&now, base);
        self.view = now;
        // Its batch is read again from its start, which is where the walk stands.
        self.batch.clear();
        Ok(())
    }

    fn finish(&mut self, tail: Tail) {
        self.tail = Some(tail);
        self.done = true;
    }
}

/// Whether the log goes on where this walk of an open segment stopped, when it is read again.
fn has_gone_on(scan: &mut Scan, stop: &Stop) -> bool {
    scan.go_to(cut_of(stop));
    loop {
        match scan.step() {
            Ok(Step::Frame { head, .. }) if head.kind == Kind::Part => {}
            Ok(Step::Frame { .. }) => return true,
            Ok(Step::Stopped(again)) => {
                let ends = matches!(again.why, Why::End { .. }) && again.open_batch.is_none();
                return ends && again != *stop;
            }
            Err(_) => return false,
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
