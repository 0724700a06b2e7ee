//! What a salvage has come to.

use std::fmt;
use std::ops::Range;

use super::{Doubt, Doubtful, Found, Gap};
use crate::Lsn;

/// What a salvage has found so far; of everything once its iterator has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Whether a sound manifest said which segments are the log and where they end. If not, the segments' headers alone did:
    /// then records of which a checkpoint or a cut had let go may be among those given, and whole segments may be
    /// missing that nothing names.
    pub by_manifest: bool,
    /// Records given as sound and in the log.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// From the first of them to the end of the last.
    pub lsns: Range<Lsn>,
    /// Records given as doubtful, but for those in files that are left over.
    pub doubtful: u64,
    /// Records in files that are left over, [`Doubt::Leftover`]: in use those of a checkpoint, kept to be used again.
    pub left_over: u64,
    /// Gaps, those without positions included.
    pub gaps: u64,
    /// Bytes of the log in gaps, headers of frames included.
    pub missing: u64,
    /// Those of them that had been committed, as far as there is evidence.
    pub missing_committed: u64,
    /// Everything below had been committed, as far as there is evidence: manifest, watermark, marks.
    pub committed: Lsn,
}

impl Report {
    pub(super) fn new(by_manifest: bool, committed: u64) -> Report {
        Report {
            by_manifest,
            records: 0,
            bytes: 0,
            lsns: Lsn::MIN..Lsn::MIN,
            doubtful: 0,
            left_over: 0,
            gaps: 0,
            missing: 0,
            missing_committed: 0,
            committed: Lsn::new(committed),
        }
    }

    pub(super) fn committed(&mut self, to: u64) {
        self.committed = self.committed.max(Lsn::new(to));
    }

    /// `end`: where the frame of a record ends.
    pub(super) fn count(&mut self, found: &Found, end: u64) {
        match found {
            Found::Record(record) => {
                if self.records == 0 {
                    self.lsns.start = record.lsn;
                }
                self.records += 1;
                self.bytes += record.payload.len() as u64;
                self.lsns.end = Lsn::new(end);
            }
            Found::Doubtful(Doubtful { why: Doubt::Leftover, .. }) => self.left_over += 1,
            Found::Doubtful(_) => self.doubtful += 1,
            Found::Gap(Gap { lsns, committed, .. }) => {
                self.gaps += 1;
                let missing = lsns.end.get() - lsns.start.get();
                self.missing += missing;
                self.missing_committed += if *committed { missing } else { 0 };
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records, {} bytes", self.records, self.bytes)?;
        if self.records > 0 {
            write!(f, ", LSN {} to {}", self.lsns.start, self.lsns.end)?;
        }
        if self.left_over > 0 {
            write!(f, "; {} more in files that are not in the log", self.left_over)?;
        }
        let gaps = if self.gaps == 1 { "gap" } else { "gaps" };
        write!(f, "; {} doubtful records; {} {gaps}", self.doubtful, self.gaps)?;
        if self.missing > 0 {
            let Report { missing, missing_committed, .. } = self;
            write!(f, " of {missing} bytes of the log, {missing_committed} of them committed")?;
        }
        if !self.by_manifest {
            f.write_str("; by the headers of the segments alone, without a manifest")?;
        }
        Ok(())
    }
}
