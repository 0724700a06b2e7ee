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

mod records;
mod summary;

use std::path::Path;

pub use records::{OwnedRecord, Records};
pub use summary::{SegmentInfo, SegmentState, Summary};

use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::log::Tail;
use crate::segment::open_checked;
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
        let summary = summary::summary(&manifest);
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
        Ok(Verified { records: count, bytes, end: Lsn::new(records.end()), segments, tail })
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
