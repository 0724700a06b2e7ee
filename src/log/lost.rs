//! Which positions never became durable: what is left of a record that was cut away before a sync covered it.
//!
//! Whatever else is no longer in the log was durable when a checkpoint or a cut let it go. Positions are never used
//! again, so a position that is lost stays so.

use std::ops::Range;
use std::sync::Arc;

use super::catalog::Slot;
use super::engine::{Engine, Tail};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::sync::RwLock;

/// How many ranges of this instance's cuts are kept apart.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// In order, and apart.
    ranges: RwLock<Vec<Range<u64>>>,
    /// The first of them are from before this instance.
    earlier: usize,
}

impl Lost {
    /// At open: what lies between the segments that are there. A record of an earlier instance may have been lost in a
    /// crash, cut away or checkpointed there, and nothing says which.
    pub(crate) fn new(slots: &[Arc<Slot>]) -> Lost {
        let mut ranges = Vec::new();
        let mut from = 0;
        for slot in slots {
            if from < slot.identity().base {
                ranges.push(from..slot.identity().base);
            }
            from = slot.end().unwrap_or(u64::MAX);
        }
        Lost { earlier: ranges.len(), ranges: RwLock::new(ranges) }
    }

    /// Memory is bounded: of very many cuts the two oldest become one, together with what lies between them.
    fn add(&self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut ranges = self.ranges.write();
        ranges.push(range);
        if ranges.len() > self.earlier + MOST {
            let oldest = ranges.remove(self.earlier);
            if let Some(next) = ranges.get_mut(self.earlier) {
                next.start = oldest.start;
            }
        }
    }

    fn contains(&self, lsn: u64) -> bool {
        let ranges = self.ranges.read();
        let after = ranges.partition_point(|range| range.start <= lsn);
        after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|range| lsn < range.end)
    }
}

impl Engine {
    /// A cut takes the records at `cut` and beyond away, and the manifest that says so is durable. With the tail as it
    /// was, before `durable` moves. Notes are in that manifest, so they are not lost.
    pub(super) fn lose_from(&self, cut: u64, tail: &Tail) {
        let mut from = cut.max(self.durable());
        for note in tail.notes.frames_from(from) {
            self.lost.add(from..note.start);
            from = note.end;
        }
        self.lost.add(from..tail.writer.lsn());
    }

    /// Ok if the position, which is below the end, was not lost: it is durable, was when it left the log, or can still
    /// become so.
    pub(super) fn check_kept(&self, lsn: u64) -> Result<()> {
        // Where ranges became one there may be records between them.
        if !self.lost.contains(lsn) || self.is_live(lsn) {
            return Ok(());
        }
        Err(Error::Gone { lsn: Lsn::new(lsn), head: Lsn::new(self.catalog.head()) })
    }

    /// Whether it lies in the part of a window that holds records of the log as it is now.
    fn is_live(&self, lsn: u64) -> bool {
        let end = self.end();
        self.catalog.find(lsn).is_some_and(|slot| lsn < slot.end().unwrap_or(end))
    }
}
