//! What the observer is told: each event is queued where it happens, and delivered by another thread (`delivery.rs`).

use std::sync::Arc;
use std::time::Duration;

use super::catalog::Slot;
use super::engine::{Engine, Upkeep};
use super::{Reclaimed, Recovery};
use crate::error::{Error, Result};
use crate::format::manifest::{Entry, Manifest, State};
use crate::observer::{Event, Observer, SealedSegment, Watcher};
use crate::segment::file_name;
use crate::{Lsn, Options};

impl Options {
    /// Sets the observer, which is told what happens to the log, from its recovery on. Default: none, which costs nothing; with
    /// one the log has a thread more, which calls it ([`Observer`]).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use duralog::{Event, Options};
    /// # let dir = tempfile::tempdir()?;
    /// let observer = |event: &Event<'_>| println!("{event:?}");
    /// let log = Options::new().observer(Arc::new(observer)).open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Options {
        self.observer = Some(Watcher::new(observer));
        self
    }
}

/// An event until it is delivered. A segment in it is held.
#[derive(Debug)]
pub(crate) enum News {
    Recovered(Box<Recovery>),
    Found(SealedSegment),
    Sealed(SealedSegment),
    Recycled { id: u64, base: u64, size: u64 },
    Removed { id: u64, base: u64, size: u64 },
    Checkpoint { lsn: Lsn, reclaimed: Reclaimed },
    CutBack { end: u64, resumes: u64 },
    Synced { durable: u64, records: u64, syncs: u64, took: Duration },
    Full(Error),
    Failed(Arc<Error>),
}

impl News {
    /// None of another error. The caller gets the error too.
    fn full(error: &Error) -> Option<News> {
        matches!(error, Error::Full { .. }).then(|| News::Full(error.copy()))
    }

    /// Takes the next event in, if both are syncs and nothing happened in between.
    pub(super) fn absorb(&mut self, next: &News) -> bool {
        let News::Synced { durable, records, syncs, took } = self else { return false };
        let &News::Synced { durable: to, records: more, syncs: others, took: longer } = next else {
            return false;
        };
        *durable = to.max(*durable);
        *records += more;
        *syncs += others;
        *took += longer;
        true
    }

    pub(super) fn event(&self) -> Event<'_> {
        match self {
            News::Recovered(recovery) => Event::Recovered(recovery),
            News::Found(segment) => Event::Found(segment),
            News::Sealed(segment) => Event::Sealed(segment),
            &News::Recycled { id, base, size } => {
                Event::Recycled { id, base: Lsn::new(base), size }
            }
            &News::Removed { id, base, size } => Event::Removed { id, base: Lsn::new(base), size },
            &News::Checkpoint { lsn, reclaimed } => Event::Checkpoint { lsn, reclaimed },
            &News::CutBack { end, resumes } => {
                Event::CutBack { end: Lsn::new(end), resumes: Lsn::new(resumes) }
            }
            &News::Synced { durable, records, syncs, took } => {
                Event::Synced { durable: Lsn::new(durable), records, syncs, took }
            }
            News::Full(error) => Event::Full(error),
            News::Failed(error) => Event::Failed(error),
        }
    }
}

impl Engine {
    /// What open found and did. `sealed`: by this recovery; the manifest that says so is durable.
    pub(super) fn tell_of_recovery(&self, recovery: &Recovery, sealed: &[Entry]) {
        if !self.health.delivery.is_watched() {
            return;
        }
        self.health.delivery.note(|| News::Recovered(Box::new(recovery.clone())));
        for slot in self.catalog.snapshot() {
            let Some(end) = slot.end() else { continue };
            let segment = self.sealed_segment(&slot, end);
            let anew = sealed.iter().any(|entry| entry.id == segment.id);
            self.health.delivery.note(|| match anew {
                true => News::Sealed(segment),
                false => News::Found(segment),
            });
        }
    }

    /// Notes the segments that this manifest, which is durable, is the first to call sealed, or to leave out below the
    /// checkpoint. Those that were cut away are neither.
    pub(super) fn note_sealed(&self, upkeep: &mut Upkeep, manifest: &Manifest) {
        for slot in self.catalog.newer_than(upkeep.newest_sealed) {
            let id = slot.identity().id;
            let end = match manifest.find(id) {
                Some(entry) if entry.state == State::Sealed => Some(entry.end),
                Some(_) => None,
                None => slot.end().filter(|end| *end <= manifest.checkpoint.min(self.durable())),
            };
            let Some(end) = end else { break };
            upkeep.newest_sealed = id;
            self.health.delivery.note(|| News::Sealed(self.sealed_segment(&slot, end)));
        }
    }

    /// The next segment could be made, or not.
    pub(super) fn note_provided(&self, upkeep: &mut Upkeep, provided: &Result<()>) {
        let full = provided.as_ref().err().and_then(News::full);
        let is_full = full.is_some();
        if let Some(note) = full.filter(|_| !upkeep.full) {
            self.health.delivery.note(|| note);
        }
        upkeep.full = is_full;
    }

    fn sealed_segment(&self, slot: &Slot, end: u64) -> SealedSegment {
        let identity = slot.identity();
        SealedSegment {
            id: identity.id,
            base: Lsn::new(identity.base),
            size: identity.size,
            end: Lsn::new(end),
            salt: identity.salt,
            path: self.files.directory.path().join(file_name(identity.id)),
            hold: slot.hold(),
        }
    }
}
