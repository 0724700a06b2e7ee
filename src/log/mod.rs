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
    engine: Arc<Engine>,
    worker: Worker,
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
        let engine = Arc::new(engine);
        let worker = Worker::start(&engine)?;
        engine.signal.wake();
        Log { engine, worker, recovery }.watched()
    }
}

impl Log {
    /// Delivers what recovery had to report.
    fn watched(self) -> Result<Log> {
        let delivery = &self.engine.health.delivery;
        if delivery.is_watched() {
            delivery.start(&self.engine)?;
            delivery.drain();
        }
        Ok(self)
    }

    fn stop_threads(&self) {
        self.worker.stop(&self.engine);
        self.engine.health.syncer.stop();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // As a crash: nothing is synced or written. The lock goes explicitly, since a child that is
        // just being forked holds a copy of the descriptor.
        if self.engine.close_to_appends() {
            self.stop_threads();
            // A consumer may be making a segment.
            drop(self.engine.upkeep.lock());
            // A ticket outlives its log, and the thread that waits for it may be the one that syncs.
            self.engine.end_for_good(false);
            self.engine.tell_all();
            self.engine.health.delivery.drain();
            drop(self.engine.unlock());
        }
        self.engine.health.delivery.stop();
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
