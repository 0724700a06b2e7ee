//! Looking at a log without being its writer: takes no lock, changes no byte, works beside a running
//! writer and on a damaged log.
//!
//! What it shows of a log that is open elsewhere is a moment of it: records that are not yet
//! durable may be among them, and a checkpoint may take segments away meanwhile ([`Error::Gone`]).
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! let log = duralog::Log::open(dir.path())?;
//! log.append_durable(b"hello")?;
//!
//! let inspector = duralog::inspect::Inspector::open(dir.path())?;
//! for record in inspector.records() {
//!     assert_eq!(record?.payload, b"hello");
//! }
//! assert_eq!(inspector.verify()?.records, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::frame::Kind;
use crate::format::manifest::{Manifest, State};
use crate::log::Tail;
use crate::segment::scan::{Scan, Step, Stop};
use crate::segment::verdict::{Says, Verdict, cut_of};
use crate::segment::{file_name, open_checked};
use crate::storage::{Access, Directory, Disk};
use crate::{Lsn, manifest, walk, watermark};

/// How often a walk is begun anew because a running writer changed the set of segments meanwhile.
const RETRIES: usize = 16;

/// A log, seen from outside.
#[derive(Debug)]
pub struct Inspector {
    disk: Disk,
    manifest: Manifest,
    summary: Summary,
}

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The log's random id, as 32 hexadecimal digits.
    pub log_id: String,
    /// Number of the manifest.
    pub generation: u64,
    /// Start of the oldest segment.
    pub head: Lsn,
    /// Nothing below is needed.
    pub checkpoint: Lsn,
    /// Everything below was durable when the manifest was written.
    pub durable: Lsn,
    /// Where the log was cleanly closed; none while it is open, and after a crash.
    pub clean_end: Option<Lsn>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentInfo>,
}

/// A segment, as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Name of its file.
    pub file: String,
    /// Its number.
    pub id: u64,
    /// LSN of its first byte.
    pub base: Lsn,
    /// Bytes of the file.
    pub size: u64,
    /// Random number of this life of the file.
    pub salt: u64,
    /// What it is for.
    pub state: SegmentState,
    /// Where its records end, if that is settled.
    pub end: Option<Lsn>,
}

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentState {
    /// Made ahead, to be appended to after the active one.
    Ready,
    /// Appended to, or the oldest that is not yet sealed.
    Active,
    /// Complete: it never changes again.
    Sealed,
}

impl fmt::Display for SegmentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            SegmentState::Ready => "ready",
            SegmentState::Active => "active",
            SegmentState::Sealed => "sealed",
        })
    }
}

/// A record, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// Its position.
    pub lsn: Lsn,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// What a sound log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Records.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// End of the last record.
    pub end: Lsn,
    /// Segments named by the manifest.
    pub segments: u64,
    /// How the log ends.
    pub tail: Tail,
}

impl Inspector {
    /// Reads the manifest of the log in `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::NoLog`], [`Error::NotALog`], [`Error::UnsupportedFormat`], [`Error::Corrupt`] (the
    /// manifest), [`Error::Io`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # duralog::Log::open(dir.path())?.close()?;
    /// let inspector = duralog::inspect::Inspector::open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(dir: impl AsRef<Path>) -> Result<Inspector> {
        let path = dir.as_ref();
        let disk = Disk::open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::NoLog { dir: path.to_owned() },
            _ => Error::io("open", path, e),
        })?;
        let manifest = load(&disk)?;
        let summary = summary(&manifest);
        Ok(Inspector { disk, manifest, summary })
    }

    /// What the manifest says.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # duralog::Log::open(dir.path())?.close()?;
    /// let inspector = duralog::inspect::Inspector::open(dir.path())?;
    /// assert!(inspector.summary().clean_end.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// All records, from the head.
    pub fn records(&self) -> Records<'_> {
        Records::new(self, self.summary.head.get())
    }

    /// The records from the first at or after `from`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] below the head or beyond every segment.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// let lsn = log.append(b"one")?;
    /// let inspector = duralog::inspect::Inspector::open(dir.path())?;
    /// assert_eq!(inspector.records_from(lsn)?.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn records_from(&self, from: Lsn) -> Result<Records<'_>> {
        let (head, end) = (self.summary.head, Lsn::new(self.manifest.next_base));
        let end = self.summary.clean_end.unwrap_or(end);
        if from < head || from > end {
            return Err(Error::OutOfRange { lsn: from, head, end });
        }
        Ok(Records::new(self, from.get()))
    }

    /// Reads everything, the headers of ready segments too.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] at the first damage; [`Error::Io`] if a file cannot be read; [`Error::Gone`] if a
    /// running writer takes segments away faster than they are read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # duralog::Log::open(dir.path())?.close()?;
    /// let verified = duralog::inspect::Inspector::open(dir.path())?.verify()?;
    /// assert_eq!(verified.tail, duralog::Tail::Clean);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self) -> Result<Verified> {
        let mut result = self.verify_once();
        for _ in 0..RETRIES {
            // A segment may have been recycled under the walk: that is no damage if the manifest
            // has changed since.
            let generation = self.manifest.generation;
            match result {
                Err(_) => match Inspector::open(self.disk.path())? {
                    newer if newer.manifest.generation != generation => {
                        result = newer.verify_once()
                    }
                    _ => break,
                },
                Ok(_) => break,
            }
        }
        result
    }

    fn verify_once(&self) -> Result<Verified> {
        for entry in &self.manifest.segments {
            open_checked(&self.disk, &entry.identity(self.manifest.log_id), Access::Read)?;
        }
        let (mut count, mut bytes) = (0, 0);
        let mut records = self.records();
        for record in records.by_ref() {
            (count, bytes) = (count + 1, bytes + record?.payload.len() as u64);
        }
        let dir = self.disk.path();
        let names = self.disk.names().map_err(|e| Error::io("readdir", dir, e))?;
        if let Err(error) = walk::check_newest(&self.disk, &self.manifest, &names) {
            // A running writer may have rolled since.
            let now = manifest::load(&self.disk).ok().flatten();
            if now.is_none_or(|now| now.generation == self.manifest.generation) {
                return Err(error);
            }
        }
        let segments = self.manifest.segments.len() as u64;
        let tail = records.tail().unwrap_or(Tail::Clean);
        Ok(Verified { records: count, bytes, end: Lsn::new(records.end), segments, tail })
    }
}

fn load(disk: &Disk) -> Result<Manifest> {
    if let Some(manifest) = manifest::load(disk)? {
        return Ok(manifest);
    }
    let dir = disk.path().to_owned();
    let names = disk.names().map_err(|e| Error::io("readdir", &dir, e))?;
    if names.iter().any(|name| crate::segment::id_of(name).is_some()) {
        let what = "it is missing, but there are segments";
        return Err(Error::corrupt(dir.join(manifest::NAME), None, 0, Lsn::MIN..Lsn::MIN, what));
    }
    match names
        .into_iter()
        .find(|name| ![manifest::NEW, manifest::RESERVE, watermark::NAME].contains(&&**name))
    {
        Some(found) => Err(Error::NotALog { dir, found }),
        None => Err(Error::NoLog { dir }),
    }
}

fn summary(manifest: &Manifest) -> Summary {
    let segments = manifest.segments.iter().enumerate().map(|(index, entry)| {
        let state = match entry.state {
            State::Ready => SegmentState::Ready,
            State::Active => SegmentState::Active,
            State::Sealed => SegmentState::Sealed,
        };
        let (_, bound) = walk::says(manifest, index);
        let end = bound.map(|bound| Lsn::new(entry.base + bound));
        let (file, base) = (file_name(entry.id), Lsn::new(entry.base));
        SegmentInfo { file, id: entry.id, base, size: entry.size, salt: entry.salt, state, end }
    });
    Summary {
        log_id: manifest.log_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        generation: manifest.generation,
        head: Lsn::new(manifest.segments.first().map_or(0, |entry| entry.base + DATA_START)),
        checkpoint: Lsn::new(manifest.checkpoint),
        durable: Lsn::new(manifest.durable),
        clean_end: manifest.clean_end.map(Lsn::new),
        segments: segments.collect(),
    }
}

/// An iterator over copied records; ends after an error. Only whole batches come out.
#[derive(Debug)]
pub struct Records<'a> {
    inspector: &'a Inspector,
    from: u64,
    /// Index of the next segment to go into.
    next: usize,
    scan: Option<Scan>,
    /// Records of a batch whose end has not been seen, and of one whose has.
    batch: Vec<OwnedRecord>,
    ready: VecDeque<OwnedRecord>,
    end: u64,
    tail: Option<Tail>,
    done: bool,
}

impl<'a> Records<'a> {
    fn new(inspector: &'a Inspector, from: u64) -> Records<'a> {
        let segments = &inspector.manifest.segments;
        let next = segments.partition_point(|entry| entry.base + entry.size <= from);
        Records {
            inspector,
            from,
            next,
            scan: None,
            batch: Vec::new(),
            ready: VecDeque::new(),
            end: from,
            tail: None,
            done: false,
        }
    }

    /// How the log ends; none before the iterator has come there.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Log::open(dir.path())?;
    /// log.append(b"one")?;
    /// let inspector = duralog::inspect::Inspector::open(dir.path())?;
    /// let mut records = inspector.records();
    /// assert_eq!(records.by_ref().count(), 1);
    /// assert!(matches!(records.tail(), Some(duralog::Tail::Unclean { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tail(&self) -> Option<Tail> {
        self.tail
    }

    fn step(&mut self) -> Result<Option<OwnedRecord>> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            if self.done {
                return Ok(None);
            }
            self.advance()?;
        }
    }

    /// One frame further, or into the next segment, or to the end.
    fn advance(&mut self) -> Result<()> {
        let manifest = &self.inspector.manifest;
        let Some(mut scan) = self.scan.take() else {
            if self.next >= manifest.segments.len() {
                self.finish(Tail::Clean);
                return Ok(());
            }
            let opened = walk::scan(&self.inspector.disk, manifest, self.next, Access::Read);
            self.scan = Some(opened.map_err(|e| self.gone_or(e))?);
            self.next += 1;
            return Ok(());
        };
        let index = self.next - 1;
        let Some(entry) = manifest.segments.get(index) else { return Ok(()) };
        let read = |e| Error::io("pread", walk::path_of(&self.inspector.disk, entry), e);
        match scan.step().map_err(read)? {
            Step::Frame { offset, head } => {
                self.end = entry.base + offset + head.frame_len();
                if matches!(head.kind, Kind::Record | Kind::Part) {
                    let payload = scan.payload(offset, head).map_err(read)?.to_vec();
                    let lsn = Lsn::new(entry.base + offset);
                    self.batch.push(OwnedRecord { lsn, payload });
                }
                if head.kind == Kind::Record {
                    let from = Lsn::new(self.from);
                    self.ready.extend(self.batch.drain(..).filter(|record| record.lsn >= from));
                }
                self.scan = Some(scan);
            }
            Step::Stopped(stop) => self.stopped(index, scan, &stop)?,
        }
        Ok(())
    }

    fn stopped(&mut self, index: usize, mut scan: Scan, stop: &Stop) -> Result<()> {
        let (disk, manifest) = (&self.inspector.disk, &self.inspector.manifest);
        let judged = walk::judge(disk, manifest, index, &mut scan, stop, Access::Read);
        let base = manifest.segments.get(index).map_or(0, |entry| entry.base);
        self.end = base + cut_of(stop);
        match judged {
            // A running writer may have written this frame, and marks beyond it, since it was
            // read: it is damage only if it still is when read again.
            Err(error)
                if error.is_corrupt()
                    && matches!(walk::says(manifest, index).0, Says::Open { .. }) =>
            {
                scan.look_again();
                match scan.step().map_err(|e| Error::io("pread", disk.path(), e))? {
                    Step::Stopped(again) if again == *stop => {
                        // A newer manifest may name the segment that an end frame leads to. What
                        // this view can see ends here; damage will be there for the next one too.
                        let now = manifest::load(disk).ok().flatten();
                        if now.is_none_or(|now| now.generation == manifest.generation) {
                            return Err(self.gone_or(error));
                        }
                        self.finish(Tail::Unclean { at: Lsn::new(self.end) });
                        Ok(())
                    }
                    Step::Frame { .. } | Step::Stopped(_) => {
                        self.restart(index);
                        Ok(())
                    }
                }
            }
            Err(error) => Err(self.gone_or(error)),
            Ok(Verdict::Ends { at, torn }) => {
                let at = Lsn::new(base + at);
                self.finish(if torn { Tail::Torn { at } } else { Tail::Unclean { at } });
                Ok(())
            }
            Ok(Verdict::Whole | Verdict::Follow { .. } | Verdict::Damage { .. }) => {
                // With a clean end the ready segments behind the active one hold nothing.
                let closed = manifest.clean_end.is_some();
                if closed && manifest.segments.get(index).is_some_and(|e| e.state == State::Active)
                {
                    self.finish(Tail::Clean);
                }
                Ok(())
            }
        }
    }

    /// Walks segment `index` anew, past what was already given out.
    fn restart(&mut self, index: usize) {
        self.batch.clear();
        self.from = self.from.max(self.end);
        self.next = index;
        self.scan = None;
    }

    fn finish(&mut self, tail: Tail) {
        // What is left of a batch that never ended is no part of the log.
        self.batch.clear();
        self.tail = Some(tail);
        self.done = true;
    }

    /// A failure on a segment that the present manifest does not name any more is no damage.
    fn gone_or(&self, error: Error) -> Error {
        let (disk, index) = (&self.inspector.disk, self.next.saturating_sub(1));
        let here = self.inspector.manifest.segments.get(index);
        let now = manifest::load(disk).ok().flatten();
        match (here, now) {
            (Some(here), Some(now))
                if !now.segments.iter().any(|e| e.id == here.id && e.salt == here.salt) =>
            {
                let head =
                    now.segments.first().map_or(now.next_base, |entry| entry.base + DATA_START);
                Error::Gone { lsn: Lsn::new(here.base + DATA_START), head: Lsn::new(head) }
            }
            _ => error,
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<OwnedRecord>;

    fn next(&mut self) -> Option<Result<OwnedRecord>> {
        let next = self.step().transpose();
        if matches!(next, Some(Err(_))) {
            self.finish(Tail::Clean);
            self.tail = None;
            self.ready.clear();
        }
        next
    }
}

impl std::iter::FusedIterator for Records<'_> {}
