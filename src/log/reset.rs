//! Beginning anew: `reset_to` at a later position, `truncate_all` behind the end.
//!
//! One manifest says it: before it all is there, after it nothing. It names no segment that ever held a record, so what
//! was dropped cannot come back, and the new first window lies behind every other that was ever named.

use std::collections::VecDeque;

use super::Log;
use super::catalog::Slot;
use super::change::Change;
use super::engine::{Engine, Keeping, Upkeep};
use super::tell::News;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::{DATA_START, MAX_LSN, MAX_SEGMENT_SIZE};
use crate::segment::SegmentWriter;
use crate::sync::Instant;
use crate::sync::atomic::Ordering;

impl Log {
    /// Drops every record and goes on at `lsn`, or at the next position after it where a log can begin: where it now
    /// begins and ends. For a follower that installs a snapshot of its leader's.
    ///
    /// A log can begin at multiples of 4096 beyond the windows of all segments that it has made: there `lsn` is met
    /// exactly. So it is wherever `lsn` lies three segments behind the end. What is returned is also the new
    /// [`checkpoint`](Log::checkpoint_lsn), [`durable`](Log::durable) and [`head`](Log::head). Durable on Ok; a crash before
    /// leaves all, after it nothing, and nothing in between. What was dropped never comes back, and its LSNs are never used
    /// again. Replays that had begun may still see it, and a segment that a reader holds goes when it lets go. Every
    /// [`Consumer`](crate::Consumer) stands where the log begins from then on.
    ///
    /// Who does not know whether it was done asks again: of a log that holds nothing at or behind `lsn` it is true already,
    /// and stays so wherever that now begins.
    ///
    /// # Errors
    ///
    /// Nothing changed: [`Error::OutOfRange`] below [`end`](Log::end) where there is something in the log, also if another
    /// thread appended past `lsn` meanwhile; [`Error::InvalidOption`] so near to 2^63 that no segments would fit behind it;
    /// [`Error::Full`]; [`Error::Io`]; [`Error::Closed`]. With [`Error::Poisoned`] all or nothing is there when the log is opened anew. Who
    /// waits in [`commit`](Log::commit) for a record that is dropped gets [`Error::Gone`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append(b"covered by the snapshot")?;
    /// let snapshot = duralog::Lsn::new(1 << 40);
    /// assert_eq!(log.reset_to(snapshot)?, snapshot);
    /// assert_eq!(log.replay().count(), 0);
    /// assert_eq!(log.append(b"the first behind it")?, snapshot);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_to(&self, lsn: Lsn) -> Result<Lsn> {
        self.engine.here()?.reset_to(lsn)
    }

    /// Drops every record; the log goes on behind its end. As [`reset_to`](Log::reset_to), but for records that were
    /// appended by another thread meanwhile, which go too: what was appended before the call is gone when it returns.
    ///
    /// # Errors
    ///
    /// Nothing changed: [`Error::Full`], [`Error::Io`], [`Error::Closed`]. With [`Error::Poisoned`] all or nothing is there when the
    /// log is opened anew.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let dropped = log.append_durable(b"dropped")?;
    /// log.truncate_all()?;
    /// assert_eq!(log.replay().count(), 0);
    /// assert!(log.append(b"kept")? > dropped);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn truncate_all(&self) -> Result<()> {
        self.engine.here()?.truncate_all()
    }
}

impl Engine {
    fn truncate_all(&self) -> Result<()> {
        self.health.check()?;
        self.let_oldest_go()?;
        let mut upkeep = self.keep_up();
        self.health.check()?;
        loop {
            if self.tail.lock().ready.is_empty() {
                self.provide(&mut upkeep)?;
            }
            if self.while_leading(|| self.begin_anew(&mut upkeep, None))? {
                self.give_dropped_back(upkeep);
                return Ok(());
            }
        }
    }

    fn reset_to(&self, lsn: Lsn) -> Result<Lsn> {
        self.health.check()?;
        let (head, end) = (self.catalog.head(), self.end());
        if head == end && (self.checkpoint.load(Ordering::Acquire)..=end).contains(&lsn.get()) {
            // It is there already: no one who asks twice is sent on.
            return self.checkpoint(Lsn::new(end)).map(|_| Lsn::new(end));
        }
        self.let_oldest_go()?;
        let mut upkeep = self.keep_up();
        self.health.check()?;
        loop {
            let base = self.base_for(lsn, &upkeep)?;
            let first = self.make_at(&mut upkeep, base)?;
            let (id, start, size) =
                (upkeep.stock.next_id, first.lsn(), first.segment().identity().size);
            let before = (id, std::mem::replace(&mut upkeep.stock.next_base, base + size));
            upkeep.stock.next_id = id + 1;
            let begun = self.while_leading(|| self.begin_anew(&mut upkeep, Some((lsn, first))));
            match begun {
                Ok(true) => {
                    self.give_dropped_back(upkeep);
                    return Ok(Lsn::new(start));
                }
                // The new manifest may stand: then it names the file.
                Err(error @ Error::Poisoned { .. }) => return Err(error),
                _ => {
                    // Nothing names it; the numbers were never used.
                    (upkeep.stock.next_id, upkeep.stock.next_base) = before;
                    self.files.discard(id);
                    begun?;
                }
            }
        }
    }

    /// The base of the first window whose records begin at or behind `lsn`, and which overlaps none that was ever named: by
    /// an LSN a reader knows the segment, whatever became of it.
    fn base_for(&self, lsn: Lsn, upkeep: &Upkeep) -> Result<u64> {
        let end = self.end();
        if lsn.get() < end {
            let head = Lsn::new(self.catalog.head());
            return Err(Error::OutOfRange { lsn, head, end: Lsn::new(end) });
        }
        // As far as a manifest goes (`Manifest::check`).
        let last = MAX_LSN - MAX_SEGMENT_SIZE - self.files.options.segment_size;
        let behind = lsn.get().checked_next_multiple_of(DATA_START).filter(|base| *base <= last);
        let base = behind.map(|at| upkeep.stock.next_base.max(at - DATA_START));
        base.filter(|base| *base < last).ok_or_else(|| {
            let range = format!("at most {last}");
            Error::InvalidOption { option: "reset_to", value: lsn.get(), range }
        })
    }

    /// A segment at `base`, which no manifest names.
    fn make_at(&self, upkeep: &mut Upkeep, base: u64) -> Result<SegmentWriter> {
        self.make_room(upkeep, true)?;
        let next_base = std::mem::replace(&mut upkeep.stock.next_base, base);
        let made = self.make(upkeep);
        upkeep.stock.next_base = next_base;
        made
    }

    /// With leadership: no one syncs meanwhile. With the tail: no one appends. `first`: where to go on, instead of in the
    /// next ready segment, unless the log has grown past that position. Where the log now begins; none if an append got
    /// in first: then nothing has been changed.
    fn begin_anew(
        &self,
        upkeep: &mut Upkeep,
        first: Option<(Lsn, SegmentWriter)>,
    ) -> Result<Option<u64>> {
        let mut tail = self.tail.lock();
        self.health.check()?;
        // The windows of the ready ones may lie anywhere beside that of another first one.
        let ready = match first {
            Some((lsn, first)) if tail.writer.lsn() <= lsn.get() => {
                Some(std::mem::replace(&mut tail.ready, VecDeque::from([first])))
            }
            Some(_) => return Ok(None),
            None => None,
        };
        let Some(start) = tail.ready.front().map(SegmentWriter::lsn) else { return Ok(None) };
        let change = Change { anew: true, ..Change::default() };
        if let Err(error) = self.write_manifest_locked(upkeep, &change, &tail) {
            if let Some(ready) = ready {
                tail.ready = ready;
            }
            return Err(error);
        }
        self.lose_from(0, &tail);
        if let Some(there) = change.there(&tail) {
            tail.notes.cut(&there);
        }
        self.health.delivery.note(|| News::CutBack { end: self.catalog.head(), resumes: start });
        let Some(next) = tail.ready.pop_front() else { return Ok(None) };
        let mut old = std::mem::replace(&mut tail.writer, next);
        tail.writer.inherit(&mut old);
        tail.unsynced.clear();
        tail.spoiled = false;
        tail.marked = start;
        // In this order, so that `head <= durable <= end` also for who looks between; so that no one sees the log beyond a
        // segment before that ends; and so that who waits for what was dropped does not find it in the catalog.
        let dropped = self.catalog.snapshot();
        let gone = self.catalog.replace(Slot::active(tail.writer.segment()), || {
            // As a cut: by this a follower knows that what it stands in was dropped. With the head, for who looks at both.
            dropped.iter().for_each(|slot| slot.set_end(slot.identity().base));
            self.end.store(start, Ordering::Release);
            self.pass_over(start);
            self.checkpoint.store(start, Ordering::Release);
        });
        upkeep.checkpointed = Instant::now();
        drop(tail);
        let ready = ready.unwrap_or_default();
        upkeep.retired.extend(gone);
        upkeep.retired.extend(ready.iter().map(|ready| Slot::active(ready.segment())));
        upkeep.retired.iter().for_each(|slot| slot.retire());
        // The mappings end here, which takes milliseconds: not under the append lock.
        drop((old, ready));
        Ok(Some(start))
    }

    /// The log stands anew, whatever becomes of the files.
    fn give_dropped_back(&self, mut upkeep: Keeping<'_>) {
        drop(self.release_retired(&mut upkeep));
        self.keep_reserve(&mut upkeep);
        drop(upkeep);
        self.signal.wake();
        self.tell_due();
    }
}
