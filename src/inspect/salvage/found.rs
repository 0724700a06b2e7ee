//! What a salvage finds: records, doubtful ones, gaps.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::Lsn;
use crate::error::Corruption;
use crate::inspect::OwnedRecord;

/// One finding of a salvage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// A record that is sound and in the log.
    Record(OwnedRecord),
    /// A record whose checksum is right, but of which it is not known whether it is in the log.
    Doubtful(Doubtful),
    /// Something is missing or damaged.
    Gap(Gap),
}

/// A sound record that may not be in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Doubtful {
    /// The record.
    pub record: OwnedRecord,
    /// Why it is in doubt.
    pub why: Doubt,
}

/// Why a sound record may not be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// Part of a batch of which another part is lost; and a batch is all or nothing.
    Unfinished,
    /// The first record, or batch, behind a gap: it may be the rest of a batch that began in there.
    AfterGap,
    /// It stands alone between damage: nothing but a checksum of 32 bits says that there is a record at all. That is so by
    /// chance once in four thousand million places that look like one.
    Alone,
    /// Behind the end of the log: behind a place that no evidence says was ever committed, where the log would be cut.
    BeyondEnd,
    /// In a file that the manifest does not name. After a checkpoint or a cut such files hold
    /// records that are not in the log any more.
    Leftover,
}

/// A place where something is missing or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The file.
    pub path: PathBuf,
    /// The segment's id, if it is in a segment.
    pub segment: Option<u64>,
    /// Byte offsets in the file.
    pub offsets: Range<u64>,
    /// The positions that are missing. Empty if no position is, but a file is not as it should be.
    pub lsns: Range<Lsn>,
    /// Whether there is evidence that what is missing had been committed: the manifest, the watermark or a mark
    /// vouches for its first position.
    pub committed: bool,
    /// What is wrong, in words.
    pub what: String,
}

impl Gap {
    pub(super) fn of(damage: Corruption) -> Gap {
        let Corruption { path, segment, offset, lsns, what } = damage;
        Gap { path, segment, offsets: offset..offset, lsns, committed: true, what }
    }

    /// Of no positions.
    pub(super) fn note(
        path: PathBuf,
        segment: Option<u64>,
        offsets: Range<u64>,
        what: String,
    ) -> Gap {
        Gap { path, segment, offsets, lsns: Lsn::MIN..Lsn::MIN, committed: false, what }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap { path, offsets, lsns, what, .. } = self;
        write!(f, "{}", path.display())?;
        if !offsets.is_empty() {
            write!(f, ", offsets {} to {}", offsets.start, offsets.end)?;
        }
        write!(f, ": {what}")?;
        if !lsns.is_empty() {
            let said = if self.committed { "committed" } else { "not known to be committed" };
            write!(f, " (LSN {} to {}, {said})", lsns.start, lsns.end)?;
        }
        Ok(())
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doubt::Unfinished => "part of a batch of which another part is lost",
            Doubt::AfterGap => "may be the rest of a batch that began in the gap before it",
            Doubt::Alone => "alone between damage, by its checksum a record",
            Doubt::BeyondEnd => "behind the end of the log",
            Doubt::Leftover => "in a file that is not in the log",
        })
    }
}
