//! Changes of the set of segments: what the next manifest says, and how it takes the place of the last one.

use std::ops::{Range, RangeInclusive};

use super::engine::{Engine, Tail, Upkeep};
use super::files;
use crate::error::Result;
use crate::format::DATA_START;
use crate::format::manifest::{Entry, Manifest, State};
use crate::format::notes::Note;
use crate::manifest;
use crate::segment::SegmentWriter;

/// What a manifest says besides the segments that are always in it.
#[derive(Default)]
pub(super) struct Change<'a> {
    /// A segment made ready, to be named for the first time.
    pub(super) ready: Option<&'a SegmentWriter>,
    /// It takes no room.
    pub(super) recycled: bool,
    /// The checkpoint; segments wholly below it are left out.
    pub(super) checkpoint: Option<u64>,
    /// The position at which the log is closed.
    pub(super) clean_end: Option<u64>,
    /// The end of the log after a cut back: later segments are left out, the next ready one is active.
    pub(super) cut: Option<u64>,
    /// All records are left out: the next ready segment is active, and the log begins there.
    pub(super) anew: bool,
    /// The checkpoint passes no consumer.
    pub(super) asks: bool,
    /// Taken in with all that are durable, which are all.
    pub(super) note: Option<&'a Note>,
}

impl Change<'_> {
    /// Where consumers may stand after a cut back, or where all begins again: a position in between would name nothing, and
    /// a consumer that stands there would hold the log, or find itself gone.
    pub(super) fn there(&self, tail: &Tail) -> Option<RangeInclusive<u64>> {
        match (self.cut, self.anew) {
            (Some(cut), _) => Some(0..=cut),
            (None, true) => Some(tail.ready.front()?.lsn()..=u64::MAX),
            (None, false) => None,
        }
    }
}

/// A manifest to be, but for the segments that the durable one calls sealed.
struct Draft {
    /// With the segments behind those.
    rest: Manifest,
    /// Which of those it names too.
    sealed: Range<usize>,
    cut: Option<u64>,
}

impl Draft {
    fn first<'a>(&'a self, upkeep: &'a Upkeep) -> Option<&'a Entry> {
        let sealed = upkeep.manifest.sealed().get(self.sealed.clone());
        sealed.unwrap_or_default().first().or(self.rest.segments.first())
    }

    fn finish(self, upkeep: &Upkeep) -> Manifest {
        let Draft { rest: mut manifest, sealed, cut } = self;
        let old = upkeep.manifest.sealed().get(sealed).unwrap_or_default();
        let mut segments = Vec::with_capacity(old.len() + manifest.segments.len());
        segments.extend_from_slice(old);
        if let (Some(last), Some(cut)) = (segments.last_mut(), cut) {
            // In its window, or behind its end.
            last.end = last.end.min(cut);
        }
        segments.append(&mut manifest.segments);
        manifest.segments = segments;
        manifest
    }
}

impl Engine {
    /// Replaces the manifest. `Poisoned`: which of the two stands is unknown. With any other error nothing has changed.
    pub(super) fn write_manifest(&self, upkeep: &mut Upkeep, change: &Change<'_>) -> Result<()> {
        // The append lock is not held across the system calls, nor while what it does not guard is copied.
        let mut tail = self.tail.lock();
        let draft = self.compose(upkeep, change, &tail);
        // Who comes to stand somewhere from here on has not been asked.
        let before = tail.notes.floor;
        if change.checkpoint.is_some() {
            let kept = draft.first(upkeep).map_or(0, |entry| entry.base + DATA_START);
            tail.notes.floor = before.max(kept.min(draft.rest.checkpoint));
        }
        drop(tail);
        // What gives space back, or ends the use of the log, may spend the reserve; a new segment may not.
        let reserve = change.checkpoint.is_some() || change.clean_end.is_some() || change.recycled;
        self.store(upkeep, draft, reserve)
            .inspect_err(|_| self.tail.lock().notes.floor = before)?;
        self.loosen_sealed(upkeep);
        Ok(())
    }

    /// Sealed for good: open from now on only while someone reads. Not under the append lock.
    pub(super) fn loosen_sealed(&self, upkeep: &mut Upkeep) {
        let sealed = upkeep.manifest.sealed().last().map_or(0, |entry| entry.id);
        let newer = self.catalog.newer_than(upkeep.loosened);
        newer.iter().take_while(|slot| slot.identity().id <= sealed).for_each(|slot| slot.loosen());
        upkeep.loosened = upkeep.loosened.max(sealed);
    }

    /// The same, with the tail locked by the caller until the manifest is durable.
    pub(super) fn write_manifest_locked(
        &self,
        upkeep: &mut Upkeep,
        change: &Change<'_>,
        tail: &Tail,
    ) -> Result<()> {
        let draft = self.compose(upkeep, change, tail);
        self.store(upkeep, draft, true)
    }

    fn store(&self, upkeep: &mut Upkeep, draft: Draft, reserve: bool) -> Result<()> {
        let manifest = draft.finish(upkeep);
        let directory = &*self.files.directory;
        manifest::write(directory, &manifest, reserve)
            .map_err(|e| self.health.unless_unchanged(e))?;
        manifest::put_in_place(directory).map_err(|e| self.health.poison(e))?;
        upkeep.stock.generation = manifest.generation;
        self.note_sealed(upkeep, &manifest);
        upkeep.manifest = manifest;
        Ok(())
    }

    /// Under the append lock: so it looks at no segment that the durable manifest calls sealed already.
    fn compose(&self, upkeep: &Upkeep, change: &Change<'_>, tail: &Tail) -> Draft {
        let durable = self.durable();
        let old = upkeep.manifest.sealed();
        let mut segments: Vec<Entry> = Vec::new();
        // A cut makes all of them durable: what a note says holds whichever records are cut.
        let cut = change.anew || change.cut.is_some();
        let mut notes = tail.notes.as_of(if cut { u64::MAX } else { durable });
        change.note.into_iter().for_each(|note| notes.apply(note));
        if let Some(there) = change.there(tail) {
            notes.move_consumers(&there);
        }
        let checkpoint = self.checkpoint.load(std::sync::atomic::Ordering::Acquire);
        let checkpoint = change.checkpoint.map_or(checkpoint, |to| {
            let slowest = tail.notes.slowest(durable).filter(|_| change.asks);
            to.min(slowest.unwrap_or(u64::MAX)).max(checkpoint)
        });
        let free_below =
            change.checkpoint.map(|_| checkpoint.min(notes.archived.unwrap_or(u64::MAX)));
        // The first that is not sealed is called active, whoever is appended to by now: recovery
        // starts there and follows the end frames.
        let open_state = |segments: &[Entry]| match segments.last().map(|entry| entry.state) {
            None | Some(State::Sealed) => State::Active,
            Some(State::Active | State::Ready) => State::Ready,
        };
        let freed = old.partition_point(|entry| free_below.is_some_and(|free| entry.end <= free));
        let kept = old.partition_point(|entry| change.cut.is_none_or(|cut| entry.base < cut));
        let (sealed, slots) = match change.anew {
            true => (0..0, Vec::new()),
            false => {
                let newest = old.last().map_or(0, |entry| entry.id);
                (freed..kept, self.catalog.newer_than(newest))
            }
        };
        for slot in slots {
            let identity = slot.identity();
            let end = match (slot.end(), change.cut) {
                (_, Some(cut)) if cut <= identity.base => continue,
                (_, Some(cut)) if cut <= slot.limit() => Some(cut),
                (end, Some(_)) => end,
                // A seal says that everything below the end was synced.
                (end, None) => end.filter(|end| *end <= durable),
            };
            match end {
                Some(end) if free_below.is_some_and(|free| end <= free) => {}
                Some(end) => segments.push(files::entry(identity, State::Sealed, end)),
                None => segments.push(files::entry(identity, open_state(&segments), 0)),
            }
        }
        let ready = tail.ready.iter().chain(change.ready);
        for writer in ready {
            segments.push(files::entry(writer.segment().identity(), open_state(&segments), 0));
        }
        let durable = match tail.ready.front() {
            Some(next) if change.anew || change.cut.is_some() => next.lsn(),
            _ => durable,
        };
        let checkpoint = if change.anew { durable } else { checkpoint };
        let rest = Manifest {
            log_id: self.files.log_id,
            generation: upkeep.stock.generation + 1,
            checkpoint,
            durable,
            next_id: upkeep.stock.next_id,
            next_base: upkeep.stock.next_base,
            clean_end: change.clean_end,
            segments,
            notes,
            noted: durable,
        };
        Draft { rest, sealed, cut: change.cut }
    }
}
