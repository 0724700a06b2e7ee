//! What everyone does with a [`Log`]: open, append, commit, read, checkpoint, close.

use std::ops::{Bound, RangeBounds};
use std::path::Path;

use super::{Log, Reclaimed, Record, Recovery, Replay, Stats};
use crate::Lsn;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::options::Options;

impl Log {
    /// Opens the log in `dir` with the default [`Options`]; creates it, and each directory on the way to it, if there is none.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path().join("log"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(dir: impl AsRef<Path>) -> Result<Log> {
        Options::new().open(dir)
    }

    /// Appends a record: its LSN. **Not durable yet**; it can be read at once and survives the process
    /// being killed, and so does all before it. While the segment has room, a small record among many between two commits is
    /// a store without a system call. Where that costs more, a record goes in by one `pwrite`: of a page or more; if
    /// only a few are committed together; or right after bulk, until the worker has prepared what comes next
    /// ([`WriteMethod`](crate::WriteMethod)).
    ///
    /// # Errors
    ///
    /// Nothing was appended: [`Error::RecordTooLarge`]; [`Error::Full`] if there is no room for the next
    /// segment; [`Error::Io`] if it could not be made, for instance for want of a descriptor: try again;
    /// [`Error::Poisoned`]; [`Error::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let first = log.append(b"one")?;
    /// assert!(first < log.append(b"two")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append(&self, payload: &[u8]) -> Result<Lsn> {
        self.engine.here()?.append(payload)
    }

    /// Appends records as one: after a crash all of them are there or none. Their LSNs. Not durable yet.
    ///
    /// # Errors
    ///
    /// As [`append`](Log::append), and [`Error::BatchTooLarge`] if they do not fit in one segment.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let lsns = log.append_batch(&["debit", "credit"])?;
    /// log.commit_to(lsns[1])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_batch<P: AsRef<[u8]>>(&self, payloads: &[P]) -> Result<Vec<Lsn>> {
        self.engine.here()?.append_batch(payloads)
    }

    /// Appends a record and waits until it is durable; shares the sync with other threads.
    ///
    /// # Errors
    ///
    /// As [`append`](Log::append) and [`commit_to`](Log::commit_to). After `Poisoned` the record may
    /// or may not be there when the log is opened anew.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let lsn = log.append_durable(b"paid")?;
    /// assert!(lsn < log.durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_durable(&self, payload: &[u8]) -> Result<Lsn> {
        self.engine.here()?.append_durable(payload)
    }

    /// Waits until all that was appended before this call is durable; [`durable`](Log::durable) after it.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] after a failed sync, this one or an earlier; [`Error::Gone`] if another thread
    /// cut the end of the log away before it was durable; [`Error::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// assert_eq!(log.commit()?, log.end());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit(&self) -> Result<Lsn> {
        self.engine.here()?.commit()
    }

    /// Waits until the record at `lsn`, and all before it, is durable. So too for the LSN of a note, which
    /// [`set_metadata`](Log::set_metadata) or [`Consumer::ack`](crate::Consumer::ack) returned.
    ///
    /// What was durable once is Ok, also after a checkpoint or a cut has let go of it; and a note is Ok after any cut, which
    /// makes it durable. An LSN below the end at which there is no record is Ok once all before it is durable.
    ///
    /// # Errors
    ///
    /// As [`commit`](Log::commit); [`Error::OutOfRange`] beyond the end; [`Error::Gone`] if the record was cut away
    /// before it was durable. What was already missing when this instance opened the log is `Gone` too: nothing
    /// says whether it was lost in a crash, cut away or checkpointed. After more than 1,024 such cuts in one
    /// instance, a record that was durable between two of the oldest and has left the log may be `Gone`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let lsn = log.append(b"one")?;
    /// log.commit_to(lsn)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit_to(&self, lsn: Lsn) -> Result<()> {
        self.engine.here()?.commit_to(lsn)
    }

    /// The first position that can be read: the start of the oldest segment kept.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// assert!(log.head() <= log.durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn head(&self) -> Lsn {
        self.engine.head()
    }

    /// Everything below survives a power cut.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// assert!(log.durable() <= log.end());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.engine.durable()
    }

    /// Everything below has been appended; the next record's LSN is here or beyond.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let end = log.end();
    /// assert!(log.append(b"one")? >= end);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.engine.end()
    }

    /// The newest checkpoint: nothing below is needed. Zero if there was none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// assert_eq!(log.checkpoint_lsn(), duralog::Lsn::MIN);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn checkpoint_lsn(&self) -> Lsn {
        self.engine.checkpoint()
    }

    /// All records from the head to the end as of now, durable or not. After [`close`](Log::close): one
    /// [`Error::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// assert_eq!(log.replay().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay(&self) -> Replay<'_> {
        Replay::all(&self.engine)
    }

    /// The records from the first at or after `from` to the end as of now.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] below the head, unless no record has gone between them (the checkpoint and what lies above
    /// it can always be read from), or beyond the end; [`Error::Corrupt`] or [`Error::Io`] if the
    /// first record cannot be found; [`Error::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// let two = log.append(b"two")?;
    /// assert_eq!(log.replay_from(two)?.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay_from(&self, from: Lsn) -> Result<Replay<'_>> {
        Replay::of(&self.engine, Some(from), None)
    }

    /// The records whose LSN lies in `range`, for instance `..log.durable()`.
    ///
    /// # Errors
    ///
    /// As [`replay_from`](Log::replay_from).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append_durable(b"durable")?;
    /// log.append(b"not yet")?;
    /// assert_eq!(log.replay_range(..log.durable())?.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay_range(&self, range: impl RangeBounds<Lsn>) -> Result<Replay<'_>> {
        let after = |lsn: &Lsn| Lsn::new(lsn.get().saturating_add(1));
        let from = match range.start_bound() {
            Bound::Included(lsn) => Some(*lsn),
            Bound::Excluded(lsn) => Some(after(lsn)),
            Bound::Unbounded => None,
        };
        let to = match range.end_bound() {
            Bound::Included(lsn) => Some(after(lsn)),
            Bound::Excluded(lsn) => Some(*lsn),
            Bound::Unbounded => None,
        };
        Replay::of(&self.engine, from, to)
    }

    /// The record at `lsn`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::NotARecord`], [`Error::Gone`], [`Error::Corrupt`], [`Error::Io`],
    /// [`Error::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let lsn = log.append(b"one")?;
    /// assert_eq!(log.read(lsn)?.payload(), b"one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(&self, lsn: Lsn) -> Result<Record> {
        self.engine.here()?.read(lsn)
    }

    /// Says that no record before `lsn` is needed any more, durably, and gives whole segments below it
    /// back: some are recycled, the rest deleted, none that a reader holds. If all that was appended lies
    /// below, the active segment is sealed and goes too. A checkpoint below the present one changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NotDurable`] beyond [`durable`](Log::durable); [`Error::Full`] if not even the
    /// reserve is enough for a manifest, [`Error::Io`] if none could be made: nothing changed; [`Error::Poisoned`];
    /// [`Error::Closed`]. A file that cannot be removed yet is no error: it is tried again in the background.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append_durable(b"one")?;
    /// log.checkpoint(log.durable())?;
    /// assert_eq!(log.replay().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint(&self, lsn: Lsn) -> Result<Reclaimed> {
        self.engine.here()?.checkpoint(lsn)
    }

    /// Seals the active segment, unless it is empty, and goes on in the next; [`end`](Log::end) after it.
    ///
    /// # Errors
    ///
    /// Nothing changed: [`Error::Full`], [`Error::Io`]. [`Error::Poisoned`], [`Error::Closed`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// log.roll()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn roll(&self) -> Result<Lsn> {
        self.engine.here()?.roll()
    }

    /// Cuts the log back: the record at `lsn` is the last one kept. Durable on Ok, and all that is kept
    /// is durable too; what was cut never comes back, and its LSNs are never used again. Replays that
    /// had begun may still see it. A [`Consumer`](crate::Consumer) that stood further stands at the new end from then on.
    ///
    /// # Errors
    ///
    /// Nothing changed: [`Error::OutOfRange`] below the head or the checkpoint or beyond the end,
    /// [`Error::NotARecord`], [`Error::InsideBatch`], [`Error::Gone`], [`Error::Corrupt`], [`Error::Full`],
    /// [`Error::Io`], [`Error::Closed`]. With [`Error::Poisoned`] the cut may or may not stand when the log is opened anew.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// let keep = log.append(b"keep")?;
    /// log.append(b"undo")?;
    /// log.truncate_after(keep)?;
    /// assert_eq!(log.replay().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn truncate_after(&self, lsn: Lsn) -> Result<()> {
        self.engine.here()?.truncate_after(lsn)
    }

    /// What open found.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// assert_eq!(log.recovery().tail, duralog::Tail::Clean);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Positions and counters as of now. In a child that inherited the log the positions are those of the fork, and all
    /// counters 0.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// assert_eq!(log.stats().appends, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.here().map_or_else(|_| Stats::at_fork(&self.engine), |engine| engine.stats())
    }

    /// Commits everything, records that the log was closed cleanly, and releases the lock. Later calls
    /// are [`Error::Closed`]. A second close does nothing. Records that were read stay valid, whatever a later log
    /// in this process does to their files; another process that opens the log may recycle them.
    ///
    /// Waits until every event and callback that was queued by then was delivered (to [`Observer`](crate::Observer) and by
    /// [`on_durable`](Log::on_durable)), unless one of them makes the call. So hold no lock here that one of them takes; the
    /// same holds of dropping a log.
    ///
    /// If the last append failed half-way, with `pwrite` on a full disk, the next open finds the log unclean.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] with the failure that ended this instance, [`Error::Full`] or [`Error::Io`]. The lock is
    /// released all the same, and the next open recovers the log as after a crash.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// log.close()?;
    /// assert!(matches!(log.append(b"two"), Err(duralog::Error::Closed)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> Result<()> {
        let engine = self.engine.here()?;
        if !engine.close_to_appends() {
            return Ok(());
        }
        let closed = engine.sync_and_record_end(|| engine.stop_threads());
        engine.end_for_good(closed.is_ok());
        // A callback may itself wait for a ticket: all are told first. What an event says of a segment is true while it
        // is delivered, so the lock of the directory goes afterwards.
        engine.tell_all();
        engine.health.delivery.drain();
        let unlocked = engine.unlock();
        closed.and(unlocked)
    }
}
