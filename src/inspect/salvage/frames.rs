//! The files of a log piece by piece, whatever is in them: [`Frames`].

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use super::plan::{self, Ends, Plan, lsns, open};
use super::source::Spot;
use super::walk::{Step, Walk};
use crate::Lsn;
use crate::error::Result;
use crate::format::frame::Kind;
use crate::format::header::Identity;
use crate::format::notes::Note;
use crate::format::{ALIGN, DATA_START};
use crate::inspect::{open_directory, view};
use crate::storage::Disk;

/// How often a hole is looked at again, and how long after.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(1);
/// How often it runs after a writer that has gone on since.
const CHASES: u32 = 16;

/// A piece of a log's files, as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece {
    /// A segment begins: what follows is in it.
    Segment(SegmentPiece),
    /// A frame that is valid where it stands.
    Frame(Frame),
    /// Of these bytes no frame is shown.
    Hole(Hole),
}

/// The segment that the pieces after it are of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentPiece {
    /// Name of the file.
    pub file: String,
    /// Its number.
    pub id: u64,
    /// LSN of its first byte.
    pub base: Lsn,
    /// Bytes of the file.
    pub size: u64,
    /// Random number of this life of the file.
    pub salt: u64,
    /// Where its records end, if the manifest says it.
    pub end: Option<Lsn>,
    /// Whether it is known to be in the log: else it is a file that is left over.
    pub in_log: bool,
}

/// A frame that is valid where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Where in the file it begins.
    pub offset: u64,
    /// Its position.
    pub lsn: Lsn,
    /// Bytes that it takes, its header and what fills it up to a multiple of eight included.
    pub len: u64,
    /// Its checksum, as stored.
    pub checksum: u32,
    /// What it is.
    pub kind: FrameKind,
}

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameKind {
    /// A record, alone or the last of a batch, of so many bytes.
    Record(u64),
    /// A record of a batch, not the last, of so many bytes.
    Part(u64),
    /// Everything below was durable when this was written.
    Mark(Lsn),
    /// The segment ends here; the log goes on in the one of this number.
    End(u64),
    /// A note, in words.
    Note(String),
}

/// Bytes in which no valid frame begins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hole {
    /// Byte offsets in the file.
    pub offsets: Range<u64>,
    /// Their positions.
    pub lsns: Range<Lsn>,
    /// What it is.
    pub kind: HoleKind,
    /// Why there is none, in words.
    pub what: String,
}

/// What bytes are of which no frame is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HoleKind {
    /// Behind the last frame: nothing was begun here, or all that the log says of the segment lies before; or a running writer has
    /// gone on here since. Also in a file that is left over, in which nothing can be missing.
    Free,
    /// Behind the last frame something was begun: a torn tail, or damage. [`Salvage`](super::Salvage) tells them apart.
    Torn,
    /// Before a valid frame, or before the end that the manifest names: damage.
    Damaged,
}

/// An iterator over the files of a log, piece by piece, in order of LSN: for who looks for what is in them, byte for byte. It
/// goes around damage, and needs no manifest. Reads only, and holds no more than one record in memory.
///
/// It judges nothing: a frame it shows may be of a batch that is not whole, or lie behind the end of the log. Beside a
/// running writer a segment that is given back meanwhile ends where it was, and one that is appended to faster than it is
/// read ends at some moment since the iterator was made.
///
/// ```
/// use duralog::inspect::{FrameKind, Frames, Piece};
///
/// # let dir = tempfile::tempdir()?;
/// let log = duralog::Log::open(dir.path())?;
/// log.append_durable(b"one")?;
/// log.append(b"two")?; // a mark goes before it
/// log.close()?;
/// let kinds = Frames::open(dir.path())?.filter_map(|piece| match piece {
///     Piece::Frame(frame) => Some(frame.kind),
///     _ => None,
/// });
/// let kinds: Vec<_> = kinds.collect();
/// assert!(matches!(kinds[..], [FrameKind::Record(3), FrameKind::Mark(_), FrameKind::Record(3)]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Frames {
    disk: Disk,
    plan: Plan,
    index: usize,
    walk: Option<Walk>,
    from: u64,
    /// The frame that was given last.
    last: Option<Spot>,
    /// What was shown of the segment ends at this offset, or what the manifest says of it.
    ended: u64,
    /// Where a hole was looked at again, and how often.
    looked_at: Option<(u64, u32)>,
    /// How often a frame stood there by then.
    chased: u32,
}

impl Frames {
    /// Those of the log in `dir`.
    ///
    /// # Errors
    ///
    /// Those of [`Salvage::open`](super::Salvage::open).
    pub fn open(dir: impl AsRef<Path>) -> Result<Frames> {
        let disk = open_directory(dir.as_ref())?;
        let plan = plan::plan(&disk)?;
        Ok(Frames {
            disk,
            plan,
            index: 0,
            walk: None,
            from: 0,
            last: None,
            ended: 0,
            looked_at: None,
            chased: 0,
        })
    }

    /// Only those of the segment of this number; none if there is no such segment.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # duralog::Log::open(dir.path())?.close()?;
    /// let frames = duralog::inspect::Frames::open(dir.path())?;
    /// assert!(frames.of_segment(7).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of_segment(mut self, id: u64) -> Option<Frames> {
        self.plan.segments.retain(|planned| planned.identity.id == id);
        (!self.plan.segments.is_empty()).then_some(self)
    }

    /// Nothing that ends at `lsn` or below.
    #[must_use]
    pub fn from(mut self, lsn: Lsn) -> Frames {
        self.from = lsn.get();
        let from = self.from;
        self.plan.segments.retain(|p| p.identity.base + p.identity.size > from);
        self
    }

    /// The payload of the frame that was given last; none if it was a hole, or cannot be read any more.
    ///
    /// ```
    /// use duralog::inspect::{Frames, Piece};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let log = duralog::Log::open(dir.path())?;
    /// # log.append_durable(b"one")?;
    /// let mut frames = Frames::open(dir.path())?;
    /// while !matches!(frames.next(), Some(Piece::Frame(_))) {}
    /// assert_eq!(frames.payload(), Some(b"one".to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn payload(&mut self) -> Option<Vec<u8>> {
        let spot = self.last?;
        self.walk.as_mut()?.source.payload(&spot)
    }

    /// Begins the next segment.
    fn enter(&mut self) -> Option<Piece> {
        let planned = self.plan.segments.get(self.index)?;
        let identity = planned.identity;
        let bound = if let Ends::At(end) = planned.ends { Some(end) } else { None };
        let (source, _) = open(&self.disk, planned);
        self.walk = Some(Walk::new(source.skipping(), identity.size, bound));
        (self.looked_at, self.chased) = (None, 0);
        self.ended = bound.unwrap_or(DATA_START);
        Some(Piece::Segment(SegmentPiece {
            file: planned.file.clone(),
            id: identity.id,
            base: Lsn::new(identity.base),
            size: identity.size,
            salt: identity.salt,
            end: bound.map(|end| Lsn::new(identity.base + end)),
            in_log: planned.ends != Ends::Leftover,
        }))
    }

    /// Whether the newest manifest names it, where there is one.
    fn is_there(&self, identity: Identity) -> bool {
        let is_leftover = self.plan.segments.get(self.index).is_some_and(|p| !p.is_in_log());
        let now = view::newest(&self.disk).ok().filter(|_| self.plan.by_manifest && !is_leftover);
        now.is_none_or(|now| now.segments.iter().any(|e| e.identity(now.log_id) == identity))
    }

    /// The next piece; none: look again.
    fn step(&mut self) -> Option<Piece> {
        let Some(walk) = &mut self.walk else { return self.enter() };
        let planned = self.plan.segments.get(self.index)?;
        let identity = planned.identity;
        let (base, size) = (identity.base, identity.size);
        self.last = None;
        match walk.step() {
            Step::Frame(spot) => {
                if self.looked_at.is_some_and(|(at, _)| at == spot.offset) {
                    self.chased += 1;
                    if self.chased > CHASES {
                        // The end of a moment ago is as good: who appends all the time would never be caught up with.
                        (self.walk, self.index) = (None, self.index + 1);
                        let what = "a running writer goes on here".to_owned();
                        return Some(hole(&identity, spot.offset..size, HoleKind::Free, what));
                    }
                }
                self.last = Some(spot);
                self.ended = self.ended.max(spot.end());
                Some(Piece::Frame(frame(walk, &spot, base)))
            }
            Step::Hole(offsets) => {
                let goes_on = walk.has_found();
                let kind = if planned.ends == Ends::Leftover {
                    HoleKind::Free
                } else if goes_on || matches!(planned.ends, Ends::At(_)) {
                    HoleKind::Damaged
                } else if planned.ends == Ends::Open && !walk.source.is_zero(offsets.start) {
                    HoleKind::Torn
                } else {
                    HoleKind::Free
                };
                let looked = self.looked_at.filter(|(at, _)| *at == offsets.start);
                let looks = looked.map_or(0, |(_, looks)| looks);
                // By a manifest that is loaded after the look: else its writer may have given it up before.
                if kind != HoleKind::Free && !self.is_there(identity) {
                    (self.walk, self.index) = (None, self.index + 1);
                    return None;
                }
                let walk = self.walk.as_mut()?;
                if kind != HoleKind::Free && looks < LOOKS {
                    // A running writer may have gone on since it was read, or while it was.
                    self.looked_at = Some((offsets.start, looks + 1));
                    std::thread::sleep(PAUSE * looks);
                    walk.look_again(offsets.start);
                    return None;
                }
                let end = match kind {
                    // Behind what was begun it is free again.
                    HoleKind::Torn => walk.source.begun_to(offsets.clone()).next_multiple_of(ALIGN),
                    // Where an end frame would not fit nothing begins.
                    HoleKind::Free if !goes_on => size,
                    HoleKind::Free | HoleKind::Damaged => offsets.end,
                };
                self.ended = end;
                let what = match kind {
                    HoleKind::Free => "nothing was begun here".to_owned(),
                    _ => walk.source.why(&offsets),
                };
                Some(hole(&planned.identity, offsets.start..end, kind, what))
            }
            Step::End => {
                self.walk = None;
                self.index += 1;
                let rest = self.ended..size;
                let what = "behind the end of the segment".to_owned();
                (!rest.is_empty()).then(|| hole(&planned.identity, rest, HoleKind::Free, what))
            }
        }
    }
}

fn hole(identity: &Identity, offsets: Range<u64>, kind: HoleKind, what: String) -> Piece {
    let lsns = lsns(identity, &offsets);
    Piece::Hole(Hole { offsets, lsns, kind, what })
}

fn frame(walk: &mut Walk, spot: &Spot, base: u64) -> Frame {
    let (offset, head) = (spot.offset, spot.head);
    let len = u64::from(head.len);
    let kind = match head.kind {
        Kind::Record => FrameKind::Record(len),
        Kind::Part => FrameKind::Part(len),
        Kind::Mark => FrameKind::Mark(Lsn::new(spot.operand)),
        Kind::End => FrameKind::End(spot.operand),
        Kind::Note => {
            let payload = walk.source.payload(spot).unwrap_or_default();
            FrameKind::Note(words(Note::decode(&payload)))
        }
    };
    Frame { offset, lsn: Lsn::new(base + offset), len: head.frame_len(), checksum: head.crc, kind }
}

fn words(note: Option<Note>) -> String {
    match note {
        Some(Note::Metadata(metadata)) => format!("metadata: {} bytes", metadata.len()),
        Some(Note::Consumer { name, position }) => format!("consumer {name:?} at {position}"),
        Some(Note::Removed { name }) => format!("consumer {name:?} removed"),
        Some(Note::Archived(Some(to))) => format!("archived up to {to}"),
        Some(Note::Archived(None)) => "nothing is archived any more".to_owned(),
        None => "of a kind that this version does not know".to_owned(),
    }
}

impl Iterator for Frames {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        while self.index < self.plan.segments.len() {
            let piece = self.step();
            let end = match &piece {
                Some(Piece::Frame(frame)) => frame.lsn.get() + frame.len,
                Some(Piece::Hole(hole)) => hole.lsns.end.get(),
                _ => u64::MAX,
            };
            if piece.is_some() && end > self.from {
                return piece;
            }
        }
        None
    }
}

impl std::iter::FusedIterator for Frames {}
