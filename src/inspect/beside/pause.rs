//! A walk that pauses where the log ends, or where no more is known to be durable, and goes on when there is more.

use super::Walk;
use crate::error::Result;
use crate::format::DATA_START;
use crate::inspect::view;
use crate::segment::scan::{Step, Stop, Why};

impl Walk {
    /// All below has been shown, or lies before where it began; none while records of a batch are still to be shown.
    pub(crate) fn passed(&self) -> Option<u64> {
        if self.batch.whole {
            return None;
        }
        Some(if self.scan.is_some() { self.end.max(self.base + DATA_START) } else { self.end })
    }

    pub(crate) fn marked(&self) -> u64 {
        self.marked
    }

    /// Whether it stands in a segment that may grow, to which a look costs little.
    pub(crate) fn stands_at_the_tail(&self) -> bool {
        self.scan.is_some()
    }

    /// Behind a pause: what comes next is read as it is now.
    pub(crate) fn look_again(&mut self) {
        self.looks = 0;
        if self.batch.whole {
            return;
        }
        self.batch.clear();
        if let Some(scan) = &mut self.scan {
            let at = if self.end > self.base { self.end - self.base } else { DATA_START };
            scan.go_to(at);
            self.begun = self.base + at;
        }
    }

    /// All below `durable` is, someone says of the log as it is now.
    pub(crate) fn raise(&mut self, durable: u64) -> Result<()> {
        if durable <= self.durable {
            return Ok(());
        }
        let entry = self.view.segments.get(self.index).filter(|_| self.scan.is_some());
        if entry.is_some_and(|entry| durable < entry.base + entry.size) {
            self.durable = durable;
            return Ok(());
        }
        // In a later window: between the two the log may have been cut, and then it says nothing of what was appended
        // here and not kept. A manifest that is read after it knows.
        self.renew()?;
        self.durable = self.durable.max(durable);
        Ok(())
    }

    /// Goes by the newest manifest.
    pub(crate) fn renew(&mut self) -> Result<()> {
        let now = view::newest(&*self.directory)?;
        if now.generation == self.view.generation && now.log_id == self.view.log_id {
            self.durable = self.durable.max(now.durable);
            return Ok(());
        }
        let entry = self.view.segments.get(self.index).copied();
        let given_up = entry.filter(|entry| !view::names(&now, self.view.log_id, entry));
        if let (Some(_), Some(scan)) = (given_up, &mut self.scan) {
            // Whether it ended where the walk stands, the file may still tell.
            scan.go_to(self.end.saturating_sub(self.base).max(DATA_START));
            let stepped = scan.step();
            if let Ok(Step::Stopped(Stop { why: Why::End { next }, open_batch: None, .. })) =
                stepped
            {
                if self.follows(&now, next) {
                    self.scan = None;
                    self.take_over(now)?;
                    self.index = self.view.segments.partition_point(|entry| entry.id < next);
                    return Ok(());
                }
            }
        }
        self.adopt(now).map(drop)
    }
}
