//! Upkeep: everything that changes the set of segments, away from the append path.
//!
//! The worker has no logic of its own: it calls [`Engine::step`]. An append that finds no ready
//! segment, because the worker has not come to it, does the same work itself.

use std::time::Duration;

use super::change::Change;
use super::engine::{Engine, Upkeep};
use super::tell::News;
use crate::error::{Error, Limit, Result};
use crate::format::header::Identity;
use crate::manifest;
use crate::segment::{SegmentWriter, Way, warm};
use crate::storage::is_shortage;

/// How long an append at a cap that drops the oldest waits for the observer.
const OBSERVER_TIME: Duration = Duration::from_secs(1);

impl Engine {
    /// One round of background work. A full disk is left to the append that meets it; what else failed before anything was
    /// changed is for a later round.
    pub(crate) fn step(&self) -> Result<()> {
        self.health.check()?;
        // What it comes to keeps nothing else from being done: it is no more than a help.
        let ready = self.get_ready_ahead();
        // Rolled segments are synced even if no one commits, so that recovery has few to read.
        self.sync_rolled()?;
        let head = self.catalog.head();
        let mut upkeep = self.keep_up();
        self.health.check()?;
        let tended = self.tend(&mut upkeep);
        drop(upkeep);
        self.tell_if_moved(head);
        let warmed = self.warm_ahead();
        warmed.and(ready).and(tended)
    }

    /// Segments went by themselves since `head` was seen: as behind a checkpoint, whoever waits there is to let go.
    fn tell_if_moved(&self, head: u64) {
        if self.catalog.head() != head {
            self.tell_due();
        }
    }

    /// Syncs the segments that are full. Not with the upkeep lock: a sync wakes tasks, whose wakers are called with no lock held.
    fn sync_rolled(&self) -> Result<()> {
        let rolled = self
            .tail
            .lock()
            .unsynced
            .last()
            .map(|segment| segment.base() + segment.identity().size);
        match rolled {
            Some(limit) => self.wait_durable(limit.min(self.end()), 0).or_else(ignore_gone),
            None => Ok(()),
        }
    }

    fn tend(&self, upkeep: &mut Upkeep) -> Result<()> {
        // First: on a full disk the next segment may need the space.
        let released = self.release_retired(upkeep).1;
        if let Some(lsn) = self.expired() {
            self.free_below(upkeep, Some(lsn), true)?;
        }
        let provided = if self.tail.lock().ready.is_empty() {
            self.provide(upkeep)
        } else {
            // Opened with more than the cap allows.
            self.make_room(upkeep, false)
        };
        // Where there is no room all else goes on: what an archive lets go of is what makes room.
        if let Err(error @ Error::Poisoned { .. }) = provided {
            return Err(error);
        }
        // What had been held back for an archive may go once that has come further.
        if self.has_free(self.checkpoint.load(std::sync::atomic::Ordering::Acquire)) {
            self.free_below(upkeep, None, false)?;
        }
        if self.seals_due(upkeep) {
            self.write_manifest(upkeep, &Change::default())?;
        }
        released?;
        if !is_at_cap(&provided) {
            provided?;
        }
        let filled = self.files.fill_reserve(&mut upkeep.stock);
        filled.map(drop).map_err(|e| self.health.unless_unchanged(e))
    }

    /// Fills or refines what an append asked for.
    ///
    /// With the upkeep lock, so that no one gives the file away, or cuts the log back, while it is filled.
    fn get_ready_ahead(&self) -> Result<()> {
        if !self.tail.lock().writer.asks_ahead() {
            return Ok(());
        }
        let _upkeep = self.upkeep.lock();
        self.health.check()?;
        let (segment, ahead) = {
            let mut tail = self.tail.lock();
            let Some(ahead) = tail.writer.begin_ahead() else { return Ok(()) };
            (std::sync::Arc::clone(tail.writer.segment()), ahead)
        };
        let done = segment.get_ready(&*self.files.directory, &ahead);
        let (done, failed) = match done.map_err(|e| self.health.unless_unchanged(e)) {
            Ok(done) => (Some(done), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let mut tail = self.tail.lock();
        if tail.writer.segment().base() == segment.base() {
            tail.writer.end_ahead(done);
        }
        drop(tail);
        self.filled.notify_all();
        failed
    }

    /// Reads in a piece of what appends will come to. Only that, in pieces, and with no lock: a checkpoint or a close waits for
    /// none of it.
    fn warm_ahead(&self) -> Result<()> {
        self.health.check()?;
        let Some((identity, from)) = self.cold() else { return Ok(()) };
        let read = self.read_in(&identity, from);
        let mut tail = self.tail.lock();
        let tail = &mut *tail;
        let mut writers = [&mut tail.writer].into_iter().chain(&mut tail.ready);
        match writers.find(|writer| writer.segment().base() == identity.base) {
            Some(writer) => self.note_read(writer, read),
            // Full, or out of the log: no append comes to it.
            None => Ok(()),
        }
    }

    /// The segment to be read in, and where the next piece of it begins. None once the log has ended: then nothing is read
    /// in, and the worker would ask again without a pause.
    pub(crate) fn cold(&self) -> Option<(Identity, u64)> {
        self.health.check().ok()?;
        let tail = self.tail.lock();
        let mut writers = [&tail.writer].into_iter().chain(&tail.ready);
        writers.find_map(|writer| Some((*writer.segment().identity(), writer.to_warm()?)))
    }

    fn read_in(&self, identity: &Identity, from: u64) -> Result<Option<u64>> {
        warm(&*self.files.directory, identity, from, self.files.way != Way::Either)
    }

    /// Where a sector cannot be read, a store would be a signal and a write is an error: that ends a log that does nothing but
    /// store.
    fn note_read(&self, writer: &mut SegmentWriter, read: Result<Option<u64>>) -> Result<()> {
        match read.map_err(|error| (self.files.way, error)) {
            Ok(rest) => writer.warmed(rest),
            Err((Way::Store, error)) => return Err(self.health.unless_unchanged(error)),
            Err((_, Error::Io { op: "pread", source, .. })) if !is_shortage(&source) => {
                writer.stays_cold();
            }
            Err((_, error)) => return Err(error),
        }
        Ok(())
    }

    /// Makes sure that there is a segment to roll into.
    pub(crate) fn provide_segment(&self) -> Result<()> {
        let drops = self.drops_oldest();
        let head = self.catalog.head();
        let mut again = drops;
        loop {
            if drops && self.oldest_lacks_sync() {
                self.sync_rolled()?;
            }
            let provided = self.provide_if_none();
            // Not all that could go was durable, or sealed, with the event of it delivered.
            if !(is_at_cap(&provided) && std::mem::take(&mut again)) {
                self.tell_if_moved(head);
                return provided;
            }
            self.sync_rolled()?;
            let mut upkeep = self.keep_up();
            self.health.check()?;
            if self.seals_due(&upkeep) {
                self.write_manifest(&mut upkeep, &Change::default())?;
            }
            drop(upkeep);
            // The event of a seal holds its segment. Not for ever: the observer may wait for whoever appends.
            self.health.delivery.drain_within(Some(OBSERVER_TIME));
        }
    }

    fn provide_if_none(&self) -> Result<()> {
        let mut upkeep = self.keep_up();
        self.health.check()?;
        if self.tail.lock().ready.is_empty() {
            // What readers have let go of since may be the only space there is.
            drop(self.release_retired(&mut upkeep));
            self.provide(&mut upkeep)?;
        }
        Ok(())
    }

    /// Makes a segment ready and names it in a durable manifest: only then may it be appended to.
    pub(super) fn provide(&self, upkeep: &mut Upkeep) -> Result<()> {
        let provided = self.make_ready(upkeep);
        self.note_provided(upkeep, &provided);
        provided
    }

    fn make_ready(&self, upkeep: &mut Upkeep) -> Result<()> {
        self.make_room(upkeep, true)?;
        self.refill_reserve(upkeep)?;
        let spare = upkeep.stock.pool.len();
        let made = self.make(upkeep)?;
        let recycled = upkeep.stock.pool.len() < spare;
        let identity = *made.segment().identity();
        upkeep.stock.next_id = identity.id + 1;
        upkeep.stock.next_base = identity.base + identity.size;
        let change = Change { ready: Some(&made), recycled, ..Change::default() };
        if let Err(error) = self.write_manifest(upkeep, &change) {
            if !error.is_poisoned() {
                // Nothing names it; the numbers were never used.
                (upkeep.stock.next_id, upkeep.stock.next_base) = (identity.id, identity.base);
                self.files.discard(identity.id);
            }
            return Err(error);
        }
        self.tail.lock().ready.push_back(made);
        if recycled {
            self.keep_reserve(upkeep);
        }
        Ok(())
    }

    /// After a manifest that may have taken the reserve: as much of it as there is room for, before another program takes
    /// that. What fails here is tried again by the worker, unless it ends the log.
    pub(super) fn keep_reserve(&self, upkeep: &mut Upkeep) {
        let kept = self.files.fill_some_reserve(&mut upkeep.stock);
        drop(kept.map_err(|e| self.health.unless_unchanged(e)));
    }

    /// Makes a segment, which no manifest names; the numbers in the stock stand.
    pub(super) fn make(&self, upkeep: &mut Upkeep) -> Result<SegmentWriter> {
        let size = self.files.options.segment_size;
        let made = self.files.make_segment(&mut upkeep.stock, size);
        let mut made = made.map_err(|e| self.health.unless_unchanged(e))?;
        // All goes in by stores, and none may meet what was not read. Elsewhere the worker reads it in.
        let unread = |made: &SegmentWriter| made.to_warm().filter(|_| self.files.way == Way::Store);
        while let Some(from) = unread(&made) {
            let read = self.read_in(made.segment().identity(), from);
            self.note_read(&mut made, read)?;
        }
        Ok(made)
    }

    /// What a checkpoint took of a full disk comes before the next segment, which else would take the room, and the
    /// next checkpoint would fail. A recycled file takes none.
    fn refill_reserve(&self, upkeep: &mut Upkeep) -> Result<()> {
        let stock = &mut upkeep.stock;
        let filled = self.files.fill_reserve(stock).map_err(|e| self.health.unless_unchanged(e))?;
        if filled || !stock.had_reserve || !stock.pool.is_empty() {
            return Ok(());
        }
        let what = "the room for the reserve has to come first";
        let path = self.files.directory.path().join(manifest::RESERVE);
        Err(Error::full(Limit::Disk, "fallocate", path, what))
    }

    fn seals_due(&self, upkeep: &Upkeep) -> bool {
        let sealed = upkeep.manifest.sealed().last().map_or(0, |entry| entry.id);
        let next = self.catalog.newer_than(sealed);
        next.first().and_then(|slot| slot.end()).is_some_and(|end| end <= self.durable())
    }

    /// Recycles or removes what is out of the log, once no reader holds it; oldest first. Files and bytes
    /// given back, and why it did not go on: the rest waits for the next time.
    pub(super) fn release_retired(&self, upkeep: &mut Upkeep) -> ((u64, u64), Result<()>) {
        let (mut segments, mut bytes) = (0, 0);
        let mut pinned = Vec::new();
        let mut failed = None;
        for slot in std::mem::take(&mut upkeep.retired) {
            if slot.is_pinned() || failed.is_some() {
                pinned.push(slot);
                continue;
            }
            let identity = slot.identity();
            match self.files.give_back(&mut upkeep.stock, identity.id) {
                Ok(kept) => {
                    (segments, bytes) = (segments + 1, bytes + identity.size);
                    let Identity { id, base, size, .. } = *identity;
                    self.health.delivery.note(|| match kept {
                        true => News::Recycled { id, base, size },
                        false => News::Removed { id, base, size },
                    });
                }
                Err(error) => {
                    failed = Some(error);
                    pinned.push(slot);
                }
            }
        }
        upkeep.retired = pinned;
        ((segments, bytes), failed.map_or(Ok(()), Err))
    }

    pub(crate) fn has_retired(&self) -> bool {
        !self.upkeep.lock().retired.is_empty()
    }
}

/// A cut back met the position that was waited for: then there is nothing to seal.
pub(super) fn ignore_gone(error: Error) -> Result<()> {
    match error {
        Error::Gone { .. } | Error::OutOfRange { .. } => Ok(()),
        other => Err(other),
    }
}

fn is_at_cap(result: &Result<()>) -> bool {
    matches!(result, Err(Error::Full { limit: Limit::MaxBytes, .. }))
}
