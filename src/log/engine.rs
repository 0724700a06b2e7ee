//! The engine's state, and the rules by which its parts share it.
//!
//! Locks, always taken in this order (a thread that holds one takes only later ones):
//!
//! 1. `upkeep`: the manifest and the stock of files. Held across system calls; never by an append
//!    that has room. Who only looks at it looks at `shown`, whose lock is held for that look, with no other taken.
//! 2. leadership of the group (`commit`): who syncs. Held across a sync, as a flag, not as a lock. The lock of the
//!    flag is held for a look; by a leader that begins a sync also while it takes the next.
//! 3. `tail`: where the next record goes. Held for a copy and a checksum, never across a
//!    system call of the mmap way (a cut back is the exception).
//! 4. the catalog: which segments can be read.
//! 5. the ranges that were lost (`lost`), for a look.
//! 6. the queue of what callbacks and the observer are to be told (`delivery`). A thread of its own tells them, with no
//!    lock held.
//!
//! Tasks that wait stand behind 2 and 3 (`waiters`), and are woken with no lock held: a waker is others' code too.
//!
//! Positions only grow, also across a cut back: `head <= durable <= end`.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use super::catalog::{Catalog, Slot};
use super::commit::Group;
use super::delivery::Delivery;
use super::files::{Files, Stock};
use super::lost::Lost;
use super::meter::Meter;
use super::notes::Noted;
use super::syncer::Syncer;
use super::tell::News;
use super::waiters::Waiters;
use super::worker::{Signal, Worker};
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::segment::{Flow, Segment, SegmentWriter};
use crate::storage::is_shortage;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) files: Files,
    pub(crate) tail: Mutex<Tail>,
    /// With `tail`: what the worker filled ahead is done.
    pub(crate) filled: Condvar,
    pub(crate) catalog: Catalog,
    pub(crate) lost: Lost,
    pub(crate) group: Group,
    pub(crate) upkeep: Mutex<Upkeep>,
    pub(crate) shown: Mutex<Shown>,
    pub(crate) health: Health,
    pub(crate) signal: Signal,
    pub(crate) worker: Worker,
    pub(crate) meter: Meter,
    /// Everything below has been appended and can be read.
    pub(crate) end: AtomicU64,
    /// Everything below survives a power cut, or is not needed. Moved by `raise_durable`.
    pub(crate) durable: AtomicU64,
    /// Nothing below is needed. Moved under `upkeep`.
    pub(crate) checkpoint: AtomicU64,
}

/// Where the next record goes.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) writer: SegmentWriter,
    /// Segments to go on in, oldest first; each is in a durable manifest.
    pub(crate) ready: VecDeque<SegmentWriter>,
    /// Segments that were rolled and hold frames that no sync has covered, oldest first.
    pub(crate) unsynced: Vec<Arc<Segment>>,
    /// A pwrite failed half-way: valid frames that count for nothing may lie behind the end of this
    /// segment, so nothing but its end may be written in it.
    pub(crate) spoiled: bool,
    /// The durable LSN of the newest mark.
    pub(crate) marked: u64,
    /// What the sync before that mark covered.
    pub(crate) synced: Flow,
    /// Where the worker is woken next to sync.
    pub(crate) sync_at: u64,
    /// The worker is to be woken once the lock is given up.
    pub(crate) wake: bool,
    /// There are `waiters`: beside `wake`, which every append looks at anyway.
    pub(crate) watched: bool,
    /// Who waits for what will be published.
    pub(crate) waiters: Waiters,
    pub(crate) appends: u64,
    pub(crate) bytes: u64,
    pub(crate) notes: Box<Noted>,
}

impl Tail {
    /// What is appended between two syncs, about.
    #[inline]
    pub(crate) fn flow(&self, durable: u64) -> Flow {
        let unsynced = self.writer.lsn().saturating_sub(durable);
        Flow { bytes: self.synced.bytes.max(unsynced), ..self.synced }
    }
}

/// What changes the set of files.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) stock: Stock,
    /// Out of the log, but still held by a reader; oldest first.
    pub(crate) retired: Vec<Arc<Slot>>,
    /// When the checkpoint last moved; of an earlier instance's, when this one began.
    pub(crate) checkpointed: Instant,
    /// The durable manifest.
    pub(crate) manifest: Manifest,
    /// Id of the newest segment that it calls sealed, or that went without.
    pub(crate) newest_sealed: u64,
    /// Id of the newest segment that the engine itself has let go of, because it is sealed.
    pub(crate) loosened: u64,
    /// The observer knows that there is no room for the next segment.
    pub(crate) full: bool,
}

impl Upkeep {
    pub(crate) fn shown(&self) -> Shown {
        Shown {
            sealed: self.manifest.sealed().len() as u64,
            spare: self.stock.pool.len() as u64,
            retired: self.retired.clone(),
            checkpointed: self.checkpointed,
        }
    }
}

/// The upkeep lock. When it is given up, what it guards is shown to those who only look.
pub(crate) struct Keeping<'a> {
    upkeep: MutexGuard<'a, Upkeep>,
    shown: &'a Mutex<Shown>,
}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        // Before the lock goes, so that what is shown never goes back.
        *self.shown.lock() = self.upkeep.shown();
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

/// What is shown of `Upkeep` to those who only look: as it was when its lock was last given up.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) sealed: u64,
    pub(crate) spare: u64,
    pub(crate) retired: Vec<Arc<Slot>>,
    pub(crate) checkpointed: Instant,
}

/// Whether the log may go on: not after it was closed, and not after a failure that leaves the
/// content of the disk unknown.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Closed or poisoned: one flag for the append path to look at.
    ended: AtomicBool,
    closed: AtomicBool,
    /// How it ended, once nothing more becomes durable and the files are the next instance's: `Health::end`.
    over: AtomicU8,
    failure: OnceLock<Arc<Error>>,
    pub(crate) syncer: Syncer,
    /// Here, because poisoning the log queues the event of it.
    pub(crate) delivery: Delivery,
}

/// Dropped, or closed with a failure: what was not durable was left.
const LEFT: u8 = 1;
/// Closed, and all of it is durable.
const WHOLE: u8 = 2;

impl Health {
    pub(crate) fn new(delivery: Delivery) -> Health {
        Health { delivery, ..Health::default() }
    }

    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        if self.ended.load(Ordering::Acquire) { Err(self.why()) } else { Ok(()) }
    }

    #[cold]
    fn why(&self) -> Error {
        self.failed().map_or(Error::Closed, |cause| Error::Poisoned { cause })
    }

    /// The failure that poisoned the log. Whoever is told of it meets the end of the log from then on, also if the one
    /// that poisons has not come to say so: else an append behind an error could still succeed.
    pub(crate) fn failed(&self) -> Option<Arc<Error>> {
        let cause = self.failure.get()?;
        self.ended.store(true, Ordering::Release);
        Some(Arc::clone(cause))
    }

    /// Ends the log for good. The first failure is the one that is told.
    #[cold]
    pub(crate) fn poison(&self, error: Error) -> Error {
        if let Error::Poisoned { .. } = error {
            return error;
        }
        let mut is_first = false;
        let first = self.failure.get_or_init(|| {
            is_first = true;
            Arc::new(error)
        });
        let cause = Arc::clone(first);
        self.ended.store(true, Ordering::Release);
        if is_first {
            self.delivery.note(|| News::Failed(Arc::clone(&cause)));
        }
        self.syncer.ring();
        Error::Poisoned { cause }
    }

    /// The same, unless nothing was changed: that is an error for whoever needed it, and is tried again later.
    ///
    /// For what is done before a durable manifest counts on it: making a segment, writing a manifest before it takes its
    /// place, filling and reading ahead, the reserve. What a failed call left there is removed or replaced by the next try.
    #[cold]
    pub(crate) fn unless_unchanged(&self, error: Error) -> Error {
        if is_unchanged(&error) { error } else { self.poison(error) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nothing more becomes durable, and the files may be another's from now on.
    pub(crate) fn end(&self, whole: bool) {
        self.over.store(if whole { WHOLE } else { LEFT }, Ordering::Release);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) != 0
    }

    /// Closed with all of it durable.
    pub(crate) fn is_whole(&self) -> bool {
        self.over.load(Ordering::Acquire) == WHOLE
    }

    /// Why nothing more becomes durable.
    #[inline]
    pub(crate) fn ended(&self) -> Option<Error> {
        if self.ended.load(Ordering::Acquire) { self.why_ended() } else { None }
    }

    #[cold]
    fn why_ended(&self) -> Option<Error> {
        match self.failed() {
            Some(cause) => Some(Error::Poisoned { cause }),
            None => self.is_over().then_some(Error::Closed),
        }
    }

    /// Nothing is appended any more. False: it was closed before.
    pub(crate) fn close(&self) -> bool {
        self.ended.store(true, Ordering::Release);
        !self.closed.swap(true, Ordering::AcqRel)
    }
}

/// Whether the failed call left the log as it was. After a failed sync no one knows what the disk has, whichever file it
/// was (P6), and a write or a read that failed says that the disk is failing; but not if it had only no room, or the system no
/// descriptor, memory or mapping to give. All other calls have done nothing when they fail.
fn is_unchanged(error: &Error) -> bool {
    match error {
        Error::Full { .. } => true,
        Error::Io { op: "fdatasync" | "fsync" | "msync" | "fremovexattr", .. } => false,
        Error::Io { op: "pwrite" | "pwritev" | "pread", source, .. } => is_shortage(source),
        Error::Io { .. } => true,
        _ => false,
    }
}

impl Engine {
    /// The upkeep lock, for those who change something under it.
    pub(super) fn keep_up(&self) -> Keeping<'_> {
        Keeping { upkeep: self.upkeep.lock(), shown: &self.shown }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// About how many bytes a sync would write.
    pub(crate) fn unsynced(&self) -> u64 {
        let durable = self.durable();
        self.end().saturating_sub(durable)
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }
}
