//! Looking at a log without being its writer: takes no lock, changes no byte, works beside a running
//! writer and on a damaged log.
//!
//! What it shows of a log that is open elsewhere is a moment of it: records that are not yet
//! durable may be among them, and a checkpoint or a cut may take away meanwhile what it was about to show
//! or has shown ([`Error::Gone`]). What a writer does is never taken for damage or for the end of the log,
//! and damage never for what a writer does.
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

pub(crate) mod beside;
mod kept;
mod reader;
mod records;
mod salvage;
mod summary;
pub(crate) mod view;

use std::path::Path;
use std::sync::Arc;

pub use kept::Kept;
pub use reader::{SegmentEnd, SegmentIdentity, SegmentReader};
pub use records::{OwnedRecord, Records};
pub use salvage::{
    Deep, Doubt, Doubtful, Found, Frame, FrameKind, Frames, Gap, Hole, HoleKind, Piece, Report,
    Salvage, SegmentPiece,
};
pub use summary::{SegmentInfo, SegmentState, Summary};

use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::log::Tail;
use crate::segment::open_checked;
use crate::storage::{Access, Directory, Disk};

/// How often a look is begun anew because a running writer let go of what it was about to read.
pub(crate) const RETRIES: usize = 16;

/// A log, seen from outside.
#[derive(Debug)]
pub struct Inspector {
    disk: Arc<dyn Directory>,
    manifest: Arc<Manifest>,
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

/// The directory of a log; that there is one is still to be seen.
pub(crate) fn open_directory(path: &Path) -> Result<Disk> {
    Disk::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::NoLog { dir: path.to_owned() },
        _ => Error::io("open", path, e),
    })
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
        let disk: Arc<dyn Directory> = Arc::new(open_directory(path)?);
        let manifest = view::current(&*disk)?;
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

    /// All records, from the head to where the log ends at some moment since the walk began.
    pub fn records(&self) -> Records<'_> {
        let records = Records::new(self, Arc::clone(&self.manifest), self.summary.head.get());
        // The inspector may have been opened long ago. If this fails, the walk says why.
        let now = view::newest(&*self.disk);
        records.at_least_to(now.map_or(0, |now| now.next_base))
    }

    /// The records from the first at or after `from`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] below the head and the checkpoint or beyond every segment, and those of [`open`](Inspector::open), since
    /// the manifest is read anew.
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
        let view = view::current(&*self.disk)?;
        let from = view::from(&view, from)?;
        Ok(Records::new(self, view, from))
    }

    /// Reads everything, the headers of ready segments too: the log as it is now.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] at the first damage; [`Error::Io`] if a file cannot be read, or if the log changes faster
    /// than it can be; [`Error::Gone`] if a running writer takes segments away faster than they are read.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # duralog::Log::open(dir.path())?.close()?;
    /// let verified = duralog::inspect::Inspector::open(dir.path())?.verify()?;
    /// assert_eq!(verified.tail, duralog::Tail::Clean);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self) -> Result<Verified> {
        for _ in 0..RETRIES {
            match self.verify_once() {
                // Once more, of the log as it is now.
                Err(Error::Gone { .. }) => {}
                verified => return verified,
            }
        }
        self.verify_once()
    }

    fn verify_once(&self) -> Result<Verified> {
        let (verified, failed) = self.verify_from(0, |_| {})?;
        failed.map_or(Ok(verified), Err)
    }

    /// The records from the segment on whose window begins at `base` or later, and all else that is not in a segment
    /// before it. What is sound of them, and what ended it.
    fn verify_from(
        &self,
        base: u64,
        mut told: impl FnMut(u64),
    ) -> Result<(Verified, Option<Error>)> {
        let (mut count, mut bytes, mut failed) = (0, 0, None);
        let view = view::newest(&*self.disk)?;
        let from = view.head().max(base);
        let mut records = Records::new(self, view, from);
        for record in records.by_ref() {
            match record {
                Ok(record) => {
                    (count, bytes) = (count + 1, bytes + record.payload.len() as u64);
                    told(record.lsn.get());
                }
                Err(error) => failed = Some(error),
            }
        }
        let view = records.view();
        let rest = || self.check_headers(view).and_then(|()| view::current(&*self.disk).map(drop));
        let failed = failed.or_else(|| rest().err());
        let segments = view.segments.len() as u64;
        let end = Lsn::new(records.end());
        let tail = records.tail().unwrap_or(Tail::Unclean { at: end });
        Ok((Verified { records: count, bytes, end, segments, tail }, failed))
    }

    /// Those of ready segments too, which no walk comes to.
    fn check_headers(&self, view: &Manifest) -> Result<()> {
        for entry in view.segments.iter().filter(|entry| !view.is_unused(entry)) {
            let opened = open_checked(&*self.disk, &entry.identity(view.log_id), Access::Read);
            let Err(error) = opened else { continue };
            // What a running writer has let go of since is no damage.
            if view::names(&*view::newest(&*self.disk)?, view.log_id, entry) {
                return Err(error);
            }
        }
        Ok(())
    }
}
