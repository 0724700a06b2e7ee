//! What the newest manifest says of what the walk met: only by that is it believed.

use std::sync::Arc;
use std::time::Duration;

use super::{Then, Until, Walk};
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::Kind;
use crate::format::manifest::{Entry, Manifest, State};
use crate::inspect::view;
use crate::log::Tail;
use crate::segment::scan::{Scan, Step, Stop, Why};
use crate::segment::verdict::cut_of;
use crate::{Lsn, walk};

/// How often a walk looks again without coming further.
pub(super) const RETRIES: usize = 16;
/// How often it runs after a writer that goes on: a whole segment that is new counts for more. And how long it looks for evidence
/// for that, which takes some 20 ms each time with segments of 64 MiB.
pub(super) const CHASES: usize = 128;
const CHASED: Duration = Duration::from_secs(1);

impl Walk {
    /// An end frame proves that the segment ends here, whatever became of it since: the walk goes on in the next one, if
    /// that is in the log.
    pub(super) fn leave(&mut self, next: u64, stop: &Stop) -> Result<Then> {
        if self.view.segments.get(self.index + 1).is_some_and(|entry| entry.id == next) {
            return self.go_on();
        }
        let now = view::newest(&*self.directory)?;
        if self.follows(&now, next) {
            self.scan = None;
            self.take_over(now)?;
            self.index = self.view.segments.partition_point(|entry| entry.id < next);
            return Ok(Then::GoOn);
        }
        let damage = walk::judge_by(&*self.directory, &self.view, self.index, stop, self.durable);
        match damage {
            Err(error) if view::says_the_same(&self.view, &now, self.index) => Err(error),
            _ => self.adopt(now),
        }
    }

    /// Whether by `now` segment `next` comes behind the one that the walk stands in, or did until that was given up.
    pub(super) fn follows(&self, now: &Manifest, next: u64) -> bool {
        let Some(entry) = self.view.segments.get(self.index) else { return false };
        let at = |id: u64| now.segments.iter().position(|entry| entry.id == id);
        now.log_id == self.view.log_id
            && match (at(entry.id), at(next)) {
                (Some(here), Some(there)) => there == here + 1,
                (None, Some(there)) => there == 0,
                _ => false,
            }
    }

    /// This segment is read to its end.
    pub(super) fn go_on(&mut self) -> Result<Then> {
        self.scan = None;
        let active = self.view.segments.get(self.index).is_some_and(|e| e.state == State::Active);
        if active && self.view.clean_end.is_some() {
            // The ready segments behind the active one hold nothing.
            return self.settle(Tail::Clean);
        }
        self.index += 1;
        Ok(Then::GoOn)
    }

    /// Nothing vouched for what lies behind `end`, when it was looked at.
    pub(super) fn ends(&mut self, mut scan: Scan, stop: &Stop, torn: bool) -> Result<Then> {
        let now = view::newest(&*self.directory)?;
        let at = Lsn::new(self.end);
        let same = view::ends_the_same(&self.view, &now, self.index) && now.durable <= self.end;
        // Of what was read before the walk came here a part may be as it was then.
        if same && self.begun == self.end {
            self.finish(if torn { Tail::Torn { at } } else { Tail::Unclean { at } });
            return Ok(Then::GoOn);
        }
        if has_gone_on(&mut scan, stop) { self.chase(now) } else { self.adopt(now) }
    }

    /// The log goes on from `end`, where it ended a moment ago. So that a fast writer does not keep the walk
    /// for ever, at some time that moment is the one to show.
    pub(super) fn chase(&mut self, now: Arc<Manifest>) -> Result<Then> {
        self.adopt(now)?;
        self.chases += 1;
        if self.has_chased_enough() {
            self.finish(Tail::Unclean { at: Lsn::new(self.end) });
        }
        Ok(Then::GoOn)
    }

    pub(super) fn has_chased_enough(&self) -> bool {
        self.chases > CHASES || self.looked > CHASED
    }

    /// An end that the manifest says, if the newest says it too.
    pub(super) fn settle(&mut self, tail: Tail) -> Result<Then> {
        let now = view::newest(&*self.directory)?;
        if !view::ends_the_same(&self.view, &now, self.index) {
            return self.adopt(now);
        }
        if self.until != Until::End {
            return Ok(Then::Pause);
        }
        self.finish(tail);
        Ok(Then::GoOn)
    }

    /// A failure is one only if the newest manifest says the same of this segment.
    pub(super) fn fail(&mut self, error: Error) -> Result<Then> {
        let now = view::newest(&*self.directory)?;
        if view::says_the_same(&self.view, &now, self.index) { Err(error) } else { self.adopt(now) }
    }

    pub(super) fn gone(&self, lsn: u64, head: u64) -> Error {
        Error::Gone { lsn: Lsn::new(lsn), head: Lsn::new(head) }
    }

    /// Goes on by a newer manifest, where the walk stands.
    pub(super) fn adopt(&mut self, now: Arc<Manifest>) -> Result<Then> {
        self.looks += 1;
        if self.looks > RETRIES {
            let what = "the log changes faster than it can be read";
            let busy = std::io::Error::new(std::io::ErrorKind::ResourceBusy, what);
            return Err(Error::io("read", self.path(), busy));
        }
        self.scan = None;
        let base = view::base(&self.view, self.index);
        let at = self.end.max(base + DATA_START);
        // The segment that comes next is no longer there. If the checkpoint is not beyond where the walk stands, nothing was
        // given up behind it: either all of it has been passed, or recovery dropped what was empty.
        let cut = |last: &u64| *last >= base && *last >= now.checkpoint;
        let passed = now.checkpoint > at || self.last.as_ref().is_some_and(cut);
        if now.log_id != self.view.log_id || (view::base(&now, 0) > base && passed) {
            return Err(self.gone(at, now.head()));
        }
        self.take_over(now)?;
        self.index = view::index_of(&self.view, base);
        Ok(Then::GoOn)
    }

    /// Goes by `now`, if it has all that the walk has shown.
    pub(super) fn take_over(&mut self, now: Arc<Manifest>) -> Result<()> {
        let head = now.head();
        // The log was cut, or recovered to less.
        if let Some(last) = self.last.filter(|last| *last >= head && !view::holds(&now, *last)) {
            return Err(self.gone(last, head));
        }
        // Until it has shown something, what lies right before where it began stands for that; but a checkpoint may take it.
        let inside = |e: &Entry| e.base + DATA_START < self.from && self.from < e.base + e.size;
        if self.has_shown_none()
            && self.from > now.checkpoint
            && self.view.segments.iter().any(inside)
            && !view::holds(&now, self.from - 1)
        {
            return Err(self.gone(self.from, head));
        }
        self.durable = self.durable.max(now.durable);
        self.view = now;
        // Its batch is read again from its start, which is where the walk stands.
        if !self.batch.whole {
            self.batch.clear();
        }
        Ok(())
    }
}

/// Whether the log goes on where this walk of an open segment stopped, when it is read again.
pub(super) fn has_gone_on(scan: &mut Scan, stop: &Stop) -> bool {
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
