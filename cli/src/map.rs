//! What a segment holds from end to end, for a map of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use duralog::Lsn;
use duralog::inspect::{FrameKind, Frames, HoleKind, Piece, SegmentInfo, SegmentState, Summary};

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Free,
    /// Records, and whatever stands between them.
    Used,
    Torn,
    Damaged,
}

/// A segment's map.
#[derive(Debug, Default)]
pub(crate) struct Map {
    /// Byte offsets, in order, without a gap from the header on.
    pub(crate) runs: Vec<(Range<u64>, What)>,
    /// Whether a mark begins in each of so many equal parts of the file.
    pub(crate) marks: Vec<bool>,
    pub(crate) mark_count: u64,
    pub(crate) records: u64,
    /// Whether the frames were read, or this is what the manifest says.
    pub(crate) read: bool,
}

/// As fine as a picture of 1000 pixels shows it.
pub(crate) const PARTS: usize = 1000;
/// Frames begin behind the header's page (FORMAT.md, section 5).
pub(crate) const HEADER: u64 = 4096;

impl Map {
    fn by_the_manifest(dir: &Path, segment: &SegmentInfo) -> Map {
        let mut map = Map::default();
        let len = std::fs::metadata(dir.join(&segment.file)).map_or(0, |found| found.len());
        if len != segment.size {
            map.add(HEADER..segment.size, What::Damaged);
            return map;
        }
        let base = segment.base.get();
        let end = segment.end.map_or(HEADER, |end| end.get() - base).clamp(HEADER, segment.size);
        map.add(HEADER..end, What::Used);
        map.add(end..segment.size, What::Free);
        map
    }

    fn add(&mut self, offsets: Range<u64>, what: What) {
        match self.runs.last_mut() {
            Some((last, same)) if *same == what && last.end == offsets.start => {
                last.end = offsets.end;
            }
            _ if offsets.is_empty() => {}
            _ => self.runs.push((offsets, what)),
        }
    }

    fn mark(&mut self, offset: u64, size: u64) {
        self.mark_count += 1;
        self.marks.resize(PARTS, false);
        let part = part(offset, size, PARTS);
        if let Some(marked) = self.marks.get_mut(part) {
            *marked = true;
        }
    }

    pub(crate) fn bytes_of(&self, what: What) -> u64 {
        let runs = self.runs.iter().filter(|(_, run)| *run == what);
        runs.map(|(offsets, _)| offsets.end - offsets.start).sum()
    }

    pub(crate) fn worst(&self) -> What {
        self.runs.iter().map(|(_, what)| *what).max().unwrap_or(What::Free)
    }

    /// The worst of what is in each of `width` equal parts of the file, and whether a mark is.
    pub(crate) fn cells(&self, size: u64, width: usize) -> Vec<(What, bool)> {
        let mut cells = vec![(What::Free, false); width];
        for (offsets, what) in &self.runs {
            let (from, to) = (part(offsets.start, size, width), part(offsets.end - 1, size, width));
            // Space that is free shows only where nothing else is.
            for (cell, _) in cells.iter_mut().take(to + 1).skip(from) {
                *cell = (*cell).max(*what);
            }
        }
        for (at, _) in self.marks.iter().enumerate().filter(|(_, marked)| **marked) {
            if let Some((_, marked)) = cells.get_mut(at * width / PARTS) {
                *marked = true;
            }
        }
        cells
    }
}

/// In which of `parts` equal parts of the file behind its header the byte at `offset` is.
fn part(offset: u64, size: u64, parts: usize) -> usize {
    let (offset, size) = (offset.saturating_sub(HEADER), size.saturating_sub(HEADER).max(1));
    let part = u128::from(offset) * parts as u128 / u128::from(size);
    usize::try_from(part).unwrap_or(usize::MAX).min(parts - 1)
}

/// The map of each segment, by its number. What is sealed is read only `deep`: else it is as the manifest says.
pub(crate) fn maps(dir: &Path, summary: &Summary, deep: bool) -> Result<BTreeMap<u64, Map>> {
    let mut maps: BTreeMap<u64, Map> =
        summary.segments.iter().map(|s| (s.id, Map::by_the_manifest(dir, s))).collect();
    let is_read = |segment: &&SegmentInfo| deep || segment.state != SegmentState::Sealed;
    let Some(first) = summary.segments.iter().find(is_read) else { return Ok(maps) };
    let mut here: Option<(&SegmentInfo, Map)> = None;
    for piece in Frames::open(dir)?.from(Lsn::new(first.base.get() + 1)) {
        if let Piece::Segment(begun) = &piece {
            maps.extend(here.take().map(|(segment, map)| (segment.id, map)));
            // One that is left over, or was made since, is in no manifest that was read.
            let named = |s: &&SegmentInfo| s.id == begun.id && s.salt == begun.salt && is_read(s);
            here = summary.segments.iter().find(named).map(|segment| (segment, Map::begun()));
        } else if let Some((segment, map)) = &mut here {
            map.piece(&piece, segment.size);
        }
    }
    maps.extend(here.map(|(segment, map)| (segment.id, map)));
    Ok(maps)
}

impl Map {
    fn begun() -> Map {
        Map { read: true, ..Map::default() }
    }

    fn piece(&mut self, piece: &Piece, size: u64) {
        match piece {
            Piece::Frame(frame) => {
                self.add(frame.offset..frame.offset + frame.len, What::Used);
                match frame.kind {
                    FrameKind::Mark(_) => self.mark(frame.offset, size),
                    FrameKind::Record(_) | FrameKind::Part(_) => self.records += 1,
                    _ => {}
                }
            }
            Piece::Hole(hole) => {
                let what = match hole.kind {
                    HoleKind::Free => What::Free,
                    HoleKind::Torn => What::Torn,
                    _ => What::Damaged,
                };
                self.add(hole.offsets.clone(), what);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_shows_the_worst_of_what_is_in_it() {
        let mut map = Map::default();
        map.add(4096..8192, What::Used);
        map.add(8192..8192, What::Torn);
        map.add(8192..40_000, What::Used);
        map.add(40_000..40_008, What::Damaged);
        map.add(40_008..69_632, What::Free);
        map.mark(24_000, 69_632);
        assert_eq!(map.runs.len(), 3);
        let cells = map.cells(69_632, 8);
        let used = (What::Used, false);
        let mark = (What::Used, true);
        let free = (What::Free, false);
        let hurt = (What::Damaged, false);
        assert_eq!(cells, [used, used, mark, used, hurt, free, free, free]);
        assert_eq!((map.bytes_of(What::Damaged), map.mark_count), (8, 1));
    }
}
