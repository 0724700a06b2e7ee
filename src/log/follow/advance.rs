//! From record to record, and from segment to segment.

use std::sync::Arc;

use super::{Follower, Place};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::{Head, Kind};
use crate::log::catalog::Slot;
use crate::log::fork::Handle;
use crate::log::read::Standing;
use crate::segment::{Look, Segment};
use crate::sync::atomic::Ordering;

impl Follower {
    /// Goes to the next record: its offset in the segment stood in, and its length. None: there is none yet.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Option<(u64, usize)>> {
        self.engine.here()?;
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
            let ended = self.engine.here()?.health.ended();
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
                // Dropped whole: what comes next may begin inside its window.
                let next = if end == Some(base) { base } else { slot.limit() };
                self.let_go();
                self.at = next;
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
    pub(super) fn let_go(&mut self) {
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
            let Some(slot) = self.engine.here()?.catalog.at_or_after(self.at) else {
                return Ok(false);
            };
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
        let pinned = slot.pin(&self.engine.here()?.files);
        // Behind the end of this instance the file may be the next one's, recycled already: that one leaves alone
        // what had been mapped before.
        if self.engine.here()?.health.is_over() { Err(Error::Closed) } else { pinned }
    }

    /// A cut below what was shown: that must not be passed over in silence.
    pub(super) fn check_cut(&self) -> Result<()> {
        let position = self.position();
        let slot = match &self.place {
            Some(place) if place.shown > 0 => Some(&place.slot),
            _ => self.shown_in.as_ref(),
        };
        if slot.is_none_or(|slot| slot.reaches(position.get())) { Ok(()) } else { self.gone() }
    }

    /// `next` comes next. If the window in which it goes on is not there, a checkpoint may have taken records away.
    /// Its position moves before the segments go.
    pub(super) fn check_passed(&self, next: &Slot) -> Result<()> {
        let engine = self.engine.here()?;
        let passed = || engine.checkpoint.load(Ordering::Acquire) > self.shown;
        if next.identity().base > self.at && passed() { self.gone() } else { Ok(()) }
    }

    #[cold]
    pub(super) fn gone(&self) -> Result<()> {
        Err(Error::Gone {
            lsn: self.position(),
            head: Lsn::new(self.engine.here()?.catalog.head()),
        })
    }
}

/// The frame where there must be one.
#[cold]
fn frame(engine: &Handle, standing: &mut Standing) -> Result<Head> {
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
            Look::Nothing if engine.here()?.health.is_over() => return Err(Error::Closed),
            Look::Nothing => return Err(standing.damage()),
        }
    }
}
