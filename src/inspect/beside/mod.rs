//! The walk over the records of a log that someone else may be writing.
//!
//! Frames prove themselves: a valid one is of this segment's life, whatever became of the file; and it is checked in the copy
//! that is handed out, so that no one writes to it between the two. All else that a
//! walk can find (damage, a file that is not there, the end) is believed only if the newest manifest, loaded
//! after the look, bears it out (`view`). Else the walk goes on by that one, from where it stands.

mod batch;
mod newest;
mod pause;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use batch::Found;
use batch::{At, Batch};
use newest::{CHASES, RETRIES, has_gone_on};

use super::records::OwnedRecord;
use super::view;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::{Head, Kind, operand};
use crate::format::manifest::{Manifest, State};
use crate::format::notes::Note;
use crate::log::Tail;
use crate::segment::scan::{Scan, Step, Stop, Why};
use crate::segment::verdict::{Says, Verdict, cut_of};
use crate::storage::{Access, Directory};
use crate::sync::Instant;
use crate::{Lsn, walk};

/// How far a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// To the end of the log, for which it looks at all evidence that it is the end: that of some moment, however fast a
    /// writer goes on.
    End,
    /// It pauses at the end, and goes on when there is more.
    Published,
    /// It pauses where it is not known that more is durable.
    Durable,
}

/// By what they are about.
type LastNotes = BTreeMap<(u8, String), (u64, Note)>;

#[derive(Debug)]
pub(crate) struct Walk {
    directory: Arc<dyn Directory>,
    /// The manifest that it goes by: the newest one, each time that there was a doubt.
    view: Arc<Manifest>,
    until: Until,
    from: u64,
    /// It need not walk from the start of a segment to come to `from`.
    jumps: bool,
    /// Index in `view` of the segment that it stands in or goes into next.
    index: usize,
    scan: Option<Scan>,
    /// Where the window of `scan` begins.
    base: u64,
    batch: Batch,
    /// The end of the last frame that is in no unfinished batch; 0 before the first.
    end: u64,
    /// Where it began to read the file: all that it holds in memory is of that moment or later.
    begun: u64,
    /// The last record passed.
    last: Option<u64>,
    /// All below was durable when it last looked.
    durable: u64,
    /// The highest durable LSN of the marks that it passed.
    marked: u64,
    /// The last note of each thing among those passed, for who asks for them.
    notes: Option<LastNotes>,
    /// Looks since `end` last moved, and times that the writer was found to have gone on.
    looks: usize,
    chases: usize,
    /// How long it looked for evidence of more.
    looked: Duration,
    /// Where the next segment would have begun when it began: what lies there was appended since.
    new_from: u64,
    tail: Option<Tail>,
    done: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    Pause,
}

impl Walk {
    pub(crate) fn new(
        directory: Arc<dyn Directory>,
        view: Arc<Manifest>,
        from: u64,
        until: Until,
    ) -> Walk {
        // Into what is not sealed the walk goes by the frames alone: what lies there behind a hole is not in the log.
        let sealed = view.segments.partition_point(|entry| entry.state == State::Sealed);
        let index = view.segments.partition_point(|entry| entry.base + entry.size <= from);
        let index = index.min(sealed);
        let (durable, new_from) = (view.durable, view.next_base);
        Walk {
            directory,
            view,
            until,
            from,
            jumps: until != Until::End,
            index,
            scan: None,
            base: 0,
            batch: Batch::default(),
            end: 0,
            begun: 0,
            last: None,
            durable,
            marked: 0,
            notes: None,
            looks: 0,
            chases: 0,
            looked: Duration::ZERO,
            new_from,
            tail: None,
            done: false,
        }
    }

    /// It need not walk from the start of a segment to where it begins to show records: who wants them alone, and not to
    /// know whether all is sound before.
    pub(crate) fn jumping(mut self) -> Walk {
        self.jumps = true;
        self
    }

    /// Keeps the notes that it passes.
    pub(crate) fn noting(mut self) -> Walk {
        self.notes = Some(LastNotes::default());
        self
    }

    /// The last note of each thing among those passed, and its LSN; in no order.
    pub(crate) fn into_notes(self) -> impl Iterator<Item = (u64, Note)> {
        self.notes.unwrap_or_default().into_values()
    }

    /// What lies in windows below `lsn` is not new.
    pub(crate) fn at_least_to(&mut self, lsn: u64) {
        self.new_from = self.new_from.max(lsn);
    }

    pub(crate) fn set_until(&mut self, until: Until) {
        self.until = until;
    }

    pub(crate) fn tail(&self) -> Option<Tail> {
        self.tail
    }

    /// Whether it follows from somewhere, and has passed nothing but what lies before.
    fn has_shown_none(&self) -> bool {
        self.until != Until::End && self.last.is_none_or(|last| last < self.from)
    }

    /// Where the walk stands.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The manifest that it goes by.
    pub(crate) fn view(&self) -> &Arc<Manifest> {
        &self.view
    }

    pub(crate) fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    /// The next record. None: it has come to the end, or pauses. To the end of the log it does not go on behind an error.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Found>> {
        match self.next_at_hand() {
            None => self.next_by_steps().inspect_err(|_| self.failed()),
            found => Ok(found),
        }
    }

    /// Nearly every record: without a Result, which is as large as an Error, and is copied.
    #[inline]
    fn next_at_hand(&mut self) -> Option<Found> {
        let scan = self.scan.as_mut()?;
        if self.batch.whole || (self.until == Until::Durable && scan.lsn() >= self.durable) {
            return None;
        }
        let (offset, len) = scan.step_over_record()?;
        let (lsn, end) = (self.base + offset, scan.lsn());
        (self.end, self.last, self.looks) = (end, Some(lsn), 0);
        (lsn >= self.from).then_some(Found { lsn, end, at: At::Segment { offset, len } })
    }

    fn next_by_steps(&mut self) -> Result<Option<Found>> {
        loop {
            if self.batch.whole {
                if let Some(found) = self.batch.next() {
                    return Ok(Some(found));
                }
            }
            if self.done {
                return Ok(None);
            }
            let then = match &mut self.scan {
                None => self.enter()?,
                Some(scan) if self.until == Until::Durable && scan.lsn() >= self.durable => {
                    Then::Pause
                }
                Some(scan) => match scan.step() {
                    Ok(Step::Frame { offset, head }) => match self.pass(offset, head) {
                        None => Then::GoOn,
                        found => return Ok(found),
                    },
                    Ok(Step::Stopped(stop)) => self.stopped(&stop)?,
                    Err(e) => {
                        let error = Error::io("pread", self.path(), e);
                        self.fail(error)?
                    }
                },
            };
            if then == Then::Pause {
                return Ok(None);
            }
        }
    }

    /// The bytes that were checked.
    #[inline]
    pub(crate) fn payload(&self, found: Found) -> &[u8] {
        match (found.at, &self.scan) {
            (At::Segment { offset, len }, Some(scan)) => scan.held(offset, len),
            (At::Segment { .. }, None) => &[],
            (At::Batch { start, len }, _) => self.batch.payload(start, len),
        }
    }

    pub(crate) fn next_owned(&mut self) -> Result<Option<OwnedRecord>> {
        Ok(self.next()?.map(|found| {
            let payload = self.payload(found).to_vec();
            OwnedRecord { lsn: Lsn::new(found.lsn), payload }
        }))
    }

    fn path(&self) -> PathBuf {
        let entry = self.view.segments.get(self.index);
        let none = || self.directory.path().to_owned();
        entry.map_or_else(none, |entry| walk::path_of(&*self.directory, entry))
    }

    #[inline]
    fn pass(&mut self, offset: u64, head: Head) -> Option<Found> {
        let (lsn, len) = (self.base + offset, head.len as usize);
        let end = lsn + head.frame_len();
        if head.kind == Kind::Part {
            let payload = self.scan.as_ref().map_or(&[][..], |scan| scan.held(offset, len));
            self.batch.push(lsn, end, payload);
            return None;
        }
        (self.end, self.looks) = (end, 0);
        if head.kind == Kind::Note {
            let payload = self.scan.as_ref().map_or(&[][..], |scan| scan.held(offset, len));
            if let (Some(notes), Some(note)) = (&mut self.notes, Note::decode(payload)) {
                notes.insert(note.about(), (lsn, note));
            }
        }
        if head.kind == Kind::Mark {
            let payload = self.scan.as_ref().map_or(&[][..], |scan| scan.held(offset, len));
            self.marked = self.marked.max(operand(payload));
        }
        if head.kind != Kind::Record {
            return None;
        }
        self.last = Some(lsn);
        if !self.batch.is_empty() {
            let payload = self.scan.as_ref().map_or(&[][..], |scan| scan.held(offset, len));
            self.batch.push(lsn, end, payload);
            self.batch.end(self.from);
            return None;
        }
        (lsn >= self.from).then_some(Found { lsn, end, at: At::Segment { offset, len } })
    }

    /// Goes into the segment at `index`, where the walk left off if it has been in it.
    fn enter(&mut self) -> Result<Then> {
        let Some(entry) = self.view.segments.get(self.index).copied() else {
            // Nothing to append to is no clean end: a recovery, or the making of the log, was
            // interrupted between its two manifests.
            let end = self.view.segments.last().map_or(self.view.next_base, |last| last.end);
            if self.until == Until::End {
                self.end = end;
            }
            return self.settle(Tail::Unclean { at: Lsn::new(end) });
        };
        let within = |lsn: u64| lsn > entry.base + DATA_START && lsn < entry.base + entry.size;
        let (_, bound) = walk::says(&self.view, self.index);
        if self.has_shown_none() && within(self.from) {
            // Whoever follows from here has seen what was before. It was cut, or published and lost in a crash.
            if bound.is_some_and(|bound| self.from > entry.base + bound) {
                return Err(self.gone(self.from, self.view.head()));
            }
        }
        let mut been = self.end > entry.base && self.end < entry.base + entry.size;
        if bound.is_some_and(|bound| been && self.end - entry.base > bound) {
            // A cut between the last record and a mark that the walk has passed.
            return self.go_on();
        }
        if self.until == Until::End && !been && entry.base >= self.new_from {
            // The moment when the one before ended is as good, and who reads slowly would never come to a later one.
            self.chases += CHASES / RETRIES;
            if self.has_chased_enough() {
                self.finish(Tail::Unclean { at: Lsn::new(self.end) });
                return Ok(Then::GoOn);
            }
        }
        match walk::scan(&*self.directory, &self.view, self.index, Access::Read) {
            Ok(mut scan) => {
                scan.begin_small();
                // A frame that is valid there is one of the log if all below it is, and what is durable is.
                let in_the_log = bound.is_none_or(|bound| self.from <= entry.base + bound);
                if !been
                    && self.jumps
                    && within(self.from)
                    && in_the_log
                    && self.from <= self.durable
                {
                    scan.go_to(self.from - entry.base);
                    let at_an_end = [Some(self.durable), bound.map(|bound| entry.base + bound)];
                    been = at_an_end.contains(&Some(self.from))
                        || matches!(scan.step(), Ok(Step::Frame { .. }));
                    if been {
                        self.end = self.from;
                    }
                }
                let at = if been { self.end - entry.base } else { DATA_START };
                (self.base, self.begun) = (entry.base, entry.base + at);
                scan.go_to(at);
                self.scan = Some(scan);
                Ok(Then::GoOn)
            }
            Err(error) => self.fail(error),
        }
    }

    fn stopped(&mut self, stop: &Stop) -> Result<Then> {
        self.end = self.base + cut_of(stop);
        let open = matches!(walk::says(&self.view, self.index).0, Says::Open { .. });
        if let Why::End { next } = stop.why {
            if open && stop.open_batch.is_none() {
                return self.leave(next, stop);
            }
        }
        let (disk, index) = (&*self.directory, self.index);
        if self.until == Until::End {
            let Some(mut scan) = self.scan.take() else { return Ok(Then::GoOn) };
            let began = Instant::now();
            let judged = walk::judge_silently(disk, &self.view, index, &mut scan, stop);
            self.looked += began.elapsed();
            return match judged {
                Ok(Verdict::Ends { torn, .. }) => self.ends(scan, stop, torn),
                Ok(_) => self.go_on(),
                // A running writer may have written this frame, and what vouches for it, since it was read:
                // it is damage only if it still is when read after that.
                Err(error) if error.is_corrupt() && open && has_gone_on(&mut scan, stop) => {
                    self.chase(view::newest(disk)?)
                }
                Err(error) => self.fail(error),
            };
        }
        if open && self.begun != self.end {
            // Of what was read before the walk came here a part may be as it was then.
            self.look_again();
            return Ok(Then::GoOn);
        }
        // What is known to be durable was so before this look.
        match walk::judge_by(disk, &self.view, index, stop, self.durable) {
            Ok(Verdict::Ends { .. }) => Ok(Then::Pause),
            Ok(_) => self.go_on(),
            Err(error) => self.fail(error),
        }
    }

    /// There is nothing behind an error, for who wants all there is; who follows may ask again.
    fn failed(&mut self) {
        if self.until == Until::End {
            (self.scan, self.batch, self.done) = (None, Batch::default(), true);
        }
    }

    fn finish(&mut self, tail: Tail) {
        self.tail = Some(tail);
        self.done = true;
    }
}
