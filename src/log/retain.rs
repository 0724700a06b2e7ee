//! Giving up what is no longer needed: `checkpoint` at the front, `truncate_after` at the back, and
//! `roll`, which makes the active segment one that can be given up.

use super::change::Change;
use super::engine::{Engine, Upkeep};
use super::tell::News;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::Kind;
use crate::log::Reclaimed;
use crate::sync::atomic::Ordering;

impl Engine {
    pub(crate) fn checkpoint(&self, lsn: Lsn) -> Result<Reclaimed> {
        self.health.check()?;
        let durable = self.durable();
        if lsn.get() > durable {
            return Err(Error::NotDurable { lsn, durable: Lsn::new(durable) });
        }
        self.checkpoint_to(|| Some(lsn.get()), false)
    }

    /// Past no consumer, also one that comes meanwhile.
    pub(crate) fn checkpoint_to_slowest(&self) -> Result<Reclaimed> {
        self.health.check()?;
        self.checkpoint_to(|| self.slowest(), true)
    }

    fn checkpoint_to(&self, to: impl FnOnce() -> Option<u64>, asks: bool) -> Result<Reclaimed> {
        let mut upkeep = self.keep_up();
        // Again: a close may have come first, and after it the files are another's.
        self.health.check()?;
        let Some(to) = to() else { return Ok(Reclaimed::default()) };
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        if to <= checkpoint && !self.has_free(checkpoint) {
            return Ok(Reclaimed::default());
        }
        self.roll_if_below(&mut upkeep, to)?;
        let reclaimed = self.free_below(&mut upkeep, Some(to), asks)?;
        drop(upkeep);
        // `durable` and `end` may have moved into a new segment: whoever waits in the old one is to let go of it.
        self.tell_due();
        Ok(reclaimed)
    }

    /// Whether the oldest segment lies below `checkpoint`, and below what has been archived.
    pub(super) fn has_free(&self, checkpoint: u64) -> bool {
        let archived = self.tail.lock().notes.as_of(self.durable()).archived;
        let free = checkpoint.min(archived.unwrap_or(u64::MAX));
        self.catalog.nth(0).and_then(|slot| slot.end()).is_some_and(|end| end <= free)
    }

    /// Moves the checkpoint, or leaves it, and gives up every segment that no one needs.
    /// `asks`: past no consumer.
    pub(super) fn free_below(
        &self,
        upkeep: &mut Upkeep,
        to: Option<u64>,
        asks: bool,
    ) -> Result<Reclaimed> {
        // First the manifest is durable, then the files go: a crash in between leaves files that
        // nothing names, never names without files (P10).
        let change = Change { checkpoint: Some(to.unwrap_or(0)), asks, ..Change::default() };
        self.write_manifest(upkeep, &change)?;
        let first_kept = upkeep.manifest.segments.first().map_or(0, |entry| entry.base);
        let checkpoint = upkeep.manifest.checkpoint;
        if self.checkpoint.swap(checkpoint, Ordering::AcqRel) < checkpoint {
            upkeep.checkpointed = crate::sync::Instant::now();
        }
        // Before the head moves there: `head <= durable`, also where all records go and the log begins in a new segment.
        self.raise_durable(first_kept + DATA_START);
        // Exactly what the manifest leaves out: an append may have ended a segment since.
        let gone = self.catalog.retire_below(first_kept);
        // No one needs their last frames on the disk any more.
        self.tail.lock().unsynced.retain(|segment| segment.base() >= first_kept);
        upkeep.retired.extend(gone);
        // The checkpoint stands, whatever becomes of the files: those that cannot go now are tried again.
        let (segments, bytes) = self.release_retired(upkeep).0;
        self.keep_reserve(upkeep);
        if !upkeep.retired.is_empty() {
            self.signal.wake(); // it looks again until their readers let go
        }
        let (lsn, reclaimed) = (Lsn::new(checkpoint), Reclaimed { segments, bytes });
        self.health.delivery.note(|| News::Checkpoint { lsn, reclaimed });
        Ok(reclaimed)
    }

    /// A checkpoint of everything in the active segment seals it, so that it too can go. On a full disk
    /// it stays: the checkpoint itself must still be possible.
    fn roll_if_below(&self, upkeep: &mut Upkeep, checkpoint: u64) -> Result<()> {
        let below = |engine: &Engine| {
            let tail = engine.tail.lock();
            !tail.writer.is_empty() && tail.writer.lsn() <= checkpoint
        };
        if !below(self) {
            return Ok(());
        }
        if self.tail.lock().ready.is_empty() {
            match self.provide(upkeep) {
                Err(Error::Full { .. }) => return Ok(()),
                provided => provided?,
            }
        }
        let mut tail = self.tail.lock();
        if tail.writer.lsn() > checkpoint {
            return Ok(());
        }
        let rolled = self.roll_tail(&mut tail);
        // Not `release`: whoever waits is told by the caller, once it holds no lock.
        let wake = std::mem::take(&mut tail.wake);
        drop(tail);
        if wake {
            self.signal.wake();
        }
        match rolled {
            Err(Error::Full { .. }) => Ok(()),
            rolled => rolled.map(drop),
        }
    }

    pub(crate) fn roll(&self) -> Result<Lsn> {
        loop {
            let mut tail = self.tail.lock();
            self.health.check()?;
            if tail.writer.is_held(0) {
                self.filled.wait(&mut tail);
                continue;
            }
            let rolled = if tail.writer.is_empty() { Ok(true) } else { self.roll_tail(&mut tail) };
            let end = tail.writer.lsn();
            self.release(tail);
            if rolled? {
                return Ok(Lsn::new(end));
            }
            self.provide_segment()?;
        }
    }

    /// Seals the segment at the cut and goes on in the next unused window: bytes that were published
    /// never change, and what was cut can never come back (raft-wal's `ForceSeal`, etcd's lesson).
    pub(crate) fn truncate_after(&self, lsn: Lsn) -> Result<()> {
        self.health.check()?;
        self.let_oldest_go()?;
        let mut upkeep = self.keep_up();
        self.health.check()?;
        let cut = self.cut_position(lsn)?;
        loop {
            if self.tail.lock().ready.is_empty() {
                self.provide(&mut upkeep)?;
                self.cut_position(lsn)?; // the room may have been taken from what held it
            }
            if self.while_leading(|| self.cut_at(&mut upkeep, cut))? {
                break;
            }
        }
        // The cut stands, whatever becomes of the files.
        drop(self.release_retired(&mut upkeep));
        self.keep_reserve(&mut upkeep);
        drop(upkeep);
        self.signal.wake();
        self.tell_due();
        Ok(())
    }

    /// The end of the record at `lsn`, if the log can be cut there.
    fn cut_position(&self, lsn: Lsn) -> Result<u64> {
        let (_, _, head) = self.locate(lsn)?;
        if head.kind == Kind::Part {
            return Err(Error::InsideBatch { lsn });
        }
        let cut = lsn.get() + head.frame_len();
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        if cut < checkpoint {
            let end = Lsn::new(self.end());
            return Err(Error::OutOfRange { lsn, head: Lsn::new(checkpoint), end });
        }
        Ok(cut)
    }

    /// With leadership: no one syncs meanwhile. With the tail: no one appends. The new end, or none if
    /// an append rolled into the ready segment first: then nothing has been changed.
    fn cut_at(&self, upkeep: &mut Upkeep, cut: u64) -> Result<Option<u64>> {
        let mut tail = self.tail.lock();
        if tail.ready.is_empty() {
            return Ok(None);
        }
        self.health.check()?;
        let active = std::sync::Arc::clone(tail.writer.segment());
        let kept = tail.unsynced.iter().chain([&active]).filter(|segment| segment.base() < cut);
        for segment in kept {
            // Whole: what is dirty in it is not worth knowing here.
            let whole = 0..segment.published();
            self.files.sync(segment, whole, true).map_err(|e| self.health.poison(e))?;
        }
        let change = Change { cut: Some(cut), ..Change::default() };
        self.write_manifest_locked(upkeep, &change, &tail)?;
        self.lose_from(cut, &tail);
        if let Some(there) = change.there(&tail) {
            tail.notes.cut(&there);
        }
        let Some(next) = tail.ready.pop_front() else { return Ok(None) };
        let start = next.lsn();
        self.health.delivery.note(|| News::CutBack { end: cut, resumes: start });
        let gone = self.catalog.retire_from(cut);
        // Before `durable` moves past them: by this a follower tells what was cut from what a checkpoint passed.
        gone.iter().for_each(|slot| slot.set_end(slot.identity().base));
        upkeep.retired.extend(gone);
        if let Some(slot) = self.catalog.find(cut.saturating_sub(1)) {
            slot.set_end(cut);
        }
        self.catalog.push(super::catalog::Slot::active(next.segment()));
        tail.writer = next;
        tail.unsynced.clear();
        tail.spoiled = false;
        tail.marked = start;
        self.end.store(start, Ordering::Release);
        drop(tail);
        self.loosen_sealed(upkeep);
        Ok(Some(start))
    }
}
