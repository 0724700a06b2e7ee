//! What the manifest says, in the words of the public API.

use std::fmt;

use crate::format::manifest::{Manifest, State};
use crate::segment::file_name;
use crate::{Lsn, walk};

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The log's random id, as 32 hexadecimal digits.
    pub log_id: String,
    /// Number of the manifest.
    pub generation: u64,
    /// Where the first record of the oldest segment may begin; in a log without a segment, the end.
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

pub(super) fn summary(manifest: &Manifest) -> Summary {
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
        head: Lsn::new(manifest.head()),
        checkpoint: Lsn::new(manifest.checkpoint),
        durable: Lsn::new(manifest.durable),
        clean_end: manifest.clean_end.map(Lsn::new),
        segments: segments.collect(),
    }
}
