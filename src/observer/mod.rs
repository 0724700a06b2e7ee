//! [`Observer`]: what a log tells whoever watches it. Words only; who tells what, and when, is in `log/tell.rs`.

#[cfg(feature = "tracing")]
mod traced;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tracing")]
pub use traced::TracingObserver;

use crate::{Error, Lsn, Reclaimed, Recovery};

/// Receives what happens to a log: to ship sealed segments elsewhere, to watch it, to raise an alarm.
///
/// Set by [`Options::observer`](crate::Options::observer). A closure is one; so are a pair, a `Vec` and an `Arc` of
/// observers, which are told one after another.
///
/// **Thread.** One thread of the log, `duralog-events`, calls observers and the callbacks of
/// [`Log::on_durable`](crate::Log::on_durable), from one queue: never on the stack of whoever caused the event, never one
/// inside another, and with no lock of the log held. It starts with an observer or with the first callback.
///
/// **Order.** One event at a time, each once, in the order in which it happened. The event of a sync comes before the
/// callbacks of the records that the sync made durable, and those come in the order of their LSNs. Errors are returned to
/// the caller at once, while the event of one may come later: a commit can return before its [`Event::Synced`] is
/// delivered.
///
/// **Waiting.** `open` returns once what it found was delivered. [`close`](crate::Log::close), and dropping the log, wait
/// until everything that was queued by then was delivered; so hold no lock there that an observer or a callback takes.
/// Nothing else waits for an observer, with one exception: an append at a cap that
/// [drops the oldest](crate::WhenFull::DropOldest) gives the event of a seal up to a second to be delivered, because
/// the event holds the segment's file. To wait for everything so far, call `log.on_durable(log.end(), ..)`: it is refused,
/// and so called when all before it was delivered.
///
/// **Calls.** An observer or a callback may make these calls on the log, under every
/// [`SyncPolicy`](crate::SyncPolicy). While it waits, the background goes on and other threads commit, but nothing else is
/// delivered.
///
/// | call | there |
/// |---|---|
/// | `append`, `append_batch`, `read`, `replay`, `set_metadata`, `ack`, `seek`, all that only ask | as anywhere |
/// | `append_durable`, `commit`, `commit_to`, `Durable::wait`, awaiting a ticket | waits for the disk, under `Interval` a ticket for the next sync |
/// | a follower that waits | waits for records, which another thread must append |
/// | `on_durable` | queued; waiting for that callback itself never ends |
/// | `checkpoint`, `truncate_after`, `truncate_all`, `reset_to`, `roll`, `archived_up_to` | as anywhere; a segment stays held while its own event is delivered |
/// | `close`, dropping the last handle | does not wait for the queue: the lock is free when it returns, and the rest is delivered afterwards |
///
/// The log keeps its observer, so what the observer keeps of the log is a `Weak`.
///
/// **Slow observers.** Events wait in the queue, and whoever caused them goes on. The queue has no bound, but commits do not
/// make it grow: syncs between which nothing else is queued become one event. What does: a callback, each of which the
/// program itself registered; a segment (a few hundred bytes, and its file is held until
/// [`Event::Sealed`] was delivered); a checkpoint and a cut. An observer that has much to do hands it to a thread of its own.
///
/// **Panics** end there: the event counts as delivered, the log goes on, and so does the thread.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use duralog::{Event, Options};
/// # let dir = tempfile::tempdir()?;
/// let sealed = Arc::new(AtomicU64::new(0));
/// let count = Arc::clone(&sealed);
/// let observer = move |event: &Event<'_>| {
///     if let Event::Sealed(segment) = event {
///         println!("{} is complete up to {}", segment.path.display(), segment.end);
///         count.fetch_add(1, Ordering::Relaxed);
///     }
/// };
/// let log = Options::new().observer(Arc::new(observer)).open(dir.path())?;
/// log.append_durable(b"one")?;
/// log.checkpoint(log.durable())?; // seals the active segment, since all of it lies below
/// log.close()?;
/// assert_eq!(sealed.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    ///
    /// ```
    /// use duralog::{Event, Observer};
    /// struct Alarm;
    /// impl Observer for Alarm {
    ///     fn event(&self, event: &Event<'_>) {
    ///         if let Event::Failed(error) | Event::Full(error) = event {
    ///             eprintln!("call someone: {error}");
    ///         }
    ///     }
    /// }
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Options::new().observer(std::sync::Arc::new(Alarm)).open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn event(&self, event: &Event<'_>) {
        self(event);
    }
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
        self.1.event(event);
    }
}

impl<O: Observer> Observer for Vec<O> {
    fn event(&self, event: &Event<'_>) {
        self.iter().for_each(|observer| observer.event(event));
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn event(&self, event: &Event<'_>) {
        (**self).event(event);
    }
}

/// What happened. Later versions may tell more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The log was opened. The first event, told before `open` returns.
    Recovered(&'a Recovery),
    /// A segment that an earlier instance had sealed. All of them are told, oldest first, before `open` returns: so that
    /// whoever ships segments finds what a crash kept it from.
    Found(&'a SealedSegment),
    /// A segment is complete and durable: its bytes below [`end`](SealedSegment::end) never change any more. Told once for
    /// each, oldest first: when a durable manifest calls it sealed, or has left it out because a checkpoint passed
    /// it first. What recovery sealed is told before `open` returns. A segment that
    /// was cut away before it was sealed is not told.
    ///
    /// Its file stays what it is until the observer returns, and for as long as it keeps a clone of the
    /// [`SealedSegment`].
    Sealed(&'a SealedSegment),
    /// A segment is out of the log by a checkpoint or a cut, no one reads it any more, and its file is kept to become
    /// another; where [`Options::max_bytes`](crate::Options::max_bytes) wants its room it goes after all, untold. (Files of an
    /// earlier instance that open finds without a use are counted in [`Recovery::segments_removed`].)
    Recycled {
        /// Its number.
        id: u64,
        /// LSN of its first byte.
        base: Lsn,
        /// Bytes of the file.
        size: u64,
    },
    /// The same, but its file is deleted.
    Removed {
        /// Its number.
        id: u64,
        /// LSN of its first byte.
        base: Lsn,
        /// Bytes of the file.
        size: u64,
    },
    /// A checkpoint stands, durably.
    Checkpoint {
        /// Nothing below is needed.
        lsn: Lsn,
        /// What it gave back at once.
        reclaimed: Reclaimed,
    },
    /// [`truncate_after`](crate::Log::truncate_after) took the records at `end` and above out of the log, durably, or
    /// [`reset_to`](crate::Log::reset_to) or [`truncate_all`](crate::Log::truncate_all) all of them; they may lie in segments
    /// that were told to be sealed.
    CutBack {
        /// The end of the last record kept.
        end: Lsn,
        /// Where the log goes on.
        resumes: Lsn,
    },
    /// The log's records were synced. While the observer is busy, syncs between which nothing else is queued become one
    /// event. The callbacks of [`on_durable`](crate::Log::on_durable) that a sync was for are called after it.
    Synced {
        /// Everything below is durable.
        durable: Lsn,
        /// Records that became durable.
        records: u64,
        /// How many syncs it stands for, at least one.
        syncs: u64,
        /// How long the disk took for all of them.
        took: Duration,
    },
    /// There is no room for the next segment: when the active one is full, appends fail with [`Error::Full`]. Told
    /// once, until one could be made again.
    Full(&'a Error),
    /// The failure that poisons the log, whoever met it. Told once; nothing more is made durable.
    Failed(&'a Error),
}

/// A segment that is complete. Its file is neither removed nor recycled by the log that told of it while this, or
/// a clone of it, lives: copy the file in the event, or keep a clone and copy it elsewhere.
///
/// That ends with the log: the next that is opened in the directory, here or in another process, may give up
/// what lies below the checkpoint. The file may be longer than its records; behind
/// [`end`](SealedSegment::end) lies nothing that counts. Open it, and read at most `end - base` bytes;
/// [`inspect`](crate::inspect) reads such files.
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use duralog::{Event, Options, SealedSegment};
/// # let dir = tempfile::tempdir()?;
/// # let archive = tempfile::tempdir()?;
/// # let archive = archive.path().to_owned();
/// let (send, segments) = mpsc::channel::<SealedSegment>();
/// let observer = move |event: &Event<'_>| {
///     if let Event::Found(segment) | Event::Sealed(segment) = event {
///         drop(send.send((*segment).clone())); // held until it is copied
///     }
/// };
/// let shipping = std::thread::spawn(move || {
///     for segment in segments {
///         std::fs::copy(&segment.path, archive.join(format!("{}", segment.base))).unwrap();
///     }
/// });
/// let log = Options::new().observer(Arc::new(observer)).open(dir.path())?;
/// log.append_durable(b"one")?;
/// log.checkpoint(log.durable())?;
/// drop(log); // and with it the observer: the thread has all that it will get
/// shipping.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct SealedSegment {
    /// Its number; later segments have higher ones.
    pub id: u64,
    /// LSN of its first byte.
    pub base: Lsn,
    /// Bytes of the file.
    pub size: u64,
    /// Where its records end.
    pub end: Lsn,
    /// Random number of this life of the file, also in its header.
    pub salt: u64,
    /// The file.
    pub path: PathBuf,
    #[expect(dead_code, reason = "the slot of the segment counts its clones")]
    pub(crate) hold: Arc<()>,
}

impl fmt::Debug for SealedSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SealedSegment { id, base, size, end, salt, path, hold: _ } = self;
        f.debug_struct("SealedSegment")
            .field("id", id)
            .field("base", base)
            .field("size", size)
            .field("end", end)
            .field("salt", salt)
            .field("path", path)
            .finish()
    }
}

/// The observer, as the options carry it.
#[derive(Clone)]
pub(crate) struct Watcher(Arc<dyn Observer>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl Watcher {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Watcher {
        Watcher(observer)
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.0.event(event);
    }
}
