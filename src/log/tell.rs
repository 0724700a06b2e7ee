//! Telling the observer, with no lock held.
//!
//! What happens under the upkeep lock is noted in a queue and told when that lock is given up ([`Engine::keep_up`]). One
//! thread tells at a time, so that the order is kept; what others note meanwhile it tells too. The lock of the queue
//! comes after all others, and is held for a push or a pop.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use super::catalog::Slot;
use super::engine::{Engine, Upkeep};
use super::{Reclaimed, Recovery};
use crate::error::{Error, Result};
use crate::format::manifest::{Entry, Manifest, State};
use crate::observer::{Event, Observer, SealedSegment, Watcher};
use crate::segment::file_name;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::{self, ThreadId};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::{Lsn, Options};

impl Options {
    /// Who is told what happens to the log, from its recovery on. Default: no one, which costs nothing.
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

/// An event until it is told. A segment in it is held.
#[derive(Debug)]
pub(crate) enum News {
    Recovered(Box<Recovery>),
    Found(SealedSegment),
    Sealed(SealedSegment),
    Recycled { id: u64, base: u64, size: u64 },
    Removed { id: u64, base: u64, size: u64 },
    Checkpoint { lsn: Lsn, reclaimed: Reclaimed },
    CutBack { end: u64, resumes: u64 },
    Full(Error),
    Failed(Arc<Error>),
}

impl News {
    /// None of another error. An [`std::io::Error`] cannot be cloned, and this one goes to the caller too.
    fn full(error: &Error) -> Option<News> {
        let Error::Full { limit, op, path, source } = error else { return None };
        let source = match source.raw_os_error() {
            Some(code) => std::io::Error::from_raw_os_error(code),
            None => std::io::Error::new(source.kind(), source.to_string()),
        };
        Some(News::Full(Error::Full { limit: *limit, op, path: path.clone(), source }))
    }

    fn event(&self) -> Event<'_> {
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
            News::Full(error) => Event::Full(error),
            News::Failed(error) => Event::Failed(error),
        }
    }
}

/// The observer and what it is still to be told.
#[derive(Debug)]
pub(crate) struct Audience {
    observer: Option<Watcher>,
    /// There are news: one look for those who have nothing to tell.
    noted: AtomicBool,
    failure_noted: AtomicBool,
    desk: Mutex<Desk>,
    /// With `desk`: a thread has left the observer.
    left: Condvar,
}

#[derive(Debug, Default)]
struct Desk {
    news: VecDeque<News>,
    telling: bool,
    /// Threads that are in the observer, or bound to go there.
    inside: Vec<ThreadId>,
}

impl Desk {
    fn leave(&mut self) {
        let me = thread::current().id();
        if let Some(at) = self.inside.iter().position(|id| *id == me) {
            self.inside.swap_remove(at);
        }
    }
}

impl Audience {
    pub(crate) fn new(observer: Option<Watcher>) -> Audience {
        Audience {
            observer,
            noted: AtomicBool::new(false),
            failure_noted: AtomicBool::new(false),
            desk: Mutex::default(),
            left: Condvar::default(),
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.observer.is_some()
    }

    /// Under any lock. Whoever notes also sees to it that it is told.
    pub(crate) fn note(&self, news: impl FnOnce() -> News) {
        if self.is_there() {
            let news = news();
            let mut desk = self.desk.lock();
            desk.news.push_back(news);
            self.noted.store(true, Ordering::Release);
        }
    }

    /// Tells what was noted, unless another thread is telling: then that one does.
    fn tell(&self) {
        let Some(watcher) = &self.observer else { return };
        if !self.noted.load(Ordering::Acquire) {
            return;
        }
        let mut desk = self.desk.lock();
        if desk.telling {
            return;
        }
        desk.telling = true;
        desk.inside.push(thread::current().id());
        while let Some(news) = desk.news.pop_front() {
            drop(desk);
            watcher.tell(&news.event());
            drop(news); // it may be the last to hold a segment
            desk = self.desk.lock();
        }
        self.noted.store(false, Ordering::Release);
        desk.telling = false;
        desk.leave();
        drop(desk);
        self.left.notify_all();
    }

    /// Before leadership is given up: a close from then on waits until [`synced`](Self::synced).
    pub(super) fn will_tell_of_a_sync(&self) {
        if self.is_there() {
            self.desk.lock().inside.push(thread::current().id());
        }
    }

    /// Past the queue: who leads the next sync does not tell of this one, or one thread might have to tell for ever.
    pub(super) fn synced(&self, told: Option<(u64, u64, Duration)>) {
        let Some(watcher) = &self.observer else { return };
        if let Some((durable, records, took)) = told {
            watcher.tell(&Event::Synced { durable: Lsn::new(durable), records, took });
        }
        self.desk.lock().leave();
        self.left.notify_all();
    }

    /// Until all is told, by whomever. An observer that asks for it itself does not wait for its own return.
    fn wait(&self) {
        if !self.is_there() {
            return;
        }
        let me = thread::current().id();
        let mut desk = self.desk.lock();
        loop {
            let all = desk.inside.is_empty() && desk.news.is_empty();
            if all || desk.inside.contains(&me) {
                return;
            }
            if desk.telling || desk.news.is_empty() {
                self.left.wait(&mut desk);
            } else {
                drop(desk);
                self.tell();
                desk = self.desk.lock();
            }
        }
    }
}

/// The upkeep lock. What was noted under it is told when it is given up, so no other lock may then be held.
pub(crate) struct Keeping<'a> {
    // Dropped in this order.
    upkeep: MutexGuard<'a, Upkeep>,
    _tells: Tells<'a>,
}

struct Tells<'a>(&'a Engine);

impl Drop for Tells<'_> {
    fn drop(&mut self) {
        self.0.inform();
    }
}

impl Deref for Keeping<'_> {
    type Target = Upkeep;

    fn deref(&self) -> &Upkeep {
        &self.upkeep
    }
}

impl DerefMut for Keeping<'_> {
    fn deref_mut(&mut self) -> &mut Upkeep {
        &mut self.upkeep
    }
}

impl Engine {
    /// The upkeep lock, for those who change something under it.
    pub(super) fn keep_up(&self) -> Keeping<'_> {
        Keeping { upkeep: self.upkeep.lock(), _tells: Tells(self) }
    }

    /// Tells what has happened. With no lock held.
    #[cold]
    pub(super) fn inform(&self) {
        if !self.audience.is_there() {
            return;
        }
        if let Some(cause) = self.health.failed()
            && !self.audience.failure_noted.swap(true, Ordering::AcqRel)
        {
            self.audience.note(|| News::Failed(cause));
        }
        self.audience.tell();
    }

    /// Tells the rest, before the lock of the directory goes: what is told of a segment is true while it is told.
    pub(super) fn inform_all(&self) {
        self.inform();
        self.audience.wait();
    }

    /// What open found and did. `sealed`: by this recovery; the manifest that says so is durable.
    pub(super) fn tell_of_recovery(&self, recovery: &Recovery, sealed: &[Entry]) {
        if !self.audience.is_there() {
            return;
        }
        self.audience.note(|| News::Recovered(Box::new(recovery.clone())));
        for slot in self.catalog.snapshot() {
            let Some(end) = slot.end() else { continue };
            let segment = self.sealed_segment(&slot, end);
            let anew = sealed.iter().any(|entry| entry.id == segment.id);
            self.audience.note(|| match anew {
                true => News::Sealed(segment),
                false => News::Found(segment),
            });
        }
        self.inform();
    }

    /// Notes the segments that this manifest, which is durable, is the first to call sealed, or to leave out below the
    /// checkpoint. Those that were cut away are neither.
    pub(super) fn note_sealed(&self, upkeep: &mut Upkeep, manifest: &Manifest) {
        if !self.audience.is_there() {
            return;
        }
        for slot in self.catalog.snapshot() {
            let id = slot.identity().id;
            if id <= upkeep.newest_sealed {
                continue;
            }
            let end = match manifest.segments.iter().find(|entry| entry.id == id) {
                Some(entry) if entry.state == State::Sealed => Some(entry.end),
                Some(_) => None,
                None => slot.end().filter(|end| *end <= manifest.checkpoint.min(self.durable())),
            };
            let Some(end) = end else { break };
            upkeep.newest_sealed = id;
            self.audience.note(|| News::Sealed(self.sealed_segment(&slot, end)));
        }
    }

    /// The next segment could be made, or not.
    pub(super) fn note_provided(&self, upkeep: &mut Upkeep, provided: &Result<()>) {
        let full = provided.as_ref().err().and_then(News::full);
        let is_full = full.is_some();
        if let Some(note) = full.filter(|_| !upkeep.full) {
            self.audience.note(|| note);
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
