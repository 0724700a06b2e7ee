//! Readers in other processes: [`Reader`].
//!
//! **Nothing is locked and nothing is pinned.** The writer does not know of its readers, so it may recycle, cut or remove what
//! they read. Each record is copied out of the file (`pread`), and its checksum, which is bound to the salt of this life of
//! the file and to the LSN, is checked on that copy, which is what is handed out: there is no moment between the check and the
//! use. Whatever else is seen, an end, damage, a file that is not there, counts only if a manifest that is loaded
//! afterwards still says the same of the segment (`inspect/beside`).
//!
//! **What is durable** a reader knows by the manifest and by the watermark, which the writer stores after each sync and before it
//! tells anyone: through a mapping, or where a store may be a signal by `pwrite` (`watermark.rs`). The page cache is one for all
//! processes: the reader sees it at once. Where there is no watermark (its creation met a full disk) there are the marks in
//! the log: then a record is known to be durable when the next one is appended. A position in the window of the segment that
//! is read says that all before it in that segment is durable; one in a later window says so only with a manifest loaded after
//! it, by which that segment was not cut.
//!
//! **How it learns of growth.** It sleeps on a word of the watermark (`futex(2)`, on a mapping that is for reading only: the
//! kernel knows the waiter by the file), and the writer wakes whoever sleeps there once a sync, behind its own threads. A wake
//! without anyone to wake costs the writer a system call; as a rule it is not measurable beside a sync (below). The wait is
//! bounded: every 100 ms the reader looks up the watermark and the manifest by name, since a later writer may have made them
//! anew, and since a cut or a recovery rings no bell. Who follows what is not durable looks at the next frame itself, after 50 us
//! and then ever more seldom, at last each millisecond.
//!
//! *Measured* (`benches/reader.rs`; Linux 6.18, ext4, two cores). A durable record came to a follower in another process 7 us
//! (p50; p99 19) after the commit had returned in a writer that commits without a pause; 21 (p99 190) with 1 ms between commits, 71
//! (p99 320) with 20. A published one, 1 ms after the one before, 0.13 ms (p50) after its append; after 20 ms of silence
//! 0.5 ms. A reader replays 0.67 times as fast as the writer's own process at 100 B, 0.9 at 1 KiB: it copies each byte once more.
//! The writer pays for each sync, whether or not anyone follows: the wake, 0.2 us on ext4 and 0.8 to 0.9 on xfs, btrfs and
//! tmpfs; on xfs and btrfs the `pwrite` too, 1.4 and 7 us (p10; under load several times that, as the sync itself). These are of a
//! program that does just that, not of the engine; its commits took 110 us and more.

mod follow;
mod position;
mod replay;
mod sync_stats;

use std::path::Path;
use std::sync::Arc;

pub use follow::ReaderFollower;
pub use replay::ReaderReplay;
pub use sync_stats::SyncStats;

use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::inspect::beside::{Until, Walk};
use crate::inspect::{RETRIES, open_directory, view};
use crate::options::Options;
use crate::storage::Directory;

/// A log that another process may be writing, for reading and following: takes no lock, needs no right to write, and the writer
/// goes on as if it were not there. Any number of them, in any number of processes. `Send` and `Sync`; a clone is another handle.
///
/// Its user must be able to read the files, which the log creates with mode 0600: the writer's own user, or root.
///
/// It holds nothing in the log: a checkpoint may give up what it was about to read ([`Error::Gone`]). A checkpoint at
/// the [`position`](ReaderFollower::position) of a follower, or below, takes nothing from that follower.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let log = duralog::Log::open(dir.path())?; // as a rule in another process
/// log.append_durable(b"hello")?;
///
/// let reader = duralog::Reader::open(dir.path())?;
/// for record in reader.replay()? {
///     assert_eq!(record?.payload, b"hello");
/// }
/// let mut follower = reader.follow(reader.head()?)?;
/// assert_eq!(follower.try_next()?.map(|record| record.payload), Some(b"hello".to_vec()));
/// assert_eq!(follower.try_next()?, None);
/// log.append_durable(b"again")?;
/// assert_eq!(follower.try_next()?.map(|record| record.payload), Some(b"again".to_vec()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader {
    directory: Arc<dyn Directory>,
}

impl Options {
    /// Opens the log in `dir` for reading beside whoever writes it. All options are the writer's: a reader goes by what the
    /// files say.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`], and those of [`Reader::open`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// let reader = duralog::Options::new().open_reader(dir.path())?;
    /// assert_eq!(reader.durable()?, log.durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_reader(self, dir: impl AsRef<Path>) -> Result<Reader> {
        self.validate()?;
        Reader::open(dir)
    }
}

impl Reader {
    /// Opens the log in `dir` for reading. It need not be open elsewhere, and need not have been closed cleanly.
    ///
    /// # Errors
    ///
    /// [`Error::NoLog`], [`Error::NotALog`], [`Error::UnsupportedFormat`], [`Error::Corrupt`] (the
    /// manifest), [`Error::Io`].
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let error = duralog::Reader::open(dir.path().join("none")).unwrap_err();
    /// assert!(matches!(error, duralog::Error::NoLog { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(dir: impl AsRef<Path>) -> Result<Reader> {
        Reader::open_in(Arc::new(open_directory(dir.as_ref())?))
    }

    /// Opens the log on a simulated disk, as another process would. Needs the feature `sim`.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Reader::open).
    ///
    /// ```
    /// let disk = duralog::sim::SimDisk::new(1);
    /// let log = duralog::Options::new().segment_size(16 << 10).open_on(&disk)?;
    /// log.append_durable(b"hello")?;
    /// assert_eq!(duralog::Reader::open_on(&disk)?.replay()?.count(), 1);
    /// # Ok::<(), duralog::Error>(())
    /// ```
    #[cfg(feature = "sim")]
    pub fn open_on(disk: &crate::sim::SimDisk) -> Result<Reader> {
        Reader::open_in(Arc::from(disk.directory().0))
    }

    fn open_in(directory: Arc<dyn Directory>) -> Result<Reader> {
        view::current(&*directory)?;
        Ok(Reader { directory })
    }

    /// The start of the oldest segment, as it is now. From here a replay begins.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Reader::open).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// assert_eq!(duralog::Reader::open(dir.path())?.head()?, log.head());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn head(&self) -> Result<Lsn> {
        Ok(Lsn::new(self.newest()?.head()))
    }

    /// Everything below is durable, as the manifest and the watermark say now. Without a watermark it may be more.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Reader::open).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// log.append_durable(b"one")?;
    /// log.append(b"two")?;
    /// assert_eq!(duralog::Reader::open(dir.path())?.durable()?, log.durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn durable(&self) -> Result<Lsn> {
        Ok(Lsn::new(self.newest()?.durable))
    }

    /// The end of the last record that can be read now, durable or not. Reads what is not known to be durable.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Reader::open); [`Error::Gone`] if the writer cuts the log faster than it is read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// assert_eq!(duralog::Reader::open(dir.path())?.end()?, log.end());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn end(&self) -> Result<Lsn> {
        for _ in 0..RETRIES {
            match self.end_once() {
                // A cut or a checkpoint took what the look went by: once more, of the log as it is now.
                Err(Error::Gone { .. }) => {}
                end => return end,
            }
        }
        self.end_once()
    }

    fn end_once(&self) -> Result<Lsn> {
        let view = self.newest()?;
        let durable = view.durable;
        let mut walk = Walk::new(Arc::clone(&self.directory), view, durable, Until::Published);
        while walk.next()?.is_some() {}
        Ok(Lsn::new(walk.passed().unwrap_or(0).max(durable)))
    }

    /// All records from the head to the end, durable or not: to where the log ends at some moment of the replay, which is not
    /// before now.
    ///
    /// To know the end for one, the rest of the last segment and those made ready behind it are searched for evidence
    /// of more: some 20 ms with segments of 64 MiB. A [`follow`](Reader::follow) does not.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Reader::open).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// assert_eq!(duralog::Reader::open(dir.path())?.replay()?.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay(&self) -> Result<ReaderReplay> {
        let view = self.newest()?;
        let head = view.head();
        Ok(ReaderReplay::new(Walk::new(Arc::clone(&self.directory), view, head, Until::End)))
    }

    /// The records from the first at or after `from`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] below the head and the checkpoint or beyond every segment; those of [`open`](Reader::open).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// let two = log.append(b"two")?;
    /// assert_eq!(duralog::Reader::open(dir.path())?.replay_from(two)?.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay_from(&self, from: Lsn) -> Result<ReaderReplay> {
        let view = self.newest()?;
        let from = view::from(&view, from)?;
        let walk = Walk::new(Arc::clone(&self.directory), view, from, Until::End).jumping();
        Ok(ReaderReplay::new(walk))
    }

    /// The records from the first at or after `from`, as they come: only what is durable, unless
    /// [`published`](ReaderFollower::published). To go on where an earlier follower was, in this process or another, give
    /// its [`position`](ReaderFollower::position); to begin with all there is, the [`head`](Reader::head); with what comes, the
    /// [`end`](Reader::end).
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the log no longer has what lies behind `from`, by a checkpoint, or what lies right before it, by a
    /// cut or, where it had not been durable, by a crash; [`Error::OutOfRange`] beyond every segment; [`Error::Corrupt`] or
    /// [`Error::Io`] if the segment before cannot be opened, which says whether it was cut; those of [`open`](Reader::open).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// let reader = duralog::Reader::open(dir.path())?;
    /// let mut follower = reader.follow(reader.head()?)?;
    /// log.append_durable(b"one")?;
    /// assert_eq!(follower.try_next()?.map(|record| record.payload), Some(b"one".to_vec()));
    /// let again = reader.follow(follower.position())?.try_next()?;
    /// assert_eq!(again, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follow(&self, from: Lsn) -> Result<ReaderFollower> {
        let view = position::view_from(&*self.directory, from.get())?;
        let walk = Walk::new(Arc::clone(&self.directory), view, from.get(), Until::Durable);
        Ok(ReaderFollower::new(walk, from.get()))
    }

    fn newest(&self) -> Result<Arc<Manifest>> {
        view::current(&*self.directory)
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Reader>();
    const fn sent<T: Send>() {}
    sent::<ReaderFollower>();
    sent::<ReaderReplay>();
};
