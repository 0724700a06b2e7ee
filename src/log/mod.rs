//! [`Log`]: the engine behind its public face.

// First, since the documentation of `Log` lists its methods in this order.
mod handle;

mod append;
mod blockers;
mod catalog;
mod change;
mod close;
mod commit;
mod consumer;
mod contain;
mod delivery;
mod engine;
mod files;
mod find_end;
mod follow;
mod fork;
mod gather;
mod lost;
mod meter;
mod notes;
#[cfg(feature = "sim")]
mod on_sim;
mod read;
mod recover;
mod reset;
mod retain;
mod retention;
mod stats;
mod syncer;
mod tell;
mod ticket;
mod upkeep;
mod waiters;
mod worker;

use std::path::Path;
use std::sync::Arc;

pub use blockers::{Blocker, Holder};
pub use consumer::{Consumer, ConsumerInfo};
use engine::Engine;
pub use follow::{Follower, Following};
use fork::Handle;
#[cfg(feature = "histograms")]
pub use meter::{Histogram, Histograms};
pub use read::{Record, Replay};
pub use recover::{LogTail as Tail, Recovery};
pub use stats::Stats;
pub use ticket::Durable;
use worker::Worker;

use crate::error::{Error, Result};
use crate::options::Options;

/// A log, open for appending by this instance alone. `Send` and `Sync`: share it by reference or `Arc`.
///
/// Dropping it without [`close`](Log::close) is a crash that loses nothing committed.
///
/// # Fork
///
/// A log belongs to the process that opened it. In a child that forked without `exec`, every call on a handle it inherited (this
/// one, a [`Consumer`], a [`Durable`], a [`Follower`], a [`Replay`]) is [`Error::Forked`], before any lock is taken. Dropping
/// one there does nothing: it writes nothing, releases no lock and waits for no thread. [`Record`]s that were read before the
/// fork stay readable, whatever the parent does to their files afterwards. [`head`](Log::head), [`durable`](Log::durable),
/// [`end`](Log::end), [`checkpoint_lsn`](Log::checkpoint_lsn) and the positions in [`stats`](Log::stats) stay as they were at
/// the fork.
///
/// Opening the log in the child is [`Error::Locked`] until the parent has closed it. The
/// [guide](https://docs.rs/duralog) says more in its chapter *What the process and the operator may do*.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let log = duralog::Log::open(dir.path())?;
/// let lsn = log.append(b"hello")?; // in order, readable, survives the process
/// log.commit_to(lsn)?; // survives a power cut
/// for record in &log {
///     assert_eq!(record?.payload(), b"hello");
/// }
/// log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Log {
    engine: Handle,
    recovery: Recovery,
}

/// What a checkpoint gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reclaimed {
    /// Segments recycled or deleted by this call; those that a reader holds follow when it lets go.
    pub segments: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

impl Options {
    /// Opens the log in `dir` with these options, and recovers it if it was not closed.
    ///
    /// On Ok, every record that will be read is durable. A clean log is opened without reading
    /// its records; else the segments that were not sealed are read.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`], [`Error::Locked`], [`Error::NoLog`], [`Error::NotALog`], [`Error::Linked`],
    /// [`Error::UnsupportedFormat`], [`Error::Corrupt`], [`Error::Full`], [`Error::Io`], and
    /// [`Error::Cancelled`] by [`progress`](Options::progress). No record is lost by any of them, and with `Corrupt`, `Linked`
    /// and `Cancelled` nothing was changed.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Options::new().segment_size(1 << 20).open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Log> {
        let (engine, recovery) = recover::open(self, dir.as_ref())?;
        Log::start(engine, recovery, true)
    }
}

impl Log {
    /// `background`: with the thread that works for it.
    fn start(engine: Engine, recovery: Recovery, background: bool) -> Result<Log> {
        // Whole before its first thread: if a later one cannot be started, the drop ends the first and gives up the lock.
        let log = Log { engine: Handle::new(Arc::new(engine)), recovery };
        let engine = log.engine.here()?;
        if background {
            Worker::start(engine)?;
            engine.signal.wake();
        }
        // What recovery had to report.
        let delivery = &engine.health.delivery;
        if delivery.is_watched() {
            delivery.start(engine)?;
            delivery.drain();
        }
        Ok(log)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // In a child it is not the child's to end.
        let Ok(engine) = self.engine.here() else { return };
        // As a crash: nothing is synced or written. The lock goes explicitly, since a child that is
        // just being forked holds a copy of the descriptor.
        if engine.close_to_appends() {
            engine.stop_threads();
            // A consumer may be making a segment.
            drop(engine.upkeep.lock());
            // A ticket outlives its log, and the thread that waits for it may be the one that syncs.
            engine.end_for_good(false);
            engine.tell_all();
            engine.health.delivery.drain();
            drop(engine.unlock());
        }
        engine.health.delivery.stop();
    }
}

impl<'a> IntoIterator for &'a Log {
    type Item = Result<Record>;
    type IntoIter = Replay<'a>;

    fn into_iter(self) -> Replay<'a> {
        self.replay()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Log>();
    shared::<Record>();
    shared::<Error>();
};
