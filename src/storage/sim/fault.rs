//! Calls that fail by order.

use std::io;

/// The calls that a log makes of its disk, to count them and to let them fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Listing the directory.
    Names,
    /// Opening a file.
    Open,
    /// Creating a file.
    Create,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// fsync of the directory.
    SyncDirectory,
    /// Taking the writer's lock.
    Lock,
    /// fstat, fstatfs.
    Status,
    /// FIEMAP, and the call that asks the journal whether it is alive: what a sync has done.
    Blocks,
    /// pread.
    Read,
    /// pwrite. It fails half-way, between two pages: chance says which, or [`Fault::after_pages`].
    Write,
    /// fallocate.
    Allocate,
    /// fdatasync, msync. It fails as on Linux: part of what was written reached the disk, all of it counts as
    /// clean, and the next sync succeeds.
    Sync,
    /// posix_fadvise with DONTNEED.
    DropCache,
    /// fallocate with PUNCH_HOLE.
    PunchHole,
    /// mmap.
    Map,
    /// madvise with POPULATE_READ: where an unreadable sector is met.
    Populate,
    /// getrandom.
    Random,
}

impl Call {
    /// All of them.
    ///
    /// ```
    /// assert!(duralog::sim::Call::ALL.contains(&duralog::sim::Call::Sync));
    /// ```
    pub const ALL: [Call; 18] = [
        Call::Names,
        Call::Open,
        Call::Create,
        Call::Rename,
        Call::Remove,
        Call::SyncDirectory,
        Call::Lock,
        Call::Status,
        Call::Blocks,
        Call::Read,
        Call::Write,
        Call::Allocate,
        Call::Sync,
        Call::DropCache,
        Call::PunchHole,
        Call::Map,
        Call::Populate,
        Call::Random,
    ];
}

/// A call that is to fail.
///
/// ```
/// use duralog::sim::{Call, Fault, SimDisk};
/// use duralog::Options;
/// let disk = SimDisk::new(1);
/// let log = Options::new().segment_size(16 << 10).open_on(&disk)?;
/// log.append_durable(b"kept")?;
/// disk.order(Fault::new(Call::Sync, 1, 5)); // the next sync: EIO
/// assert!(log.append_durable(b"not known to be kept").is_err());
/// // The next sync of the disk would succeed, but says nothing of what the failed one lost.
/// assert!(log.commit().unwrap_err().is_poisoned());
/// # Ok::<(), duralog::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    pub(super) call: Call,
    nth: u64,
    errno: i32,
    forever: bool,
    panics: bool,
    pub(super) written: Option<u64>,
    /// Calls of this kind before the order.
    pub(super) from: u64,
}

impl Fault {
    /// The `nth` call of this kind from now on, 1 being the next, fails with `errno` (5 is EIO, 28 ENOSPC).
    ///
    /// ```
    /// use duralog::sim::{Call, Fault};
    /// let fault = Fault::new(Call::Write, 3, 28);
    /// # drop(fault);
    /// ```
    #[must_use]
    pub fn new(call: Call, nth: u64, errno: i32) -> Fault {
        Fault { call, nth, errno, forever: false, panics: false, written: None, from: 0 }
    }

    /// And each later one too.
    ///
    /// ```
    /// use duralog::sim::{Call, Fault};
    /// let fault = Fault::new(Call::Write, 3, 28).forever();
    /// # drop(fault);
    /// ```
    #[must_use]
    pub fn forever(mut self) -> Fault {
        self.forever = true;
        self
    }

    /// Instead of failing it panics, as a bug would.
    ///
    /// ```
    /// use duralog::sim::{Call, Fault};
    /// let bug = Fault::new(Call::Sync, 1, 0).panicking();
    /// # drop(bug);
    /// ```
    #[must_use]
    pub fn panicking(mut self) -> Fault {
        self.panics = true;
        self
    }

    /// A write: so many of its pages are written before it fails, but never the last.
    ///
    /// ```
    /// use duralog::sim::{Call, Fault};
    /// let short = Fault::new(Call::Write, 3, 28).after_pages(1);
    /// # drop(short);
    /// ```
    #[must_use]
    pub fn after_pages(mut self, pages: u64) -> Fault {
        self.written = Some(pages);
        self
    }

    pub(super) fn strikes(&self, call: Call, count: u64) -> bool {
        let nth = count.saturating_sub(self.from);
        self.call == call && (nth == self.nth || (self.forever && nth > self.nth))
    }

    pub(super) fn error(&self) -> io::Error {
        assert!(!self.panics, "a panic by order");
        io::Error::from_raw_os_error(self.errno)
    }
}
