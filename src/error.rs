//! One error type for the whole crate, with predicates for what a caller can do about it.

mod copy;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Lsn;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. Each says where, and what the caller can do.
///
/// Branch on the predicates ([`is_corrupt`](Error::is_corrupt), [`is_full`](Error::is_full),
/// [`is_locked`](Error::is_locked), [`is_poisoned`](Error::is_poisoned)) where they suffice; new
/// variants may come.
///
/// ```
/// use duralog::{Error, Options};
/// let dir = tempfile::tempdir()?;
/// let error = Options::new().create(false).open(dir.path()).unwrap_err();
/// assert!(matches!(error, Error::NoLog { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed, and nothing of the log was changed by it. Where the system had no descriptor, memory or mapping to
    /// give, try again later. A failure after which the content of the disk is unknown is [`Poisoned`](Error::Poisoned).
    Io {
        /// The operation, as the manual page calls it.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
    /// Bytes that must be sound are not: committed data or the files' own structure is damaged.
    /// Nothing was changed. Restore from a copy, or read what is sound with [`inspect`](crate::inspect).
    Corrupt(Box<Corruption>),
    /// Another [`Log`](crate::Log), here or in another process, has the directory open.
    Locked {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The segment to append to, or one made ready for it, has more than one name (hard links): what is appended here would
    /// change the other copy too. Nothing was changed. Copy the file and put the copy in its place.
    Linked {
        /// The segment's file.
        path: PathBuf,
        /// How many names it has.
        links: u64,
    },
    /// Another program removed or moved the file of a segment under the running log, or put another in its place. What was
    /// synced to it cannot be found under its name, so it is not acknowledged; what was acknowledged earlier and lies in
    /// that file went with it. Put the file back, if it was moved, and open the log again.
    Removed {
        /// The name under which the file was expected.
        path: PathBuf,
    },
    /// An earlier failure ended this instance: what the disk holds is no longer known. Nothing
    /// more is acknowledged. Drop the log and open it anew: recovery finds what is durable.
    Poisoned {
        /// The first failure.
        cause: Arc<Error>,
    },
    /// No room for the next segment or the manifest. Nothing was lost and the log is not poisoned: make room where
    /// `limit` says, for instance by a checkpoint, and try again.
    Full {
        /// What has run out.
        limit: Limit,
        /// The operation that met the limit: a system call, or the option.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's own error, or the limit in words.
        source: io::Error,
    },
    /// The record is larger than [`max_record_size`](crate::Options::max_record_size). Nothing was appended.
    RecordTooLarge {
        /// Bytes of the record.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The batch does not fit in one segment. Nothing was appended.
    BatchTooLarge {
        /// Bytes of the batch, its frames included.
        len: u64,
        /// Bytes that a segment holds.
        max: u64,
    },
    /// The position is below the head or beyond the end of the log.
    OutOfRange {
        /// The position asked for.
        lsn: Lsn,
        /// The start of the log.
        head: Lsn,
        /// The end of the log.
        end: Lsn,
    },
    /// No record begins at this position.
    NotARecord {
        /// The position asked for.
        lsn: Lsn,
    },
    /// The record is inside a batch, and a batch is all or nothing: the log cannot be cut here.
    InsideBatch {
        /// The position asked for.
        lsn: Lsn,
    },
    /// The record is no longer in the log: a checkpoint or `truncate_after` let go of it. Of a commit, a ticket or a
    /// callback: it was cut away before it was durable.
    Gone {
        /// The position asked for.
        lsn: Lsn,
        /// The start of the log.
        head: Lsn,
    },
    /// A checkpoint beyond what is durable: a crash could lose records that it relies on. Commit first.
    NotDurable {
        /// The position asked for.
        lsn: Lsn,
        /// Everything below is durable.
        durable: Lsn,
    },
    /// The directory holds no log, but other files: it belongs to something else.
    NotALog {
        /// The directory.
        dir: PathBuf,
        /// A name found in it.
        found: String,
    },
    /// There is no log here, and [`create`](crate::Options::create) is off.
    NoLog {
        /// The directory.
        dir: PathBuf,
    },
    /// A file of another version of the format, or with features that this version does not know.
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// Its feature bits.
        features: u32,
    },
    /// An option is out of range.
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// The value given.
        value: u64,
        /// The values allowed, in words.
        range: String,
    },
    /// The name of a consumer is empty or longer than 255 bytes, or the log has 1024 consumers already. Nothing was changed.
    InvalidConsumer {
        /// The name given.
        name: String,
    },
    /// The metadata are larger than 4096 bytes. Nothing was changed.
    MetadataTooLarge {
        /// Bytes given.
        len: usize,
    },
    /// A codec could not turn a value into bytes. Nothing was appended.
    Encode {
        /// The codec's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record is sound, but a codec could not turn it into a value: it is of another type or schema. The log is
    /// none the worse, and a replay goes on behind it.
    Decode {
        /// The record's position: [`Log::read`](crate::Log::read) gives its bytes.
        lsn: Lsn,
        /// The schema byte found; none in an empty record, which no typed log writes.
        schema: Option<u8>,
        /// The codec's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A thread that others depend on panicked inside the log: a bug, of the log or of the disk it was given. The log is
    /// poisoned by it.
    Panicked {
        /// The thread's name.
        thread: String,
        /// What the panic said.
        message: String,
    },
    /// The log was closed.
    Closed,
    /// This process was forked, and what was called is its parent's: it was opened before the fork. Nothing was done. A child
    /// can open the log itself once its parent has closed it (*Fork* at [`Log`](crate::Log)).
    Forked,
    /// The callback of [`progress`](crate::Options::progress) ended the opening. Nothing was changed.
    Cancelled,
}

/// What has run out where a log is [`Full`](Error::Full).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The disk, or a quota on it (ENOSPC, EDQUOT). A checkpoint makes room, and so does whoever else uses the disk.
    Disk,
    /// The log's own [`max_bytes`](crate::Options::max_bytes). A checkpoint makes room; [`blockers`](crate::Log::blockers)
    /// says who holds the oldest segment.
    MaxBytes,
    /// The numbers of the format: LSNs or segment ids at the end of their range, or more segments than a manifest can list. Only
    /// for the last does a checkpoint make room.
    Format,
}

/// Damage: where it is, and what it takes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Corruption {
    /// The damaged file.
    pub path: PathBuf,
    /// The segment's id, if it is in a segment.
    pub segment: Option<u64>,
    /// Byte offset in the file.
    pub offset: u64,
    /// The committed positions in doubt: from the first that is damaged to the first that is known to be
    /// beyond it. Empty if the damage is in the structure of the log, not in its records.
    pub lsns: std::ops::Range<Lsn>,
    /// What is wrong, in words.
    pub what: String,
}

impl Error {
    /// Damage. Nothing was changed on the disk.
    ///
    /// ```
    /// assert!(!duralog::Error::Closed.is_corrupt());
    /// ```
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(self.root(), Error::Corrupt(_))
    }

    /// No space. Unless [`is_poisoned`](Error::is_poisoned) too, the log goes on once there is room.
    ///
    /// ```
    /// assert!(!duralog::Error::Closed.is_full());
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self.root() {
            Error::Full { .. } => true,
            Error::Io { source, .. } => is_no_space(source),
            _ => false,
        }
    }

    /// Another writer has the log.
    ///
    /// ```
    /// assert!(!duralog::Error::Closed.is_locked());
    /// ```
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self, Error::Locked { .. })
    }

    /// This instance has ended after a failure; open the log anew.
    ///
    /// ```
    /// assert!(!duralog::Error::Closed.is_poisoned());
    /// ```
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        matches!(self, Error::Poisoned { .. })
    }

    /// What was called belongs to the process that this one was forked from.
    ///
    /// ```
    /// assert!(!duralog::Error::Closed.is_forked());
    /// ```
    #[must_use]
    pub fn is_forked(&self) -> bool {
        matches!(self, Error::Forked)
    }

    fn root(&self) -> &Error {
        match self {
            Error::Poisoned { cause } => cause.root(),
            other => other,
        }
    }

    /// A failed system call, told apart by whether space is what was missing.
    #[cold]
    pub(crate) fn io(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Error {
        let path = path.into();
        if is_no_space(&source) {
            Error::Full { limit: Limit::Disk, op, path, source }
        } else {
            Error::Io { op, path, source }
        }
    }

    /// No room, found without a system call that failed for it.
    #[cold]
    pub(crate) fn full(
        limit: Limit,
        op: &'static str,
        path: impl Into<PathBuf>,
        what: impl Into<String>,
    ) -> Error {
        let source = io::Error::new(io::ErrorKind::StorageFull, what.into());
        Error::Full { limit, op, path: path.into(), source }
    }

    #[cold]
    pub(crate) fn corrupt(
        path: impl Into<PathBuf>,
        segment: Option<u64>,
        offset: u64,
        lsns: std::ops::Range<Lsn>,
        what: impl Into<String>,
    ) -> Error {
        let (path, what) = (path.into(), what.into());
        Error::Corrupt(Box::new(Corruption { path, segment, offset, lsns, what }))
    }
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { op, path, source } => write!(f, "{op} of {}: {source}", path.display()),
            Error::Corrupt(damage) => damage.fmt(f),
            Error::Locked { dir } => {
                write!(f, "the log in {} is locked: another writer has it open", dir.display())
            }
            Error::Linked { path, links } => write!(
                f,
                "{} is also linked elsewhere ({links} names), and appending would change it there too: copy the file \
                 and rename the copy over it",
                path.display()
            ),
            Error::Removed { path } => write!(
                f,
                "{} was removed or replaced by another program while the log was open",
                path.display()
            ),
            Error::Poisoned { cause } => {
                write!(f, "the log is poisoned by an earlier failure ({cause}); open it anew")
            }
            Error::Full { limit: Limit::Disk, op, path, source } => {
                write!(f, "the disk is full: {op} of {}: {source}", path.display())
            }
            Error::Full { limit: Limit::MaxBytes, op, path, source } => {
                write!(f, "the log in {} is at its {op}: {source}", path.display())
            }
            Error::Full { limit: Limit::Format, path, source, .. } => {
                write!(f, "the log in {} cannot grow: {source}", path.display())
            }
            Error::RecordTooLarge { len, max } => {
                write!(f, "a record of {len} bytes is larger than the maximum of {max}")
            }
            Error::BatchTooLarge { len, max } => {
                write!(f, "a batch of {len} bytes does not fit in a segment, which holds {max}")
            }
            Error::OutOfRange { lsn, head, end } => {
                write!(f, "LSN {lsn} is not in the log, which goes from {head} to {end}")
            }
            Error::NotARecord { lsn } => write!(f, "no record begins at LSN {lsn}"),
            Error::InsideBatch { lsn } => {
                write!(f, "the record at LSN {lsn} is inside a batch, which is all or nothing")
            }
            Error::Gone { lsn, head } => {
                if lsn < head {
                    write!(f, "LSN {lsn} is no longer in the log, which begins at {head}")
                } else {
                    write!(
                        f,
                        "LSN {lsn} is no longer in the log: it was cut away, or lost in a crash"
                    )
                }
            }
            Error::NotDurable { lsn, durable } => {
                write!(
                    f,
                    "a checkpoint at LSN {lsn} is beyond {durable}, the end of what is durable"
                )
            }
            Error::NotALog { dir, found } => {
                write!(f, "{} is not a log: it holds no MANIFEST, but {found:?}", dir.display())
            }
            Error::NoLog { dir } => write!(f, "there is no log in {}", dir.display()),
            Error::UnsupportedFormat { path, version, features } => write!(
                f,
                "{} has format version {version}, features {features:#x}; this is version {}",
                path.display(),
                crate::format::VERSION
            ),
            Error::InvalidOption { option, value, range } => {
                write!(f, "option {option}: {value} is out of range: {range}")
            }
            Error::InvalidConsumer { name } => {
                write!(
                    f,
                    "no consumer can be named {name:?}: 1 to 255 bytes, 1024 consumers at most"
                )
            }
            Error::MetadataTooLarge { len } => {
                write!(f, "{len} bytes of metadata are more than the 4096 that a log keeps")
            }
            Error::Encode { source } => write!(f, "the value cannot be encoded: {source}"),
            Error::Decode { lsn, schema: Some(schema), source } => {
                write!(
                    f,
                    "the record at LSN {lsn}, of schema {schema}, cannot be decoded: {source}"
                )
            }
            Error::Decode { lsn, schema: None, source } => {
                write!(f, "the record at LSN {lsn} cannot be decoded: {source}")
            }
            Error::Panicked { thread, message } => {
                write!(f, "the thread {thread} panicked inside the log: {message}")
            }
            Error::Closed => f.write_str("the log is closed"),
            Error::Forked => f.write_str(
                "the log was opened by the process that this one was forked from: open it here, once it is closed there",
            ),
            Error::Cancelled => f.write_str("the opening of the log was cancelled"),
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at offset {}: {}", self.path.display(), self.offset, self.what)?;
        if let Some(id) = self.segment {
            write!(f, " (segment {id}, LSN {} to {})", self.lsns.start, self.lsns.end)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::Full { source, .. } => Some(source),
            Error::Poisoned { cause } => Some(cause),
            Error::Encode { source } | Error::Decode { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
