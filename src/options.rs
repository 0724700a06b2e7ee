//! [`Options`]: how a log is opened. Plain data; `open` is in `log`.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::format;
use crate::progress::Callback;

/// When the log syncs by itself. A `commit` syncs at once under each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Only when someone commits, when a segment is full, and when 8 MiB wait for it: so that the disk does not stand
    /// idle while much is appended.
    #[default]
    OnCommit,
    /// Also in the background, so that a record is durable at most this long (and one sync) after its append.
    Interval(Duration),
    /// Also in the background, whenever this many bytes have been appended since the last sync began.
    Bytes(u64),
}

/// The system call that makes a segment durable. On Linux both end in the same function of the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncMethod {
    /// `fdatasync(2)` of the whole file.
    #[default]
    Fdatasync,
    /// `msync(2)` with `MS_SYNC` of the pages that were written.
    ///
    /// Only for records stored through the mapping; with `pwrite` the log uses `fdatasync` all the same.
    Msync,
}

/// How records get into the active segment. Both write the same bytes at the same places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteMethod {
    /// Whichever costs less, one append after another, on ext4 (with delayed allocation, and not with `data=journal`)
    /// and tmpfs, where a store into allocated space cannot fail: small records of which many are committed together are
    /// stored; large ones, batches of more than a page, and what is committed a few at a time are written. `Pwrite` on all
    /// others: on btrfs a full disk would be a signal, not an error, and on xfs so would the first store after the file
    /// system has shut itself down for an I/O error.
    #[default]
    Auto,
    /// Stores through a shared mapping: no system call in an append.
    Mmap,
    /// `pwrite(2)`; the mapping is for reading only.
    Pwrite,
}

/// What happens to an append that would take the log past [`max_bytes`](Options::max_bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// It fails with [`Error::Full`] until a checkpoint has given space back. Nothing is lost.
    Refuse,
    /// The oldest sealed segments go, also past consumers that have not acknowledged them.
    DropOldest,
}

/// How much of itself a log keeps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retention {
    pub(crate) bytes: Option<u64>,
    pub(crate) age: Option<Duration>,
    pub(crate) cap: Option<(u64, WhenFull)>,
}

/// Active, ready, and one that is sealed and can go.
const LEAST_SEGMENTS: u64 = 3;

impl Retention {
    pub(crate) fn validate(&self, segment_size: u64) -> Result<()> {
        let least = LEAST_SEGMENTS.saturating_mul(segment_size);
        match self.cap {
            Some((value, _)) if value < least => {
                let range = format!("at least {least}: three segments of {segment_size} bytes");
                Err(Error::InvalidOption { option: "max_bytes", value, range })
            }
            _ => Ok(()),
        }
    }
}

/// How to open a log. Every setter takes and gives back the options.
///
/// ```
/// use duralog::Options;
/// let dir = tempfile::tempdir()?;
/// let log = Options::new().segment_size(1 << 20).open(dir.path())?;
/// log.append_durable(b"hello")?;
/// log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) segment_size: u64,
    pub(crate) spare_segments: usize,
    pub(crate) max_record_size: Option<usize>,
    pub(crate) sync_policy: SyncPolicy,
    pub(crate) sync_method: SyncMethod,
    pub(crate) write_method: WriteMethod,
    pub(crate) create: bool,
    #[cfg(feature = "histograms")]
    pub(crate) measure: bool,
    pub(crate) observer: Option<crate::observer::Watcher>,
    pub(crate) progress: Option<Callback>,
    pub(crate) retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        Options::new()
    }
}

const DEFAULT_SEGMENT_SIZE: u64 = 64 << 20;
const DEFAULT_MAX_RECORD_SIZE: usize = 16 << 20;
const MAX_SPARE_SEGMENTS: usize = 64;

impl Options {
    /// The defaults, each named at its setter.
    ///
    /// ```
    /// let options = duralog::Options::new();
    /// # drop(options);
    /// ```
    pub fn new() -> Self {
        Options {
            segment_size: DEFAULT_SEGMENT_SIZE,
            spare_segments: 2,
            max_record_size: None,
            sync_policy: SyncPolicy::default(),
            sync_method: SyncMethod::default(),
            write_method: WriteMethod::default(),
            create: true,
            #[cfg(feature = "histograms")]
            measure: false,
            observer: None,
            progress: None,
            retention: Retention::default(),
        }
    }

    /// Bytes of a segment file made from now on; segments that exist keep theirs.
    ///
    /// Default 64 MiB. Range: 16 KiB to 4 GiB, a multiple of 4096.
    ///
    /// ```
    /// let options = duralog::Options::new().segment_size(256 << 20);
    /// # drop(options);
    /// ```
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.segment_size = bytes;
        self
    }

    /// How many files a checkpoint keeps for recycling; what is above is deleted.
    ///
    /// A recycled file needs no allocation and no first write of its blocks. Besides these, one
    /// segment is always kept ready ahead of the active one. Default 2. Range: 0 to 64.
    ///
    /// ```
    /// let options = duralog::Options::new().spare_segments(8);
    /// # drop(options);
    /// ```
    pub fn spare_segments(mut self, count: usize) -> Self {
        self.spare_segments = count;
        self
    }

    /// Sets the bytes of the largest record.
    ///
    /// Default: 16 MiB, or what fits in a segment if that is less. Range: 0 to
    /// [`largest_record`](Options::largest_record), or opening fails with [`Error::InvalidOption`].
    ///
    /// ```
    /// let options = duralog::Options::new().max_record_size(64 << 10);
    /// # drop(options);
    /// ```
    pub fn max_record_size(mut self, bytes: usize) -> Self {
        self.max_record_size = Some(bytes);
        self
    }

    /// When the log syncs by itself. Default: [`SyncPolicy::OnCommit`].
    ///
    /// ```
    /// use duralog::{Options, SyncPolicy};
    /// let options = Options::new().sync_policy(SyncPolicy::Interval(std::time::Duration::from_secs(1)));
    /// # drop(options);
    /// ```
    pub fn sync_policy(mut self, policy: SyncPolicy) -> Self {
        self.sync_policy = policy;
        self
    }

    /// For who logs and does not wait: what is appended becomes durable in the background, at most `every` (and
    /// one sync) after its append. The same as [`SyncPolicy::Interval`].
    ///
    /// [`append`](crate::Log::append) hands a record to the system's page cache and never to a queue: it survives the
    /// process from then on, and waits for no sync of records. It waits for the disk only where memory would have to
    /// grow without bound instead: if records come faster, for longer than a segment takes to fill, than their space
    /// can be made ready (the next segment, blocks filled ahead) or than the kernel lets dirty memory grow. Larger
    /// [segments](Options::segment_size) let longer bursts pass. [`durable`](crate::Log::durable) tells how far the disk
    /// is, [`close`](crate::Log::close) makes all of it durable. A sync that fails in the background is told by the next
    /// call: [`Error::Poisoned`]. Range: above zero.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// let log = duralog::Options::new().in_background(Duration::from_secs(1)).open(dir.path())?;
    /// log.append(b"done in well under a microsecond")?;
    /// log.close()?; // durable
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_background(self, every: Duration) -> Self {
        self.sync_policy(SyncPolicy::Interval(every))
    }

    /// The system call that syncs. Default: [`SyncMethod::Fdatasync`].
    ///
    /// ```
    /// let options = duralog::Options::new().sync_method(duralog::SyncMethod::Msync);
    /// # drop(options);
    /// ```
    pub fn sync_method(mut self, method: SyncMethod) -> Self {
        self.sync_method = method;
        self
    }

    /// How records are written. Default: [`WriteMethod::Auto`].
    ///
    /// ```
    /// let options = duralog::Options::new().write_method(duralog::WriteMethod::Pwrite);
    /// # drop(options);
    /// ```
    pub fn write_method(mut self, method: WriteMethod) -> Self {
        self.write_method = method;
        self
    }

    /// Whether to create the log if there is none. Default: true.
    ///
    /// ```
    /// let options = duralog::Options::new().create(false);
    /// # drop(options);
    /// ```
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Returns the bytes of the largest record that a segment of this [`segment_size`](Options::segment_size) can
    /// hold: the segment less 4160 bytes, 2^28 - 1 at most. [`max_record_size`](Options::max_record_size) allows no more.
    ///
    /// ```
    /// let options = duralog::Options::new().segment_size(64 << 10);
    /// assert_eq!(options.largest_record(), (64 << 10) - 4160);
    /// let options = options.max_record_size((64 << 10) - 4160); // whatever fits
    /// # drop(options);
    /// ```
    #[must_use]
    pub fn largest_record(&self) -> usize {
        format::payload_capacity(self.segment_size)
    }

    /// The largest record that these options allow.
    pub(crate) fn record_limit(&self) -> usize {
        let fits = self.largest_record();
        self.max_record_size.unwrap_or_else(|| fits.min(DEFAULT_MAX_RECORD_SIZE))
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let invalid =
            |option, value, range: String| Err(Error::InvalidOption { option, value, range });
        if !format::is_segment_size(self.segment_size) {
            let range = format!(
                "{} to {}, a multiple of {}",
                format::MIN_SEGMENT_SIZE,
                format::MAX_SEGMENT_SIZE,
                format::DATA_START
            );
            return invalid("segment_size", self.segment_size, range);
        }
        if self.spare_segments > MAX_SPARE_SEGMENTS {
            let range = format!("0 to {MAX_SPARE_SEGMENTS}");
            return invalid("spare_segments", self.spare_segments as u64, range);
        }
        let fits = self.largest_record();
        if self.record_limit() > fits {
            let range = format!("0 to {fits} in segments of {} bytes", self.segment_size);
            return invalid("max_record_size", self.record_limit() as u64, range);
        }
        self.retention.validate(self.segment_size)?;
        match self.sync_policy {
            SyncPolicy::Interval(every) if every.is_zero() => {
                invalid("sync_policy", 0, "an interval above zero".into())
            }
            SyncPolicy::Bytes(0) => invalid("sync_policy", 0, "at least 1 byte".into()),
            _ => Ok(()),
        }
    }
}
