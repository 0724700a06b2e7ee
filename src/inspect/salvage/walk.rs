//! The way through one segment: valid frames, and the holes between them.

use std::ops::Range;

use super::source::{Source, Spot};
use crate::format::frame::Kind;
use crate::format::{ALIGN, DATA_START, END_ROOM};

#[derive(Debug)]
pub(super) enum Step {
    Frame(Spot),
    /// No valid frame begins here; at the end of the range one does, or the segment's frames end.
    Hole(Range<u64>),
    End,
}

#[derive(Debug)]
pub(super) struct Walk {
    pub(super) source: Source,
    at: u64,
    /// Where the manifest says that the frames end.
    bound: Option<u64>,
    /// No frame begins here or beyond.
    limit: u64,
    /// The frame behind the last hole.
    found: Option<Spot>,
}

impl Walk {
    pub(super) fn new(source: Source, size: u64, bound: Option<u64>) -> Walk {
        let limit = bound.unwrap_or(size - END_ROOM + ALIGN);
        Walk { source, at: DATA_START, bound, limit, found: None }
    }

    /// Begins at `offset`.
    pub(super) fn from(mut self, offset: u64) -> Walk {
        self.at = offset.max(DATA_START);
        self
    }

    /// A frame that a sound log may have here: within the bound, before which no end frame stands.
    fn takes(bound: Option<u64>) -> impl Fn(&Spot) -> bool {
        move |spot| bound.is_none_or(|bound| spot.end() <= bound && spot.head.kind != Kind::End)
    }

    fn frame(&mut self, offset: u64) -> Option<Spot> {
        self.source.frame(offset).filter(Walk::takes(self.bound))
    }

    /// The frame where the walk stands.
    pub(super) fn peek(&mut self) -> Option<Spot> {
        if self.at >= self.limit {
            return None;
        }
        self.found.take().or_else(|| self.frame(self.at))
    }

    /// Whether a valid frame stands behind the hole that was just passed.
    pub(super) fn has_found(&self) -> bool {
        self.found.is_some()
    }

    pub(super) fn pass(&mut self, spot: &Spot) {
        self.source.passed(spot.head.frame_len());
        self.at = spot.end();
        if spot.head.kind == Kind::End {
            self.limit = self.at;
        }
    }

    pub(super) fn step(&mut self) -> Step {
        if self.at >= self.limit {
            return Step::End;
        }
        if let Some(spot) = self.peek() {
            self.pass(&spot);
            return Step::Frame(spot);
        }
        let from = self.at;
        self.found = self.source.find(from + ALIGN, self.limit, Walk::takes(self.bound));
        self.at = self.found.map_or(self.limit, |spot| spot.offset);
        Step::Hole(from..self.at)
    }

    /// Goes on at `offset` once more, by the file as it is now.
    pub(super) fn look_again(&mut self, offset: u64) {
        self.source.forget();
        (self.at, self.found) = (offset, None);
    }

    /// Passes the rest of a batch that begins with a part, `first`, which the walk has passed. Where the batch, or what
    /// is there of it, ends, and whether it is whole.
    pub(super) fn batch(&mut self, first: &Spot) -> (u64, bool) {
        let mut last = *first;
        while last.head.kind == Kind::Part {
            let next = self.peek();
            match next.filter(|spot| matches!(spot.head.kind, Kind::Record | Kind::Part)) {
                Some(spot) => {
                    self.pass(&spot);
                    last = spot;
                }
                None => {
                    self.found = next;
                    return (self.at, false);
                }
            }
        }
        (self.at, true)
    }

    /// The frame at `offset`, which the walk has passed.
    pub(super) fn again(&mut self, offset: u64) -> Option<Spot> {
        self.frame(offset)
    }

    /// What the last damaged frame from `from` on says that it is, if each one's length leads to the next, and
    /// the last one's to `to`.
    pub(super) fn leads(&mut self, from: u64, to: u64) -> Option<Kind> {
        let mut at = from;
        loop {
            let head = self.source.says(at)?;
            at += head.frame_len();
            if at >= to {
                return (at == to).then_some(head.kind);
            }
        }
    }

    /// Whether what follows says that a frame ended at `offset`: what has its checksum by chance has no such neighbour.
    pub(super) fn confirms(&mut self, offset: u64) -> bool {
        self.bound == Some(offset) || self.source.is_zero(offset) || self.frame(offset).is_some()
    }
}
