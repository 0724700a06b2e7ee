//! What the log gives up by itself: sealed segments beyond so many bytes or so old, and what a hard cap on bytes asks for.
//!
//! Each is a checkpoint at the end of the last segment that goes, as a user's would be: one manifest, then the files.

use std::time::{Duration, SystemTime};

use super::catalog::Slot;
use super::engine::{Engine, Upkeep};
use crate::error::{Error, Limit, Result};
use crate::format::MAX_LSN;
use crate::options::{Options, Retention, WhenFull};
use crate::segment::file_name;
use crate::storage::Access;

/// How often what may have become too old, or been acknowledged, is looked at.
const EVERY: Duration = Duration::from_secs(60);
const AT_LEAST: Duration = Duration::from_millis(50);
impl Options {
    /// Keeps this many bytes of sealed segments: the background gives up the oldest ones beyond, whole, by moving the
    /// [checkpoint](crate::Log::checkpoint) to where the last of them ends. Counted are the sizes of their files; the
    /// active segment, the one that is ready and the spare ones come on top. Default: no limit; 0 keeps no sealed segment.
    ///
    /// Only what is durable goes, and nothing that a [consumer](crate::Log::consumer) has not acknowledged, durably, or
    /// that is not [archived](crate::Log::archived_up_to): who holds the log back is told by
    /// [`blockers`](crate::Log::blockers), and [`max_bytes`](Options::max_bytes) goes past consumers. A segment that a
    /// reader holds leaves the log at once, its file when the reader lets go. Looked at when a segment is full, and once a
    /// minute.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Options::new().retain_bytes(10 << 30).open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retain_bytes(mut self, bytes: u64) -> Options {
        self.retention.bytes = Some(bytes);
        self
    }

    /// Gives up sealed segments whose last record is older than `age`, as [`retain_bytes`](Options::retain_bytes) does
    /// those beyond some bytes: whichever of the two comes first. Default: no limit.
    ///
    /// The oldest segments go first, whole, so a record stays for at least `age`, and for as long as its segment takes to
    /// fill beyond that: [`roll`](crate::Log::roll) ends one that fills slowly. Looked at every quarter of `age`, at least
    /// once a minute.
    ///
    /// A segment's age counts from when it was full. Of one that an earlier instance of the log filled the file's modification
    /// time tells, by the system's clock: a clock set forward makes all of these older. A restored copy has the times that
    /// the copy has, so one that does not keep them begins anew. After a power cut a file's time may lag behind its last
    /// write by as much as the file system takes to write times: seconds, with the mount option `lazytime` up to a day.
    /// Where files have no time (a simulated disk) none of these is too old.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// let week = Duration::from_secs(7 * 24 * 3600);
    /// let log = duralog::Options::new().retain_age(week).open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retain_age(mut self, age: Duration) -> Options {
        self.retention.age = Some(age);
        self
    }

    /// A hard cap on the bytes of all segment files together: sealed, active, ready, spare, and out of the log but held by
    /// a reader. No file is made that would pass it. MANIFEST, WATERMARK and RESERVE (512 KiB) come on top. Default: no
    /// cap. Range: at least three segments, or opening fails with [`Error::InvalidOption`].
    ///
    /// With [`WhenFull::Refuse`] an append that would need a new file fails with [`Error::Full`] of
    /// [`Limit::MaxBytes`]; nothing was appended, and after a checkpoint that reclaims a segment appends go on.
    ///
    /// With [`WhenFull::DropOldest`] the oldest segments that are durable go instead, as many as it takes, as by a
    /// [checkpoint](crate::Log::checkpoint) where they end: past consumers, which then find their position
    /// [gone](Error::Gone), as followers do. An append that comes to it first syncs what is not durable yet. What is not
    /// [archived](crate::Log::archived_up_to) stays, and a file that a reader (or an [observer](Options::observer)) holds
    /// cannot go: if giving up all that can go would not be enough, nothing is given up and appends fail with
    /// [`Error::Full`] until they let go.
    ///
    /// Opening is never refused: one after a crash needs a new segment to go on in, and makes it, so that it may pass the
    /// cap by that one; so may a log be past it that was made with a higher cap. Then it gives up its spare files, and with
    /// `DropOldest` its oldest segments, in the background. [`reset_to`](crate::Log::reset_to) needs room for one segment
    /// while the old ones are still there.
    ///
    /// ```
    /// use duralog::{Options, WhenFull};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(64 << 10).max_bytes(256 << 10, WhenFull::DropOldest);
    /// let log = options.open(dir.path())?;
    /// for _ in 0..100 {
    ///     log.append(&[7; 10_000])?; // about four times the cap
    /// }
    /// assert!(log.head() > duralog::Lsn::MIN);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_bytes(mut self, bytes: u64, when_full: WhenFull) -> Options {
        self.retention.cap = Some((bytes, when_full));
        self
    }
}

impl Engine {
    /// How long the worker waits at most. Time does not pass under the model checker.
    pub(super) fn retains_every(&self) -> Option<Duration> {
        let Retention { bytes, age, .. } = self.files.options.retention;
        if cfg!(shuttle) || bytes.is_none() && age.is_none() {
            return None;
        }
        Some(age.map_or(EVERY, |age| (age / 4).clamp(AT_LEAST, EVERY)))
    }

    /// Where the checkpoint goes by itself, if it does: to the end of the last sealed segment that is to go.
    pub(super) fn expired(&self) -> Option<u64> {
        let Retention { bytes, age, .. } = self.files.options.retention;
        if bytes.is_none() && age.is_none() {
            return None;
        }
        let free = self.free_to().min(self.slowest().unwrap_or(MAX_LSN));
        let durable = self.durable();
        let mut kept = self.catalog.bytes_below(durable);
        let mut to = None;
        for slot in self.catalog.oldest() {
            let Some(end) = slot.end().filter(|end| *end <= durable) else { break };
            let is_beyond = bytes.is_some_and(|bytes| kept > bytes);
            let goes = is_beyond || age.is_some_and(|age| self.is_older(&slot, age));
            if end > free || !goes {
                break;
            }
            to = Some(end);
            kept -= slot.identity().size;
        }
        to
    }

    /// Below it segments may go: it is durable, and archived, and no sync that is under way holds a file.
    fn free_to(&self) -> u64 {
        let durable = self.durable();
        let tail = self.tail.lock();
        let archived = tail.notes.as_of(durable).archived;
        // All records of a rolled one may be durable before the sync that lets go of it.
        let unsynced = tail.unsynced.first().map(|segment| segment.base());
        durable.min(archived.unwrap_or(MAX_LSN)).min(unsynced.unwrap_or(MAX_LSN))
    }

    /// A file whose time cannot be read, or lies ahead, is not too old: what is kept too long can still go. Nor does every
    /// file system set it for what is stored through a mapping (tmpfs does not), so it tells of earlier instances alone.
    fn is_older(&self, slot: &Slot, age: Duration) -> bool {
        if let Some(ended) = slot.ended_for() {
            return ended > age;
        }
        let file = self.files.directory.open(&file_name(slot.identity().id), Access::Read);
        let modified = file.and_then(|file| file.status()).ok().and_then(|s| s.modified);
        let now = SystemTime::now();
        modified.is_some_and(|at| now.duration_since(at).is_ok_and(|since| since > age))
    }

    /// Makes room below the cap: for the next segment, or for what is there. `Full`: there is none, and nothing of the log
    /// was given up.
    pub(super) fn make_room(&self, upkeep: &mut Upkeep, next: bool) -> Result<()> {
        let Some((cap, when_full)) = self.files.options.retention.cap else { return Ok(()) };
        let mut least = u64::MAX;
        loop {
            let others = self.segment_bytes(upkeep);
            let stock = &mut upkeep.stock;
            let spare = self.files.trim(stock, others);
            let new = if next && stock.pool.is_empty() {
                self.files.options.segment_size
            } else {
                0 // it takes a spare file
            };
            let over = (others + spare + new).saturating_sub(cap);
            if over == 0 {
                return Ok(());
            }
            let lsn = match when_full {
                WhenFull::DropOldest => self.droppable(upkeep, over),
                WhenFull::Refuse => None,
            };
            // What went must have made room: a file that cannot be removed, or that a reader was faster to hold, does not.
            let lsn = lsn.filter(|_| over < std::mem::replace(&mut least, over));
            let Some(lsn) = lsn else { return Err(self.cap_is_met(cap)) };
            self.free_below(upkeep, Some(lsn), false)?;
        }
    }

    /// Where to checkpoint so that files of `over` bytes go. None: not so many can, and nothing is to be given up for
    /// nothing.
    fn droppable(&self, upkeep: &Upkeep, over: u64) -> Option<u64> {
        let free = self.free_to();
        // An observer holds a segment until it has been told of its seal.
        let told = |slot: &Slot| {
            !self.health.delivery.is_watched() || slot.identity().id <= upkeep.newest_sealed
        };
        let mut bytes = 0;
        for slot in self.catalog.oldest() {
            let end = slot.end().filter(|end| *end <= free)?;
            if !slot.is_read() && told(&slot) {
                bytes += slot.identity().size;
            }
            if bytes >= over {
                return Some(end);
            }
        }
        None
    }

    /// Bytes of all segment files but the spare ones.
    fn segment_bytes(&self, upkeep: &Upkeep) -> u64 {
        // With the tail, so that no roll moves one from the ready ones to the catalog meanwhile.
        let tail = self.tail.lock();
        let ready: u64 = tail.ready.iter().map(|ready| ready.segment().identity().size).sum();
        let in_log = self.catalog.bytes();
        drop(tail);
        ready + in_log + upkeep.retired.iter().map(|slot| slot.identity().size).sum::<u64>()
    }

    fn cap_is_met(&self, cap: u64) -> Error {
        let what = format!("no room below {cap} bytes for another segment");
        Error::full(Limit::MaxBytes, "max_bytes", self.files.directory.path(), what)
    }

    /// Whether the oldest segments are given up to make room.
    pub(super) fn drops_oldest(&self) -> bool {
        matches!(self.files.options.retention.cap, Some((_, WhenFull::DropOldest)))
    }

    /// At a cap that drops the oldest: what is full becomes what can go. For who takes the upkeep lock for long.
    pub(super) fn let_oldest_go(&self) -> Result<()> {
        if !self.drops_oldest() || !self.tail.lock().ready.is_empty() {
            return Ok(());
        }
        match self.provide_segment() {
            // Whoever needs the segment meets it again.
            Err(Error::Full { .. }) => Ok(()),
            provided => provided,
        }
    }

    /// Whether only a sync is missing for the oldest segment to be one that can go.
    pub(super) fn oldest_lacks_sync(&self) -> bool {
        let tail = self.tail.lock();
        tail.unsynced.first().is_some_and(|segment| segment.base() < self.catalog.head())
    }
}
