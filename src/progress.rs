//! [`Progress`]: how far the opening of a log that was not closed has come; and the end of one that takes too long.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::options::Options;

/// After so many bytes it is looked whether a call is due, as it is after so many since the last one: together 16 MiB,
/// some milliseconds of a disk's time.
pub(crate) const PIECE: u64 = 4 << 20;
const DUE: u64 = 12 << 20;

/// How far an opening has come that has to read records.
///
/// ```
/// let progress = duralog::Progress::default();
/// assert_eq!((progress.bytes, progress.segments), (0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that were read, or turned out to hold nothing.
    pub bytes: u64,
    /// What they come to in the end: the sizes of the segments that are not sealed. Known from the beginning.
    pub bytes_total: u64,
    /// Segments that were gone through.
    pub segments: u64,
    /// How many there are to go through.
    pub segments_total: u64,
}

type Told = dyn Fn(&Progress) -> ControlFlow<()> + Send + Sync;

/// Who wants to be told.
#[derive(Clone)]
pub(crate) struct Callback(Arc<Told>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

impl Options {
    /// Tells how far an opening has come that has to read records, since the log was not closed; that of a closed one reads
    /// none, and tells nothing. Called by the opening thread, with nothing of the log locked but its directory: with
    /// 0 bytes at first, after each 16 MiB (and a record) and each segment, and with all at last. The bytes only grow. `Break` ends
    /// the opening with [`Error::Cancelled`]: nothing was changed, the lock is released, and the next opening does all
    /// of it. Default: none.
    ///
    /// Memory stays bounded all the while: a window of 1 MiB, or the largest record.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// # let dir = tempfile::tempdir()?;
    /// let options = duralog::Options::new().progress(|at| {
    ///     eprintln!("{} of {} MiB", at.bytes >> 20, at.bytes_total >> 20);
    ///     ControlFlow::Continue(())
    /// });
    /// let log = options.open(dir.path())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn progress(
        mut self,
        callback: impl Fn(&Progress) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Callback(Arc::new(callback)));
        self
    }
}

/// Tells a callback, now and then.
#[derive(Debug)]
pub(crate) struct Gauge<'a> {
    callback: Option<&'a Callback>,
    /// What there is to go through before each segment: bytes and segments.
    before: Vec<(u64, u64)>,
    told: Option<Progress>,
    total: Progress,
}

impl<'a> Gauge<'a> {
    /// Of segments of these sizes; those that are not gone through have none.
    pub(crate) fn new(
        callback: Option<&'a Callback>,
        sizes: impl Iterator<Item = Option<u64>>,
    ) -> Gauge<'a> {
        let (mut total, mut before) = (Progress::default(), Vec::new());
        for size in sizes {
            before.push((total.bytes_total, total.segments_total));
            total.bytes_total += size.unwrap_or(0);
            total.segments_total += u64::from(size.is_some());
        }
        Gauge { callback, before, told: None, total }
    }

    /// Tells no one.
    pub(crate) fn silent() -> Gauge<'a> {
        Gauge::new(None, std::iter::empty())
    }

    /// All before `offset` in segment `index` was gone through.
    pub(crate) fn at(&mut self, index: usize, offset: u64) -> Result<()> {
        let Some(Callback(callback)) = self.callback else { return Ok(()) };
        let all = (self.total.bytes_total, self.total.segments_total);
        let (before, segments) = self.before.get(index).copied().unwrap_or(all);
        let bytes = before.saturating_add(offset).min(self.total.bytes_total);
        let now = Progress { bytes, segments, ..self.total };
        let due = self.told.is_none_or(|told| {
            now.segments > told.segments || now.bytes >= told.bytes.saturating_add(DUE)
        });
        if !due {
            return Ok(());
        }
        self.told = Some(now);
        match callback(&now) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        }
    }
}
