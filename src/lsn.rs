//! [`Lsn`]: a position in the log.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// A position in the log: the byte at which a record begins in one endless sequence of bytes.
///
/// LSNs only grow. They have gaps (headers, padding, space given up at a roll or after a crash), so
/// they are compared, never counted with. An LSN that was handed out names that one record for
/// ever: after a crash or [`truncate_after`](crate::Log::truncate_after) the log goes on at
/// positions never used before. The idea is PostgreSQL's and FASTER's.
///
/// ```
/// use duralog::Lsn;
/// let lsn: Lsn = "4096".parse()?;
/// assert_eq!(lsn, Lsn::new(4096));
/// assert!(Lsn::MIN < lsn);
/// # Ok::<(), std::num::ParseIntError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// The beginning of the address space. No record is ever here. To replay from here is to replay all records that are left;
    /// no other position below those that a checkpoint let go of can be replayed from.
    ///
    /// ```
    /// assert_eq!(duralog::Lsn::MIN.get(), 0);
    /// ```
    pub const MIN: Lsn = Lsn(0);

    /// The LSN at byte `position`, for instance one that an application kept in its own files.
    ///
    /// ```
    /// assert_eq!(duralog::Lsn::new(4096).get(), 4096);
    /// ```
    #[must_use]
    pub const fn new(position: u64) -> Lsn {
        Lsn(position)
    }

    /// The position in bytes.
    ///
    /// ```
    /// assert_eq!(duralog::Lsn::new(7).get(), 7);
    /// ```
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Lsn {
    type Err = ParseIntError;

    fn from_str(s: &str) -> std::result::Result<Lsn, ParseIntError> {
        s.parse().map(Lsn)
    }
}
